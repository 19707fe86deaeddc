"""Exchange arrays between two libraries. Usage: ``exchange FIRST SECOND``, imported in that order.

A library is ``numpy``, ``torch`` or ``jax``.
"""

import importlib
import sys
from typing import Any

import numpy as np

from opifex_tutorials.environment.processes import emit

DTYPES = ("float32", "float64", "int32", "int64", "complex128", "bool")
NAMES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
#: JAX shares only memory that starts at a multiple of this many bytes, and copies any other
ALIGNMENT = 64


def aligned(values: np.ndarray) -> np.ndarray:
    """Return a copy of ``values`` that starts at a multiple of ``ALIGNMENT`` bytes."""
    buffer = np.empty(values.nbytes + ALIGNMENT, dtype=np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    copy = buffer[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def pointer(array: Any) -> int:
    """Return the address in memory at which the array of any of the libraries starts."""
    if isinstance(array, np.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.data_ptr() if hasattr(array, "data_ptr") else array.unsafe_buffer_pointer())


def exchange(source: Any, target: Any, names: str) -> None:
    """Send an array of each dtype to ``target`` and back; emit what became of it."""
    # NumPy sees the memory of JAX as read-only, and that DLPack cannot hand on; a copy can go back
    give_back = source.asarray if target is np else source.from_dlpack
    changed, copied = [], []
    for dtype in DTYPES:
        values = aligned((np.arange(12) % 5).reshape(3, 4).astype(dtype))
        here = source.from_dlpack(values)
        there = target.from_dlpack(here)
        back = np.asarray(give_back(there))
        if back.dtype != values.dtype or not np.array_equal(back, values):
            changed.append(dtype)
        if pointer(there) != pointer(here):
            copied.append(dtype)
    evidence = f"changed: {', '.join(changed)}" if changed else ", ".join(DTYPES)
    emit(check=f"{names} and back keeps values and dtype", passed=not changed, detail=evidence)
    evidence = f"copied: {', '.join(copied)}" if copied else "same address"
    emit(check=f"{names} shares memory (DLPack)", passed=not copied, detail=evidence)


def agree() -> None:
    """Emit whether both frameworks, in this one process, give the same second derivative."""
    import jax

    from opifex_tutorials.environment.probes import devices

    mine = devices.jax_second_derivative("float64", jax.devices("cpu")[0])
    other = devices.torch_second_derivative("float64", "cpu")
    difference = float(np.max(np.abs(mine - other)) / np.max(np.abs(other)))
    emit(
        check="JAX and PyTorch give the same second derivative",
        passed=difference <= 1e-12,
        detail=f"relative difference {difference:.0e}",
    )


def main(first: str, second: str) -> None:
    """Import both libraries in the order given and emit one record for each check."""
    library = {
        name: importlib.import_module("jax.numpy" if name == "jax" else name)
        for name in (first, second)
    }
    if "jax" in library:
        sys.modules["jax"].config.update("jax_enable_x64", True)
    for source, target in ((first, second), (second, first)):
        exchange(library[source], library[target], f"{NAMES[source]} → {NAMES[target]}")
    if "numpy" not in library:
        agree()


if __name__ == "__main__":
    main(*sys.argv[1:])
