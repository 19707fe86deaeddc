"""What each piece of MyST becomes in plain Markdown, and that nothing unknown slips through."""

import pytest

from tools.plain_markdown import Book, Chapter, Library, MarkupError

BIBLIOGRAPHY = """
@misc{one, author = {Du Fort, E. C. and Frankel, S. P.}, title = {Stable}, year = {1953}}
@misc{two, author = {Li, A. and Li, B. and Li, C.}, title = {What $u_t + u = 0$ is}, year = {2020}}
@misc{three, author = {Li, A. and Li, B. and Li, C.}, title = {More}, year = {2020}}
"""

PAGE = """
<figure id="fig-a"><svg id="f1-x"></svg><figcaption>
<p><span class="caption-number">Fig. 2.1 </span><span class="caption-text">What.</span>
<a class="headerlink" href="#fig-a">#</a></p></figcaption></figure>
<div class="math" id="equation-heat">
<span class="eqno">(2.3)<a class="headerlink" href="#equation-heat">#</a></span></div>
<div class="exercise admonition" id="exercise-a">
<p class="admonition-title"><span class="caption-number">Exercise 2.1 </span> (Try)</p></div>
<a class="reference download" href="../_downloads/0a/file.py">x</a>
"""

INVENTORY = {
    "std:doc": {"book/notation": ("", "", "book/notation.html", "Notation")},
    "std:term": {"Adam": ("", "", "book/glossary.html#term-Adam", "-")},
    "std:label": {
        "fig-a": ("", "", "notebooks/page.html#fig-a", "What."),
        "exercise-a": ("", "", "notebooks/page.html#exercise-a", "Exercise"),
        "part": ("", "", "notebooks/page.html#part", "A part"),
    },
    "py:class": {"package.room.Thing": ("", "", "book/api.html#package.room.Thing", "-")},
}


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "page.html").write_text(PAGE)
    (tmp_path / "objects.inv").touch()
    (tmp_path / "some.bib").write_text(BIBLIOGRAPHY)
    monkeypatch.setattr("tools.plain_markdown.InventoryFile.load", lambda *_: INVENTORY)
    book = Book(tmp_path, "https://site")
    values = {"page.error": 1.25e-5, "page.seconds": 61.7}
    return Chapter(
        "notebooks/page",
        book,
        Library(tmp_path / "some.bib"),
        values,
        lambda target, alt: f"![{alt}](attachment:{target})",
    )


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("It is {glue:text}`page.error:.0e`.", "It is 1e-05."),
        ("{glue:text}`../notebooks/page.ipynb::page.seconds:.0f` s", "62 s"),
        ("See {cite}`one, two`.", "See (Du Fort and Frankel, 1953; Li et al., 2020a)."),
        ("{cite:t}`three` say", "Li et al. (2020b) say"),
        ("{doc}`../book/notation`", "[Notation](https://site/book/notation.html)"),
        ("{doc}`our\nwords </book/notation>`", "[our words](https://site/book/notation.html)"),
        ("{numref}`fig-a`", "[Fig. 2.1](https://site/notebooks/page.html#fig-a)"),
        ("{numref}`Figure %s <fig-a>`", "[Figure 2.1](https://site/notebooks/page.html#fig-a)"),
        ("{eq}`heat`", "[(2.3)](https://site/notebooks/page.html#equation-heat)"),
        ("{ref}`part`", "[A part](https://site/notebooks/page.html#part)"),
        ("{ref}`exercise-a`", "[Exercise 2.1](https://site/notebooks/page.html#exercise-a)"),
        ("{term}`steps <adam>`", "[steps](https://site/book/glossary.html#term-Adam)"),
        (
            "{py:class}`~package.room.Thing`",
            "[`Thing`](https://site/book/api.html#package.room.Thing)",
        ),
        ("{download}`it <../x/file.py>`", "[it](https://site/_downloads/0a/file.py)"),
        ("{math}`x^2`", "$x^2$"),
        ("`` {glue:text}`a` `` and `{doc}`", "`` {glue:text}`a` `` and `{doc}`"),
        ("% a comment\ntext\n\n+++\n(target)=\nmore", "text\n\nmore"),
        ("$$u = 1$$ (heat)", "$$\nu = 1 \\tag{2.3}\n$$"),
        ("```{math}\n:label: heat\nu = 1\n```", "$$\nu = 1 \\tag{2.3}\n$$"),
        ("It fails\n: Do this,\n  and that.", "- **It fails**: Do this,\n  and that."),
        ("```python\n{x}`y`\n```", "```python\n{x}`y`\n```"),
        ("```{exercise} Try\n:label: exercise-a\n\nDo.\n```", "### Exercise 2.1: Try\n\nDo."),
        ("```{note}\nSee {eq}`heat`.\n```", None),
        (":::{admonition} A *title*\n:class: tip\nText\n:::", "> **A *title***\n>\n> Text"),
        ("````{tab-set}\n```{tab-item} One\nText\n```\n````", "**One**\n\nText"),
        ("```{mermaid}\ngraph LR\n```", "```mermaid\ngraph LR\n```"),
        ("```{prf:theorem} Name\n:label: t\nText\n```", "**Theorem (Name).** Text"),
        ("```{figure} a.svg\n:alt: words\n:name: fig-a\nWhat.\n```", None),
        ("```{raw} html\n<b>x</b>\n```", ""),
        ("- item\n\n  ```{note}\n  Text\n  ```", "- item\n\n  > **Note**\n  >\n  > Text"),
    ],
)  # fmt: skip
def test_markup_has_a_plain_form(chapter, source, plain):
    found = chapter.convert(source)
    if plain is None:
        assert "{" not in found
    else:
        assert found == plain


