"""Burgers by a physics-informed neural network."""

from collections.abc import Sequence
from typing import Any

from opifex_tutorials.losses.burgers import FORMULATIONS
from opifex_tutorials.losses.jax_system import Formulate
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn
from opifex_tutorials.validation import by_name


def solve_burgers_pinn(
    problem: BurgersProblem,
    *,
    seed: int,
    formulation: str | Formulate = "layer",
    hidden: Sequence[int] = (12, 12, 12),
    steps: int = 600,
    **options: Any,
) -> PinnSolution:
    """Solve Burgers by a PINN.

    Args:
        problem: with the default options, any viscosity from 0.003 to 0.1. For a tenth of the
            error, in four times the time, ask for the formulation ``"smooth"`` with the widths
            (16, 16, 16) and 4,096 points.
        seed: of the initial weights and of the collocation points.
        formulation: ``"layer"`` (default: conditions and symmetry built in, coordinate stretched
            over the steep layer), ``"smooth"`` (the same, odd about both ends by construction),
            ``"hard"`` (conditions built in), ``"soft"`` (conditions in the loss), or a function as
            in :func:`opifex_tutorials.solvers.pinn.train_pinn`.
        hidden: widths of the hidden layers. Two of 16 have about as many parameters, and need as
            long; their error was twice to three times as large.
        steps: budget, in steps of the optimizer.
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`; the others have the
            same defaults.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
    """
    formulate = by_name("formulation", formulation, FORMULATIONS)
    return train_pinn(problem, formulate, seed=seed, hidden=hidden, steps=steps, **options)
