"""The rendered pages in a browser: offline, light and dark, wide and narrow."""

import re

import pytest
from conftest import HTML, PAGES, soup

from tools.weigh import weight

#: Bytes of a page with all that it loads, and files. How soon it can be read belongs to a machine:
#: `python -m tools.weigh` says it.
LIMIT, LANDING_LIMIT, FILES = 1_500_000, 500_000, 40
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}

#: Color pairs (text, background) of what can be read in figures and tables, and the page itself.
CONTRAST = """() => {
  const solid = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      const alpha = /^rgba/.test(c) ? parseFloat(c.split(',')[3]) : 1;
      if (alpha > 0.5) return c; // what shines through counts as what is behind it
    }
    return 'rgb(255, 255, 255)';
  };
  const pairs = [];
  for (const figure of document.querySelectorAll('svg.book-figure')) {
    pairs.push([getComputedStyle(figure).color, solid(figure), 'figure']);
    for (const mark of figure.querySelectorAll('path, use')) {
      const fill = getComputedStyle(mark).fill;
      if (mark.closest('[id*="text_"]') && fill.startsWith('rgb('))
        pairs.push([fill, solid(figure), 'text of a figure']);
    }
  }
  for (const cell of document.querySelectorAll('td, th, figcaption, caption, article p'))
    if (cell.textContent.trim())
      pairs.push([getComputedStyle(cell).color, solid(cell), cell.tagName]);
  return pairs;
}"""


def luminance(color):
    channels = [int(c) / 255 for c in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def visit(browser, address):
    """Open a page; return it with responses, requests that left the site, and complaints."""
    tab = browser.new_page(viewport=WIDE)
    responses, outside, complaints = [], [], []

    def gate(route):
        url = route.request.url
        if url.startswith(("http://127.0.0.1", "file:", "data:", "blob:")):
            route.continue_()
        else:
            outside.append(url)
            route.abort()

    def listen(message):
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    tab.route("**/*", gate)
    tab.on("response", lambda response: responses.append(response))
    tab.on("console", listen)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(address, wait_until="load")
    return tab, responses, outside, complaints


@pytest.fixture(scope="module")
def opened(browser, site, page):
    """A page from the server, opened once for all tests that leave its text as it is."""
    found = visit(browser, f"{site}/{page}.html")
    yield found
    found[0].close()


def assert_formulas_are_set(tab):
    formulas = tab.locator("span.math, div.math").count()
    assert tab.locator(".math .katex > .katex-html").count() == formulas
    assert tab.locator(".katex-error").all_text_contents() == []


def test_page_is_light(opened, page):  # first: the others could make it load more
    tab, responses, _, _ = opened
    found = weight(tab, responses)
    assert found.bytes <= (LANDING_LIMIT if page == PAGES[0] else LIMIT), found
    assert found.requests <= FILES, found


def test_page_reads_well_light_and_dark_wide_and_narrow(opened):
    tab, _, outside, complaints = opened
    assert_formulas_are_set(tab)
    for theme in ("light", "dark"):
        tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        for viewport in (WIDE, PHONE):
            tab.set_viewport_size(viewport)
            width = tab.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"], f"the page is {width} px wide"
        pairs = {tuple(pair) for pair in tab.evaluate(CONTRAST)}
        weak = {pair for pair in pairs if contrast(*pair[:2]) < 4.5}
        assert weak == set(), theme
    assert outside == []
    assert complaints == []


#: Text of each block of code that is wider than its box, folded cells opened.
CUT_CODE = """() => {
  document.querySelectorAll('details').forEach(folded => { folded.open = true });
  return [...document.querySelectorAll('article div.highlight pre')]
    .filter(code => !code.closest('.cell_output') && code.scrollWidth > code.clientWidth)
    .map(code => code.textContent);
}"""


def test_no_code_is_cut_off_at_1280_pixels(opened):
    tab, *_ = opened
    tab.set_viewport_size({"width": 1280, "height": 900})
    assert tab.evaluate(CUT_CODE) == []


def test_page_reads_without_a_server(browser, page):
    tab, _, outside, complaints = visit(browser, (HTML / f"{page}.html").as_uri())
    try:
        assert_formulas_are_set(tab)
        assert outside == []
        assert complaints == []
    finally:
        tab.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_reader_chooses_the_theme(browser, site, theme):
    context = browser.new_context(color_scheme=theme)
    tab = context.new_page()
    tab.goto(f"{site}/{PAGES[0]}.html")
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
    context.close()


def test_search_finds_a_word(browser, site):
    tab, _, outside, _ = visit(browser, f"{site}/search.html?q=viscosity")
    try:
        tab.wait_for_selector("#search-results li", timeout=10_000)
        assert outside == []
    finally:
        tab.close()


def test_the_book_has_formulas_and_figures_to_look_at():
    assert sum(len(soup(name).select("span.math, div.math")) for name in PAGES) > 20
    assert sum(len(soup(name).select("svg.book-figure")) for name in PAGES) > 2
