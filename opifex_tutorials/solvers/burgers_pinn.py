"""Burgers by a physics-informed neural network."""

from typing import Any

from opifex_tutorials.losses.burgers import FORMULATIONS
from opifex_tutorials.losses.jax_system import Formulate
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn
from opifex_tutorials.validation import by_name


def solve_burgers_pinn(
    problem: BurgersProblem, *, seed: int, formulation: str | Formulate = "layer", **options: Any
) -> PinnSolution:
    """Solve Burgers by a PINN.

    Args:
        problem: with the default options, any viscosity from 0.003 to 0.1.
        seed: of the initial weights and of the collocation points.
        formulation: ``"layer"`` (default: conditions and symmetry built in, coordinate stretched
            over the steep layer), ``"hard"`` (conditions built in), ``"soft"`` (conditions in the
            loss), or a function as in :func:`opifex_tutorials.solvers.pinn.train_pinn`.
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`, with the same defaults.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
    """
    formulate = by_name("formulation", formulation, FORMULATIONS)
    return train_pinn(problem, formulate, seed=seed, **options)
