"""A Sphinx extension: the first mention of a term on a page leads to the glossary.

Only running prose counts: no heading, code, formula, caption, table or link. What counts as a
mention of an entry stands in ``book/glossary.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

#: Whoever is inside one of these is no running prose.
NOT_PROSE = (
    nodes.title,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.reference,
    nodes.table,
    nodes.caption,
    nodes.raw,
    nodes.comment,
    nodes.target,
    nodes.footnote,
    nodes.citation,
    addnodes.pending_xref,
    addnodes.desc,
    addnodes.glossary,
)

Forms = dict[str, str]  # how a term is written in prose: its entry in the glossary


def read_forms(file: Path) -> Forms:
    """Forms of all entries, by what stands on the page."""
    entries = tomllib.loads(file.read_text(encoding="utf-8"))
    return {form: entry for entry, forms in entries.items() for form in forms}


def pattern(forms: Forms) -> re.Pattern[str]:
    """Match any form as a whole word; of several that begin at one place the longest.

    A form matches with a capital too, where a sentence begins, and across a line break.
    """
    longest_first = sorted(forms, key=len, reverse=True)
    words = [re.escape(form).replace(r"\ ", r"\s+") for form in longest_first]
    words = [f"[{w[0]}{w[0].upper()}]{w[1:]}" if w[0].islower() else w for w in words]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])")


def link_terms(doctree: nodes.document, docname: str, forms: Forms) -> set[str]:
    """Turn the first mention of each term into a reference; return the terms found."""
    find, done = pattern(forms), set[str]()
    for text in list(_prose(doctree)):
        pieces: list[nodes.Node] = []
        end = 0
        for match in find.finditer(text):
            entry = _entry(match[0], forms)
            if entry in done:
                continue
            done.add(entry)
            pieces += [nodes.Text(text[end : match.start()]), _reference(entry, match[0], docname)]
            end = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[end:])])
    return done


def _prose(doctree: nodes.document) -> Iterator[nodes.Text]:
    for text in doctree.findall(nodes.Text):
        ancestor = text.parent
        while ancestor is not None and not isinstance(ancestor, NOT_PROSE):
            ancestor = ancestor.parent
        if ancestor is None:
            yield text


def _entry(found: str, forms: Forms) -> str:
    found = " ".join(found.split())
    return forms.get(found) or forms[found[0].lower() + found[1:]]


def _reference(entry: str, shown: str, docname: str) -> nodes.Node:
    options = {"refdomain": "std", "reftype": "term", "reftarget": entry, "refdoc": docname}
    return addnodes.pending_xref(
        "", nodes.inline(shown, shown), refexplicit=True, refwarn=True, **options
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx, which then calls us for every page it has read."""

    def on_read(app: Sphinx, doctree: nodes.document) -> None:
        page = app.env.docname
        if page.startswith("notebooks/") or page in app.config.pages_with_terms:
            link_terms(doctree, page, read_forms(Path(app.srcdir) / "book" / "glossary.toml"))

    app.add_config_value("pages_with_terms", [], "env")
    app.connect("doctree-read", on_read)
    return {"parallel_read_safe": True}
