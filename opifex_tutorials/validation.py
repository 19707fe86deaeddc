"""Checks of arguments: a bad one raises ``ValueError``: its name, its value, what is allowed."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Pair = tuple[FloatArray, FloatArray]
F = TypeVar("F")  # a function


def require_finite(name: str, value: Any) -> float:
    """Return ``value`` as a float if it is a finite real number."""
    number = _number(value)
    if not np.isfinite(number):
        raise ValueError(f"{name}={value!r}: allowed are finite numbers")
    return number


def require_between(name: str, value: Any, low: float, high: float) -> float:
    """Return ``value`` as a float if ``low <= value <= high``."""
    number = _number(value)
    if not low <= number <= high:
        raise ValueError(f"{name}={value!r}: allowed are numbers from {low:g} to {high:g}")
    return number


def _number(value: Any) -> float:
    """Return ``value`` as a float: NaN, which no range allows, for text and other non-numbers."""
    try:
        return np.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return np.nan


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


def by_name(name: str, value: str | F, known: Mapping[str, F]) -> F:
    """Return what ``value`` names among the ``known``, or ``value`` itself if it is a function."""
    if not isinstance(value, str) and callable(value):
        return value
    if not isinstance(value, str) or value not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"{name}={value!r}: allowed are {names}, or a function")
    return known[value]


def refuse(why: str, **options: Any) -> None:
    """Raise ``ValueError`` for the first option that is given, where none of them has a meaning."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name}={value!r}{why}")


def require_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of all layers, input and output included, e.g. ``(2, 20, 20, 1)``."""
    try:
        sizes = tuple(require_integer("width", size, 1, 10**6) for size in widths)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) < 2:
        allowed = "at least two positive integers, from input to output, e.g. (2, 20, 20, 1)"
        raise ValueError(f"widths={widths!r}: allowed are {allowed}")
    return sizes


def require_inside(
    bounds: dict[str, tuple[float, float]], *coordinates: ArrayLike
) -> list[FloatArray]:
    """Broadcast coordinates against each other and check that each lies within its bounds.

    Args:
        bounds: name of each coordinate with its lowest and highest allowed value, in order.
        coordinates: arrays (or numbers) that broadcast against each other.

    Returns:
        One float64 array per coordinate, all of the common shape.

    Raises:
        ValueError: naming the coordinate that is not finite or outside of the domain, the shapes
            that do not broadcast, or the number of coordinates.
    """
    if len(coordinates) != len(bounds):
        allowed = f"{len(bounds)}: {', '.join(bounds)}"
        raise ValueError(f"{len(coordinates)} coordinates: allowed are {allowed}")
    arrays = []
    for (name, (low, high)), coordinate in zip(bounds.items(), coordinates, strict=True):
        array = np.asarray(coordinate, dtype=np.float64)
        # A few units in the last place beyond an end are rounding, as from linspace or Sobol.
        slack = 1e-12 * max(abs(low), abs(high))
        outside = ~((array >= low - slack) & (array <= high + slack))
        if outside.any():
            first = array[outside].flat[0]
            raise ValueError(f"{name}={first!r}: allowed are numbers from {low:g} to {high:g}")
        arrays.append(array)
    try:
        return [np.array(a) for a in np.broadcast_arrays(*arrays)]
    except ValueError:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(bounds, arrays, strict=True))
        raise ValueError(f"shapes {shapes}: allowed are shapes that broadcast") from None
