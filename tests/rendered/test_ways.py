"""Finding one's way: terms, names in code, the index, the map."""

import re
import tomllib
from collections import Counter

import pytest
from conftest import HTML, PAGES, ROOT, soup

from tools import api

CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return request.param


def test_terms_of_a_chapter_lead_to_the_glossary_once_each(chapter):
    links = soup(chapter).select('article a[href*="glossary.html#term-"]')
    assert len(links) >= 5
    by_build = [a["href"] for a in links if not a.find_parent(["table", "h1", "h2", "h3"])]
    assert [target for target, times in Counter(by_build).items() if times > 1] == []


def test_names_in_the_code_of_a_chapter_lead_to_the_api(chapter):
    links = soup(chapter).select(".cell_input a[href*='book/api/']")
    assert len(links) >= 5


def test_names_of_other_libraries_lead_to_their_documentation():
    table = tomllib.loads((ROOT / "book" / "inventories.toml").read_text(encoding="utf-8"))
    sites = {name: library["site"] for name, library in table.items()}
    targets = {
        a["href"] for page in CHAPTERS for a in soup(page).select(".cell_input a[href^=http]")
    }
    for site in sites.values():
        assert any(target.startswith(site) for target in targets), site
    assert all(target.startswith(tuple(sites.values())) for target in targets)


def test_the_index_lists_names_and_terms_and_is_linked():
    text = (HTML / "genindex.html").read_text(encoding="utf-8")
    assert "book/api/solvers.html#opifex_tutorials.solvers.pinn.train_pinn" in text
    assert "book/glossary.html#term-residual" in text
    for page in ("book/api", "book/how_to_read"):
        assert soup(page).select('article a[href$="genindex.html"]'), page


@pytest.mark.parametrize("room", api.ROOMS)
def test_a_room_says_what_is_in_it(room):
    article = soup(f"book/api/{room}").select_one("article")
    assert api.ROOMS[room][1].partition(":")[0] in re.sub(r"\s+", " ", article.get_text())
    assert article.select("dl.py")
    assert article.select_one(".highlight-pycon").select("a[href]")  # an example, with links
    for link in article.select("table a"):
        assert link["href"].startswith("#module-")


def test_the_page_of_an_api_is_one_room_long():
    total = [len((HTML / f"book/api/{room}.html").read_bytes()) for room in api.ROOMS]
    assert max(total) < 0.6 * sum(total)
    assert not soup("book/api").select("dl.py")


#: Boxes of the map, with what a reader on the keyboard meets, in this order.
BOXES = """() => [...document.querySelectorAll('.book-map a')].map(a => {
  a.focus({preventScroll: true});
  const {left, right, top, bottom} = a.getBoundingClientRect();
  const size = Math.min(...[...a.querySelectorAll('span')].map(
    s => parseFloat(getComputedStyle(s).fontSize)));
  return {left, right, top, bottom, size, focused: document.activeElement === a};
})"""


def overlaps(boxes):
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = a["right"] <= b["left"] or b["right"] <= a["left"]
            if not (apart or a["bottom"] <= b["top"] or b["bottom"] <= a["top"]):
                yield a, b


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1000, 800), (390, 844)])
def test_the_map_shows_every_chapter(browser, site, width, height):
    tab = browser.new_page(viewport={"width": width, "height": height})
    try:
        tab.goto(f"{site}/book/map.html")
        boxes = tab.evaluate(BOXES)
        assert len(boxes) == len(CHAPTERS)
        assert list(overlaps(boxes)) == []
        assert all(box["focused"] and box["size"] >= 12 for box in boxes)
        assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        if width == 1280:  # on one screen
            assert max(box["bottom"] for box in boxes) <= height
            assert tab.locator(".book-map svg path").get_attribute("d").count("M") >= len(boxes) - 1
    finally:
        tab.close()


def test_overlaps_are_noticed():
    box = {"left": 0, "right": 2, "top": 0, "bottom": 2}
    assert not list(overlaps([box, {**box, "left": 2, "right": 4}]))
    assert list(overlaps([box, {**box, "left": 1, "right": 4}]))
