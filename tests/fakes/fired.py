"""The processes that tests of schedules kill, or let run beside each other."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapters.base import Button, Chat, Person
from bot import triggers
from bot.engine import Job, SqliteEngine
from bot.scheduler import Scheduler
from bot.triggers import Trigger
from memory import schedules
from memory.database import Tx
from memory.schedules import Schedule
from tests.fakes.clock import Clock
from tests.fakes.house import house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel


def add(
    tx: Tx,
    person: Person,
    trigger: Trigger,
    zone: str,
    now: float,
    text: str = "Tea",
    chat: Chat | None = None,
    **more: Any,
) -> int:
    """Set a reminder, in the person's private chat unless another is given."""
    chat = chat or Chat(person.id.partition("-")[0], person.id.partition("-")[2])
    first = triggers.next_after(trigger, zone, now)
    assert first is not None
    return schedules.add(
        tx,
        Schedule(
            kind="reminder",
            platform=chat.platform,
            user_id=person.id,
            person=asdict(person),
            chat=asdict(chat),
            chat_key=chat.key,
            text=text,
            trigger=triggers.dump(trigger),
            zone=zone,
            next_at=first,
            created_at=now,
            **more,
        ),
    ).id


class Recorder:
    """The engine's worker as far as deciding goes; what it is to run is given to `ran`."""

    def __init__(self, turns: object, ran: Callable[[Job], object]) -> None:
        self._turns, self._ran = turns, ran

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turns, name)

    async def run(self, job: Job) -> None:
        self._ran(job)


class FileAdapter(MemoryAdapter):
    """A platform that outlives the process, and knows a message that is sent again by its key."""

    def __init__(self, file: Path, step: Callable[[], None]) -> None:
        super().__init__("telegram", resend="key")
        self._file, self._step = file, step

    async def post(self, chat: Chat, text: str, *, key: str, **more: Any) -> str:
        self._step()
        _write(self._file, f"{key}\t{text!r}\n")
        self._step()
        return key

    async def edit(
        self, chat: Chat, message_id: str, text: str, *, final: bool, buttons: Sequence[Button] = ()
    ) -> None:
        self._step()
        _write(self._file, f"{message_id}\t{text!r}\n")
        self._step()


def fire(folder: str, at: float, last_step: int) -> None:
    """Start what the folder holds, let the clock be `at`, and work on what is due until nothing is owed.

    At its `last_step` (0: none) it is killed; steps are statements of the database and calls of the platform.
    """
    asyncio.run(_fire(Path(folder), at, last_step))


async def _fire(folder: Path, at: float, last_step: int) -> None:
    steps = 0

    def step(_: object = None) -> None:
        nonlocal steps
        steps += 1
        if steps == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    # It starts before anything is due, for every step to be counted.
    clock = Clock(at - 3600 if last_step else at)
    adapter = FileAdapter(folder / "platform.txt", step)
    async with house(folder, ScriptedModel(lambda _: "Done."), adapter=adapter, now=clock) as h:
        await h.settled()
        await h.database._connection.call(lambda connection: connection.set_trace_callback(step))
        clock.time = at
        await h.parts.scheduler.sweep("telegram")
        await h.settled()
        await h.database._connection.call(lambda connection: connection.set_trace_callback(None))


def race(folder: str, database: str, until: float) -> None:
    """Fire what the database holds until a time and nothing is left, as if no other process did; what is run goes to a file."""
    asyncio.run(_race(Path(folder), Path(database), until))


async def _race(folder: Path, database: Path, until: float) -> None:
    def ran(job: Job) -> None:
        _write(folder / "ran.txt", f"{job.update.key} {time.time():.3f}\n")

    adapter = MemoryAdapter("telegram")
    async with (
        house(database, ScriptedModel(lambda _: ""), adapter=adapter, recover=False) as h,
        asyncio.TaskGroup() as tasks,
    ):
        worker = Recorder(h.parts.turns, ran)
        engine = SqliteEngine(h.database, worker, tasks, folder)  # type: ignore[arg-type]  # it passes on the rest
        scheduler = Scheduler(h.database, engine, h.parts.turns)
        running = tasks.create_task(scheduler.run("telegram"))
        await asyncio.sleep(until - time.time())
        while await scheduler.sweep("telegram") is not None:
            pass
        await engine.idle()
        running.cancel()


def _write(file: Path, line: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)
