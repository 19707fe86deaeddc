r"""A statement against a second one, and an equation whose solution was chosen.

Whoever writes an equation twice, in two forms, makes a slip in one of them at a time. Both forms
are :class:`opifex_tutorials.losses.equation.Equation`: the one that is solved, with its trial
function, and one that asks for each condition on its face. With the second as a source,

.. math:: R_1[u] = R_2[u^*],

the chosen :math:`u^*` solves the first if both say the same (Roache 2002: manufactured solutions).
An error that both share, in the equation or in its data, nobody sees here.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import qmc

from opifex_tutorials.losses.equation import Equation, Named, Residual, as_tuple
from opifex_tutorials.losses.jax_system import Condition, Field, derivative, interior, register
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.validation import FloatArray, require_inside

SAMPLE = 64  # points for each condition
AGREEMENT = 1e-9  # of two statements, relative; rounding in fourth derivatives is smaller


def mismatch(problem: Any, equation: Equation, statement: Equation) -> dict[str, float]:
    """Compare an equation with a second statement of it, part by part.

    Args:
        problem: a frozen dataclass with ``bounds``.
        equation: what is solved.
        statement: the same again, without a trial function: all conditions on faces.

    Returns:
        For every part, numbered, the largest difference over the largest value, at random points.
        A condition on a face may be built into the trial function or stand among the faces of the
        equation; one that the equation alone asks for is infinitely far. Of
        a periodic coordinate, gaps between both ends, in the candidate and in its derivatives
        below the order of the equation: a corner there no residual at points can see.

    Raises:
        ValueError: if the two have other numbers of fields or of residuals, or the second one
            leaves conditions out.

    Example:
        >>> from opifex_tutorials.losses.equation import Named
        >>> from opifex_tutorials.losses.linear import linear_hard
        >>> from opifex_tutorials.problems.linear import HeatProblem, sine_series
        >>> problem, zero = HeatProblem(), Named(lambda u: u)
        >>> def initial(problem, u, x):
        ...     return u - sine_series(problem.amplitudes, x)
        >>> faces = [("t", "low", Named(initial))]
        >>> faces += [("x", end, zero) for end in ("low", "high")]
        >>> def with_factor(factor):
        ...     heat = Named(lambda u_t, u_xx: u_t - factor * u_xx)
        ...     again = Equation(heat, faces=tuple(faces))
        ...     return mismatch(problem, linear_hard, again)
        >>> print(f"{max(with_factor(problem.diffusivity).values()):.9f}")
        0.000000000
        >>> [name for name, d in with_factor(-0.05).items() if d > 0.01]
        ['equation 0']
    """
    enable_float64()
    register(type(problem))  # type: ignore[arg-type]  # a cached function: types are hashable
    for one in (equation, statement):
        if not isinstance(one, Equation):
            raise ValueError(f"statement={one!r}: allowed is an Equation, with its faces")
    if statement.trial is not None or (equation.trial is not None and not statement.faces):
        allowed = "one whose faces ask for all that the equation has built in"
        raise ValueError(f"statement with a trial function or without faces: allowed is {allowed}")
    if set(equation.periodic) - set(statement.periodic):
        raise ValueError(f"periodic={statement.periodic}: allowed are {equation.periodic}, as said")
    if equation.fields != statement.fields:
        raise ValueError(f"fields={statement.fields}: allowed are {equation.fields}, as first said")
    own, again = (_parts(e, problem) for e in (equation, statement))
    if len(own["equation"]) != len(again["equation"]):
        count = len(own["equation"])
        raise ValueError(f"{len(again['equation'])} residuals: allowed are {count}, as first said")
    anything = _wave(replace(statement, trial=None), problem, shift=1.0)
    candidate = equation(problem, SAMPLE).trial.candidate(_wave(equation, problem, shift=2.0))
    found = dict[str, float]()
    for number, pair in enumerate(zip(own.pop("equation"), again.pop("equation"), strict=True)):
        found[f"equation {number}"] = _difference(*(_values(c, anything) for c in pair))
    for label, conditions in again.items():
        said = [_values(c, anything) for c in own.get(label, [])]
        for number, condition in enumerate(conditions):
            asked = _values(condition, anything)
            built_in = asked + _values(condition, candidate)
            found[f"{label} {number}"] = min(_difference(v, asked) for v in [*said, built_in])
    for label, conditions in own.items():
        others = [_values(c, anything) for c in again.get(label, [])]
        for number, condition in enumerate(conditions):
            values = _values(condition, anything)
            closest = min((_difference(v, values) for v in others), default=np.inf)
            found[f"{label} {number}, asked for"] = closest
    for name in statement.periodic:
        axis, u = list(problem.bounds).index(name), candidate
        for order in range(_highest(statement, problem, axis)):
            found[f"{name} periodic, derivative {order}"] = _gap(problem, u, name)
            u = derivative(u, axis)
    return found


@dataclass(frozen=True)
class Manufactured:
    """An equation whose exact solution is known.

    Attributes:
        problem: what it belongs to.
        equation: to be solved by the solver under test.
        mismatch: of the two statements; see :func:`mismatch`.
    """

    problem: Any
    equation: Equation
    mismatch: dict[str, float]

    def exact(self, *coordinates: ArrayLike) -> FloatArray:
        """Evaluate the chosen solution; of a system the first axis counts the fields."""
        arrays = require_inside(self.problem.bounds, *coordinates)
        chosen = _chosen(self.equation, self.problem)
        values = np.asarray(jax.vmap(chosen)(*(jnp.asarray(a.ravel()) for a in arrays)))
        return values.T.reshape(values.shape[1:] + arrays[0].shape)


def manufactured(
    problem: Any, equation: Equation, statement: Equation, *, tolerance: float = AGREEMENT
) -> Manufactured:
    """Return the equation with the source that makes a chosen function its solution.

    The function is the trial function of the equation, applied to a smooth wave instead of a
    network, so that what is built in holds.

    Args:
        problem: a frozen dataclass with ``bounds``.
        equation: what is solved.
        statement: the same again, from which the source comes; see :func:`mismatch`.
        tolerance: largest allowed mismatch. Infinite, to see what an error does to a solution.

    Raises:
        ValueError: naming the parts in which the two statements differ.

    Example:
        >>> from opifex_tutorials.losses.equation import Named
        >>> from opifex_tutorials.losses.linear import linear_hard
        >>> from opifex_tutorials.problems.linear import HeatProblem
        >>> from opifex_tutorials.solvers.pinn import train_pinn
        >>> problem = HeatProblem(diffusivity=0.5)
        >>> heat = Named(lambda u_t, u_xx: u_t - u_xx / 2)
        >>> zero = Named(lambda u: u)
        >>> again = Equation(heat, faces=(("x", "low", zero),))
        >>> made = manufactured(problem, linear_hard, again)
        >>> small = {"hidden": (8,), "points": 256, "steps": 100}
        >>> u = train_pinn(problem, made.equation, seed=0, **small)
        >>> f"{u(0.5, 0.5) - made.exact(0.5, 0.5):.3f}".strip("-")
        '0.000'
    """
    parts = mismatch(problem, equation, statement)
    wrong = {name: f"{value:.1e}" for name, value in parts.items() if not value <= tolerance}
    if wrong:
        raise ValueError(f"statements that differ by {wrong}: allowed is {tolerance:g}")
    residual = WithSource(equation.residual, statement.residual, equation)
    faces = tuple((name, end, WithSource(r, r, equation)) for name, end, r in equation.faces)
    return Manufactured(problem, replace(equation, residual=residual, faces=faces), parts)


@dataclass(frozen=True)
class WithSource:
    """A residual that vanishes on the chosen solution, if the source belongs to it."""

    residual: Residual
    source: Residual
    equation: Equation

    def __call__(self, problem: Any, u: Field) -> Any:
        """Return the residual of u less what the source's residual makes of the chosen one."""
        own = as_tuple(self.residual(problem, u))
        known = as_tuple(self.source(problem, _chosen(self.equation, problem)))
        return tuple((lambda *z, r=r, s=s: r(*z) - s(*z)) for r, s in zip(own, known, strict=True))


