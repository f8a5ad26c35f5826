"""The composition root: everything that runs, built in visible order, in one task group, and brought down in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog

import adapters as platforms
from adapters.base import Adapter, AdapterError, Chat, Unauthorized
from bot import dead, limits, models, status, telemetry
from bot.access import Gate
from bot.agent import Agent
from bot.breaker import Breakers
from bot.closing import Closer
from bot.commands import menu
from bot.delivery import Delivery
from bot.engine import Engine, SqliteEngine
from bot.exports import Exports
from bot.filling import Filling
from bot.forgetting import Eraser, Forgetting
from bot.gone import Notices, unreachable
from bot.health import Health, Vitals, keep
from bot.indexing import Indexing
from bot.linking import Linking
from bot.metrics import Counters, Metrics
from bot.models.base import Model
from bot.models.embedding import Embedder
from bot.pairing import Approvals
from bot.reload import Reloader
from bot.retention import keep_to
from bot.scheduler import Scheduler
from bot.setup import Setup
from bot.turns import Turns
from bot.watch import Watch
from config import Config
from config.schema import AccessConfig, EmbeddingsConfig
from memory import calls, erase, leases, links, people
from memory import dead as letters
from memory.database import Database, Tx, open_database
from memory.export import Paths
from memory.facts import Facts
from memory.index import Index
from memory.journal import Journal
from memory.state import AdapterState
from memory.transcripts import Transcripts

log = structlog.get_logger(__name__)

DRAIN = 5.0  # seconds for running turns on the way down; with the rest it stays under ten
DELIVER = 2.0  # and for replies that are ready
CLOSE = 1.5  # and for each connection
EXIT = 9.5  # after which the process ends, whatever still runs
RETRY_FIRST, RETRY_MOST = 1.0, 60.0  # seconds between starts of an adapter that failed
TIDY_FIRST = 60.0  # seconds until what is too old goes: some processes live for minutes, and the first answers come before it
TIDY = 86400.0  # and between two times
KEEP_ROWS = 7 * 86400.0  # seconds; no platform repeats an update after more than a day


class _Stop(Exception):
    pass


def build_setup(
    config: Config,
    built: dict[str, Model],
    approved: set[str],
    metrics: Metrics | None = None,
    breakers: Breakers | None = None,
    embedders: dict[EmbeddingsConfig, Embedder] | None = None,
) -> Setup:
    """What works on turns. `built` has models that can be used as they are; those that are missing are added to it.

    So it is with `embedders`.
    """
    from bot.tools import named

    def chain(name: str | None) -> tuple[Model, ...]:
        found = []
        while name is not None:
            if name not in built:
                built[name] = models.build(name, config.models[name])
            found.append(built[name])
            name = config.models[name].fallback
        return tuple(found)

    agent = Agent(
        name=config.agent.name,
        prompt=config.agent.prompt,
        models=chain(config.agent.model),
        tools=named(config.agent.tools),
        max_tool_rounds=config.agent.max_tool_rounds,
        context_tokens=config.streams.context_tokens,
        capped=config.limits.of_spending,
        middleware=metrics.middleware if metrics else (),
        breakers=breakers or Breakers(),
    )
    chains = {there.model: chain(there.model) for there in config.chats.values() if there.model is not None}
    embeddings, embedders = config.memory.embeddings, {} if embedders is None else embedders
    if embeddings is not None and embeddings not in embedders:
        embedders[embeddings] = models.build_embedder(embeddings)
    embedder = None if embeddings is None else embedders[embeddings]
    return Setup(config, agent, Gate(config.access, approved), chains, embedder)


def database_path(config: Config) -> Path:
    return Path(config.data_dir) / "boswell.db"


def paths(config: Config) -> Paths:
    """Where everything is that lasts."""
    return Paths(database_path(config).absolute(), config.memory_path.absolute())


def locks_path(config: Config) -> Path:
    return Path(config.data_dir) / "locks"


def index_path(config: Config) -> Path:
    return Path(config.data_dir) / "index"


async def run(
    config: Config, names: Sequence[str], note: str = "", path: Path | None = None, *, http: bool = True
) -> None:
    """Run the named adapters until they end or SIGTERM or SIGINT comes; then stop cleanly, within ten seconds.

    A change of the file at `path`, or SIGHUP, is applied meanwhile. Without `http` no port is opened.

    Raises `leases.LeaseTaken` if another process runs one of them, and what `open_database` raises.
    """
    started = time.monotonic()
    stop = asyncio.Event()
    last = threading.Timer(EXIT, _exit)
    last.daemon = True
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hangup = asyncio.Event()
    if path is not None:
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(database_path(config)))
        for name in names:
            await _lease(stack, config, f"adapter-{name}")
            await keep(database, name, "starting")  # what a killed process wrote holds no more
        connected: dict[str, Adapter] = {}
        for name in names:
            connected[name] = platforms.create(
                cast("platforms.Name", name),
                getattr(config.adapters, name),
                menu(),
                AdapterState(database, name),
            )
            stack.push_async_callback(_close, connected[name])
        built: dict[str, Model] = {}
        stack.push_async_callback(_close_all, built)
        embedders: dict[EmbeddingsConfig, Embedder] = {}
        stack.push_async_callback(_close_all, embedders)
        traces = telemetry.start(os.environ)
        if traces is not None:
            stack.push_async_callback(traces.close)
        served = http and ("server" in config.model_fields_set or any(a.routes for a in connected.values()))
        metrics = Counters(traces) if served else Metrics(traces)
        setup = build_setup(config, built, set(), metrics, embedders=embedders)
        # What was imported stays for good: keep the collector from ever going through it (it was off until here).
        gc.freeze()
        gc.enable()
        first = setup.agent.models[0]
        log.info("starting", adapters=list(names), model=first.name, label=first.label, note=note)
        journal = Journal(database, Transcripts(Path(config.memory.dir)), tuple(f"{name}-" for name in names))
        try:
            async with asyncio.TaskGroup() as tasks:
                house = assemble(config, connected, setup, database, journal, tasks, metrics=metrics)
                if path is not None:
                    reloader = _reloader(path, hangup, config, house, built, embedders, tasks)
                    tasks.create_task(reloader.run(), name="reload")
                await house.approvals.refresh()
                await house.forgetting.catch_up()
                await _serve(config, connected, house, database, tasks, stop, last, note, started)
                raise _Stop  # noqa: TRY301 - the idiom that ends a group: it cancels what still runs
        except* _Stop:
            pass
    last.cancel()
    log.info("stopped")


def _exit() -> None:
    """What heeds no cancellation must not keep the process: all that counts is on disk, and the next start goes on from there."""
    log.error("stopped_hard", note="something did not end in time; the next start resumes what is owed")
    os._exit(1)


@dataclass(frozen=True)
class House:
    """What works on updates, put together: what comes in goes to `engine.accept`."""

    delivery: Delivery
    turns: Turns
    engine: SqliteEngine
    journal: Journal
    approvals: Approvals
    closer: Closer
    scheduler: Scheduler
    forgetting: Forgetting
    filling: Filling


def assemble(
    config: Config,
    connected: Mapping[str, Adapter],
    setup: Setup,
    database: Database,
    journal: Journal,
    tasks: asyncio.TaskGroup,
    now: Callable[[], float] = time.time,
    metrics: Metrics | None = None,
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
    metrics = metrics or Metrics()
    delivery = Delivery(
        database,
        metrics.watched(connected),
        tasks,
        now,
        migrated,
        metrics,
        lambda tx, chat, turn_id: unreachable(turns, tx, chat, turn_id),
    )
    exports = Exports(database, paths(config), tuple(connected), now)
    tasks.create_task(exports.run(), name="exports")
    index = Index(index_path(config), journal.transcripts)
    indexing = Indexing(index, journal.transcripts, tuple(f"{name}-" for name in connected))
    journal.wrote = indexing.changed
    tasks.create_task(indexing.run(), name="search index")
    turns = Turns(database, setup, delivery, journal, Facts(config.memory_path), exports, index, now, metrics)
    filling = Filling(turns, tuple(f"{name}-" for name in connected))
    indexing.indexed = filling.indexed
    tasks.create_task(filling.run(), name="vectors")
    engine = SqliteEngine(database, turns, tasks, locks_path(config), config.streams.on_busy, now)
    approvals = Approvals(database, engine, setup.gate.approved, frozenset(connected))
    retry = partial(dead.take_up, database, connected, engine, delivery)
    linking = Linking(database, engine, frozenset(connected))
    turns.linked = linking.linked
    scheduler = Scheduler(database, engine, turns, now)
    eraser = Eraser(database, journal.transcripts, index, config.data_path, now)
    forgetting = Forgetting(eraser, engine, delivery, turns, locks_path(config), frozenset(connected))
    tasks.create_task(forgetting.run(), name="forgetting")
    notices = Notices(database, engine, frozenset(connected))
    watch = Watch(
        database,
        [approvals.refresh, linking.refresh, retry, scheduler.refresh, forgetting.look, notices.refresh],
    )
    turns.stir = watch.stir

    async def report() -> str:
        at = now()
        found = await status.collect(
            database, locks_path(config), list(connected), at, config.memory.timezone
        )
        return status.as_text(found, at, color=False)

    turns.report = report
    tasks.create_task(watch.run(), name="watch")
    return House(delivery, turns, engine, journal, approvals, Closer(turns), scheduler, forgetting, filling)


def _reloader(
    path: Path,
    hangup: asyncio.Event,
    config: Config,
    house: House,
    built: dict[str, Model],
    embedders: dict[EmbeddingsConfig, Embedder],
    tasks: asyncio.TaskGroup,
) -> Reloader:
    """What applies a changed configuration: everything new is built first, then put in place in one step."""

    def apply(old: Config, new: Config) -> None:
        same = {name: built[name] for name in built if new.models.get(name) == old.models.get(name)}
        kept = {one: embedders[one] for one in embedders if one == new.memory.embeddings}
        retired = house.turns.setup
        setup = build_setup(
            new, same, retired.gate.approved, house.turns.metrics, retired.agent.breakers, kept
        )
        gone: list[Model | Embedder] = [
            *(built[name] for name in built if same.get(name) is not built[name]),
            *(embedders[one] for one in embedders if kept.get(one) is not embedders[one]),
        ]
        built.clear()
        built.update(same)
        embedders.clear()
        embedders.update(kept)
        house.turns.setup = setup
        house.turns.places.resize(setup.concurrent_turns, setup.total_concurrent_turns)
        house.engine.on_busy = new.streams.on_busy
        house.scheduler.readmit()
        if new.memory.embeddings != old.memory.embeddings:
            tasks.create_task(house.filling.everybody(), name="vectors of everybody")
        tasks.create_task(_retire(retired, gone), name="models of the configuration before")

    return Reloader(path, hangup, config, apply)


async def _retire(setup: Setup, gone: Sequence[Model | Embedder]) -> None:
    """Close models once the last turn that uses them is over."""
    try:
        await setup.unused()
    finally:
        for model in gone:
            await _close(model)


async def _serve(
    config: Config,
    connected: Mapping[str, Adapter],
    house: House,
    database: Database,
    tasks: asyncio.TaskGroup,
    stop: asyncio.Event,
    last: threading.Timer,
    note: str,
    started: float,
) -> None:
    """Take up what is owed, receive until all adapters have ended or `stop` is set, and bring what runs to an end."""
    tasks.create_task(_keep_house(database, house.turns), name="housekeeping")
    await _take_up(connected, house, note)
    _warn_if_nobody(config, connected, house)
    vitals, metrics = Vitals(database, connected), house.turns.metrics
    if isinstance(metrics, Counters):
        from bot.server import own_routes, serve

        routes = [*own_routes(vitals, metrics, database), *(r for a in connected.values() for r in a.routes)]
        await serve(config.server, routes, tasks)

    tasks.create_task(house.closer.run(), name="closing conversations")
    for name in connected:
        tasks.create_task(house.scheduler.run(name), name=f"schedules of {name}")

    def up(name: str) -> None:
        house.delivery.mended(name)
        house.turns.stir()  # a dead letter may wait for its adapter to be connected

    receiving = []
    for name, adapter in connected.items():
        health = Health(name, adapter.limits.quiet, database, tasks, partial(up, name))
        vitals.adapters[name] = health
        supervised = _supervise(adapter, house.engine, health, stop)
        receiving.append(tasks.create_task(supervised, name=f"adapter {name}"))
    vitals.phase = "running"
    log.info("started", seconds=round(time.monotonic() - started, 2))
    stopping = tasks.create_task(stop.wait(), name="stop")
    ended = tasks.create_task(_all(receiving), name="adapters")
    await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)

    log.info("stopping")
    last.start()
    vitals.stop()
    await _wind_down(receiving, house)
    for name in connected:
        await keep(database, name, "stopped")


async def _take_up(connected: Mapping[str, Adapter], house: House, note: str) -> None:
    """What an earlier process owed comes first, and in its order: before anything is received."""
    try:
        await house.closer.close_due()  # before what is owed is taken up: it may begin a new conversation
    except sqlite3.Error as exc:
        log.error("database_failed", what="closing conversations", problem=str(exc))

    async def drained() -> None:
        await house.engine.idle("console")
        await house.delivery.drained("console")
        await house.journal.flush()

    for name, adapter in connected.items():
        await house.turns.exports.clear(name, stay=adapter.limits.files_stay)
        parts, rows = await house.delivery.recover(name), await house.engine.recover(name)
        if parts or rows:
            log.info("recovered", adapter=name, updates=rows, replies=parts)
        if name == "console":
            adapter.banner, adapter.drain = note, drained  # type: ignore[attr-defined]  # only the console has them


def _warn_if_nobody(config: Config, connected: Mapping[str, Adapter], house: House) -> None:
    access = config.access
    closed = access == AccessConfig(policy="closed", groups=access.groups)
    if closed and not house.turns.setup.gate.anybody() and set(connected) - {"console"}:
        log.warning(
            "nobody_is_let_in", note="access.policy is closed and access.allow is empty: everybody is refused"
        )


async def _wind_down(receiving: Sequence[asyncio.Task[None]], house: House) -> None:
    """Receive no more, and give what runs and what is to be delivered a little time."""
    for task in receiving:
        task.cancel()
    await asyncio.wait(receiving)
    await house.engine.drain(DRAIN)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DELIVER):
            await house.delivery.drained()
            await house.journal.flush()


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
                log.error("adapter_unauthorized", adapter=adapter.name, problem=str(exc), retry_in=RETRY_MOST)
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


def prune(tx: Tx, at: float) -> None:
    """Let go of rows that can not come again, and that nobody asks for."""
    before = at - KEEP_ROWS
    tx.run("inbox_prune", before=before)
    tx.run("outbox_prune", before=before)
    letters.prune(tx, at)
    tx.run("turns_prune", before=before)  # once no row of the above points to them
    people.prune(tx, before)
    links.prune(tx, at, before)
    calls.prune(tx, before)
    limits.prune(tx, at)
    erase.prune(tx, at)


async def _keep_house(database: Database, turns: Turns) -> None:
    """Once a day, let go of old rows, and of what the configuration wants to be kept no longer."""
    wait = TIDY_FIRST
    while True:
        await asyncio.sleep(wait)
        try:
            await database.write(lambda tx: prune(tx, time.time()))
            await keep_to(turns)
        except sqlite3.Error as exc:
            log.error("database_failed", what="letting go of old rows", problem=str(exc))
        except OSError as exc:
            log.error("old_files_not_listed", problem=exc.strerror or type(exc).__name__)
        wait = TIDY


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


async def _close_all(built: Mapping[Any, Model | Embedder]) -> None:
    for model in built.values():
        await _close(model)


async def _close(thing: Any) -> None:
    try:
        async with asyncio.timeout(CLOSE):
            await thing.close()
    except Exception as exc:
        log.debug("close_failed", thing=type(thing).__name__, exc_info=exc)
