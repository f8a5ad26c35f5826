"""Reading what a platform sent, as far as it is alike everywhere: what must be there, and what is told where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Unreadable(Exception):
    """A part that we need is missing or of another type. Names the part, never its content."""


def object_in(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object that must be there."""
    value = parent.get(name)
    if not isinstance(value, Mapping):
        raise Unreadable(f"{name} is missing or no object")
    return value


def told(problem: Exception) -> str:
    """What may be told of why a row could not be read: no other error's words, for they may be the content's."""
    return str(problem) if isinstance(problem, Unreadable) else type(problem).__name__
