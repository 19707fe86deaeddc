import importlib
import json
import math
import subprocess
import sys

import numpy as np
import psutil
import pytest

from opifex_tutorials import results
from opifex_tutorials.results import MissedBoundError, close_chapter, record


@pytest.fixture(autouse=True)
def empty_ledger(monkeypatch):
    monkeypatch.delenv("OPIFEX_LEDGER", raising=False)
    monkeypatch.setattr(results, "_chapters", {})


@pytest.fixture
def build(monkeypatch, tmp_path):
    """A build in progress: returns the ledger's folder and what was glued."""
    glued = {}
    module = importlib.import_module("myst_nb")
    monkeypatch.setattr(module, "glue", lambda key, value, display: glued.update({key: value}))
    monkeypatch.setenv("OPIFEX_LEDGER", str(tmp_path / "ledger"))
    return tmp_path / "ledger", glued


@pytest.mark.parametrize("value", [1e-6, np.float64(1e-6), np.float32(1e-6), np.array(1e-6)])
def test_returns_a_plain_float(value):
    returned = record("chapter.error", value, at_most=1e-5, unit="relative L2")
    assert type(returned) is float
    assert returned == pytest.approx(1e-6)


def test_bounds_are_inclusive():
    assert record("chapter.a", 2, at_most=2, unit="seeds") == 2
    assert record("chapter.b", 2, at_least=2, unit="seeds") == 2
    assert record("chapter.c", 2, at_least=1.9, at_most=2.1, unit="order") == 2


@pytest.mark.parametrize(
    ("value", "bounds", "promise"),
    [
        (2e-5, {"at_most": 1e-5}, "≤ 1e-05"),
        (1.7, {"at_least": 1.9}, "≥ 1.9"),
        (2.2, {"at_least": 1.9, "at_most": 2.1}, "≤ 2.1 and ≥ 1.9"),
    ],
)
def test_missed_bound_names_key_value_bound_and_unit(value, bounds, promise):
    with pytest.raises(MissedBoundError) as caught:
        record("chapter.error", value, **bounds, unit="relative L2")
    assert str(caught.value) == f"chapter.error = {value:.6g} relative L2, promised {promise}"
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "many", "1", None, 1j, [1.0, 2.0]]
)
def test_non_finite_value_is_refused(value):
    with pytest.raises(ValueError, match=r"value of chapter\.error=.*: allowed are finite numbers"):
        record("chapter.error", value, at_most=1.0, unit="relative L2")


@pytest.mark.parametrize("bound", [math.nan, math.inf, "small"])
@pytest.mark.parametrize("side", ["at_most", "at_least"])
def test_non_finite_bound_is_refused(side, bound):
    with pytest.raises(ValueError, match=rf"{side} of chapter\.error=.*: allowed are finite"):
        record("chapter.error", 0.5, **{side: bound}, unit="relative L2")


@pytest.mark.parametrize(
    "key", ["", "error", "chapter.", ".error", "Chapter.error", "a.b.c", "a-b.c", "a.b c", 3, None]
)
def test_malformed_key_is_refused(key):
    with pytest.raises(ValueError, match=r"key=.*: allowed is 'chapter\.name' in snake_case"):
        record(key, 1.0, at_most=2.0, unit="relative L2")


def test_missing_bound_is_refused():
    with pytest.raises(
        ValueError, match=r"unit of chapter\.error=.*: allowed only with at_most or at_least"
    ):
        record("chapter.error", 1.0, unit="relative L2")


def test_missing_unit_is_refused():
    with pytest.raises(ValueError, match=r"unit of chapter\.error=' ': allowed is any text"):
        record("chapter.error", 1.0, at_most=2.0, unit=" ")


@pytest.mark.parametrize("unit", sorted(results.MACHINE_UNITS))
def test_time_and_memory_are_reported_but_never_asserted(unit):
    assert record("chapter.cost", 3.0, unit=unit) == 3.0
    with pytest.raises(ValueError, match=r"unit of chapter\.cost=.*: allowed only without a bound"):
        record("chapter.cost", 3.0, at_most=60.0, unit=unit)


