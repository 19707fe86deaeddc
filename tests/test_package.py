"""The shape of the package: what it imports, in which direction, and how large it is."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "opifex_tutorials"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Data flows this way; a room imports only from rooms before it (and from itself).
ROOMS = [
    "validation",
    "problems",
    "models",
    "losses",
    "training",
    "solvers",
    "verification",
    "comparison",
    "results",
]
#: Rooms beside the flow, and what they may use. Any room may use TOOLS.
TOOLS = {"progress", "parallel", "tables", "plotting"}
LEAVES = {
    "progress": set(),
    "tables": set(),
    "parallel": {"progress"},
    "plotting": {"progress"},
    "live": {"plotting", "validation"},
    "environment": {*ROOMS, *TOOLS},
}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(source, module):
    """Rooms that a module's source imports from, relative imports resolved."""
    package = module.parent.relative_to(PACKAGE.parent).parts
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += [node.module] if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        found |= {part[1] for part in parts if part[0] == PACKAGE.name and len(part) > 1}
    return found


def upward_imports(source, module):
    own = room(module)
    if own == "__init__":
        return rooms_imported(source, module)
    if own in LEAVES:
        allowed = LEAVES[own]
    else:
        assert own in ROOMS, f"{own} is not a room of the house: see ROOMS"
        allowed = {*ROOMS[: ROOMS.index(own)], *TOOLS}
    return rooms_imported(source, module) - allowed - {own}


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_never_point_upward(module):
    assert not upward_imports(module.read_text(encoding="utf-8"), module)


@pytest.mark.parametrize(
    "source",
    [
        "from opifex_tutorials.solvers import pinn",
        "from opifex_tutorials import solvers",
        "import opifex_tutorials.solvers.pinn",
        "from ..solvers import pinn",
        "def f():\n    from opifex_tutorials.solvers import pinn",
    ],
)
def test_an_upward_import_is_noticed(source):
    assert upward_imports(source, PACKAGE / "losses" / "x.py") == {"solvers"}
    assert not upward_imports(source, PACKAGE / "verification.py")


@pytest.mark.parametrize("module", ["opifex_tutorials", "opifex_tutorials.results"])
def test_import_loads_neither_framework(module):
    code = f"import sys, {module}; print(*sorted({{'jax', 'torch'}} & sys.modules.keys()))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize(("module", "framework"), [("pinn", "jax"), ("mfg_pinn", "torch")])
def test_a_solver_loads_its_own_framework_only(module, framework):
    code = (
        f"import sys, opifex_tutorials.solvers.{module};"
        "print(*sorted({'jax', 'torch'} & sys.modules.keys()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == [framework]


def test_a_framework_loads_only_where_it_is_needed():
    code = (
        "import sys, opifex_tutorials.plotting; print(sorted({'jax','torch'} & sys.modules.keys()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


#: Tokens that are no code.
BLANK = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def lines_of_code(source, tree):
    """Numbers of the lines that hold code: no docstrings, comments or blanks."""
    docstrings = set()
    for node in ast.walk(tree):
        is_documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if is_documented and ast.get_docstring(node, clean=False) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in BLANK:
            lines.add(token.start[0])
    return lines - docstrings


def size_of(source):
    """Lines of code of a module, and the largest function with its own."""
    tree = ast.parse(source)
    lines = lines_of_code(source, tree)
    functions = {
        node.name: len(lines & set(range(node.lineno, node.end_lineno + 1)))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    return len(lines), functions


def test_the_package_stays_small():
    sizes = {m: size_of(m.read_text(encoding="utf-8")) for m in MODULES}
    assert sum(size for size, _ in sizes.values()) <= 5400
    long = {(m.stem, name): n for m, (_, fs) in sizes.items() for name, n in fs.items() if n > 50}
    assert long == {}


def test_docstrings_comments_and_blanks_do_not_count():
    source = '"""Module.\n\nMore."""\n\n# why\ndef f(\n    x,\n):\n    """Doc."""\n    return x\n'
    assert size_of(source) == (4, {"f": 4})
