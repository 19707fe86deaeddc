"""A PINN for the Burgers equation in JAX, Flax and Optax, as plainly as it is usually written."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from opifex_tutorials.models.flax_mlp import MLP

VISCOSITY = 0.01


def burgers_residual(network: MLP, points: jax.Array) -> jax.Array:
    """Return u_t + u u_x - ν u_xx, shape ``(n,)``, at ``points`` (t, x) of shape ``(n, 2)``."""

    def u(t: jax.Array, x: jax.Array) -> jax.Array:
        return network(jnp.stack([t, x]))[0]

    def residual(t: jax.Array, x: jax.Array) -> jax.Array:
        u_t, u_x = jax.grad(u, argnums=0), jax.grad(u, argnums=1)
        u_xx = jax.grad(u_x, argnums=1)
        return u_t(t, x) + u(t, x) * u_x(t, x) - VISCOSITY * u_xx(t, x)

    return jax.vmap(residual)(points[:, 0], points[:, 1])


def training_step(widths: Sequence[int], precision: str, points: int) -> Callable[[], None]:
    """Return a function that takes one Adam step on the mean squared residual."""
    jax.config.update("jax_enable_x64", precision == "float64")
    where = jnp.asarray(np.random.default_rng(0).random((points, 2)), precision)
    network = MLP(widths, rngs=nnx.Rngs(0), dtype=jnp.dtype(precision))
    structure, parameters = nnx.split(network)
    optimizer = optax.adam(1e-3)
    state = optimizer.init(parameters)

    @jax.jit
    def update(parameters: Any, state: optax.OptState) -> tuple[Any, optax.OptState]:
        def loss(parameters: Any) -> jax.Array:
            return jnp.mean(burgers_residual(nnx.merge(structure, parameters), where) ** 2)

        changes, state = optimizer.update(jax.grad(loss)(parameters), state)
        return optax.apply_updates(parameters, changes), state

    def step() -> None:
        nonlocal parameters, state
        parameters, state = jax.block_until_ready(update(parameters, state))

    return step
