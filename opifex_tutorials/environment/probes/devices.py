"""Second derivatives on the devices of one framework. Usage: ``devices FRAMEWORK cpu|others``."""

import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from opifex_tutorials.environment.probes.second_derivative import (
    POINTS,
    given_layers,
    network,
    relative_error,
)
from opifex_tutorials.environment.processes import emit


def jax_devices() -> Iterator[tuple[str, str, Any]]:
    """Yield kind, name and handle of every device that JAX finds."""
    import jax

    jax.config.update("jax_enable_x64", True)
    for device in jax.devices():
        kind = {"gpu": "cuda", "metal": "mps"}.get(device.platform.lower(), device.platform.lower())
        yield kind, platform.machine() if kind == "cpu" else device.device_kind, device


def torch_devices() -> Iterator[tuple[str, str, Any]]:
    """Yield kind, name and handle of every device that PyTorch finds."""
    import torch

    yield "cpu", platform.machine(), "cpu"
    if torch.cuda.is_available():
        yield "cuda", torch.cuda.get_device_name(), "cuda"
    if torch.backends.mps.is_available():
        yield "mps", "Apple GPU", "mps"


def jax_second_derivative(dtype: str, device: Any) -> np.ndarray:
    """Return the second derivative at ``POINTS`` by ``grad`` of ``grad``, in JAX."""
    import jax
    import jax.numpy as jnp

    with jax.default_device(device):
        layers = [[jnp.asarray(array, dtype) for array in layer] for layer in given_layers()]

        def u(x: jax.Array) -> jax.Array:
            value: jax.Array = network(x[None, None], layers, jnp.tanh)[0, 0]
            return value

        return np.asarray(jax.vmap(jax.grad(jax.grad(u)))(jnp.asarray(POINTS[:, 0], dtype)))


def torch_second_derivative(dtype: str, device: str) -> np.ndarray:
    """Return the second derivative at ``POINTS`` by ``grad`` of ``grad``, in PyTorch."""
    import torch

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array.astype(dtype), device=device)

    layers = [[tensor(array) for array in layer] for layer in given_layers()]
    x = tensor(POINTS).requires_grad_()
    (first,) = torch.autograd.grad(network(x, layers, torch.tanh).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return second[:, 0].cpu().numpy()


FRAMEWORKS: dict[str, tuple[Callable[[], Iterator[tuple[str, str, Any]]], Callable[..., Any]]] = {
    "jax": (jax_devices, jax_second_derivative),
    "torch": (torch_devices, torch_second_derivative),
}


def main(framework: str, which: str) -> None:
    """Emit one record for the CPU, or one for the first device of every other kind.

    What a device cannot do is a finding, so whatever it raises is reported as its problem.
    """
    devices, second_derivative = FRAMEWORKS[framework]
    seen = set()
    for kind, name, device in devices():
        if kind in seen or (kind == "cpu") != (which == "cpu"):
            continue
        seen.add(kind)
        errors, problems = {}, []
        for dtype in ("float32", "float64"):
            try:
                values = second_derivative(dtype, device)
                if values.dtype != dtype:
                    raise TypeError(f"asked for {dtype}, computed in {values.dtype}")
                if not np.all(np.isfinite(values)):
                    raise ArithmeticError(f"the second derivative in {dtype} is not finite")
                errors[f"error_{dtype}"] = relative_error(values)
            except Exception as error:
                problems.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        emit(kind=kind, name=name, problem="; ".join(problems) or None, **errors)


if __name__ == "__main__":
    main(*sys.argv[1:])