def _chosen(equation: Equation, problem: Any) -> Field:
    return equation(problem, SAMPLE).trial.candidate(_wave(equation, problem, shift=0.0))


def _wave(equation: Equation, problem: Any, shift: float) -> Field:
    """Return waves of what the network sees, so that they are as periodic as that is."""
    features, count = equation(problem, SAMPLE).trial.features, equation.fields

    def wave(*point: jax.Array) -> jax.Array:
        inputs = features(*point)
        slopes = 0.4 + 0.3 * jnp.cos(jnp.arange(len(inputs)) + shift)
        values = jnp.sin(inputs @ slopes + jnp.arange(count) + shift)
        return values if count > 1 else values[0]

    return wave


def _parts(equation: Equation, problem: Any) -> dict[str, list[Condition]]:
    """Return the conditions of an equation by what they are of."""
    conditions = iter(equation(problem, SAMPLE).conditions)
    parts = dict[str, list[Condition]]()
    asked = [("equation", equation.residual)]
    asked += [(f"{name} {end}", residual) for name, end, residual in equation.faces]
    for label, residual in asked:
        for _ in as_tuple(residual(problem, equation.nothing)):
            parts.setdefault(label, []).append(next(conditions))
    return parts


def _cube(dimension: int) -> FloatArray:
    return np.asarray(qmc.Sobol(dimension, rng=np.random.default_rng(0)).random(SAMPLE))


def _values(condition: Condition, u: Field) -> FloatArray:
    residual = condition.residual(u)
    at_all = jax.vmap(lambda z: residual(*condition.place(z)))
    return np.asarray(at_all(_cube(condition.dimension)))


def _difference(one: FloatArray, other: FloatArray) -> float:
    size = np.abs(other).max()
    return float(np.abs(one - other).max() / size) if size else np.inf


def _highest(statement: Equation, problem: Any, axis: int) -> int:
    """Return the order of the equation in a coordinate, 2 if it is not said by names."""
    if not isinstance(statement.residual, Named):
        return 2
    wanted = statement.residual.wanted(problem.bounds)
    return max(axes.count(axis) for _, axes in wanted.values())


def _gap(problem: Any, u: Field, name: str) -> float:
    """Return how far u at one end of a coordinate is from u at the other, relative to the larger.

    Zero on both sides is no gap; but rounding beside zero would be one, so 1 is taken as a size.
    """
    cube, sides = _cube(len(problem.bounds)), list[FloatArray]()
    for end in problem.bounds[name]:
        points = list(interior(problem.bounds)(jnp.asarray(cube.T)))
        points[list(problem.bounds).index(name)] = np.full(SAMPLE, float(end))
        sides.append(np.asarray(jax.vmap(u)(*points)))
    low, high = sides
    return float(np.abs(high - low).max() / max(1.0, np.abs(low).max()))
