"""Trainings that are killed, and go on as if nothing had happened."""

import json
import multiprocessing
import os
import pickle
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.training import checkpoints as module
from opifex_tutorials.training.checkpoints import checkpoints, resumable
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.training.loop import TrainingInterrupted

BOOK = Path(__file__).parent.parent / "book"
SMALL = {"hidden": (6,), "steps": 60, "record_every": 10, "tolerance": np.inf}


def size(solution):
    return float(np.linalg.norm(solution.parameters))


def burgers(optimizer="levenberg_marquardt", **options):
    from opifex_tutorials.problems.burgers import BurgersProblem
    from opifex_tutorials.solvers import solve_burgers_pinn

    asked = {"points": 64, "resample_every": 20, "monitor": size, **SMALL, **options}
    return solve_burgers_pinn(BurgersProblem(0.05), seed=0, optimizer=optimizer, **asked)


def game(optimizer="levenberg_marquardt", **options):
    """Points are drawn anew every 20 steps; a checkpoint in between has to know them."""
    from opifex_tutorials.problems.mean_field_games import CosineGame
    from opifex_tutorials.solvers import solve_mfg_pinn

    asked = {"points": (8, 8), "sampling": "sobol", "resample_every": 20, **SMALL, **options}
    return solve_mfg_pinn(CosineGame(), seed=0, optimizer=optimizer, monitor=size, **asked)


def crowd(optimizer="levenberg_marquardt", exploring=15):
    """Points follow the parameters: new ones at each of the first steps, then every 20 steps."""
    from opifex_tutorials.problems.mean_field_games import LinearQuadraticGame
    from opifex_tutorials.solvers import solve_mfg_pinn

    asked = {"exploring": exploring, "resample_every": 20, "monitor": size, **SMALL}
    return solve_mfg_pinn(LinearQuadraticGame(dimension=2), seed=0, optimizer=optimizer, **asked)


def hybrid():
    from opifex_tutorials.problems.mean_field_games import CosineGame
    from opifex_tutorials.solvers import solve_mfg_hybrid

    asked = {"cells": 10, "points": (8, 8), "imitation_steps": 5, **SMALL}
    return solve_mfg_hybrid(CosineGame(boundary="neumann"), seed=0, route="both", **asked).network


def boundary():
    import test_boundary_learning as case

    trace = case.SplineTrace(9, horizon=1.0, final=case.TRUE[-1])
    return case.learn(trace, case.observations(50, 0.01), 0.01, cells=16, weights=6)


class Circle:
    """The residuals of a member of a family."""

    def __init__(self, radius):
        self.radius = radius

    def residuals(self, p):
        return np.array([p[0] * np.cos(p[1]) - self.radius * 0.6, p[0] * np.sin(p[1]) - 0.8])

    def linearize(self, p):
        c, s = np.cos(p[1]), np.sin(p[1])
        return self.residuals(p), np.array([[c, -p[0] * s], [s, p[0] * c]])


def branch():
    from opifex_tutorials.training.transfer import solve_branch

    members = np.linspace(1.0, 2.0, 6)
    return solve_branch(Circle, members, np.array([1.3, 0.5]), first_steps=3, steps=10)


def meta():
    """Any pytree, with a state of Optax; in the first round it compiles."""
    import jax
    import jax.numpy as jnp

    from opifex_tutorials.models.precision import enable_float64
    from opifex_tutorials.training.gradient import adam
    from opifex_tutorials.training.meta_learning import Task, in_parts, meta_training, reptile
    from opifex_tutorials.training.meta_learning import gradient_steps as steps

    enable_float64()  # as the other trainings of this process may have done
    adapt = steps(lambda p, x: jnp.sum((p["w"] - x * p["b"][0]) ** 2), adam(3), 3)
    start = {"w": jnp.arange(3.0), "b": (jnp.ones(()), None)}

    def sample(key):
        return Task(*(jax.random.normal(k, (2, 3)) for k in jax.random.split(key)))

    def loss(p, x):
        return jnp.sum((p["w"] - x) ** 2)

    train = meta_training(reptile(loss, adapt), adam(60), sample, 10)
    shape = {"steps": 60, "part": 10}
    learned, losses, _ = in_parts(train, adam(60), start, jax.random.key(0), **shape)
    leaves = [*jax.tree.leaves(learned), losses]
    return Result(np.concatenate([np.ravel(leaf) for leaf in leaves]), None)


