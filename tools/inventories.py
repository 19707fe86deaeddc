"""Names of other libraries, as inventories that Sphinx links to without asking the network."""

from __future__ import annotations

import tomllib
import zlib
from pathlib import Path

HEADER = """\
# Sphinx inventory version 2
# Project: {0}
# Version:
# The remainder of this file is compressed using zlib.
"""


def write_inventories(table: Path, folder: Path) -> None:
    """Write ``NAME.inv`` for each library of a table like ``book/inventories.toml``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, library in tomllib.loads(table.read_text(encoding="utf-8")).items():
        lines = []
        for kind in ("function", "class"):
            for entry in library.get(kind, []):
                page = library.get("pages", {}).get(entry, library["page"]).format(entry)
                lines.append(f"{entry} py:{kind} 1 {page}#{entry} -\n")
        data = HEADER.format(name).encode() + zlib.compress("".join(lines).encode())
        (folder / f"{name}.inv").write_bytes(data)
