"""Problem in, solution out. A solver is loaded, with its framework, when first asked for."""

from importlib import import_module
from typing import Any

_MODULES = {
    "learn_boundary": "boundary_inverse",
    "solve_burgers_features": "burgers_features",
    "solve_burgers_grid": "burgers_grid",
    "solve_burgers_pinn": "burgers_pinn",
    "solve_equation": "own_equation",
    "solve_linear_features": "linear_features",
    "solve_linear_pinn": "linear_pinn",
    "solve_mfg_grid": "mfg_grid",
    "solve_mfg_hybrid": "mfg_hybrid",
    "solve_mfg_low_rank": "mfg_low_rank",
    "solve_mfg_pinn": "mfg_pinn",
    "solve_mfg_spectral": "mfg_spectral",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
