r"""Mean field games: four with equilibria in closed form, and a published one without.

Two of the four are on the unit box, solved by the change of variables of Guéant (2012); the
population of the other two, on all of space, stays a normal distribution.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtri

# Offered from here as well.
from opifex_tutorials.problems.game import Coupling as Coupling
from opifex_tutorials.problems.game import MeanFieldGame as MeanFieldGame
from opifex_tutorials.validation import FloatArray, require_choice, require_integer

# Second harmonics have this share of the amplitude of the first ones; and all amplitudes of a
# factor sum to less than one, so that it is positive.
SECOND, LARGEST = 0.3, 0.95
# A Gaussian game lives on all of space; 2e-9 of its population is beyond 6 standard deviations.
STANDARD_DEVIATIONS = 6.0


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


class GaussianGame(MeanFieldGame):
    r"""A game whose population stays the normal distribution :math:`N(X(t), v(t) I)`.

    The value is quadratic: :math:`u = w - X'\cdot(x - X) + \tfrac a2|x - X|^2`. A subclass knows
    ω and ρ of the path (X'' = ω²X, X'(T) = -ρX(T)), v, a, and the value w along the path.
    """

    initial_mean: float
    boundary = "exact"
    kinetic = 1.0

    def _rates(self) -> tuple[float, float]:
        raise NotImplementedError

    def _shape(self, xp: Any, t: Any) -> tuple[Any, Any, Any]:
        """Return v, a and w at times ``t``."""
        raise NotImplementedError

    def _path(self, xp: Any, t: Any) -> tuple[Any, Any]:
        """Return X and X', the same in every coordinate."""
        omega, rho = self._rates()

        def ratio(xp: Any, tau: Any) -> tuple[Any, Any]:
            sinh = xp.sinh(omega * tau) / omega if omega else tau  # the limit of sinh(ωτ)/ω
            cosh = xp.cosh(omega * tau)
            return cosh + rho * sinh, -(omega**2 * sinh + rho * cosh)

        scale = self.initial_mean / ratio(math, self.horizon)[0]
        X, slope = ratio(xp, self.horizon - t)
        return scale * X, scale * slope

    @property
    def initial_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of every coordinate of the crowd at the start."""
        return self.initial_mean, float(np.sqrt(self._shape(np, np.float64(0.0))[0]))

    def _box(self) -> tuple[float, float]:
        t = np.linspace(0, self.horizon, 201)
        X, reach = self._path(np, t)[0], STANDARD_DEVIATIONS * np.sqrt(self._shape(np, t)[0])
        return float(np.min(X - reach)), float(np.max(X + reach))

    def places(self, t: Any, cube: FloatArray) -> FloatArray:
        """Spread points of the unit cube as the crowd is spread at times ``t``, shape (d, N)."""
        reach = np.clip(ndtri(cube), -STANDARD_DEVIATIONS, STANDARD_DEVIATIONS)
        return self._path(np, t)[0] + np.sqrt(self._shape(np, t)[0]) * reach

    def _value(self, xp: Any, t: Any, x: Any) -> Any:
        (X, slope), (_, a, w) = self._path(xp, t), self._shape(xp, t)
        return w + sum(-slope * (x_i - X) + a / 2 * (x_i - X) ** 2 for x_i in x)

    def _density(self, xp: Any, t: Any, x: Any) -> Any:
        X, v = self._path(xp, t)[0], self._shape(xp, t)[0]
        distance = sum((x_i - X) ** 2 for x_i in x)
        return xp.exp(-distance / (2 * v)) * (2 * math.pi * v) ** (-self.dimension / 2)

    def _gradients(self, xp: Any, t: Any, x: Any) -> Any:
        (X, slope), (v, a, _), m = self._path(xp, t), self._shape(xp, t), self._density(xp, t, x)
        return [-slope + a * (x_i - X) for x_i in x], [-m * (x_i - X) / v for x_i in x]

    def _laplacians(self, xp: Any, t: Any, x: Any) -> Any:
        v, a, _ = self._shape(xp, t)
        return self.dimension * a + 0 * t, -self.dimension / v + 0 * t


@dataclass(frozen=True)
class LinearQuadraticGame(GaussianGame):
    r"""Agents drawn to a share s of the mean :math:`\bar x` of all.

    Running cost :math:`\tfrac q2|x - s\bar x|^2`, terminal cost
    :math:`\tfrac{q_T}{2}|x - s_T\bar x(T)|^2`. The population acts through its mean only, and the
    mean in ``potential`` and ``terminal_cost`` is that of the equilibrium (Bensoussan, Sung, Yam &
    Yung 2016).

    Args:
        viscosity: ν.
        running_weight: q.
        terminal_weight: :math:`q_T`.
        attraction: s, from 0 to 1.
        terminal_attraction: :math:`s_T`, from 0 to 1.
        initial_mean: of every coordinate.
        initial_variance: of every coordinate.
        horizon: T.
        dimension: d, from 1 to 1000.
    """

    viscosity: float = 0.1
    running_weight: float = 1.0
    terminal_weight: float = 0.5
    attraction: float = 0.5
    terminal_attraction: float = 0.5
    initial_mean: float = 1.0
    initial_variance: float = 0.2
    horizon: float = 1.0
    dimension: int = 1
    coupling = Coupling("none")

    def _rates(self) -> tuple[float, float]:
        omega = math.sqrt(self.running_weight * (1 - self.attraction))
        return omega, self.terminal_weight * (1 - self.terminal_attraction)

    def _shape(self, xp: Any, t: Any) -> tuple[Any, Any, Any]:
        kappa, weight, T = math.sqrt(self.running_weight), self.terminal_weight, self.horizon
        (omega, rho), s, tau = self._rates(), self.attraction, T - t
        # a' = a² - q becomes linear, y'' = q y, with a = -y'/y; start is y(0).
        y = kappa * xp.cosh(kappa * tau) + weight * xp.sinh(kappa * tau)
        a = kappa * (kappa * xp.sinh(kappa * tau) + weight * xp.cosh(kappa * tau)) / y
        start = kappa * math.cosh(kappa * T) + weight * math.sinh(kappa * T)
        spread = 2 * self.viscosity * y * xp.sinh(kappa * t) / (kappa * start)
        # Cost along the path: the integral of |X'|²/2 + q(1 - s)²|X|²/2 from t to T, and at T.
        (X, slope), (X_T, slope_T) = self._path(xp, t), self._path(xp, T + 0 * t)
        gain, energy = X_T * slope_T - X * slope, (rho**2 - omega**2) * X_T**2
        terminal = weight / 2 * (1 - self.terminal_attraction) ** 2 * X_T**2
        cost = terminal + gain / 2 - s / 4 * (gain - energy * tau)
        w = self.dimension * (cost + self.viscosity * xp.log(y / kappa))
        return (y / start) ** 2 * self.initial_variance + spread, a, w

    def _potential(self, xp: Any, t: Any, x: Any) -> Any:
        target = self.attraction * self._path(xp, t)[0]
        return self.running_weight / 2 * sum((x_i - target) ** 2 for x_i in x)


@dataclass(frozen=True)
class TravellingGaussianGame(GaussianGame):
    r"""A crowd that avoids itself: running cost :math:`\tfrac q2|x|^2 + \gamma\log m`.

    Its variance :math:`v = (\gamma + \sqrt{\gamma^2 + 4q\nu^2}) / 2q` is constant; its center
    travels towards 0. Coupling and diffusion both act at the equilibrium (compare Guéant 2009,
    where the logarithm attracts).

    Args:
        viscosity: ν.
        running_weight: q.
        initial_mean: of every coordinate.
        horizon: T.
        dimension: d, from 1 to 1000.
        coupling: logarithmic; its strength is γ.
    """

    viscosity: float = 0.1
    running_weight: float = 1.0
    initial_mean: float = 1.0
    horizon: float = 1.0
    dimension: int = 1
    coupling: Coupling = field(default=Coupling("logarithm", 0.5))

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("coupling.kind", self.coupling.kind, ("logarithm",))

    def _variance(self) -> float:
        gamma, q = self.coupling.strength, self.running_weight
        return (gamma + math.sqrt(gamma**2 + 4 * q * self.viscosity**2)) / (2 * q)

    def _rates(self) -> tuple[float, float]:
        return math.sqrt(self.running_weight), self.viscosity / self._variance()

    def _shape(self, xp: Any, t: Any) -> tuple[Any, Any, Any]:
        v, T = self._variance(), self.horizon
        a = self.viscosity / v
        (X, slope), (X_T, slope_T) = self._path(xp, t), self._path(xp, T + 0 * t)
        rate = self.viscosity * a - self.coupling.strength / 2 * math.log(2 * math.pi * v)
        w = a / 2 * X_T**2 + (X_T * slope_T - X * slope) / 2 + rate * (T - t)
        return v, a, self.dimension * w

    def _potential(self, xp: Any, t: Any, x: Any) -> Any:
        return self.running_weight / 2 * sum(x_i**2 for x_i in x)


@dataclass(frozen=True)
class ExampleGame(MeanFieldGame):
    r"""The example of the library MFG_PDE: two crowds on a ring; no closed form.

    .. math::

        F = 5\cos 2\pi x + 12.5\sin 2\pi x + 5\sin 4\pi x + m^2, \quad
        g = 5(\cos 2\pi x + 0.4\sin 4\pi x), \quad
        m_0 \propto 2e^{-200(x - 0.2)^2} + e^{-200(x - 0.8)^2}.

    Args:
        viscosity: ν; the default is its σ = 1.
        horizon: T.
        kinetic: λ; the default is :math:`\tfrac12|u_x|^2` in the HJB equation.
    """

    viscosity: float = 0.5
    horizon: float = 1.0
    kinetic: float = 1.0
    coupling = Coupling("power", 1.0, 2.0)
    boundary = "periodic"
    dimension = 1

    def _potential(self, xp: Any, t: Any, x: Any) -> Any:
        angle = 2 * math.pi * x[0]
        return 5 * xp.cos(angle) + 12.5 * xp.sin(angle) + 5 * xp.sin(2 * angle)

    def _terminal_cost(self, xp: Any, t: Any, x: Any) -> Any:
        return 5 * (xp.cos(2 * math.pi * x[0]) + 0.4 * xp.sin(4 * math.pi * x[0]))

    def _initial_density(self, xp: Any, t: Any, x: Any) -> Any:
        bumps = 2 * xp.exp(-200 * (x[0] - 0.2) ** 2) + xp.exp(-200 * (x[0] - 0.8) ** 2)
        root = math.sqrt(200)
        both_sides = math.erf(0.2 * root) + math.erf(0.8 * root)  # the same for each bump
        return bumps / (1.5 * math.sqrt(math.pi) / root * both_sides)
