"""Formulations of the book's problems: trial function, residuals and where to sample them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from opifex_tutorials.losses.burgers import burgers_residual
from opifex_tutorials.losses.collocation import Formulation, Term
from opifex_tutorials.losses.linear import linear_residual
from opifex_tutorials.models.trial_functions import (
    Field,
    burgers_hard_trial,
    burgers_layer_trial,
    burgers_soft_trial,
    layer_width,
    linear_trial,
    unstretch,
)
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import LinearProblem


def burgers_soft(problem: BurgersProblem, points: int) -> Formulation:
    """Residual, initial and boundary conditions all in the loss, with equal weights.

    An eighth of the points each for the initial and the boundary condition, added to ``points``.
    """
    interior = _interior(problem.bounds)
    few = max(1, points // 8)

    def misfit(u: Field) -> Field:
        return lambda t, x: u(t, x) + jnp.sin(jnp.pi * x) * (t == 0)

    return Formulation(
        trial=lambda network: burgers_soft_trial(problem, network),
        terms=(
            Term(lambda u: burgers_residual(problem, u), interior, 2, points),
            Term(misfit, lambda z: (jnp.zeros(()), 2 * z[0] - 1), 1, few),
            # The first half of the cube is the left end, the second half the right end.
            Term(misfit, lambda z: (problem.final_time * z[0], jnp.sign(z[1] - 0.5)), 2, few),
        ),
        inputs=2,
    )


def burgers_hard(problem: BurgersProblem, points: int) -> Formulation:
    """Initial and boundary conditions built in; points spread evenly over the domain."""
    residual = Term(lambda u: burgers_residual(problem, u), _interior(problem.bounds), 2, points)
    return Formulation(lambda network: burgers_hard_trial(problem, network), (residual,), inputs=2)


def burgers_layer(problem: BurgersProblem, points: int) -> Formulation:
    r"""Built-in conditions, the symmetry, and a coordinate stretched over the steep layer.

    Points are even in the stretched coordinate on ``0 <= x <= 1``. The residual is multiplied by
    the length :math:`\sqrt{x^2 + \delta^2}` on which the solution varies there: without it the
    layer, where single terms of the equation reach :math:`1/\nu`, drowns the rest.
    """
    width = layer_width(problem)

    def place(z: jax.Array) -> tuple[jax.Array, ...]:
        return problem.final_time * z[0], unstretch(z[1], width)

    def scaled_residual(u: Field) -> Field:
        residual = burgers_residual(problem, u)
        return lambda t, x: jnp.sqrt(x**2 + width**2) * residual(t, x)

    return Formulation(
        lambda network: burgers_layer_trial(problem, network),
        (Term(scaled_residual, place, 2, points),),
        inputs=3,
    )


def linear(problem: LinearProblem, points: int) -> Formulation:
    """Heat, wave or Poisson equation with all conditions built in."""
    d, place = len(problem.bounds), _interior(problem.bounds)
    residual = Term(lambda u: linear_residual(problem, u), place, d, points)
    return Formulation(lambda network: linear_trial(problem, network), (residual,), inputs=d)


def _interior(
    bounds: dict[str, tuple[float, float]],
) -> Callable[[jax.Array], tuple[jax.Array, ...]]:
    def place(z: jax.Array) -> tuple[jax.Array, ...]:
        pairs = zip(z, bounds.values(), strict=True)
        return tuple(low + (high - low) * coordinate for coordinate, (low, high) in pairs)

    return place
