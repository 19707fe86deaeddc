"""Build the book: execute the notebooks that changed, render the pages, refuse every warning.

``make`` calls this module; ``python -m tools.book --help`` lists its commands. Each notebook runs
once per change of its code, of the package or of the pins; tests and book share that run.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from tools import api
from tools.chapters import chapter_map, read_chapters, results_page
from tools.inventories import write_inventories
from tools.slim import slim

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
LEDGER = BUILD / "ledger"
SOURCE = BUILD / "source"
HTML = BUILD / "html"
REPORTS = BUILD / "reports"

#: The figure that the landing page and the README show.
HEADLINE_FIGURE = "fig-burgers"

#: What a chapter can import from here.
PACKAGES = ["opifex_tutorials", "benchmarks"]

#: A stuck cell must not hold up a build for ever; no cell comes near this many seconds.
CELL_TIMEOUT = 1200

Notebook = dict[str, Any]


class BuildError(Exception):
    """The build cannot go on; the message says why and what to do."""


# --- pairs: NAME.py is the source, NAME.ipynb its copy without outputs ---


def notebooks() -> list[Path]:
    """All chapters, as paths of their ``.ipynb``, sorted by name."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def pairs() -> None:
    """Rewrite every ``.ipynb`` from its ``.py``, keeping the ids of cells that are still there."""
    sources = sorted((ROOT / "notebooks").glob("*.py"))
    if sources:
        _jupytext(sources)


def check_pairs() -> None:
    """Fail unless every chapter has both files, they agree, and no output is stored."""
    faults = list(_pair_faults())
    if faults:
        raise BuildError("\n".join([*faults, "To write every .ipynb from its .py: make pairs"]))
    print(f"{len(notebooks())} pairs agree")


def _pair_faults() -> Iterator[str]:
    folder = ROOT / "notebooks"
    sources = {path.stem for path in folder.glob("*.py")}
    copies = {path.stem for path in notebooks()}
    yield from (f"notebooks/{name}.py has no .ipynb" for name in sorted(sources - copies))
    yield from (f"notebooks/{name}.ipynb has no .py" for name in sorted(copies - sources))
    both = sorted(sources & copies)
    for name in both:
        code = [c for c in _load(folder / f"{name}.ipynb")["cells"] if c["cell_type"] == "code"]
        if any(cell["outputs"] or cell["execution_count"] is not None for cell in code):
            yield f"notebooks/{name}.ipynb stores outputs or execution counts"
    if not both:
        return
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        shutil.copy(ROOT / "pyproject.toml", fresh)  # Jupytext reads its settings there
        for name in both:
            shutil.copy(folder / f"{name}.py", fresh)
            shutil.copy(folder / f"{name}.ipynb", fresh)
        _jupytext([fresh / f"{name}.py" for name in both])
        for name in both:
            if _essence(_load(folder / f"{name}.ipynb")) != _essence(
                _load(fresh / f"{name}.ipynb")
            ):
                yield f"notebooks/{name}.ipynb differs from notebooks/{name}.py"


def _essence(notebook: Notebook) -> list[Any]:
    cells = [(c["cell_type"], "".join(c["source"]), c["metadata"]) for c in notebook["cells"]]
    return [notebook["metadata"], cells]


def _jupytext(sources: list[Path]) -> None:
    from jupytext.cli import jupytext  # takes a while to import

    if jupytext(["-q", "--to", "ipynb", "--update", *map(str, sources)]) != 0:
        raise BuildError("Jupytext failed: see above")


# --- execution: each notebook once per change ---


def execute() -> None:
    """Run the notebooks that changed, one at a time.

    One at a time on purpose: a chapter runs its seeds side by side on all cores and reports what
    that cost. Raises BuildError if a notebook failed, after all of them had their turn.
    """
    digests = {path.stem: digest(path) for path in notebooks()}
    stale = [name for name in digests if digests[name] != _digest_on_file(name)]
    _remove_all_but(digests.keys() - stale)
    passed = 0
    for name in stale:
        if _nbmake(name):
            (EXECUTED / f"{name}.digest").write_text(digests[name], encoding="utf-8")
            passed += 1
    if passed != len(stale):
        raise BuildError(f"{passed} of {len(stale)} notebooks passed: see the traceback above")
    print(f"Notebooks: {passed} executed, {len(digests) - passed} unchanged", flush=True)


