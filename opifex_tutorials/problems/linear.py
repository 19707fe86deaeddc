r"""Heat, wave and Poisson equations on the unit interval (or square), with closed forms.

All three have homogeneous Dirichlet conditions and data made of a few sines, so that the exact
solution is a finite sum; ``amplitudes[k - 1]`` belongs to :math:`\sin k \pi x`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from opifex_tutorials.validation import FloatArray, require_between, require_inside, require_integer

# Two modes, so that neither a single decay rate nor a single frequency solves the problem.
DEFAULT_AMPLITUDES = (1.0, 0.0, 0.5)


def sine_series(coefficients: Sequence[Any], *x: Any) -> Any:
    r"""Return :math:`\sum_k c_k \prod_i \sin k\pi x_i`, for arrays of NumPy and of JAX alike."""
    sin = x[0].__array_namespace__().sin
    terms = enumerate(coefficients, 1)
    return sum(c * math.prod(sin(k * np.pi * x_i) for x_i in x) for k, c in terms)


class Evolution:
    """What heat and wave equation share: an interval, a final time, and a sum of sines to start."""

    final_time: float
    amplitudes: tuple[float, ...]

    def __post_init__(self) -> None:
        require_between("final_time", self.final_time, 1e-2, 10.0)
        _require_amplitudes(self.amplitudes)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each coordinate, in the order of the arguments."""
        return {"t": (0.0, self.final_time), "x": (0.0, 1.0)}


@dataclass(frozen=True)
class HeatProblem(Evolution):
    r""":math:`u_t = \kappa u_{xx}` on (0, 1), zero at both ends.

    Args:
        diffusivity: κ, from 0.001 to 1. With the default 0.05 the third mode all but decays.
        final_time: from 0.01 to 10.
        amplitudes: of the sines in the initial value, one to eight finite numbers.

    Raises:
        ValueError: if an argument is outside of its range.
    """

    diffusivity: float = 0.05
    final_time: float = 1.0
    amplitudes: tuple[float, ...] = DEFAULT_AMPLITUDES
    time_order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("diffusivity", self.diffusivity, 1e-3, 1.0)

    def exact(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        r"""Return :math:`\sum_k a_k e^{-\kappa (k\pi)^2 t} \sin k\pi x`; ``t``, ``x`` broadcast."""
        t, x = require_inside(self.bounds, t, x)
        rates = self.diffusivity * (np.pi * np.arange(1, 9)) ** 2
        decayed = [a * np.exp(-r * t) for a, r in zip(self.amplitudes, rates, strict=False)]
        return np.asarray(sine_series(decayed, x))


@dataclass(frozen=True)
class WaveProblem(Evolution):
    r""":math:`u_{tt} = c^2 u_{xx}` on (0, 1), zero at both ends, initially at rest.

    Args:
        speed: c, from 0.1 to 10. With the default 1 the string swings half a period in time 1.
        final_time: from 0.01 to 10.
        amplitudes: of the sines in the initial value, one to eight finite numbers.

    Raises:
        ValueError: if an argument is outside of its range.
    """

    speed: float = 1.0
    final_time: float = 1.0
    amplitudes: tuple[float, ...] = DEFAULT_AMPLITUDES
    time_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("speed", self.speed, 0.1, 10.0)

    def exact(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        r"""Return :math:`\sum_k a_k \cos(k\pi c t) \sin k\pi x`; ``t`` and ``x`` broadcast."""
        t, x = require_inside(self.bounds, t, x)
        phase = np.pi * self.speed * t
        swung = [a * np.cos(k * phase) for k, a in enumerate(self.amplitudes, start=1)]
        return np.asarray(sine_series(swung, x))


@dataclass(frozen=True)
class PoissonProblem:
    r""":math:`-\Delta u = f` on the unit interval or square, zero on the boundary.

    Args:
        dimension: 1 or 2.
        amplitudes: of the modes :math:`\prod_i \sin k\pi x_i`, one to eight finite numbers.

    Raises:
        ValueError: if an argument is outside of its range.
    """

    dimension: int = 1
    amplitudes: tuple[float, ...] = DEFAULT_AMPLITUDES
    time_order: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_integer("dimension", self.dimension, 1, 2)
        _require_amplitudes(self.amplitudes)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each coordinate, in the order of the arguments."""
        return {name: (0.0, 1.0) for name in ("x", "y")[: self.dimension]}

    @property
    def source_amplitudes(self) -> list[float]:
        r"""Coefficients :math:`a_k d (k\pi)^2` of the source f, with d the dimension."""
        return [self.dimension * (k * np.pi) ** 2 * a for k, a in enumerate(self.amplitudes, 1)]

    def exact(self, *coordinates: ArrayLike) -> FloatArray:
        r"""Return :math:`\sum_k a_k \prod_i \sin k\pi x_i`; the coordinates broadcast."""
        points = require_inside(self.bounds, *coordinates)
        return np.asarray(sine_series(self.amplitudes, *points))


LinearProblem = HeatProblem | WaveProblem | PoissonProblem


def _require_amplitudes(amplitudes: tuple[float, ...]) -> None:
    is_valid = isinstance(amplitudes, tuple) and 1 <= len(amplitudes) <= 8
    if not is_valid or not np.isfinite(np.asarray(amplitudes, dtype=float)).all():
        raise ValueError(f"amplitudes={amplitudes!r}: allowed are tuples of 1 to 8 finite numbers")
