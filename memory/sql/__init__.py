"""Every query of the project, named and described in a .sql file, and the parser that loads them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)


@cache
def queries(file: str = "queries.sql") -> dict[str, str]:
    """Name to SQL text. A name that stands twice is a ValueError."""
    pieces = _NAME.split(resources.files(__name__).joinpath(file).read_text("utf-8"))[1:]
    found: dict[str, str] = {}
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        if name in found:
            raise ValueError(f"{file}: the name {name!r} stands twice; rename one")
        found[name] = text.strip().rstrip(";")
    return found


@cache
def migrations() -> list[tuple[int, str]]:
    """Version number to script, ascending from 1 without a gap."""
    folder = resources.files(__name__).joinpath("migrations")
    scripts = sorted(
        (int(f.name[:4]), f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".sql")
    )
    if [number for number, _ in scripts] != list(range(1, len(scripts) + 1)):
        raise ValueError("migrations must be numbered from 0001 without a gap")
    return scripts


@cache
def index_schema() -> str:
    """The script that makes a person's index."""
    return resources.files(__name__).joinpath("index_schema.sql").read_text("utf-8")
