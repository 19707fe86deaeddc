"""Which devices each framework sees, whether they can do what a PINN needs, and which one to use.

A PINN needs 64-bit floating point and a correct second derivative of its network. Both are tried,
on every device, against a closed form.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opifex_tutorials.environment.processes import run_fresh

#: module name of each framework, and how it is written
FRAMEWORKS = {"jax": "JAX", "torch": "PyTorch"}

#: how devices are written
DEVICE_NAMES = {"cpu": "CPU", "cuda": "CUDA", "mps": "Apple MPS"}

#: largest relative error allowed for the second derivative in float64: rounding leaves 1e-15
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Device:
    """What one framework can do on one device.

    Attributes:
        framework: ``"jax"`` or ``"torch"``.
        kind: ``"cpu"``, ``"cuda"`` or ``"mps"``, the name under which the framework finds it.
        name: what the device calls itself.
        error_float32: relative error of the second derivative in float32, ``None`` if it failed.
        error_float64: the same in float64; ``None`` also says that float64 is not there.
        problem: how a probe failed, if one did.
    """

    framework: str
    kind: str
    name: str = ""
    error_float32: float | None = None
    error_float64: float | None = None
    problem: str | None = None

    @property
    def usable(self) -> bool:
        """True if the book can run here: float64, and a correct second derivative in it."""
        return self.error_float64 is not None and self.error_float64 <= TOLERANCE

    @property
    def verdict(self) -> str:
        """One sentence: what the device can do, or what keeps the book from using it."""
        name = DEVICE_NAMES.get(self.kind, self.kind)
        if self.usable:
            return f"{name} has float64 and a correct second derivative"
        if self.error_float64 is not None:
            wrong = f"relative error {self.error_float64:.0e}, allowed {TOLERANCE:.0e}"
            return f"{name} gets the second derivative wrong ({wrong})"
        if self.error_float32 is not None:
            return f"{name} has no float64, which the book needs ({self.problem})"
        return f"{name} cannot be used ({self.problem})"


@dataclass(frozen=True)
class Choice:
    """The device the book uses with one framework, and why.

    Attributes:
        framework: ``"jax"`` or ``"torch"``.
        device: ``"cpu"`` or ``"cuda"``, ready for ``torch.device`` or ``jax.devices``; ``None``
            if no device can run the book.
        reason: one or two sentences.
    """

    framework: str
    device: str | None
    reason: str

    def __str__(self) -> str:
        return f"{FRAMEWORKS[self.framework]} uses {self.device or 'no device'}: {self.reason}"


def check_devices(frameworks: Sequence[str] = tuple(FRAMEWORKS)) -> tuple[Device, ...]:
    """Probe every device of every framework, each framework in fresh processes.

    The CPU has a process of its own, so that an accelerator whose driver crashes the process does
    not hide it.

    Args:
        frameworks: any of ``"jax"`` and ``"torch"``; the default is both.

    Raises:
        ValueError: for another framework.
    """
    for framework in frameworks:
        _checked_framework(framework)
    with ThreadPoolExecutor(2) as pool:
        return tuple(device for found in pool.map(_probe, frameworks) for device in found)


def choose_device(framework: str, devices: Sequence[Device] | None = None) -> Choice:
    """Choose the device for one framework and say why.

    CUDA is preferred to the CPU; a device without float64 or with a wrong second derivative is
    never chosen. Apple's MPS has no float64, so there the choice falls back to the CPU.

    Args:
        framework: ``"jax"`` or ``"torch"``.
        devices: results of :func:`check_devices`; the default is to probe now (a few seconds).

    Raises:
        ValueError: for another framework.
    """
    _checked_framework(framework)
    found = check_devices((framework,)) if devices is None else devices
    mine = {device.kind: device for device in found if device.framework == framework}
    usable = [kind for kind in ("cuda", "cpu") if kind in mine and mine[kind].usable]
    rejected = [device.verdict for device in mine.values() if not device.usable]
    if not usable:
        return Choice(framework, None, "; ".join(rejected) or "no device was found")
    chosen = mine[usable[0]]
    reason = f"{chosen.verdict} (relative error {chosen.error_float64:.0e})"
    if rejected:
        reason = f"{'; '.join(rejected)}, so the book falls back. {reason}"
    elif len(mine) == 1:
        reason = f"it is the only device found. {reason}"
    return Choice(framework, chosen.kind, f"{reason}.")


def _checked_framework(framework: str) -> str:
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework={framework!r}: allowed are {', '.join(FRAMEWORKS)}")
    return framework


def _probe(framework: str) -> list[Device]:
    """Return every device of one framework; a probe that failed is a line of its own."""
    # without the variable JAX starts every accelerator it knows even if only the CPU is asked for
    on_cpu = run_fresh("devices", framework, "cpu", variables={"JAX_PLATFORMS": "cpu"})
    others = run_fresh("devices", framework, "others")
    found = [Device(framework, **record) for record in on_cpu.records + others.records]
    if on_cpu.error:
        found.append(Device(framework, "cpu", problem=on_cpu.error))
    if others.error and others.error != on_cpu.error:
        found.append(Device(framework, "accelerator", problem=others.error))
    return found
