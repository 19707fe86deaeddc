"""Burgers by a physics-informed neural network."""

from typing import Any

from opifex_tutorials.losses.collocation import Build
from opifex_tutorials.losses.formulations import burgers_hard, burgers_layer, burgers_soft
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn
from opifex_tutorials.validation import require_choice

FORMULATIONS: dict[str, Build] = dict(layer=burgers_layer, hard=burgers_hard, soft=burgers_soft)


def solve_burgers_pinn(
    problem: BurgersProblem, *, seed: int, formulation: str = "layer", **options: Any
) -> PinnSolution:
    """Solve Burgers by a PINN.

    Args:
        problem: with the default options, any viscosity from 0.003 to 0.1.
        seed: of the initial weights and of the collocation points.
        formulation: ``"layer"`` (default: conditions and symmetry built in, coordinate stretched
            over the steep layer), ``"hard"`` (conditions built in) or ``"soft"`` (conditions in
            the loss).
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`, with the same defaults.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
    """
    require_choice("formulation", formulation, tuple(FORMULATIONS))
    return train_pinn(problem, FORMULATIONS[formulation], seed=seed, **options)
