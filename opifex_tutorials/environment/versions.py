"""Versions found against versions required, and the command that repairs a line that is not ok."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from opifex_tutorials.environment.processes import MARK, Record, run_program

#: the module to import, and the name on conda-forge, where it is not the name on PyPI
MODULES = {"ipython": "IPython", "orbax-checkpoint": "orbax.checkpoint", "python": "sys"}
CONDA_NAMES = {"torch": "pytorch"}
#: Imports one module, in a Python that has loaded nothing else, and prints what that took.
IMPORT = f"""
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
seconds = time.perf_counter() - start
try:
    with open("/proc/self/status") as status:
        peak = 1024 * int(status.read().partition("VmHWM:")[2].split()[0])
except OSError:  # not Linux
    import psutil
    peak = psutil.Process().memory_info().rss
import json
print({MARK!r} + json.dumps({{"seconds": seconds, "memory": peak / 1e6}}), flush=True)
"""


def check_versions(distribution: str = "opifex-tutorials", extra: str = "tracking") -> list[Record]:
    """Compare what is installed with what the metadata of ``distribution`` asks for.

    Returns:
        one line of :func:`check_requirement` for Python and for each requirement that applies
        here, in the order of the metadata; those of ``extra`` come last and are optional.
    """
    try:
        python = metadata.metadata(distribution)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        return [check_requirement(distribution) | {"repair": "python -m pip install -e ."}]
    every = [Requirement(text) for text in metadata.requires(distribution) or []]
    needed = [r for r in every if not r.marker or r.marker.evaluate({"extra": ""})]
    others = [r for r in every if r.marker and r.marker.evaluate({"extra": extra})]
    lines = [check_requirement(str(r)) for r in (f"python{python}", *needed)]
    return lines + [check_requirement(str(r), True) for r in others if r not in needed]


def check_requirement(requirement: str, optional: bool = False) -> Record:
    """Judge one requirement, such as ``"torch>=2.5"``, by importing it in a fresh process.

    Returns:
        a line whose ``verdict`` is ``"ok"``, ``"missing"``, ``"outdated"`` (outside the range) or
        ``"broken"`` (inside the range, but its import fails, and ``detail`` says how), with the
        command for ``repair`` or what the import took: ``seconds``, and ``memory``, the peak of a
        Python that imports nothing else, in MB.
    """
    wanted = Requirement(requirement)
    name, required = wanted.name, str(wanted.specifier)
    line: Record = {"package": name, "required": required, "found": None, "verdict": "missing"}
    line |= {"optional": optional, "detail": None, "repair": None}
    try:
        package = None if name == "python" else metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return line | {"repair": repair(name, required)}
    line["found"] = package.version if package else platform.python_version()
    installer = (package.read_text("INSTALLER") or "").strip() if package else ""
    if not wanted.specifier.contains(line["found"], prereleases=True):
        return line | {"verdict": "outdated", "repair": repair(name, required, installer)}
    records, error = run_program(IMPORT, MODULES.get(name, name.replace("-", "_")))
    if not error:
        return line | {"verdict": "ok"} | records[0]
    command = repair(name, required, installer, option="--force-reinstall ")
    return line | {"verdict": "broken", "detail": error, "repair": command}


def repair(name: str, required: str, installer: str = "", *, option: str = "") -> str:
    """Return the command that installs or repairs one package in the present environment.

    Inside a conda environment that is conda, except for a package that pip put there: two copies
    of one package are worse than one old copy.
    """
    # conda's base environment is often active around a venv, into which it cannot install
    prefix = os.environ.get("CONDA_PREFIX")
    if prefix and Path(prefix).resolve() == Path(sys.prefix).resolve() and installer != "pip":
        return f'conda install {option}-c conda-forge "{CONDA_NAMES.get(name, name)}{required}"'
    if name == "python":
        return f"install Python {required} and create a new environment: python -m venv .venv"
    return f'python -m pip install {option}"{name}{required}"'
