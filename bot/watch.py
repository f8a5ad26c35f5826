"""Notices what other processes did to the database (`boswell pair approve`), and does here what follows from it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence

import structlog

from memory.database import Database

log = structlog.get_logger(__name__)

INTERVAL = 1.0  # seconds


class Watch:
    """Calls the hooks at the start, whenever another process has committed, and when `stir` is called here."""

    def __init__(self, database: Database, hooks: Sequence[Callable[[], Awaitable[object]]]) -> None:
        self._database = database
        self._hooks = hooks
        self._stirred = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def stir(self) -> None:
        """Something was done in this process that the hooks are for. From any thread, also inside of a transaction."""
        self._loop.call_soon_threadsafe(self._stirred.set)

    async def run(self) -> None:
        """Until cancelled."""
        known: int | None = None
        while True:
            try:
                version = await self._database.read(lambda tx: tx.one("data_version")[0])
                if version != known or self._stirred.is_set():
                    self._stirred.clear()
                    for hook in self._hooks:
                        await hook()
                known = version
            except sqlite3.Error as exc:
                log.error("database_failed", what="looking for changes of other processes", problem=str(exc))
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._stirred.wait()
            except TimeoutError:
                pass
