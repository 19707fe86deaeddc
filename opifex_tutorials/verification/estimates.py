r"""The error of a solution, estimated without knowing a better one.

The error :math:`e = u - \hat u` of a candidate solves the equation with its own residual as source.
On a coarse grid, with differences :math:`F_h` in place of the equation F,

.. math:: F_h(\hat u + e) - F_h(\hat u) + F(\hat u) = 0,

where what the grid does wrong on :math:`\hat u` cancels, and what it does wrong on e is a small
part of a small thing (defect correction, Stetter 1978). Two digits of an error are plenty.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, LinAlgWarning, solve

from opifex_tutorials.losses.equation import Named, as_tuple
from opifex_tutorials.losses.jax_system import Field, compile_program, derivative
from opifex_tutorials.solvers.method_of_lines import Grid, Lines
from opifex_tutorials.solvers.pinn import PinnSolution
from opifex_tutorials.training.history import ConvergenceError, History

# Relative, and absolute in units of the solution: far below the error of any network here.
TOLERANCES = {"rtol": 1e-12, "atol": 1e-12}


def estimate_error(
    solution: Any, statement: Named, *, points: int = 128, ends: Sequence[str] = ("periodic",)
) -> Lines:
    """Estimate the error of a solution from its residual, by a coarse grid.

    The residual is that of the second statement, so that a slip in the equation that was solved
    counts as error. Not seen are an equation that both statements have wrong; data: initial and
    boundary values of the candidate are taken as right, and it is
    :func:`opifex_tutorials.verification.statements.mismatch` that compares them; a corner between
    points; and another branch of solutions, on which the candidate is right.

    Args:
        solution: of an equation by ``solve_equation`` or ``train_pinn``, with initial and boundary
            values built in.
        statement: the residual as a formula of named derivatives.
        points: intervals of the grid along each axis; the features of the error have to be a few
            of them wide.
        ends: what the *error* does there, as in
            :func:`opifex_tutorials.solvers.method_of_lines.solve_by_lines`: ``"dirichlet"`` where
            values are built in, whatever they are. With other conditions the estimate is of
            another error.

    Returns:
        What would have to be added to the solution: values on the grid, at 101 times.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the equation on the grid has no solution, or many.

    Example:
        >>> from opifex_tutorials.problems.linear import HeatProblem
        >>> from opifex_tutorials.solvers.linear_pinn import solve_linear_pinn
        >>> problem = HeatProblem(diffusivity=0.5)
        >>> heat = Named(lambda u_t, u_xx: u_t - u_xx / 2)
        >>> short = {"steps": 50, "tolerance": np.inf}
        >>> u = solve_linear_pinn(problem, seed=0, **short)
        >>> e = estimate_error(u, heat, points=32, ends=["dirichlet"])
        >>> error = problem.exact(*e.mesh) - u(*e.mesh)
        >>> print(f"{np.linalg.norm(e.values) / np.linalg.norm(error):.1f}")
        1.0
    """
    if not isinstance(solution, PinnSolution):
        raise ValueError(f"solution of type {type(solution).__name__}: allowed is PinnSolution")
    problem = solution.problem
    grid = Grid(problem, statement, points, ends)
    program = compile_program(solution.formulate, problem, solution.points, solution.hidden)
    evaluate = program.operated(LevelsAndResidual(grid.statement, grid.order))

    def defect(t: Any, *errors: Any) -> Any:
        """Return how far errors are from making up for the residual of the candidate."""
        times = [] if t is None else [jnp.full(grid.x[0].size, t)]
        place = [*times, *(x.ravel() for x in grid.x)]
        known = jnp.moveaxis(evaluate(problem, solution.parameters, *place), 0, -1)
        *levels, residual = known.reshape(-1, *grid.shape)
        better = [u + e for u, e in zip(levels, errors, strict=True)]
        last = [jnp.zeros(grid.shape)] * len(times)
        return grid.residual(t, *better, *last) - grid.residual(t, *levels, *last) + residual

    if grid.time is None:
        return _steady(grid, defect)
    return grid.integrate(lambda t, *e: -defect(t, *e), 0.0, None, method="DOP853", **TOLERANCES)


@dataclass(frozen=True)
class LevelsAndResidual:
    """An operator: a candidate, its derivatives in time below the highest, and its residual."""

    statement: Named
    order: int

    def __call__(self, problem: Any, u: Field) -> Field:
        """Return a field of shape (levels + 1, fields)."""
        fields, levels = len(self.statement.fields), [u]
        for _ in range(self.order - 1):
            levels.append(derivative(levels[-1], 0))
        residuals = as_tuple(self.statement(problem, u))

        def stacked(*point: jax.Array) -> jax.Array:
            rows = [jnp.reshape(level(*point), fields) for level in levels]
            return jnp.stack([*rows, jnp.stack([r(*point) for r in residuals])])

        return stacked


def _steady(grid: Grid, defect: Callable[..., Any]) -> Lines:
    """Solve the linearized equation of the error at once."""
    none, moves = jnp.zeros(grid.shape), jnp.broadcast_to(grid.moves, grid.shape).ravel()

    def equations(errors: Any) -> Any:
        wanted = defect(None, errors.reshape(grid.shape)).ravel()
        return jnp.where(moves > 0, wanted, errors)

    jacobian = np.asarray(jax.jit(jax.jacfwd(equations))(none.ravel()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LinAlgWarning)
        try:
            errors = solve(jacobian, -np.asarray(equations(none.ravel())))
        except (LinAlgWarning, LinAlgError) as singular:
            message = f"linearized equation without a single solution on the grid: {singular}"
            raise ConvergenceError(message, History()) from None
    values = errors.reshape(grid.shape)
    return Lines(grid.mesh(), values if len(values) > 1 else values[0], 1)
