"""Keeps the search indexes up to date beside the turns: what was written is indexed once its person has been quiet for a while.

Nothing depends on it. A search looks through the folder itself, and indexes what it has to; but a long life takes a while, and
that nobody should have to wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from memory.index import Index, IndexUnusable
from memory.transcripts import Transcripts

log = structlog.get_logger(__name__)

QUIET = 300.0  # seconds without a turn of theirs after which a person is indexed: the turns of a conversation in one go
START = 30.0  # seconds until the first look at everybody's folder
WALK = 3600.0  # and between two of them: for edits by hand, and for what an earlier process left
IDLE = 4.0  # times as long as the work on one person took until the next one's: no more than a fifth of a processor


class Indexing:
    """One for all people whose ids begin with one of `prefixes`."""

    def __init__(
        self,
        index: Index,
        transcripts: Transcripts,
        prefixes: tuple[str, ...],
        quiet: float = QUIET,
    ) -> None:
        self.index = index
        self._transcripts = transcripts
        self._prefixes = prefixes
        self._quiet = quiet
        self._changed: dict[str, float] = {}  # user ids, and when something was last written for them
        # Set by who wants to know whose index is up to date
        self.indexed: Callable[[str], None] = lambda _: None
        self._wake = asyncio.Event()
        self._passed = asyncio.Event()
        self._walked = asyncio.Event()

    def changed(self, user_id: str) -> None:
        """Something was written for this person. Costs next to nothing."""
        if not self._changed:
            self._wake.set()
        self._changed.pop(user_id, None)
        self._changed[user_id] = time.monotonic()

    async def idle(self) -> None:
        """Return when nothing waits to be indexed that was told of."""
        while self._changed:
            await self._passed.wait()

    async def walked(self) -> None:
        """Return when the next look at everybody is over."""
        await self._walked.wait()

    async def run(self) -> None:
        """Runs until cancelled; what is being indexed then is broken off."""
        # Not at once: it would compete with the first answers.
        walk = time.monotonic() + min(START, self._quiet)
        try:
            while True:
                await self._until(min([walk, *self._due()]))
                now = time.monotonic()
                for user_id, due in zip([*self._changed], self._due(), strict=True):
                    if due <= now:
                        await self._refresh(user_id)
                if walk <= now:
                    await self._walk()
                    walk = time.monotonic() + WALK
        finally:
            self.index.stop()
            await asyncio.to_thread(self.index.close)

    def _due(self) -> list[float]:
        return [at + self._quiet for at in self._changed.values()]

    async def _until(self, due: float) -> None:
        """Wait for this time, but not past the first of those who were not waited for."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()

    async def _refresh(self, user_id: str) -> None:
        told = self._changed.get(user_id)
        try:
            await asyncio.to_thread(self.index.refresh, user_id)
            self.indexed(user_id)
        except IndexUnusable as exc:
            log.warning("not_indexed", user=user_id, problem=str(exc))
        except Exception as exc:
            log.error("not_indexed", user=user_id, error=type(exc).__name__)
            log.debug("not_indexed_in_full", exc_info=exc)
        if self._changed.get(user_id) == told:
            self._changed.pop(user_id, None)
        self._passed.set()
        self._passed = asyncio.Event()

    async def _walk(self) -> None:
        """Everybody's, and those of who has no folder any more."""
        began = time.monotonic()
        try:
            found = await asyncio.to_thread(lambda: {*self._transcripts.people(), *self.index.people()})
        except OSError as exc:
            log.error("people_not_listed", problem=exc.strerror or type(exc).__name__)
            found = set()
        ours = sorted(one for one in found if one.startswith(self._prefixes))
        for user_id in ours:
            at = time.monotonic()
            await self._refresh(user_id)
            await asyncio.sleep(IDLE * (time.monotonic() - at))
        self._walked.set()
        self._walked = asyncio.Event()
        log.debug("indexed", people=len(ours), seconds=round(time.monotonic() - began, 1))
