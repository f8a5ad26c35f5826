"""The ledger: whatever happens side by side, past midnight, around the world or in the middle of a kill, no limit is overrun."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import LimitReached
from bot.events import AssistantSaid, Event, Summarised, ToolCall, ToolReturned, Usage, UserSaid
from bot.limits import KEEP_DAYS, Limits, Spent, bound, cost, prune, request_bound
from bot.models import anthropic, openai
from bot.models.base import ModelRequest, ToolSpec
from bot.models.history import well_formed
from bot.places import Places
from bot.tools import ALL, named
from config.schema import LimitsConfig, Price
from memory.database import Database, Tx, open_database
from memory.sql import migrations

DAY = 86400.0
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()
PRICES = {"main": Price(input=2, output=8, cached_input=0.5), "free": Price()}
ZONES = (
    "Etc/GMT+12",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "UTC",
    "Europe/Vienna",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
)


def limits(timezone: str = "UTC", **keys: Any) -> Limits:
    return Limits(LimitsConfig(**keys), PRICES, timezone)


@dataclass
class Ledger:
    """One database and one set of limits, with the arguments that a test does not care about filled in."""

    database: Database
    limits: Limits
    at: float = NOON
    zone: str = "UTC"

    async def admit(self, person: str = "telegram-1", *, command: bool = False) -> LimitReached | None:
        return await self.database.write(
            lambda tx: self.limits.admit(tx, person, self.zone, self.at, command=command)
        )

    async def reserve(
        self,
        input_: int = 100,
        output: int = 0,
        *,
        person: str = "telegram-1",
        chat: str = "telegram:1:",
        model: str = "main",
    ) -> int:
        return await self.database.write(
            lambda tx: self.limits.reserve(tx, 7, person, chat, self.zone, model, input_, output, self.at)
        )

    async def refused(self, *args: Any, **more: Any) -> LimitReached:
        with pytest.raises(LimitReached) as caught:
            await self.reserve(*args, **more)
        return caught.value

    async def fits(self, *args: Any, **more: Any) -> bool:
        try:
            await self.reserve(*args, **more)
        except LimitReached:
            return False
        return True

    async def settle(self, reservation: int, input_: int, output: int = 0, cached: int = 0) -> list[Spent]:
        return await self.database.write(
            lambda tx: self.limits.settle(tx, reservation, Usage(input_, cached, output))
        )

    async def release(self, reservation: int) -> None:
        await self.database.write(lambda tx: self.limits.release(tx, reservation))

    async def used(self) -> dict[str, float]:
        spent = await self.database.read(
            lambda tx: self.limits.spent(tx, "telegram-1", "telegram:1:", self.zone, self.at)
        )
        return {one.limit: one.used for one in spent}


@pytest.fixture
async def ledger(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    async with open_database(tmp_path / "b.db") as database:
        yield lambda **keys: Ledger(database, limits(**keys))


Make = Callable[..., Ledger]


# Tokens and USD -----------------------------------------------------------------------------------------------------


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


# Warnings -----------------------------------------------------------------------------------------------------------


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


# Days ---------------------------------------------------------------------------------------------------------------


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


def run_property(work: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(work(Path(folder)))


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


# Turns --------------------------------------------------------------------------------------------------------------


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


# Side by side, and kills --------------------------------------------------------------------------------------------


@dataclass
class Booked:
    """What a test knows of a reservation."""

    id: int
    person: str
    day: str
    bounds: tuple[int, int]
    real: tuple[int, int] | None = None

    @property
    def tokens(self) -> int:
        return sum(self.real or self.bounds)

    @property
    def nano(self) -> int:
        return (
            round(cost(PRICES["main"], Usage(*self.bounds[:1], 0, *self.bounds[1:])) * 1e9)
            if (self.real is None)
            else round(cost(PRICES["main"], Usage(self.real[0], 0, self.real[1])) * 1e9)
        )


@dataclass
class World:
    """Two processes on one file, and what each limit is."""

    path: Path
    keys: dict[str, float]
    booked: list[Booked] = field(default_factory=list)

    def check(self) -> None:
        """The ledger holds exactly what settled calls used and what others may use, and no limit is overrun."""
        with closing(sqlite3.connect(self.path)) as seen:
            seen.row_factory = sqlite3.Row
            rows = {(row["scope"], row["day"]): row for row in seen.execute("SELECT * FROM spend")}
            usage = seen.execute(
                "SELECT count(*), coalesce(sum(input + output), 0), coalesce(sum(usd), 0) FROM usage"
            ).fetchone()
        for (scope, day), row in rows.items():
            of = [
                one
                for one in self.booked
                if one.day == day and scope in (f"person:{one.person}", "chat:telegram:9", "all")
            ]
            open_ = [one for one in of if one.real is None]
            settled = [one for one in of if one.real is not None]
            assert row["tokens"] == sum(one.tokens for one in settled)
            assert row["held_tokens"] == sum(one.tokens for one in open_)
            assert row["nano"] == sum(one.nano for one in settled)
            assert row["held_nano"] == sum(one.nano for one in open_)
            prefix = {"person": "", "chat:t": "chat_", "all": "total_"}[scope[:6]]
            assert row["tokens"] + row["held_tokens"] <= self.keys[f"{prefix}tokens_per_day"]
            assert row["nano"] + row["held_nano"] <= self.keys[f"{prefix}usd_per_day"] * 1e9
        assert usage[0] == len(self.booked)
        assert usage[1] == sum(one.tokens for one in self.booked)
        assert usage[2] == pytest.approx(sum(one.nano for one in self.booked) / 1e9)
        assert {("all", one.day) for one in self.booked} <= set(rows)


AMOUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60))
STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab"), AMOUNTS), max_size=6)),
    st.tuples(st.just("settle"), st.tuples(st.integers(0, 50), st.integers(0, 100), st.integers(0, 100))),
    st.tuples(st.just("release"), st.integers(0, 50)),
    st.tuples(st.just("kill"), st.integers(0, 1)),
    st.tuples(st.just("midnight"), st.none()),
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(st.lists(STEPS, max_size=25))
def test_no_order_of_events_overruns_a_limit_or_loses_a_call(steps: list[tuple[str, Any]]) -> None:
    async def work(folder: Path) -> None:
        keys: dict[str, float] = {
            "tokens_per_day": 200, "chat_tokens_per_day": 320, "total_tokens_per_day": 300,
            "usd_per_day": 0.0008, "chat_usd_per_day": 0.0012, "total_usd_per_day": 0.0011,
        }  # fmt: skip
        world = World(folder / "b.db", keys)
        lost: set[int] = set()  # in flight in a process that was killed: nobody can settle them
        holder: dict[int, int] = {}
        at = NOON
        async with AsyncExitStack() as stack:
            processes = [await stack.enter_async_context(open_database(world.path)) for _ in range(2)]
            ledgers = [Ledger(database, limits(**keys)) for database in processes]
            for kind, what in steps:
                waiting = [one for one in world.booked if one.real is None and one.id not in lost]
                for one in ledgers:
                    one.at = at
                match kind:
                    case "reserve":
                        results = await asyncio.gather(
                            *(
                                ledgers[process].reserve(*amounts, person=person, chat="telegram:9:")
                                for process, person, amounts in what
                            ),
                            return_exceptions=True,
                        )
                        for result, (process, person, amounts) in zip(results, what, strict=True):
                            if isinstance(result, int):
                                day = str(datetime.fromtimestamp(at, UTC).date())
                                world.booked.append(Booked(result, person, day, amounts))
                                holder[result] = process
                            else:
                                assert isinstance(result, LimitReached)
                    case "settle" if waiting:
                        index, part, other = what
                        call = waiting[index % len(waiting)]
                        real = (call.bounds[0] * part // 100, call.bounds[1] * other // 100)
                        await ledgers[holder[call.id]].settle(call.id, *real)
                        call.real = real
                    case "release" if waiting:
                        call = waiting[what % len(waiting)]
                        await ledgers[holder[call.id]].release(call.id)
                        world.booked.remove(call)
                    case "kill":
                        lost |= {id_ for id_, process in holder.items() if process == what}
                        ledgers[what].database = await stack.enter_async_context(open_database(world.path))
                    case "midnight":
                        at += DAY
                world.check()

    run_property(work)


async def test_fifty_calls_at_once_in_two_processes_are_made_as_often_as_there_is_room(
    tmp_path: Path,
) -> None:
    async with open_database(tmp_path / "b.db") as one, open_database(tmp_path / "b.db") as other:
        both = [Ledger(database, limits(usd_per_day=0.0035)) for database in (one, other)]
        results = await asyncio.gather(
            *(both[n % 2].reserve(300, 50, chat=f"telegram:{n}:") for n in range(50)), return_exceptions=True
        )
        assert sum(isinstance(result, int) for result in results) == 3
        assert {type(result) for result in results} == {int, LimitReached}


async def test_a_call_that_a_kill_cut_off_stays_counted_at_its_estimate(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        await Ledger(database, limits(tokens_per_day=1000)).reserve(600, 100)
    async with open_database(tmp_path / "b.db") as database:
        one = Ledger(database, limits(tokens_per_day=1000))
        assert (await one.refused(301)).used == 700
        [row] = await database.read(lambda tx: tx.all("spend_last", scope="all", most="9999"))
        assert (row["tokens"], row["held_tokens"], row["held_nano"]) == (0, 700, 2_000_000)


# What a request may use ---------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=80) | st.sampled_from(
    ["漢字" * 20, "\ud800 alone", "\N{FAMILY}" * 9, '"' * 50, "\n" * 50]
)
CALLS = st.builds(
    ToolCall,
    TEXTS,
    st.sampled_from(["history", "clock", "made up!"]),
    st.dictionaries(st.text(max_size=9), TEXTS, max_size=3).map(json.dumps) | TEXTS,
)
EVENTS = st.lists(
    st.builds(UserSaid, TEXTS, TEXTS, TEXTS)
    | st.builds(Summarised, TEXTS, st.integers(0, 9))
    | st.builds(ToolReturned, TEXTS, st.just("history"), TEXTS, st.booleans())
    | st.builds(AssistantSaid, TEXTS, st.lists(CALLS, max_size=3).map(tuple)),
    max_size=8,
)


def strings(value: Any) -> Iterator[str]:
    """Every text of a request's body, but those that only mark its parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "input":  # a tool call's arguments
                yield json.dumps(one)
            elif key not in ("role", "type"):
                yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


