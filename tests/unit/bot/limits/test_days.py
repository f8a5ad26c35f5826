"""Days: when one ends and the next begins, around the world, and that travelling gains nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.limits import KEEP_DAYS, prune
from memory.database import Tx, open_database
from memory.sql import migrations
from tests.unit.bot.limits.ledger import DAY, NOON, ZONES, Ledger, Make, limits, run_property


async def test_a_day_ends_at_midnight_where_the_person_is_and_begins_with_nothing(ledger: Make) -> None:
    one = ledger(tokens_per_day=100)
    one.zone = "America/Los_Angeles"
    await one.reserve(100)
    end = (await one.refused(1)).until
    assert datetime.fromtimestamp(end, ZoneInfo(one.zone)).isoformat() == "2026-03-11T00:00:00-07:00"
    one.at = end - 1
    await one.refused(1)
    one.at = end
    await one.reserve(100)


async def test_a_call_past_midnight_is_settled_on_the_day_it_was_reserved_on(ledger: Make) -> None:
    one = ledger(tokens_per_day=1000)
    evening = one.at
    call = await one.reserve(900)
    one.at += DAY
    await one.reserve(1000)
    await one.settle(call, 300)
    assert await one.used() == {"tokens_per_day": 1000}
    one.at = evening
    rows = await one.database.read(lambda tx: tx.all("spend_last", scope="all", most="2026-03-10"))
    assert [(row["tokens"], row["held_tokens"]) for row in rows] == [(300, 0)]


async def test_another_zone_is_no_new_day_also_back_and_forth(ledger: Make) -> None:
    one = ledger(tokens_per_day=100, turns_per_day=3, turns_per_minute=None)
    one.zone = "Etc/GMT+12"
    for _ in range(3):
        assert await one.admit() is None
    call = await one.reserve(60)
    await one.reserve(40)
    for zone in (*ZONES, *reversed(ZONES), *ZONES):
        one.zone = zone
        assert (await one.refused(1)).used == 100
        reached = await one.admit()
        assert reached is not None
        assert reached.limit == "turns_per_day"
    await one.settle(
        call, 10
    )  # it was reserved in another zone's day, and that day goes on under another date
    assert await one.used() == {"turns_per_day": 3, "tokens_per_day": 50}
    await one.reserve(50)


async def test_a_changed_zone_of_the_configuration_is_no_new_day_for_chats_and_all(ledger: Make) -> None:
    west = ledger(timezone="Etc/GMT+12", chat_tokens_per_day=100, total_tokens_per_day=100)
    await west.reserve(100)
    east = Ledger(
        west.database, limits("Pacific/Kiritimati", chat_tokens_per_day=100, total_tokens_per_day=100)
    )
    await east.refused(1)
    west.limits = limits("Etc/GMT+12", chat_tokens_per_day=100)
    await west.refused(1)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(ZONES), st.integers(0, 40), st.booleans()), max_size=20),
    st.integers(0, 400),
)
def test_who_travels_gets_no_more_than_a_budget_a_day_and_two(
    steps: list[tuple[str, int, bool]], start: int
) -> None:
    async def work(folder: Path) -> None:
        async with open_database(folder / "b.db") as database:
            begin = NOON + start * DAY
            one = Ledger(database, limits(tokens_per_day=1, turns_per_minute=None), at=begin)
            spent = 0
            for zone, hours, jump in steps:
                one.at += hours * 3600
                one.zone = zone
                gained = 0
                for there in (zone, *ZONES):
                    one.zone = there
                    gained += await one.fits(1)
                assert gained <= 1  # to go around the world at once is of no use
                spent += gained
                one.zone, now = zone, one.at
                await one.admit()
                reached = await one.refused(1)
                one.at = reached.until - 1
                await one.refused(1)
                if jump:
                    one.at = reached.until
                    assert await one.fits(1)  # what was told of the end is true
                    spent += 1
                else:
                    one.at = now
            assert spent <= (one.at - begin) // DAY + 1 + 2

    run_property(work)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from((*ZONES, "Africa/Cairo", "America/Havana", "Asia/Beirut")),
    st.integers(0, 5 * 365 * 24 * 4),
)
def test_a_day_ends_when_its_date_does_summer_time_or_not(zone: str, quarter: int) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC).timestamp() + quarter * 900 + 1

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        for _, script in migrations():
            connection.executescript(script)
        [spent] = limits(tokens_per_day=1).spent(Tx(connection), "telegram-1", "telegram:1:", zone, at)
    until = spent.until
    today = datetime.fromtimestamp(at, ZoneInfo(zone)).date()
    assert datetime.fromtimestamp(until - 1, ZoneInfo(zone)).date() == today
    assert datetime.fromtimestamp(until, ZoneInfo(zone)).date() == today + timedelta(days=1)


@pytest.mark.parametrize("years", [-40, 40])
async def test_a_clock_that_was_wrong_locks_nobody_out(ledger: Make, years: int) -> None:
    one = ledger(tokens_per_day=100, turns_per_minute=1)
    one.at += years * 365 * DAY
    assert await one.admit() is None
    await one.reserve(100)
    one.at = NOON
    assert await one.admit() is None
    await one.reserve(100)
    await one.database.write(lambda tx: prune(tx, one.at))
    await one.refused(1)
    rows = await one.database.read(lambda tx: tx._connection.execute("SELECT day FROM spend").fetchall())
    assert {row["day"] for row in rows} == {"2026-03-10"}


async def test_old_days_and_minutes_are_let_go_of(ledger: Make) -> None:
    one = ledger(tokens_per_day=100)
    for _ in range(KEEP_DAYS + 5):
        await one.admit()
        await one.reserve(100)
        one.at += DAY
    await one.database.write(lambda tx: prune(tx, one.at))

    def count(tx: Tx) -> tuple[int, int]:
        days = tx._connection.execute("SELECT count(*) FROM spend WHERE scope = 'all'").fetchone()[0]
        return days, tx._connection.execute("SELECT count(*) FROM pace").fetchone()[0]

    assert await one.database.read(count) == (KEEP_DAYS, 0)
