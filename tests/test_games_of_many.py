"""Fields in many dimensions against automatic differentiation, points against the crowd."""

import numpy as np
import pytest
import torch

from opifex_tutorials.losses.games import Fields
from opifex_tutorials.losses.games_of_many import ManyTrial, Setting, data_jets, of_many
from opifex_tutorials.losses.torch_system import System, sobol
from opifex_tutorials.models import torch_jets
from opifex_tutorials.models.torch_axes import network
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.problems.game import BOXES
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    LinearQuadraticGame,
    MixtureGame,
    TravellingGaussianGame,
)

CASES = {
    "cosine": (CosineGame(dimension=3), 1, False),
    "walls": (CosineGame(dimension=2, boundary="neumann", kinetic=1.7), 2, False),
    "one lifted": (CosineGame(viscosity=0.3, kinetic=1.4), 1, True),
    "walls lifted": (CosineGame(dimension=2, boundary="neumann", kinetic=1.7), 2, True),
    "mixture": (MixtureGame(dimension=3, kinetic=1.3), 1, False),
    "mixture lifted": (MixtureGame(dimension=3, harmonics=2, horizon=0.7), 2, True),
    "quadratic": (LinearQuadraticGame(dimension=3), 2, False),
    "travelling": (TravellingGaussianGame(dimension=2), 3, False),
}
every = pytest.mark.parametrize(("game", "harmonics", "lifted"), CASES.values(), ids=CASES.keys())


def candidate(game, harmonics, lifted, scale=1.0):
    """A random network's fields, as a function of times and points, shape (d, N)."""
    setting = Setting(game, harmonics, lifted)

    def fields(t, x):
        trial = ManyTrial(setting, t, x)
        widths = (trial.features.shape[-1], 5, 4, 2)
        weights = torch.nn.utils.parameters_to_vector(MLP(widths, seed=1).parameters()).detach()
        noise = 0.1 * torch.from_numpy(np.random.default_rng(1).standard_normal(len(weights)))
        return trial(network(scale * (weights + noise), widths, trial.features))

    return fields


def points(game, count=9):
    rng = np.random.default_rng(3)
    t, *x = (rng.uniform(*ends, count) for ends in game.bounds.values())
    return torch.from_numpy(t), torch.from_numpy(np.stack(x))


@every
def test_jets_are_the_derivatives_of_the_values(game, harmonics, lifted):
    fields = candidate(game, harmonics, lifted)
    t, x = points(game)
    t.requires_grad_(), x.requires_grad_()
    for index, jet in enumerate(fields(t, x)):
        value = fields(t, x)[index][0]
        u_t, u_x = torch.autograd.grad(value.sum(), [t, x], create_graph=True)
        laplacian = sum(
            torch.autograd.grad(u_x[i].sum(), x, retain_graph=True)[0][i] for i in range(len(x))
        )
        expected = torch.stack([value, u_t, *u_x, laplacian]).detach()
        np.testing.assert_allclose(
            jet.detach(), expected, rtol=1e-10, atol=1e-11 * float(expected.abs().max())
        )


@every
def test_the_data_hold_for_any_weights(game, harmonics, lifted):
    fields = candidate(game, harmonics, lifted, scale=3.0)
    t, x = points(game)
    end, start = fields(t * 0 + game.horizon, x).value[0], fields(t * 0, x).log_density[0]
    np.testing.assert_allclose(end, game.terminal_cost(*x.numpy()), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(start, np.log(game.initial_density(*x.numpy())), rtol=1e-12)
    assert (fields(t, x).value[0] - end).abs().max() > 1e-3


@every
def test_a_box_is_closed(game, harmonics, lifted):
    """Periodic: the same at both sides. Walls: no slope there."""
    fields = candidate(game, harmonics, lifted)
    t, x = points(game)
    low, high = list(game.bounds.values())[1]
    sides = [torch.cat([0 * x[:1] + side, x[1:]]) for side in (low, high)]
    for left, right in zip(*(fields(t, side) for side in sides), strict=True):
        if game.boundary == "neumann":
            np.testing.assert_allclose(torch.stack([left[2], right[2]]), 0, atol=1e-11)
        if game.boundary == "periodic":
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9 * float(left.abs().max()))