@given(TEXTS)
def test_a_text_has_at_most_as_many_tokens_as_bytes(text: str) -> None:
    assert bound(text) >= len(text.encode("utf-8", "replace"))
    assert bound(text) <= 4 * len(text)


@settings(deadline=None)
@given(EVENTS, TEXTS, st.booleans())
def test_nothing_that_is_sent_is_left_out_of_a_requests_bound(
    events: list[Event], system: str, with_tools: bool
) -> None:
    specs: list[ToolSpec] = [tool.spec for tool in named(ALL).values()] if with_tools else []
    request = ModelRequest(system, events, specs)
    tools = [text for spec in specs for text in (spec.name, spec.description, json.dumps(spec.parameters))]
    for sent in (
        openai._messages(request, "label"),  # the system prompt is one of them
        [well_formed(system), anthropic._messages(request, "label")],
    ):
        assert request_bound(request) >= sum(len(text.encode()) for text in [*tools, *strings(sent)])


@pytest.mark.parametrize(
    "event",
    [
        AssistantSaid("", (ToolCall("1", "history", json.dumps({"words": "漢字" * 500})),)),
        AssistantSaid("漢字" * 500),
        AssistantSaid("", opaque={"provider": "anthropic", "model": "x", "content": ["漢字" * 500]}),
        ToolReturned("1", "history", "漢字" * 500),
        ToolReturned("1", "history", '"\n' * 1500),
        UserSaid("", "Anna", "漢字" * 500),
        Summarised("漢字" * 500, 1),
    ],
)
def test_every_kind_of_event_counts_with_all_its_bytes(event: Event) -> None:
    assert request_bound(ModelRequest("", [event])) >= 3000


