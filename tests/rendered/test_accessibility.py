"""The rendered pages for those who listen or use the keyboard: axe-core's rules, the Tab key."""

from importlib.resources import files

import pytest
from conftest import HTML, PAGES

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

#: axe-core, as the package has it.
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

#: axe looks at every element. A figure or a formula is one picture with a name, and of the tokens
#: of code, and of signatures, one of each color is enough: without the others a page takes a
#: sixth of the time.
THIN = """() => {
  document.querySelectorAll(
    'svg.book-figure > :not(title, desc), .katex-html > *',
  ).forEach(part => part.remove());
  const known = new Set();
  for (const token of document.querySelectorAll('pre span, dt.sig span')) {
    const around = token.closest('pre')?.parentElement.parentElement ?? token.parentElement;
    const kind = `${token.className} ${around.className}`;
    if (known.has(kind)) token.replaceWith(...token.childNodes);
    known.add(kind);
  }
}"""

FAULTS = """options => axe.run({ preload: false, resultTypes: ['violations'], ...options }).then(
  ({ violations }) => violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ target, html }) =>
      `${id}: ${target} ${html.slice(0, 150)}`)))"""

COLORS = {"runOnly": ["color-contrast", "link-in-text-block"]}

#: One fault of each kind that this book could have.
PLANTED = """() => document.querySelector('article').insertAdjacentHTML('beforeend', `
  <img src="data:,"><button></button><input type="range"><svg role="img"></svg>
  <a href="#"></a><p style="color: #999; background: #fff">pale</p>
  <ul><p>no item</p></ul><pre><span style="color: #999; background: #fff">x</span></pre>
  <div style="height: 20px; overflow: auto"><p style="height: 90px">scrolls</p></div>`)"""


@pytest.fixture
def tab(browser):
    tab = browser.new_page(viewport=WIDE, reduced_motion="reduce")
    yield tab
    tab.close()


def visit(tab, page, viewport=WIDE):
    tab.set_viewport_size(viewport)
    tab.goto((HTML / f"{page}.html").as_uri())
    tab.add_style_tag(content="* { transition: none !important }")
    settle(tab)


def settle(tab):
    """Wait for what follows a change of the layout: the page watches the sizes of its boxes."""
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")


def faults(tab, theme, viewport, options=None):
    tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    if tab.viewport_size != viewport:
        tab.set_viewport_size(viewport)
        tab.wait_for_timeout(350)  # the theme looks at sizes once nothing has changed for 300 ms
    settle(tab)
    return tab.evaluate(FAULTS, options or {})


@pytest.mark.parametrize("name", [*PAGES, "genindex", "search"])
def test_axe_finds_nothing_serious(tab, name):
    visit(tab, name)
    tab.evaluate(THIN)
    tab.evaluate(AXE)
    assert faults(tab, "light", WIDE) == []
    assert faults(tab, "dark", WIDE, COLORS) == []
    assert faults(tab, "dark", PHONE) == []


def test_axe_finds_what_is_wrong(tab):
    visit(tab, PAGES[1])
    tab.evaluate(PLANTED)
    tab.evaluate(THIN)
    tab.evaluate(AXE)
    found = {fault.partition(":")[0] for fault in faults(tab, "light", WIDE)}
    assert found >= {
        "image-alt",
        "button-name",
        "label",
        "svg-img-alt",
        "link-name",
        "color-contrast",
        "list",
        "scrollable-region-focusable",
    }


#: What has the focus: its kind, whether it is seen to have it, and what it is called.
FOCUS = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 1;
  element.dataset.reached = 'yes';
  return { tag: element.tagName, seen: ring || style.boxShadow !== 'none',
           name: element.ariaLabel || element.textContent.trim().slice(0, 40) };
}"""

#: What scrolls sideways, is on the page and was not reached.
UNREACHED = """() => [...document.querySelectorAll('article *:not(svg *)')]
  .filter(box => box.checkVisibility({ visibilityProperty: true })
    && box.scrollWidth > box.clientWidth + 1
    && ['auto', 'scroll'].includes(getComputedStyle(box).overflowX)
    && !(box.dataset.reached && box.role === 'region' && box.ariaLabel))
  .map(box => box.outerHTML.slice(0, 100))"""

CHAPTER = "notebooks/environment_check"


def walk(tab, steps):
    """Press Tab; what had the focus, until the walk is around."""
    for _ in range(steps):
        tab.keyboard.press("Tab")
        focus = tab.evaluate(FOCUS)
        if focus["tag"] == "BODY":
            return
        yield focus


def test_tab_reaches_all_that_scrolls_and_one_sees_where_it_is(tab):
    visit(tab, CHAPTER, PHONE)
    tab.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true })")
    settle(tab)
    assert len(tab.evaluate(UNREACHED)) > 10
    stops = list(walk(tab, 600))
    assert tab.evaluate(UNREACHED) == []
    assert [stop for stop in stops if not stop["seen"]] == []


def test_the_first_stop_skips_to_the_text(tab):
    visit(tab, CHAPTER)
    tab.keyboard.press("Tab")
    link = tab.locator("#pst-skip-link a")
    assert link.evaluate("link => link === document.activeElement")
    assert link.bounding_box()["y"] >= 0
    tab.keyboard.press("Enter")
    assert tab.url.endswith("#main-content")
    (stop,) = walk(tab, 1)
    assert tab.evaluate("document.querySelector('main').contains(document.activeElement)"), stop


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_code_and_solutions_are_unfolded_by_keyboard(tab, key):
    visit(tab, CHAPTER)
    folded = tab.locator("details.hide").first
    folded.locator("summary").focus()
    tab.keyboard.press(key)
    assert folded.evaluate("box => box.open")
    button = tab.locator(".solution .toggle-button").first
    solution = tab.locator(".solution").first
    button.focus()
    tab.keyboard.press(key)
    assert solution.locator("#solution-content").first.is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    tab.keyboard.press(key)
    assert not solution.locator("#solution-content").first.is_visible()
