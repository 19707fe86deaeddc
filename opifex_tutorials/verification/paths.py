r"""Exploitability and mass in any dimension, from paths of agents: no grid, no closed form.

Agents start from :math:`m_0` and follow the computed control, :math:`dX = -\lambda\nabla u\,dt +
\sqrt{2\nu}\,dB`. Along their paths the residuals of the computed pair (u, m) are summed up: r of
the Hamilton-Jacobi-Bellman equation, s of the Fokker-Planck equation divided by m. The sums are
small if the residuals are, and their noise with them: at any size an estimate is as accurate.

The sums are taken at random times, one in each of equal parts of the horizon, so that their means
are right however quickly residuals change. The paths between are predictor-corrector steps, of
second order, with one evaluation each. On a ring paths go around; at a wall, where u and m have no
slope, they are reflected; in a game on all of space they may leave the box that cuts the crowd off:
residuals are formulas there too.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from opifex_tutorials.problems.game import MeanFieldGame, PathTerms
from opifex_tutorials.validation import FloatArray, require_between, require_choice, require_integer

REVERSE_STEPS = 8  # with 4 some estimates were 4 % too small


class Candidate(Protocol):
    """A solution that tells what paths gather; it may be asked outside of the game's box."""

    game: MeanFieldGame

    def path_terms(self, t: ArrayLike, *x: ArrayLike) -> PathTerms:
        """Return what it says at N points."""


class Estimate(NamedTuple):
    """A number found by sampling, and its standard error."""

    value: float
    standard_error: float


def sampled_exploitability(
    solution: Candidate,
    *,
    crowd: str = "transported",
    starts: int = 512,
    paths: int = 4,
    parts: int = 16,
    seed: int = 0,
) -> Estimate:
    r"""Return what one agent could gain by leaving the computed control, in any dimension.

    With R the sum of r along a path, the best response to the crowd that is given saves

    .. math::

        E = \mathbb E_{x_0}\Bigl[\tfrac{2\nu}\lambda\log\mathbb E\,e^{\lambda R/2\nu}
        - \mathbb E R\Bigr] \approx \tfrac{\lambda}{4\nu}\,\mathbb E_{x_0}
        \operatorname{Var}(R\,|\,x_0),

    for small residuals. The variance is that of paths from one start, of which there must be two at
    least: then it is half of the mean of :math:`(R_1 - R_2)^2`. What differs between starts is in
    the value that an agent expects, and cannot be exploited.

    On each path R is summed up twice, at times that are independent: the covariance of the two is
    the variance without that of random times.

    The crowd that the control transports has the density :math:`m\,\mathbb E\,e^{-\int s}`, the
    mean over paths with the drift :math:`2\nu\nabla\log m + \lambda\nabla u` back to time 0. What
    the coupling makes of the difference is added to r, to first order, from one such path for each
    term of the sums.

    Args:
        solution: with a ``game`` and ``path_terms(t, *x)``; ``solve_mfg_pinn`` returns one.
        crowd: whose density the agents meet: ``"transported"``, by the control, which alone is
            zero at the equilibrium only, as ``exploitability`` has it; or ``"frozen"``, that of the
            solution itself, which takes a ninth of the time.
        starts: of the crowd, drawn with weights where the crowd is not normally distributed.
        paths: from each start. With four the noise of the variance is smaller than with two from
            twice as many starts: a smooth residual and a frozen crowd have a relative standard
            error of about :math:`\sqrt{2/(starts (paths - 1))}`.
        parts: of the horizon, with two steps of a path each. For a residual that changes its sign
            many times along a path they reduce the noise more than ``starts``.
        seed: of starts and noise.

    Raises:
        ValueError: for a bad argument, or a solution whose residuals are not finite.
    """
    require_choice("crowd", crowd, ("transported", "frozen"))
    require_integer("paths", paths, 2, 10**4)
    game, rng = solution.game, np.random.default_rng(seed)
    x, weights = _starts(game, require_integer("starts", starts, 2, 10**7), rng)
    x, each = np.repeat(x, paths, axis=1), np.arange(starts * paths)
    times, turns = _random_times(game.horizon, parts, len(each), rng)
    sums = np.zeros((2, len(each)))
    walk = _walk(solution, times, x, rng, _terms(solution, times[0], x))
    for step, (place, met) in enumerate(walk):
        if 0 < step <= 2 * parts:
            rate = met.value_residual
            if crowd == "transported" and game.coupling.kind != "none":
                others = np.expm1(_log_ratio(solution, times[step], place, met, rng))
                rate = rate - met.crowding * others
            sums[turns[step - 1], each] += game.horizon / parts * rate
    sums += met.value_misfit
    scale = game.kinetic / (2 * game.viscosity)
    first, second = scale * sums.reshape(2, starts, paths)
    return _mean(_covariance(first, second) / (2 * scale), weights)


