"""Notebooks to take away: each chapter without MyST, with its outputs, beside the package's wheel.

``tools/book.py`` calls this file when it has rendered the pages, because numbers and titles are
read from there. ``OPIFEX_SITE`` is the address at which the pages will be published, such as
``https://example.org/book``: the first cell of each notebook installs the wheel from there, and
references are links to there. Without it, the first cell expects the wheel beside the notebook, and
references are words.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

from tools.plain_markdown import Book, Chapter, Library, MarkupError

ROOT = Path(__file__).resolve().parent.parent
#: Pictures once made are kept here, by the digest of what they were made from.
PICTURES = ROOT / "_build" / "pictures"
#: Where downloads lie in the rendered book, and PDF files if somebody made them.
DOWNLOADS = "downloads"
#: Ink and paper of a picture: legible on a light and on a dark page.
INK, PAPER = "#222222", "#ffffff"
#: Pixels of a picture for each unit of an SVG, which is 4/3 of a pixel on the page.
ZOOM = 2.0
#: Extras that a chapter needs by what it imports, each with a module that shows it is there.
EXTRAS = {
    "benchmarks.peers": ("peers", "deepxde"),
    "from distributed": ("dask", "distributed"),
    "import optuna": ("tracking", "optuna"),
}

Notebook = dict[str, Any]


def site() -> str:
    """Return the address at which the book will be published, or an empty text."""
    return os.environ.get("OPIFEX_SITE", "").rstrip("/")


# --- what a page offers ---


def offer(notebook: Notebook, name: str) -> None:
    """Add to a chapter, below its card, a row of what can be downloaded."""
    here = f"../{DOWNLOADS}"
    row = f"""
```{{raw}} html
<p class="downloads">Download:
<a href="{here}/{name}.ipynb" download>notebook with outputs</a>,
<a href="{here}/{name}.no-outputs.ipynb" download>notebook without outputs</a>,
<a href="{here}/{name}.py" download>script</a>,
<a href="{here}/{wheel_name()}" download>package</a>,
<button type="button" onclick="window.print()">print or save as PDF</button></p>
```
"""
    first = notebook["cells"][0]
    source = "".join(first["source"])
    title = r"# .*\n(\s*%.*\n)*"
    card = re.match(title + r"\s*```\{list-table\}\n(.*\n)*?```\n", source)
    place = card or re.match(title, source + "\n")
    assert place is not None  # a chapter begins with its title
    first["source"] = source[: place.end()] + row + source[place.end() :]


def wheel_name() -> str:
    """Return the file name of the package's wheel."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'(?m)^version = "(.+)"', text)
    assert version is not None
    return f"opifex_tutorials-{version[1]}-py3-none-any.whl"


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel, the same bytes from the same sources; return its path."""
    with tempfile.TemporaryDirectory() as scratch:
        # A copy, because setuptools leaves files behind that would get into the next wheel.
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, scratch)
        for name in ("opifex_tutorials", "benchmarks"):
            left = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, Path(scratch) / name, ignore=left)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
        epoch = {"SOURCE_DATE_EPOCH": "1577836800"}  # the times of files are no part of a wheel
        subprocess.run([*command, scratch], env={**os.environ, **epoch}, check=True)
    return folder / wheel_name()


# --- the notebooks ---


def write(source: Path, folder: Path, values: dict[str, float], address: str) -> None:
    """Write all downloads of the book.

    Args:
        source: the chapters as they were rendered, outputs included, as ``.ipynb``.
        folder: the rendered pages.
        values: every result of the ledger, by key.
        address: where the pages will be published (see the top of this file).
    """
    downloads = folder / DOWNLOADS
    downloads.mkdir(exist_ok=True)
    build_wheel(downloads)
    shutil.copy(ROOT / "constraints.txt", downloads)
    book, library = Book(folder, address), Library(ROOT / "book" / "references.bib")
    for path in sorted(source.glob("*.ipynb")):
        shutil.copy(ROOT / "notebooks" / f"{path.stem}.py", downloads)
        notebook = json.loads(path.read_text(encoding="utf-8"))
        try:
            notebook = portable(notebook, path, book, library, values)
        except MarkupError as error:
            raise MarkupError(f"notebooks/{path.stem}: {error}") from error
        for name, outputs in ((path.stem, True), (f"{path.stem}.no-outputs", False)):
            written = notebook if outputs else _emptied(notebook)
            text = json.dumps(written, indent=1, ensure_ascii=False) + "\n"
            (downloads / f"{name}.ipynb").write_text(text, encoding="utf-8")


def portable(
    notebook: Notebook, path: Path, book: Book, library: Library, values: dict[str, float]
) -> Notebook:
    """Return a chapter that needs neither MyST nor its book; the arguments are those of `write`."""
    attachments: dict[str, dict[str, str]] = {}

    def picture(target: str, alt: str) -> str:
        file = path.parent / target
        name = f"{file.stem}.png"
        drawn = file.suffix == ".svg"
        data = to_png(file.read_text(encoding="utf-8")) if drawn else file.read_bytes()
        attachments[name] = {"image/png": base64.b64encode(data).decode()}
        return f"![{alt}](attachment:{name})"

    chapter = Chapter(f"notebooks/{path.stem}", book, library, values, picture)
    cells = [first_cell(notebook, path.stem, book.address)]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            if text := chapter.convert("".join(cell["source"])):
                cells.append(_markdown(text))
            if attachments:
                cells[-1]["attachments"], attachments = attachments, {}
            continue
        cells.append(_code(cell, hidden=bool(chapter.solves)))
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            cells.append(_markdown(chapter.caption(figure.get("name", ""), figure["caption"])))
    if chapter.cited:
        cells.append(_markdown(f"## References\n\n{library.references(chapter.cited)}"))
    for index, cell in enumerate(cells):  # the same from build to build
        cell["id"] = hashlib.sha256(f"{index}{cell['source']}".encode()).hexdigest()[:8]
    metadata = {k: v for k, v in notebook["metadata"].items() if k != "jupytext"}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def first_cell(notebook: Notebook, name: str, address: str) -> Notebook:
    """Return a cell that installs what a chapter needs, once, and says so if it cannot."""
    code = "".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    needed = [extra for module, extra in EXTRAS.items() if module in code]
    extras = ",".join(["notebook", *(extra for extra, _ in needed)])
    modules = ["opifex_tutorials", *(module for _, module in needed)]
    title = "".join(notebook["cells"][0]["source"]).partition("\n")[0].removeprefix("# ")
    if address:
        origin = f"The chapter as a page: {address}/notebooks/{name}.html"
        wheel = f"opifex-tutorials[{extras}] @ {address}/{DOWNLOADS}/{wheel_name()}"
        where = f"The book's own versions: add -c {address}/{DOWNLOADS}/constraints.txt"
    else:
        origin = "The chapter as a page: in the book that this notebook came with"
        wheel = f"./{wheel_name()}[{extras}]"
        where = f"The file {wheel_name()} must lie beside this notebook"
    missing = " or ".join(f'find_spec("{module}") is None' for module in modules)
    return _code_cell(f"""\
