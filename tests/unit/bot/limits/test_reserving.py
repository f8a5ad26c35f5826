"""Tokens and USD: what may be used at most is booked before a call, and what was used after it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.events import Usage
from bot.limits import cost
from tests.unit.bot.limits.ledger import PRICES, Make


async def test_what_may_be_used_at_most_has_to_fit_before_a_call_is_made(ledger: Make) -> None:
    one = ledger(tokens_per_day=1000)
    await one.reserve(500, 100)
    reached = await one.refused(400, 1)
    assert (reached.limit, reached.used, reached.most) == ("tokens_per_day", 600, 1000)
    assert reached.until == datetime(2026, 3, 11, tzinfo=UTC).timestamp()
    await one.reserve(399, 1)
    await one.refused(1)


async def test_a_settled_call_gives_back_what_it_did_not_use(ledger: Make) -> None:
    one = ledger(tokens_per_day=1000)
    call = await one.reserve(900, 100)
    await one.settle(call, 90, 10)
    assert await one.used() == {"tokens_per_day": 100}
    await one.reserve(900)


async def test_a_call_that_was_never_made_costs_nothing(ledger: Make) -> None:
    one = ledger(tokens_per_day=1000, chat_tokens_per_day=1000, total_usd_per_day=1)
    call = await one.reserve(1000)
    await one.release(call)
    assert set((await one.used()).values()) == {0}
    assert await one.settle(call, 5) == []
    assert set((await one.used()).values()) == {0}


async def test_a_call_is_settled_once(ledger: Make) -> None:
    one = ledger(tokens_per_day=1000)
    call = await one.reserve(500)
    await one.settle(call, 10)
    assert await one.settle(call, 400) == []
    await one.release(call)
    assert await one.used() == {"tokens_per_day": 10}


async def test_a_call_that_used_more_than_it_could_is_booked_as_it_was(ledger: Make) -> None:
    """A provider may count what nobody can foresee; then the truth stands in the ledger, and the next call finds no room."""
    one = ledger(tokens_per_day=1000)
    call = await one.reserve(900)
    await one.settle(call, 1500)
    assert await one.used() == {"tokens_per_day": 1500}
    assert (await one.refused(1)).used == 1500


async def test_usd_are_counted_by_the_models_prices_and_cached_tokens_by_their_own(ledger: Make) -> None:
    one = ledger(usd_per_day=1)
    call = await one.reserve(100_000, 100_000)
    assert await one.used() == {"usd_per_day": 1.0}
    await one.refused(1)
    await one.settle(call, 100_000, 10_000, cached=60_000)
    assert await one.used() == {"usd_per_day": pytest.approx(0.08 + 0.03 + 0.08)}


async def test_a_model_without_a_price_counts_tokens_and_no_usd(ledger: Make) -> None:
    one = ledger(usd_per_day=0, tokens_per_day=1000)
    await one.reserve(600, model="free")
    await one.reserve(400, model="unheard of")
    assert await one.used() == {"usd_per_day": 0, "tokens_per_day": 1000}


async def test_a_price_below_nothing_can_not_be_made_of_an_impossible_count() -> None:
    assert cost(PRICES["main"], Usage(10, 1000, 0)) == pytest.approx(10 * 0.5 / 1e6)


@pytest.mark.parametrize(
    ("key", "other_person", "other_chat"),
    [
        ("tokens_per_day", True, False),
        ("usd_per_day", True, False),
        ("chat_tokens_per_day", False, True),
        ("chat_usd_per_day", False, True),
        ("total_tokens_per_day", False, False),
        ("total_usd_per_day", False, False),
    ],
)
async def test_each_limit_is_about_its_own_scope(
    ledger: Make, key: str, other_person: bool, other_chat: bool
) -> None:
    one = ledger(**{key: 500 if "tokens" in key else 0.001})
    await one.reserve(500)
    for person, chat, fits in [
        ("telegram-1", "telegram:1:", False),
        ("telegram-2", "telegram:1:", other_person),
        ("telegram-1", "telegram:2:", other_chat),
    ]:
        if fits:
            await one.reserve(500, person=person, chat=chat)
        else:
            assert (await one.refused(500, person=person, chat=chat)).limit == key


async def test_a_thread_is_no_budget_of_its_own(ledger: Make) -> None:
    one = ledger(chat_tokens_per_day=1000)
    await one.reserve(1000, chat="slack:C1:1700000000.1")
    assert (await one.refused(1, chat="slack:C1:1700000000.2")).limit == "chat_tokens_per_day"
    assert (await one.refused(1, chat="slack:C1:")).limit == "chat_tokens_per_day"
    await one.reserve(1000, chat="slack:C12:")


async def test_a_refused_call_leaves_no_trace(ledger: Make, tmp_path: Path) -> None:
    one = ledger(total_tokens_per_day=10)
    with closing(sqlite3.connect(tmp_path / "b.db")) as seen:
        before = list(seen.iterdump())
        await one.refused(11)
        assert list(seen.iterdump()) == before


async def test_of_several_limits_the_one_that_lasts_longest_is_told(ledger: Make) -> None:
    one = ledger(tokens_per_day=10, total_tokens_per_day=10)
    one.zone = "Asia/Kathmandu"  # its midnight comes first
    assert (await one.refused(11)).limit == "total_tokens_per_day"
    one.zone = "America/Los_Angeles"
    assert (await one.refused(11)).limit == "tokens_per_day"


async def test_nothing_is_asked_of_who_has_no_limits(ledger: Make) -> None:
    one = ledger(turns_per_minute=None)
    for _ in range(50):
        assert await one.admit() is None
        await one.reserve(10**9, 10**9)
