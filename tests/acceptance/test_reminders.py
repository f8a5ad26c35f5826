"""Reminders as people meet them: set and taken back in words, said where they were set, and nobody else's business."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.base import Button, Chat, ChatGone, Update
from bot.app import prune
from bot.events import ToolCall, ToolReturned, UserSaid
from bot.models.base import ModelRequest
from bot.models.demo import DemoModel
from memory import links, people
from tests.fakes.clock import Clock, at
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

VIENNA = "Europe/Vienna"
GROUP = Chat("memory", "-100", "group", "Book club")
OTHER = Chat("memory", "-200", "group", "Chess")
SECTIONS: dict[str, Any] = {"limits": {"turns_per_minute": None}}


class Quick(DemoModel):
    pause = 0
    slow_pause = 0


@pytest.fixture
def clock() -> Clock:
    """A Wednesday, half past two in Vienna, which is the person's zone by the configuration."""
    return Clock(at("2026-11-25 14:30", VIENNA))


def unasked() -> ScriptedModel:
    def answer(request: ModelRequest) -> str:
        raise AssertionError("nobody asked for a model")

    return ScriptedModel(answer)


def open_house(folder: Path, clock: Clock, model: Any = None, **sections: Any) -> Any:
    memory = {"dir": str(folder / "memory"), "timezone": VIENNA}
    return house(folder, model or unasked(), now=clock, **{**SECTIONS, "memory": memory, **sections})


async def ask(h: House, text: str, user: str = "1", chat: Chat | None = None, **more: Any) -> str:
    """What is said back."""
    return await h.ask(text, user, chat, addressed=True, **more)


async def wait(h: House, clock: Clock, seconds: float) -> None:
    """Let so much time pass, from one thing that is due to the next."""
    end = clock.time + seconds
    while (due := await h.parts.scheduler.sweep("memory")) is not None and due <= end:
        await h.settled()
        clock.time = max(clock.time, due)
    clock.time = end
    await h.parts.scheduler.sweep("memory")
    await h.settled()


def below(h: House) -> tuple[Button, ...]:
    """The buttons of the last message."""
    return h.adapter.buttons[str(len(h.adapter.posts))]


# Without a model


async def test_a_reminder_is_set_by_a_command_and_said_when_it_is_due(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock) as h:
        said = await ask(h, "/remind in 20 minutes to make **tea**")
        assert said == (
            "Reminder 1 is set for Wednesday 2026-11-25 at 14:50 (Europe/Vienna). It says: make **tea**"
        )
        await wait(h, clock, 1199)
        assert len(h.texts()) == 1
        await wait(h, clock, 1)
        assert h.texts()[1:] == ["⏰ make **tea**"]
        assert await ask(h, "/reminders") == (
            "You have no reminders. To set one: /remind tomorrow at 9 water the plants"
        )


