"""The ledger of results: every number of the book is recorded here, checked, and shown.

A chapter calls :func:`record` for each of its results and :func:`close_chapter` once, at its end.
During a build (``OPIFEX_LEDGER`` names a folder) both also write the chapter's page of the ledger
there and glue the numbers into the prose. Anywhere else they only check, so that a downloaded
notebook needs nothing but this package.
"""

import json
import math
import os
import platform
import re
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

from opifex_tutorials.tables import Table, readable
from opifex_tutorials.validation import require_finite

#: Units of what a machine does, not what a method does. Such values are reported, never asserted.
MACHINE_UNITS = frozenset({"s", "ms", "MB", "GB", "steps/s", "s/s"})
#: A bound is close if its value could grow or shrink by this factor at most before missing it. Any
#: other needs a reason. (The same pins give the same digits on most machines, so this is plenty.)
CLOSE = 3.0


class MissedBoundError(AssertionError):
    """A recorded result lies outside the bound that its chapter promises."""


#: ``value``, ``unit``, ``at_most``, ``at_least``, ``bound`` as text, ``margin``, ``loose``
Result = dict[str, Any]
_chapters: dict[str, dict[str, Result]] = {}


def record(
    key: str,
    value: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    unit: str,
    loose: str | None = None,
) -> float:
    """Check one result against its bound, enter it into the ledger, and return it.

    Args:
        key: ``"chapter.name"``, both in snake_case; the chapter is the notebook's file name.
        value: a finite real number.
        at_most: the largest value that is right, inclusive.
        at_least: the smallest value that is right, inclusive.
        unit: what the number counts, such as ``"relative L2"``. A result whose unit is in
            ``MACHINE_UNITS`` (a time, a memory) takes no bound; every other result needs one.
        loose: why the bound may be farther than ``CLOSE`` from the value, such as ``"rounding
            level"``. The ledger holds the margin (see :func:`margin`) and this reason; a test of
            the book, not this function, refuses a far bound without one.

    Raises:
        MissedBoundError: the value lies outside its bound.
        ValueError: a malformed key, a value or bound that is not a finite number, a bound that is
            missing or not allowed, a reason that is empty or stands beside no bound, or, during a
            build, a key recorded again with another value, bound, unit or reason.
    """
    if not isinstance(key, str) or not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", key):
        raise ValueError(f"key={key!r}: allowed is 'chapter.name' in snake_case")
    if not isinstance(unit, str) or not unit.strip():
        raise ValueError(f"unit of {key}={unit!r}: allowed is any text that is not empty")
    number = require_finite(f"value of {key}", value)
    signs, asked = {"at_most": "≤", "at_least": "≥"}, {"at_most": at_most, "at_least": at_least}
    bounds = {n: require_finite(f"{n} of {key}", b) for n, b in asked.items() if b is not None}
    bound = " and ".join(f"{signs[name]} {readable(b)}" for name, b in bounds.items()) or "–"
    if (unit in MACHINE_UNITS) == bool(bounds):
        rule = "without a bound" if bounds else "with at_most or at_least"
        raise ValueError(f"unit of {key}={unit!r}: allowed only {rule}")
    if loose is not None and (not bounds or not isinstance(loose, str) or not loose.strip()):
        raise ValueError(f"loose of {key}={loose!r}: allowed are words, beside a bound")
    if not bounds.get("at_least", number) <= number <= bounds.get("at_most", number):
        raise MissedBoundError(f"{key} = {number:.6g} {unit}, promised {bound}")

    limits = {name: bounds.get(name) for name in asked}
    result: Result = {"value": number, "unit": unit, **limits}
    result |= {"bound": bound, "margin": margin(number, **limits), "loose": loose}
    results = _chapters.setdefault(key.partition(".")[0], {})
    previous, ledger = results.get(key, result), os.environ.get("OPIFEX_LEDGER")
    if ledger and previous != result:
        raise ValueError(f"{key}={result}: allowed is {previous}, which was already recorded")
    results[key] = result
    if ledger:
        _publish(key, Path(ledger))
    return number


def margin(value: float, at_most: float | None, at_least: float | None) -> float | None:
    """Return the factor that lies between a value and its bound, the larger one of two bounds.

    It is 1 for a value that equals its bound, and ``None`` where there is no such factor: without a
    bound, or where value or bound is zero or negative.
    """
    pairs = [(at_most, value), (value, at_least)]
    factors = [_factor(a, b) for a, b in pairs if a is not None and b is not None]
    largest = max(factors, default=math.inf)
    return largest if largest < math.inf else None


def _factor(large: float, small: float) -> float:
    if large == small:
        return 1.0
    return large / small if small > 0 else math.inf


def close_chapter(name: str) -> Table:
    """Record what the chapter cost and return its results as a table.

    Call it in the last cell. Two costs are recorded, neither with a bound: ``NAME.seconds``, the
    wall time since this process started, and ``NAME.peak_memory`` in MB (see
    :func:`peak_memory`).

    Raises:
        ValueError: nothing was recorded under ``name``.
    """
    if name not in _chapters:
        raise ValueError(f"name={name!r}: allowed are chapters with results: {[*_chapters]}")
    seconds = time.time() - psutil.Process().create_time()
    for cost, value, unit in (("seconds", seconds, "s"), ("peak_memory", peak_memory(), "MB")):
        _chapters[name].pop(f"{name}.{cost}", None)  # closing twice, in a session, measures anew
        record(f"{name}.{cost}", value, unit=unit)
    results = _chapters[name].items()
    rows = [{"result": key.partition(".")[2].replace("_", " "), **r} for key, r in results]
    caption = f"Recorded by the chapter {name}"
    return Table(caption, rows, "result value bound unit", style="ledger")


def peak_memory() -> float:
    """Most resident memory that this process and its workers needed, in MB (10⁶ bytes).

    It is this process's own peak plus the peaks of its child processes that are still alive (idle
    workers of a pool, for example). The peaks may not have coincided, so this sum is an upper bound
    on what those processes held at once. Children that have ended leave only the largest single
    peak behind; it is returned instead if it is larger than the sum. Where the system keeps no
    record of a peak, the present size counts.
    """
    own = psutil.Process()
    largest = sum(map(_peak_bytes, [own, *own.children(recursive=True)]))
    if sys.platform != "win32":
        import resource  # does not exist on Windows

        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        largest = max(largest, ended * (1 if sys.platform == "darwin" else 1024))
    return largest / 1e6


def _peak_bytes(process: psutil.Process) -> int:
    with suppress(OSError, IndexError):  # not Linux, or the process has just ended
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    with suppress(psutil.Error):
        memory = process.memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    return 0


def _publish(key: str, folder: Path) -> None:
    """Glue one result into the prose, and write its chapter's page of the ledger anew."""
    from myst_nb import glue  # part of a build, not of what a reader has to install

    chapter = key.partition(".")[0]
    results = _chapters[chapter]
    glue(key, results[key]["value"], display=False)
    page = {"name": chapter, "results": results, "closed": f"{chapter}.peak_memory" in results}
    page["modules"] = sorted(m for m in sys.modules if m.partition(".")[0] == __package__)
    page |= {"versions": _versions(), "python": platform.python_version()}
    page["system"] = platform.platform()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{chapter}.json.partial"
    partial.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(folder / f"{chapter}.json")  # a reader never sees half a file


def _versions() -> dict[str, str]:
    """Versions of this package and of those it requires; extras are tools, not part of a result."""
    package = "opifex-tutorials"
    required = [r for r in map(Requirement, metadata.requires(package) or []) if not r.marker]
    return {name: metadata.version(name) for name in (package, *(r.name for r in required))}
