"""What the rendered pages say, read without a browser."""

import copy
import json
import re

import pytest
from conftest import HTML, PAGES, ROOT, anchors, soup

from opifex_tutorials.results import CLOSE, MACHINE_UNITS
from opifex_tutorials.tables import readable
from tools import api, book


def test_every_chapter_is_in_the_book():
    chapters = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    prose = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    rooms = {f"book/api/{room}" for room in api.ROOMS}
    assert set(PAGES) == chapters | prose | rooms


def test_the_first_page_leads_to_the_book():
    assert 'url=book/index.html"' in (HTML / "index.html").read_text(encoding="utf-8")


def test_page_is_complete(page):
    article = soup(page).select_one("article")
    assert article is not None
    assert len(article.get_text().split()) > 50
    assert len(soup(page).select("article h1")) == 1


def test_nothing_is_left_unresolved(page):
    article = copy.copy(soup(page).select_one("article"))
    for code in article.select("pre, code, .math"):
        code.extract()
    text = article.get_text()
    for sign in (
        "Traceback",
        "{glue",
        "{cite",
        "{doc}",
        "{numref}",
        "{ref}",
        "{term}",
        "```",
        "[?]",
    ):
        assert sign not in text, f"{page} contains {sign}"
    assert not article.select(".problematic, .system-message")


def test_no_output_is_an_error(page):
    outputs = soup(page).select(".cell_output")
    assert not [o for o in outputs if "Traceback (most recent call last)" in o.get_text()]
    assert not soup(page).select(".output.stderr")


#: A number alone, as Python, NumPy, JAX or PyTorch show it.
BARE_NUMBER = re.compile(
    r"(?:np\.\w+|Array|tensor)?\(?[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)(?:\)|, \w+=.*\))?",
    re.IGNORECASE,
)


