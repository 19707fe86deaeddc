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

from opifex_tutorials.environment import Report, choose_device, probes
from opifex_tutorials.environment.__main__ import main
from opifex_tutorials.environment.devices import check_devices
from opifex_tutorials.environment.processes import MARK, run_fresh, run_program
from opifex_tutorials.environment.report import check
from opifex_tutorials.environment.versions import check_requirement, check_versions, repair

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
    set_up("candidate", version="2.0rc1")
    set_up("old", version="1.9")
    set_up("new", version="3.0")
    set_up("unimportable", version="1.0", code="raise ImportError('libdemo.so: not found')")
    set_up("crashing", version="1.0", code=CRASH)
    wanted = [
        "good>=1",
        "candidate>=1",
        "old>=2",
        "new>=2,<3",
        "gone>=1",
        "unimportable>=1",
        "crashing>=1",
    ]
    wanted += ['elsewhere>=1; sys_platform == "never"', 'nice>=4; extra == "tracking"']
    wanted += ['tool>=1; extra == "test"']
    lines = [f"Requires-Dist: {line}\n" for line in wanted]
    set_up("demo", version="1", metadata="Requires-Python: >=3.99\n" + "".join(lines))

    found = {line["package"]: line for line in check_versions("demo")}
    assert {name: line["verdict"] for name, line in found.items()} == {
        "python": "outdated",
        "good": "ok",
        "candidate": "ok",
        "old": "outdated",
        "new": "outdated",
        "gone": "missing",
        "unimportable": "broken",
        "crashing": "broken",
        "nice": "missing",
    }
    assert found["good"]["repair"] is None
    assert found["good"]["seconds"] > 0
    assert found["old"]["found"] == "1.9"
    assert found["old"]["repair"] == 'python -m pip install "old>=2"'
    again = 'python -m pip install --force-reinstall "unimportable>=1"'
    assert found["unimportable"]["repair"] == again
    assert found["unimportable"]["detail"] == "ImportError: libdemo.so: not found"
    assert found["crashing"]["detail"] == "crashed with signal SIGSEGV"
    assert found["python"]["repair"].startswith("install Python >=3.99")
    assert [name for name, line in found.items() if line["optional"]] == ["nice"]


def test_the_book_itself_is_not_installed():
    (line,) = check_versions("never-installed")
    assert (line["package"], line["verdict"]) == ("never-installed", "missing")
    assert line["repair"] == "python -m pip install -e ."


def test_commands_for_pip_and_conda(monkeypatch):
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert repair("torch", ">=2") == 'python -m pip install "torch>=2"'
    monkeypatch.setenv("CONDA_PREFIX", sys.prefix)
    assert repair("torch", ">=2") == 'conda install -c conda-forge "pytorch>=2"'
    assert repair("python", ">=3.99") == 'conda install -c conda-forge "python>=3.99"'
    command = repair("jax", ">=0.7", "conda", option="--force-reinstall ")
    assert command == 'conda install --force-reinstall -c conda-forge "jax>=0.7"'
    assert repair("jax", ">=0.7", "pip") == 'python -m pip install "jax>=0.7"'
    # conda's base environment is often active around a venv, into which it cannot install
    monkeypatch.setenv("CONDA_PREFIX", str(Path(sys.prefix).parent))
    assert repair("jax", "") == 'python -m pip install "jax"'


# --- fresh processes ---


IMPORT = "__import__(__import__('sys').argv[1]); print('\\x1e{}', flush=True)"


def test_a_program_that_hangs_or_chatters(set_up):
    set_up("slow", code="import time; time.sleep(60)")
    assert run_program(IMPORT, "slow", timeout=3) == ([], "no answer within 3 s")
    set_up("chatty", code="print('hello'); import sys; print('warning', file=sys.stderr)")
    assert run_program(IMPORT, "chatty") == ([{}], None)


@pytest.mark.parametrize(
    ("death", "error"),
    [
        (CRASH, "crashed with signal SIGSEGV"),
        ("raise ValueError('too late')", "ValueError: too late"),
        ("import sys; sys.exit(3)", "failed without a word"),
    ],
)
def test_a_program_that_dies_after_some_records(death, error):
    program = f"for i in range(3): print({MARK!r} + str(i), flush=True)\n{death}"
    assert run_program(program) == ([0, 1, 2], error)


