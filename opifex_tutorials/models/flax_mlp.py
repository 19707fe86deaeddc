"""A tanh network in Flax NNX; :mod:`opifex_tutorials.models.torch_mlp` is its PyTorch twin."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from opifex_tutorials.validation import require_widths


class MLP(nnx.Module):
    """A fully connected network: tanh between the layers, the last layer linear.

    Weights are drawn from the Glorot normal distribution (variance 2 / (inputs + outputs)), which
    keeps the size of the signal and of its derivatives similar from layer to layer; biases start
    at zero. JAX draws it without the tails, rescaled to the same variance.

    Args:
        widths: sizes of all layers, input and output included, e.g. ``(2, 20, 20, 1)``.
        rngs: source of randomness, e.g. ``nnx.Rngs(0)``.
        dtype: precision of the weights, ``float32`` or ``float64``. The default is
            ``float64``: a residual is a small difference of large terms, so that rounding errors
            of ``float32`` limit how small it can become.

    Raises:
        ValueError: for impossible widths, another dtype, or float64 while JAX has it switched off.
    """

    def __init__(
        self, widths: Sequence[int], *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float64
    ) -> None:
        self.widths = require_widths(widths)
        if jnp.dtype(dtype) not in (jnp.dtype("float32"), jnp.dtype("float64")):
            raise ValueError(f"dtype={dtype!r}: allowed are float32 and float64")
        if jax.dtypes.canonicalize_dtype(dtype) != jnp.dtype(dtype):
            switch = "jax.config.update('jax_enable_x64', True)"
            raise ValueError(f"dtype={dtype!r}: allowed only after {switch}")
        start = nnx.initializers.glorot_normal()
        options: dict[str, Any] = {"kernel_init": start, "param_dtype": dtype, "rngs": rngs}
        self.layers = nnx.List(nnx.Linear(*sizes, **options) for sizes in pairwise(self.widths))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map inputs of shape ``(..., widths[0])`` to outputs of shape ``(..., widths[-1])``."""
        *hidden_layers, last_layer = self.layers
        for layer in hidden_layers:
            inputs = jnp.tanh(layer(inputs))
        return last_layer(inputs)
