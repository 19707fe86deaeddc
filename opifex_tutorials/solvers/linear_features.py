"""Heat, wave and Poisson problems by random features: one least-squares problem."""

from collections.abc import Sequence
from typing import Any

from opifex_tutorials.losses.linear import linear_frozen
from opifex_tutorials.problems.linear import LinearProblem
from opifex_tutorials.solvers.frozen_features import FeatureSolution, solve_by_features


def solve_linear_features(
    problem: LinearProblem,
    *,
    seed: int,
    features: int | None = None,
    ranges: Sequence[float] | None = None,
    points: Sequence[int] | None = None,
    tolerance: float = 1e-6,
    **options: Any,
) -> FeatureSolution:
    """Solve a linear problem by a network whose hidden layer is drawn and never trained.

    Args:
        problem: a heat, wave or Poisson problem.
        seed: of the features.
        features: their number, by default 100 in one coordinate and 800 in two.
        ranges: the largest weight of each input. By default 2 each, for data of a few waves: with
            4 the errors were a hundred times larger, since fewer features share a wave. Higher
            modes need larger ones, and more features.
        points: numbers of Gauss-Legendre nodes along each axis, by default 120 or 36 x 36.
        tolerance: largest allowed root mean square of the residual, at nodes that the solve does
            not see.
        options: ``monitor``, as in
            :func:`opifex_tutorials.solvers.frozen_features.solve_by_features`.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual is above the tolerance.
    """
    if not isinstance(problem, LinearProblem):
        raise ValueError(f"problem={problem!r}: allowed are {LinearProblem}")
    dimension = len(problem.bounds)
    own: dict[str, Any] = {"ranges": ranges or (2.0,) * dimension, "tolerance": tolerance}
    own["features"] = {1: 100, 2: 800}[dimension] if features is None else features
    own["points"] = points or {1: (120,), 2: (36, 36)}[dimension]
    return solve_by_features(problem, linear_frozen, seed=seed, evolves=False, **own, **options)
