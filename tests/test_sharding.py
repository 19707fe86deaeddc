"""Rows spread over devices and processes, in blocks: the same sums, the same steps, less memory."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from opifex_tutorials.losses.burgers import burgers_layer, burgers_soft
from opifex_tutorials.losses.jax_system import Program, System
from opifex_tutorials.losses.sharded import Layout, ShardedProgram, ShardedSystem
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem
from opifex_tutorials.solvers import solve_burgers_pinn
from opifex_tutorials.solvers.linear_pinn import solve_linear_pinn
from opifex_tutorials.training.levenberg_marquardt import (
    CURVATURE_STEP,
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.training.meta_learning import Task, maml, meta_training, stack
from opifex_tutorials.verification import relative_l2

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "book" / "templates" / "many_points.py"
PROBLEM = BurgersProblem(0.05)
POINTS, STEPS = 1024, 50


def flags(devices):
    asked = "--xla_force_host_platform_device_count", "--xla_cpu_multi_thread_eigen=false"
    return {**os.environ, "XLA_FLAGS": f"{asked[0]}={devices} {asked[1]}", "OMP_NUM_THREADS": "1"}


def start(arguments, devices=1):
    """Start a Python program; its output and its errors are read together."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=flags(devices), **options)


def outcome(process, patience=300):
    """Return exit status and output."""
    try:
        output = process.communicate(timeout=patience)[0]
    finally:
        process.kill()
    return process.returncode, output


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_processes(count, expected, *more):
    """Start the first processes of the template of so many that are expected."""
    told = TEMPLATE, "--coordinator", f"127.0.0.1:{free_port()}", "--processes", expected, *more
    return [start([*told, "--process", number]) for number in range(count)]


def systems(formulate, layout, points=512, hidden=(6, 5)):
    program = Program(formulate, PROBLEM, points, hidden)
    drawn, sharded = program.sample(PROBLEM, (0, 0)), ShardedProgram(program, layout)
    whole = System(program, PROBLEM, drawn)
    return whole, ShardedSystem(sharded, PROBLEM, sharded.spread(drawn))


@pytest.mark.parametrize("formulate", [burgers_layer, burgers_soft])
@pytest.mark.parametrize("layout", [Layout(leaves=1), Layout(leaves=4, block=16)])
def test_sums_over_blocks_are_those_of_the_whole_jacobian(formulate, layout):
    """Conditions with fewer points included, which have another weight for each point."""
    whole, sharded = systems(formulate, layout)
    theta = whole.program.initial_parameters(0)
    r, J = whole.linearize(theta)
    loss, gram, gradient = sharded.normal_equations(theta)
    assert loss == pytest.approx(r @ r, rel=1e-13)
    assert sharded.sum_of_squares(theta) == pytest.approx(r @ r, rel=1e-13)
    np.testing.assert_allclose(gram, J.T @ J, atol=1e-13 * np.abs(gram).max())
    np.testing.assert_allclose(gradient, J.T @ r, atol=1e-13 * np.abs(gradient).max())
    d = np.random.default_rng(0).normal(size=len(theta))
    h = CURVATURE_STEP / np.linalg.norm(d)
    r_dd = 2 / h**2 * (whole.residuals(theta + h * d) - r - h * (J @ d))
    bend = sharded.pulled_curvature(theta, d, h)
    np.testing.assert_allclose(bend, J.T @ r_dd, atol=1e-7 * np.abs(bend).max())


def test_a_wide_gram_matrix_is_made_of_panels():
    whole, sharded = systems(burgers_layer, Layout(leaves=2, block=32), 128, (16, 17))
    theta = whole.program.initial_parameters(0)
    assert len(theta) > 256
    J, gram = whole.linearize(theta)[1], sharded.normal_equations(theta)[1]
    np.testing.assert_allclose(gram, J.T @ J, atol=1e-13 * np.abs(gram).max())


def test_a_step_is_the_same_step():
    whole, sharded = systems(burgers_layer, Layout(leaves=4, block=16))
    state = LevenbergMarquardtState(whole.program.initial_parameters(0))
    one, other = (levenberg_marquardt_step(s, state) for s in (whole, sharded))
    np.testing.assert_allclose(other.parameters, one.parameters, rtol=1e-9)
    assert other.loss == pytest.approx(one.loss, rel=1e-10)
    assert other.damping == pytest.approx(one.damping, rel=1e-8)


