"""Whatever stands in the file, an operator reads a list of problems and never a stack trace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from config import Config, ConfigError, load
from config.keys import below, is_section

ENVIRON = {"SET": "some value", "EMPTY": "", "KEY": "k", "SURROGATE": "\udcff"}


def names(section: Any) -> Iterator[str]:
    for name in section.model_fields:
        yield name
        inner = below(section, name)
        if name == "models":
            inner = below(inner, "main")
        if is_section(inner):
            yield from names(inner)


NAMES = sorted(set(names(Config)) | {"main", "tokne", "<<", ""})
REFERENCES = (
    "${SET}",
    "${EMPTY}",
    "${SURROGATE}",
    "${UNSET}",
    "${UNSET:-}",
    "${",
    "$${",
    "file:",
    "file:/",
    "file:${SET}",
)
WORDS = ("main", "openai", "azure", "webhook", "telegram-1", "Europe", "https://[", "1:2", "\ud800", "\0")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(max_size=20),
    st.sampled_from(REFERENCES + WORDS),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner)
    ),
    max_leaves=25,
)


@st.composite
def sections(draw: st.DrawFn, section: Any = Config) -> dict[str, Any]:
    """A configuration that is nearly right: keys where they belong, with anything in them now and then."""
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(list(section.model_fields)), unique=True)):
        inner = below(section, name)
        if name == "models":
            made[name] = draw(
                st.dictionaries(st.sampled_from(["main", "spare"]), sections(below(inner, "main")))
            )
        elif is_section(inner) and draw(st.integers(0, 5)):
            made[name] = draw(sections(inner))
        else:
            made[name] = draw(TREES)
    return made


MARKS = (
    "${",
    ": ",
    "- ",
    "? ",
    "\n  ",
    "&a ",
    "*a",
    "!!set",
    "!x ",
    "%YAML 1.1\n",
    "---\n",
    "...",
    "<<",
    "\\UFFFFFFFF",
)
PIECES = st.sampled_from((*"{}[]:,|>#'\"\\\n\t\r\x85", *MARKS, *REFERENCES, *NAMES))
TEXTS = st.one_of(
    st.text().map(str.encode),
    st.binary(),
    st.lists(PIECES).map(lambda pieces: "".join(pieces).encode()),
    st.one_of(TREES, sections()).map(lambda tree: yaml.safe_dump(tree, allow_unicode=False).encode()),
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(text=TEXTS)
def test_garbage_is_loaded_or_told_in_printable_lines(folder: Path, text: bytes) -> None:
    path = folder / "boswell.yaml"
    path.write_bytes(text)
    try:
        load(path, ENVIRON)
        lines = []
    except ConfigError as exc:
        lines = [str(problem) for problem in exc.problems] or [""]
    for line in lines:
        assert line
        assert line.isprintable()
        assert ENVIRON["SET"] not in line
