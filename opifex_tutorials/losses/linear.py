"""Residuals of the heat, wave and Poisson equations."""

import jax
import jax.numpy as jnp

from opifex_tutorials.losses.derivatives import Field, derivative
from opifex_tutorials.models.trial_functions import sine_sum
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem


def heat_residual(problem: HeatProblem, u: Field) -> Field:
    r"""Return :math:`R = u_t - \kappa u_{xx}` as a function of ``(t, x)``."""
    u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)

    def residual(t: jax.Array, x: jax.Array) -> jax.Array:
        return u_t(t, x) - problem.diffusivity * u_xx(t, x)

    return residual


def wave_residual(problem: WaveProblem, u: Field) -> Field:
    r"""Return :math:`R = u_{tt} - c^2 u_{xx}` as a function of ``(t, x)``."""
    u_tt, u_xx = derivative(derivative(u, 0), 0), derivative(derivative(u, 1), 1)

    def residual(t: jax.Array, x: jax.Array) -> jax.Array:
        return u_tt(t, x) - problem.speed**2 * u_xx(t, x)

    return residual


def poisson_residual(problem: PoissonProblem, u: Field) -> Field:
    r"""Return :math:`R = -\Delta u - f` as a function of the coordinates."""
    second = [derivative(derivative(u, i), i) for i in range(problem.dimension)]
    scaled = tuple(
        problem.dimension * (k * jnp.pi) ** 2 * a for k, a in enumerate(problem.amplitudes, start=1)
    )

    def residual(*point: jax.Array) -> jax.Array:
        laplacian = sum((u_zz(*point) for u_zz in second), start=jnp.zeros(()))
        return -laplacian - sine_sum(scaled, *point)

    return residual