def digest(path: Path) -> str:
    """Digest of all that can change what a notebook computes.

    That is its code, the modules of the package that the code can reach (:func:`dependencies`),
    what the package asks for, the pins, and Python itself.
    """
    code = [c["source"] for c in _load(path)["cells"] if c["cell_type"] == "code"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    inputs = [*dependencies(path), ROOT / "constraints.txt"]
    return _digest_files(inputs, json.dumps([sys.version, code, project]))


def _nbmake(name: str) -> bool:
    """Execute one notebook under nbmake, alone in an empty folder; return whether it passed."""
    print(f"Notebooks: executing {name}", flush=True)
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"notebook_{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "--nbmake", "--overwrite"]
    command += ["--nbmake-kernel=python3", f"--nbmake-timeout={CELL_TIMEOUT}"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
    # A folder outside _build: there nbmake collects nothing, and says nothing about it.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", scratch))
        # The settings in pyproject.toml are for the unit tests.
        command += ["-c", os.devnull, f"--rootdir={scratch}", str(copy)]
        subprocess.run(command, cwd=scratch, env=_environment(), check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
        if len(cases) != 1:
            raise BuildError(f"nbmake was to run one notebook, {name}, but ran {len(cases)}")
        shutil.copy(copy, EXECUTED)
    passed = len(cases[0]) == 0  # a failed, broken or skipped case has a child element
    if passed:
        _check_closed(name)
    return passed


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "OPIFEX_LEDGER": str(LEDGER), "PYTHONPATH": path, "MPLBACKEND": "agg"}


def _check_closed(name: str) -> None:
    page = LEDGER / f"{name}.json"
    if not page.exists() or not _load(page)["closed"]:
        raise BuildError(f'the last cell of notebooks/{name}.py must call close_chapter("{name}")')


def _digest_on_file(name: str) -> str | None:
    file = EXECUTED / f"{name}.digest"
    return file.read_text(encoding="utf-8") if file.exists() else None


def _remove_all_but(fresh: set[str]) -> None:
    """Forget the executions and ledger pages that are stale or whose chapter is gone."""
    for folder in (EXECUTED, LEDGER):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name.partition(".")[0] not in fresh:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


# --- what a chapter depends on: what its code imports, what that imports, and so on ---


def dependencies(path: Path) -> set[Path]:
    """Files of the ``PACKAGES`` that the code of a notebook can reach, found without running it.

    An import counts wherever it stands: in a function, in a string that is a program, in the table
    from which an ``__init__`` loads a module when one of its names is asked for. A whole package
    counts if an import cannot be followed, and a file that is no module counts always.
    """
    packages = [Package(ROOT / name) for name in PACKAGES]
    modules = {name: file for package in packages for name, file in package.modules.items()}
    cells = [c["source"] for c in _load(path)["cells"] if c["cell_type"] == "code"]
    code = "\n".join(map("".join, cells))
    waiting = {name for package in packages for name in package.imports(code)}
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        loaded = (package.imported_by(name, modules[name]) for package in packages)
        waiting |= {module for some in loaded for module in some} - reached
    data = {file for file in _files(packages[0].folder) if file.suffix != ".py"}
    return data | {modules[name] for name in reached}


class Package:
    """The modules of a package by dotted name, and which of them a source imports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: dict[str, Path] = {}
        for file in folder.rglob("*.py"):
            parts = file.relative_to(folder.parent).with_suffix("").parts
            self.modules[".".join(parts).removesuffix(".__init__")] = file
        self.tables: dict[str, dict[str, str]] = {}
        self.tables = {name: self._table(name) for name in self.modules}

    def imported_by(self, name: str, file: Path) -> set[str]:
        """Modules that importing one module, of this package or not, can load.

        The ``__init__`` above it always runs.
        """
        above = {name.rpartition(".")[0]} & self.modules.keys()
        return above | self.imports(file.read_text(encoding="utf-8"), name)

    def imports(self, source: str, module: str = "") -> set[str]:
        """Modules that the source of a module (of a notebook if it has no name) can load."""
        is_package = self.modules.get(module, Path()).name == "__init__.py"
        room = module if is_package else module.rpartition(".")[0]
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a magic command of a notebook, for example
            return {*self.modules}
        if self.tables.get(module):  # what it loads is counted where a name is asked for
            tree.body = [s for s in tree.body if getattr(s, "name", "") != "__getattr__"]
        found: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    found |= {m for alias in names for m in self._mentioned(alias.name)}
                case ast.ImportFrom(module=origin, names=names, level=level):
                    above = room.split(".")[: len(room.split(".")) - level + 1] if level else []
                    origin = ".".join([*above, *filter(None, [origin])])
                    found |= {m for alias in names for m in self._taken(origin, alias.name)}
                case ast.Call(func=ast.Name(id=f) | ast.Attribute(attr=f), args=args):
                    if f in ("import_module", "__import__"):
                        found |= self._computed(args, room)
                case ast.Expr(value=ast.Constant() as docstring):
                    docstring.value = None
                case ast.Constant(value=str(text)):
                    found |= self._mentioned(text)
        return found

    def _mentioned(self, text: str) -> set[str]:
        """Every module named in a text, and with a package all that is in it."""
        names = re.findall(rf"\b{self.folder.name}\b(?:\.\w+)*", text)
        return {module for name in names for module in self._below(name)}

    def _below(self, name: str) -> set[str]:
        while name not in self.modules and "." in name:
            name = name.rpartition(".")[0]  # a name inside a module
        return {m for m in self.modules if f"{m}.".startswith(f"{name}.")}

    def _taken(self, origin: str, name: str) -> set[str]:
        """Modules that ``from origin import name`` can load."""
        if origin.partition(".")[0] != self.folder.name:
            return set()
        if f"{origin}.{name}" in self.modules:
            return self._below(f"{origin}.{name}")
        if self.tables.get(origin):
            loaded = self.tables[origin].get(name)
            return {origin, loaded} if loaded else {*self.modules}
        return {origin} if origin in self.modules and name != "*" else self._below(origin)

    def _computed(self, arguments: list[ast.expr], room: str) -> set[str]:
        """Modules that an import by name can load, given its arguments."""
        match arguments:
            case [
                ast.Constant(value=str(text))
                | ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]),
                *_,
            ] if not text.startswith("."):
                return set()  # counted already, as a text that mentions a module
            case [ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id=name)), *_]), *_]:
                if name in ("__name__", "__package__") and room:
                    return self._below(room)
        return {*self.modules}

    def _table(self, module: str) -> dict[str, str]:
        """Names with the module that ``__getattr__`` loads for each, if it is that simple."""
        if self.modules[module].name != "__init__.py":
            return {}
        tree = ast.parse(self.modules[module].read_text(encoding="utf-8"))
        loaders = [s for s in tree.body if getattr(s, "name", "") == "__getattr__"]
        table: dict[str, str] = {}
        for node in ast.walk(tree) if loaders else ():
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                        table[str(key.value)] = f"{module}.{value.value!s}"
        loaded = {m for loader in loaders for m in self.imports(ast.unparse(loader), module)}
        return table if loaded | set(table.values()) <= self._below(module) else {}


# --- rendering: a clean tree, and every warning is an error ---


def book() -> None:
    """Execute what changed, then render the book into ``_build/html`` unless nothing changed."""
    started = time.time()
    check_pairs()
    execute()
    stamp = BUILD / "rendered.digest"
    inputs = render_digest()
    if (
        stamp.exists()
        and stamp.read_text(encoding="utf-8") == inputs
        and (HTML / "index.html").exists()
    ):
        print("Book: nothing has changed since the last build")
    else:
        stamp.unlink(missing_ok=True)
        stage()
        render()
        (HTML / "ledger.json").write_text(json.dumps(ledger(), indent=1) + "\n", encoding="utf-8")
        stamp.write_text(inputs, encoding="utf-8")
    print(f"Book: ready after {time.time() - started:.0f} s. Open {HTML / 'index.html'}")


def render_digest() -> str:
    """Digest of all that can change a page."""
    roots = ["_config.yml", "_toc.yml", "pyproject.toml", "constraints.txt", "book", "tools"]
    roots += ["notebooks", "opifex_tutorials", "_build/executed", "_build/ledger"]
    files = [path for root in roots for path in _files(ROOT / root)]
    return _digest_files(files, sys.version + os.environ.get("OPIFEX_REPOSITORY", ""))


def stage() -> None:
    """Lay out the book's sources anew in ``_build/source``, generated pages included."""
    for folder in (SOURCE, HTML, BUILD / ".doctrees"):
        shutil.rmtree(folder, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    shutil.copy(ROOT / "_toc.yml", SOURCE)
    (SOURCE / "_config.yml").write_text(yaml.safe_dump(configuration()), encoding="utf-8")
    shutil.copytree(ROOT / "book", SOURCE / "book")
    (SOURCE / "notebooks").mkdir()
    generated = SOURCE / "book" / "_generated"
    generated.mkdir()
    for path in notebooks():
        merged = _merge_outputs(_load(path), _load(EXECUTED / path.name), path.stem)
        (SOURCE / "notebooks" / path.name).write_text(
            json.dumps(merged, indent=1), encoding="utf-8"
        )
        for name, svg in _named_figures(merged):
            (generated / f"{name}.html").write_text(svg, encoding="utf-8")
    for file, text in generated_pages().items():
        (SOURCE / "book" / file).parent.mkdir(exist_ok=True)
        (SOURCE / "book" / file).write_text(text, encoding="utf-8")
    write_inventories(ROOT / "book" / "inventories.toml", generated)


def configuration() -> dict[str, Any]:
    """``_config.yml``, with what depends on where the book is built.

    ``OPIFEX_REPOSITORY`` is the address of the repository, if the pages are to have links to it.
    """
    config: dict[str, Any] = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = os.environ.get("OPIFEX_REPOSITORY", "")
    config["repository"] = {"url": repository, "branch": "main"}
    buttons = ("use_repository_button", "use_edit_page_button", "use_issues_button")
    config["html"].update(dict.fromkeys(buttons, bool(repository)))
    table = tomllib.loads((ROOT / "book" / "inventories.toml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["intersphinx_mapping"] = {
        name: [library["site"], f"book/_generated/{name}.inv"] for name, library in table.items()
    }
    return config


def generated_pages() -> dict[str, str]:
    """What the build writes into the book's folder, by its path there."""
    chapters, numbers = read_chapters(ROOT), ledger()
    landing = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    rooms = api.pages(ROOT / "opifex_tutorials")
    return {
        "_generated/results.md": results_page(chapters, numbers, landing),
        "_generated/map.html": chapter_map(chapters, numbers),
        "_generated/rooms.md": rooms.pop("rooms"),
        **{f"api/{room}.md": text for room, text in rooms.items()},
    }


def render() -> None:
    """Render ``_build/source`` with Jupyter Book. Raises BuildError on any warning."""
    jupyter_book = Path(sys.executable).parent / "jupyter-book"
    # -n: a broken reference is a warning. -W: a warning is an error; hence always a clean tree,
    # because a second run on the same tree would not repeat the warnings of the first.
    command = [str(jupyter_book), "build", str(SOURCE), "--path-output", str(ROOT)]
    command += ["-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=False)
    if done.returncode != 0:
        raise BuildError("the book did not render cleanly: see the warnings above")
    slim(HTML)


def ledger() -> dict[str, Any]:
    """Every chapter's page of the ledger, by chapter."""
    return {path.stem: _load(path) for path in sorted(LEDGER.glob("*.json"))}


def _merge_outputs(notebook: Notebook, executed: Notebook, name: str) -> Notebook:
    """Put the outputs of the last execution under the present prose (same code, by its digest)."""
    fresh = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    ran = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    for cell, done in zip(fresh, ran, strict=True):
        if any(output["output_type"] == "error" for output in done["outputs"]):
            raise BuildError(f"an output of notebooks/{name} is an exception")
        cell["outputs"], cell["execution_count"] = done["outputs"], done["execution_count"]
    return notebook


def _named_figures(notebook: Notebook) -> Iterator[tuple[str, str]]:
    """Name and SVG of each captioned figure, so that prose pages can show it too."""
    for cell in notebook["cells"]:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        for output in cell.get("outputs", []) if name else []:
            if "text/html" in output.get("data", {}):
                yield name, "".join(output["data"]["text/html"])


def picture() -> None:
    """Copy the headline figure of the last build to ``picture.svg``, which the README shows."""
    svg = (SOURCE / "book" / "_generated" / f"{HEADLINE_FIGURE}.html").read_text(encoding="utf-8")
    # A file has no page to take its color from, so it brings a light and a dark one.
    themes = "svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}"
    start = svg.index(">") + 1
    svg = f"{svg[:start]}<style>{themes}</style>{svg[start:]}\n"
    (ROOT / "picture.svg").write_text(svg, encoding="utf-8")


# --- small tools ---


def summary() -> None:
    """Print one closing line over the reports of all test runs of this ``make test``."""
    suites = [
        s for r in sorted(REPORTS.glob("*.xml")) for s in ElementTree.parse(r).iter("testsuite")
    ]
    count = {
        key: sum(int(s.get(key, 0)) for s in suites)
        for key in ("tests", "failures", "errors", "skipped")
    }
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    print(f"{passed} passed, {failed} failed, {count['skipped']} skipped")


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _digest_files(files: Iterable[Path], extra: str) -> str:
    total = hashlib.sha256(extra.encode())
    for file in sorted(files):
        total.update(
            f"{file.relative_to(ROOT)}\0".encode() + hashlib.sha256(file.read_bytes()).digest()
        )
    return total.hexdigest()


COMMANDS = {
    "pairs": pairs,
    "check": check_pairs,
    "execute": execute,
    "book": book,
    "picture": picture,
    "summary": summary,
}


def main() -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=COMMANDS)
    try:
        COMMANDS[parser.parse_args().command]()
    except BuildError as error:
        print(f"\nBuild failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
