"""Print the book with headless Chromium: a PDF of each page and one of the whole, in order.

``make pdf`` calls this module after the build. The look is that of ``book/_css/print.css``, which a
reader's own browser follows too; here links are led to where they arrive, and headings become
bookmarks.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.generic import Destination, Fit, NameObject, TextStringObject

from tools.book import BUILD, HTML, ROOT, BuildError
from tools.browser import NoBrowserError, chromium

PDF = BUILD / "pdf"
WHOLE = "opifex_tutorials.pdf"
TITLE = "Opifex Tutorials: verified neural PDE solvers"

PRINT_BUTTON = re.compile(r'<button[^>]* onclick="window\.print\(\)".*?</button>', re.DOTALL)

PAPER: dict[str, Any] = {
    "format": "A4",
    "margin": {"top": "16mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
    "print_background": True,
    "tagged": True,  # a screen reader finds headings, tables and the words of figures
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": """<div style="display: flex; font: 7px sans-serif; gap: 2em; color: #555;
      justify-content: space-between; padding: 0 15mm; width: 100%">
      <span class="title"></span><span class="pageNumber"></span></div>""",
}

#: Chromium remembers where an anchor lies only if the page itself links to it. The result are the
#: headings: level, text and anchor.
PREPARE = """async () => {
  await document.fonts.ready;
  const links = document.createElement('div');
  links.hidden = true;
  for (const { id } of document.querySelectorAll('article [id]:not(svg *)'))
    links.append(Object.assign(document.createElement('a'), { href: '#' + id }));
  document.body.append(links);
  return [...document.querySelectorAll('article section > :is(h1, h2, h3)')].map(heading => {
    const words = heading.cloneNode(true);
    words.querySelectorAll('.headerlink').forEach(link => link.remove());
    return [Number(heading.tagName[1]), words.textContent.trim(), heading.parentElement.id];
  });
}"""


@dataclass(frozen=True)
class Printed:
    """A page of the book on paper, as Chromium made it.

    Attributes:
        name: of the page, as the table of contents has it.
        file: the PDF.
        headings: level, text and anchor of each.
    """

    name: str
    file: Path
    headings: list[tuple[int, str, str]]

    @cached_property
    def sheets(self) -> int:
        """How many sheets of paper."""
        return len(PdfReader(self.file).pages)

    @cached_property
    def anchors(self) -> dict[str, tuple[int, Fit]]:
        """Sheet and place of each anchor."""
        reader = PdfReader(self.file)
        return {
            name.removeprefix("/"): (
                reader.get_destination_page_number(place) or 0,
                Fit.xyz(place.left, place.top),
            )
            for name, place in reader.named_destinations.items()
        }

    def find(self, anchor: str) -> tuple[int, Fit]:
        """Sheet and place of an anchor, or the start of the page."""
        return self.anchors.get(anchor, (0, Fit.fit_horizontally()))


def main() -> int:
    """Print every page and the whole book; return the exit status."""
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it remarks on each file of Chromium's
    try:
        shutil.rmtree(PDF, ignore_errors=True)  # a page that is gone leaves no PDF
        PDF.mkdir(parents=True)
        pages = print_pages(reading_order(), PDF)
        bind(pages, PDF / WHOLE)
        for page in pages:
            finish(page, {p.name for p in pages})
            offer(HTML / f"{page.name}.html", page.file.name)
        shutil.copytree(PDF, HTML / "pdf", dirs_exist_ok=True)
    except (BuildError, NoBrowserError) as error:
        print(f"\nNo PDF: {error}", file=sys.stderr)
        return 1
    megabytes = sum(page.file.stat().st_size for page in pages) / 1e6
    print(
        f"PDF: {len(pages)} pages of the book, {megabytes:.1f} MB; {PDF / WHOLE}: "
        f"{sum(page.sheets for page in pages)} sheets, {(PDF / WHOLE).stat().st_size / 1e6:.1f} MB"
    )
    return 0


def reading_order(entry: dict[str, Any] | None = None) -> Iterator[str]:
    """Every page below an entry of the table of contents (by default: of the book)."""
    entry = entry or yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    yield entry.get("root") or entry["file"]
    for group in [entry, *entry.get("parts", [])]:
        for below in [*group.get("chapters", []), *group.get("sections", [])]:
            yield from reading_order(below)


def print_pages(names: Iterable[str], folder: Path) -> list[Printed]:
    """Print pages of the built book into a folder."""
    with chromium() as browser:
        printed = [print_page(browser, name, folder) for name in names]
    if len({page.file for page in printed}) != len(printed):
        raise BuildError("two pages of the book have the same name, hence the same PDF")
    return printed


def file_name(page: str) -> str:
    """Return the name of a page's PDF, without the folder in which all pages of its kind lie."""
    return "-".join(Path(page).parts[1:]) + ".pdf"


