"""The API, one page per room of the package, filled from its docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

#: What is in each room: its modules, and a sentence. A module that no room names is in the last.
ROOMS: dict[str, tuple[list[str], str]] = {
    "problems": (
        ["problems"],
        "What is to be solved: an equation with its data and, where there is one, its exact"
        " solution. NumPy and SciPy only; no network.",
    ),
    "models": (
        ["models"],
        "Functions with parameters: networks in Flax and in PyTorch, the derivatives of a network,"
        " features that are drawn, what happens at a wall over time.",
    ),
    "losses": (
        ["losses"],
        "From an equation to residuals: trial functions, the conditions that are asked of them, the"
        " points where they are asked, and the system that all of this makes.",
    ),
    "training": (
        ["training"],
        "How weights move: Levenberg–Marquardt, Adam and L-BFGS, learning a start, starting from"
        " neighbors.",
    ),
    "solvers": (
        ["solvers"],
        "From a problem to a solution that can be evaluated anywhere: spectral, on a grid, by a"
        " network, by frozen features, or by a pair of them.",
    ),
    "verification": (
        ["verification"],
        "From a solution and a reference to numbers: relative errors, orders of convergence, mass,"
        " exploitability, bounds without an exact answer.",
    ),
    "results": (
        ["comparison", "results", "tables"],
        "From numbers to what a page shows: methods side by side, the ledger of results with their"
        " bounds, tables.",
    ),
    "support": (
        [],
        "What all the others use: checks of arguments, figures and animations, processes side by"
        " side, progress, and the check of your machine.",
    ),
}


def modules(package: Path) -> Iterator[str]:
    """Dotted names of the public modules of a package."""
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and not any(part.startswith("_") for part in parts):
            yield ".".join([package.name, *parts])


def pages(package: Path) -> dict[str, str]:
    """Markdown of each room's page, by its name, and of ``rooms``, the list of all rooms."""
    homes = {name: room for room, (names, _) in ROOMS.items() for name in names}
    last = list(ROOMS)[-1]
    content: dict[str, list[str]] = {room: [] for room in ROOMS}
    for module in sorted(modules(package)):
        content[homes.get(module.split(".")[1], last)].append(module)
    made = {room: _page(room, content[room], package) for room in ROOMS}
    lines = [f"{{doc}}`{room.capitalize()} <api/{room}>`\n: {ROOMS[room][1]}\n" for room in ROOMS]
    return {**made, "rooms": "\n".join(lines)}


def _page(room: str, content: list[str], package: Path) -> str:
    lines = [f"# {room.capitalize()}", "", ROOMS[room][1], ""]
    example = package.parent / "book" / "examples" / f"{room}.txt"  # run by the tests
    if example.exists():
        lines += ["```pycon", example.read_text(encoding="utf-8").rstrip(), "```", ""]
    lines += ["| module | what it holds |", "|---|---|"]
    lines += [f"| {{py:mod}}`~{m}` | {_summary(m, package)} |" for m in content]
    for module in content:
        lines += ["", f"## `{module.partition('.')[2]}`", ""]
        lines += ["```{eval-rst}", f".. automodule:: {module}", "   :members:", "```"]
    return "\n".join(lines) + "\n"


def _summary(module: str, package: Path) -> str:
    """Return the first line of a module's docstring, as Markdown."""
    file = package.parent / module.replace(".", "/")
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = text.partition("\n")[0].replace("``", "`")
    return re.sub(r":(\w+):`", r"{py:\1}`", first)  # a role as MyST writes it
