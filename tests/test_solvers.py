"""Solvers against exact solutions, against each other, and broken on purpose."""

import pickle
from dataclasses import dataclass
from itertools import combinations

import jax
import numpy as np
import optax
import pytest

from opifex_tutorials.losses.burgers import burgers_hard
from opifex_tutorials.losses.jax_system import Condition, Formulation, derivative, interior
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.solvers import pinn, solve_burgers_grid, solve_burgers_pinn, solve_linear_pinn
from opifex_tutorials.solvers.pinn import forget_compiled, train_pinn
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.training.loop import HELD_OUT, TrainingInterrupted
from opifex_tutorials.verification import convergence_order, relative_l2

T, X = np.linspace(0.02, 1, 20)[:, None], np.linspace(-1, 1, 101)[None]
EASY = BurgersProblem(0.05)
SMALL = {"hidden": (10, 10), "points": 512, "steps": 100}


def burgers_error(solution):
    return relative_l2(solution(T, X), solution.problem.exact(T, X))


def test_grid_solver_has_order_four_in_time():
    steps = np.array([20, 40, 80, 160])
    errors = [burgers_error(solve_burgers_grid(EASY, points=256, steps=n)) for n in steps]
    np.testing.assert_allclose(convergence_order(1 / steps, errors), 4, atol=0.15)


def test_grid_solver_converges_spectrally_in_space():
    errors = [
        burgers_error(solve_burgers_grid(EASY, points=n, steps=400, tolerance=1.0))
        for n in (32, 64, 128)
    ]
    assert errors[1] < errors[0] / 30
    assert errors[2] < errors[1] / 20


@pytest.mark.parametrize("viscosity", [0.003, 0.01 / np.pi, 0.1])
def test_grid_solver_with_untouched_defaults(viscosity):
    assert burgers_error(solve_burgers_grid(BurgersProblem(viscosity))) < 1e-7


def test_grid_solver_conserves_oddness_and_evaluates_anywhere():
    solution = solve_burgers_grid(EASY, points=256, steps=100)
    assert solution(0.313, 0.0) == pytest.approx(0, abs=1e-13)
    scattered = np.random.default_rng(0).random((2, 30))
    np.testing.assert_allclose(solution(*scattered), EASY.exact(*scattered), atol=1e-6)
    np.testing.assert_allclose(solution(0.0, X), EASY.initial(X), atol=1e-12)


@pytest.mark.parametrize(("points", "steps"), [(64, 1024), (1024, 20)])
def test_grid_solver_refuses_to_return_an_unresolved_solution(points, steps):
    with pytest.raises(ConvergenceError, match=f"points={points}, steps={steps}") as caught:
        solve_burgers_grid(BurgersProblem(0.003), points=points, steps=steps)
    assert caught.value.history.steps == [steps]


@pytest.fixture(scope="module")
def solution():
    return solve_burgers_pinn(EASY, seed=0, monitor=burgers_error, **SMALL)


def test_the_grid_is_judged_by_the_upper_half_of_its_spectrum():
    """At all times: the layer is thinnest, and its tail largest, long before the end."""
    problem, options = BurgersProblem(0.02, final_time=2.0), {"points": 64, "steps": 200}
    spectrum = solve_burgers_grid(problem, tolerance=1.0, **options).spectrum
    size = np.abs(spectrum(spectrum.x))
    size[:, [0, -1]] *= 2  # these two have no conjugate
    tail = size[:, 16:].max() / size.max()
    assert tail > 10 * size[-1, 16:].max() / size.max()
    assert tail > 10 * size[:, -1].max() / size.max()
    solve_burgers_grid(problem, tolerance=1.01 * tail, **options)
    with pytest.raises(ConvergenceError, match=f"share {tail:.1e} of the upper spectrum"):
        solve_burgers_grid(problem, tolerance=0.99 * tail, **options)


def test_burgers_pinn_is_right_and_its_history_tells_the_same(solution):
    history = solution.history
    assert burgers_error(solution) < 1e-4
    assert history.errors[-1] == burgers_error(solution)
    assert history.steps == [50, 100]
    assert 0 < history.seconds[0] < history.seconds[1]
    assert len(history.losses) == len(history.held_out_losses) == 2
    assert solution(0.5, -0.25) == pytest.approx(-solution(0.5, 0.25), abs=1e-14)


