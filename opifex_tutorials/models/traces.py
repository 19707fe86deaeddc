r"""What happens at a wall as a function of time: a network, or a cubic spline.

A trace s offers its value and its second derivative, by which it is smoothed, and both derivatives
with respect to its parameters. Its value at the horizon T is known and built in: the network is
:math:`s(T) + (T - t) N(t)`, the spline has it as its last coefficient.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.validation import FloatArray, require_between, require_finite, require_integer


class Linearized(NamedTuple):
    """Value s and bend s'' of a trace, shape (N,) each, and their Jacobians, shape (N, P)."""

    value: FloatArray
    bend: FloatArray
    value_jacobian: FloatArray
    bend_jacobian: FloatArray


class NetworkTrace:
    """A tanh network in time.

    Args:
        hidden: widths of the hidden layers; one of 8 gives 25 parameters.
        horizon: T.
        final: s(T).
        seed: of the weights.

    Attributes:
        start: the weights drawn, shape (P,).
    """

    def __init__(self, hidden: Sequence[int], *, horizon: float, final: float, seed: int) -> None:
        self.widths = (1, *hidden, 1)
        self.horizon = require_between("horizon", horizon, 1e-2, 10)
        self.final = require_finite("final", final)
        self.start = parameters_to_vector(MLP(self.widths, seed=seed).parameters()).detach().numpy()

    def __call__(self, parameters: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return s and s'' at times of shape (N,)."""
        with torch.no_grad():
            jet = self._jet(parameters, t)
        return jet[0].numpy(), jet[-1].numpy()

    def linearize(self, parameters: FloatArray, t: FloatArray) -> Linearized:
        """Return s and s'' with their Jacobians."""
        tape: jets.Tape = []
        jet = self._jet(parameters, t, tape)
        rows = [jets.pull_back(jet[i], tape).numpy() for i in (0, -1)]
        return Linearized(jet[0].detach().numpy(), jet[-1].detach().numpy(), *rows)

    def _jet(self, parameters: FloatArray, t: FloatArray, tape: jets.Tape | None = None) -> Tensor:
        times = torch.from_numpy(np.asarray(t, dtype=float))
        # Time takes the place of a space coordinate: its Laplacian is the second derivative.
        elapsed = jets.coordinates(0 * times, times)[1]
        feature = jets.affine(elapsed, 0.0, self.horizon, 2.0)[..., None]
        jet = jets.network(torch.from_numpy(parameters), self.widths, feature, tape)[..., 0]
        remaining = -elapsed
        remaining[0] += self.horizon
        jet = jets.product(remaining, jet)
        return torch.cat([jet[:1] + self.final, jet[1:]])


class SplineTrace:
    """A cubic spline with equal knots: the classical choice, linear in its parameters.

    Args:
        size: number of parameters, from 4 to 1000.
        horizon: T.
        final: s(T).

    Attributes:
        start: zeros, shape (size,).
    """

    def __init__(self, size: int, *, horizon: float, final: float) -> None:
        self.start = np.zeros(require_integer("size", size, 4, 1000))
        require_between("horizon", horizon, 1e-2, 10)
        self.final = require_finite("final", final)
        knots = np.pad(np.linspace(0, horizon, size - 1), 3, mode="edge")
        self._basis = BSpline(knots, np.eye(size + 1), 3)
        self._bends = self._basis.derivative(2)

    def __call__(self, parameters: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return s and s'' at times of shape (N,)."""
        return self.linearize(parameters, t)[:2]

    def linearize(self, parameters: FloatArray, t: FloatArray) -> Linearized:
        """Return s and s'' with their Jacobians."""
        value, bend = self._basis(t), self._bends(t)
        all_of_them = np.append(parameters, self.final)
        return Linearized(value @ all_of_them, bend @ all_of_them, value[:, :-1], bend[:, :-1])


Trace = NetworkTrace | SplineTrace