def test_outside_a_build_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record("chapter.error", 1e-6, at_most=1e-5, unit="relative L2")
    record("chapter.error", 2e-6, at_most=1e-5, unit="relative L2")  # a cell run a second time
    close_chapter("chapter")
    assert list(tmp_path.iterdir()) == []


def test_build_writes_and_glues(build):
    folder, glued = build
    record("chapter.error", np.float64(1e-6), at_most=1e-5, unit="relative L2")
    page = json.loads((folder / "chapter.json").read_text(encoding="utf-8"))
    assert page["results"]["chapter.error"] == {
        "value": 1e-6,
        "unit": "relative L2",
        "at_most": 1e-5,
        "at_least": None,
        "bound": "≤ 1e-05",
        "margin": pytest.approx(10),
        "loose": None,
    }
    assert not page["closed"]
    close_chapter("chapter")
    page = json.loads((folder / "chapter.json").read_text(encoding="utf-8"))
    assert page["closed"]
    assert {"opifex-tutorials", "numpy", "jax", "torch"} <= page["versions"].keys()
    assert glued.keys() == {"chapter.error", "chapter.seconds", "chapter.peak_memory"}
    assert type(glued["chapter.error"]) is float
    assert [path.name for path in folder.iterdir()] == ["chapter.json"]


def test_build_keeps_every_digit_under_its_own_key(build):
    folder, glued = build
    exact = {"chapter.a": 1 / 3, "chapter.b": np.nextafter(2.0, 3.0), "chapter.c": -1e-300}
    for key, value in exact.items():
        assert record(key, value, at_most=3.0, unit="relative L2") == value
    assert glued == exact
    page = json.loads((folder / "chapter.json").read_text(encoding="utf-8"))
    assert {key: r["value"] for key, r in page["results"].items()} == exact


SAME = {"value": 2.0, "at_most": 3.0, "unit": "relative L2"}


@pytest.mark.parametrize(
    "changes",
    [
        {"value": np.nextafter(2.0, 3.0)},
        {"at_most": 4.0},
        {"at_most": 3.0 + 1e-9},  # the same bound, as it is printed
        {"at_least": 1.0},
        {"unit": "seeds"},
        {"loose": "rounding level"},
    ],
    ids=str,
)
def test_build_refuses_a_key_with_two_values(build, changes):
    folder, glued = build
    for _ in range(2):
        record("chapter.error", **SAME)
    with pytest.raises(ValueError, match="already recorded"):
        record("chapter.error", **(SAME | changes))
    page = json.loads((folder / "chapter.json").read_text(encoding="utf-8"))
    assert page["results"]["chapter.error"]["at_most"] == 3.0
    assert glued == {"chapter.error": 2.0}


@pytest.mark.parametrize(
    ("value", "at_most", "at_least", "factor"),
    [
        (2.0, 5.0, None, 2.5),
        (5.0, None, 2.0, 2.5),
        (2.0, 3.0, 0.5, 4.0),
        (2.0, 8.0, 0.5, 4.0),
        (2.0, 16.0, 0.5, 8.0),
        (2.0, 2.0, None, 1.0),
        (0.0, 0.0, None, 1.0),
        (0.0, 1.0, None, None),
        (-1.0, 1.0, None, None),
        (-2.0, -1.0, None, None),
        (1.0, None, 0.0, None),
        (1.0, 2.0, -1.0, None),
        (1e-300, 1e300, None, None),
        (1.0, None, None, None),
    ],
)
def test_margin_is_the_factor_to_the_bound(value, at_most, at_least, factor):
    assert results.margin(value, at_most, at_least) == factor


def test_the_ledger_holds_margin_and_reason(build):
    folder, _ = build
    record("chapter.far", 1e-15, at_most=1e-12, unit="relative L2", loose="rounding level")
    record("chapter.near", 2, at_most=2, at_least=1, unit="seeds", loose="not needed, yet allowed")
    record("chapter.cost", 2, unit="s")
    text = (folder / "chapter.json").read_text(encoding="utf-8")
    entries = json.loads(text, parse_constant=pytest.fail)["results"]
    assert [(r["margin"], r["loose"]) for r in entries.values()] == [
        (pytest.approx(1000), "rounding level"),
        (2.0, "not needed, yet allowed"),
        (None, None),
    ]


