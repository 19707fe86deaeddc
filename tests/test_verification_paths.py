"""Exploitability and mass from paths, against closed forms, the grid, and with errors planted."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import qmc

from opifex_tutorials.problems.game import PathTerms
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    LinearQuadraticGame,
    MixtureGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import solve_mfg_pinn
from opifex_tutorials.verification import (
    exploitability,
    mass_drift,
    paths,
    sampled_exploitability,
    sampled_mass_drift,
)

FREE = Coupling("none")


@dataclass(frozen=True)
class Perturbed:
    """The closed form plus waves in the value and in the logarithm of the density.

    A wave is size (1 + t) sum_i c_i cos(k x_i + i phase), the squares of the c_i summing to one: no
    data of the game is kept. The density grows besides, by size (1 + t).
    """

    game: object
    value_size: float = 0.0
    density_size: float = 0.0
    coordinates: int | None = None  # how many the waves depend on; by default all

    def wave(self, t, x):
        """Return a wave of size one: itself, its slope in time, its gradient, its Laplacian."""
        d, game = len(x), self.game
        count = self.coordinates or d
        k, phase = (np.pi, 0.0) if game.boundary == "neumann" else (2 * np.pi, 1.0)
        c = (np.arange(d) < count)[:, None] / np.sqrt(count)
        angle = k * x + phase * np.arange(d)[:, None]
        wave = (c * np.cos(angle)).sum(0)
        slopes = -k * c * np.sin(angle)
        return (1 + t) * wave, wave, (1 + t) * slopes, -(k**2) * (1 + t) * wave

    def gradients(self, t, x):
        """Return the gradients of the exact u and log m."""
        if self.game.boundary == "exact":  # also where the game's box has ended
            of_value, of_density = self.game._gradients(np, t, list(x))
            m = self.game._density(np, t, list(x))
            return np.stack(of_value), np.stack(of_density) / m
        slope = self.game.density_gradient(t, *x)
        return self.game.value_gradient(t, *x), slope / self.game.density(t, *x)

    def path_terms(self, t, *x):
        game, x = self.game, np.stack(np.broadcast_arrays(*x))
        t = np.broadcast_to(t, x[0].shape)
        nu, kinetic, (u_x, score) = game.viscosity, game.kinetic, self.gradients(t, x)
        w, w_t, w_x, bend = self.wave(t, x)
        p, p_t, p_x, p_bend = (self.value_size * part for part in (w, w_t, w_x, bend))
        parts = (w + 1 + t, w_t + 1, w_x, bend)
        q, q_t, q_x, q_bend = (self.density_size * part for part in parts)
        m = game._density(np, t, list(x))
        crowding = m * np.exp(q) * game.coupling.derivative(m * np.exp(q))
        hjb = -p_t - nu * p_bend + kinetic * ((u_x + p_x / 2) * p_x).sum(0)
        hjb -= game.coupling(m * np.exp(q)) - game.coupling(m)
        diffusion = q_bend + ((2 * score + q_x) * q_x).sum(0)
        transport = (score * p_x).sum(0) + p_bend + (q_x * (u_x + p_x)).sum(0)
        fokker_planck = q_t - nu * diffusion - kinetic * transport
        control = -kinetic * (u_x + p_x)
        return PathTerms(control, score + q_x, hjb, fokker_planck, crowding, p, q)

    def control(self, t, x):
        """Return the control in one dimension, for the grid."""
        t, x = np.broadcast_arrays(t, x)
        u_x = self.gradients(t.ravel(), x.reshape(1, -1))[0]
        u_x = u_x + self.value_size * self.wave(t.ravel(), x.reshape(1, -1))[2]
        return -self.game.kinetic * u_x.reshape(t.shape)

    def energy(self):
        """Return the energy of the error of the control, from quasi-random points."""
        game = self.game
        cube = qmc.Sobol(1 + game.dimension, rng=0).random_base2(13).T
        t = game.horizon * cube[0]
        x = game.places(t, cube[1:])
        density = game.density(t, *x) if game.boundary != "exact" else 1.0
        squares = (self.value_size * self.wave(t, x)[2]) ** 2
        return game.horizon * game.kinetic / 2 * np.mean(squares.sum(0) * density)


@pytest.mark.parametrize(
    "game",
    [
        CosineGame(dimension=3, kinetic=1.7),
        CosineGame(dimension=2, boundary="neumann", coupling=Coupling("logarithm", 0.7)),
        MixtureGame(dimension=3, coupling=Coupling("power", 0.5)),
        TravellingGaussianGame(dimension=2),
    ],
    ids=["cosine", "walls", "mixture", "travelling"],
)
def test_the_terms_of_the_perturbed_closed_form(game):
    """Against automatic differentiation of its value and density."""
    candidate, rng = Perturbed(game, 0.1, 0.2), np.random.default_rng(0)
    low, high = game.bounds["x1"]
    t, x = rng.random(5), rng.uniform(0.7 * low + 0.3 * high, high, (game.dimension, 5))
    met = candidate.path_terms(t, *x)
    time, *space = (torch.tensor(z, requires_grad=True) for z in (t, *x))

    def slope(f, z):
        return torch.autograd.grad(f.sum(), z, create_graph=True)[0]

    def wave():
        k, phase = (np.pi, 0.0) if game.boundary == "neumann" else (2 * np.pi, 1.0)
        waves = sum(torch.cos(k * x_i + i * phase) for i, x_i in enumerate(space))
        return (1 + time) * waves / game.dimension**0.5

    u = game.value(time, *space, xp=torch) + 0.1 * wave()
    q = 0.2 * (wave() + 1 + time)
    m = game.density(time, *space, xp=torch) * torch.exp(q)
    u_x, m_x = [slope(u, z) for z in space], [slope(m, z) for z in space]
    cost = game.running_cost(time, *space, m=m, xp=torch)
    u_xx = sum(slope(s, z) for s, z in zip(u_x, space, strict=True))
    m_xx = sum(slope(s, z) for s, z in zip(m_x, space, strict=True))
    flow = sum(slope(m * s, z) for s, z in zip(u_x, space, strict=True))
    kinetic = game.kinetic / 2 * sum(s**2 for s in u_x)
    hjb = -slope(u, time) - game.viscosity * u_xx + kinetic - cost
    fokker_planck = slope(m, time) - game.viscosity * m_xx - game.kinetic * flow
    expected = PathTerms(
        -game.kinetic * torch.stack(u_x),
        torch.stack(m_x) / m,
        hjb,
        fokker_planck / m,
        m * game.coupling.derivative(m),
        0.1 * wave(),
        q,
    )
    for name in PathTerms._fields:
        exact = getattr(expected, name).detach().numpy()
        np.testing.assert_allclose(getattr(met, name), exact, rtol=1e-9, atol=1e-9, err_msg=name)


GAMES = {
    "cosine 10": CosineGame(dimension=10),
    "cosine 20": CosineGame(dimension=20, kinetic=2.0, viscosity=0.2),
    "cosine 50": CosineGame(dimension=50),
    "little noise 10": CosineGame(dimension=10, viscosity=0.005),
    "walls 10": CosineGame(dimension=10, boundary="neumann"),
    "mixture 10": MixtureGame(dimension=10),
    "quadratic 10": LinearQuadraticGame(dimension=10),
}


@pytest.mark.parametrize("name", GAMES)
def test_exploitability_in_many_dimensions_is_the_energy_of_the_error_of_the_control(name):
    """If the agents meet the crowd of the equilibrium, the best response is the exact value."""
    found = []
    for size in (1e-2, 1e-3, 1e-4):
        candidate = Perturbed(GAMES[name], value_size=size)
        found.append(sampled_exploitability(candidate, crowd="frozen"))
        assert found[-1].value == pytest.approx(candidate.energy(), rel=0.1)
        assert found[-1].standard_error < 0.05 * found[-1].value
    # Quadratic in the size, and its noise as well.
    for large, small in pairwise(found):
        np.testing.assert_allclose(np.array(large) / np.array(small), 100, rtol=0.05)


def test_the_standard_error_is_the_spread_over_seeds():
    candidate = Perturbed(CosineGame(dimension=2), value_size=1e-3)
    options = {"crowd": "frozen", "starts": 64}
    found = [sampled_exploitability(candidate, seed=seed, **options) for seed in range(60)]
    values, errors = np.array(found).T
    assert np.std(values) == pytest.approx(errors.mean(), rel=0.25)
    assert (
        abs(values.mean() / candidate.energy() - 1) < 4 * np.std(values) / 60**0.5 / values.mean()
    )


COUPLED = {
    "linear": CosineGame(),
    "strong": CosineGame(coupling=Coupling("linear", 5.0)),
    "walls": CosineGame(boundary="neumann", kinetic=0.7, coupling=Coupling("logarithm", 2.0)),
    "line": TravellingGaussianGame(),
}


def judged_on_grid(candidate):
    """The grid's own error is a share of 1e-5 of the figures below."""
    return exploitability(candidate.game, candidate.control)


