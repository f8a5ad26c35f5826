"""What is older than `memory.retention_days` is let go of, and nothing else is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.base import Chat, Received
from bot import app
from bot.retention import keep_to
from memory.transcripts import Transcripts
from tests.fakes.house import House, house
from tests.fakes.model_server import Reply
from tests.fakes.running import running
from tests.fakes.scripted_model import ScriptedModel

DAY = 86400.0
GROUP = Chat("memory", "-100", "group", "Book club")


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.at


def count(folder: Path, query: str, *values: Any) -> int:
    with closing(sqlite3.connect(folder / "boswell.db")) as database:
        [(number,)] = database.execute(query, values).fetchall()
    return int(number)


def days(folder: Path, user: str = "1") -> list[str]:
    return [str(day) for day in Transcripts(folder / "memory").dates(f"memory-{user}")]


async def said(h: House, clock: Clock, text: str, user: str = "1", **more: Any) -> None:
    await h.say(text, user=user, at=clock.at, **more)
    await h.settled()


def answer(_: Any) -> str:
    return "an answer"


def kept(folder: Path, clock: Clock, retention: int | None) -> Any:
    return house(
        folder,
        ScriptedModel(answer),
        now=clock,
        memory={"dir": str(folder / "memory"), "retention_days": retention},
        limits={"turns_per_minute": None},
    )


async def test_old_files_and_ended_conversations_go_and_facts_and_open_ones_stay(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock, 10) as h:
        await said(h, clock, "/facts add I like tea")
        await said(h, clock, "of the first day")
        await said(h, clock, "/clear")
        await said(h, clock, "in an open conversation", user="2")
        await said(h, clock, "in the group", chat=GROUP)
        await h.parts.engine.accept([Received("memory:test", "unreadable", None, raw="raw", problem="x")])
        clock.at += 5 * DAY
        await said(h, clock, "of the sixth day")
        await said(h, clock, "/clear")
        clock.at += 5 * DAY
        await keep_to(h.parts.turns)  # exactly ten days later: it is not older
        assert days(tmp_path) == ["2026-11-01", "2026-11-06"]
        clock.at += DAY
        with capture_logs() as logs:
            await keep_to(h.parts.turns)
        assert [line for line in logs if line["event"] == "let_go_of_old"] == [
            {"event": "let_go_of_old", "log_level": "info", "files": 2, "conversations": 1, "events": 0}
        ]
        assert days(tmp_path) == ["2026-11-06"]
        assert days(tmp_path, "2") == []
        assert "I like tea" in (tmp_path / "memory" / "memory-1" / "facts.md").read_text()
        assert not (tmp_path / "memory" / "memory-2").exists()
        assert count(tmp_path, "SELECT count(*) FROM streams WHERE closed_at IS NOT NULL") == 1
        assert count(tmp_path, "SELECT count(*) FROM events WHERE data LIKE '%of the first day%'") == 0
        assert count(tmp_path, "SELECT count(*) FROM events WHERE data LIKE '%of the sixth day%'") == 1
        assert count(tmp_path, "SELECT count(*) FROM events WHERE data LIKE '%in an open conversation%'") == 1
        assert count(tmp_path, "SELECT count(*) FROM room") == 0
        assert count(tmp_path, "SELECT count(*) FROM inbox WHERE state = 'quarantined'") == 0
        with capture_logs() as logs:
            await keep_to(h.parts.turns)
        assert not logs
        # The open conversation goes on with what it was about, and its new file is as any other.
        await said(h, clock, "and on it goes", user="2")
        assert days(tmp_path, "2") == ["2026-11-12"]
        assert "in an open conversation" in str(h.parts.turns.setup.agent.models[0].requests[-1].events)  # type: ignore[attr-defined]


async def test_the_beginning_of_a_conversation_that_ended_lately_goes(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock, 10) as h:
        await said(h, clock, "at the beginning")
        clock.at += 20 * DAY
        await said(h, clock, "at the end")
        await said(h, clock, "/clear")
        await keep_to(h.parts.turns)
        assert count(tmp_path, "SELECT count(*) FROM events WHERE data LIKE '%at the beginning%'") == 0
        assert count(tmp_path, "SELECT count(*) FROM events WHERE data LIKE '%at the end%'") == 1


async def test_a_day_is_one_of_the_persons_zone(tmp_path: Path) -> None:
    clock = Clock()
    clock.at = datetime(2026, 11, 1, 23, tzinfo=UTC).timestamp()
    async with kept(tmp_path, clock, 1) as h:
        await said(h, clock, "/timezone Pacific/Auckland")
        await said(h, clock, "there it is the second")
        await said(h, clock, "and here the first", user="2")
        assert (days(tmp_path), days(tmp_path, "2")) == (["2026-11-02"], ["2026-11-01"])
        clock.at += DAY + 2 * 3600  # the third, here and there
        await keep_to(h.parts.turns)
        assert (days(tmp_path), days(tmp_path, "2")) == (["2026-11-02"], [])
        clock.at += 11 * 3600  # there it is the fourth
        await keep_to(h.parts.turns)
        assert days(tmp_path) == []
    assert not any((tmp_path / "memory").iterdir())


async def test_without_it_all_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock, None) as h:
        await said(h, clock, "for ever")
        await said(h, clock, "/clear")
        clock.at += 9999 * DAY
        await keep_to(h.parts.turns)
        assert days(tmp_path) == ["2026-11-01"]
        assert count(tmp_path, "SELECT count(*) FROM events") == 2


async def test_of_many_days_and_conversations_all_go_and_what_others_put_there_stays(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock, 10) as h:
        first = datetime.fromtimestamp(clock.at, UTC).date() - timedelta(days=300)
        for user in ("1", "2"):
            folder = tmp_path / "memory" / f"memory-{user}"
            folder.mkdir(parents=True)
            for n in range(250):
                (folder / f"{first + timedelta(days=n)}.md").write_text("## 10:00:00 UTC\n\n**user:** hm\n\n")
        (tmp_path / "memory" / "memory-2" / "notes.txt").write_text("mine")
        with closing(sqlite3.connect(tmp_path / "boswell.db")) as database, database:
            for n in range(250):
                database.execute(
                    "INSERT INTO streams (key, opened_at, closed_at) VALUES (?, 1, 2)", (f"k{n}",)
                )
        await keep_to(h.parts.turns)
        assert (days(tmp_path), days(tmp_path, "2")) == ([], [])
        assert (tmp_path / "memory" / "memory-2" / "notes.txt").read_text() == "mine"
        assert count(tmp_path, "SELECT count(*) FROM streams") == 0


async def test_a_process_that_lives_for_minutes_lets_go_of_what_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.TIDY_FIRST <= 60
    monkeypatch.setattr(app, "TIDY_FIRST", 0.0)
    old = tmp_path / "data" / "memory" / "telegram-1" / "2001-01-01.md"
    old.parent.mkdir(parents=True)
    old.write_text("## 10:00:00 UTC\n\n**user:** hi\n\n")
    async with running(tmp_path, lambda _: Reply(("heard",)), memory={"retention_days": 30}) as b:
        await b.until(lambda: not old.exists())
