"""Solution against reference, or against what is known without one: orders, bounds, estimates.

A function is loaded when first asked for: the bound needs JAX, in which its residuals are written.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "certified_error": "certificates",
    "convergence_order": "errors",
    "estimate_error": "estimates",
    "exploitability": "grids",
    "manufactured": "statements",
    "mass_drift": "grids",
    "mismatch": "statements",
    "relative_errors": "errors",
    "relative_l2": "errors",
    "self_convergence": "errors",
    "sampled_exploitability": "paths",
    "sampled_mass_drift": "paths",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
