r"""Random features: a network whose hidden layer is drawn, and whose last layer is solved for.

A trial function is linear in the coefficients of the last layer, a residual is close to linear:
Gauss and Newton's method finds them. An evolution in time goes from slab to slab, as an ODE solver
goes from step to step,

.. math:: N(t, x) = N(t_k, x) + (t - t_k) \sum_j \beta_j\,
    \varphi_j\Bigl(\frac{t - t_k}{h}, x\Bigr), \qquad t_k \le t \le t_k + h,

with a length h that the residual of the last slab controls. The features stay the same, so that
all slabs share what is compiled.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from opifex_tutorials.losses.jax_system import Field, Formulate, Operator, identity, register
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.models.random_features import Layer, draw_features
from opifex_tutorials.progress import progress
from opifex_tutorials.training.gauss_newton import gauss_newton
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.training.loop import TrainingInterrupted
from opifex_tutorials.validation import FloatArray, require_between, require_inside, require_integer

FIRST = 1 / 8  # slab, as a share of the whole time; the next ones find their length
REFUSALS = 10  # in a row: what shorter slabs do not mend, they never will
ORDER = 6  # the residual of a slab grows with about this power of its length
UNSEEN = 7  # more nodes along each axis make nodes that no solve sees
POINTS_AT_ONCE = 1024  # in an evaluation: arrays of 400 features stay in the cache


class Slab(NamedTuple):
    """A piece of time.

    Attributes:
        start: where it begins.
        share: its length, as a share of the whole time.
        before: coefficients of the network at its start, in the features at the end of a slab.
    """

    start: float
    share: float
    before: FloatArray


@lru_cache(maxsize=64)
def compile_operator(
    formulate: Formulate, operator: Operator, evolves: bool
) -> tuple[Callable[..., jax.Array], Callable[..., tuple[jax.Array, jax.Array]]]:
    """Compile what an operator makes of the trial function, at points.

    Returns:
        ``(problem, layer, slab, coefficients, *points)`` -> values, shape (N,); and the same with
        their derivatives by the coefficients, shape (N, features).
    """

    def at_one_point(problem: Any, layer: Layer, slab: Slab, last: Any, *point: Any) -> jax.Array:
        trial, (weights, biases) = formulate(problem, 1).trial, layer
        low, high = next(iter(problem.bounds.values()))

        def features(*point: Any) -> jax.Array:
            return jnp.tanh(trial.features(*point) @ weights + biases)

        def network(t: jax.Array, *x: jax.Array) -> jax.Array:
            if not evolves:
                return features(t, *x) @ last
            inside = low + (t - slab.start) / slab.share
            return features(high, *x) @ slab.before + (t - slab.start) * features(inside, *x) @ last

        return operator(problem, trial.candidate(network))(*point)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        @jax.jit
        def at_all(*fixed_and_points: Any) -> Any:
            axes = (None,) * 4 + (0,) * (len(fixed_and_points) - 4)
            return jax.vmap(function, axes)(*fixed_and_points)

        def run(problem: Any, *others: Any) -> Any:
            # Here, since a solution may come from another process.
            enable_float64()
            register(type(problem))  # type: ignore[arg-type]  # cached: types are hashable
            return at_all(problem, *others)

        return run

    return compiled(at_one_point), compiled(jax.value_and_grad(at_one_point, 3))


@dataclass(frozen=True)
class FeatureSolution:
    """A network with a frozen hidden layer as a function of the coordinates.

    Attributes:
        problem: what was solved.
        formulate: the formulation it was solved in.
        layer: weights and biases of the hidden layer.
        evolves: whether it was solved slab by slab.
        slabs: pieces of time, in order; a single one if it was not.
        coefficients: of the last layer on each slab, shape (features,).
        history: an entry for each slab.
    """

    problem: Any
    formulate: Formulate
    layer: Layer
    evolves: bool
    slabs: tuple[Slab, ...] = ()
    coefficients: tuple[FloatArray, ...] = ()
    history: History = field(default_factory=History)

    def __call__(self, *coordinates: ArrayLike) -> FloatArray:
        """Evaluate the solution, time first; coordinates broadcast.

        Raises:
            ValueError: for coordinates that do not, or lie outside of the domain, or later than
                an interrupted solve came.
        """
        return self.apply(identity, *coordinates)

    def apply(self, operator: Operator, *coordinates: ArrayLike) -> FloatArray:
        """Evaluate what an operator makes of the solution, such as its residual or its slope.

        Args:
            operator: (problem, candidate) -> field. It is compiled once for the same function.
            coordinates: as for the solution itself.
        """
        bounds = dict(self.problem.bounds)
        if self.evolves:
            bounds[next(iter(bounds))] = self.span
        arrays = require_inside(bounds, *coordinates)
        points = np.stack([a.ravel() for a in arrays])
        found = np.empty(points.shape[1])
        numbers = np.searchsorted([slab.start for slab in self.slabs[1:]], points[0])
        evaluate, _ = compile_operator(self.formulate, operator, self.evolves)
        for number, (slab, last) in enumerate(zip(self.slabs, self.coefficients, strict=True)):
            here = np.flatnonzero(numbers == number)
            for first in range(0, len(here), POINTS_AT_ONCE):
                some = here[first : first + POINTS_AT_ONCE]
                # As many as a power of two: each number of points is a compilation.
                at = points[:, np.resize(some, 1 << max(5, (len(some) - 1).bit_length()))]
                values = evaluate(self.problem, self.layer, slab, last, *at)
                found[some] = values[: len(some)]
        return found.reshape(arrays[0].shape)

    @property
    def span(self) -> tuple[float, float]:
        """Begin and end of the time that slabs cover."""
        low, high = next(iter(self.problem.bounds.values()))
        if not self.slabs:
            return low, low
        last = self.slabs[-1]
        return low, min(high, last.start + last.share * (high - low))


@dataclass(frozen=True)
class ResidualOf:
    """The residual of a condition of a formulation, as an operator."""

    formulate: Formulate
    number: int

    def __call__(self, problem: Any, u: Field) -> Field:
        """Return the residual of a candidate."""
        return self.formulate(problem, 1).conditions[self.number].residual(u)


class Sampled:
    """All conditions of a formulation at Gauss-Legendre nodes: a least-squares problem.

    Args:
        solution: whose problem, formulation and features these are.
        counts: numbers of nodes along each axis of the unit cube.
    """

    def __init__(self, solution: FeatureSolution, counts: Sequence[int]) -> None:
        self._solution, self._parts = solution, []
        conditions = solution.formulate(solution.problem, 1).conditions
        for number, condition in enumerate(conditions):
            cube, weights = _gauss(counts[-condition.dimension :])
            points = [np.array(z) for z in jax.vmap(condition.place)(jnp.asarray(cube))]
            residual = ResidualOf(solution.formulate, number)
            programs = compile_operator(solution.formulate, residual, solution.evolves)
            self._parts.append((programs, points, np.sqrt(weights)))

    def loss(self, slab: Slab, coefficients: FloatArray) -> float:
        """Return the sum over the conditions of their mean squares."""
        run = partial(self._run, slab, coefficients)
        return float(sum(np.sum((s * run(one, z)) ** 2) for (one, _), z, s in self._parts))

    def linearize(self, slab: Slab, coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return residuals whose squares sum to the loss, shape (N,), and their Jacobian."""
        residuals, rows = [], []
        for (_, both), points, scale in self._parts:
            values, slopes = self._run(slab, coefficients, both, points)
            residuals.append(scale * values)
            rows.append(scale[:, None] * slopes)
        return np.concatenate(residuals), np.vstack(rows)

    def _run(self, slab: Slab, coefficients: FloatArray, program: Any, points: Any) -> Any:
        problem, (t, *x) = self._solution.problem, points
        if self._solution.evolves:  # the points move along with the slab
            t = slab.start + (t - self._solution.span[0]) * slab.share
        return program(problem, self._solution.layer, slab, coefficients, t, *x)


