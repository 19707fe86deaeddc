"""A PINN for the Burgers equation in PyTorch, as plainly as it is usually written."""

from collections.abc import Callable, Sequence

import torch

from opifex_tutorials.models.torch_mlp import MLP

VISCOSITY = 0.01


def burgers_residual(network: MLP, points: torch.Tensor) -> torch.Tensor:
    """Return u_t + u u_x - ν u_xx, shape ``(n,)``, at ``points`` (t, x) of shape ``(n, 2)``."""
    points = points.requires_grad_()
    u = network(points)[:, 0]
    (gradient,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    u_t, u_x = gradient.unbind(dim=1)
    (gradient_of_u_x,) = torch.autograd.grad(u_x.sum(), points, create_graph=True)
    return u_t + u * u_x - VISCOSITY * gradient_of_u_x[:, 1]


def training_step(widths: Sequence[int], precision: str, points: int) -> Callable[[], None]:
    """Return a function that takes one Adam step on the mean squared residual."""
    dtype = getattr(torch, precision)
    where = torch.rand(points, 2, dtype=dtype, generator=torch.Generator().manual_seed(0))
    network = MLP(widths, seed=0, dtype=dtype)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        burgers_residual(network, where).square().mean().backward()
        optimizer.step()

    return step
