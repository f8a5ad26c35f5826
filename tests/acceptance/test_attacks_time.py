"""What was tried against reminders and schedules, where they once gave way."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import pytest

from adapters.base import Chat, Person
from bot import triggers
from bot.events import UserSaid
from bot.models.base import ModelRequest
from bot.triggers import Cron, Every, Once
from memory import people
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


async def fire_for_all(h: House, clock: Clock) -> None:
    """It is fired, and owed to them; the platform's pace holds it back."""
    await all_at_once(h)
    clock.time += 60
    await h.parts.scheduler.sweep("telegram")
    await h.parts.engine.idle()


async def ask(h: House, text: str, user: str) -> None:
    await h.say(text, user, Chat("telegram", user), on="telegram")


async def test_an_answer_goes_ahead_of_what_is_due_for_a_crowd(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True, total_per_second=10.0)
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        await fire_for_all(h, clock)
        before = len(adapter.posts)
        await ask(h, "hello", "7")
        await adapter.wait_for(lambda: bool(h.texts("7")))
        assert len(adapter.posts) - before < 30
        assert before < CROWD / 2


async def test_after_a_kill_an_answer_goes_ahead_of_what_was_owed_to_a_crowd(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True, total_per_second=10.0)
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        await fire_for_all(h, clock)
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


NEWS = {"news": {"cron": "0 9 * * *", "text": "News", "to": "telegram-1"}}
HOME = Chat("telegram", "1")


async def sweep(h: House, clock: Clock, time: str) -> None:
    clock.time = at(time)
    await h.parts.scheduler.sweep("telegram")
    await h.settled()


async def edit(h: House, statement: str, *values: object) -> None:
    """Do to the database what no version of ours does."""
    await h.database.write(lambda tx: tx._connection.execute(statement, values))


async def test_a_zone_that_is_no_more_keeps_nobody_elses_reminders_from_being_said(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True)
    async with house(tmp_path, model, adapter=adapter, now=clock, schedules=NEWS) as h:
        await ask(h, "/quiet 22-7", "1")
        await h.settled()
        await edit(h, "UPDATE people SET timezone = 'Mars/Olympus'")
        await h.database.write(lambda tx: add(tx, Person("telegram-2"), Once(MONDAY + 7200), "UTC", MONDAY))
        await sweep(h, clock, "2026-03-02 09:00")
        assert h.texts("1")[-1] == "News"
        assert h.texts("2") == ["⏰ Tea"]


@pytest.mark.parametrize(
    ("trigger", "zone"),
    [
        ("", "UTC"),
        ("[]", "UTC"),
        ("{}", "UTC"),
        (triggers.dump(Cron("nonsense")), "UTC"),
        (triggers.dump(Cron("0 9 * * *")), "Mars/Olympus"),
        (triggers.dump(Once(0)), "Europe"),
        (triggers.dump(Every(0, 0)), "UTC"),
        ('{"kind": "every", "seconds": "a", "anchor": 0}', "UTC"),
        ('{"kind": "once", "at": null}', "UTC"),
    ],
)
async def test_a_time_that_can_not_be_read_stands_in_nobodys_way(
    tmp_path: Path, clock: Clock, model: ScriptedModel, trigger: str, zone: str
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True)
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        await h.database.write(lambda tx: add(tx, Person("telegram-1"), Once(MONDAY + 60), "UTC", MONDAY))
        await edit(h, "UPDATE schedules SET trigger = ?, zone = ?", trigger, zone)
        await h.database.write(lambda tx: add(tx, Person("telegram-1"), Once(MONDAY + 120), "UTC", MONDAY))
        await sweep(h, clock, "2026-03-02 07:02")
        assert h.texts("1") == ["⏰ Tea"]
        for command, answer in (
            ("/timezone Europe/Vienna", "Europe/Vienna"),
            ("/reminders", "1: "),
            ("/reminders cancel 1", "cancelled"),
        ):
            await ask(h, command, "1")
            await h.settled()
            assert answer in h.texts("1")[-1]


async def test_a_time_that_can_be_read_again_goes_on(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    adapter = MemoryAdapter("telegram", private_by_id=True)
    async with house(tmp_path, model, adapter=adapter, now=clock) as h:
        rule = Cron("0 9 * * *")
        await h.database.write(lambda tx: add(tx, Person("telegram-1"), rule, "UTC", MONDAY))
        await edit(h, "UPDATE schedules SET zone = 'Mars/Olympus'")
        await sweep(h, clock, "2026-03-02 09:00")
        assert h.rows("SELECT state FROM schedules") == [("paused",)]
        await ask(h, "/timezone UTC", "1")
        await h.settled()
        await h.parts.scheduler.refresh()
        await sweep(h, clock, "2026-03-02 09:01")
        assert h.texts("1")[-1].startswith("⏰ Tea")
        await sweep(h, clock, "2026-03-03 09:00")
        assert h.texts("1")[-1] == "⏰ Tea"


async def test_what_the_operator_sends_to_a_person_comes_again_when_they_are_let_in_again(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    def let_in(tx: Tx) -> None:
        code = people.ask(tx, "telegram-1", "Anna", asdict(HOME), clock())
        assert people.decide(tx, code or "", True, "", clock())

    adapter = MemoryAdapter("telegram", private_by_id=True)
    access = {"policy": "pairing"}
    async with house(tmp_path, model, adapter=adapter, now=clock, schedules=NEWS, access=access) as h:

        async def noticed() -> None:
            await h.parts.approvals.refresh()
            await h.parts.scheduler.refresh()

        await h.database.write(let_in)
        await noticed()
        await sweep(h, clock, "2026-03-02 09:00")
        assert h.texts("1")[-1] == "News"
        heard = len(h.texts("1"))
        await h.database.write(lambda tx: people.revoke(tx, "telegram-1"))
        await noticed()
        await sweep(h, clock, "2026-03-03 09:00")
        assert len(h.texts("1")) == heard
        clock.time = at("2026-03-03 12:00")
        await h.database.write(let_in)
        await noticed()
        await sweep(h, clock, "2026-03-04 09:00")
        assert h.texts("1")[-1] == "News"
