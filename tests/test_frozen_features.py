"""Random features: the draw, Gauss-Newton, slabs of time, and the bound on the error."""

import pickle
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from opifex_tutorials.losses.burgers import burgers_residual, burgers_slab, burgers_soft
from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.models.random_features import CENTERS, draw_features
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.solvers import (
    solve_burgers_features,
    solve_burgers_pinn,
    solve_linear_features,
    solve_linear_pinn,
)
from opifex_tutorials.solvers.frozen_features import FeatureSolution, Slab, solve_by_features
from opifex_tutorials.training.gauss_newton import gauss_newton, least_squares
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.training.loop import TrainingInterrupted
from opifex_tutorials.verification import certified_error, relative_l2

EASY = BurgersProblem(viscosity=0.05)
SMALL = {"features": 240, "points": (14, 34), "tolerance": 3e-5}
THIN = {"features": 300, "points": (16, 40), "tolerance": 1e-5}


@cache
def burgers(viscosity=0.05, seed=0):
    options = SMALL if viscosity >= 0.02 else THIN
    return solve_burgers_features(BurgersProblem(viscosity), seed=seed, **options)


def grid(problem, points=41):
    axes = [np.linspace(low, high, points) for low, high in problem.bounds.values()]
    return np.meshgrid(*axes, indexing="ij")


def error(solution):
    points = grid(solution.problem)
    return relative_l2(solution(*points), solution.problem.exact(*points))


# The draw


def test_weights_fill_their_ranges_and_features_bend_at_their_centers():
    weights, _ = draw_features((0.8, 5.0), 4000, seed=0)
    assert weights.shape == (2, 4000)
    assert np.abs(weights).max(axis=1) == pytest.approx([0.8, 5.0], rel=1e-2)
    assert np.mean(weights**2, axis=1) == pytest.approx(np.array([0.8, 5.0]) ** 2 / 3, rel=0.05)
    # One input: the center is where the argument of the tanh vanishes.
    (weight,), bias = draw_features((2.0,), 4000, seed=0)
    assert np.abs(bias / weight).max() == pytest.approx(CENTERS, rel=1e-2)


