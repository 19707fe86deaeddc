"""The page that decides and the landing page: every chapter, both sides of every comparison."""

import re
from pathlib import Path

import pytest

from tools import book

ROOT = Path(__file__).parent.parent
DECIDE, INDEX = (
    (ROOT / "book" / f"{n}.md").read_text(encoding="utf-8") for n in ("decide", "index")
)
CHAPTERS = [path.stem for path in book.notebooks()]
KEY = re.compile(r"\{glue:text\}`\.\./notebooks/(\w+)\.ipynb::\1\.(\w+):([^`]+)`")
CARD = re.compile(r"^::::\{grid-item-card\} (.*?)^::::$", re.MULTILINE | re.DOTALL)


def rows(page):
    """Return the cells of the rows of the only table of a page, without its heading."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def keys(text):
    return [key for _, key, _ in KEY.findall(text)]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_page_that_decides_leads_to_every_chapter(name):
    assert re.search(rf"\{{doc\}}`[^`]*\.\./notebooks/{name}>?`", DECIDE)


def test_the_rows_are_numbered_and_the_questions_name_them():
    numbers = [int(row[0].partition(".")[0]) for row in rows(DECIDE)]
    assert numbers == list(range(1, len(numbers) + 1))
    questions = DECIDE[DECIDE.index(":::{div} decide") : DECIDE.index("## The numbers")]
    named = set()
    for text in re.findall(r"Rows? (\d+(?: to \d+|(?:, \d+)*))", questions):
        first, *last = map(int, re.findall(r"\d+", text))
        named |= set(range(first, last[0] + 1)) if "to" in text else {first, *last}
    assert named == set(numbers)


def test_a_row_has_both_sides_their_times_and_a_verdict():
    for problem, classical, network, verdict, untested in rows(DECIDE):
        for side in (classical, network):
            error, seconds, *_ = keys(side)
            assert not error.endswith("seconds"), problem
            assert seconds.endswith("seconds"), problem
        assert keys(verdict), problem
        assert re.match("classical|network", verdict), problem
        assert untested, problem


def test_the_table_of_the_landing_page_has_a_classical_column():
    assert "| problem | network, worst of five seeds | classical |" in INDEX
    for problem, network, classical in rows(INDEX):
        assert len(keys(network)) == len(keys(classical)) == 1, problem


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_a_card_with_question_answer_level_and_runtime(name):
    (card,) = [c for c in CARD.findall(INDEX) if f":link: ../notebooks/{name}\n" in c]
    question, answer, footer = re.fullmatch(
        r"(.*?)\n(?::.*\n)+\n(.*?)\n:::\{card-footer\}\n(.*?)\n:::\n", card, re.DOTALL
    ).groups()
    assert question.endswith("?")
    assert keys(answer)
    source = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
    level = re.search(r"^# \* - (beginner|intermediate|advanced)$", source, re.MULTILINE)[1]
    assert footer.startswith(f"{level}, ")
    assert keys(footer) == ["seconds"]


def test_a_row_without_a_rival_is_noticed():
    header = "| a | b |\n|---|---|\n"
    glue = "{glue:text}`../notebooks/x.ipynb::x.error:.0e`"
    assert rows(f"{header}| 1. x | {glue} |\n") == [["1. x", glue]]
    assert keys(glue) == ["error"]
    assert keys("{glue:text}`../notebooks/x.ipynb::y.error:.0e`") == []
