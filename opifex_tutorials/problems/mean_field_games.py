"""Mean field games: three with equilibria in closed form, and a published one without."""

import math
from dataclasses import dataclass, field
from typing import Any

from opifex_tutorials.problems.game import Coupling, MeanFieldGame
from opifex_tutorials.problems.gaussian_games import LinearQuadraticGame, TravellingGaussianGame
from opifex_tutorials.validation import require_choice

__all__ = [
    "CosineGame",
    "Coupling",
    "ExampleGame",
    "LinearQuadraticGame",
    "MeanFieldGame",
    "TravellingGaussianGame",
]


@dataclass(frozen=True)
class CosineGame(MeanFieldGame):
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
        require_choice("boundary", self.boundary, ("periodic", "neumann"))

    def _factors(self, xp: Any, t: Any, x: Any) -> tuple[Any, ...]:
        """Return φ, ψ and the lists of their derivatives along each axis."""
        k = 2 * math.pi if self.boundary == "periodic" else math.pi
        rate, d = self.viscosity * k**2, self.dimension
        Z = 1 + self.alpha * self.beta * math.exp(-rate * self.horizon) / (2 * d)
        a = self.alpha * xp.exp(rate * (t - self.horizon)) / d
        b = self.beta * xp.exp(-rate * t) / (Z * d)
        S, slopes = sum(xp.cos(k * x_i) for x_i in x), [-k * xp.sin(k * x_i) for x_i in x]
        return 1 + a * S, 1 / Z + b * S, [a * s for s in slopes], [b * s for s in slopes]

    def _value(self, xp: Any, t: Any, x: Any) -> Any:
        return -2 * self.viscosity / self.kinetic * xp.log(self._factors(xp, t, x)[0])

    def _density(self, xp: Any, t: Any, x: Any) -> Any:
        phi, psi, _, _ = self._factors(xp, t, x)
        return phi * psi

    def _gradients(self, xp: Any, t: Any, x: Any) -> Any:
        phi, psi, phi_x, psi_x = self._factors(xp, t, x)
        of_value = [-2 * self.viscosity / self.kinetic * p_x / phi for p_x in phi_x]
        return of_value, [p_x * psi + phi * q_x for p_x, q_x in zip(phi_x, psi_x, strict=True)]

    def _potential(self, xp: Any, t: Any, x: Any) -> Any:
        return -self.coupling(self._density(xp, t, x), xp.log)


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
