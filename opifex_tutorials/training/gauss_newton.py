"""Gauss and Newton's method by orthogonal factorization, for coefficients that enter linearly."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_triangular

from opifex_tutorials.validation import FloatArray

STEPS = 8
RIDGE = 1e-13  # of the largest column: beside rounding it changes nothing

# parameters -> residuals, shape (N,), and their Jacobian, shape (N, P)
Linearize = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def gauss_newton(linearize: Linearize, start: FloatArray, goal: float) -> tuple[FloatArray, float]:
    """Minimize a sum of squares; end where a step gains little, or far below the goal.

    The first step may gain little: where the problem is not linear, the second one does.

    Args:
        linearize: the residuals and their Jacobian.
        start: where to begin, shape (P,).
        goal: a sum of squares that is small enough.

    Returns:
        The best parameters met, and their sum of squares.
    """
    best = start
    residuals, jacobian = linearize(start)
    least = residuals @ residuals
    for count in range(STEPS):
        tried = best - least_squares(jacobian, residuals)
        residuals, jacobian = linearize(tried)
        loss = residuals @ residuals
        if not loss < least:
            break
        little = loss > least / 4
        best, least = tried, loss
        if (count and little) or loss < goal / 100:
            break
    return best, float(least)


def least_squares(jacobian: FloatArray, residuals: FloatArray) -> FloatArray:
    r"""Return :math:`\beta` with the least :math:`|J\beta - r|^2 + \epsilon^2 |\beta|^2`.

    By QR of [J, r] and then of its triangle above :math:`\epsilon I`. The columns of a random basis
    are dependent to rounding: the normal equations would lose half of the digits.
    """
    size = jacobian.shape[1]
    ridge = RIDGE * np.linalg.norm(jacobian, axis=0).max()
    triangle: FloatArray = np.column_stack([jacobian, residuals])
    for below in (np.empty((0, size + 1)), ridge * np.eye(size, size + 1)):
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, below]), mode="r"))
    found = solve_triangular(triangle[:size, :size], triangle[:size, size], check_finite=False)
    return np.asarray(found)
