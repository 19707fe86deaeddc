"""The residual of the Burgers equation."""

from opifex_tutorials.losses.derivatives import derivative
from opifex_tutorials.models.trial_functions import Field
from opifex_tutorials.problems.burgers import BurgersProblem


def burgers_residual(problem: BurgersProblem, u: Field) -> Field:
    r"""Return :math:`R = u_t + u u_x - \nu u_{xx}` as a function of ``(t, x)``."""
    u_t, u_x = derivative(u, 0), derivative(u, 1)
    u_xx = derivative(u_x, 1)
    return lambda t, x: u_t(t, x) + u(t, x) * u_x(t, x) - problem.viscosity * u_xx(t, x)
