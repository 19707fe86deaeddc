"""A step of Levenberg and Marquardt whose rows are spread: one and two processes, 1 to 8 devices.

``python -m benchmarks.scaling`` prints the seconds of a step, their ratio to one core, and what a
model with three constants, measured in the same run, says; ``largest`` after it, what a step with
2²⁰ points and more takes, in memory and time. Where the operating system can (Linux), processes
that are compared have a core each: XLA gives independent products to all cores it sees, also for a
single device.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import time

import numpy as np

WIDTHS = {373: (12, 12, 12), 1321: (24, 24, 24), 2694: (34, 35, 36)}
SIZES = [(373, 2**k) for k in (12, 14, 16, 18)] + [(1321, 2**k) for k in (12, 14, 16)]
# Devices of a process, processes, and whether each process is kept on a core of its own.
LAYOUTS = {
    "1 core": (1, 1, True),
    "2 processes": (1, 2, True),
    "1, all cores": (1, 1, False),
    "2 devices": (2, 1, False),
    "4 devices": (4, 1, False),
    "8 devices": (8, 1, False),
}
ROUNDS = 2  # of all layouts, one after the other: another load of the machine shows
LARGEST = [(373, 2**k) for k in (20, 22, 24)] + [(1321, 2**20), (2694, 2**18)]


def system_of(parameters, points):
    """Return a system of Burgers and its untrained parameters."""
    from opifex_tutorials.losses.burgers import burgers_layer
    from opifex_tutorials.losses.jax_system import Program
    from opifex_tutorials.losses.sharded import Layout, ShardedProgram, ShardedSystem
    from opifex_tutorials.problems.burgers import BurgersProblem

    problem = BurgersProblem(0.05)
    program = Program(burgers_layer, problem, points, WIDTHS[parameters])
    sharded = ShardedProgram(program, Layout())
    points = sharded.spread(program.sample(problem, (0, 0)))
    return ShardedSystem(sharded, problem, points), program.initial_parameters(0)


def step_seconds(parameters, points, steps):
    """Return the seconds of single accepted steps after a first one; of that if there are none."""
    from threadpoolctl import threadpool_limits

    from opifex_tutorials.training import levenberg_marquardt as lm

    system, theta = system_of(parameters, points)
    with threadpool_limits(1):
        state, found = lm.LevenbergMarquardtState(theta), []
        for _ in range(steps + 1):
            start = time.perf_counter()
            state = lm.levenberg_marquardt_step(system, state)
            found.append(time.perf_counter() - start)
    return found[1:] or found


def sum_seconds(parameters):
    """Return the seconds of a sum of (P + 1)² numbers over all devices."""
    import jax
    from jax.sharding import PartitionSpec

    from opifex_tutorials.losses.sharded import Layout

    mesh, numbers = Layout().mesh(), np.ones((parameters + 1, parameters + 1))

    def everywhere(x):
        for axis in mesh.axis_names:
            x = jax.lax.psum(x, axis)
        return x

    spread = {"in_specs": PartitionSpec(), "out_specs": PartitionSpec(), "check_vma": False}
    total = jax.jit(jax.shard_map(everywhere, mesh=mesh, **spread))
    return timed(lambda: np.asarray(total(numbers)))


def timed(run, times=5):
    """Return the least seconds of a few calls, after a first one."""
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def work(rank, processes, address, sizes, steps, own_core):
    """Measure in this process, with the others; the first one prints."""
    if own_core and hasattr(os, "sched_setaffinity"):  # before XLA counts the cores
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
    import jax

    from opifex_tutorials.models.precision import enable_float64

    enable_float64()
    if processes > 1:
        jax.distributed.initialize(address, processes, rank)
    found = {"steps": [], "sums": {}}
    for parameters, points in sizes:
        found["steps"].append(min(step_seconds(parameters, points, steps)))
    for parameters in dict.fromkeys(p for p, _ in sizes):
        found["sums"][parameters] = sum_seconds(parameters)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB on Linux
    if rank == 0:
        print(json.dumps(found))


def measure(devices, processes, own_core, sizes, steps=2):
    """Return what the first of some processes measured, with so many steps after a first one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    several = f"--xla_force_host_platform_device_count={devices}"
    flags = f"{several} --xla_cpu_multi_thread_eigen=false"
    environment = {**os.environ, "XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"}
    running = []
    for rank in range(processes):
        told = json.dumps([rank, processes, address, sizes, steps, own_core])
        command = [sys.executable, "-m", "benchmarks.scaling", "work", told]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
    outputs = [process.communicate()[0] for process in running]
    return json.loads(outputs[0].splitlines()[-1])


