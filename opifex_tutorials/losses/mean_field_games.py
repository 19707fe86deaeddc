r"""Mean field games as least-squares problems for a network, in PyTorch.

Both equations are asked for in units of their own:

.. math::

    \frac{\lambda}{2\nu}\Bigl(-u_t - \nu\Delta u + \tfrac\lambda2|\nabla u|^2 - F\Bigr) = 0, \qquad
    \frac1m\bigl(m_t - \nu\Delta m - \nabla\cdot(\lambda m\nabla u)\bigr) = 0.

The first factor is that of the Cole-Hopf variable :math:`\log\varphi = -\lambda u/2\nu`; the
second lets the rim of the crowd, which the coupling may feel, count like its center.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.mean_field_trials import TRIALS, Fields, SoftTrial, ValuesOnly, is_even
from opifex_tutorials.problems.game import MeanFieldGame
from opifex_tutorials.validation import FloatArray

# (numbers of points per axis, dimension) -> points of the unit cube, shape (N, dimension)
Sampler = Callable[[tuple[int, ...], int], FloatArray]


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


def gauss(counts: tuple[int, ...], dimension: int) -> FloatArray:
    """Return the nodes of a product of Gauss-Legendre rules: the loss is a good quadrature."""
    if len(counts) != dimension:
        raise ValueError(f"sampling='gauss' in {dimension} dimensions: allowed is 'sobol'")
    axes = [(1 + np.polynomial.legendre.leggauss(count)[0]) / 2 for count in counts]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], -1)


def sobol(seed: Sequence[int]) -> Sampler:
    """Return a sampler of scrambled Sobol points, at least as many as a product rule has."""
    rng = np.random.default_rng(seed)

    def sample(counts: tuple[int, ...], dimension: int) -> FloatArray:
        power = int(np.ceil(np.log2(np.prod(counts))))
        return qmc.Sobol(dimension, rng=rng).random_base2(power)

    return sample


@dataclass(frozen=True)
class Condition:
    """Residuals asked for at some points.

    Attributes:
        trial: the trial function at these points.
        residuals: fields -> residuals, shape (N,) each. A residual may compare K places: the points
            are then those of the first place, of the second, and so on, K N together.
    """

    trial: SoftTrial | ValuesOnly
    residuals: Callable[[Fields], list[Tensor]]


def conditions(
    game: MeanFieldGame, formulation: str, sample: Sampler, counts: tuple[int, int]
) -> list[Condition]:
    """Return what the trial function has to satisfy.

    Args:
        game: the game.
        formulation: ``"hard"``: the two equations. ``"soft"``: these, and as equals beside them the
            initial density, the terminal value, and at the walls periodicity (of u, log m and
            their normal derivatives) or vanishing normal derivatives.
        sample: where.
        counts: numbers of points in time and in space.
    """
    d, (low, high) = game.dimension, list(game.bounds.values())[1]
    # Even and periodic: one half of the box is the mirror image of the other.
    half = formulation == "hard" and game.boundary == "periodic" and is_even(game)
    width = (high - low) / 2 if half else high - low

    def trial(t: FloatArray, x: FloatArray) -> SoftTrial:
        return TRIALS[formulation](game, torch.from_numpy(t), [*torch.from_numpy(x.T.copy())])

    cube = sample(counts, 1 + d)
    t, x = game.horizon * cube[:, 0], low + width * cube[:, 1:]
    potential = torch.from_numpy(game.potential(t, *x.T))

    def equations(fields: Fields) -> list[Tensor]:
        return [hjb_residual(game, potential, fields), fokker_planck_residual(game, fields)]

    found = [Condition(trial(t, x), equations)]
    if formulation == "hard":
        return found
    x = low + width * sample((2 * counts[1],), d)
    density = torch.from_numpy(game.initial_density(*x.T))
    cost = torch.from_numpy(game.terminal_cost(*x.T))
    scale, zero = game.kinetic / (2 * game.viscosity), np.zeros(len(x))
    found.append(Condition(trial(zero, x), lambda f: [torch.exp(f.log_density[0]) - density]))
    found.append(Condition(trial(zero + game.horizon, x), lambda f: [scale * (f.value[0] - cost)]))
    for axis in range(d if game.boundary != "exact" else 0):
        cube = np.insert(sample(counts[:1], d), 1 + axis, 0.0, axis=1)
        t, left = game.horizon * cube[:, 0], low + width * cube[:, 1:]
        right = left + width * (np.arange(d) == axis)

        def walls(f: Fields, normal: int = 2 + axis, n: int = len(t)) -> list[Tensor]:
            u, log_m = scale * f.value, f.log_density
            if game.boundary == "periodic":
                return [g[c, :n] - g[c, n:] for g in (u, log_m) for c in (0, normal)]
            return [g[normal, side] for g in (u, log_m) for side in (slice(n), slice(n, None))]

        places = trial(np.concatenate([t, t]), np.concatenate([left, right]))
        found.append(Condition(places, walls))
    return found


def imitation(
    game: MeanFieldGame, formulation: str, t: FloatArray, x: FloatArray, known: FloatArray
) -> Condition:
    """Return the condition that a network has the values and densities of another solution.

    Values are compared in units of 2ν/λ, densities by their logarithm.

    Args:
        game: in one dimension.
        formulation: of the trial function.
        t: times, shape (N,).
        x: positions, shape (N,).
        known: u and m there, shape (2, N).
    """
    trial = TRIALS[formulation](game, torch.from_numpy(t), [torch.from_numpy(x)])
    scale, (value, density) = game.kinetic / (2 * game.viscosity), torch.from_numpy(known)

    def misfits(f: Fields) -> list[Tensor]:
        return [scale * (f.value[0] - value), f.log_density[0] - density.log()]

    return Condition(ValuesOnly(trial), misfits)


@dataclass(frozen=True)
class GameSystem:
    """Conditions on a network of given widths: NumPy in, NumPy out, for Levenberg-Marquardt.

    The squares of the residuals sum to the sum of their mean squares.
    """

    conditions: list[Condition]
    widths: tuple[int, ...]

    def loss(self, parameters: Tensor) -> Tensor:
        """Return the sum of squares; PyTorch can differentiate it."""
        return torch.sum(self._stacked(parameters) ** 2)

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Return the residuals, shape (N,)."""
        with torch.no_grad():
            return self._stacked(torch.from_numpy(parameters)).numpy()

    def linearize(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals, shape (N,), and their Jacobian, shape (N, P)."""
        flat, rows, values = torch.from_numpy(parameters), [], []
        for condition in self.conditions:
            tape: jets.Tape = []
            residuals = self._evaluate(condition, flat, tape)
            rows += [jets.pull_back(r, tape) for r in residuals]
            values += [r.detach() for r in residuals]
        return torch.cat(values).numpy(), torch.cat(rows).numpy()

    def curvature(self, parameters: FloatArray, direction: FloatArray) -> FloatArray:
        """Return the second derivative of the residuals along ``direction``, shape (N,).

        By a central difference over a length of 3e-3, good to five digits.
        """
        h = 3e-3 / (float(np.linalg.norm(direction)) or 1.0)
        ahead, here, behind = (self.residuals(parameters + s * direction) for s in (h, 0.0, -h))
        return (ahead - 2 * here + behind) / h**2

    def _evaluate(
        self, condition: Condition, parameters: Tensor, tape: jets.Tape | None = None
    ) -> list[Tensor]:
        outputs = jets.network(parameters, self.widths, condition.trial.features, tape)
        residuals = condition.residuals(condition.trial(outputs))
        return [r / len(r) ** 0.5 for r in residuals]

    def _stacked(self, parameters: Tensor) -> Tensor:
        return torch.cat([r for c in self.conditions for r in self._evaluate(c, parameters)])
