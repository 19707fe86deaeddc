"""Seeds side by side: one single-threaded process per core."""

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky import process_executor

from opifex_tutorials.progress import progress

A = TypeVar("A")
R = TypeVar("R")


def side_by_side(
    function: Callable[[A], R], arguments: Iterable[A], description: str = "runs"
) -> list[R]:
    """Return ``[function(a) for a in arguments]``, computed in one process per core.

    Works in notebooks and in scripts without a ``__main__`` guard; ``function`` may be defined in
    the notebook. Its results come back by pickling.

    Raises:
        Exception: the first that a call raised.
    """
    tasks = list(arguments)
    with parallel_config("loky", inner_max_num_threads=1, initializer=_prepare_worker):
        runner = Parallel(n_jobs=min(cpu_count(), max(1, len(tasks))), return_as="generator")
        results = runner(delayed(function)(task) for task in tasks)
        return list(progress(results, description, total=len(tasks)))


def _prepare_worker() -> None:
    # XLA splits even small matrix products over all cores. With a process per core these threads
    # wait for each other: a step was seen to take ten times as long.
    # What the caller asked of XLA, a number of devices for example, stays.
    asked = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{asked} --xla_cpu_multi_thread_eigen=false".strip()
    # Loky takes a worker that has grown by 300 MB for a leak and replaces it. Here it is compiled
    # code, which the next task needs.
    process_executor._MAX_MEMORY_LEAK_SIZE = 4_000_000_000