@pytest.mark.parametrize(
    ("args", "text", "due"),
    [
        ("tomorrow at 9 water the plants", "water the plants", "2026-11-26 09:00"),
        ("water the plants tomorrow at 9", "water the plants", "2026-11-26 09:00"),
        ("me to call mum on friday evening", "call mum", "2026-11-27 20:00"),
        ("2026-12-24 18:00: presents", "presents", "2026-12-24 18:00"),
        ("every weekday at 8:30 stand up", "stand up", "2026-11-26 08:30"),
        ("28 March 2027 at 4:30 foo", "foo", "2027-03-28 04:30"),
        ("sunday 28 March 2027 at 4:30 foo", "foo", "2027-03-28 04:30"),
        ("last day of the month at 18:00 x", "x", "2026-11-30 18:00"),
        ("every 2 hours drink until friday", "drink", "2026-11-25 16:30"),
    ],
)
async def test_the_time_may_come_first_or_last(
    tmp_path: Path, clock: Clock, args: str, text: str, due: str
) -> None:
    async with open_house(tmp_path, clock) as h:
        assert f"It says: {text}" in await ask(h, f"/remind {args}")
        assert h.rows("SELECT text, next_at FROM schedules") == [(text, at(due, VIENNA))]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("", "Tell me when, and then what:"),
        ("bananas", "Tell me when, and then what:"),
        ("tomorrow at 9", "There is nothing to remind of."),
        ("2026-11-24 at 8 tea", "2026-11-24 08:00 has passed already."),
        ("every 5 minutes hop", "The shortest that my operator allows is 15 minutes."),
        ("2040-01-01 party", "I keep reminders for at most 1830 days."),
        ("31 february nothing", "There is no such date."),
        ("every minute hop", "That repeats every minute. The shortest"),
        ("sunday 2026-03-29 at 2:30 foo", "2026-03-29 02:30 has passed already."),
        ("monday 2027-03-28 at 2:30 foo", "2027-03-28 is on another weekday than you said."),
        ("sunday 31/12/2026 at 2:30 foo", "I did not understand “sunday 31/12/2026”."),
        ("yesterday at 9 tea", "2026-11-24 09:00 has passed already."),
        ("at 25:00 tea", "“25:00” is no time of day."),
    ],
)
async def test_what_can_not_be_set_is_answered_in_a_sentence(
    tmp_path: Path, clock: Clock, args: str, said: str
) -> None:
    async with open_house(tmp_path, clock) as h:
        assert said in await ask(h, f"/remind {args}")
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]