def print_page(browser: Any, name: str, folder: Path) -> Printed:
    """Print one page of the built book into a folder."""
    tab = browser.new_page(color_scheme="light")
    tab.goto((HTML / f"{name}.html").as_uri())
    headings = [(int(level), text, anchor) for level, text, anchor in tab.evaluate(PREPARE)]
    file = folder / file_name(name)
    tab.pdf(path=file, **PAPER)
    tab.close()
    return Printed(name, file, headings)


def finish(page: Printed, names: set[str]) -> None:
    """Lead links to the published book, or else to the other pages' PDFs; add bookmarks."""
    writer = PdfWriter(clone_from=page.file)
    for link in links(writer, range(page.sheets)):
        if target := local_target(link):
            sibling = file_name(target[0]) if target[0] in names else None
            lead_out(link, *target, instead=sibling)
    bookmark(writer, page, 0)
    writer.write(page.file)


def bind(pages: list[Printed], file: Path) -> None:
    """Bind printed pages into one file, in which links lead from page to page."""
    writer = PdfWriter()
    start: dict[str, int] = {}
    for page in pages:
        start[page.name] = len(writer.pages)
        for sheet in PdfReader(page.file).pages:
            writer.add_page(sheet)
    book = {page.name: page for page in pages}
    paper: list[Any] = list(writer.pages)
    for page in pages:
        first = start[page.name]
        for link in links(writer, range(first, first + page.sheets)):
            # Anchors have names, and two pages of the book may give the same one.
            within = (page.name, str(link["/Dest"]).removeprefix("/")) if "/Dest" in link else None
            target = within or local_target(link)
            if target is None:
                continue
            name, anchor = target
            if name in book:
                number, fit = book[name].find(anchor)
                reference = paper[start[name] + number].indirect_reference
                link.pop("/A", None)
                link[NameObject("/Dest")] = Destination(anchor, reference, fit).dest_array
            else:
                lead_out(link, name, anchor)
        bookmark(writer, page, first)
    writer.add_metadata({"/Title": TITLE})
    writer.write(file)


def links(writer: PdfWriter, sheets: Iterable[int]) -> Iterator[Any]:
    """Every link on some sheets."""
    for sheet in sheets:
        for link in writer.pages[sheet].get("/Annots", []):
            yield link.get_object()


def local_target(link: Any) -> tuple[str, str] | None:
    """Page (or other file) of the book and anchor to which a link leads, if it leads there."""
    address = unquote(str(link.get("/A", {}).get("/URI", "")))
    if not address.startswith(HTML.as_uri()):
        return None
    file, _, anchor = address.removeprefix(f"{HTML.as_uri()}/").partition("#")
    return file.removesuffix(".html"), anchor


def lead_out(link: Any, name: str, anchor: str, instead: str | None = None) -> None:
    """Lead a link to the published book, if that has an address, or elsewhere, or nowhere."""
    site = os.environ.get("OPIFEX_SITE", "").rstrip("/")
    file = name if Path(name).suffix else f"{name}.html"
    address = f"{site}/{file}#{anchor}".removesuffix("#") if site else instead
    if address:
        link["/A"][NameObject("/URI")] = TextStringObject(address)
    else:
        link.pop("/A")


def bookmark(writer: PdfWriter, page: Printed, first: int) -> None:
    """Make a page's headings bookmarks, below the nearest one of a higher level."""
    above: dict[int, Any] = {}
    for level, text, anchor in page.headings:
        sheet, fit = page.find(anchor)
        parent = next((above[n] for n in range(level - 1, 0, -1) if n in above), None)
        above = {n: item for n, item in above.items() if n < level}
        above[level] = writer.add_outline_item(
            title=text, page_number=first + sheet, parent=parent, fit=fit
        )


def offer(html: Path, file: str) -> None:
    """Where a page has a button that makes the reader's browser print it, link the PDFs instead."""
    up = "../" * len(html.relative_to(HTML).parent.parts)
    both = f'<a href="{up}pdf/{file}">PDF</a>, <a href="{up}pdf/{WHOLE}">whole book</a>'
    page = html.read_text(encoding="utf-8")
    html.write_text(PRINT_BUTTON.sub(both, page), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
