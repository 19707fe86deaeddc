"""Solution against closed form: relative error, order of convergence."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import qmc

from opifex_tutorials.validation import FloatArray, require_integer

ORDER_SLACK = 0.25  # between the observed order and that of a method


def relative_l2(computed: ArrayLike, reference: ArrayLike) -> float:
    r"""Return :math:`\|u - u_{ref}\|_2 / \|u_{ref}\|_2` over all points.

    Args:
        computed: values of the solution.
        reference: values of the reference, of the same shape.

    Raises:
        ValueError: if the shapes differ, a value is not finite or the reference is zero.
    """
    u, exact = np.asarray(computed, dtype=float), np.asarray(reference, dtype=float)
    if u.shape != exact.shape:
        raise ValueError(f"computed with shape {u.shape}: allowed is the shape {exact.shape}")
    for name, values in (("computed", u), ("reference", exact)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} with values that are not finite: allowed are finite numbers")
    size = np.linalg.norm(exact.ravel())
    if size == 0:
        raise ValueError("reference=0 everywhere: allowed is a reference with a nonzero value")
    return float(np.linalg.norm((u - exact).ravel()) / size)


def convergence_order(step_sizes: ArrayLike, errors: ArrayLike) -> FloatArray:
    r"""Return the observed orders between neighbors in a sequence of grids.

    .. math:: p_i = \log(e_i / e_{i+1}) / \log(h_i / h_{i+1})

    Args:
        step_sizes: at least two, positive, each smaller than the one before.
        errors: one positive error per step size.

    Returns:
        Array with one entry fewer than ``errors``.

    Raises:
        ValueError: naming the argument that breaks one of these rules.
    """
    sizes, values = np.asarray(step_sizes, dtype=float), np.asarray(errors, dtype=float)
    if sizes.ndim != 1 or sizes.size < 2 or not (sizes > 0).all() or not (np.diff(sizes) < 0).all():
        raise ValueError(f"step_sizes={step_sizes!r}: allowed are two or more, falling, positive")
    if values.shape != sizes.shape or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"errors={errors!r}: allowed are positive numbers, one per step size")
    return np.diff(np.log(values)) / np.diff(np.log(sizes))


class SelfConvergence(NamedTuple):
    """What a sequence of grids says of itself.

    Attributes:
        orders: observed between each three neighbors.
        values: extrapolated from the two finest grids, by the order.
        error: relative difference to what the two grids before would have extrapolated, which
            is an estimate of *their* error, and larger than that of ``values``.
    """

    orders: FloatArray
    values: FloatArray
    error: float


def self_convergence(
    solve: Callable[[int], ArrayLike], counts: Sequence[int], *, order: int = 2
) -> SelfConvergence:
    r"""Refine a grid, observe its order without an exact solution, and extrapolate.

    .. math:: p_i = \log_2 \frac{\|u_{i+1} - u_i\|}{\|u_{i+2} - u_{i+1}\|}, \qquad
        u = u_n + \frac{u_n - u_{n-1}}{2^p - 1}

    (Richardson 1911; Roache 1998).

    Args:
        solve: number of points -> values at the same places for all of them.
        counts: at least three, each twice the one before.
        order: p, that of the method.

    Raises:
        ValueError: for other counts, or if the last observed order is not that of the method.

    Example:
        >>> def trapezoidal_rule(n):
        ...     x = np.linspace(0, 1, n + 1)
        ...     return np.array([np.trapezoid(np.exp(x), x)])
        >>> found = self_convergence(trapezoidal_rule, (4, 8, 16))
        >>> print(f"order {found.orders[0]:.2f}, {found.values[0]:.5f}")
        order 2.00, 1.71828
    """
    ratios = {b / a for a, b in pairwise(counts)}
    if len(counts) < 3 or ratios != {2.0}:
        raise ValueError(f"counts={counts!r}: allowed are three or more, each twice the last")
    solved = [np.asarray(solve(count), dtype=float) for count in counts]
    changes = [np.linalg.norm(fine - coarse) for coarse, fine in pairwise(solved)]
    orders = np.log2([coarse / fine for coarse, fine in pairwise(changes)])
    if not abs(orders[-1] - order) < ORDER_SLACK:
        raise ValueError(f"observed order {orders[-1]:.2f}: allowed is {order}, about")
    better = [b + (b - a) / (2**order - 1) for a, b in pairwise(solved[-3:])]
    return SelfConvergence(orders, better[1], relative_l2(better[0], better[1]))


class Errors(NamedTuple):
    """Relative errors of a solution of a game."""

    value: float
    gradient: float
    density: float


def relative_errors(solution: Any, *, points: int = 4096, seed: int = 0) -> Errors:
    r"""Return the relative errors of :math:`u`, :math:`\nabla u` and m against the closed form.

    On a box they are relative :math:`L^2` errors over time and space. In a game on all of space
    the points are where the crowd is, :math:`x \sim m(t)`, and the error of the density is the
    root mean square of :math:`m_\theta/m - 1`.

    Args:
        solution: with a ``game``, ``value``, ``control`` and ``density``.
        points: how many scrambled Sobol points, rounded down to a power of two.
        seed: of the scrambling.

    Raises:
        ValueError: for a bad argument.
    """
    game = solution.game
    power = require_integer("points", points, 2, 2**20).bit_length() - 1
    cube = qmc.Sobol(1 + game.dimension, rng=np.random.default_rng(seed)).random_base2(power)
    t = game.horizon * cube[:, 0]
    x = game.places(t, cube[:, 1:].T)
    exact, density = game.density(t, *x), solution.density(t, *x)
    slope = -solution.control(t, *x).reshape(x.shape) / game.kinetic
    if game.boundary == "exact":
        density, exact = density / exact, np.ones_like(exact)
    value = relative_l2(solution.value(t, *x), game.value(t, *x))
    gradient = relative_l2(slope, game.value_gradient(t, *x))
    return Errors(value, gradient, relative_l2(density, exact))
