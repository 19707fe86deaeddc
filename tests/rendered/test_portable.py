"""The notebooks to take away: nothing raw in them, nothing missing, and they run anywhere."""

import ast
import base64
import functools
import io
import json
import re
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import HTML, ROOT, soup
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter
from PIL import Image

from tools import pdf, portable
from tools.browser import served

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
#: These are executed whole; of the others only the first cell and every import.
WHOLE = ["environment_check", "hybrid_solver"]
SOURCE = ROOT / "_build" / "source" / "notebooks"

#: What MyST leaves where nobody resolves it.
RAW = [
    r"\{[a-z][\w:.+-]*\}`",  # a role
    r"(?m)^[ \t]*[`:~]{3,}[ \t]*\{",  # a directive
    r"(?m)^\s*:::",
    r"(?m)^\s*:[a-z-]+:(\s|$)",  # an option
    r"(?m)^\$\$.*\$\$ *\(",  # a label of a formula
    r"(?m)^\$\$ *\([\w:-]+\)\s*$",
    r"(?m)^\([\w:.-]+\)=\s*$",  # a target
    r"(?m)^\+\+\+",  # a break between blocks
    r"(?m)^%(?!\w)",  # a comment
    r"(?m)^: +\S",  # a definition
    r"(?m)^\s*\* - ",  # a row of a list-table
    r"\{\{",  # a substitution
    r"\[\^",  # a footnote
    r"list-table|header-rows|solution-(start|end)|eval-rst|papermill",
]


def as_markdown(notebook):
    """Render a notebook as nbconvert does for a viewer that knows nothing of MyST."""
    notebook = nbformat.from_dict(notebook)
    nbformat.validate(notebook)
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    return text


