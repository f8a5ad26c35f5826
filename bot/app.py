"""The composition root: everything that runs, built in visible order, in one task group, and brought down in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog

import adapters as platforms
from adapters.base import Adapter, AdapterError, Chat, Menu, Unauthorized
from bot import models
from bot.access import Gate
from bot.agent import Agent
from bot.commands import COMMANDS
from bot.delivery import Delivery
from bot.engine import Engine, SqliteEngine
from bot.models.base import Model
from bot.turns import Settings, Turns
from config import Config
from memory import leases
from memory.database import Database, Tx, open_database
from memory.journal import Journal
from memory.state import AdapterState
from memory.transcripts import Transcripts

log = structlog.get_logger(__name__)

DRAIN = 5.0  # seconds for running turns on the way down; with the rest it stays under ten
DELIVER = 2.0  # and for replies that are ready
CLOSE = 1.5  # and for each connection
RETRY_FIRST, RETRY_MOST = 1.0, 60.0  # seconds between starts of an adapter that failed
KEEP_ROWS = 7 * 86400.0  # seconds; no platform repeats an update after more than a day


class _Stop(Exception):
    pass


class Health:
    """An adapter's state, kept where `boswell status` finds it."""

    def __init__(
        self,
        name: str,
        database: Database,
        tasks: asyncio.TaskGroup,
        on_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_up = on_up
        self._name = name
        self._database = database
        self._tasks = tasks
        self._last = ("", "")

    def up(self, detail: str = "") -> None:
        self.set("up", detail)

    def down(self, reason: str) -> None:
        self.set("down", reason)

    def set(self, state: str, detail: str) -> None:
        if (state, detail) == self._last:
            return
        self._last = (state, detail)
        if state == "up":
            self._on_up()
        (log.warning if state == "down" else log.info)(f"adapter_{state}", adapter=self._name, detail=detail)
        self._tasks.create_task(_keep_status(self._database, self._name, state, detail))


async def _keep_status(database: Database, name: str, state: str, detail: str) -> None:
    """A status that can not be written (the disk is full) is lost: it must not end what it is about."""
    try:
        await database.write(lambda tx: _status(tx, name, state, detail))
    except sqlite3.Error as exc:
        log.error("database_failed", what="an adapter's status", problem=str(exc))


def _status(tx: Tx, name: str, state: str, detail: str) -> None:
    tx.run("status_set", name=name, state=state, detail=detail, at=time.time())


def build_agent(config: Config) -> tuple[Agent, list[Model]]:
    """The one agent of the configuration, and its models (to be closed)."""
    from bot.tools import ALL

    built: list[Model] = []
    name: str | None = config.agent.model
    while name is not None:
        built.append(models.build(name, config.models[name]))
        name = config.models[name].fallback
    agent = Agent(
        name=config.agent.name,
        prompt=config.agent.prompt,
        models=tuple(built),
        tools={tool: ALL[tool] for tool in config.agent.tools},
        max_tool_rounds=config.agent.max_tool_rounds,
        context_tokens=config.streams.context_tokens,
        max_output_tokens=config.models[config.agent.model].max_output_tokens,
    )
    return agent, built


def database_path(config: Config) -> Path:
    return Path(config.data_dir) / "boswell.db"


def locks_path(config: Config) -> Path:
    return Path(config.data_dir) / "locks"


async def run(config: Config, names: Sequence[str], note: str = "") -> None:
    """Run the named adapters until they end or SIGTERM or SIGINT comes; then stop cleanly, within ten seconds.

    Raises `leases.LeaseTaken` if another process runs one of them, and what `open_database` raises.
    """
    started = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    menu = Menu({name: command.help for name, command in COMMANDS.items()})
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(database_path(config)))
        for name in names:
            await _lease(stack, config, f"adapter-{name}")
        connected: dict[str, Adapter] = {}
        for name in names:
            connected[name] = platforms.create(
                cast("platforms.Name", name),
                getattr(config.adapters, name),
                menu,
                AdapterState(database, name),
            )
            stack.push_async_callback(_close, connected[name])
        agent, built = build_agent(config)
        for model in built:
            stack.push_async_callback(_close, model)
        # What was imported stays for good: keep the collector from ever going through it (it was off until here).
        gc.freeze()
        gc.enable()
        log.info("starting", adapters=list(names), model=built[0].name, label=built[0].label, note=note)
        journal = Journal(database, Transcripts(Path(config.memory.dir)), tuple(f"{name}-" for name in names))
        try:
            async with asyncio.TaskGroup() as tasks:
                await _serve(config, connected, agent, database, journal, tasks, stop, note, started)
                raise _Stop  # noqa: TRY301 - the idiom that ends a group: it cancels what still runs
        except* _Stop:
            pass
    log.info("stopped")


@dataclass(frozen=True)
class House:
    """What works on updates, put together: what comes in goes to `engine.accept`."""

    delivery: Delivery
    turns: Turns
    engine: SqliteEngine
    journal: Journal


