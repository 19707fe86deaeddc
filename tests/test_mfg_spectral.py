"""Mean field games by waves: tensor grid and sparse basis against closed forms and the grid."""

import pickle

import numpy as np
import pytest

from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    LinearQuadraticGame,
    MixtureGame,
)
from opifex_tutorials.solvers import solve_mfg_grid, solve_mfg_spectral
from opifex_tutorials.solvers.waves import SparseBasis, TensorBasis, Waves
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.verification import convergence_order, mass_drift, relative_l2


def errors(solution, points=100):
    """Relative L2 of u, of the control and of m at random times and places."""
    game = solution.game
    p = np.random.default_rng(0).random((game.dimension + 1, points))
    control = -game.kinetic * game.value_gradient(*p)
    return (
        relative_l2(solution.value(*p), game.value(*p)),
        relative_l2(solution.control(*p), control if game.dimension > 1 else control[0]),
        relative_l2(solution.density(*p), game.density(*p)),
    )


@pytest.mark.parametrize(
    ("game", "options"),
    [
        (CosineGame(), {}),
        (CosineGame(boundary="neumann", kinetic=2.0), {"degree": 3}),
        (CosineGame(dimension=2, boundary="neumann"), {"degree": 2}),
        (CosineGame(dimension=5, coupling=Coupling("logarithm")), {}),
        (CosineGame(dimension=10, kinetic=0.5), {"degree": 2, "active": 2}),
        (CosineGame(dimension=10, boundary="neumann"), {"degree": 2, "active": 2}),
        (CosineGame(dimension=50), {"active": 1}),
        (MixtureGame(dimension=2), {"active": 2}),
        (MixtureGame(dimension=5, seed=1), {}),
        (MixtureGame(dimension=3, harmonics=2, coupling=Coupling()), {"degree": 2}),
    ],
)
def test_closed_forms_that_lie_in_the_basis(game, options):
    assert max(errors(solve_mfg_spectral(game, **options))) < 5e-9


def test_a_sparse_basis_does_not_hold_a_mixture():
    """All three coordinates must be active: in fewer, there are only sums."""
    game = MixtureGame(dimension=3)
    found = [errors(solve_mfg_spectral(game, degree=3, active=n))[0] for n in (1, 2, 3)]
    assert found[0] > 2 * found[1] > 1e-2
    assert found[2] < 1e-8


@pytest.mark.parametrize("game", [CosineGame(dimension=3), CosineGame(boundary="neumann")])
def test_a_tensor_grid_conserves_mass(game):
    assert mass_drift(solve_mfg_spectral(game, degree=2)) < 1e-13
    sparse = solve_mfg_spectral(game, degree=2, active=1)
    assert 1e-13 < mass_drift(sparse) < 1e-8


class Restless(CosineGame):
    """Its running cost does not vanish at the equilibrium, which no closed form describes."""

    def _potential(self, xp, t, x):
        shift = 3 * t if self.boundary == "periodic" else 0 * t
        return xp.cos(2 * np.pi * x[-1] - shift) * (1 + t) / 2


def test_the_splitting_is_of_second_order_where_the_running_cost_does_not_vanish():
    game, points = Restless(), np.random.default_rng(0).random((2, 200))
    fine = solve_mfg_spectral(game, degree=8, steps=512)
    for name in ("value", "density", "control"):
        exact = getattr(fine, name)(*points)
        found = [
            relative_l2(getattr(solve_mfg_spectral(game, degree=8, steps=n), name)(*points), exact)
            for n in (16, 32, 64)
        ]
        np.testing.assert_allclose(convergence_order([4, 2, 1], found), 2, atol=0.15)


