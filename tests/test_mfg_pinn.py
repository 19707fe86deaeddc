"""The PINN for mean field games against closed forms, and broken on purpose."""

import pickle

import numpy as np
import pytest

from opifex_tutorials.losses import mean_field_games as losses
from opifex_tutorials.losses.games import Fields
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    LinearQuadraticGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import solve_mfg_pinn
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.training.loop import TrainingInterrupted
from opifex_tutorials.verification import exploitability, mass_drift, relative_l2

GAME = CosineGame(boundary="neumann")
SMALL = {"seed": 0, "hidden": (10, 10), "points": (16, 16), "steps": 100, "tolerance": np.inf}


def grid(game, times=30, places=101):
    (start, end), (low, high) = list(game.bounds.values())[:2]
    return np.linspace(start, end, times)[:, None], np.linspace(low, high, places)


def errors(solution):
    game, points = solution.game, grid(solution.game)
    if game.dimension == 2:
        points = (points[0][::6, :, None], points[1][::10, None], points[1][::10])
    return (
        relative_l2(solution.value(*points), game.value(*points)),
        relative_l2(solution.density(*points), game.density(*points)),
    )


@pytest.mark.parametrize(
    "game",
    [
        CosineGame(),
        GAME,
        CosineGame(kinetic=3.0, coupling=Coupling("logarithm", 1.0)),
        LinearQuadraticGame(),
        TravellingGaussianGame(),
    ],
    ids=["periodic", "walls", "kinetic", "quadratic", "travelling"],
)
def test_a_short_solve_is_right(game):
    solution = solve_mfg_pinn(game, **SMALL)
    value, density = errors(solution)
    assert value < 3e-4
    assert density < 5e-5
    t, x = grid(game)
    assert mass_drift(solution) < 1e-4
    control = solution.control(t, x)
    exact = -game.kinetic * game.value_gradient(t, x)[0]
    assert relative_l2(control, exact) < 1e-3


def test_no_agent_gains_by_leaving_the_computed_control():
    solution = solve_mfg_pinn(GAME, **SMALL)
    assert exploitability(GAME, solution) < 1e-7
    assert exploitability(GAME, lambda t, x: 1.1 * solution.control(t, x)) > 1e-5


def test_two_dimensions():
    game = CosineGame(boundary="neumann", dimension=2)
    solution = solve_mfg_pinn(game, **{**SMALL, "points": (32, 32)})
    assert errors(solution)[0] < 3e-3
    assert errors(solution)[1] < 3e-4
    assert solution.control(0.5, [0.1, 0.2, 0.3], 0.4).shape == (2, 3)


@pytest.mark.parametrize("game", [CosineGame(), GAME], ids=["periodic", "walls"])
def test_soft_constraints(game):
    value, density = errors(solve_mfg_pinn(game, formulation="soft", **SMALL))
    assert value < 2e-2
    assert density < 2e-3


@pytest.mark.parametrize(("optimizer", "bound"), [("adam", 0.4), ("l_bfgs", 0.02)])
def test_gradient_methods(optimizer, bound):
    solution = solve_mfg_pinn(GAME, optimizer=optimizer, **{**SMALL, "steps": 600})
    assert max(errors(solution)) < bound
    assert solution.history.losses[-1] < solution.history.losses[0]


def test_the_history_and_random_points():
    seen = []

    def monitor(solution):
        seen.append(solution)
        return errors(solution)[0]

    solution = solve_mfg_pinn(GAME, sampling="sobol", monitor=monitor, **SMALL)
    history = solution.history
    assert history.steps == [50, 100]
    assert history.errors == [errors(s)[0] for s in seen]
    assert history.errors[-1] < history.errors[0]
    assert history.seconds == sorted(history.seconds)
    assert len(history.losses) == len(history.held_out_losses) == 2


def test_a_seed_fixes_the_result_and_a_solution_survives_pickling():
    options = {**SMALL, "steps": 50}
    first, again = (solve_mfg_pinn(GAME, **options) for _ in range(2))
    np.testing.assert_array_equal(first.parameters, again.parameters)
    other = solve_mfg_pinn(GAME, **{**options, "seed": 1})
    assert np.abs(first.parameters - other.parameters).max() > 1e-3
    copy, points = pickle.loads(pickle.dumps(first)), grid(GAME)
    np.testing.assert_array_equal(copy.value(*points), first.value(*points))


def test_many_points_are_evaluated_in_blocks(monkeypatch):
    solution, points = solve_mfg_pinn(GAME, **{**SMALL, "steps": 50}), grid(GAME)
    whole = solution.control(*points)
    monkeypatch.setattr("opifex_tutorials.solvers.mfg_pinn.BLOCK", 100)
    np.testing.assert_allclose(solution.control(*points), whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["hjb_residual", "fokker_planck_residual"])
def test_a_wrong_sign_in_an_equation_gives_a_wrong_solution(monkeypatch, name):
    right = getattr(losses, name)

    def wrong(game, *arguments):
        fields = arguments[-1]
        flipped = fields.value.clone()
        flipped[-1] *= -1  # the Laplacian of u
        return right(game, *arguments[:-1], Fields(flipped, fields.log_density))

    monkeypatch.setattr(losses, name, wrong)
    assert max(errors(solve_mfg_pinn(GAME, **SMALL))) > 0.1


def test_a_training_that_did_not_converge_raises_with_its_history():
    with pytest.raises(ConvergenceError, match="tolerance=1e-12") as caught:
        solve_mfg_pinn(GAME, **{**SMALL, "tolerance": 1e-12})
    assert caught.value.history.steps == [50, 100]


def test_an_interrupted_training_leaves_what_it_had():
    def interrupt(solution):
        if solution.history.steps[-1] == 100:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(TrainingInterrupted) as caught:
        solve_mfg_pinn(GAME, monitor=interrupt, **{**SMALL, "steps": 150})
    assert errors(caught.value.solution)[0] < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"formulation": "weak"}, "formulation='weak'"),
        ({"optimizer": "sgd"}, "optimizer='sgd'"),
        ({"sampling": "grid"}, "sampling='grid'"),
        ({"points": (0, 16)}, "points=0"),
        ({"points": 512}, "points=512"),
        ({"hidden": (0,)}, "hidden=0"),
        ({"steps": 75}, "steps=75: allowed are multiples of 50"),
        ({"sampling": "sobol", "resample_every": 33}, "resample_every=33"),
        ({"tolerance": np.nan}, "tolerance=nan"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_pinn(GAME, **{**SMALL, **options})


def test_coordinates_outside_of_the_game_are_refused():
    solution = solve_mfg_pinn(GAME, **{**SMALL, "steps": 50})
    with pytest.raises(ValueError, match="t="):
        solution.value(2.0, 0.5)
    with pytest.raises(ValueError, match="sampling='gauss' in 3 dimensions"):
        solve_mfg_pinn(CosineGame(dimension=2), sampling="gauss", **SMALL)