def error(solution):
    bounds = solution.problem.bounds.values()
    t, x = np.meshgrid(*(np.linspace(low, high, 51)[1:] for low, high in bounds), indexing="ij")
    return relative_l2(solution(t, x), solution.problem.exact(t, x))


def test_a_solver_takes_a_layout():
    options = {"seed": 0, "points": 256, "hidden": (8,), "steps": 50, "tolerance": np.inf}
    whole, blocks = (
        solve_linear_pinn(HeatProblem(), layout=layout, **options)
        for layout in (None, Layout(leaves=4, block=16))
    )
    assert error(blocks) == pytest.approx(error(whole), rel=5e-3)
    assert blocks.history.losses == pytest.approx(whole.history.losses, rel=1e-3)
    assert blocks.history.held_out_losses == pytest.approx(whole.history.held_out_losses, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"layout": Layout(devices=2)}, "devices=2: allowed are integers from 1 to 1"),
        ({"layout": Layout(), "points": 8}, "points=8 of a condition: allowed are at least 16"),
        (
            {"layout": Layout(), "points": 64, "formulation": "soft"},
            "points=8 of a condition: allowed are at least 16",
        ),
        (
            {"layout": Layout(), "optimizer": "adam"},
            "layout=.*allowed is none with optimizer='adam",
        ),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        solve_burgers_pinn(PROBLEM, **{"seed": 0, "steps": 50, **options})


@pytest.mark.parametrize("name", ["block", "leaves"])
@pytest.mark.parametrize("value", [0, 3, 1.5, "many"])
def test_a_layout_has_powers_of_two(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}: allowed are"):
        Layout(**{name: value})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the outputs and the parameters of the same training on several layouts."""
    folder, found = tmp_path_factory.mktemp("layouts"), {}
    asked = "--points", POINTS, "--steps", STEPS
    for name, devices, processes in (("one", 1, 1), ("eight devices", 8, 1), ("two", 1, 2)):
        saved = *asked, "--save", folder / f"{name}.npy"
        if processes == 1:
            running = [start([TEMPLATE, *saved], devices)]
        else:
            running = start_processes(processes, processes, *saved)
        ends = [outcome(process) for process in running]
        assert [status for status, _ in ends] == [0] * processes, ends[0][1]
        found[name] = ends[0][1], np.load(folder / f"{name}.npy")
    return found


@pytest.mark.slow
def test_parameters_do_not_depend_on_devices_and_processes(trained):
    parameters = [theta for _, theta in trained.values()]
    distances = [np.linalg.norm(t - parameters[0]) for t in parameters]
    assert max(distances) <= 1e-10 * np.linalg.norm(parameters[0])
    for (output, _), where in zip(
        trained.values(),
        ("1 devices of 1 processes", "8 devices of 1 processes", "2 devices of 2 processes"),
        strict=True,
    ):
        assert f"{POINTS} points on {where}: " in output


@pytest.mark.slow
def test_the_error_is_that_of_the_whole_jacobian(trained):
    whole = solve_burgers_pinn(
        PROBLEM, seed=0, points=POINTS, steps=STEPS, record_every=STEPS, resample_every=None
    )
    errors = [error(replace(whole, parameters=theta)) for _, theta in trained.values()]
    assert errors == pytest.approx([error(whole)] * len(errors), rel=5e-3)


BROKEN = """if True:
    import sys, jax, numpy as np
    if "broken" in sys.argv:
        jax.lax.psum = lambda sums, axis: sums
    from tests.test_sharding import Layout, burgers_layer, systems
    whole, sharded = systems(burgers_layer, Layout(leaves=8, block=16))
    theta = whole.program.initial_parameters(0)
    J, gram = whole.linearize(theta)[1], sharded.normal_equations(theta)[1]
    print(np.abs(gram - J.T @ J).max() / np.abs(gram).max())
"""


@pytest.mark.slow
def test_without_the_sum_over_devices_the_gram_matrix_is_wrong():
    for broken in (False, True):
        running = start(["-c", BROKEN, *["broken"] * broken], devices=4)
        status, output = outcome(running)
        assert status == 0, output
        assert (float(output) > 1e-13) is broken


META = """if True:
    import sys, numpy as np
    from tests.test_sharding import meta_learned
    np.save(sys.argv[1], meta_learned(int(sys.argv[2]))[0])
