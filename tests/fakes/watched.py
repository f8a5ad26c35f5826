"""Waiting, in tests, for what happens elsewhere: asked again whenever something changes, and never by the clock alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watched:
    """Something that changes; it says so with `_note`."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def _note(self) -> None:
        """Something happened."""
        self._changed.set()

    async def until(self, condition: Callable[[], object], seconds: float | None = 10) -> None:
        """Return as soon as the condition holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
