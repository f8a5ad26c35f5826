"""What is counted, timed and believed, piece by piece; tests/acceptance/test_health.py compares it with what servers counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.base import AdapterError, Chat, RateLimited, Unavailable
from bot.events import Usage
from bot.health import KEEP, Health, Vitals, all_well, seen
from bot.metrics import MOST_UNSEEN, Counters
from memory.database import Database, open_database
from memory.inbox import Row, add
from tests.fakes.memory_adapter import MemoryAdapter

CHAT = Chat("memory", "1")


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


class _Over(Exception):
    pass


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Database, asyncio.TaskGroup]]:
    async with open_database(folder / "boswell.db") as database:
        try:
            async with asyncio.TaskGroup() as tasks:
                yield database, tasks
                raise _Over  # noqa: TRY301 - ends the group
        except* _Over:
            pass


async def samples(counters: Counters, database: Database, *names: str) -> dict[str, float]:
    """Every sample, as `name{label="value"}` with the labels in order of their names."""
    body, _ = await counters.exposition(database, Vitals(database, names))
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_sends_are_counted_when_the_platform_took_them_and_429s_by_themselves(tmp_path: Path) -> None:
    adapter, counters = MemoryAdapter(), Counters()
    watched = counters.watched({"memory": adapter})["memory"]
    trouble: list[tuple[str, AdapterError]] = [
        ("post", RateLimited("slow down", 1.0)),
        ("post", Unavailable("away")),
    ]
    adapter.trouble = trouble
    for _ in range(3):
        with suppress(AdapterError):
            await watched.post(CHAT, "hi", key="1.0")
    await watched.edit(CHAT, "1", "ho", final=True)
    await watched.typing(CHAT)
    assert watched.limits is adapter.limits
    async with opened(tmp_path) as (database, _):
        found = await samples(counters, database)
    assert found['boswell_sends_total{platform="memory",verb="post"}'] == 1
    assert found['boswell_sends_total{platform="memory",verb="edit"}'] == 1
    assert found['boswell_sends_total{platform="memory",verb="typing"}'] == 1
    assert found['boswell_rate_limited_total{platform="memory"}'] == 1
    assert found['boswell_errors_total{kind="Unavailable",where="platform"}'] == 1


async def test_a_turn_is_timed_to_its_first_words_and_to_its_end_once(tmp_path: Path) -> None:
    counters = Counters()
    counters.turn_began(1, "memory", asks=True)
    counters.text_shown(1)
    counters.text_shown(1)
    counters.turn_ended(1, "memory", "answered")
    counters.turn_began(2, "memory", asks=False)
    counters.text_shown(2)
    counters.turn_ended(2, "memory", "command:help")
    async with opened(tmp_path) as (database, _):
        found = await samples(counters, database)
    assert found['boswell_first_text_seconds_count{platform="memory"}'] == 1
    assert found['boswell_turn_seconds_count{platform="memory"}'] == 1
    assert found['boswell_turns_total{outcome="answered",platform="memory"}'] == 1
    assert found['boswell_turns_total{outcome="command:help",platform="memory"}'] == 1


def test_replies_that_are_never_seen_do_not_pile_up() -> None:
    counters = Counters()
    for turn in range(MOST_UNSEEN + 10):
        counters.turn_began(turn, "memory", asks=True)
        counters.turn_ended(turn, "memory", "answered")
    assert len(counters._unseen) == MOST_UNSEEN
    assert not counters._running


async def test_tokens_and_usd_add_up_per_model(tmp_path: Path) -> None:
    counters = Counters()
    counters.used("main", Usage(100, 60, 20), 0.25)
    counters.used("main", Usage(10, 0, 2), 0.5)
    async with opened(tmp_path) as (database, _):
        found = await samples(counters, database)
    kinds = {
        kind: found[f'boswell_tokens_total{{kind="{kind}",model="main"}}']
        for kind in ("input", "cached", "output")
    }
    assert kinds == {"input": 110, "cached": 60, "output": 22}
    assert found['boswell_usd_total{model="main"}'] == 0.75


async def test_the_queues_are_told_as_the_database_has_them(tmp_path: Path) -> None:
    def fill(tx: Any) -> None:
        for number, (state, at) in enumerate(
            [("waiting", 100.0), ("running", 50.0), ("quarantined", 1.0), ("ignored", 1.0)]
        ):
            add(tx, Row("memory:test", str(number), "memory", state, at, "lane", body="{}"))  # type: ignore[arg-type]  # a literal

    async with opened(tmp_path) as (database, _):
        await database.write(fill)
        found = await samples(Counters(), database, "memory", "other")
    assert found['boswell_queue_depth{platform="memory",queue="inbox"}'] == 2
    assert found['boswell_queue_depth{platform="memory",queue="dead inbox"}'] == 1
    assert found['boswell_queue_depth{platform="other",queue="inbox"}'] == 0
    assert found['boswell_queue_oldest_seconds{platform="memory",queue="inbox"}'] > 1e9
    assert found['boswell_queue_oldest_seconds{platform="other",queue="inbox"}'] == 0


@pytest.mark.parametrize("name", ["inbox_counts", "outbox_counts"])
async def test_looking_at_the_queues_reads_only_what_is_owed_or_dead(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path) as (database, _):
        sql = await database.read(lambda tx: tx._queries[name])
        plan = await database.read(lambda tx: tx._connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())
    table = name.removesuffix("_counts")
    steps = [row["detail"] for row in plan if table in row["detail"]]
    assert steps
    assert all(f"USING INDEX {table}_" in step for step in steps), steps


# What is believed


def test_up_is_believed_until_then_only() -> None:
    assert seen("up", 100.0, 100.0) == "up"
    assert seen("up", 100.0, 100.1) == "silent"
    assert seen("up", None, 1e12) == "up"
    assert seen("down", 100.0, 200.0) == "down"


@pytest.mark.parametrize(
    ("states", "well"),
    [
        (["up"], True),
        (["up", "stopped"], True),
        (["stopped"], False),
        (["up", "down"], False),
        (["up", "silent"], False),
        ([], False),
    ],
)
def test_all_is_well_if_one_is_up_and_none_is_ill(states: list[str], well: bool) -> None:
    assert all_well(states) is well


async def test_a_platform_that_is_not_heard_of_is_silent_until_it_is_again(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path) as (database, tasks):
        one = Health("memory", 90.0, database, tasks, now=clock)
        one.up("fine")
        clock.at += 80
        one.up("fine")
        clock.at += 80
        assert one.state == "up"
        clock.at += 11
        assert one.state == "silent"
        one.up("fine")
        assert one.state == "up"
        terminal = Health("console", None, database, tasks, now=clock)
        terminal.up()
        clock.at += 1e6
        assert terminal.state == "up"


async def test_being_heard_of_often_is_written_down_now_and_then_and_changes_no_since(tmp_path: Path) -> None:
    clock = Clock()

    async def row(database: Database) -> dict[str, Any]:
        await asyncio.sleep(0)  # the task that writes has begun
        await database.write(lambda tx: None)  # and this comes after it
        return dict((await database.read(lambda tx: tx.all("status_all")))[0])

    async with opened(tmp_path) as (database, tasks):
        one = Health("memory", 90.0, database, tasks, now=clock)
        one.up("fine")
        first = await row(database)
        for _ in range(5):
            clock.at += KEEP / 10
            one.up("fine")
        assert (await row(database)) == first
        clock.at += KEEP
        one.up("fine")
        last = await row(database)
    assert last["until"] == first["until"] + 1.5 * KEEP
    assert last["since"] == first["since"]


async def test_what_waits_for_a_platform_is_tried_as_soon_as_it_is_up_and_not_each_time_it_says_so(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    async with opened(tmp_path) as (database, tasks):
        one = Health("memory", 90.0, database, tasks, on_up=lambda: told.append("up"))
        one.up()
        one.up()
        one.down("away")
        one.up()
    assert told == ["up", "up"]
