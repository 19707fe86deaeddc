"""Which devices each framework sees, whether they can do what a PINN needs, and which to use.

The solvers of the package do not ask: they compute where the framework does, unless told otherwise,
and with the book's pins that is the CPU.
"""

from collections.abc import Sequence

from opifex_tutorials.environment.processes import Record, run_fresh
from opifex_tutorials.validation import require_choice

FRAMEWORKS = ("jax", "torch")
DEVICES = {"cpu": "CPU", "cuda": "CUDA", "mps": "Apple MPS"}


def check_devices(framework: str) -> list[Record]:
    """Return one line for each device of one framework, found in a fresh process.

    Its entries are ``framework``, ``device``, ``name``, the relative errors of a second derivative
    in ``float32`` and ``float64``, and the ``problem`` that keeps it from being chosen.
    """
    records, error = run_fresh("probes.devices", framework)
    if error:  # the CPU comes first: whatever fails after it is an accelerator
        device = "accelerator" if records else "cpu"
        records.append({"device": device, "problem": f"no working driver or package ({error})"})
    unknown = {"framework": framework, "name": None, "float32": None, "float64": None}
    return [unknown | record for record in records]


def choose_device(framework: str, devices: Sequence[Record] | None = None) -> Record:
    """Choose the device for one framework, and say why.

    CUDA is preferred to the CPU; a device without float64 or with a wrong second derivative is
    never chosen. Apple's MPS has no float64, so there the choice falls back to the CPU.

    Args:
        framework: ``"jax"`` or ``"torch"``; another one raises ``ValueError``.
        devices: lines of :func:`check_devices`; the default is to probe now (a few seconds).

    Returns:
        ``framework``, ``device`` (or ``None`` if none can run the book), and ``reason``.
    """
    require_choice("framework", framework, FRAMEWORKS)
    found = check_devices(framework) if devices is None else devices
    mine = {line["device"]: line["problem"] for line in found if line["framework"] == framework}
    device = next((name for name in ("cuda", "cpu") if name in mine and not mine[name]), None)
    fine = "float64 and right second derivatives"
    states = (f"{DEVICES.get(name, name)} has {fault or fine}" for name, fault in mine.items())
    reason = ", ".join(states)
    if device == "cpu" and len(mine) > 1:
        reason += ", so the choice falls back to the CPU"
    return {"framework": framework, "device": device, "reason": reason or "no device was found"}
