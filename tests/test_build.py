"""The build of the book, on a scratch copy with one tiny chapter: it must be able to go red."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import book

ROOT = Path(__file__).parent.parent

NOTEBOOK = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tiny
#
# See {numref}`fig-tiny`.

# %% mystnb={"figure": {"name": "fig-tiny", "caption": "A caption."}}
import matplotlib.pyplot as plt

from opifex_tutorials import plotting
from opifex_tutorials.helper import error
from opifex_tutorials.results import close_chapter, record

figure, axes = plt.subplots()
plotting.show(figure, "An empty pair of axes.")

# %%
record("tiny.error", error(), at_most=1e-5, unit="relative L2")

# %%
close_chapter("tiny")
"""

#: The chapter imports a helper; that imports, when called, what a room of the house loads by name.
MODULES = {
    "helper.py": '''"""A helper."""


def error() -> float:
    """One millionth."""
    from opifex_tutorials.room import near

    return near()
''',
    "room/__init__.py": '''"""A room, whose modules are loaded when asked for."""

from importlib import import_module
from typing import Any

_MODULES = {"near": "first", "far": "second"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
''',
    "room/first.py": '''"""Loaded."""

from opifex_tutorials.room.inner.value import VALUE


def near() -> float:
    """One millionth."""
    return VALUE
''',
    "room/second.py": '"""Not loaded."""\n\nfar = 0.0\n',
    "room/inner/__init__.py": '"""A room in a room."""\n',
    "room/inner/value.py": '"""Deep down."""\n\nVALUE = 1e-6\n',
    "room/inner/other.py": '"""Not loaded either."""\n\nOTHER = 0.0\n',
}

INDEX = """\
# A tiny book

The error is {glue:text}`../notebooks/tiny.ipynb::tiny.error:.1e`.

```{raw} html
:file: _generated/fig-tiny.html
```
"""

TOC = """\
format: jb-book
root: book/index
chapters:
  - file: notebooks/tiny
  - file: book/results
  - file: book/api
    sections:
      - file: book/api/problems
      - file: book/api/models
      - file: book/api/losses
      - file: book/api/training
      - file: book/api/solvers
      - file: book/api/verification
      - file: book/api/results
      - file: book/api/support
"""