# Places -------------------------------------------------------------------------------------------------------------


@dataclass
class Crowd:
    """Turns that take places, and go when they are told to."""

    places: Places
    inside: list[tuple[str, int]] = field(default_factory=list)
    tasks: dict[tuple[str, int], tuple[asyncio.Task[None], asyncio.Event]] = field(default_factory=dict)

    async def come(self, user: str) -> tuple[str, int]:
        name, go = (user, len(self.tasks)), asyncio.Event()

        async def turn() -> None:
            async with self.places.taken(user):
                self.inside.append(name)
                try:
                    await go.wait()
                finally:
                    self.inside.remove(name)

        self.tasks[name] = asyncio.create_task(turn()), go
        await self.rest()
        return name

    async def leave(self, name: tuple[str, int]) -> None:
        task, go = self.tasks[name]
        go.set()
        await task
        await self.rest()

    async def vanish(self, name: tuple[str, int]) -> None:
        task, _ = self.tasks[name]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.rest()

    async def rest(self) -> None:
        """Let everything happen that can."""
        for _ in range(6):
            await asyncio.sleep(0)


async def test_who_finds_no_place_waits_and_is_served_in_order() -> None:
    crowd = Crowd(Places(2, 100))
    names = [await crowd.come("a") for _ in range(5)]
    assert crowd.inside == names[:2]
    await crowd.leave(names[1])
    assert crowd.inside == [names[0], names[2]]
    await crowd.leave(names[0])
    assert crowd.inside == names[2:4]
    for name in names[2:]:
        await crowd.leave(name)
    assert crowd.places._people == {}


