"""The form of the chapters: short cells, each introduced by a sentence, and the usual sections."""

import pytest

from tools import book

SECTIONS = ("What you will learn", "Results", "Exercises", "Experiments to try", "Troubleshooting")
CHAPTERS = [pytest.param(path, id=path.stem) for path in book.notebooks()]


def cells(path):
    return [(c["cell_type"], "".join(c["source"])) for c in book._load(path)["cells"]]


@pytest.mark.parametrize("path", CHAPTERS)
def test_code_cells_are_short(path):
    lengths = [len(source.splitlines()) for kind, source in cells(path) if kind == "code"]
    assert max(lengths) <= 25


@pytest.mark.parametrize("path", CHAPTERS)
def test_no_more_than_two_code_cells_follow_each_other(path):
    kinds = [kind for kind, _ in cells(path)]
    threes = zip(kinds, kinds[1:], kinds[2:], strict=False)
    assert ("code",) * 3 not in threes


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chapter_has_the_usual_sections(path):
    prose = "\n".join(source for kind, source in cells(path) if kind == "markdown")
    for section in (*SECTIONS, "Related chapters"):
        assert f"\n## {section}" in "\n" + prose
