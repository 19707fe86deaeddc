"""The chapter on experiments: what it tracks stays here; who lacks its tools is told what to do.

The cells themselves run here, under two watches. Every Python process writes down which address it
is asked to connect to or look up, and refuses. Programs in other languages (Weights & Biases starts
one) are led to a proxy that only counts who comes; where the kernel allows it, all of them live in
a network without any way out, whose counters tell who looked for one.
"""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools import portable

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "experiments.ipynb"

#: Put where every Python process of the test imports it from, before anything else.
WATCH = """
import os, sys

def local(host):
    return host in ("localhost", "::1", "", None) or str(host).startswith("127.")

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path: on this machine
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
    else:
        return
    if not local(host):
        with open(os.environ["WATCH_LOG"], "a") as log:
            print(event, host, file=log)
        raise OSError(f"{event} to {host} refused")

sys.addaudithook(watch)
"""


def cells_that_define(*names):
    """Return the source of the chapter's cells that bind the names at their top level."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    found = [source for source in sources if bound(source) & set(names)]
    assert set(names) <= set().union(*map(bound, found))
    return "\n".join(found)


def bound(source):
    """Return the names that a cell defines or imports."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


#: What runs first in each script: the chapter's own settings and tools.
PREFACE = (
    "import os, sys\nimport numpy as np\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n"
)
TRACK = """
import time
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.solvers import solve_mfg_pinn
few = {"hidden": (4,), "points": (6, 4), "steps": 6, "record_every": 2, "tolerance": np.inf}
with stores(folder) as write:
    solve_mfg_pinn(CosineGame(), seed=0, monitor=tracked(write), **few)
long, numbers = folder / "long", {n: 1 / (n + 1) for n in range(300)}
long.mkdir()
with stores(long) as write:  # slowly, and in several blocks of the file
    for n, number in numbers.items():
        write(n, held_out=number)
        time.sleep(0.01)
assert read_lines(long) == read_wandb(long) == numbers
assert list(read_events(long)) == list(numbers)
"""
SEARCH = """
study = optuna.create_study(storage=storage(folder / "study.db"))
study.optimize(lambda trial: suggest(trial)["damping"], n_trials=3)
optuna.importance.get_param_importances(study)
"""
STRUCTURE = """
import time
from opifex_tutorials.problems.mean_field_games import CosineGame
game = CosineGame()
"""
FIT = """
fit(1)[0].save_checkpoint(folder / "middle.ckpt")
fit(2, folder / "middle.ckpt")
"""


@contextmanager
def counting():
    """Yield the address of a proxy that serves nobody, and a list of what was asked of it."""
    asked, door = [], socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                visitor, _ = door.accept()
            except OSError:
                return
            with visitor:
                visitor.settimeout(2)
                try:
                    asked.append(visitor.recv(200).decode(errors="replace").split("\r\n")[0])
                except OSError:
                    asked.append("silence")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}", asked
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    thread.join(timeout=5)


def alone():
    """Return a command that runs another one in a network of its own, if that is possible."""
    command = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None:
        return None
    found = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if found.returncode == 0 else None


def ways_out(folder, source, **environment):
    """Run a script that is given the folder; return who looked for a way out of this machine."""
    folder.mkdir(exist_ok=True)
    script, log, counters = (folder / name for name in ("script.py", "log", "counters"))
    script.write_text(source, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    log.touch()
    environment = {**os.environ, "WATCH_LOG": str(log), "OMP_NUM_THREADS": "1", **environment}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    environment["HOME"] = str(folder)
    environment.pop("NO_PROXY", None)
    environment.pop("no_proxy", None)
    run = [sys.executable, str(script), str(folder)]
    counted = ["sh", "-c", f'"$@"; end=$?; cat /proc/net/snmp* > {counters}; exit $end', "sh", *run]
    network = alone()
    with counting() as (proxy, asked):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            environment[name] = proxy
        command = [*network, *counted] if network else run
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    found = [*log.read_text().splitlines(), *asked]
    if network:
        found += unreachable(counters.read_text())
    return found, done


def unreachable(text):
    """Return which counters of a network say that something had nowhere to go."""
    found = [f"IPv6 {n}" for n in re.findall(r"^Ip6OutNoRoutes\s+(\d+)", text, re.M) if int(n)]
    names, values = (line.split() for line in re.findall(r"^Ip: .*", text, re.M))
    count = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    return found + [f"IPv4 {count}"] * (count > 0)


TRACKING = ("TOOLS", "contextmanager", "LOOK_AWAY", "residual", "stores", "tracked")
READING = ("read_lines", "messages", "read_wandb")


def tracking():
    return PREFACE + cells_that_define(*TRACKING, *READING) + TRACK


@pytest.mark.slow
def test_tracking_opens_no_socket_to_the_outside(tmp_path):
    found, done = ways_out(tmp_path, tracking())
    assert done.returncode == 0, done.stderr[-2000:]
    assert found == []
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 1
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_search_and_lightning_open_no_socket_to_the_outside(tmp_path):
    source = PREFACE + cells_that_define("TOOLS", "optuna", "storage", "suggest") + SEARCH
    source += STRUCTURE + cells_that_define("LevenbergMarquardt", "GameModule", "lightning")
    source += "\n" + cells_that_define("OFF", "fit") + FIT
    found, done = ways_out(tmp_path, source)
    assert done.returncode == 0, done.stderr[-2000:]
    assert found == []


PLANTED = {
    "connect": "import socket\nsocket.create_connection(('192.0.2.1', 443), timeout=1)",
    "name": "import socket\nsocket.getaddrinfo('example.org', 443)",
    "child": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', "
    "'import socket; socket.create_connection((\"192.0.2.1\", 443), timeout=1)'], check=True)",
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_planted_way_out_is_noticed(tmp_path, planted):
    found, done = ways_out(tmp_path, planted)
    assert done.returncode != 0
    assert len(found) >= 1


@pytest.mark.slow
def test_the_service_is_watched_too(tmp_path):
    """Online, the program that Weights & Biases starts looks for its server, and is seen."""
    source = tracking().replace('"WANDB_MODE": "offline"', '"WANDB_MODE": "online"')
    online = {"WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "5", "WANDB_HTTP_TIMEOUT": "2"}
    found, done = ways_out(tmp_path, source, **online)
    assert done.returncode != 0
    assert found != []


def test_a_reader_without_the_tools_gets_the_line_that_installs_them(monkeypatch):
    found = "importlib.util.find_spec"
    monkeypatch.setattr(found, lambda name: None if name in ("optuna", "wandb") else name)
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(ModuleNotFoundError) as failure:
        exec(cells_that_define("TOOLS"), {})
    assert str(failure.value) == "optuna, wandb: pip install 'opifex-tutorials[tracking]'"


def test_the_notebook_to_take_away_installs_the_tools():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    source = portable.first_cell(notebook, "experiments", "https://example.org")["source"]
    assert "opifex-tutorials[notebook,tracking]" in source
    assert 'find_spec("optuna") is None' in source
