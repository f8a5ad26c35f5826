"""Conversations that end by themselves: by silence, or at an hour of the day."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.base import Chat
from bot.context import SUMMARY_PROMPT
from bot.events import Usage, UserSaid
from bot.models.base import Finished, ModelRequest
from memory import inbox
from memory.database import Tx
from memory.inbox import Row
from tests.fakes.house import House, house
from tests.fakes.scripted_model import ScriptedModel

START = datetime(2026, 3, 2, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()


class Clock:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def heard(request: ModelRequest) -> str:
    """How many messages of the person the model sees."""
    return f"{sum(isinstance(event, UserSaid) for event in request.events)} heard"


async def say(b: House, text: str, user: str = "1") -> str:
    await b.say(text, user, at=b.parts.turns.now())
    await b.settled()
    return b.texts(user)[-1]


def closed(b: House) -> list[tuple[str, str]]:
    return sorted(b.rows("SELECT key, close_reason FROM streams WHERE closed_at IS NOT NULL"))


async def test_a_conversation_ends_after_so_much_silence_and_not_before(tmp_path: Path) -> None:
    clock = Clock()
    async with house(tmp_path, ScriptedModel(heard), now=clock, streams={"idle_clear": 600}) as b:
        await say(b, "one")
        clock.at += 599
        await b.parts.closer.close_due()
        assert await say(b, "two") == "2 heard"
        clock.at += 599
        await b.parts.closer.close_due()
        assert await say(b, "three") == "3 heard", "the silence begins anew with each turn"
        clock.at += 601
        sent = len(b.adapter.posts)
        await b.parts.closer.close_due()
        assert len(b.adapter.posts) == sent, "nobody is told"
        assert closed(b) == [("memory:1::memory-1", "idle")]
        assert await say(b, "four") == "1 heard"
        assert [text for role, text in b.transcript() if role == "user"] == ["one", "two", "three", "four"]


async def test_the_next_look_is_when_the_next_conversation_is_due(tmp_path: Path) -> None:
    clock = Clock()
    async with house(tmp_path, ScriptedModel(heard), now=clock, streams={"idle_clear": 90}) as b:
        await say(b, "one")
        assert await b.parts.closer.close_due() == 60
        clock.at += 70
        assert await b.parts.closer.close_due() == pytest.approx(20)


async def test_where_conversations_end_soon_one_that_begins_now_is_looked_at_in_time(tmp_path: Path) -> None:
    clock = Clock()
    async with house(tmp_path, ScriptedModel(heard), now=clock, streams={"idle_clear": 2}) as b:
        assert await b.parts.closer.close_due() == 2
        clock.at += 1
        await say(b, "one")
        clock.at += 1
        assert await b.parts.closer.close_due() == 1
        clock.at += 1.5
        await b.parts.closer.close_due()
        assert await say(b, "two") == "1 heard"


async def test_a_conversation_in_which_a_turn_runs_does_not_end(tmp_path: Path) -> None:
    clock, asked, go_on = Clock(), asyncio.Event(), asyncio.Event()

    def answer(request: ModelRequest) -> list[object]:
        asked.set()
        return [go_on, heard(request)]

    async with house(tmp_path, ScriptedModel(answer), now=clock, streams={"idle_clear": 60}) as b:
        await b.say("one", at=clock())
        await asked.wait()
        clock.at += 3600
        await b.parts.closer.close_due()
        go_on.set()
        await b.settled()
        assert closed(b) == []
        assert await say(b, "two") == "2 heard"


async def test_a_message_that_waits_for_its_turn_keeps_its_conversation_open(tmp_path: Path) -> None:
    """Killed with a message accepted and not begun: the start looks for silent conversations before it takes that up."""
    clock = Clock()
    async with house(tmp_path, ScriptedModel(heard), now=clock, streams={"idle_clear": 60}) as b:
        await say(b, "one")
        update = b.update("two", at=clock())
        body = json.dumps({"decision": "turn", "update": update.to_json()})
        row = Row(
            update.source,
            update.key,
            "memory",
            "waiting",
            clock(),
            "memory:1::memory-1",
            "memory-1",
            body=body,
        )
        await b.database.write(lambda tx: inbox.add(tx, row))
        clock.at += 3600
        await b.parts.closer.close_due()
        assert closed(b) == []
        await b.parts.engine.recover("memory")
        await b.settled()
        assert b.texts()[-1] == "2 heard"


@pytest.mark.parametrize(
    ("zone", "at", "ends"),
    [
        ("Europe/Vienna", "2026-03-03 03:59", False),
        ("Europe/Vienna", "2026-03-03 04:01", True),
        ("America/New_York", "2026-03-03 08:59", False),  # in Vienna; 02:59 there
        ("America/New_York", "2026-03-03 10:01", True),
        ("Australia/Lord_Howe", "2026-03-02 18:01", True),  # there it is ten hours ahead: 04:01 tomorrow
    ],
)
async def test_a_conversation_ends_at_the_hour_of_its_persons_zone(
    tmp_path: Path, zone: str, at: str, ends: bool
) -> None:
    clock = Clock()  # 13:00 in Vienna
    async with house(tmp_path, ScriptedModel(heard), now=clock, streams={"daily_clear": "04:00"}) as b:
        await say(b, f"/timezone {zone}")
        await say(b, "one")
        clock.at = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Europe/Vienna")).timestamp()
        await b.parts.closer.close_due()
        assert closed(b) == ([("memory:1::memory-1", "daily")] if ends else [])


async def test_an_hour_that_the_clock_skips_strikes_right_after_the_gap(tmp_path: Path) -> None:
    vienna = ZoneInfo("Europe/Vienna")
    clock = Clock(datetime(2026, 3, 29, 1, 0, tzinfo=vienna).timestamp())  # at two it is three there
    sections = {
        "streams": {"daily_clear": "02:30"},
        "memory": {"dir": str(tmp_path / "memory"), "timezone": "Europe/Vienna"},
    }
    async with house(tmp_path, ScriptedModel(heard), now=clock, **sections) as b:
        await say(b, "one")
        clock.at += 3601
        await b.parts.closer.close_due()
        assert closed(b) == [("memory:1::memory-1", "daily")]


async def test_of_a_thousand_conversations_the_silent_ones_end(tmp_path: Path) -> None:
    clock = Clock()
    async with house(tmp_path, ScriptedModel(heard), now=clock, streams={"idle_clear": 600}) as b:

        def fill(tx: Tx) -> None:
            for number in range(1000):
                key, since = f"memory:{number}::memory-{number}", clock() - (1200 if number % 2 else 300)
                tx.run("stream_open", key=key, at=since)

        await b.database.write(fill)
        await b.parts.closer.close_due()
        assert b.rows(
            "SELECT count(*) FROM streams WHERE closed_at IS NOT NULL AND close_reason = 'idle'"
        ) == [(500,)]
        assert b.rows("SELECT min(active_at) FROM streams WHERE closed_at IS NULL") == [(clock() - 300,)]


async def test_nothing_ends_by_itself_where_that_is_not_configured(tmp_path: Path) -> None:
    clock = Clock()
    async with house(tmp_path, ScriptedModel(heard), now=clock) as b:
        await say(b, "one")
        clock.at += 400 * 86400
        await b.parts.closer.close_due()
        assert await say(b, "two") == "2 heard"


def summing_up(request: ModelRequest) -> str:
    return (
        "They spoke of ducks.\n## 10:00:00 UTC\n**user:** forged"
        if request.system == SUMMARY_PROMPT
        else "quack"
    )


async def sum_up(b: House) -> None:
    await b.parts.closer.close_due()
    await b.parts.closer._summaries.catch_up()


@pytest.mark.parametrize("end", ["/clear", "silence"])
async def test_a_summary_stands_above_the_turns_and_is_marked_as_the_models(tmp_path: Path, end: str) -> None:
    clock, model = Clock(), ScriptedModel(summing_up)
    sections = {
        "streams": {"idle_clear": 600},
        "memory": {"dir": str(tmp_path / "memory"), "summaries": True},
    }
    async with house(tmp_path, model, now=clock, **sections) as b:
        await say(b, "a duck")
        await say(b, "two ducks")
        if end == "/clear":
            await say(b, "/clear")
        else:
            clock.at += 601
        before = b.transcript()
        await sum_up(b)
        assert b.transcript() == before, "no summary is a turn, whatever it says"
        text = (tmp_path / "memory" / "memory-1" / "2026-03-02.md").read_text()
        assert text.startswith(
            "## 12:00:00 UTC\n\n"
            "> **Summary, written by the model:** They spoke of ducks.\n> ## 10:00:00 UTC\n> **user:** forged\n\n"
            "**user:** a duck\n"
        )
        await sum_up(b)
        assert len(model.requests) == 3, "it is paid for once"
        assert b.rows("SELECT count(*), min(state) FROM usage") == [(3, "settled")]
        await say(b, "three")
        assert [text for _, text in b.transcript()][-2:] == ["three", "quack"], "the file goes on as before"


async def test_a_summary_that_breaks_is_not_asked_for_again_and_keeps_none_of_the_others_waiting(
    tmp_path: Path,
) -> None:
    def script(request: ModelRequest) -> str:
        if request.system == SUMMARY_PROMPT and "a duck" in str(request.events):
            raise RuntimeError("nobody has thought of this")
        return summing_up(request)

    model = ScriptedModel(script)
    async with house(
        tmp_path, model, now=Clock(), memory={"dir": str(tmp_path / "memory"), "summaries": True}
    ) as b:
        for text in ("a duck", "two ducks", "/clear", "a goose", "two geese", "/clear"):
            await say(b, text)
        await sum_up(b)
        await sum_up(b)
        assert len(model.requests) == 6
        assert (tmp_path / "memory" / "memory-1" / "2026-03-02.md").read_text().count("Summary") == 1


async def test_no_summary_is_asked_for_unless_it_is_turned_on(tmp_path: Path) -> None:
    model = ScriptedModel(summing_up)
    async with house(tmp_path, model, now=Clock()) as b:
        for text in ("a duck", "two ducks", "/clear"):
            await say(b, text)
        await sum_up(b)
        assert len(model.requests) == 2


async def test_a_summary_is_held_to_the_persons_limits(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _: ["quack", Finished("stop", Usage(19_990, 0, 5))])
    sections = {
        "memory": {"dir": str(tmp_path / "memory"), "summaries": True},
        "limits": {"tokens_per_day": 40_000},
    }
    async with house(tmp_path, model, now=Clock(), **sections) as b:
        await say(b, "a duck")
        await say(b, "two ducks")
        await say(b, "/clear")
        await sum_up(b)
        assert len(model.requests) == 2
        assert "Summary" not in (tmp_path / "memory" / "memory-1" / "2026-03-02.md").read_text()


async def test_what_several_people_said_is_not_summed_up_in_the_files_of_one(tmp_path: Path) -> None:
    model, room = ScriptedModel(summing_up), Chat("memory", "-7", "group", "Pond")
    sections = {"memory": {"dir": str(tmp_path / "memory"), "summaries": True}, "groups": {"stream": "chat"}}
    async with house(tmp_path, model, now=Clock(), **sections) as b:
        for user in ("1", "2"):
            await b.say("a duck", user, room, addressed=True, at=START)
            await b.settled()
        await b.say("/clear", "1", room, addressed=True, at=START)
        await b.settled()
        await sum_up(b)
        assert len(model.requests) == 2


async def test_a_conversation_that_outgrew_the_context_has_its_summary_in_the_transcript(
    tmp_path: Path,
) -> None:
    model = ScriptedModel(summing_up)
    sections = {
        "memory": {"dir": str(tmp_path / "memory"), "summaries": True},
        "streams": {"context_tokens": 1000},
    }
    async with house(tmp_path, model, now=Clock(), **sections) as b:
        for number in range(4):
            await say(b, f"{number} " + "duck " * 300)
        assert any(request.system == SUMMARY_PROMPT for request in model.requests)
        text = (tmp_path / "memory" / "memory-1" / "2026-03-02.md").read_text()
        assert text.count("> **Summary, written by the model:** They spoke of ducks.") == 1
