"""Heat, wave and Poisson equations for a network, with all conditions built in."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from opifex_tutorials.losses.equation import Equation
from opifex_tutorials.losses.jax_system import Field, derivative
from opifex_tutorials.problems import linear


def heat_residual(problem: linear.HeatProblem, u: Field) -> Field:
    r"""Return :math:`R = u_t - \kappa u_{xx}` as a function of ``(t, x)``."""
    u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)
    return lambda t, x: u_t(t, x) - problem.diffusivity * u_xx(t, x)


def wave_residual(problem: linear.WaveProblem, u: Field) -> Field:
    r"""Return :math:`R = u_{tt} - c^2 u_{xx}` as a function of ``(t, x)``."""
    u_tt, u_xx = derivative(derivative(u, 0), 0), derivative(derivative(u, 1), 1)
    return lambda t, x: u_tt(t, x) - problem.speed**2 * u_xx(t, x)


def poisson_residual(problem: linear.PoissonProblem, u: Field) -> Field:
    r"""Return :math:`R = -\Delta u - f` as a function of the coordinates."""
    second = [derivative(derivative(u, i), i) for i in range(problem.dimension)]

    def residual(*point: jax.Array) -> jax.Array:
        laplacian = sum((u_zz(*point) for u_zz in second), start=jnp.zeros(()))
        return -laplacian - linear.sine_series(problem.source_amplitudes, *point)

    return residual


RESIDUALS: dict[type, Callable[..., Field]] = {
    linear.HeatProblem: heat_residual,
    linear.WaveProblem: wave_residual,
    linear.PoissonProblem: poisson_residual,
}


def linear_residual(problem: linear.LinearProblem, u: Field) -> Field:
    """Return the residual of whichever equation the problem is of."""
    return RESIDUALS[type(problem)](problem, u)


def built_in(problem: linear.LinearProblem, N: Field) -> Field:
    r"""Return the candidate :math:`\hat u = g(x) + t^p \prod_i x_i (1 - x_i)\, N`.

    p is the order of the time derivative: the factor t² keeps the string of the wave equation
    initially at rest. Poisson has p = 0 and no initial value g.
    """
    p = problem.time_order

    def u(*point: jax.Array) -> jax.Array:
        x = point[1:] if p else point
        initial = linear.sine_series(problem.amplitudes, *x) if p else 0.0
        return initial + point[0] ** p * math.prod(x_i * (1 - x_i) for x_i in x) * N(*point)

    return u


#: All conditions built in, for networks that are trained.
linear_hard = Equation(linear_residual, built_in)
#: The same for features that are drawn for inputs in [-1, 1].
linear_frozen = Equation(linear_residual, built_in, reach=1.0)
