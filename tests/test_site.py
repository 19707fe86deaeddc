"""The steps that help a reader find the way: rooms, map, terms, links, and pages that are light."""

import base64
import doctest
import io
import re
import zlib

import numpy as np
import pytest
import quickjs
from docutils import nodes
from PIL import Image
from sphinx import addnodes

from tools import api, book, chapters, fixes, formulas, inventories, slim, terms

PACKAGE = book.ROOT / "opifex_tutorials"


# --- one page of the API for each room ---


def test_every_public_module_is_on_one_page_of_the_api():
    pages = api.pages(PACKAGE)
    pages.pop("rooms")
    shown = [m for text in pages.values() for m in re.findall(r"automodule:: (\S+)", text)]
    assert sorted(shown) == sorted(api.modules(PACKAGE))
    assert "opifex_tutorials.solvers.burgers_pinn" in re.findall(r"\S+", pages["solvers"])


def test_a_module_that_no_room_names_is_in_the_last(tmp_path):
    for name in ("problems/one.py", "novel.py", "_hidden.py"):
        file = tmp_path / "package" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('"""Does ``x``; see :func:`f`."""\n')
    pages = api.pages(tmp_path / "package")
    assert "automodule:: package.problems.one" in pages["problems"]
    assert "Does `x`; see {py:func}`f`." in pages["problems"]
    assert "automodule:: package.novel" in pages["support"]
    assert not any("_hidden" in text for text in pages.values())


@pytest.mark.parametrize("room", api.ROOMS)
def test_the_example_of_a_room_runs_and_shows_what_it_says(room):
    file = book.ROOT / "book" / "examples" / f"{room}.txt"
    failed, attempted = doctest.testfile(str(file), module_relative=False)
    assert attempted >= 3
    assert failed == 0
    assert file.read_text(encoding="utf-8").rstrip() in api.pages(PACKAGE)[room]


def test_the_table_of_contents_lists_every_room():
    toc = (book.ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert re.findall(r"file: book/api/(\w+)", toc) == list(api.ROOMS)


# --- what the chapters say of themselves ---


def test_cards_of_the_real_chapters_are_read():
    found = {c.name: c for c in chapters.read_chapters(book.ROOT)}
    assert list(found)[:2] == ["environment_check", "first_pinn"]
    assert set(found) == {path.stem for path in book.notebooks()}
    assert found["first_pinn"].needs == ("environment_check",)
    assert {c.level for c in found.values()} <= {"beginner", "intermediate", "advanced"}


def test_a_chapter_comes_after_those_it_needs():
    seen = set()
    for chapter in chapters.read_chapters(book.ROOT):
        assert set(chapter.needs) <= seen, chapter.name
        seen.add(chapter.name)


def chapter(name, *needs):
    return chapters.Chapter(name, f"Title of {name}: more", "beginner", needs)


FAMILY = [chapter("a"), chapter("b", "a"), chapter("c", "b", "a"), chapter("d", "b")]
LEDGER = {
    c.name: {
        "results": {
            f"{c.name}.seconds": {
                "value": 12.3,
                "unit": "s",
                "bound": "–",
                "margin": None,
                "loose": None,
            }
        },
        "versions": {"numpy": "2"},
        "python": "3.11",
        "system": "Linux",
    }
    for c in FAMILY
}


def test_the_map_links_every_chapter_and_says_what_it_needs():
    text = chapters.chapter_map(FAMILY, LEDGER)
    assert re.findall(r'href="\.\./notebooks/(\w)\.html"', text) == list("abcd")
    assert text.count("beginner, 12 s") == 4
    assert text.count("after: Title of b, Title of a<") == 1
    places = re.findall(r"--column:(\d);--row:(\d)", text)
    assert places == [("1", "2"), ("3", "2"), ("5", "1"), ("5", "3")]
    # a to c goes by b: three lines, not four
    assert text.count("M") == 3


def test_results_come_in_the_order_of_the_chapters_and_can_be_folded():
    landing = (
        "::::{grid-item-card} Why b?\n:link: ../notebooks/b\n:link-type: doc\n\nSo.\n:::{card-f"
    )
    text = chapters.results_page(FAMILY[::-1], LEDGER, landing)
    assert re.findall(r"^## Title of (\w)", text, re.MULTILINE) == list("dcba")
    assert "*Why b?* So.\n" in text
    assert text.count(":::{dropdown}") == 4
    assert "| `seconds` | 12.3 | s | – | – |" in text


# --- terms ---


FORMS = {"residual": "residual", "residuals": "residual", "soft constraint": "soft constraint"}
FORMS["PINN"] = "PINN"


def linked(*children):
    """Text of each reference that was made in a paragraph with these children."""
    document = nodes.document(None, None)
    paragraph = nodes.paragraph("", "", *children)
    document += paragraph
    terms.link_terms(document, "page", FORMS)
    made = document.findall(addnodes.pending_xref)
    return [(x.astext(), x["reftarget"]) for x in made if "reftype" in x], document.astext()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The residuals of a residual.", [("residuals", "residual")]),
        ("Residuals come first.", [("Residuals", "residual")]),
        (
            "A soft\nconstraint and a PINN.",
            [("soft\nconstraint", "soft constraint"), ("PINN", "PINN")],
        ),
        ("A pinn, residuality, non-residual, PINN-like", []),
    ],
)
def test_the_first_mention_of_a_term_is_linked(text, expected):
    made, left = linked(nodes.Text(text))
    assert made == expected
    assert left == text


