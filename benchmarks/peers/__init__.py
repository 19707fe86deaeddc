"""Other libraries on our problems: the same equations and data, the same points to be judged.

This is the common ground; beside it stands one adapter for each library. An adapter takes from
here what the problem says (:func:`equations`), a trial function that fulfills its initial and
boundary conditions (:func:`trial`), the inputs of the network (:func:`inputs`), and a
:class:`Race`, which measures its error. What is left to the adapter is the library's own: network,
points, optimizer. ``xp`` is the framework of the arrays, such as ``torch`` or ``jax.numpy``.
"""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from importlib import import_module
from typing import Any

import numpy as np
from scipy.stats import qmc

from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.problems.mean_field_games import CosineGame, MeanFieldGame
from opifex_tutorials.training.history import Stopwatch
from opifex_tutorials.validation import FloatArray, by_name, require_between, require_integer
from opifex_tutorials.verification import relative_l2

Problem = BurgersProblem | HeatProblem | WaveProblem | PoissonProblem | CosineGame
#: The libraries, and the module of the adapter of each.
PEERS = {
    "DeepXDE": "deepxde_adapter",
    "jinns": "jinns_adapter",
    "PINA": "pina_adapter",
    "FastLSQ": "fastlsq_adapter",
}
POINTS = 4096  # at which errors are measured
TIMES = 64  # different ones among them
SEED = 20_260_211  # of these points; those of an adapter come from seeds of its own


class OutOfTimeError(Exception):
    """The budget of a race is spent; what it measured is kept."""


class Race:
    """One method on one problem against the clock; the error is measured off the clock.

    Args:
        problem: with a closed form.
        seconds: the budget.

    Attributes:
        names: of the coordinates, time first.
        history: pairs of seconds and error, in the order in which they were reported. The error is
            relative, in L2, at points that this class draws; in a game the larger one of those of
            value and density.
    """

    def __init__(self, problem: Problem, seconds: float) -> None:
        if not isinstance(problem, Problem):
            raise ValueError(f"problem={problem!r}: allowed are {Problem}")
        self.problem, self.budget = problem, require_between("seconds", seconds, 0.01, 1e5)
        self.names, self.history = tuple(problem.bounds), list[tuple[float, float]]()
        low, high = np.transpose(list(problem.bounds.values()))
        cube = qmc.Sobol(low.size, rng=np.random.default_rng(SEED)).random(POINTS)
        if self.names[0] == "t":  # few times, which makes a spectral solution cheap to evaluate
            cube[:, 0] = (np.floor(TIMES * cube[:, 0]) + 0.5) / TIMES
        self.points = tuple((low + (high - low) * cube).T)
        self._exact = exact_fields(problem, *self.points)
        self.clock = Stopwatch()

    def report(self, evaluate: Callable[..., Any]) -> bool:
        """Measure the error of a solution; return whether there is time left.

        Args:
            evaluate: (coordinates, time first, shape (N,) each) -> the solution there, shape (N,);
                of a game value and density, shape (2, N). It is called off the clock.

        Raises:
            ValueError: for values of another shape, or that are not finite.
        """
        seconds = self.clock.seconds
        with self.clock.paused():
            fields = np.atleast_2d(np.asarray(evaluate(*self.points), dtype=float))
            if fields.shape != self._exact.shape:
                allowed = f"allowed is {self._exact.shape}"
                raise ValueError(f"a solution of shape {fields.shape}: {allowed}")
            error = max(map(relative_l2, fields, self._exact))
            self.history.append((seconds, error))
        return seconds < self.budget

    def watch(self, solution: Callable[..., Any]) -> float:
        """Report the solution of one of our solvers; a monitor for it.

        Raises:
            OutOfTimeError: when the budget is spent.
        """

        def both(*z: FloatArray) -> FloatArray:
            return np.stack([solution.value(*z), solution.density(*z)])

        if not self.report(both if isinstance(self.problem, MeanFieldGame) else solution):
            raise OutOfTimeError(f"{self.budget:g} s are over")
        return self.history[-1][1]

    @property
    def error(self) -> float:
        """The last error within the budget; infinite if there is none."""
        return next((e for s, e in reversed(self.history) if s <= self.budget), math.inf)

    def seconds_to(self, error: float) -> float:
        """Seconds to the first report of an error as small as this; infinite if there is none."""
        return next((s for s, e in self.history if e <= error and s <= self.budget), math.inf)


