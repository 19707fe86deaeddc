"""The PINN for mean field games against closed forms, and broken on purpose."""

import itertools
import pickle

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from opifex_tutorials.losses import games as losses
from opifex_tutorials.losses import games_of_many
from opifex_tutorials.losses.games import Fields, hard
from opifex_tutorials.losses.games_of_many import Setting
from opifex_tutorials.losses.torch_system import System, gauss, sobol
from opifex_tutorials.models import torch_axes
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    ExampleGame,
    LinearQuadraticGame,
    MixtureGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import mfg_pinn, solve_mfg_pinn
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.training.loop import HELD_OUT, TrainingInterrupted
from opifex_tutorials.verification import exploitability, mass_drift, relative_l2

GAME = CosineGame(boundary="neumann")
SMALL = {"seed": 0, "hidden": (10, 10), "points": (16, 16), "steps": 100, "tolerance": np.inf}


def grid(game, times=30, places=101):
    (start, end), (low, high) = list(game.bounds.values())[:2]
    return np.linspace(start, end, times)[:, None], np.linspace(low, high, places)


def errors(solution):
    game, points = solution.game, grid(solution.game)
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


NOISY = CosineGame(viscosity=0.3, alpha=0.8, beta=0.8)
NODES = {"seed": 0, "steps": 150, "points": (40, 16), "tolerance": np.inf}


def test_with_much_noise_the_lift_helps_in_one_dimension_as_well():
    lifted, hard = (
        errors(solve_mfg_pinn(NOISY, formulation=f, **NODES)) for f in ("lifted", "hard")
    )
    assert 3 * lifted[0] < hard[0]
    assert 3 * lifted[1] < hard[1]
    assert lifted[0] < 1e-4


def test_factors_of_time_without_their_slopes_give_a_wrong_solution(monkeypatch):
    right = games_of_many.times
    good = errors(solve_mfg_pinn(NOISY, formulation="lifted", **NODES))
    monkeypatch.setattr(games_of_many, "times", lambda f, f_t, jet: right(f, 0 * f_t, jet))
    bad = errors(solve_mfg_pinn(NOISY, formulation="lifted", **NODES))
    assert min(bad) > 10 * max(good)


def test_no_agent_gains_by_leaving_the_computed_control():
    solution = solve_mfg_pinn(GAME, **SMALL)
    assert exploitability(GAME, solution) < 1e-7
    assert exploitability(GAME, lambda t, x: 1.1 * solution.control(t, x)) > 1e-5


def crowd(game, count=2000):
    """Times and points: all over a box, or where the crowd of a Gaussian game is."""
    rng, (low, high) = np.random.default_rng(5), list(game.bounds.values())[1]
    t = rng.uniform(0, game.horizon, count)
    if game.boundary != "exact":
        return t, rng.uniform(low, high, (game.dimension, count))
    z = rng.standard_normal((game.dimension, count))
    return t, np.clip(game._path(np, t)[0] + np.sqrt(game._shape(np, t)[0]) * z, low, high)


def errors_in_many_dimensions(solution):
    """Relative errors of u, ∇u and m; of m point by point, since its size spreads over decades."""
    game, (t, x) = solution.game, crowd(solution.game)
    return np.array(
        [
            relative_l2(solution.value(t, *x), game.value(t, *x)),
            relative_l2(-solution.control(t, *x) / game.kinetic, game.value_gradient(t, *x)),
            np.sqrt(np.mean((solution.density(t, *x) / game.density(t, *x) - 1) ** 2)),
        ]
    )


MANY = {
    "walls": (CosineGame(dimension=2, boundary="neumann", kinetic=2.0), {}, 3e-3),
    "dense": (CosineGame(dimension=4), {}, 3e-3),
    "symmetric": (CosineGame(dimension=4), {"architecture": "symmetric"}, 1e-2),
    "not even": (MixtureGame(dimension=2), {"harmonics": 2}, 2e-2),
    "lifted": (MixtureGame(dimension=2), {"formulation": "lifted", "harmonics": 2}, 1e-2),
    "quadratic": (LinearQuadraticGame(dimension=3), {}, 5e-3),
    "coordinates": (TravellingGaussianGame(dimension=3), {"harmonics": 1}, 1e-2),
}
BRIEF = {"seed": 0, "steps": 60, "exploring": 30, "points": (16, 32), "tolerance": np.inf}


