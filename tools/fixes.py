"""A Sphinx extension: what the book's other extensions do not do, or do not do together.

*Suggest edit* leads to the file that is the source: a chapter is written in its ``.py``, and a page
of the API has no file of its own. Exercises stand in sections without a title, over which
sphinx-codeautolink stumbles; they become boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def edit_links(buttons: list[dict[str, Any]], page: str) -> None:
    """Correct the theme's buttons on one page."""
    for group in list(_groups(buttons)):
        for button in list(group):
            if button.get("label") == "source-edit-button":
                button["url"] = button["url"].replace(".ipynb", ".py")
                if page.startswith("book/api/"):
                    group.remove(button)


def _groups(buttons: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    yield buttons
    for button in buttons:
        yield from _groups(button.get("buttons", []))


def box_untitled_sections(doctree: nodes.document) -> None:
    """Make every section that has no title a plain box."""
    for section in list(doctree.findall(nodes.section)):
        if not section.children or not isinstance(section[0], nodes.title):
            section.replace_self(nodes.container("", *section.children, classes=section["ids"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx, which calls us for every page: when it is read, when it is written."""

    def on_read(app: Sphinx, doctree: nodes.document) -> None:
        box_untitled_sections(doctree)

    def on_write(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
        edit_links(context.get("header_buttons", []), page)

    app.connect("doctree-read", on_read, priority=400)
    app.connect("html-page-context", on_write, priority=502)  # after the theme made its buttons
    return {"parallel_read_safe": True}