async def test_the_list_has_a_button_for_each_that_cancels_it(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind tomorrow at 9 one")
        await ask(h, "/remind every weekday at 8:30 two")
        listed = await ask(h, "/reminders")
        assert listed.splitlines() == [
            "- 2: every weekday at 08:30, next Thursday 2026-11-26 at 08:30 (Europe/Vienna): two",
            "- 1: Thursday 2026-11-26 at 09:00 (Europe/Vienna): one",
        ]
        assert below(h) == (
            Button("Cancel 2", f"reminders cancel 2@{int(clock.time)}"),
            Button("Cancel 1", f"reminders cancel 1@{int(clock.time)}"),
        )
        assert await ask(h, "/reminders cancel 2") == "Reminder 2 is cancelled."
        assert (
            await ask(h, "/reminders cancel 2")
            == "There is no reminder 2 of yours here. /reminders lists them."
        )
        for wrong in ("cancel", "cancel x", "drop 1", "cancel 99999999999999999999"):
            assert (await ask(h, f"/reminders {wrong}")).startswith("/reminders lists yours")
        assert len((await ask(h, "/reminders")).splitlines()) == 1


async def test_a_long_list_fits_into_a_message_and_tells_how_many_are_missing(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        for number in range(60):
            await ask(h, f"/remind tomorrow at 9 {'x' * 300} {number}")
        listed = await ask(h, "/reminders")
        shown = listed.count("\n- ") + 1
        assert listed.endswith(f"\n… and {60 - shown} more")
        assert len(listed) < 4000
        assert len(below(h)) == 5


async def test_a_person_may_have_as_many_as_the_configuration_says(tmp_path: Path, clock: Clock) -> None:
    limits = {"turns_per_minute": None, "reminders": 1, "reminder_repeat": 60, "reminder_days": None}
    async with open_house(tmp_path, clock, limits=limits) as h:
        assert "is set, every minute. Next" in await ask(h, "/remind every minute hop")
        assert "You have 1 of at most 1 reminders." in await ask(h, "/remind 2090-01-01 x")
        assert "is set" in await ask(h, "/remind 2090-01-01 x", "2")


# With one


async def test_the_demo_model_sets_lists_and_cancels_in_plain_words(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock, Quick("main")) as h:
        assert await ask(h, "remind me in 20 minutes to make tea") == (
            "Reminder 1 is set for Wednesday 2026-11-25 at 14:50 (Europe/Vienna). It says: make tea"
        )
        assert "every weekday at 08:30" in await ask(h, "Remind me every weekday at 8:30 to stand up.")
        assert "2 is set, every weekday" not in await ask(h, "Remind me tomorrow at nine to call mum")
        assert (await ask(h, "What are my reminders?")).splitlines()[2:] == [
            "> - 1: Wednesday 2026-11-25 at 14:50 (Europe/Vienna): make tea",
            "> - 2: every weekday at 08:30, next Thursday 2026-11-26 at 08:30 (Europe/Vienna): stand up",
            "> - 3: Thursday 2026-11-26 at 09:00 (Europe/Vienna): call mum",
        ]
        assert await ask(h, "cancel reminder 2") == "Reminder 2 is cancelled."
        assert await ask(h, "cancel my reminder 2, please") == (
            "I could not do that: you have no reminder 2 here. Ask what your reminders are."
        )
        await wait(h, clock, 86400)
        assert h.texts()[-2:] == ["⏰ make tea", "⏰ call mum"]


async def test_the_demo_model_says_once_why_nothing_was_set(tmp_path: Path, clock: Clock) -> None:
    limits = {"turns_per_minute": None, "reminders": 1}
    async with open_house(tmp_path, clock, Quick("main"), limits=limits) as h:
        await ask(h, "remind me in 20 minutes to make tea")
        assert (await ask(h, "remind me in 20 minutes to make tea")).startswith(
            "I could not do that: You have 1 of at most 1 reminders."
        )
        assert "I did not understand “on the last friday”" in await ask(
            h, "remind me every month on the last friday at 17:00 to pay"
        )


async def test_work_is_done_when_it_is_due_as_a_turn_of_that_chat(tmp_path: Path, clock: Clock) -> None:
    def answer(request: ModelRequest) -> Any:
        last = request.events[-1]
        if isinstance(last, UserSaid) and last.text == "later":
            arguments = {"text": "send me a summary", "in_minutes": 60, "work": True}
            return [ToolCall("c", "set_reminder", json.dumps(arguments))]
        return "A summary." if isinstance(last, UserSaid) else "I will."

    model = ScriptedModel(answer)
    async with open_house(tmp_path, clock, model) as h:
        assert await ask(h, "later") == "I will."
        asked = len(model.requests)
        await wait(h, clock, 3600)
        assert h.texts()[-1] == "A summary."
        assert len(model.requests) == asked + 1
        task = model.requests[-1].events[-1]
        assert isinstance(task, UserSaid)
        assert task.text.endswith("send me a summary")
        await wait(h, clock, 86400)
        assert len(model.requests) == asked + 1


# Nobody else's


def forger(arguments: Sequence[tuple[str, dict[str, Any]]]) -> ScriptedModel:
    """A model that makes these calls in one turn, and then repeats all that they return."""

    def answer(request: ModelRequest) -> Any:
        if isinstance(request.events[-1], UserSaid):
            return [ToolCall(f"c{n}", name, json.dumps(given)) for n, (name, given) in enumerate(arguments)]
        return "\n".join(e.content for e in request.events if isinstance(e, ToolReturned)) or "nothing"

    return ScriptedModel(answer)


FORGED: list[tuple[str, dict[str, Any]]] = [
    ("list_reminders", {}),
    ("list_reminders", {"user_id": "memory-1"}),
    ("list_reminders", {"people": ["memory-1"]}),
    ("list_reminders", {"chat_key": "memory:1:"}),
    *(("cancel_reminder", {"id": number}) for number in range(-1, 6)),
    ("cancel_reminder", {"id": 1, "user_id": "memory-1"}),
    ("cancel_reminder", {"id": "1 OR 1=1"}),
    ("set_reminder", {"text": "spam", "in_minutes": 1, "user_id": "memory-1"}),
    ("set_reminder", {"text": "spam", "in_minutes": 1, "chat": {"platform": "memory", "id": "1"}}),
    ("set_reminder", {"text": "spam", "in_minutes": 1, "chat_id": "1"}),
    ("set_reminder", {"text": "spam", "at": "tomorrow", "zone": "UTC"}),
    ("set_reminder", {"text": "mine", "in_minutes": 1}),
]


@pytest.mark.parametrize("chat", [None, GROUP])
async def test_no_argument_that_a_model_writes_reaches_another_persons_reminders(
    tmp_path: Path, clock: Clock, chat: Chat | None
) -> None:
    async with open_house(
        tmp_path, clock, forger(FORGED), access={"policy": "open", "operators": ["memory-2"]}
    ) as h:
        await ask(h, "/remind tomorrow at 9 Anna's secret")
        await ask(h, "/remind tomorrow at 9 Anna's secret of the group", chat=GROUP)
        before = h.rows("SELECT * FROM schedules WHERE user_id = 'memory-1'")
        said = await ask(h, "spy", "2", chat)
        assert "secret" not in said
        assert "is cancelled" not in said
        where = (chat or Chat("memory", "2")).id
        assert h.rows("SELECT text, user_id, json_extract(chat, '$.id') FROM schedules WHERE id > 2") == [
            ("mine", "memory-2", where)
        ]
        said = "".join(
            [await ask(h, f"/reminders{args}", "2", chat) for args in ("", " cancel 1", " cancel 2")]
        )
        assert "secret" not in said
        assert h.rows("SELECT * FROM schedules") == before
        await wait(h, clock, 86400)
        assert h.texts("1")[-1] == "⏰ Anna's secret"
        assert [text for text in h.texts("2") if "secret" in text] == []
        assert [text for text in h.texts("-100") if text.startswith("⏰")][-1:] == [
            "⏰ Person 1: Anna's secret of the group"
        ]


async def test_in_a_group_only_what_was_set_there_is_told_and_in_private_all_of_it(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind tomorrow at 9 private")
        await ask(h, "/remind tomorrow at 9 books", chat=GROUP)
        await ask(h, "/remind tomorrow at 9 chess", chat=OTHER)
        assert (
            await ask(h, "/reminders", chat=GROUP)
            == "- 2: Thursday 2026-11-26 at 09:00 (Europe/Vienna): books"
        )
        for number in (1, 3):
            assert "no reminder" in await ask(h, f"/reminders cancel {number}", chat=GROUP)
        listed = await ask(h, "/reminders")
        assert "(in Book club): books" in listed
        assert "(in Chess): chess" in listed
        assert "): private" in listed
        assert await ask(h, "/reminders cancel 3") == "Reminder 3 is cancelled."
        assert "in this chat" in await ask(h, "/reminders", chat=OTHER)
        await wait(h, clock, 86400)
        assert h.texts()[-1] == "⏰ private"
        assert h.texts("-100")[-1] == "⏰ Person 1: books"


async def test_a_linked_person_has_one_list_and_each_is_said_where_it_was_set(
    tmp_path: Path, clock: Clock
) -> None:
    tavern = MemoryAdapter("tavern")
    async with open_house(tmp_path, clock, also=[tavern]) as h:
        there = Chat("tavern", "9")

        async def at_the_tavern(text: str) -> str:
            update = h.update(text, "9", there)
            person = {"id": "tavern-9", "name": "Anna"}
            await h.hand_in(Update.from_json({**update.to_json(), "source": "tavern:test", "person": person}))
            await h.settled()
            return tavern.texts("9")[-1]

        await ask(h, "/start")
        await at_the_tavern("/start")

        def link(tx: Any) -> None:
            for one in ("memory-1", "tavern-9"):
                tx.run("links_set", user_id=one, person="p", at=clock.time)

        await h.database.write(link)
        assert await h.database.read(lambda tx: links.people(tx, "tavern-9")) == ("tavern-9", "memory-1")
        await ask(h, "/remind tomorrow at 9 home")
        await at_the_tavern("/remind tomorrow at 10 tavern")
        assert "home" in await at_the_tavern("/reminders")
        assert await at_the_tavern("/reminders cancel 1") == "Reminder 1 is cancelled."
        await at_the_tavern("/quiet 22-7")
        for user_id in ("memory-1", "tavern-9"):
            assert await h.database.read(lambda tx, one=user_id: people.quiet(tx, one)) == "22:00-07:00"
        await ask(h, "/quiet off")
        assert await h.database.read(lambda tx: people.quiet(tx, "tavern-9")) == ""
        clock.time += 86400
        await h.parts.scheduler.sweep("tavern")
        await h.settled()
        assert tavern.texts("9")[-1].startswith("⏰ tavern")
        assert not any("⏰ tavern" in text for text in h.texts())


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1", "2", "3"]),
            st.sampled_from([None, GROUP, OTHER]),
            st.one_of(
                st.integers(1, 90).map(lambda minutes: f"/remind in {minutes} minutes"),
                st.just("/remind every 30 minutes"),
                st.integers(0, 12).map(lambda number: f"/reminders cancel {number}"),
                st.just("/reminders"),
            ),
        ),
        max_size=14,
    )
)
async def test_whatever_people_set_list_and_cancel_each_text_is_seen_by_its_owner_where_it_was_set(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Chat | None, str]]
) -> None:
    clock = Clock(at("2026-11-25 14:30", VIENNA))
    async with open_house(tmp_path_factory.mktemp("house"), clock) as h:
        for number, (user, chat, text) in enumerate(steps):
            where = (chat or Chat("memory", user)).id
            secret = f"s{number}-{user}-{where}-" if text.startswith("/remind ") else ""
            said = await ask(h, f"{text} {secret}".strip(), user, chat)
            for other, (owner, home, _) in enumerate(steps):
                mark = f"s{other}-{owner}-{(home or Chat('memory', owner)).id}-"
                if mark in said:
                    assert owner == user
                    assert chat is None or home == chat
        count = {chat: len(h.texts(chat)) for chat in h.adapter.messages}
        await wait(h, clock, 3 * 3600)
        for chat_id in h.adapter.messages:
            for said in h.texts(chat_id)[count[chat_id] :]:
                assert f"-{chat_id}-" in said


