"""A small tanh network with given weights and the closed form of its second derivative.

With a = tanh(z), the derivatives of one layer are a' = (1 - a²) z' and
a'' = (1 - a²) z'' - 2 a (1 - a²) z'², where z = W a_previous + b is linear in the layer before.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

WIDTHS = (1, 8, 8, 1)
POINTS: Array = np.linspace(-1.0, 1.0, 101)[:, None]


def given_layers() -> list[tuple[Array, Array]]:
    """Return weights of shape ``(inputs, outputs)`` and biases ``(outputs,)`` of every layer."""
    layers = []
    for inputs, outputs in pairwise(WIDTHS):
        row, column = np.arange(1.0, inputs + 1)[:, None], np.arange(1.0, outputs + 1)
        weights = np.sin((row + 1) * column) * np.sqrt(8 / (inputs + outputs))
        layers.append((weights, 0.5 * np.sin(column)))
    return layers


def network(x: Any, layers: Sequence[Sequence[Any]], tanh: Callable[[Any], Any]) -> Any:
    """Evaluate the network on arrays of any framework; ``x`` has shape ``(points, 1)``."""
    for weights, biases in layers[:-1]:
        x = tanh(x @ weights + biases)
    weights, biases = layers[-1]
    return x @ weights + biases


def closed_form(x: Array, layers: Sequence[tuple[Array, Array]]) -> Array:
    """Return the second derivative at ``x`` of shape ``(points, 1)``, by the formula above."""
    value, first, second = x, np.ones_like(x), np.zeros_like(x)
    for weights, biases in layers[:-1]:
        value = np.tanh(value @ weights + biases)
        first, second = first @ weights, second @ weights
        slope = 1 - value**2
        first, second = slope * first, slope * second - 2 * value * slope * first**2
    return second @ layers[-1][0]


def relative_error(computed: npt.ArrayLike) -> float:
    """Return the largest error of ``computed`` at ``POINTS``, relative to the largest value."""
    exact = closed_form(POINTS, given_layers()).ravel()
    return float(np.max(np.abs(np.asarray(computed) - exact)) / np.max(np.abs(exact)))
