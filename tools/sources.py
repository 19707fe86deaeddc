"""A Sphinx extension: *Suggest edit* leads to the file that is the source.

A chapter is written in its ``.py``; a page of the API has no file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx, which then calls us for every page, after the theme made its buttons."""

    def on_page(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
        edit_links(context.get("header_buttons", []), page)

    app.connect("html-page-context", on_page, priority=502)
    return {"parallel_read_safe": True}