def test_equal_seeds_draw_equal_features_and_others_do_not():
    draws = [draw_features((1.0, 1.0), 5, seed)[0] for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.isclose(draws[0], draws[2]).any()


# Gauss-Newton


def test_least_squares_agrees_with_a_library():
    rng = np.random.default_rng(0)
    matrix, right = rng.standard_normal((50, 8)), rng.standard_normal(50)
    assert least_squares(matrix, right) == pytest.approx(np.linalg.lstsq(matrix, right)[0])


def test_dependent_columns_keep_digits_that_the_normal_equations_lose():
    x = np.linspace(-1, 1, 200)
    matrix, right = np.tanh(np.linspace(-1, 1, 60) * x[:, None] + 0.3), np.exp(x)
    by_qr = np.abs(matrix @ least_squares(matrix, right) - right).max()
    gram = matrix.T @ matrix + 1e-14 * np.eye(60)
    by_gram = np.abs(matrix @ np.linalg.solve(gram, matrix.T @ right) - right).max()
    assert by_qr < 1e-9
    assert by_gram > 100 * by_qr


def test_gauss_newton_ends_at_the_root_and_keeps_the_best():
    def linearize(x):
        visited.append(float(x[0]))
        return x**2 - 2, np.diag(2 * x)

    visited = []
    found, loss = gauss_newton(linearize, np.array([1.0]), 1e-20)
    assert found == pytest.approx([2**0.5], abs=1e-9)
    assert loss == pytest.approx(float((found[0] ** 2 - 2) ** 2), abs=1e-25)
    assert len(visited) <= 7


def test_a_step_that_makes_things_worse_is_not_taken():
    def linearize(x):
        return np.arctan(x), np.diag(1 / (1 + x**2))  # Newton diverges from 2

    found, loss = gauss_newton(linearize, np.array([2.0]), 1e-20)
    assert (found, loss) == (pytest.approx([2.0]), pytest.approx(np.arctan(2.0) ** 2))


# Linear equations


@pytest.mark.parametrize(
    ("problem", "bound"),
    [
        (HeatProblem(), 1e-11),
        (WaveProblem(), 1e-10),
        (PoissonProblem(), 1e-13),
        (PoissonProblem(dimension=2), 1e-12),
    ],
)
def test_linear_equations_are_solved_almost_to_rounding(problem, bound):
    assert max(error(solve_linear_features(problem, seed=seed)) for seed in (0, 1)) <= bound


def test_the_conditions_hold_for_any_coefficients():
    solution = solve_linear_features(WaveProblem(), seed=0, features=50, tolerance=np.inf)
    x = np.linspace(0, 1, 11)
    assert solution(0.0, x) == pytest.approx(WaveProblem().exact(0.0, x), abs=1e-14)
    assert solution(x, 0.0) == pytest.approx(0 * x, abs=1e-14)
    assert solution.apply(lambda p, u: derivative(u, 0), 0.0, x) == pytest.approx(0 * x, abs=1e-14)


# Burgers


@pytest.mark.parametrize("viscosity", [0.01 / np.pi, 0.1])
def test_burgers_with_the_defaults(viscosity):
    solution = solve_burgers_features(BurgersProblem(viscosity), seed=3)
    assert error(solution) <= 1e-9
    history = solution.history
    assert history.steps == list(range(1, len(solution.slabs) + 1))
    assert max(history.held_out_losses) <= 1e-16
    assert np.all(np.diff(history.seconds) > 0)


def test_a_solution_survives_the_way_to_another_process(tmp_path):
    solution = burgers(0.1, 0)
    file = tmp_path / "solution.pickle"
    file.write_bytes(pickle.dumps(solution))
    program = (
        "import pickle, sys; solution = pickle.load(open(sys.argv[1], 'rb'));"
        "print(repr(float(solution(0.7, 0.3))))"
    )
    command = [sys.executable, "-c", program, str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(printed) == pytest.approx(float(solution(0.7, 0.3)), rel=1e-12)


def test_slabs_cover_the_time_and_meet_where_they_meet():
    solution = burgers(0.01 / np.pi)
    ends = [slab.start + slab.share for slab in solution.slabs]
    assert [slab.start for slab in solution.slabs] == pytest.approx([0.0, *ends[:-1]])
    assert ends[-1] == pytest.approx(1.0)
    x, early = np.linspace(-1, 1, 101), 1e-9
    for time in ends[:-1]:
        assert solution(time - early, x) == pytest.approx(solution(time + early, x), abs=1e-7)


def test_initial_value_symmetry_and_walls():
    solution, x = burgers(), np.linspace(-1, 1, 101)
    assert solution(0.0, x) == pytest.approx(-np.sin(np.pi * x), abs=1e-14)
    assert solution(0.7, x) == pytest.approx(-solution(0.7, -x), abs=1e-14)
    assert solution(np.linspace(0, 1, 11), 1.0) == pytest.approx(np.zeros(11), abs=1e-14)


def test_the_residual_is_that_of_the_values():
    solution, x, h = burgers(), np.linspace(0.1, 0.9, 9), 1e-4
    t = 0.5 * (solution.slabs[1].start + solution.slabs[2].start)
    u_t = (solution(t + h, x) - solution(t - h, x)) / (2 * h)
    u_x = (solution(t, x + h) - solution(t, x - h)) / (2 * h)
    u_xx = (solution(t, x + h) - 2 * solution(t, x) + solution(t, x - h)) / h**2
    by_hand = u_t + solution(t, x) * u_x - 0.05 * u_xx
    assert solution.apply(burgers_residual, t, x) == pytest.approx(by_hand, abs=1e-4)


def test_against_an_ode_solver_that_shares_nothing():
    """Method of lines: SciPy in time, differences in space, Richardson from two grids."""

    def lines(cells):
        x = np.linspace(-1, 1, cells + 1)

        def rate(_, inner):
            u = np.concatenate([[0.0], inner, [0.0]])
            bend = np.diff(u, 2) / (2 / cells) ** 2
            return 0.05 * bend - u[1:-1] * (u[2:] - u[:-2]) / (4 / cells)

        u = solve_ivp(rate, (0, 0.5), -np.sin(np.pi * x[1:-1]), "LSODA", rtol=1e-9, atol=1e-11)
        return u.y[cells // 4 - 1 :: cells // 4, -1][:3]

    reference = (4 * lines(160) - lines(80)) / 3
    assert burgers()(0.5, [-0.5, 0.0, 0.5]) == pytest.approx(reference, abs=2e-5)


def test_a_tighter_tolerance_takes_more_slabs_and_gains_digits():
    rough, fine = (
        solve_burgers_features(EASY, seed=0, **{**SMALL, "tolerance": tolerance})
        for tolerance in (1e-3, 3e-5)
    )
    assert len(fine.slabs) > len(rough.slabs)
    assert error(fine) < error(rough) / 10


@pytest.mark.parametrize(
    "broken",
    [
        lambda slab: slab._replace(before=0.9 * slab.before),
        lambda slab: slab._replace(start=slab.start + 0.01),
        lambda slab: slab._replace(share=1.1 * slab.share),
    ],
)
def test_a_slab_that_starts_from_the_wrong_value_is_seen(broken):
    solution = burgers()
    slabs = (*solution.slabs[:-1], broken(solution.slabs[-1]))
    assert error(replace(solution, slabs=slabs)) > 100 * error(solution)


def test_too_few_features_for_a_thin_layer_are_an_error_with_its_history():
    with pytest.raises(ConvergenceError, match="more features or points may help") as caught:
        solve_burgers_features(BurgersProblem(0.001), seed=0, **SMALL)
    assert caught.value.history.steps  # of the time before the layer forms
    with pytest.raises(ConvergenceError, match=r"from 0\.0000: tolerance=1e-08"):
        solve_burgers_features(BurgersProblem(0.001), seed=0, features=200, points=(12, 30))


def test_an_interrupted_solve_leaves_its_slabs():
    def monitor(solution):
        if len(solution.slabs) == 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(TrainingInterrupted) as caught:
        solve_burgers_features(EASY, seed=0, monitor=monitor, **SMALL)
    left = caught.value.solution
    end = left.span[1]
    assert len(left.slabs) == 3
    assert left(end, 0.5) == pytest.approx(EASY.exact(end, 0.5), abs=1e-5)
    with pytest.raises(ValueError, match="t="):
        left(end + 0.01, 0.5)


def test_soft_conditions_are_least_squares_too():
    """A formulation with three conditions, in one piece, whose trial fulfills none of them."""
    solution = solve_by_features(
        BurgersProblem(0.3, final_time=0.2),
        burgers_soft,
        seed=0,
        features=300,
        ranges=(1.0, 3.0),
        points=(16, 24),
        tolerance=1e-3,
        evolves=False,
    )
    assert error(solution) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features=0: allowed are integers from 1"),
        ({"points": (20,)}, r"points=\(20,\): allowed are 2 numbers"),
        ({"points": (20, 0)}, "points=0: allowed are integers from 1"),
        ({"tolerance": 0.0}, "tolerance=0.0: allowed"),
        ({"tolerance": np.nan}, "tolerance=nan: allowed"),
        ({"seed": -1}, "seed=-1: allowed"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        solve_burgers_features(EASY, **{"seed": 0, **options})


def test_bad_ranges_and_problems_are_named():
    with pytest.raises(ValueError, match=r"ranges=\(1.0,\): allowed are 2 numbers"):
        solve_linear_features(HeatProblem(), seed=0, ranges=(1.0,))
    with pytest.raises(ValueError, match=r"ranges=-1\.0: allowed"):
        solve_linear_features(PoissonProblem(), seed=0, ranges=(-1.0,))
    with pytest.raises(ValueError, match="problem="):
        solve_linear_features(EASY, seed=0)


def test_a_residual_above_the_tolerance_is_an_error():
    with pytest.raises(ConvergenceError, match="tolerance=1e-06"):
        solve_linear_features(HeatProblem(amplitudes=(0.0,) * 7 + (1.0,)), seed=0, features=50)


# The bound on the error


def true_error(solution, norm):
    """Return the largest norm over time, on a grid that is dense in the layer."""
    problem = solution.problem
    axes = [np.linspace(low, high, 81) for low, high in problem.bounds.values()]
    if norm == 1:
        near = np.sinh(np.linspace(0, 1, 100) * np.arcsinh(1 / (4 * problem.viscosity)))
        near *= 4 * problem.viscosity
        axes[1] = np.concatenate([-near[:0:-1], near])
    points = np.meshgrid(*axes, indexing="ij")
    powers = np.abs(solution(*points) - problem.exact(*points)) ** norm
    for axis in reversed(axes[1:] if "t" in problem.bounds else axes):
        powers = np.trapezoid(powers, axis, axis=-1)
    return np.max(powers) ** (1 / norm)


def spoiled(solution, seed, size):
    """Return a solution with other coefficients, so that its error is known to be large."""
    noise = np.random.default_rng(seed)
    coefficients = [c * (1 + size * noise.standard_normal(c.shape)) for c in solution.coefficients]
    slabs, before = [], np.zeros_like(coefficients[0])
    low, high = next(iter(solution.problem.bounds.values()))
    for slab, last in zip(solution.slabs, coefficients, strict=True):
        slabs.append(slab._replace(before=before))
        before = before + slab.share * (high - low) * last
    return replace(solution, coefficients=tuple(coefficients), slabs=tuple(slabs))


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2),
    viscosity=st.sampled_from([0.02, 0.1]),
    size=st.sampled_from([0.0, 1e-9, 1e-6, 1e-3]),
)
def test_the_bound_holds_for_burgers_also_for_spoiled_solutions(seed, viscosity, size):
    solution = spoiled(burgers(viscosity, seed), seed, size)
    certificate = certified_error(solution, nodes=144)
    assert certificate.norm == 1
    assert certificate.bound >= true_error(solution, 1)


class Jumping:
    """The exact solution, off by a first mode from the second slab on, and no residual."""

    slabs = (Slab(0.0, 0.5, np.zeros(1)), Slab(0.5, 0.5, np.zeros(1)))

    def __init__(self, problem):
        self.problem = problem

    def __call__(self, t, x):
        shift = 1e-3 * (np.asarray(t) > 0.5) * np.sin(np.pi * np.asarray(x))
        return self.problem.exact(t, x) + shift

    def apply(self, residual, t, x):
        return np.zeros(np.broadcast_shapes(np.shape(t), np.shape(x)))


@pytest.mark.parametrize(
    ("problem", "norm"), [(HeatProblem(), 2**-0.5), (BurgersProblem(0.1), 4 / np.pi)]
)
def test_the_bound_counts_a_jump_between_slabs(problem, norm):
    assert certified_error(Jumping(problem)).bound == pytest.approx(1e-3 * norm, rel=1e-6)


@pytest.mark.parametrize(
    "problem", [HeatProblem(), WaveProblem(speed=2.0), PoissonProblem(), PoissonProblem(2)]
)
@pytest.mark.parametrize("size", [0.0, 1e-6])
def test_the_bound_holds_for_linear_equations(problem, size):
    options = {"features": 60, "tolerance": np.inf}
    solution = spoiled(solve_linear_features(problem, seed=0, **options), 0, size)
    certificate = certified_error(solution)
    assert certificate.norm == 2
    assert certificate.bound >= true_error(solution, 2)
    # Half of the residual would not do where the error is a low mode, as in the next test.


def test_the_bound_is_sharp_where_the_estimate_is():
    """A first mode too much: the residual is a multiple of the error, and nothing is lost."""

    class Shifted:
        problem = PoissonProblem()

        def __call__(self, x):
            return self.problem.exact(x) + 1e-3 * np.sin(np.pi * np.asarray(x))

        def apply(self, residual, x):
            return 1e-3 * np.pi**2 * np.sin(np.pi * x)

    certificate = certified_error(Shifted())
    assert certificate.bound == pytest.approx(1e-3 / 2**0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (BurgersProblem(0.02), 2 / np.pi),  # half, times the integral of |sin πx| over [-1, 1]
        (HeatProblem(), 0.5 / 2**0.5),
        (WaveProblem(speed=2.0), 0.5 / 2**0.5 / (2 * np.pi)),
    ],
)
def test_the_bound_is_the_integral_of_the_residual(problem, expected):
    class Known:
        """The exact solution, said to leave t sin πx."""

        def __init__(self):
            self.problem = problem

        def __call__(self, t, x):
            return problem.exact(t, x)

        def apply(self, _, t, x):
            return t * np.sin(np.pi * np.asarray(x))

    certificate = certified_error(Known())
    assert certificate.bound / (1 + certificate.quadrature) == pytest.approx(expected, rel=1e-3)


def test_the_bound_holds_for_trained_networks():
    options = {"seed": 0, "points": 512, "hidden": (8, 8), "steps": 50, "tolerance": np.inf}
    trained = solve_burgers_pinn(EASY, **options), solve_linear_pinn(HeatProblem(), **options)
    for solution in trained:
        certificate = certified_error(solution, nodes=160)
        error = true_error(solution, certificate.norm)
        assert error <= certificate.bound <= 1000 * error


def test_solutions_that_miss_their_conditions_get_no_bound():
    solution = solve_burgers_pinn(
        EASY, seed=0, formulation="soft", points=256, steps=50, tolerance=np.inf
    )
    with pytest.raises(ValueError, match="conditions missed by"):
        certified_error(solution)


def test_a_game_has_no_bound_and_few_nodes_do_not_agree():
    empty = FeatureSolution(CosineGame(), burgers_slab, draw_features((1.0, 1.0), 3, 0), True)
    with pytest.raises(ValueError, match="allowed are Burgers, heat, wave and Poisson"):
        certified_error(empty)
    with pytest.raises(ValueError, match="nodes=8: allowed are more"):
        certified_error(solve_linear_features(HeatProblem(), seed=0), nodes=8)
    with pytest.raises(ValueError, match="nodes=1: allowed"):
        certified_error(burgers(), nodes=1)