@pytest.mark.parametrize("name", COUPLED)
def test_paths_agree_with_the_grid_in_one_dimension(name):
    candidate = Perturbed(COUPLED[name], value_size=2e-3)
    found = sampled_exploitability(candidate, starts=2048)
    assert found.standard_error < 0.05 * found.value
    assert found.value == pytest.approx(judged_on_grid(candidate), rel=0.1)
    # What the agents make of the displaced crowd is not small beside the rest.
    frozen = sampled_exploitability(candidate, crowd="frozen")
    assert not 0.8 < frozen.value / found.value < 1.25


def test_a_wrong_density_alone_makes_no_control_exploitable():
    """The grid asks for no density; the paths correct the one that they use."""
    right = Perturbed(CosineGame(), value_size=2e-3)
    wrong = replace(right, density_size=2e-3)
    found = sampled_exploitability(wrong, starts=4096)
    assert found.value == pytest.approx(judged_on_grid(right), rel=0.1)
    assert not 0.8 < sampled_exploitability(wrong, crowd="frozen").value / found.value < 1.25


@pytest.mark.parametrize("game", [CosineGame(alpha=0.9, beta=0.9), TravellingGaussianGame()])
def test_paths_back_in_time_find_the_density_of_the_crowd(game, monkeypatch):
    """The control is that of the equilibrium: so is the crowd, whatever the density says."""
    monkeypatch.setattr(paths, "REVERSE_STEPS", 32)
    candidate, rng = Perturbed(game, density_size=0.05), np.random.default_rng(0)
    for time, place in ((1.0, 0.1), (0.5, 0.3), (0.8, 0.2)):
        t, x = np.full(20000, time), np.full((1, 20000), place)
        met = candidate.path_terms(t, *x)
        found = np.expm1(paths._log_ratio(candidate, t, x, met, rng))
        assert found.mean() == pytest.approx(np.expm1(-met.density_misfit[0]), rel=0.03)


