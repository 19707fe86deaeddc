"""The rendered book, which `make test` builds before these tests run."""

import functools
import json
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from tools.browser import chromium, served

ROOT = Path(__file__).parent.parent.parent
HTML = ROOT / "_build" / "html"


def toc_pages():
    """Every page of the book, as its path without a suffix, in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [c for part in toc["parts"] for c in part["chapters"]]
    return [toc["root"], *(e["file"] for c in chapters for e in [c, *c.get("sections", [])])]


PAGES = toc_pages()


@pytest.fixture(scope="module", params=PAGES)
def page(request):
    """One page of the book, by name, for each page; in a module, its tests follow each other."""
    return request.param


@functools.cache
def soup(page):
    """Parse one rendered page."""
    file = HTML / f"{page}.html"
    assert file.exists(), f"{file} does not exist: run `make book` first"
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def anchors(page):
    """Ids on one rendered page."""
    return {element["id"] for element in soup(page).select("[id]")}


@pytest.fixture(scope="session")
def ledger():
    return json.loads((HTML / "ledger.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; a machine without one cannot check the pages, and fails."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def site():
    """Address of the book, served from this machine."""
    with served(HTML) as address:
        yield address
