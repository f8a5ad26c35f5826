"""The reminder tools: what a model may write, what it is told, and that a call is done once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import Chat, Person, Update
from bot import reminders, triggers
from bot.events import ToolCall, Variables
from bot.reminders import Bounds
from bot.tools import ALL
from bot.tools.base import ToolContext, ToolProblem
from bot.tools.reminders import _Asked
from bot.triggers import Cron, Every, Once, Trigger
from bot.when import Impossible
from memory import schedules
from memory.database import Database, open_database
from memory.schedules import Schedule
from memory.transcripts import Transcripts
from tests.fakes.clock import Clock, at

VIENNA = "Europe/Vienna"
ANNA = Person("telegram-1", "Anna", "de")
HOME, GROUP = Chat("telegram", "1"), Chat("telegram", "-100", "group", "Book club", "7")
TOOLS = {tool.name: tool for tool in ALL["reminders"]}


class Anna:
    """Anna's model, on a Wednesday at half past two in Vienna."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.clock = Clock(at("2026-11-25 14:30", VIENNA))
        self.stirred = 0
        self.bounds = Bounds(count=100, repeat=900, days=1830)
        self.zone = VIENNA
        self._transcripts = Transcripts(folder)
        self._calls = 0

    def _stir(self) -> None:
        self.stirred += 1

    async def call(self, name: str, *, chat: Chat = HOME, key: str = "", **arguments: Any) -> str:
        self._calls += 1
        update = Update("telegram:1", "1", chat, ANNA, "…")
        context = ToolContext(
            Variables(
                ANNA.id,
                chat_key=chat.key,
                chat_id=chat.id,
                platform=chat.platform,
                private=chat.kind == "private",
                timezone=self.zone,
            ),
            self._transcripts,
            self.clock,
            key or f"7.call_{self._calls}",
            update=update,
            database=self.database,
            reminders=self.bounds,
            stir=self._stir,
        )
        return await TOOLS[name].call(ToolCall("call", name, json.dumps(arguments)), context)

    async def set(self, text: str = "Tea", **arguments: Any) -> str:
        return await self.call("set_reminder", text=text, **arguments)

    async def kept(self) -> list[Schedule]:
        return await self.database.read(lambda tx: schedules.of_people(tx, [ANNA.id]))

    async def refused(self, name: str = "set_reminder", **arguments: Any) -> str:
        """What it is told, and that nothing was set."""
        before = await self.kept()
        if name == "set_reminder":
            arguments = {"text": "Tea", **arguments}
        with pytest.raises(ToolProblem) as caught:
            await self.call(name, **arguments)
        assert await self.kept() == before
        return str(caught.value).removeprefix("Nothing was set. ")


@pytest.fixture
async def anna(tmp_path: Path) -> AsyncIterator[Anna]:
    async with open_database(tmp_path / "boswell.db") as database:
        yield Anna(database, tmp_path)


def vienna(text: str) -> float:
    return at(text, VIENNA)


# Setting


@pytest.mark.parametrize(
    ("arguments", "due", "trigger"),
    [
        ({"in_minutes": 20}, "2026-11-25 14:50", Once),
        ({"in_minutes": 0.5}, "2026-11-25 14:30:30", Once),
        ({"at": "2026-11-27T09:00"}, "2026-11-27 09:00", Once),
        ({"at": "2026-11-27 09:00:00"}, "2026-11-27 09:00", Once),
        ({"at": "2026-11-27T09:00+01:00"}, "2026-11-27 09:00", Once),
        ({"at": "2026-11-27"}, "2026-11-27 09:00", Once),
        ({"at": "tomorrow at nine"}, "2026-11-26 09:00", Once),
        ({"at": "2026-11-27T09:00", "repeat": "", "until": ""}, "2026-11-27 09:00", Once),
        ({"repeat": "30 8 * * mon-fri"}, "2026-11-26 08:30", Cron),
        ({"repeat": "weekdays at 8:30"}, "2026-11-26 08:30", Cron),
        ({"repeat": "daily at 8:30"}, "2026-11-26 08:30", Cron),
        ({"repeat": "weekly on friday at 17:00"}, "2026-11-27 17:00", Cron),
        ({"repeat": "monday at 9"}, "2026-11-30 09:00", Cron),
        ({"repeat": "every 2 hours"}, "2026-11-25 16:30", Every),
        ({"repeat": "20 minutes"}, "2026-11-25 14:50", Every),
        ({"repeat": "daily", "at": "08:30"}, "2026-11-26 08:30", Cron),
        ({"repeat": "daily", "at": "2026-11-25T08:00"}, "2026-11-26 08:00", Cron),
        ({"repeat": "every 2 days at 8:00", "at": "2026-11-20T08:00"}, "2026-11-26 08:00", Every),
        ({"repeat": "weekly", "at": "2026-12-04T18:15"}, "2026-12-04 18:15", Cron),
        ({"repeat": "weekdays at 8:30", "at": "2026-12-05T00:00"}, "2026-12-07 08:30", Cron),
        ({"repeat": "every 2 hours", "at": "2026-11-26T10:00"}, "2026-11-26 10:00", Every),
        ({"repeat": "every other day", "at": "2026-11-28T07:00"}, "2026-11-28 07:00", Every),
    ],
)
async def test_a_time_is_understood_by_the_persons_clock(
    anna: Anna, arguments: dict[str, Any], due: str, trigger: type[Trigger]
) -> None:
    await anna.set(**arguments)
    (kept,) = await anna.kept()
    assert kept.next_at == vienna(due)
    assert type(triggers.load(kept.trigger)) is trigger
    assert anna.stirred == 1


