"""Take out of the rendered book what no page uses: rules, icons, scripts of the theme."""

from __future__ import annotations

import io
import re
from pathlib import Path

import tinycss2
from fontTools.subset import Options, Subsetter, load_font, save_font

#: Draws icons that the style sheets draw as well, in fifty times the bytes.
ICON_SCRIPT = re.compile(r"\s*<script[^>]*/fontawesome\.js[^>]*></script>")
#: What the page of search results needs, but every page loads.
SEARCH = re.compile(r"\s*<script[^>]*/(searchtools|language_data|searchindex)\.js[^>]*></script>")


def slim(site: Path) -> None:
    """Make the pages of a rendered book lighter, without a change to what they show."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = ICON_SCRIPT.sub("", text)
        if page.name != "search.html":
            text = SEARCH.sub("", text)
        page.write_text(text, encoding="utf-8")
    static = site / "_static"
    for file in [*static.rglob("*.map"), *static.rglob("fontawesome.js*"), *static.rglob("*.ttf")]:
        file.unlink(missing_ok=True)
    known = words(site)
    for sheet in static.rglob("*.css"):
        if sheet.parent.name == "katex":  # its script composes the names of classes
            continue
        sheet.write_text(purge(sheet.read_text(encoding="utf-8"), known), encoding="utf-8")
    icons = _icons("".join(f.read_text(encoding="utf-8") for f in static.rglob("*.css")))
    for font in static.rglob("fa-*.woff2"):
        subset_font(font, icons)


def words(site: Path) -> set[str]:
    """Every word that a page or a script could have as the name of a class or of an id."""
    found: set[str] = set()
    for page in site.rglob("*.html"):
        for value in re.findall(r'(?:class|id)=["\']([^"\']*)', page.read_text(encoding="utf-8")):
            found.update(value.split())
        found |= _in_scripts("".join(re.findall(r"<script.*?</script>", page.read_text(), re.S)))
    for script in site.rglob("*.js"):
        if script.name != "searchindex.js":
            found |= _in_scripts(script.read_text(encoding="utf-8"))
    return found


def _in_scripts(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_][\w-]*", text))


def purge(sheet: str, known: set[str]) -> str:
    """A style sheet without the rules whose classes and ids are all unknown."""
    return "".join(_kept(tinycss2.parse_stylesheet(sheet), known))


def _kept(rules: list[tinycss2.ast.Node], known: set[str]) -> list[str]:
    kept: list[str] = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [s for s in _selectors(rule.prelude) if _possible(s, known)]
            if selectors:
                kept.append(f"{','.join(selectors)}{{{tinycss2.serialize(rule.content)}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if body := "".join(_kept(inner, known)):
                kept.append(f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{body}}}")
        elif rule.type == "comment":
            kept += [rule.serialize()] if rule.value.startswith("!") else []  # a license stays
        else:
            kept.append(rule.serialize())
    return kept


def _selectors(prelude: list[tinycss2.ast.Node]) -> list[str]:
    """Selectors of a rule: what stands between commas (those in brackets are within one token)."""
    parts: list[list[tinycss2.ast.Node]] = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return [tinycss2.serialize(part).strip() for part in parts]


def _possible(selector: str, known: set[str]) -> bool:
    """Whether a page can have what a selector asks for; what stands in brackets does not count."""
    plain = re.sub(r"\[[^\]]*\]|\([^()]*(?:\([^()]*\)[^()]*)*\)", "", selector)
    names = re.findall(r"[.#]((?:\\.|[\w-])+)", plain)
    return all(re.sub(r"\\(.)", r"\1", name) in known for name in names)


def _icons(sheets: str) -> set[int]:
    """Code points of icons that are left in the style sheets."""
    found = re.findall(r'(?:content|--fa):\s*"(\\[0-9a-f]+|[^"\\])"', sheets)
    return {int(c[1:], 16) if c.startswith("\\") else ord(c) for c in found}


def subset_font(font: Path, points: set[int]) -> None:
    """Leave only some characters of a font."""
    options = Options(flavor="woff2", notdef_outline=True)
    loaded = load_font(str(font), options)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=points)
    subsetter.subset(loaded)
    made = io.BytesIO()
    save_font(loaded, made, options)
    font.write_bytes(made.getvalue())
