"""What surrounds an adapter in its tests: where it hands in what it received, and tells how it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapters.base import Adapter, Received
from tests.fakes.watched import Watched


class Life(Watched):
    """What an adapter's run tells: the rows it handed in and the states it reported."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Received] = []
        self.states: list[tuple[str, str]] = []

    def up(self, detail: str = "") -> None:
        self.states.append(("up", detail))
        self._note()

    def down(self, reason: str) -> None:
        self.states.append(("down", reason))
        self._note()

    async def sink(self, rows: Sequence[Received]) -> None:
        self.rows.extend(rows)
        self._note()

    @property
    def texts(self) -> list[str]:
        return [row.update.text for row in self.rows if row.update is not None]

    @property
    def down_reasons(self) -> list[str]:
        return [detail for state, detail in self.states if state == "down"]


@asynccontextmanager
async def running(adapter: Adapter, life: Life | None = None) -> AsyncIterator[Life]:
    """The adapter, receiving."""
    life = life or Life()
    task = asyncio.create_task(adapter.run(life.sink, life))
    try:
        await life.until(lambda: ("up" in dict(life.states)) or task.done())
        yield life
    finally:
        task.cancel()
        async with asyncio.timeout(1):
            await asyncio.wait([task])
