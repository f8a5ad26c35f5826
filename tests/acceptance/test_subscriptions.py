"""Subscribing, unsubscribing, and what of the operator's schedules these do not touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat, Person
from memory import schedules
from tests.fakes.clock import Clock, at
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

ANNA = Person("telegram-1", "Anna")
HOME = Chat("telegram", "1")
NEWS = {"cron": "0 9 * * *", "text": "What is new", "to": "subscribers"}
BY_NAME = {"cron": "0 8 * * *", "text": "Hi", "to": "telegram-1"}


@pytest.fixture
def clock() -> Clock:
    return Clock(at("2026-03-02 07:00"))


def open_house(folder: Path, clock: Clock, **configured: Any) -> Any:
    adapter = MemoryAdapter("telegram", private_by_id=True)
    return house(folder, ScriptedModel(lambda _: "Done."), adapter=adapter, now=clock, schedules=configured)


async def ask(h: House, text: str) -> str:
    return await h.ask(text, "", HOME, person=ANNA)


def texts(h: House) -> list[tuple[Any, ...]]:
    return h.rows("SELECT text FROM schedules ORDER BY id")


async def test_what_a_subscriber_gets_begins_with_its_name(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock, news=NEWS) as h:
        await ask(h, "/subscribe news")
        clock.time = at("2026-03-02 09:00")
        await h.parts.scheduler.sweep("telegram")
        await h.settled()
        assert h.texts("1")[-1] == "news: What is new"


async def test_unsubscribing_from_nothing_ends_no_reminder(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock, news=NEWS) as h:
        await ask(h, "/remind in 3 hours tea")
        await ask(h, "/subscribe news")
        assert "/unsubscribe news" in await ask(h, "/unsubscribe")
        assert texts(h) == [("tea",), ("What is new",)]
        assert await ask(h, "/unsubscribe news") == "You will not get news any more."
        assert texts(h) == [("tea",)]


async def test_what_the_configuration_sends_to_a_person_is_not_ended_by_them(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, hi=BY_NAME) as h:
        await h.parts.scheduler.sweep("telegram")
        assert "You have not subscribed to that." in await ask(h, "/unsubscribe hi")
        assert texts(h) == [("Hi",)]


async def test_a_subscription_to_what_is_sent_by_name_now_ends_without_it(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, hi={**BY_NAME, "to": "subscribers"}) as h:
        await ask(h, "/subscribe hi")
    async with open_house(tmp_path, clock, hi=BY_NAME) as h:
        await h.parts.scheduler.sweep("telegram")
        await ask(h, "/unsubscribe hi")
        assert texts(h) == [("Hi",)]
        assert h.rows("SELECT * FROM subscriptions") == []


async def test_what_the_configuration_sends_to_a_person_outlives_that_they_are_forgotten_or_revoked(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, hi={**BY_NAME, "to": "subscribers"}, news=NEWS) as h:
        await ask(h, "/subscribe hi")
        await ask(h, "/subscribe news")
    async with open_house(tmp_path, clock, hi=BY_NAME, news=NEWS) as h:
        await h.parts.scheduler.sweep("telegram")
        await h.database.write(lambda tx: schedules.drop(tx, "telegram-1"))
        assert texts(h) == [("Hi",)]
        await ask(h, "/subscribe news")
        await ask(h, "/remind in 3 hours tea")
        await h.database.write(lambda tx: schedules.drop(tx, "telegram-1"))
        assert texts(h) == [("Hi",)]
