"""The one description of a fully connected network that both frameworks share: its widths."""

from collections.abc import Sequence
from numbers import Integral


def checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return ``widths`` as a tuple of positive integers.

    Args:
        widths: sizes of all layers, input and output included, e.g. ``(2, 20, 20, 1)``.

    Raises:
        ValueError: if there are fewer than two sizes, or one is not a positive integer.
    """
    allowed = "at least two positive integers, input and output sizes included, e.g. (2, 20, 20, 1)"
    try:
        sizes = tuple(widths)
    except TypeError:
        raise ValueError(f"widths={widths!r}: allowed are {allowed}") from None
    if len(sizes) < 2 or not all(
        isinstance(size, Integral) and not isinstance(size, bool) and size > 0 for size in sizes
    ):
        raise ValueError(f"widths={widths!r}: allowed are {allowed}")
    return tuple(int(size) for size in sizes)
