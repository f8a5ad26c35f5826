"""A year of a thousand people's schedules; kills between any two steps; two processes at once; a month in which nobody asks."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from adapters.base import Chat, Person
from bot.engine import Job, SqliteEngine
from bot.scheduler import Scheduler
from bot.triggers import Cron, Every, Once, Trigger
from memory.database import Tx, open_database
from memory.transcripts import Transcripts
from tests.fakes.clock import Clock, at
from tests.fakes.fired import Recorder, add, fire, race
from tests.fakes.house import house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

# Chosen for their rules: Europe's, America's, half an hour's, none at all.
ZONES = ["Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata"]
YEAR = (at("2026-01-01 00:00"), at("2027-01-01 00:00"))
PEOPLE = 1000


# A year


def a_thousand_schedules() -> Iterator[tuple[Trigger, str]]:
    """One for each person: many times of day, among them those that are skipped and repeated somewhere."""
    dice = random.Random(20260101)
    times = ["0 0", "30 1", "15 2", "30 2", "0 9"]
    for number in range(PEOPLE):
        zone = ZONES[number % len(ZONES)]
        time, weekday, day = (
            dice.choice(times),
            dice.choice(["sun", "mon", "fri"]),
            dice.choice([1, 8, 25, 29, 31]),
        )
        if (
            number < len(ZONES) and zone != "Australia/Lord_Howe"
        ):  # cronsim loses hours there, see test_triggers
            yield Cron("0 */6 * * *"), zone
            continue
        match dice.choices(["day", "workdays", "week", "month", "either", "end", "once", "days"],
                           [1, 1, 35, 30, 3, 6, 22, 2])[0]:  # fmt: skip
            case "day":
                yield Cron(f"{time} * * *"), zone
            case "workdays":
                yield Cron(f"{time} * * mon-fri"), zone
            case "week":
                yield Cron(f"{time} * * {weekday}"), zone
            case "month":
                yield Cron(f"{time} {day} * *"), zone
            case "either":
                yield Cron(f"{time} {day} * {weekday}"), zone
            case "end":
                yield Cron(f"{time} last * *"), zone
            case "once":
                yield Once(dice.randrange(int(YEAR[0]), int(YEAR[1]), 60)), zone
            case _:
                yield Every(dice.randint(2, 9) * 86400, at("2026-01-01 12:00", zone)), zone


def reference(trigger: Trigger, zone: str) -> Iterator[float]:
    """When it is due in that year, by cronsim and the calendar."""
    begin, end = YEAR
    match trigger:
        case Once(time):
            yield time
        case Every(seconds):
            noon = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo(zone))
            for number in range(1000):
                due = (
                    noon + timedelta(seconds=seconds * number)
                ).timestamp()  # adds by the clock, not in real time
                if begin < due < end:
                    yield due
        case Cron(fields):
            before = begin
            for moment in CronSim(fields.replace("last", "L"), datetime.fromtimestamp(begin, ZoneInfo(zone))):
                if moment.timestamp() >= end:
                    return
                if moment.timestamp() > before:  # of two skipped times it gives both, at one moment
                    before = moment.timestamp()
                    yield before


async def test_in_a_year_each_of_a_thousand_peoples_schedules_fires_when_the_reference_says_and_once(
    tmp_path: Path,
) -> None:
    clock, wanted = Clock(YEAR[0]), Counter[tuple[str, str, float]]()
    plans = list(a_thousand_schedules())
    for number, (trigger, zone) in enumerate(plans):
        wanted.update((f"telegram-{number}", f"{due:.3f}", due) for due in reference(trigger, zone))

    async with house(
        tmp_path, ScriptedModel(lambda _: ""), adapter=MemoryAdapter("telegram"), now=clock, recover=False
    ) as h:
        fired = Counter[tuple[str, str, float]]()

        def ran(job: Job) -> None:
            fired[job.update.person.id, job.update.key.rpartition(":")[2], clock()] += 1

        async with asyncio.TaskGroup() as tasks:
            worker = Recorder(h.parts.turns, ran)
            engine = SqliteEngine(h.database, worker, tasks, tmp_path / "locks", now=clock)  # type: ignore[arg-type]  # it passes on the rest
            scheduler = Scheduler(h.database, engine, h.parts.turns, clock)

            def fill(tx: Tx) -> None:
                for number, (trigger, zone) in enumerate(plans):
                    add(tx, Person(f"telegram-{number}"), trigger, zone, clock())

            await h.database.write(fill)
            due: float | None = clock()
            while due is not None and due < YEAR[1]:
                clock.time = max(clock.time, due)
                due = await scheduler.sweep("telegram")
            await engine.idle()
    assert len(wanted) > 30_000
    assert fired == wanted


# Kills


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.fakes.fired"])


async def test_killed_between_any_two_steps_of_firing_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    due = at("2026-03-02 09:00")
    anna = Person("telegram-1", "Anna")

    def fill(tx: Tx) -> None:
        add(tx, anna, Once(due), "UTC", due - 60, "Once")
        add(tx, anna, Cron("0 9 * * *"), "UTC", due - 60, "Daily")
        add(tx, anna, Once(due), "UTC", due - 60, "Work", work=True)

    async def run(folder: Path, moment: float, last_step: int) -> int | None:
        process = FORKS.Process(target=fire, args=(str(folder), moment, last_step))
        process.start()
        await asyncio.to_thread(process.join, 60)
        return process.exitcode

    for last_step in itertools.count(1):
        folder = tmp_path / str(last_step)
        folder.mkdir()
        async with open_database(folder / "boswell.db") as database:
            await database.write(fill)
        killed = await run(folder, due, last_step)
        assert killed in (0, -9)
        assert await run(folder, due + 30, 0) == 0
        written = [line.split("\t") for line in (folder / "platform.txt").read_text("utf-8").splitlines()]
        assert sorted(dict(written).values()) == ["'Done.'", "'⏰ Daily'", "'⏰ Once'"], (
            last_step
        )  # by their keys
        transcripts = Transcripts(folder / "memory")
        said = [
            text
            for day in transcripts.dates("telegram-1")
            for section in transcripts.day("telegram-1", day)
            for role, text in section.messages
            if role == "assistant"
        ]
        assert sorted(said) == ["Done.", "⏰ Daily", "⏰ Once"], last_step
        with closing(sqlite3.connect(folder / "boswell.db")) as left:
            assert left.execute("SELECT text, next_at FROM schedules").fetchall() == [("Daily", due + 86400)]
            assert left.execute("SELECT DISTINCT state FROM inbox").fetchall() == [("done",)]
        if killed == 0:
            break
    with capsys.disabled():
        print(f"\nschedules: killed at each of {last_step - 1} steps of three firings")
    assert last_step > 50


# Two processes

SECONDS = float(os.environ.get("BOSWELL_SOAK_SECONDS", "20"))
EACH_SECOND = 25


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 100)
async def test_two_processes_on_one_database_fire_every_second_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = float(int(time.time()) + 3)
    end = begin + SECONDS

    def fill(tx: Tx) -> None:
        for number in range(EACH_SECOND):
            offset = number / EACH_SECOND
            add(tx, Person(f"telegram-{number}"), Every(1, begin + offset), "UTC", begin - 1, until=end)

    async with open_database(tmp_path / "boswell.db") as database:
        await database.write(fill)
    folders = [tmp_path / name for name in ("one", "two")]
    processes = []
    for folder in folders:
        folder.mkdir()
        processes.append(FORKS.Process(target=race, args=(str(folder), str(tmp_path), end)))
        processes[-1].start()
    for process in processes:
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
    ran = [[line.split() for line in (folder / "ran.txt").read_text().splitlines()] for folder in folders]
    fired = Counter(key for lines in ran for key, _ in lines)
    late = max(float(moment) - float(key.rpartition(":")[2]) for lines in ran for key, moment in lines)
    wanted = {
        f"schedule:{number + 1}:{begin + number / EACH_SECOND + second:.3f}"
        for number in range(EACH_SECOND)
        for second in range(int(SECONDS) + 1)
        if begin + number / EACH_SECOND + second <= end
    }
    with capsys.disabled():
        print(
            f"\nschedules: {SECONDS:g} s, {len(wanted)} times, fired by each process {[len(lines) for lines in ran]}, "
            f"twice {sum(count - 1 for count in fired.values())}, never {len(wanted - set(fired))}, latest {late:.2f} s"
        )
    assert set(fired) == wanted
    assert set(fired.values()) == {1}
    assert all(ran), "one of them did nothing: it was no race"


# A month


async def test_in_a_month_in_which_nobody_asks_no_model_is_called_and_nothing_is_sent(tmp_path: Path) -> None:
    clock = Clock(at("2026-02-20 00:00"))
    model = ScriptedModel(lambda _: "Hello.")
    adapter = MemoryAdapter("telegram", private_by_id=True)
    streams = {"idle_clear": 3600, "daily_clear": "04:00"}
    async with house(tmp_path, model, adapter=adapter, now=clock, streams=streams) as h:
        await h.say("Hello", "", Chat("telegram", "1"), person=Person("telegram-1", "Anna"))
        await h.settled()
        calls, texts = len(model.requests), h.texts("1")
        assert (calls, len(adapter.posts)) == (1, 1)
        for _ in range(31 * 24 * 4):
            clock.time += 900
            h.parts.scheduler.stir()
            h.parts.turns.stir()
            assert await h.parts.scheduler.sweep("telegram") is None
            await h.parts.closer.close_due()
            await h.settled()
        assert len(model.requests) == calls
        assert h.texts("1") == texts
        assert len(adapter.posts) == 1
        assert h.rows("SELECT count(*) FROM inbox") == [(1,)]
        assert h.rows("SELECT count(*) FROM streams WHERE closed_at IS NULL") == [(0,)]
