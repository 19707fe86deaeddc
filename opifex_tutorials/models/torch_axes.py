r"""Networks of many coordinates, at a cost that is linear in their number.

A feature f of one coordinate :math:`x_i` alone (and time) has one derivative in space. So the first
layer needs no jets of shape (d + 3, N, d):

.. math::

    z = \sum_i W_i f_i, \qquad \partial_i z = W_i f_i', \qquad \Delta z = \sum_i W_i f_i''.

Behind it all jets are those of :mod:`opifex_tutorials.models.torch_jets`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from opifex_tutorials.models import torch_jets as jets

# Sizes of all layers of a network, or of an inner and of an outer one.
Widths = tuple[int, ...] | tuple[tuple[int, ...], ...]


class Features:
    """Inputs of a network, in d dimensions at N points.

    Args:
        shared: jets of features of time or of all coordinates, shape (d + 3, N, S); the first is a
            function of time alone.
        own: of F features of each coordinate: f, its slopes in time and along that coordinate, and
            its second derivative there, shape (4, d, N, F).
        scale: what the outputs of the network are multiplied by; a network starts small beside it.
    """

    def __init__(self, shared: Tensor, own: Tensor, scale: float = 1.0) -> None:
        self.shared, self.own, self.scale = shared, own, scale
        self.summed = own[[0, 1, 3]].transpose(1, 2).flatten(2)  # (3, N, d F)
        self.shape = (*shared.shape[:2], shared.shape[-1] + self.summed.shape[-1])  # as of jets

    def through(self, weight: Tensor) -> Tensor:
        """Return the jets behind a linear layer, its weights of shape (outputs, S + d F)."""
        common, single = weight.T.split([self.shared.shape[-1], self.summed.shape[-1]])
        value, t, laplacian = (self.summed @ single).split(1)
        slopes = self.own[2] @ single.unflatten(0, (len(self.own[2]), -1))
        return self.shared @ common + torch.cat([value, t, slopes, laplacian])

    def gradients(self, adjoint: Tensor) -> Tensor:
        """Return the gradients of those weights, shape (N, outputs, S + d F)."""
        common = torch.einsum("cno,cns->nos", adjoint, self.shared)
        single = torch.einsum("cno,cni->noi", adjoint[[0, 1, -1]], self.summed)
        slopes = torch.einsum("ino,inf->noif", adjoint[2:-1], self.own[2])
        return torch.cat([common, single + slopes.flatten(2)], -1)


def network(
    parameters: Tensor, widths: Widths, inputs: Any, tape: jets.Tape | None = None
) -> Tensor:
    r"""Carry jets through a dense or, with a pair of ``widths``, a symmetric network.

    The symmetric one is the same for any order of the coordinates,

    .. math:: N(t, x) = G\Bigl(t, \tfrac1{\sqrt d} \sum_i h(t, x_i)\Bigr),

    with an inner network h and an outer one G; its parameters are theirs, in this order, and their
    number does not depend on d.

    Args:
        parameters: flat, shape (P,).
        widths: of all layers; a pair for inner and outer network.
        inputs: :class:`Features`, or jets of shape (d + 3, N, inputs) for a dense network.
        tape: see :func:`opifex_tutorials.models.torch_jets.network`.

    Returns:
        Jets, shape (d + 3, N, outputs).
    """
    if not isinstance(widths[0], tuple):
        return jets.network(parameters, widths, inputs, tape)
    inner, outer = widths
    _, d, n, _ = inputs.own.shape
    clock = torch.zeros_like(inputs.own[..., :1])
    clock[:2] = inputs.shared[:2, None, :, :1]
    each = torch.cat([clock, inputs.own], -1).flatten(1, 2)
    size = count([inner])
    h = jets.network(parameters[:size], inner, each, tape).unflatten(1, (d, n)) / d**0.5
    summed = torch.cat([h[:2].sum(1), h[2], h[3:].sum(1)])
    both = torch.cat([inputs.shared, summed], -1)
    return jets.network(parameters[size:], outer, both, tape)


def count(networks: Sequence[Sequence[int]]) -> int:
    """Return the number of parameters of networks of these widths."""
    return sum((a + 1) * b for widths in networks for a, b in pairwise(widths))
