r"""The Burgers equation for a network, in several formulations.

.. math:: R = u_t + u u_x - \nu u_{xx}
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from opifex_tutorials.losses import jax_system
from opifex_tutorials.losses.equation import Equation
from opifex_tutorials.losses.jax_system import Condition, Field, Formulate, Formulation, Trial
from opifex_tutorials.problems.burgers import BurgersProblem

# Not sensitive: at viscosities 0.01/pi and 0.05 half or twice this width changed the median error
# of five seeds by less than half.
LAYER_WIDTHS = 4.0


def burgers_residual(problem: BurgersProblem, u: Field) -> Field:
    r"""Return :math:`R = u_t + u u_x - \nu u_{xx}` as a function of ``(t, x)``."""
    u_t, u_x = jax_system.derivative(u, 0), jax_system.derivative(u, 1)
    u_xx = jax_system.derivative(u_x, 1)
    return lambda t, x: u_t(t, x) + u(t, x) * u_x(t, x) - problem.viscosity * u_xx(t, x)


def burgers_soft(problem: BurgersProblem, points: int) -> Formulation:
    """The bare network; residual, initial and boundary conditions with equal weights in the loss.

    An eighth of the points each for the initial and the boundary condition, added to ``points``.
    """
    few = max(1, points // 8)

    def misfit(u: Field) -> Field:
        return lambda t, x: u(t, x) + jnp.sin(jnp.pi * x) * (t == 0)

    def start(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(()), 2 * z[0] - 1

    def ends(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        # The first half of the cube is the left end, the second half the right end.
        return problem.final_time * z[0], jnp.sign(z[1] - 0.5)

    at_start, at_ends = Condition(misfit, start, 1, few), Condition(misfit, ends, 2, few)
    bare = Equation(burgers_residual, reach=1.0)(problem, points)
    return Formulation(bare.trial, (*bare.conditions, at_start, at_ends))


def burgers_built_in(problem: BurgersProblem, N: Field) -> Field:
    r"""Return the candidate :math:`\hat u = -\sin \pi x + t\,(1 - x^2)\, N(t, x)`."""
    return lambda t, x: -jnp.sin(jnp.pi * x) + t * (1 - x**2) * N(t, x)


#: Conditions built in, plain coordinates.
burgers_hard = Equation(burgers_residual, burgers_built_in, reach=1.0)


def burgers_layer(problem: BurgersProblem, points: int) -> Formulation:
    r"""Built-in conditions, the symmetry, and a coordinate stretched over the steep layer.

    .. math:: \hat u = -\sin \pi x + t \tanh(x/\delta)\,(1 - |x|)\, N(t, |x|, s(|x|))

    with :math:`s` the :func:`stretch`: the solution is odd in x, and :math:`x/\delta` is the inner
    variable of matched asymptotics. Points are even in s on ``0 <= x <= 1``. The residual is
    multiplied by the length :math:`\sqrt{x^2 + \delta^2}` on which the solution varies there:
    without it the layer, where single terms of the equation are large, drowns the rest.
    """
    width = layer_width(problem)

    def features(t: jax.Array, x: jax.Array) -> jax.Array:
        time, distance = jax_system.centered(t, 0.0, problem.final_time), jnp.abs(x)
        inner = jax_system.centered(stretch(distance, width), 0.0, 1.0)
        return jnp.stack([time, jax_system.centered(distance, 0.0, 1.0), inner])

    def mask(t: jax.Array, x: jax.Array) -> jax.Array:
        return t * jnp.tanh(x / width) * (1 - jnp.abs(x))

    def place(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return problem.final_time * z[0], unstretch(z[1], width)

    def scaled_residual(u: Field) -> Field:
        residual = burgers_residual(problem, u)
        return lambda t, x: jnp.sqrt(x**2 + width**2) * residual(t, x)

    conditions = (Condition(scaled_residual, place, 2, points),)
    return Formulation(Trial(features, masked(mask)), conditions)


def burgers_smooth(problem: BurgersProblem, points: int) -> Formulation:
    r"""As :func:`burgers_layer`, with a smooth trial function that is odd about both ends.

    .. math:: \hat u = -\sin \pi x + \frac{t\,y \cos(\pi x / 2)}{r}\, N(t, r, \log r), \qquad
        y = \tfrac2\pi \sin \tfrac{\pi x}2, \quad r = \sqrt{y^2 + (\delta/2)^2}

    So is the solution: for any weights the second derivative in x vanishes at x = 0 and at x = 1. A
    network of \|x\| has to learn that, and at x = 0 its residual is largest. With three layers of
    16 the error was three times smaller in as many steps, and half of the width is part of that.
    """
    width = layer_width(problem) / 2

    def smoothed(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = 2 / jnp.pi * jnp.sin(jnp.pi * x / 2)
        return y, jnp.sqrt(y**2 + width**2)

    def features(t: jax.Array, x: jax.Array) -> jax.Array:
        low, r, high = width, smoothed(x)[1], jnp.sqrt(4 / jnp.pi**2 + width**2)
        time = jax_system.centered(t, 0.0, problem.final_time)
        logarithm = jax_system.centered(jnp.log(r), jnp.log(low), jnp.log(high))
        return jnp.stack([time, jax_system.centered(r, low, high), logarithm])

    def mask(t: jax.Array, x: jax.Array) -> jax.Array:
        y, r = smoothed(x)
        return t * y * jnp.cos(jnp.pi * x / 2) / r

    return Formulation(Trial(features, masked(mask)), burgers_layer(problem, points).conditions)


def burgers_slab(problem: BurgersProblem, points: int) -> Formulation:
    r"""For a network that is zero at the start: conditions, symmetry and stretched coordinate.

    .. math:: \hat u = -\sin \pi x + \frac{x (1 - |x|)}{\sqrt{x^2 + \delta^2}}\, N(t, s(|x|))

    A solver that goes from slab to slab of time adds what makes N zero at t = 0. Residual, points
    and δ as in :func:`burgers_layer`.
    """
    width = layer_width(problem)

    def features(t: jax.Array, x: jax.Array) -> jax.Array:
        distance = jax_system.centered(stretch(jnp.abs(x), width), 0.0, 1.0)
        return jnp.stack([jax_system.centered(t, 0.0, problem.final_time), distance])

    def mask(t: jax.Array, x: jax.Array) -> jax.Array:
        return x * (1 - jnp.abs(x)) / jnp.sqrt(x**2 + width**2)

    return Formulation(Trial(features, masked(mask)), burgers_layer(problem, points).conditions)


def masked(mask: Field) -> Callable[[Field], Field]:
    r"""Return how a network becomes :math:`-\sin \pi x + \text{mask}(t, x)\, N(t, x)`."""
    return lambda N: lambda t, x: -jnp.sin(jnp.pi * x) + mask(t, x) * N(t, x)


def layer_width(problem: BurgersProblem) -> float:
    """Return δ = 4ν, twice the width of the steep layer that Burgers forms at x = 0."""
    return LAYER_WIDTHS * problem.viscosity


def stretch(x: jax.Array, width: float) -> jax.Array:
    r"""Map [0, 1] to [0, 1] by :math:`\sinh^{-1}(x/\delta) / \sinh^{-1}(1/\delta)`.

    Linear inside of the layer, logarithmic outside: every scale gets its share of the axis.
    """
    return jnp.arcsinh(x / width) / jnp.arcsinh(1 / width)


def unstretch(s: jax.Array, width: float) -> jax.Array:
    """Invert :func:`stretch`."""
    return width * jnp.sinh(s * jnp.arcsinh(1 / width))


FORMULATIONS: dict[str, Formulate] = {
    "layer": burgers_layer,
    "smooth": burgers_smooth,
    "hard": burgers_hard,
    "soft": burgers_soft,
}