def test_a_perturbation_of_one_coordinate_in_ten_dimensions():
    """With a logarithmic coupling a normal crowd separates: what one coordinate gains is all."""
    game = TravellingGaussianGame(dimension=10)
    candidate = Perturbed(game, value_size=2e-3, coordinates=1)
    found = sampled_exploitability(candidate, starts=2048)
    alone = Perturbed(replace(game, dimension=1), value_size=2e-3)
    assert found.value == pytest.approx(judged_on_grid(alone), rel=0.1)


def test_paths_of_all_starts_for_paths_of_one_are_noticed(monkeypatch):
    """One path from each start instead of two: what differs between starts would count."""
    candidate = Perturbed(GAMES["little noise 10"], value_size=1e-3)

    def over_all(first, second):
        return ((first - first.mean()) * (second - second.mean())).mean(1)

    monkeypatch.setattr(paths, "_covariance", over_all)
    found = sampled_exploitability(candidate, crowd="frozen")
    assert found.value > 1.5 * candidate.energy()


class Climbing(Perturbed):
    """Its crowd is moved by +grad u."""

    def path_terms(self, t, *x):
        met = super().path_terms(t, *x)
        return met._replace(control=-met.control)


@pytest.mark.parametrize("game", [LinearQuadraticGame(dimension=10), TravellingGaussianGame()])
def test_a_crowd_that_climbs_is_noticed(game):
    climbing = Climbing(game, value_size=2e-3)
    found = sampled_exploitability(climbing, crowd="frozen")
    assert not 0.8 < found.value / climbing.energy() < 1.25


def masses(candidate, t):
    """Return the mass at a time by the midpoint rule."""
    d, n = candidate.game.dimension, 64
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n] * d, indexing="ij")
    x = np.stack([axis.ravel() for axis in axes])
    logarithm = candidate.density_size * (candidate.wave(t, x)[0] + 1 + t)
    return np.mean(candidate.game.density(t, *x) * np.exp(logarithm))


@pytest.mark.parametrize(
    "game",
    [
        CosineGame(),
        CosineGame(dimension=2, kinetic=2.0),
        CosineGame(dimension=2, boundary="neumann"),
        MixtureGame(dimension=2),
    ],
    ids=["1", "2", "walls", "mixture"],
)
def test_mass_in_any_dimension(game):
    candidate = Perturbed(game, value_size=1e-3, density_size=1e-2)
    for time in (0.0, 0.3, 1.0):
        found = sampled_mass_drift(candidate, time=time, starts=2**14)
        assert found.value == pytest.approx(
            masses(candidate, time) - 1, abs=4 * found.standard_error
        )
    assert found.standard_error < 0.05 * abs(found.value)
    drifts = [masses(candidate, time) - 1 for time in np.linspace(0, 1, 9)]
    largest = max(drifts, key=abs)
    found = sampled_mass_drift(candidate, starts=2**14)
    assert found.value == pytest.approx(largest, abs=4 * found.standard_error)


def test_mass_of_another_time_is_noticed():
    candidate = Perturbed(CosineGame(dimension=10), density_size=1e-2)
    early, late = (sampled_mass_drift(candidate, time=time) for time in (0.5, 1.0))
    assert abs(early.value - late.value) > 5 * (early.standard_error + late.standard_error)