def test_a_card_is_a_table(chapter):
    card = """```{list-table}
:header-rows: 1

* - Level
  - Memory
* - beginner,
    and more
  - {glue:text}`page.seconds:.0f` MB
```"""
    assert chapter.convert(card) == (
        "| Level | Memory |\n|---|---|\n| beginner, and more | 62 MB |"
    )


def test_a_solution_is_folded_over_cells(chapter):
    start = "````{solution-start} exercise-a\n:class: dropdown\n````\n\nBecause."
    opening = "<details><summary>Solution of Exercise 2.1</summary>\n\nBecause.\n\n</details>"
    note = "*Solution of Exercise 2.1: its code is in the folded cells below.*"
    assert chapter.convert(start) == f"{opening}\n\n{note}"
    assert chapter.solves
    assert "Solution of Exercise 2.1, continued</summary>\n\nAnd" in chapter.convert("And.")
    assert chapter.convert("````{solution-end}\n````\n\nAfter.") == "After."
    assert not chapter.solves


def test_without_an_address_references_are_words(chapter):
    chapter.book.address = ""
    text = "{doc}`/book/notation`, {numref}`fig-a`, {term}`Adam`, {download}`../x/file.py`"
    assert chapter.convert(text) == "*Notation*, Fig. 2.1, Adam, file.py"


def test_references_are_listed_by_author_and_year(chapter):
    chapter.convert("{cite}`two` {cite}`one`")
    first, second = chapter.library.references(chapter.cited).split("\n")
    assert first.startswith("- **Du Fort and Frankel (1953).** E. C. Du Fort and S. P. Frankel.")
    assert second.startswith("- **Li et al. (2020a).**")
    assert "What $u_t + u = 0$ is" in second


@pytest.mark.parametrize(
    "source",
    [
        "{unknown}`x`",
        "```{unknown}\n```",
        "```{note}\nnever closed",
        "{glue:text}`page.nothing:.0e`",
        "{cite}`nobody`",
        "{doc}`nowhere`",
        "{numref}`part`",
        "{eq}`nothing`",
        "{term}`nothing`",
        "{py:func}`package.nothing`",
        "{download}`nothing.py`",
    ],
)
def test_what_has_no_plain_form_stops_the_build(chapter, source):
    with pytest.raises(MarkupError):
        chapter.convert(source)