@pytest.mark.parametrize(
    ("game", "options"),
    [
        (Restless(), {"cells": 80, "steps": 80}),
        (Restless(boundary="neumann", kinetic=2.0), {"cells": 80, "steps": 80}),
        (Restless(dimension=2), {"cells": 16, "steps": 16}),
    ],
)
def test_waves_and_cells_agree_on_games_without_a_closed_form(game, options):
    waves = solve_mfg_spectral(game, degree=12, steps=128)
    cells = solve_mfg_grid(game, **options)
    points = np.random.default_rng(0).random((game.dimension + 1, 200))
    bound = 2e-3 if game.dimension == 1 else 1e-2
    for name in ("value", "density", "control"):
        found, other = (getattr(solution, name)(*points) for solution in (waves, cells))
        assert relative_l2(found, other) < bound


@pytest.mark.parametrize("options", [{}, {"active": 2, "degree": 2}])
def test_the_control_is_the_slope_of_the_value(options):
    game = CosineGame(dimension=3, kinetic=1.5, viscosity=0.2)
    solution = pickle.loads(pickle.dumps(solve_mfg_spectral(game, **options)))
    t, *x = np.random.default_rng(1).random((4, 9))
    for axis, control in enumerate(solution.control(t, *x)):
        ahead, behind = ([*x[:axis], x[axis] + e, *x[axis + 1 :]] for e in (1e-5, -1e-5))
        slope = (solution.value(t, *ahead) - solution.value(t, *behind)) / 2e-5
        np.testing.assert_allclose(control, -1.5 * slope, atol=1e-8)
    assert solution.value(0.5, *np.meshgrid(*[[0.1, 0.2]] * 3)).shape == (2, 2, 2)


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_waves_diffuse_at_their_rates(boundary):
    game = CosineGame(dimension=2, boundary=boundary, viscosity=0.3)
    k = 2 * np.pi if boundary == "periodic" else np.pi
    waves = Waves(game, 2)
    for basis in (TensorBasis(waves, 2), SparseBasis(waves, 2, 2, seed=0)):
        x, y = basis.points(slice(None))
        field = 3 + np.cos(k * x) * np.cos(k * y) - np.cos(2 * k * y)
        decays = np.exp(-0.3 * k**2 * 0.1 * np.array([2, 4]))
        later = 3 + decays[0] * np.cos(k * x) * np.cos(k * y) - decays[1] * np.cos(2 * k * y)
        np.testing.assert_allclose(basis.diffusion(0.1)(field), later, atol=1e-12)
        factors = [waves(x), waves(y)]
        np.testing.assert_allclose(basis.combine(basis.fit(field), factors, None), field)


def test_acceleration_saves_games_in_which_agents_overreact():
    game = CosineGame(dimension=2, coupling=Coupling("linear", 5.0))
    with pytest.raises(ConvergenceError, match="tolerance=1e-10") as caught:
        solve_mfg_spectral(game, acceleration=0)
    assert len(caught.value.history.losses) > 2
    assert max(errors(solve_mfg_spectral(game))) < 1e-8
    # Without need of it, it takes fewer iterations all the same.
    plain, fast = (solve_mfg_spectral(CosineGame(), acceleration=n) for n in (0, 5))
    assert len(fast.history.steps) < 0.8 * len(plain.history.steps)


def test_a_density_that_a_sparse_basis_makes_negative_is_an_error():
    with pytest.raises(ConvergenceError):
        solve_mfg_spectral(MixtureGame(dimension=10, amplitudes="raw"), active=2)


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (LinearQuadraticGame(), {}, "boundary='exact'"),
        (CosineGame(dimension=20), {}, r"memory=2.0: .* 3.5e\+09 points"),
        (CosineGame(dimension=100), {"active": 3, "degree": 2}, "memory=2.0"),
        (CosineGame(), {"active": 2}, "active=2"),
        (CosineGame(), {"degree": 0}, "degree=0"),
        (CosineGame(), {"steps": 2}, "steps=2"),
        (CosineGame(), {"damping": 0.0}, "damping=0.0"),
        (CosineGame(), {"acceleration": -1}, "acceleration=-1"),
        (CosineGame(), {"tolerance": 0.0}, "tolerance=0.0"),
        (CosineGame(), {"iterations": 0}, "iterations=0"),
    ],
)
def test_bad_arguments_are_refused_by_name(game, options, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_spectral(game, **options)
