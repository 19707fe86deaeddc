r"""Burgers by a classical method: Fourier in space, exponential Runge-Kutta of order 4 in time.

The initial value is odd with period 2, and so is the solution for all times: the zeros at
:math:`x = \pm 1` come for free on a periodic grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.validation import FloatArray, require_between, require_inside, require_integer

Spectrum = NDArray[np.complex128]
CONTOUR_POINTS = 32  # on a circle around each eigenvalue, as in Kassam & Trefethen


@dataclass(frozen=True)
class BurgersGridSolution:
    """A trigonometric polynomial in x whose coefficients are piecewise cubic in t.

    Attributes:
        problem: what was solved.
        spectrum: the Fourier coefficients as a function of time, of order 4 as the method itself.
        history: time taken.
    """

    problem: BurgersProblem
    spectrum: CubicHermiteSpline
    history: History

    def __call__(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        """Evaluate the solution; ``t`` and ``x`` broadcast.

        Raises:
            ValueError: if a coordinate is not finite or outside of the domain, or the shapes do
                not broadcast.
        """
        times, positions = require_inside(self.problem.bounds, t, x)
        values = np.empty(times.shape)
        for time in np.unique(times):
            here, coefficients = times == time, self.spectrum(time)
            turns = np.outer(positions[here] + 1, np.arange(len(coefficients)))
            values[here] = (np.exp(1j * np.pi * turns) @ coefficients).real
        return values


def solve_burgers_grid(
    problem: BurgersProblem, *, points: int = 1024, steps: int = 1024, tolerance: float = 1e-3
) -> BurgersGridSolution:
    r"""Solve Burgers by ETDRK4 (Cox & Matthews 2002; Kassam & Trefethen 2005, section 3).

    Diffusion is integrated exactly, the flux :math:`-(u^2/2)_x` by Runge-Kutta of order 4.

    Args:
        problem: what to solve.
        points: of the periodic grid on [-1, 1), even. The default resolves ν = 0.003.
        steps: of time.
        tolerance: largest allowed share of the upper half of the spectrum in its maximum; more
            means that the layer is not resolved.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the solution is not finite or not resolved by the grid.
    """
    require_integer("points", points, 8, 2**16)
    if points % 2:
        raise ValueError(f"points={points!r}: allowed are even numbers")
    require_integer("steps", steps, 1, 10**6)
    require_between("tolerance", tolerance, 0.0, 1.0)
    clock, h = Stopwatch(), problem.final_time / steps
    wavenumbers = np.linspace(0, np.pi * (points // 2), points // 2 + 1)
    linear = -problem.viscosity * wavenumbers**2
    # The derivative of the highest mode is not seen on the grid.
    flux_factor = np.where(np.arange(points // 2 + 1) < points // 2, -0.5j * wavenumbers, 0)

    def flux(v: Spectrum) -> Spectrum:
        return flux_factor * np.fft.rfft(np.fft.irfft(v) ** 2)

    half, full, q, f1, f2, f3 = _etdrk4_coefficients(linear, h)
    v = np.fft.rfft(problem.initial(-1 + 2 * np.arange(points) / points))
    spectra, slopes = np.empty((2, steps + 1, len(v)), dtype=complex)
    with np.errstate(over="ignore", invalid="ignore"):  # a blow-up is reported below
        for i in range(steps + 1):
            n_v = flux(v)
            spectra[i], slopes[i] = v, linear * v + n_v
            a = half * v + q * n_v
            n_a = flux(a)
            b = half * v + q * n_a
            n_b = flux(b)
            c = half * a + q * (2 * n_b - n_v)
            v = full * v + f1 * n_v + f2 * (n_a + n_b) + f3 * flux(c)
    history = History(steps=[steps], seconds=[clock.seconds])
    size = np.abs(spectra)
    tail = size[:, points // 4 :].max() / size.max() if np.isfinite(size).all() else np.inf
    if not tail <= tolerance:
        grid = f"points={points}, steps={steps}: tolerance={tolerance:g}"
        raise ConvergenceError(f"share {tail:.1e} of the upper spectrum with {grid}", history)
    weights = np.full(len(v), 2.0 / points)
    weights[[0, -1]] /= 2
    times = np.linspace(0, problem.final_time, steps + 1)
    spectrum = CubicHermiteSpline(times, weights * spectra, weights * slopes)
    return BurgersGridSolution(problem, spectrum, history)


def _etdrk4_coefficients(linear: FloatArray, h: float) -> tuple[FloatArray, ...]:
    """Return the coefficients of one step, by contour integrals that avoid cancellation at 0."""
    circle = np.exp(1j * np.pi * (np.arange(CONTOUR_POINTS) + 0.5) / CONTOUR_POINTS)
    z = h * linear[:, None] + circle
    e = np.exp(z)
    q, f1 = (np.exp(z / 2) - 1) / z, (-4 - z + e * (4 - 3 * z + z**2)) / z**3
    f2, f3 = (2 * (2 + z + e * (z - 2))) / z**3, (-4 - 3 * z - z**2 + e * (4 - z)) / z**3
    means = (h * np.mean(values, axis=1).real for values in (q, f1, f2, f3))
    return np.exp(h * linear / 2), np.exp(h * linear), *means
