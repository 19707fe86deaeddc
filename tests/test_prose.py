"""No result is typed into the prose: it comes from the ledger, or from a cited publication."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from tools import api

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PACKAGE = ROOT / "opifex_tutorials"

#: What cannot hold a typed result: front matter, code, comments, roles, math, links, addresses.
NOT_PROSE = re.compile(
    r"""\A---\n.*?\n---\n            # front matter
    | ^(?P<fence>`{3,})(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=fence)`*$
    | ^%.*?$ | <!--.*?-->            # comments
    | \{[\w:-]+\}`[^`]*`             # roles, {glue:text} among them
    | (?<!`)(?P<tick>`{1,2})(?!`).+?(?P=tick)   # code
    | (?<=\])\([^)]*\)               # targets of links
    | <?https?://\S+                 # addresses
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+(?:\n[^$\n]+)*\$", re.DOTALL)
#: Fences that hold prose; all others hold code, math or generated text.
PROSE_FENCE = re.compile(
    r"\{(note|tip|warning|important|admonition|seealso|dropdown|figure|exercise|solution)[\w-]*\}"
)
#: Names, not measurements.
NAMES = re.compile(r"\b(?:Python|CC BY|version|Apache|BSD)[ -]\d+(?:\.\d+)*")
RESULT = re.compile(
    r"""(?<![\w.])(?:
      \d+(?:\.\d+)?[eE][-+]?\d+      # 3.2e-5
    | \d+(?:\.\d+)?[\s ]?(?:%|×|x\b) # 98 %, 1.5×, 10x
    | \d*\.\d+                       # 0.0012, 12.3
    | 10[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+           # 10⁻⁵
    )""",
    re.VERBOSE,
)
#: In docstrings and descriptions of figures decimals are defaults, ranges, places; these are not.
RESULT_IN_CODE = re.compile(r"(?<![\w.])(?:\d[\d.]*[eE]-\d+|\d[\d.]*\s?[%×]|10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
#: A parameter may stand in a formula; a measured power of ten may not hide there.
HIDDEN_IN_MATH = re.compile(r"\d\s*(?:\\times|\\cdot)\s*10\s*\^\s*(?:\{-?\d+\}|-?\d)")


def typed_results(text, pattern=RESULT):
    """Yield (result, paragraph) for each result-like number typed in Markdown ``text``."""
    for paragraph in re.split(r"\n\s*\n", _prose(text)):
        for formula in MATH.findall(paragraph):
            yield from ((found, paragraph) for found in HIDDEN_IN_MATH.findall(formula))
        prose = NAMES.sub("", MATH.sub("", paragraph))
        yield from ((found.strip(), paragraph) for found in pattern.findall(prose))


def _prose(text):
    return NOT_PROSE.sub(_keep, text)


def _keep(match):
    if match["fence"]:
        return _prose(match["body"]) if PROSE_FENCE.match(match["info"]) else ""
    return match[0] if match[0].startswith("{cite") else "`"


def cites(paragraph, key):
    return any(
        key in re.split(r"[,\s]+", keys)
        for keys in re.findall(r"\{cite[\w:]*\}`([^`]*)`", paragraph)
    )


def texts():
    """Yield (page, Markdown) for the prose of the book: pages, notebook cells, captions."""
    for path in PAGES:
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        page = path.with_suffix(".py").relative_to(ROOT).as_posix()
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield page, "".join(cell["source"])
            yield page, cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")


def faults(texts, published):
    unused = [dict(entry) for entry in published]
    for page, text in texts:
        for figure, paragraph in typed_results(text):
            entries = [e for e in published if (e["page"], e["figure"]) == (page, figure)]
            if not entries:
                yield f"{page}: {figure!r} is typed: record it and use glue, or cite it"
            elif not any(cites(paragraph, entry["citation"]) for entry in entries):
                yield f"{page}: the paragraph of {figure!r} does not cite its source"
            unused = [entry for entry in unused if entry not in entries]
    yield from (f"published_figures.toml: not used: {entry}" for entry in unused)


def test_no_result_is_typed_into_the_prose():
    with (ROOT / "book" / "published_figures.toml").open("rb") as file:
        published = tomllib.load(file).get("published", [])
    assert list(faults(texts(), published)) == []


def docstrings(source):
    """Yield what the API page shows of a module: docstrings of all that is public, ``#:`` lines."""
    tree = ast.parse(source)
    shown = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for node in list(shown):
        shown += [member for member in node.body if isinstance(member, ast.FunctionDef)]
    for node in shown:
        if not getattr(node, "name", "").startswith("_"):
            yield ast.get_docstring(node) or ""
    yield from re.findall(r"(?:^\s*|  )#: (.*)$", source, re.MULTILINE)


def test_no_result_is_typed_into_a_docstring():
    pages = {module.replace(".", "/") for module in api.modules(PACKAGE)}
    found = {}
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")
        if name in pages:
            texts = docstrings(file.read_text(encoding="utf-8"))
            typed = [r for text in texts for r, _ in typed_results(text, RESULT_IN_CODE)]
            if typed:
                found[file.relative_to(PACKAGE).as_posix()] = typed
    assert found == {}


def descriptions(source):
    """Yield the texts in a cell that describe a figure or a table."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("show", "animate", "Table"):
                texts = (n for n in ast.walk(node) if isinstance(n, ast.Constant))
                yield from (n.value for n in texts if isinstance(n.value, str))


def test_no_result_is_typed_into_the_description_of_a_figure():
    found = [
        (path.stem, result)
        for path in NOTEBOOKS
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
        for text in descriptions("".join(cell["source"]))
        for result, _ in typed_results(text, RESULT_IN_CODE)
    ]
    assert found == []


def test_descriptions_are_read():
    source = 'show(figure, f"An error of {x} and " "1e-1")\nTable("1e-2", rows)\nprint("1e-3")'
    source += '\nplotting.animate(figure, curves, labels, alt="1e-4")'
    found = [r for text in descriptions(source) for r, _ in typed_results(text, RESULT_IN_CODE)]
    assert sorted(found) == ["1e-1", "1e-2", "1e-4"]


def test_docstrings_are_read_as_far_as_the_page_shows_them():
    source = '"""M 1e-1."""\n#: A 1e-2.\nA = 1  #: B 1e-3\ndef f():\n    """F 1e-4."""\n'
    source += '    def g():\n        """Hidden 1e-5."""\ndef _h():\n    """Hidden 1e-6."""\n'
    source += 'class C:\n    """C 1e-7."""\n    def m(self):\n        """M 1e-8."""\n'
    found = [r for text in docstrings(source) for r, _ in typed_results(text, RESULT_IN_CODE)]
    assert sorted(found) == ["1e-1", "1e-2", "1e-3", "1e-4", "1e-7", "1e-8"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An error of 2.8e-10, 97 % of it.", ["2.8e-10", "97 %"]),
        ("It fell to 10⁻⁵.", ["10⁻⁵"]),
        ("From 0.01 to 2, by default 0.5; ``tolerance=1e-8``; 10⁶ bytes.", []),
        ("See arXiv:1201.5885, equation 2.21, and :math:`10^{-5}`.", []),
    ],
)
def test_results_in_docstrings_are_found(text, expected):
    assert [figure for figure, _ in typed_results(text, RESULT_IN_CODE)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The error is 3.2e-5 here.", ["3.2e-5"]),
        ("It is 0.0012, or 12.3.", ["0.0012", "12.3"]),
        ("98 % of seeds, 1.5× faster, 10x.", ["98 %", "1.5×", "10x"]),
        ("Below 10⁻⁵ always.", ["10⁻⁵"]),
        ("Reached $3\\times 10^{-5}$.", ["3\\times 10^{-5}"]),
        ("| 1e-6 | a table |", ["1e-6"]),
        (":::{note}\nAn error of 1e-6.\n:::", ["1e-6"]),
        ("```{note}\nAn error of 1e-6.\n```\n\n1e-7\n\n```\n1e-8\n```", ["1e-6", "1e-7"]),
    ],
)
def test_typed_results_are_found(text, expected):
    assert [figure for figure, _ in typed_results(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "---\nversion: 1.5\n---\n# Title",
        "At $\\nu = 0.01/\\pi$ on\n$t \\in [0, 1]$ with 5 seeds, in 60 steps.",
        "$$\nx = 0.5\n$$",
        "```python\nx = 0.5\n```",
        "```{math}\nx = 0.5\n```",
        "It is {glue:text}`../notebooks/a.ipynb::a.error:.1e` and `lr=0.01`.",
        "See [there](https://example.org/1.5) or https://example.org/2.5x for Python 3.11.",
        "% a comment about 0.5\n\nLevel 2, chapter 3.",
    ],
)
def test_other_numbers_are_not(text):
    assert list(typed_results(text)) == []


PUBLISHED = {"page": "p.md", "figure": "6.7e-4", "citation": "raissi2019"}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("L-BFGS reached 6.7e-4 {cite:p}`raissi2019`.", 0),
        ("L-BFGS reached 6.7e-4 {cite:p}`lasry2007,raissi2019`.", 0),
        ("L-BFGS reached 6.7e-4.\n\n{cite:p}`raissi2019` says so.", 1),
        ("L-BFGS reached 6.7e-4 {cite:p}`lasry2007`.", 1),
        ("L-BFGS reached 6.8e-4 {cite:p}`raissi2019`.", 2),
        ("Nothing.", 1),
    ],
    ids=["cited", "among others", "elsewhere", "another", "another figure", "unused"],
)
def test_a_published_figure_stands_beside_its_citation(text, count):
    assert len(list(faults([("p.md", text)], [PUBLISHED]))) == count
