"""MyST Markdown made into Markdown that any notebook viewer reads, nothing left to resolve.

Numbers, titles and addresses come from the rendered book, so that a notebook says what its page
says. Markup that is not known here stops the build: who brings a new role or directive says here
how it reads without MyST.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pybtex.database import Entry, parse_file
from pybtex.plugin import find_plugin
from sphinx.util.inventory import InventoryFile


class MarkupError(Exception):
    """Markup for which there is no plain form, or a reference that leads nowhere."""


# --- what the rendered book knows: titles, numbers, addresses ---

#: Where a page prints the number of a figure or table, an equation, an exercise: id and number.
_NUMBERED = [
    r'class="caption-number">(?P<number>[^<]+)</span>(?:(?!</figcaption>|</caption>|</p>).)*?'
    r'<a class="headerlink" href="#(?P<id>[^"]+)"',
    r'class="eqno">(?P<number>\([^<]+\))<a class="headerlink" href="#equation-(?P<id>[^"]+)"',
    r'<div class="[^"]*admonition[^"]*" id="(?P<id>[^"]+)">\s*<p class="admonition-title">'
    r'<span class="caption-number">(?P<number>[^<]+)</span>',
]


class Book:
    """References into the rendered book.

    Args:
        folder: the rendered pages.
        address: where they are published, without a slash at the end; if empty, references are not
            links, because a notebook that was downloaded cannot know where its book lies.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        with (folder / "objects.inv").open("rb") as file:
            self._inventory = InventoryFile.load(file, "", posixpath.join)
        self._numbers: dict[str, dict[str, str]] = {}

    def link(self, text: str, target: str) -> str:
        """Return ``text`` as a link to an address inside the book."""
        return f"[{text}]({self.address}/{target})" if self.address else text

    def find(self, kind: str, name: str) -> tuple[str, str]:
        """Return address and title of an object of the book, such as a ``std:label``.

        A kind that is only a domain, such as ``py:``, finds objects of any kind in it.
        """
        kinds = [objects for key, objects in self._inventory.items() if key.startswith(kind)]
        found = [o[name] for o in kinds if name in o]
        found += [o[key] for o in kinds for key in o if key.casefold() == name.casefold()]
        if not found:
            raise MarkupError(f"the book has no {kind} {name!r}")
        _, _, address, title = found[0]
        return address, name if title == "-" else title

    def number(self, page: str, name: str) -> str | None:
        """Return the number that a page prints beside an element, such as ``Fig. 2.1``."""
        if page not in self._numbers:
            text = (self.folder / page).read_text(encoding="utf-8")
            found = [m for pattern in _NUMBERED for m in re.finditer(pattern, text, re.DOTALL)]
            self._numbers[page] = {m["id"]: m["number"].strip() for m in found}
        return self._numbers[page].get(name)


class Library:
    """The bibliography, cited by author and year."""

    def __init__(self, file: Path) -> None:
        self._data = parse_file(str(file))
        self._style = find_plugin("pybtex.style.formatting", "plain")()
        self._markdown = find_plugin("pybtex.backends", "markdown")()

    def cite(self, key: str) -> tuple[str, str]:
        """Return authors and year of one entry."""
        if key not in self._data.entries:
            raise MarkupError(f"no entry {key!r} in the bibliography")
        entry = self._data.entries[key]
        same = [k for k, other in self._data.entries.items() if _mark(other) == _mark(entry)]
        letter = "abcdefgh"[same.index(key)] if len(same) > 1 else ""
        authors, year = _mark(entry)
        return authors, year + letter

    def references(self, keys: list[str]) -> str:
        """Return a Markdown list of the entries, by author and year."""
        lines = []
        for entry in self._style.format_bibliography(self._data, keys):
            text = " ".join(entry.text.render(self._markdown).split())
            text = re.sub(r"\\([.:()-])", r"\1", text)  # escapes that Markdown does not need
            text = re.sub(r"\$.+?\$", lambda m: re.sub(r"\\(\W|_)", r"\1", m[0]), text)  # formulas
            authors, year = self.cite(entry.key)
            lines.append(f"- **{authors} ({year}).** {text}")
        return "\n".join(sorted(lines))


