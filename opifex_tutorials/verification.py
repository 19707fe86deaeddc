"""Solution against reference: relative error and observed order of convergence."""

import numpy as np
from numpy.typing import ArrayLike

from opifex_tutorials.validation import FloatArray


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
