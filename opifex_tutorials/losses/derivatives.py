"""Partial derivatives of scalar fields, by forward-mode automatic differentiation."""

import jax
import jax.numpy as jnp

from opifex_tutorials.models.trial_functions import Field


def derivative(u: Field, argument: int) -> Field:
    """Return the partial derivative of ``u`` with respect to one scalar argument.

    Forward mode: the second derivative of a network by ``derivative(derivative(u, 1), 1)`` costs
    three evaluations and leaves reverse mode to the parameters, where there are many.

    Args:
        u: function of scalar coordinates.
        argument: position of the coordinate, from 0.
    """

    def u_z(*point: jax.Array) -> jax.Array:
        def along(z: jax.Array) -> jax.Array:
            return u(*point[:argument], z, *point[argument + 1 :])

        z = jnp.asarray(point[argument])
        return jax.jvp(along, (z,), (jnp.ones_like(z),))[1]

    return u_z
