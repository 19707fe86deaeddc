r"""An unknown boundary of a mean field game from observations of the density inside.

The slope s(t) of the value at a wall has parameters θ. With observations y_i of the density at n
points, an error of standard deviation σ in each, and the grid's prediction :math:`m_i(s)`,

.. math::

    \min_\theta \frac1n \sum_i \Bigl(\frac{m_i(s_\theta) - y_i}{\sigma}\Bigr)^2
    + \frac{\alpha}{T} \int_0^T s_\theta''^2\,dt

is solved for a falling sequence of weights α, by one step of Gauss-Newton in s for each: the grid
is linearized, then the trace is fitted to the linearized grid (the iteratively regularized
Gauss-Newton method, Bakushinskii 1992). The weight that is kept has the least unbiased estimate of
the error of the prediction, the mean square misfit plus 2/n for each degree of freedom that was
fitted (Mallows 1973).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.interpolate import make_interp_spline
from scipy.sparse.linalg import splu

from opifex_tutorials import validation
from opifex_tutorials.models.traces import Trace
from opifex_tutorials.problems.mean_field_games import MeanFieldGame
from opifex_tutorials.solvers.mfg_grid import MeanFieldGameGridSolution, solve_mfg_grid
from opifex_tutorials.solvers.mfg_scheme import Boundary, MeanFieldGameScheme
from opifex_tutorials.training.checkpoints import resumable
from opifex_tutorials.training.loop import levenberg_marquardt
from opifex_tutorials.validation import FloatArray, Pair

FITTING_STEPS = 15  # of Levenberg-Marquardt for each weight, from the fit before
BENDS = 100  # times for the integral of the squared bend; it must see every parameter


def wall_sensitivity(solution: MeanFieldGameGridSolution, quantity: str = "slope") -> Pair:
    """Return how the density answers to what happens at the lower wall, on each step.

    One sparse factorization of both linearized equations serves all answers; see
    :func:`opifex_tutorials.solvers.mfg_grid.newton`.

    Args:
        solution: of a game with a boundary.
        quantity: ``"slope"`` of u or ``"flux"`` of m.

    Returns:
        The times that the boundary is evaluated at, shape (steps,), and the derivatives of the
        density, shape (steps + 1, cells, steps).
    """
    validation.require_choice("quantity", quantity, ("slope", "flux"))
    s = solution.scheme
    if s.boundary is None:
        raise ValueError("solution with boundary=None: allowed are solutions with walls")
    u, m = solution.values[:-1].ravel(), s.average(solution.densities)
    delta, coupling = s.jumps(u), sparse.diags(s.game.coupling.derivative(m))
    B, E = s.matrix(s.rates(delta)), s.curvature(delta, m)
    both = splu(sparse.bmat([[B, -coupling], [E, B.T]]).tocsc())
    times, steps, right = s.midway[:, 0], np.arange(s.N), np.zeros((2, s.N, s.J, s.N))
    if quantity == "slope":
        slopes = np.asarray(s.boundary(times, s.low)[0], dtype=float)
        right[0, steps, 0, steps] = -s.h * s.rates(-s.h * slopes)
    else:
        right[1, steps, 0, steps] = 1 / s.h
        right[1] = (s.averaging.T @ right[1].reshape(-1, s.N)).reshape(right[1].shape)
    averages = both.solve(right.reshape(-1, s.N)).reshape(right.shape)[1]
    answer = s.densities(averages.swapaxes(1, 2), np.zeros((s.N, s.J)))
    return times, answer.swapaxes(1, 2).copy()


def _interpolate(
    scheme: MeanFieldGameScheme, values: FloatArray, t: FloatArray, x: FloatArray
) -> FloatArray:
    """Return values on the grid, shape (steps + 1, cells, K), at n points, shape (n, K)."""
    in_time = make_interp_spline(scheme.t, np.eye(len(scheme.t)))(t)
    in_space = make_interp_spline(scheme.x, np.eye(scheme.J))(x)
    return np.einsum("in,ij,njk->ik", in_time, in_space, values, optimize=True)


@dataclass(frozen=True)
class LearnedBoundary:
    """What happens at the walls, with a learned slope of u at the lower one.

    An instance is a ``boundary`` for ``solve_mfg_grid``.

    Attributes:
        trace: the slope as a function of time and parameters.
        parameters: shape (P,).
        known: the rest of the boundary.
        low: position of the wall.
        path: a dictionary for each weight: ``weight`` α, mean square ``misfit`` in units of the
            error of the observations, degrees of ``freedom`` fitted, estimated ``risk``, and
            ``parameters``.
    """

    trace: Trace
    parameters: FloatArray
    known: Boundary
    low: float
    path: list[dict[str, Any]] = field(default_factory=list)

    def slope(self, t: ArrayLike) -> FloatArray:
        """Return the slope of u at the lower wall at times of any shape."""
        times = np.asarray(t, dtype=float)
        return self.trace(self.parameters, times.ravel())[0].reshape(times.shape)

    def __call__(self, t: FloatArray, x: float) -> tuple[ArrayLike, ArrayLike]:
        """Return the slope of u and the flux of the population at the wall ``x``."""
        slope, flux = self.known(t, x)
        return (self.slope(t) if x == self.low else slope), flux


@dataclass(frozen=True)
class _Fit:
    """Fit a trace to the linearized grid: a problem for Levenberg-Marquardt."""

    trace: Trace
    times: FloatArray  # of the steps, where the slope counts; then those where the bend counts
    offset: FloatArray  # misfits = offset + response @ slopes
    response: FloatArray
    weight: float

    def residuals(self, parameters: FloatArray) -> FloatArray:
        value, bend = self.trace(parameters, self.times)
        return self._stack(value, bend, self.offset)

    def linearize(self, parameters: FloatArray) -> Pair:
        value, bend, slopes, bends = self.trace.linearize(parameters, self.times)
        nothing = np.zeros((len(self.offset), 1))
        return self._stack(value, bend, self.offset), self._stack(slopes, bends, nothing)

    def freedom(self, parameters: FloatArray) -> float:
        """Return the trace of the matrix that maps the observations to the fit."""
        left, sizes, _ = np.linalg.svd(self.linearize(parameters)[1], full_matrices=False)
        return float(np.sum(left[: len(self.offset), sizes > 1e-9 * sizes[0]] ** 2))

    def _stack(self, value: FloatArray, bend: FloatArray, offset: FloatArray) -> FloatArray:
        steps = self.response.shape[1]
        smooth = np.sqrt(self.weight / BENDS) * bend[steps:]
        return np.concatenate([offset + self.response @ value[:steps], smooth])


def _checked(
    game: MeanFieldGame, trace: Trace, interval: tuple[float, float], *observations: ArrayLike
) -> list[FloatArray]:
    bounds = {"t": (0.0, game.horizon), "x": interval, "density": (-1e6, 1e6)}
    data = [a.ravel() for a in validation.require_inside(bounds, *observations)]
    validation.require_integer("number of observations", len(data[0]), 1, 10**6)
    validation.require_between("horizon of the trace", trace.horizon, game.horizon, game.horizon)
    return data


def _entry(row: FloatArray) -> dict[str, Any]:
    numbers = zip(("weight", "misfit", "freedom", "risk"), row, strict=False)
    return {**dict(numbers), "parameters": row[4:]}


def learn_boundary(
    game: MeanFieldGame,
    trace: Trace,
    t: ArrayLike,
    x: ArrayLike,
    density: ArrayLike,
    *,
    noise: float,
    boundary: Boundary,
    interval: tuple[float, float],
    cells: int = 32,
    weights: int = 12,
) -> LearnedBoundary:
    """Learn the slope of u at the lower wall from observations of the density.

    Args:
        game: in one dimension.
        trace: the slope as a function of time.
        t: times of the observations, shape (n,).
        x: their positions, inside of the interval, shape (n,).
        density: what was observed there, shape (n,).
        noise: standard deviation of the error of an observation; for exact ones that of the grid.
        boundary: as ``solve_mfg_grid`` takes it; its slope at the lower wall is not used.
        interval: (low, high), the part of the domain that is observed.
        cells: even, of the grid, with as many steps. The prediction is extrapolated from this grid
            and one of half as many cells.
        weights: how many to try, from 10 downward, each a quarter of the one before.

    Raises:
        ValueError: for a bad argument, no observations, or a trace for another horizon.
        ConvergenceError: if the grid solver does not converge.
    """
    validation.require_multiple("cells", cells, 2)
    validation.require_between("noise", noise, 1e-9, 1e3)
    validation.require_integer("weights", weights, 1, 40)
    data = times, places, observed = _checked(game, trace, interval, t, x, density)
    unit = noise * np.sqrt(len(observed))

    latest = dict[int, MeanFieldGameGridSolution]()

    def compare(parameters: FloatArray) -> Pair:
        walls = LearnedBoundary(trace, parameters, boundary, interval[0])
        # After a step of Newton's method of this size the error is far below any noise.
        options: dict[str, Any] = {"boundary": walls, "interval": interval, "tolerance": 1e-6}
        for n in (cells, cells // 2):
            latest[n] = solve_mfg_grid(game, cells=n, steps=n, start=latest.get(n), **options)
        m, rough = (grid.density(times, places) for grid in latest.values())
        return m, (m + (m - rough) / 3 - observed) / unit

    advance = levenberg_marquardt(trace.start, FITTING_STEPS, geodesic=False)
    bends = game.horizon * (np.arange(BENDS) + 0.5) / BENDS
    state = {"optimizer": advance.state, "path": np.empty((0, 4 + len(trace.start)))}
    told = {"of": [game, trace, boundary, interval, cells, noise], "data": np.hstack(data)}
    rounds = range(0, weights * FITTING_STEPS, FITTING_STEPS)
    left = resumable(rounds, "weights of the bend", lambda: told, state)
    advance.state = state["optimizer"]
    for parameters in [trace.start, *state["path"][:, 4:]]:  # a grid starts from the one before
        m, misfits = compare(parameters)
    for done in left:
        weight = 10 * 0.25 ** (done // FITTING_STEPS)
        steps, answer = wall_sensitivity(latest[cells])
        relative = answer / latest[cells].densities[..., None]
        response = _interpolate(latest[cells].scheme, relative, times, places) * m[:, None] / unit
        offset = misfits - response @ trace(parameters, steps)[0]
        fit = _Fit(trace, np.append(steps, bends), offset, response, weight)
        parameters, _ = advance(fit)
        m, misfits = compare(parameters)
        misfit, freedom = misfits @ misfits, fit.freedom(parameters)
        row = [weight, misfit, freedom, misfit + 2 * freedom / len(observed), *parameters]
        state |= {"optimizer": advance.state, "path": np.vstack([state["path"], row])}
    path = [_entry(row) for row in state["path"]]
    best = min(path, key=lambda entry: entry["risk"])
    return LearnedBoundary(trace, best["parameters"], boundary, interval[0], path)