def _mark(entry: Entry) -> tuple[str, str]:
    people = entry.persons.get("author", entry.persons.get("editor", []))
    names = [" ".join(map(str, [*p.rich_prelast_names, *p.rich_last_names])) for p in people]
    match names:
        case []:
            authors = str(entry.rich_fields["title"])
        case [one]:
            authors = one
        case [one, other]:
            authors = f"{one} and {other}"
        case [first, *_]:
            authors = f"{first} et al."
    return authors, entry.fields.get("year", "n.d.")


# --- one chapter ---

_FENCE = re.compile(
    r"(?P<indent> *)(?P<sign>`{3,}|~{3,}|:{3,})(?:\{(?P<name>[^}]+)\})?(?P<rest>.*)"
)
_ROLE_OR_CODE = re.compile(
    r"\{(?P<role>[a-z][\w:.+-]*)\}(?P<tick>`+)(?P<text>.+?)(?<!`)(?P=tick)(?!`)"
    r"|(?P<sign>`+)(?!`)(?:.+?)(?<!`)(?P=sign)(?!`)",
    re.DOTALL,
)
_ADMONITIONS = {"note", "tip", "warning", "important", "seealso", "hint", "caution", "attention"}
_ADMONITIONS |= {"danger", "error", "margin", "sidebar", "admonition", "dropdown", "card"}
_THEOREMS = {"theorem", "proof", "lemma", "definition", "proposition", "corollary", "remark"}
_THEOREMS |= {"algorithm", "example", "property", "assumption", "conjecture", "axiom"}
# A solution that is folded. Blank lines let Markdown begin again inside of HTML.
_OPENING, _CLOSING = "<details><summary>{}</summary>\n\n", "\n\n</details>\n"
_EMPTY = re.compile(r"<details><summary>[^<\n]*</summary>\s*</details>\n?")
#: What a notebook has no use for.
_DROPPED = {"raw", "index", "contents", "tableofcontents", "figure-md"}


@dataclass
class Directive:
    """One directive: what stands behind its name, its options and what it holds."""

    name: str
    argument: str
    options: dict[str, str]
    body: str