async def test_it_goes_where_it_was_set_and_is_whose_it_was_set_by(anna: Anna) -> None:
    await anna.set("Tea **now**", in_minutes=20, chat=GROUP, work=True)
    (kept,) = await anna.kept()
    assert (kept.user_id, Person(**kept.person)) == (ANNA.id, ANNA)
    assert (Chat(**kept.chat), kept.chat_key, kept.platform) == (GROUP, "telegram:-100:7", "telegram")
    assert (kept.kind, kept.text, kept.work, kept.zone) == ("reminder", "Tea **now**", True, VIENNA)


async def test_what_was_set_is_confirmed_with_its_weekday_date_time_and_zone(anna: Anna) -> None:
    assert await anna.set(at="2026-11-27T09:00") == (
        "Reminder 1 is set for Friday 2026-11-27 at 09:00 (Europe/Vienna). It says: Tea"
    )
    assert await anna.set(repeat="weekdays at 8:30", until="2026-12-24", work=True) == (
        "Reminder 2 is set, every weekday at 08:30. Next: Thursday 2026-11-26 at 08:30 (Europe/Vienna); "
        "Friday 2026-11-27 at 08:30 (Europe/Vienna); Monday 2026-11-30 at 08:30 (Europe/Vienna). "
        "It ends Thursday 2026-12-24 at 23:59 (Europe/Vienna). I will work on it then. It says: Tea"
    )


async def test_of_what_ends_soon_only_the_times_that_will_come_are_told(anna: Anna) -> None:
    said = await anna.set(repeat="daily at 8:30", until="2026-11-27T12:00")
    assert said.count("(Europe/Vienna)") == 3
    assert "2026-11-28" not in said