def own_loop_in_torch():
    """Models and optimizers are saved by what PyTorch saves of them."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters())
    state, data = {"model": model, "adam": adam, "losses": []}, torch.randn(5, 3)
    for _ in resumable(range(0, 60, 10), "epochs", dict, state):
        for _ in range(10):
            adam.zero_grad()
            loss = (model(data) ** 2).sum()
            loss.backward()
            adam.step()
        state["losses"].append(loss.item())
    return Result(torch.cat([p.ravel() for p in model.parameters()]).detach().numpy(), state)


class Result:
    def __init__(self, parameters, other):
        self.parameters, self.other = parameters, other


KINDS = {
    "burgers": burgers,
    "burgers, Adam": lambda: burgers("adam"),
    "burgers, L-BFGS": lambda: burgers("l_bfgs"),
    "game": game,
    "game, Adam": lambda: game("adam"),
    "game, L-BFGS": lambda: game("l_bfgs"),
    "crowd": crowd,
    "crowd, Adam": lambda: crowd("adam"),
    "crowd, L-BFGS": lambda: crowd("l_bfgs", exploring=0),
    "hybrid": hybrid,
    "boundary": boundary,
    "branch": branch,
    "meta-training": meta,
    "own loop in PyTorch": own_loop_in_torch,
}


def told(result):
    """All that a training tells, to the last bit, but for the time it took."""
    history = getattr(result, "history", None)
    names = ("steps", "losses", "held_out_losses", "errors")
    lists = [getattr(history, name) for name in names] if history else []
    path = [pickle.dumps(sorted(e.items())) for e in getattr(result, "path", [])]
    return result.parameters.tobytes(), lists, path


def run(kind, folder, answer, deadly=None, delay=0.0, in_write=None):
    """Run in a process of its own; die by SIGKILL in the round after the ``deadly`` one.

    Args:
        delay: die so many seconds after it has begun.
        in_write: die while its checkpoint is written, after so many operations on files.
    """
    import jax

    # What one process has compiled the next ones load: it saves half of this test's time.
    jax.config.update("jax_compilation_cache_dir", str(answer.parents[1] / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    real, touched = module.progress, []

    def watched(*args):
        for number, done in enumerate(real(*args)):
            yield done  # a round, and its checkpoint
            if number == deadly and in_write is None:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            elif number == deadly:
                sys.addaudithook(die)
            elif deadly is not None and number > deadly and in_write is None:
                time.sleep(60)

    def die(event, args):
        if event in ("open", "os.rename") and ".orbax-checkpoint-tmp" in str(args[0]):
            touched.append(event)
            if len(touched) > in_write:
                os.kill(os.getpid(), signal.SIGKILL)

    module.progress = watched
    with checkpoints(folder, every=10):
        result = KINDS[kind]()
    Path(answer).write_bytes(pickle.dumps(told(result)))


# A server that has imported everything and has computed nothing: its children start at once.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["torch._dynamo", "test_boundary_learning", "opifex_tutorials.training.store"]
    + [f"opifex_tutorials.solvers.{name}" for name in ("burgers_pinn", "mfg_hybrid")]
)


def in_process(function, *args, **options):
    process = SERVER.Process(target=function, args=args, kwargs=options)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_goes_on_to_the_last_bit(kind, tmp_path):
    """Two kills each: at a random moment, and in the middle of writing a checkpoint."""
    folder, answers, chance = tmp_path / "saved", tmp_path / "answer", random.Random()
    expected = pickle.dumps(told(KINDS[kind]()))
    kills = [{"deadly": chance.randint(0, 2), "delay": chance.uniform(0, 0.03)}]
    kills.append({"deadly": 0, "in_write": chance.randint(0, 10)})
    for kill in kills:
        answers.unlink(missing_ok=True)
        assert in_process(run, kind, folder, answers, **kill) == -signal.SIGKILL, kills
        assert not answers.exists()
    assert [*folder.rglob("*.orbax-checkpoint-tmp")], "it was not killed while it wrote"
    assert in_process(run, kind, folder, answers) == 0
    assert answers.read_bytes() == expected, kills
    assert not [*folder.rglob("*.orbax-checkpoint-tmp")]


@pytest.mark.parametrize("kind", ["burgers", "game", "game, Adam", "crowd", "crowd, L-BFGS"])
def test_wherever_a_training_is_interrupted_it_goes_on(kind, tmp_path, monkeypatch):
    expected, real, interrupted = told(KINDS[kind]()), size, [0]

    def monitor(solution):
        interrupted[0] += solution.history.steps[-1] == stop
        if interrupted[0] == 1 and solution.history.steps[-1] == stop:
            raise KeyboardInterrupt
        return real(solution)

    monkeypatch.setitem(globals(), "size", monitor)
    for stop in range(10, 70, 10):
        interrupted[0] = 0
        with checkpoints(tmp_path / str(stop), every=10), pytest.raises(TrainingInterrupted):
            KINDS[kind]()
        with checkpoints(tmp_path / str(stop), every=10):
            assert told(KINDS[kind]()) == expected, stop


def count(folder, stop=None, rounds=range(0, 60, 10), every=10, **asked):
    """Add up; a loop that costs nothing."""
    state = {"total": np.zeros(3), "seen": [], "last": None}
    with checkpoints(folder, every=every):
        for done in resumable(rounds, "sum", lambda: asked, state):
            if done == stop:
                raise KeyboardInterrupt
            state |= {"total": state["total"] + [0, 1, done], "last": np.array([done])}
            state["seen"].append(done)
    return state


def stopped(folder, stop, **options):
    with pytest.raises(KeyboardInterrupt):
        count(folder, stop, **options)


def saved(folder):
    return sorted(int(path.name) for path in Path(folder).iterdir())


@pytest.mark.parametrize(
    ("every", "expected"), [(10, [20, 30]), (20, [20]), (15, [20, 30]), (1, [20, 30]), (100, [])]
)
def test_the_last_two_multiples_are_kept(tmp_path, every, expected):
    stopped(tmp_path, 30, every=every)
    assert saved(tmp_path / "0") == expected
    assert count(tmp_path, every=every)["seen"] == [0, 10, 20, 30, 40, 50]
    assert saved(tmp_path / "0")[-1] == 60


def test_a_state_comes_back_as_it_was(tmp_path):
    stopped(tmp_path, 40)
    state = count(tmp_path, stop=None)
    assert state["total"].tolist() == [0, 6, 150]
    assert state["seen"] == [0, 10, 20, 30, 40, 50]
    assert all(type(n) is int for n in state["seen"])
    assert state["last"].tolist() == [50]
    assert count(tmp_path, stop=0)["seen"] == state["seen"]  # it has ended: no round is left


def damage(path, how):
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "removed":
        path.unlink()
    else:
        text = json.loads(content)
        place = text["state"].index("A", 200)  # among the numbers
        text["state"] = text["state"][:place] + "B" + text["state"][place + 1 :]
        path.write_text(json.dumps(text))


@pytest.mark.parametrize("how", ["cut short", "emptied", "removed", "one bit"])
def test_a_damaged_checkpoint_is_an_error_and_the_one_before_is_there(tmp_path, how):
    stopped(tmp_path, 40)
    last = tmp_path / "0" / "40"
    damage(last / "default" / "metadata", how)
    message = f"checkpoint '{last}' is damaged: remove this folder to go on from the one before"
    with pytest.raises(ValueError, match=message):
        count(tmp_path)
    shutil.rmtree(last)
    assert count(tmp_path)["total"].tolist() == [0, 6, 150]


def test_any_damage_of_the_numbers_is_seen(tmp_path):
    stopped(tmp_path / "good", 40)
    chance, seen = np.random.default_rng(0), 0
    for number in range(40):
        folder = shutil.copytree(tmp_path / "good", tmp_path / str(number))
        path = folder / "0" / "40" / "default" / "metadata"
        content = bytearray(path.read_bytes())
        content[chance.integers(len(content))] ^= 1 << chance.integers(8)
        path.write_bytes(content)
        try:
            assert count(folder)["total"].tolist() == [0, 6, 150]  # what changed does not count
        except ValueError:
            seen += 1
    assert seen > 30


def test_another_training_is_an_error_that_names_the_difference(tmp_path):
    stopped(tmp_path, 40, size=1.0, data=np.arange(3))
    last = tmp_path / "0" / "40"
    message = f"checkpoint '{last}' is of another training: size=1.0, asked 2.0, more=None, asked 1"
    with pytest.raises(ValueError, match=message):
        count(tmp_path, size=2.0, more=1, data=np.arange(3))
    with pytest.raises(ValueError, match=r"data=2\.236\d*, asked 3\.74"):
        count(tmp_path, size=1.0, data=np.arange(4))
    with pytest.raises(ValueError, match=r"rounds=range\(0, 60, 10\), asked range\(0, 80, 10\)"):
        count(tmp_path, rounds=range(0, 80, 10), size=1.0, data=np.arange(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 80}, "steps=60, asked 80"),
        ({"hidden": (7,)}, r"widths=\(\d, 6, 2\), asked \(\d, 7, 2\)"),
        ({"sampling": "gauss", "resample_every": None}, "sampling='sobol', asked 'gauss'"),
        ({"points": (8, 9)}, r"points=\(8, 8\), asked \(8, 9\)"),
        ({"damping": 1e-3}, "damping=None, asked 0.001"),
        ({"start": np.full(32, 0.1)}, r"parameters=\d\.\d+, asked 0\.56"),
        ({"optimizer": "adam"}, "optimizer='levenberg_marquardt', asked 'adam'"),
    ],
)
def test_another_training_of_a_solver_is_told_by_its_arguments(tmp_path, change, message, once):
    with checkpoints(once), pytest.raises(ValueError, match=message):
        game(**change)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("game")
    with checkpoints(folder):
        game()
    return folder


def test_a_formula_that_changed_is_told_by_its_residuals(tmp_path):
    from opifex_tutorials.losses.games import hard
    from opifex_tutorials.losses.torch_system import Condition, Formulation

    def scaled(factor):
        def formulation(game):
            inner = hard(game)

            def conditions(sample, counts):
                return [
                    Condition(c.trial, lambda f, c=c: [factor * r for r in c.residuals(f)])
                    for c in inner.conditions(sample, counts)
                ]

            return Formulation(inner.trial, conditions)

        return formulation

    with checkpoints(tmp_path):
        game(formulation=scaled(1.0))
    with checkpoints(tmp_path), pytest.raises(ValueError, match=r"another training: residuals="):
        game(formulation=scaled(1.5))


def test_a_tolerance_may_change_and_a_training_that_has_ended_is_not_repeated(tmp_path):
    with checkpoints(tmp_path), pytest.raises(ConvergenceError, match="after 60 steps") as failed:
        game(tolerance=1e-9)
    monitored, solution = [], None

    def monitor(solution):
        monitored.append(1)
        return size(solution)

    with checkpoints(tmp_path):
        solution = game()
    assert solution.history == failed.value.history
    assert not monitored
    assert told(solution) == told(game())


def test_seconds_go_on_and_an_interruption_leaves_the_checkpoint(tmp_path):
    from opifex_tutorials.solvers import solve_mfg_pinn

    seen = []

    def monitor(solution):
        seen.append(solution.history.steps[-1])
        if seen == [10, 20, 30, 40]:
            raise KeyboardInterrupt
        return 0.0

    def training():
        options = {"points": (8, 8), "monitor": monitor, **SMALL}
        from opifex_tutorials.problems.mean_field_games import CosineGame

        return solve_mfg_pinn(CosineGame(), seed=0, **options)

    with checkpoints(tmp_path, every=10), pytest.raises(TrainingInterrupted) as stop:
        training()
    before = stop.value.solution.history
    with checkpoints(tmp_path, every=10):
        history = training().history
    assert seen == [10, 20, 30, 40, 40, 50, 60]
    assert history.seconds[:3] == before.seconds[:3]
    assert (np.diff(history.seconds) > 0).all()
    assert history.seconds[3] > history.seconds[2]


def test_a_bar_starts_where_the_training_goes_on(tmp_path, monkeypatch):
    bars = []

    def bar(items, *args, **options):
        bars.append((list(items), args[1], options["initial"]))
        return items

    monkeypatch.setattr("opifex_tutorials.progress.tqdm", bar)
    stopped(tmp_path, 40)
    count(tmp_path)
    assert bars == [([*range(0, 60, 10)], 6, 0), ([40, 50], 6, 4)]


def test_trainings_have_folders_in_the_order_in_which_they_start(tmp_path):
    def both(stop):
        with checkpoints(tmp_path, every=20):
            for seed in (0, 1):
                state = {"seen": []}
                for done in resumable(range(0, 60, 10), "sum", lambda s=seed: {"seed": s}, state):
                    if (seed, done) == stop:
                        raise KeyboardInterrupt
                    state["seen"].append(seed + done)
                yield state["seen"]

    with pytest.raises(KeyboardInterrupt):
        list(both((1, 30)))
    assert saved(tmp_path) == [0, 1]
    assert saved(tmp_path / "1") == [20]
    assert list(both((0, 0))) == [[seed + n for n in range(0, 60, 10)] for seed in (0, 1)]


def grow(folder):
    """Fill the disk: here files of more than 20,000 bytes do not fit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    state = {"x": np.zeros(10)}

    def training():
        for _ in resumable(range(0, 60, 10), "growth", dict, state):
            state["x"] = np.random.default_rng(0).random(10 * len(state["x"]))

    with checkpoints(folder, every=10), pytest.raises(OSError, match="0/30' could not be written"):
        training()