def test_a_package_that_imports_but_does_not_end_well_is_broken(set_up):
    set_up("late", version="1.0", code=f"import atexit\n@atexit.register\ndef end():\n    {CRASH}")
    line = check_requirement("late>=1")
    assert (line["verdict"], line["detail"]) == ("broken", "crashed with signal SIGSEGV")


def test_an_import_is_measured_apart_from_the_caller_and_from_the_check(set_up):
    """The check itself has loaded NumPy; its seconds and its memory are those of a bare Python."""
    ballast = np.ones(50_000_000)  # 400 MB that the fresh process must not be charged for
    set_up("slow", version="1", code="import time; time.sleep(0.5); block = b'x' * 10**8")
    bare, numpy, slow = map(check_requirement, ("python", "numpy", "slow"))
    assert ballast.nbytes == 400_000_000
    assert bare["seconds"] < 1e-3 < numpy["seconds"] < 10
    assert 5 < bare["memory"] < 20
    assert bare["memory"] + 8 < numpy["memory"] < 60
    assert 0.5 < slow["seconds"] < 5
    assert slow["memory"] - bare["memory"] == pytest.approx(100, abs=2)


def test_importing_the_check_loads_no_framework():
    code = "import sys, opifex_tutorials.environment; print({'jax', 'torch'} & set(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "set()\n"


# --- second derivatives and devices ---


def test_closed_form_against_forty_digits():

    def u(x):
        values = [x]
        for weights, biases in probes.LAYERS:
            columns = zip(weights.T, biases, strict=True)
            values = [mpmath.tanh(mpmath.fdot(values, map(mpmath.mpf, w)) + b) for w, b in columns]
        return mpmath.fsum(values)

    points = np.array([[-0.9], [0.0], [0.4]])
    with mpmath.workdps(40):
        exact = [float(mpmath.diff(u, mpmath.mpf(x), 2)) for (x,) in points]
    np.testing.assert_allclose(probes.closed_form(points), exact, rtol=1e-12)
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
    (line,) = check_devices(framework)
    assert line["device"] == "cpu"
    assert line["float64"] > 0.01
    choice = choose_device(framework, [line])
    assert choice["device"] is None
    assert "wrong second derivatives in float64" in choice["reason"]


SLIGHTLY_WRONG = """
import torch
class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.tanh()
    @staticmethod
    def backward(context, gradient):
        x, = context.saved_tensors
        return gradient * (1 - x.tanh() ** 2) * (1 + {})
torch.tanh = Tanh.apply
"""


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (1e-10, "wrong second derivatives in float64, error "),
        (1e-5, "wrong second derivatives in float64, error "),
        (1e-2, "wrong second derivatives in float32, error "),
        (0.0, None),
    ],
)
def test_a_slightly_wrong_second_derivative_is_caught(set_up, error, problem):
    """Each precision is held to its own number of digits."""
    set_up("sitecustomize", code=SLIGHTLY_WRONG.format(error))
    (line,) = check_devices("torch")
    assert (line["problem"] is None) == (problem is None)
    assert problem is None or problem in line["problem"]


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
    cpu, mps = check_devices("torch")
    assert (mps["device"], mps["float64"]) == ("mps", None)
    assert mps["float32"] < 1e-4
    assert cpu["problem"] is None
    choice = choose_device("torch", [cpu, mps])
    assert choice["device"] == "cpu"
    assert "Apple MPS has no float64 (TypeError: Cannot convert" in choice["reason"]
    assert choice["reason"].endswith("so the choice falls back to the CPU")


def test_cuda_is_chosen_once_it_has_passed(set_up):
    set_up("sitecustomize", code=PRETEND.format(module="cuda"))
    lines = check_devices("torch")
    assert [line["device"] for line in lines] == ["cpu", "cuda"]
    assert lines[1]["name"] == "Pretended GPU"
    choice = choose_device("torch", lines)
    assert choice["device"] == "cuda"
    assert "CUDA has float64 and right second derivatives" in choice["reason"]


