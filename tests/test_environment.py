"""The environment check: set-ups are broken on purpose, and the report has to say how."""

import json
import os
import subprocess
import sys
import tomllib
from itertools import permutations
from pathlib import Path

import mpmath
import numpy as np
import pytest
from packaging.requirements import Requirement

from opifex_tutorials.environment import Choice, Device, Report, check_devices, choose_device
from opifex_tutorials.environment.__main__ import main
from opifex_tutorials.environment.costs import measure_imports, measure_training
from opifex_tutorials.environment.interoperability import Exchange, check_interoperability
from opifex_tutorials.environment.probes import second_derivative
from opifex_tutorials.environment.processes import _records, run_fresh
from opifex_tutorials.environment.tables import Table
from opifex_tutorials.environment.versions import Version, check_versions, fix_command

ROOT = Path(__file__).parent.parent


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    """Put files and fake distributions before everything installed, here and in new processes."""
    monkeypatch.syspath_prepend(tmp_path)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)

    def write(name, *, version=None, code="", metadata=""):
        (tmp_path / f"{name}.py").write_text(code)
        if version is not None:
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (folder / "METADATA").write_text(header + metadata)

    return write


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


# --- versions ---


def test_one_verdict_for_each_way_to_fail(set_up):
    set_up("good", version="1.5")
    set_up("old", version="1.9")
    set_up("new", version="3.0")
    set_up("unimportable", version="1.0", code="raise ImportError('libdemo.so: not found')")
    set_up("crashing", version="1.0", code=CRASH)
    wanted = ["good>=1", "old>=2", "new>=2,<3", "gone>=1", "unimportable>=1", "crashing>=1"]
    wanted += ['elsewhere>=1; sys_platform == "never"', 'nice>=4; extra == "tracking"']
    wanted += ['tool>=1; extra == "test"']
    lines = [f"Requires-Dist: {line}\n" for line in wanted]
    set_up("demo", version="1", metadata="Requires-Python: >=3.99\n" + "".join(lines))

    found = {line.name: line for line in check_versions("demo")}
    assert {name: line.verdict for name, line in found.items()} == {
        "Python": "outdated",
        "good": "ok",
        "old": "outdated",
        "new": "outdated",
        "gone": "missing",
        "unimportable": "broken",
        "crashing": "broken",
        "nice": "missing",
    }
    assert found["good"].fix is None
    assert found["old"].found == "1.9"
    assert found["old"].fix == 'python -m pip install "old>=2"'
    assert found["unimportable"].fix == 'python -m pip install --force-reinstall "unimportable>=1"'
    assert found["unimportable"].detail == "ImportError: libdemo.so: not found"
    assert found["crashing"].detail == "crashed with signal SIGSEGV"
    assert ">=3.99" in str(found["Python"].fix)
    assert [name for name, line in found.items() if line.optional] == ["nice"]


