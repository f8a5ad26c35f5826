"""Events as a provider wants to read them: what both wire formats need, and neither provider gives.

What people wrote stays apart from what the program says about it (who speaks, what the room said before, that something is a
summary). The program's part stands in tags of its own, and nobody can write such a tag: its `<` is replaced.
"""

from __future__ import annotations

import hashlib
import json
import re
from html import escape
from typing import Any

from bot.events import Summarised, ToolCall, UserSaid

_OUR_TAGS = re.compile(
    r"<(?=\s*/?\s*(?:message|earlier-in-this-room|summary-of-what-came-before)\b)", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"[a-zA-Z0-9_-]{1,40}")  # OpenAI takes ids of up to 40 characters


def well_formed(text: str) -> str:
    """The text with its surrogate pairs joined and lone surrogates replaced: no provider and no file takes those."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _words(text: str) -> str:
    return _OUR_TAGS.sub("&lt;", well_formed(text)) if "<" in text else well_formed(text)


def user_text(event: UserSaid | Summarised) -> str:
    """A user message's text. Never blank; the same for the same event, so that a provider's prompt cache holds."""
    if isinstance(event, Summarised):
        return f"<summary-of-what-came-before>\n{_words(event.text)}\n</summary-of-what-came-before>"
    text = _words(event.text)
    if not text.strip():
        text = "(an empty message)"
    if event.speaker:
        name = escape(" ".join(_words(event.speaker).split()), quote=True)
        text = f'<message from="{name}">\n{text}\n</message>'
    elif event.context:
        text = f"<message>\n{text}\n</message>"
    if event.context:
        text = f"<earlier-in-this-room>\n{_words(event.context)}\n</earlier-in-this-room>\n{text}"
    return text


def arguments(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as an object; empty if the model wrote something else, which the tool has told it."""
    try:
        value = json.loads(call.arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def call_id(id_: str) -> str:
    """An id that every provider takes: a fallback model reads the ids that another provider made."""
    return (
        id_
        if _IDENTIFIER.fullmatch(id_)
        else "call_" + hashlib.sha256(well_formed(id_).encode()).hexdigest()[:24]
    )


def tool_name(name: str) -> str:
    """A name that every provider takes: one that a model made up must not spoil every later request."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unknown"
