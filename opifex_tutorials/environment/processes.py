"""Run a probe in a fresh process, so that whatever happens to it does not happen to the caller."""

import importlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

Record = dict[str, Any]  #: strings, numbers, booleans and ``None`` by name
#: marks a line of standard output as a record (RFC 7464), so that a library may print beside it
MARK = "\x1e"


def run_fresh(probe: str, *arguments: str, **options: Any) -> tuple[list[Record], str | None]:
    """Run a probe, such as ``"probes.devices"``; for the rest see :func:`run_program`."""
    program = f"from {__name__} import serve; serve()"
    return run_program(program, probe, *arguments, **options)


def run_program(
    program: str, *arguments: str, timeout: float = 120.0, **variables: str
) -> tuple[list[Record], str | None]:
    """Run a program, given as text, in a Python of its own with environment variables set.

    Returns:
        the records it printed, also if it failed later, and one line that says how it failed (by
        taking longer than ``timeout`` seconds, for example), or ``None``.
    """
    command = [sys.executable, "-X", "utf8", "-c", program, *arguments]
    # unfiltered, the last line of a traceback in JAX is the error
    environment = os.environ | {"JAX_TRACEBACK_FILTERING": "off"} | variables
    try:
        done = subprocess.run(command, env=environment, timeout=timeout, capture_output=True)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {timeout:g} s"
    output, errors = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    records = [json.loads(line[1:]) for line in output.split("\n") if line.startswith(MARK)]
    if done.returncode < 0:
        return records, f"crashed with signal {signal.Signals(-done.returncode).name}"
    last_words = errors.strip().splitlines() or ["failed without a word"]
    return records, last_words[-1].strip() if done.returncode else None


def serve() -> None:
    """Run the probe named on the command line and print each record as it comes."""
    module, _, probe = sys.argv[1].partition(".")
    for record in getattr(importlib.import_module(f"{__package__}.{module}"), probe)(*sys.argv[2:]):
        print(f"{MARK}{json.dumps(record)}", flush=True)