# People who change


async def test_what_repeats_follows_its_person_into_another_zone_and_what_is_due_once_keeps_its_instant(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind every weekday at 8:30 stand up")
        await ask(h, "/remind tomorrow at 9 call")
        await ask(h, "/remind every 3 days at 7:00 plants")
        await ask(h, "/remind every 2 hours drink")
        drink = h.rows("SELECT next_at FROM schedules WHERE id = 4")
        await ask(h, "/timezone America/New_York")
        assert h.rows("SELECT text, next_at, zone FROM schedules WHERE id < 4 ORDER BY id") == [
            ("stand up", at("2026-11-26 08:30", "America/New_York"), "America/New_York"),
            ("call", at("2026-11-26 09:00", VIENNA), "America/New_York"),
            ("plants", at("2026-11-26 07:00", "America/New_York"), "America/New_York"),
        ]
        assert h.rows("SELECT next_at FROM schedules WHERE id = 4") == drink
        await wait(h, clock, 7 * 86400)
        said = h.rows("SELECT count(*) FROM schedules WHERE id = 2")
        assert said == [(0,)]


async def test_the_end_of_what_repeats_follows_its_person_into_another_zone(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind every day at 22:00 until 2026-11-27 by day")
        await ask(h, "/remind every day at 22:00 until 2026-11-27 at 22:00 by the clock")
        await ask(h, "/remind every 2 hours until 2026-11-27 all day")
        await ask(h, "/remind every 2 hours until 2026-11-27 at 22:00 by real time")
        for zone in ("America/New_York", "Asia/Tokyo", "America/New_York"):
            await ask(h, f"/timezone {zone}")
        assert h.rows("SELECT text, until FROM schedules ORDER BY id") == [
            ("by day", at("2026-11-27 23:59:59", "America/New_York")),
            ("by the clock", at("2026-11-27 22:00", "America/New_York")),
            ("all day", at("2026-11-27 23:59:59", "America/New_York")),
            ("by real time", at("2026-11-27 22:00", VIENNA)),
        ]
        assert "until Friday 2026-11-27 at 23:59 (America/New_York)" in await ask(h, "/reminders")
        clock.time = at("2026-11-27 21:59", "America/New_York")
        await wait(h, clock, 86400)
        assert h.texts().count("⏰ by day") == 1  # the last one; what is late says that it is


async def test_what_is_due_already_is_said_all_the_same_when_the_zone_changes(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind every day at 15:00 tea")
        clock.time = at("2026-11-25 15:00:30", VIENNA)
        await ask(h, "/timezone Asia/Tokyo")
        await wait(h, clock, 1)
        assert h.texts()[-1] == "⏰ tea"


async def test_quiet_hours_are_set_shown_and_taken_back(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock) as h:
        assert "You have no quiet hours." in await ask(h, "/quiet")
        assert "22:00-07:00 (Europe/Vienna) from now on" in await ask(h, "/quiet 22-7")
        await h.database.write(lambda tx: prune(tx, clock.time + 10**9))
        assert "Your quiet hours are 22:00-07:00" in await ask(h, "/quiet")
        for asked in ("10pm-7am", "10 PM – 7 a.m.", "10:00pm to 7am"):
            assert "22:00-07:00 (Europe/Vienna) from now on" in await ask(h, f"/quiet {asked}")
        assert "12:00-00:00" in await ask(h, "/quiet 12pm-12am")
        for wrong in ("22", "25-3", "7-7", "always", "13pm-7am", "0am-7am"):
            assert "I did not understand these hours." in await ask(h, f"/quiet {wrong}")
        assert "any more" in await ask(h, "/quiet off")
        assert "You have no quiet hours." in await ask(h, "/quiet")


PAIRING: dict[str, Any] = {"access": {"policy": "pairing", "operators": ["memory-1"]}}


async def code_of(h: House, user: str) -> str:
    """The code that a stranger is given."""
    await ask(h, "hello", user)
    [(found,)] = h.rows("SELECT code FROM pairing")
    return str(found)


async def test_the_reminders_of_a_person_who_is_a_stranger_again_go_with_them(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, **PAIRING) as h:
        await ask(h, f"/pair approve {await code_of(h, '2')}")
        await h.parts.approvals.refresh()
        await ask(h, "/remind in 20 minutes mine", "1")
        assert "is set" in await ask(h, "/remind in 20 minutes theirs", "2")
        assert "stranger again" in await ask(h, "/pair revoke memory-2")
        assert h.rows("SELECT text FROM schedules") == [("mine",)]
        await wait(h, clock, 3600)
        assert [text for _, _, text in h.adapter.posts if "⏰" in text] == ["⏰ mine"]


async def test_the_reminders_of_a_person_who_is_kept_out_go_and_rest_until_that_is_decided(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind in 20 minutes theirs", "2")
    async with open_house(tmp_path, clock, adapter=h.adapter, **PAIRING) as h:
        await wait(h, clock, 3600)
        assert h.rows("SELECT state, problem FROM schedules") == [("paused", "not let in")]
        await ask(h, f"/pair deny {await code_of(h, '2')}")
        assert h.rows("SELECT count(*) FROM schedules") == [(0,)]
        assert not any("⏰" in text for _, _, text in h.adapter.posts)


# Chats that are gone

OPERATED: dict[str, Any] = {"access": {"policy": "open", "operators": ["memory-9", "memory-8"]}}


async def told(h: House, count: int) -> list[str]:
    """What the operator who has a private chat was told, once it is that many notices."""
    async with asyncio.timeout(10):
        await h.adapter.wait_for(lambda: len(h.texts("9")) > count)
    await h.settled()
    return h.texts("9")[1:]


async def test_where_a_message_can_not_be_posted_the_schedules_rest_and_the_operator_is_told_once(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, **OPERATED) as h:
        await ask(h, "/start", "9")
        await ask(h, "/remind in 10 minutes one", chat=GROUP)
        await ask(h, "/remind every 2 hours two", chat=GROUP)
        await ask(h, "/remind in 20 minutes three", "2", GROUP)
        await ask(h, "/remind in 20 minutes elsewhere", chat=OTHER)
        h.adapter.trouble.append(("post", ChatGone("kicked")))
        with capture_logs() as logs:
            await wait(h, clock, 600)
        assert [line["count"] for line in logs if line["event"] == "schedules_paused"] == [2]
        notice = (
            "I can not write in Book club (memory--100) any more: I was blocked or removed, or it is gone. "
            "What is scheduled there (2) rests until somebody writes to me there again."
        )
        assert await told(h, 1) == [notice]
        said = len(h.texts("-100"))
        await wait(h, clock, 7200)
        assert h.texts("-100")[said:] == []
        assert h.texts("-200")[-1] == "⏰ Person 1: elsewhere"
        assert "(paused: I can not write there now): two" in await ask(h, "/reminders")
        assert "2 paused" in await h.parts.turns.report()
        # Somebody else writes there: it is back, and what was missed is said as its policy says.
        await ask(h, "/start", "3", GROUP)
        await wait(h, clock, 1)
        assert [text.splitlines()[0] for text in h.texts("-100")[-2:]] == [
            "⏰ Person 2: three",
            "⏰ Person 1: two",
        ]
        assert h.texts("9")[1:] == [notice]


async def test_where_we_were_blocked_or_removed_the_schedules_rest_at_once(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, **OPERATED) as h:
        await ask(h, "/start", "9")
        thread = Chat("memory", "-100", "group", "Book club", "7")
        await ask(h, "/remind in 10 minutes group", chat=GROUP)
        await ask(h, "/remind in 10 minutes thread", chat=thread)
        await ask(h, "/remind in 10 minutes private")
        await ask(h, "/remind in 10 minutes near miss", chat=Chat("memory", "-1001", "group"))
        await h.say("", chat=GROUP, kind="left")
        await h.say("", kind="left")
        notices = await told(h, 2)
        assert "Book club (memory--100)" in notices[0]
        assert "(2)" in notices[0]
        assert "I can not write in memory-1 any more" in notices[1]
        await wait(h, clock, 900)
        assert [chat for chat, _, text in h.adapter.posts if "⏰" in text] == ["-1001"]
        await h.say("overheard, not addressed", "2", thread)
        await ask(h, "/start")
        await wait(h, clock, 1)
        late = "\n\n(It was due at 2026-11-25 14:40.)"
        assert sorted(text for text in (*h.texts("-100"), *h.texts()) if late in text) == [
            f"⏰ Person 1: group{late}",
            f"⏰ Person 1: thread{late}",
            f"⏰ private{late}",
        ]


async def test_where_a_server_was_left_all_of_its_channels_are_gone_and_no_other(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, adapter=MemoryAdapter(leaves_server=True), **OPERATED) as h:
        for server, channel in (("700", "1"), ("700", "2"), ("7001", "1")):
            await ask(h, "/remind in 10 minutes tea", chat=Chat("memory", f"{server}-{channel}", "group"))
        await h.say("", chat=Chat("memory", "700", "group"), kind="left")
        await wait(h, clock, 900)
        assert [chat for chat, _, text in h.adapter.posts if "⏰" in text] == ["7001-1"]


async def test_what_the_operator_sends_to_a_person_rests_too_while_they_can_not_be_reached(
    tmp_path: Path, clock: Clock
) -> None:
    news = {"cron": "0 * * * *", "text": "News", "to": "memory-1", "missed": "skip", "grace": 0}
    async with open_house(tmp_path, clock, schedules={"news": news}, **OPERATED) as h:
        await ask(h, "/start", "9")
        await ask(h, "/start")
        h.adapter.trouble.append(("post", ChatGone("blocked")))
        await wait(h, clock, 3600)
        assert "memory-1" in (await told(h, 1))[0]
        await wait(h, clock, 7200)
        assert len(h.texts()) == 1
        await ask(h, "/start")
        await wait(h, clock, 3600)
        assert h.texts()[2:] == ["News"]
        assert len(h.texts("9")) == 2


async def test_the_operator_is_told_after_a_kill_too_and_no_second_time(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock, **OPERATED) as h:
        await ask(h, "/start", "9")
        await ask(h, "/remind in 10 minutes group", chat=GROUP)
        h.parts.turns.stir = lambda: None  # killed before anybody looks
        left = h.update("", chat=GROUP, kind="left")
        await h.hand_in(left)
        assert h.rows("SELECT user_id FROM notices") == [("memory-9",)]
    for _ in range(2):
        async with open_house(tmp_path, clock, adapter=h.adapter, **OPERATED) as h:
            await h.hand_in(left)
            assert len(await told(h, 1)) == 1
            assert h.rows("SELECT user_id FROM notices") == []


async def test_a_gone_chat_without_schedules_and_operators_without_a_chat_are_no_trouble(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, **OPERATED) as h:
        await h.say("", chat=OTHER, kind="left")
        await ask(h, "/remind in 10 minutes group", chat=GROUP)
        await h.say("", chat=GROUP, kind="left")
        await wait(h, clock, 900)
        assert h.rows("SELECT state FROM schedules") == [("paused",)]
        assert h.rows("SELECT count(*) FROM notices") == [(0,)]
        assert set(h.adapter.messages) == {"-100"}


@pytest.mark.parametrize("somebody_writes", [True, False])
async def test_in_a_group_that_is_not_wanted_any_more_the_schedules_rest_until_it_is_again(
    tmp_path: Path, clock: Clock, somebody_writes: bool
) -> None:
    only_chess = {"policy": "open", "operators": ["memory-9"], "groups": ["memory--200"]}
    async with open_house(tmp_path, clock, **OPERATED) as h:
        await ask(h, "/start", "9")
        await ask(h, "/remind in 10 minutes one", chat=GROUP)
        await ask(h, "/remind in 20 minutes two", chat=GROUP)
        await ask(h, "/remind in 10 minutes chess", chat=OTHER)
    async with open_house(tmp_path, clock, adapter=h.adapter, access=only_chess) as h:
        if somebody_writes:
            await h.say("hello", chat=GROUP, addressed=True)
            await h.settled()
            assert h.adapter.left == ["-100"]
        await wait(h, clock, 900)
        assert len([text for text in h.texts("-100") if "⏰" in text]) == 0
        assert h.texts("-200")[-1] == "⏰ Person 1: chess"
        assert "any more. What is scheduled there (2) rests" in (await told(h, 1))[0]
    async with open_house(tmp_path, clock, adapter=h.adapter, **OPERATED) as h:
        await wait(h, clock, 600)
        assert [text.splitlines()[0] for text in h.texts("-100")[-2:]] == [
            "⏰ Person 1: one",
            "⏰ Person 1: two",
        ]
        assert len(h.texts("9")) == 2


async def test_an_answer_to_one_person_alone_that_can_not_be_given_says_nothing_about_the_chat(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock, **OPERATED) as h:
        await ask(h, "/remind in 10 minutes tea", chat=GROUP)
        h.adapter.trouble.append(("post", ChatGone("no way left to answer one person alone")))
        await ask(h, "/reminders", chat=GROUP, via="token", message_id="")
        await wait(h, clock, 600)
        assert h.texts("-100")[-1] == "⏰ Person 1: tea"


async def test_in_a_chat_that_has_another_id_reminders_are_listed_and_said_there(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_house(tmp_path, clock) as h:
        await ask(h, "/remind in 10 minutes tea", chat=GROUP)
        await h.say("-1009", chat=GROUP, kind="migrated")
        new = Chat("memory", "-1009", "group", "Book club")
        assert "): tea" in await ask(h, "/reminders", chat=new)
        await wait(h, clock, 600)
        assert h.texts("-1009")[-1] == "⏰ Person 1: tea"
