r"""The method of lines: differences in space, SciPy's integrators in time.

A reference for an equation whose solution nobody knows. It shares neither network nor automatic
differentiation with what it judges, and its order of convergence shows whether it is right.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from opifex_tutorials.losses.equation import Named, as_tuple, require_named
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.training.history import ConvergenceError, History
from opifex_tutorials.validation import FloatArray, require_between, require_choice, require_integer

#: What an end does, and how a grid continues beyond it.
ENDS: dict[str, dict[str, Any]] = {
    "periodic": {"mode": "wrap"},
    "neumann": {"mode": "reflect"},
    "dirichlet": {"mode": "reflect", "reflect_type": "odd"},
}


class Lines(NamedTuple):
    """Values on a grid.

    Attributes:
        mesh: coordinates that broadcast to the values of a field, time first.
        values: of a system with a first axis for its fields.
        evaluations: of the right-hand side.
    """

    mesh: tuple[FloatArray, ...]
    values: FloatArray
    evaluations: int


class Grid:
    """An equation on a uniform grid in space, derivatives by central differences of order two.

    Args:
        problem: with ``bounds``, time first if there is time.
        statement: the residual as a formula of named derivatives.
        points: intervals along each axis.
        ends: see :func:`solve_by_lines`.
    """

    def __init__(self, problem: Any, statement: Named, points: int, ends: Sequence[str]) -> None:
        enable_float64()
        require_integer("points", points, 8, 2**16)
        spans = {n: (float(a), float(b)) for n, (a, b) in problem.bounds.items()}
        self.problem, self.statement, self.names = problem, require_named(statement), list(spans)
        self.time = spans.pop("t", None)
        if isinstance(ends, str) or len(ends) != len(spans):
            raise ValueError(f"ends={ends!r}: allowed is a list of {len(spans)}, one for each axis")
        self.ends = [require_choice("ends", end, tuple(ENDS)) for end in ends]
        self.steps = [(b - a) / points for a, b in spans.values()]
        self.places = [
            np.linspace(a, b, points + 1)[: points if end == "periodic" else None]
            for (a, b), end in zip(spans.values(), ends, strict=True)
        ]
        self.x = np.meshgrid(*self.places, indexing="ij")
        self.shape = len(self.statement.fields), *self.x[0].shape
        self.moves = np.ones(self.shape[1:])  # zero where a value stays as it is
        for axis, end in enumerate(ends):
            if end == "dirichlet":
                np.moveaxis(self.moves, axis, 0)[[0, -1]] = 0
        self._wanted = self.statement.wanted(self.names)
        self.order = self._order() if self.time else 0

    def residual(self, t: Any, *levels: Any) -> jax.Array:
        """Return the residual, shape (fields, points along each axis).

        Args:
            t: the time, None without.
            levels: the fields, then their derivatives in time, of that shape each.
        """
        known = {}
        for name, (number, axes) in self._wanted.items():
            in_time = axes.count(0) if self.time else 0
            across = [axis - bool(self.time) for axis in axes if axis or not self.time]
            known[name] = self._derive(levels[in_time][number], across)
        coordinates = self.x if self.time is None else (t, *self.x)
        named = dict(zip(self.names, coordinates, strict=True))
        found = as_tuple(self.statement.evaluate(self.problem, known, named))
        return jnp.stack([jnp.broadcast_to(r, self.shape[1:]) for r in found])

    def _order(self) -> int:
        """Return the order in time, of equations each of which has its own, with the factor one."""
        orders = [axes.count(0) for _, axes in self._wanted.values()]
        order, mixed = max(orders), [len(a) for _, a in self._wanted.values() if a.count(0)]
        count, sample = self.shape[0], [jnp.ones(self.shape)] * order
        told = order in (1, 2) and max(mixed) == order
        for field in range(count) if told else ():
            last = jnp.zeros(self.shape).at[field].set(1.0)
            gained = self.residual(0.5, *sample, last) - self.residual(0.5, *sample, 0 * last)
            told = told and np.allclose(gained, last)
        if not told:
            first = [f"{field}_t" for field in self.statement.fields]
            allowed = f"{first} or {[f + 't' for f in first]}, in this order, each with factor 1"
            raise ValueError(f"derivatives in time of the formula: allowed are {allowed}")
        return order

    def _derive(self, u: Any, axes: Sequence[int]) -> Any:
        """Derive along axes, pairs of the same axis by one second difference."""
        for axis in set(axes):
            pairs, single = divmod(list(axes).count(axis), 2)
            for second in [True] * pairs + [False] * single:
                width = [(1, 1) if a == axis else (0, 0) for a in range(u.ndim)]
                beyond = jnp.moveaxis(jnp.pad(u, width, **ENDS[self.ends[axis]]), axis, 0)
                left, here, right = beyond[:-2], beyond[1:-1], beyond[2:]
                h = self.steps[axis]
                u = (left - 2 * here + right) / h**2 if second else (right - left) / (2 * h)
                u = jnp.moveaxis(u, 0, axis)
        return u

    def integrate(
        self, acceleration: Callable[..., Any], start: Any, times: ArrayLike | None, **options: Any
    ) -> Lines:
        """Integrate (t, fields, ...) -> highest derivative in time, from ``start``.

        Args:
            acceleration: of the fields and of their derivatives below the highest.
            start: fields and these derivatives, shape (order, fields, points along each axis).
            times: see :func:`solve_by_lines`.
            options: of :func:`scipy.integrate.solve_ivp`: method and tolerances.
        """
        low, high = self.time or (0.0, 0.0)
        when = np.linspace(low, high, 101) if times is None else np.asarray(times, dtype=float)
        shape = (self.order, *self.shape)

        @jax.jit
        def rate(t: Any, state: Any) -> Any:
            levels = state.reshape(shape)
            last = self.moves * acceleration(t, *levels)
            return jnp.concatenate([levels[1:], last[None]]).ravel()

        first = np.broadcast_to(start, shape).ravel()
        run = solve_ivp(rate, (low, high), first, t_eval=when, **options)
        if not run.success:
            raise ConvergenceError(f"method of lines: {run.message}", History(steps=[run.nfev]))
        fields = np.moveaxis(run.y.reshape(*shape, len(when))[0], -1, 1)
        return Lines(self.mesh(when), fields if len(fields) > 1 else fields[0], run.nfev)

    def mesh(self, *times: FloatArray) -> tuple[FloatArray, ...]:
        """Return coordinates that broadcast to the values of a field."""
        return tuple(np.meshgrid(*times, *self.places, indexing="ij", sparse=True))


def solve_by_lines(
    problem: Any,
    statement: Named,
    initial: Callable[..., Any],
    *,
    points: int,
    ends: Sequence[str] = ("periodic",),
    times: ArrayLike | None = None,
    tolerance: float = 1e-10,
    method: str = "DOP853",
) -> Lines:
    """Solve an equation that evolves in time by central differences of second order in space.

    Args:
        problem: with ``bounds``, time first.
        statement: the residual as a formula of named derivatives, in space up to fourth ones, in
            time u_t or u_tt as they stand; of a system in the order of its fields.
        initial: ``(problem, *x)`` -> values at the first time, of a system a tuple. What is of
            second order in time starts at rest.
        points: intervals along each axis.
        ends: along each axis ``"periodic"``, ``"neumann"`` (no slope) or ``"dirichlet"`` (values
            stay as they were, the second derivative is zero). No others: neither values that
            change in time nor slopes other than zero.
        times: when to keep the solution, by default 101 times.
        tolerance: of the integrator, relative and absolute.
        method: of :func:`scipy.integrate.solve_ivp`. The default is explicit: where diffusion
            is fast, ``"BDF"`` may be quicker, with a larger tolerance.

    Raises:
        ValueError: for a bad argument, or a formula that is not u_t plus something without it.
        ConvergenceError: if the integrator gives up.

    Example:
        >>> from opifex_tutorials.problems.linear import WaveProblem
        >>> wave = Named(lambda u_tt, u_xx: u_tt - u_xx)
        >>> string = WaveProblem(amplitudes=(1.0,))
        >>> sine = lambda problem, x: jnp.sin(jnp.pi * x)
        >>> options = {"points": 64, "ends": ["dirichlet"]}
        >>> lines = solve_by_lines(string, wave, sine, **options)
        >>> print(f"{lines.values[-1].min():.3f}")
        -1.000
    """
    require_between("tolerance", tolerance, 1e-13, 1e-1)
    grid = Grid(problem, statement, points, ends)
    if grid.time is None:
        raise ValueError(f"coordinates {grid.names}: allowed are those of an evolution, t first")
    first = [jnp.broadcast_to(u, grid.shape[1:]) for u in as_tuple(initial(problem, *grid.x))]
    start = np.stack([np.stack(first), np.zeros(grid.shape)])[: grid.order]

    def acceleration(t: Any, *levels: Any) -> Any:
        return -grid.residual(t, *levels, jnp.zeros(grid.shape))

    options = {"method": method, "rtol": tolerance, "atol": tolerance}
    return grid.integrate(acceleration, start, times, **options)
