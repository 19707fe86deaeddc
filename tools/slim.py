"""Take out of the rendered book what no page uses: rules, icons, scripts of the theme."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import tinycss2
from fontTools.subset import Options, Subsetter, load_font, save_font
from PIL import Image

#: Draws icons that the style sheets draw as well, in fifty times the bytes.
ICON_SCRIPT = re.compile(r"\s*<script[^>]*/fontawesome\.js[^>]*></script>")
#: What the page of search results needs, but every page loads.
SEARCH = re.compile(r"\s*<script[^>]*/(searchtools|language_data|searchindex)\.js[^>]*></script>")

FIGURE = re.compile(r"<svg[^>]*book-figure.*?</svg>", re.DOTALL)
#: Where Matplotlib writes places, in points, to a millionth.
PLACES = re.compile(r' (?:d|x|y|points)="[^"]*"|translate\([^)]*\)')
#: Many marks of one style, as of a scatter plot, which it then need not say of each.
MARKS = re.compile(r'<use\b[^>]* style="([^"]*)"[^>]*/>(?:<use\b[^>]* style="\1"[^>]*/>){3,}')
PIXELS = re.compile(r"data:image/png;base64,([^\"]*)")


def slim(site: Path) -> None:
    """Make the pages of a rendered book lighter, without a change to what they show."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = ICON_SCRIPT.sub("", text)
        if page.name != "search.html":
            text = SEARCH.sub("", text)
        page.write_text(FIGURE.sub(lambda f: lighter_figure(f[0]), text), encoding="utf-8")
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


def lighter_figure(svg: str) -> str:
    """Write places to a hundredth of a point, images of few colors as such, a style once."""
    svg = PLACES.sub(lambda place: re.sub(r"(\d\.\d\d)\d+", r"\1", place[0]), svg)
    svg = PIXELS.sub(lambda png: f"data:image/png;base64,{_repacked(png[1])}", svg)
    svg = re.sub(r">\n\s*<", "><", svg).replace("></use>", "/>").replace(" xlink:href=", " href=")
    return MARKS.sub(_styled_once, svg)


def _styled_once(marks: re.Match[str]) -> str:
    style = f' style="{marks[1]}"'
    return f"<g{style}>{marks[0].replace(style, '')}</g>"


def _repacked(data: str) -> str:
    """Pack an image of up to 256 colors into a palette, if that helps; no color is lost."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))
    colors, indices = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    if len(colors) > 256:
        return data
    packed = Image.fromarray(indices.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    packed.putpalette(colors.tobytes(), "RGBA")
    made = io.BytesIO()
    packed.save(made, "PNG", optimize=True)
    return min(base64.b64encode(made.getvalue()).decode(), data, key=len)


def words(site: Path) -> set[str]:
    """Every word that a page or a script could have as the name of a class or of an id."""
    found: set[str] = set()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for value in re.findall(r'(?:class|id)=["\']([^"\']*)', text):
            found.update(value.split())
        found |= _in_scripts("".join(re.findall(r"<script.*?</script>", text, re.DOTALL)))
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
    found = re.findall(r':\s*"(\\[0-9a-fA-F]+|[^"\\])"', sheets)
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
