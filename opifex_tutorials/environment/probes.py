"""What runs in a fresh process: each probe imports a framework and yields records."""

import importlib
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np

from opifex_tutorials.environment.processes import Record

#: largest relative error allowed for a second derivative
TOLERANCES = {"float32": 1e-3, "float64": 1e-12}  # rounding leaves about 1e-6 and 1e-15

_random = np.random.default_rng(0)
#: a tanh network: weights (inputs, outputs) and biases of each layer; points of shape (points, 1)
LAYERS = [(_random.normal(size=(n, 8)), _random.normal(size=8)) for n in (1, 8)]
POINTS = np.linspace(-1.0, 1.0, 101)[:, None]


def network(x: Any, layers: Any, tanh: Callable[[Any], Any]) -> Any:
    """Evaluate the network, whose output is the sum of its last layer, in any framework."""
    for weights, biases in layers:
        x = tanh(x @ weights + biases)
    return x.sum(-1)


def closed_form(x: np.ndarray) -> np.ndarray:
    """Return the second derivative of the network, layer by layer.

    With a = tanh(z) the chain rule gives a' = (1 - a²) z' and a'' = (1 - a²) z'' - 2 a a' z', where
    z = W a_previous + b is linear in the layer before.
    """
    a, a_x, a_xx = x, np.ones_like(x), np.zeros_like(x)
    for weights, biases in LAYERS:
        a, z_x, z_xx = np.tanh(a @ weights + biases), a_x @ weights, a_xx @ weights
        a_x = (1 - a**2) * z_x
        a_xx = (1 - a**2) * z_xx - 2 * a * a_x * z_x
    return np.asarray(a_xx.sum(-1))


def devices(framework: str) -> Iterator[Record]:
    """Yield one record for each device; what it cannot do is a finding, whatever it raises."""
    library = importlib.import_module(f"{__package__}.on_{framework}")
    exact = closed_form(POINTS)
    for device, name, handle in library.devices():
        record, problems = {"device": device, "name": name}, []
        for dtype, tolerance in TOLERANCES.items():
            try:
                computed = library.second_derivative(dtype, handle)[:, 0]
            except Exception as fault:
                first_line = str(fault).strip().partition("\n")[0]
                problems.append(f"no {dtype} ({type(fault).__name__}: {first_line})")
                continue
            error = float(np.max(np.abs(computed - exact)) / np.max(np.abs(exact)))
            record[dtype] = error if np.isfinite(error) else None  # JSON has no NaN
            if computed.dtype != dtype:
                problems.append(f"no {dtype}, but {computed.dtype}")
            elif not error <= tolerance:
                problems.append(f"wrong second derivatives in {dtype}, error {error:.0e}")
        yield {**record, "problem": "; ".join(problems) or None}


def exchange(first: str, second: str) -> Iterator[Record]:
    """Import two libraries in this order; yield each check with its fault, empty if there is none.

    Round trips have to keep dtype and values; DLPack, the protocol for handing on an array without
    copying it, has to give the same address in memory; frameworks have to differentiate.
    """
    library = {name: _arrays(name) for name in (first, second)}
    for source, target in permutations(library):
        changed, copied = [], []
        # NumPy sees the memory of JAX as read-only, which DLPack cannot hand on; a copy can go back
        give_back = getattr(library[source], "asarray" if target == "numpy" else "from_dlpack")
        for dtype in ("float32", "float64", "int32", "int64", "complex128", "bool"):
            # JAX shares only memory that starts at a multiple of 64 bytes, and copies any other
            buffer = np.zeros(512, dtype=np.uint8)
            start = -buffer.ctypes.data % 64
            values = buffer[start : start + 12 * np.dtype(dtype).itemsize].view(dtype)
            values[:] = expected = (np.arange(12) % 5).astype(dtype)
            here = library[source].from_dlpack(values)
            there = library[target].from_dlpack(here)
            back = np.asarray(give_back(there))
            if back.dtype != dtype or not np.array_equal(back, expected):
                changed.append(dtype)
            if np.asarray(there).ctypes.data != np.asarray(here).ctypes.data:
                copied.append(dtype)
        names = f"{source} → {target}"
        yield {"check": f"{names} and back keeps dtype and values", "fault": ", ".join(changed)}
        yield {"check": f"{names} shares memory (DLPack)", "fault": ", ".join(copied)}
    for name in library if "numpy" not in library else ():
        yield {"check": f"{name} differentiates twice", "fault": next(devices(name))["problem"]}


def _arrays(name: str) -> Any:
    """Return the module of a library that holds its functions on arrays."""
    return np if name == "numpy" else importlib.import_module(f"{__package__}.on_{name}").arrays
