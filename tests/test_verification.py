"""The yardsticks themselves."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    ExampleGame,
    LinearQuadraticGame,
    MixtureGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import solve_mfg_grid
from opifex_tutorials.solvers.mfg_scheme import MeanFieldGameScheme
from opifex_tutorials.verification import (
    convergence_order,
    exploitability,
    mass_drift,
    relative_errors,
    relative_l2,
)

COSINE = st.builds(
    CosineGame,
    viscosity=st.floats(0.05, 0.3),
    alpha=st.floats(0.1, 0.8),
    beta=st.floats(0.1, 0.8),
    boundary=st.sampled_from(["periodic", "neumann"]),
    coupling=st.sampled_from([Coupling("none"), Coupling(), Coupling("logarithm")]),
    kinetic=st.floats(0.5, 2),
)
examples = settings(max_examples=8, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Pretender:
    """Reports the exact density, but steers by a control of its own."""

    game: CosineGame
    push: float = 0.0

    def value(self, t, x):
        return self.game.value(t, x)

    def density(self, t, x):
        return self.game.density(t, x)

    def control(self, t, x):
        k = 2 * np.pi
        exact = -self.game.kinetic * self.game.value_gradient(t, x)[0]
        return exact - self.game.kinetic * self.push * k * np.cos(k * x)


def test_relative_errors_by_hand():
    # The difference is (6, 8), of length 10; the reference has length 5, the computed one 15.
    assert relative_l2([9.0, 12.0], [3.0, 4.0]) == pytest.approx(2)
    assert relative_l2([3.0, 4.0], [9.0, 12.0]) == pytest.approx(2 / 3)
    assert relative_l2([0.0, 0.0], [3.0, 4.0]) == 1
    assert relative_l2(np.ones((2, 3)), np.ones((2, 3))) == 0


def test_order_of_a_known_rule():
    cells = np.array([10, 20, 40, 80])
    errors = [abs(np.sum((np.arange(n) + 0.5) ** 3) / n**4 - 0.25) for n in cells]  # midpoint rule
    np.testing.assert_allclose(convergence_order(1 / cells, errors), 2, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_l2(np.zeros(3), np.ones(4)), r"computed with shape \(3,\)"),
        (lambda: relative_l2([1.0], [0.0]), "reference=0"),
        (lambda: relative_l2([np.nan], [1.0]), "computed with values"),
        (lambda: relative_l2([1.0], [np.inf]), "reference with values"),
        (lambda: convergence_order([0.1, 0.2], [1.0, 1.0]), "step_sizes"),
        (lambda: convergence_order([0.1], [1.0]), "step_sizes"),
        (lambda: convergence_order([0.2, 0.1], [1.0, 0.0]), "errors"),
        (lambda: convergence_order([0.2, 0.1], [1.0]), "errors"),
        (lambda: mass_drift([1.0, np.nan]), "not finite"),
        (lambda: mass_drift(CosineGame(dimension=2)), "dimension=2.*sampled_mass_drift"),
        (lambda: relative_errors(Pretender(CosineGame()), points=1), "points=1"),
        (lambda: mass_drift(CosineGame(), points=2), "points=2"),
        (
            lambda: exploitability(CosineGame(dimension=2), Pretender(CosineGame())),
            "dimension=2.*sampled",
        ),
        (lambda: exploitability(CosineGame(), Pretender(CosineGame()), cells=3), "cells=3"),
        (lambda: exploitability(CosineGame(), lambda t, x: np.nan * x, cells=20), "not finite"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@dataclass(frozen=True)
class Scaled:
    """A closed form, its value, control and density multiplied by numbers of their own."""

    game: CosineGame
    factors: tuple[float, float, float]

    def value(self, *points):
        return self.factors[0] * self.game.value(*points)

    def control(self, *points):
        found = -self.game.kinetic * self.factors[1] * self.game.value_gradient(*points)
        return found if self.game.dimension > 1 else found[0]

    def density(self, *points):
        return self.factors[2] * self.game.density(*points)


@pytest.mark.parametrize(
    "game",
    [
        CosineGame(kinetic=2.0),
        CosineGame(dimension=3, kinetic=2.0),
        MixtureGame(dimension=20),
        LinearQuadraticGame(),
        TravellingGaussianGame(dimension=50),
    ],
    ids=lambda game: f"{type(game).__name__}-{game.dimension}",
)
def test_relative_errors_of_all_three_fields(game):
    found = relative_errors(Scaled(game, (1.01, 0.98, 1.003)), points=256)
    np.testing.assert_allclose(found, (0.01, 0.02, 0.003), rtol=1e-9)


class OfAnother(Scaled):
    """Its density is that of a game with other amplitudes."""

    def density(self, *points):
        return replace(self.game, alpha=0.5, beta=0.5).density(*points)


def test_relative_errors_are_integrals_over_time_and_space():
    wrong = OfAnother(CosineGame(dimension=2), (1, 1, 1))
    points = np.linspace(0, 1, 101)[:, None, None], np.linspace(0, 0.975, 40)[:, None]
    points = (*points, np.linspace(0, 0.975, 40))
    expected = relative_l2(wrong.density(*points), wrong.game.density(*points))
    found = relative_errors(wrong)
    assert found.density == pytest.approx(expected, rel=0.02)
    assert found.value == found.gradient == 0


def test_mass_drift_of_masses_solutions_and_games():
    assert mass_drift([1.0, 1.25, 1.125]) == 0.25
    assert mass_drift([1.0, 0.5, 1.25]) == 0.5
    assert mass_drift([0.75, 0.75, 0.75]) == 0.25  # from one, not from the start
    assert mass_drift(CosineGame(boundary="neumann")) < 1e-14
    assert mass_drift(solve_mfg_grid(CosineGame(), cells=16, steps=16)) < 1e-13
    assert mass_drift(Pretender(CosineGame())) < 1e-14

    class Leaking(Pretender):
        def density(self, t, x):
            return (1 - 4e-3 * t * (1 - t)) * self.game.density(t, x)  # and back again

    assert mass_drift(Leaking(CosineGame())) == pytest.approx(1e-3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "game",
    [
        CosineGame(),
        CosineGame(boundary="neumann", kinetic=2.0),
        LinearQuadraticGame(),
        TravellingGaussianGame(),
        ExampleGame(),
    ],
)
def test_the_discrete_equilibrium_is_not_exploitable(game, order):
    solution = solve_mfg_grid(game, cells=40, steps=40, order=order)
    assert abs(exploitability(game, solution)) < 1e-12


@pytest.mark.parametrize("order", [1, 2])
def test_only_the_control_of_a_solution_is_used(order):
    game = CosineGame()
    solution = solve_mfg_grid(game, cells=40, steps=40, order=order)
    options = {"cells": 40, "steps": 40, "order": order}
    assert abs(exploitability(game, solution.control, **options)) < 1e-12
    spoiled = replace(solution, densities=2 * solution.densities)
    assert exploitability(game, spoiled) == exploitability(game, solution)


@examples
@given(COSINE)
def test_exploitability_grows_with_the_square_of_a_perturbation(game):
    found = [exploitability(game, Pretender(game, push), cells=128) for push in (1e-3, 3e-3, 1e-2)]
    # From 1e-3 to 1e-2 in u: a factor of 9 and of 11; the grid's own error is far below.
    np.testing.assert_allclose(np.diff(np.log(found)), 2 * np.log([3, 10 / 3]), rtol=0.02)


def lopsided(t, x):
    """A push without symmetry, neither in time nor in space, that does not vanish at walls."""
    return 1e-3 * (1 + 2 * t) * np.sin(2 * np.pi * x + 0.7)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "game",
    [
        CosineGame(coupling=Coupling("none"), viscosity=0.05, kinetic=1.5),
        CosineGame(coupling=Coupling("none"), boundary="neumann", kinetic=0.7),
        LinearQuadraticGame(initial_variance=0.1),
    ],
    ids=["periodic", "walls", "moving crowd"],
)
def test_exploitability_is_the_energy_of_the_error_of_the_control(game, order):
    """Without coupling the best response is known: the exact value, whatever the others do."""
    low, high = game.bounds["x"]
    t, x = np.linspace(0, 1, 401)[:, None], low + (high - low) * (np.arange(400) + 0.5) / 400
    excess = lopsided(t, x) ** 2 / (2 * game.kinetic) * game.density(t, x)
    expected = (high - low) * np.trapezoid(excess.mean(axis=1), t[:, 0])
    exact = solve_mfg_grid(game, cells=80, steps=80, order=order)

    def pushed(t, x):
        return exact.control(t, x) + lopsided(t, x)

    found = exploitability(game, pushed, cells=80, order=order)
    assert found == pytest.approx(expected, rel={1: 0.06, 2: 0.005}[order])


def steered(wall):
    """The exact control of a game, but for what it does at its walls."""
    game = CosineGame(boundary="neumann")

    def control(t, x):
        return np.where((x == 0) | (x == 1), wall, -game.value_gradient(t, x)[0])

    return control


def test_a_control_that_is_absurd_at_the_walls_alone_is_exploitable():
    game = CosineGame(boundary="neumann")
    assert exploitability(game, steered(0.0), cells=40) < 1e-8
    # Half a cell at each wall, where an agent pays half the square of its velocity.
    density = np.mean(game.density(np.linspace(0, 1, 101)[:, None], np.array([0.0, 1.0])))
    found = exploitability(game, steered(3.0), cells=40)
    assert found == pytest.approx(3.0**2 / 2 * density / 40, rel=0.02)
    assert exploitability(game, steered(-3.0), cells=40) == pytest.approx(found)
    with pytest.raises(ValueError, match="not finite"):
        exploitability(game, steered(np.nan), cells=40)


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_a_solution_with_walls_of_its_own_does_not_pass_as_one_of_the_game(boundary):
    def absurd(t, x):
        return 5.0 + 0 * t, 0 * t

    game = CosineGame(boundary=boundary)
    solution = solve_mfg_grid(game, cells=40, steps=40, boundary=absurd)
    with pytest.raises(ValueError, match="boundary=None"):
        exploitability(game, solution)
    with pytest.raises(ValueError, match="boundary=None"):
        exploitability(game, solution, cells=40)
    assert exploitability(game, solution.control, cells=40) > 1
    assert abs(exploitability(game, solution, boundary=absurd)) < 1e-12  # right in its own game

    def other(t, x):
        return 4.0 + 0 * t, 0 * t

    assert exploitability(game, solution, boundary=other, cells=40) > 1e-2


def test_an_explicit_order_is_honored_on_a_grid():
    game = CosineGame()
    solution = solve_mfg_grid(game, cells=40, steps=40)
    first, second = (exploitability(game, solution, order=order) for order in (1, 2))
    assert first == exploitability(game, solution.control, cells=160, order=1)
    assert second == exploitability(game, solution.control, cells=160, order=2)
    assert first > 10 * second > 1e-9 > abs(exploitability(game, solution))


@examples
@given(COSINE)
def test_the_exact_control_is_exploitable_by_the_error_of_the_grid_only(game):
    found = [exploitability(game, Pretender(game), cells=n) for n in (16, 32)]
    assert found[1] < 1e-5
    assert found[1] < found[0] / 8  # of fourth order: a squared second-order error


def test_a_wrong_control_is_caught_behind_a_perfect_density():
    game = CosineGame()
    pretender = Pretender(game, push=1e-2)
    points = np.random.default_rng(0).random((2, 100))
    assert relative_l2(pretender.density(*points), game.density(*points)) == 0
    assert exploitability(game, pretender) > 1e-3
    assert exploitability(game, lambda t, x: 0 * x) > 1e-3  # doing nothing is no equilibrium

    def flipped(t, x):
        return -pretender.control(t, x)

    assert exploitability(game, flipped) > 1e-2


def test_a_wrong_wall_is_exploitable_in_the_game_with_the_right_one():
    game, interval = CosineGame(), (0.1, 0.4)

    def walls(factor):
        def boundary(t, x):
            slope, m_x = game.value_gradient(t, x)[0], game.density_gradient(t, x)[0]
            return factor * slope, -game.viscosity * m_x - game.density(t, x) * slope

        return boundary

    found = []
    for factor in (1.0, 1.01, 1.1):
        learned = solve_mfg_grid(
            game, cells=40, steps=40, boundary=walls(factor), interval=interval
        )
        own = exploitability(game, learned, boundary=learned.scheme.boundary)
        assert abs(own) < 1e-12  # each is right in its own game
        grid = {"cells": 40, "boundary": walls(1.0), "interval": interval}
        found.append(exploitability(game, learned, **grid))
    assert found[0] < 1e-12
    assert found[2] == pytest.approx(100 * found[1], rel=0.2)
    assert found[1] > 1e-8


def test_a_solution_of_another_game_is_judged_in_this_one():
    other = solve_mfg_grid(CosineGame(alpha=0.5), cells=40, steps=40)
    assert exploitability(CosineGame(), other) > 1e-5


def test_the_crowd_that_a_control_transports_is_positive(monkeypatch):
    """The example empties cells fast; the midpoint rule alone would make some of them negative."""
    game, crowds = ExampleGame(), []
    best_response = MeanFieldGameScheme.best_response

    def seen(scheme, m, u=None):
        crowds.append(scheme.densities(m))
        return best_response(scheme, m, u)

    control = solve_mfg_grid(game, cells=40, steps=40).control
    monkeypatch.setattr(MeanFieldGameScheme, "best_response", seen)
    assert exploitability(game, control, cells=40, steps=40) > 0
    assert len(crowds) == 1
    assert crowds[0].min() > 0