@pytest.mark.parametrize(("game", "options", "bound"), MANY.values(), ids=MANY.keys())
def test_a_short_solve_in_many_dimensions(game, options, bound):
    solution = solve_mfg_pinn(game, **BRIEF, **options)
    found = errors_in_many_dimensions(solution)
    assert found.max() < bound, found
    t, x = crowd(game, 5)
    assert solution.control(t, *x).shape == (game.dimension, 5)
    assert np.abs(solution.residuals(t, *x)).max() < 1.0


def test_particles_moved_up_the_value_give_a_worse_solution(monkeypatch):
    """Points that flee from the crowd say little of where it is."""
    game, right = LinearQuadraticGame(dimension=3, initial_mean=2.0), Setting.slope

    def wrong(*arguments):
        return -right(*arguments)

    good = errors_in_many_dimensions(solve_mfg_pinn(game, **BRIEF))
    monkeypatch.setattr(Setting, "slope", wrong)
    bad = errors_in_many_dimensions(solve_mfg_pinn(game, **BRIEF))
    assert (bad > 3 * good).all()


def test_a_coordinate_missing_in_the_laplacian_gives_a_wrong_solution(monkeypatch):
    class Forgetful(torch_axes.Features):
        def __init__(self, shared, own, scale):
            super().__init__(shared, own, scale)
            self.summed = self.summed.clone()
            self.summed[2, :, -1] = 0.0

    monkeypatch.setattr(games_of_many, "Features", Forgetful)
    solution = solve_mfg_pinn(CosineGame(dimension=4), **BRIEF)
    assert errors_in_many_dimensions(solution)[0] > 0.03


def test_points_are_new_at_every_step_and_then_stay(monkeypatch):
    drawn, place = [], Setting.place

    def spy(self, cube, slope):
        drawn.append(cube)
        return place(self, cube, slope)

    monkeypatch.setattr(Setting, "place", spy)
    options = {**BRIEF, "steps": 40, "exploring": 20}
    solve_mfg_pinn(CosineGame(dimension=2), **options)
    held_out = [cube for cube in drawn if len(cube) == 1024]
    assert [len(cube) for cube in drawn if len(cube) != 1024] == 20 * [256] + 2 * [512]
    assert len({cube.tobytes() for cube in drawn}) == 22 + 1
    assert len(held_out) == 4
    drawn.clear()
    solve_mfg_pinn(CosineGame(dimension=2), **{**options, "seed": 1})
    assert not any(np.array_equal(held_out[0], cube) for cube in drawn)


def test_adam_in_many_dimensions_sees_new_points_as_well():
    game = CosineGame(dimension=3)
    options = {**BRIEF, "steps": 300, "exploring": 300}
    solution = solve_mfg_pinn(game, optimizer="adam", **options)
    assert errors_in_many_dimensions(solution)[2] < 0.1


def test_blocks_bound_the_memory_in_many_dimensions(monkeypatch):
    game = CosineGame(dimension=20)
    solution = solve_mfg_pinn(game, **{**BRIEF, "steps": 10, "exploring": 0, "points": (4, 4)})
    (t, x), sizes, right = crowd(game, 300), [], torch_axes.network

    def spy(parameters, widths, inputs, *rest):
        sizes.append(inputs.shape[1])
        return right(parameters, widths, inputs, *rest)

    whole = solution.value(t, *x)
    monkeypatch.setattr(mfg_pinn, "network", spy)
    monkeypatch.setattr(mfg_pinn, "BLOCK", 2300)
    np.testing.assert_allclose(solution.value(t, *x), whole, rtol=1e-12)
    assert sizes == [100, 100, 100]


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


def test_adam_comes_to_rest():
    """Its rate decays like a cosine: in the last twentieth to 1/500 of the first, on average."""
    seen = []

    def monitor(solution):
        seen.append(solution.parameters)
        return 0.0

    options = {**SMALL, "steps": 200, "record_every": 10}
    solve_mfg_pinn(GAME, optimizer="adam", monitor=monitor, **options)
    moves = [np.abs(b - a).max() for a, b in itertools.pairwise(seen)]
    assert moves[-1] < moves[0] / 50
    assert max(moves[:5]) > 0.02  # ten steps of 5e-3 at most


