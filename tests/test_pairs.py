"""The check of the notebook pairs, on a scratch pair that is broken in every way."""

import json
import shutil
from pathlib import Path

import pytest

from tools import book

SOURCE = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A chapter

# %% tags=["hide-input"]
x = 1
"""


@pytest.fixture
def pair(tmp_path, monkeypatch):
    shutil.copy(book.ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(book, "ROOT", tmp_path)
    source = tmp_path / "notebooks" / "chapter.py"
    source.write_text(SOURCE, encoding="utf-8")
    book.pairs()
    book.check_pairs()
    return source


def edit(source: Path, change):
    path = source.with_suffix(".ipynb")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_the_real_pairs_agree():
    book.check_pairs()


def test_make_pairs_keeps_cell_ids(pair):
    def ids():
        return [c["id"] for c in json.loads(pair.with_suffix(".ipynb").read_text())["cells"]]

    before = ids()
    pair.write_text(SOURCE + "\n# %%\ny = 2\n", encoding="utf-8")
    book.pairs()
    assert ids()[:2] == before
    assert len(ids()) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 2"),
        ("# # A chapter", "# # Another"),
        ("hide-input", "hide-cell"),
        ("Python 3", "Python (other)"),
    ],
    ids=["code", "prose", "metadata", "kernel"],
)
def test_drift_in_the_source_is_found(pair, old, new):
    pair.write_text(SOURCE.replace(old, new), encoding="utf-8")
    with pytest.raises(book.BuildError, match=r"chapter\.ipynb differs from"):
        book.check_pairs()


@pytest.mark.parametrize(
    "change",
    [
        lambda notebook: notebook["cells"][1].update(source=["x = 2"]),
        lambda notebook: notebook["cells"][0].update(source=["# Another"]),
        lambda notebook: notebook["cells"][1].update(metadata={}),
        lambda notebook: notebook["cells"].pop(),
        lambda notebook: notebook["cells"][1].update(cell_type="raw"),
        lambda notebook: notebook["metadata"]["kernelspec"].update(name="julia"),
        lambda notebook: notebook["metadata"].pop("kernelspec"),
    ],
    ids=["code", "prose", "metadata", "cell", "kind", "kernel", "no kernel"],
)
def test_drift_in_the_notebook_is_found(pair, change):
    edit(pair, change)
    with pytest.raises(book.BuildError, match=r"chapter\.ipynb differs from"):
        book.check_pairs()


@pytest.mark.parametrize(
    "stored",
    [
        {"outputs": [{"output_type": "stream", "name": "stdout", "text": ["1"]}]},
        {"execution_count": 1},
    ],
)
def test_stored_output_is_found(pair, stored):
    edit(pair, lambda notebook: notebook["cells"][1].update(stored))
    with pytest.raises(book.BuildError, match="stores outputs or execution counts"):
        book.check_pairs()


@pytest.mark.parametrize(("kept", "missing"), [(".py", ".ipynb"), (".ipynb", ".py")])
def test_a_missing_half_is_found(pair, kept, missing):
    pair.with_suffix(missing).unlink()
    with pytest.raises(book.BuildError, match=rf"chapter\{kept} has no \{missing}"):
        book.check_pairs()


def test_the_check_changes_nothing(pair):
    before = {path: path.read_bytes() for path in pair.parent.iterdir()}
    pair.write_text(SOURCE.replace("x = 1", "x = 2"), encoding="utf-8")
    before[pair] = pair.read_bytes()
    with pytest.raises(book.BuildError):
        book.check_pairs()
    assert {path: path.read_bytes() for path in pair.parent.iterdir()} == before