def sampled_mass_drift(
    solution: Candidate,
    *,
    time: float | None = None,
    starts: int = 4096,
    parts: int = 8,
    seed: int = 0,
) -> Estimate:
    r"""Return :math:`\int m(t, x)\,dx - 1` in any dimension.

    It is the mean of :math:`e^{\int s} - 1` over paths from the start to time t: to first order the
    integral of the residual of the Fokker-Planck equation. A sum of densities at random points
    would have the noise of the density itself.

    Args:
        solution: with a ``game`` and ``path_terms(t, *x)``; ``solve_mfg_pinn`` returns one.
        time: t; by default the end of that part of the horizon at which the drift is largest.
        starts: of the crowd, with one path from each.
        parts: of the time, with two steps of a path each.
        seed: of starts and noise.

    Raises:
        ValueError: for a bad argument, or a solution whose residuals are not finite.
    """
    game, rng = solution.game, np.random.default_rng(seed)
    until = game.horizon if time is None else require_between("time", time, 0, game.horizon)
    x, weights = _starts(game, require_integer("starts", starts, 2, 10**7), rng)
    times, _ = _random_times(until, parts, starts, rng)
    growth, drifts = np.zeros(starts), list[Estimate]()
    walk = _walk(solution, times[:-1], x, rng, _terms(solution, times[0], x))
    for step, (_, met) in enumerate(walk):
        growth += until / parts / 2 * met.density_residual if step else met.density_misfit
        if step % 2 == 0:  # the end of a part
            drifts.append(_mean(np.expm1(growth), weights))
    return max(drifts, key=lambda drift: abs(drift.value)) if time is None else drifts[-1]


def _starts(game: MeanFieldGame, count: int, rng: np.random.Generator) -> tuple[Any, FloatArray]:
    """Return positions of agents, shape (d, N), and their weights in the initial crowd."""
    x = game.places(0.0, rng.random((game.dimension, count)))
    if game.boundary == "exact":
        return x, np.ones(count)
    weights = game.initial_density(*x)
    return x, weights / weights.mean()


def _random_times(
    until: float, parts: int, count: int, rng: np.random.Generator
) -> tuple[FloatArray, Any]:
    """Return times of each path: 0, two random ones in each part, the end; shape (2 parts + 2, N).

    And whose turn each random time is, 0 or 1, shape (2 parts, N).
    """
    drawn = rng.random((require_integer("parts", parts, 1, 10**5), 2, count))
    drawn = (np.arange(parts)[:, None, None] + drawn) * (until / parts)
    turns = np.argsort(drawn, axis=1).reshape(-1, count)
    inside = np.sort(drawn, axis=1).reshape(-1, count)
    return np.vstack([np.zeros(count), inside, np.full(count, until)]), turns


def _walk(
    solution: Candidate, times: FloatArray, x: FloatArray, rng: np.random.Generator, met: PathTerms
) -> Iterator[tuple[FloatArray, PathTerms]]:
    """Yield places of paths at ``times``, shape (steps, N), and what is met there.

    Paths follow the crowd if the times grow, or lead back to where it may have come from. The
    places are predictions, whose distance from the corrected path is of higher order.

    Args:
        solution: the candidate.
        times: the first are those of ``x``.
        x: where paths begin, shape (d, N).
        rng: the noise.
        met: what is met there.
    """
    game, back = solution.game, (times[-1] < times[0]).any()

    def drift(met: PathTerms) -> FloatArray:
        return 2 * game.viscosity * met.score - met.control if back else met.control

    yield x, met
    for t, step in zip(times[1:], np.abs(np.diff(times, axis=0)), strict=True):
        kick = np.sqrt(2 * game.viscosity * step) * rng.standard_normal(x.shape)
        velocity = drift(met)
        place = x + step * velocity + kick
        met = _terms(solution, t, place)
        x = x + step / 2 * (velocity + drift(met)) + kick
        yield place, met


def _terms(solution: Candidate, t: Any, x: FloatArray) -> PathTerms:
    """Return the terms at any places of all of space, by what the walls of the game do."""
    game, sign = solution.game, np.ones_like(x)
    low, high = list(game.bounds.values())[1]
    if game.boundary == "periodic":
        x = low + (x - low) % (high - low)
    elif game.boundary == "neumann":
        around = (x - low) % (2 * (high - low))  # the box and its mirror image
        x = low + np.minimum(around, 2 * (high - low) - around)
        sign = np.where(around > high - low, -1.0, 1.0)
    met = solution.path_terms(t, *x)
    if not all(np.isfinite(part).all() for part in met):
        raise ValueError("solution with residuals that are not finite: allowed are finite ones")
    return met._replace(control=sign * met.control, score=sign * met.score)


def _log_ratio(
    solution: Candidate, t: FloatArray, x: FloatArray, met: PathTerms, rng: np.random.Generator
) -> FloatArray:
    """Return for a path back from each place the log of what it says of the crowd over m."""
    part = np.arange(REVERSE_STEPS)[:, None]
    shares = 1 - (part + rng.random((REVERSE_STEPS, len(t)))) / REVERSE_STEPS
    times = t * np.vstack([np.ones(len(t)), shares, np.zeros(len(t))])
    total = np.zeros(len(t))
    *walk, (_, last) = _walk(solution, times, x, rng, met)
    for _, met in walk[1:]:
        total -= t / REVERSE_STEPS * met.density_residual
    return total - last.density_misfit


def _covariance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the covariance over the paths from each start, shape (starts,)."""
    first, second = (sums - sums.mean(1, keepdims=True) for sums in (first, second))
    return (first * second).sum(1) / (first.shape[1] - 1)


def _mean(values: FloatArray, weights: FloatArray) -> Estimate:
    mean = np.mean(weights * values)
    error = np.linalg.norm(weights * (values - mean)) / len(values)
    return Estimate(float(mean), float(error))
