r"""Mean field games in many dimensions as tensor trains, whose rank nobody is told.

The two heat equations of ``mfg_spectral`` on the tensor grid, whose values at one time are kept as
a train (:mod:`opifex_tutorials.solvers.tensor_trains`). Diffusion acts on each of its factors
alone; what is not linear (the data, the source, the running cost) is sampled. It assumes that ranks
stay small, not how small, and finds out: the tolerance of every approximation follows the change of
the running cost from iteration to iteration.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from opifex_tutorials.problems.game import MeanFieldGame
from opifex_tutorials.solvers import tensor_trains as tt
from opifex_tutorials.solvers.mfg_spectral import MfgSpectralSolution, anderson, check_options
from opifex_tutorials.solvers.waves import Waves
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.validation import FloatArray, require_integer

RANDOM = 2  # indices, new in every sweep
FIRST_TOLERANCE, SHARE = 1e-2, 0.1  # of the approximations: at first, and of the last change


class LowRankBasis:
    """Products of waves, one of each coordinate, whose weights are a train."""

    def __init__(self, waves: Waves) -> None:
        self.waves = waves

    def combine(self, weights: Any, factors: list[FloatArray], along: int | None) -> FloatArray:
        """See ``TensorBasis``."""
        result = np.ones((len(factors[0]), 1))
        for core, factor in zip(weights, factors, strict=True):
            result = np.einsum("pr,prs->ps", result, np.einsum("pn,rns->prs", factor, core))
        return result[:, 0]


class _FixedPoint:
    """The map of a running cost, a train for each time, to that of the density it leads to."""

    def __init__(self, game: MeanFieldGame, waves: Waves, steps: int, rank: int, seed: int) -> None:
        self.game, self.waves, self.steps, self.rank = game, waves, steps, rank
        self.rng = np.random.default_rng(seed)
        self.tolerance, self.known = FIRST_TOLERANCE, dict[Any, tuple[bool, list[tt.Indices]]]()
        self.t = np.linspace(0, game.horizon, steps + 1)
        self.scale = game.kinetic / (4 * game.viscosity) * game.horizon / steps
        to_waves = np.linalg.inv(waves(waves.nodes))
        decay = np.exp(-waves.decay * game.horizon / steps)
        self.to_waves, self.diffusion = to_waves, (waves(waves.nodes) * decay) @ to_waves

    def at_nodes(self, function: Callable[..., FloatArray], *sides: tt.Indices) -> FloatArray:
        """Return values of a function of all coordinates; see ``Sampler``."""
        (a, k), b, n = sides[0].shape, len(sides[1]), len(self.waves)
        points = np.empty((a, n, n, b, self.game.dimension), int)
        points[..., :k], points[..., k + 2 :] = sides[0][:, None, None, None], sides[1]
        points[..., k], points[..., k + 1] = np.arange(n)[:, None, None], np.arange(n)[:, None]
        x = self.waves.nodes[points.reshape(-1, self.game.dimension)]
        return function(*x.T).reshape(a, n, n, b)

    def fit(self, key: Any, sample: tt.Sampler) -> tt.Train:
        """Return a train; each ``key`` keeps the indices of the last sweep."""
        d, n = self.game.dimension, len(self.waves)
        if key not in self.known:
            self.known[key] = False, [np.zeros((0, d - k), int) for k in range(d)]
            self.known[key][1].append(np.zeros((1, 0), int))
            self.fit(key, sample)
        is_mirrored, right = self.known[key]
        for k in range(2, d):  # what no index sees would never be found
            news = self.rng.integers(0, n, (RANDOM, d - k))
            right[k] = np.vstack([right[k], news])
        sample = tt.mirrored(sample) if is_mirrored else sample
        train, right = tt.cross(sample, n, right, self.tolerance, self.rank)
        self.known[key] = not is_mirrored, right
        return [core.T for core in train[::-1]] if is_mirrored else train

    def initial_cost(self) -> list[tt.Train]:
        """Return the running cost of a crowd that stays as it starts."""
        return [self.fit(("cost", n), partial(self._cost_at_start, n)) for n in range(len(self.t))]

    def _cost_at_start(self, n: int, *sides: tt.Indices) -> FloatArray:
        m = self.at_nodes(self.game.initial_density, *sides)
        return self._potential(n, *sides) + self.game.coupling(m)

    def _potential(self, n: int, *sides: tt.Indices) -> FloatArray:
        return self.at_nodes(partial(self.game.potential, self.t[n]), *sides)

    def __call__(self, cost: list[tt.Train]) -> list[tt.Train]:
        """Return the change of the running cost; ``phi`` and ``psi`` then sample the factors."""
        self._cost, steps = cost, self.steps
        self._from_later, self._from_earlier = dict[int, tt.Train](), dict[int, tt.Train]()
        for n in range(steps, 0, -1):
            self._from_later[n - 1] = self._diffuse("phi", self.phi, n)
        for n in range(steps):
            self._from_earlier[n + 1] = self._diffuse("psi", self.psi, n)
        return [self.fit(("change", n), partial(self._change, n)) for n in range(steps + 1)]

    def _diffuse(self, name: str, field: Callable[..., FloatArray], n: int) -> tt.Train:
        """Return a factor after half a step of the source and one of diffusion."""
        train = self.fit((name, n), lambda *sides: self._kick(n, *sides) * field(n, *sides))
        return [np.einsum("mn,rns->rms", self.diffusion, core) for core in train]

    def _kick(self, n: int, *sides: tt.Indices) -> FloatArray:
        return np.exp(-self.scale * tt.block(self._cost[n], *sides))

    def phi(self, n: int, *sides: tt.Indices) -> FloatArray:
        """Return entries of φ at time n."""
        if n == self.steps:
            end = self.at_nodes(self.game.terminal_cost, *sides)
            return np.exp(-self.game.kinetic / (2 * self.game.viscosity) * end)
        return self._kick(n, *sides) * tt.block(self._from_later[n], *sides)

    def psi(self, n: int, *sides: tt.Indices) -> FloatArray:
        """Return entries of ψ at time n."""
        if n == 0:
            return self.at_nodes(self.game.initial_density, *sides) / self.phi(0, *sides)
        return self._kick(n, *sides) * tt.block(self._from_earlier[n], *sides)

    def _change(self, n: int, *sides: tt.Indices) -> FloatArray:
        coupling = self.game.coupling(self.phi(n, *sides) * self.psi(n, *sides))
        return self._potential(n, *sides) + coupling - tt.block(self._cost[n], *sides)

    def solution(self, history: History) -> MfgSpectralSolution:
        """Return both factors as weights of waves."""
        phi, psi = self._weights("phi", self.phi), self._weights("psi", self.psi)
        mass = np.array([tt.inner(*pair) for pair in zip(phi, psi, strict=True)])
        mass *= (self.waves.width * len(self.waves)) ** self.game.dimension
        return MfgSpectralSolution(self.game, LowRankBasis(self.waves), phi, psi, mass, history)

    def _weights(self, name: str, field: Callable[..., FloatArray]) -> list[tt.Train]:
        trains = [self.fit(("end", name, n), partial(field, n)) for n in range(len(self.t))]
        return [[np.einsum("mn,rns->rms", self.to_waves, c) for c in train] for train in trains]


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a blow-up is reported
def solve_mfg_low_rank(
    game: MeanFieldGame,
    *,
    degree: int = 1,
    steps: int = 8,
    damping: float = 0.5,
    acceleration: int = 5,
    tolerance: float = 1e-4,
    iterations: int = 60,
    rank: int = 60,
    seed: int = 0,
) -> MfgSpectralSolution:
    """Solve a mean field game on a box by waves, of all orders at once, in trains of low rank.

    Args:
        game: periodic, or with walls that mirror; in 2 to 200 dimensions.
        degree: see ``solve_mfg_spectral``.
        steps: of time, from 4 to 10000.
        damping: see ``solve_mfg_spectral``.
        acceleration: see ``solve_mfg_spectral``.
        tolerance: of the root mean square change of the running cost.
        iterations: at most.
        rank: at most, of what is sampled.
        seed: of the entries that are sampled first.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: with the history, if the change does not reach the tolerance.
    """
    integers = {"steps": steps, "acceleration": acceleration, "iterations": iterations}
    check_options(game, damping, tolerance, **integers)
    require_integer("rank", rank, 1, 1000)
    require_integer("dimension", game.dimension, 2, 200)
    clock, history = Stopwatch(), History()
    fixed_point = _FixedPoint(game, Waves(game, degree), steps, rank, seed)
    cost, past = fixed_point.initial_cost(), list[tuple[list[tt.Train], list[tt.Train]]]()
    for iteration in range(1, iterations + 1):
        change = fixed_point(cost)
        size = float(np.sqrt(np.mean([tt.inner(train, train) for train in change])))
        history.record(iteration, clock.seconds, size**2, np.nan)
        if size <= tolerance:
            return fixed_point.solution(history)
        if not size < 1e6:  # or not a number
            break
        # Where the change no longer falls, it is that of the approximations themselves.
        stalls = iteration > 1 and size > 0.7 * np.sqrt(history.losses[-2])
        fixed_point.tolerance = min(fixed_point.tolerance / (3 if stalls else 1), SHARE * size)
        past = [*past, (cost, change)][-1 - acceleration :]
        changes = [change for _, change in past]
        products = [[sum(map(tt.inner, a, b)) for a in changes] for b in changes]
        weights = np.outer([1, damping], anderson(np.array(products))).ravel()
        every_time = zip(*[cost for cost, _ in past], *changes, strict=True)
        sums = (tt.combine(weights, trains) for trains in every_time)
        cost = [tt.compress(train, fixed_point.tolerance / 3) for train in sums]
    spent = f"{iteration} iterations: tolerance={tolerance:g}"
    raise ConvergenceError(f"change {size:.1e} of the running cost after {spent}", history)
