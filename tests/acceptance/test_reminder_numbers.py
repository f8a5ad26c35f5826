"""The numbers of reminders: a person's own, that tell nothing about anybody else and stay while the reminder lives."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memory.database import open_database
from memory.sql import migrations
from tests.acceptance.test_upgrade import rows, unpacked
from tests.fakes.clock import Clock, at
from tests.fakes.house import House, house
from tests.fakes.scripted_model import ScriptedModel


@pytest.fixture
def clock() -> Clock:
    return Clock(at("2026-11-25 14:30"))


def open_house(folder: Path, clock: Clock) -> Any:
    limits = {"turns_per_minute": None}
    return house(folder, ScriptedModel(lambda _: "Done."), now=clock, limits=limits)


async def numbers(h: House, user: str = "1") -> dict[str, int]:
    lines = (await h.ask("/reminders", user)).splitlines()
    return {found[2]: int(found[1]) for line in lines if (found := re.match(r"- (\d+): .*: (\w+)$", line))}


async def test_everybody_counts_from_one_and_a_number_stays_while_its_reminder_lives(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        for user in ("1", "2"):
            assert "Reminder 1 is set" in await h.ask("/remind in 3 hours one", user)
            assert "Reminder 2 is set" in await h.ask("/remind in 2 hours two", user)
            assert "Reminder 3 is set" in await h.ask("/remind in 1 hour three", user)
        assert await h.ask("/reminders cancel 2") == "Reminder 2 is cancelled."
        assert await numbers(h) == {"one": 1, "three": 3}
        assert await numbers(h, "2") == {"one": 1, "two": 2, "three": 3}
        assert "Reminder 2 is set" in await h.ask("/remind in 4 hours four")
        assert await numbers(h) == {"one": 1, "four": 2, "three": 3}


async def test_several_are_cancelled_at_once_and_all_of_them_after_a_confirmation(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        for word in ("one", "two", "three", "four", "five"):
            await h.ask(f"/remind in 3 hours {word}")
        await h.ask("/remind in 3 hours other", "2")
        assert await h.ask("/reminders cancel #5") == "Reminder 5 is cancelled."
        assert (await h.ask("/reminders cancel 1, 2 1 and 9")).splitlines() == [
            "Reminder 1 is cancelled.",
            "Reminder 2 is cancelled.",
            "There is no reminder 9 of yours here. /reminders lists them.",
        ]
        assert "cancels the 2 reminders" in await h.ask("/reminders cancel all")
        [button] = h.adapter.buttons[str(len(h.adapter.posts))]
        assert await numbers(h) == {"three": 3, "four": 4}
        assert "All your reminders here are cancelled." in await h.ask(f"/{button.command}")
        assert await numbers(h) == {}
        assert await numbers(h, "2") == {"other": 1}


async def test_a_button_below_an_old_list_cancels_no_reminder_that_has_the_number_now(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await h.ask("/remind in 3 hours one")
        await h.ask("/reminders")
        [button] = h.adapter.buttons[str(len(h.adapter.posts))]
        await h.ask("/reminders cancel 1")
        clock.time += 1
        await h.ask("/remind in 3 hours two")
        assert "no reminder 1 of yours" in await h.ask(f"/{button.command}")
        await h.ask("/reminders")
        [button] = h.adapter.buttons[str(len(h.adapter.posts))]
        assert await h.ask(f"/{button.command}") == "Reminder 1 is cancelled."


async def test_when_two_become_one_person_no_two_reminders_have_one_number(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await h.ask("/remind in 1 hour one")
        await h.ask("/remind in 2 hours two")
        await h.ask("/remind in 3 hours three", "2")
        await h.ask("/reminders cancel 1")
        await h.ask("/remind in 4 hours four", "2")
        code = re.findall(r"Your code: (\w+)", await h.ask("/link"))[0]
        assert "one person" in await h.ask(f"/link {code}", "2")
        await h.ask(f"/link {code} yes", "2")
        assert await numbers(h) == await numbers(h, "2") == {"two": 2, "three": 1, "four": 3}
        assert "Reminder 4 is set" in await h.ask("/remind in 5 hours five", "2")


async def test_a_reminder_of_an_earlier_version_keeps_the_number_that_was_told(tmp_path: Path) -> None:
    path = unpacked(tmp_path, 3)
    columns = "kind, platform, user_id, person, chat, chat_key, text, trigger, zone, next_at, created_at"
    values = "'reminder', 'memory', 'memory-1', '{}', '', '', 'Tea', '{}', 'UTC', 9e9, 1"

    def insert(id_: int) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"INSERT INTO schedules (id, {columns}) VALUES ({id_}, {values})")

    await asyncio.to_thread(insert, 17)
    async with open_database(path):
        pass
    assert rows(path, "PRAGMA user_version") == [(len(migrations()),)]
    await asyncio.to_thread(insert, 18)  # by a process of that version, that runs beside this one
    assert rows(path, "SELECT id, number FROM schedules ORDER BY id") == [(17, 17), (18, 18)]
