"""Turns a model's Markdown into Discord's, and loses nothing of what the model wrote.

Discord reads Markdown itself, its own way. What it reads otherwise than a model means it is put into other words: tables become
blocks of code, deep headings shallow ones; what would hide text (`||`), quote all that follows (`>>>`), mention somebody or
pretend to lead elsewhere is taken apart. What stands in code is left as it is.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial

MAX_CHARS = 2000  # of a message's content, in Unicode code points (Discord's API is Python's `len`: api-docs issue 1315)

_ZERO_WIDTH = "\N{ZERO WIDTH SPACE}"
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)

_DELIMITERS = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_CELLS = re.compile(r"(?<!\\)\|")
_EMPHASIS = re.compile(r"(\*\*|__|~~|`)(?=\S)(.+?)(?<=\S)\1")

_PINGS = re.compile(r"@(?=everyone|here)|(?<=<@)(?=[!&]?\d)", re.IGNORECASE)
_STRONG = re.compile(r"(?<![\w\\_])__(?=[^\s_])(.+?)(?<=[^\s_\\])__(?![\w_])")
_SPOILER = re.compile(r"(?<!\\)\|(?=\|)|(?<=\|)\|")
_HEADING = re.compile(r"^( {0,3})#{4,6}(?=[ \t])", re.MULTILINE)
_QUOTE_ALL = re.compile(r"^([ \t]*)(?=>>>[ \t])", re.MULTILINE)
_SUBTEXT = re.compile(r"^([ \t]*)(?=-#[ \t])", re.MULTILINE)
_IMAGE = re.compile(r"!(?=\[[^\]\n]*\]\(<?https?://)")
# One level of brackets inside either part. What begins as code is code; what begins as a link may have code in its words.
_CODE_OR_LINK = re.compile(
    _CODE.pattern + r"|!?\[(?P<label>(?:[^\[\]\n\\]|\\[^\n]|\[[^\[\]\n]*\]){1,1000})\]"
    r"\(\s*<?(?P<url>[a-z][a-z0-9+.-]*://(?:[^\s<>()]|\([^\s<>()]*\)){1,2000})>?[^()\n]{0,300}\)",
    re.DOTALL | re.IGNORECASE,
)
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(?:[^\s/@]*@)?((?:[\w-]+\.)+[^\W\d_]{2,}|(?:\d{1,3}\.){3}\d{1,3})",
    re.IGNORECASE,
)
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff*_~`|\\]")


def render(markdown: str) -> str:
    """The content of a message that shows `markdown`. It may be longer than that, and then than Discord takes."""
    return "".join(_fenced(text) if code else _prose(text) for code, text in _parts(markdown))


def bare(markdown: str) -> str:
    """`markdown` as it is, never longer, but that no link pretends: for what is too long when it is rendered."""
    links = partial(_links, form="{} <{}>")
    return "".join(text if code else links(text) for code, text in _parts(markdown))


def attachment(markdown: str) -> tuple[str, bytes] | None:
    """Name and content of the file that a text should be: one that is a single block of code, too long for a message."""
    parts = [part for part in _parts(markdown.strip()) if part[1].strip()]
    if len(markdown.strip()) <= MAX_CHARS or len(parts) != 1 or not parts[0][0]:
        return None
    first, _, rest = parts[0][1].partition("\n")
    info = first.strip("`~ \t").split()
    ending = _ENDINGS.get(info[0].lower(), "txt") if info else "txt"
    return f"code.{ending}", rest.rstrip().rpartition("\n")[0].encode() + b"\n"


_ENDINGS = {
    "bash": "sh",
    "c": "c",
    "cpp": "cpp",
    "csharp": "cs",
    "css": "css",
    "go": "go",
    "html": "html",
    "java": "java",
    "javascript": "js",
    "js": "js",
    "json": "json",
    "markdown": "md",
    "php": "php",
    "py": "py",
    "python": "py",
    "ruby": "rb",
    "rust": "rs",
    "sh": "sh",
    "sql": "sql",
    "toml": "toml",
    "ts": "ts",
    "typescript": "ts",
    "xml": "xml",
    "yaml": "yaml",
}


def _parts(markdown: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces, in order: (True, a fenced block with its fences) and (False, what is between).

    A fence that nothing closes begins no block: Discord shows it as it stands.
    """
    lines = markdown.splitlines(keepends=True)
    prose: list[str] = []
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at].rstrip("\r\n"))
        end = _closing(lines, at, opening["mark"]) if opening else None
        if end is None:
            prose.append(lines[at])
            at += 1
            continue
        if prose:
            yield False, "".join(prose)
            prose = []
        yield True, "".join(lines[at : end + 1])
        at = end + 1
    if prose:
        yield False, "".join(prose)


