"""Runs side by side, on any engine of joblib's: by default one single-threaded process per core."""

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import cloudpickle
from joblib import Parallel, delayed
from joblib.externals.loky import process_executor
from joblib.parallel import ParallelBackendBase, get_active_backend
from threadpoolctl import threadpool_limits

from opifex_tutorials.progress import progress

A = TypeVar("A")
R = TypeVar("R")
HOME = os.urandom(16)  # a mark of this process: a worker has another


def side_by_side(
    function: Callable[[A], R], arguments: Iterable[A], description: str = "runs"
) -> list[R]:
    """Return ``[function(a) for a in arguments]``, computed where ``joblib.parallel_config`` says.

    By default that is one process per core of this machine. Works in notebooks and in scripts
    without a ``__main__`` guard; ``function`` may be defined in the notebook. One line sends the
    same runs to a cluster of Dask or of Ray, on whose workers this package is installed::

        with joblib.parallel_config("dask"):  # client = distributed.Client(address) came before
            results = side_by_side(run, seeds)

        with joblib.parallel_config("ray", ray_remote_args=AGAIN):  # after register_ray()
            results = side_by_side(run, seeds)

    Wherever a run is, it has one thread, the caller's XLA flags, and float64 in JAX if the caller
    has. What a lost process had in hand is done again: here as long as there is progress, by Dask
    three times (``distributed.scheduler.allowed-failures``), by Ray as often as it is told, with
    ``AGAIN = {"max_restarts": -1, "max_task_retries": 3}`` three times as well. Joblib keeps a
    single run in this process.

    Raises:
        Exception: one that a call raised, with its type and attributes (by Ray, a copy of the
            type if that is defined in the notebook).
        TerminatedWorkerError, distributed.KilledWorker, ray.exceptions.RayActorError: a run was
            lost more often than it is done again. Mostly it needs more memory than there is.
    """
    # XLA splits even small matrix products over all cores. With a process per core these threads
    # wait for each other: a step was seen to take ten times as long.
    # What the caller asked of XLA, a number of devices for example, stays.
    env = dict.fromkeys(ParallelBackendBase.MAX_NUM_THREADS_VARS, "1")
    env["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    double = "jax" in sys.modules and sys.modules["jax"].config.jax_enable_x64
    work, tasks = cloudpickle.dumps(function), list(arguments)
    calls = [(work, cloudpickle.dumps(task), env, double, HOME) for task in tasks]
    # Unpickled in the caller's thread, because the caller's precision may be that of the thread.
    return list(progress(map(pickle.loads, _results(calls)), description, total=len(tasks)))


def _results(calls: list[tuple[Any, ...]], lost: bool = False) -> Iterator[bytes]:
    """Yield the results in order, as soon as the engine can tell them."""
    engine, jobs = get_active_backend()
    if type(engine).__name__ == "DaskDistributedBackend" and calls:
        # When Dask gives a run up, joblib 1.6 does not hear of it and waits for ever.
        executor = engine.client.get_executor(pure=False, **engine.submit_kwargs)
        yield from executor.map(_on_worker, *zip(*calls, strict=True))
        return
    workers = max(1, min(engine.effective_n_jobs(jobs or -1), len(calls)))
    run = Parallel(workers, return_as="generator" if engine.supports_return_generator else "list")
    done = 0
    try:
        for result in run(delayed(_on_worker)(*call) for call in calls):
            yield result
            done += 1
    except process_executor.TerminatedWorkerError:
        if lost and not done:
            raise
        yield from _results(calls[done:], lost=True)


def _on_worker(work: bytes, task: bytes, env: dict[str, str], double: bool, home: bytes) -> bytes:
    if home != HOME:
        # Before anything is unpickled, which may start JAX and make its arrays.
        os.environ.update(env)
        threadpool_limits(1)
        if double:
            import jax

            jax.config.update("jax_enable_x64", True)
        # Loky takes a worker that has grown by 300 MB for a leak and replaces it. Here it is
        # compiled code, which the next task needs.
        process_executor._MAX_MEMORY_LEAK_SIZE = 4_000_000_000
    return cloudpickle.dumps(pickle.loads(work)(pickle.loads(task)))
