"""What people's folders may hold without stopping anybody: pipes, loops, books in the place of lists."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot import sentences
from memory import facts
from memory.transcripts import Place
from tests.fakes.house import house
from tests.fakes.scripted_model import ScriptedModel

NO_FACTS = sentences.say("facts_none")
NOT_JUST_NOW = sentences.say("facts_failed")


def _large(path: Path) -> None:
    path.write_text("# Facts\n\n" + "- I like tea. (2026-07-14)\n" * 100_000)


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (os.mkfifo, NO_FACTS),
        (Path.mkdir, NO_FACTS),
        (lambda path: path.symlink_to("/nowhere"), NO_FACTS),
        (lambda path: path.symlink_to(path), NOT_JUST_NOW),
        (_large, NOT_JUST_NOW),
    ],
    ids=["pipe", "folder", "link to nowhere", "link to itself", "too large"],
)
async def test_whatever_stands_in_the_place_of_the_facts_people_are_answered(
    tmp_path: Path, put: Callable[[Path], Any], told: str
) -> None:
    async with house(tmp_path, ScriptedModel(lambda _: "heard"), recover=False) as h:
        await h.say("hello")
        await h.settled()
        put(tmp_path / "memory" / "memory-1" / facts.FILE)
        await h.say("and now")
        await h.say("/facts")
        await h.say("/search hello")
        await h.say("again", user="2")
        await h.settled()
        assert h.texts()[1:3] == ["heard", told]
        assert "**You:** hello" in h.texts()[3]
        assert h.texts("2") == ["heard"]


async def test_a_pipe_in_the_place_of_a_day_keeps_nobody_else_from_being_written_down(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(lambda _: "heard")) as h:
        await h.say("hello")
        await h.settled()
        [day] = (tmp_path / "memory" / "memory-1").glob("*.md")
        day.unlink()
        os.mkfifo(day)
        await h.say("into a pipe")
        await h.say("hello", user="2")
        await h.settled()
        assert h.transcript("2") == [("user", "hello"), ("assistant", "heard")]
        day.unlink()
        await h.say("and on")
        await h.parts.journal.flush()
        await h.settled()
        assert [text for role, text in h.transcript() if role == "user"] == ["into a pipe", "and on"]


def test_marks_that_are_repeated_without_end_are_read_in_no_time() -> None:
    """Each takes hours, and holds up everybody, if the time it takes grows with the square of the line."""
    behind = '(2026-01-01 · telegram group 1 "x'
    for line in (
        "- ~~" + "~~ (" * 400_000,
        "- a" + " (2026-" * 200_000 + "01-0x)",
        f"- a {behind * 40_000})",
    ):
        [fact] = facts.parse(line.encode())
        assert fact.text == line.removeprefix("- ")


def test_a_place_with_the_longest_of_titles_is_read_back() -> None:
    place = Place("telegram", "group", "-" + "9" * 60, "\u202e" * 500, "9" * 60)
    line = facts._line("I like tea.", facts.Date(2026, 7, 14), place)
    assert [(one.text, one.place) for one in facts.parse(line.encode())] == [("I like tea.", place)]
