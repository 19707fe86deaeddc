"""Each chapter: six figures or more, all of them referred to by number; three to five exercises."""

import re

import pytest

from tools import book

CHAPTERS = [pytest.param(path, id=path.stem) for path in book.notebooks()]


def prose(path):
    cells = book._load(path)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def figures(path):
    cells = book._load(path)["cells"]
    found = [c["metadata"].get("mystnb", {}).get("figure", {}) for c in cells]
    return [figure["name"] for figure in found if figure]


def faults(text, names):
    """Yield what is wrong with the references of a chapter to its figures and equations."""
    if len(names) < 6:
        yield f"{len(names)} figures: a chapter has at least 6"
    yield from (f"{n} is never referred to" for n in names if f"{{numref}}`{n}`" not in text)
    labels = re.findall(r"^\$\$ \((eq-[\w-]+)\)$", text, re.MULTILINE)
    yield from (f"{n} is numbered for nobody" for n in labels if f"{{eq}}`{n}`" not in text)
    exercises, solutions = (text.count(f"{{{kind}}}") for kind in ("exercise", "solution-start"))
    if not 3 <= exercises <= 5:
        yield f"{exercises} exercises: a chapter has 3 to 5"
    if exercises != solutions:
        yield f"{exercises} exercises have {solutions} solutions"


@pytest.mark.parametrize("path", CHAPTERS)
def test_figures_are_referred_to_and_exercises_solved(path):
    assert list(faults(prose(path), figures(path))) == []


def test_faults_are_noticed():
    names = [f"fig-{n}" for n in range(6)]
    text = "\n".join(f"{{numref}}`{name}`" for name in names)
    text += "\n```{exercise} A\n```\n````{solution-start} a\n````" * 3
    assert list(faults(text, names)) == []
    assert len(list(faults(text, names[:5]))) == 1
    assert len(list(faults(text, [*names, "fig-6"]))) == 1
    assert len(list(faults(text + "\n$$ (eq-a)\n", names))) == 1
    assert list(faults(text + "\n$$ (eq-a)\n{eq}`eq-a`", names)) == []
    assert len(list(faults(text + "{exercise}", names))) == 1
