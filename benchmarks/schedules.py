"""What reminders cost that are not due: at the start, and at each look of the scheduler. 100,000 ought to cost what none do.

`python -m benchmarks.schedules` prints it alone.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from adapters.base import Person
from benchmarks.catalogue import BOSWELL
from benchmarks.measure import Servers, cpu_seconds, servers, started
from bot.logs import configure
from bot.triggers import Cron, Every, Once, Trigger
from memory.database import Tx, open_database
from tests.fakes.clock import Clock, at
from tests.fakes.fired import add
from tests.fakes.house import house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

PENDING = (0, 1_000, 100_000)
LOOKS = 500
FIRINGS = 100
NOW = at(
    "2090-01-02 12:00"
)  # nothing becomes due while it is measured, whatever the clock of the machine says


def measure_pending(there: Servers, rounds: int) -> dict[int, dict[str, float]]:
    """By the number of reminders that are not due: seconds and CPU to ready, microseconds of a look, milliseconds of a firing.

    Each round starts with each number once.
    """
    configure("warning", "json")
    found: dict[int, list[dict[str, float]]] = {pending: [] for pending in PENDING}
    for _ in range(rounds):
        for pending in PENDING:
            with tempfile.TemporaryDirectory() as folder:
                ticks = asyncio.run(_ticks(Path(folder), pending))
            found[pending].append({**_start(there, pending), **ticks})
    return {
        pending: {key: statistics.median(one[key] for one in results) for key in results[0]}
        for pending, results in found.items()
    }


def _start(there: Servers, pending: int) -> dict[str, float]:
    def arguments(directory: Path, servers: Servers, token: str) -> Sequence[str]:
        (directory / "data").mkdir()
        asyncio.run(_fill(directory / "data", pending))
        os.sync()  # or the start would wait for what was written before it
        return BOSWELL.arguments(directory, servers, token)

    title = f"Boswell with {pending} reminders"
    with started(replace(BOSWELL, title=title, arguments=arguments), there) as (pid, token, begun):
        return {"ready_s": there.ready(token, 60) - begun, "ready_cpu_s": cpu_seconds(pid)}


async def _fill(folder: Path, pending: int) -> None:
    def unit(tx: Tx) -> None:
        for number in range(pending):
            add(tx, Person(f"telegram-{number}"), _far(number), "Europe/Vienna", NOW)

    async with open_database(folder / "boswell.db") as database:
        await database.write(unit)


def _far(number: int) -> Trigger:
    """None of them is due within ten minutes of `NOW`."""
    match number % 3:
        case 0:
            return Once(NOW + 3600 + number)
        case 1:
            return Cron(f"{number % 60} {number % 10} * * mon-fri")
        case _:
            return Every(86400, NOW + 3600 + number)


async def _ticks(folder: Path, pending: int) -> dict[str, float]:
    await _fill(folder, pending)
    clock, adapter = Clock(NOW), MemoryAdapter("telegram")
    async with house(folder, ScriptedModel(lambda _: ""), adapter=adapter, now=clock) as h:

        async def timed(count: int, work: Callable[[], object] = lambda: None) -> float:
            seconds = []
            for _ in range(count):
                work()
                begun = time.perf_counter()
                await h.parts.scheduler.sweep("telegram")
                seconds.append(time.perf_counter() - begun)
                await h.settled()
            return statistics.median(seconds)

        def second() -> None:
            clock.time += 1

        def unit(tx: Tx) -> None:
            for number in range(FIRINGS):
                add(tx, Person("telegram-1"), Once(NOW + number + 1), "UTC", NOW)

        await timed(10)
        look = await timed(LOOKS)
        await h.database.write(unit)
        fire = await timed(FIRINGS, second)
        assert len(adapter.posts) == FIRINGS
        return {"look_us": look * 1e6, "fire_ms": fire * 1e3}


if __name__ == "__main__":
    with servers() as there:
        for pending, figures in measure_pending(there, 1).items():
            print(f"{pending:>7}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