def test_choice_among_given_devices():
    cpu = {"framework": "jax", "device": "cpu", "problem": None}
    wrong = {"framework": "jax", "device": "cuda", "problem": "wrong second derivatives"}
    choice = choose_device("jax", [cpu])
    assert choice["reason"] == "CPU has float64 and right second derivatives"
    choice = choose_device("jax", [cpu, wrong, {**cpu, "framework": "torch", "device": "cuda"}])
    assert choice["device"] == "cpu"
    assert "CUDA has wrong second derivatives, so the choice falls back" in choice["reason"]
    assert choose_device("jax", [wrong])["device"] is None
    assert choose_device("jax", [])["reason"] == "no device was found"
    with pytest.raises(ValueError, match="framework='keras': allowed are 'jax', 'torch'"):
        choose_device("keras")


def test_a_crashing_accelerator_is_told_from_the_cpu(set_up):
    code = PRETEND.format(module="cuda") + f"\ndef crash():\n    {CRASH}\n"
    set_up("sitecustomize", code=code + "torch.cuda.get_device_name = crash")
    cpu, other = check_devices("torch")
    assert cpu["problem"] is None
    assert other["device"] == "accelerator"
    assert "crashed with signal SIGSEGV" in other["problem"]
    assert choose_device("torch", [cpu, other])["device"] == "cpu"


def test_a_second_derivative_that_is_not_a_number_or_not_in_64_bits(set_up):
    set_up("sitecustomize", code="import torch; torch.tanh = lambda x: x**3 * float('nan')")
    (line,) = check_devices("torch")
    assert line["problem"].endswith("wrong second derivatives in float64, error nan")
    assert line["float64"] is None
    code = "import torch; right = torch.Tensor.numpy\n"
    code += "torch.Tensor.numpy = lambda x: right(x).astype('float32')"
    set_up("sitecustomize", code=code)
    (line,) = check_devices("torch")
    assert line["problem"] == "no float64, but float32"


# --- exchange of arrays ---


ALL = "float32, float64, int32, int64, complex128, bool"
IS_INT = "(share(x).dtype == torch.int32)"


@pytest.mark.parametrize(
    ("change", "changed", "copied"),
    [
        ("share(x)", "", ""),
        ("share(x).clone()", "", ALL),
        ("share(x).float() if share(x).dtype == torch.float64 else share(x)", "float64", "float64"),
        (f"share(x).add_({IS_INT})", "int32", ""),
        (f"share(x) + {IS_INT}", "int32", ALL),
    ],
    ids=["right", "copied", "other dtype", "changed in place", "changed and copied"],
)
def test_an_exchange_that_changes_or_copies_is_caught(set_up, change, changed, copied):
    code = f"import torch; share = torch.from_dlpack; torch.from_dlpack = lambda x: {change}"
    set_up("sitecustomize", code=code)
    (first, second, *_), _ = run_fresh("probes.exchange", "numpy", "torch")
    assert first == {"check": "numpy → torch and back keeps dtype and values", "fault": changed}
    assert second == {"check": "numpy → torch shares memory (DLPack)", "fault": copied}


def test_an_exchange_that_dies_halfway_is_a_fault(monkeypatch):
    def half(*arguments, **variables):
        return [{"check": "shares memory", "fault": ""}], "crashed with signal SIGSEGV"

    monkeypatch.setattr("opifex_tutorials.environment.report.run_fresh", half)
    monkeypatch.setattr("opifex_tutorials.environment.report.check_versions", list)
    cpu = {"device": "cpu", "problem": None}
    checked = "opifex_tutorials.environment.report.check_devices"
    monkeypatch.setattr(checked, lambda framework: [{"framework": framework, **cpu}])
    report = check()
    assert [line["verdict"] for line in report.exchanges] == ["ok", "failed"] * 4
    assert not report.ready
    assert (
        report.problems[0]
        == "numpy, then torch: the process ends well: crashed with signal SIGSEGV"
    )


# --- the report and its command ---


def a_line(package, verdict="ok", *, optional=False):
    line = {"package": package, "required": ">=0.7", "found": None, "verdict": verdict}
    fix = None if verdict == "ok" else f'python -m pip install "{package}>=0.7"'
    return line | {"optional": optional, "detail": None, "repair": fix}


def a_report(**changes):
    """Return a report without a fault, or with the faults given."""
    cpu = {"device": "cpu", "name": "cpu", "float32": 1e-6, "float64": 1e-15, "problem": None}
    devices = [{"framework": framework, **cpu} for framework in ("jax", "torch")]
    exchange = {"imports": "numpy, then jax", "check": "shares memory", "fault": None}
    parts = {
        "python": "python",
        "versions": [a_line("jax"), a_line("wandb", "missing", optional=True)],
        "devices": devices,
        "choices": [choose_device(framework, devices) for framework in ("jax", "torch")],
        "exchanges": [{**exchange, "verdict": "ok"}],
    }
    return Report(**(parts | changes))


