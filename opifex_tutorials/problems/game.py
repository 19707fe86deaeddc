r"""What a mean field game is made of: its parameters, its running cost, its coupling.

A crowd of agents with diffusion :math:`\nu`; each minimizes its own cost, which depends on where
the others are. Value u (backward from T) and density m (forward from 0) solve

.. math::

    -u_t - \nu\Delta u + \tfrac{\lambda}{2}|\nabla u|^2 = F(t, x, m), \quad u(T) = g, \qquad
    m_t - \nu\Delta m - \nabla\cdot(\lambda m\nabla u) = 0, \quad m(0) = m_0,

(Lasry & Lions 2007); the optimal control is :math:`-\lambda\nabla u`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from opifex_tutorials import validation
from opifex_tutorials.validation import FloatArray

BOXES = ("periodic", "neumann")  # boundaries of a game that is not on all of space
#: Smallest and largest allowed value of each parameter, and what goes wrong beyond.
RANGES = {
    "viscosity": (1e-3, 10, "both equations need diffusion"),
    "kinetic": (1e-3, 1e3, "the Hamiltonian must be convex in the gradient"),
    "horizon": (1e-2, 10, "the game takes place from 0 to the horizon"),
    "alpha": (1e-9, 1 - 1e-9, "beyond, u = -2ν log φ is not finite"),
    "beta": (1e-9, 1 - 1e-9, "beyond, the density is not positive"),
    "strength": (0, 1e3, "agents that seek the crowd can have many equilibria, or none"),
    "exponent": (0.1, 10, "the coupling must increase with the density"),
    "running_weight": (1e-3, 100, "without a running cost nothing holds the agents"),
    "terminal_weight": (0, 100, "the terminal cost must be bounded below"),
    "attraction": (0, 1, "beyond, the mean can run away"),
    "terminal_attraction": (0, 1, "beyond, the mean can run away"),
    "initial_mean": (-10, 10, "the box of the game must stay near 0"),
    "initial_variance": (1e-3, 10, "the initial density must be a function"),
}


def _check_ranges(parameters: Any) -> None:
    for name, (low, high, reason) in RANGES.items():
        try:
            validation.require_between(name, getattr(parameters, name, low), low, high)
        except ValueError as error:
            raise ValueError(f"{error}: {reason}") from None


@dataclass(frozen=True)
class Coupling:
    r"""The part of the running cost that depends on the local density; it increases with m.

    Args:
        kind: ``"none"``, ``"linear"`` :math:`\gamma m`, ``"power"`` :math:`\gamma m^p` or
            ``"logarithm"`` :math:`\gamma\log m`.
        strength: γ.
        exponent: p, used by ``"power"`` only.

    Raises:
        ValueError: if an argument is outside of its range.
    """

    kind: str = "linear"
    strength: float = 1.0
    exponent: float = 2.0

    def __post_init__(self) -> None:
        validation.require_choice("kind", self.kind, ("none", "linear", "power", "logarithm"))
        _check_ranges(self)

    def __call__(self, m: Any, log: Any = np.log) -> Any:
        """Return the cost, shape of ``m``; pass the ``log`` of the framework of ``m``."""
        if self.kind == "logarithm":
            return self.strength * log(m)
        if self.kind == "power":
            return self.strength * m**self.exponent
        return (self.strength if self.kind == "linear" else 0.0) * m

    def derivative(self, m: Any) -> Any:
        """Return the derivative of the cost with respect to the density, shape of ``m``."""
        if self.kind == "logarithm":
            return self.strength / m
        if self.kind == "power":
            return self.strength * self.exponent * m ** (self.exponent - 1)
        return 0 * m + (self.strength if self.kind == "linear" else 0.0)


class PathTerms(NamedTuple):
    r"""What a candidate (u, m) for a game says at N points, for sums along the paths of agents.

    Attributes:
        control: :math:`-\lambda\nabla u`, shape (d, N).
        score: :math:`\nabla\log m`, shape (d, N).
        value_residual: of the Hamilton-Jacobi-Bellman equation, left minus right side, shape (N,).
        density_residual: of the Fokker-Planck equation, divided by m, shape (N,).
        crowding: :math:`m\,\partial F/\partial m`, shape (N,).
        value_misfit: :math:`u - g`, which counts at the horizon, shape (N,).
        density_misfit: :math:`\log m - \log m_0`, which counts at the start, shape (N,).
    """

    control: FloatArray
    score: FloatArray
    value_residual: FloatArray
    density_residual: FloatArray
    crowding: FloatArray
    value_misfit: FloatArray
    density_misfit: FloatArray


class MeanFieldGame:
    """What every game offers; subclasses are frozen dataclasses that add the formulas.

    The methods take ``t`` and one array per space dimension, which broadcast, and return an array
    of the common shape. With ``xp=jax.numpy`` or ``xp=torch`` they run, and can be differentiated,
    in that framework; coordinates are then not checked. A parameter outside of ``RANGES`` raises
    ``ValueError``; a game asked for a closed form that it lacks, ``NotImplementedError``.

    Attributes:
        viscosity: ν of the equations, half the variance of the noise per unit of time.
        horizon: T.
        dimension: d, of space.
        coupling: the running cost is ``potential(t, *x) + coupling(m)``.
        boundary: ``"periodic"``, ``"neumann"`` (u and m have no slope at the walls) or ``"exact"``
            (all of space, cut off to a box whose walls reflect; u has the slope of the closed
            form there, and the exact flux is as small as the tail of the crowd).
        kinetic: λ of the equations.
    """

    viscosity: float
    horizon: float
    dimension: int
    coupling: Coupling
    boundary: str
    kinetic: float

    def __post_init__(self) -> None:
        _check_ranges(self)
        validation.require_integer("dimension", self.dimension, 1, 1000)

    def require_box(self, name: str = "boundary") -> None:
        """Raise ``ValueError``, of an argument ``name``, for a game on all of space."""
        validation.require_choice(name, self.boundary, BOXES)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each coordinate, in the order of the arguments."""
        names = [f"x{i + 1}" for i in range(self.dimension)] if self.dimension > 1 else ["x"]
        return {"t": (0.0, self.horizon), **dict.fromkeys(names, self._box())}

    def potential(self, t: Any, *x: Any, xp: Any = np) -> Any:
        """Return the part of the running cost that does not depend on the computed density."""
        return self._potential(xp, *self._points(xp, t, x))

    def running_cost(self, t: Any, *x: Any, m: Any, xp: Any = np) -> Any:
        """Return F(t, x, m) for densities ``m`` at these points."""
        return self.potential(t, *x, xp=xp) + self.coupling(m, xp.log)

    def initial_density(self, *x: Any, xp: Any = np) -> Any:
        """Return m(0, x)."""
        return self._initial_density(xp, *self._points(xp, 0.0, x))

    def terminal_cost(self, *x: Any, xp: Any = np) -> Any:
        """Return g(x) = u(T, x)."""
        return self._terminal_cost(xp, *self._points(xp, self.horizon, x))

    def value(self, t: Any, *x: Any, xp: Any = np) -> Any:
        """Return the exact u(t, x)."""
        return self._value(xp, *self._points(xp, t, x))

    def density(self, t: Any, *x: Any, xp: Any = np) -> Any:
        """Return the exact m(t, x)."""
        return self._density(xp, *self._points(xp, t, x))

    def value_gradient(self, t: Any, *x: Any, xp: Any = np) -> Any:
        """Return the exact ∇u, with a leading axis of length ``dimension``."""
        return xp.stack(self._gradients(xp, *self._points(xp, t, x))[0])

    def density_gradient(self, t: Any, *x: Any, xp: Any = np) -> Any:
        """Return the exact ∇m, with a leading axis of length ``dimension``."""
        return xp.stack(self._gradients(xp, *self._points(xp, t, x))[1])

    def places(self, t: Any, cube: FloatArray) -> FloatArray:
        """Spread points of the unit cube over space, shape (d, N).

        Evenly over a box; in a game on all of space as the crowd of the closed form is spread at
        times ``t``, which is known of any game at t = 0.
        """
        low, high = self._box()
        return low + (high - low) * cube

    @property
    def initial_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of every coordinate of a crowd in all of space at t = 0."""
        raise NotImplementedError(f"{type(self).__name__} does not know how its crowd is spread")

    def laplacians(self, t: Any, *x: Any, xp: Any = np) -> Any:
        """Return the exact Δu and Δ log m, with a leading axis of length 2."""
        return xp.stack(self._laplacians(xp, *self._points(xp, t, x)))

    def _points(self, xp: Any, t: Any, x: Any) -> tuple[Any, Any]:
        if xp is np:
            t, *x = validation.require_inside(self.bounds, t, *x)
            return t, x
        zero = 0 * (t + sum(x))  # broadcasts in every framework
        return t + zero, [x_i + zero for x_i in x]

    def _box(self) -> tuple[float, float]:
        return 0.0, 1.0

    # The formulas. xp is the framework; t and every entry of the list x have one shape.
    def _potential(self, xp: Any, t: Any, x: Any) -> Any:
        raise NotImplementedError

    def _value(self, xp: Any, t: Any, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no equilibrium in closed form")

    _density = _gradients = _laplacians = _value

    def _initial_density(self, xp: Any, t: Any, x: Any) -> Any:
        return self._density(xp, t, x)

    def _terminal_cost(self, xp: Any, t: Any, x: Any) -> Any:
        return self._value(xp, t, x)


def is_even(game: MeanFieldGame) -> bool:
    """Whether reflecting any coordinate at the center of the box leaves the data as they are."""
    rng, box = np.random.default_rng(0), list(game.bounds.values())
    t, *x = (rng.uniform(*ends, 64) for ends in box)
    axes = np.arange(len(x))[:, None]

    def data(*x: FloatArray) -> FloatArray:
        return np.stack([game.terminal_cost(*x), game.initial_density(*x), game.potential(t, *x)])

    reflected = [np.where(axes == axis, sum(box[1]) - z, z) for axis, z in enumerate(x)]
    return np.allclose(data(*x)[:, None], data(*reflected), rtol=1e-12, atol=1e-12)