def watched_sobol(monkeypatch):
    """Let the solver draw as it does, but note the seeds of what it draws."""
    seeds = []

    def spy(seed):
        seeds.append(seed)
        return sobol(seed)

    monkeypatch.setattr(mfg_pinn, "sobol", spy)
    return seeds


def test_the_history_holds_errors_and_losses_of_every_recorded_step():
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
    for done, s, loss in zip((0, 50), seen, history.losses, strict=True):  # before the new points
        drawn = System(hard(GAME).conditions(sobol((0, done)), (16, 16)), solution.widths)
        assert loss == pytest.approx(np.sum(drawn.residuals(s.parameters) ** 2), rel=1e-9)


def test_random_points_are_drawn_anew_and_their_seed_counts(monkeypatch):
    seeds = watched_sobol(monkeypatch)
    options = {**SMALL, "sampling": "sobol", "steps": 75, "record_every": 25, "resample_every": 50}
    first = solve_mfg_pinn(GAME, **options)
    assert sorted(seeds) == [(0, 0), (0, 50), (0, HELD_OUT)]
    # From the same weights, on other points.
    start = mfg_pinn.untrained(GAME, hard, (10, 10), seed=0)[1]
    again, other = (solve_mfg_pinn(GAME, start=start, **{**options, "seed": i}) for i in (0, 1))
    np.testing.assert_array_equal(again.parameters, first.parameters)
    assert np.abs(other.parameters - first.parameters).max() > 1e-3


def test_points_not_asked_for_are_redrawn_at_the_next_recorded_step(monkeypatch):
    seeds = watched_sobol(monkeypatch)
    options = {"sampling": "sobol", "steps": 90, "record_every": 30, "optimizer": "adam"}
    solve_mfg_pinn(GAME, **{**SMALL, **options, "tolerance": np.inf})
    assert sorted(seeds) == [(0, 0), (0, 60), (0, HELD_OUT)]  # 60 is the first one from 50 on


def test_held_out_points_are_random_and_others_than_those_of_the_training(monkeypatch):
    seeds = watched_sobol(monkeypatch)
    solution = solve_mfg_pinn(GAME, **{**SMALL, "steps": 5, "record_every": 5, "seed": 3})
    assert seeds == [(3, HELD_OUT)]
    nodes, held_out = (gauss, (16, 16)), (sobol((3, HELD_OUT)), (32, 32))
    for name, (sample, counts) in {"losses": nodes, "held_out_losses": held_out}.items():
        system = System(hard(GAME).conditions(sample, counts), solution.widths)
        expected = np.sum(system.residuals(solution.parameters) ** 2)
        assert getattr(solution.history, name) == pytest.approx([expected], rel=1e-9)


def test_a_seed_fixes_the_result_and_a_solution_survives_pickling():
    options = {**SMALL, "steps": 50}
    first, again = (solve_mfg_pinn(GAME, **options) for _ in range(2))
    np.testing.assert_array_equal(first.parameters, again.parameters)
    assert first.history.held_out_losses == again.history.held_out_losses
    copy, points = pickle.loads(pickle.dumps(first)), grid(GAME)
    np.testing.assert_array_equal(copy.value(*points), first.value(*points))


def test_another_seed_starts_from_other_weights_and_is_judged_at_other_points(monkeypatch):
    seeds, seen = watched_sobol(monkeypatch), []

    def monitor(solution):
        seen.append(solution.parameters)
        return 0.0

    for seed in (0, 1):
        options = {**SMALL, "steps": 1, "record_every": 1, "seed": seed}
        solve_mfg_pinn(GAME, monitor=monitor, **options)
    assert seeds == [(0, HELD_OUT), (1, HELD_OUT)]
    weights = [mfg_pinn.untrained(GAME, hard, (10, 10), seed)[1] for seed in (0, 1)]
    # One short step does not lead far from where each began.
    for after, before, elsewhere in zip(seen, weights, weights[::-1], strict=True):
        assert np.linalg.norm(after - before) < 0.2 * np.linalg.norm(after - elsewhere)


