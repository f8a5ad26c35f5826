"""Limits of one person on several platforms: their user ids have one budget, whatever their zones, and parting makes no other."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import usage
from bot.errors import LimitReached
from bot.events import Usage
from bot.limits import Limits
from memory import links
from memory.database import Database, Tx, open_database
from tests.unit.bot.limits.ledger import NOON, limits, run_property

HOUR = 3600.0
ONE, OTHER, THIRD = "telegram-1", "discord-7", "slack-T1-U7"


def join(tx: Tx, one: str, other: str) -> None:
    found = links.find(tx, links.ask(tx, one, "", "", None, 0), other, 0)
    assert isinstance(found, links.Code)
    links.link(tx, found, other, 0)


@dataclass
class Ledger:
    """One transaction for all of a test, with the arguments filled in that it does not care about."""

    tx: Tx
    limits: Limits
    at: float = NOON
    zones: dict[str, str] = field(default_factory=dict)

    def admit(self, user: str) -> LimitReached | None:
        return self.limits.admit(self.tx, user, self.zones.get(user, "UTC"), self.at)

    def reserve(self, user: str, tokens: int, chat: str = "c:1:") -> int | LimitReached:
        zone = self.zones.get(user, "UTC")
        try:
            return self.limits.reserve(self.tx, 7, user, chat, zone, "main", tokens, 0, self.at)
        except LimitReached as exc:
            return exc

    def settle(self, reservation: int | LimitReached, tokens: int) -> list[str]:
        assert isinstance(reservation, int)
        return [one.limit for one in self.limits.settle(self.tx, reservation, Usage(tokens, 0, 0))]

    def spent(self, user: str) -> dict[str, float]:
        zone = self.zones.get(user, "UTC")
        return {one.limit: one.used for one in self.limits.spent(self.tx, user, "c:1:", zone, self.at)}


async def run(folder: Path, test: Any) -> None:
    async with open_database(folder / "b.db") as database:
        await database.write(test)


async def test_what_was_spent_under_one_id_is_missing_under_the_other(tmp_path: Path) -> None:
    def test(tx: Tx) -> None:
        one = Ledger(tx, limits(tokens_per_day=1000, usd_per_day=0.002))
        one.settle(one.reserve(ONE, 900), 300)
        one.reserve(OTHER, 300)
        assert one.spent(ONE) == {"tokens_per_day": 300, "usd_per_day": 0.0006}
        join(tx, ONE, OTHER)
        for user in (ONE, OTHER):
            assert one.spent(user) == {"tokens_per_day": 600, "usd_per_day": 0.0012}
            assert isinstance(one.reserve(user, 401), LimitReached)
        assert one.spent(THIRD)["tokens_per_day"] == 0
        assert isinstance(one.reserve(THIRD, 1000), int)
        assert isinstance(one.reserve(OTHER, 400), int)
        reached = one.reserve(ONE, 1)
        assert isinstance(reached, LimitReached)
        assert (reached.used, reached.until) == (1000, NOON + 12 * HOUR)

    await run(tmp_path, test)


async def test_parting_gives_each_side_what_it_had_spent_itself(tmp_path: Path) -> None:
    def test(tx: Tx) -> None:
        one = Ledger(tx, limits(tokens_per_day=1000))
        for _ in range(3):
            join(tx, ONE, OTHER)
            one.reserve(ONE, 150)
            one.reserve(OTHER, 50)
            links.unlink(tx, ONE, 0)
        assert one.spent(ONE) == {"tokens_per_day": 450}
        assert one.spent(OTHER) == {"tokens_per_day": 150}

    await run(tmp_path, test)


async def test_turns_of_a_day_and_of_a_minute_are_counted_together(tmp_path: Path) -> None:
    def test(tx: Tx) -> None:
        one = Ledger(tx, limits(turns_per_day=5, turns_per_minute=4))
        join(tx, ONE, OTHER)
        begun = [one.admit(user) for user in (ONE, ONE, OTHER, OTHER)]
        assert begun == [None] * 4
        one.at += 10
        for user in (ONE, OTHER):
            reached = one.admit(user)
            assert isinstance(reached, LimitReached)
            assert (reached.limit, reached.used, reached.again) == ("turns_per_minute", 4, False)
            assert reached.until == NOON + 60
            again = one.admit(user)
            assert isinstance(again, LimitReached)
            assert again.again  # each side is told once
        assert one.admit(THIRD) is None
        one.at += 60
        assert one.admit(OTHER) is None
        for user in (ONE, OTHER):
            reached = one.admit(user)
            assert isinstance(reached, LimitReached)
            assert (reached.limit, reached.used) == ("turns_per_day", 5)

    await run(tmp_path, test)


async def test_who_said_nothing_on_one_side_is_told_there_once_as_well(tmp_path: Path) -> None:
    def test(tx: Tx) -> None:
        one = Ledger(tx, limits(turns_per_minute=2))
        join(tx, ONE, OTHER)
        assert [one.admit(ONE), one.admit(ONE)] == [None, None]
        told = [one.admit(OTHER), one.admit(OTHER), one.admit(ONE)]
        assert [reached and reached.again for reached in told] == [False, True, False]
        one.at += 60
        assert one.admit(OTHER) is None

    await run(tmp_path, test)


async def test_the_warning_comes_once_for_all_ids_of_a_person(tmp_path: Path) -> None:
    def test(tx: Tx) -> None:
        one = Ledger(tx, limits(tokens_per_day=1000))
        join(tx, ONE, OTHER)
        assert one.settle(one.reserve(ONE, 700), 700) == []
        assert one.settle(one.reserve(OTHER, 100), 100) == ["tokens_per_day"]
        assert one.settle(one.reserve(ONE, 50), 50) == []
        assert one.settle(one.reserve(OTHER, 50), 50) == []

    await run(tmp_path, test)


async def test_a_day_that_runs_longer_elsewhere_counts_until_it_is_over_there(tmp_path: Path) -> None:
    def test(tx: Tx) -> None:
        zones = {ONE: "Pacific/Kiritimati", OTHER: "Pacific/Pago_Pago"}  # 25 hours apart
        one = Ledger(tx, limits(tokens_per_day=1000), zones=zones)
        join(tx, ONE, OTHER)
        one.reserve(OTHER, 1000)  # at 01:00 of the 10th there; it is the 11th, 02:00, in Kiritimati
        reached = one.reserve(ONE, 1)
        assert isinstance(reached, LimitReached)
        end = datetime(2026, 3, 11, 11, tzinfo=UTC).timestamp()
        assert reached.until == end
        one.at = end - 1
        assert isinstance(one.reserve(ONE, 1), LimitReached)
        one.at = end
        assert isinstance(one.reserve(ONE, 1000), int)

    await run(tmp_path, test)


@pytest.mark.parametrize("linked", [True, False])
async def test_usage_tells_a_person_of_all_their_ids(tmp_path: Path, linked: bool) -> None:
    def test(tx: Tx) -> None:
        one = Ledger(tx, limits())
        for user, tokens in ((ONE, 100), (OTHER, 20), (THIRD, 3)):
            one.settle(one.reserve(user, 500), tokens)
        if linked:
            join(tx, ONE, OTHER)
        for user, own in ((ONE, 100), (OTHER, 20), (THIRD, 3)):
            used = usage.of_person(tx, user, "UTC", NOON)
            assert used.today.input == (120 if linked and user != THIRD else own)
            assert used.ever.calls == (2 if linked and user != THIRD else 1)

    await run(tmp_path, test)


ZONES = ("Etc/GMT+12", "America/New_York", "UTC", "Europe/Vienna", "Asia/Kathmandu", "Pacific/Kiritimati")
IDS = (ONE, OTHER, THIRD, "slack-T2-U7")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(["reserve", "reserve", "reserve", "admit", "settle", "move"]),
        st.integers(1, 1000),
        st.sampled_from([0.0, 0.0, 600.0, 3 * HOUR, 11 * HOUR, 26 * HOUR]),
        st.sampled_from(ZONES),
    ),
    max_size=60,
)


@given(STEPS, st.lists(st.sampled_from(ZONES), min_size=len(IDS), max_size=len(IDS)))
@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_on_no_date_do_all_ids_of_a_person_spend_more_than_one_budget(
    steps: list[tuple[str, str, int, float, str]], zones: list[str]
) -> None:
    """Whatever their zones are and become. A date is the one that the ledger has; of N days there are N + 2 at most."""

    def test(tx: Tx) -> None:
        one = Ledger(tx, limits(tokens_per_day=1000, turns_per_day=3))
        one.zones = dict(zip(IDS, zones, strict=True))
        for other in IDS[1:]:
            join(tx, ONE, other)
        open_: list[int] = []
        for user, verb, tokens, later, zone in steps:
            one.at += later
            match verb:
                case "reserve":
                    found = one.reserve(user, tokens)
                    open_ += [found] if isinstance(found, int) else []
                case "admit":
                    one.admit(user)
                case "settle" if open_:
                    one.settle(open_.pop(0), 0 if tokens % 2 else tokens // 10)
                case "move":
                    one.zones[user] = zone
            days: Counter[str] = Counter()
            turns: Counter[str] = Counter()
            for row in tx._connection.execute(
                "SELECT day, tokens + held_tokens AS spent, turns FROM spend WHERE scope LIKE 'person:%'"
            ):
                days[row["day"]] += row["spent"]
                turns[row["day"]] += row["turns"]
            assert all(spent <= 1000 for spent in days.values())
            assert all(count <= 3 for count in turns.values())

    run_property(lambda folder: run(folder, test))


async def test_who_has_an_id_in_each_zone_has_one_budget_a_day(tmp_path: Path) -> None:
    """They spend just before the day ends in each zone, as if they had it back at once."""

    def test(tx: Tx) -> None:
        zones = {user: f"Etc/GMT{offset:+}" for user, offset in zip(IDS, (-12, -4, 4, 12), strict=True)}
        one = Ledger(tx, limits(tokens_per_day=1000), zones=zones)
        for other in IDS[1:]:
            join(tx, ONE, other)
        days, total = 10, 0
        for _ in range(days * 24 * 4):
            for user in IDS:
                if datetime.fromtimestamp(one.at, ZoneInfo(zones[user])).hour != 23:
                    continue
                for tokens in (500, 500):
                    total += tokens * isinstance(one.reserve(user, tokens), int)
            one.at += HOUR / 4
        assert total <= (days + 2) * 1000
        assert total >= (days - 1) * 1000  # and they are not locked out either

    await run(tmp_path, test)


async def test_two_processes_spend_one_budget(tmp_path: Path) -> None:
    most, each = 10_000, 100
    ledger = limits(tokens_per_day=most)

    def reserve(user: str) -> Any:
        def unit(tx: Tx) -> bool:
            try:
                ledger.reserve(tx, 7, user, f"{user}:", "UTC", "main", each, 0, NOON)
            except LimitReached:
                return False
            return True

        return unit

    async def spend(database: Database, user: str) -> int:
        return sum(await asyncio.gather(*(database.write(reserve(user)) for _ in range(80))))

    async with open_database(tmp_path / "b.db") as first, open_database(tmp_path / "b.db") as second:
        await first.write(lambda tx: join(tx, ONE, OTHER))
        both = await asyncio.gather(spend(first, ONE), spend(second, OTHER))
        assert sum(both) == most // each
