"""Heat, wave and Poisson problems by a physics-informed neural network."""

from typing import Any

from opifex_tutorials.losses.jax_system import Formulate
from opifex_tutorials.losses.linear import FORMULATIONS
from opifex_tutorials.problems.linear import LinearProblem
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn
from opifex_tutorials.validation import by_name


def solve_linear_pinn(
    problem: LinearProblem, *, seed: int, formulation: str | Formulate = "hard", **options: Any
) -> PinnSolution:
    """Solve a linear problem by a PINN.

    Args:
        problem: a heat, wave or Poisson problem.
        seed: of the initial weights and of the collocation points.
        formulation: ``"hard"`` (all conditions built in), or a function as in
            :func:`opifex_tutorials.solvers.pinn.train_pinn`.
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`, with the same defaults.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
    """
    if not isinstance(problem, LinearProblem):
        raise ValueError(f"problem={problem!r}: allowed are {LinearProblem}")
    formulate = by_name("formulation", formulation, FORMULATIONS)
    return train_pinn(problem, formulate, seed=seed, **options)