def silent(*messages: str) -> Callable[..., Any]:
    """Let an adapter print nothing, nor show warnings that begin with one of some messages."""

    def decorate(solve: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(solve)
        def silently(*args: Any, **options: Any) -> None:
            nowhere = io.StringIO()
            with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
                for message in messages:
                    warnings.filterwarnings("ignore", message)
                solve(*args, **options)

        return silently

    return decorate


def prepare_torch(seed: int) -> None:
    """Make PyTorch compute in float64, on one core, with random numbers from a seed."""
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(seed)


def evaluated(fields: Callable[[FloatArray], Any]) -> Callable[..., FloatArray]:
    """Return a solution as a race takes it, from one as :func:`trial` gives it.

    Args:
        fields: points, shape (N, d) -> values of the fields, shape (1, N) or, of a game, (2, N).
    """

    def evaluate(*z: FloatArray) -> FloatArray:
        first, *others = np.asarray(fields(np.stack(z, axis=1)))
        return np.stack([first, *map(np.exp, others)])

    return evaluate


def exact_fields(problem: Problem, *z: FloatArray) -> FloatArray:
    """Return the closed form, shape (1, N), or (2, N) for value and density of a game."""
    if isinstance(problem, MeanFieldGame):
        return np.stack([problem.value(*z), problem.density(*z)])
    return problem.exact(*z)[None]


def run(peer: str, problem: Problem, seconds: float, seed: int, **options: Any) -> Race:
    """Let another library solve a problem; its import does not count.

    Args:
        peer: a name among ``PEERS``, or an adapter: a function (race, seed) that reports.
        problem: what to solve.
        seconds: the budget.
        seed: of weights and points.
        options: of the adapter.

    Raises:
        ValueError: for a bad argument, or a problem that the library cannot solve.
        RuntimeError: if the adapter reported nothing.
    """
    solvers = {name: _lazy(module) for name, module in PEERS.items()}
    solve = by_name("peer", peer, solvers)
    if isinstance(peer, str):
        solve = solve()
    race = Race(problem, seconds)
    solve(race, require_integer("seed", seed, 0, 2**31 - 1), **options)
    if not race.history:
        raise RuntimeError(f"{peer} reported nothing on {problem}")
    return race


def _lazy(module: str) -> Callable[[], Any]:
    return lambda: import_module(f"{__name__}.{module}").solve


def equations(problem: Problem, xp: Any, u: Sequence[Any], d: Callable[..., Any], *z: Any) -> list:
    """Return the residual of each equation.

    Args:
        problem: what it says.
        xp: the framework.
        u: values of the solution; of a game those of the value and of the logarithm of the density.
        d: (coordinates to differentiate by, such as ``"xx"``, number of the field) -> derivative.
        z: the coordinates, time first.
    """
    if isinstance(problem, BurgersProblem):
        return [d("t") + u[0] * d("x") - problem.viscosity * d("xx")]
    if isinstance(problem, HeatProblem):
        return [d("t") - problem.diffusivity * d("xx")]
    if isinstance(problem, WaveProblem):
        return [d("tt") - problem.speed**2 * d("xx")]
    if isinstance(problem, PoissonProblem):
        return [-sum(d(2 * name) for name in problem.bounds) - source(problem, xp, *z)]
    nu, (value_slope, log_slope) = problem.viscosity, (d("x", 0), d("x", 1))
    cost = problem.potential(*z, xp=xp) + problem.coupling(xp.exp(u[1]), xp.log)
    hjb = -d("t", 0) - nu * d("xx", 0) + value_slope**2 / 2 - cost
    diffusion = d("xx", 1) + log_slope**2
    transport = log_slope * value_slope + d("xx", 0)
    return [hjb / (2 * nu), d("t", 1) - nu * diffusion - transport]


def trial(problem: Problem, xp: Any, outputs: Sequence[Any], *z: Any) -> list:
    """Return fields that fulfill all initial and boundary conditions, whatever the outputs.

    These are our own: see ``losses/linear.py``, ``losses/burgers.py`` (``"hard"``) and
    ``losses/games.py``. The periodicity of a game comes from the :func:`inputs`.
    """
    if isinstance(problem, MeanFieldGame):
        t, x = z
        value, log_density = outputs
        remaining = 2 * problem.viscosity * (problem.horizon - t)
        initial = xp.log(problem.initial_density(x, xp=xp))
        return [problem.terminal_cost(x, xp=xp) + remaining * value, initial + t * log_density]
    if isinstance(problem, PoissonProblem):
        return [math.prod(x * (1 - x) for x in z) * outputs[0]]
    t, x = z
    if isinstance(problem, BurgersProblem):
        return [-xp.sin(math.pi * x) + t * (1 - x**2) * outputs[0]]
    return [sines(xp, problem.amplitudes, x) + t**problem.time_order * x * (1 - x) * outputs[0]]


def inside(problem: Problem, count: int, rng: np.random.Generator) -> FloatArray:
    """Return random points, shape (count, d)."""
    low, high = np.transpose(list(problem.bounds.values()))
    return low + (high - low) * rng.random((count, low.size))


def faces(problem: Problem, count: int, rng: np.random.Generator) -> list[tuple[str, FloatArray]]:
    """Return random points on each face on which a condition holds, after the coordinate fixed."""
    low, high = np.transpose(list(problem.bounds.values()))
    found = []
    for axis, name in enumerate(problem.bounds):
        only_start = name == "t" and not isinstance(problem, MeanFieldGame)
        for end in (low, high)[: 1 if only_start else 2]:
            points = inside(problem, count if low.size > 1 else 1, rng)
            points[:, axis] = end[axis]
            found.append((name, points))
    return found


def misfits(problem: Problem, name: str, known: Any, start: bool, u: Sequence[Any], d: Any) -> list:
    """Return the residuals of the conditions on a face.

    Args:
        problem: what it says; a game on the ring is even, hence flat at both ends.
        name: of the coordinate that is fixed on the face.
        known: the closed form there, of which only initial and boundary values are used.
        start: whether it is the lower face.
        u: values of the solution, as in :func:`equations`.
        d: derivatives, as there.
    """
    if isinstance(problem, MeanFieldGame):
        if name == "x":
            return [d("x", 0), d("x", 1)]
        return [u[1] - known[1]] if start else [u[0] - known[0]]
    at_rest = [d("t")] if isinstance(problem, WaveProblem) and name == "t" else []
    return [u[0] - known[0], *at_rest]


def inputs(problem: Problem, xp: Any, *z: Any) -> list:
    """Return what a network sees: scaled coordinates, in a game cos 2πx instead of x.

    As with ours they fill [-2, 2], for Burgers [-1, 1].
    """
    reach, ends = 1.0 if isinstance(problem, BurgersProblem) else 2.0, problem.bounds.values()
    scaled = [reach * (2 * z_i - a - b) / (b - a) for z_i, (a, b) in zip(z, ends, strict=True)]
    if isinstance(problem, MeanFieldGame):
        return [scaled[0], reach * xp.cos(2 * math.pi * z[1])]
    return scaled


def outputs(problem: Problem) -> int:
    """Return how many functions a network has to give."""
    return 2 if isinstance(problem, MeanFieldGame) else 1


def sines(xp: Any, amplitudes: Sequence[float], *x: Any) -> Any:
    r"""Return :math:`\sum_k a_k \prod_i \sin k\pi x_i`."""
    return sum(
        a * math.prod(xp.sin(k * math.pi * x_i) for x_i in x) for k, a in enumerate(amplitudes, 1)
    )


def source(problem: PoissonProblem, xp: Any, *x: Any) -> Any:
    """Return the right side of Poisson's equation."""
    return sines(xp, problem.source_amplitudes, *x)
