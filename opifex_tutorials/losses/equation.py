r"""An equation of your own: from a residual, written as its formula, to a formulation.

A residual is a function (problem, u) -> field, as :func:`heat_residual
<opifex_tutorials.losses.linear.heat_residual>` is; of a system a tuple of fields, in which u has a
component for each unknown. Conditions are either built into a trial function,
(problem, N) -> candidate, or asked for on faces of the domain, by residuals of the same form.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from opifex_tutorials.losses.jax_system import (
    Condition,
    Field,
    Formulation,
    Trial,
    centered,
    interior,
)

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
    """

    residual: Residual
    trial: Callable[[Any, Field], Field] | None = None
    fields: int = 1
    periodic: tuple[str, ...] = ()
    faces: tuple[Face, ...] = ()
    # On Poisson in two dimensions, after 100 steps, the median error of five seeds was 1.7e-6;
    # 7.7e-6 with 1, 2.2e-6 with 3.
    reach: float = 2.0

    def __call__(self, problem: Any, points: int) -> Formulation:
        """Return the formulation for a problem."""
        bounds, few = problem.bounds, max(1, points // FEWER)
        conditions = list(self._asked(problem, self.residual, interior(bounds), points))
        for name, end, residual in self.faces:
            conditions += self._asked(problem, residual, _on_face(bounds, name, end), few)

        def features(*point: jax.Array) -> jax.Array:
            inputs: list[jax.Array] = []
            for z, (name, ends) in zip(point, bounds.items(), strict=True):
                scaled = centered(z, *ends)
                ring = jnp.cos(jnp.pi * scaled), jnp.sin(jnp.pi * scaled)
                inputs += ring if name in self.periodic else (scaled,)
            return self.reach * jnp.stack(inputs)

        def candidate(N: Field) -> Field:
            return N if self.trial is None else self.trial(problem, N)

        return Formulation(Trial(features, candidate), tuple(conditions), self.fields)

    def _asked(self, problem: Any, residual: Residual, place: Any, points: int) -> Iterator[Any]:
        """Yield a condition for each field that a residual returns."""

        def nothing(*point: jax.Array) -> jax.Array:
            return jnp.zeros(self.fields) if self.fields > 1 else jnp.zeros(())

        for i in range(len(as_tuple(residual(problem, nothing)))):

            def one(u: Field, i: int = i) -> Field:
                return as_tuple(residual(problem, u))[i]

            yield Condition(one, place, len(problem.bounds), points)


def as_tuple(fields: Any) -> tuple[Field, ...]:
    """Return what a residual returned as a tuple of fields."""
    return fields if isinstance(fields, tuple) else (fields,)


def _on_face(bounds: Any, name: str, end: str) -> Callable[[jax.Array], tuple[Any, ...]]:
    inside, axis = interior(bounds), list(bounds).index(name)

    def place(z: jax.Array) -> tuple[Any, ...]:
        point = list(inside(z))
        point[axis] = jnp.asarray(bounds[name][end == "high"], dtype=float)
        return tuple(point)

    return place
