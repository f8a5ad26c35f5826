"""Turns a model's Markdown into Discord's, and loses nothing of what the model wrote."""

from __future__ import annotations

MAX_CHARS = 2000  # of a message's content, in Unicode code points (Discord's API is Python's `len`: api-docs issue 1315)


def render(markdown: str) -> str:
    """The content of a message that shows `markdown`."""
    return markdown


def attachment(markdown: str) -> tuple[str, bytes] | None:
    """Name and content of the file that a text should be: one that is a single block of code, too long for a message."""
    return None