def _closing(lines: list[str], start: int, mark: str) -> int | None:
    for at in range(start + 1, len(lines)):
        line = lines[at].strip()
        if len(line) >= len(mark) and not line.strip(mark[0]):
            return at
    return None


def _fenced(block: str) -> str:
    """The block between fences that Discord knows: three backticks, and none inside."""
    first, *body, last = block.splitlines(keepends=True)
    opening = _FENCE.match(first.rstrip("\r\n"))
    if opening is None or not body:
        return block
    info = opening["info"].strip()
    language = info if _LANGUAGE.fullmatch(info) else ""
    if info and not language:
        body.insert(0, f"{opening['info']}\n")  # more than a language: it may well be code
    inside = "".join(body).replace("```", f"`{_ZERO_WIDTH}`{_ZERO_WIDTH}`")
    newline = last[len(last.rstrip("\r\n")) :]
    return f"{opening['indent']}```{language}\n{inside}{opening['indent']}```{newline}"


def _prose(text: str) -> str:
    return "".join(
        _table(piece) if table else _outside_code(_links(piece), _inline) for table, piece in _tables(text)
    )


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    result, at = [], 0
    for code in _CODE.finditer(text):
        result += [change(text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*result, change(text[at:])])


def _inline(text: str) -> str:
    text = _IMAGE.sub("", text)
    text = _PINGS.sub(lambda match: match[0] + _ZERO_WIDTH, text)
    text = _SPOILER.sub(r"\\|", text)
    text = _STRONG.sub(r"**\1**", text)
    text = _HEADING.sub(r"\1###", text)
    return _SUBTEXT.sub(r"\1\\", _QUOTE_ALL.sub(r"\1\\", text))


def _links(text: str, form: str = "{} (<{}>)") -> str:
    """The text, with links whose words are an address other than where they lead in that form, both to be seen."""

    def honest(found: re.Match[str]) -> str:
        if found["label"] is None:  # code
            return found[0]
        label = unicodedata.normalize("NFKC", _INVISIBLE.sub("", found["label"]))
        named, leads = _HOST.search(label), _HOST.match(found["url"])
        if named is None or (leads is not None and _same(named[1], leads[1])):
            return found[0]
        return form.format(found["label"], found["url"])

    return _CODE_OR_LINK.sub(honest, text)


def _same(one: str, other: str) -> bool:
    return one.lower().removeprefix("www.") == other.lower().removeprefix("www.")


# Tables


def _tables(text: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces: (True, the lines of a table) and (False, what is between)."""
    lines = text.splitlines(keepends=True)
    rest: list[str] = []
    at = 0
    while at < len(lines):
        if not (at + 1 < len(lines) and "|" in lines[at] and _DELIMITERS.match(lines[at + 1].rstrip("\r\n"))):
            rest.append(lines[at])
            at += 1
            continue
        if len(_cells(lines[at])) != len(_cells(lines[at + 1])):
            rest.append(lines[at])
            at += 1
            continue
        table = list(itertools.takewhile(lambda line: "|" in line, lines[at:]))
        if rest:
            yield False, "".join(rest)
            rest = []
        yield True, "".join(table)
        at += len(table)
    if rest:
        yield False, "".join(rest)


def _table(text: str) -> str:
    """The table in a block of code, its columns aligned."""
    lines = text.splitlines()
    rows = [[_plain(cell) for cell in _cells(line)] for line in (lines[0], *lines[2:])]
    count = max(map(len, rows))
    rows = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max(3, *(_width(row[column]) for row in rows)) for column in range(count)]
    aligned = [
        " | ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    aligned.insert(1, "-|-".join("-" * width for width in widths))
    inside = "\n".join(aligned).replace("```", f"`{_ZERO_WIDTH}`{_ZERO_WIDTH}`")
    return f"```\n{inside}\n```" + ("\n" if text.endswith(("\n", "\r")) else "")


def _cells(line: str) -> list[str]:
    line = line.strip()
    line = line.removeprefix("|")
    if line.endswith("|") and not line.endswith("\\|"):
        line = line[:-1]
    return [cell.strip() for cell in _CELLS.split(line)]


def _plain(cell: str) -> str:
    """A cell's words: in a block of code marks would stand as they are."""
    return _EMPHASIS.sub(r"\2", cell).replace("\\|", "|")


def _width(text: str) -> int:
    """Columns that a text takes where all letters are equally wide."""
    return sum(
        0
        if unicodedata.combining(char) or unicodedata.category(char) == "Cf"
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )
