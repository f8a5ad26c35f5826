"""How the process is: what the adapters tell of themselves, whether the database works, and what is answered to who asks.

Up means that the platform was heard of a moment ago: an update came, or a round trip was made. What was only said once is
believed for `Limits.quiet` seconds and then called silent. The web server and `boswell status` judge by the same two functions.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Literal

import structlog

from memory.database import Database, Tx

log = structlog.get_logger(__name__)

KEEP = 20.0  # seconds between two marks on disk that a platform is still heard of
PROBE = 2.0  # seconds that the database may take
FRESH = 1.0  # seconds for which an answer stands: asking more often costs nothing

Phase = Literal["starting", "running", "stopping"]


def seen(state: str, until: float | None, now: float) -> str:
    """A state as it may be believed now: `silent` is up, but not heard of since."""
    return "silent" if state == "up" and until is not None and now > until else state


def all_well(states: Iterable[str]) -> bool:
    """Whether every adapter is up or done, and one at least is up. A console whose input has ended is done, and not ill."""
    states = list(states)
    return all(state in ("up", "stopped") for state in states) and "up" in states


class Health:
    """One adapter's `adapters.base.Health`, kept where `boswell status` finds it too."""

    def __init__(
        self,
        name: str,
        quiet: float | None,
        database: Database,
        tasks: asyncio.TaskGroup,
        on_up: Callable[[], None] = lambda: None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._name = name
        self._quiet = quiet
        self._database = database
        self._tasks = tasks
        self._on_up = on_up
        self._now = now or time.time
        self._last = ("", "")
        self._until: float | None = None
        self._kept = 0.0

    @property
    def state(self) -> str:
        """starting, up, silent, down, stopping or stopped."""
        return seen(self._last[0], self._until, self._now())

    def up(self, detail: str = "") -> None:
        at = self._now()
        if self._quiet is not None:
            self._until = at + self._quiet
        self.set("up", detail)
        if self._quiet is not None and at - self._kept >= KEEP:
            self._keep("up", detail)

    def down(self, reason: str) -> None:
        self.set("down", reason)

    def set(self, state: str, detail: str = "") -> None:
        """Log and keep a state; nothing happens if it is the last one again."""
        if (state, detail) == self._last:
            return
        if state == "up" and self._last[0] != "up":
            self._on_up()
        self._last = (state, detail)
        (log.warning if state == "down" else log.info)(f"adapter_{state}", adapter=self._name, detail=detail)
        self._keep(state, detail)

    def _keep(self, state: str, detail: str) -> None:
        self._kept = self._now()
        self._tasks.create_task(
            keep(self._database, self._name, state, detail, self._until), name=f"status of {self._name}"
        )


async def keep(
    database: Database, name: str, state: str, detail: str = "", until: float | None = None
) -> None:
    """Write an adapter's state. One that can not be written (the disk is full) is lost: it must not end what it is about."""

    def unit(tx: Tx) -> None:
        tx.run("status_set", name=name, state=state, detail=detail, at=time.time(), until=until)

    try:
        await database.write(unit)
    except sqlite3.Error as exc:
        log.error("database_failed", what="an adapter's status", problem=str(exc))


class Vitals:
    """The process as a whole: `alive` for /healthz, `ready` for /readyz."""

    def __init__(self, database: Database, names: Iterable[str]) -> None:
        self.phase: Phase = "starting"
        self.adapters: dict[str, Health | None] = dict.fromkeys(names)  # None until it is started
        self._database = database
        self._probe: asyncio.Task[bool] | None = None
        self._answer = (-FRESH, False)

    def stop(self) -> None:
        """It goes down from here on, and says so."""
        self.phase = "stopping"
        for health in self.adapters.values():
            if health is not None:
                health.set("stopping")

    @property
    def states(self) -> dict[str, str]:
        """Each adapter's state now."""
        return {name: "starting" if one is None else one.state for name, one in self.adapters.items()}

    @property
    def ready(self) -> bool:
        """Whether it receives on every platform; not while it starts or stops."""
        return self.phase == "running" and all_well(self.states.values())

    async def alive(self) -> bool:
        """Whether something can be written to the database and read again, now or within the last second.

        One probe at a time, however many ask: who can not wait for it to end is told that it does not work.
        """
        loop = asyncio.get_running_loop()
        at, alive = self._answer
        if loop.time() - at < FRESH:
            return alive
        if self._probe is None or self._probe.done():
            self._probe = loop.create_task(self._round_trip(), name="database probe")
        done, _ = await asyncio.wait([self._probe], timeout=PROBE)
        alive = bool(done) and self._probe.result()
        self._answer = (loop.time(), alive)
        return alive

    async def _round_trip(self) -> bool:
        mark = time.time()
        try:
            await self._database.write(lambda tx: tx.run("probe_set", at=mark))
            row = await self._database.read(lambda tx: tx.one("probe_get"))
        except sqlite3.Error as exc:
            log.error("database_failed", what="the health probe", problem=str(exc))
            return False
        return row is not None and row["since"] == mark
