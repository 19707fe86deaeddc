"""Trial functions for mean field games: a network as a value and a positive density, in PyTorch."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.problems.game import MeanFieldGame

# Features fill [-2, 2]. Not sensitive: after 150 steps, on three games and two seeds each, the
# error of u was larger with [-1, 1] by factors of 1.2 to 2.2, and with [-3, 3] by at most 1.3.
REACH = 2.0


class Fields(NamedTuple):
    """Jets of the value and of the logarithm of the density, shape (d + 3, N) each."""

    value: Tensor
    log_density: Tensor


class SoftTrial:
    """The bare network: value and logarithm of the density are its two outputs.

    Attributes:
        features: jets of the inputs of the network, shape (d + 3, N, inputs).
    """

    def __init__(self, game: MeanFieldGame, t: Tensor, x: Sequence[Tensor]) -> None:
        points = zip(jets.coordinates(t, *x), game.bounds.values(), strict=True)
        self.features = torch.stack([jets.affine(z, *ends, REACH) for z, ends in points], -1)

    def __call__(self, outputs: Tensor) -> Fields:
        """Return the fields from the jets of the outputs, shape (d + 3, N, 2)."""
        return Fields(outputs[..., 0], outputs[..., 1])


class HardTrial(SoftTrial):
    r"""Fields that satisfy the data of the game for any weights.

    .. math:: u = g + \tfrac{2\nu}{\lambda}(T - t) N_1, \qquad \log m = \log m_0 + t N_2

    On a periodic or Neumann box the network sees the space through :math:`\cos k x_i` only, and
    through :math:`\sin k x_i` as well if the box is periodic and the data are not even. On a box
    cut out of all of space it sees the coordinates, and nothing is asked for at the walls.
    """

    def __init__(self, game: MeanFieldGame, t: Tensor, x: Sequence[Tensor]) -> None:
        super().__init__(game, t, x)
        self._elapsed, *space = jets.coordinates(t, *x)
        self._remaining = -self._elapsed
        self._remaining[0] += game.horizon
        if game.boundary != "exact":
            low, high = list(game.bounds.values())[1]
            # A wall is a mirror: with its image the box is half of a period.
            start = low if game.boundary == "periodic" else 2 * low - high
            angles = [jets.affine(z, start, high, np.pi) for z in space]
            if game.boundary == "periodic" and not is_even(game):
                shift = (high - low) / 4  # cos becomes sin
                angles += [jets.affine(z, low + shift, high + shift, np.pi) for z in space]
            waves = [REACH * jets.cos(angle) for angle in angles]
            self.features = torch.stack([self.features[..., 0], *waves], -1)
        self._unit = 2 * game.viscosity / game.kinetic
        self._terminal = jets.of_space(lambda *x: game.terminal_cost(*x, xp=torch), x)
        self._initial = jets.of_space(lambda *x: game.initial_density(*x, xp=torch).log(), x)

    def __call__(self, outputs: Tensor) -> Fields:
        """Return the fields from the jets of the outputs, shape (d + 3, N, 2)."""
        value, log_density = super().__call__(outputs)
        return Fields(
            self._terminal + self._unit * jets.product(self._remaining, value),
            self._initial + jets.product(self._elapsed, log_density),
        )


class ValuesOnly:
    """The values of a trial function without their derivatives, at a fraction of the cost.

    Attributes:
        features: shape (1, N, inputs).
    """

    def __init__(self, trial: SoftTrial) -> None:
        self.features = trial.features[:1]
        zero = torch.zeros(*trial.features.shape[:2], 2, dtype=torch.float64)
        one = zero.clone()
        one[0] = 1.0
        # Both fields are affine in the outputs of the network.
        self._base, at_one = (torch.stack([f[:1] for f in trial(z)], -1) for z in (zero, one))
        self._factors = at_one - self._base

    def __call__(self, outputs: Tensor) -> Fields:
        """Return the fields, shape (1, N) each, from the outputs, shape (1, N, 2)."""
        fields = self._base + self._factors * outputs
        return Fields(fields[..., 0], fields[..., 1])


def is_even(game: MeanFieldGame) -> bool:
    """Whether reflecting any coordinate at the center of the box leaves the data as they are."""
    rng, box = np.random.default_rng(0), list(game.bounds.values())
    t, *x = (rng.uniform(*ends, 64) for ends in box)

    def data(*x: np.ndarray) -> np.ndarray:
        return np.stack([game.terminal_cost(*x), game.initial_density(*x), game.potential(t, *x)])

    reflected = ([sum(box[1]) - z if i == j else z for j, z in enumerate(x)] for i in range(len(x)))
    return all(np.allclose(data(*x), data(*y), rtol=1e-12, atol=1e-12) for y in reflected)


TRIALS = {"hard": HardTrial, "soft": SoftTrial}
