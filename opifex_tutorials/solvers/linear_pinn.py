"""Heat, wave and Poisson problems by a physics-informed neural network."""

from typing import Any

from opifex_tutorials.losses.linear import linear_hard
from opifex_tutorials.problems.linear import LinearProblem
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn


def solve_linear_pinn(problem: LinearProblem, *, seed: int, **options: Any) -> PinnSolution:
    """Solve a linear problem by a PINN that has all conditions built in.

    Args:
        problem: a heat, wave or Poisson problem.
        seed: of the initial weights and of the collocation points.
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`, with the same defaults;
            that function also takes other formulations.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
    """
    if not isinstance(problem, LinearProblem):
        raise ValueError(f"problem={problem!r}: allowed are {LinearProblem}")
    return train_pinn(problem, linear_hard, seed=seed, **options)
