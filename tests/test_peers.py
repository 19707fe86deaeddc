"""Other libraries on our problems: the race judges at points of its own, adapters do what they say.

The libraries run in processes of their own: they change defaults of PyTorch and JAX. Their runs end
after a number of reports, not of seconds, so that no error here depends on the machine.
"""

import math
import subprocess
import sys
import time
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peers import PEERS, OutOfTimeError, Race, run
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.problems.mean_field_games import CosineGame, LinearQuadraticGame
from tests.test_package import size_of

ROOT = Path(__file__).parent.parent
PROBLEMS = [
    BurgersProblem(0.05),
    HeatProblem(),
    WaveProblem(),
    PoissonProblem(),
    PoissonProblem(dimension=2),
    CosineGame(),
]
ids = [f"{type(p).__name__}{len(p.bounds)}" for p in PROBLEMS]

#: Runs an adapter until it has reported so many times. What it prints, sends or writes is a fault.
SCRIPT = """
import math, os, socket, sys
from importlib import import_module
from benchmarks.peers import PEERS, Race
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem
from opifex_tutorials.problems.mean_field_games import CosineGame

def refuse(*_):
    raise RuntimeError("a library that runs here has no business with the network")

socket.socket.connect = socket.getaddrinfo = refuse

class Reports(Race):
    def report(self, evaluate):
        super().report(evaluate)
        return len(self.history) < {count}

race = Reports({problem}, 1e4)
import_module("benchmarks.peers." + PEERS["{peer}"]).solve(race, 0)
assert len(race.history) == {count}, race.history
os.write(3, repr(min(e for _, e in race.history)).encode())
"""


def best_error(peer, problem, count, folder):
    """Return the best error that an adapter reports; fail if it prints or leaves a file."""
    code = SCRIPT.format(peer=peer, problem=problem, count=count)
    command = ["bash", "-c", 'exec "$0" -c "$1" 3>error', sys.executable, code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in folder.iterdir()] == ["error"]
    return float((folder / "error").read_text())


@pytest.mark.parametrize(
    ("peer", "problem", "count", "at_most"),
    [
        ("DeepXDE", "HeatProblem()", 12, 0.05),
        ("jinns", "PoissonProblem()", 12, 1e-5),
        ("PINA", "HeatProblem()", 8, 0.05),
        ("FastLSQ", "HeatProblem()", 2, 1e-6),
        ("FastLSQ", "CosineGame()", 1, 0.01),
        ("FastLSQ", "BurgersProblem(0.1)", 1, 0.05),
    ],
)
def test_an_adapter_solves_an_easy_problem_in_silence(peer, problem, count, at_most, tmp_path):
    assert best_error(peer, problem, count, tmp_path) <= at_most


@pytest.mark.parametrize("module", PEERS.values())
def test_an_adapter_has_at_most_sixty_lines(module):
    source = (ROOT / f"benchmarks/peers/{module}.py").read_text(encoding="utf-8")
    assert size_of(source)[0] <= 60


@pytest.mark.parametrize("problem", PROBLEMS, ids=ids)
def test_the_closed_form_has_no_error(problem):
    race = Race(problem, 60)
    assert race.report(lambda *z: peers.exact_fields(problem, *z))
    assert race.error == 0
    assert all(len(z) == peers.POINTS for z in race.points)


@pytest.mark.parametrize("problem", PROBLEMS, ids=ids)
def test_the_closed_form_has_no_residual(problem):
    """Central differences of the closed form: the equations are those of our own problems."""
    rng, h = np.random.default_rng(0), 1e-3
    low, high = np.transpose(list(problem.bounds.values()))
    z = low + (high - low) * rng.uniform(0.3, 0.7, (5, low.size))

    def fields(point):
        first, *others = peers.exact_fields(problem, *point)
        return np.stack([first, *map(np.log, others)])

    def derivative(by, i=0):
        def along(f, name):
            unit = h * np.eye(low.size)[list(problem.bounds).index(name)]
            return lambda p: (
                (8 * (f(p + unit) - f(p - unit)) - f(p + 2 * unit) + f(p - 2 * unit)) / (12 * h)
            )

        return reduce(along, by, lambda p: fields(p.T)[i])(z)

    residuals = peers.equations(problem, np, fields(z.T), derivative, *z.T)
    assert len(residuals) == peers.outputs(problem)
    assert np.max(np.abs(residuals)) < 1e-5


