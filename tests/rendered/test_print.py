"""The book on paper: what `make pdf` makes of a page, and what a reader's own browser prints."""

import re
import unicodedata

import pytest
from conftest import HTML, PAGES
from pypdf import PdfReader

from tools import pdf

#: A page of prose, and two chapters: tables and exercises, figures and formulas.
PRINTED = ["book/decide", "notebooks/environment_check", "notebooks/first_pinn"]

#: Between the margins of the paper, in pixels of CSS.
WIDTH = int((210 - 2 * 15) / 25.4 * 96)

#: What is cut off at the right, what would have to be scrolled, opened or clicked.
FAULTS = """width => {
  const within = 'svg *, pre *, .katex *';
  const all = [...document.querySelectorAll(`article *:not(${within})`)];
  const seen = all.filter(e => e.checkVisibility() && e.getBoundingClientRect().width > 1);
  const faults = {
    cut: seen.filter(e => {
      const { left, right } = e.getBoundingClientRect();
      return Math.max(right, left + e.scrollWidth) > width + 1;
    }),
    scrolls: seen.filter(e => getComputedStyle(e).overflowX !== 'visible'
      && e.scrollWidth > e.clientWidth + 1),
    hidden: all.filter(e => e.matches('pre, td, figure, figcaption, p, li')
      && e.textContent.trim() && !e.closest('summary, .book-live, .downloads')
      && !e.checkVisibility({ opacityProperty: true, visibilityProperty: true })),
    controls: seen.filter(e => e.matches('button, input, select')),
  };
  return Object.entries(faults).flatMap(([fault, found]) =>
    found.map(e => `${fault}: ${e.tagName} ${e.textContent.trim().slice(0, 60)}`));
}"""

PLANTED = """() => document.querySelector('article').insertAdjacentHTML('beforeend', `
  <p style="width: 2000px">wide</p>
  <pre style="white-space: pre !important">long${'_'.repeat(200)}</pre>
  <div style="overflow: auto; width: 50px"><p style="width: 60px">scrolled</p></div>
  <p style="display: none">closed</p><button>pressed</button>`)"""


@pytest.fixture
def paper(browser):
    """Opens a page, chosen to be dark, as it is when it is printed."""
    tab = browser.new_page(viewport={"width": WIDTH, "height": 1000})

    def turn(page):
        tab.goto((HTML / f"{page}.html").as_uri())
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        tab.emulate_media(media="print")
        return tab

    yield turn
    tab.close()


def test_every_page_has_a_pdf_of_its_own():
    names = [pdf.file_name(page) for page in PAGES]
    assert len(set(names)) == len(PAGES)
    assert "first_pinn.pdf" in names


def test_all_of_a_page_fits_on_paper_and_nothing_waits_for_a_click(paper, page):
    tab = paper(page)
    assert tab.evaluate(FAULTS, WIDTH) == []
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"


def test_what_would_be_lost_on_paper_is_noticed(paper):
    tab = paper(PRINTED[0])
    tab.evaluate(PLANTED)
    found = " ".join(tab.evaluate(FAULTS, WIDTH))
    for fault in (
        "cut: P wide",
        "cut: PRE long",
        "scrolls: DIV scrolled",
        "hidden: P closed",
        "controls: BUTTON",
    ):
        assert fault in found


def test_after_printing_the_page_is_as_it_was(paper):
    tab = paper(PRINTED[1])
    assert tab.locator("details:not([open])").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details:not([open])").count() > 3
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.fixture(scope="module")
def printed(browser, tmp_path_factory):
    """Some pages, and the book of them, made like those of `make pdf`; and what was printed."""
    folder = tmp_path_factory.mktemp("pdf")
    pages = [pdf.print_page(browser, name, folder) for name in PRINTED]
    pdf.bind(pages, folder / pdf.WHOLE)
    for page in pages:
        pdf.finish(page, {*PRINTED})
    return pages, PdfReader(folder / pdf.WHOLE)


