"""Mean field games: four with equilibria in closed form, and a published one without."""

import math
from dataclasses import dataclass
from typing import Any

from opifex_tutorials.problems.cole_hopf_games import CosineGame, MixtureGame
from opifex_tutorials.problems.game import Coupling, MeanFieldGame
from opifex_tutorials.problems.gaussian_games import LinearQuadraticGame, TravellingGaussianGame

__all__ = [
    "CosineGame",
    "Coupling",
    "ExampleGame",
    "LinearQuadraticGame",
    "MeanFieldGame",
    "MixtureGame",
    "TravellingGaussianGame",
]


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
