"""Dates and times of day: what was said is filed, ordered and found again by the clock of whoever said it, wherever they were."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.events import Variables
from bot.tools.history import read_history
from memory import journal
from memory.database import open_database
from memory.days import began, sections
from memory.journal import Journal
from memory.transcripts import Known, Section, Transcripts, TurnRecord, local_time

ANNA, ANNA_THERE = "telegram-1001", "discord-77"
APIA, PAGO = "Pacific/Apia", "Pacific/Pago_Pago"  # 25 hours apart, with the date line between them


def instant(zone: str, *clock: int, fold: int = 0) -> float:
    return datetime(*clock, tzinfo=ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[arg-type]


# Instants near which clocks do something.
TRANSITIONS = {
    "Europe/Vienna": [instant("UTC", 2026, 3, 29, 1), instant("UTC", 2026, 10, 25, 1)],
    "America/New_York": [instant("UTC", 2026, 3, 8, 7), instant("UTC", 2026, 11, 1, 6)],
    "Australia/Lord_Howe": [instant("UTC", 2026, 4, 4, 15), instant("UTC", 2026, 10, 3, 15, 30)],
    "Africa/Cairo": [instant("UTC", 2026, 4, 23, 22), instant("UTC", 2026, 10, 29, 21)],  # at midnight
    "America/Havana": [instant("UTC", 2026, 3, 8, 5), instant("UTC", 2026, 11, 1, 5)],  # 01:00 → 00:00
    "America/St_Johns": [instant("UTC", 2010, 11, 7, 2, 31)],  # 00:01 → 23:01 of the day before
    APIA: [instant("UTC", 2011, 12, 30, 10)],  # the 30th was left out
    "Asia/Kathmandu": [instant("Asia/Kathmandu", 2026, 6, 1)],
    PAGO: [instant(PAGO, 2026, 6, 1)],
    "UTC": [instant("UTC", 2026, 12, 31, 23, 59, 59)],
}
BEGINNINGS = [at for found in TRANSITIONS.values() for at in found]
PAUSES = [0.0, 0.4, 1.0, 59.0, 1799.0, 1800.0, 3600.0, 7200.0, 43_200.0, 86_400.0]


@dataclass(frozen=True)
class Said:
    """A turn: so long after the one before, in which conversation, by which clock."""

    pause: float
    conversation: int
    zone: str


TURNS = st.lists(
    st.builds(Said, st.sampled_from(PAUSES), st.integers(1, 3), st.sampled_from(list(TRANSITIONS))),
    min_size=1,
    max_size=12,
)


async def written(folder: Path, beginning: float, turns: list[Said], user: str = ANNA) -> list[TurnRecord]:
    """Write them as a running Boswell does; each says its number."""
    records, at = [], beginning - 3700
    async with open_database(folder / "b.db") as database:
        books = Journal(database, Transcripts(folder / "memory"), ("telegram-", "discord-"))
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(books.run())
            for n, said in enumerate(turns):
                at += said.pause
                record = TurnRecord(user, at, said.zone, None, (("user", f"n{n}."), ("assistant", "Fine.")))
                records.append(record)
                await database.write(
                    lambda tx, n=n, s=said, r=record: journal.record(tx, n, s.conversation, r)
                )  # type: ignore[misc]
                books.notify()
                if n % 3:  # else several are written at once
                    await books.flush()
            await books.flush()
            writing.cancel()
    return records


def spoken(section: Section) -> list[str]:
    return [text for role, text in section.messages if role == "user"]


@given(st.sampled_from(BEGINNINGS), TURNS)
@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow],
)
@example(
    instant(APIA, 2026, 6, 2, 1), [Said(3700.0, 1, APIA), Said(3600.0, 1, PAGO), Said(86_400.0, 1, APIA)]
)
@example(instant("UTC", 2026, 10, 25, 1), [Said(p, 1 + n % 2, "Europe/Vienna") for n, p in enumerate(PAUSES)])
def test_what_was_said_is_found_once_on_the_date_that_their_clock_showed(
    beginning: float, turns: list[Said]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = asyncio.run(written(Path(folder), beginning, turns))
        transcripts = Transcripts(Path(folder) / "memory")
        on: dict[date, list[str]] = defaultdict(list)
        for n, record in enumerate(records):
            on[local_time(record.at, record.timezone).date()].append(f"n{n}.")
        assert transcripts.dates(ANNA) == sorted(on)
        last = records[-1]
        for day, expected in on.items():
            found = read_history(
                transcripts, Variables(ANNA, timezone=last.timezone), last.at, day.isoformat()
            )
            [read] = found.days
            assert sorted(text for section in read.sections for text in spoken(section)) == sorted(expected)
        today = read_history(transcripts, Variables(ANNA, timezone=last.timezone), last.at)
        assert f"n{len(records) - 1}." in [t for s in today.days[0].sections for t in spoken(s)]
        until_now = read_history(
            transcripts, Variables(ANNA, timezone=last.timezone), last.at, start=str(min(on))
        )
        assert sum(len(spoken(s)) for day_ in until_now.days for s in day_.sections) == len(records)
        for day in on:
            _assert_in_order(transcripts.day(ANNA, day), records, day)


def _assert_in_order(found: list[Section], records: list[TurnRecord], day: date) -> None:
    """Sections stand in the order in which they began, under the time of their first turn, and turns as they were said."""
    assert len({section.heading for section in found}) == len(found)
    firsts = []
    for section in found:
        numbers = [int(text[1:-1]) for text in spoken(section)]
        assert numbers == sorted(numbers)
        first = records[numbers[0]]
        firsts.append(numbers[0])
        clock = local_time(first.at, first.timezone)
        assert section.heading.endswith(f" {clock:%Z}")
        began_at = began(section, day, first.timezone)
        assert began_at is not None
        assert local_time(began_at, first.timezone).date() == day
        assert abs(began_at - first.at) <= len(records)  # a second is taken once
    assert firsts == sorted(firsts)


@given(st.sampled_from(sorted(TRANSITIONS)), st.data())
@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_days_of_two_folders_are_merged_in_the_order_of_time_through_every_change_of_the_clock(
    zone: str, data: st.DataObject
) -> None:
    beginning = data.draw(st.sampled_from(TRANSITIONS[zone]))
    pauses = data.draw(st.lists(st.sampled_from([60.0, 601.0, 1800.0, 3600.0]), min_size=2, max_size=14))
    with tempfile.TemporaryDirectory() as folder:
        transcripts, at = Transcripts(Path(folder)), beginning - 3000
        expected: dict[date, list[str]] = defaultdict(list)
        for n, pause in enumerate(pauses):
            at += pause
            user = data.draw(st.sampled_from([ANNA, ANNA_THERE]))
            record = TurnRecord(user, at, zone, None, (("user", f"n{n}."), ("assistant", "Fine.")))
            transcripts.write(record, Known())
            expected[transcripts.date_of(record)].append(f"n{n}.")
        for day, texts in expected.items():
            merged = sections(transcripts, (ANNA_THERE, ANNA), day, zone)
            assert [text for _, section in merged for text in spoken(section)] == texts
            assert all(spoken(s)[0] in str(transcripts.day(user, day)) for user, s in merged)


@pytest.mark.parametrize(
    ("heading", "zone", "expected"),
    [
        ("02:30:00 CEST", "Europe/Vienna", instant("Europe/Vienna", 2026, 10, 25, 2, 30)),
        ("02:30:00 CET", "Europe/Vienna", instant("Europe/Vienna", 2026, 10, 25, 2, 30, fold=1)),
        ("02:30:00", "Europe/Vienna", instant("Europe/Vienna", 2026, 10, 25, 2, 30)),
        ("05:45:00 +0545", "Europe/Vienna", instant("UTC", 2026, 10, 25)),
        ("21:30:00 -03", "Europe/Vienna", instant("UTC", 2026, 10, 26, 0, 30)),
        ("12:00:00 UTC", "Europe/Vienna", instant("UTC", 2026, 10, 25, 12)),
        ("12:00:00 XYZ", "Europe/Vienna", instant("Europe/Vienna", 2026, 10, 25, 12)),
        ("12:00:00 UTC", "Mars/Base", instant("UTC", 2026, 10, 25, 12)),
        ("25:00:00 UTC", "UTC", None),
        ("12:00:00 +24", "UTC", None),
        ("12:00:00 -9999", "UTC", None),
        ("notes", "UTC", None),
        ("", "UTC", None),
    ],
)
def test_a_heading_tells_when_its_conversation_began(heading: str, zone: str, expected: float | None) -> None:
    section = Section(heading, heading, None, ())
    assert began(section, date(2026, 10, 25), zone) == expected


def test_what_has_no_time_stays_where_it_stands_and_never_comes_before_what_is_above_it(
    tmp_path: Path,
) -> None:
    day = date(2026, 6, 1)
    transcripts = Transcripts(tmp_path)
    theirs = {
        ANNA: "a note\n\n## 10:00:00 UTC\n\n**user:** a10\n\n## my notes\n\n**user:** a?\n\n## 09:00:00 UTC\n\n**user:** a9\n\n",
        ANNA_THERE: "## 09:30:00 UTC\n\n**user:** b9\n\n---\n\n## 12:00:00 UTC\n\n**user:** b12\n\n",
    }
    for user, text in theirs.items():
        transcripts.path(user, day).parent.mkdir()
        transcripts.path(user, day).write_text(text)
    merged = [section for _, section in sections(transcripts, (ANNA, ANNA_THERE), day, "UTC")]
    assert [(spoken(s) or [s.stray])[0] for s in merged] == ["a note", "b9", "a10", "a?", "a9", "b12"]


def test_two_conversations_of_the_last_second_of_a_day_both_have_a_time_of_that_day(tmp_path: Path) -> None:
    transcripts, at = Transcripts(tmp_path), instant("UTC", 2026, 6, 1, 23, 59, 59)
    for n in range(3):
        transcripts.write(
            TurnRecord(ANNA, at, "UTC", None, (("user", f"n{n}"), ("assistant", "Fine."))), Known()
        )
    headings = [section.heading for section in transcripts.day(ANNA, date(2026, 6, 1))]
    assert headings == ["23:59:59 UTC", "23:59:58 UTC", "23:59:57 UTC"]


def test_what_was_said_before_a_flight_back_over_the_date_line_is_not_left_out(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path)

    def say(text: str, zone: str, at: float) -> None:
        record = TurnRecord(ANNA, at, zone, None, (("user", text), ("assistant", "Fine.")))
        transcripts.write(record, Known())

    morning = instant(APIA, 2026, 6, 2, 8)
    say("in Apia", APIA, morning)
    say("in Pago Pago", PAGO, morning + 7200)  # where it is the day before
    variables = Variables(ANNA, timezone=PAGO)

    def read(**arguments: Any) -> list[str]:
        found = read_history(transcripts, variables, morning + 9000, **arguments)
        return [text for day in found.days for section in day.sections for text in spoken(section)]

    assert read() == ["in Pago Pago"]
    assert read(start="2026-05-30") == ["in Pago Pago", "in Apia"]
    assert read(start="2026-05-30", end="today") == ["in Pago Pago"]
    assert read(date="2026-06-02") == ["in Apia"]