@pytest.mark.parametrize("loose", ["", "  ", 3, True])
def test_a_reason_is_words(loose):
    with pytest.raises(ValueError, match=r"loose of chapter\.error=.*: allowed are words, beside"):
        record("chapter.error", 1.0, at_most=9.0, unit="relative L2", loose=loose)


def test_a_reason_stands_beside_a_bound():
    with pytest.raises(ValueError, match="allowed are words, beside a bound"):
        record("chapter.cost", 1.0, unit="s", loose="a machine")


def test_a_reason_does_not_loosen_the_check():
    with pytest.raises(MissedBoundError):
        record("chapter.error", 2.0, at_most=1.0, unit="relative L2", loose="rounding level")


def test_missed_bound_is_not_entered(build):
    folder, glued = build
    with pytest.raises(MissedBoundError):
        record("chapter.error", 1.0, at_most=1e-5, unit="relative L2")
    assert glued == {}
    assert not folder.exists()


def test_closing_a_chapter_measures_and_shows_a_table():
    record("chapter.error_worst", 2.5e-6, at_most=1e-5, unit="relative L2")
    record("chapter.order", 2.0, at_least=1.9, unit="<order>")
    table = close_chapter("chapter")
    seconds, memory = table.records[-2:]
    assert (seconds["result"], seconds["unit"], seconds["bound"]) == ("seconds", "s", "–")
    assert (memory["result"], memory["unit"], memory["bound"]) == ("peak memory", "MB", "–")
    assert seconds["value"] > 0
    assert 10 < memory["value"] < 1e5
    text = repr(table).splitlines()
    assert text[0] == "Recorded by the chapter chapter"
    assert text[2].split() == ["result", "value", "bound", "unit"]
    assert text[3].split() == ["error", "worst", "2.5e-06", "≤", "1e-05", "relative", "L2"]
    page = table._repr_html_()
    assert '<table class="ledger">\n<caption>' in page
    assert '<th scope="row">error worst</th>' in page
    assert "&lt;order&gt;" in page
    assert len(close_chapter("chapter").records) == len(table.records)  # a session may close twice


def test_seconds_count_from_the_start_of_the_process(monkeypatch):
    started = psutil.Process().create_time()
    monkeypatch.setattr(results.time, "time", lambda: started + 100)
    record("chapter.error", 1.0, at_most=2.0, unit="relative L2")
    assert close_chapter("chapter").records[-2]["value"] == pytest.approx(100, abs=0.1)


def test_closing_an_unknown_chapter_is_refused():
    with pytest.raises(ValueError, match="name='chapter': allowed are chapters with results"):
        close_chapter("chapter")


MEMORY = """if True:
    import subprocess, sys
    from opifex_tutorials.results import peak_memory
    block = "block = b'x' * 240_000_000; del block"
    before = peak_memory()
    {}
    print(before, peak_memory())
"""


@pytest.mark.parametrize(
    "work",
    [
        "exec(block)",
        "subprocess.run([sys.executable, '-c', block], check=True)",
        "child = subprocess.Popen([sys.executable, '-c', block + '; print(flush=True); input()'],"
        " stdin=-1, stdout=-1); child.stdout.read(1)",
    ],
    ids=["here", "in a child that has ended", "in a child that lives"],
)
def test_peak_memory_sees_what_is_already_freed(work):
    """In a fresh process, whose peak no earlier test has raised."""
    command = [sys.executable, "-c", MEMORY.format(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert 10 < before < 200
    assert 200 < after < before + 300


def test_peak_memory_is_in_megabytes_of_ten_to_the_six():
    """While a large block is held, its peak and the present size hardly differ."""
    code = "import psutil; from opifex_tutorials.results import peak_memory; block = b'x' * 10**9;"
    code += "print(peak_memory(), psutil.Process().memory_info().rss)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, present = map(float, done.stdout.split())
    assert peak * 1e6 == pytest.approx(present, rel=0.02)
