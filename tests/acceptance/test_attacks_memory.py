"""What people's folders may hold without stopping anybody: pipes, loops, books in the place of lists."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot import sentences
from bot.events import ToolCall, ToolReturned, UserSaid
from bot.indexing import Indexing
from bot.models.base import ModelRequest
from bot.retention import keep_to
from memory import facts
from memory.index import Index
from memory.transcripts import MOST_BYTES, Place, Transcripts
from tests.fakes.house import house
from tests.fakes.scripted_model import ScriptedModel

NO_FACTS = sentences.say("facts_none")
NOT_JUST_NOW = sentences.say("facts_failed")


def tells_history(request: ModelRequest) -> Any:
    """A model that calls the history tool with what it is told, and says what comes of it."""
    last = request.events[-1]
    if isinstance(last, ToolReturned):
        return last.content
    return (
        [ToolCall("c", "history", last.text)] if isinstance(last, UserSaid) and "{" in last.text else "heard"
    )


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


async def test_a_link_that_leads_to_itself_hides_no_day(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(lambda _: "heard")) as h:
        await h.say("hello")
        await h.settled()
        for name in ("memory-1/2026-01-03.md", "memory-2"):
            loop = tmp_path / "memory" / name
            loop.symlink_to(loop)
        await h.say("/history")
        await h.settled()
        assert "**You:** hello" in h.texts()[-1]
        assert [*h.parts.journal.transcripts.people()] == ["memory-1"]


async def test_a_memory_that_can_not_be_looked_through_stops_nothing(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.symlink_to(memory)
    transcripts = Transcripts(memory)
    indexing = Indexing(Index(tmp_path / "index", transcripts), transcripts, ("memory-",), quiet=0)
    async with house(tmp_path, ScriptedModel(lambda _: "heard")) as h, asyncio.timeout(10):
        work = asyncio.create_task(indexing.run())
        await indexing.walked()
        assert not work.done()
        work.cancel()
        await h.parts.filling.everybody()
        await h.say("hello")
        await h.parts.engine.idle()
        await h.parts.delivery.drained()
        assert h.texts() == ["heard"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
async def test_somebodys_folder_that_can_not_be_looked_through_keeps_nobody_elses_old_files(
    tmp_path: Path,
) -> None:
    old = {user: tmp_path / "memory" / f"memory-{user}" / "2001-01-01.md" for user in "123"}
    for path in old.values():
        path.parent.mkdir(parents=True)
        path.write_text("## 10:00:00 UTC\n\n**user:** hi\n\n")
    old["2"].parent.chmod(0)
    memory = {"dir": str(tmp_path / "memory"), "retention_days": 30}
    async with house(tmp_path, ScriptedModel(lambda _: "heard"), memory=memory) as h:
        await keep_to(h.parts.turns)
    old["2"].parent.chmod(0o700)
    assert [user for user, path in old.items() if path.exists()] == ["2"]


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
async def test_a_day_that_can_not_be_read_hides_none_of_the_others(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(tells_history)) as h:
        await h.say("hello")
        await h.settled()
        for day in ("2026-01-01", "2026-01-02"):
            path = tmp_path / "memory" / "memory-1" / f"{day}.md"
            path.write_text(f"## 10:00:00 UTC\n\n**user:** {day}\n\n**assistant:** yes\n\n")
        path.chmod(0)
        loop = path.with_name("2026-01-03.md")
        loop.symlink_to(loop)
        await h.say('{"start": "2026-01-01", "end": "2026-01-03"}')
        await h.settled()
        await h.say("/history 2026-01-02")
        await h.settled()
        assert "**user:** 2026-01-01" in h.texts()[1]
        assert "The transcript of 2026-01-02 can not be read just now." in h.texts()[1]
        assert h.texts()[2].endswith("The transcript of 2026-01-02 can not be read just now.")


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


async def test_a_command_of_any_length_is_answered_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(lambda _: "heard"), recover=False) as h:
        await h.say("hello")
        await h.settled()
        await h.say(f"/search hello{' ' * 200_000}you")
        await h.say(f"/history #{'9' * 5000}")
        await h.settled()
        assert ["**You:** hello" in text for text in h.texts()] == [False, True, True]


async def test_a_file_that_nobody_has_said_is_read_by_nothing_and_hides_none_of_the_others(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, ScriptedModel(tells_history)) as h:
        await h.say("hello")
        await h.settled()
        large = tmp_path / "memory" / "memory-1" / "2026-01-02.md"
        with large.open("wb") as file:  # it takes no room: most of it is a hole
            file.write(b"## 10:00:00 UTC\n\n**user:** hello\n\n")
            file.truncate(MOST_BYTES + 1)
        with capture_logs() as logs:
            await h.say("/search hello")
            await h.settled()  # a command and a message behind it go side by side
            await h.say('{"start": "2026-01-01"}')
            await h.settled()
        assert h.texts()[1].count("**You:** hello") == 1
        assert "**user:** hello" in h.texts()[2]
        assert "The transcript of 2026-01-02 can not be read just now." in h.texts()[2]
        [told] = [one for one in logs if one["event"] == "file_not_indexed"]
        assert told["file"] == "memory-1/2026-01-02.md"
        large.write_text("## 10:00:00 UTC\n\n**user:** hello again\n\n")
        await h.say("/search again")
        await h.settled()
        assert "**You:** hello again" in h.texts()[3]