def leftovers(notebook):
    """List what is left of MyST in a notebook. Code of cells is not markup, and may contain it."""
    text = as_markdown(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            text = text.replace(cell["source"], "")
    return [found[0] for pattern in RAW for found in re.finditer(pattern, text)]


@functools.cache
def downloaded(name):
    return json.loads((HTML / "downloads" / f"{name}.ipynb").read_text(encoding="utf-8"))


def prose(name):
    return "\n\n".join(
        c["source"] for c in downloaded(name)["cells"] if c["cell_type"] == "markdown"
    )


@pytest.mark.parametrize("name", CHAPTERS)
def test_nothing_raw_is_left(name):
    assert not leftovers(downloaded(name))
    assert not leftovers(downloaded(f"{name}.no-outputs"))


@pytest.mark.parametrize(
    "planted",
    [
        "{glue:text}`a.b:.1e`",
        "{cite}`somebody`",
        "{term}`word`",
        "```{note}\nText\n```",
        "::::{tab-set}\n::::",
        ":header-rows: 1",
        "$$x$$ (label)",
        "$$\nx\n$$ (label)",
        "(target)=",
        "% a comment",
        "Term\n: definition",
        "* - cell",
        "+++",
        "{{ substitution }}",
        "note[^1]",
        "````{solution-end}\n````",
    ],
)
def test_what_is_left_is_noticed(planted):
    cell = {"cell_type": "markdown", "metadata": {}, "source": f"Before.\n\n{planted}\n"}
    assert leftovers({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


@pytest.mark.parametrize("name", CHAPTERS)
def test_numbers_figures_and_exercises_are_those_of_the_page(name):
    page, text = soup(f"notebooks/{name}"), prose(name)
    place = 0
    for number in page.select("article .pasted-text"):
        place = text.find(number.get_text(), place)
        assert place >= 0, f"{number.get_text()} is on the page but not in the notebook"
    for kind, said in (("figure", "Figure {}."), ("div.exercise", "### Exercise {}")):
        numbers = [e.get_text().split()[1] for e in page.select(f"{kind} .caption-number")]
        assert numbers
        for number in numbers:
            assert said.format(number) in text
    assert text.count("<details>") == text.count("</details>") > 0
    cited = {link["href"] for link in page.select("article a[href*='bibliography.html#id']")}
    assert len(re.findall(r"(?m)^- \*\*.* \((\d{4}[a-h]?|n\.d\.)\)\.\*\*", text)) == len(cited)


@pytest.mark.parametrize("name", CHAPTERS)
def test_outputs_are_kept_and_every_figure_is_two_pictures(name):
    cells = [c for c in downloaded(name)["cells"] if c["cell_type"] == "code"]
    executed = json.loads((SOURCE / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in executed if c["cell_type"] == "code"]
    assert [c["source"] for c in cells[1:]] == sources
    outputs = [output for cell in cells for output in cell["outputs"]]
    data = [output["data"] for output in outputs if "data" in output]
    pictures = [d for d in data if "image/svg+xml" in d]
    assert len(pictures) == len(soup(f"notebooks/{name}").select("article svg.book-figure"))
    for d in pictures:
        assert d["text/plain"]
        assert "text/html" not in d, "of which a viewer without trust shows nothing"
    assert any("Recorded by the chapter" in d.get("text/html", "") for d in data)
    empty = [c for c in downloaded(f"{name}.no-outputs")["cells"] if c["cell_type"] == "code"]
    assert [c["source"] for c in empty] == [c["source"] for c in cells]
    assert not any(c["outputs"] or c["execution_count"] for c in empty)


@pytest.mark.parametrize("name", CHAPTERS)
def test_solutions_are_folded_and_so_is_what_the_page_folds(name):
    solves, expected = False, []
    for cell in json.loads((SOURCE / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            folded = solves or "hide-input" in cell["metadata"].get("tags", [])
            expected.append((folded, solves))
            continue
        fences = re.findall(r"\{solution-(start|end)\}", "".join(cell["source"]))
        solves = fences[-1] == "start" if fences else solves
    assert any(hidden for _, hidden in expected)
    cells = [c for c in downloaded(name)["cells"][1:] if c["cell_type"] == "code"]
    fold = [c["metadata"].get("jupyter", {}) for c in cells]
    hidden = [tuple(f.get(f"{w}_hidden", False) for w in ("source", "outputs")) for f in fold]
    assert hidden == expected


def test_a_picture_is_dark_on_white():
    outputs = [o for c in downloaded("first_pinn")["cells"] for o in c.get("outputs", [])]
    encoded = next(o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {}))
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L")
    light, dark = picture.getextrema()[1], picture.getextrema()[0]
    assert light == 255
    assert dark < 60
    assert picture.width >= 800


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_page_offers_its_downloads(name):
    page = soup(f"notebooks/{name}")
    row = page.select_one("article .downloads")
    offered = {link["href"] for link in row.select("a[download]")}
    files = [f"{name}.ipynb", f"{name}.no-outputs.ipynb", f"{name}.py", portable.wheel_name()]
    assert offered >= {f"../downloads/{file}" for file in files}
    has_pdf = (HTML / "pdf" / f"{name}.pdf").exists()
    assert bool(row.select(f"a[href='../pdf/{name}.pdf']")) == has_pdf
    assert bool(row.select("button")) != has_pdf
    card = page.select_one("article table")
    assert row.find_previous("table") is card
    assert not page.select("a[href*='_sources']"), "where the notebook is with raw markup"
    assert not (HTML / "_sources").exists()


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_of_the_repository_says_where_this_one_is(name):
    pair = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert "_build/html/downloads" in "".join(pair["cells"][0]["source"][:4])
    assert "Raw markup" not in soup(f"notebooks/{name}").select_one("article").get_text()
    assert "Raw markup" not in prose(name)


def test_the_pdf_is_offered_where_there_is_one(tmp_path, monkeypatch):
    """What `make pdf` does to the row of downloads; without it, the row offers to print."""
    monkeypatch.setattr(pdf, "HTML", tmp_path)
    page = tmp_path / "notebooks" / "first_pinn.html"
    page.parent.mkdir()
    page.write_text((HTML / "notebooks" / "first_pinn.html").read_text(encoding="utf-8"))
    for _ in range(2):  # once more changes nothing
        pdf.offer(page, "first_pinn.pdf")
        row = BeautifulSoup(page.read_text(), "html.parser").select_one(".downloads")
        assert len(row.select("a[href='../pdf/first_pinn.pdf']")) == 1
        assert not row.select("button")


def test_no_download_knows_this_machine():
    for file in (HTML / "downloads").iterdir():
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                names = wheel.namelist()
                contents = b"".join(wheel.read(name) for name in names)
            assert "opifex_tutorials/results.py" in names
            assert "benchmarks/peers/__init__.py" in names
            assert not [name for name in names if "__pycache__" in name or "tests" in name]
        else:
            contents = file.read_bytes()
        assert str(ROOT).encode() not in contents, file.name
        assert str(Path.home()).encode() + b"/" not in contents, file.name


def test_the_wheel_is_the_same_from_build_to_build(tmp_path):
    assert (
        portable.build_wheel(tmp_path).read_bytes()
        == (HTML / "downloads" / portable.wheel_name()).read_bytes()
    )


# --- they run elsewhere ---


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Address of a copy of the book that was built to be published at this address."""
    folder = tmp_path_factory.mktemp("published")
    for path in HTML.iterdir():
        if path.name != portable.DOWNLOADS:
            (folder / path.name).symlink_to(path)
    ledger = json.loads((HTML / "ledger.json").read_text(encoding="utf-8"))
    values = {k: r["value"] for page in ledger.values() for k, r in page["results"].items()}
    with served(folder) as address:
        portable.write(SOURCE, folder, values, address)
        yield address


def fresh_environment(folder, monkeypatch):
    """Make an environment without the book's package; Jupyter calls it ``fresh``.

    What the package depends on is not installed anew (2 GB), but lent by the environment of the
    build, entry by entry, so that neither the package nor its egg-info comes along. The package
    itself is really installed, by the first cell of a notebook, and pip may fetch nothing else.
    """
    venv.create(folder, with_pip=False)
    [lent] = [Path(p) for p in sys.path if p.endswith("site-packages")]
    lending = folder / "lent"
    lending.mkdir()
    for entry in lent.iterdir():
        if "opifex" not in entry.name and entry.suffix != ".pth":
            (lending / entry.name).symlink_to(entry)
    [own] = folder.glob("lib/python*/site-packages")
    (own / "lent.pth").write_text(f"{lending}\n")
    kernel = folder / "share" / "kernels" / "fresh"
    kernel.mkdir(parents=True)
    command = [
        str(folder / "bin" / "python"),
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
    ]
    apart = {"PYTHONPATH": "", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    spec = {"argv": command, "display_name": "fresh", "language": "python", "env": apart}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "share"))


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("fresh")
        fresh_environment(folder, monkeypatch)
        yield folder


def execute(notebook, folder):
    """Execute a notebook in the fresh environment, in a folder; return what its cells print."""
    notebook = nbformat.from_dict(notebook)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="fresh", timeout=600, resources=resources).execute()
    texts = [o.get("text", "") for c in notebook["cells"] for o in c.get("outputs", [])]
    return "".join(texts)


def beginning(notebook, *more):
    """Return the first cell of a notebook, which is what a reader runs first, and more code."""
    cells = [notebook["cells"][0], *map(nbformat.v4.new_code_cell, more)]
    return {**notebook, "cells": cells}


def imports(notebook):
    """Every import of a notebook, wherever it stands, as the lines of one program."""
    code = [c["source"] for c in notebook["cells"][1:] if c["cell_type"] == "code"]
    nodes = [node for source in code for node in ast.walk(ast.parse(source))]
    found = [ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
    return "\n".join(dict.fromkeys(found))


def fetch(address, name, folder):
    file = folder / f"{name}.ipynb"
    with urllib.request.urlopen(f"{address}/downloads/{name}.no-outputs.ipynb") as response:
        file.write_bytes(response.read())
    return json.loads(file.read_text(encoding="utf-8"))


WHERE = "import opifex_tutorials\nprint(opifex_tutorials.__file__)"


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name not in WHOLE])
def test_first_cell_and_imports_run_in_a_fresh_environment(name, published, fresh, tmp_path):
    notebook = fetch(published, name, tmp_path)
    assert f"{published}/notebooks/{name}.html" in notebook["cells"][0]["source"]
    asked = "import os\nassert os.environ['OMP_NUM_THREADS'] == '1'"
    # The first of these tests installs the package; the others find it there.
    printed = execute(beginning(notebook, asked, imports(notebook), WHERE), tmp_path)
    assert "Ready: opifex-tutorials" in printed
    assert str(fresh) in printed


@pytest.mark.parametrize("name", WHOLE)
def test_a_chapter_runs_whole_in_a_fresh_environment(name, published, fresh, tmp_path):
    notebook = fetch(published, name, tmp_path)
    assert "Ready: opifex-tutorials" in execute(notebook, tmp_path)


def test_a_notebook_of_a_local_build_finds_the_wheel_beside_it(tmp_path, monkeypatch):
    fresh_environment(tmp_path / "fresh", monkeypatch)
    folder = tmp_path / "folder"
    folder.mkdir()
    chapter = json.loads((SOURCE / "first_pinn.ipynb").read_text(encoding="utf-8"))
    notebook = beginning(
        {**chapter, "cells": [portable.first_cell(chapter, "first_pinn", "")]}, WHERE
    )
    with pytest.raises(CellExecutionError, match="package was not installed"):
        execute(notebook, folder)
    portable.build_wheel(folder)
    assert str(tmp_path / "fresh") in execute(notebook, folder)
