r"""Mean field games for a network, in PyTorch: trial functions, residuals, formulations.

Both equations are asked for in units of their own:

.. math::

    \frac{\lambda}{2\nu}\Bigl(-u_t - \nu\Delta u + \tfrac\lambda2|\nabla u|^2 - F\Bigr) = 0, \qquad
    \frac1m\bigl(m_t - \nu\Delta m - \nabla\cdot(\lambda m\nabla u)\bigr) = 0.

The first factor is that of the Cole-Hopf variable :math:`\log\varphi = -\lambda u/2\nu`; the
second lets the rim of the crowd, which the coupling may feel, count like its center.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from opifex_tutorials.losses.torch_system import Condition, Formulate, Formulation, Sampler, Trial
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.problems.game import MeanFieldGame, is_even
from opifex_tutorials.validation import FloatArray

# Features fill [-2, 2]. Not sensitive: after 150 steps, on three games and two seeds each, the
# error of u was larger with [-1, 1] by factors of 1.2 to 2.2, and with [-3, 3] by at most 1.3.
REACH = 2.0
Part = tuple[float, float] | None  # an interval of the domain of a game; None for all of it


class Fields(NamedTuple):
    """Jets of the value and of the logarithm of the density, shape (d + 3, N) each."""

    value: Tensor
    log_density: Tensor


class SoftTrial:
    """The bare network: value and logarithm of the density are its two outputs.

    Attributes:
        features: jets of the inputs of the network, shape (d + 3, N, inputs).
    """

    def __init__(self, game: MeanFieldGame, t: Tensor, x: Sequence[Tensor], part: Part) -> None:
        points = zip(jets.coordinates(t, *x), _box(game, part), strict=True)
        self.features = torch.stack([jets.affine(z, *ends, REACH) for z, ends in points], -1)

    def __call__(self, outputs: Tensor) -> Fields:
        """Return the fields from the jets of the outputs, shape (d + 3, N, 2)."""
        return Fields(outputs[..., 0], outputs[..., 1])


class HardTrial(SoftTrial):
    r"""Fields that satisfy the data of the game for any weights.

    .. math:: u = g + \tfrac{2\nu}{\lambda}(T - t) N_1, \qquad \log m = \log m_0 + t N_2

    On a periodic or Neumann box the network sees the space through :math:`\cos k x_i` only, and
    through :math:`\sin k x_i` as well if the box is periodic and the data are not even. On a box
    cut out of all of space, or on an interval of the game's own, it sees the coordinates, and
    nothing is asked for at the walls.
    """

    def __init__(self, game: MeanFieldGame, t: Tensor, x: Sequence[Tensor], part: Part) -> None:
        super().__init__(game, t, x, part)
        self._elapsed, *space = jets.coordinates(t, *x)
        self._remaining = -self._elapsed
        self._remaining[0] += game.horizon
        if game.boundary != "exact" and part is None:
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
        u = self._terminal + self._unit * jets.product(self._remaining, value)
        return Fields(u, self._initial + jets.product(self._elapsed, log_density))


class ValuesOnly:
    """The values of a trial function without their derivatives, at a fraction of the cost.

    Attributes:
        features: shape (1, N, inputs).
    """

    def __init__(self, trial: Trial) -> None:
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


def hjb_residual(game: MeanFieldGame, potential: Tensor, fields: Fields) -> Tensor:
    """Return the scaled residual of the Hamilton-Jacobi-Bellman equation, shape (N,)."""
    u, nu, kinetic = fields.value, game.viscosity, game.kinetic
    cost = potential + game.coupling(torch.exp(fields.log_density[0]), torch.log)
    hamiltonian = kinetic / 2 * (u[2:-1] ** 2).sum(0)
    return kinetic / (2 * nu) * (-u[1] - nu * u[-1] + hamiltonian - cost)


def fokker_planck_residual(game: MeanFieldGame, fields: Fields) -> Tensor:
    """Return the residual of the Fokker-Planck equation divided by the density, shape (N,)."""
    u, log_m = fields
    diffusion = log_m[-1] + (log_m[2:-1] ** 2).sum(0)
    transport = (log_m[2:-1] * u[2:-1]).sum(0) + u[-1]
    return log_m[1] - game.viscosity * diffusion - game.kinetic * transport


def hard(game: MeanFieldGame, interval: Part = None) -> Formulation:
    """Initial and terminal data, periodicity or mirroring walls built in: the two equations.

    On an ``interval``, a part of the domain, nothing is known of the walls.
    """

    def trial(t: Tensor, *x: Tensor) -> Trial:
        return HardTrial(game, t, x, interval)

    def conditions(sample: Sampler, counts: tuple[int, int]) -> list[Condition]:
        low, high = _box(game, interval)[1]
        # Even and periodic: one half of the box is the mirror image of the other.
        if interval is None and game.boundary == "periodic" and is_even(game):
            high = (low + high) / 2
        return [_equations(game, trial, sample(counts, 1 + game.dimension), low, high)]

    return Formulation(trial, conditions)


def soft(game: MeanFieldGame, interval: Part = None) -> Formulation:
    """The bare network: the equations, and as equals beside them all that is known of the solution.

    That is the initial density, the terminal value, and at the walls periodicity (of u, log m and
    their normal derivatives) or vanishing normal derivatives; on an ``interval``, a part of the
    domain, nothing.
    """

    def trial(t: Tensor, *x: Tensor) -> Trial:
        return SoftTrial(game, t, x, interval)

    def conditions(sample: Sampler, counts: tuple[int, int]) -> list[Condition]:
        d, (low, high) = game.dimension, _box(game, interval)[1]
        width, scale = high - low, game.kinetic / (2 * game.viscosity)
        found = [_equations(game, trial, sample(counts, 1 + d), low, high)]
        x = low + width * sample((2 * counts[1],), d)
        density = torch.from_numpy(game.initial_density(*x.T))
        cost = torch.from_numpy(game.terminal_cost(*x.T))
        start, end = (_points(np.full(len(x), time), x) for time in (0.0, game.horizon))
        found.append(Condition(trial(*start), lambda f: [torch.exp(f.log_density[0]) - density]))
        found.append(Condition(trial(*end), lambda f: [scale * (f.value[0] - cost)]))
        for axis in range(d if game.boundary != "exact" and interval is None else 0):
            cube = np.insert(sample(counts[:1], d), 1 + axis, 0.0, axis=1)
            t, left = game.horizon * cube[:, 0], low + width * cube[:, 1:]
            right = left + width * (np.arange(d) == axis)

            def walls(f: Fields, normal: int = 2 + axis, n: int = len(t)) -> list[Tensor]:
                u, log_m = scale * f.value, f.log_density
                if game.boundary == "periodic":
                    return [g[c, :n] - g[c, n:] for g in (u, log_m) for c in (0, normal)]
                return [g[normal, side] for g in (u, log_m) for side in (slice(n), slice(n, None))]

            places = _points(np.concatenate([t, t]), np.concatenate([left, right]))
            found.append(Condition(trial(*places), walls))
        return found

    return Formulation(trial, conditions)


FORMULATIONS: dict[str, Formulate] = {"hard": hard, "soft": soft}


def _box(game: MeanFieldGame, part: Part) -> list[tuple[float, float]]:
    time, *space = game.bounds.values()
    return [time, *(space if part is None else [part])]


def _equations(
    game: MeanFieldGame, trial: Any, cube: FloatArray, low: float, high: float
) -> Condition:
    t, x = game.horizon * cube[:, 0], low + (high - low) * cube[:, 1:]
    potential = torch.from_numpy(game.potential(t, *x.T))

    def equations(fields: Fields) -> list[Tensor]:
        return [hjb_residual(game, potential, fields), fokker_planck_residual(game, fields)]

    return Condition(trial(*_points(t, x)), equations)


def _points(t: FloatArray, x: FloatArray) -> list[Tensor]:
    return [torch.from_numpy(t), *torch.from_numpy(x.T.copy())]


def imitation(
    game: MeanFieldGame, formulate: Formulate, t: FloatArray, x: FloatArray, known: FloatArray
) -> Condition:
    """Return the condition that a network has the values and densities of another solution.

    Values are compared in units of 2ν/λ, densities by their logarithm.

    Args:
        game: in one dimension.
        formulate: the formulation whose trial function it is.
        t: times, shape (N,).
        x: positions, shape (N,).
        known: u and m there, shape (2, N).
    """
    trial = formulate(game).trial(torch.from_numpy(t), torch.from_numpy(x))
    scale, (value, density) = game.kinetic / (2 * game.viscosity), torch.from_numpy(known)

    def misfits(f: Fields) -> list[Tensor]:
        return [scale * (f.value[0] - value), f.log_density[0] - density.log()]

    return Condition(ValuesOnly(trial), misfits)
