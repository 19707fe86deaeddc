"""One table for all that is shown in rows: HTML in a notebook, aligned text in a terminal."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, repr=False)
class Table:
    """Some entries of records as columns; the first one names the row.

    Attributes:
        caption: what the table shows.
        records: one for each row; an entry that is absent or ``None`` leaves its cell empty.
        columns: names of the entries to show, separated by blanks; ``ValueError`` for one that no
            record has.
        style: class of the HTML table, which the style sheet of the book refers to.
    """

    caption: str
    records: Sequence[Mapping[str, Any]]
    columns: str
    style: str = "table"

    def __post_init__(self) -> None:
        known = {name for record in self.records for name in record}
        missing = [name for name in self.columns.split() if name not in known]
        if self.records and missing:
            raise ValueError(f"columns={self.columns!r}: allowed are names among {sorted(known)}")

    @property
    def lines(self) -> list[list[str]]:
        """The cells as text, headings first."""
        names = self.columns.split()
        rows = [[readable(record.get(name)) for name in names] for record in self.records]
        return [[name.replace("_", " ") for name in names], *rows]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.lines, strict=True)]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in self.lines]
        return "\n".join([self.caption, "-" * len(self.caption), *text])

    def _repr_html_(self) -> str:
        head, *body = [[_unbroken(escape(cell)) for cell in line] for line in self.lines]
        headings = "".join(f'<th scope="col">{cell}</th>' for cell in head)
        rows = "".join(
            f'<tr><th scope="row">{first}</th>{"".join(f"<td>{c}</td>" for c in rest)}</tr>\n'
            for first, *rest in body
        )
        return (
            f'<table class="{self.style}">\n<caption>{escape(self.caption)}</caption>\n'
            f"<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>"
        )


def _unbroken(cell: str) -> str:
    """Keep a browser from breaking a line within a number or behind the sign of a bound."""
    number = r"[≤≥] \S+|\d[\d.]*e-\d+"
    return re.sub(number, r'<span style="white-space: nowrap">\g<0></span>', cell)


def readable(value: object) -> str:
    """Return a value as a table shows it: three digits, but all those of large whole numbers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"
    return "" if value is None else str(value)
