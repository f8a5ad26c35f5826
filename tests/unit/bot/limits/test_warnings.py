"""When somebody is told that a limit is near."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from memory.database import open_database
from tests.unit.bot.limits.ledger import DAY, Ledger, Make, limits


async def test_each_limit_warns_once_a_day_when_four_fifths_are_really_used(ledger: Make) -> None:
    one = ledger(tokens_per_day=1000, total_tokens_per_day=2000)
    first, second = await one.reserve(400), await one.reserve(600)
    assert await one.settle(first, 400) == []  # with the estimate of the other it would be all
    [warned] = await one.settle(second, 400)
    assert (warned.limit, warned.used, warned.most) == ("tokens_per_day", 800, 1000)
    assert warned.until == datetime(2026, 3, 11, tzinfo=UTC).timestamp()
    assert await one.settle(await one.reserve(100), 100) == []
    one.at += DAY
    [warned] = await one.settle(await one.reserve(900), 900)
    assert (warned.limit, warned.used) == ("tokens_per_day", 900)


async def test_turns_of_a_day_warn_too(ledger: Make) -> None:
    one = ledger(turns_per_day=5)
    warned = []
    for _ in range(5):
        assert await one.admit() is None
        warned += await one.settle(await one.reserve(1), 1)
    assert [(spent.limit, spent.used) for spent in warned] == [("turns_per_day", 4)]


async def test_a_warning_that_was_given_is_remembered_over_a_restart(tmp_path: Path) -> None:
    given_ = []
    for used in (350, 50, 50):
        async with open_database(tmp_path / "b.db") as database:
            one = Ledger(database, limits(usd_per_day=0.001))
            given_ += await one.settle(await one.reserve(used), used)
    assert [spent.limit for spent in given_] == ["usd_per_day"]
