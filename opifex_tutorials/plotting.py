"""One visual language for all figures: legible in light and dark, without color, and read aloud."""

from __future__ import annotations

import hashlib
import html
import io
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.registry import BackendFilter, backend_registry
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from opifex_tutorials.progress import in_notebook

#: Told apart by color-blind readers, and with contrast of at least 3:1 on white and on #121212.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676")
#: Second and third cues beside the color, in the same order.
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")

# Drawn in this color, text and axes become the page's own text color in the final SVG.
_INK = "#010203"


def style() -> None:
    """Set Matplotlib's defaults to those of the book. Call once, at the top of a notebook."""
    mpl.rcParams.update(
        {
            "text.color": _INK,
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=LINE_STYLES),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": COLORS[-1],
            "grid.alpha": 0.3,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "figure.figsize": (6.4, 3.6),
            "figure.constrained_layout.use": True,
            "font.size": 12,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "image.cmap": "cividis",
            "svg.fonttype": "path",
        }
    )


def show(figure: Figure, alt: str) -> None:
    """Display ``figure`` in the notebook and close it; ``alt`` says in words what it shows.

    The figure becomes SVG inside the page, so that its text takes the page's color, light or dark.
    Outside a notebook it opens a window where Matplotlib has one, and does nothing otherwise.

    Raises:
        ValueError: ``alt`` is empty.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must describe the figure in words, got {alt!r}")
    if in_notebook():
        from IPython.display import display

        display({"text/html": to_svg(figure, alt), "text/plain": alt}, raw=True)
    elif plt.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        plt.show()
    plt.close(figure)


def to_svg(figure: Figure, alt: str) -> str:
    """Return ``figure`` as an ``<svg>`` element for any page: theme-aware, scalable, labeled."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": alt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor")
    svg = svg.replace('"text/css">*{', '"text/css">.book-figure *{')  # style nothing else on a page
    # Ids must differ between the figures of one page, or one would borrow glyphs from another.
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    root = re.search(r'<svg [^>]*viewBox="(\S+ \S+ (\S+) \S+)"[^>]*>', svg)
    assert root is not None  # Matplotlib always writes a viewBox
    label, width = html.escape(alt, quote=True), float(root[2]) * 4 / 3  # points to CSS pixels
    opening = (
        f'<svg class="book-figure" role="img" aria-label="{label}" viewBox="{root[1]}" '
        f'style="width:{width:.0f}px;max-width:100%;height:auto" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return f"{opening}\n <title>{label}</title>{svg[root.end() :].rstrip()}"


def seed_band(axes: Axes, x: ArrayLike, runs: ArrayLike, label: str, color_index: int = 0) -> None:
    """Draw the median over seeds as a line and the range from best to worst seed as a band.

    Args:
        axes: where to draw.
        x: abscissas, shape ``(n,)``.
        runs: one row per seed, shape ``(seeds, n)``.
        label: what the legend calls it; the number of seeds is added.
        color_index: which of the book's colors, with its line style, modulo their number.

    Raises:
        ValueError: the shapes of ``x`` and ``runs`` do not match.
    """
    abscissas, values = np.asarray(x, dtype=float), np.asarray(runs, dtype=float)
    if values.ndim != 2 or abscissas.shape != values.shape[1:]:
        raise ValueError(
            f"runs must have shape (seeds, len(x)), got {values.shape} for x of {abscissas.shape}"
        )
    index = color_index % len(COLORS)
    axes.fill_between(
        abscissas, values.min(axis=0), values.max(axis=0), color=COLORS[index], alpha=0.2, lw=0
    )
    axes.plot(
        abscissas,
        np.median(values, axis=0),
        color=COLORS[index],
        linestyle=LINE_STYLES[index],
        label=f"{label} ({len(values)} seeds)",
    )
