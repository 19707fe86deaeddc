"""Learning a boundary: sensitivities, traces, recovery, what cannot be seen, broken on purpose."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from opifex_tutorials.losses.games import hard, soft
from opifex_tutorials.losses.torch_system import System, gauss
from opifex_tutorials.models.traces import NetworkTrace, SplineTrace
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.solvers import boundary_inverse, learn_boundary, solve_mfg_grid
from opifex_tutorials.solvers.boundary_inverse import LearnedBoundary, wall_sensitivity
from opifex_tutorials.solvers.mfg_pinn import MfgPinnSolution, untrained
from opifex_tutorials.verification import exploitability, relative_l2

GAME, INTERVAL = CosineGame(kinetic=1.3), (0.1, 0.4)
T = np.linspace(0, 1, 101)


def exact(t, x):
    slope, m_x = GAME.value_gradient(t, x)[0], GAME.density_gradient(t, x)[0]
    return slope, -GAME.viscosity * m_x - GAME.kinetic * GAME.density(t, x) * slope


def known(t, x):
    slope, flux = exact(t, x)
    return (np.nan if x == INTERVAL[0] else slope), flux  # NaN: whoever uses it is found out


def with_slope(slope, extra_flux=0.0):
    def boundary(t, x):
        _, flux = exact(t, x)
        at_low = x == INTERVAL[0]
        return (slope(t) if at_low else exact(t, x)[0]), flux + at_low * extra_flux * np.cos(2 * t)

    return boundary


TRUE = exact(T, INTERVAL[0])[0]
TRACES = [
    NetworkTrace((8,), horizon=1.0, final=TRUE[-1], seed=0),
    SplineTrace(25, horizon=1.0, final=TRUE[-1]),
    NetworkTrace((5, 4), horizon=2.0, final=0.0, seed=1),
    SplineTrace(9, horizon=2.0, final=0.0),
]


def observations(n, level, seed=0, density=GAME.density):
    rng = np.random.default_rng(seed)
    t, x = rng.random(n), rng.uniform(*INTERVAL, n)
    return t, x, density(t, x) + level * rng.normal(size=n)


def learn(trace, data, noise, **options):
    return learn_boundary(
        GAME, trace, *data, noise=noise, boundary=known, interval=INTERVAL, **options
    )


@pytest.mark.parametrize("quantity", ["slope", "flux"])
def test_the_sensitivity_is_the_derivative_of_the_density(quantity):
    def densities(e):
        slope = (lambda t: exact(t, 0.1)[0] + e * np.cos(2 * t)) if quantity == "slope" else None
        boundary = with_slope(slope or (lambda t: exact(t, 0.1)[0]), 0 if slope else e)
        return solve_mfg_grid(GAME, cells=16, steps=20, boundary=boundary, interval=INTERVAL)

    times, answer = wall_sensitivity(densities(0.0), quantity)
    difference = (densities(1e-3).densities - densities(-1e-3).densities) / 2e-3
    np.testing.assert_allclose(answer @ np.cos(2 * times), difference, atol=1e-5)
    assert np.abs(difference).max() > 0.1


@pytest.mark.parametrize(("trace", "horizon"), [*zip(TRACES, (1.0, 1.0, 2.0, 2.0), strict=True)])
def test_derivatives_of_traces(trace, horizon):
    rng, t, e = np.random.default_rng(0), horizon * np.linspace(0.013, 0.987, 20), 1e-4
    theta = 0.5 * rng.normal(size=trace.start.shape)
    direction, found = rng.normal(size=theta.shape), trace.linearize(theta, t)
    value, bend = trace(theta, t)
    np.testing.assert_allclose(found[:2], [value, bend], rtol=1e-14)
    around = [trace(theta, t + s * e)[0] for s in (-1, 0, 1)]
    np.testing.assert_allclose(bend, np.diff(around, 2, axis=0)[0] / e**2, atol=1e-4)
    ahead, behind = (np.array(trace(theta + s * e * direction, t)) for s in (1, -1))
    slope = np.array([jacobian @ direction for jacobian in found[2:]])
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * e), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trace(theta, np.array([horizon]))[0], trace.final, rtol=1e-14)


def test_the_network_trace_is_the_network():
    trace, network = TRACES[2], torch.nn.Sequential()
    sizes, at = [(1, 5), (5, 4), (4, 1)], 0
    theta = torch.from_numpy(trace.start)
    for n_in, n_out in sizes:
        layer = torch.nn.Linear(n_in, n_out, dtype=torch.float64)
        layer.weight.data = theta[at : at + n_in * n_out].view(n_out, n_in)
        at += n_in * n_out
        layer.bias.data = theta[at : at + n_out]
        at += n_out
        network.extend([layer, torch.nn.Tanh()])
    t = torch.linspace(0, 2, 7, dtype=torch.float64)[:, None]
    expected = ((2 - t) * network[:-1](2 * t - 2)).detach().numpy()[:, 0]
    np.testing.assert_allclose(trace(trace.start, t[:, 0].numpy())[0], expected, rtol=1e-13)


@pytest.mark.parametrize("trace", TRACES[:2])
def test_exact_observations_give_the_boundary_and_drive_the_grid_solver(trace):
    learned = learn(trace, observations(200, 0.0), 1e-5, cells=40, weights=8)
    assert relative_l2(learned.slope(T), TRUE) < 2e-3
    best = min(entry["risk"] for entry in learned.path)
    assert learned.path[0]["misfit"] > 100 * best
    again = pickle.loads(pickle.dumps(learned))
    options = {"cells": 40, "steps": 40, "interval": INTERVAL}
    solution = solve_mfg_grid(GAME, boundary=again, **options)
    reference = solve_mfg_grid(GAME, boundary=exact, **options)
    t, x = reference.scheme.t[:, None], reference.scheme.x
    for name in ("value", "density"):
        truth = getattr(GAME, name)(t, x)
        errors = [relative_l2(getattr(s, name)(t, x), truth) for s in (solution, reference)]
        assert errors[0] < 2 * errors[1]
    judged = {"cells": 80, "boundary": exact, "interval": INTERVAL}
    assert 0 < exploitability(GAME, solution, **judged) < 1e-6


def test_a_boundary_that_no_smooth_continuation_would_guess():
    """A pulse at the wall, from another grid; nothing but the data can tell."""

    def slope(t):
        return exact(t, 0.1)[0] + 0.3 * np.exp(-(((t - 0.4) / 0.08) ** 2))

    options = {"cells": 50, "steps": 60, "boundary": with_slope(slope), "interval": INTERVAL}
    truth = solve_mfg_grid(GAME, **options)
    data = observations(256, 1e-3, density=truth.density)
    learned = learn(SplineTrace(25, horizon=1.0, final=TRUE[-1]), data, 1e-3)
    assert relative_l2(TRUE, slope(T)) > 0.4
    assert relative_l2(learned.slope(T), slope(T)) < 0.1


def test_the_fit_is_the_minimum_that_scipy_finds():
    trace, (t, x, y) = SplineTrace(6, horizon=1.0, final=TRUE[-1]), observations(30, 0.02)
    found = learn(trace, (t, x, y), 0.02, cells=24, weights=4).path[-1]
    times = (np.arange(400) + 0.5) / 400

    def residuals(theta):
        densities = []
        for n in (24, 12):
            walls = LearnedBoundary(trace, theta, known, 0.1)
            options = {"cells": n, "steps": n, "boundary": walls, "interval": INTERVAL}
            densities.append(solve_mfg_grid(GAME, **options).density(t, x))
        misfit = densities[0] + (densities[0] - densities[1]) / 3 - y
        bend = np.sqrt(found["weight"] / 400) * trace(theta, times)[1]
        return np.concatenate([misfit / 0.02 / np.sqrt(30), bend])

    expected = least_squares(residuals, np.zeros(6), diff_step=1e-4, xtol=1e-6).x
    slopes = [trace(theta, T)[0] for theta in (found["parameters"], expected)]
    # The derivative is that of the finer grid alone, the prediction is extrapolated.
    assert relative_l2(*slopes) < 0.03


def test_the_risk_charges_twice_for_what_follows_the_reports():
    """Fitting noise lowers the mean square misfit by 2/n of the sum of dm/dy, on average."""
    n, sigma, (t, x, y) = 8, 0.01, observations(8, 0.01)

    def predicted(y):
        trace = SplineTrace(6, horizon=1.0, final=TRUE[-1])
        found = learn(trace, (t, x, y), sigma, cells=16, weights=3).path[-1]
        walls = LearnedBoundary(trace, found["parameters"], known, 0.1)
        fine, coarse = (
            solve_mfg_grid(GAME, cells=c, steps=c, boundary=walls, interval=INTERVAL).density(t, x)
            for c in (16, 8)
        )
        return found, fine + (fine - coarse) / 3

    found, m = predicted(y)
    assert found["misfit"] == pytest.approx(np.mean((m - y) ** 2) / sigma**2, rel=1e-3)
    moved = [predicted(y + 1e-3 * (np.arange(n) == i))[1][i] - m[i] for i in range(n)]
    freedom = np.sum(moved) / 1e-3
    assert found["freedom"] == pytest.approx(freedom, rel=0.02)
    assert found["risk"] == pytest.approx(found["misfit"] + 2 * freedom / n, rel=0.02)


def test_a_constant_in_the_value_leaves_no_trace_in_the_density():
    @dataclass(frozen=True)
    class Shifted(CosineGame):
        def _terminal_cost(self, xp, t, x):
            return super()._terminal_cost(xp, t, x) + 3.0

    games = (CosineGame(kinetic=1.3), Shifted(kinetic=1.3))
    options = {"cells": 20, "steps": 20, "boundary": exact, "interval": INTERVAL}
    plain, shifted = (solve_mfg_grid(game, **options) for game in games)
    np.testing.assert_allclose(shifted.densities, plain.densities, atol=1e-9)
    np.testing.assert_allclose(shifted.values, plain.values + 3.0, atol=1e-9)


def test_more_observations_help_and_understated_noise_is_fitted():
    spline = TRACES[1]
    few, many = (learn(spline, observations(n, 0.01), 0.01, cells=16) for n in (16, 256))
    errors = [relative_l2(learned.slope(T), TRUE) for learned in (few, many)]
    assert errors[1] < errors[0]
    believed = learn(spline, observations(256, 0.01), 1e-4, cells=16)
    assert relative_l2(believed.slope(T), TRUE) > 3 * errors[1]


def test_a_wrong_sensitivity_is_noticed(monkeypatch):
    right = learn(TRACES[1], observations(64, 0.0), 1e-3, cells=16, weights=4)
    monkeypatch.setattr(
        boundary_inverse, "wall_sensitivity", lambda s: (lambda t, a: (t, -a))(*wall_sensitivity(s))
    )
    wrong = learn(TRACES[1], observations(64, 0.0), 1e-3, cells=16, weights=1)
    assert wrong.path[-1]["misfit"] > 100 * right.path[-1]["misfit"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0.0}, "noise=0.0"),
        ({"cells": 33}, "cells=33"),
        ({"weights": 0}, "weights=0"),
        ({"t": [], "x": [], "density": []}, "number of observations=0"),
        ({"trace": NetworkTrace((3,), horizon=2.0, final=0.0, seed=0)}, "horizon of the trace=2.0"),
        ({"trace": SplineTrace(9, horizon=0.5, final=0.0)}, "horizon of the trace=0.5"),
        ({"t": [1.5]}, "t=.*1.5"),
        ({"x": [0.5]}, "x=.*0.5"),
        ({"density": [np.nan]}, "density=.*nan"),
        ({"density": [1.0, 1.0], "t": [0.1, 0.2, 0.3]}, "shapes"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"trace": TRACES[1], "t": [0.5], "x": [0.2], "density": [1.0], "noise": 0.1}
    with pytest.raises(ValueError, match=message):
        learn_boundary(GAME, **arguments | change, boundary=known, interval=INTERVAL)


@pytest.mark.parametrize("kind", [hard, soft])
def test_a_formulation_on_a_part_of_the_domain(kind):
    def in_the_room(game):
        return kind(game, INTERVAL)

    widths, theta = untrained(GAME, in_the_room, (5,), 0)
    asked = in_the_room(GAME).conditions(gauss, (3, 4))
    found = System(asked, widths).residuals(theta)[:24].reshape(2, 12) * np.sqrt(12)
    network = MfgPinnSolution(GAME, in_the_room, widths, theta)
    t, x = gauss((3, 4), 2).T
    x = INTERVAL[0] + (INTERVAL[1] - INTERVAL[0]) * x
    hjb, fokker_planck = network.residuals(t, x)
    expected = [GAME.kinetic / (2 * GAME.viscosity) * hjb, fokker_planck / network.density(t, x)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert len(asked) == (1 if kind is hard else 3)  # nothing at the walls
    corners = kind(GAME, INTERVAL).trial(*torch.tensor([[0, 1], INTERVAL], dtype=torch.float64))
    np.testing.assert_allclose(corners.features[0], [[-2, -2], [2, 2]], atol=1e-12)
    if kind is hard:
        np.testing.assert_allclose(network.density(0, x), GAME.density(0, x), rtol=1e-12)
        np.testing.assert_allclose(network.value(1, x), GAME.value(1, x), rtol=1e-12)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="size=3"):
        SplineTrace(3, horizon=1.0, final=0.0)
    with pytest.raises(ValueError, match="final=nan"):
        NetworkTrace((8,), horizon=1.0, final=np.nan, seed=0)
    with pytest.raises(ValueError, match="width"):
        NetworkTrace((0,), horizon=1.0, final=0.0, seed=0)
    periodic = solve_mfg_grid(GAME, cells=8, steps=8)
    with pytest.raises(ValueError, match="boundary=None"):
        wall_sensitivity(periodic)
