"""What the probes need of JAX: its devices and a second derivative."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from opifex_tutorials.environment.probes import LAYERS, POINTS, network

arrays = jnp
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
