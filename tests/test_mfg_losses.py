"""Residuals, Jacobians and trial functions of mean field games, against JAX and autodiff."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from opifex_tutorials.losses import games as losses
from opifex_tutorials.losses.games import FORMULATIONS, Fields, hard
from opifex_tutorials.losses.torch_system import System, gauss, sobol
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.problems.game import is_even
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    ExampleGame,
    LinearQuadraticGame,
    TravellingGaussianGame,
)

enable_float64()
GAMES = {
    "periodic": CosineGame(),
    "walls": CosineGame(boundary="neumann", kinetic=1.7, horizon=0.8),
    "plane": CosineGame(dimension=2, coupling=Coupling("power", 0.7, 1.5)),
    "example": ExampleGame(),
    "quadratic": LinearQuadraticGame(horizon=1.3),
    "travelling": TravellingGaussianGame(),
    "travelling plane": TravellingGaussianGame(dimension=2),
}
every_game = pytest.mark.parametrize("game", GAMES.values(), ids=GAMES.keys())
both = pytest.mark.parametrize("formulation", ["hard", "soft"])


def system(game, formulation, counts=(5, 4), hidden=(6, 5), seed=3):
    """Return a small system and weights whose biases are not zero."""
    sample = gauss if game.dimension == 1 else sobol((seed,))
    found = FORMULATIONS[formulation](game).conditions(sample, counts)
    widths = (found[0].trial.features.shape[-1], *hidden, 2)
    weights = torch.nn.utils.parameters_to_vector(MLP(widths, seed=seed).parameters())
    noise = 0.1 * np.random.default_rng(seed).standard_normal(len(weights))
    return System(found, widths), weights.detach().numpy() + noise


def points_of(game, counts=(5, 4), seed=3):
    """The points that ``system`` draws for the equations, by the rules its docstrings state."""
    (low, high), d = list(game.bounds.values())[1], game.dimension
    cube = gauss(counts, 2) if d == 1 else sobol((seed,))(counts, 1 + d)
    return game.horizon * cube[:, 0], low, high - low, cube[:, 1:]


def jax_residuals(game, formulation, widths, parameters, t, x):
    """Both equations written from the page, derivatives by JAX, point by point."""
    (low, high), T = list(game.bounds.values())[1], game.horizon
    nu, lam = game.viscosity, game.kinetic
    even = not isinstance(game, ExampleGame)

    def network(t, x):
        tau, y = 2 * (2 * t / T - 1), (x - low) / (high - low)
        if formulation == "soft" or game.boundary == "exact":
            h = jnp.concatenate([tau[None], 2 * (2 * y - 1)])
        elif game.boundary == "neumann":
            h = jnp.concatenate([tau[None], 2 * jnp.cos(jnp.pi * y)])
        else:  # the angle counts from the center
            waves = [-2 * jnp.cos(2 * jnp.pi * y), -2 * jnp.sin(2 * jnp.pi * y)]
            h = jnp.concatenate([tau[None], *waves[: 1 if even else 2]])
        at = 0
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            h = jnp.tanh(h) if layer else h
            W = parameters[at : at + n_in * n_out].reshape(n_out, n_in)
            at += n_in * n_out
            h, at = W @ h + parameters[at : at + n_out], at + n_out
        return h

    def u(t, x):
        N = network(t, x)[0]
        if formulation == "soft":
            return N
        return game.terminal_cost(*x, xp=jnp) + 2 * nu / lam * (T - t) * N

    def m(t, x):
        N = network(t, x)[1]
        return jnp.exp(N if formulation == "soft" else t * N) * (
            1.0 if formulation == "soft" else game.initial_density(*x, xp=jnp)
        )

    def hjb(t, x):
        gradient = jax.grad(u, 1)(t, x)
        laplacian = jnp.trace(jax.hessian(u, 1)(t, x))
        cost = game.running_cost(t, *x, m=m(t, x), xp=jnp)
        return -jax.grad(u)(t, x) - nu * laplacian + lam / 2 * gradient @ gradient - cost

    def fokker_planck(t, x):
        def flux(x):
            return lam * m(t, x) * jax.grad(u, 1)(t, x)

        laplacian = jnp.trace(jax.hessian(m, 1)(t, x))
        return jax.grad(m)(t, x) - nu * laplacian - jnp.trace(jax.jacobian(flux)(x))

    def both(t, x):
        return jnp.stack([lam / (2 * nu) * hjb(t, x), fokker_planck(t, x) / m(t, x)])

    return np.asarray(jax.jit(jax.vmap(both))(t, x)).T.ravel() / len(t) ** 0.5


@both
@every_game
def test_residuals_agree_with_jax(game, formulation):
    ours, parameters = system(game, formulation)
    t, low, width, y = points_of(game)
    if formulation == "hard" and game.boundary == "periodic" and game != ExampleGame():
        width /= 2  # an even game needs half of its box
    expected = jax_residuals(game, formulation, ours.widths, parameters, t, low + width * y)
    found = ours.residuals(parameters)[: len(expected)]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


@both
@every_game
def test_the_jacobian_agrees_with_automatic_differentiation(game, formulation):
    ours, parameters = system(game, formulation)
    residuals, jacobian = ours.linearize(parameters)
    np.testing.assert_array_equal(residuals, ours.residuals(parameters))
    expected = torch.func.jacrev(ours._stacked)(torch.from_numpy(parameters)).numpy()
    np.testing.assert_allclose(jacobian, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


def test_jets_follow_the_chain_and_the_product_rule():
    t, *x = torch.from_numpy(np.random.default_rng(7).uniform(-1, 1, (3, 20)))
    z_t, z_x, z_y = jets.coordinates(t, *x)
    angle = jets.affine(z_t + 2 * z_x - z_y, -1.0, 3.0, 2.0)
    found = jets.product(jets.cos(angle), jets.tanh(jets.product(z_x, z_y) + z_t))

    def f(t, x, y):
        return torch.cos((t + 2 * x - y) - 1) * torch.tanh(x * y + t)

    expected = jets.of_space(partial(f, t), x)
    clock = t.clone().requires_grad_()
    expected[1] = torch.autograd.grad(f(clock, *x).sum(), clock)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def exact_fields(game, t, x):
    """Jets of the closed form, by automatic differentiation in time and space."""
    t, x = torch.from_numpy(t).requires_grad_(), torch.from_numpy(x)

    def jet(f):
        jet = jets.of_space(partial(f, t.detach()), list(x))
        jet[1] = torch.autograd.grad(f(t, *x).sum(), t)[0]
        return jet

    return Fields(
        jet(lambda t, *x: game.value(t, *x, xp=torch)),
        jet(lambda t, *x: game.density(t, *x, xp=torch).log()),
    )


def residual_of_the_exact_solution(game):
    rng, box = np.random.default_rng(5), list(game.bounds.values())
    t, *x = (rng.uniform(*ends, 50) for ends in box)
    fields = exact_fields(game, t, np.stack(x))
    potential = torch.from_numpy(game.potential(t, *x))
    hjb = losses.hjb_residual(game, potential, fields)
    fokker_planck = losses.fokker_planck_residual(game, fields)
    scale = 1 + torch.abs(potential) * game.kinetic / (2 * game.viscosity)
    return max(torch.abs(hjb / scale).max(), torch.abs(fokker_planck).max())


@pytest.mark.parametrize("name", [name for name in GAMES if name != "example"])
def test_the_exact_solution_has_no_residual(name):
    assert residual_of_the_exact_solution(GAMES[name]) < 1e-10


def test_a_wrong_sign_is_noticed(monkeypatch):
    right = losses.fokker_planck_residual

    def wrong(game, fields):
        return right(game, Fields(-fields.value, fields.log_density))

    monkeypatch.setattr(losses, "fokker_planck_residual", wrong)
    assert residual_of_the_exact_solution(GAMES["periodic"]) > 0.1


@every_game
def test_hard_conditions_hold_for_any_weights(game):
    ours, parameters = system(game, "hard")
    rng, box = np.random.default_rng(2), list(game.bounds.values())

    def fields(t, *x):
        t, *x = map(torch.from_numpy, (t, *x))
        trial = hard(game).trial(t, *x)
        outputs = jets.network(torch.from_numpy(3 * parameters), ours.widths, trial.features)
        return Fields(*(jet.numpy() for jet in trial(outputs)))

    t, *x = (rng.uniform(*ends, 20) for ends in box)
    start, end = fields(np.zeros(20), *x), fields(np.full(20, game.horizon), *x)
    np.testing.assert_allclose(end.value[0], game.terminal_cost(*x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        np.exp(start.log_density[0]), game.initial_density(*x), rtol=1e-12, atol=1e-300
    )
    assert np.abs(fields(t, *x).value[0] - game.terminal_cost(*x)).max() > 1e-3
    low, high = box[1]
    left, right = fields(t, low + 0 * x[0], *x[1:]), fields(t, high + 0 * x[0], *x[1:])
    for a, b in zip(left, right, strict=True):
        if game.boundary == "neumann":
            np.testing.assert_allclose([a[2], b[2]], 0, atol=1e-12)
        if game.boundary == "periodic" and game != ExampleGame():  # its data jump at the seam
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(a).max())


def test_symmetry_is_seen_in_the_data():
    assert is_even(CosineGame())
    assert is_even(CosineGame(dimension=3))
    assert not is_even(ExampleGame())


@pytest.mark.parametrize("part", ["_potential", "_terminal_cost", "_initial_density"])
@pytest.mark.parametrize("dimension", [1, 2])
def test_one_uneven_part_of_the_data_makes_a_game_uneven(monkeypatch, part, dimension):
    right = getattr(CosineGame, part)

    def tilted(game, xp, *points):
        x = points[-1]
        return right(game, xp, *points) + 1e-3 * xp.sin(2 * np.pi * x[-1])

    game = CosineGame(dimension=dimension)
    monkeypatch.setattr(CosineGame, part, tilted)
    assert not is_even(game)


def test_gauss_nodes_integrate_polynomials_and_know_their_limits():
    nodes, weights = np.polynomial.legendre.leggauss(4)
    grid = gauss((4, 3), 2)
    np.testing.assert_allclose(np.unique(grid[:, 0]), (1 + nodes) / 2)
    assert weights @ (1 + nodes) ** 7 / 2**8 == pytest.approx(1 / 8)
    with pytest.raises(ValueError, match="sampling='gauss' in 3 dimensions"):
        gauss((4, 3), 3)
    assert sobol((0, 1))((32, 24), 3).shape == (1024, 3)
