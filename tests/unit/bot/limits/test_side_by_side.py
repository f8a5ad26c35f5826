"""Whatever happens side by side, past midnight or in the middle of a kill, no limit is overrun and no call is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import LimitReached
from bot.events import Usage
from bot.limits import cost
from memory.database import open_database
from tests.unit.bot.limits.ledger import DAY, NOON, PRICES, Ledger, limits, run_property


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
