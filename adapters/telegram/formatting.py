"""Turns a model's Markdown into Telegram's text with entities, and loses nothing of what the model wrote.

Text with entities is the one form that Telegram's parser can not stumble over. The conversion is telegramify-markdown's; what
it would drop (raw HTML, targets that Telegram does not link, shell dollars) is escaped here before it sees the text.
"""

from __future__ import annotations

import bisect
import ipaddress
import itertools
import logging
import re
from typing import Any, cast
from urllib.parse import urlsplit

import pyromark
from telegramify_markdown.config import RenderConfig
from telegramify_markdown.converter import STANDARD_OPTIONS, convert

MAX_CHARS = 4096  # of a message's text after entities parsing, in UTF-16 code units

_log = logging.getLogger(__name__)


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, in which Telegram counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _look() -> RenderConfig:
    config = RenderConfig.isolated()  # the library's global one is shared, mutable state
    symbols = config.markdown_symbol
    for level in range(1, 7):
        setattr(symbols, f"heading_level_{level}", "")
    symbols.image = ""
    symbols.unordered_list_item = "•"
    symbols.task_completed = "☑"
    symbols.task_uncompleted = "☐"
    config.cite_expandable = False  # what is folded away goes unread
    return config


_LOOK = _look()


def render(markdown: str) -> dict[str, Any]:
    """The `text` and, where there are any, `entities` of a message that shows `markdown`.

    Never raises: what can not be converted, and what would be empty or too long as formatted text, comes back as it was
    written. So the text may still be empty or over `MAX_CHARS`; then it was so from the start.
    """
    try:
        text, entities = convert(_protect(markdown), latex_escape="`" not in markdown, config=_LOOK)
    except Exception:  # noqa: BLE001 - two foreign parsers on hostile text; whatever they trip over, the words must arrive
        _log.warning("a message of %d characters could not be formatted; it goes out plain", len(markdown))
        return {"text": markdown}
    text = text.rstrip()
    length = utf16_length(text)
    if not text or length > MAX_CHARS:
        return {"text": markdown}
    inside = [
        {**entity.to_dict(), "length": min(entity.length, length - entity.offset)}
        for entity in entities
        if entity.offset < length
    ]
    return {"text": text, "entities": inside} if inside else {"text": text}


# What the converter would drop or misread is found with the very parser that it uses, so that both agree on what is code,
# and then escaped in the source. An escape may uncover the next finding (the lines of an HTML block become a paragraph, with
# tags of its own), so this repeats; a text that needs more passes than this is sent plain.
_PASSES = 12
_SUSPICIOUS = re.compile(r"[<\[$]|\|\||```|~~~")
_MATH = re.compile(r"[\\^]")  # without either it is more likely two prices, or shell variables
_DEFINITION = re.compile(rb"^[ \t>*+\-0-9.)]*(\[)((?:[^\]\[\\\n]|\\.)+)\]:", re.MULTILINE)
_FENCE = re.compile(rb"[ \t]*(`{3,}|~{3,})([^\n]*)")
_LANGUAGE = re.compile(rb"\s*[\w+#.-]{0,30}\s*")
_PIPES = re.compile(rb"\|(?=\|)")


def _protect(markdown: str) -> str:
    if not _SUSPICIOUS.search(markdown):
        return markdown
    source = markdown.encode()
    for _ in range(_PASSES):
        insertions = _insertions(source)
        if not insertions:
            return source.decode()
        bounds = [0, *sorted(insertions), len(source)]
        pieces = [source[a:b] for a, b in itertools.pairwise(bounds)]
        source = pieces[0] + b"".join(
            insertions[at] + piece for at, piece in zip(bounds[1:], pieces[1:], strict=False)
        )
    raise ValueError("the text can not be made safe to convert")


def _insertions(source: bytes) -> dict[int, bytes]:
    """What to insert at which byte of `source` to keep what the converter would drop."""
    found: dict[int, bytes] = {}
    code: list[tuple[int, int]] = []
    tables: list[tuple[int, int]] = []
    linked: set[str] = set()
    ranged = pyromark.events_with_range(source.decode(), options=STANDARD_OPTIONS)
    events = [
        (cast("dict[str, Any]", event), place["start"], place["end"])
        for event, place in ranged
        if isinstance(event, dict)
    ]
    for (event, start, end), (following, _, _) in itertools.pairwise([*events, ({}, 0, 0)]):
        # {"Code": …}, or {"Start": {"Link": …}}, or {"Start": "Paragraph"}
        kind, detail = next(iter(event.items()))
        if kind == "Start":
            kind, detail = next(iter(detail.items())) if isinstance(detail, dict) else (detail, None)
        match kind:
            case "Code":
                code.append((start, end))
            case "CodeBlock":
                code.append((start, end))
                fence = _FENCE.match(source, start)
                if fence and (not _LANGUAGE.fullmatch(fence[2]) or ("End" in following and fence[2].strip())):
                    found[fence.end(1)] = b"\n"  # no language, but code that began right at the fence
            case "Table":
                tables.append((start, end))
            case "InlineHtml" | "HtmlBlock":
                found[source.index(b"<", start)] = b"\\"
            case "InlineMath" | "DisplayMath" if not _MATH.search(detail):
                found[start] = found[end - 1] = b"\\"
            case "Link" | "Image":
                if "End" in following or _within(start, tables) or not linkable(detail["dest_url"]):
                    found[start + (kind == "Image")] = b"\\"  # an image is "![": the bracket is what counts
                else:
                    linked.add(detail["id"].casefold())
    return found | _vanishing(source, code, tables, linked)


def _vanishing(
    source: bytes, code: list[tuple[int, int]], tables: list[tuple[int, int]], linked: set[str]
) -> dict[int, bytes]:
    """The same for what leaves no trace in the parser's events, or is taken away before the parser sees it."""
    found: dict[int, bytes] = {}
    for match in _DEFINITION.finditer(source):  # [label]: target, where no link uses the label
        if match[2].decode().casefold() not in linked and not _within(match.start(1), code):
            found[match.start(1)] = b"\\"
    for match in _PIPES.finditer(source):  # the converter takes ||this|| for a spoiler and hides it
        if not _within(match.start(), code):
            found[match.end()] = b" " if _within(match.start(), tables) else b"\\"
    return found


def _within(position: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether one of `ranges` (in order, apart from each other) holds `position`."""
    nearest = bisect.bisect_right(ranges, position, key=lambda bounds: bounds[0]) - 1
    return nearest >= 0 and position < ranges[nearest][1]


def linkable(url: str) -> bool:
    """Whether Telegram makes a link of it. Others it drops in silence, and so would the reader lose the target."""
    if len(url) > 2048 or not url.isprintable() or any(char.isspace() for char in url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host.strip(".")
    return True
