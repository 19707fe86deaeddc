"""Closed forms of the mean field games against both equations, by automatic differentiation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    ExampleGame,
    LinearQuadraticGame,
    MixtureGame,
    TravellingGaussianGame,
)
from opifex_tutorials.verification import mass_drift

enable_float64()

COUPLINGS = st.sampled_from(
    [Coupling("none"), Coupling(), Coupling("power", 0.5, 1.5), Coupling("logarithm", 2.0)]
)
COSINE = st.builds(
    CosineGame,
    viscosity=st.floats(0.02, 1),
    alpha=st.floats(0.01, 0.95),
    beta=st.floats(0.01, 0.95),
    horizon=st.floats(0.1, 2),
    boundary=st.sampled_from(["periodic", "neumann"]),
    dimension=st.integers(1, 3),
    coupling=COUPLINGS,
    kinetic=st.floats(0.2, 4),
)
LINEAR_QUADRATIC = st.builds(
    LinearQuadraticGame,
    viscosity=st.floats(0.02, 1),
    running_weight=st.floats(0.1, 4),
    terminal_weight=st.floats(0, 4),
    attraction=st.sampled_from([0.0, 0.3, 1.0]),
    terminal_attraction=st.floats(0, 1),
    initial_mean=st.floats(-2, 2),
    initial_variance=st.floats(0.05, 1),
    horizon=st.floats(0.1, 2),
    dimension=st.integers(1, 3),
)
TRAVELLING = st.builds(
    TravellingGaussianGame,
    viscosity=st.floats(0.02, 1),
    running_weight=st.floats(0.1, 4),
    initial_mean=st.floats(-2, 2),
    horizon=st.floats(0.1, 2),
    dimension=st.integers(1, 3),
    coupling=st.builds(Coupling, st.just("logarithm"), st.floats(0, 2)),
)
MIXTURE = st.builds(
    MixtureGame,
    viscosity=st.floats(0.02, 1),
    terms=st.integers(1, 4),
    amplitudes=st.sampled_from(["raw", "scaled"]),
    harmonics=st.integers(1, 2),
    seed=st.integers(0, 100),
    horizon=st.floats(0.1, 2),
    dimension=st.integers(1, 3),
    coupling=COUPLINGS,
    kinetic=st.floats(0.2, 4),
)
GAMES = [CosineGame(), CosineGame(boundary="neumann", dimension=2, kinetic=2.0)]
GAMES += [LinearQuadraticGame(dimension=2), TravellingGaussianGame()]
GAMES += [MixtureGame(), MixtureGame(dimension=3, harmonics=2)]
examples = settings(max_examples=40, deadline=None, derandomize=True)


def random_points(game, count=20):
    bounds = np.array(list(game.bounds.values()))
    samples = np.random.default_rng(0).random((count, len(bounds)))
    return bounds[:, 0] + samples * np.diff(bounds).T


def derivatives(f, z):
    """First derivatives of f, and the second ones along each axis, at the points z, in torch."""
    ones = torch.ones_like(z[0])
    first = torch.autograd.grad(f, z, ones, create_graph=True, allow_unused=True)
    first = [torch.zeros_like(ones) if d is None else d for d in first]
    second = [
        torch.autograd.grad(d, z_i, ones, retain_graph=True, allow_unused=True)[0]
        if d.requires_grad
        else None
        for d, z_i in zip(first, z, strict=True)
    ]
    return first, [torch.zeros_like(ones) if d is None else d for d in second]


def residuals(game, drift=1.0, noise=1.0):
    """Residuals of HJB, Fokker-Planck and both gradients at random points."""
    z = [torch.tensor(column, requires_grad=True) for column in random_points(game).T]
    m = game.density(*z, xp=torch)
    (u_t, *u_x), (_, *u_xx) = derivatives(game.value(*z, xp=torch), z)
    (m_t, *m_x), (_, *m_xx) = derivatives(m, z)
    cost = game.running_cost(*z, m=m, xp=torch)
    hjb = -u_t - noise * game.viscosity * sum(u_xx) + game.kinetic / 2 * sum(p**2 for p in u_x)
    transport = m * sum(u_xx) + sum(p * q for p, q in zip(m_x, u_x, strict=True))
    fokker_planck = m_t - game.viscosity * sum(m_xx) - drift * game.kinetic * transport
    gradients = [
        game.value_gradient(*z, xp=torch) - torch.stack(u_x),
        game.density_gradient(*z, xp=torch) - torch.stack(m_x),
    ]
    return [float(r.detach().abs().max()) for r in (hjb - cost, fokker_planck, *gradients)]


@pytest.mark.parametrize("games", [COSINE, LINEAR_QUADRATIC, TRAVELLING, MIXTURE])
def test_closed_forms_satisfy_both_equations(games):
    @examples
    @given(games)
    def check(game):
        assert max(residuals(game)) < 1e-10

    check()


@pytest.mark.parametrize("dimension", [1, 2, 10, 50])
@pytest.mark.parametrize("harmonics", [1, 2])
@pytest.mark.parametrize("amplitudes", ["raw", "scaled"])
def test_the_mixture_game_in_many_dimensions(dimension, harmonics, amplitudes):
    """Relative to the size of the fields, which spreads over decades for raw amplitudes."""
    game = MixtureGame(dimension=dimension, harmonics=harmonics, amplitudes=amplitudes)
    hjb, fokker_planck, of_value, of_density = residuals(game)
    m = game.density(*random_points(game).T)
    assert max(hjb, of_value) < 1e-11
    assert max(fokker_planck, of_density) < 1e-11 * m.max()
    assert (m > 0).all()


@pytest.mark.parametrize("game", GAMES)
def test_the_residuals_notice_a_wrong_sign_or_coefficient(game):
    assert residuals(game, drift=-1.0)[1] > 1e-3
    assert residuals(game, noise=1.01)[0] > 1e-4


@examples
@given(st.one_of(COSINE, LINEAR_QUADRATIC, TRAVELLING, MIXTURE))
def test_initial_and_terminal_values_and_shapes(game):
    _, *x = random_points(game).T
    np.testing.assert_allclose(game.initial_density(*x), game.density(0.0, *x), rtol=1e-12)
    g, u = game.terminal_cost(*x), game.value(game.horizon, *x)
    np.testing.assert_allclose(g, u, rtol=1e-12, atol=1e-13)
    t = np.linspace(0, game.horizon, 3)[:, None]
    assert (game.density(t, *x) > 0).all()
    assert game.value(t, *x).shape == (3, 20)
    assert game.value_gradient(t, *x).shape == game.density_gradient(t, *x).shape
    assert game.value_gradient(t, *x).shape == (game.dimension, 3, 20)


def test_terminal_costs_are_those_of_the_docstrings():
    game = LinearQuadraticGame(terminal_weight=0.8, terminal_attraction=0.3)
    x = np.linspace(-1, 2, 7)
    t = np.full(4001, game.horizon)
    grid = np.linspace(*game.bounds["x"], len(t))
    mean = np.trapezoid(grid * game.density(t, grid), grid)
    np.testing.assert_allclose(game.terminal_cost(x), 0.4 * (x - 0.3 * mean) ** 2, atol=1e-7)
    game = TravellingGaussianGame()
    curvature = game.viscosity / game._variance()
    np.testing.assert_allclose(game.terminal_cost(x), curvature / 2 * x**2, atol=1e-13)


@examples
@given(
    st.one_of(COSINE, LINEAR_QUADRATIC, TRAVELLING, MIXTURE).filter(
        lambda game: game.dimension == 1
    )
)
def test_densities_have_mass_one(game):
    # A Gaussian's box leaves out 2e-9.
    assert mass_drift(game) < (1e-12 if game.boundary != "exact" else 3e-9)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    "make",
    [partial(CosineGame, boundary="neumann"), MixtureGame, partial(MixtureGame, harmonics=2)],
)
def test_games_on_a_box_have_mass_one_in_more_dimensions(make, dimension):
    game = make(dimension=dimension)
    x = np.meshgrid(*[(np.arange(16) + 0.5) / 16] * dimension)
    for t in (0.0, 0.4, 1.0):
        assert game.density(t, *x).mean() == pytest.approx(1, abs=1e-13)


def mixed_difference(game):
    """The mixed second derivative of u in two coordinates at a point, by differences."""
    h, x = 1e-3, np.full((game.dimension, 4), 0.3)
    x[0] += h * np.array([1, 1, -1, -1])
    x[-1] += h * np.array([1, -1, 1, -1])
    return game.value(game.horizon, *x) @ [1, -1, -1, 1] / (4 * h**2)


def test_one_product_separates_and_a_mixture_does_not():
    assert abs(mixed_difference(MixtureGame(terms=1, dimension=2))) < 1e-8
    assert abs(mixed_difference(MixtureGame(dimension=2))) > 0.1


def test_scaled_amplitudes_keep_the_spread_of_the_value():
    spreads = [
        np.std(g.value(g.horizon, *random_points(g, 2000)[:, 1:].T))
        for g in (MixtureGame(dimension=d) for d in (10, 50))
    ]
    assert 0.7 < spreads[1] / spreads[0] < 1.4


@pytest.mark.parametrize("game", [*GAMES, ExampleGame()])
def test_every_framework_gets_the_same_numbers(game):
    t, *x = random_points(game).T
    methods = ["potential"] if isinstance(game, ExampleGame) else ["value", "density", "potential"]
    for name in methods:
        expected = getattr(game, name)(t, *x)
        in_torch = getattr(game, name)(*map(torch.tensor, (t, *x)), xp=torch)
        in_jax = getattr(game, name)(*map(jnp.asarray, (t, *x)), xp=jnp)
        np.testing.assert_allclose(in_torch.numpy(), expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(in_jax, expected, rtol=1e-12, atol=1e-13)
    initial = game.initial_density(*map(torch.tensor, x), xp=torch)
    np.testing.assert_allclose(initial.numpy(), game.initial_density(*x), rtol=1e-12)
    terminal = game.terminal_cost(*map(torch.tensor, x), xp=torch)
    np.testing.assert_allclose(terminal.numpy(), game.terminal_cost(*x), rtol=1e-12, atol=1e-13)


@given(COUPLINGS, st.floats(0.01, 5))
@examples
def test_couplings_increase_and_know_their_derivative(coupling, m):
    slope = jax.grad(lambda m: coupling(m, log=jnp.log))(m)
    assert coupling.derivative(m) == pytest.approx(float(slope), rel=1e-12)
    assert coupling(1.01 * m) >= coupling(m)
    in_torch = coupling(torch.tensor(m, dtype=torch.float64), log=torch.log)
    assert float(in_torch) == pytest.approx(float(coupling(m)), rel=1e-12)


def test_the_published_example():
    game, x = ExampleGame(), np.linspace(0, 1, 20_001)
    assert np.trapezoid(game.initial_density(x), x) == pytest.approx(1, abs=1e-9)
    assert game.running_cost(0.3, 0.25, m=2.0) == pytest.approx(12.5 + 4)
    assert game.terminal_cost(0.125) == pytest.approx(5 * (np.sqrt(0.5) + 0.4))
    for closed_form in (game.value, game.density, game.value_gradient):
        with pytest.raises(NotImplementedError, match="ExampleGame has no equilibrium"):
            closed_form(0.5, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CosineGame(viscosity=0.0), "viscosity=0.0: .* need diffusion"),
        (lambda: CosineGame(alpha=1.0), "alpha=1.0: .*not finite"),
        (lambda: CosineGame(beta=-0.1), "beta=-0.1: .*not positive"),
        (lambda: CosineGame(horizon=np.nan), "horizon=nan"),
        (lambda: CosineGame(kinetic=-1.0), "kinetic=-1.0: .*convex"),
        (lambda: CosineGame(boundary="dirichlet"), "boundary='dirichlet'"),
        (lambda: CosineGame(dimension=0), "dimension=0"),
        (lambda: MixtureGame(terms=0), "terms=0"),
        (lambda: MixtureGame(amplitudes="small"), "amplitudes='small'"),
        (lambda: MixtureGame(harmonics=3), "harmonics=3"),
        (lambda: MixtureGame(seed=-1), "seed=-1"),
        (lambda: Coupling("cubic"), "kind='cubic'"),
        (lambda: Coupling("linear", -1.0), "strength=-1.0: .*many equilibria"),
        (lambda: Coupling("power", 1.0, -2.0), "exponent=-2.0: .*increase"),
        (lambda: LinearQuadraticGame(running_weight=0.0), "running_weight=0.0: .*holds"),
        (lambda: LinearQuadraticGame(attraction=1.5), "attraction=1.5: .*run away"),
        (lambda: LinearQuadraticGame(terminal_weight=-1), "terminal_weight=-1: .*below"),
        (lambda: LinearQuadraticGame(initial_variance=0), "initial_variance=0"),
        (lambda: TravellingGaussianGame(coupling=Coupling()), "kind='linear': .*'logarithm'"),
        (lambda: CosineGame().value(0.5, 1.5), "x=.*1.5"),
        (lambda: CosineGame(dimension=2).density(2.0, 0.5, 0.5), "t=.*2.0"),
        (lambda: CosineGame().density(np.zeros(2), np.zeros(3)), "shapes t"),
    ],
)
def test_bad_arguments_are_refused_with_a_reason(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "name", "low", "high"),
    [
        (CosineGame, "viscosity", 1e-3, 10),
        (CosineGame, "kinetic", 1e-3, 1e3),
        (CosineGame, "horizon", 1e-2, 10),
        (CosineGame, "alpha", 1e-9, 1 - 1e-9),
        (CosineGame, "beta", 1e-9, 1 - 1e-9),
        (CosineGame, "dimension", 1, 1000),
        (Coupling, "strength", 0, 1e3),
        (Coupling, "exponent", 0.1, 10),
        (LinearQuadraticGame, "running_weight", 1e-3, 100),
        (LinearQuadraticGame, "terminal_weight", 0, 100),
        (LinearQuadraticGame, "attraction", 0, 1),
        (LinearQuadraticGame, "terminal_attraction", 0, 1),
        (LinearQuadraticGame, "initial_mean", -10, 10),
        (LinearQuadraticGame, "initial_variance", 1e-3, 10),
    ],
)
def test_the_ranges_of_the_parameters(make, name, low, high):
    for end in (low, high):
        assert getattr(make(**{name: end}), name) == end
    step = 1 if name == "dimension" else 1e-10 * max(abs(low), abs(high))
    for beyond in (low - step, high + step):
        with pytest.raises(ValueError, match=f"{name}="):
            make(**{name: beyond})


def test_only_a_crowd_in_all_of_space_has_moments():
    game = LinearQuadraticGame(initial_mean=0.5, initial_variance=0.04)
    assert game.initial_moments == pytest.approx((0.5, 0.2))
    with pytest.raises(NotImplementedError, match="CosineGame does not know"):
        _ = CosineGame().initial_moments
