import re
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from opifex_tutorials import plotting
from opifex_tutorials.progress import progress


@pytest.fixture(autouse=True)
def restore():
    with mpl.rc_context():
        mpl.use("agg")
        plotting.style()
        yield
    plt.close("all")


def luminance(color):
    channels = np.array(mpl.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("background", ["#ffffff", "#121212"])
@pytest.mark.parametrize("color", plotting.COLORS)
def test_colors_stand_out_on_light_and_dark(color, background):
    assert contrast(color, background) >= 3


def test_the_style_sheet_draws_in_the_ink_and_the_gray_of_the_module():
    drawn = ["axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"]
    assert {mpl.colors.to_hex(mpl.rcParams[name]) for name in drawn} == {plotting._INK}
    assert mpl.colors.to_hex(mpl.rcParams["grid.color"]) == plotting.COLORS[-1]


def test_color_is_never_the_only_cue():
    assert len(plotting.COLORS) == len(set(plotting.LINE_STYLES)) == len(set(plotting.MARKERS))


def draw():
    figure, axes = plt.subplots()
    runs = np.random.default_rng(0).random((5, 4))
    plotting.seed_band(axes, np.arange(4), runs, "PINN", color_index=1)
    axes.set(xlabel="$x$", ylabel="u", title="A title")
    axes.legend()
    return figure


def test_svg_follows_the_page():
    svg = plotting.to_svg(draw(), "alt")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "currentColor" in svg
    assert plotting._INK not in svg
    fills = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg))
    assert fills <= {"none", "currentColor", *(color.lower() for color in plotting.COLORS)}
    assert "max-width:100%" in root.attrib["style"]
    assert "width" not in root.attrib
    assert ".book-figure *{" in svg
    assert not re.search(r'type="text/css">\*', svg)


def test_svg_is_labeled_and_escaped():
    root = ElementTree.fromstring(plotting.to_svg(draw(), 'error < 1e-5 & "falling"'))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'error < 1e-5 & "falling"'
    assert root[0].tag.endswith("title")
    assert root[0].text == 'error < 1e-5 & "falling"'


def test_svg_is_reproducible_and_ids_are_unique():
    one, same, other = (plotting.to_svg(draw(), alt) for alt in ("one", "one", "other"))
    assert one == same
    ids = re.findall(r'\bid="([^"]+)"', one)
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', other))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one))
    assert {a or b for a, b in used} <= set(ids)


def test_images_travel_inside():
    figure, axes = plt.subplots()
    axes.imshow(np.random.default_rng(0).random((8, 8)))
    links = re.findall(r'href="([^"#][^"]{0,20})', plotting.to_svg(figure, "alt"))
    assert links
    assert all(link.startswith("data:image/png") for link in links)


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(ValueError, match=r"alt=.*: allowed are words that describe the figure"):
        plotting.show(draw(), alt)


def test_show_closes_the_figure_and_is_silent_in_a_script(capsys):
    plotting.show(draw(), "alt")
    assert plt.get_fignums() == []
    assert capsys.readouterr() == ("", "")


def test_show_displays_html_in_a_notebook(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(plotting, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append((data, raw)))
    plotting.show(draw(), "a band")
    ((data, raw),) = shown
    assert raw
    assert data["text/plain"] == "a band"
    assert data["text/html"].startswith("<svg")


def test_seed_band_draws_median_and_range():
    _, axes = plt.subplots()
    plotting.seed_band(axes, [0, 1], [[1, 5], [2, 4], [9, 3]], "run")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2, 4])
    assert axes.lines[0].get_label() == "run (3 seeds)"
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1
    assert band[:, 1].max() == 9


@pytest.mark.parametrize("runs", [[1, 2], [[1, 2, 3]], [[[1, 2]]]])
def test_seed_band_refuses_other_shapes(runs):
    _, axes = plt.subplots()
    with pytest.raises(ValueError, match=r"runs with shape .*: allowed is \(seeds, n\)"):
        plotting.seed_band(axes, [0, 1], runs, "run")


@pytest.mark.parametrize("watched", [True, False])
def test_progress_shows_a_bar_only_to_those_who_watch(watched, monkeypatch, capsys):
    monkeypatch.delenv("OPIFEX_LEDGER", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: watched, raising=False)
    assert list(progress(iter(range(3)), "steps", total=3)) == [0, 1, 2]
    assert ("steps" in capsys.readouterr().err) == watched


def test_progress_is_silent_in_a_build(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("OPIFEX_LEDGER", "somewhere")
    assert list(progress([1, 2], "steps")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_progress_is_silent_in_a_worker_process(monkeypatch, capsys):
    monkeypatch.delenv("OPIFEX_LEDGER", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: "the one with the terminal")
    assert list(progress([1, 2], "steps")) == [1, 2]
    assert capsys.readouterr().err == ""
