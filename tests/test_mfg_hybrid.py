"""Grid and network together: against closed forms, against each alone, and broken on purpose."""

import pickle

import numpy as np
import pytest
import torch

from opifex_tutorials.losses.games import FORMULATIONS, ValuesOnly, hard, imitation
from opifex_tutorials.losses.torch_system import System, gauss
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.problems.mean_field_games import CosineGame, Coupling, LinearQuadraticGame
from opifex_tutorials.solvers import mfg_scheme, solve_mfg_grid, solve_mfg_hybrid, solve_mfg_pinn
from opifex_tutorials.solvers.mfg_hybrid import (
    TRAINING_DAMPING,
    HybridHistory,
    MfgHybridSolution,
)
from opifex_tutorials.solvers.mfg_pinn import MfgPinnSolution, untrained
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.verification import (
    convergence_order,
    exploitability,
    mass_drift,
    relative_l2,
)

GAME = CosineGame(boundary="neumann")
STRONG = CosineGame(kinetic=2.0, coupling=Coupling("logarithm"))
GAMES = ["walls", "ring", "all of space"]
SMALL = {"hidden": (10, 10), "points": (16, 16), "record_every": 10}


def errors(solution):
    game, t, x = solution.game, np.linspace(0, 1, 31)[:, None], np.linspace(0, 1, 101)
    return (
        relative_l2(solution.value(t, x), game.value(t, x)),
        relative_l2(solution.density(t, x), game.density(t, x)),
    )


def watch(solution):
    return errors(solution)[0]


@pytest.fixture(scope="module", params=[GAME, STRONG], ids=["walls", "ring"])
def network(request):
    options = {**SMALL, "steps": 80, "tolerance": np.inf}
    return solve_mfg_pinn(request.param, seed=0, **options)


class Exact:
    """The equilibrium as an approximation of itself."""

    def __init__(self, game):
        self.game, self.value, self.density = game, game.value, game.density

    def residuals(self, t, x):
        """Return zeros: it satisfies both equations."""
        return np.zeros((2, *np.broadcast(t, x).shape))


def test_the_residuals_are_those_of_the_equations_by_automatic_differentiation(network):
    game, rng = network.game, np.random.default_rng(0)
    t, x = (torch.tensor(z, requires_grad=True) for z in rng.uniform(0.1, 0.9, (2, 20)))
    residuals = network.residuals(t.detach().numpy(), x.detach().numpy())

    def fields(t, x):
        angle = 2 * np.pi * x if game.boundary == "periodic" else np.pi * x
        # The feature is a cosine up to its sign.
        feature = hard(game).trial(t.detach(), x.detach()).features[0, :, 1]
        z = torch.stack([4 * t - 2, 2 * torch.cos(angle)], -1)
        z = z * torch.stack([torch.ones_like(t), (feature * z[:, 1]).detach().sign()], -1)
        model = MLP(network.widths, seed=0)
        theta = torch.from_numpy(network.parameters)
        torch.nn.utils.vector_to_parameters(theta, model.parameters())
        outputs = model(z).T
        u = game.terminal_cost(x, xp=torch)
        u = u + 2 * game.viscosity / game.kinetic * (1 - t) * outputs[0]
        return u, game.initial_density(x, xp=torch) * torch.exp(t * outputs[1])

    def d(f, z):
        return torch.autograd.grad(f.sum(), z, create_graph=True)[0]

    u, m = fields(t, x)
    u_x, m_x = d(u, x), d(m, x)
    cost = game.running_cost(t, x, m=m, xp=torch)
    hjb = -d(u, t) - game.viscosity * d(u_x, x) + game.kinetic / 2 * u_x**2 - cost
    fokker_planck = d(m, t) - game.viscosity * d(m_x, x) - game.kinetic * d(m * u_x, x)
    expected = torch.stack([hjb, fokker_planck]).detach().numpy()
    np.testing.assert_allclose(residuals, expected, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2])
def test_around_the_equilibrium_the_grid_has_nothing_left_to_do(order):
    solution = solve_mfg_grid(GAME, cells=20, steps=20, order=order, around=Exact(GAME))
    u, m = solution.scheme.sampled
    assert np.abs(solution.values - u).max() < 1e-9
    assert np.abs(solution.densities - m).max() < 1e-9
    assert errors(solve_mfg_grid(GAME, cells=20, steps=20, order=order))[0] > 1e-4


def test_the_correction_gains_over_grid_and_network_and_keeps_the_order(network):
    game, cells = network.game, np.array([20, 40, 80])
    found = []
    for n in cells:
        grid = solve_mfg_grid(game, cells=n, steps=n)
        solution = solve_mfg_hybrid(game, seed=0, route="correct", network=network, cells=n)
        found.append(errors(solution))
        assert (np.array(errors(grid)) > 10 * np.array(errors(solution))).all()
        assert (np.array(errors(network)) > 2 * np.array(errors(solution))).all()
    for error in np.transpose(found):
        assert convergence_order(1 / cells, error)[-1] == pytest.approx(2.0, abs=0.2)


