"""Makes the files with all that is kept of a person, one at a time, and keeps the folder clean where they wait to be sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from memory import export
from memory.database import Database
from memory.export import Paths

log = structlog.get_logger(__name__)

INTERVAL = 600.0  # seconds between two exports of one person: each goes through all that there is
CLEAN = 300.0  # seconds between two looks for what has waited for too long


class TooSoon(Exception):
    """The person's last export was a moment ago, or is being made."""


class Exports:
    """The exports of the people of `platforms`, who no other process serves."""

    def __init__(
        self,
        database: Database,
        paths: Paths,
        platforms: Sequence[str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._data = paths.database.parent
        self._paths = paths
        self._platforms = platforms
        self._now = now
        self._alone = asyncio.Lock()
        self._made: dict[str, tuple[int, float]] = {}  # turn and time of each person's last one

    async def make(self, people: Sequence[str], turn_id: int) -> str:
        """Write a file of the person whose user ids these are, the asker's first; its path below data_dir.

        To be called again for the same turn, after a crash, is harmless. Raises `TooSoon`, and OSError as the disk does.
        """
        at = self._now()
        before = self._made.get(people[0])
        if before is not None and before[0] != turn_id and at - before[1] < INTERVAL:
            raise TooSoon
        if len(self._made) > 10_000:
            self._made.clear()
        self._made |= dict.fromkeys(people, (turn_id, at))
        try:
            async with self._alone:
                return await self._write(people, turn_id, at)
        except BaseException:
            for user_id in people:
                self._made.pop(user_id, None)
            raise

    async def _write(self, people: Sequence[str], turn_id: int, at: float) -> str:
        stop = threading.Event()
        name = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}.t{turn_id}.zip"

        def write() -> str:
            path = export.begin(self._data, people[0], name)
            export.write(path, self._paths, people, at, over=True, stop=stop.is_set)
            return str(path.relative_to(self._data))

        writing = asyncio.ensure_future(asyncio.to_thread(write))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            stop.set()  # it ends at the next piece, and leaves nothing; who erases a person relies on its end
            await asyncio.wait([writing])
            if writing.exception() is None:
                await asyncio.to_thread(export.remove, self._data / writing.result())
            raise

    async def clear(self, platform: str, *, stay: bool) -> None:
        """Before a platform's people are served: remove what an earlier process left, but what is still to be sent.

        Where the files `stay`, whole ones may be read for their hour.
        """
        rows = await self._database.read(lambda tx: tx.all("outbox_files", platform=platform))
        wanted = {row["file"] for row in rows}
        await asyncio.to_thread(
            export.clear, self._data, platform, wanted.__contains__, time.time(), stay=stay
        )

    async def run(self) -> None:
        """Remove, until cancelled, what has waited for too long."""
        while True:
            await asyncio.sleep(CLEAN)
            for platform in self._platforms:
                try:
                    # By the disk's clock, whatever ours is
                    await asyncio.to_thread(export.prune, self._data, platform, time.time())
                except OSError as exc:
                    log.error("exports_not_removed", platform=platform, problem=exc.strerror)
