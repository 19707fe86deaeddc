"""What a page costs its reader."""

import json

from conftest import HTML, PAGES
from test_pages import soup

from tools.weigh import weigh

#: Bytes of a page with all that it loads, and seconds until it can be read, from this machine.
LIMIT, LANDING_LIMIT, SECONDS = 1_500_000, 500_000, 1.0


def test_page_is_light_and_quick(browser, site, page):
    limit = LANDING_LIMIT if page == PAGES[0] else LIMIT
    weights = []
    for _ in range(3):  # a busy machine has slow moments
        weights.append(weigh(browser, f"{site}/{page}.html"))
        assert weights[-1].bytes <= limit, weights
        if weights[-1].painted < SECONDS:
            return
    raise AssertionError(f"not readable within {SECONDS} s: {weights}")


def test_icons_are_still_drawn(browser, site):
    """The icons of the theme come from a font that holds only those in use."""
    tab = browser.new_page()
    tab.goto(f"{site}/{PAGES[0]}.html", wait_until="networkidle")
    icons = tab.locator("i[class*='fa-']")
    assert icons.count() >= 5
    empty = "e => ['none', '\"\"'].includes(getComputedStyle(e, '::before').content)"
    assert not [i for i in icons.all() if i.evaluate(empty)]
    fonts = tab.evaluate("[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)")
    assert any("Font Awesome" in family for family in fonts)
    tab.close()


def test_no_page_loads_what_was_taken_out():
    assert not list((HTML / "_static").rglob("fontawesome.js"))
    for page in PAGES:
        assert not soup(page).select("script[src*='fontawesome.js']")


def test_theme_fonts_hold_only_icons_in_use():
    from fontTools.ttLib import TTFont

    fonts = list((HTML / "_static").rglob("fa-*.woff2"))
    assert fonts
    assert json.dumps([len(TTFont(f).getBestCmap() or {}) for f in fonts])
    assert sum(len(TTFont(f).getBestCmap() or {}) for f in fonts) < 200
