"""What was tried against reminders and schedules, where they once gave way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.base import Chat, Person
from bot.events import UserSaid
from bot.models.base import ModelRequest
from bot.triggers import Once
from memory.database import Tx
from tests.fakes.clock import Clock, at
from tests.fakes.fired import add
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

MONDAY = at("2026-03-02 07:00")
CROWD = 300


@pytest.fixture
def clock() -> Clock:
    return Clock(MONDAY)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(lambda request: "Done.")


async def all_at_once(h: House, *, work: bool = False) -> None:
    """Something is due for each of a crowd in the same moment."""

    def unit(tx: Tx) -> None:
        for number in range(CROWD):
            person = Person(f"telegram-{1000 + number}", f"Person {number}")
            add(tx, person, Once(MONDAY + 60), "UTC", MONDAY, work=work)

    await h.database.write(unit)


async def ask(h: House, text: str, user: str) -> None:
    await h.say(text, user, Chat("telegram", user), on="telegram")


async def test_an_answer_goes_ahead_of_what_is_due_for_a_crowd(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True, total_per_second=30.0)
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        await all_at_once(h)
        clock.time += 60
        await h.parts.scheduler.sweep("telegram")
        await h.parts.engine.idle()
        before = len(adapter.posts)
        await ask(h, "hello", "7")
        await adapter.wait_for(lambda: bool(h.texts("7")))
        assert len(adapter.posts) - before < 30
        assert before < CROWD / 2


async def test_after_a_kill_an_answer_goes_ahead_of_what_was_owed_to_a_crowd(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True, total_per_second=30.0)
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        await all_at_once(h)
        clock.time += 60
        await h.parts.scheduler.sweep("telegram")
        await h.parts.engine.idle()
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        before = len(adapter.posts)
        assert before < CROWD / 2
        await ask(h, "hello", "7")
        await adapter.wait_for(lambda: bool(h.texts("7")))
        assert len(adapter.posts) - before < 40


async def test_people_are_answered_while_a_crowds_work_is_done(tmp_path: Path, clock: Clock) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    def answer(request: ModelRequest) -> list[object]:
        asked = next(event.text for event in reversed(request.events) if isinstance(event, UserSaid))
        if asked == "hello":
            return ["Hello."]
        begun.set()
        return [go_on, "Done."]

    adapter = MemoryAdapter("telegram", private_by_id=True)
    limits = {"total_concurrent_turns": 8}
    async with house(tmp_path, ScriptedModel(answer), adapter=adapter, now=clock, limits=limits) as h:
        await all_at_once(h, work=True)
        clock.time += 60
        sweeping = asyncio.create_task(h.parts.scheduler.sweep("telegram"))
        await begun.wait()
        await ask(h, "hello", "7")
        await adapter.wait_for(lambda: h.texts("7") == ["Hello."])
        go_on.set()
        await sweeping
        await h.settled()
        assert {tuple(h.texts(str(1000 + number))) for number in range(CROWD)} == {("Done.",)}
