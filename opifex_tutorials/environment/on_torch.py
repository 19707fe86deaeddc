"""What the probes need of PyTorch: its devices and a second derivative."""

from collections.abc import Iterator

import numpy as np
import torch

from opifex_tutorials.environment.probes import LAYERS, POINTS, network

arrays = torch


def devices() -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and handle of the CPU and of every accelerator that PyTorch finds."""
    yield "cpu", "cpu", "cpu"
    if torch.cuda.is_available():
        yield "cuda", torch.cuda.get_device_name(), "cuda"
    if torch.backends.mps.is_available():
        yield "mps", "Apple GPU", "mps"


def second_derivative(dtype: str, device: str) -> np.ndarray:
    """Return the second derivative of the given network, by ``grad`` of ``grad``."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array.astype(dtype), device=device)

    x, layers = tensor(POINTS).requires_grad_(), [map(tensor, layer) for layer in LAYERS]
    u = network(x, layers, torch.tanh)
    (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return second.cpu().numpy()
