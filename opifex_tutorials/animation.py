"""A figure that moves, with controls, inside the page: no video and no network needed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from string import Template

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from opifex_tutorials.plotting import show, to_svg

# Nothing moves until the reader says so.
_PAGE = Template("""<div class="book-animation" id="$name">$svg
<p><button type="button">Play</button>
<input type="range" min="0" max="$last" value="0" aria-label="$variable">
<output>$first</output></p>
<script>(() => {
  const box = document.getElementById("$name"), frames = $frames, labels = $labels;
  const find = selector => box.querySelector(selector);
  const [button, slider, output] = ["button", "input", "output"].map(find);
  const draw = () => {
    frames.forEach((curve, i) =>
      find(`[id$$="moving-$${i}"] path`).setAttribute("d", curve[slider.value]));
    output.textContent = labels[slider.value];
  };
  let timer = null;
  slider.oninput = draw;
  button.onclick = () => {
    timer = timer ? clearInterval(timer) : setInterval(() => {
      slider.value = (+slider.value + 1) % labels.length;
      draw();
    }, 80);
    button.textContent = timer ? "Pause" : "Play";
  };
})()</script></div>""")


def animate(
    figure: Figure,
    curves: Mapping[Line2D, ArrayLike],
    labels: Sequence[str],
    *,
    alt: str,
    variable: str = "time",
) -> None:
    """Display ``figure`` with a button and a slider that move its curves, and close it.

    Outside a notebook the figure is shown as it is.

    Args:
        figure: drawn as the first frame.
        curves: lines of the figure with their ordinates, shape (frames, points of the line).
        labels: one per frame, shown beside the slider.
        alt: says in words what is to be seen.
        variable: what the slider changes, for those who cannot see it.

    Raises:
        ValueError: if a shape does not match, or ``alt`` is empty.
    """
    values = {line: np.asarray(frames, dtype=float) for line, frames in curves.items()}
    for line, frames in values.items():
        allowed = (len(labels), np.size(line.get_xdata(orig=False)))
        if frames.shape != allowed:
            raise ValueError(f"curves with shape {frames.shape}: allowed is {allowed}")
    show(figure, alt, lambda figure, alt: to_page(figure, values, labels, alt, variable))


def to_page(
    figure: Figure, curves: dict[Line2D, np.ndarray], labels: Sequence[str], alt: str, variable: str
) -> str:
    """Return the figure with its controls as HTML; the arguments are those of :func:`animate`."""
    for index, line in enumerate(curves):
        line.set_gid(f"moving-{index}")
    figure.set_dpi(72)  # then a pixel is a unit of the SVG, once the layout is final
    svg = to_svg(figure, alt)
    paths = [[_path(figure, line, y) for y in frames] for line, frames in curves.items()]
    name = "a" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    texts = {"name": name, "svg": svg, "first": labels[0], "variable": variable}
    data = {"frames": json.dumps(paths), "labels": json.dumps(list(labels))}
    return _PAGE.substitute(texts, **data, last=len(labels) - 1)


def _path(figure: Figure, line: Line2D, y: np.ndarray) -> str:
    points = line.get_transform().transform(np.column_stack([line.get_xdata(orig=False), y]))
    points[:, 1] = figure.bbox.height - points[:, 1]
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
