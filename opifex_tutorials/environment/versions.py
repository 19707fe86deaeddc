"""Versions found against versions required, and the command that repairs a line that is not ok."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opifex_tutorials.environment.processes import run_fresh

if TYPE_CHECKING:  # a broken or missing `packaging` has to be a line of the report, not a crash
    from packaging.requirements import Requirement

Verdict = Literal["ok", "outdated", "missing", "broken"]

#: the name on conda-forge, where it is not the name on PyPI
CONDA_NAMES = {"torch": "pytorch"}


@dataclass(frozen=True)
class Version:
    """One line of the version table.

    Attributes:
        name: name of the distribution, e.g. ``"torch"``, or ``"Python"``.
        required: the range of versions allowed, e.g. ``">=2.5"``.
        found: the version installed, or ``None``.
        verdict: ``"ok"``; ``"missing"``, not installed; ``"outdated"``, outside the range;
            ``"broken"``, installed in the right version, but it cannot be imported.
        optional: true if the book runs without it.
        fix: the command that repairs the line, or ``None`` if there is nothing to repair.
        detail: how the import failed, if it did.
    """

    name: str
    required: str
    found: str | None
    verdict: Verdict
    optional: bool = False
    fix: str | None = None
    detail: str | None = None


def check_versions(
    distribution: str = "opifex-tutorials", extras: Sequence[str] = ("tracking",)
) -> tuple[Version, ...]:
    """Compare what is installed with what the metadata of ``distribution`` asks for.

    Args:
        distribution: whose requirements to read; the default is this book.
        extras: names of the extras whose requirements are listed as optional. The default is
            the one for experiment tracking and hyperparameter search.

    Returns:
        one line for Python, then one for each requirement in the order of the metadata. Every
        package found is imported in a fresh process of its own.
    """
    try:
        wanted = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return (Version(distribution, "", None, "missing", fix="python -m pip install -e ."),)
    try:
        requirements = list(_requirements(distribution, extras))
    except ImportError as error:  # then nothing else can be judged
        fix = fix_command("packaging", "", verdict="broken")
        return (Version("packaging", "", None, "broken", fix=fix, detail=str(error)),)
    names = _import_names()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = pool.map(lambda entry: _check_requirement(*entry, names=names), requirements)
        return (_check_python(wanted["Requires-Python"] or ""), *lines)


def fix_command(name: str, required: str, *, verdict: Verdict, installer: str = "") -> str:
    """Return the command that installs or repairs one package in the present environment.

    Inside a conda environment that is conda, except for a package that pip put there: two copies
    of one package are worse than one old copy.

    Args:
        name: name of the distribution on PyPI.
        required: the range of versions allowed, e.g. ``">=2.5"``, or empty for any.
        verdict: what is wrong with it.
        installer: who installed the copy that is there, e.g. ``"pip"``; empty if unknown.
    """
    option = "--force-reinstall " if verdict == "broken" else ""
    if _inside_conda() and installer != "pip":
        name = CONDA_NAMES.get(name, name)
        return f'conda install {option}-c conda-forge "{name}{required}"'
    return f'python -m pip install {option}"{name}{required}"'


def _inside_conda() -> bool:
    """True if this Python belongs to the active conda environment, not to a venv beside it."""
    prefix = os.environ.get("CONDA_PREFIX")
    return bool(prefix) and Path(str(prefix)).resolve() == Path(sys.prefix).resolve()


def _requirements(distribution: str, extras: Sequence[str]) -> Iterator[tuple["Requirement", bool]]:
    """Yield each requirement that applies here, with whether it is optional."""
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in metadata.requires(distribution) or []]
    for extra in ("", *extras):
        for requirement in every:
            marker = requirement.marker
            always = marker is None or marker.evaluate({"extra": ""})
            here = marker is None or marker.evaluate({"extra": extra})
            if here and (extra == "" or not always):
                yield requirement, extra != ""


def _check_requirement(
    requirement: "Requirement", optional: bool, *, names: dict[str, str]
) -> Version:
    name, required = requirement.name, str(requirement.specifier)
    found: str | None = None
    detail: str | None = None
    installer = ""
    verdict: Verdict
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        verdict = "missing"
    else:
        found, installer = distribution.version, (distribution.read_text("INSTALLER") or "").strip()
        if not requirement.specifier.contains(found, prereleases=True):
            verdict = "outdated"
        else:
            module = names.get(_normalized(name), name.replace("-", "_"))
            outcome = run_fresh("imports", module)
            verdict = "ok" if outcome.records else "broken"
            detail = None if outcome.records else outcome.error
    fix = None
    if verdict != "ok":
        fix = fix_command(name, required, verdict=verdict, installer=installer)
    return Version(name, required, found, verdict, optional, fix, detail)


def _check_python(required: str) -> Version:
    from packaging.specifiers import SpecifierSet

    found = platform.python_version()
    if SpecifierSet(required).contains(found, prereleases=True):
        return Version("Python", required, found, "ok")
    fix = (
        f'conda install -c conda-forge "python{required}"'
        if _inside_conda()
        else f"install Python {required} and create a new environment with it: python -m venv .venv"
    )
    return Version("Python", required, found, "outdated", fix=fix)


def _normalized(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _import_names() -> dict[str, str]:
    """Map a distribution to the module to import, e.g. ``ipython`` to ``IPython``."""
    names: dict[str, str] = {}
    for module, distributions in metadata.packages_distributions().items():
        for distribution in map(_normalized, distributions):
            if distribution not in names or _normalized(module) == distribution:
                names[distribution] = module
    return names