@pytest.mark.parametrize(
    "wrap", [nodes.literal, nodes.math, nodes.reference, nodes.title, nodes.caption, nodes.table]
)
def test_only_running_prose_is_linked(wrap):
    inside = wrap()
    inside += nodes.Text("a residual")
    made, _ = linked(inside, nodes.Text(" then a PINN"))
    assert made == [("PINN", "PINN")]


def test_every_entry_of_the_glossary_has_its_forms():
    page = (book.ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S.*)\n  \S", page, re.MULTILINE)
    listed = (book.ROOT / "book" / "glossary.toml").read_text(encoding="utf-8")
    assert re.findall(r'^"(.*)" = ', listed, re.MULTILINE) == entries


# --- links out of the code ---


def test_inventories_are_those_that_sphinx_reads(tmp_path):
    from sphinx.util.inventory import InventoryFile

    inventories.write_inventories(book.ROOT / "book" / "inventories.toml", tmp_path)
    with (tmp_path / "numpy.inv").open("rb") as file:
        found = InventoryFile.load(file, "https://example.org", lambda a, b: f"{a}/{b}")
    address = found["py:function"]["numpy.linspace"][2]
    assert address == "https://example.org/reference/generated/numpy.linspace.html#numpy.linspace"
    assert b"zlib" in (tmp_path / "jax.inv").read_bytes()
    assert zlib.decompress((tmp_path / "jax.inv").read_bytes().split(b"zlib.\n")[1])


def test_names_of_other_libraries_exist():
    """What the book links to is there in the versions that it pins."""
    import importlib
    import tomllib

    table = tomllib.loads((book.ROOT / "book" / "inventories.toml").read_text(encoding="utf-8"))
    for library in table.values():
        for name in [*library.get("function", []), *library.get("class", [])]:
            room, _, member = name.rpartition(".")
            assert hasattr(importlib.import_module(room), member), name


def test_edit_links_lead_to_the_source():
    def buttons():
        edit = {"label": "source-edit-button", "url": "https://x/edit/main/notebooks/a.ipynb"}
        return [{"label": "group", "buttons": [edit, {"label": "other", "url": "a.ipynb"}]}]

    chapter, room = buttons(), buttons()
    fixes.edit_links(chapter, "notebooks/a")
    fixes.edit_links(room, "book/api/losses")
    assert chapter[0]["buttons"][0]["url"] == "https://x/edit/main/notebooks/a.py"
    assert [b["label"] for b in room[0]["buttons"]] == ["other"]


def test_a_section_without_a_title_becomes_a_box():
    document = nodes.document(None, None)
    document += nodes.section("", nodes.title("", "T"), nodes.paragraph("", "one"))
    document += nodes.section("", nodes.paragraph("", "two"), ids=["exercise-content"])
    fixes.box_untitled_sections(document)
    assert [type(n) for n in document] == [nodes.section, nodes.container]
    assert document[1].astext() == "two"
    assert document[1]["classes"] == ["exercise-content"]


@pytest.mark.parametrize("address", ["", "https://example.org/owner/book"])
def test_buttons_of_the_repository_need_a_repository(monkeypatch, address):
    monkeypatch.setenv("OPIFEX_REPOSITORY", address)
    config = book.configuration()
    assert config["repository"]["url"] == address
    assert config["html"]["use_edit_page_button"] == bool(address)
    assert config["sphinx"]["config"]["intersphinx_mapping"]["jax"][1].endswith("jax.inv")


# --- formulas ---


def test_a_formula_is_set_for_eyes_and_for_screen_readers():
    made = formulas.formula(r"\nu = 0.01/\pi")
    assert '<span class="katex-html" aria-hidden="true">' in made
    assert "<math " in made
    assert "katex-display" in formulas.formula("x", True)


