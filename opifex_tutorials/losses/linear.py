"""Residuals of the heat, wave and Poisson equations."""

import jax
import jax.numpy as jnp

from opifex_tutorials.losses.derivatives import derivative
from opifex_tutorials.models.trial_functions import Field
from opifex_tutorials.problems.linear import (
    HeatProblem,
    LinearProblem,
    PoissonProblem,
    WaveProblem,
    sine_series,
)


def heat_residual(problem: HeatProblem, u: Field) -> Field:
    r"""Return :math:`R = u_t - \kappa u_{xx}` as a function of ``(t, x)``."""
    u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)
    return lambda t, x: u_t(t, x) - problem.diffusivity * u_xx(t, x)


def wave_residual(problem: WaveProblem, u: Field) -> Field:
    r"""Return :math:`R = u_{tt} - c^2 u_{xx}` as a function of ``(t, x)``."""
    u_tt, u_xx = derivative(derivative(u, 0), 0), derivative(derivative(u, 1), 1)
    return lambda t, x: u_tt(t, x) - problem.speed**2 * u_xx(t, x)


def poisson_residual(problem: PoissonProblem, u: Field) -> Field:
    r"""Return :math:`R = -\Delta u - f` as a function of the coordinates."""
    second = [derivative(derivative(u, i), i) for i in range(problem.dimension)]

    def residual(*point: jax.Array) -> jax.Array:
        laplacian = sum((u_zz(*point) for u_zz in second), start=jnp.zeros(()))
        return -laplacian - sine_series(problem.source_amplitudes, *point)

    return residual


def linear_residual(problem: LinearProblem, u: Field) -> Field:
    """Return the residual of whichever of the three problems it is."""
    match problem:
        case HeatProblem():
            return heat_residual(problem, u)
        case WaveProblem():
            return wave_residual(problem, u)
    return poisson_residual(problem, u)