@every
def test_residuals_and_jacobian_agree_with_automatic_differentiation(game, harmonics, lifted):
    """Both equations written once more, from u and log m as functions of the parameters."""
    setting = Setting(game, harmonics, lifted)
    t, x = points(game)
    conditions = setting.conditions(t, x)
    widths = (conditions[0].trial.features.shape[-1], 4, 3, 2)
    weights = torch.nn.utils.parameters_to_vector(MLP(widths, seed=1).parameters()).detach()
    ours = System(conditions, widths)
    residuals, jacobian = ours.linearize(weights.numpy())

    def stacked(parameters):
        trial = ManyTrial(setting, t, x)
        u, log_m = trial(network(parameters, widths, trial.features))
        nu, lam, m = game.viscosity, game.kinetic, torch.exp(log_m[0])
        cost = game.running_cost(t, *x, m=m, xp=torch)
        hjb = -u[1] - nu * u[-1] + lam / 2 * (u[2:-1] ** 2).sum(0) - cost
        hjb = (3.0 if lifted else 1.0) * lam / (2 * nu) * hjb
        of_m = m * (log_m[-1] + (log_m[2:-1] ** 2).sum(0))
        transport = lam * m * (u[-1] + (log_m[2:-1] * u[2:-1]).sum(0))
        return torch.cat([hjb, (m * log_m[1] - nu * of_m - transport) / m]) / len(t) ** 0.5

    np.testing.assert_allclose(residuals, stacked(weights), rtol=1e-9, atol=1e-10)
    expected = torch.func.jacrev(stacked)(weights)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-8, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize("name", ["cosine", "mixture lifted", "quadratic", "travelling"])
def test_derivatives_of_the_data_in_closed_form(name):
    game, x = CASES[name][0], points(CASES[name][0])[1]
    found = data_jets(game, x)
    terminal = torch_jets.of_space(lambda *x: game.terminal_cost(*x, xp=torch), list(x))
    initial = torch_jets.of_space(lambda *x: game.initial_density(*x, xp=torch).log(), list(x))
    for jet, expected in zip(found, (terminal, initial), strict=True):
        np.testing.assert_allclose(jet, expected, rtol=1e-10, atol=1e-11)


def test_data_that_are_not_those_of_the_closed_form_are_differentiated():
    class Tilted(CosineGame):
        def _terminal_cost(self, xp, t, x):
            return xp.sin(2 * np.pi * x[0]) * x[1] ** 2

    x = points(CosineGame(dimension=2))[1]
    jet = data_jets(Tilted(dimension=2), x)[0]
    np.testing.assert_allclose(jet[3], torch.sin(2 * np.pi * x[0]) * 2 * x[1], rtol=1e-12)


def crowd(sign, dimension=4):
    """Mean and deviation of late particles, in deviations of the crowd from its mean."""
    game = LinearQuadraticGame(dimension=dimension)
    setting = Setting(game, 1, lifted=False)

    def slope(t, x):
        return sign * game.value_gradient(t, *x, xp=torch)

    t, x = setting.place(sobol((0, 0))((4096,), setting.chances), slope)
    late = t > 0.8 * game.horizon
    v, center = game._shape(torch, t)[0], game._path(torch, t)[0]
    z = ((x - center) / v.sqrt())[:, late]
    return float(z.mean(1).abs().max()), z.std(1)


def test_particles_are_where_the_crowd_is_and_a_little_wider():
    distance, width = crowd(1.0)
    assert distance < 0.15
    assert 1.1 < float(width.min()) < float(width.max()) < 1.4


def test_particles_moved_the_wrong_way_are_noticed():
    assert crowd(-1.0)[0] > 1.0


def test_particles_follow_the_network_not_the_closed_form(monkeypatch):
    """With data that know the way only at the end, a network of zeros moves them by -∇g."""
    game, asked = LinearQuadraticGame(dimension=2), []
    setting = Setting(game, 1, lifted=False)
    widths = (3, 4, 2)
    t, x = points(game)
    slope = setting.slope(np.zeros(4 * 4 + 5 * 2), widths, t, x)
    np.testing.assert_allclose(slope, data_jets(game, x)[0][2:-1], rtol=1e-12)
    monkeypatch.setattr(LinearQuadraticGame, "value", lambda *a, **k: asked.append(a))
    assert asked == []


def test_points_fill_the_half_of_an_even_periodic_box_and_else_all_of_it():
    cube = sobol((0, 0))((256,), 3)
    for game, most in (
        (CosineGame(dimension=2), 0.5),
        (CosineGame(dimension=2, boundary="neumann"), 1.0),
        (MixtureGame(dimension=2), 1.0),
    ):
        t, x = Setting(game, 1, lifted=False).place(cube, None)
        assert 0.98 * most < float(x.max()) < most
        assert 0.98 < float(t.max()) < 1.0


def test_the_formulation_makes_conditions_of_its_own():
    game = TravellingGaussianGame(dimension=2, coupling=Coupling("logarithm", 0.3))
    formulation = of_many(game, harmonics=1, lifted=False)
    [condition] = formulation.conditions(sobol((0, 0)), (8, 8))
    trial = formulation.trial(*points(game)[:1], *points(game)[1])
    assert condition.trial.features.shape == (5, 64, 3)
    assert isinstance(trial(torch.zeros(5, 9, 2, dtype=torch.float64)), Fields)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="formulation='lifted' with boundary='exact'"):
        Setting(LinearQuadraticGame(dimension=2), 1, lifted=True)
    with pytest.raises(ValueError, match="harmonics=0"):
        Setting(CosineGame(dimension=2), 0, lifted=False)
    assert BOXES == ("periodic", "neumann")
