"""What each page of the rendered book costs its reader: bytes, requests, seconds.

``python -m tools.weigh`` prints the table; the tests of the rendered book hold the limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tools.browser import chromium, served

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
READY = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


class Weight(NamedTuple):
    """Of a page with all that it loads, for a reader who comes for the first time.

    Bytes are those of the files: what a server compresses is a quarter of that. Seconds are until
    something can be read, and until scripts have run, formulas set included.
    """

    bytes: int
    requests: int
    painted: float
    ready: float


def weigh(browser: Any, address: str) -> Weight:
    """Load one page in a fresh context, so that nothing comes from a cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        tab = context.new_page()
        responses: list[Any] = []
        tab.on("response", lambda response: responses.append(response))
        tab.goto(address, wait_until="load")
        return weight(tab, responses)
    finally:
        context.close()


def weight(tab: Any, responses: list[Any]) -> Weight:
    """Return what a page weighs that was loaded with these responses, once nothing more comes."""
    tab.wait_for_load_state("networkidle")
    sizes = [len(response.body()) for response in responses if response.ok]
    painted, ready = (tab.evaluate(f"() => {t}") / 1000 for t in (PAINTED, READY))
    return Weight(sum(sizes), len(responses), painted, ready)


def main() -> None:
    """Print one line for each page, the heaviest first."""
    html = Path(__file__).resolve().parent.parent / "_build" / "html"
    pages = [p for folder in ("book", "notebooks") for p in (html / folder).rglob("*.html")]
    pages += [html / "genindex.html", html / "search.html"]
    with chromium() as browser, served(html) as site:
        names = [page.relative_to(html).as_posix() for page in pages]
        rows = {name: weigh(browser, f"{site}/{name}") for name in names}
    print(f"{'page':45}{'kB':>8}{'requests':>10}{'painted, s':>12}{'ready, s':>10}")
    for name, w in sorted(rows.items(), key=lambda row: -row[1].bytes):
        print(f"{name:45}{w.bytes / 1000:8.0f}{w.requests:10}{w.painted:12.2f}{w.ready:10.2f}")


if __name__ == "__main__":
    main()
