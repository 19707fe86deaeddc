"""A figure that computes: its curves answer to sliders inside the page, without kernel or network.

Matplotlib draws the figure as it stands still, which is what paper and a page without JavaScript
show. A script beside this module computes from the data that come along, and moves the curves.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opifex_tutorials.plotting import show, to_svg
from opifex_tutorials.validation import require_choice

SCRIPTS = ("burgers", "crowd", "exploitability", "levenberg_marquardt")

# In a function of its own: a page can hold several figures.
_PAGE = """<div class="book-live" id="{box}">{svg}
<script>(() => {{
{code}
start(document.getElementById("{box}"), {data});
}})()</script></div>"""


def live(
    script: str, figure: Figure, curves: Mapping[str, Line2D], *, alt: str, **data: Any
) -> None:
    """Display ``figure`` with controls that move its curves, and close it.

    Outside a notebook the figure is shown as it is.

    Args:
        script: one of ``SCRIPTS``; its first lines say what curves and data it takes.
        figure: as it stands still, which is also the first that the script shows.
        curves: the lines of the figure that move, by name.
        alt: says in words what is to be seen.
        data: numbers, words and arrays.

    Raises:
        ValueError: if there is no such script, or ``alt`` is empty.
    """
    require_choice("script", script, SCRIPTS)
    show(figure, alt, lambda figure, alt: to_page(script, figure, curves, alt, data))


def to_page(
    script: str, figure: Figure, curves: Mapping[str, Line2D], alt: str, data: Mapping[str, Any]
) -> str:
    """Return the figure with its script as HTML; the arguments are those of :func:`live`."""
    for name, curve in curves.items():
        curve.set_gid(f"live-{name}")
    figure.set_dpi(72)  # then a pixel is a unit of the SVG, once the layout is final
    svg = to_svg(figure, alt)
    frames = {name: _frame(figure, curve.axes) for name, curve in curves.items()}
    numbers = json.dumps({**data, "frames": frames}, default=np.ndarray.tolist)
    box = "live" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    safe = numbers.replace("<", "\\u003c")  # no text may end the script
    return _PAGE.format(box=box, svg=svg, code=code(script), data=safe)


def code(script: str) -> str:
    """Return the JavaScript of a figure, with what all figures share."""
    folder = files(__name__)
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in ("figure", script))


def _frame(figure: Figure, axes: Any) -> dict[str, Any]:
    """Where the axes lie in the SVG, and the values at their ends."""
    left, low, right, high = axes.bbox.extents
    y = {"at": [figure.bbox.height - low, figure.bbox.height - high]}
    x = {"at": [left, right], "ends": axes.get_xlim(), "scale": axes.get_xscale()}
    return {"x": x, "y": {**y, "ends": axes.get_ylim(), "scale": axes.get_yscale()}}
