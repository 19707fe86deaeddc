"""Gauss and Newton's method by orthogonal factorization, for coefficients that enter linearly."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_triangular

from opifex_tutorials.validation import FloatArray

STEPS = 8
RIDGE = 1e-13  # of the largest column: beside rounding it changes nothing

# parameters -> residuals, shape (N,), and their Jacobian, shape (N, P)
Linearize = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def gauss_newton(linearize: Linearize, start: FloatArray, goal: float) -> FloatArray:
    """Minimize a sum of squares; end where the linearization ends, or far below the goal.

    Args:
        linearize: the residuals and their Jacobian.
        start: where to begin, shape (P,).
        goal: a sum of squares that is small enough.

    Returns:
        The best parameters met; whether they are good enough, the caller sees.
    """
    best = start
    residuals, jacobian = linearize(start)
    loss = residuals @ residuals
    for _ in range(STEPS):
        step = least_squares(jacobian, residuals)
        foreseen = np.sum((residuals - jacobian @ step) ** 2)
        residuals, jacobian = linearize(best - step)
        before, loss = loss, residuals @ residuals
        if not loss < before:
            break
        best = best - step
        if loss < max(2 * foreseen, goal / 100):
            break
    return best


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
