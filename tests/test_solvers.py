"""Solvers against exact solutions, against each other, and broken on purpose."""

import pickle

import numpy as np
import pytest

from opifex_tutorials.losses import burgers
from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.solvers import solve_burgers_grid, solve_burgers_pinn, solve_linear_pinn
from opifex_tutorials.solvers.pinn import forget_compiled, train_pinn
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.training.loop import TrainingInterrupted
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


def test_burgers_pinn_is_right_and_its_history_tells_the_same():
    solution = solve_burgers_pinn(EASY, seed=0, monitor=burgers_error, **SMALL)
    history = solution.history
    assert burgers_error(solution) < 1e-4
    assert history.errors[-1] == burgers_error(solution)
    assert history.steps == [50, 100]
    assert history.seconds == sorted(history.seconds)
    assert len(history.losses) == len(history.held_out_losses) == 2
    assert solution(0.5, -0.25) == pytest.approx(-solution(0.5, 0.25), abs=1e-14)


def test_a_seed_fixes_the_result_and_another_seed_changes_it():
    options = {**SMALL, "steps": 50, "tolerance": np.inf}
    first, again, other = (solve_burgers_pinn(EASY, seed=s, **options) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.parameters, again.parameters)
    assert np.abs(first.parameters - other.parameters).max() > 1e-3


def test_a_solution_survives_pickling():
    solution = solve_burgers_pinn(EASY, seed=0, **SMALL)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(solution))(T, X), solution(T, X))


@pytest.mark.parametrize(
    ("optimizer", "steps", "bound"), [("adam", 2000, 0.1), ("l_bfgs", 300, 0.03)]
)
@pytest.mark.parametrize("formulation", ["soft", "hard"])
def test_gradient_methods_run_on_both_formulations(optimizer, steps, bound, formulation):
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
    solution = solve_linear_pinn(problem, seed=0, points=1024, steps=150, tolerance=1e-1)
    grid = [np.linspace(0, 1, 41)] * len(problem.bounds)
    points = np.meshgrid(*grid, indexing="ij")
    assert relative_l2(solution(*points), problem.exact(*points)) < 1e-4


def test_a_wrong_sign_in_the_residual_gives_a_wrong_solution(monkeypatch):
    """The checks of this book would notice: the error is no longer small, whatever the loss."""

    def flipped(problem, u):
        u_t, u_x = derivative(u, 0), derivative(u, 1)
        u_xx = derivative(u_x, 1)
        return lambda t, x: u_t(t, x) - u(t, x) * u_x(t, x) - problem.viscosity * u_xx(t, x)

    monkeypatch.setattr(burgers, "burgers_residual", flipped)
    forget_compiled()
    try:
        solution = solve_burgers_pinn(EASY, seed=0, tolerance=np.inf, **SMALL)
        assert burgers_error(solution) > 0.1
    finally:
        forget_compiled()


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


def test_a_formulation_of_ones_own():
    solution = train_pinn(EASY, burgers.burgers_hard, seed=0, tolerance=np.inf, **SMALL)
    assert burgers_error(solution) < 0.1
