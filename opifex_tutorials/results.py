"""The ledger of results: every number of the book is recorded here, checked, and shown.

A chapter calls :func:`record` for each of its results and :func:`close_chapter` once, at its end.
During a build (``OPIFEX_LEDGER`` names a folder) both also write the chapter's page of the ledger
there and glue the numbers into the prose. Anywhere else they only check, so that a downloaded
notebook needs nothing but this package.
"""

from __future__ import annotations

import html
import json
import math
import os
import platform
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

#: Units of what a machine does, not what a method does. Such values are reported, never asserted.
MACHINE_UNITS = frozenset({"s", "ms", "MB", "GB", "steps/s", "s/s"})

_KEY = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


class MissedBoundError(AssertionError):
    """A recorded result lies outside the bound that its chapter promises."""


@dataclass(frozen=True)
class Result:
    """One checked number: its value, its unit and the bounds that it kept."""

    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def bound(self) -> str:
        """The bound as text, such as ``≤ 1e-05``; a dash where nothing is promised."""
        signs = (("≤", self.at_most), ("≥", self.at_least))
        return (
            " and ".join(f"{sign} {limit:.3g}" for sign, limit in signs if limit is not None) or "–"
        )

    @property
    def margin(self) -> str:
        """How far inside its bound the value lies, as a factor such as ``4.2×``, or a dash."""
        if self.at_most is not None and self.at_least is None and min(self.at_most, self.value) > 0:
            return f"{self.at_most / self.value:.2g}×"
        if self.at_least is not None and self.at_most is None and self.at_least > 0:
            return f"{self.value / self.at_least:.2g}×"
        return "–"


@dataclass
class Chapter:
    """What one chapter recorded. Shows itself as a table, in a notebook and in a terminal."""

    name: str
    results: dict[str, Result] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    closed: bool = False

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Name, value, bound, unit and margin of every result, as text."""
        return [
            (key.partition(".")[2].replace("_", " "), f"{r.value:.3g}", r.bound, r.unit, r.margin)
            for key, r in self.results.items()
        ]

    def __repr__(self) -> str:
        """Return the table as plain text, its columns aligned."""
        table = [_HEADINGS, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(_HEADINGS))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in _HEADINGS)
        body = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows()
        )
        caption = f"Recorded by the chapter {self.name}"
        return (
            f'<table class="ledger"><caption>{html.escape(caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


_HEADINGS = ("result", "value", "bound", "unit", "margin")
_chapters: dict[str, Chapter] = {}


def record(
    key: str,
    value: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    unit: str,
) -> float:
    """Check one result against its bound, enter it into the ledger, and return it.

    Args:
        key: ``"chapter.name"``, both in snake_case; the chapter is the notebook's file name.
        value: a finite real number.
        at_most: the largest value that is right, inclusive.
        at_least: the smallest value that is right, inclusive.
        unit: what the number counts, such as ``"relative L2"``. A result whose unit is in
            ``MACHINE_UNITS`` (a time, a memory) takes no bound; every other result needs one.

    Raises:
        MissedBoundError: the value lies outside its bound.
        ValueError: a malformed key, a value or bound that is not a finite number, a bound that is
            missing or not allowed, or, during a build, a key recorded twice with different values.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"key must be 'chapter.name' in snake_case, got {key!r}")
    if not isinstance(unit, str) or not unit.strip():
        raise ValueError(f"unit of {key} must be a non-empty string, got {unit!r}")
    result = Result(
        _finite(f"value of {key}", value),
        unit,
        None if at_most is None else _finite(f"at_most of {key}", at_most),
        None if at_least is None else _finite(f"at_least of {key}", at_least),
    )
    bounded = result.at_most is not None or result.at_least is not None
    if unit in MACHINE_UNITS and bounded:
        raise ValueError(f"{key} depends on the machine (unit {unit!r}): report it without a bound")
    if unit not in MACHINE_UNITS and not bounded:
        raise ValueError(f"{key} needs a bound: pass at_most or at_least")
    too_large = result.at_most is not None and result.value > result.at_most
    too_small = result.at_least is not None and result.value < result.at_least
    if too_large or too_small:
        raise MissedBoundError(f"{key} = {result.value:.6g} {unit}, promised {result.bound}")

    name = key.partition(".")[0]
    chapter = _chapters.setdefault(name, Chapter(name))
    previous = chapter.results.get(key)
    if _ledger() is not None and previous is not None and previous != result:
        raise ValueError(f"{key} was already recorded as {previous.value!r}, now {result.value!r}")
    chapter.results[key] = result
    _publish(chapter, key)
    return result.value


