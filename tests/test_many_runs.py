"""The program for clusters, many_runs.py: on this machine, on Dask and on Ray started for it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.test_cluster_scripts import CLUSTER, TEMPLATES, free_port

SCRIPTS = Path(sys.executable).parent
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
TEXT = {"text": True, "env": os.environ | QUIET | LOOPBACK}


@contextlib.contextmanager
def running(ready, *command):
    """A command that stays, from the moment it prints ``ready`` until the end of the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen([str(part) for part in command], **pipes, **TEXT)
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if ready in line:
                break
        assert ready in said[-1], said
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def errors_of(folder, command, *arguments):
    """Run the program; return what it wrote."""
    output = folder / f"{len(list(folder.iterdir()))}.json"
    options = ["--runs=2", f"--output={output}"]
    command = [str(part) for part in [*command, *arguments, *options]]
    result = subprocess.run(command, capture_output=True, timeout=200, cwd=TEMPLATES, **TEXT)
    assert result.returncode == 0, result.stderr
    found = json.loads(output.read_text())
    largest = max(run["error"] for run in found)
    assert f"largest error: {largest}\n" in result.stdout
    return found


PROGRAM = [sys.executable, TEMPLATES / "many_runs.py"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return errors_of(tmp_path_factory.mktemp("here"), PROGRAM)


def test_on_this_machine_every_run_is_checked(here):
    assert [run["viscosity"] for run in here] == [0.02, 0.1]
    assert all(1e-7 < run["error"] < 1e-4 for run in here)


def test_on_dask_the_errors_are_the_same(here, tmp_path):
    port = free_port(20000, 30000)
    dask = [SCRIPTS / "dask"]
    scheduler = ["--host=127.0.0.1", f"--port={port}", "--dashboard-address=127.0.0.1:0"]
    worker = [f"127.0.0.1:{port}", "--nworkers=2", "--nthreads=1", "--host=127.0.0.1"]
    worker += ["--dashboard-address=127.0.0.1:0", "--local-directory", tmp_path / "scratch"]
    with (
        running("Scheduler at", *dask, "scheduler", *scheduler),
        running("Starting established", *dask, "worker", *worker),
    ):
        assert errors_of(tmp_path, PROGRAM, f"dask://127.0.0.1:{port}") == here


def test_on_ray_the_errors_are_the_same(here, tmp_path, monkeypatch):
    address = f"127.0.0.1:{free_port(20000, 30000)}"
    script = ["bash", CLUSTER / "ray.sh"]
    monkeypatch.setitem(TEXT["env"], "RAY_ADDRESS", address)
    head = [f"--port={address.split(':')[1]}", "--num-cpus=2", "--node-ip-address=127.0.0.1"]
    # Ray leaves the head's address in its folder; its sockets need a short name.
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        running("--block", *script, "head", *head, f"--temp-dir={folder}"),
    ):
        assert errors_of(tmp_path, [*script, "run"]) == here


@pytest.mark.parametrize("engine", ["dask", "rey", "ray://10.0.0.1:6379"])
def test_an_unknown_engine_is_named(engine):
    command = [*map(str, PROGRAM), engine]
    result = subprocess.run(command, capture_output=True, timeout=60, **TEXT)
    assert result.returncode != 0
    assert f"engine={engine}: must be local, dask://ADDRESS or ray" in result.stderr


@pytest.mark.parametrize(
    ("engine", "package"), [("dask://127.0.0.1:1", "distributed"), ("ray", "ray")]
)
def test_a_missing_engine_tells_how_to_install_it(engine, package):
    start = f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv[1:] = [{engine!r}]; "
    command = [sys.executable, "-c", start + f"runpy.run_path({str(PROGRAM[1])!r})"]
    result = subprocess.run(command, capture_output=True, timeout=60, **TEXT)
    assert result.returncode != 0
    assert f"python -m pip install -e '.[{engine.partition(':')[0]}]'" in result.stderr