def solve_seconds(parameters):
    """Return the seconds of the Cholesky factor of a P by P matrix, in one thread."""
    from scipy.linalg import cho_factor
    from threadpoolctl import threadpool_limits

    matrix = np.random.default_rng(0).normal(size=(parameters, parameters))
    gram = matrix @ matrix.T + parameters * np.eye(parameters)
    with threadpool_limits(1):
        return timed(lambda: cho_factor(gram))


def model(measured):
    """Return the predicted seconds by layout: three constants, all from this run.

    a: seconds for one of N P² / p, from the largest size of each P on one device; p counts no more
    devices than there are cores. b: seconds for a byte of 8 P² log₂ p, from sums of one matrix
    alone. c: seconds for one of P³, from a factorization alone; each step has about one.
    """
    cores, c = os.cpu_count() or 1, {p: solve_seconds(p) / p**3 for p, _ in SIZES}
    a, predicted = {}, {}
    for (parameters, points), seconds in zip(SIZES, measured["1 core"]["steps"], strict=True):
        a[parameters] = (seconds - c[parameters] * parameters**3) / (points * parameters**2)
    for name, (devices, processes, own_core) in LAYOUTS.items():
        together, sums = devices * processes, measured[name]["sums"]
        if together == 1 and not own_core:
            continue  # how much of a step XLA gives to the other cores, the model does not know
        predicted[name] = [
            a[P] * N * P**2 / min(together, cores) + (together > 1) * sums[str(P)] + c[P] * P**3
            for P, N in SIZES
        ]
    return predicted


def main():
    """Print the table."""
    rounds = [{name: measure(*way, SIZES) for name, way in LAYOUTS.items()} for _ in range(ROUNDS)]
    measured = rounds[0]
    for name in LAYOUTS:
        every = [found[name]["steps"] for found in rounds]
        measured[name]["steps"] = [min(seconds) for seconds in zip(*every, strict=True)]
    predicted = model(measured)
    print("Seconds of a step (ratio to one core; predicted over measured)")
    print(f"{'P':>6} {'N':>8}", *(f"{name:>22}" for name in LAYOUTS))
    for i, (parameters, points) in enumerate(SIZES):
        cells = []
        for name in LAYOUTS:
            seconds, single = (measured[n]["steps"][i] for n in (name, "1 core"))
            known = f"{predicted[name][i] / seconds:.2f}" if name in predicted else "-"
            cells.append(f"{seconds:8.3f} {f'({seconds / single:.2f}; {known})':>13}")
        print(f"{parameters:>6} {points:>8}", *cells)
    sums = {name: measured[name]["sums"]["373"] for name in LAYOUTS}
    print("sums of 374² numbers:", *(f"{name}: {1e3 * s:.2f} ms" for name, s in sums.items()))


def largest():
    """Print what large steps take, each in a process of its own."""
    for parameters, points in LARGEST:
        found = measure(1, 1, False, [(parameters, points)], steps=0)
        jacobian = 8 * parameters * points / 1e9
        print(
            f"P = {parameters}, N = {points}: {found['steps'][0]:.0f} s a step, at most "
            f"{found['peak']:.2f} GiB; the Jacobian would take {jacobian:.1f} GB",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*json.loads(sys.argv[2]))
    elif sys.argv[1:2] == ["largest"]:
        largest()
    else:
        main()