def test_metadata_or_packaging_absent(set_up):
    (line,) = check_versions("never-installed")
    assert (line.name, line.verdict) == ("never-installed", "missing")
    set_up("packaging", code="raise ImportError('broken on purpose')")
    code = (
        "from opifex_tutorials.environment.versions import check_versions;"
        "(line,) = check_versions(); print(line.name, line.verdict, line.fix)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    expected = 'packaging broken python -m pip install --force-reinstall "packaging"\n'
    assert finished.stdout == expected


def test_commands_for_pip_and_conda(monkeypatch):
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert fix_command("torch", ">=2", verdict="missing") == 'python -m pip install "torch>=2"'
    monkeypatch.setenv("CONDA_PREFIX", sys.prefix)
    command = fix_command("torch", ">=2", verdict="missing")
    assert command == 'conda install -c conda-forge "pytorch>=2"'
    command = fix_command("jax", ">=0.7", verdict="broken", installer="conda")
    assert command == 'conda install --force-reinstall -c conda-forge "jax>=0.7"'
    command = fix_command("jax", ">=0.7", verdict="outdated", installer="pip")
    assert command == 'python -m pip install "jax>=0.7"'
    # conda's base environment is often active around a venv, into which it cannot install
    monkeypatch.setenv("CONDA_PREFIX", str(Path(sys.prefix).parent))
    assert fix_command("jax", "", verdict="missing") == 'python -m pip install "jax"'


# --- fresh processes ---


def test_a_probe_that_hangs_or_chatters(set_up):
    set_up("slow", code="import time; time.sleep(60)")
    outcome = run_fresh("imports", "slow", timeout=2)
    assert outcome.records == ()
    assert outcome.error == "no answer within 2 s"
    set_up("chatty", code="print('hello'); import sys; print('warning', file=sys.stderr)")
    outcome = run_fresh("imports", "chatty")
    assert outcome.error is None
    assert set(outcome.records[0]) == {"seconds"}
    assert _records(b'\x1e{"a": 1}\nnoise\n\x1e{"b": ') == ({"a": 1},)


def test_importing_the_check_loads_no_framework():
    code = "import sys, opifex_tutorials.environment; print({'jax', 'torch'} & set(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "set()\n"


# --- second derivatives and devices ---


def test_closed_form_against_forty_digits():
    layers = second_derivative.given_layers()

    def u(x):
        values = [x]
        for i, (weights, biases) in enumerate(layers):
            sums = [
                mpmath.fdot(values, map(mpmath.mpf, weights[:, j])) + mpmath.mpf(bias)
                for j, bias in enumerate(biases)
            ]
            values = sums if i == len(layers) - 1 else list(map(mpmath.tanh, sums))
        return values[0]

    points = np.array([[-0.9], [0.0], [0.4]])
    with mpmath.workdps(40):
        exact = [float(mpmath.diff(u, mpmath.mpf(x), 2)) for (x,) in points]
    computed = second_derivative.closed_form(points, layers)[:, 0]
    np.testing.assert_allclose(computed, exact, rtol=1e-12)
    assert np.min(np.abs(exact)) > 0.1


WRONG_TORCH = """
import torch
class Tanh(torch.autograd.Function):  # right value and slope; half of the slope counts as constant
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.tanh()
    @staticmethod
    def backward(context, gradient):
        x, = context.saved_tensors
        slope = 1 - x.tanh() ** 2
        return gradient * (slope + slope.detach()) / 2
torch.tanh = Tanh.apply
"""
WRONG_JAX = """
import jax, jax.numpy as jnp
tanh = jax.custom_jvp(jnp.tanh)
right = jnp.tanh
tanh.defjvp(lambda x, dx: (right(x[0]), jax.lax.stop_gradient(1 - right(x[0]) ** 2) * dx[0]))
jnp.tanh = tanh
"""


@pytest.mark.parametrize(("framework", "code"), [("torch", WRONG_TORCH), ("jax", WRONG_JAX)])
def test_a_wrong_second_derivative_is_caught(set_up, framework, code):
    set_up("sitecustomize", code=code)
    (device,) = check_devices((framework,))
    assert device.kind == "cpu"
    assert device.error_float64 > 0.1
    assert not device.usable
    choice = choose_device(framework, [device])
    assert choice.device is None
    assert "gets the second derivative wrong" in choice.reason


# PyTorch as it behaves on a Mac or with an NVIDIA GPU, its tensors kept on the CPU.
PRETEND = """
import torch
on_cpu = torch.as_tensor
def as_tensor(data, device="cpu"):
    if device == "mps" and data.dtype == "float64":
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
    return on_cpu(data)
torch.as_tensor = as_tensor
torch.{module}.is_available = lambda: True
torch.cuda.get_device_name = lambda: "Pretended GPU"
"""


def test_apple_mps_falls_back_to_the_cpu_and_says_so(set_up):
    set_up("sitecustomize", code=PRETEND.format(module="backends.mps"))
    devices = check_devices(("torch",))
    cpu, mps = devices
    assert (mps.kind, mps.error_float64) == ("mps", None)
    assert mps.error_float32 < 1e-4
    choice = choose_device("torch", devices)
    assert choice.device == "cpu"
    assert "Apple MPS has no float64" in choice.reason
    assert "falls back" in choice.reason
    assert cpu.usable


def test_cuda_is_chosen_once_it_has_passed(set_up):
    set_up("sitecustomize", code=PRETEND.format(module="cuda"))
    devices = check_devices(("torch",))
    assert [device.kind for device in devices] == ["cpu", "cuda"]
    assert devices[1].name == "Pretended GPU"
    choice = choose_device("torch", devices)
    assert choice.device == "cuda"
    assert "CUDA has float64" in choice.reason


def test_choice_among_given_devices():
    cpu = Device("jax", "cpu", error_float32=1e-6, error_float64=1e-15)
    wrong = Device("jax", "cuda", error_float32=1e-6, error_float64=1e-3)
    crashed = Device("jax", "accelerator", problem="crashed with signal SIGABRT")
    other = Device("torch", "cuda", error_float32=1e-6, error_float64=1e-15)
    assert choose_device("jax", [cpu, other]).reason.startswith("it is the only device found")
    choice = choose_device("jax", [cpu, wrong])
    assert choice.device == "cpu"
    assert "CUDA gets the second derivative wrong (relative error 1e-03" in choice.reason
    choice = choose_device("jax", [cpu, crashed])
    assert choice.device == "cpu"
    assert "SIGABRT" in choice.reason
    assert choose_device("jax", [wrong]).device is None
    assert choose_device("jax", []) == Choice("jax", None, "no device was found")
    nothing = Device("jax", "cpu", error_float64=float("nan"))
    assert not nothing.usable
    for call in (lambda: choose_device("keras"), lambda: check_devices(("keras",))):
        with pytest.raises(ValueError, match="framework='keras': allowed are jax, torch"):
            call()


def test_an_accelerator_that_crashes_does_not_hide_the_cpu(set_up):
    code = f"import sys\nif 'others' in sys.orig_argv:\n    {CRASH}\n"
    set_up("sitecustomize", code=code)
    cpu, other = check_devices(("jax",))
    assert cpu.usable
    assert other == Device("jax", "accelerator", problem="crashed with signal SIGSEGV")


def test_frameworks_absent_or_crashing(set_up):
    set_up("jax", code="raise ModuleNotFoundError(\"No module named 'jax'\")")
    set_up("torch", code=CRASH)
    absent, crashing = check_devices()
    assert absent.problem == "ModuleNotFoundError: No module named 'jax'"
    assert crashing.problem == "crashed with signal SIGSEGV"
    assert not absent.usable
    assert not crashing.usable
    assert all(not row.passed for row in check_interoperability())
    (cost,) = measure_training(["small"], ["jax"], ["float32"])
    assert cost.problem == "ModuleNotFoundError: No module named 'jax'"
    assert cost.steps_per_second is None


# --- exchange of arrays ---


def test_a_copy_and_a_changed_dtype_are_caught(set_up):
    code = "import torch; share = torch.from_dlpack; torch.from_dlpack = lambda x: {}"
    set_up("sitecustomize", code=code.format("share(x).clone()"))
    failed = [record for record in run_fresh("exchange", "numpy", "torch").records]
    assert {record["check"]: record["passed"] for record in failed} == {
        "NumPy → PyTorch and back keeps values and dtype": True,
        "NumPy → PyTorch shares memory (DLPack)": False,
        "PyTorch → NumPy and back keeps values and dtype": True,
        "PyTorch → NumPy shares memory (DLPack)": True,
    }
    narrow = "share(x).float() if share(x).dtype == torch.float64 else share(x)"
    set_up("sitecustomize", code=code.format(narrow))
    first, *_ = run_fresh("exchange", "numpy", "torch").records
    assert (first["passed"], first["detail"]) == (False, "changed: float64")


# --- costs ---


def test_costs_are_measured_apart_from_the_caller():
    ballast = np.ones(50_000_000)  # 400 MB that the fresh process must not be charged for
    (cost,) = measure_imports(["json"], repeats=1)
    assert ballast.nbytes == 400_000_000
    assert 0 < cost.seconds < 10
    assert 5 < cost.memory < 200
    (absent,) = measure_imports(["never_installed"], repeats=1)
    assert absent.problem == "ModuleNotFoundError: No module named 'never_installed'"


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_a_training_is_measured(framework):
    (cost,) = measure_training(["small"], [framework], ["float64"], points=50, repeats=1)
    assert cost.problem is None
    assert (cost.hidden_layers, cost.parameters) == (2, 3 * 20 + 21 * 20 + 21)
    assert cost.steps_per_second > 1
    assert cost.first_step > 0
    assert 100 < cost.peak_memory < 5000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure_training(["huge"]), r"sizes=\['huge'\]: allowed are small, medium, large"),
        (lambda: measure_training(frameworks=["tf"]), r"frameworks=\['tf'\]: allowed are jax"),
        (lambda: measure_training(precisions=["half"]), r"precisions=\['half'\]: allowed are"),
        (lambda: measure_training(points=0), "points=0: allowed are positive integers"),
        (lambda: measure_imports(repeats=0), "repeats=0: allowed are positive integers"),
    ],
)
def test_impossible_measurements(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the report and its command ---


def a_report(**changes):
    """Return a report without a fault, or with the faults given."""
    cpu = {"error_float32": 1e-6, "error_float64": 1e-15}
    devices = tuple(Device(framework, "cpu", "x86", **cpu) for framework in ("jax", "torch"))
    parts = {
        "python": "python",
        "platform": "Linux",
        "versions": (
            Version("jax", ">=0.7", "0.10", "ok"),
            Version("wandb", ">=0.18", None, "missing", optional=True, fix="pip install wandb"),
        ),
        "devices": devices,
        "choices": tuple(choose_device(framework, devices) for framework in ("jax", "torch")),
        "exchanges": (Exchange("numpy, then jax", "shares memory", True, "same address"),),
    }
    return Report(**(parts | changes))


BROKEN = Version("jax", ">=0.7", None, "missing", fix='python -m pip install "jax>=0.7"')


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"versions": (BROKEN,)}, 'jax is missing: python -m pip install "jax>=0.7"'),
        ({"choices": (Choice("jax", None, "none"),)}, "JAX uses no device: none"),
        ({"exchanges": (Exchange("a, then b", "c", False, "copied"),)}, "a, then b: c: copied"),
    ],
)
def test_each_fault_keeps_the_book_from_running(changes, problem):
    assert a_report().ready
    assert a_report().problems == ()
    report = a_report(**changes)
    assert not report.ready
    assert report.problems == (problem,)
    assert problem in str(report)
    assert report.to_dict()["problems"] == [problem]


