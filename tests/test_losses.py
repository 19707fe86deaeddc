"""Derivatives, residuals and trial functions, against calculus by hand and against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.flatten_util import ravel_pytree

from opifex_tutorials.losses.burgers import burgers_residual
from opifex_tutorials.losses.collocation import CollocationProblem, CollocationSystem, Term
from opifex_tutorials.losses.derivatives import derivative
from opifex_tutorials.losses.formulations import (
    burgers_hard,
    burgers_layer,
    burgers_soft,
    linear,
)
from opifex_tutorials.models import flax_mlp, torch_mlp
from opifex_tutorials.models.trial_functions import (
    burgers_hard_trial,
    burgers_layer_trial,
    burgers_soft_trial,
    layer_width,
    linear_trial,
    stretch,
    unstretch,
)
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.solvers.pinn import compile_pinn

BURGERS = BurgersProblem(0.01)
T, X = np.random.default_rng(1).random((2, 25))


def network(inputs, seed=3):
    return flax_mlp.MLP((inputs, 8, 8, 1), rngs=nnx.Rngs(seed))


def test_derivatives_of_a_polynomial():
    def u(t, x):
        return t**2 * x**3

    assert derivative(u, 0)(2.0, 3.0) == pytest.approx(2 * 2 * 27)
    assert derivative(derivative(u, 1), 1)(2.0, 3.0) == pytest.approx(4 * 6 * 3)
    assert derivative(derivative(u, 0), 1)(2.0, 3.0) == pytest.approx(2 * 2 * 3 * 9)


def test_burgers_residual_by_hand():
    residual = burgers_residual(BurgersProblem(0.25), lambda t, x: t * x**2)
    # u_t = x², u u_x = 2 t² x³, u_xx = 2 t
    assert residual(2.0, 3.0) == pytest.approx(9 + 2 * 4 * 27 - 0.25 * 4)


def test_burgers_residual_agrees_with_pytorch_on_the_same_weights():
    ours = network(2)
    theirs = torch_mlp.MLP((2, 8, 8, 1), seed=0)
    linears = [m for m in theirs.modules() if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        for source, target in zip(ours.layers, linears, strict=True):
            target.weight.copy_(torch.from_numpy(np.array(source.kernel[...]).T))
            target.bias.copy_(torch.from_numpy(np.array(source.bias[...])))
    t, x = (torch.tensor(v, requires_grad=True) for v in (T, X))
    u = theirs(torch.stack([2 * t - 1, x], dim=1))[:, 0]
    u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x)
    expected = u_t + u * u_x - 0.01 * u_xx
    residual = burgers_residual(BURGERS, burgers_soft_trial(BURGERS, ours))
    np.testing.assert_allclose(jax.vmap(residual)(T, X), expected.detach(), atol=1e-13)


@pytest.mark.parametrize(("trial", "inputs"), [(burgers_hard_trial, 2), (burgers_layer_trial, 3)])
def test_burgers_conditions_hold_for_any_weights(trial, inputs):
    u = jax.vmap(trial(BURGERS, network(inputs)))
    np.testing.assert_allclose(u(0 * T, X), BURGERS.initial(X), atol=1e-15)
    np.testing.assert_allclose(u(T, 0 * X + 1), 0, atol=1e-15)
    np.testing.assert_allclose(u(T, 0 * X - 1), 0, atol=1e-15)
    assert np.abs(u(T, X) - BURGERS.initial(X)).max() > 1e-3  # the network does take part


def test_layer_trial_is_odd():
    u = jax.vmap(burgers_layer_trial(BURGERS, network(3)))
    np.testing.assert_allclose(u(T, -X), -u(T, X), atol=1e-15)


def test_linear_conditions_hold_for_any_weights():
    heat_problem, wave_problem, square = HeatProblem(), WaveProblem(), PoissonProblem(2)
    heat_u = jax.vmap(linear_trial(heat_problem, network(2)))
    wave_u = linear_trial(wave_problem, network(2))
    square_u = jax.vmap(linear_trial(square, network(2)))
    np.testing.assert_allclose(heat_u(0 * T, X), heat_problem.exact(0.0, X), atol=1e-14)
    np.testing.assert_allclose(jax.vmap(wave_u)(0 * T, X), wave_problem.exact(0.0, X), atol=1e-14)
    np.testing.assert_allclose(jax.vmap(derivative(wave_u, 0))(0 * T, X), 0, atol=1e-14)
    for edge in (0.0, 1.0):
        for values in (heat_u(T, 0 * X + edge), jax.vmap(wave_u)(T, 0 * X + edge)):
            np.testing.assert_allclose(values, 0, atol=1e-14)
        np.testing.assert_allclose(square_u(0 * T + edge, X), 0, atol=1e-15)
        np.testing.assert_allclose(square_u(T, 0 * X + edge), 0, atol=1e-15)


@pytest.mark.parametrize("viscosity", [0.003, 0.1])
def test_stretch_and_its_inverse(viscosity):
    width = layer_width(BurgersProblem(viscosity))
    s = jnp.linspace(0, 1, 11)
    np.testing.assert_allclose(stretch(unstretch(s, width), width), s, atol=1e-14)
    assert stretch(jnp.asarray(1.0), width) == pytest.approx(1.0)


CASES = [
    (burgers_soft, BURGERS),
    (burgers_hard, BURGERS),
    (burgers_layer, BURGERS),
    (linear, HeatProblem()),
    (linear, WaveProblem()),
    (linear, PoissonProblem(1)),
    (linear, PoissonProblem(2)),
]


@pytest.mark.parametrize(("build", "problem"), CASES)
def test_jacobian_and_curvature_against_finite_differences(build, problem):
    compiled = compile_pinn(build, problem, 64, (6, 5))
    system = CollocationSystem(compiled, problem, compiled.sample(problem, (0, 0)))
    theta = compiled.initial_parameters(0)
    direction = np.random.default_rng(0).normal(size=theta.size)
    r, jacobian = system.linearize(theta)
    np.testing.assert_allclose(r, system.residuals(theta), atol=1e-14)
    assert compiled.loss(theta, (problem, system.points)) == pytest.approx(float(r @ r), rel=1e-12)

    def along(s):
        return system.residuals(theta + s * direction)

    h = 1e-3  # differences of fourth order: their error is about h⁴
    slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    bend = (16 * (along(h) + along(-h)) - along(2 * h) - along(-2 * h) - 30 * r) / (12 * h**2)
    scale = np.abs(slope).max()
    np.testing.assert_allclose(jacobian @ direction, slope, atol=1e-7 * scale)
    bend_scale = np.abs(bend).max()
    np.testing.assert_allclose(system.curvature(theta, direction), bend, atol=1e-5 * bend_scale)


def test_soft_loss_is_the_sum_of_three_mean_squares():
    compiled = CollocationProblem(burgers_soft, 64, (2, 6, 1))
    points, theta = compiled.sample(BURGERS, (0, 0)), compiled.initial_parameters(0)
    r = np.asarray(compiled.residuals(BURGERS, theta, points))
    assert [len(p) for p in points] == [64, 8, 8]
    x = 2 * points[1][:, 0] - 1
    u = compiled.evaluate(BURGERS, theta, (0 * x, x))
    assert np.sum(r[64:72] ** 2) == pytest.approx(np.mean((u + np.sin(np.pi * x)) ** 2))
    times, ends = points[2][:, 0], np.where(points[2][:, 1] < 0.5, -1.0, 1.0)
    u = compiled.evaluate(BURGERS, theta, (times, ends))
    assert np.sum(r[72:] ** 2) == pytest.approx(np.mean(u**2))


def test_samples_are_reproducible_balanced_and_different_from_round_to_round():
    compiled = CollocationProblem(burgers_hard, 64, (2, 4, 1))
    (first,), (again,), (other,) = (
        compiled.sample(BURGERS, seed) for seed in ((5, 0), (5, 0), (5, 50))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    for column in first.T:
        assert np.histogram(column, bins=64, range=(0, 1))[0].tolist() == [1] * 64


@pytest.mark.parametrize(
    ("build", "one", "other"),
    [
        (burgers_layer, BurgersProblem(0.01, 0.5), BurgersProblem(0.02, 1.0)),
        (linear, HeatProblem(0.1), HeatProblem(0.2, amplitudes=(0.3, 0.2, 0.1))),
    ],
)
def test_problems_of_one_kind_share_a_compilation_but_not_their_numbers(build, one, other):
    compiled = CollocationProblem(build, 64, (build(one, 64).inputs, 6, 1))
    theta, points = compiled.initial_parameters(0), compiled.sample(one, (0, 0))
    residuals = [compiled.residuals(problem, theta, points) for problem in (one, other)]
    assert compiled.residuals._cache_size() == 1
    for problem, computed in zip((one, other), residuals, strict=True):
        (term,) = build(problem, 64).terms
        residual = term.residual(build(problem, 64).trial(network_of(compiled, theta)))
        by_hand = [residual(*term.place(z)) / 8 for z in points[0]]
        np.testing.assert_allclose(computed, by_hand, atol=1e-12)


def network_of(compiled, theta):
    """A network with given parameters, put together without the class under test."""
    model = flax_mlp.MLP(compiled.widths, rngs=nnx.Rngs(1))
    nnx.update(model, ravel_pytree(nnx.state(model))[1](jnp.asarray(theta)))
    return model


@pytest.mark.parametrize("points", [0, -4, 100])
def test_unbalanced_numbers_of_points_are_refused(points):
    with pytest.raises(ValueError, match=f"points={points}: allowed are powers of two"):
        Term(lambda u: u, lambda z: (z[0],), 1, points)