def test_a_residual_with_a_flipped_sign_spoils_the_correction(network, monkeypatch):
    right = type(network).residuals
    monkeypatch.setattr(type(network), "residuals", lambda *a: -right(*a))
    solution = solve_mfg_hybrid(network.game, seed=0, route="correct", network=network)
    assert errors(solution)[0] > errors(network)[0]


def test_the_correction_keeps_the_population_on_the_grid_and_nobody_gains(network):
    solution = solve_mfg_hybrid(network.game, seed=0, route="correct", network=network, cells=24)
    assert exploitability(network.game, solution) < 1e-7
    assert mass_drift(solution) < 1e-5
    around = solve_mfg_grid(network.game, cells=24, steps=24, around=network)
    assert mass_drift(around) < 1e-13
    t, x, h = np.linspace(0, 1, 7)[:, None], np.linspace(0.1, 0.9, 9), 1e-5
    slope = (solution.value(t, x + h) - solution.value(t, x - h)) / (2 * h)
    control = -network.game.kinetic * slope
    np.testing.assert_allclose(solution.control(t, x), control, atol=1e-8)


def test_a_corrected_grid_is_judged_by_the_game_without_its_sources():
    rough = solve_mfg_pinn(GAME, seed=0, steps=10, tolerance=np.inf, **SMALL)
    around = solve_mfg_grid(GAME, cells=16, steps=16, around=rough)
    assert exploitability(GAME, around) == exploitability(GAME, around.control) > 1e-9


def test_values_without_derivatives_are_those_of_the_trial_function():
    t, x = (torch.from_numpy(z.copy()) for z in gauss((5, 6), 2).T)
    for name, kind in FORMULATIONS.items():
        trial = kind(STRONG).trial(t, x)
        outputs = torch.randn(4, len(t), 2, dtype=torch.float64)
        values = ValuesOnly(trial)
        assert values.features.shape == (1, *trial.features.shape[1:]), name
        for short, full in zip(values(outputs[:1]), trial(outputs), strict=True):
            torch.testing.assert_close(short[0], full[0])


def test_the_jacobian_of_the_imitation_is_that_of_finite_differences():
    widths, theta = untrained(GAME, hard, (5, 4), 1)
    t, x = gauss((4, 5), 2).T.copy()
    known = np.stack([GAME.value(t, x), GAME.density(t, x)])
    system = System([imitation(GAME, hard, t, x, known)], widths)
    r, jacobian = system.linearize(theta)
    direction = np.random.default_rng(0).normal(size=len(theta))
    ahead, behind = (system.residuals(theta + s * direction) for s in (1e-6, -1e-6))
    np.testing.assert_allclose(jacobian @ direction, (ahead - behind) / 2e-6, atol=1e-7)
    np.testing.assert_allclose(r, system.residuals(theta), atol=1e-14)


def test_the_mass_is_measured_before_anything_makes_it_one(network):
    widths, start = untrained(GAME, hard, (10, 10), 0)
    nobody = MfgPinnSolution(GAME, hard, widths, start)
    assert mass_drift(nobody) > 1e-2
    assert mass_drift(MfgHybridSolution(nobody, None, HybridHistory())) == mass_drift(nobody)
    # With a correction, too: what is wrong between the cells of the grid stays visible.
    solution = solve_mfg_hybrid(network.game, seed=0, route="correct", network=network, cells=12)
    x = np.linspace(0, 1, 101)
    product = network.density(0.5, x) * solution.correction.density(0.5, x)
    np.testing.assert_array_equal(solution.density(0.5, x), product)


@pytest.fixture(scope="module", params=[GAME, STRONG, LinearQuadraticGame()], ids=GAMES)
def distilled(request):
    """The solution of every stage of a distillation, and the trained one."""
    stages = []

    def keep(solution):
        stages.append(solution)
        return 0.0

    options = {**SMALL, "record_every": 1, "steps": 1, "tolerance": np.inf, "monitor": keep}
    solution = solve_mfg_hybrid(request.param, seed=0, cells=16, **options)
    return stages, solution


def test_the_network_imitates_value_and_density_of_the_grid(distilled):
    grid, imitator, *_ = distilled[0]
    (low, high), t = grid.game.bounds["x"], np.linspace(0, 1, 31)[:, None]
    x = np.linspace(low, high, 101)
    density = imitator.density(t, x) - grid.density(t, x)
    assert relative_l2(imitator.value(t, x), grid.value(t, x)) < 0.03
    assert np.abs(density).max() < 0.1 * grid.density(t, x).max()
    untaught = MfgPinnSolution(grid.game, hard, *untrained(grid.game, hard, (10, 10), 0))
    assert relative_l2(untaught.value(t, x), grid.value(t, x)) > 0.1