async def test_a_flood_of_one_person_waits_behind_itself() -> None:
    crowd = Crowd(Places(2, 3))
    flood = [await crowd.come("a") for _ in range(50)]
    other = await crowd.come("b")
    last = await crowd.come("c")
    assert crowd.inside == [*flood[:2], other]
    await crowd.leave(flood[0])
    assert last in crowd.inside  # it came to the door before the flood's third
    for name in [other, last, *flood[1:]]:
        await crowd.leave(name)
    assert (crowd.inside, crowd.places._people) == ([], {})


async def test_a_place_that_is_given_to_who_is_cancelled_goes_to_the_next() -> None:
    crowd = Crowd(Places(1, 1))
    first, second, third = [await crowd.come("a") for _ in range(3)]
    crowd.tasks[first][1].set()
    await asyncio.sleep(0)  # the place is handed over in this very step
    await crowd.vanish(second)
    await crowd.rest()
    assert crowd.inside == [third]
    await crowd.leave(third)
    assert crowd.places._people == {}


async def test_who_has_just_been_cancelled_is_passed_over() -> None:
    crowd = Crowd(Places(1, 1))
    first, second, third = [await crowd.come("a") for _ in range(3)]
    crowd.tasks[first][1].set()
    crowd.tasks[second][0].cancel()  # it hears of it after the first has given its place back
    await crowd.rest()
    assert crowd.inside == [third]
    await crowd.leave(third)
    assert crowd.places._people == {}


async def test_other_numbers_hold_at_once_and_take_no_place_away() -> None:
    crowd = Crowd(Places(1, 1))
    names = [await crowd.come(user) for user in "abcd"]
    crowd.places.resize(1, 3)
    await crowd.rest()
    assert crowd.inside == names[:3]
    crowd.places.resize(1, 1)
    await crowd.leave(names[0])
    await crowd.leave(names[1])
    assert crowd.inside == [names[2]]
    await crowd.leave(names[2])
    assert crowd.inside == [names[3]]
    await crowd.leave(names[3])


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_or_given_twice(seed: int) -> None:
    dice = random.Random(seed)
    each, total = 2, 4
    crowd = Crowd(Places(each, total))
    shrunk = False
    for _ in range(150):
        there = [name for name, (task, _) in crowd.tasks.items() if not task.done()]
        match dice.choice(["come", "come", "leave", "vanish", "resize"]):
            case "come":
                await crowd.come(dice.choice("abcd"))
            case "leave" if crowd.inside:
                await crowd.leave(dice.choice(crowd.inside))
            case "vanish" if there:
                await crowd.vanish(dice.choice(there))
            case "resize" if dice.random() < 0.2:
                more = (dice.randint(1, 3), dice.randint(1, 6))
                shrunk = shrunk or more[0] < each or more[1] < total
                each, total = more
                crowd.places.resize(each, total)
                await crowd.rest()
        inside = [user for user, _ in crowd.inside]
        waiting = {
            name[0] for name, (task, _) in crowd.tasks.items() if not task.done() and name not in crowd.inside
        }
        if not shrunk:
            assert len(inside) <= total
            assert all(inside.count(user) <= each for user in "abcd")
        for user in waiting:  # nobody waits for nothing
            assert len(inside) >= total or inside.count(user) >= each
    for name, (task, _) in list(crowd.tasks.items()):
        if not task.done():
            await crowd.vanish(name)
    assert (crowd.places._people, crowd.places._total._taken) == ({}, 0)