@pytest.mark.parametrize("tex", [r"\nosuchmacro", r"\frac{1", r"a & b"])
def test_what_is_no_formula_is_refused(tex):
    with pytest.raises(quickjs.JSException, match="KaTeX parse error"):
        formulas.formula(tex)


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("x\n", "x"),
        (r"a \\ b", r"\begin{split}a \\ b\end{split}"),
        ("a\n\nb", r"\begin{gathered}a\\ b\end{gathered}"),
    ],
)
def test_a_displayed_formula_may_have_several_lines(text, tex):
    assert formulas.display_tex(text) == tex
    assert formulas.formula(tex, True)


# --- light pages ---


@pytest.mark.parametrize(
    ("sheet", "left"),
    [
        (".used{a:b}.unused{a:b}", ".used{a:b}"),
        (".used .unused,.used>p{a:b}", ".used>p{a:b}"),
        ("p:not(.unused){a:b}", "p:not(.unused){a:b}"),
        ('a[href=".unused"]{a:b}', 'a[href=".unused"]{a:b}'),
        (".w-1\\/2{a:b}.w-1\\/3{a:b}", ".w-1\\/2{a:b}"),
        ("@media print{.unused{a:b}p{a:b}}", "@media print{p{a:b}}"),
        ("@media print{.unused{a:b}}", ""),
        (
            "@font-face{font-family:x}/*! license *//* note */",
            "@font-face{font-family:x}/*! license */",
        ),
        ("@keyframes x{from{a:b}to{a:c}}", "@keyframes x{from{a:b}to{a:c}}"),
        (":root{--x:1}", ":root{--x:1}"),
    ],
)
def test_rules_that_no_page_can_use_are_taken_out(sheet, left):
    assert slim.purge(sheet, {"used", "w-1/2"}) == left


def test_icons_are_found_in_rules_and_in_variables():
    sheets = '.a:before{content:"\\f0c9"}:root{--icon-b: "\\f186";--c:"x"}p{content:"two"}'
    assert slim._icons(sheets) == {0xF0C9, 0xF186, ord("x")}


def test_words_are_those_of_classes_ids_and_scripts(tmp_path):
    (tmp_path / "a.html").write_text(
        "<p class=\"one two\" id='three'>four</p><script>x('five-six')</script>"
    )
    (tmp_path / "b.js").write_text('add("seven")')
    found = slim.words(tmp_path)
    assert {"one", "two", "three", "five-six", "seven"} <= found
    assert "four" not in found


def test_a_figure_becomes_lighter_and_shows_the_same():
    svg = (
        '<svg class="book-figure" aria-label="0.12345">\n<g transform="translate(1.23456 0) '
        'scale(0.015625)">\n <use x="2.34567" xlink:href="#a"></use></g>'
        '<path d="M 3.45678 4"/></svg>'
    )
    assert slim.lighter_figure(svg) == (
        '<svg class="book-figure" aria-label="0.12345"><g transform="translate(1.23 0) '
        'scale(0.015625)"><use x="2.34" href="#a"/></g><path d="M 3.45 4"/></svg>'
    )


def test_a_style_that_many_marks_share_is_said_once():
    use = '<use href="#a" style="fill: red" x="1"></use>'
    other = use.replace("red", "blue")
    bare, group = '<use href="#a" x="1"/>', '<g style="fill: red">{}</g>'
    assert slim.lighter_figure(f"<svg>{5 * use}{other}</svg>") == (
        f"<svg>{group.format(5 * bare)}{other.replace('></use>', '/>')}</svg>"
    )
    assert "<g" not in slim.lighter_figure(f"<svg>{2 * use}</svg>")


@pytest.mark.parametrize(("colors", "smaller"), [(200, True), (300, False)])
def test_an_image_loses_no_color(colors, smaller):
    values = np.random.default_rng(0).integers(colors, size=3600)
    pixels = np.stack([values % 256, values // 256, 0 * values, 255 + 0 * values], axis=-1)
    image = Image.fromarray(pixels.reshape(60, 60, 4).astype(np.uint8), "RGBA")
    file = io.BytesIO()
    image.save(file, "PNG")
    before = base64.b64encode(file.getvalue()).decode()
    svg = slim.lighter_figure(f'<svg><image href="data:image/png;base64,{before}"/></svg>')
    after = re.search(r'base64,([^"]*)', svg)[1]
    assert (len(after) < len(before)) == smaller
    shown = Image.open(io.BytesIO(base64.b64decode(after))).convert("RGBA")
    assert shown.tobytes() == image.tobytes()
