"""Turns a model's Markdown into Slack's Markdown, in which nothing that a model writes can ping anybody or disguise a link.

Slack reads its own `<…>` (`<!channel>`, `<@U…>`, `<https://evil|bank.com>`) inside Markdown too. An escaped bracket is shown as
itself and acts no more, in code as well. The rest is Slack's work: it knows headings, lists, tables and fences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapters.base import Button, clean

MAX_CHARS = 11_900  # Slack takes 12,000 characters of Markdown in a message (markdown block); some are kept for the escapes
_MOST_NOTICE = 3_000  # characters of the text beside the blocks, which notifications and screen readers show
_MOST_SECTION = 2_900  # of a section block's text (3,000)
_MOST_VALUE = 2_000  # of a button (block kit, button element)
_MOST_LABEL = 75
ACTION = "boswell:"

_ENTITY = re.compile(r"&(?=(?:amp|lt|gt);)")
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}\Z")
_CLOSED = re.compile(r"\[(?:[^\[\]\n\\]|\\.|\[[^\[\]\n]*\])*\](.)")
_LEADING = re.compile(r"[ \t>*+-]{0,12}\[")
_DEFINITION = re.compile(r"^([ \t>*+-]{0,12})\[(?=[^\]\n]{1,200}\]:)", re.MULTILINE)
# One level of brackets inside either part; what is nested deeper shows its address by not being a link for this.
_LINK = re.compile(
    r"(!?)\[((?:[^\[\]\n\\]|\\.|\[[^\[\]\n]*\]){0,1000})\]\(\s*<?((?:[^()\s<>]|\([^()\s<>]*\)){1,2000})>?[^()\n]{0,300}\)"
)
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?/{0,2}(?:[^\s/@]*@)?((?:[\w-]+\.)+[a-z]{2,}|(?:\d{1,3}\.){3}\d{1,3})",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//(?:[^/?#@]*@)?([^/?#:]+)", re.IGNORECASE)
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff*_~`\\]")


def length(text: str) -> int:
    """At most how long `text` gets in Slack's Markdown, in UTF-16 units."""
    units = len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
    return units + 3 * text.count("<") + 4 * text.count("&") + text.count("]:")


def markdown(text: str) -> str:
    """`text` (Markdown) as Slack's Markdown. Every addition at the end of `text` is, but for `unsettled`, one of the result."""
    text = clean(text)
    text = _DEFINITION.sub(r"\1\\[", text)  # a link by reference has its address somewhere else
    text = _LINK.sub(_honest, text)
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;")


def settled(text: str) -> str:
    """The part of a growing `text` whose rendering no later word can change."""
    if entity := _HALF_ENTITY.search(text):
        text = text[: entity.start()]
    line = text.rfind("\n") + 1
    opening = _LEADING.match(text, line)
    if opening and text.find("]", opening.end()) in (-1, len(text) - 1):
        return text[: opening.end() - 1]
    for bracket in re.finditer(r"!?\[", text[line:]):
        start = line + bracket.start()
        if _LINK.match(text, start):
            continue
        closing = _CLOSED.match(text, line + bracket.end() - 1)
        if closing is None or closing[1] == "(":
            return text[:start]
    return text.removesuffix("!")


def _honest(link: re.Match[str]) -> str:
    """The link, or, where its label looks like another address, both in plain sight."""
    _, label, target = link.groups()
    shown = _ADDRESS.search(_INVISIBLE.sub("", label))
    host = _HOST.match(target)
    real = host[1].lower() if host else target.lower()
    if shown is None or _bare(shown[1]) == _bare(real):
        return link[0]
    return f"{label} ({target})"


def _bare(host: str) -> str:
    return host.lower().removeprefix("www.")


def plain(text: str, most: int) -> str:
    """The first `most` characters of `text` as a message's own text, where Slack reads entities."""
    escaped = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped if len(escaped) <= most else _HALF_ENTITY.sub("", escaped[: most - 1]) + "…"


def content(text: str, buttons: Sequence[Button] = ()) -> dict[str, Any]:
    """The arguments of a message that shows `text` and has `buttons` below it."""
    blocks: list[dict[str, Any]] = [{"type": "markdown", "text": markdown(text)}]
    return {"text": plain(text, _MOST_NOTICE), "blocks": [*blocks, *_rows(buttons)]}


def plain_content(text: str, buttons: Sequence[Button] = ()) -> dict[str, Any]:
    """The same without formatting, for what Slack would not take as Markdown."""
    text = clean(text)
    pieces = [text[at : at + _MOST_SECTION] for at in range(0, len(text), _MOST_SECTION)]
    sections = [
        {"type": "section", "text": {"type": "plain_text", "text": piece, "emoji": False}}
        for piece in pieces
        if piece.strip()
    ]
    return {"text": plain(text, _MOST_NOTICE), "blocks": [*sections, *_rows(buttons)]}


def _rows(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    return [_row(buttons)] if buttons else []


def _row(buttons: Sequence[Button]) -> dict[str, Any]:
    return {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": f"{ACTION}{number}",
                "text": {"type": "plain_text", "text": button.label[:_MOST_LABEL]},
                "value": button.command[:_MOST_VALUE],
            }
            for number, button in enumerate(buttons)
        ],
    }