def bare_numbers(notebook):
    """Yield the results of cells that are shown as nothing but a number."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "execute_result":
                text = "".join(output["data"].get("text/plain", ""))
                if BARE_NUMBER.fullmatch(text.strip()):
                    yield text


def test_no_cell_ends_in_a_bare_number():
    executed = (ROOT / "_build" / "executed").glob("*.ipynb")
    found = {path.stem: [*bare_numbers(json.loads(path.read_text()))] for path in executed}
    assert set(found) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    lines = [f"{name}: {number}" for name, numbers in found.items() for number in numbers]
    assert not lines, "\n".join(["results that are a bare number:", *lines])


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("1.1e-06", True),
        ("3", True),
        ("-0.5", True),
        ("nan", True),
        ("np.float64(0.5)", True),
        ("Array(0.5, dtype=float64)", True),
        ("tensor(42., dtype=torch.float64)", True),
        ("tensor([42., 0.], dtype=torch.float64)", False),
        ("'1 seed'", False),
        ("5 seeds", False),
    ],
)
def test_a_bare_number_is_noticed(text, bare):
    output = {"output_type": "execute_result", "data": {"text/plain": [text]}}
    assert list(bare_numbers({"cells": [{"outputs": [output]}, {}]})) == ([text] if bare else [])


def test_what_a_cell_prints_is_one_box(page):
    for cell in soup(page).select(".cell"):
        assert len(cell.select(".cell_output > .output.stream")) <= 1, cell.get_text()


def test_a_folded_cell_hides_its_code_and_shows_its_output():
    folded = soup("notebooks/environment_check").select(".cell.tag_hide-input")
    assert folded
    for cell in folded:
        code = cell.select_one("details.hide > .cell_input, details.hide .cell_input")
        assert code is not None, cell.get_text()
        assert not code.find_parent("details").has_attr("open")
        assert not cell.select("details .cell_output")


def test_links_inside_the_book_lead_somewhere(page):
    folder = (HTML / page).parent
    for link in soup(page).select("a[href]"):
        target = link["href"]
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        file = (folder / path).resolve() if path else HTML / f"{page}.html"
        assert file.exists(), f"{page} links to {target}"
        if anchor and file.suffix == ".html":
            name = file.relative_to(HTML).with_suffix("").as_posix()
            if name in PAGES:
                assert anchor in anchors(name), f"{page} links to {target}"


def test_every_figure_is_described(page):
    for figure in soup(page).select("svg.book-figure"):
        assert len(figure["aria-label"].split()) >= 5, figure["aria-label"]
        assert figure["role"] == "img"
    for image in soup(page).select("article img"):
        assert image.get("alt", "").strip(), image


def test_every_figure_of_a_chapter_has_a_caption():
    for page in PAGES:
        if page.startswith("notebooks/"):
            for figure in soup(page).select("svg.book-figure"):
                parent = figure.find_parent("figure")
                assert parent is not None, f"{page}: {figure['aria-label']} has no caption"
                assert parent.find("figcaption").get_text().strip()


def test_every_chapter_shows_figures_and_its_results():
    for page in PAGES:
        if page.startswith("notebooks/"):
            assert soup(page).select("figure"), page
            assert soup(page).select("table.ledger caption"), page


def test_results_page_holds_the_whole_ledger(ledger):
    rows = [row.select("td") for row in soup("book/results").select("table tr")]
    shown = [[cell.get_text().strip() for cell in cells] for cells in rows if cells]
    expected = []
    for name in (page.removeprefix("notebooks/") for page in PAGES if "notebooks/" in page):
        chapter = ledger[name]
        assert chapter["closed"]
        assert {"numpy", "jax", "torch"} <= chapter["versions"].keys()
        assert {f"{name}.seconds", f"{name}.peak_memory"} <= chapter["results"].keys()
        for key, r in chapter["results"].items():
            factor = "–" if r["margin"] is None else f"{r['margin']:.3g}×"
            reason = f", {r['loose']}" if r["loose"] else ""
            result = key.removeprefix(f"{name}.")
            expected.append([result, readable(r["value"]), r["unit"], r["bound"], factor + reason])
    assert shown == expected


def test_results_of_each_chapter_have_a_sentence_and_can_be_folded():
    sections = soup("book/results").select("article section section")
    assert len(sections) == sum(page.startswith("notebooks/") for page in PAGES)
    for section in sections:
        assert len(section.find("p").get_text().split()) > 15, section.find("h2")
        assert [*section.select("details table")] == [*section.select("table")]
        assert section.select_one("details > summary").get_text().strip()


def test_ledger_has_every_chapter_and_keeps_its_bounds(ledger):
    assert set(ledger) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    for chapter in ledger.values():
        for key, r in chapter["results"].items():
            assert r["at_most"] is None or r["value"] <= r["at_most"], key
            assert r["at_least"] is None or r["value"] >= r["at_least"], key


def wrong_verdicts(text, values):
    """Yield rows of a table that name the one ahead beside a factor that says otherwise."""
    for row in re.findall(r"^\| \d.*$", text, re.MULTILINE):
        verdict = row.split(" | ")[3]
        factors = [values[key] for key in re.findall(r"::(\w+\.\w+):", verdict)]
        if not factors or min(factors) <= 1:
            yield row


def test_the_page_that_decides_names_the_one_ahead(ledger):
    values = {k: r["value"] for chapter in ledger.values() for k, r in chapter["results"].items()}
    text = (ROOT / "book" / "decide.md").read_text(encoding="utf-8")
    assert list(wrong_verdicts(text, values)) == []
    assert list(wrong_verdicts(text, dict.fromkeys(values, 0.9)))


def test_bounds_are_close_or_say_why_not(ledger):
    far = far_bounds(ledger)
    assert not far, "\n".join(["farther than CLOSE, without a reason:", *far])


def far_bounds(ledger):
    """List every result whose bound lies farther away than a factor of CLOSE, without a reason."""
    results = {key: r for chapter in ledger.values() for key, r in chapter["results"].items()}
    return [
        f"{key} = {r['value']:.3g}, promised {r['bound']}"
        for key, r in results.items()
        if r["unit"] not in MACHINE_UNITS
        and not r["loose"]
        and (r["margin"] is None or r["margin"] > CLOSE)
    ]


@pytest.mark.parametrize(
    ("changes", "offends"),
    [
        ({"margin": 3.0}, False),
        ({"margin": 3.1}, True),
        ({"margin": 3.1, "loose": "rounding level"}, False),
        ({"margin": None}, True),
        ({"margin": None, "unit": "s"}, False),
    ],
)
def test_a_far_bound_is_noticed(changes, offends):
    r = {"value": 0.5, "bound": "≤ 1", "unit": "seeds", "loose": None, **changes}
    ledger = {"a": {"results": {"a.b": r}}}
    assert far_bounds(ledger) == (["a.b = 0.5, promised ≤ 1"] if offends else [])


def test_what_a_chapter_loaded_is_what_it_is_said_to_depend_on(ledger):
    modules = book.Package(ROOT / "opifex_tutorials").modules
    for name, chapter in ledger.items():
        found = book.dependencies(ROOT / "notebooks" / f"{name}.ipynb")
        assert "opifex_tutorials.results" in chapter["modules"]
        assert {modules[module] for module in chapter["modules"]} <= found, name


def test_landing_page_shows_results_and_a_picture():
    article = soup("book/index").select_one("article")
    assert article.select("svg.book-figure")
    assert len(article.select(".pasted-text")) >= 5
