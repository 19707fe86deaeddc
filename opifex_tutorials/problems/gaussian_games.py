"""Mean field games on all of space whose population stays a normal distribution."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtri

from opifex_tutorials.problems.game import Coupling, MeanFieldGame
from opifex_tutorials.validation import FloatArray, require_choice

# A Gaussian game lives on all of space; 2e-9 of its population is beyond 6 standard deviations.
STANDARD_DEVIATIONS = 6.0


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