class Scratch:
    """A small copy of the project: its own package, one chapter, three pages."""

    def __init__(self, root: Path):
        self.root = root

    def make(self, command="book", **environment):
        """Run one command of the build; return its exit status and all it printed."""
        given = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPIFEX_"))}
        done = subprocess.run(
            [sys.executable, "-m", "tools.book", command],
            cwd=self.root,
            env={**given, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, re.sub(r"\x1b\[[\d;]*m", "", done.stdout)

    def edit(self, path, old, new):
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def edit_notebook(self, old, new):
        self.edit("notebooks/tiny.py", old, new)
        assert self.make("pairs")[0] == 0

    def executed(self):
        return (self.root / "_build/executed/tiny.ipynb").stat().st_mtime_ns


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A scratch copy whose book was built once, without fault. Tests work on copies of it."""
    root = tmp_path_factory.mktemp("scratch") / "project"
    for folder in ("tools", "opifex_tutorials", "benchmarks", "book", "notebooks"):
        (root / folder).mkdir(parents=True)
    for name in ("results", "tables", "validation", "plotting", "progress", "__init__"):
        shutil.copy(ROOT / f"opifex_tutorials/{name}.py", root / "opifex_tutorials")
    for name in ("_config.yml", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    for file in (ROOT / "tools").glob("*.py"):
        shutil.copy(file, root / "tools")
    for folder in ("_css", "_js", "vendor"):
        shutil.copytree(ROOT / "book" / folder, root / "book" / folder)
    for name in ("references.bib", "glossary.toml", "inventories.toml"):
        shutil.copy(ROOT / "book" / name, root / "book")
    for name, content in (("results", "results"), ("api", "rooms")):
        text = f"# {name}\n\n```{{include}} _generated/{content}.md\n```\n"
        (root / f"book/{name}.md").write_text(text, encoding="utf-8")
    for name, text in MODULES.items():
        module = root / "opifex_tutorials" / name
        module.parent.mkdir(exist_ok=True)
        module.write_text(text, encoding="utf-8")
    (root / "notebooks/tiny.py").write_text(NOTEBOOK, encoding="utf-8")
    (root / "book/index.md").write_text(INDEX, encoding="utf-8")
    (root / "_toc.yml").write_text(TOC, encoding="utf-8")
    scratch = Scratch(root)
    assert scratch.make("pairs")[0] == 0
    status, output = scratch.make()
    assert status == 0, output
    return scratch


@pytest.fixture
def scratch(built, tmp_path):
    return Scratch(Path(shutil.copytree(built.root, tmp_path / "project")))


def test_a_built_book_is_complete(built):
    html = built.root / "_build" / "html"
    landing = (html / "book/index.html").read_text(encoding="utf-8")
    assert '<span class="pasted-text">1.0e-06</span>' in landing
    assert 'aria-label="An empty pair of axes."' in landing
    chapter = (html / "notebooks/tiny.html").read_text(encoding="utf-8")
    assert re.search(r"<figcaption>.*?A caption\..*?</figcaption>", chapter, re.DOTALL)
    assert 'aria-label="An empty pair of axes."' in chapter
    results = (html / "book/results.html").read_text(encoding="utf-8")
    assert re.search(r">error</span></code>.*?>1e-06<.*?>relative L2<.*?>10×<", results, re.DOTALL)
    ledger = json.loads((html / "ledger.json").read_text(encoding="utf-8"))
    assert ledger["tiny"]["results"]["tiny.error"]["value"] == 1e-6
    taken = (html / "downloads/tiny.ipynb").read_text(encoding="utf-8")
    assert "image/png" in taken
    assert "./opifex_tutorials-" in taken
    assert str(built.root) not in taken


def test_where_the_book_will_be_published_is_a_setting(scratch):
    assert scratch.make(OPIFEX_SITE="https://example.org/book/")[0] == 0
    taken = (scratch.root / "_build/html/downloads/tiny.ipynb").read_text(encoding="utf-8")
    assert "https://example.org/book/downloads/opifex_tutorials-" in taken
    assert "https://example.org/book/notebooks/tiny.html" in taken


def test_pages_link_the_repository_if_there_is_one(scratch):
    pages = [f"_build/html/{name}.html" for name in ("notebooks/tiny", "book/api/support")]
    before = [(scratch.root / page).read_text(encoding="utf-8") for page in pages]
    assert "github.com/example" not in "".join(before)
    address = "https://github.com/example/book"
    status, output = scratch.make(OPIFEX_REPOSITORY=address)
    assert status == 0, output
    chapter, room = [(scratch.root / page).read_text(encoding="utf-8") for page in pages]
    assert f'href="{address}/edit/main/notebooks/tiny.py"' in chapter
    assert f'href="{address}/issues/new' in chapter
    assert f'href="{address}"' in room
    assert "/edit/" not in room


def test_without_a_change_nothing_is_done(scratch):
    before = scratch.executed()
    status, output = scratch.make()
    assert status == 0
    assert "Notebooks: 0 executed, 1 unchanged" in output
    assert "nothing has changed" in output
    assert scratch.executed() == before


def test_a_change_of_prose_renders_without_executing(scratch):
    before = scratch.executed()
    scratch.edit_notebook("# See", "# Do see")
    status, output = scratch.make()
    assert status == 0, output
    assert scratch.executed() == before
    page = (scratch.root / "_build/html/notebooks/tiny.html").read_text(encoding="utf-8")
    assert "Do see" in page
    assert "An empty pair of axes." in page


def test_a_broken_helper_turns_the_book_red(scratch):
    scratch.edit("opifex_tutorials/helper.py", "return near()", "return 1 / 0")
    for _ in range(2):  # and it stays red: a failure is not remembered as done
        status, output = scratch.make()
        assert status != 0
        assert "Notebooks: executing tiny" in output
        assert "ZeroDivisionError" in output
        assert "return 1 / 0" in output  # the traceback leads to the line
        assert "Book: ready" not in output
    scratch.edit("opifex_tutorials/helper.py", "return 1 / 0", "return near()")
    status, output = scratch.make("execute")
    assert status == 0
    assert "1 executed" in output


def test_a_missed_bound_turns_the_book_red(scratch):
    scratch.edit("opifex_tutorials/helper.py", "return near()", "return 100 * near()")
    status, output = scratch.make()
    assert status != 0
    assert "MissedBoundError: tiny.error = 0.0001 relative L2, promised ≤ 1e-05" in output


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('close_chapter("tiny")', "1 / 0", "ZeroDivisionError"),
        ('close_chapter("tiny")', 'close_chapter("tiny")\n1 / 0', "ZeroDivisionError"),
        ('close_chapter("tiny")', 'close_chapter("tiny")\n\n# %%\n1 / 0', "ZeroDivisionError"),
        ('close_chapter("tiny")', "pass", 'must call close_chapter("tiny")'),
        ('"tiny.error"', '"other.error"', "allowed are chapters with results"),
    ],
    ids=["failing cell", "closed, then failing", "failing after", "not closed", "foreign key"],
)
def test_a_faulty_notebook_turns_the_book_red(scratch, old, new, complaint):
    scratch.edit_notebook(old, new)
    for _ in range(2):  # and it stays red
        status, output = scratch.make("execute")
        assert status != 0
        assert complaint in output


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("tiny.error:.1e", "tiny.missing:.1e", "tiny.missing"),
        ("# A tiny book", "# A tiny book\n\nSee {ref}`nowhere`.", "nowhere"),
        ("# A tiny book", "# A tiny book\n\n{cite}`nobody`", "nobody"),
        ("# A tiny book", "# A tiny book\n\n$\\frac{1$", "KaTeX parse error"),
    ],
    ids=["glue", "reference", "citation", "formula"],
)
def test_a_dangling_key_turns_the_book_red(scratch, old, new, complaint):
    scratch.edit("book/index.md", old, new)
    status, output = scratch.make()
    assert status != 0
    assert complaint in output
    assert "the book did not render cleanly" in output
    if complaint == "nobody":  # it stays red although Sphinx would not warn twice
        assert scratch.make()[0] != 0


def test_a_stored_exception_turns_the_book_red(scratch):
    scratch.edit_notebook(
        "\n# %%\nclose_", '\n# %% tags=["raises-exception"]\n1 / 0\n\n# %%\nclose_'
    )
    status, output = scratch.make()
    assert status != 0
    assert "an output of notebooks/tiny is an exception" in output


def test_drift_turns_the_book_red(scratch):
    scratch.edit("notebooks/tiny.py", "# See", "# Do see")
    status, output = scratch.make()
    assert status != 0
    assert "make pairs" in output


def test_a_chapter_that_is_gone_leaves_no_results(scratch):
    (scratch.root / "notebooks/tiny.py").unlink()
    (scratch.root / "notebooks/tiny.ipynb").unlink()
    scratch.make("execute")
    assert list((scratch.root / "_build/ledger").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "changes"),
    [
        ("opifex_tutorials/helper.py", "near()", "2 * near()", True),
        ("opifex_tutorials/room/__init__.py", "A room,", "One room,", True),
        ("opifex_tutorials/room/first.py", "return VALUE", "return 2 * VALUE", True),
        ("opifex_tutorials/room/second.py", "0.0", "1.0", False),
        ("opifex_tutorials/room/inner/__init__.py", "A room", "One room", True),
        ("opifex_tutorials/room/inner/value.py", "1e-6", "2e-6", True),
        ("opifex_tutorials/room/inner/other.py", "0.0", "1.0", False),
        ("constraints.txt", "numpy==", "numpy===", True),
        ("pyproject.toml", "numpy>=", "numpy>", True),
        ("pyproject.toml", "line-length = 100", "line-length = 99", False),
        ("notebooks/tiny.ipynb", "at_most=1e-5", "at_most=2e-5", True),
        ("notebooks/tiny.ipynb", "See {numref}", "Do see {numref}", False),
        ("book/index.md", "A tiny book", "A small book", False),
    ],
)
def test_the_digest_changes_with_what_can_change_a_result(
    scratch, monkeypatch, path, old, new, changes
):
    monkeypatch.setattr(book, "ROOT", scratch.root)
    notebook = scratch.root / "notebooks/tiny.ipynb"
    before, page_before = book.digest(notebook), book.render_digest()
    scratch.edit(path, old, new)
    assert (book.digest(notebook) != before) == changes
    assert book.render_digest() != page_before


def test_only_chapters_that_import_what_changed_are_executed_again(scratch):
    before = scratch.executed()
    for unused in ("room/second.py", "room/inner/other.py"):
        scratch.edit(f"opifex_tutorials/{unused}", "0.0", "1 / 0")
    status, output = scratch.make("execute")
    assert status == 0, output
    assert "0 executed, 1 unchanged" in output
    assert scratch.executed() == before
    scratch.edit("opifex_tutorials/room/inner/value.py", "1e-6", "2e-6")
    status, output = scratch.make("execute")
    assert status == 0, output
    assert "1 executed, 0 unchanged" in output
    page = json.loads((scratch.root / "_build/ledger/tiny.json").read_text(encoding="utf-8"))
    assert page["results"]["tiny.error"]["value"] == 2e-6


NEAR = {"room", "room.first", "room.inner", "room.inner.value"}
ROOM = {*NEAR, "room.second", "room.inner.other"}
EVERYTHING = {*ROOM, "helper", "results", "tables", "validation", "plotting", "progress"}
NUMBERS = "from opifex_tutorials.room.inner.value import VALUE"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy\nfrom pathlib import Path", set()),
        (NUMBERS, NEAR - {"room.first"}),
        ("if True:\n    def f():\n        " + NUMBERS, NEAR - {"room.first"}),
        ("import opifex_tutorials.room.inner.value as v", NEAR - {"room.first"}),
        ("from opifex_tutorials.room.inner import value", NEAR - {"room.first"}),
        ("from opifex_tutorials.room import near", NEAR),
        ("from opifex_tutorials.room import far", {"room", "room.second"}),
        ("from opifex_tutorials.helper import error", {"helper", *NEAR}),
        ("from opifex_tutorials import room", ROOM),
        ("import opifex_tutorials.room as r", ROOM),
        ("from opifex_tutorials.room.inner import *", ROOM - {"room.first", "room.second"}),
        (f"code = {NUMBERS!r}", NEAR - {"room.first"}),
        ("run(['-m', 'opifex_tutorials.room.second'])", {"room", "room.second"}),
        ("import_module('opifex_tutorials.room.second')", {"room", "room.second"}),
        ("import_module('numpy.fft'), import_module(f'numpy.{x}')", set()),
        ("'opifex_tutorials.room'\nx = 1", set()),
        ("from opifex_tutorials.room import unknown", EVERYTHING),
        ("from opifex_tutorials.unknown import f", EVERYTHING),
        ("from opifex_tutorials import *", EVERYTHING),
        ("import opifex_tutorials", EVERYTHING),
        ("import_module(name)", EVERYTHING),
        ("importlib.import_module(name=name)", EVERYTHING),
        ("import_module('.room', 'opifex_tutorials')", EVERYTHING),
        ("import_module(f'.{x}', 'opifex_tutorials')", EVERYTHING),
        ("import_module(f'opifex_tutorials.{x}')", EVERYTHING),
        ("import_module(f'{__package__}.{x}')", EVERYTHING),
        ("%timeit pass", EVERYTHING),
    ],
)
def test_dependencies_of_code(built, tmp_path, monkeypatch, code, expected):
    monkeypatch.setattr(book, "ROOT", built.root)
    assert names(code, tmp_path) == ({"", *expected} if expected else set())


def names(code, folder):
    """Modules that a chapter with this code depends on, without the name of the package."""
    notebook = folder / "chapter.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "source": [code]}]}))
    package = book.Package(book.ROOT / "opifex_tutorials")
    modules = {file: name for name, file in package.modules.items()}
    return {modules[file].partition(".")[2] for file in book.dependencies(notebook)}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("room.first", "from .inner.value import VALUE", {"room.inner.value"}),
        ("room.inner.value", "from ..second import far", {"room.second"}),
        ("room.inner.value", "from .. import second", {"room.second"}),
        ("room.inner", "from . import other", {"room.inner.other"}),
        ("room.first", "import_module(f'{__package__}.{x}')", ROOM),
        ("room.inner.other", "import_module(f'{__package__}.{x}')", ROOM - NEAR - {"room.second"}),
    ],
)
def test_dependencies_of_a_module(built, module, source, expected):
    package = book.Package(built.root / "opifex_tutorials")
    found = package.imports(source, f"opifex_tutorials.{module}")
    assert {name.partition(".")[2] for name in found} >= expected
    assert "opifex_tutorials.helper" not in found


def test_a_benchmark_that_a_chapter_imports_counts(scratch, monkeypatch):
    """And so does what it loads: modules beside it by computed names, the package, not the rest."""
    files = {
        "__init__.py": '"""Benchmarks."""\n',
        "other.py": "from opifex_tutorials.room import far\n",
        "race/__init__.py": "from importlib import import_module\n\n\ndef load(name):\n"
        '    return import_module(f"{__name__}.{name}")\n',
        "race/adapter.py": "from opifex_tutorials.helper import error\n",
    }
    for name, source in files.items():
        file = scratch.root / "benchmarks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    monkeypatch.setattr(book, "ROOT", scratch.root)
    notebook = scratch.root / "chapter.ipynb"
    cell = {"cell_type": "code", "source": ["from benchmarks.race import load"]}
    notebook.write_text(json.dumps({"cells": [cell]}))
    found = {file.relative_to(scratch.root).as_posix() for file in book.dependencies(notebook)}
    own = {f"benchmarks/{name}" for name in files if name != "other.py"}
    assert {"opifex_tutorials/helper.py", "opifex_tutorials/room/first.py", *own} <= found
    assert not {"benchmarks/other.py", "opifex_tutorials/room/second.py"} & found


@pytest.mark.parametrize(
    "change",
    [
        ('{"near": "first", "far": "second"}', "load_table()"),
        ('"near": "first"', '"near": "nowhere"'),
        ('f"{__name__}.{_MODULES[name]}"', "_MODULES[name]"),
    ],
    ids=["no table", "a module that is not there", "elsewhere"],
)
def test_a_table_that_is_not_understood_hides_nothing(scratch, monkeypatch, tmp_path, change):
    monkeypatch.setattr(book, "ROOT", scratch.root)
    scratch.edit("opifex_tutorials/room/__init__.py", *change)
    found = names("from opifex_tutorials.room import near", tmp_path)
    assert {"room.first", "room.second"} <= found


def test_another_python_is_another_digest(built, monkeypatch):
    monkeypatch.setattr(book, "ROOT", built.root)
    before = book.digest(built.root / "notebooks/tiny.ipynb")
    monkeypatch.setattr(sys, "version", "4.0")
    assert book.digest(built.root / "notebooks/tiny.ipynb") != before


def test_a_file_that_is_no_module_counts(scratch, monkeypatch):
    monkeypatch.setattr(book, "ROOT", scratch.root)
    before = book.digest(scratch.root / "notebooks/tiny.ipynb")
    (scratch.root / "opifex_tutorials/room/table.csv").write_text("1")
    assert book.digest(scratch.root / "notebooks/tiny.ipynb") != before


def test_a_file_beside_modules_that_are_not_reached_does_not(scratch, monkeypatch):
    monkeypatch.setattr(book, "ROOT", scratch.root)
    (scratch.root / "opifex_tutorials/aside").mkdir()
    (scratch.root / "opifex_tutorials/aside/__init__.py").write_text("")
    before = book.digest(scratch.root / "notebooks/tiny.ipynb")
    (scratch.root / "opifex_tutorials/aside/script.js").write_text("1")
    assert book.digest(scratch.root / "notebooks/tiny.ipynb") == before


#: Chapters that are about both frameworks.
ABOUT_BOTH = {"environment_check", "performance_comparison"}


def frameworks(source):
    return set(re.findall(r"^\s*(?:import|from) (jax|torch)\b", source, re.MULTILINE))


def test_dependencies_of_the_real_chapters():
    """A JAX chapter does not depend on what only PyTorch uses, and the other way round."""
    package = ROOT / "opifex_tutorials"
    found = {path.stem: book.dependencies(path) for path in book.notebooks()}
    for name, files in found.items():
        # These two load a framework only where checkpoints are asked for, or the caller has it.
        files = files - {package / "training/store.py", package / "parallel.py"}
        loaded = set().union(*(frameworks(file.read_text(encoding="utf-8")) for file in files))
        reached = f"{name} reaches {sorted(loaded)}; does it import a module that is not there?"
        assert loaded == {"jax", "torch"} if name in ABOUT_BOTH else len(loaded) <= 1, reached
        assert package / "results.py" in files
        assert (package / "environment/report.py" in files) == (name == "environment_check")
    pinn = {"solvers/burgers_pinn.py", "problems/burgers.py", "training/levenberg_marquardt.py"}
    assert {package / name for name in pinn} <= found["first_pinn"]
    assert package / "solvers/mfg_pinn.py" not in found["first_pinn"]


REPORT = """<testsuites><testsuite name="a" {}><testcase/></testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("reports", "line"),
    [
        ([], "0 passed, 0 failed, 0 skipped"),
        (["tests='7' failures='0' errors='0' skipped='0'"], "7 passed, 0 failed, 0 skipped"),
        (
            [
                "tests='7' failures='2' errors='0' skipped='0'",
                "tests='50' failures='1' errors='4' skipped='8'",
            ],
            "42 passed, 7 failed, 8 skipped",
        ),
    ],
)
def test_the_summary_counts_over_all_reports(tmp_path, monkeypatch, capsys, reports, line):
    for number, counts in enumerate(reports):
        (tmp_path / f"{number}.xml").write_text(REPORT.format(counts), encoding="utf-8")
    monkeypatch.setattr(book, "REPORTS", tmp_path)
    book.summary()
    assert capsys.readouterr().out == line + "\n"


def test_a_notebook_that_nbmake_does_not_run_is_noticed(scratch, monkeypatch):
    monkeypatch.setattr(book, "ROOT", scratch.root)
    for name in ("EXECUTED", "LEDGER", "REPORTS"):
        monkeypatch.setattr(book, name, scratch.root / "_build" / name.lower())
    monkeypatch.setattr(book.subprocess, "run", lambda *args, **kwargs: None)
    (scratch.root / "_build/executed/tiny.digest").unlink()
    with pytest.raises(book.BuildError, match="was to run one notebook, tiny, but ran 0"):
        book.execute()