def _gauss(counts: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return nodes of the unit cube, shape (N, dimension), and their weights."""
    rules = [np.polynomial.legendre.leggauss(count) for count in counts]
    nodes = np.meshgrid(*[(x + 1) / 2 for x, _ in rules], indexing="ij")
    weights = np.meshgrid(*[w / 2 for _, w in rules], indexing="ij")
    return np.stack(nodes, -1).reshape(-1, len(counts)), np.prod(weights, axis=0).ravel()


# As in training: the matrices are too small to share.
@threadpool_limits.wrap(limits=1)
def solve_by_features(
    problem: Any,
    formulate: Formulate,
    *,
    seed: int,
    features: int,
    ranges: Sequence[float],
    points: Sequence[int],
    tolerance: float,
    evolves: bool,
    monitor: Callable[[FeatureSolution], float] | None = None,
) -> FeatureSolution:
    """Solve a problem by random features, in a formulation of it.

    Args:
        problem: a frozen dataclass with ``bounds``.
        formulate: makes the formulation from the problem and a number of points, which has no
            say here; see :mod:`opifex_tutorials.losses.jax_system`.
        seed: of the features.
        features: their number.
        ranges: the largest weight of each input of the network, of which a periodic coordinate
            has two; see :func:`opifex_tutorials.models.random_features.draw_features`. Where a
            solve fails, smaller ones may help as well as more features.
        points: numbers of Gauss-Legendre nodes along each axis, on each slab.
        tolerance: largest allowed root mean square of the residual on each slab, at nodes that
            the solve does not see.
        evolves: whether to go from slab to slab of time. The trial function then has to fulfill
            all conditions with a network that is zero at the start, and needs no factor t.
        monitor: called with the solution after every slab; its value goes to
            ``history.errors``, its time is not counted.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if no slab is short enough for the tolerance.
        TrainingInterrupted: on Ctrl-C, with the slabs solved so far.
    """
    clock = Stopwatch()
    enable_float64()
    require_between("tolerance", tolerance, 1e-16, np.inf)
    counts = [require_integer("points", count, 1, 4096) for count in points]
    corner = [jnp.asarray(low, dtype=float) for low, _ in problem.bounds.values()]
    formulation = formulate(problem, 1)
    inputs = len(formulation.trial.features(*corner))
    if formulation.outputs != 1:
        raise ValueError(f"{formulation.outputs} unknown fields: allowed is one")
    for name, given, count in (("points", points, len(corner)), ("ranges", ranges, inputs)):
        if len(given) != count:
            raise ValueError(f"{name}={given!r}: allowed are {count} numbers")
    layer = draw_features(ranges, features, seed)
    solution = FeatureSolution(problem, formulate, layer, evolves)
    try:
        slabs = _march(solution, counts, tolerance**2)
        for slab, last, losses in progress(slabs, f"slabs of features, seed {seed}"):
            pieces, found = (*solution.slabs, slab), (*solution.coefficients, last)
            solution = replace(solution, slabs=pieces, coefficients=found)
            solution.history.record(len(solution.slabs), clock.seconds, *losses)
            if monitor is not None:
                with clock.paused():
                    solution.history.errors.append(float(monitor(solution)))
    except KeyboardInterrupt:
        raise TrainingInterrupted(solution) from None
    return solution


def _march(
    solution: FeatureSolution, counts: Sequence[int], goal: float
) -> Iterator[tuple[Slab, FloatArray, tuple[float, float]]]:
    """Yield slabs, their coefficients, and their losses on nodes of the solve and on others."""
    seen, unseen = Sampled(solution, counts), Sampled(solution, [n + UNSEEN for n in counts])
    low, high = next(iter(solution.problem.bounds.values()))
    none = np.zeros_like(solution.layer[1])
    done, share, before, refused = 0.0, FIRST if solution.evolves else 1.0, none, 0
    while done < 1:
        share = min(share, 1 - done)
        # All of the same type, or JAX would compile anew.
        slab = Slab(np.float64(low + done * (high - low)), np.float64(share), before)
        found, loss = gauss_newton(partial(seen.linearize, slab), none, goal)
        losses = loss, unseen.loss(slab, found)
        quality = np.sqrt(goal / losses[1]) if np.isfinite(losses[1]) else 0.0
        change = 0.9 * quality ** (1 / ORDER)
        if quality >= 1:
            yield slab, found, losses
            done = 1.0 if share == 1 - done else done + share
            before = before + share * (high - low) * found
            share, refused = share * np.clip(change, 0.5, 1.6), 0
            continue
        share, refused = share * max(0.4, change), refused + 1
        if not solution.evolves or refused == REFUSALS:
            place = f"a slab of length {slab.share * (high - low):.1e} from {slab.start:.4f}"
            more = f"tolerance={goal**0.5:g}; more features or points may help"
            message = f"residual {losses[1] ** 0.5:.1e} on {place}: {more}"
            raise ConvergenceError(message, solution.history)
