"""The grid solver of mean field games: order, mass, positivity, failure, and broken on purpose."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import diags_array

from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    ExampleGame,
    LinearQuadraticGame,
    MeanFieldGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import solve_mfg_grid
from opifex_tutorials.solvers.mfg_scheme import MeanFieldGameScheme
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.verification import convergence_order, mass_drift, relative_l2

GAMES = [
    CosineGame(),
    CosineGame(boundary="neumann", kinetic=2.0),
    CosineGame(viscosity=0.05, alpha=0.9, beta=0.9, coupling=Coupling("logarithm")),
    LinearQuadraticGame(),
    LinearQuadraticGame(viscosity=0.03, running_weight=4.0, initial_variance=0.5),
    TravellingGaussianGame(),
    TravellingGaussianGame(viscosity=0.3, coupling=Coupling("logarithm", 0.1)),
    ExampleGame(),
    ExampleGame(viscosity=0.1),
    ExampleGame(kinetic=0.5),
]


def errors(solution):
    """Relative L2 of u and m at the centers of the cells and the times of the steps."""
    game, t, x = solution.game, solution.scheme.t[:, None], solution.scheme.x
    value = relative_l2(solution.values, game.value(t, x))
    return value, relative_l2(solution.densities, game.density(t, x))


@pytest.mark.parametrize("order", [1, 2])
def test_observed_orders_on_the_periodic_cosine_game(order):
    cells = np.array([20, 40, 80, 160])
    found = [errors(solve_mfg_grid(CosineGame(), cells=n, steps=n, order=order)) for n in cells]
    for error in np.transpose(found):
        np.testing.assert_allclose(convergence_order(1 / cells, error), order, atol=0.15)


def test_the_first_order_is_implicit_euler_and_the_second_the_midpoint_rule():
    first, second = (solve_mfg_grid(CosineGame(), cells=20, steps=20, order=p) for p in (1, 2))
    assert (first.scheme.theta == 1).all()
    assert (second.scheme.theta == 0.5).all()
    # The example empties cells fast: there the rule leans toward Euler, elsewhere it does not.
    theta = solve_mfg_grid(ExampleGame(), cells=40, steps=40).scheme.theta
    assert theta.min() == 0.5
    assert 0.5 < theta.max() <= 1
    assert (theta == 0.5).mean() > 0.25


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("game", [GAMES[1], GAMES[3], GAMES[5]])
def test_observed_orders_on_other_games(game, order):
    cells = np.array([40, 80])
    found = [errors(solve_mfg_grid(game, cells=n, steps=n, order=order)) for n in cells]
    for error in np.transpose(found):
        assert convergence_order(1 / cells, error)[0] > order - 0.25


def test_accuracy_of_the_default():
    solution = solve_mfg_grid(CosineGame(viscosity=0.1, alpha=0.6, beta=0.6), cells=80, steps=80)
    u, m = errors(solution)
    assert u < 2e-4
    assert m < 3e-5


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("game", GAMES)
def test_mass_is_conserved_and_the_density_positive(game, order):
    solution = solve_mfg_grid(game, cells=40, steps=40, order=order)
    assert mass_drift(solution) < 1e-12
    assert solution.densities.min() > 0


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("cells", "steps"), [(50, 30), (30, 50), (100, 50), (50, 100)])
def test_the_published_example_converges(cells, steps, order):
    solution = solve_mfg_grid(ExampleGame(), cells=cells, steps=steps, order=order)
    assert mass_drift(solution) < 1e-12
    assert solution.densities.min() > 0
    assert solution.history.losses[-1] < 1e-20


def test_the_published_example_against_itself_on_a_finer_grid():
    fine = solve_mfg_grid(ExampleGame(), cells=160, steps=160)
    t, x = np.linspace(0, 1, 21)[:, None], np.linspace(0, 1, 81)
    found = []
    for order in (1, 2):
        coarse = solve_mfg_grid(ExampleGame(), cells=60, steps=120, order=order)
        found.append(relative_l2(coarse.value(t, x), fine.value(t, x)))
    assert found[0] < 0.2
    assert found[1] < found[0] / 3


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.builds(
        CosineGame,
        viscosity=st.floats(0.03, 0.5),
        alpha=st.floats(0.05, 0.9),
        beta=st.floats(0.05, 0.9),
        horizon=st.floats(0.2, 2),
        boundary=st.sampled_from(["periodic", "neumann"]),
        coupling=st.sampled_from([Coupling(), Coupling("power"), Coupling("logarithm", 0.5)]),
        kinetic=st.floats(0.5, 2),
    ),
    st.integers(1, 2),
)
def test_games_with_other_parameters(game, order):
    solution = solve_mfg_grid(game, cells=24, steps=24, order=order)
    assert mass_drift(solution) < 1e-12
    assert solution.densities.min() > 0
    # Twice the grid, a smaller error: nothing converges to a wrong answer.
    finer = solve_mfg_grid(game, cells=48, steps=48, order=order)
    assert errors(finer)[1] < 0.8 * errors(solution)[1]
    assert errors(finer)[0] < 0.8 * errors(solution)[0]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("game", [GAMES[0], GAMES[5]])
def test_picard_and_newton_find_the_same_equilibrium(game, order):
    options = {"cells": 30, "steps": 30, "order": order}
    newton = solve_mfg_grid(game, **options)
    picard = solve_mfg_grid(game, method="picard", **options)
    np.testing.assert_allclose(picard.values, newton.values, atol=1e-8)
    np.testing.assert_allclose(picard.densities, newton.densities, atol=1e-8)
    assert len(newton.history.steps) < 10 < len(picard.history.steps)


@pytest.mark.parametrize("order", [1, 2])
def test_picard_without_damping_fails_since_agents_overreact(order):
    """Best responses overshoot by a factor beyond one, and so alternate between two crowds."""
    options = {"cells": 20, "steps": 20, "order": order, "method": "picard"}
    with pytest.raises(ConvergenceError, match=r"method='picard', damping=1.0") as caught:
        solve_mfg_grid(CosineGame(), damping=1.0, iterations=40, **options)
    sizes = np.sqrt(caught.value.history.losses)
    assert len(sizes) == 40
    assert sizes[-1] > 1
    if order == 2:  # started at the first-order equilibrium: the linear regime comes first
        growth = (sizes[1:] / sizes[:-1])[2:6]
        np.testing.assert_allclose(growth, 1.72, atol=0.05)
        # Damping maps the eigenvalue -1.72 to 1 - ω (1 + 1.72): stable below 0.735.
        solve_mfg_grid(CosineGame(), damping=0.6, **options)
        with pytest.raises(ConvergenceError):
            solve_mfg_grid(CosineGame(), damping=0.8, **options)


def test_a_solution_is_evaluated_anywhere():
    points = np.random.default_rng(0).random((2, 50))
    for game in (GAMES[0], GAMES[1]):
        solution = solve_mfg_grid(game)
        exact = -game.kinetic * game.value_gradient(*points)[0]
        assert relative_l2(solution.value(*points), game.value(*points)) < 3e-4
        assert relative_l2(solution.density(*points), game.density(*points)) < 5e-5
        assert relative_l2(solution.control(*points), exact) < 1e-3
        np.testing.assert_allclose(solution.value(0.5, [0, 1]), game.value(0.5, [0, 1]), rtol=1e-3)
        on_nodes = solution.density(solution.scheme.t[:, None], solution.scheme.x)
        np.testing.assert_allclose(on_nodes, solution.densities, rtol=1e-12)
    with pytest.raises(ValueError, match="x="):
        solution.value(0.5, 1.5)


def test_the_splines_do_not_see_the_seam_of_the_ring():
    """Turning the ring by half a turn turns the solution, between the cells as well."""
    solution = solve_mfg_grid(CosineGame(), cells=16, steps=8)
    scheme, x, t = solution.scheme, np.linspace(0, 1, 101), 0.37
    half = np.roll(np.arange(16), 8)
    turned = replace(
        solution, values=solution.values[:, half], densities=solution.densities[:, half]
    )
    assert scheme.is_periodic
    for name in ("value", "density", "slope"):
        moved = getattr(turned, name)(t, (x + 0.5) % 1)
        size = np.abs(moved).max()
        np.testing.assert_allclose(getattr(solution, name)(t, x), moved, atol=2e-4 * size)


@dataclass(frozen=True)
class Waiting(MeanFieldGame):
    """A uniform crowd with nothing to run for, but a cost of time, t²."""

    viscosity = kinetic = horizon = dimension = 1
    coupling, boundary = Coupling("none"), "periodic"

    def _potential(self, xp, t, x):
        return t**2

    def _initial_density(self, xp, t, x):
        return 1 + 0 * x[0]

    def _terminal_cost(self, xp, t, x):
        return 0 * x[0]


def test_a_step_pays_where_the_crowd_stands_that_it_sends_on():
    """The cost goes with the crowd m̄ of the step: implicit Euler pays at its later end."""
    later = np.linspace(0, 1, 11)[1:]
    for order, costs in ((1, later**2), (2, (later**2 + (later - 0.1) ** 2) / 2)):
        solution = solve_mfg_grid(Waiting(), cells=8, steps=10, order=order)
        to_come = np.append(np.cumsum(costs[::-1])[::-1], 0) / 10
        np.testing.assert_allclose(solution.values, to_come[:, None] + np.zeros(8), atol=1e-12)


def test_the_walls_of_the_box_of_a_gaussian_game():
    game = LinearQuadraticGame()
    solution = solve_mfg_grid(game)
    t, walls = np.linspace(0, 1, 9)[:, None], np.array(game.bounds["x"])
    np.testing.assert_allclose(solution.value(t, walls), game.value(t, walls), rtol=1e-2)
    exact = -game.value_gradient(t, walls)[0]
    np.testing.assert_allclose(solution.control(t, walls), exact, rtol=1e-3)
    again = pickle.loads(pickle.dumps(solution))
    np.testing.assert_array_equal(again.density(t, walls), solution.density(t, walls))


def inner_walls(game):
    def boundary(t, x):
        slope, m_x = game.value_gradient(t, x)[0], game.density_gradient(t, x)[0]
        return slope, -game.viscosity * m_x - game.kinetic * game.density(t, x) * slope

    return boundary


def test_a_part_of_the_domain_with_what_happens_at_its_walls():
    game, cells, found = CosineGame(), np.array([20, 40, 80]), []
    for n in cells:
        options = {"cells": n, "steps": n, "interval": (0.1, 0.4)}
        found.append(errors(solve_mfg_grid(game, boundary=inner_walls(game), **options)))
    for error in np.transpose(found):
        np.testing.assert_allclose(convergence_order(1 / cells, error), 2, atol=0.15)
    reflected = solve_mfg_grid(game, **options)
    assert np.ptp(reflected.mass) < 1e-12
    assert errors(reflected)[0] > 0.1  # these walls are part of another game


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 2), st.floats(0.05, 1), st.floats(0.3, 3), st.integers(0, 1000))
def test_the_scheme_is_monotone_conservative_and_its_own_derivative(order, nu, kinetic, seed):
    game = CosineGame(viscosity=nu, kinetic=kinetic)
    scheme = MeanFieldGameScheme(game, 12, 6, order)
    u, m, v = np.random.default_rng(seed).normal(size=(3, 72))
    m = np.exp(m)
    B = scheme.matrix(scheme.rates(scheme.jumps(u)))
    outside = B.toarray() - np.diag(B.diagonal())
    if order == 1:
        assert outside.max() <= 0  # an M-matrix
    assert (scheme.rates(scheme.jumps(u)) > 0).all()
    # The matrix and the curvature are the derivatives of the two equations along v.
    e = 1e-6
    hjb = (scheme.hjb(u + e * v, m) - scheme.hjb(u - e * v, m)) / (2 * e)
    np.testing.assert_allclose(B @ v, hjb, atol=1e-6 * np.abs(hjb).max())
    ahead, behind = (scheme.matrix(scheme.rates(scheme.jumps(u + s * v))).T @ m for s in (e, -e))
    slope = scheme.curvature(scheme.jumps(u), m) @ v
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * e), atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("order", [1, 2])
def test_a_flipped_drift_in_the_fokker_planck_equation_is_noticed(monkeypatch, order):
    """Mass and positivity do not see it; the error against the closed form does."""
    rates = MeanFieldGameScheme.rates
    transport = MeanFieldGameScheme.transport

    def flipped(scheme, _):
        u = scheme.best_response(scheme.game.density(scheme.t[1:, None], scheme.x).ravel())
        return transport(scheme, rates(scheme, -scheme.jumps(u)))

    right = solve_mfg_grid(CosineGame(), cells=40, steps=40, order=order)
    monkeypatch.setattr(MeanFieldGameScheme, "transport", flipped)
    wrong = solve_mfg_grid(CosineGame(), cells=40, steps=40, order=order, method="picard")
    assert mass_drift(wrong) < 1e-12
    assert wrong.densities.min() > 0
    assert errors(wrong)[1] > 20 * errors(right)[1]


def test_a_scheme_that_loses_mass_is_noticed(monkeypatch):
    matrix = MeanFieldGameScheme.matrix

    def leaking(scheme, rates):
        leak = np.zeros(len(scheme.source()))
        leak[:: scheme.J] = 1e-6  # agents in one cell go home
        return matrix(scheme, rates) + diags_array(leak)

    monkeypatch.setattr(MeanFieldGameScheme, "matrix", leaking)
    solution = solve_mfg_grid(CosineGame(), cells=20, steps=20, order=1, method="picard")
    assert mass_drift(solution) > 1e-9


def test_a_solver_that_did_not_converge_raises_with_its_history():
    with pytest.raises(ConvergenceError, match=r"after 2 iterations .* tolerance=1e-10") as caught:
        solve_mfg_grid(CosineGame(), cells=20, steps=20, iterations=2)
    assert caught.value.history.steps == [1, 2]
    assert caught.value.history.losses[1] < caught.value.history.losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 4}, "cells=4"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"order": 3}, "order=3"),
        ({"method": "gradient"}, "method='gradient'"),
        ({"damping": 0.0}, "damping=0.0"),
        ({"tolerance": 0.0}, "tolerance=0.0"),
        ({"iterations": 0}, "iterations=0"),
        ({"interval": (0.4, 0.1)}, r"interval\[1\]=0.1"),
        ({"interval": (-1.0, 0.1)}, r"interval\[0\]=-1.0"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_grid(CosineGame(), **options)


PLANE = CosineGame(dimension=2)
PLANES = [PLANE, CosineGame(dimension=2, boundary="neumann", kinetic=2.0)]


def plane_errors(solution):
    game, t, x = solution.game, solution.scheme.t[:, None], solution.scheme.places
    value = relative_l2(solution.values, game.value(t, *x))
    return value, relative_l2(solution.densities, game.density(t, *x))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("game", PLANES)
def test_two_dimensions_orders_mass_and_positivity(game, order):
    cells, found = np.array([10, 15, 22]), []
    for n in cells:
        solution = solve_mfg_grid(game, cells=int(n), steps=int(n), order=order)
        found.append(plane_errors(solution))
        assert mass_drift(solution) < 1e-12
        assert solution.densities.min() > 0
    for error in np.transpose(found):
        np.testing.assert_allclose(convergence_order(1 / cells, error), order, atol=0.15)


def test_a_game_of_one_coordinate_has_the_same_solution_in_the_plane():
    """Nothing depends on the second coordinate: every row is the solution on a line."""

    class Line(CosineGame):
        def _factors(self, xp, t, x):
            phi, psi, phi_x, psi_x, *rest = CosineGame()._factors(xp, t, x[:1])
            return phi, psi, [*phi_x, 0 * phi], [*psi_x, 0 * psi], *rest

    options = {"cells": 16, "steps": 12}
    line, plane = (
        solve_mfg_grid(CosineGame(), **options),
        solve_mfg_grid(Line(dimension=2), **options),
    )
    for name in ("values", "densities"):
        rows = getattr(plane, name).reshape(13, 16, 16)
        np.testing.assert_allclose(rows, getattr(line, name)[..., None] + 0 * rows, atol=1e-9)
    t, x, y = np.random.default_rng(0).random((3, 20))
    np.testing.assert_allclose(plane.value(t, x, y), line.value(t, x), atol=1e-9)
    np.testing.assert_allclose(plane.control(t, x, y), [line.control(t, x), 0 * x], atol=1e-8)


def test_picard_and_newton_agree_in_the_plane():
    options = {"cells": 10, "steps": 8}
    newton = solve_mfg_grid(PLANE, **options)
    picard = solve_mfg_grid(PLANE, method="picard", **options)
    np.testing.assert_allclose(picard.values, newton.values, atol=1e-8)
    first = solve_mfg_grid(PLANE, order=1, **options)
    again = solve_mfg_grid(PLANE, order=1, start=first, **options)
    np.testing.assert_allclose(again.densities, first.densities, atol=1e-9)


@pytest.mark.parametrize("game", PLANES)
def test_a_solution_in_the_plane_is_evaluated_between_the_cells(game):
    solution = pickle.loads(pickle.dumps(solve_mfg_grid(game, cells=20, steps=20)))
    points = np.random.default_rng(0).random((3, 40))
    exact = -game.kinetic * game.value_gradient(*points)
    assert relative_l2(solution.value(*points), game.value(*points)) < 4e-3
    assert relative_l2(solution.density(*points), game.density(*points)) < 5e-4
    assert solution.control(*points).shape == (2, 40)
    assert relative_l2(solution.control(*points), exact) < 8e-3
    corner = solution.density(0.5, np.array([0.0, 1.0]), 1.0)
    np.testing.assert_allclose(corner, game.density(0.5, np.array([0.0, 1.0]), 1.0), rtol=2e-3)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(1, 2), st.sampled_from(PLANES), st.integers(0, 1000))
def test_in_the_plane_steps_are_factorized_one_by_one(order, game, seed):
    scheme = MeanFieldGameScheme(game, 8, 4, order)
    u, right = np.random.default_rng(seed).normal(size=(2, 256))
    rates = scheme.rates(scheme.jumps(u))
    B, factors = scheme.matrix(rates), scheme.factorize(rates)
    np.testing.assert_allclose(B @ factors.solve(right), right, atol=1e-10)
    np.testing.assert_allclose(B.T @ factors.solve(right, trans="T"), right, atol=1e-10)


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (CosineGame(dimension=3), {}, "dimension=3"),
        (PLANE, {"cells": 201}, "cells=201"),
        (PLANE, {"interval": (0.1, 0.4)}, r"interval=.* in two dimensions"),
        (PLANE, {"boundary": lambda t, x: (0 * t, 0 * t)}, "boundary=.* in two"),
        (PLANE, {"around": PLANE}, "around=.* in two dimensions"),
        (LinearQuadraticGame(dimension=2), {}, "boundary in two dimensions='exact'"),
    ],
)
def test_what_the_grid_does_not_do_is_refused_by_name(game, options, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_grid(game, **options)
