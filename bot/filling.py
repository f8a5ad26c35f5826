"""Makes the vectors that search by meaning lacks, person by person, when nobody waits.

It begins where indexing by words ends, and does nothing where no embedding model is configured. A kill costs one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable

import structlog

from bot.errors import LimitReached, ModelError
from bot.turns import Turns
from memory.database import MemoryFault

log = structlog.get_logger(__name__)

RETRY_FIRST, RETRY_MOST = 60.0, 1800.0  # seconds without a call after one that failed


class Filling:
    """One for all people whose ids begin with one of `prefixes`; those of another process it leaves to that."""

    def __init__(self, turns: Turns, prefixes: tuple[str, ...]) -> None:
        self._turns = turns
        self._prefixes = prefixes
        # User ids, and from when on their turn may come, in unix seconds
        self._waiting: dict[str, float] = {}
        self._retry = 0.0
        self._wake = asyncio.Event()
        self._passed = asyncio.Event()

    def indexed(self, user_id: str) -> None:
        """This person's index is up to date. Costs next to nothing."""
        if self._turns.setup.embedder is not None and user_id.startswith(self._prefixes):
            self._waiting.setdefault(user_id, 0.0)
            self._wake.set()

    async def everybody(self) -> None:
        """Another model may be configured: look at everybody."""
        self._retry = 0.0
        self._waiting.clear()
        try:
            found = await asyncio.to_thread(lambda: [*self._turns.journal.transcripts.people()])
        except OSError as exc:
            log.error("people_not_listed", problem=exc.strerror or type(exc).__name__)
            return
        for user_id in found:
            self.indexed(user_id)

    async def idle(self) -> None:
        """Return when nobody waits."""
        while self._waiting:
            await self._passed.wait()

    async def run(self) -> None:
        """Runs until cancelled. Who meets a limit waits until it ends, and everybody where the model does not answer."""
        while True:
            due = min(self._waiting.values(), default=None)
            wait = None if due is None else due - self._turns.now()
            if wait is None or wait > 0:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                continue
            user_id = min(self._waiting, key=self._waiting.__getitem__)
            again = await self._fill(user_id)
            if again is None:
                self._waiting.pop(user_id, None)
            else:
                self._waiting[user_id] = again
            self._passed.set()
            self._passed = asyncio.Event()

    async def _fill(self, user_id: str) -> float | None:
        """From when on this person's turn may come again; None if there is nothing more to do."""
        turns, setup = self._turns, self._turns.setup
        meanings = setup.meanings(turns.database, turns.now, turns.metrics)
        if meanings is None:
            return None
        try:
            with setup.in_use():
                await meanings.fill(turns.index, user_id, await turns.zone(user_id), self._there(user_id))
        except LimitReached as exc:
            log.info("vectors_limited", user=user_id, limit=exc.limit)
            return exc.until
        except ModelError as exc:
            self._retry = min(RETRY_MOST, self._retry * 2 or RETRY_FIRST)
            log.warning("vectors_not_made", problem=str(exc), retry_in=self._retry)
            until = turns.now() + self._retry
            for other, at in self._waiting.items():
                self._waiting[other] = max(at, until)
            return until
        except (MemoryFault, sqlite3.Error) as exc:
            log.warning("vectors_not_kept", user=user_id, problem=str(exc))
        except Exception as exc:
            log.error("vectors_not_made", user=user_id, error=type(exc).__name__)
            log.debug("vectors_not_made_in_full", exc_info=exc)
        else:
            self._retry = 0.0
        return None

    def _there(self, user_id: str) -> Callable[[], bool]:
        return lambda: self._turns.journal.transcripts.folder(user_id).is_dir()
