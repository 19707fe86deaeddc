r"""Mean field games on the unit box, solved by the change of variables of Guéant (2012)."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from opifex_tutorials.problems.game import Coupling, MeanFieldGame
from opifex_tutorials.validation import FloatArray, require_choice, require_integer

# Second harmonics have this share of the amplitude of the first ones; and all amplitudes of a
# factor sum to less than one, so that it is positive.
SECOND, LARGEST = 0.3, 0.95


class ColeHopfGame(MeanFieldGame):
    r"""A game whose equilibrium is made of two solutions of the heat equation.

    With positive :math:`\varphi_t + \nu\Delta\varphi = 0`, :math:`\psi_t - \nu\Delta\psi = 0`,

    .. math:: u = -\tfrac{2\nu}{\lambda}\log\varphi, \qquad m = \varphi\psi

    solve the game of running cost :math:`f(m) - f(\varphi\psi)` for any increasing f.
    """

    def _factors(self, xp: Any, t: Any, x: Any) -> tuple[Any, ...]:
        """Return φ, ψ, the lists of their derivatives along each axis, and their Laplacians."""
        raise NotImplementedError

    def _value(self, xp: Any, t: Any, x: Any) -> Any:
        return -2 * self.viscosity / self.kinetic * xp.log(self._factors(xp, t, x)[0])

    def _density(self, xp: Any, t: Any, x: Any) -> Any:
        phi, psi, *_ = self._factors(xp, t, x)
        return phi * psi

    def _gradients(self, xp: Any, t: Any, x: Any) -> Any:
        phi, psi, phi_x, psi_x, *_ = self._factors(xp, t, x)
        of_value = [-2 * self.viscosity / self.kinetic * p_x / phi for p_x in phi_x]
        return of_value, [p_x * psi + phi * q_x for p_x, q_x in zip(phi_x, psi_x, strict=True)]

    def _laplacians(self, xp: Any, t: Any, x: Any) -> Any:
        phi, psi, phi_x, psi_x, of_phi, of_psi = self._factors(xp, t, x)
        of_phi = of_phi / phi - sum((p_x / phi) ** 2 for p_x in phi_x)  # now of the logarithms
        of_psi = of_psi / psi - sum((q_x / psi) ** 2 for q_x in psi_x)
        return -2 * self.viscosity / self.kinetic * of_phi, of_phi + of_psi

    def _potential(self, xp: Any, t: Any, x: Any) -> Any:
        return -self.coupling(self._density(xp, t, x), xp.log)


@dataclass(frozen=True)
class CosineGame(ColeHopfGame):
    r"""A crowd on the unit box, by the change of variables of Guéant (2012).

    With :math:`S = \sum_i \cos(k x_i) / d`, and k = 2π (periodic) or π (Neumann),

    .. math::

        \varphi = 1 + \alpha e^{\nu k^2 (t - T)} S, \quad
        \psi = (1 + \beta e^{-\nu k^2 t} S) / Z, \quad
        u = -\tfrac{2\nu}{\lambda} \log\varphi, \quad m = \varphi\psi,

    and the running cost :math:`f(m) - f(\varphi\psi)` for any increasing f. In more than one
    dimension the solution does not separate.

    Args:
        viscosity: ν.
        alpha: amplitude of the value, between 0 and 1.
        beta: amplitude of the density, between 0 and 1.
        horizon: T.
        boundary: ``"periodic"`` or ``"neumann"``.
        dimension: d, from 1 to 1000.
        coupling: f.
        kinetic: λ.
    """

    viscosity: float = 0.1
    alpha: float = 0.6
    beta: float = 0.6
    horizon: float = 1.0
    boundary: str = "periodic"
    dimension: int = 1
    coupling: Coupling = field(default=Coupling())
    kinetic: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_box()

    def _factors(self, xp: Any, t: Any, x: Any) -> tuple[Any, ...]:
        k = 2 * math.pi if self.boundary == "periodic" else math.pi
        rate, d = self.viscosity * k**2, self.dimension
        Z = 1 + self.alpha * self.beta * math.exp(-rate * self.horizon) / (2 * d)
        a = self.alpha * xp.exp(rate * (t - self.horizon)) / d
        b = self.beta * xp.exp(-rate * t) / (Z * d)
        S, slopes = sum(xp.cos(k * x_i) for x_i in x), [-k * xp.sin(k * x_i) for x_i in x]
        of_phi, of_psi = [a * s for s in slopes], [b * s for s in slopes]
        return 1 + a * S, 1 / Z + b * S, of_phi, of_psi, -(k**2) * a * S, -(k**2) * b * S


@dataclass(frozen=True)
class MixtureGame(ColeHopfGame):
    r"""A crowd on the unit torus that no sum of functions of single coordinates describes.

    With k = 2π, sums of R products of random amplitudes and phases,

    .. math::

        \varphi = \sum_r w_r \prod_i \bigl(1 + a_{ri} e^{\nu k^2 (t - T)}
        \cos(k x_i + \theta_{ri})\bigr), \quad
        \psi = \frac1Z \sum_s v_s \prod_i \bigl(1 + b_{si} e^{-\nu k^2 t}
        \cos(k x_i + \eta_{si})\bigr),

    where the weights sum to one and Z gives the density mass one. One product alone would separate:
    u and log m would be sums. A function of one hidden coordinate, as in the cosine game, it is not
    either. With second harmonics every factor has a further term of 2k, at 0.3 of the amplitude and
    four times the rate of decay.

    Args:
        viscosity: ν.
        terms: R, the number of products in each sum, from 1 to 100.
        amplitudes: ``"raw"``, drawn from [0.3, 0.8], or ``"scaled"``, those times
            :math:`\sqrt{2/d}` for d > 2, so that the spread of log φ stays about the same in any
            dimension. With second harmonics both are cut where a factor could vanish.
        harmonics: 1 or 2.
        seed: of weights, amplitudes and phases.
        horizon: T.
        dimension: d, from 1 to 1000.
        coupling: f.
        kinetic: λ.
    """

    viscosity: float = 0.1
    terms: int = 3
    amplitudes: str = "scaled"
    harmonics: int = 1
    seed: int = 0
    horizon: float = 1.0
    dimension: int = 1
    coupling: Coupling = field(default=Coupling("logarithm"))
    kinetic: float = 1.0
    boundary = "periodic"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("terms", self.terms, 1, 100)
        require_choice("amplitudes", self.amplitudes, ("raw", "scaled"))
        require_integer("harmonics", self.harmonics, 1, 2)
        require_integer("seed", self.seed, 0, 2**31)

    @cached_property
    def _drawn(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weights (2, R), amplitudes and phases (2, R, harmonics, d): of φ, and of ψ times Z."""
        rng, d, n = np.random.default_rng(self.seed), self.dimension, self.harmonics
        weights = rng.uniform(0.5, 1.5, (2, self.terms))
        first = rng.uniform(0.3, 0.8, (2, self.terms, 1, d))
        phases = rng.uniform(0, 2 * math.pi, (2, self.terms, n, d))
        shares = np.array([1.0, SECOND])[:n]
        scale = math.sqrt(2 / d) if self.amplitudes == "scaled" else 1.0
        scale = min(1.0, scale, LARGEST / (0.8 * shares.sum()))
        return weights / weights.sum(1, keepdims=True), scale * shares[:, None] * first, phases

    @cached_property
    def _mass(self) -> float:
        """Z, the integral of φ times the sum in ψ, at any time."""
        (w, v), (a, b), (theta, eta) = self._drawn
        orders = np.arange(1, self.harmonics + 1)[:, None]
        decay = np.exp(-self.viscosity * (2 * math.pi * orders) ** 2 * self.horizon)
        waves = a[:, None] * b * decay / 2 * np.cos(theta[:, None] - eta)
        return float(w @ np.prod(1 + waves.sum(2), axis=-1) @ v)

    def _sum(self, xp: Any, which: int, elapsed: Any, x: Any) -> tuple[Any, ...]:
        """Return a sum of products after a time of decay, its gradient, and its Laplacian."""
        total, slopes, laplacian = 0.0, 0.0, 0.0
        column = (-1, *[1] * elapsed.ndim)  # an entry for each axis
        for w, a, theta in zip(*(part[which] for part in self._drawn), strict=True):
            factor, slope, bend = 1.0, 0.0, 0 * x
            for n in range(self.harmonics):
                k = 2 * math.pi * (n + 1)
                decay = xp.exp(-self.viscosity * k**2 * elapsed)
                amplitude = xp.asarray(a[n]).reshape(column) * decay
                angle = k * x + xp.asarray(theta[n]).reshape(column)
                wave = amplitude * xp.cos(angle)
                factor, bend = factor + wave, bend - k**2 * wave
                slope = slope - k * amplitude * xp.sin(angle)
            product = w * xp.prod(factor, 0)
            total, slopes = total + product, slopes + product * slope / factor
            laplacian = laplacian + product * (bend / factor).sum(0)
        return total, slopes, laplacian

    def _factors(self, xp: Any, t: Any, x: Any) -> tuple[Any, ...]:
        points = xp.stack(x)
        phi, phi_x, of_phi = self._sum(xp, 0, self.horizon - t, points)
        psi, psi_x, of_psi = (part / self._mass for part in self._sum(xp, 1, t, points))
        return phi, psi, list(phi_x), list(psi_x), of_phi, of_psi
