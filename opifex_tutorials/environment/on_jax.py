"""What the probes need of JAX: its devices, a second derivative, and a PINN to time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from opifex_tutorials.environment.probes import LAYERS, POINTS, network

jax.config.update("jax_enable_x64", True)


def devices() -> Iterator[tuple[str, str, Any]]:
    """Yield kind, name and handle of the CPU and of the accelerator, if JAX finds one."""
    found = {d.platform.lower(): d for d in (jax.devices("cpu")[0], jax.devices()[0])}
    for platform, device in found.items():
        yield {"gpu": "cuda", "metal": "mps"}.get(platform, platform), device.device_kind, device


def second_derivative(dtype: str, device: Any) -> np.ndarray:
    """Return the second derivative of the given network, by ``grad`` of ``grad``."""
    with jax.default_device(device):
        x, layers = jax.tree.map(lambda array: jnp.asarray(array, dtype), (POINTS, LAYERS))
        first = jax.grad(lambda x: network(x, layers, jnp.tanh).sum())
        return np.asarray(jax.grad(lambda x: first(x).sum())(x))


def training_step(widths: Sequence[int], precision: str, points: int) -> Callable[[], Any]:
    """Return a function that takes one Adam step on the Burgers residual and returns the loss."""
    import optax
    from flax import nnx

    from opifex_tutorials.losses.burgers import burgers_residual
    from opifex_tutorials.models.flax_mlp import MLP
    from opifex_tutorials.problems.burgers import BurgersProblem

    problem = BurgersProblem(viscosity=0.01 / np.pi)
    t, x = jnp.asarray(np.random.default_rng(0).random((2, points)), precision)
    structure, weights = nnx.split(MLP(widths, rngs=nnx.Rngs(0), dtype=precision))
    optimizer = optax.adam(1e-3)
    state = optimizer.init(weights)

    def loss(weights: Any) -> jax.Array:
        model = nnx.merge(structure, weights)
        residual = burgers_residual(problem, lambda t, x: model(jnp.stack([t, x]))[0])
        return jnp.mean(jax.vmap(residual)(t, x) ** 2)

    @jax.jit
    def update(weights: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(weights)
        changes, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, changes), state, value

    def step() -> jax.Array:
        nonlocal weights, state
        weights, state, value = jax.block_until_ready(update(weights, state))
        return value

    return step
