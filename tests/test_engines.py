"""Runs side by side on clusters that these tests start: of Dask and of Ray, two workers each."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from joblib import parallel_config

from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.training.history import ConvergenceError, History

# What the workers are started with: other threads and other flags than the caller's.
ELSEWHERE = {"OMP_NUM_THREADS": "3", "XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
# Ray forks, and at once runs another program. JAX, if another test has loaded it, cannot know.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
EVERYWHERE = pytest.mark.parametrize("engine", ["local", "dask", "ray"], indirect=True)


@pytest.fixture(scope="module")
def dask():
    """Two processes behind a scheduler on loopback, which does a lost task again once."""
    from dask import config
    from distributed import Client, LocalCluster

    with (
        config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, env=ELSEWHERE, **LOOPBACK) as cluster,
        Client(cluster),
    ):
        yield lambda: parallel_config("dask")


@pytest.fixture(scope="module")
def ray():
    """Two actors on loopback, which Ray starts again when they are lost."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (quiet | loopback | ELSEWHERE).items():
            patch.setenv(name, value)
        import ray
        from ray.util.joblib import register_ray

        ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    register_ray()
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    again = {"max_restarts": -1, "max_task_retries": 1}
    yield lambda: parallel_config("ray", ray_remote_args=again)
    ray.shutdown()


@pytest.fixture
def engine(request):
    """What to run inside of: nothing, or the configuration of a cluster."""
    local = request.param == "local"
    return nullcontext if local else request.getfixturevalue(request.param)


@pytest.mark.parametrize("engine", ["dask", "ray"], indirect=True)
def test_results_are_those_of_this_machine_to_the_last_bit(engine):
    def train(seed):
        from opifex_tutorials.problems.burgers import BurgersProblem
        from opifex_tutorials.solvers import solve_burgers_pinn

        size = {"hidden": (4,), "points": 64, "steps": 10, "record_every": 10}
        problem = BurgersProblem(viscosity=0.1)
        solution = solve_burgers_pinn(problem, seed=seed, tolerance=1e9, **size)
        return solution.parameters, solution.history.losses

    here = side_by_side(train, range(2))
    with engine():
        there = side_by_side(train, range(2))
    assert len({losses[-1] for _, losses in there}) == 2
    for (one, losses), (other, same) in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
        assert losses == same


@EVERYWHERE
def test_workers_are_others_with_the_settings_of_the_caller(engine, capfd):
    import jax
    import jax.numpy as jnp

    def work(task):
        from threadpoolctl import threadpool_info

        threads = {library["num_threads"] for library in threadpool_info()}
        return os.getpid(), threads, os.environ["XLA_FLAGS"], jnp.ones(1) / 3, task

    before = dict(os.environ)
    with engine(), jax.enable_x64(True):
        third = jnp.ones(1) / 3
        found = side_by_side(work, [third] * 4)
        for process, threads, flags, computed, sent in found:
            assert process != os.getpid()
            assert threads == {1}
            asked = os.environ["XLA_FLAGS"].split()
            assert flags.split() == [*asked, "--xla_cpu_multi_thread_eigen=false"]
            assert computed.dtype == sent.dtype == "float64"
            assert computed == sent == third
    assert dict(os.environ) == before
    assert "runs:" not in capfd.readouterr().err  # no bar where nobody watches


@EVERYWHERE
def test_a_lost_worker_loses_nothing(engine, tmp_path):
    """The third task kills its process, once."""

    def work(task):
        with (tmp_path / f"{task}").open("a") as file:
            file.write("started\n")
        if task == 2 and not (tmp_path / "lost").exists():
            (tmp_path / "lost").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    with engine():
        assert side_by_side(work, range(8)) == list(range(8))
    assert len((tmp_path / "2").read_text().splitlines()) == 2


@EVERYWHERE
def test_a_run_that_always_loses_its_worker_is_an_error(engine):
    def work(task):
        if task == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    message = "unexpectedly terminated|all those workers died|The actor .* (died|is unavailable)"
    with engine(), pytest.raises(Exception, match=message) as caught:
        side_by_side(work, range(3))
    errors = {"TerminatedWorkerError", "KilledWorker", "ActorUnavailableError", "ActorDiedError"}
    assert type(caught.value).__name__ in errors


@EVERYWHERE
def test_an_exception_arrives_whole(engine, request):
    class MisfitError(Exception):
        pass

    def work(task):
        if task == 1:
            raise ConvergenceError("task=1", History(steps=[0], losses=[0.5]))
        if task == 4:
            raise MisfitError(4, {"loss": 0.5})  # of a class that no worker can import
        return task

    with engine(), pytest.raises(ConvergenceError, match=r"^task=1$") as caught:
        side_by_side(work, [0, 1, 2])
    assert caught.value.history == History(steps=[0], losses=[0.5])
    with engine(), pytest.raises(Exception, match="loss") as caught:
        side_by_side(work, [3, 4, 5])
    # Ray has its own copy of cloudpickle, which does not know that it has sent the class.
    assert isinstance(caught.value, MisfitError) or "[ray]" in request.node.name
    assert type(caught.value).__name__ == "MisfitError"
    assert caught.value.args == (4, {"loss": 0.5})
    with engine():
        assert side_by_side(work, [6, 7]) == [6, 7]


def test_a_port_in_use_is_named_in_the_error():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", port]
        dask = [sys.executable, "-m", *command, "--dashboard-address", "127.0.0.1:0"]
        result = subprocess.run(dask, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0
    assert "address already in use" in result.stderr.lower()
    assert result.stderr.splitlines()[-1] == "RuntimeError: Scheduler failed to start."