def test_the_training_goes_on_from_what_was_imitated(distilled):
    (_, imitator, *_), solution = distilled
    options = {**SMALL, "record_every": 1, "steps": 1, "tolerance": np.inf}
    start = {"start": imitator.parameters, "damping": TRAINING_DAMPING}
    expected = solve_mfg_pinn(imitator.game, seed=0, **start, **options)
    np.testing.assert_array_equal(solution.network.parameters, expected.parameters)


@pytest.mark.parametrize(
    ("game", "gain"), [(GAME, 10), (STRONG, 10), (LinearQuadraticGame(), 2)], ids=GAMES
)
def test_distilled_then_trained_it_beats_its_grid_and_as_many_steps_alone(game, gain):
    options = {**SMALL, "steps": 10, "tolerance": np.inf}
    solution = solve_mfg_hybrid(game, seed=0, **options)
    grid = solve_mfg_grid(game, cells=20, steps=20, order=1)
    alone = solve_mfg_pinn(game, seed=0, **options)

    def wrong(solution):
        (low, high), t = game.bounds["x"], np.linspace(0, 1, 31)[:, None]
        x = np.linspace(low, high, 101)
        return relative_l2(solution.value(t, x), game.value(t, x))

    assert wrong(grid) > gain * wrong(solution)
    assert wrong(alone) > gain * wrong(solution)


def test_the_history_has_every_stage_and_pickling_keeps_the_solution():
    solution = solve_mfg_hybrid(
        GAME, seed=0, route="both", cells=16, steps=20, monitor=watch, **SMALL
    )
    stages = solution.history.stages
    assert [stage.name for stage in stages] == ["grid", "distilled", "trained", "corrected"]
    seconds = [stage.seconds for stage in stages]
    assert seconds == sorted(seconds)
    assert stages[0].error == watch(solve_mfg_grid(GAME, cells=16, steps=16, order=1))
    assert stages[-1].error == watch(solution) < stages[2].error < stages[1].error
    assert solution.history.steps == [10, 20]
    assert solution.history.errors[-1] == stages[2].error
    assert stages[1].seconds <= solution.history.seconds[0] <= stages[2].seconds
    copy = pickle.loads(pickle.dumps(solution))
    assert copy.density(0.3, 0.7) == solution.density(0.3, 0.7)


def test_a_start_is_continued():
    options = {**SMALL, "tolerance": np.inf, "steps": 10}
    first = solve_mfg_pinn(GAME, seed=0, **options)
    more = solve_mfg_pinn(GAME, seed=9, start=first.parameters, damping=1e-3, **options)
    assert more.history.losses[-1] < first.history.losses[-1]
    with pytest.raises(ValueError, match="start of shape"):
        solve_mfg_pinn(GAME, seed=0, start=first.parameters[:-1], **options)


def test_bad_arguments_are_refused_by_name():
    options = {**SMALL, "steps": 10, "tolerance": np.inf}
    network = solve_mfg_pinn(GAME, seed=0, **options)
    for arguments, message in [
        ({"route": "best"}, "route='best'"),
        ({"imitation_steps": 0}, "imitation_steps=0"),
        ({"formulation": "best"}, "formulation='best'"),
        ({"formulation": "best", "route": "correct"}, "formulation='best'"),
        ({"cells": 2}, "cells=2"),
        ({"order": 0}, "order=0"),
        ({"order": 3, "route": "correct"}, "order=3"),
        ({"hidden": (0,)}, "hidden=0"),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_mfg_hybrid(GAME, **{"seed": 0, **options, **arguments})
    for arguments in [
        {"network": network},
        {"network": network, "route": "both"},
        {"network": 3, "route": "correct"},
        {"network": network, "route": "correct", "steps": 10},
        {"network": network, "route": "correct", "unknown": 1},
    ]:
        with pytest.raises(ValueError, match="allowed is a solution of this game"):
            solve_mfg_hybrid(GAME, seed=0, **arguments)
    with pytest.raises(ValueError, match="allowed is a solution of this game"):
        solve_mfg_hybrid(STRONG, seed=0, route="correct", network=network)
    with pytest.raises(ConvergenceError, match="tolerance=1e-12"):
        solve_mfg_hybrid(GAME, seed=0, **{**options, "tolerance": 1e-12})


@pytest.mark.parametrize(
    ("game", "arguments", "message"),
    [
        (LinearQuadraticGame(), {"route": "correct"}, "boundary='exact'"),
        (LinearQuadraticGame(), {"route": "both"}, "boundary='exact'"),
        (GAME, {"route": "correct", "cells": 2}, "cells=2"),
        (GAME, {"route": "both", "order": 0}, "order=0"),
        (GAME, {"route": "distill", "formulation": "best"}, "formulation='best'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(game, arguments, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_hybrid(game, seed=0, monitor=pytest.fail, **arguments)


def test_the_source_of_the_correction_sums_to_zero(network):
    scheme = mfg_scheme.MeanFieldGameScheme(network.game, 20, 20, 2, around=network)
    assert np.abs(scheme._inflow).max() > 1e-6
    assert np.abs(scheme._inflow.sum(axis=1)).max() < 1e-12
