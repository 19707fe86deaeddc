"""The live figures in a browser: by slider, by key, by pointer; and as they stand still."""

import io

import numpy as np
import pytest
from conftest import PAGES, soup
from PIL import Image
from test_browser import WIDE, visit

#: Page, sliders and curves of each figure. A curve is named if every one of the sliders moves it.
FIGURES = {
    "fig-live-donors": ("starting_from_neighbors", ["time", "viscosity"], "network"),
    "fig-motion": ("mfg_pinn", ["time", "viscosity"], "density"),
    "fig-exploitability": ("mfg_pinn", ["size of the wave", "waves on the ring"], "plan"),
    "fig-live-steps": (
        "first_pinn",
        ["start, weight a", "start, weight b", "first damping"],
        "plain",
    ),
}
PLAYED = {"fig-live-donors", "fig-motion"}
MOST_BYTES = 300_000


def curve(box, name):
    """Return where a curve goes."""
    return box.locator(f'[id$="live-{name}"] > path').get_attribute("d")


@pytest.fixture(params=FIGURES)
def name(request):
    """One live figure, by the name of its cell, for each of them."""
    return request.param


@pytest.fixture
def figure(browser, site, name):
    """The figure in an open page, which must not complain or ask for anything outside."""
    tab, _, outside, complaints = visit(browser, f"{site}/notebooks/{FIGURES[name][0]}.html")
    yield tab.locator(f"#{name} .book-live")
    assert outside == complaints == []
    tab.close()


def test_every_slider_works_by_key_and_says_where_it_is(figure, name):
    _, sliders, moved = FIGURES[name]
    assert figure.get_by_role("slider").count() == len(sliders)
    for label in sliders:
        slider, before = figure.get_by_role("slider", name=label, exact=True), curve(figure, moved)
        said = slider.get_attribute("aria-valuetext")
        slider.focus()
        assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        for key in ("Home", "ArrowRight"):
            slider.press(key)
        once = curve(figure, moved)
        assert once != before
        assert slider.get_attribute("aria-valuetext") != said
        slider.press("End")
        assert curve(figure, moved) != once


def test_a_slider_works_by_pointer(figure, name):
    _, sliders, moved = FIGURES[name]
    before, result = curve(figure, moved), figure.get_by_role("status").text_content()
    slider = figure.get_by_role("slider", name=sliders[0], exact=True)
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    assert curve(figure, moved) != before
    assert figure.get_by_role("status").text_content() != result


def test_nothing_moves_until_the_reader_says_so(figure, name):
    before = figure.inner_html()
    figure.page.wait_for_timeout(400)
    assert figure.inner_html() == before
    assert (figure.get_by_role("button").count() == 1) == (name in PLAYED)
    if name in PLAYED:
        moved, button = FIGURES[name][2], figure.get_by_role("button")
        button.focus()
        button.press("Enter")
        assert button.text_content() == "Pause"
        line = figure.locator(f'[id$="live-{moved}"] > path').element_handle()
        changed = "([line, d]) => line.getAttribute('d') !== d"
        figure.page.wait_for_function(changed, arg=[line, line.get_attribute("d")])
        button.press("Enter")
        assert button.text_content() == "Play"
        stopped = curve(figure, moved)
        figure.page.wait_for_timeout(400)
        assert curve(figure, moved) == stopped


@pytest.mark.parametrize("name", ["fig-live-steps"], indirect=True)
def test_the_start_of_the_steps_is_dragged(figure):
    sliders = [figure.get_by_role("slider").nth(i) for i in (0, 1)]
    before = [slider.input_value() for slider in sliders]
    svg = figure.locator("svg").first
    svg.scroll_into_view_if_needed()
    place, mouse = svg.bounding_box(), figure.page.mouse
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    mouse.move(x, y)
    mouse.down()
    dropped = [slider.input_value() for slider in sliders]
    assert all(a != b for a, b in zip(before, dropped, strict=True))
    mouse.move(x + 60, y - 40)
    mouse.up()
    to_the_right, up = (float(slider.input_value()) for slider in sliders)
    assert to_the_right > float(dropped[0])
    assert up > float(dropped[1])
    mouse.move(x, y)  # the pointer is up: nothing follows it
    assert float(sliders[0].input_value()) == to_the_right


def picture(browser, box):
    """Return the figure, alone on a page, as gray values."""
    page = browser.new_page(viewport=WIDE)
    page.set_content(box.locator("svg").first.evaluate("e => e.outerHTML"))
    data = page.screenshot()
    page.close()
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)


def test_without_javascript_the_same_figure_stands_still(browser, figure, name):
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)
    try:
        page = context.new_page()
        page.goto(figure.page.url)
        still = page.locator(f"#{name} .book-live")
        assert still.locator("input, button, output").count() == 0
        assert still.locator("svg").first.is_visible()
        alone, live = picture(browser, still), picture(browser, figure)
        assert alone.std() > 10  # something is drawn
        assert np.mean(np.abs(alone - live) > 60) < 5e-4
    finally:
        context.close()


def test_on_paper_there_are_no_controls(figure):
    assert figure.locator("form").is_visible()
    figure.page.emulate_media(media="print")
    assert not figure.locator("form").is_visible()


def test_a_figure_weighs_little(name):
    [box] = soup(f"notebooks/{FIGURES[name][0]}").select(f"#{name} .book-live")
    assert 20_000 < len(str(box).encode()) <= MOST_BYTES


def test_every_live_figure_is_tested():
    assert sum(len(soup(page).select(".book-live")) for page in PAGES) == len(FIGURES)
