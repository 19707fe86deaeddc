"""Run a probe in a fresh process, so that whatever happens to it does not happen to the caller."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: marks a line of standard output as a record (RFC 7464), so that a library may print beside it
RECORD_SEPARATOR = "\x1e"


@dataclass(frozen=True)
class Outcome:
    """What a probe said before it ended.

    Attributes:
        records: everything the probe emitted, in order, also if it failed later.
        error: ``None``, or one line that says how the probe failed.
    """

    records: tuple[dict[str, Any], ...]
    error: str | None


def emit(**record: Any) -> None:
    """Hand one record to the parent. Called inside a probe; a later crash does not lose it."""
    print(f"{RECORD_SEPARATOR}{json.dumps(record)}", flush=True)


def run_fresh(
    probe: str,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> Outcome:
    """Run ``python -m opifex_tutorials.environment.probes.<probe>`` and collect its records.

    Args:
        probe: name of a module in :mod:`opifex_tutorials.environment.probes`.
        arguments: its command-line arguments.
        variables: environment variables set on top of the present ones; default none.
        timeout: seconds after which the probe is ended. The default leaves ten times the time
            that the slowest probe takes on two cores.
    """
    command = [sys.executable, "-m", f"{__package__}.probes.{probe}", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **(variables or {})}
    try:
        completed = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as expired:
        return Outcome(_records(expired.stdout or b""), f"no answer within {timeout:g} s")
    records = _records(completed.stdout)
    return Outcome(records, _error(completed.returncode, completed.stderr))


def _records(output: bytes) -> tuple[dict[str, Any], ...]:
    # the last piece is what follows the last line break: empty, or a record cut short
    *lines, _ = output.decode("utf-8", errors="replace").split("\n")
    return tuple(json.loads(line[1:]) for line in lines if line.startswith(RECORD_SEPARATOR))


def _error(exit_status: int, stderr: bytes) -> str | None:
    if exit_status == 0:
        return None
    if exit_status < 0:
        return f"crashed with signal {signal.Signals(-exit_status).name}"
    lines = stderr.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"ended with exit status {exit_status}"
