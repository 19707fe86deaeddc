r"""Values with their derivatives, carried through a tanh network by the chain rule.

A jet of a function f(t, x) at N points is a tensor of shape (d + 3, N, ...): f, f_t, the d first
space derivatives, and the Laplacian. For a function of a jet,

.. math:: \Delta f(z) = f'(z)\,\Delta z + f''(z)\,|\nabla z|^2,

so that one forward pass gives all that a second-order equation asks for (the "forward Laplacian",
Li et al. 2024). Nested automatic differentiation in PyTorch takes many times as long.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

# For each layer, what enters it (jets; or features that know what a linear layer makes of them, as
# in torch_axes) and the jets that leave it before the tanh.
Tape = list[tuple[Any, Tensor]]


def coordinates(t: Tensor, *x: Tensor) -> list[Tensor]:
    """Return the jets of t and of each space coordinate, shape (d + 3, N) each."""
    jets = torch.zeros(1 + len(x), 3 + len(x), len(t), dtype=t.dtype)
    for axis, values in enumerate((t, *x)):
        jets[axis, 0], jets[axis, 1 + axis] = values, 1.0
    return list(jets)


def parts(z: Tensor) -> tuple[Tensor, ...]:
    """Return the value, the slope in time, those in space, and the Laplacian, of a jet z.

    One operation, which has one reverse; taken out one by one, each would be padded with zeros.
    """
    return z.split([1, 1, len(z) - 3, 1])


def compose(value: Tensor, slope: Tensor, bend: Tensor, z: Tensor) -> Tensor:
    """Return the jet of f(z) from f, f' and f'' at the values of the jet z, shape (1, N, ...)."""
    _, z_t, z_x, laplacian = parts(z)
    last = slope * laplacian + bend * (z_x**2).sum(0)
    return torch.cat([value, slope * z_t, slope * z_x, last])


def tanh(z: Tensor) -> Tensor:
    """Return the jet of tanh z; of values alone, shape (1, N, ...), the values."""
    value = torch.tanh(z[:1])
    if len(z) == 1:
        return value
    slope = 1 - value**2
    return compose(value, slope, -2 * value * slope, z)


def cos(z: Tensor) -> Tensor:
    """Return the jet of cos z."""
    value = torch.cos(z[:1])
    return compose(value, -torch.sin(z[:1]), -value, z)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return the jet of a b."""
    jet = a[:1] * b + a * b[:1]
    value, t, x, laplacian = parts(jet)
    return torch.cat([value / 2, t, x, laplacian + 2 * (parts(a)[2] * parts(b)[2]).sum(0)])


def affine(z: Tensor, low: float, high: float, reach: float) -> Tensor:
    """Return the jet of the linear map of z that takes [low, high] to [-reach, reach]."""
    jet = z * (2 * reach / (high - low))
    jet[0] -= reach * (high + low) / (high - low)
    return jet


def of_space(f: Callable[..., Tensor], x: Sequence[Tensor]) -> Tensor:
    """Return the jet of a function of space alone, by automatic differentiation."""
    points = [x_i.detach().requires_grad_() for x_i in x]
    with torch.enable_grad():
        value = f(*points) + 0 * sum(x_i**3 for x_i in points)  # two derivatives exist, if zero
        slopes = torch.autograd.grad(value.sum(), points, create_graph=True)
        pairs = zip(slopes, points, strict=True)
        second = [torch.autograd.grad(s.sum(), x_i, retain_graph=True)[0] for s, x_i in pairs]
    return torch.stack([value, 0 * value, *slopes, sum(second, 0 * value)]).detach()


def network(
    parameters: Tensor, widths: Sequence[int], inputs: Any, tape: Tape | None = None
) -> Tensor:
    """Carry jets through the network of :class:`opifex_tutorials.models.torch_mlp.MLP`.

    Args:
        parameters: flat, shape (P,), in the order of ``MLP(widths).parameters()``.
        widths: of all layers.
        inputs: jets, shape (d + 3, N, widths[0]), or :class:`torch_axes.Features`.
        tape: if given, a graph of the layers is recorded here, for :func:`pull_back`.

    Returns:
        Jets, shape (d + 3, N, widths[-1]).
    """
    z, at = inputs, 0
    for layer, (n_in, n_out) in enumerate(pairwise(widths)):
        entering: Any = tanh(z) if layer else z
        weight = parameters[at : at + n_in * n_out].view(n_out, n_in)
        bias = parameters[at + n_in * n_out : at + n_in * n_out + n_out]
        at += (n_in + 1) * n_out
        plain = isinstance(entering, Tensor)
        z = entering @ weight.T if plain else entering.through(weight)
        z = torch.cat([z[:1] + bias, z[1:]])
        if tape is not None:
            if layer == 0:
                z.requires_grad_()
            tape.append((entering.detach() if plain else entering, z))
    return z


def pull_back(values: Tensor, tape: Tape, out: Tensor | None = None) -> Tensor:
    """Return the gradient of every value with respect to the parameters, shape (N, P).

    Each value may depend on the jets of its own point, or of its own point in each of K places.
    So one reverse pass of the sum of all gives the adjoints of each; with what entered a layer
    they make the gradients of its weights.

    Args:
        values: shape (N,), computed from the jets that ``network`` returned at K N points.
        tape: of that call.
        out: where to write the gradients; a new tensor by default.
    """
    adjoints = torch.autograd.grad(values.sum(), [z for _, z in tape], retain_graph=True)
    if out is None:
        size = sum((entering.shape[-1] + 1) * z.shape[-1] for entering, z in tape)
        out = torch.empty(len(values), size, dtype=values.dtype)
    at = 0
    for (entering, _), adjoint in zip(tape, adjoints, strict=True):
        weights, biases = adjoint.shape[-1] * entering.shape[-1], adjoint.shape[-1]
        a = adjoint.unflatten(1, (-1, len(values)))
        if isinstance(entering, Tensor):
            e = entering.unflatten(1, (-1, len(values)))
            rows = torch.einsum("ckno,ckni->noi", a, e)
        else:
            rows = entering.gradients(adjoint)
        out[:, at : at + weights] = rows.flatten(1)
        out[:, at + weights : at + weights + biases] = a[0].sum(0)
        at += weights + biases
    return out