async def test_a_time_that_the_clocks_skip_or_repeat_is_told(anna: Anna) -> None:
    said = await anna.set(at="2027-03-28T02:30")
    assert "at 03:00" in said
    assert "02:30 does not exist that day" in said
    assert "02:30 comes twice that day" in await anna.set(at="2027-10-31T02:30")
    second = await anna.set(at="2027-10-31T02:30+01:00")
    assert "twice" not in second
    gap, first, last = sorted(kept.next_at for kept in await anna.kept())
    assert (gap, last - first) == (vienna("2027-03-28 03:00"), 3600)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "Tell when: with at, in_minutes or repeat."),
        ({"at": "  "}, "Tell when: with at, in_minutes or repeat."),
        ({"in_minutes": 5, "at": "tomorrow"}, "Give in_minutes alone, or at, or repeat"),
        ({"in_minutes": 5, "until": "tomorrow"}, "until is for what repeats."),
        ({"at": "tomorrow", "until": "friday"}, "until is for what repeats."),
        ({"at": "soonish"}, "I did not understand when “soonish” is."),
        ({"at": "2026-11-25T14:29"}, "2026-11-25 14:29 has passed already."),
        ({"at": "today at 8"}, "2026-11-25 08:00 has passed already."),
        (
            {"at": "2026-11-27T09:00Z"},
            "2026-11-27T09:00 with an offset from UTC that Europe/Vienna does not have",
        ),
        ({"at": "2040-01-01"}, "too far ahead. I keep reminders for at most 1830 days."),
        ({"at": "every day at 9", "repeat": "daily"}, "With repeat, at is the date and time when it begins."),
        (
            {"repeat": "every 5 minutes"},
            "That repeats every 5 minutes. The shortest that my operator allows is 15",
        ),
        ({"repeat": "*/14 * * * *"}, "That repeats every 4 minutes."),
        ({"repeat": "0 9 * * 1-5"}, "Write weekdays by name, mon to sun"),
        ({"repeat": "0 25 * * mon"}, "That is no cron expression: '25' is no hour"),
        ({"repeat": "0 9 31 feb *"}, "That is no cron expression: there is no such day in these months"),
        ({"at": "28 Brumaire 2027 at 2:30"}, "I did not understand when “28 Brumaire 2027 at 2:30” is."),
        ({"at": "28 March 2025 at 2:30"}, "2025-03-28 02:30 has passed already."),
        ({"repeat": "bananas"}, "I did not understand when “every bananas” is."),
        ({"repeat": "daily at 9", "until": "2026-11-25T20:00"}, "never comes, or only after it shall end"),
        ({"repeat": "daily at 9", "until": "bananas"}, "I did not understand when “bananas” is."),
        ({"repeat": "every 999999 weeks"}, "too far ahead"),
        ({"at": "0001-01-01T00:00"}, "1-01-01 00:00 has passed already."),
        ({"at": "9999-12-31T23:59"}, "too far ahead to reckon with"),
        ({"repeat": "daily at 9", "at": "9999-12-31T23:59"}, "too far ahead to reckon with"),
        ({"repeat": "daily at 9", "until": "9999-12-31"}, "too far ahead to reckon with"),
        ({"repeat": "daily at 9", "until": "0001-01-01T00:00"}, "1-01-01 00:00 has passed already."),
        ({"in_minutes": 1e300}, "too far ahead"),
        ({"text": " \u200b ", "in_minutes": 5}, "There is nothing to remind of."),
        ({"text": "x" * 4001, "in_minutes": 5}, "It may have 4000 characters."),
    ],
)
async def test_what_can_not_be_set_is_told_in_a_sentence(
    anna: Anna, arguments: dict[str, Any], told: str
) -> None:
    assert told in await anna.refused(**arguments)
    assert anna.stirred == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"in_minutes": 5, "user_id": "telegram-2"},
        {"in_minutes": 5, "chat_id": "telegram--200"},
        {"in_minutes": 5, "zone": "UTC"},
        {"at": "tomorrow", "timezone": "UTC"},
        {"in_minutes": 0},
        {"in_minutes": -5},
        {"in_minutes": "soon"},
        {"text": None, "in_minutes": 5},
        {"in_minutes": 5, "work": "perhaps"},
    ],
)
async def test_arguments_that_the_tool_does_not_have_are_refused(
    anna: Anna, arguments: dict[str, Any]
) -> None:
    assert "was not run" in await anna.refused(**arguments)


async def test_no_model_can_write_what_the_database_can_not_keep(anna: Anna) -> None:
    await anna.set("tea\0", in_minutes=5)
    assert [kept.text for kept in await anna.kept()] == ["tea\N{REPLACEMENT CHARACTER}"]
    assert "not valid JSON" in await anna.refused(text="\ud800", in_minutes=5)


async def test_there_may_be_so_many_and_no_more(anna: Anna) -> None:
    anna.bounds = Bounds(count=2)
    await anna.set(in_minutes=1)
    await anna.set(in_minutes=2)
    assert "You have 2 of at most 2 reminders." in await anna.refused(in_minutes=3)
    await anna.call("cancel_reminder", id=1)
    await anna.set(in_minutes=3)


async def test_where_there_is_no_bound_anything_goes(anna: Anna) -> None:
    anna.bounds = Bounds()
    await anna.set(repeat="* * * * *")
    await anna.set(at="2099-01-01T00:00")
    assert len(await anna.kept()) == 2


# A call that runs again


async def test_a_call_that_runs_again_sets_no_second_one_and_says_the_same(anna: Anna) -> None:
    said = await anna.set(in_minutes=20, key="7.call_a")
    anna.clock.time += 3600
    assert await anna.set(in_minutes=20, key="7.call_a") == said
    assert len(await anna.kept()) == 1


async def test_it_sets_no_second_one_either_when_the_first_was_said_meanwhile(anna: Anna) -> None:
    said = await anna.set(in_minutes=20, key="7.call_a")
    (kept,) = await anna.kept()
    await anna.database.write(lambda tx: schedules.advance(tx, kept, None, anna.clock.time))
    assert await anna.set(in_minutes=20, key="7.call_a") == said
    assert await anna.kept() == []


