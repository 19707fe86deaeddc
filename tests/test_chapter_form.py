"""The form of the chapters: short cells, each introduced by a sentence, and the usual sections.

What a reader sees of a cell counts. A folded cell (tag ``hide-input``) shows its output alone.
"""

import ast
import re
from statistics import median

import pytest

from tools import book

SECTIONS = ("What you will learn", "Results", "Exercises", "Experiments to try", "Troubleshooting")
CHAPTERS = [pytest.param(path, id=path.stem) for path in book.notebooks()]

#: Calls that draw or keep books; the idea of a chapter is never in the cell that makes them.
BOOKKEEPING = {"record", "show", "live"}


def cells(path):
    return [
        (c["cell_type"], "".join(c["source"]), "hide-input" in c["metadata"].get("tags", []))
        for c in book._load(path)["cells"]
    ]


def code(path):
    return [(source, folded) for kind, source, folded in cells(path) if kind == "code"]


def faults_in_length(chapter):
    """Yield what is wrong with the lengths of code cells, given as (source, folded)."""
    lengths = [len(source.splitlines()) for source, _ in chapter]
    seen = [len(source.splitlines()) for source, folded in chapter if not folded]
    long = [length for length in seen if length > 16]
    if max(lengths) > 25:
        yield f"a cell has {max(lengths)} lines: allowed are 25"
    if median(seen) > 10:
        yield f"the median of the cells that are not folded is {median(seen)} lines: allowed are 10"
    if len(long) > len(seen) / 10:
        yield f"{len(long)} of {len(seen)} cells have more than 16 lines: allowed is one in ten"


@pytest.mark.parametrize("path", CHAPTERS)
def test_code_cells_are_short(path):
    assert list(faults_in_length(code(path))) == []


def test_long_cells_are_noticed():
    lines = {n: ("x = 1\n" * n, False) for n in (10, 11, 16, 17, 25, 26)}
    assert list(faults_in_length([lines[10]] * 6 + [lines[16]] * 4)) == []
    assert list(faults_in_length([lines[10]] * 9 + [lines[25]])) == []
    assert len(list(faults_in_length([lines[10]] * 9 + [lines[26]]))) == 1
    assert len(list(faults_in_length([lines[11]] * 6 + [lines[10]] * 4))) == 1
    assert len(list(faults_in_length([lines[10]] * 8 + [lines[17]] * 2))) == 1
    folded = [("x = 1\n" * 25, True)] * 9
    assert list(faults_in_length([lines[10], *folded])) == []
    assert len(list(faults_in_length([lines[11], *folded]))) == 1


def too_wide(kind, source):
    """Return the lines of code in a cell that the book would cut off on a small screen."""
    if kind == "markdown":
        fences = re.findall(r"^(`{3,})(?!\{)[^\n]*\n(.*?)^\1", source, re.MULTILINE | re.DOTALL)
        source = "".join(body for _, body in fences)
    return [line for line in source.splitlines() if len(line) > 80]


@pytest.mark.parametrize("path", CHAPTERS)
def test_no_line_of_code_is_wider_than_80_columns(path):
    assert [line for kind, source, _ in cells(path) for line in too_wide(kind, source)] == []


def test_wide_lines_are_noticed():
    wide, fence = "x" * 81, "`" * 3
    assert too_wide("code", f"x\n{wide}") == [wide]
    assert too_wide("code", "x" * 80) == []
    assert too_wide("markdown", f"{wide}\n{fence}python\n{wide}\n{fence}\n{wide}") == [wide]
    assert too_wide("markdown", f"{fence}{{note}}\n{wide}\n{fence}") == []


def is_bookkeeping(source):
    """Return whether a cell draws, records or closes, and defines no function or class."""
    nodes = list(ast.walk(ast.parse(source)))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    names = {getattr(f, "id", getattr(f, "attr", "")) for f in called}
    defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in nodes)
    return bool(names & BOOKKEEPING) and not defines


@pytest.mark.parametrize("path", CHAPTERS)
def test_plotting_and_recording_are_folded(path):
    assert [s for s, folded in code(path) if is_bookkeeping(s) and not folded] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("record('a.b', 1.0, unit='s')", True),
        ("error = record('a.b', 1.0, unit='s')", True),
        ("for x in y:\n    results.record(x, 1.0, unit='s')", True),
        ("figure, axes = plt.subplots()\nplotting.show(figure, 'a line')", True),
        ("live('crowd', figure, curves, alt='a line')", True),
        ("def error(x):\n    return record('a.b', x, unit='s')", False),
        ("solution = solve(problem)\nprint(solution)", False),
        ("from opifex_tutorials.results import record", False),
    ],
)
def test_what_is_to_be_folded(source, expected):
    assert is_bookkeeping(source) == expected


@pytest.mark.parametrize("path", CHAPTERS)
def test_no_more_than_two_code_cells_follow_each_other(path):
    kinds = [kind for kind, _, folded in cells(path) if not folded]
    threes = zip(kinds, kinds[1:], kinds[2:], strict=False)
    assert ("code",) * 3 not in threes


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chapter_has_the_usual_sections(path):
    prose = "\n".join(source for kind, source, _ in cells(path) if kind == "markdown")
    for section in (*SECTIONS, "Related chapters"):
        assert f"\n## {section}" in "\n" + prose
