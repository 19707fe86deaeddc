r"""Bounds on an error from the residual alone: what the equation does to a source.

The error e of a computed solution solves the equation with its residual R as source, linearized or
not. What a source can do is bounded for each equation here by a constant that is known:

* Burgers, difference of two solutions of conservation laws with the same viscosity:
  :math:`\|e(t)\|_1 \le \int_0^t \|R\|_1` (L¹ contraction, Kruzhkov 1970);
* heat: :math:`\|e(t)\|_2 \le \int_0^t \|R\|_2` (multiply by e and integrate);
* wave: :math:`\|e(t)\|_2 \le \frac1{c\pi} \int_0^t \|R\|_2` (energy, then Poincaré);
* Poisson on the unit interval or square: :math:`\|e\|_2 \le \frac1{d\pi^2} \|R\|_2`.

Where a solution in slabs jumps in time, the norm of the jump is added.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from opifex_tutorials.losses.burgers import burgers_residual, layer_width, unstretch
from opifex_tutorials.losses.jax_system import Field, derivative
from opifex_tutorials.losses.linear import RESIDUALS
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import LinearProblem, PoissonProblem, WaveProblem
from opifex_tutorials.validation import FloatArray, require_integer

AGREEMENT = 0.1  # of two quadratures, relative to the finer one
CONDITIONS = 1e-12  # how far initial and boundary values may be off, beside rounding


@dataclass(frozen=True)
class Certificate:
    """A bound on the error of a solution.

    Attributes:
        bound: on the norm of the error, at all times; in absolute terms.
        norm: 1 or 2: of what power of the error, over space.
        quadrature: relative difference of the two quadratures of the residual; the bound is
            enlarged by it.
    """

    bound: float
    norm: int
    quadrature: float


def certified_error(solution: Any, *, nodes: int = 128) -> Certificate:
    """Bound the error of a solution of Burgers, heat, wave or Poisson equation by its residual.

    The bound holds up to the quadrature of the residual and rounding: integrals are sums over
    nodes, compared with a coarser rule, and the arithmetic is that of floats. It is no proof by
    computer, which would need intervals.

    Args:
        solution: of :mod:`opifex_tutorials.solvers.frozen_features`, or a
            PINN: with ``apply``, and with initial and boundary conditions built in.
        nodes: along each axis, and in time on each slab half as many.

    Raises:
        ValueError: if the solution does not fulfill the conditions, if there is no estimate for
            its problem, or if the quadratures differ by more than a tenth.
    """
    require_integer("nodes", nodes, 8, 2**12)
    problem = solution.problem
    if not isinstance(problem, BurgersProblem | LinearProblem):
        raise ValueError(f"problem={problem!r}: allowed are Burgers, heat, wave and Poisson")
    _require_conditions(solution)
    coarse, fine = (_bound(solution, count) for count in (nodes * 5 // 8, nodes))
    difference = abs(fine - coarse) / fine if fine else 0.0
    if not difference <= AGREEMENT:
        raise ValueError(f"nodes={nodes}: allowed are more, two quadratures differ by {difference}")
    norm = 1 if isinstance(problem, BurgersProblem) else 2
    return Certificate(fine * (1 + difference), norm, difference)


def _bound(solution: Any, nodes: int) -> float:
    problem = solution.problem
    if isinstance(problem, BurgersProblem):
        x, weights = _stretched(problem, nodes)
        times, lengths = _times(solution, nodes // 2)
        values = solution.apply(burgers_residual, times[:, None], x)
        return float((lengths @ np.abs(values) + np.abs(_jumps(solution, x)).sum(0)) @ weights)
    residual, (inside, weights) = RESIDUALS[type(problem)], _gauss(nodes)
    if isinstance(problem, PoissonProblem):
        squares = solution.apply(residual, *np.meshgrid(*[inside] * problem.dimension)) ** 2
        for _ in range(problem.dimension):
            squares = squares @ weights
        return float(np.sqrt(squares) / (problem.dimension * np.pi**2))
    times, lengths = _times(solution, nodes // 2)
    squares = solution.apply(residual, times[:, None], inside) ** 2
    total = float(lengths @ np.sqrt(squares @ weights))
    if isinstance(problem, WaveProblem):  # of second order in time: never in slabs
        return total / (np.pi * problem.speed)
    return total + float(np.sqrt(_jumps(solution, inside) ** 2 @ weights).sum())


def _times(solution: Any, nodes: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes in time, on each slab if there are some, and their weights."""
    low, high = next(iter(solution.problem.bounds.values()))
    starts = [slab.start for slab in getattr(solution, "slabs", ())] or [low]
    edges, (inside, weights) = np.append(starts, high), _gauss(nodes)
    lengths = np.diff(edges)[:, None]
    return (edges[:-1, None] + lengths * inside).ravel(), (lengths * weights).ravel()


def _jumps(solution: Any, x: FloatArray) -> FloatArray:
    """Return how far slabs miss each other where they meet, shape (meetings, positions)."""
    starts = np.array([slab.start for slab in getattr(solution, "slabs", ())[1:]])[:, None]
    return np.asarray(solution(np.nextafter(starts, np.inf), x) - solution(starts, x))


def _stretched(problem: BurgersProblem, nodes: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes in space that are dense in the layer, on both sides, and their weights."""
    width, (inside, weights) = layer_width(problem), _gauss(nodes)
    x = np.asarray(unstretch(jnp.asarray(inside), width))
    weights = weights * np.sqrt(x**2 + width**2) * np.arcsinh(1 / width)
    return np.concatenate([-x, x]), np.concatenate([weights, weights])


def _gauss(nodes: int) -> tuple[FloatArray, FloatArray]:
    x, weights = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) / 2, weights / 2


def _slope_in_time(problem: Any, u: Field) -> Field:
    return derivative(u, 0)


def _require_conditions(solution: Any) -> None:
    problem, inside = solution.problem, np.linspace(0, 1, 33)
    axes = [low + (high - low) * inside for low, high in problem.bounds.values()]
    off = [0.0]
    for axis, ends in enumerate(problem.bounds.values()):
        if not (axis == 0 and "t" in problem.bounds):
            for end in ends:
                sides = [*axes[:axis], np.array([end]), *axes[axis + 1 :]]
                off.append(np.abs(solution(*np.meshgrid(*sides))).max())
    if "t" in problem.bounds:
        start = 0.0, axes[1]
        off.append(np.abs(solution(*start) - problem.exact(*start)).max())
        if isinstance(problem, WaveProblem):
            off.append(np.abs(solution.apply(_slope_in_time, *start)).max())
    if not max(off) <= CONDITIONS:
        raise ValueError(f"conditions missed by {max(off):.1e}: allowed is {CONDITIONS:g}")
