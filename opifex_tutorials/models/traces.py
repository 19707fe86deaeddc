r"""What happens at a wall as a function of time: a network, or a cubic spline.

A trace s gives its value and its second derivative, by which it is smoothed, at times of shape
(N,), and with ``linearize`` also their Jacobians, shape (N, P). Its value at the horizon T is built
in: the network is :math:`s(T) + (T - t) N(t)`, the spline has it as its last coefficient.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.validation import FloatArray, require_between, require_finite, require_integer


class NetworkTrace:
    """A tanh network in time.

    Args:
        hidden: widths of the hidden layers; one of 8 gives 25 parameters.
        horizon: T.
        final: s(T).
        seed: of the weights, which are the attribute ``start``, shape (P,).
    """

    def __init__(self, hidden: Sequence[int], *, horizon: float, final: float, seed: int) -> None:
        self.widths = (1, *hidden, 1)
        self.horizon = require_between("horizon", horizon, 1e-2, 10)
        self.final = require_finite("final", final)
        self.start = parameters_to_vector(MLP(self.widths, seed=seed).parameters()).detach().numpy()

    def linearize(self, parameters: FloatArray, t: FloatArray) -> tuple[FloatArray, ...]:
        """Return s, s'' and their Jacobians."""
        return self(parameters, t, [])

    def __call__(
        self, parameters: FloatArray, t: FloatArray, tape: jets.Tape | None = None
    ) -> tuple[FloatArray, ...]:
        """Return s and s''."""
        times = torch.from_numpy(np.asarray(t, dtype=float))
        # Time takes the place of a space coordinate: its Laplacian is the second derivative.
        elapsed = jets.coordinates(0 * times, times)[1]
        feature = jets.affine(elapsed, 0.0, self.horizon, 2.0)[..., None]
        jet = jets.network(torch.from_numpy(parameters), self.widths, feature, tape)[..., 0]
        remaining = -elapsed
        remaining[0] += self.horizon
        jet = jets.product(remaining, jet)
        found: list[Tensor] = [self.final + jet[0], jet[-1]]
        rows = [] if tape is None else [jets.pull_back(values, tape) for values in found]
        return tuple(array.detach().numpy() for array in (*found, *rows))


class SplineTrace:
    """A cubic spline with equal knots: the classical choice, linear in its parameters.

    Args:
        size: number of parameters, from 4 to 1000; they begin with zeros, the attribute ``start``.
        horizon: T.
        final: s(T).
    """

    def __init__(self, size: int, *, horizon: float, final: float) -> None:
        self.start = np.zeros(require_integer("size", size, 4, 1000))
        self.horizon = require_between("horizon", horizon, 1e-2, 10)
        self.final = require_finite("final", final)
        knots = np.pad(np.linspace(0, horizon, size - 1), 3, mode="edge")
        self._basis = BSpline(knots, np.eye(size + 1), 3)
        self._bends = self._basis.derivative(2)

    def __call__(self, parameters: FloatArray, t: FloatArray) -> tuple[FloatArray, ...]:
        """Return s and s''."""
        return self.linearize(parameters, t)[:2]

    def linearize(self, parameters: FloatArray, t: FloatArray) -> tuple[FloatArray, ...]:
        """Return s, s'' and their Jacobians."""
        value, bend = self._basis(t), self._bends(t)
        coefficients = np.append(parameters, self.final)
        return value @ coefficients, bend @ coefficients, value[:, :-1], bend[:, :-1]


Trace = NetworkTrace | SplineTrace