@pytest.mark.parametrize("problem", PROBLEMS, ids=ids)
def test_the_trial_function_fulfills_the_conditions(problem):
    rng = np.random.default_rng(0)
    low, high = np.transpose(list(problem.bounds.values()))
    for axis, name in enumerate(problem.bounds):
        for end in (low, high):
            z = low + (high - low) * rng.random((9, low.size))
            z[:, axis] = end[axis]
            exact = peers.exact_fields(problem, *z.T)
            found = peers.trial(problem, np, rng.normal(size=(peers.outputs(problem), 9)), *z.T)
            if isinstance(problem, CosineGame):
                if name == "t":
                    value, log_density = found
                    pair = (value, exact[0]) if end is high else (log_density, np.log(exact[1]))
                    np.testing.assert_allclose(*pair, atol=1e-12)
            elif name != "t" or end is low:
                np.testing.assert_allclose(found[0], exact[0], atol=1e-12)


def test_a_solution_that_is_right_at_its_own_points_only_is_wrong():
    """The planted error: an adapter that is scored on its training points."""
    problem = PoissonProblem()
    own = np.linspace(0, 1, 65)

    def adapter(race, seed):
        def fits_its_points(x):
            ripple = np.sin(64 * math.pi * x)  # zero at all of them
            return problem.exact(x) + ripple

        assert np.allclose(fits_its_points(own), problem.exact(own))
        race.report(fits_its_points)

    assert run(adapter, problem, 1, seed=0).error > 0.5


def test_the_points_belong_to_the_race():
    """No argument of an adapter or of the race moves the points, and all of the box is covered."""
    first, second = (Race(BurgersProblem(nu), s) for nu, s in ((0.01, 1), (0.1, 60)))
    assert all(map(np.array_equal, first.points, second.points))
    for z, (low, high) in zip(first.points, first.problem.bounds.values(), strict=True):
        counts, _ = np.histogram(z, 16, (low, high))
        assert counts.min() > 0.9 * len(z) / 16


def test_the_clock_stops_while_the_error_is_measured():
    def adapter(race, seed):
        for _ in range(3):
            race.report(lambda x: [time.sleep(0.2), np.zeros_like(x)][1])

    race = run(adapter, PoissonProblem(), 60, seed=0)
    assert len(race.history) == 3
    assert race.history[-1][0] < 0.2


def test_time_is_over():
    race = Race(PoissonProblem(), 0.05)
    time.sleep(0.1)
    assert not race.report(race.problem.exact)
    assert race.error == math.inf  # too late
    with pytest.raises(OutOfTimeError, match=r"0.05 s are over"):
        race.watch(race.problem.exact)


def test_seconds_to_an_error():
    race = Race(PoissonProblem(), 10)
    race.history += [(1.0, 1e-1), (2.0, 1e-4), (3.0, 1e-3), (11.0, 1e-9)]
    assert [race.seconds_to(error) for error in (1e-1, 1e-2, 1e-6)] == [1.0, 2.0, math.inf]
    assert race.error == 1e-3


def test_a_solution_of_ours_is_watched():
    race = Race(CosineGame(), 60)
    assert race.watch(race.problem) == 0


def test_an_error_of_a_library_is_not_swallowed():
    def adapter(race, seed):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(adapter, PoissonProblem(), 1, seed=0)


def test_an_adapter_that_reports_nothing_is_an_error():
    with pytest.raises(RuntimeError, match="reported nothing on PoissonProblem"):
        run(lambda race, seed: None, PoissonProblem(), 1, seed=0)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"peer": "Modulus"}, "peer='Modulus': allowed are 'DeepXDE'"),
        ({"problem": LinearQuadraticGame()}, "problem=LinearQuadraticGame"),
        ({"seconds": 0}, "seconds=0: allowed"),
        ({"seconds": math.nan}, "seconds=nan: allowed"),
        ({"seed": -1}, "seed=-1: allowed"),
        ({"seed": 0.5}, "seed=0.5: allowed"),
    ],
)
def test_a_bad_argument_is_refused(bad, match):
    good = {"peer": lambda race, seed: None, "problem": PoissonProblem(), "seconds": 1, "seed": 0}
    with pytest.raises(ValueError, match=match):
        run(**good | bad)


@pytest.mark.parametrize("values", [np.zeros(7), np.full(peers.POINTS, np.nan)])
def test_values_that_are_no_solution_are_refused(values):
    with pytest.raises(ValueError, match="allowed"):
        Race(PoissonProblem(), 1).report(lambda x: values)
