"""Jets through a tanh network, in JAX and in PyTorch, against calculus by hand and nesting."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.models import flax_jets as jets
from opifex_tutorials.models import torch_jets
from opifex_tutorials.models.precision import enable_float64

enable_float64()

T, X = np.random.default_rng(0).normal(size=(2, 5))


def test_closure_adds_all_that_is_below_in_rising_order():
    assert jets.closure([(0, 2), (1, 0)]) == [(0, 0), (0, 1), (1, 0), (0, 2)]
    assert jets.closure([(1, 1)]) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert jets.closure([(0,)]) == [(0,)]


def test_jets_of_a_function_are_its_derivatives():
    indices = [(0, 0), (1, 0), (0, 2), (2, 1)]
    found = jets.of_function(lambda t, x: t**3 * x**4, (T, X), indices, derivative)
    expected = [T**3 * X**4, 3 * T**2 * X**4, 12 * T**3 * X**2, 24 * T * X**3]
    assert list(found) == indices
    for jet, by_hand in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(jet, by_hand, rtol=1e-13)


def test_tanh_up_to_the_fourth_order_by_hand():
    """For z = x the derivatives of tanh, with y = tanh x and s = 1 - y²."""
    zeros = jnp.zeros_like(X)
    inputs = {(0,): jnp.asarray(X), (1,): zeros + 1, (2,): zeros, (3,): zeros, (4,): zeros}
    found = jax.jit(lambda: list(jets.tanh({alpha: z for alpha, z in inputs.items()}).values()))()
    y = np.tanh(X)
    s = 1 - y**2
    expected = [y, s, -2 * y * s, s * (6 * y**2 - 2), 8 * y * s * (2 - 3 * y**2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alpha", [(1, 2)])
def test_a_network_and_the_gradient_of_its_derivatives(alpha):
    """Of an output's derivative with respect to all weights, layer by layer."""
    rng, widths = np.random.default_rng(1), (3, 4, 5, 2)
    layers = [
        (jnp.asarray(rng.normal(size=(n, m))), jnp.asarray(rng.normal(size=m)))
        for n, m in pairwise(widths)
    ]
    indices = jets.closure([alpha])

    def features(t, x):
        return jnp.stack([t, x, t * x])

    def plain(layers, t, x):
        z = features(t, x)
        for number, (weights, biases) in enumerate(layers):
            z = (jnp.tanh(z) if number else z) @ weights + biases
        return z[1]

    @jax.jit
    def carried(layers):
        inputs = jets.of_function(features, (T, X), indices, derivative)
        zeros = [{a: jnp.zeros((len(T), n)) for a in indices} for n in widths[1:]]

        def total(taps):
            outputs, entering = jets.network(layers, inputs, taps)
            return outputs[alpha][:, 1].sum(), (outputs[alpha][:, 1], entering)

        adjoints, (values, entering) = jax.grad(total, has_aux=True)(zeros)
        return values, jets.pull_back(adjoints, entering)

    @jax.jit
    def nested(layers):
        def one(layers, t, x):
            f = partial(plain, layers)
            for axis, times in enumerate(alpha):
                for _ in range(times):
                    f = jax.grad(f, axis)
            return f(t, x)

        values, slopes = jax.vmap(jax.value_and_grad(one), (None, 0, 0))(layers, T, X)
        rows = [part.reshape(len(T), -1) for w, b in slopes for part in (b, w)]
        return values, jnp.concatenate(rows, axis=1)

    for found, expected in zip(carried(layers), nested(layers), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


def product(u, t, x):
    return u(t, x) * derivative(derivative(u, 1), 0)(t, x)


@pytest.mark.parametrize(
    ("residual", "expected"),
    [
        (lambda u: lambda t, x: u(t, x) + t, [(0, 0)]),
        (lambda u: derivative(derivative(u, 1), 1), [(0, 0), (0, 1), (0, 2)]),
        (lambda u: lambda t, x: product(u, t, x), [(0, 0), (0, 1), (1, 0), (1, 1)]),
        # elsewhere than at the point itself
        (lambda u: lambda t, x: u(t, 0 * x), None),
        (lambda u: lambda t, x: u(t, x) - u(t, -x), None),
        (lambda u: lambda t, x: derivative(u, 0)(x, t), None),
    ],
)
def test_what_a_residual_asks_for(residual, expected):
    def of_network(network, *point):
        return residual(network)(*point)

    assert jets.requested(of_network, 1, 2) == expected


def test_a_known_network_can_be_differentiated_at_its_point():
    """u = 2, u_x = 3, u_xx = 5 and u_t = 7, for two outputs ten times as large in the second."""
    indices = [(0, 0), (0, 1), (0, 2), (1, 0)]
    known = jnp.array([2.0, 3.0, 5.0, 7.0])[:, None] * jnp.array([1.0, 10.0])
    u = jets.as_field(known, indices.index)
    u_x = derivative(u, 1)
    point = jnp.asarray(0.3), jnp.asarray(0.4)
    np.testing.assert_array_equal(u(*point), [2, 20])
    np.testing.assert_array_equal(derivative(u_x, 1)(*point), [5, 50])
    np.testing.assert_array_equal(derivative(u, 0)(*point), [7, 70])
    product_rule = derivative(lambda t, x: x * u(t, x), 1)
    np.testing.assert_allclose(product_rule(*point), [2 + 0.4 * 3, 20 + 0.4 * 30])
    alone = jets.as_field(known[:, :1], indices.index)
    assert alone(*point).shape == ()


def in_torch(f, z):
    """The jet of a function of (t, x, y) by nested differentiation in PyTorch."""
    points = [z_i.clone().requires_grad_() for z_i in z]
    value = f(*points) + 0 * sum(z_i**3 for z_i in points)
    first = torch.autograd.grad(value.sum(), points, create_graph=True)
    second = [
        torch.autograd.grad(g.sum(), z_i, retain_graph=True)[0]
        for g, z_i in zip(first, points, strict=True)
    ]
    return torch.stack([value, *first, sum(second[1:])]).detach()


POINTS = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 5)))