def test_a_solution_survives_pickling(solution):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(solution))(T, X), solution(T, X))


def test_a_wrong_number_of_coordinates_is_refused(solution):
    for coordinates in ((), (0.5,), (0.5, 0.5, 0.5)):
        message = f"{len(coordinates)} coordinates: allowed are 2: t, x"
        with pytest.raises(ValueError, match=message):
            solution(*coordinates)


@pytest.fixture
def prepared(monkeypatch):
    """What the solver hands to the training loop, without a training."""

    def prepare(seed, **options):
        given = {"hidden": (4,), "points": 16, "formulation": "hard", **options}
        _, solution, _, sample = solve_burgers_pinn(EASY, seed=seed, **given)
        return solution.parameters, sample

    monkeypatch.setattr(pinn, "train", lambda *given, **_: given)
    return prepare


def test_a_seed_fixes_the_weights_and_another_changes_them(prepared):
    (first, _), (again, _), (other, _) = map(prepared, (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other)[first != 0].min() > 0  # biases start at zero


def test_a_seed_fixes_the_points_of_every_round_and_another_changes_them(prepared):
    rounds = 0, 50, HELD_OUT
    first, again, other = (
        [sample(done).points[0] for done in rounds] for _, sample in map(prepared, (1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    for one, another in combinations([*first, *other], 2):
        assert np.abs(np.subtract(one, another)).min() > 0


TINY = {"hidden": (4,), "points": 16, "formulation": "hard", "steps": 20, "tolerance": np.inf}


def test_it_does_not_matter_how_often_one_looks():
    options = {**TINY, "resample_every": None}
    whole, halves = (
        solve_burgers_pinn(EASY, seed=1, record_every=every, **options) for every in (20, 10)
    )
    assert halves.history.steps == [10, 20]
    assert whole.history.losses[0] == halves.history.losses[1]
    np.testing.assert_array_equal(whole.parameters, halves.parameters)


def test_adam_follows_its_schedule_to_the_end():
    solution = solve_burgers_pinn(
        EASY, seed=1, optimizer="adam", resample_every=None, record_every=10, **TINY
    )
    program = pinn.compile_pinn(solution.formulate, EASY, 16, (4,))
    data = EASY, program.sample(EASY, (1, 0))
    gradient = jax.jit(jax.grad(program.loss))
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, 20))
    theta = program.initial_parameters(1)
    state = optimizer.init(theta)
    for _ in range(20):
        updates, state = optimizer.update(gradient(theta, data), state)
        theta = theta + updates
    np.testing.assert_allclose(solution.parameters, theta, rtol=1e-9)


def test_the_correction_can_be_left_out():
    options = {**TINY, "record_every": 20, "resample_every": None}
    without, again, with_it = (
        solve_burgers_pinn(EASY, seed=1, geodesic=geodesic, **options).parameters
        for geodesic in (False, False, True)
    )
    np.testing.assert_array_equal(without, again)
    assert np.abs(without - with_it).max() > 1e-6


def test_new_points_are_what_the_training_goes_on_with():
    options = {**TINY, "record_every": 10}
    fixed, fresh = (
        solve_burgers_pinn(EASY, seed=1, resample_every=every, **options) for every in (20, 10)
    )
    assert fixed.history.losses[0] == fresh.history.losses[0]
    assert fixed.history.losses[1] != fresh.history.losses[1]
    program = pinn.compile_pinn(fresh.formulate, EASY, 16, (4,))
    r = program.residuals(EASY, fresh.parameters, program.sample(EASY, (1, 10)))
    assert fresh.history.losses[1] == pytest.approx(float(r @ r), rel=1e-12)
    r = program.residuals(EASY, fresh.parameters, program.sample(EASY, (1, HELD_OUT)))
    assert fresh.history.held_out_losses[1] == pytest.approx(float(r @ r), rel=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "formulation", "steps", "bound"),
    [("adam", "soft", 2000, 0.1), ("l_bfgs", "hard", 300, 0.01)],
)
def test_gradient_methods_solve_it_too(optimizer, formulation, steps, bound):
    solution = solve_burgers_pinn(
        BurgersProblem(0.1),
        seed=0,
        optimizer=optimizer,
        formulation=formulation,
        hidden=(10, 10),
        points=512,
        steps=steps,
        record_every=100,
        resample_every=100,
        tolerance=np.inf,
    )
    assert burgers_error(solution) < bound


@pytest.mark.parametrize(
    "problem", [HeatProblem(), WaveProblem(), PoissonProblem(1), PoissonProblem(2)]
)
def test_linear_pinns(problem):
    solution = solve_linear_pinn(problem, seed=0, points=512, steps=100, tolerance=1e-1)
    grid = [np.linspace(0, 1, 41)] * len(problem.bounds)
    points = np.meshgrid(*grid, indexing="ij")
    assert relative_l2(solution(*points), problem.exact(*points)) < 1e-4


@dataclass(frozen=True)
class Signed(BurgersProblem):
    """A problem of one's own: Burgers with a sign of the transport that may be wrong."""

    sign: float = 1.0


def signed(problem, points):
    def residual(u):
        u_t, u_x = derivative(u, 0), derivative(u, 1)
        u_xx = derivative(u_x, 1)
        return lambda t, x: (
            u_t(t, x) + problem.sign * u(t, x) * u_x(t, x) - problem.viscosity * u_xx(t, x)
        )

    equation = Condition(residual, interior(problem.bounds), 2, points)
    return Formulation(burgers_hard(problem, points).trial, (equation,))


def test_a_wrong_sign_in_the_residual_gives_a_wrong_solution():
    """The checks of this book would notice: the error is no longer small, whatever the loss."""
    options = {"seed": 0, "hidden": (8, 8), "points": 256, "steps": 100, "tolerance": np.inf}
    right, wrong = (train_pinn(Signed(0.1, sign=s), signed, **options) for s in (1.0, -1.0))
    assert burgers_error(right) < 1e-3
    assert burgers_error(wrong) > 0.1
    assert wrong.history.losses[-1] < 1e-3


def test_a_pinn_that_did_not_converge_raises_with_its_history():
    with pytest.raises(ConvergenceError, match="tolerance=1e-12") as caught:
        solve_burgers_pinn(EASY, seed=0, tolerance=1e-12, **SMALL)
    assert caught.value.history.steps == [50, 100]


def test_an_interrupted_training_leaves_what_it_had():
    def interrupt(solution):
        if solution.history.steps[-1] == 100:
            raise KeyboardInterrupt
        return burgers_error(solution)

    with pytest.raises(TrainingInterrupted) as caught:
        solve_burgers_pinn(EASY, seed=0, monitor=interrupt, **{**SMALL, "steps": 150})
    assert burgers_error(caught.value.solution) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"seed": 0.5}, r"seed=0\.5"),
        ({"formulation": "weak"}, "formulation='weak'"),
        ({"optimizer": "sgd"}, "optimizer='sgd'"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 75}, "steps=75: allowed are multiples of 50"),
        ({"points": 1000}, "points=1000: allowed are powers of two"),
        ({"hidden": (0,)}, "hidden=0"),
        ({"resample_every": 33}, "resample_every=33"),
        ({"tolerance": np.nan}, "tolerance=nan"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        solve_burgers_pinn(EASY, **{"seed": 0, **options})


def test_other_bad_calls_are_refused():
    with pytest.raises(ValueError, match="problem="):
        solve_linear_pinn(EASY, seed=0)
    with pytest.raises(ValueError, match="points=255: allowed are even"):
        solve_burgers_grid(EASY, points=255)
    solution = solve_burgers_grid(EASY, points=256, steps=100)
    with pytest.raises(ValueError, match="t="):
        solution(2.0, 0.0)


def test_programs_are_compiled_once_until_they_are_forgotten():
    def program(problem, points=16):
        return pinn.compile_pinn(burgers_hard, problem, points, (4,))

    first = program(EASY)
    assert program(BurgersProblem(0.1, final_time=0.5)) is first
    assert program(EASY, 32) is not first
    forget_compiled()
    assert program(EASY) is not first