def unspaced(text):
    """A text without blanks and ligatures, which are a matter of taste in a PDF."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def words(reader):
    return unspaced("".join(sheet.extract_text() for sheet in reader.pages))


def links(reader):
    """Sheet on which each link stands, the address and the sheet to which it leads."""
    numbers = {sheet.indirect_reference.idnum: n for n, sheet in enumerate(reader.pages)}
    for here, sheet in enumerate(reader.pages):
        for link in (a.get_object() for a in sheet.get("/Annots", [])):
            there = link.get("/Dest")
            yield (
                here,
                str(link.get("/A", {}).get("/URI", "")),
                numbers[list.__getitem__(there, 0).idnum] if isinstance(there, list) else None,
            )


def test_a_page_of_the_book_is_a_pdf(printed):
    pages, _ = printed
    for page in pages:
        reader = PdfReader(page.file)
        text = words(reader)
        assert 1 < len(reader.pages) < 40
        assert all(unspaced(heading) in text for _, heading, _ in page.headings[1:])
        assert not re.findall(r"\{(?:glue|cite|doc|numref)|:::|```|</?\w+>", text)
        assert not any(address.startswith("file:") for _, address, _ in links(reader))
        assert [item.title for item in reader.outline if not isinstance(item, list)] == [
            page.headings[0][1]  # and below it the others
        ]
    addresses = {address for _, address, _ in links(PdfReader(pages[0].file))}
    assert "first_pinn.pdf" in addresses


def test_folded_code_solutions_and_figures_are_printed(printed):
    pages, _ = printed
    reader = PdfReader(pages[2].file)
    text = words(reader)
    assert "plt.subplots(" in text
    assert "record(" in text
    assert "SolutiontoExercise" in text
    assert len([image for sheet in reader.pages for image in sheet.images]) >= 2
    figures = {n for n in re.findall(r"Fig\.(\d+\.\d+)", text)}
    assert len(figures) >= 5


def test_links_of_the_bound_book_lead_to_its_own_sheets(printed):
    pages, reader = printed
    assert len(reader.pages) == sum(page.sheets for page in pages)
    assert [item.title for item in reader.outline if not isinstance(item, list)] == [
        page.headings[0][1] for page in pages
    ]
    assert not any(address.startswith("file:") for _, address, _ in links(reader))
    start = pages[0].sheets
    across = {there for here, _, there in links(reader) if here < start and there is not None}
    assert start + pages[1].sheets in across  # from the first page to the start of the third
    number, _ = pages[2].find("results")
    own = {there for here, _, there in links(reader) if here == start + pages[1].sheets}
    assert start + pages[1].sheets + number in own  # and not to another page's results


def test_links_lead_to_the_published_book_if_it_is_published(printed, tmp_path, monkeypatch):
    monkeypatch.setenv("OPIFEX_SITE", "https://book.example/")
    link = {"/A": {"/URI": (HTML / "notebooks/first_pinn.html").as_uri() + "#results"}}
    pdf.lead_out(link, *pdf.local_target(link), instead="first_pinn.pdf")
    assert link["/A"]["/URI"] == "https://book.example/notebooks/first_pinn.html#results"


@pytest.mark.parametrize(
    "button",
    [
        '<button onclick="window.print()"\n  class="btn">\n<span>.pdf</span>\n</button>',
        '<button type="button" onclick="window.print()">print</button>',
    ],
)
def test_a_page_offers_its_pdf_where_it_offered_to_print(button, monkeypatch, tmp_path):
    monkeypatch.setattr(pdf, "HTML", tmp_path)
    page = tmp_path / "notebooks" / "tiny.html"
    page.parent.mkdir()
    page.write_text(f"<p>Before. {button} <button>After</button></p>", encoding="utf-8")
    pdf.offer(page, "tiny.pdf")
    text = page.read_text(encoding="utf-8")
    assert '<a href="../pdf/tiny.pdf">PDF</a>' in text
    assert '<a href="../pdf/opifex_tutorials.pdf">' in text
    assert "print()" not in text
    assert "<button>After</button>" in text


def test_the_book_is_bound_in_reading_order():
    assert list(pdf.reading_order()) == PAGES
    sections = {"root": "a", "parts": [{"chapters": [{"file": "b", "sections": [{"file": "c"}]}]}]}
    assert list(pdf.reading_order(sections)) == ["a", "b", "c"]


def test_without_a_browser_the_command_says_what_it_needs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(pdf, "PDF", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert pdf.main() == 1
    assert "Debian: apt-get install chromium" in capsys.readouterr().err
