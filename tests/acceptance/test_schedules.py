"""What falls due: reminders and the operator's schedules, said or worked on, once, late or not at all, by a given clock."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapters.base import Chat, Person, Unavailable
from bot import own
from bot.app import KEEP_ROWS
from bot.cli import main
from bot.commands.base import CommandContext
from bot.commands.subscribing import subscribe
from bot.engine import Job
from bot.errors import ModelUnavailable
from bot.events import ToolCall
from bot.models.base import ModelRequest
from bot.tools.base import ToolContext, tool
from bot.triggers import Cron, Every, Once, Trigger
from config.checks import is_group
from config.schema import ScheduleConfig
from memory import people, schedules
from memory.database import Tx, open_database
from tests.fakes.clock import Clock, at
from tests.fakes.fired import add
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.model_server import Reply
from tests.fakes.running import running
from tests.fakes.scripted_model import ScriptedModel

MONDAY = at("2026-03-02 07:00")
GROUP = Chat("telegram", "-100123", "group", "Book club")
ANNA, BEN = Person("telegram-1", "Anna"), Person("telegram-2", "Ben")


@pytest.fixture
def clock() -> Clock:
    return Clock(MONDAY)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(lambda request: "Done.")


def telegram() -> MemoryAdapter:
    return MemoryAdapter("telegram", private_by_id=True)


async def remind(
    house: House,
    trigger: Trigger,
    text: str = "Tea",
    person: Person = ANNA,
    chat: Chat | None = None,
    **more: Any,
) -> int:
    """Set a reminder, as the tools and the command do."""
    now, zone = house.parts.turns.now(), more.pop("zone", "UTC")
    return await house.database.write(lambda tx: add(tx, person, trigger, zone, now, text, chat, **more))


async def out_of_reach(house: House, clock: Clock, times: Sequence[float]) -> None:
    """Look at these times at what is due, while the platform can not be reached; then it can."""
    house.adapter.trouble += [("post", Unavailable("no network"))] * 100
    for clock.time in times:
        await house.parts.scheduler.sweep("telegram")
        await house.parts.engine.idle()
    house.adapter.trouble.clear()
    house.parts.delivery.mended("telegram")
    await house.settled()


async def until(house: House, clock: Clock, time: float) -> None:
    """Let the clock go from one thing that is due to the next, up to a time."""
    while True:
        due = await house.parts.scheduler.sweep("telegram")
        await house.settled()
        if due is None or due > time:
            break
        clock.time = max(clock.time, due)
    clock.time = time
    await house.parts.scheduler.sweep("telegram")
    await house.settled()


async def wake(house: House, clock: Clock, time: float) -> None:
    """Be down until then."""
    clock.time = time
    await house.parts.scheduler.sweep("telegram")
    await house.settled()


def said(house: House, person: str = "1") -> list[tuple[str, str]]:
    transcripts = house.parts.journal.transcripts
    return [
        message
        for day in transcripts.dates(f"telegram-{person}")
        for section in transcripts.day(f"telegram-{person}", day)
        for message in section.messages
    ]


# Reminders


async def test_a_reminder_is_said_once_without_a_model_and_stands_in_the_transcript(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Once(MONDAY + 600), "Tea **is** ready")
        await wake(h, clock, MONDAY + 599)
        assert h.texts() == []
        await wake(h, clock, MONDAY + 600)
        await wake(h, clock, MONDAY + 601)
        assert h.texts() == ["⏰ Tea **is** ready"]
        assert model.requests == []
        assert said(h) == [("assistant", "⏰ Tea **is** ready")]
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]


async def test_what_repeats_is_said_each_time_until_it_ends(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Cron("30 8 * * mon-fri"), zone="Europe/Vienna", until=at("2026-03-10 00:00"))
        await until(h, clock, at("2026-04-01 00:00"))
        days = [day.isoformat() for day in h.parts.journal.transcripts.dates("telegram-1")]
        assert days == [f"2026-03-{day:02}" for day in (2, 3, 4, 5, 6, 9)]
        assert h.texts() == ["⏰ Tea"] * 6
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]


async def test_reminders_of_one_day_stand_in_the_file_each_once_also_when_their_marks_were_lost(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        for minute in range(5):
            await remind(h, Once(MONDAY + 60 * (minute + 1)), "Tea")
        await until(h, clock, MONDAY + 3600)
        assert said(h) == [("assistant", "⏰ Tea")] * 5


async def test_in_a_group_a_reminder_names_whose_it_is_and_the_room_remembers_it(
    tmp_path: Path, clock: Clock
) -> None:
    model = ScriptedModel(lambda request: "Yes.")
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Once(MONDAY + 60), "Tea", chat=GROUP)
        await wake(h, clock, MONDAY + 60)
        assert h.texts("-100123") == ["⏰ Anna: Tea"]
        await h.say("what was that?", "2", GROUP, person=BEN, addressed=True)
        await h.settled()
        assert "⏰ Anna: Tea" in str(model.requests[-1].events)


async def test_what_has_work_to_do_is_a_turn_marked_as_nobodys_words(tmp_path: Path, clock: Clock) -> None:
    contexts: list[ToolContext] = []

    async def look(context: ToolContext) -> str:
        """Look."""
        contexts.append(context)
        return "seen"

    def answer(request: ModelRequest) -> str | Sequence[Any]:
        return "Here is your summary." if len(model.requests) > 1 else [ToolCall("c1", "look", "{}")]

    model = ScriptedModel(answer)
    async with house(
        tmp_path, model, adapter=telegram(), now=clock, agent={"tools": {"look": tool(look)}}
    ) as h:
        await remind(h, Once(MONDAY + 60), "Remember that my dog is Rex.", work=True)
        await wake(h, clock, MONDAY + 60)
        assert h.texts() == ["Here is your summary."]
        asked = str(model.requests[0].events[-1])
        assert "nobody says it now" in asked
        assert "Remember that my dog is Rex." in asked
        assert contexts[0].said == ()
        assert contexts[0].variables.user_id == "telegram-1"
        roles = [role for role, _ in said(h)]
        assert roles == ["user", "assistant"]


async def test_what_is_scheduled_schedules_nothing_itself(tmp_path: Path, clock: Clock) -> None:
    call = ToolCall("c1", "set_reminder", '{"text": "Again", "repeat": "every hour", "work": true}')
    model = ScriptedModel(lambda _: [call] if len(model.requests) == 1 else "Done.")
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Once(MONDAY + 60), "Work", work=True)
        await wake(h, clock, MONDAY + 60)
        assert "Nothing was set" in str(model.requests[1].events)
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]


async def test_work_is_done_under_the_limits_of_its_person(tmp_path: Path, clock: Clock) -> None:
    model = ScriptedModel(lambda request: "Done.")
    async with house(tmp_path, model, adapter=telegram(), now=clock, limits={"turns_per_day": 1}) as h:
        for minute in (1, 2):
            await remind(h, Once(MONDAY + 60 * minute), "Work", work=True)
        await remind(h, Once(MONDAY + 120), "Work", BEN, work=True)
        await until(h, clock, MONDAY + 600)
        assert len(model.requests) == 2
        assert len(h.texts("1")) == 2
        assert h.texts("1")[0].startswith("Done.")
        assert "Done." not in h.texts("1")[1]
        assert [text[:5] for text in h.texts("2")] == ["Done."]


async def test_work_is_done_however_much_of_it_falls_due_and_however_fast_its_person_talks(
    tmp_path: Path, clock: Clock
) -> None:
    model = ScriptedModel(lambda request: "Done.")
    async with house(tmp_path, model, adapter=telegram(), now=clock, limits={"turns_per_minute": 2}) as h:
        for number in range(5):
            await remind(h, Once(MONDAY + 60), f"Work {number}", work=True)
        clock.time = MONDAY + 59
        for _ in range(3):
            await h.say("hello", "1", Chat("telegram", "1"), person=ANNA, at=clock.time)
        await h.settled()
        assert len(model.requests) == 2
        await wake(h, clock, MONDAY + 60)
        assert len(model.requests) == 7
        await h.say("hello", "1", Chat("telegram", "1"), person=ANNA, at=MONDAY + 120)
        await h.settled()
        assert len(model.requests) == 8  # what fell due was none of their own


async def test_what_a_limit_keeps_from_being_done_is_named(tmp_path: Path, clock: Clock) -> None:
    model = ScriptedModel(lambda request: "Done.")
    news = {"cron": "1 7 * * *", "prompt": "Gather the news.", "to": "telegram--100123"}
    limits = {"turns_per_day": 0}
    async with house(
        tmp_path, model, adapter=telegram(), now=clock, limits=limits, schedules={"news": news}
    ) as h:
        await remind(h, Once(MONDAY + 60), "Send me a summary", work=True)
        await wake(h, clock, MONDAY + 60)
        assert model.requests == []
        (told,) = h.texts("1")
        assert told.startswith("⏰ Send me a summary\n\nYou have had all the answers")
        (told,) = h.texts("-100123")
        assert told.startswith("⏰ news\n\nYou have had all the answers")


async def test_what_fails_when_it_is_due_is_named(tmp_path: Path, clock: Clock) -> None:
    model = ScriptedModel(lambda request: [ModelUnavailable("test", "down")])
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Once(MONDAY + 60), "Send me a summary", work=True)
        await wake(h, clock, MONDAY + 60)
        (told,) = h.texts("1")
        assert told.startswith("⏰ Send me a summary\n\n")
        assert "Send me a summary" not in told[20:]


@pytest.mark.parametrize("on_busy", ["collect", "interrupt"])
async def test_what_falls_due_neither_joins_nor_stops_what_a_person_asked(
    tmp_path: Path, clock: Clock, on_busy: str
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    def answer(request: ModelRequest) -> Sequence[Any]:
        begun.set()
        return [gate, "First."] if len(model.requests) == 1 else ["Later."]

    model = ScriptedModel(answer)
    chat = Chat("telegram", "1")
    async with house(tmp_path, model, adapter=telegram(), now=clock, streams={"on_busy": on_busy}) as h:
        await remind(h, Once(MONDAY + 60), "Work", work=True)
        await h.say("first", "1", chat, person=ANNA)
        await begun.wait()
        clock.time = MONDAY + 60
        await h.parts.scheduler.sweep("telegram")
        if on_busy == "collect":
            await h.say("second", "1", chat, person=ANNA)
        gate.set()
        await h.settled()
        assert h.texts()[0] == "First."
        assert len(model.requests) == (3 if on_busy == "collect" else 2)


# Missed


@pytest.mark.parametrize(
    ("missed", "texts"),
    [
        ("run", ["⏰ Tea\n\n(It was due at 2026-03-02 09:00.)"]),
        ("skip", []),
        ("notify", ["⏰ Tea\n\n(I was not running when this was due, at 2026-03-02 09:00.)"]),
    ],
)
async def test_what_was_missed_while_down_is_treated_as_its_policy_says(
    tmp_path: Path, clock: Clock, model: ScriptedModel, missed: str, texts: list[str], capfd: Any
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Once(at("2026-03-02 09:00")), missed=missed, grace=600)
        await wake(h, clock, at("2026-03-02 09:10:01"))
        assert h.texts() == texts
        assert "schedules_missed" in capfd.readouterr().out


async def test_within_its_grace_nothing_counts_as_missed(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Once(MONDAY + 60), missed="skip", grace=600)
        await remind(h, Once(MONDAY + 630), "Now", missed="skip")
        await wake(h, clock, MONDAY + 660)
        assert h.texts() == ["⏰ Tea", "⏰ Now"]


async def test_a_repeat_that_was_missed_many_times_comes_once_and_goes_on(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Cron("0 9 * * *"))
        await remind(h, Every(60, MONDAY), "Tick", BEN)
        await wake(h, clock, at("2026-03-12 09:30"))
        assert h.texts("1") == ["⏰ Tea\n\n(It was due at 2026-03-12 09:00.)"]
        assert h.texts("2") == ["⏰ Tick"]  # the last one is due right now
        await until(h, clock, at("2026-03-12 09:31:30"))
        assert h.texts("2") == ["⏰ Tick"] * 2
        assert len(h.texts("1")) == 1


async def test_what_repeats_does_not_pile_up_while_what_it_said_last_waits_for_its_platform(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Every(900, MONDAY + 900), "Quarter")
        await remind(h, Once(MONDAY + 1800), "Once")
        await remind(h, Cron("*/15 * * * *"), "Work", BEN, work=True)
        await out_of_reach(h, clock, [MONDAY + 900 * count for count in range(1, 9)])
        assert h.texts("1") == ["⏰ Quarter", "⏰ Once"]
        assert h.texts("2") == ["Done."]
        assert len(model.requests) == 1
        await wake(h, clock, MONDAY + 8100)
        assert h.texts("1")[2:] == ["⏰ Quarter"]
        assert len(model.requests) == 2


async def test_a_repeat_right_after_a_late_one_is_said_though_that_one_is_on_its_way(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Cron("* * * * *"))
        await out_of_reach(h, clock, [MONDAY + 60 + late for late in (59, 60)])
        assert h.texts("1") == ["⏰ Tea", "⏰ Tea"]


async def test_missed_work_that_is_only_told_names_itself_and_asks_no_model(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    news = {"cron": "0 9 * * *", "prompt": "What is new?", "to": "telegram-1", "missed": "notify", "grace": 0}
    async with house(tmp_path, model, adapter=telegram(), now=clock, schedules={"news": news}) as h:
        await h.parts.scheduler.sweep("telegram")
        await wake(h, clock, at("2026-03-02 12:00"))
        assert h.texts() == ["news\n\n(I was not running when this was due, at 2026-03-02 09:00.)"]
        assert model.requests == []


# The clock is set


async def test_a_clock_that_is_set_back_doubles_nothing_and_drops_nothing(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Cron("0 * * * *"), "Hour")
        await until(h, clock, at("2026-03-02 09:30"))
        assert len(h.texts()) == 2  # 8 and 9
        await wake(h, clock, at("2026-03-02 08:30"))
        await until(h, clock, at("2026-03-02 11:30"))
        assert len(h.texts()) == 4  # 10 and 11


async def test_a_clock_that_is_not_set_yet_brings_nothing_a_second_time(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    rent = {"cron": "1 7 2 * *", "text": "Rent", "to": "telegram-1"}
    for moment in (MONDAY, MONDAY + 60, MONDAY + 20 * 86400, 3600.0, MONDAY + 20 * 86400 + 60):
        clock.time = moment
        async with house(tmp_path, model, adapter=telegram(), now=clock, schedules={"rent": rent}) as h:
            await wake(h, clock, moment)
            assert h.texts() == (["Rent"] if moment == MONDAY + 60 else [])
            await h.database.write(lambda tx: tx.run("inbox_prune", before=clock() - KEEP_ROWS))


async def test_a_clock_that_was_ahead_for_a_while_drops_no_time_that_really_comes(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        await remind(h, Cron("0 9 * * *"), "Daily")
        await wake(h, clock, at("2027-03-02 10:00"))  # a wrong year
        assert len(h.texts()) == 1
        await wake(h, clock, at("2026-03-02 08:00"))
        await until(h, clock, at("2026-03-05 12:00"))
        assert len(h.texts()) == 1 + 4


# Who is let in


async def test_who_is_not_let_in_any_more_is_not_spoken_to_until_they_are_again(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    access = {"policy": "pairing", "allow": []}
    async with house(tmp_path, model, adapter=telegram(), now=clock, access=access) as h:
        await remind(h, Once(MONDAY + 60))
        await remind(h, Cron("0 9 * * *"), "Work", work=True)
        await until(h, clock, at("2026-03-02 10:00"))
        assert h.texts() == []
        assert model.requests == []
        assert set(h.rows("SELECT state, problem FROM schedules")) == {("paused", "not let in")}

        def approve(tx: Tx) -> None:
            code = people.ask(tx, "telegram-1", "Anna", asdict(Chat("telegram", "1")), clock())
            assert code is not None
            people.decide(tx, code, approved=True, by="telegram-9", at=clock())

        await h.database.write(approve)
        await h.parts.approvals.refresh()
        await h.parts.scheduler.refresh()
        await wake(h, clock, at("2026-03-02 10:01"))
        assert h.texts()[1] == "⏰ Tea\n\n(It was due at 2026-03-02 07:01.)"
        assert h.texts()[2] == "Done."
        assert len(model.requests) == 1


# The operator's


async def test_a_schedule_to_a_group_is_nobodys_turn_with_limits_and_a_transcript_of_its_own(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    access = {"policy": "closed"}
    schedule = {"cron": "0 9 * * *", "prompt": "What is new?", "to": "telegram--100123"}
    async with house(
        tmp_path, model, adapter=telegram(), now=clock, access=access, schedules={"news": schedule}
    ) as h:
        await until(h, clock, at("2026-03-03 12:00"))
        assert h.texts("-100123") == ["Done.", "Done."]
        assert "What is new?" in said(h, "schedule-news")[0][1]
        assert h.rows("SELECT DISTINCT user_id FROM usage") == [("telegram-schedule-news",)]


async def test_no_schedule_goes_to_a_group_that_the_configuration_does_not_want(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    schedule = {"cron": "0 9 * * *", "text": "Hello", "to": "telegram--100123"}
    access = {"policy": "open", "groups": ["telegram--7"]}
    async with house(
        tmp_path, model, adapter=telegram(), now=clock, access=access, schedules={"news": schedule}
    ) as h:
        await until(h, clock, at("2026-03-03 12:00"))
        assert h.adapter.posts == []
        assert h.adapter.left == []


async def test_each_subscriber_gets_their_own_turn_until_they_end_it(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    news = {"cron": "0 9 * * *", "prompt": "What is new?", "to": "subscribers"}
    async with house(tmp_path, model, adapter=telegram(), now=clock, schedules={"news": news}) as h:
        anna, ben = Chat("telegram", "1"), Chat("telegram", "2")
        for text, chat, person in (
            ("/subscribe", anna, ANNA),
            ("/subscribe news", anna, ANNA),
            ("/subscribe news", anna, ANNA),
            ("/subscribe", anna, ANNA),
            ("/subscribe weather", ben, BEN),
            ("/subscribe NEWS", ben, BEN),
            ("/subscribe news", GROUP, BEN),
        ):
            await h.say(text, "", chat, person=person)
            await h.settled()
        assert "news: every day at 09:00 (UTC)" in h.texts("1")[0]
        assert h.texts("1")[1] == h.texts("1")[2]
        assert "Monday 2026-03-02 at 09:00 (UTC)" in h.texts("1")[1]
        assert "which you get" in h.texts("1")[3]
        assert "nothing of that name" in h.texts("2")[0]
        await until(h, clock, at("2026-03-02 10:00"))
        assert h.texts("1")[4:] == ["Done."]
        assert h.texts("2")[2:] == ["Done."]
        assert h.texts("-100123") == ["I tell that only in private. Write to me there."]
        await h.say("/unsubscribe news", "", anna, person=ANNA)
        await h.say("/unsubscribe news", "", anna, person=ANNA)
        await until(h, clock, at("2026-03-03 10:00"))
        assert h.texts("1")[5:] == [
            "You will not get news any more.",
            "You have not subscribed to that. /subscribe lists what there is.",
        ]
        assert h.texts("2")[2:] == ["Done."] * 2


async def test_who_subscribes_while_the_configuration_changes_gets_what_it_says_then(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    news = {"cron": "0 9 * * *", "prompt": "What is new?", "to": "subscribers"}
    async with house(tmp_path, model, adapter=telegram(), now=clock, schedules={"news": news}) as h:
        turns, update = h.parts.turns, h.update("/subscribe news", "", Chat("telegram", "1"), person=ANNA)
        answer = await subscribe(CommandContext(turns, Job(1, "", "command", update)))
        turns.setup.schedules = {}
        await h.parts.scheduler.sweep("telegram")
        assert callable(answer.text)
        assert "nothing of that name" in await h.database.write(answer.text)
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]


async def test_a_person_who_never_wrote_is_waited_for_where_their_chat_is_not_known(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    schedule = {"cron": "0 9 * * *", "text": "Hello", "to": "discord-80351"}
    adapter = MemoryAdapter("discord")
    async with house(tmp_path, model, adapter=adapter, now=clock, schedules={"hello": schedule}) as h:
        await h.parts.scheduler.sweep("discord")
        clock.time = at("2026-03-02 09:00")
        await h.parts.scheduler.sweep("discord")
        assert h.rows("SELECT problem FROM schedules") == [("they have not written in private yet",)]
        assert adapter.posts == []
        await h.say("hi", "", Chat("discord", "555"), person=Person("discord-80351"))
        await h.settled()
        clock.time = at("2026-03-03 09:00")
        await h.parts.scheduler.sweep("discord")
        await h.settled()
        assert h.texts("555") == ["Done.", "Hello"]
        assert h.rows("SELECT problem FROM schedules") == [("",)]


async def test_an_unchanged_schedule_is_due_when_it_was_and_a_changed_one_anew(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    def config(**more: Any) -> dict[str, ScheduleConfig]:
        return {
            name: ScheduleConfig(cron=cron, text=name, to="telegram-1", **more)
            for name, cron in (("a", "0 9 * * *"), ("b", "0 10 * * *"))
        }

    async with house(tmp_path, model, adapter=telegram(), now=clock) as h:
        setup = h.parts.turns.setup
        setup.schedules = config()
        await h.parts.scheduler.sweep("telegram")
        clock.time = at("2026-03-02 09:30")  # a is due, and is still there after a reload
        changed = config(grace=7200)
        changed["b"] = ScheduleConfig(cron="15 9 * * *", text="b", to="telegram-1")
        setup.schedules = changed
        await wake(h, clock, clock.time)
        assert h.texts() == ["a"]
        assert h.rows("SELECT name, next_at FROM schedules ORDER BY name") == [
            ("a", at("2026-03-03 09:00")),
            ("b", at("2026-03-03 09:15")),
        ]
        setup.schedules = {}
        await wake(h, clock, at("2026-03-04 12:00"))
        assert h.texts() == ["a"]
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]


# Quiet hours


async def test_in_quiet_hours_the_operators_schedules_wait_and_a_persons_own_reminder_does_not(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    zone = {"timezone": "Europe/Vienna"}
    late = {"cron": "30 22,23 * * *", "text": "News", "to": "telegram-1", **zone}
    group = {"cron": "30 23 * * *", "text": "News", "to": "telegram--100123"}
    async with house(
        tmp_path, model, adapter=telegram(), now=clock, schedules={"late": late, "group": group}
    ) as h:
        await h.say("/timezone Europe/Vienna", "", Chat("telegram", "1"), person=ANNA)
        await h.say("/quiet 23:00-07:30", "", Chat("telegram", "1"), person=ANNA)
        await h.settled()
        set_up = len(h.texts("1"))
        await remind(h, Once(at("2026-03-03 03:00", "Europe/Vienna")), "Medicine")
        await until(h, clock, at("2026-03-03 07:29", "Europe/Vienna"))
        assert h.texts("1")[set_up:] == ["News", "⏰ Medicine"]
        assert h.texts("-100123") == ["News"]
        await until(h, clock, at("2026-03-03 07:30", "Europe/Vienna"))
        assert h.texts("1")[set_up:] == ["News", "⏰ Medicine", "News"]


async def test_what_waits_for_the_end_of_quiet_hours_comes_as_soon_as_there_are_none(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    news = {"cron": "* * * * *", "text": "News", "to": "telegram-1"}
    async with house(tmp_path, model, adapter=telegram(), now=clock, schedules={"news": news}) as h:
        await h.say("/quiet 06:00-23:00", "", Chat("telegram", "1"), person=ANNA)
        await h.settled()
        await until(h, clock, MONDAY + 3600)
        assert "News" not in h.texts("1")
        assert h.rows("SELECT problem FROM schedules") == [(schedules.QUIET,)]
        await h.say("/quiet off", "", Chat("telegram", "1"), person=ANNA)
        await h.settled()
        await until(h, clock, MONDAY + 3600)
        assert h.texts("1")[-1:] == ["News"]
        assert h.texts("1").count("News") == 1
        await until(h, clock, MONDAY + 3720)
        assert h.texts("1").count("News") == 3


# One terminal, several people


def terminal(user: str) -> MemoryAdapter:
    return MemoryAdapter("telegram", private_by_id=True, only_chat=user)


async def test_what_is_for_one_person_waits_for_them_and_is_not_said_at_anothers_terminal(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    async with house(tmp_path, model, adapter=terminal("1"), now=clock) as h:
        await remind(h, Once(MONDAY + 60), "Secret")
        await remind(h, Once(MONDAY + 120), "Secret, too")
        notice = own.update("told", Chat("telegram", "1"), ANNA, command=own.NOTICE, args="Linked")
    async with house(tmp_path, model, adapter=terminal("2"), now=clock) as h:
        clock.time = MONDAY + 60
        await h.hand_in(notice)
        await until(h, clock, MONDAY + 3600)
        await remind(h, Once(MONDAY + 3700), "Mine", BEN)
        await until(h, clock, MONDAY + 3700)
        assert [text for _, _, text in h.adapter.posts] == ["⏰ Mine"]
    async with house(tmp_path, model, adapter=terminal("1"), now=clock) as h:
        await until(h, clock, MONDAY + 3700)
        said = [text for _, _, text in h.adapter.posts]
        assert [text.splitlines()[0] for text in said] == ["Linked", "⏰ Secret", "⏰ Secret, too"]
        assert "late" in said[1] or "due" in said[1]


async def test_a_reply_that_one_person_is_owed_is_not_shown_at_anothers_terminal(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    first = terminal("1")
    first.trouble = [("post", Unavailable("away"))] * 50
    async with house(tmp_path, model, adapter=first, now=clock) as h:
        await h.say("hello", "", Chat("telegram", "1"), person=ANNA)
        await h.parts.engine.idle()
    async with house(tmp_path, model, adapter=terminal("2"), now=clock) as h:
        await h.settled()
        assert h.adapter.posts == []
    async with house(tmp_path, model, adapter=terminal("1"), now=clock) as h:
        await h.settled()
        assert h.texts("1") == ["Done."]


# Groups that move


async def test_a_group_that_has_another_id_gets_its_schedules_there(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    schedule = {"cron": "0 9 * * *", "text": "Hello", "to": "telegram--100123"}
    async with house(tmp_path, model, adapter=telegram(), now=clock, schedules={"hello": schedule}) as h:
        await h.parts.scheduler.sweep("telegram")
        await remind(h, Once(MONDAY + 60), chat=Chat("telegram", "-100123", "group", thread="7"))
        await h.say("-100777", "", GROUP, kind="migrated")
        await h.settled()
        await until(h, clock, at("2026-03-02 10:00"))
        assert h.texts("-100777") == ["⏰ Anna: Tea", "Hello"]
        h.parts.turns.setup.schedules = {"hello": ScheduleConfig(**schedule, grace=1)}
        await until(h, clock, at("2026-03-03 10:00"))
        assert h.texts("-100777") == ["⏰ Anna: Tea", "Hello", "Hello"]
        assert h.texts("-100123") == []


# What an operator sees


async def test_the_status_and_the_command_line_tell_what_is_scheduled_and_nobodys_words(
    tmp_path: Path, clock: Clock, model: ScriptedModel
) -> None:
    schedule = {"cron": "0 9 * * mon-fri", "text": "Secret plan", "to": "discord-80351"}
    adapter = MemoryAdapter("discord")
    async with house(tmp_path, model, adapter=adapter, now=clock, schedules={"hello": schedule}) as h:
        await h.parts.scheduler.sweep("discord")
        await remind(h, Once(MONDAY + 60), "Secret tea", Person("discord-7"), Chat("discord", "7"))
        report = await h.parts.turns.report()
        assert "schedules: 2 active, 0 paused, next at 2026-03-02 07:01:00 UTC" in report
        config = tmp_path / "boswell.yaml"
        config.write_text(f"adapters: {{console: {{}}}}\ndata_dir: {tmp_path}\n")

        def told(*more: str) -> str:
            arguments = ["schedules", "--config", str(config), *more]
            return CliRunner().invoke(main, arguments, catch_exceptions=False).output

        assert ", Monday 2026-03-02 at 07:01 (UTC)  active" in await asyncio.to_thread(told)
        clock.time = at("2026-03-02 09:00")
        await h.parts.scheduler.sweep("discord")
        await h.settled()
        assert "hello to discord-80351: they have not written in private yet" in await h.parts.turns.report()
        text, [data] = await asyncio.to_thread(told), json.loads(await asyncio.to_thread(told, "--json"))
        assert (
            "2026-03-03 09:00:00 UTC  hello to discord-80351 in private, every weekday at 09:00 (UTC)" in text
        )
        assert data["next_at"] == at("2026-03-03 09:00")
        assert "Secret" not in text + str(data) + report


async def test_a_running_boswell_notices_at_once_what_another_process_schedules(tmp_path: Path) -> None:
    async with running(tmp_path, lambda _: Reply(text=("Done.",))) as b:

        def fill(tx: Tx) -> None:
            now = time.time()
            add(tx, Person("telegram-1"), Once(now + 0.5), "UTC", now, "Tea")

        async with open_database(b.path.parent / "data" / "boswell.db") as database:
            await database.write(fill)
        await b.shows(1, "⏰ Tea")


@pytest.mark.parametrize(
    ("place", "group"),
    [
        ("telegram-1001", False),
        ("telegram--100123", True),
        ("slack-T024BE7LD-U77", False),
        ("slack-T024BE7LD-C61", True),
        ("discord-80351110224678912", False),
        ("discord-80351110224678912-41771983423143937", True),
        ("console-ada", False),
    ],
)
def test_an_id_tells_whether_it_is_a_groups(place: str, group: bool) -> None:
    assert is_group(place) is group