def assemble(
    config: Config,
    connected: Mapping[str, Adapter],
    agent: Agent,
    database: Database,
    journal: Journal,
    tasks: asyncio.TaskGroup,
    now: Callable[[], float] = time.time,
) -> House:
    """Put the parts together and start the transcripts' writer. All their tasks are in `tasks`."""

    async def migrate(chat: Chat, new_id: str) -> None:
        engine.migrated(chat, new_id)
        try:
            await database.write(lambda tx: turns.migrated(tx, chat, new_id))
        except sqlite3.Error as exc:
            # Telegram tells of it in updates as well, and those wait for the database
            log.error("database_failed", what="a group's new id", problem=str(exc))

    def migrated(chat: Chat, new_id: str) -> None:
        tasks.create_task(migrate(chat, new_id))

    tasks.create_task(journal.run(), name="transcripts")
    delivery = Delivery(database, connected, tasks, now, migrated)
    turns = Turns(database, agent, delivery, journal, _settings(config), now)
    engine = SqliteEngine(database, turns, tasks, locks_path(config), config.streams.on_busy, now)
    return House(delivery, turns, engine, journal)


async def _serve(
    config: Config,
    connected: Mapping[str, Adapter],
    agent: Agent,
    database: Database,
    journal: Journal,
    tasks: asyncio.TaskGroup,
    stop: asyncio.Event,
    note: str,
    started: float,
) -> None:
    tasks.create_task(_keep_house(database), name="housekeeping")
    house = assemble(config, connected, agent, database, journal, tasks)
    delivery, engine = house.delivery, house.engine

    async def drained() -> None:
        await engine.idle("console")
        await delivery.drained("console")
        await journal.flush()

    for name, adapter in connected.items():
        # Before it receives: what was owed comes first, and in its order.
        parts, rows = await delivery.recover(name), await engine.recover(name)
        if parts or rows:
            log.info("recovered", adapter=name, updates=rows, replies=parts)
        if name == "console":
            adapter.banner, adapter.drain = note, drained  # type: ignore[attr-defined]  # only the console has them
    if config.access.policy == "closed" and not config.access.allow and set(connected) - {"console"}:
        log.warning(
            "nobody_is_let_in", note="access.policy is closed and access.allow is empty: everybody is refused"
        )
    if any(adapter.routes for adapter in connected.values()):
        from bot.server import serve

        await serve(config.server, [route for a in connected.values() for route in a.routes], tasks)
    receiving = []
    for name, adapter in connected.items():
        health = Health(name, database, tasks, partial(delivery.mended, name))
        receiving.append(tasks.create_task(_supervise(adapter, engine, health, stop), name=f"adapter {name}"))
    log.info("started", seconds=round(time.monotonic() - started, 2))
    stopping = tasks.create_task(stop.wait(), name="stop")
    ended = tasks.create_task(_all(receiving), name="adapters")
    await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)

    log.info("stopping")
    for task in receiving:
        task.cancel()
    await asyncio.wait(receiving)
    await engine.drain(DRAIN)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DELIVER):
            await delivery.drained()
            await journal.flush()
    for name in connected:
        await _keep_status(database, name, "stopped", "")


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def _supervise(adapter: Adapter, engine: Engine, health: Health, stop: asyncio.Event) -> None:
    """Run an adapter; start it again when it fails, without touching the others. Returns when it ends by itself."""
    health.set("starting", "")
    wait = RETRY_FIRST
    while True:
        began = time.monotonic()
        try:
            await adapter.run(engine.accept, health)
        except AdapterError as exc:
            health.down(str(exc))
            if isinstance(exc, Unauthorized):
                wait = RETRY_MOST
        except Exception as exc:
            log.error("adapter_broke", adapter=adapter.name, error=type(exc).__name__)
            log.debug("adapter_broke_in_full", adapter=adapter.name, exc_info=exc)
            health.down(f"internal error ({type(exc).__name__}); it is started again")
        else:
            health.set("stopped", "")
            return
        if time.monotonic() - began > RETRY_MOST:
            wait = RETRY_FIRST
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stop.wait()
                return
        wait = min(RETRY_MOST, wait * 2)


async def _keep_house(database: Database) -> None:
    """Once a day, let go of rows that can not come again."""

    def prune(tx: Tx) -> None:
        before = time.time() - KEEP_ROWS
        tx.run("inbox_prune", before=before)
        tx.run("outbox_prune", before=before)

    while True:
        await asyncio.sleep(3600)  # not at start: it would compete with the first answers
        try:
            await database.write(prune)
        except sqlite3.Error as exc:
            log.error("database_failed", what="letting go of old rows", problem=str(exc))
        await asyncio.sleep(86400 - 3600)


def _settings(config: Config) -> Settings:
    return Settings(
        Gate(config.access.policy, config.access.allow),
        config.groups,
        {name: model.price for name, model in config.models.items()},
        config.memory.timezone,
        config.agent.turn_timeout,
        config.streams.context_tokens,
    )


async def _lease(stack: AsyncExitStack, config: Config, name: str) -> None:
    """Hold a lease until the end. A holder that is just going away, or a status request, gets a moment."""
    for last in (False, False, False, True):
        try:
            stack.enter_context(leases.lease(locks_path(config), name))
        except leases.LeaseTaken:
            if last:
                raise
            await asyncio.sleep(0.3)
        else:
            return


async def _close(thing: Any) -> None:
    try:
        async with asyncio.timeout(CLOSE):
            await thing.close()
    except Exception as exc:
        log.debug("close_failed", thing=type(thing).__name__, exc_info=exc)
