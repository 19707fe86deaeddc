# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # My equation
#
# Replace the four things of the first cell, and the formulas of the second, by yours. As it
# stands: $u_t = \kappa u_{xx} - u u_x$ on a ring, started from a sine.

# %%
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.solvers.own_equation import solve_equation


@dataclass(frozen=True)
class Problem:
    diffusivity: float = 0.1
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 2.0)}  # time first


def residual(problem, u):
    u_t, u_x, u_xx = derivative(u, 0), derivative(u, 1), derivative(derivative(u, 1), 1)
    return lambda t, x: u_t(t, x) + u(t, x) * u_x(t, x) - problem.diffusivity * u_xx(t, x)


def trial(problem, N):
    return lambda t, x: jnp.sin(jnp.pi * x) + t * N(t, x)


problem = Problem()
solution = solve_equation(problem, residual, trial, seed=0, periodic=["x"])

# %% [markdown]
# Say it twice: the same equation by names, and the initial values on their face.

# %%
from opifex_tutorials.losses.equation import Equation, Named
from opifex_tutorials.verification import mismatch

formula = Named(lambda problem, u, u_t, u_x, u_xx: u_t + u * u_x - problem.diffusivity * u_xx)
initial = Named(lambda u, x: u - jnp.sin(jnp.pi * x))
statement = Equation(formula, periodic=("x",), faces=(("t", "low", initial),))
parts = mismatch(problem, Equation(residual, trial, periodic=("x",)), statement)
print({name: f"{value:.0e}" for name, value in parts.items()})

# %% [markdown]
# The error, estimated from the residual.

# %%
from opifex_tutorials.verification import estimate_error

estimate = estimate_error(solution, formula, points=64, ends=["periodic"])
size = np.linalg.norm(solution(*estimate.mesh))
estimated = np.linalg.norm(estimate.values) / size
print(f"estimated relative error {estimated:.1e}")

# %% [markdown]
# The method of lines, with its order.

# %%
from opifex_tutorials.solvers.method_of_lines import solve_by_lines
from opifex_tutorials.verification import relative_l2, self_convergence


def lines(points):
    found = solve_by_lines(problem, formula, lambda p, x: jnp.sin(jnp.pi * x), points=points)
    return found.values[:, :: points // 64]


reference = self_convergence(lines, (64, 128, 256))
error = relative_l2(solution(*estimate.mesh), reference.values)
print(f"orders {reference.orders.round(2)}, error against lines {error:.1e}")
