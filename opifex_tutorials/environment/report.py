"""Everything that is known about the environment, in one object that prints itself."""

import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any

from opifex_tutorials.environment.devices import (
    DEVICE_NAMES,
    FRAMEWORKS,
    Choice,
    Device,
    check_devices,
    choose_device,
)
from opifex_tutorials.environment.interoperability import Exchange, check_interoperability
from opifex_tutorials.environment.tables import Table
from opifex_tutorials.environment.versions import Version, check_versions


@dataclass(frozen=True)
class Report:
    """What is installed, what it can do, and what to fix.

    It prints as text, shows as tables in a notebook, and :meth:`to_dict` serves machines.

    Attributes:
        python: path of the Python that was checked, because a notebook may run another one.
        platform: operating system and processor.
        versions: one line for each requirement.
        devices: one line for each device of each framework.
        choices: the device that the book uses with each framework.
        exchanges: one line for each check of the exchange of arrays.
    """

    python: str
    platform: str
    versions: tuple[Version, ...]
    devices: tuple[Device, ...]
    choices: tuple[Choice, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the book from running, one sentence each; empty if it can run."""
        found = [
            f"{line.name} is {line.verdict}" + (f": {line.fix}" if line.fix else "")
            for line in self.versions
            if line.verdict != "ok" and not line.optional
        ]
        found += [str(choice) for choice in self.choices if choice.device is None]
        found += [
            f"{line.imports}: {line.check}: {line.detail}"
            for line in self.exchanges
            if not line.passed
        ]
        return tuple(found)

    @property
    def ready(self) -> bool:
        """True if the book can run."""
        return not self.problems

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        if self.ready:
            return "The book can run here."
        return f"The book cannot run here: {len(self.problems)} problem(s) to fix."

    @property
    def tables(self) -> tuple[Table, Table, Table]:
        """The tables of versions, of devices, and of the exchange of arrays."""
        versions = Table(
            "Versions",
            ("package", "required", "found", "verdict", "repair"),
            [
                (
                    line.name + (" (optional)" if line.optional else ""),
                    line.required or "any",
                    line.found or "none",
                    line.verdict + (f" ({line.detail})" if line.detail else ""),
                    line.fix or "",
                )
                for line in self.versions
            ],
        )
        devices = Table(
            "Devices, and the relative error of a second derivative",
            ("framework", "device", "in float32", "in float64", "verdict"),
            [
                (
                    FRAMEWORKS[line.framework],
                    f"{DEVICE_NAMES.get(line.kind, line.kind)} {line.name}".strip(),
                    _scientific(line.error_float32),
                    _scientific(line.error_float64),
                    line.verdict,
                )
                for line in self.devices
            ],
        )
        exchanges = Table(
            "Exchange of arrays",
            ("imported", "check", "verdict", "evidence"),
            [
                (line.imports, line.check, "ok" if line.passed else "failed", line.detail)
                for line in self.exchanges
            ],
        )
        return versions, devices, exchanges

    def __str__(self) -> str:
        parts = [f"{self.python}\n{self.platform}", *map(str, self.tables)]
        parts.append("\n".join(map(str, self.choices)))
        parts.append("\n".join([self.summary, *(f"- {problem}" for problem in self.problems)]))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        tables = "\n".join(table._repr_html_() for table in self.tables)
        return f"{tables}\n<p>{self.summary}</p>"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, strings, numbers and ``None``."""
        return {"ready": self.ready, "problems": list(self.problems), **asdict(self)}


def check() -> Report:
    """Check versions, devices and the exchange of arrays.

    It takes some ten seconds, because every package is imported in a process of its own, and
    returns a report also if JAX or PyTorch is absent or broken.
    """
    devices = check_devices()
    return Report(
        python=sys.executable,
        platform=platform.platform(),
        versions=check_versions(),
        devices=devices,
        choices=tuple(choose_device(framework, devices) for framework in FRAMEWORKS),
        exchanges=check_interoperability(),
    )


def _scientific(value: float | None) -> str:
    return "none" if value is None else f"{value:.0e}"
