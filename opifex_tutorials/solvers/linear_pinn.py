"""Heat, wave and Poisson problems by a physics-informed neural network."""

from typing import Any

from opifex_tutorials.losses.collocation import Build
from opifex_tutorials.losses.formulations import heat, poisson, wave
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn

FORMULATIONS: dict[type, Build] = {HeatProblem: heat, WaveProblem: wave, PoissonProblem: poisson}


def solve_linear_pinn(
    problem: HeatProblem | WaveProblem | PoissonProblem, *, seed: int, **options: Any
) -> PinnSolution:
    """Solve a linear problem by a PINN with all conditions built in.

    Args:
        problem: a heat, wave or Poisson problem.
        seed: of the initial weights and of the collocation points.
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`, with the same defaults.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
    """
    if type(problem) not in FORMULATIONS:
        names = ", ".join(kind.__name__ for kind in FORMULATIONS)
        raise ValueError(f"problem={problem!r}: allowed are instances of {names}")
    return train_pinn(problem, FORMULATIONS[type(problem)], seed=seed, **options)
