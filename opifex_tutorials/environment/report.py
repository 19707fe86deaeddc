"""Everything that is known about the environment, in one object that prints itself."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from opifex_tutorials.environment.devices import FRAMEWORKS, check_devices, choose_device
from opifex_tutorials.environment.processes import Record, run_fresh
from opifex_tutorials.environment.versions import check_versions
from opifex_tutorials.tables import Table

#: Libraries that have to understand each other, in the order in which a process imports them.
PAIRS = (("numpy", "torch"), ("numpy", "jax"), ("torch", "jax"), ("jax", "torch"))


@dataclass(frozen=True)
class Report:
    """What is installed, what it can do, and what to fix, in text and for machines.

    ``python`` is the path of the Python that was checked, because a notebook may run another one.
    The others are lines: for each requirement, for each device of each framework, for the device
    to use with each framework, and for each check of the exchange of arrays.
    """

    python: str
    versions: list[Record]
    devices: list[Record]
    choices: list[Record]
    exchanges: list[Record]

    @property
    def problems(self) -> list[str]:
        """What keeps the book from running, one sentence each; empty if it can run."""
        wrong = [line for line in self.versions if line["verdict"] != "ok" and not line["optional"]]
        idle = [choice for choice in self.choices if choice["device"] is None]
        return [
            *(f"{line['package']} is {line['verdict']}: {line['repair']}" for line in wrong),
            *(f"no device for {choice['framework']}: {choice['reason']}" for choice in idle),
            *(f"{e['imports']}: {e['check']}: {e['fault']}" for e in self.exchanges if e["fault"]),
        ]

    @property
    def ready(self) -> bool:
        """True if the book can run."""
        return not self.problems

    @property
    def tables(self) -> list[Table]:
        """Versions, devices (with errors of a second derivative), choices, and exchanges."""
        versions = "package required found verdict optional detail repair"
        devices = "framework device name float32 float64 problem"
        return [
            Table("Versions", self.versions, versions),
            Table("Devices, and relative errors of a second derivative", self.devices, devices),
            Table("Devices to use", self.choices, "framework device reason"),
            Table("Exchange of arrays", self.exchanges, "imports check verdict fault"),
        ]

    def __str__(self) -> str:
        summary = f"The book {'can run here.' if self.ready else 'cannot run here:'}"
        return "\n\n".join([self.python, *map(str, self.tables), summary, *self.problems])

    def to_dict(self) -> Record:
        """Return everything as dictionaries, lists, strings, numbers and ``None``."""
        return {"ready": self.ready, "problems": self.problems, **asdict(self)}


def check() -> Report:
    """Check everything, in some fifteen seconds, also where JAX or PyTorch is absent or broken.

    Devices and exchanges are checked two at a time, imports one by one, because they are timed.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        devices = [line for lines in pool.map(check_devices, FRAMEWORKS) for line in lines]
        exchanges = [line for lines in pool.map(_check_exchange, PAIRS) for line in lines]
    choices = [choose_device(framework, devices) for framework in FRAMEWORKS]
    return Report(sys.executable, check_versions(), devices, choices, exchanges)


def _check_exchange(pair: tuple[str, str]) -> list[Record]:
    records, error = run_fresh("probes.exchange", *pair, JAX_ENABLE_X64="1")
    if error:
        records.append({"check": "the process ends well", "fault": error})
    line = {"imports": ", then ".join(pair)}
    return [line | r | {"verdict": "failed" if r["fault"] else "ok"} for r in records]
