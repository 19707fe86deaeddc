r"""Mean field games in any number of dimensions by waves: two heat equations, one source.

With :math:`u = -\tfrac{2\nu}{\lambda}\log\varphi` and :math:`m = \varphi\psi` (Guéant 2012)

.. math::

    -\varphi_t - \nu\Delta\varphi = -\tfrac{\lambda}{2\nu}F\varphi, \qquad
    \psi_t - \nu\Delta\psi = -\tfrac{\lambda}{2\nu}F\psi, \qquad
    \varphi(T) = e^{-\lambda g/2\nu}, \quad \psi(0) = m_0/\varphi(0).

Diffusion is exact on waves, the source exact at points; Strang's splitting alternates between the
two. The running cost F(m) is that of the last density, damped (Picard) and, since agents that
overreact let plain damping fail, accelerated (Anderson 1965).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from opifex_tutorials.problems.game import MeanFieldGame
from opifex_tutorials.solvers.waves import SparseBasis, TensorBasis, Waves, products, sobol_count
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.validation import FloatArray, require_between, require_inside, require_integer

BLOCK = 2**15  # points at which a game is evaluated at once: 2 MB for each coordinate
RANGES = {"steps": (4, 10_000), "acceleration": (0, 50), "iterations": (1, 10_000)}
EVALUATED = 128  # points at which a solution is


@dataclass(frozen=True)
class MfgSpectralSolution:
    """Both factors at the times of the steps, as weights of waves.

    Coordinates broadcast, time first. In between, diffusion acts from the step before, and the
    source as it did, on average, over the step: exact where it vanishes, else of second order.

    Attributes:
        game: what was solved.
        basis: the waves.
        phi: weights of φ, one set for each time.
        psi: weights of ψ.
        mass: at the times of the steps.
        history: of the iteration; ``losses`` is the mean square change of the running cost.
    """

    game: MeanFieldGame
    basis: Any
    phi: Sequence[Any]
    psi: Sequence[Any]
    mass: FloatArray
    history: History

    def value(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return u(t, x)."""
        return -2 * self.game.viscosity / self.game.kinetic * self._logarithm("phi", t, x)

    def density(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return m(t, x)."""
        return np.exp(self._logarithm("phi", t, x) + self._logarithm("psi", t, x))

    def control(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return -λ∇u(t, x), in more than one dimension with a leading axis of that length."""
        slopes = [self._logarithm("phi", t, x, along) for along in range(len(x))]
        return 2 * self.game.viscosity * (np.array(slopes) if len(x) > 1 else slopes[0])

    @np.errstate(invalid="ignore")
    def _logarithm(self, name: str, t: Any, x: tuple[Any, ...], along: Any = None) -> FloatArray:
        """Return the logarithm of a factor, or its derivative along an axis."""
        t, *points = require_inside(self.game.bounds, t, *x)
        weights, elapsed = getattr(self, name), t.ravel() / self.game.horizon
        if name == "phi":  # from the horizon backward
            weights, elapsed = weights[::-1], 1 - elapsed
        steps, places, found = len(weights) - 1, [x_i.ravel() for x_i in points], 0 * elapsed
        step = np.clip((steps * elapsed).astype(int), 0, steps - 1)
        for n in np.unique(step):
            inside = np.flatnonzero(step == n)
            for block in np.array_split(inside, len(inside) // EVALUATED + 1):
                share = steps * elapsed[block] - n
                inside_x = [x_i[block] for x_i in places]
                ends = weights[n], weights[n + 1]
                found[block] = self._between(*ends, share, inside_x, along)
        return found.reshape(t.shape)

    def _between(
        self, start: Any, end: Any, share: FloatArray, x: list[FloatArray], along: int | None
    ) -> FloatArray:
        """Return the logarithm of a factor within a step, a share of which has passed."""
        waves, duration = self.basis.waves, self.game.horizon / (len(self.phi) - 1)
        # Diffused so far; and the effect of the source on the whole step, to the power of share.
        terms = (start, share, 1.0), (start, 1 + 0 * share, -share), (end, 0 * share, share)
        total = np.zeros(len(share))
        for weights, elapsed, power in terms:
            damping = np.exp(-waves.decay * duration * elapsed[:, None])
            factors = [damping * waves(x_i) for x_i in x]
            field = self.basis.combine(weights, factors, None)
            if along is None:
                total += power * np.log(field)
            else:
                factors[along] = damping * waves.slopes(x[along])
                total += power * self.basis.combine(weights, factors, along) / field
        return total


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a blow-up is reported
def solve_mfg_spectral(
    game: MeanFieldGame,
    *,
    degree: int = 1,
    active: int | None = None,
    steps: int = 32,
    damping: float = 0.5,
    acceleration: int = 5,
    tolerance: float = 1e-10,
    iterations: int = 200,
    memory: float = 2.0,
    seed: int = 0,
) -> MfgSpectralSolution:
    """Solve a mean field game on a box by waves, on a tensor grid or on a sparse basis.

    Args:
        game: periodic, or with walls that mirror; in any number of dimensions.
        degree: highest of the waves of one coordinate. A tensor grid has 2 degree + 1 points a
            coordinate on a ring and degree + 1 between walls.
        active: None for all products of waves and a tensor grid; or the largest number of
            coordinates in a product: a sparse basis of total degree at most ``degree`` (but one
            for each active coordinate), by least squares.
        steps: of time, from 4 to 10000.
        damping: share of the new running cost that is taken, in (0, 1].
        acceleration: number of earlier iterates that Anderson's method combines; 0 for none.
        tolerance: of the root mean square change of the running cost.
        iterations: at most.
        memory: in gigabytes, what all fields together may take.
        seed: of the points of a sparse basis.

    Raises:
        ValueError: for a bad argument, or a basis that does not fit in memory.
        ConvergenceError: with the history, if the iteration diverges or a density is not positive.
    """
    integers = {"steps": steps, "acceleration": acceleration, "iterations": iterations}
    check_options(game, damping, tolerance, **integers)
    clock, history, waves = Stopwatch(), History(), Waves(game, degree)
    fields = (5 + 2 * acceleration) * (steps + 1)
    basis = _basis(game, waves, active, fields, require_between("memory", memory, 0, 1e6), seed)
    fixed_point = _FixedPoint(game, basis, steps)
    cost, past = fixed_point.initial_cost(), list[tuple[FloatArray, FloatArray]]()
    for iteration in range(1, iterations + 1):
        phi, psi, change = fixed_point(cost)
        square = float(np.mean(change**2))
        history.record(iteration, clock.seconds, square, np.nan)
        if square <= tolerance**2:
            phi, psi = (np.array([basis.fit(v) for v in factor]) for factor in (phi, psi))
            mass = waves.width**game.dimension * np.sum(phi * psi, axis=1)
            return MfgSpectralSolution(game, basis, list(phi), list(psi), mass, history)
        if not square < 1e12:  # or not a number
            break
        past = [*past, (cost, change)][-1 - acceleration :]
        weights = anderson(np.array([[np.vdot(a, b) for _, a in past] for _, b in past]))
        cost = sum(w * (x + damping * dx) for w, (x, dx) in zip(weights, past, strict=True))
    spent = f"{iteration} iterations with {basis.size} waves: tolerance={tolerance:g}"
    missed = f"change {np.sqrt(square):.1e} of the running cost"
    raise ConvergenceError(f"{missed} after {spent}", history)


def check_options(game: MeanFieldGame, damping: float, tolerance: float, **integers: int) -> None:
    """Raise ``ValueError`` for an option of a solver by waves outside of its range."""
    game.require_box()
    require_between("damping", damping, 1e-3, 1.0)
    require_between("tolerance", tolerance, 1e-13, 1.0)
    for name, value in integers.items():
        require_integer(name, value, *RANGES[name])


def _basis(
    game: MeanFieldGame, waves: Waves, active: int | None, fields: int, memory: float, seed: int
) -> TensorBasis | SparseBasis:
    """Return the basis, unless its fields would not fit in memory."""
    dimension, count, matrices = game.dimension, len(waves) ** game.dimension, 0
    if active is not None:
        require_integer("active", active, 1, min(4, dimension))
        numbers = range(active + 1)
        size = sum(math.comb(dimension, n) * len(products(waves, n)) for n in numbers)
        count, matrices = sobol_count(size), 3 * size
    gigabytes = 8e-9 * count * (fields + matrices)
    if gigabytes > memory:
        needs = f"{count:.2g} points need {gigabytes:.2g} gigabytes"
        raise ValueError(f"memory={memory!r}: allowed is what fits, and {needs}")
    if active is None:
        return TensorBasis(waves, dimension)
    return SparseBasis(waves, dimension, active, seed)


class _FixedPoint:
    """The map of a running cost, at all times and points, to that of the density it leads to."""

    def __init__(self, game: MeanFieldGame, basis: TensorBasis | SparseBasis, steps: int) -> None:
        self.game, self.basis = game, basis
        self.diffuse = basis.diffusion(game.horizon / steps)
        self.t = np.linspace(0, game.horizon, steps + 1)
        # Half of a step of the source is a factor e^(-scale F).
        self.scale = game.kinetic / (4 * game.viscosity) * game.horizon / steps
        self.initial_density = self._sample(game.initial_density)
        end = self._sample(game.terminal_cost)
        self.end = np.exp(-game.kinetic / (2 * game.viscosity) * end)
        self.potential = np.array([self._sample(partial(game.potential, t)) for t in self.t])

    def _sample(self, function: Callable[..., FloatArray]) -> FloatArray:
        starts = range(0, self.basis.count, BLOCK)
        blocks = [function(*self.basis.points(slice(n, n + BLOCK))) for n in starts]
        return np.concatenate(blocks)

    def initial_cost(self) -> FloatArray:
        """Return the running cost of a crowd that stays as it starts."""
        return self.potential + self.game.coupling(self.initial_density)

    def __call__(self, cost: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return φ, ψ and the change of the running cost."""
        phi, psi = np.empty_like(cost), np.empty_like(cost)
        phi[-1] = self.end
        self._march(phi[::-1], cost[::-1])
        psi[0] = self.initial_density / phi[0]
        self._march(psi, cost)
        return phi, psi, self.potential + self.game.coupling(phi * psi) - cost

    def _march(self, field: FloatArray, cost: FloatArray) -> None:
        for n in range(len(field) - 1):
            before, after = (np.exp(-self.scale * cost[i]) for i in (n, n + 1))
            field[n + 1] = after * self.diffuse(before * field[n])


def anderson(products: FloatArray) -> FloatArray:
    """Return the weights, of sum one, of the iterates whose changes add up to the smallest one.

    As if the change were linear in the iterate.

    Args:
        products: inner products of the changes, the last one last.
    """
    beside = products[:-1, -1] - products[-1, -1]  # of differences to the last change with it
    table = products[:-1, :-1] - products[-1, -1] - beside - beside[:, None]
    size = np.sqrt(np.maximum(np.diag(table), np.finfo(float).tiny))
    scaled = table / np.outer(size, size)
    shares = np.linalg.lstsq(scaled, beside / size, rcond=1e-12)[0] / size
    return np.append(-shares, 1 + shares.sum())
