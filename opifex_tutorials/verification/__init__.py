"""Solution against reference: relative error, order of convergence, mass, exploitability."""

from opifex_tutorials.verification.errors import (
    Errors,
    convergence_order,
    relative_errors,
    relative_l2,
)
from opifex_tutorials.verification.grids import exploitability, mass_drift
from opifex_tutorials.verification.paths import (
    Estimate,
    sampled_exploitability,
    sampled_mass_drift,
)

__all__ = [
    "Errors",
    "Estimate",
    "convergence_order",
    "exploitability",
    "mass_drift",
    "relative_errors",
    "relative_l2",
    "sampled_exploitability",
    "sampled_mass_drift",
]
