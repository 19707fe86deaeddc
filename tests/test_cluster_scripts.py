"""The scripts for clusters, as far as one machine can check them.

Their own command lines start two processes on loopback; the manifest is held against its schema.
"""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

TEMPLATES = Path(__file__).parent.parent / "book" / "templates"
CLUSTER = TEMPLATES / "cluster"

# In the place of many_points.py: joins the others, as told or as SLURM says, and adds up.
PROGRAM = """
import argparse, os, signal, jax, jax.numpy as jnp
parser = argparse.ArgumentParser()
parser.add_argument("--coordinator")
for name in ("processes", "process", "timeout", "victim"):
    parser.add_argument(f"--{name}", type=int)
told = parser.parse_args()
jax.distributed.initialize(
    told.coordinator, told.processes, told.process, initialization_timeout=told.timeout or 60,
    cluster_detection_method="deactivate" if told.coordinator else None,
)
rank = jax.process_index()
add = jax.pmap(lambda x: jax.lax.psum(x, "all"), axis_name="all")
for step in range(3):
    if step == 2 and rank == told.victim:
        os.kill(os.getpid(), signal.SIGKILL)
    total = float(add(jnp.ones(1) * (rank + 1))[0])
    print(f"process {rank} of {jax.process_count()}: {total}", flush=True)
"""

# In the place of srun: starts the tasks on this machine, with the variables that SLURM sets.
SRUN = """
import os, subprocess, sys, time
options = [a for a in sys.argv[1:] if a.startswith("--")][:2]
assert options == ["--kill-on-bad-exit=1", "--unbuffered"], options
command, said = sys.argv[3:], {"SLURM_STEP_NODELIST": "localhost"}
ranks = [{"SLURM_PROCID": str(r), "SLURM_LOCALID": str(r)} for r in range(int(os.environ["COME"]))]
tasks = [subprocess.Popen(command, env=os.environ | said | rank) for rank in ranks]
while any(task.poll() is None for task in tasks) and not any(task.poll() for task in tasks):
    time.sleep(0.05)
for task in tasks:
    task.kill()
sys.exit(max(abs(task.wait()) for task in tasks))
"""
LINE = r"process \d of \d: \d\.\d"
SUMS = [f"process {rank} of 2: 3.0" for rank in (0, 0, 0, 1, 1, 1)]


def free_port(first, last):
    for port in range(first, last):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise OSError("no free port")


def sbatch(folder, *arguments, tasks=2, come=None):
    """Run slurm.sh as SLURM would on the first node of a job."""
    (folder / "many_points.py").write_text(PROGRAM)
    (folder / "srun").write_text(f"#!{sys.executable}{SRUN}")
    (folder / "srun").chmod(0o755)
    # JAX makes the port of the coordinator from the number of the job.
    job = free_port(61440, 65536) - 61440
    said = {"SLURM_JOB_ID": str(job), "SLURM_NTASKS": str(tasks), "COME": str(come or tasks)}
    said["PATH"] = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", str(CLUSTER / "slurm.sh"), *arguments]
    options = {"cwd": folder, "env": os.environ | said, "text": True, "capture_output": True}
    return subprocess.run(command, timeout=120, **options)


def test_slurm_starts_processes_that_find_each_other(tmp_path):
    result = sbatch(tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(re.findall(LINE, result.stdout)) == SUMS


def test_fewer_processes_than_slurm_says_is_an_error_after_the_timeout(tmp_path):
    start = time.perf_counter()
    result = sbatch(tmp_path, "--timeout=5", tasks=3, come=2)
    assert result.returncode != 0
    assert "DEADLINE_EXCEEDED" in result.stderr
    assert 5 < time.perf_counter() - start < 60


def test_a_process_that_dies_ends_the_others(tmp_path):
    start = time.perf_counter()
    result = sbatch(tmp_path, "--victim=1")
    assert result.returncode != 0
    assert sorted(re.findall(LINE, result.stdout)) == SUMS[1:-1]  # two of three steps
    assert time.perf_counter() - start < 60  # left alone, the other notices after 100 s


def manifest():
    return list(yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text()))


def test_the_manifest_follows_its_schema_which_notices_a_wrong_field():
    service, job = manifest()
    for part in (service, job):
        kubernetes_validate.validate(part, "1.34", strict=True)
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["volumeMount"] = container.pop("volumeMounts")
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        kubernetes_validate.validate(job, "1.34", strict=True)


def test_the_parts_of_the_manifest_name_each_other():
    service, job = manifest()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    variables = {v["name"]: v["value"] for v in pod["containers"][0]["env"]}
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert spec["completions"] == spec["parallelism"] == int(variables["PROCESSES"])
    host = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert variables["COORDINATOR"].rpartition(":")[0] == host


def test_kubernetes_starts_processes_that_find_each_other(tmp_path):
    """The container's command, with its variables filled in and the host's name by loopback."""
    (tmp_path / "many_points.py").write_text(PROGRAM)
    container = manifest()[1]["spec"]["template"]["spec"]["containers"][0]
    variables = {v["name"]: v["value"] for v in container["env"]}
    variables["COORDINATOR"] = f"127.0.0.1:{free_port(20000, 30000)}"
    processes = []
    for rank in range(int(variables["PROCESSES"])):
        variables["JOB_COMPLETION_INDEX"] = str(rank)
        filled = yaml.safe_dump(container["command"])
        for name, value in variables.items():
            filled = filled.replace(f"$({name})", value)
        command = [sys.executable, *yaml.safe_load(filled)[1:]]
        processes.append(subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE))
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert re.findall(LINE, "".join(outputs)) == SUMS
