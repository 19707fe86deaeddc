"""What the chapters say of themselves: title, level, prerequisites; and the pages made of that."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opifex_tutorials.tables import readable


@dataclass(frozen=True)
class Chapter:
    """A chapter as its card shows it: ``needs`` are the chapters it builds on."""

    name: str
    title: str
    level: str
    needs: tuple[str, ...]


def read_chapters(root: Path) -> list[Chapter]:
    """All chapters of the table of contents, in its order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    entries = [e for part in toc.get("parts", [toc]) for e in part["chapters"]]
    files = [Path(entry["file"]) for entry in entries]
    names = [file.name for file in files if file.parent.name == "notebooks"]
    return [_read(root / "notebooks" / f"{name}.ipynb") for name in names]


def _read(path: Path) -> Chapter:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = "".join(cells[0]["source"])
    title = first.partition("\n")[0].removeprefix("# ")
    card = re.search(r"\* - Memory|  - Memory", first)
    fields = re.findall(r"^(?:\* |  )- (.*)$", first[card.end() :] if card else "", re.MULTILINE)
    level, prerequisites = (fields[0], fields[2]) if fields else ("", "")
    return Chapter(path.stem, title, level, tuple(re.findall(r"\{doc\}`(\w+)`", prerequisites)))


# --- the page of results: the ledger, in the order of the book ---


def results_page(chapters: list[Chapter], pages: dict[str, Any], landing: str = "") -> str:
    """The ledger as Markdown: for each chapter its question, its answer, and a table to unfold.

    Question and answer are those of the chapter's card on the ``landing`` page.
    """
    lines: list[str] = []
    for chapter in chapters:
        page = pages[chapter.name]
        lines += [f"## {chapter.title}", ""]
        lines += [
            f"Chapter {{doc}}`../notebooks/{chapter.name}`.",
            _card(chapter.name, landing),
            "",
        ]
        lines += [f":::{{dropdown}} {len(page['results'])} results", ""]
        lines += ["| result | value | unit | bound | margin |", "|---|--:|---|--:|---|"]
        for key, r in page["results"].items():
            result, value, factor = key.partition(".")[2], readable(r["value"]), margin(r)
            lines.append(f"| `{result}` | {value} | {r['unit']} | {r['bound']} | {factor} |")
        versions = ", ".join(f"{package} {v}" for package, v in page["versions"].items())
        lines += ["", f"Computed with Python {page['python']} on {page['system']}: {versions}."]
        lines += [":::", ""]
    return "\n".join(lines) + "\n"


def margin(result: dict[str, Any]) -> str:
    """The factor between a value and its bound, and why it is large where the chapter says so."""
    factor = "–" if result["margin"] is None else f"{result['margin']:.3g}×"
    return f"{factor}, {result['loose']}" if result["loose"] else factor


def _card(name: str, landing: str) -> str:
    """Question and answer on the card of a chapter on the landing page."""
    head = rf"\{{grid-item-card\}} (.*)\n:link: \.\./notebooks/{name}\n(?::.*\n)*\n"
    found = re.search(head + r"((?:.+\n)+?)(?=:::|\n)", landing)
    return f"*{found[1]}* {found[2].strip()}" if found else ""


# --- the map: chapters, one column for each step away from the first, one row for each branch ---

#: Width of the gap between two columns, where the arrows are, as a part of a column.
GAP = 0.2


def chapter_map(chapters: list[Chapter], pages: dict[str, Any]) -> str:
    """The map as HTML: a list of links, which style sheets lay out as a tree on a wide screen."""
    columns, rows = _places(chapters)
    width = max(columns.values()) + 1
    height = max(rows.values()) + 1
    tracks = f"repeat({width - 1}, 1fr {GAP}fr) 1fr"
    parts = [f'<div class="book-map" style="--columns:{tracks};--rows:{2 * height:.0f}">']
    parts += [_arrows(_direct(chapters), columns, rows, width, height), "<ol>"]
    titles = {chapter.name: chapter.title.partition(":")[0] for chapter in chapters}
    for chapter in chapters:
        name, seconds = chapter.name, pages[chapter.name]["results"][f"{chapter.name}.seconds"]
        place = f"--column:{2 * columns[name] + 1};--row:{2 * rows[name] + 1:.0f}"
        link = f'class="level-{chapter.level}" href="../notebooks/{name}.html"'
        after = ", ".join(titles[need] for need in chapter.needs)
        parts += [
            f'<li style="{place}"><a {link}>',
            f"<strong>{html.escape(titles[name])}</strong>",
            f"<span>{chapter.level}, {seconds['value']:.0f} s</span>",
            f'<span class="after">after: {html.escape(after)}</span>' if after else "",
            "</a></li>",
        ]
    return "\n".join([*filter(None, parts), "</ol>", "</div>"]) + "\n"


def _direct(chapters: list[Chapter]) -> dict[str, list[str]]:
    """For each chapter those it needs, without those that one of them needs anyway."""
    names = {chapter.name for chapter in chapters}
    needs = {chapter.name: names.intersection(chapter.needs) for chapter in chapters}
    above: dict[str, set[str]] = {}
    for name in needs:  # a chapter comes after those it needs
        above[name] = needs[name].union(*(above[need] for need in needs[name]))
    return {
        name: [n for n in sorted(some) if not any(n in above[other] for other in some)]
        for name, some in needs.items()
    }


def _places(chapters: list[Chapter]) -> tuple[dict[str, int], dict[str, float]]:
    """Column and row of each chapter: steps from the first; leaves below each other."""
    direct = _direct(chapters)
    columns: dict[str, int] = {}
    for name, needs in direct.items():
        columns[name] = 1 + max((columns[need] for need in needs), default=-1)
    children: dict[str, list[str]] = {name: [] for name in direct}
    for name, needs in direct.items():
        if needs:
            children[max(needs, key=columns.__getitem__)].append(name)
    rows: dict[str, float] = {}
    leaves = 0

    def place(name: str) -> float:
        nonlocal leaves
        if children[name]:
            below = [place(child) for child in children[name]]
            rows[name] = round(below[0] + below[-1]) / 2  # a row or half of one
        else:
            rows[name], leaves = float(leaves), leaves + 1
        return rows[name]

    for name, needs in direct.items():
        if not needs:
            place(name)
    return columns, rows


def _arrows(
    direct: dict[str, list[str]],
    columns: dict[str, int],
    rows: dict[str, float],
    width: int,
    height: float,
) -> str:
    """Lines from each chapter to those that need it, behind the boxes."""
    step = 1 + GAP
    total = width + GAP * (width - 1)
    paths = []
    for name, needs in direct.items():
        for need in needs:
            x0, y0 = columns[need] * step + 1, rows[need] + 0.5
            x1, y1 = columns[name] * step, rows[name] + 0.5
            middle = x1 - GAP / 2
            paths.append(f"M{x0:.2f} {y0:g}H{middle:.2f}V{y1:g}H{x1:.2f}")
    box = f'viewBox="0 0 {total:.2f} {height:g}" preserveAspectRatio="none"'
    return f'<svg {box} aria-hidden="true"><path d="{"".join(paths)}"/></svg>'