def test_a_full_disk_is_an_error_and_the_checkpoints_before_stay(tmp_path):
    assert in_process(grow, tmp_path) == 0
    state = {"x": np.zeros(10)}
    with checkpoints(tmp_path):
        left = list(resumable(range(0, 60, 10), "growth", dict, state))
    assert left == [20, 30, 40, 50]
    assert len(state["x"]) == 1000


def test_bad_arguments_are_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError, match=r"folder='.*file/0': allowed are those in which files can"
    ):
        count(tmp_path / "file")
    with pytest.raises(ValueError, match="every=0: allowed are integers"):
        count(tmp_path, every=0)
    with (
        checkpoints(tmp_path),
        pytest.raises(ValueError, match=r"state with <object.*: allowed are"),
    ):
        list(resumable(range(1), "one", dict, {"what": object()}))


def test_a_structure_that_grows_is_an_error_and_not_a_loss(tmp_path):
    def training():
        state = {"found": []}
        with checkpoints(tmp_path, every=1):
            for _ in resumable(range(2), "growth", dict, state):
                state["found"].append(np.zeros(2))

    training()
    with pytest.raises(
        ValueError, match=r"2' has \['found'\]\[0\].*: allowed is what the start has"
    ):
        training()


def test_without_checkpoints_nothing_is_imported_or_written():
    code = (
        "import sys; from opifex_tutorials.training.checkpoints import resumable;"
        "print(list(resumable(range(2), '', None, {})));"
        "print({'jax', 'orbax', 'torch'} & {*sys.modules})"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split("\n")[:2] == ["[0, 1]", "set()"]


def alone(folder):
    return count(folder)["total"].tolist()


def unnoticed(n):
    return list(resumable(range(n), "sum", dict, {}))


def test_side_by_side_wants_the_with_block_inside(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    stopped(folders[1], 30)
    assert side_by_side(alone, folders) == [[0, 6, 150]] * 2
    assert [saved(folder / "0")[-1] for folder in folders] == [60, 60]
    with (
        pytest.warns(RuntimeWarning, match="no training inside of checkpoints"),
        checkpoints(tmp_path / "c"),
    ):
        assert side_by_side(unnoticed, [1, 2]) == [[0], [0, 1]]


def together(folder, port, rank, stop):
    """One of two processes of JAX that train together."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    try:
        state = count(folder, stop)
    except KeyboardInterrupt:
        return
    assert state["seen"] == [0, 10, 20, 30, 40, 50]
    Path(folder, f"rank{rank}").write_text("right")


def test_of_two_processes_of_jax_the_first_writes_and_both_read(tmp_path):
    for stop in (30, None):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        two = [
            SERVER.Process(target=together, args=(tmp_path, port, rank, stop)) for rank in (0, 1)
        ]
        for process in two:
            process.start()
        for process in two:
            process.join(120)
        assert [process.exitcode for process in two] == [0, 0]
    assert (tmp_path / "rank0").read_text() == (tmp_path / "rank1").read_text() == "right"


def test_the_example_of_the_book_runs_twice(tmp_path, monkeypatch, capsys):
    page = (BOOK / "troubleshooting.md").read_text(encoding="utf-8")
    codes = re.findall(
        r"```python\n(.*?)```", page.split("## A long run that must survive")[1], re.S
    )
    monkeypatch.chdir(tmp_path)
    for code in codes * 2:
        names = {}
        exec(code, names)
        assert (names.get("solution") or names["model"]) is not None
    assert saved("runs/burgers/0") == [150, 200]
    assert saved("runs/mine/0") == [90, 100]


def test_the_order_of_the_sums_is_part_of_the_training_and_devices_are_not(tmp_path):
    from opifex_tutorials.losses.sharded import Layout

    def solve(layout):
        with checkpoints(tmp_path):
            return burgers(steps=20, layout=layout)

    first = solve(Layout(leaves=4, block=16))
    again = solve(Layout(devices=1, leaves=4, block=16))
    np.testing.assert_array_equal(first.parameters, again.parameters)
    for other in (None, Layout(leaves=8, block=16)):
        with pytest.raises(ValueError, match=r"sums=\(16, 4\), asked"):
            solve(other)
