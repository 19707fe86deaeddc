r"""An equation of your own: from a residual, written as its formula, to a formulation.

A residual is a function (problem, u) -> field, as :func:`heat_residual
<opifex_tutorials.losses.linear.heat_residual>` is; of a system a tuple of fields, in which u has a
component for each unknown. Conditions are either built into a trial function,
(problem, N) -> candidate, or asked for on faces of the domain, by residuals of the same form.
A residual is also made from a formula of named derivatives, by :class:`Named`.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp

from opifex_tutorials.losses import jax_system
from opifex_tutorials.losses.jax_system import Field, Formulation, derivative

FEWER = 8  # a face has an eighth of the points

Residual = Callable[[Any, Field], Any]  # (problem, u) -> field, or a tuple of fields
Face = tuple[str, str, Residual]  # coordinate, "low" or "high", what is to vanish there


@dataclass(frozen=True)
class Equation:
    r"""A residual and its conditions, for any network: what ``train_pinn`` takes as formulation.

    Attributes:
        residual: of the equation, or of all equations of a system.
        trial: makes the candidate from the network; by default the network itself.
        fields: number of unknowns. With several, u and N are of shape (fields,).
        periodic: names of coordinates in which the solution is periodic over the bounds; the
            network sees their sine and cosine instead.
        faces: conditions that are not built in, each with an eighth of the points.
        reach: the inputs of the network fill [-reach, reach].
        inputs: what the network sees instead of coordinates, (problem) -> field of shape
            (inputs,), each in about [-1, 1].
    """

    residual: Residual
    trial: Callable[[Any, Field], Field] | None = None
    fields: int = 1
    periodic: tuple[str, ...] = ()
    faces: tuple[Face, ...] = ()
    # On Poisson in two dimensions, after 100 steps, the median error of five seeds was 1.7e-6;
    # 7.7e-6 with 1, 2.2e-6 with 3.
    reach: float = 2.0
    inputs: Callable[[Any], Field] | None = None

    def __call__(self, problem: Any, points: int) -> Formulation:
        """Return the formulation for a problem."""
        bounds, few = problem.bounds, max(1, points // FEWER)
        conditions = list(self._asked(problem, self.residual, jax_system.interior(bounds), points))
        for name, end, residual in self.faces:
            conditions += self._asked(problem, residual, _on_face(bounds, name, end), few)

        def features(*point: jax.Array) -> jax.Array:
            if self.inputs is not None:
                return self.reach * self.inputs(problem)(*point)
            inputs: list[jax.Array] = []
            for z, (name, ends) in zip(point, bounds.items(), strict=True):
                scaled = jax_system.centered(z, *ends)
                ring = jnp.cos(jnp.pi * scaled), jnp.sin(jnp.pi * scaled)
                inputs += ring if name in self.periodic else (scaled,)
            return self.reach * jnp.stack(inputs)

        def candidate(N: Field) -> Field:
            return N if self.trial is None else self.trial(problem, N)

        return Formulation(jax_system.Trial(features, candidate), tuple(conditions), self.fields)

    def nothing(self, *point: jax.Array) -> jax.Array:
        """Return zero for each unknown: a field to count with what a residual returns."""
        return jnp.zeros(self.fields) if self.fields > 1 else jnp.zeros(())

    def _asked(self, problem: Any, residual: Residual, place: Any, points: int) -> Iterator[Any]:
        """Yield a condition for each field that a residual returns."""
        for i in range(len(as_fields(residual(problem, self.nothing)))):

            def one(u: Field, i: int = i) -> Field:
                return as_fields(residual(problem, u))[i]

            yield jax_system.Condition(one, place, len(problem.bounds), points)


def as_tuple(values: Any) -> tuple[Any, ...]:
    """Return one thing or several as a tuple."""
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def as_fields(values: Any) -> tuple[Field, ...]:
    """Return what a residual returned as a tuple of fields; ``ValueError`` if it is no function."""
    fields = as_tuple(values)
    for field in fields:
        if not callable(field):
            allowed = "a function of the coordinates, or a tuple of them"
            raise ValueError(f"residual that returns {field!r}: allowed is {allowed}")
    return fields


def _on_face(bounds: Any, name: str, end: str) -> Callable[[jax.Array], tuple[Any, ...]]:
    inside, axis = jax_system.interior(bounds), list(bounds).index(name)

    def place(z: jax.Array) -> tuple[Any, ...]:
        point = list(inside(z))
        point[axis] = jnp.asarray(bounds[name][end == "high"], dtype=float)
        return tuple(point)

    return place


@dataclass(frozen=True)
class Named:
    """A residual from a formula whose parameters say what they are.

    ``u_xx`` is the second derivative by x of the field u, ``x`` a coordinate, by its name in the
    ``bounds``, and ``problem`` the problem. Coordinates have names of one letter.

    Attributes:
        formula: of these parameters, in any order; of a system a tuple of formulas.
        fields: names of the unknowns, in their order.

    Example:
        >>> from opifex_tutorials.problems.linear import HeatProblem
        >>> def formula(problem, u_t, u_xx):
        ...     return u_t - problem.diffusivity * u_xx
        >>> heat, problem = Named(formula), HeatProblem(diffusivity=0.5)
        >>> residual = heat(problem, lambda t, x: t * x**2)
        >>> float(residual(3.0, 2.0))
        1.0
    """

    formula: Callable[..., Any]
    fields: tuple[str, ...] = ("u",)

    def __call__(self, problem: Any, u: Field) -> Any:
        """Return the residual of a candidate, a field, or a tuple of them."""
        names, wanted = list(problem.bounds), self.wanted(problem.bounds)
        derived = {name: reduce(derivative, axes, u) for name, (_, axes) in wanted.items()}
        found = {name: self._component(derived[name], n) for name, (n, _) in wanted.items()}

        def all_of(*point: jax.Array) -> Any:
            known = {name: field(*point) for name, field in found.items()}
            return self.evaluate(problem, known, dict(zip(names, point, strict=True)))

        probe = jax.eval_shape(all_of, *(0.0 for _ in names))
        if not isinstance(probe, tuple):
            return all_of
        return tuple((lambda *z, i=i: all_of(*z)[i]) for i in range(len(probe)))

    def wanted(self, coordinates: Sequence[str]) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Return for each field or derivative asked for its number and the axes to derive by.

        Raises:
            ValueError: for a parameter that is no field, derivative, coordinate or problem.
        """
        axes, asked = list(coordinates), {}
        for name in axes:
            if len(name) > 1:
                raise ValueError(f"coordinate {name!r}: allowed are names of one letter")
        for name in inspect.signature(self.formula).parameters:
            field, _, letters = name.partition("_")
            if field in self.fields and set(letters) <= set(axes):
                asked[name] = self.fields.index(field), tuple(map(axes.index, letters))
            elif name not in (*axes, "problem"):
                allowed = f"{self.fields}, their derivatives such as {self.fields[0]}_{axes[0]}"
                raise ValueError(f"parameter {name!r}: allowed are {allowed}, {axes}, 'problem'")
        return asked

    def evaluate(self, problem: Any, known: dict[str, Any], coordinates: dict[str, Any]) -> Any:
        """Evaluate the formula, given fields and derivatives by name."""
        given = {**known, **coordinates, "problem": problem}
        return self.formula(**{n: given[n] for n in inspect.signature(self.formula).parameters})

    def _component(self, function: Field, number: int) -> Field:
        return function if len(self.fields) == 1 else lambda *z: function(*z)[number]


def require_named(statement: Any) -> Named:
    """Return a statement by names, or that of an equation; ``ValueError`` for another one."""
    found = statement.residual if isinstance(statement, Equation) else statement
    if not isinstance(found, Named):
        raise ValueError(f"statement={found!r}: allowed is Named(formula), alone or in an Equation")
    return found