def close_chapter(name: str) -> Chapter:
    """Record what the chapter cost and return its results, which display as a table.

    Call it in the last cell. Two costs are recorded, neither with a bound: ``NAME.seconds``, the
    wall time since this process started, and ``NAME.peak_memory`` in MB (see
    :func:`peak_memory`). Versions of this package's dependencies are noted beside them.

    Raises:
        ValueError: nothing was recorded under ``name``.
    """
    if name not in _chapters:
        raise ValueError(f"name must be a chapter with results: {sorted(_chapters)}, got {name!r}")
    chapter = _chapters[name]
    chapter.closed = True
    chapter.versions = _versions()
    for cost in ("seconds", "peak_memory"):  # closing twice, in a session, measures anew
        chapter.results.pop(f"{name}.{cost}", None)
    record(f"{name}.seconds", time.time() - psutil.Process().create_time(), unit="s")
    record(f"{name}.peak_memory", peak_memory(), unit="MB")
    return chapter


def peak_memory() -> float:
    """Most resident memory that this process and its workers needed, in MB (10⁶ bytes).

    It is this process's own peak plus the peaks of its child processes that are still alive (idle
    workers of a pool, for example). The peaks may not have coincided, so this sum is an upper bound
    on what those processes held at once. Children that have ended leave only the largest single
    peak behind; it is returned instead if it is larger than the sum. Where the system keeps no
    record of a peak, the present size counts.
    """
    alive = sum(_peak_bytes(child) for child in psutil.Process().children(recursive=True))
    largest = _peak_bytes(psutil.Process()) + alive
    if sys.platform != "win32":
        import resource  # does not exist on Windows

        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        largest = max(largest, ended * (1 if sys.platform == "darwin" else 1024))
    return largest / 1e6


def _peak_bytes(process: psutil.Process) -> int:
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):  # not Linux, or the process has just ended
        pass
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "peak_wset", memory.rss))


def _finite(what: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a finite real number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} must be a finite real number, got {number}")
    return number


def _ledger() -> Path | None:
    folder = os.environ.get("OPIFEX_LEDGER")
    return Path(folder) if folder else None


def _publish(chapter: Chapter, key: str) -> None:
    """During a build, glue one result into the prose and rewrite the chapter's ledger file."""
    folder = _ledger()
    if folder is None:
        return
    from myst_nb import glue

    glue(key, chapter.results[key].value, display=False)
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.platform()}
    page = asdict(chapter) | machine
    for name, result in chapter.results.items():
        page["results"][name] |= {"bound": result.bound, "margin": result.margin}
    text = json.dumps(page, indent=1, ensure_ascii=False)
    partial = folder / f"{chapter.name}.json.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(folder / f"{chapter.name}.json")  # a reader never sees half a file


def _versions() -> dict[str, str]:
    """Versions of this package and of the installed ones that it requires."""
    found = {}
    for requirement in map(Requirement, metadata.requires("opifex-tutorials") or []):
        if requirement.marker is None:  # extras carry a marker: tools, not part of a result
            try:
                found[requirement.name] = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                continue
    return {"opifex-tutorials": metadata.version("opifex-tutorials"), **found}
