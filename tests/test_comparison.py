"""Methods against each other: which run belongs where, medians and ranges, table and figure."""

import os
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pytest

from opifex_tutorials import comparison
from opifex_tutorials.comparison import Comparison, compare, spread
from opifex_tutorials.plotting import COLORS, LINE_STYLES
from opifex_tutorials.training.history import History


@dataclass(frozen=True)
class Run:
    history: History


@pytest.fixture
def events(monkeypatch):
    """What happens, in order, with all processes one after the other in this one."""
    events = []

    def one_by_one(function, groups, description):
        results = []
        for group in groups:
            events.append("process")
            results.append(function(group))
        return results

    monkeypatch.setattr(comparison, "side_by_side", one_by_one)
    return events


def test_every_case_runs_with_every_seed_in_their_order(events):
    found = compare(lambda case, seed: (case, seed), {"b": 10, "a": 20}, [3, 1, 2])
    assert found.runs == {"b": [(10, 3), (10, 1), (10, 2)], "a": [(20, 3), (20, 1), (20, 2)]}
    assert list(found.runs) == ["b", "a"]
    assert events == ["process"] * 6


def test_names_stand_for_themselves_and_five_seeds_are_the_default(events):
    found = compare(lambda case, seed: case + str(seed), ["x", "y"])
    assert found.runs == {"x": ["x0", "x1", "x2", "x3", "x4"], "y": ["y0", "y1", "y2", "y3", "y4"]}


@pytest.mark.parametrize("one_process", [False, True])
def test_before_comes_once_in_each_process(events, one_process):
    found = compare(
        lambda case, seed: events.append(f"{case}{seed}") or f"{case}{seed}",
        "ab",
        range(2),
        one_process=one_process,
        before=lambda: events.append("before"),
    )
    start = ["process", "before"]
    if one_process:
        assert events == [*start, "a0", "a1", *start, "b0", "b1"]
    else:
        assert events == [*start, "a0", *start, "a1", *start, "b0", *start, "b1"]
    assert found.runs == {"a": ["a0", "a1"], "b": ["b0", "b1"]}


def test_seeds_of_a_case_can_share_a_process():
    found = compare(lambda *run: (*run, os.getpid()), ["a", "b"], range(3), one_process=True)
    for name, runs in found.runs.items():
        assert [run[:2] for run in runs] == [(name, 0), (name, 1), (name, 2)]
        assert len({run[2] for run in runs}) == 1
        assert os.getpid() not in {run[2] for run in runs}


ERRORS = Comparison({"ours": [3.0, 1.0, 2.0, 9.0, 4.0], "theirs": [5.0, 5.0, 7.0, 5.0, 1.0]})


def test_median_and_worst_of_each_method():
    assert ERRORS.measure(lambda e: 2 * e)["ours"].tolist() == [6, 2, 4, 18, 8]
    assert ERRORS.median(float) == {"ours": 3.0, "theirs": 5.0}
    assert ERRORS.worst(float) == {"ours": 9.0, "theirs": 7.0}
    pairs = Comparison({"ours": [(1, 6), (2, 5), (4, 4)]})
    assert pairs.measure(np.array)["ours"].shape == (3, 2)
    assert pairs.median(np.array)["ours"].tolist() == [2, 5]
    assert pairs.worst(np.array)["ours"].tolist() == [4, 6]


def test_the_table_has_a_row_for_each_method():
    table = ERRORS.table("a caption", error=float, its_square=lambda e: e**2)
    assert table.caption == "a caption"
    assert table.lines == [
        ["method", "error", "its square"],
        ["ours", "3 [1, 9]", "9 [1, 81]"],
        ["theirs", "5 [1, 7]", "25 [1, 49]"],
    ]


def test_spread_is_the_median_with_its_range():
    assert spread([0.00123, 0.5, 0.0042]) == "0.0042 [0.0012, 0.5]"


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def runs(*rows):
    """Runs with these errors; the seconds of the k-th are multiples of k + 1."""
    return [
        Run(
            History(
                steps=[10, 20, 30][: len(row)], errors=row, seconds=[k, 2 * k, 3 * k][: len(row)]
            )
        )
        for k, row in enumerate(rows, start=1)
    ]


def band(collection):
    """The abscissas of a band, and its lower and upper end there."""
    points = collection.get_paths()[0].vertices
    x = np.unique(points[:, 0])
    at = [points[points[:, 0] == place, 1] for place in x]
    return x.tolist(), [y.min() for y in at], [y.max() for y in at]


def test_the_figure_shows_median_and_range(axes):
    found = Comparison({"ours": runs([9, 4, 1], [8, 6, 2], [7, 5, 3]), "theirs": runs([5, 5, 5])})
    found.draw(axes, against="steps")
    ours, theirs = axes.lines
    assert ours.get_xydata().tolist() == [[10, 8], [20, 5], [30, 2]]
    assert band(axes.collections[0]) == ([10, 20, 30], [7, 4, 1], [9, 6, 3])
    assert theirs.get_xydata().tolist() == [[10, 5], [20, 5], [30, 5]]
    for index, line in enumerate(axes.lines):
        assert line.get_color() == COLORS[index]
        assert line.get_linestyle() == LINE_STYLES[index]
    assert [line.get_label() for line in axes.lines] == ["ours", "theirs"]


def test_the_figure_goes_as_far_as_all_runs_of_a_method_and_takes_median_times(axes):
    found = Comparison({"ours": runs([9, 4, 1], [8, 6], [7, 5, 3]), "theirs": runs([5, 5, 5])})
    found.draw(axes)
    assert axes.lines[0].get_xydata().tolist() == [[2, 8], [4, 5]]
    assert band(axes.collections[0])[1:] == ([7, 4], [9, 6])
    assert axes.lines[1].get_xydata().tolist() == [[1, 5], [2, 5], [3, 5]]


def test_a_method_can_have_a_style_of_its_own(axes):
    found = Comparison({"ours": runs([9, 4, 1]), "theirs": runs([5, 5, 5])})
    found.draw(axes, quantity="steps", styles={"theirs": {"color": "#123456", "label": "peer"}})
    ours, theirs = axes.lines
    assert (ours.get_color(), ours.get_label()) == (COLORS[0], "ours")
    assert (theirs.get_color(), theirs.get_label()) == ("#123456", "peer")
    assert theirs.get_linestyle() == LINE_STYLES[1]
    assert theirs.get_ydata().tolist() == [10, 20, 30]
    fill = axes.collections[1].get_facecolor()[0]
    assert fill[:3] == pytest.approx([0x12 / 255, 0x34 / 255, 0x56 / 255])