def test_a_training_takes_one_thread_and_leaves_the_others_as_they_were():
    def threads():
        return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}

    inside = []

    def monitor(solution):
        inside.extend(threads().values())
        return 0.0

    with threadpool_limits(2):
        before = threads()
        solve_mfg_pinn(GAME, monitor=monitor, **{**SMALL, "steps": 5, "record_every": 5})
        assert threads() == before
    assert 2 in before.values()
    assert set(inside) == {1}


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


def test_a_training_that_stalls_says_so_and_after_how_many_steps():
    """More weights than residuals: the loss reaches rounding, and no step lowers it further."""
    options = {**SMALL, "hidden": (8,), "points": (3, 3), "record_every": 50, "tolerance": 1e-9}
    message = r"after (\d+) steps of levenberg_marquardt, after which none lowers the loss"
    with pytest.raises(ConvergenceError, match=message) as caught:
        solve_mfg_pinn(GAME, **options)
    history = caught.value.history
    assert history.losses[-1] < 1e-28
    assert 1 < history.steps[-1] < 50
    assert f"after {history.steps[-1]} steps" in str(caught.value)


def test_a_game_with_huge_residuals_takes_its_steps_and_tells_how_many():
    game = ExampleGame(viscosity=1e-3, kinetic=1e3)
    with pytest.raises(ConvergenceError, match="after 10 steps of levenberg_marquardt: ") as caught:
        solve_mfg_pinn(game, seed=0, steps=10, record_every=5)
    history = caught.value.history
    assert history.steps == [5, 10]
    assert history.losses[1] < history.losses[0] < np.inf


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
        ({"damping": -1}, "damping=-1"),
        ({"damping": 0.0}, "damping=0.0"),
        ({"damping": np.nan}, "damping=nan"),
        ({"damping": np.inf}, "damping=inf"),
        ({"damping": -1, "optimizer": "adam"}, "damping=-1"),
        ({"start": np.zeros(3)}, r"start of shape \(3,\)"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_pinn(GAME, **{**SMALL, **options})


def test_coordinates_outside_of_the_game_are_refused():
    solution = solve_mfg_pinn(GAME, **{**SMALL, "steps": 50})
    with pytest.raises(ValueError, match="t="):
        solution.value(2.0, 0.5)
    for evaluate in (solution.value, solution.density, solution.control, solution.residuals):
        for coordinates in ((0.5,), (0.5, 0.1, 0.2)):
            with pytest.raises(ValueError, match=f"{len(coordinates)} coordinates: allowed are 2"):
                evaluate(*coordinates)


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (CosineGame(dimension=2), {"sampling": "gauss"}, "sampling='gauss' in 3 dimensions"),
        (CosineGame(), {"harmonics": 2}, "harmonics=2: allowed in more than one dimension"),
        (CosineGame(), {"exploring": 0}, "exploring=0: allowed in more than one dimension"),
        (CosineGame(dimension=2), {"harmonics": 0}, "harmonics=0"),
        (CosineGame(dimension=2), {"exploring": 101}, "exploring=101"),
        (CosineGame(dimension=2), {"architecture": "sparse"}, "architecture='sparse'"),
        (CosineGame(), {"architecture": "symmetric"}, "architecture='symmetric': allowed in more"),
        (
            CosineGame(dimension=2),
            {"architecture": "symmetric", "hidden": (8, 4)},
            r"hidden=\(8, 4\): allowed are the widths of inner and outer layers",
        ),
        (CosineGame(dimension=2), {"hidden": ((8, 4), (12,))}, r"hidden=\(8, 4\)"),
        (CosineGame(dimension=2), {"steps": 0}, "steps=0"),
        (LinearQuadraticGame(), {"formulation": "lifted"}, "boundary='exact'"),
        (LinearQuadraticGame(dimension=2), {"formulation": "lifted"}, "boundary='exact'"),
    ],
)
def test_bad_arguments_in_many_dimensions(game, options, message):
    options = {"seed": 0, "steps": 100, **options}
    with pytest.raises(ValueError, match=message):
        solve_mfg_pinn(game, **options)
