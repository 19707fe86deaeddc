"""What the probes need of PyTorch: its devices, a second derivative, and a PINN to time."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from opifex_tutorials.environment.probes import LAYERS, POINTS, network
from opifex_tutorials.models.torch_mlp import MLP


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


def burgers_residual(model: torch.nn.Module, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return u_t + u u_x - ν u_xx at the points (t, x), each of shape ``(n,)``."""
    u = model(torch.stack([t, x], dim=1))[:, 0]
    u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
    return u_t + u * u_x - 0.01 / torch.pi * u_xx


def training_step(widths: Sequence[int], precision: str, points: int) -> Callable[[], torch.Tensor]:
    """Return a function that takes one Adam step on the Burgers residual and returns the loss."""
    where = np.random.default_rng(0).random((2, points)).astype(precision)
    t, x = (torch.as_tensor(z).requires_grad_() for z in where)
    model = MLP(widths, seed=0, dtype=t.dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = burgers_residual(model, t, x).square().mean()
        loss.backward(inputs=list(model.parameters()))
        optimizer.step()
        return loss

    return step