"""


def meta_learned(leaves, steps=(6,)):
    """Return what MAML learns on eight tasks, and its losses; with leaves, of a layout."""
    problems = [BurgersProblem(float(nu)) for nu in np.linspace(0.02, 0.1, 8)]
    program = Program(burgers_soft, problems[0], 32, (5,))
    data = stack([Task(d, d) for d in ((p, program.sample(p, (0,))) for p in problems)])

    def adapt(theta, task):
        return theta - 0.01 * jax.grad(program.loss)(theta, task)

    def sample(key):  # the tasks in another order each time, and their losses with other weights
        order = jax.random.permutation(key, 8)
        return jax.tree.map(lambda x: x[order], data)

    learned, losses, state = jnp.asarray(program.initial_parameters(0)), [], None
    for count in steps:
        options = {"layout": Layout(leaves=leaves)} if leaves else {}
        train = meta_training(maml(program.loss, adapt), optax.adam(0.01), sample, count, **options)
        more = (jax.random.key(1),) if state is None else (jax.random.key(1), state)
        learned, loss, state = train(learned, *more)
        losses += list(loss)
    assert state.steps == sum(steps)
    return np.asarray(learned), np.array(losses)


@pytest.mark.parametrize("leaves", [0, 8])
def test_a_meta_training_goes_on_from_its_state(leaves):
    once, twice = meta_learned(leaves, (10,)), meta_learned(leaves, (5, 5))
    np.testing.assert_array_equal(once[0], twice[0])
    np.testing.assert_array_equal(once[1], twice[1])


def test_spread_tasks_have_the_same_mean():
    whole, spread = meta_learned(0), meta_learned(8)
    np.testing.assert_allclose(spread[0], whole[0], rtol=1e-8)
    np.testing.assert_allclose(spread[1], whole[1], rtol=1e-10)


@pytest.mark.slow
def test_a_meta_training_does_not_depend_on_the_devices(tmp_path):
    found = []
    for devices in (1, 8):
        status, output = outcome(start(["-c", META, tmp_path / "learned.npy", 8], devices))
        assert status == 0, output
        found.append(np.load(tmp_path / "learned.npy"))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_tasks_that_devices_cannot_share_are_refused():
    running = start(["-c", META, "unused.npy", 16], devices=16)
    status, output = outcome(running)
    assert status == 1
    assert "tasks=8: allowed are multiples of 16" in output


@pytest.mark.slow
def test_a_process_that_never_comes_is_an_error_after_the_patience():
    clock = time.monotonic()
    running = start_processes(2, 3, "--patience", 10, "--points", 64)
    for status, output in map(outcome, running):
        assert status != 0
        assert output.startswith("waiting at most 10 s for all of the processes\n")
        assert "DEADLINE_EXCEEDED" in output
    assert time.monotonic() - clock < 120


@pytest.mark.slow
def test_the_others_end_when_a_process_is_killed():
    endless = "--steps", 10**6, "--points", 64
    survivor, victim = start_processes(2, 2, "--patience", 10, *endless)
    while "connected to 1 peer" not in victim.stdout.readline():
        assert victim.poll() is None
    time.sleep(5)
    victim.kill()
    victim.communicate()
    status, output = outcome(survivor, patience=120)
    assert status != 0
    assert "unavailable" in output.lower() or "heartbeat" in output.lower() or "peer" in output


MEMORY = """if True:
    import sys
    from opifex_tutorials.losses.burgers import burgers_hard
    from opifex_tutorials.problems.burgers import BurgersProblem
    from opifex_tutorials.losses.jax_system import Program
    from opifex_tutorials.losses.sharded import Layout, ShardedProgram, ShardedSystem
    from opifex_tutorials.training import levenberg_marquardt as lm
    problem = BurgersProblem(0.05)
    program = Program(burgers_hard, problem, 2**20, (16, 16))
    sharded = ShardedProgram(program, Layout())
    system = ShardedSystem(sharded, problem, sharded.spread(program.sample(problem, (0, 0))))
    state = lm.LevenbergMarquardtState(program.initial_parameters(0))
    first = system.sum_of_squares(state.parameters)
    state = lm.levenberg_marquardt_step(system, state)
    if sys.platform == "linux":  # getrusage would count what the parent had before
        peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
        peak = 1024 * int(peak[0].split()[1])
    else:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(len(state.parameters), state.loss < first, peak)
"""


@pytest.mark.slow
def test_a_million_points_fit_into_a_gigabyte():
    status, output = outcome(start(["-c", MEMORY]), patience=600)
    assert status == 0, output
    parameters, falls, peak = output.split()
    assert falls == "True"
    assert int(parameters) == 337  # the Jacobian would take 2.8 GB
    assert int(peak) <= 1e9
