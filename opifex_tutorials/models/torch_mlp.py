"""A tanh network in PyTorch; :mod:`opifex_tutorials.models.flax_mlp` is its Flax NNX twin."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch.nn.utils import skip_init

from opifex_tutorials.validation import require_widths


class MLP(torch.nn.Module):
    """A fully connected network: tanh between the layers, the last layer linear.

    Weights are drawn from the Glorot normal distribution and biases start at zero, as in the twin.
    The global random state of PyTorch is neither read nor changed.

    Args:
        widths: sizes of all layers, input and output included, e.g. ``(2, 20, 20, 1)``.
        seed: seed of the weights; the same seed gives the same network.
        dtype: precision of the weights, ``torch.float32`` or, by default, ``torch.float64``, for
            the reason given in the twin.

    Raises:
        ValueError: for impossible widths or another dtype.
    """

    def __init__(
        self, widths: Sequence[int], *, seed: int, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        self.widths = require_widths(widths)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype={dtype!r}: allowed are torch.float32 and torch.float64")
        generator = torch.Generator().manual_seed(seed)
        self.layers = torch.nn.ModuleList()
        for inputs, outputs in pairwise(self.widths):
            # skipped: PyTorch's own start, which would draw from the global random state
            layer = skip_init(torch.nn.Linear, inputs, outputs, dtype=dtype)
            torch.nn.init.xavier_normal_(layer.weight, generator=generator)
            torch.nn.init.zeros_(layer.bias)
            self.layers.append(layer)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs of shape ``(..., widths[0])`` to outputs of shape ``(..., widths[-1])``."""
        *hidden_layers, last_layer = self.layers
        for layer in hidden_layers:
            inputs = torch.tanh(layer(inputs))
        return last_layer(inputs)