# {title}
# {origin}
# Run this cell first: it installs what the chapter needs, unless it is there.
import os
import sys
from importlib.metadata import version
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads would fight over the cores
if {missing}:
    # {where}
    %pip install -q "{wheel}"
if {missing}:
    raise ImportError(
        "The package was not installed: see the message of pip above. It needs "
        f"Python 3.11 or newer; this is {{sys.version.split()[0]}}."
    )
print("Ready: opifex-tutorials", version("opifex-tutorials"))""")


def _markdown(text: str) -> Notebook:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code_cell(source: str) -> Notebook:
    cell: Notebook = {"cell_type": "code", "metadata": {}, "source": source}
    return cell | {"outputs": [], "execution_count": None}


def _code(cell: Notebook, hidden: bool) -> Notebook:
    tags = cell["metadata"].get("tags", [])
    made = _code_cell("".join(cell["source"]))
    fold = {"source_hidden": hidden or "hide-input" in tags, "outputs_hidden": hidden}
    made["metadata"] = {"jupyter": fold} if any(fold.values()) else {}
    if hidden:
        tags = ["hide-cell"]
    if tags:
        made["metadata"]["tags"] = tags
    made["execution_count"] = cell["execution_count"]
    made["outputs"] = list(_outputs(cell["outputs"]))
    return made


def _outputs(outputs: list[Notebook]) -> Iterator[Notebook]:
    printed: list[str] = []
    for output in outputs:
        if output["output_type"] == "stream":
            printed += output["text"]
            continue
        data = {kind: "".join(text) for kind, text in output["data"].items()}
        if any(kind.startswith("application/papermill") for kind in data):
            continue  # a number for the prose of the page
        yield {**output, **_shown(data)}
    if printed:
        yield {"output_type": "stream", "name": "stdout", "text": "".join(printed)}


def _shown(data: dict[str, str]) -> Notebook:
    """Return data and metadata of an output, a figure as SVG and PNG.

    Not as HTML, because a viewer that does not trust a notebook takes the SVG out of it and shows
    nothing else; of two pictures it shows the one that it trusts. What moves, moves again when the
    cell is run.
    """
    found = re.search(r"<svg class=\"book-figure\".*?</svg>", data.get("text/html", ""), re.DOTALL)
    if found is None:
        return {"data": data, "metadata": {}}
    svg = found[0]
    size = re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg)
    assert size is not None
    width, height = (round(float(side) * 4 / 3) for side in size.groups())
    outside = f'width="{width}" height="{height}" style="color:{INK};background:{PAPER}"'
    svg = re.sub(r'style="[^"]*"', outside, svg, count=1)
    alt = re.search(r'aria-label="([^"]*)"', svg)
    shape = {"width": width, "height": height, "alt": html.unescape(alt[1]) if alt else ""}
    png = base64.b64encode(to_png(svg)).decode()
    shown = {"image/svg+xml": svg, "image/png": png, "text/plain": data["text/plain"]}
    return {"data": shown, "metadata": {"image/png": shape}}


def to_png(svg: str) -> bytes:
    """Return a picture of an SVG, in as few colors as it needs."""
    svg = svg.replace("currentColor", INK)
    file = PICTURES / f"{hashlib.sha256(f'{ZOOM} {PAPER} {svg}'.encode()).hexdigest()}.png"
    if not file.exists():
        drawn = resvg_py.svg_to_bytes(svg_string=svg, zoom=ZOOM, background=PAPER)
        picture = Image.open(io.BytesIO(bytes(drawn))).convert("RGB")
        PICTURES.mkdir(parents=True, exist_ok=True)
        picture.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.read_bytes()


def _emptied(notebook: Notebook) -> Notebook:
    empty: Notebook = {"outputs": [], "execution_count": None}
    cells = [c | empty if c["cell_type"] == "code" else c for c in notebook["cells"]]
    return {**notebook, "cells": cells}
