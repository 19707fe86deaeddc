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
"""


class Scratch:
    """A small copy of the project: its own package, one chapter, three pages."""

    def __init__(self, root: Path):
        self.root = root

    def make(self, command="book"):
        """Run one command of the build; return its exit status and all it printed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "tools/book.py", command],
            cwd=self.root,
            env=environment,
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
    for folder in ("tools", "opifex_tutorials", "book", "notebooks"):
        (root / folder).mkdir(parents=True)
    for name in ("results", "tables", "validation", "plotting", "progress", "__init__"):
        shutil.copy(ROOT / f"opifex_tutorials/{name}.py", root / "opifex_tutorials")
    for name in ("_config.yml", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    shutil.copy(ROOT / "tools/book.py", root / "tools")
    for folder in ("_css", "vendor"):
        shutil.copytree(ROOT / "book" / folder, root / "book" / folder)
    shutil.copy(ROOT / "book/references.bib", root / "book")
    for name in ("results", "api"):
        text = f"# {name}\n\n```{{include}} _generated/{name}.md\n```\n"
        (root / f"book/{name}.md").write_text(text, encoding="utf-8")
    helper = 'def error() -> float:\n    """One millionth."""\n    return 1e-6\n'
    (root / "opifex_tutorials/helper.py").write_text(f'"""A helper."""\n\n\n{helper}')
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
    assert "tiny.error" in (html / "book/results.html").read_text(encoding="utf-8")
    ledger = json.loads((html / "ledger.json").read_text(encoding="utf-8"))
    assert ledger["tiny"]["results"]["tiny.error"]["value"] == 1e-6


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
    scratch.edit("opifex_tutorials/helper.py", "return 1e-6", "return 1 / 0")
    for _ in range(2):  # and it stays red: a failure is not remembered as done
        status, output = scratch.make()
        assert status != 0
        assert "Notebooks: executing tiny" in output
        assert "ZeroDivisionError" in output
        assert "return 1 / 0" in output  # the traceback leads to the line
        assert "Book: ready" not in output
    scratch.edit("opifex_tutorials/helper.py", "return 1 / 0", "return 1e-6")
    status, output = scratch.make("execute")
    assert status == 0
    assert "1 executed" in output


def test_a_missed_bound_turns_the_book_red(scratch):
    scratch.edit("opifex_tutorials/helper.py", "return 1e-6", "return 1e-4")
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
    ],
    ids=["glue", "reference", "citation"],
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
        ("opifex_tutorials/helper.py", "1e-6", "2e-6", True),
        ("constraints.txt", "numpy==", "numpy===", True),
        ("pyproject.toml", "numpy>=", "numpy>", True),
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