async def test_calls_that_a_model_gave_the_same_id_are_told_apart(anna: Anna) -> None:
    await anna.set("Tea", in_minutes=20, key="7.call_0")
    await anna.set("Coffee", in_minutes=20, key="7.call_0")
    assert {kept.text for kept in await anna.kept()} == {"Tea", "Coffee"}


async def test_a_cancellation_that_runs_again_says_the_same(anna: Anna) -> None:
    await anna.set(in_minutes=20)
    said = await anna.call("cancel_reminder", id=1, key="7.call_b")
    assert await anna.call("cancel_reminder", id=1, key="7.call_b") == said == "Reminder 1 is cancelled."


# Listing and cancelling


async def test_reminders_are_listed_with_their_ids_the_next_first(anna: Anna) -> None:
    assert await anna.call("list_reminders") == "They have no reminders."
    await anna.set("Stand up", repeat="weekdays at 8:30", until="2026-12-24")
    await anna.set("Tea\n\nin the pot", in_minutes=20)
    await anna.set("the news", at="tomorrow", work=True, chat=GROUP)
    assert (await anna.call("list_reminders")).splitlines() == [
        "2: Wednesday 2026-11-25 at 14:50 (Europe/Vienna): Tea in the pot",
        (
            "1: every weekday at 08:30, next Thursday 2026-11-26 at 08:30 (Europe/Vienna), "
            "until Thursday 2026-12-24 at 23:59 (Europe/Vienna): Stand up"
        ),
        "3: Thursday 2026-11-26 at 09:00 (Europe/Vienna) (to be worked on) (in Book club): the news",
    ]


async def test_in_a_group_those_that_were_set_there_are_listed_and_can_be_cancelled(anna: Anna) -> None:
    await anna.set("private", in_minutes=20)
    assert await anna.call("list_reminders", chat=GROUP) == "They have no reminders in this chat."
    await anna.set("of the group", in_minutes=20, chat=GROUP)
    other = Chat("telegram", "-200", "group")
    for chat, number in ((GROUP, 1), (other, 1), (other, 2)):
        assert f"There is no reminder {number} of theirs here." in await anna.refused(
            "cancel_reminder", id=number, chat=chat
        )
    listed = await anna.call("list_reminders", chat=GROUP)
    assert "of the group" in listed
    assert "private" not in listed
    thread = Chat("telegram", "-100", "group", "Book club", "8")
    await anna.call("cancel_reminder", id=2, chat=thread)
    assert [kept.id for kept in await anna.kept()] == [1]


@pytest.mark.parametrize("number", [0, -1, 2, 10**30, "1; DROP TABLE schedules"])
async def test_a_number_that_is_none_of_theirs_cancels_nothing(anna: Anna, number: object) -> None:
    await anna.set(in_minutes=20)
    assert await anna.refused("cancel_reminder", id=number)


# Whatever a model writes

PIECES = """
every day weekday other monday friday and until at on in the of month last 9 8:30 29 31 999999 months years weeks hours minutes
february december noon midnight tomorrow tonight next * */5 0 mon-fri , 2026-11-27 2027-03-28T02:30 9999-12-31 0001-01-01 12pm
evening starting from now 1.1.9999 1h30m
"""
words = st.none() | st.lists(st.sampled_from(PIECES.split()), max_size=6).map(" ".join) | st.text(max_size=20)


@settings(max_examples=400, deadline=None)
@given(
    words,
    st.none() | st.floats(0.001, allow_nan=False),
    words,
    words,
    st.sampled_from([VIENNA, "Australia/Lord_Howe"]),
)
def test_whatever_a_model_writes_it_is_a_time_to_come_that_can_be_told_or_a_sentence(
    when: str | None, minutes: float | None, repeat: str | None, until: str | None, zone: str
) -> None:
    now = vienna("2026-11-25 14:30")
    try:
        plan = _Asked(when, minutes, repeat, until).plan(zone, now, Bounds(repeat=60))
    except ToolProblem as exc:
        told = str(exc)
    except Impossible as exc:
        told = reminders.impossible(exc)
    else:
        assert plan.first > now
        assert plan.until is None or plan.until >= plan.first
        trigger = triggers.dump(plan.trigger)
        schedule = Schedule(
            "reminder", "telegram", ANNA.id, {}, {}, "", "Tea", trigger, zone, plan.first, now
        )
        told = reminders.confirmed(schedule, plan)
        assert reminders.line(schedule).endswith(": Tea")
    assert told
