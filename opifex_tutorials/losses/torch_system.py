r"""From a formulation of a problem to residuals and their Jacobian at sampled points, in PyTorch.

The same words as in :mod:`opifex_tutorials.losses.jax_system`: a *trial* turns the outputs of a
network into candidates, a *condition* asks for residuals at points, a *formulation* is both, and a
*system* is conditions with a network in them: a least-squares problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import SeedSequence
from scipy.stats import qmc
from torch import Tensor

from opifex_tutorials.models import torch_axes
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.torch_axes import Widths
from opifex_tutorials.validation import FloatArray

# (numbers of points per axis, dimension) -> points of the unit cube, shape (N, dimension)
Sampler = Callable[[tuple[int, ...], int], FloatArray]


class Trial(Protocol):
    """How a network becomes a candidate, at given points.

    Attributes:
        features: jets of the inputs of the network, shape (d + 3, N, inputs), or their values
            alone, shape (1, N, inputs); or :class:`opifex_tutorials.models.torch_axes.Features`.
    """

    features: Any

    def __call__(self, outputs: Tensor) -> Any:
        """Return the candidates from the jets of the outputs, shape (d + 3, N, outputs)."""


@dataclass(frozen=True)
class Condition:
    """Residuals asked for at some points.

    Attributes:
        trial: at these points.
        residuals: candidates -> residuals, shape (N,) each. A residual may compare K places: the
            points are then those of the first place, of the second, and so on, K N together.
    """

    trial: Trial
    residuals: Callable[[Any], list[Tensor]]


@dataclass(frozen=True)
class Formulation:
    """A problem as a least-squares problem for a network.

    Attributes:
        trial: points (times, and one tensor for each space coordinate) -> trial there.
        conditions: (where, numbers of points in time and in space) -> what is asked for.
    """

    trial: Callable[..., Trial]
    conditions: Callable[[Sampler, tuple[int, int]], list[Condition]]


Formulate = Callable[[Any], Formulation]  # problem -> formulation


@dataclass(frozen=True)
class System:
    """Conditions on a network of given widths: NumPy in, NumPy out, for Levenberg-Marquardt.

    The squares of the residuals sum to the sum of their mean squares. Widths are those of
    :func:`opifex_tutorials.models.torch_axes.network`.
    """

    conditions: list[Condition]
    widths: Widths

    def loss(self, parameters: Tensor) -> Tensor:
        """Return the sum of squares; PyTorch can differentiate it."""
        return torch.sum(self._stacked(parameters) ** 2)

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Return the residuals, shape (N,)."""
        with torch.no_grad():
            return self._stacked(torch.from_numpy(parameters)).numpy()

    def linearize(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals, shape (N,), and their Jacobian, shape (N, P)."""
        flat, values, parts = torch.from_numpy(parameters), [], []
        for condition in self.conditions:
            tape: jets.Tape = []
            residuals = self._evaluate(condition, flat, tape)
            parts += [(r, tape) for r in residuals]
            values += [r.detach() for r in residuals]
        rows = torch.empty(sum(map(len, values)), len(parameters), dtype=torch.float64)
        for part, (r, tape) in zip(rows.split([*map(len, values)]), parts, strict=True):
            jets.pull_back(r, tape, out=part)
        return torch.cat(values).numpy(), rows.numpy()

    def _evaluate(
        self, condition: Condition, parameters: Tensor, tape: jets.Tape | None = None
    ) -> list[Tensor]:
        outputs = torch_axes.network(parameters, self.widths, condition.trial.features, tape)
        residuals = condition.residuals(condition.trial(outputs))
        return [r / len(r) ** 0.5 for r in residuals]

    def _stacked(self, parameters: Tensor) -> Tensor:
        return torch.cat([r for c in self.conditions for r in self._evaluate(c, parameters)])


class Drawn:
    """A system at points that depend on the parameters: where the crowd is that follows them.

    The points are drawn where a step starts, at ``linearize`` or ``loss``; trials meet the same.

    Args:
        draw: parameters -> system.
        seeds: of its random points: a draw takes the next one.
        stay: whether to draw for the first step only, or for every step.

    Attributes:
        state: what the points come from: how many seeds had been taken before, then the
            parameters, shape (1 + P,).
    """

    def __init__(
        self, draw: Callable[[FloatArray], System], seeds: SeedSequence, *, stay: bool = False
    ) -> None:
        self._draw, self._seeds, self._stay = draw, seeds, stay
        self._system: System | None = None
        self.state: FloatArray | None = None

    def draw_again(self, state: FloatArray) -> None:
        """Draw the points that come from a state."""
        self._seeds.spawn(int(state[0]) - self._seeds.n_children_spawned)
        self._starting(state[1:])

    def _starting(self, parameters: FloatArray) -> System:
        if self._system is None or not self._stay:
            self.state = np.append(self._seeds.n_children_spawned, parameters)
            self._system = self._draw(parameters)
        return self._system

    def loss(self, parameters: Tensor) -> Tensor:
        """Return the sum of squares; PyTorch can differentiate it, with points that stand still."""
        return self._starting(parameters.detach().numpy()).loss(parameters)

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Return the residuals at the points drawn last, shape (N,)."""
        return (self._system or self._starting(parameters)).residuals(parameters)

    def linearize(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals, shape (N,), and their Jacobian, shape (N, P)."""
        return self._starting(parameters).linearize(parameters)


def gauss(counts: tuple[int, ...], dimension: int) -> FloatArray:
    """Return the nodes of a product of Gauss-Legendre rules, which resolve the ends of an axis."""
    if len(counts) != dimension:
        raise ValueError(f"sampling='gauss' in {dimension} dimensions: allowed is 'sobol'")
    axes = [(1 + np.polynomial.legendre.leggauss(count)[0]) / 2 for count in counts]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], -1)


def sobol(seed: Sequence[int] | SeedSequence) -> Sampler:
    """Return a sampler of scrambled Sobol points, at least as many as a product rule has."""
    rng = np.random.default_rng(seed)

    def sample(counts: tuple[int, ...], dimension: int) -> FloatArray:
        power = int(np.ceil(np.log2(np.prod(counts))))
        return qmc.Sobol(dimension, rng=rng).random_base2(power)

    return sample
