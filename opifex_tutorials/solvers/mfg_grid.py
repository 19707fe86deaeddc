"""Mean field games by a classical method: Picard or Newton on a conservative grid scheme."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import NdBSpline, RectBivariateSpline, make_interp_spline
from scipy.sparse.linalg import LinearOperator, gmres

from opifex_tutorials import validation
from opifex_tutorials.problems.mean_field_games import MeanFieldGame
from opifex_tutorials.solvers.mfg_scheme import Boundary, MeanFieldGameScheme
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.validation import FloatArray, Pair

# Cells beyond a periodic or mirroring wall; a spline forgets its ends by 2 + √3 per cell.
PADDING = 8
Iterate = Callable[[FloatArray, FloatArray, str], Pair]  # (u, m, method) -> u and m


@dataclass(frozen=True)
class MeanFieldGameGridSolution:
    """Value and density at the centers of the cells; splines of order 4 in between.

    In two dimensions the cells of the second axis come one after the other.

    Attributes:
        scheme: the grid, and the discrete equations that were solved.
        values: u, shape (steps + 1, cells).
        densities: m, of the same shape.
        history: of the iteration; ``losses`` is the mean square change of u and m by one undamped
            iteration.
    """

    scheme: MeanFieldGameScheme
    values: FloatArray
    densities: FloatArray
    history: History

    @property
    def game(self) -> MeanFieldGame:
        """What was solved."""
        return self.scheme.game

    @property
    def mass(self) -> FloatArray:
        """Population at the times of the steps, shape (steps + 1,)."""
        return self.scheme.h**self.scheme.dimension * self.densities.sum(axis=1)

    def value(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return u(t, x); the coordinates broadcast."""
        return self._evaluate(0, t, x)

    def density(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return m(t, x), positive since its logarithm is interpolated; coordinates broadcast."""
        return np.exp(self._evaluate(1, t, x))

    def control(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return -λ∇u(t, x), between the cells the difference that the scheme itself uses.

        In two dimensions with a leading axis of that length.
        """
        controls = [self._evaluate(2 + axis, t, x) for axis in range(len(x))]
        return np.array(controls) if len(x) > 1 else controls[0]

    def slope(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        """Return the slope of the spline of u, in one dimension."""
        return self._splines[0].ev(*self._points(t, (x,)), dy=1)

    def _evaluate(self, which: int, t: ArrayLike, x: tuple[ArrayLike, ...]) -> FloatArray:
        spline, points = self._splines[which], self._points(t, x)
        return spline.ev(*points) if len(x) == 1 else spline(np.stack(points, axis=-1))

    def _points(self, t: ArrayLike, x: tuple[ArrayLike, ...]) -> list[FloatArray]:
        s = self.scheme
        box = dict.fromkeys(self.game.bounds, (s.low, s.high))
        return validation.require_inside(box | {"t": (0.0, s.t[-1])}, t, *x)

    @cached_property
    def _splines(self) -> list[Any]:
        s, d, x = self.scheme, self.scheme.dimension, self.scheme.x
        u, log_m = (f.reshape(-1, *[s.J] * d) for f in (self.values, np.log(self.densities)))
        if s.boundary is None:
            beyond = np.pad(np.arange(s.J), PADDING, mode="wrap" if s.is_periodic else "symmetric")
            x = x[0] + s.h * np.arange(-PADDING, s.J + PADDING)
            for axis in range(1, d + 1):
                u, log_m = (np.take(field, beyond, axis) for field in (u, log_m))
        if d > 1:
            return self._tensor_splines(x, u, log_m)
        faces, slopes, box = (x[1:] + x[:-1]) / 2, np.diff(u) / s.h, list[Any]([None] * 4)
        if s.boundary is not None:
            faces, box = np.hstack([s.low, s.faces, s.high]), [0, s.t[-1], s.low, s.high]
            slopes = np.pad(slopes, ((0, 0), (1, 1)))
            slopes[:, 0], slopes[:, -1] = (s.boundary(s.t, wall)[0] for wall in (s.low, s.high))
        spline = partial(RectBivariateSpline, s.t, bbox=box)
        # Linear in time, as the average ū of the scheme.
        return [spline(x, u), spline(x, log_m), spline(faces, -s.game.kinetic * slopes, kx=1)]

    def _tensor_splines(self, x: Any, u: Any, log_m: Any) -> list[NdBSpline]:
        s, d = self.scheme, self.scheme.dimension
        splines = [_tensor_spline([s.t, *[x] * d], f, [3] * (d + 1)) for f in (u, log_m)]
        for axis in range(1, d + 1):
            places = [s.t, *[x] * d]
            places[axis] = (x[1:] + x[:-1]) / 2
            control = -s.game.kinetic * np.diff(u, axis=axis) / s.h
            splines.append(_tensor_spline(places, control, [1] + [3] * d))
        return splines


def _tensor_spline(axes: list[FloatArray], values: FloatArray, degrees: list[int]) -> NdBSpline:
    """Return the spline through values on a tensor grid."""
    knots = []
    for axis, degree in zip(axes, degrees, strict=True):  # each pass moves an axis to the end
        spline = make_interp_spline(axis, values, k=degree)
        knots.append(spline.t)
        values = np.moveaxis(spline.c, 0, -1)
    return NdBSpline(tuple(knots), values, tuple(degrees))


@np.errstate(over="ignore", invalid="ignore")  # a blow-up is reported
def solve_mfg_grid(
    game: MeanFieldGame,
    *,
    cells: int = 80,
    steps: int = 80,
    order: int = 2,
    method: str = "newton",
    damping: float | None = None,
    tolerance: float = 1e-10,
    iterations: int = 200,
    boundary: Boundary | None = None,
    interval: tuple[float, float] | None = None,
    around: Any = None,
    start: Any = None,
) -> MeanFieldGameGridSolution:
    """Solve a mean field game in one or two dimensions; mass is conserved, the density positive.

    Args:
        game: what to solve; in two dimensions periodic, or with walls that mirror.
        cells: along each axis, from 8 to 2000 or, in two dimensions, 200. The default, with as many
            steps, gives some four digits; the chapter on mean field games measures them.
        steps: of time, from 4 to 20000.
        order: 1, upwind differences and implicit Euler (Achdou & Capuzzo-Dolcetta 2010), or 2,
            Scharfetter-Gummel rates and the implicit midpoint rule; see ``mfg_scheme``.
        method: ``"newton"`` on both equations at once, or ``"picard"``: the best response to the
            population, the population that follows it, and so on.
        damping: share of the new density that Picard's iteration takes, in (0, 1]; by default
            0.5. Without damping (1) it diverges as soon as agents react strongly to the crowd.
        tolerance: of the root mean square change of u and m in an undamped iteration.
        iterations: at most.
        boundary: a function of times ``t`` and of the position ``x`` of a wall that returns the
            slope of u there and the flux of the population in the direction of x,
            -νm_x - λmu_x; both broadcast against ``t``. By default what the game says: no walls,
            or none of both, or the slope of the closed form and no flux.
        interval: (low, high), to solve on a part of the domain, whose ends are walls.
        around: an approximate solution, such as that of ``solve_mfg_pinn``. The grid then solves
            for what is left, so that only there the scheme errs; see ``mfg_hybrid``.
        start: a solution, on any grid, to start the iteration from, such as that for other walls.
            Its density, not that of implicit Euler, tells where the midpoint rule is limited.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: with the history, if the iteration does not reach the tolerance.
    """
    validation.require_choice("method", method, ("newton", "picard"))
    share = validation.require_between("damping", 0.5 if damping is None else damping, 1e-3, 1.0)
    validation.require_between("tolerance", tolerance, 1e-13, 1.0)
    validation.require_integer("iterations", iterations, 1, 10_000)
    clock, history = Stopwatch(), History()
    scheme = MeanFieldGameScheme(game, cells, steps, order, boundary, interval, around)

    def iterate(u: FloatArray, m: FloatArray, method: str) -> Pair:
        square = np.inf
        while len(history.steps) < iterations and not np.isnan(square):
            new_u, new_m = (newton if method == "newton" else picard)(scheme, u, m)
            square = float(np.mean((new_u - u) ** 2) + np.mean((new_m - m) ** 2))
            history.record(len(history.steps) + 1, clock.seconds, square, np.nan)
            if square <= tolerance**2:
                return new_u, new_m
            u, m = new_u, m + (1.0 if method == "newton" else share) * (new_m - m)
        raise ConvergenceError(f"change {np.sqrt(square):.1e} in u and m", history)

    try:
        u, m, euler = _start(scheme, around if start is None else start, iterate)
        history = History()
        for _ in scheme.limits(euler):
            u, m = iterate(u, m, method)
            densities = scheme.densities(m)
            if (densities > 0).all():
                values = np.vstack([u.reshape(steps, -1), game.terminal_cost(*scheme.places)])
                return MeanFieldGameGridSolution(scheme, values, densities, history)
        raise ConvergenceError("a density that is not positive", history)
    except ConvergenceError as error:
        options = f"method={method!r}, damping={damping}, cells={cells}, steps={steps}"
        spent = f"{len(history.steps)} iterations with {options}: tolerance={tolerance:g}"
        raise ConvergenceError(f"{error} after {spent}", history) from error


def _start(scheme: MeanFieldGameScheme, near: Any, iterate: Iterate) -> tuple[FloatArray, ...]:
    """Return u and m to start from, flattened, and densities that tell where to limit θ."""
    if near is not None:
        points = scheme.t[:, None], *scheme.places
        values, densities = near.value(*points), near.density(*points)
        return values[:-1].ravel(), scheme.average(densities), densities
    scheme.set_theta(1.0)
    u, m = picard(scheme, None, np.tile(scheme.initial_density, scheme.N))
    if scheme.order == 2:  # implicit Euler is positive: where does it empty a cell?
        u, m = iterate(u, m, "newton")
    return u, m, scheme.densities(m)


def picard(scheme: MeanFieldGameScheme, u: FloatArray | None, m: FloatArray) -> Pair:
    """Return the best response to the population, and the population that follows it."""
    u = scheme.best_response(m, u)
    return u, scheme.transport(scheme.rates(scheme.jumps(u)))


def newton(scheme: MeanFieldGameScheme, u: FloatArray, m: FloatArray) -> Pair:
    r"""Return u after a step of Newton's method, and the population that follows it.

    Linearized at u and its population m, with B of the HJB equation and the derivative E of the
    Fokker-Planck equation with respect to u,

    .. math::

        B\,\delta u - F'(m)\,\delta m = -\mathrm{hjb}(u, m), \qquad
        E\,\delta u + B^T \delta m = 0.

    GMRES solves for δu, preconditioned by B: its operator is the identity minus the derivative of
    Picard's map, a compact perturbation, so that its iterations do not grow with the grid.
    """
    delta = scheme.jumps(u)
    B, E = scheme.factorize(scheme.rates(delta)), scheme.curvature(delta, m)
    slope = scheme.game.coupling.derivative(m)

    def operator(y: FloatArray) -> FloatArray:
        return y + B.solve(slope * B.solve(E @ y, trans="T"))

    shape, right = (len(u), len(u)), -B.solve(scheme.hjb(u, m))
    u = u + gmres(LinearOperator(shape, operator), right, rtol=1e-4, restart=60, maxiter=5)[0]
    return u, scheme.transport(scheme.rates(scheme.jumps(u)))