OUTDATED = a_line("jax", "outdated")
IDLE = {"framework": "jax", "device": None, "reason": "no device was found"}
COPIED = {"imports": "a, then b", "check": "c", "fault": "copied", "verdict": "failed"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"versions": [OUTDATED]}, 'jax is outdated: python -m pip install "jax>=0.7"'),
        ({"choices": [IDLE]}, "no device for jax: no device was found"),
        ({"exchanges": [COPIED]}, "a, then b: c: copied"),
    ],
)
def test_each_fault_keeps_the_book_from_running(changes, problem):
    assert a_report().ready
    assert a_report().problems == []
    report = a_report(**changes)
    assert not report.ready
    assert report.problems == [problem]
    assert problem in str(report)
    assert report.to_dict()["problems"] == [problem]


def test_report_as_text_html_and_dictionary():
    report = a_report()
    assert "wandb    >=0.7            missing  yes" in str(report)
    assert str(report).endswith("The book can run here.")
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["ready"] is True
    html = report.tables[0]._repr_html_()
    assert '<th scope="col">verdict</th>' in html
    assert '<th scope="row">jax</th><td>&gt;=0.7</td>' in html
    assert html.count("<tr>") == 3
    assert "style=" not in html  # colors belong to the page, light or dark


@pytest.mark.parametrize(("changes", "status"), [({}, 0), ({"versions": [OUTDATED]}, 1)])
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
    wanted = [("python", project["requires-python"], False)]
    for optional, lines in (
        (False, project["dependencies"]),
        (True, project["optional-dependencies"]["tracking"]),
    ):
        wanted += [(r.name, str(r.specifier), optional) for r in map(Requirement, lines)]
    versions = report["versions"]
    assert [(v["package"], v["required"], v["optional"]) for v in versions] == wanted
    assert {v["verdict"] for v in versions if not v["optional"]} == {"ok"}
    tracking = {"lightning", "wandb", "optuna", "tensorboard"}
    assert {v["package"] for v in versions if v["optional"]} == tracking
    imports = {v["package"]: v for v in versions}
    for framework in ("jax", "torch"):
        assert 0.05 < imports[framework]["seconds"] < 60
        assert 50 < imports[framework]["memory"] < 2000

    devices = {d["framework"]: d for d in report["devices"] if d["device"] == "cpu"}
    assert set(devices) == {"jax", "torch"}
    for device in devices.values():
        assert device["float64"] < 1e-13
        assert 1e-9 < device["float32"] < 1e-4
        assert device["problem"] is None

    rows = report["exchanges"]
    assert {row["verdict"] for row in rows} == {"ok"}
    side_by_side = [row["imports"] for row in rows if row["check"] == "jax differentiates twice"]
    assert side_by_side == ["torch, then jax", "jax, then torch"]
    assert {row["check"] for row in rows if "shares memory" in row["check"]} == {
        f"{source} → {target} shares memory (DLPack)"
        for source, target in permutations(("numpy", "torch", "jax"), 2)
    }


@pytest.mark.slow
def test_one_framework_outdated_and_one_broken(set_up):
    set_up("torch", version="1.13", code=CRASH)
    set_up("jax", code="raise ImportError('jaxlib is not installed')")
    report = check()
    lines = {line["package"]: line for line in report.versions}
    assert lines["torch"]["verdict"] == "outdated"
    assert lines["torch"]["found"] == "1.13"
    assert lines["torch"]["repair"].startswith('python -m pip install "torch>=')
    assert lines["jax"]["verdict"] == "broken"
    assert lines["jax"]["detail"] == "ImportError: jaxlib is not installed"
    assert [line["device"] for line in report.devices] == ["cpu", "cpu"]
    assert [choice["device"] for choice in report.choices] == [None, None]
    assert "ImportError: jaxlib is not installed" in report.choices[0]["reason"]
    assert "crashed with signal SIGSEGV" in report.choices[1]["reason"]
    assert {line["verdict"] for line in report.exchanges} == {"failed"}
    assert not report.ready
