"""Forgetting people: what a running process does about it, wherever it was asked for.

A person is erased by who runs their platform, for it alone knows what of them is in memory: their turns are stopped, what they
write meanwhile waits, and what is erased is erased there, too. Where no process runs a platform, any may do it, under its lease.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from adapters.base import Chat, Person
from bot import own, sentences
from bot.delivery import Delivery
from bot.engine import Draft, Engine
from bot.turns import Turns
from memory import erase, leases
from memory.database import Database, MemoryFault, Tx
from memory.erase import Erased, Erasure
from memory.index import Index
from memory.transcripts import Transcripts

log = structlog.get_logger(__name__)

RETRY = 5.0  # seconds until what failed, or what another process has to do, is looked at again
STOP = 5.0  # seconds for turns that are stopped to say so; then they are cut off without a word


class Eraser:
    """Erases people of whom no turn runs, and no process has anything in memory."""

    def __init__(
        self,
        database: Database,
        transcripts: Transcripts,
        index: Index,
        data: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self._transcripts = transcripts
        self._index = index
        self._data = data
        self._now = now

    async def erase(self, erasure: Erasure) -> Erased:
        """Erase rows, files and index. May be repeated; `erased` ends it. Raises sqlite3.Error, OSError and MemoryFault."""
        # In the database's thread and transaction, as the transcripts' writer, so that it is never at work beside this.
        erased = await self.database.write(
            lambda tx: erase.erase(tx, erasure, self._transcripts, self._data, self._now())
        )
        await asyncio.to_thread(self._index.forget, erasure.user_id)
        return erased

    async def erased(self, erasure: Erasure) -> None:
        """Nothing of them is left but what deleted rows leave behind."""
        await self.database.write(lambda tx: erase.erased(tx, erasure, self._now()))

    async def wipe(self, patience: float | None = None) -> None:
        """Bring to its end whatever is erased, whoever did it. Raises sqlite3.Error, and `erase.NotWiped` after `patience`."""
        owed = await self.database.read(erase.owed)
        left = [one for one in owed if one.erased_at is not None and one.done_at is None]
        if left:
            await erase.wipe(self.database, patience)
        for one in left:
            await self.database.write(partial(erase.done, erasure=one, at=self._now()))
            log.info("person_forgotten", user=one.user_id)


class Forgetting:
    """Does the erasures that are owed, and says when they are done."""

    def __init__(
        self,
        eraser: Eraser,
        engine: Engine,
        delivery: Delivery,
        turns: Turns,
        locks: Path,
        platforms: frozenset[str],
    ) -> None:
        self._eraser = eraser
        self._database = eraser.database
        self._engine = engine
        self._delivery = delivery
        self._turns = turns
        self._locks = locks
        self._platforms = platforms
        self._wake = asyncio.Event()
        self._at_work = asyncio.Lock()

    async def look(self) -> None:
        """Something may have been asked for."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What fails is tried again."""
        while True:
            owed = await self.catch_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY if owed else None):
                    await self._wake.wait()
            self._wake.clear()

    async def catch_up(self) -> bool:
        """Do what is owed; whether something is left. At start, call it before anything is received or taken up again."""
        async with self._at_work:
            try:
                owed = [one for one in await self._database.read(erase.owed) if one.erased_at is None]
                for erasure in owed:
                    await self._erase(erasure)
                if owed:
                    self._turns.stir()  # who is linked, and whatever else was looked up
                await self._eraser.wipe()
                return await self._tell()
            except (sqlite3.Error, MemoryFault) as exc:
                log.error("erasure_failed", problem=str(exc), retry_in=RETRY)
                return True

    async def _erase(self, erasure: Erasure) -> None:
        with ExitStack() as stack:
            try:
                if erasure.platform in self._platforms:
                    await self._erase_running(erasure)
                else:
                    stack.enter_context(leases.lease(self._locks, f"adapter-{erasure.platform}"))
                    await self._eraser.erase(erasure)
                await self._eraser.erased(erasure)
            except leases.LeaseTaken:
                return  # that process does it
            except (sqlite3.Error, OSError, MemoryFault) as exc:
                problem = (isinstance(exc, OSError) and exc.strerror) or str(exc)
                log.error("erasure_failed", user=erasure.user_id, problem=problem, retry_in=RETRY)
                await self._database.write(lambda tx: erase.again(tx, erasure))

    async def _erase_running(self, erasure: Erasure) -> None:
        user_id = erasure.user_id
        with self._engine.held(user_id) as running:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP):  # after it, they are fenced off: they have no rows any more
                    await self._engine.ended(running)
                    await self._delivery.delivered(await self._undelivered(user_id))
            erased = await self._eraser.erase(erasure)
            await self._delivery.forget(erased.turns)
            self._turns.forget(user_id, erased)
            # Again, for what was on its way: a tool of theirs in a thread of its own, another's turn that summed up a room.
            await self._eraser.erase(erasure)
            await self._database.write(lambda tx: erase.summaries(tx, erased))
            self._turns.forget(user_id, erased)

    async def _undelivered(self, user_id: str) -> frozenset[int]:
        rows = await self._database.read(lambda tx: tx.all("erase_undelivered", user_id=user_id))
        return frozenset(row["turn_id"] for row in rows)

    async def _tell(self) -> bool:
        """Say that it is done where all of a person is; whether anything is left to do."""
        owed = await self._database.read(erase.owed)
        undone = {one.person for one in owed if one.done_at is None}
        for one in owed:
            if (
                one.tell is None
                or one.person in undone
                or one.tell["chat"]["platform"] not in self._platforms
            ):
                continue
            language = one.tell["language"]
            update = own.update(
                f"forgotten:{one.user_id}:{one.asked_at}",
                Chat(**one.tell["chat"]),
                Person(one.user_id, language=language),
                command=own.NOTICE,
                args=sentences.say("forgotten", language),
            )
            [draft] = await self._engine.draft([replace(update, via=one.tell["via"])])

            def unit(tx: Tx, one: Erasure = one, draft: Draft | None = draft) -> bool:
                erase.told(tx, one)
                return draft is not None and self._engine.enter(tx, draft)

            if await self._database.write(unit) and draft is not None:
                self._engine.begin([draft])
        return bool(undone)
