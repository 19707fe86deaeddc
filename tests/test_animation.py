"""The moving figure: its first frame is the figure, and its shapes are checked."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from opifex_tutorials.animation import animate, to_page

X = np.linspace(0, 1, 7)
FRAMES = np.stack([np.sin(X + s) for s in (0.0, 0.5, 1.0)])


def page():
    figure, axes = plt.subplots(layout="constrained")
    (line,) = axes.plot(X, FRAMES[0])
    axes.set(ylim=(-1, 1), ylabel="height")
    html = to_page(figure, {line: FRAMES}, ["a", "b", "c"], "a wave", "phase")
    plt.close(figure)
    return html


def numbers(path):
    return np.array(re.findall(r"-?\d+\.?\d*", path), dtype=float)


def test_the_first_frame_is_what_matplotlib_draws():
    html = page()
    drawn = re.search(r'moving-0">\s*<path d="([^"]+)"', html)[1]
    frames = json.loads(re.search(r"frames = (\[\[.*?\]\])", html)[1])
    assert len(frames[0]) == 3
    np.testing.assert_allclose(numbers(frames[0][0]), numbers(drawn), atol=0.06)
    assert np.abs(numbers(frames[0][2]) - numbers(drawn)).max() > 5


def test_the_page_has_controls_and_asks_for_nothing_outside():
    html = page()
    assert 'type="range" min="0" max="2"' in html
    assert 'aria-label="phase"' in html
    assert "<button" in html
    assert not re.search(r'(src|href)="(?!#)', html)


def test_frames_of_another_shape_are_refused():
    figure, axes = plt.subplots()
    (line,) = axes.plot(X, FRAMES[0])
    with pytest.raises(ValueError, match=r"curves with shape \(3, 7\): allowed is \(2, 7\)"):
        animate(figure, {line: FRAMES}, ["a", "b"], alt="a wave")
    plt.close(figure)
