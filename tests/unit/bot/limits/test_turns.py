"""Admission: turns of a minute and of a day."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.database import open_database
from tests.unit.bot.limits.ledger import NOON, Ledger, Make, limits, run_property


async def test_turns_of_a_minute_are_counted_exactly_and_the_end_is_told_exactly(ledger: Make) -> None:
    one = ledger(turns_per_minute=3)
    for second in (0, 10, 10):
        one.at = NOON + second
        assert await one.admit() is None
    one.at = NOON + 59
    reached = await one.admit()
    assert reached is not None
    assert (reached.limit, reached.until, reached.used, reached.most) == (
        "turns_per_minute",
        NOON + 60,
        3,
        3,
    )
    assert await one.admit("telegram-2") is None
    one.at = reached.until
    assert await one.admit() is None
    reached = await one.admit()
    assert reached is not None
    assert reached.until == NOON + 70


async def test_who_floods_is_told_once_a_minute(ledger: Make) -> None:
    one = ledger(turns_per_minute=2)
    told = []
    for second in range(180):
        one.at = NOON + second
        reached = await one.admit()
        if reached is not None and not reached.again:
            told.append(second)
    assert told == [2, 62, 122]
    count = "SELECT count(*) FROM pace"
    assert (await one.database.read(lambda tx: tx._connection.execute(count).fetchone()[0])) == 2


async def test_a_limit_that_was_lowered_tells_when_it_really_has_room(ledger: Make) -> None:
    one = ledger(turns_per_minute=5)
    for second in range(5):
        one.at = NOON + second
        assert await one.admit() is None
    one.limits = limits(turns_per_minute=2)
    reached = await one.admit()
    assert reached is not None
    assert reached.until == NOON + 63
    one.at = reached.until - 1
    assert await one.admit() is not None
    one.at = reached.until
    assert await one.admit() is None


async def test_commands_count_for_the_minute_and_not_for_the_day(ledger: Make) -> None:
    one = ledger(turns_per_minute=4, turns_per_day=1)
    assert await one.admit(command=True) is None
    assert await one.admit() is None
    reached = await one.admit()
    assert reached is not None
    assert (reached.limit, reached.used, reached.most) == ("turns_per_day", 1, 1)
    assert await one.admit(command=True) is None
    reached = await one.admit(command=True)
    assert reached is not None
    assert reached.limit == "turns_per_minute"


async def test_what_a_day_refuses_is_answered_no_faster_than_turns(ledger: Make) -> None:
    one = ledger(turns_per_minute=5, turns_per_day=0)
    assert [getattr(await one.admit(), "limit", None) for _ in range(8)] == ["turns_per_day"] * 5 + [
        "turns_per_minute"
    ] * 3


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.lists(st.integers(0, 300), max_size=60))
def test_no_minute_has_more_turns_than_its_limit_also_over_restarts(most: int, waits: list[int]) -> None:
    async def work(folder: Path) -> None:
        begun: list[float] = []
        at = NOON
        for half in (waits[::2], waits[1::2]):
            async with open_database(folder / "b.db") as database:
                one = Ledger(database, limits(turns_per_minute=most))
                for tenths in half:
                    one.at = at = at + tenths / 10
                    window = [t for t in begun if t > at - 60]
                    reached = await one.admit()
                    assert (reached is None) == (len(window) < most)
                    if reached is None:
                        begun.append(at)
                    else:
                        assert reached.until == pytest.approx(window[-most] + 60)

    run_property(work)
