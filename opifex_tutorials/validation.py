"""Checks of arguments: a bad one raises ``ValueError``: its name, its value, what is allowed."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def require_between(name: str, value: Any, low: float, high: float) -> float:
    """Return ``value`` as a float if ``low <= value <= high``; NaN and text are refused too."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not low <= number <= high:
        raise ValueError(f"{name}={value!r}: allowed are numbers from {low:g} to {high:g}")
    return number


def require_integer(name: str, value: Any, low: int, high: int) -> int:
    """Return ``value`` if it is an integer (not a bool) with ``low <= value <= high``."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or not low <= value <= high:
        raise ValueError(f"{name}={value!r}: allowed are integers from {low} to {high}")
    return int(value)


def require_multiple(name: str, value: Any, factor: int) -> int:
    """Return ``value`` if it is a positive integer multiple of ``factor``."""
    if require_integer(name, value, 1, 10**9) % factor:
        raise ValueError(f"{name}={value!r}: allowed are multiples of {factor}")
    return int(value)


def require_choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of the ``allowed`` words."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: allowed are {', '.join(map(repr, allowed))}")
    return str(value)


def require_coordinates(
    bounds: dict[str, tuple[float, float]], *coordinates: ArrayLike
) -> list[FloatArray]:
    """Broadcast coordinates against each other and check that each lies within its bounds.

    Args:
        bounds: name of each coordinate with its lowest and highest allowed value, in order.
        coordinates: arrays (or numbers) that broadcast against each other.

    Returns:
        One float64 array per coordinate, all of the common shape.

    Raises:
        ValueError: naming the coordinate that is not finite or outside of the domain, or the
            shapes that do not broadcast.
    """
    arrays = []
    for (name, (low, high)), coordinate in zip(bounds.items(), coordinates, strict=True):
        array = np.asarray(coordinate, dtype=np.float64)
        # A few units in the last place beyond an end are rounding, as from linspace or Sobol.
        slack = 1e-12 * max(abs(low), abs(high))
        outside = ~((array >= low - slack) & (array <= high + slack))
        if outside.any():
            raise ValueError(
                f"{name}={array[outside].flat[0]!r}: allowed are finite values "
                f"from {low:g} to {high:g}"
            )
        arrays.append(array)
    try:
        return [np.array(a) for a in np.broadcast_arrays(*arrays)]
    except ValueError:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(bounds, arrays, strict=True))
        raise ValueError(
            f"coordinates with shapes {shapes}: allowed are shapes that broadcast"
        ) from None
