"""What a page costs its reader, beside its weight, which `test_browser` holds."""

import re

from conftest import HTML, PAGES, soup
from fontTools.ttLib import TTFont


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
    for page in PAGES:
        sources = [script.get("src", "") for script in soup(page).select("script")]
        assert not [s for s in sources if "fontawesome" in s or "searchindex" in s], page


def test_fonts_of_icons_hold_those_in_use_and_few_others():
    fonts = [TTFont(file).getBestCmap() for file in (HTML / "_static").rglob("fa-*.woff2")]
    assert 5 <= max(map(len, fonts)) < 100
    sheets = "".join(f.read_text(encoding="utf-8") for f in (HTML / "_static").rglob("*.css"))
    used = re.findall(r'--pst-icon-[\w-]+:\s*"(.)"', sheets)
    assert len(used) > 5
    assert {ord(icon) for icon in used} <= set().union(*fonts)
