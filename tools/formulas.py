"""A Sphinx extension: formulas are set while the book is built, by KaTeX.

The reader's browser gets finished HTML (with MathML for screen readers) and needs no script for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import quickjs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

KATEX = Path(__file__).parent.parent / "book" / "vendor" / "katex" / "katex.min.js"
SET = """
(tex, display) => katex.renderToString(tex, {displayMode: display, strict: "ignore"})
"""

logger = logging.getLogger(__name__)


@cache
def _katex() -> Callable[[str, bool], str]:
    context = quickjs.Context()
    context.eval("var self = globalThis")
    context.eval(KATEX.read_text(encoding="utf-8"))
    return context.eval(SET)


@cache
def formula(tex: str, display: bool = False) -> str:
    """HTML of a formula. Raises ``quickjs.JSException`` if it is none."""
    return _katex()(tex, display)


def display_tex(text: str) -> str:
    """Allow what Sphinx does in a displayed formula: several lines, parts between blank lines."""
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    parts = [rf"\begin{{split}}{part}\end{{split}}" if r"\\" in part else part for part in parts]
    return r"\begin{gathered}" + r"\\ ".join(parts) + r"\end{gathered}" if parts[1:] else parts[0]


def _set(writer: HTML5Translator, node: nodes.Element, tex: str, display: bool) -> None:
    try:
        writer.body.append(formula(tex, display))
    except quickjs.JSException as error:
        logger.warning("%s", str(error).splitlines()[0], location=node)


def visit_inline(writer: HTML5Translator, node: nodes.Element) -> None:
    """Set a formula within a line."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    _set(writer, node, node.astext(), False)
    writer.body.append("</span>")
    raise nodes.SkipNode


def visit_display(writer: HTML5Translator, node: nodes.Element) -> None:
    """Set a formula on a line of its own, with its number if it has one."""
    attributes = {"CLASS": "math notranslate nohighlight", "tabindex": "0"}  # it may scroll
    writer.body.append(writer.starttag(node, "div", **attributes))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    _set(writer, node, node.astext() if node["nowrap"] else display_tex(node.astext()), True)
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
