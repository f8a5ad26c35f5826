"""Conversations that end by themselves: by silence, or at an hour of the day."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.base import Chat
from bot.events import UserSaid
from bot.models.base import ModelRequest
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
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