@dataclass
class Chapter:
    """The prose of one chapter, cell by cell; its state is what one cell leaves for the next.

    Attributes:
        page: its place in the book, such as ``notebooks/first_pinn``.
        book: what references lead to.
        library: what citations lead to.
        values: every result of the book, by key.
        picture: makes an image file (relative to the page) into a Markdown image of a notebook.
        cited: keys that were cited so far.
        solves: the exercise whose solution is open.
    """

    page: str
    book: Book
    library: Library
    values: Mapping[str, float]
    picture: Callable[[str, str], str]
    cited: list[str] = field(default_factory=list)
    solves: str = ""

    def convert(self, source: str) -> str:
        """Return one Markdown cell without MyST."""
        continued = self.solves
        parts = [_OPENING.format(f"{continued}, continued")] if continued else []
        parts += list(self._blocks(source))
        if self.solves:
            parts.append(_CLOSING)
            if not continued:
                parts.append(f"*{self.solves}: its code is in the folded cells below.*")
        text = _EMPTY.sub("", "\n".join(parts))
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    def caption(self, name: str, caption: str) -> str:
        """Return the caption of a figure of this chapter as a paragraph."""
        number = f"**{self._number_of(name)}.** " if name else ""
        return number + self._prose(caption).strip()

    # blocks

    def _blocks(self, source: str) -> Iterator[str]:
        """Split a text at its fences, convert what lies between and what they hold."""
        lines = source.split("\n")
        prose: list[str] = []
        while lines:
            line = lines.pop(0)
            fence = _FENCE.fullmatch(line)
            if fence is None:
                prose.append(line)
                continue
            yield self._prose("\n".join(prose))
            prose, body = [], []
            closing = re.compile(rf" *{fence['sign'][0]}{{{len(fence['sign'])},}} *")
            while lines and not closing.fullmatch(lines[0]):
                body.append(lines.pop(0).removeprefix(fence["indent"]))
            if not lines:
                raise MarkupError(f"the fence {line.strip()!r} is not closed")
            lines.pop(0)
            if fence["name"]:
                block = self._directive(_parse(fence["name"], fence["rest"], body))
            elif fence["sign"][0] == ":":
                block = "\n".join(self._blocks("\n".join(body)))
            else:
                block = "\n".join([line.strip(), *body, fence["sign"]])
            yield re.sub(r"(?m)^(?=.)", fence["indent"], block)
        yield self._prose("\n".join(prose))

    def _directive(self, d: Directive) -> str:
        name = d.name.removeprefix("prf:")
        title = self._prose(d.argument)
        inside = "\n".join(self._blocks(d.body)).strip() if d.name not in _LITERAL else d.body
        match name:
            case "list-table":
                return self._table(d)
            case "exercise":
                number = self._number_of(d.options["label"])
                return f"### {number}{title and f': {title}'}\n\n{inside}"
            case "solution-start":
                self.solves = f"Solution of {self._number_of(d.argument)}"
                return _OPENING.format(self.solves)
            case "solution-end":
                self.solves = ""
                return _CLOSING
            case "solution":
                opening = _OPENING.format(f"Solution of {self._number_of(d.argument)}")
                return f"{opening}{inside}{_CLOSING}"
            case "math":
                return self._formula(d.body, d.options.get("label"))
            case "mermaid":  # which JupyterLab, GitHub and VS Code draw
                return f"```mermaid\n{d.body}\n```"
            case "code" | "code-block" | "code-cell":
                return f"```{d.argument}\n{d.body}\n```"
            case "image" | "figure":
                picture = self.picture(d.argument, d.options.get("alt", ""))
                name = d.options.get("name", "")
                number = f"**{self._number_of(name)}.** " if name else ""
                return f"{picture}\n\n{number}{inside}" if inside else picture
            case "tab-set" | "grid":
                return inside
            case "tab-item" | "grid-item-card":
                return f"**{title}**\n\n{inside}"
            case _ if name in _THEOREMS:
                known = self.book.number(f"{self.page}.html", d.options.get("label", ""))
                return f"**{known or name.capitalize()}{title and f' ({title})'}.** {inside}"
            case _ if name in _ADMONITIONS:
                named = {"seealso": "See also"}.get(name, name.capitalize())
                if name in ("admonition", "dropdown", "sidebar", "card") and title:
                    named, title = title, ""
                body = "\n\n".join(filter(None, [f"**{named}**", title, inside]))
                return re.sub(r"(?m)^", "> ", body).replace("> \n", ">\n")
            case _ if name in _DROPPED:
                return ""
        raise MarkupError(f"the directive {d.name!r} has no plain form (tools/plain_markdown.py)")

    def _table(self, d: Directive) -> str:
        rows: list[list[str]] = []
        for line in d.body.split("\n"):
            item = re.fullmatch(r"(\* -| {2}-) ?(.*)", line)
            if item is None and line.strip():
                rows[-1][-1] += " " + line.strip()
            elif item is not None:
                if item[1].startswith("*"):
                    rows.append([])
                rows[-1].append(item[2])
        if int(d.options.get("header-rows", 0)) != 1:
            rows.insert(0, [""] * len(rows[0]))  # a pipe table must have a head
        cells = [[self._prose(cell).replace("|", r"\|") for cell in row] for row in rows]
        lines = [f"| {' | '.join(row)} |" for row in cells]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        head = [f"**{self._prose(d.argument)}**", ""] if d.argument else []
        return "\n".join([*head, *lines])

    def _formula(self, formula: str, label: str | None) -> str:
        number = self.book.number(f"{self.page}.html", label) if label else None
        tag = rf" \tag{{{number.strip('()')}}}" if number else ""
        return f"$$\n{formula.strip()}{tag}\n$$"

    # lines and words

    def _prose(self, text: str) -> str:
        text = re.sub(
            r"(?m)^(%.*|\+\+\+.*|\([\w:.-]+\)=)\n?", "", text
        )  # comments, breaks, targets
        text = re.sub(
            r"(?ms)^\$\$(?P<formula>.*?)\$\$ *\((?P<label>[\w:.-]+)\)",
            lambda m: self._formula(m["formula"], m["label"]),
            text,
        )
        # A list of definitions becomes a list of items.
        text = re.sub(r"(?m)^(?![-*#>|: ])(.+)\n+: +(?=\S)", _item, text)
        return _ROLE_OR_CODE.sub(self._role_or_code, text)

    def _role_or_code(self, found: re.Match[str]) -> str:
        if found["role"] is None:
            return found[0]
        text = " ".join(found["text"].split())
        explicit = re.fullmatch(r"(.+?)\s*<([^<>]+)>", text)
        return self._role(found["role"], text, *(explicit.groups() if explicit else ("", text)))

    def _role(self, role: str, text: str, title: str, target: str) -> str:
        if role.startswith("glue"):
            return self._glue(text)
        if role.startswith("cite"):
            return self._citation(role, text)
        if role.startswith("py:"):
            name = target.lstrip("~!.")
            address, _ = self.book.find("py:", name)
            short = name.rpartition(".")[2] if target.startswith("~") else name
            return self.book.link(f"`{title or short}`", address)
        match role:
            case "doc":
                folder = posixpath.dirname(self.page)
                page = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
                address, name = self.book.find("std:doc", page)
                shown = title or name
                return self.book.link(shown, address) if self.book.address else f"*{shown}*"
            case "numref" | "ref" | "prf:ref" | "eq":
                return self._reference(role, title, target)
            case "term":
                address, _ = self.book.find("std:term", target)
                return self.book.link(title or target, address)
            case "download":
                return self.book.link(title or posixpath.basename(target), self._file(target))
            case "index" | "abbr":
                return title or target
            case "math":
                return f"${text}$"
            case "sub" | "sup" | "kbd":
                return f"<{role}>{text}</{role}>"
        raise MarkupError(f"the role {role!r} has no plain form (tools/plain_markdown.py)")

    def _glue(self, text: str) -> str:
        _, _, key_and_format = text.rpartition("::")
        key, _, form = key_and_format.partition(":")
        if key not in self.values:
            raise MarkupError(f"nothing was recorded as {key!r}")
        return format(self.values[key], form)

    def _citation(self, role: str, text: str) -> str:
        keys = [key.strip() for key in text.split(",")]
        self.cited += [key for key in keys if key not in self.cited]
        works = [self.library.cite(key) for key in keys]
        if role.startswith("cite:t"):
            return ", ".join(f"{authors} ({year})" for authors, year in works)
        return f"({'; '.join(f'{authors}, {year}' for authors, year in works)})"

    def _reference(self, role: str, title: str, target: str) -> str:
        if role == "eq":
            address = f"{self.page}.html#equation-{target}"
            number = self.book.number(f"{self.page}.html", target)
        else:
            address, name = self.book.find("std:label", target)
            number = self.book.number(*_split(address))
            if number is None and role == "ref":
                number = name
        if number is None:
            raise MarkupError(f"the book prints no number for {target!r}")
        digits = re.sub(r"^\D*", "", number).strip("()")
        shown = re.sub(r"%s|\{number\}", digits, title) if title else number
        return self.book.link(shown, address)

    def _number_of(self, label: str) -> str:
        """Return what the page of this chapter calls a figure or an exercise, written out."""
        number = self.book.number(f"{self.page}.html", label)
        if number is None:
            raise MarkupError(f"the page {self.page} prints no number for {label!r}")
        return number.replace("Fig.", "Figure")

    def _file(self, target: str) -> str:
        """Return the address of a file that this page offers."""
        name = re.escape(posixpath.basename(target))
        text = (self.book.folder / f"{self.page}.html").read_text(encoding="utf-8")
        found = re.search(rf'href="([^"]*_downloads/[^"]*/{name})"', text)
        if found is None:
            raise MarkupError(f"the page {self.page} does not offer {target!r}")
        folder = posixpath.dirname(self.page)
        return posixpath.normpath(posixpath.join(folder, html.unescape(found[1])))


#: Directives whose body is not Markdown.
_LITERAL = {"list-table", "math", "mermaid", "code", "code-block", "code-cell", *_DROPPED}


def _parse(name: str, argument: str, lines: list[str]) -> Directive:
    options: dict[str, str] = {}
    if lines and lines[0].strip() == "---":
        end = lines.index("---", 1)
        options = {k: str(v) for k, v in yaml.safe_load("\n".join(lines[1:end])).items()}
        lines = lines[end + 1 :]
    while lines and (option := re.fullmatch(r":([\w-]+):(.*)", lines[0])):
        options[option[1]] = option[2].strip()
        lines = lines[1:]
    return Directive(name, argument.strip(), options, "\n".join(lines).strip("\n"))


def _item(found: re.Match[str]) -> str:
    term = found[1] if "**" in found[1] else f"**{found[1]}**"
    return f"- {term}: "


def _split(address: str) -> tuple[str, str]:
    page, _, anchor = address.partition("#")
    return page, anchor.removeprefix("equation-")
