"""The keeper of the search indexes: what was written is indexed once its person is quiet, and everybody's now and then."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from bot import indexing as indexing_
from bot.indexing import Indexing
from memory import units
from memory.index import Index, IndexStopped
from memory.transcripts import Known, Transcripts, TurnRecord

NOON = 1793707200.0
ANNA = "telegram-1001"


class _Over(Exception):
    pass


@asynccontextmanager
async def keeping(root: Path, quiet: float = 0.0) -> AsyncIterator[Indexing]:
    transcripts = Transcripts(root / "memory")
    indexing = Indexing(Index(root / "index", transcripts), transcripts, ("telegram-", "slack-"), quiet)
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(indexing.run())
            yield indexing
            raise _Over  # noqa: TRY301 - ends the group
    except* _Over:
        pass


def say(root: Path, text: str, user: str = ANNA, day: int = 0) -> None:
    record = TurnRecord(user, NOON + day * 86_400, "UTC", None, (("user", text), ("assistant", "yes")))
    Transcripts(root / "memory").write(record, Known())


def indexed(root: Path, user: str = ANNA) -> list[str]:
    """What the index file holds, whatever the folder does."""
    path = root / "index" / f"{user}.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        return [
            text for (text,) in connection.execute("SELECT text FROM units WHERE role = 'user' ORDER BY id")
        ]


async def test_who_was_written_for_is_indexed_once_they_are_quiet(tmp_path: Path) -> None:
    async with keeping(tmp_path, quiet=0.05) as keeper:
        await keeper.walked()
        say(tmp_path, "zebra")
        keeper.changed(ANNA)
        await keeper.idle()
        assert indexed(tmp_path) == ["zebra"]


async def test_at_the_start_everybody_is_looked_at_and_nobody_of_other_platforms(tmp_path: Path) -> None:
    say(tmp_path, "zebra")
    say(tmp_path, "okapi", "slack-T1-U1")
    say(tmp_path, "hippo", "discord-7")
    async with keeping(tmp_path) as keeper:
        await keeper.walked()
    assert [indexed(tmp_path, user) for user in (ANNA, "slack-T1-U1", "discord-7")] == [
        ["zebra"],
        ["okapi"],
        [],
    ]


async def test_the_index_of_who_has_no_files_any_more_goes(tmp_path: Path) -> None:
    say(tmp_path, "zebra")
    async with keeping(tmp_path) as keeper:
        await keeper.walked()
    assert indexed(tmp_path) == ["zebra"]
    Transcripts(tmp_path / "memory").folder(ANNA).rename(tmp_path / "elsewhere")
    async with keeping(tmp_path) as keeper:
        await keeper.walked()
    assert list((tmp_path / "index").iterdir()) == []


async def test_one_who_can_not_be_indexed_is_in_nobodys_way(tmp_path: Path) -> None:
    say(tmp_path, "zebra")
    say(tmp_path, "okapi", "telegram-1002")
    (tmp_path / "index" / f"{ANNA}.db").mkdir(parents=True)
    async with keeping(tmp_path) as keeper:
        await keeper.walked()
        keeper.changed(ANNA)
        keeper.changed("telegram-1002")
        await keeper.idle()
    assert indexed(tmp_path, "telegram-1002") == ["okapi"]


async def test_to_stop_breaks_off_what_is_being_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(20):
        say(tmp_path, f"zebra {day}", day=day)
    begun, stopped = asyncio.Event(), asyncio.Event()
    loop, read = asyncio.get_running_loop(), units.read

    def slow(path: Path) -> list[units.Unit]:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(stopped.wait(), loop).result(20)
        return read(path)

    monkeypatch.setattr(units, "read", slow)
    monkeypatch.setattr(units, "COMMIT_UNITS", 1)
    index = None
    async with keeping(tmp_path) as keeper:
        index = keeper.index
        await asyncio.wait_for(begun.wait(), 20)
        loop.call_soon(stopped.set)
    assert len(indexed(tmp_path)) <= 2
    with pytest.raises(IndexStopped):
        index.search([ANNA], "zebra")


async def test_everybody_is_looked_at_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing_, "WALK", 0.01)
    async with keeping(tmp_path) as keeper:
        await keeper.walked()
        say(tmp_path, "written by hand")
        await keeper.walked()
        await keeper.walked()
    assert indexed(tmp_path) == ["written by hand"]
