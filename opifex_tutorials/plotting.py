"""One visual language for all figures: legible in light and dark, without color, and read aloud."""

import hashlib
import html
import io
import re
from collections.abc import Callable

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
    plt.style.use(f"{__package__}.book")  # the file book.mplstyle beside this one
    mpl.rc("axes", prop_cycle=cycler(color=COLORS) + cycler(linestyle=LINE_STYLES))


def show(figure: Figure, alt: str, render: Callable[[Figure, str], str] | None = None) -> None:
    """Display ``figure`` in the notebook and close it; ``alt`` says in words what it shows.

    The figure becomes SVG inside the page, so that its text takes the page's color, light or dark.
    Outside a notebook it opens a window where Matplotlib has one, and does nothing otherwise.

    Args:
        figure: what to show.
        alt: for those who cannot see it.
        render: makes the HTML from both; by default :func:`to_svg`.

    Raises:
        ValueError: ``alt`` is empty.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt={alt!r}: allowed are words that describe the figure")
    if in_notebook():
        from IPython.display import display

        display({"text/html": (render or to_svg)(figure, alt), "text/plain": alt}, raw=True)
    elif plt.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        plt.show()
    plt.close(figure)


def to_svg(figure: Figure, alt: str) -> str:
    """Return ``figure`` as an ``<svg>`` element for any page: theme-aware, scalable, labeled."""
    buffer = io.StringIO()
    without = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": alt}):
        figure.savefig(buffer, format="svg", metadata=without, transparent=True)
    svg = buffer.getvalue().replace(_INK, "currentColor")
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
        allowed = f"(seeds, n), with x of shape (n,), which is {abscissas.shape}"
        raise ValueError(f"runs with shape {values.shape}: allowed is {allowed}")
    index = color_index % len(COLORS)
    color, line_style = COLORS[index], LINE_STYLES[index]
    axes.fill_between(abscissas, values.min(0), values.max(0), color=color, alpha=0.2, lw=0)
    label = f"{label} ({len(values)} seeds)"
    axes.plot(abscissas, np.median(values, 0), color=color, linestyle=line_style, label=label)
