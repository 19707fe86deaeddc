"""Runs side by side: order, isolation, errors, and no guard needed in a script."""

import os
import subprocess
import sys

import pytest

from opifex_tutorials.parallel import side_by_side


def test_results_come_in_the_order_of_the_tasks_not_of_their_ends(tmp_path):
    second_is_done = tmp_path / "done"

    def work(number):
        import time

        if number == 1:
            second_is_done.touch()
        patience = 200 if number == 0 else 0  # on a single core the second comes later
        while patience and not second_is_done.exists():
            time.sleep(0.05)
            patience -= 1
        return number

    assert side_by_side(work, range(4)) == [0, 1, 2, 3]


def test_workers_are_other_processes_with_one_thread_each():
    def work(number):
        return os.environ["OMP_NUM_THREADS"], os.environ["XLA_FLAGS"], os.getpid()

    before = dict(os.environ)
    threads, flags, processes = zip(*side_by_side(work, range(4)), strict=True)
    assert set(threads) == {"1"}
    assert all("--xla_cpu_multi_thread_eigen=false" in f.split() for f in flags)
    assert os.getpid() not in processes
    assert dict(os.environ) == before


def test_what_the_caller_asked_of_xla_stays(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """if True:
        from opifex_tutorials.parallel import side_by_side
        def work(number):
            import jax, os
            return len(jax.devices()), os.environ["XLA_FLAGS"].split()[-1]
        print(*set(side_by_side(work, [0, 1])))
        """
    )
    four = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=four
    )
    assert result.stdout.strip() == "(4, '--xla_cpu_multi_thread_eigen=false')", result.stderr


def test_few_tasks_on_many_cores_have_one_thread_each(tmp_path):
    """Left alone, the cores would be divided among the workers: four threads for each of two."""
    script = tmp_path / "script.py"
    script.write_text(
        """if True:
        import os
        os.cpu_count = lambda: 8
        os.sched_getaffinity = lambda process: set(range(8))
        from opifex_tutorials.parallel import side_by_side
        def work(number):
            import os
            return os.environ["OMP_NUM_THREADS"]
        print(*side_by_side(work, [0, 1]))
        """
    )
    unset = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=unset
    )
    assert result.stdout.strip() == "1 1", result.stderr


def test_an_error_in_a_worker_is_raised_here():
    def fail(number):
        raise ValueError(f"number={number}")

    with pytest.raises(ValueError, match="number=1"):
        side_by_side(fail, [1])


def test_no_tasks_no_results():
    assert side_by_side(abs, []) == []


def test_a_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from opifex_tutorials.parallel import side_by_side\n"
        "def double(x):\n    return 2 * x\n"
        "print(side_by_side(double, [1, 2]))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.strip() == "[2, 4]", result.stderr


def test_a_worker_that_grows_is_kept(tmp_path):
    """Compiled code makes workers grow; loky would replace one that has grown by 300 MB."""
    script = tmp_path / "script.py"
    script.write_text(
        """if True:
        from opifex_tutorials.parallel import side_by_side
        def work(number):
            import os, sys, time
            # the first task decides what a worker's normal size is; the second makes it grow
            sys.tasks_before = getattr(sys, "tasks_before", -1) + 1
            if sys.tasks_before == 1:
                sys.ballast = b"x" * 400_000_000
            time.sleep(0.4)  # loky looks at most once per second, after a task
            return os.getpid()
        print(len(set(side_by_side(work, range(10)))))
        """
    )
    two_workers = {**os.environ, "LOKY_MAX_CPU_COUNT": "2"}
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=two_workers
    )
    assert result.stdout.strip() in {"1", "2"}, result.stderr