def test_a_game_knows_where_its_crowd_is():
    cube = qmc.Sobol(3, rng=0).random_base2(12).T
    for game in (LinearQuadraticGame(dimension=3), TravellingGaussianGame(dimension=3)):
        x = game.places(0.4, cube)
        grid = np.linspace(*game.bounds["x1"], 2001)
        one = replace(game, dimension=1).density(0.4, grid)
        mean = np.trapezoid(grid * one, grid)
        assert x.mean(1) == pytest.approx([mean] * 3, abs=1e-3)
        variance = np.trapezoid((grid - mean) ** 2 * one, grid)
        assert x.var(1) == pytest.approx([variance] * 3, rel=1e-2)
    x = CosineGame(dimension=3).places(0.4, cube)
    np.testing.assert_array_equal(x, cube)


SMALL = {"seed": 0, "hidden": (8, 8), "points": (16, 16), "steps": 20, "record_every": 20}
SMALL["resample_every"] = 20


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_a_network_that_has_hardly_learned_is_judged_as_by_the_grid(boundary):
    game = CosineGame(boundary=boundary)
    solution = solve_mfg_pinn(game, tolerance=np.inf, **SMALL)
    found = sampled_exploitability(solution)
    expected = exploitability(game, solution)
    assert found.value == pytest.approx(expected, abs=4 * found.standard_error)
    assert found.standard_error < 0.15 * found.value
    drift = sampled_mass_drift(solution, parts=16)
    assert abs(drift.value) == pytest.approx(mass_drift(solution), rel=0.1)


@pytest.mark.parametrize("formulation", ["hard", "soft"])
def test_a_network_tells_what_paths_gather(formulation):
    game = CosineGame(dimension=2, kinetic=1.5, coupling=Coupling("power", 0.5))
    solution = solve_mfg_pinn(game, formulation=formulation, tolerance=np.inf, **SMALL)
    t, x, y = np.random.default_rng(1).random((3, 7))
    met, m = solution.path_terms(t, x, y), solution.density(t, x, y)
    np.testing.assert_allclose(met.control, solution.control(t, x, y), rtol=1e-12)
    hjb, fokker_planck = solution.residuals(t, x, y)
    np.testing.assert_allclose(met.value_residual, hjb, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(met.density_residual, fokker_planck / m, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(met.crowding, m * game.coupling.derivative(m), rtol=1e-12)
    step = 1e-5
    ahead, behind = (np.log(solution.density(t, x + h, y)) for h in (step, -step))
    np.testing.assert_allclose(met.score[0], (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)
    end, start = (solution.path_terms(time, x, y) for time in (1.0, 0.0))
    misfit = solution.value(1.0, x, y) - game.terminal_cost(x, y)
    np.testing.assert_allclose(end.value_misfit, misfit, rtol=1e-9, atol=1e-13)
    misfit = np.log(solution.density(0.0, x, y) / game.initial_density(x, y))
    np.testing.assert_allclose(start.density_misfit, misfit, rtol=1e-9, atol=1e-13)
    is_hard = np.abs(end.value_misfit).max() < 1e-12
    assert is_hard == (formulation == "hard")


def test_paths_leave_the_box_of_a_game_on_all_of_space():
    solution = solve_mfg_pinn(TravellingGaussianGame(), tolerance=np.inf, **SMALL)
    low, high = solution.game.bounds["x"]
    met = solution.path_terms(0.5, np.array([low - 1, high + 1]))
    assert np.isfinite(met.value_residual).all()
    with pytest.raises(ValueError, match="x="):
        solution.value(0.5, high + 1)


class Broken(Perturbed):
    """Its residual is not finite."""

    def path_terms(self, t, *x):
        met = super().path_terms(t, *x)
        return met._replace(value_residual=np.nan * met.value_residual)


@pytest.mark.parametrize(
    ("judge", "options", "message"),
    [
        (sampled_exploitability, {"crowd": "moving"}, "crowd='moving'"),
        (sampled_exploitability, {"paths": 1}, "paths=1: allowed are integers from 2"),
        (sampled_exploitability, {"starts": 1}, "starts=1"),
        (sampled_exploitability, {"parts": 0}, "parts=0"),
        (sampled_mass_drift, {"parts": 0}, "parts=0"),
        (sampled_mass_drift, {"starts": 0}, "starts=0"),
        (sampled_mass_drift, {"time": 1.1}, "time=1.1"),
    ],
)
def test_bad_arguments_are_refused_by_name(judge, options, message):
    with pytest.raises(ValueError, match=message):
        judge(Perturbed(CosineGame(dimension=2)), **options)


def test_a_candidate_that_is_not_finite_is_refused():
    for judge in (sampled_exploitability, sampled_mass_drift):
        with pytest.raises(ValueError, match="not finite"):
            judge(Broken(CosineGame(dimension=2)))