def test_report_as_text_html_and_dictionary():
    report = a_report()
    assert "wandb (optional)  >=0.18" in str(report)
    assert str(report).endswith("The book can run here.")
    html = report._repr_html_()
    assert html.count("<table") == 3
    assert '<th scope="col">verdict</th>' in html
    assert '<th scope="row">jax</th>' in html
    assert "style=" not in html  # colors belong to the page, light or dark
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["ready"] is True
    table = Table("a & b", ("x",), [("<i>",)])
    assert "&lt;i&gt;" in table._repr_html_()
    assert "a &amp; b" in table._repr_html_()


@pytest.mark.parametrize(("changes", "status"), [({}, 0), ({"versions": (BROKEN,)}, 1)])
def test_command_prints_the_report_and_returns_the_exit_status(
    changes, status, monkeypatch, capsys
):
    report = a_report(**changes)
    monkeypatch.setattr("opifex_tutorials.environment.__main__.check", lambda: report)
    monkeypatch.setattr(sys, "argv", ["environment"])
    assert main() == status
    assert capsys.readouterr().out == f"{report}\n"
    monkeypatch.setattr(sys, "argv", ["environment", "--json"])
    assert main() == status
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(report.to_dict()))


def run_command(*arguments):
    command = [sys.executable, "-m", "opifex_tutorials.environment", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_command_on_this_machine():
    """What the project asks for is what is checked, and all of it holds here."""
    finished = run_command("--json")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    report = json.loads(finished.stdout)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [("Python", project["requires-python"], False)]
    for optional, lines in (
        (False, project["dependencies"]),
        (True, project["optional-dependencies"]["tracking"]),
    ):
        wanted += [(r.name, str(r.specifier), optional) for r in map(Requirement, lines)]
    versions = report["versions"]
    assert [(v["name"], v["required"], v["optional"]) for v in versions] == wanted
    assert {v["verdict"] for v in versions if not v["optional"]} == {"ok"}
    assert {v["name"] for v in versions if v["optional"]} == {"lightning", "wandb", "optuna"}

    devices = {d["framework"]: d for d in report["devices"] if d["kind"] == "cpu"}
    assert set(devices) == {"jax", "torch"}
    for device in devices.values():
        assert device["error_float64"] < 1e-13
        assert 1e-9 < device["error_float32"] < 1e-4
        assert device["problem"] is None

    rows = report["exchanges"]
    assert all(row["passed"] for row in rows)
    agreement = [row["imports"] for row in rows if "second derivative" in row["check"]]
    assert agreement == ["torch, then jax", "jax, then torch"]
    assert {row["check"] for row in rows if "shares memory" in row["check"]} == {
        f"{source} → {target} shares memory (DLPack)"
        for source, target in permutations(("NumPy", "PyTorch", "JAX"), 2)
    }


@pytest.mark.slow
def test_command_with_one_framework_outdated_and_one_broken(set_up):
    set_up("torch", version="1.13", code="")
    set_up("jax", code="raise ImportError('jaxlib is not installed')")
    finished = run_command("--json")
    assert finished.returncode == 1
    report = json.loads(finished.stdout)
    lines = {line["name"]: line for line in report["versions"]}
    assert lines["torch"]["verdict"] == "outdated"
    assert lines["torch"]["found"] == "1.13"
    assert lines["torch"]["fix"].startswith('python -m pip install "torch>=')
    assert lines["jax"]["verdict"] == "broken"
    assert lines["jax"]["detail"] == "ImportError: jaxlib is not installed"
    assert [choice["device"] for choice in report["choices"]] == [None, None]
    assert report["ready"] is False
