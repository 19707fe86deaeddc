"""Burgers by random features, slab by slab."""

from typing import Any

from opifex_tutorials.losses.burgers import burgers_slab
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers.frozen_features import FeatureSolution, solve_by_features


def solve_burgers_features(
    problem: BurgersProblem,
    *,
    seed: int,
    features: int = 400,
    points: tuple[int, int] = (20, 56),
    tolerance: float = 1e-8,
    **options: Any,
) -> FeatureSolution:
    """Solve Burgers by a network whose hidden layer is drawn at random and never trained.

    Args:
        problem: the default options are meant for viscosities from 0.003 to 0.1. Of eleven
            seeds one ended in an error, just above the tolerance, at the two smallest of them.
        seed: of the features.
        features: their number. With 600, 20 x 60 points and a tenth of the tolerance the error is
            ten times smaller, in three times the time.
        points: numbers of Gauss-Legendre nodes in time and in space, on each slab. With 48 in
            space three of thirty solves ended in an error: they had learned their nodes by heart.
        tolerance: largest allowed root mean square of the residual on each slab, at nodes that
            the solve does not see. The viscosity 0.001 needs ten times the default.
        options: ``monitor``, as in
            :func:`opifex_tutorials.solvers.frozen_features.solve_by_features`.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if no slab is short enough for the tolerance.
    """
    # In stretched coordinates the solution varies quickly in space, on a slab slowly in time.
    own: dict[str, Any] = {"features": features, "ranges": (0.8, 5.0), "points": points}
    own["tolerance"] = tolerance
    return solve_by_features(problem, burgers_slab, seed=seed, evolves=True, **own, **options)
