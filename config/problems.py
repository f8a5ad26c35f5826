"""How a mistake in the configuration is told: where it stands, what is wrong, what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str | int, ...]
"""Where a value stands: `("access", "allow", 0)`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` counts from 1, None if it has no line; `key` is dotted, "" for the file as a whole.

    No text here holds a secret: values get in through `shown` alone, those of secret keys never.
    """

    file: str
    line: int | None
    key: str
    what: str
    instead: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        told = ": ".join(part for part in (place, self.key, self.what) if part)
        return f"{told}; {self.instead}" if self.instead else told


class ConfigError(Exception):
    """The configuration can not be used. `problems` holds every mistake found, in the file's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line or 0)
        super().__init__("\n".join(map(str, self.problems)))


def dotted(key: Key) -> str:
    """The key as an operator reads it: `access.allow[0]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in key)
    return "".join(parts).removeprefix(".")


# What tokens and keys look like: a long run of letters and digits, a longer one with hyphens in it that mixes
# cases and digits, a Telegram token. Words, addresses, zones and variables' names do not.
_LIKE_A_SECRET = re.compile(
    r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16,}"
    r"|(?=[\w-]*\d)(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{20,}"
    r"|\d{6,}:[\w-]{8,}",
    re.ASCII,
)


def _may_be_shown(text: str) -> bool:
    return 0 < len(text) <= 100 and text.isprintable() and not _LIKE_A_SECRET.search(text)


def shown(value: object) -> str:
    """A value in quotes; "the value" if it is no short line, or may be a secret in the wrong place."""
    if value == "":
        return "an empty value"
    return f"'{value}'" if isinstance(value, str) and _may_be_shown(value) else "the value"


def printable(name: str) -> str:
    """A key's or a variable's name. Operators type them, so they too may be misplaced secrets."""
    return name if _may_be_shown(name) else "(not shown)"


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that `word` was probably meant to be, however its case; None if none is near."""
    from difflib import get_close_matches  # only a wrong file pays for the import

    by_lower = {option.lower(): option for option in options}
    found = get_close_matches(word.lower()[:100], by_lower, 1)
    return by_lower[found[0]] if found else None