@pytest.mark.parametrize(
    ("carried", "plain"),
    [
        (torch_jets.product, lambda a, b: a * b),
        (lambda a, b: torch_jets.cos(a), lambda a, b: torch.cos(a)),
        (lambda a, b: torch_jets.tanh(b), lambda a, b: torch.tanh(b)),
        (lambda a, b: torch_jets.affine(a, -1.0, 3.0, 2.0), lambda a, b: a - 1),
    ],
)
def test_the_twin_in_pytorch_against_nested_differentiation(carried, plain):
    def one(t, x, y):
        return t * x**2 + x * y

    def other(t, x, y):
        return t + 2 * x + y**3

    jet = carried(in_torch(one, POINTS), in_torch(other, POINTS))
    expected = in_torch(lambda *z: plain(one(*z), other(*z)), POINTS)
    np.testing.assert_allclose(jet, expected, rtol=1e-12, atol=1e-12)


def test_coordinates_and_functions_of_space_in_pytorch():
    for axis, jet in enumerate(torch_jets.coordinates(*POINTS)):
        np.testing.assert_array_equal(jet, in_torch(lambda *z, i=axis: z[i], POINTS))
    jet = torch_jets.of_space(lambda x, y: x**3 * y + y**2, POINTS[1:])
    expected = in_torch(lambda t, x, y: x**3 * y + y**2 + 0 * t, POINTS)
    np.testing.assert_allclose(jet, expected, atol=1e-13)
    linear = torch_jets.of_space(lambda x, y: 2 * x, POINTS[1:])
    np.testing.assert_array_equal(linear[2:], np.tile([[2.0], [0.0], [0.0]], 5))
