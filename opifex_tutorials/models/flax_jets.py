r"""Derivatives of a tanh network of any order, carried forward through its layers, in JAX.

The jets of a function at N points are its derivatives there, shape (N, ...) each, by *index*: how
often each coordinate is differentiated. With :math:`y = \tanh z` and :math:`s = 1 - y^2`, one
derivative more is :math:`\partial_i y = s\,\partial_i z`, and Leibniz' rule gives all others:

.. math:: \partial^{\alpha + e_i} y = \sum_{\beta \le \alpha}
    \binom\alpha\beta\, \partial^\beta s\; \partial^{\alpha - \beta + e_i} z.

The cost grows with the number of derivatives that are asked for. Nested automatic differentiation
evaluates the network anew for each of them. :mod:`opifex_tutorials.models.torch_jets` is the twin
for equations of second order.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

Index = tuple[int, ...]
Jets = dict[Index, jax.Array]
Function = Callable[..., jax.Array]  # of scalar coordinates
Derivative = Callable[[Function, int], Function]  # (function, number of the coordinate)
Layer = tuple[jax.Array, jax.Array]  # weights, shape (inputs, outputs), and biases


def closure(indices: Iterable[Index]) -> list[Index]:
    """Return the indices and all that are below one of them, those of lower order first."""
    below = {beta for alpha in indices for beta in _below(alpha)}
    return sorted(below, key=lambda alpha: (sum(alpha), alpha))


def of_function(
    f: Function, points: Sequence[jax.Array], indices: Sequence[Index], derivative: Derivative
) -> Jets:
    """Return the jets of a function of scalar coordinates at points, by ``derivative``."""
    jets = {}
    for alpha in indices:
        axes = [axis for axis, times in enumerate(alpha) for _ in range(times)]
        jets[alpha] = jax.vmap(reduce(derivative, axes, f))(*points)
    return jets


def tanh(z: Jets) -> Jets:
    """Return the jets of tanh z; the indices come in the order of :func:`closure`."""
    y: Jets = {}
    slope: Jets = {}
    for alpha in z:
        if any(alpha):
            axis = next(i for i, times in enumerate(alpha) if times)
            lower = _step(alpha, axis, -1)
            z_axis = {beta: z[_step(beta, axis, 1)] for beta in _below(lower)}
            y[alpha] = _leibniz(lower, slope, z_axis)
            slope[alpha] = -_leibniz(alpha, y, y)
        else:
            y[alpha] = jnp.tanh(z[alpha])
            slope[alpha] = 1 - y[alpha] ** 2
    return y


def network(
    layers: Sequence[Layer], inputs: Jets, taps: Sequence[Jets] | None = None
) -> tuple[Jets, list[Jets]]:
    """Carry jets through the layers of :class:`opifex_tutorials.models.flax_mlp.MLP`.

    Args:
        layers: weights and biases of each layer.
        inputs: jets of the features, shape (N, inputs) each.
        taps: added to what leaves each layer before the tanh; zeros, by which to differentiate.

    Returns:
        The jets of the outputs, shape (N, outputs) each, and the jets that enter each layer.
    """
    jets, entering = inputs, []
    for number, (weights, biases) in enumerate(layers):
        jets = tanh(jets) if number else jets
        entering.append(jets)
        jets = {alpha: jet @ weights for alpha, jet in jets.items()}
        value = next(iter(jets))
        jets[value] = jets[value] + biases
        if taps is not None:
            jets = {alpha: jet + taps[number][alpha] for alpha, jet in jets.items()}
    return jets, entering


def pull_back(adjoints: Sequence[Jets], entering: Sequence[Jets]) -> jax.Array:
    """Return the gradient of one value per point with respect to the parameters, shape (N, P).

    Args:
        adjoints: of the taps of :func:`network`, for the sum of the values.
        entering: as that call returned it.
    """
    blocks = []
    for into, out in zip(entering, adjoints, strict=True):
        products = (into[alpha][:, :, None] * out[alpha][:, None, :] for alpha in into)
        weights = reduce(jnp.add, products)
        # Flax orders the parameters of a layer by name: biases, then weights ("kernel").
        blocks += [next(iter(out.values())), weights.reshape(len(weights), -1)]
    return jnp.concatenate(blocks, axis=1)


def as_field(known: jax.Array, position: Callable[[Index], int]) -> Function:
    """Return a network as a field that can be differentiated at one point.

    Args:
        known: the values of its derivatives there, shape (derivatives, outputs).
        position: of the derivative with this index among them.
    """

    def of(alpha: Index) -> Any:
        @jax.custom_jvp
        def value(known: jax.Array, *point: jax.Array) -> jax.Array:
            outputs = known[position(alpha)]
            return outputs[0] if len(outputs) == 1 else outputs

        def rule(primals: Any, tangents: Any) -> Any:
            out = value(*primals)
            change = jnp.zeros_like(out)
            if not isinstance(tangents[0], SymbolicZero):
                change = value(tangents[0], *primals[1:])
            for axis, tangent in enumerate(tangents[1:]):
                if not isinstance(tangent, SymbolicZero):
                    higher = of(_step(alpha, axis, 1))
                    change = change + higher(*primals) * tangent
            return out, change

        value.defjvp(rule, symbolic_zeros=True)
        return value

    return lambda *point: of((0,) * len(point))(known, *point)


def requested(residual: Function, outputs: int, dimension: int) -> list[Index] | None:
    """Return the derivatives of the network that a residual asks for, and all of lower order.

    None if it asks for them elsewhere than at its own point, as a periodicity does.
    """
    indices: set[Index] = set()

    def note(alpha: Index) -> int:
        indices.add(alpha)
        return 0

    def probe(known: jax.Array, *point: jax.Array) -> jax.Array:
        return residual(as_field(known, note), *point)

    at = [jnp.zeros(()) for _ in range(dimension)]
    jaxpr = jax.make_jaxpr(probe)(jnp.zeros((1, outputs)), *at).jaxpr
    known = jaxpr.invars[0]
    for equation in jaxpr.eqns:
        if any(variable is known for variable in equation.invars):
            is_value = equation.primitive.name == "custom_jvp_call"
            if not is_value or list(equation.invars) != list(jaxpr.invars):
                return None
    return closure(indices)


def _below(alpha: Index) -> Iterator[Index]:
    return product(*(range(times + 1) for times in alpha))


def _step(alpha: Index, axis: int, by: int) -> Index:
    return (*alpha[:axis], alpha[axis] + by, *alpha[axis + 1 :])


def _leibniz(alpha: Index, f: Jets, g: Jets) -> jax.Array:
    """Return a derivative of the product f g."""
    rest = {beta: tuple(map(operator.sub, alpha, beta)) for beta in _below(alpha)}
    terms = (math.prod(map(math.comb, alpha, b)) * f[b] * g[r] for b, r in rest.items())
    return reduce(jnp.add, terms)
