"""One update worked through to its end: a message becomes a turn of the agent, a command an answer, a stranger a refusal.

Every path ends in an outcome that is on disk before anybody is told.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import structlog

from adapters.base import Chat, Update
from bot import access, closing, gone, own, room, sentences
from bot.access import Decision
from bot.answering import Answering, variables
from bot.asides import Asides
from bot.commands import COMMANDS
from bot.delivery import Delivery
from bot.engine import Job
from bot.events import Variables
from bot.exports import Exports
from bot.metrics import Metrics
from bot.places import Places
from bot.setup import Setup
from bot.stream import Streams
from memory import links, people, schedules
from memory.database import Database, Fenced, Tx
from memory.erase import Erased
from memory.facts import Facts
from memory.index import Index
from memory.journal import Journal

log = structlog.get_logger(__name__)

RETRY, RETRY_MOST = 5.0, 60.0  # seconds until a turn that the database failed is tried again


class Turns:
    """The engine's worker, one for all chats, and what those share who work on updates."""

    def __init__(
        self,
        database: Database,
        setup: Setup,
        delivery: Delivery,
        journal_: Journal,
        facts_: Facts,
        exports: Exports,
        index: Index,
        now: Callable[[], float] = time.time,
        metrics: Metrics | None = None,
    ) -> None:
        self.database = database
        self.setup = setup  # replaced at a reload; a turn keeps the one it began with
        self.delivery = delivery
        self.journal = journal_
        self.facts = facts_
        self.index = index
        self.exports = exports
        self.now = now
        self.metrics = metrics or Metrics()
        self.streams = Streams(database)
        self.stir: Callable[[], None] = lambda: None  # set by who acts on what commands decide
        self.report: Callable[[], Awaitable[str]] = _no_report  # set by who knows how the adapters are
        self.asides = Asides(self)
        self.answering = Answering(self)
        self.places = Places(setup.concurrent_turns, setup.total_concurrent_turns)
        self.linked: Mapping[str, str] = {}  # see bot/linking.py
        self._homes: OrderedDict[str, str] = OrderedDict()

    # What the engine asks for --------------------------------------------------------------------------------------

    def decide(self, update: Update) -> tuple[Decision, str]:
        setup = self.setup
        groups = setup.groups
        respond = setup.there(update.chat, update.person).respond or groups.respond
        decision = access.decide(update, setup.gate, respond, tuple(COMMANDS))
        if own.speaks_for_nobody(update):
            decision = (
                "leave" if not setup.gate.stays(update.chat) else "command" if update.command else "turn"
            )
        if own.is_own(update) and decision not in ("turn", "command"):
            decision = "ignore"  # who is no friend any more is not spoken to unasked, not even with a refusal
        if decision == "leave" and self.asides.left_lately(update.chat) and not update.interaction:
            decision = "ignore"
        shared = update.chat.kind == "group" and groups.stream == "chat" and decision != "refuse"
        return decision, f"{update.chat.key}:{'*' if shared else update.person.id}"

    def reaches(self, chat: Chat) -> bool:
        return self.delivery.reaches(chat)

    def commands_others(self, update: Update) -> bool:
        return self.setup.gate.commands(update.person)

    def left(self, tx: Tx, update: Update) -> None:
        gone.left(self, tx, update)

    def overheard(self, tx: Tx, update: Update) -> None:
        if own.is_own(update):
            return
        gone.back(self, tx, update)
        room.add(
            tx,
            update.chat,
            update.message_id,
            update.person.id,
            update.person.name or update.person.id,
            update.text,
            self.now(),
            self.setup.groups.window,
        )

    def migrated(self, tx: Tx, chat: Chat, new_id: str) -> None:
        tx.run("alias_add", platform=chat.platform, old_id=chat.id, new_id=new_id)
        old, new = f"{chat.platform}:{chat.id}:", f"{chat.platform}:{new_id}:"
        for row in tx.all("streams_of_chat", prefix=old):
            key = new + row["key"][len(old) :]
            if tx.one("stream_current", key=key) is None:
                tx.run("stream_rename", id=row["id"], new=key)
            else:  # somebody wrote in the new chat before we heard of it: that conversation goes on
                closing.close(tx, row["id"], "migrated", self.now())
        tx.run("inbox_rename", platform=chat.platform, old=old, new=new)
        tx.run("room_rename", old=chat.key, new=replace(chat, id=new_id).key)
        tx.run("room_people_rename", old=chat.key, new=replace(chat, id=new_id).key)
        schedules.migrated(tx, chat.platform, chat.id, new_id)

    async def prepare(self, updates: Sequence[Update]) -> None:
        """Whoever was approved by another process a moment ago is a stranger no more."""
        gate = self.setup.gate
        unknown = {
            update.person.id
            for update in updates
            if update.kind == "message"
            and gate.policy(update.chat.platform) == "pairing"
            and not gate.allows(update.person, update.chat)
            and update.person.id
        }
        if unknown:
            found = await self.database.read(
                lambda tx: {one for one in unknown if people.state(tx, one) == "approved"}
            )
            gate.approve(found)

    def joins(self, updates: Sequence[Update]) -> bool:
        return self.answering.joins(updates)

    async def run(self, job: Job) -> None:
        began = self.now()
        sentences.give_commands_as(self.delivery.limits(job.update.chat).command_prefix)
        self.metrics.turn_began(job.id, job.update.chat.platform, asks=job.decision == "turn")
        while True:
            stopped = job.stopped
            try:
                outcome, note = await self._attempt(job)
                break
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if job.stopped == stopped or task is None:  # we are going down, and the next start resumes it
                    raise
                task.uncancel()  # a person stopped it: the next round brings it to its end
        update = job.update
        self.metrics.turn_ended(job.id, update.chat.platform, outcome)
        log.info(
            "turn",
            turn=job.id,
            chat=update.chat.key,
            user=update.person.id,
            outcome=outcome,
            ms=round((self.now() - began) * 1000),
            **note,
        )

    async def _attempt(self, job: Job) -> tuple[str, dict[str, Any]]:
        """Work on the job until the database takes it."""
        wait = RETRY
        while True:
            try:
                return await self._work(job)
            except sqlite3.Error as exc:
                # The disk is full, or the file is locked: the row is owed, and waits for better times.
                log.error("database_failed", turn=job.id, problem=str(exc), retry_in=wait)
                await self.delivery.abandon(job.id)
                job.resumed = True
                await asyncio.sleep(wait)
                wait = min(RETRY_MOST, wait * 2)

    async def _work(self, job: Job) -> tuple[str, dict[str, Any]]:
        """The job's outcome and what the log tells of it. Raises sqlite3.Error if it could not be brought to an end."""
        try:
            if job.stopped:
                return await self.answering.end_stopped(job)
            match job.decision:
                case "turn":
                    return await self.answering.turn(job)
                case "command":
                    return await self.asides.command(job)
                case "leave":
                    return await self.asides.leave(job)
                case _:
                    return await self.asides.refuse(job)
        except Fenced:
            return "taken over", {}
        except sqlite3.OperationalError:
            raise
        except Exception as exc:
            log.error("turn_broke", turn=job.id, ref=f"t{job.id}", error=type(exc).__name__)
            log.debug("turn_broke_in_full", turn=job.id, exc_info=exc)
            return await self.asides.broken(job, exc)

    async def abandon(self, job: Job) -> None:
        if job.resumed:
            await self._attempt(job)
        else:
            while True:
                try:
                    await self.database.write(lambda tx: tx.run("inbox_drop", id=job.id, problem="stopped"))
                except sqlite3.Error as exc:  # left alone, it would be answered after a restart
                    log.error("database_failed", turn=job.id, problem=str(exc), retry_in=RETRY)
                    await asyncio.sleep(RETRY)
                else:
                    return

    # Small things --------------------------------------------------------------------------------------------------

    async def variables(self, update: Update, zone: str) -> Variables:
        """Who asks and where, for what is done outside a turn of the agent."""
        return await self.database.read(
            lambda tx: variables(tx, update, links.people(tx, update.person.id), zone, "")
        )

    def forget(self, user_id: str, erased: Erased) -> None:
        """Keep nothing in memory of what was erased of a person."""
        self._homes.pop(user_id, None)
        self.streams.erase(erased.streams, erased.turns)

    def remember_home(self, tx: Tx, update: Update) -> None:
        """Keep where a person can be written to in private, and that this chat is not gone."""
        gone.back(self, tx, update)
        person, chat = update.person, update.chat
        if chat.kind == "private" and not own.is_own(update) and self._homes.get(person.id) != chat.key:
            people.set_home(tx, person.id, asdict(chat))
            self._homes[person.id] = chat.key  # if this is rolled back, the next start repeats it
            if len(self._homes) > 10_000:
                self._homes.popitem(last=False)

    async def zone(self, user_id: str) -> str:
        """A person's time zone: the one set for this user id, else for another one of theirs, else the configured one."""
        return await self.database.read(lambda tx: self.zone_of(tx, user_id))

    def zone_of(self, tx: Tx, user_id: str) -> str:
        """As `zone`, inside a transaction."""
        return links.person(tx, user_id).timezone or self.setup.timezone


async def _no_report() -> str:
    return ""
