"""One line to the sink: what arrives side by side is handed in together and in order, and confirmed once it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.base import Received, Sink, Unavailable


class Intake:
    """Takes rows while `run` runs."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Sequence[Received], asyncio.Future[None]]] = []
        self._more = asyncio.Event()
        self._open = False

    def put(self, rows: Sequence[Received]) -> asyncio.Future[None]:
        """Stand in line; done when the rows are durable. Raises `Unavailable` where nothing can be taken."""
        if not self._open:
            raise Unavailable("not receiving yet")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, stored))
        self._more.set()
        return stored

    async def run(self, sink: Sink) -> None:
        """Hand in until cancelled. Raises what the sink raises: what waits is then not confirmed."""
        self._open = True
        taken: list[tuple[Sequence[Received], asyncio.Future[None]]] = []
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                taken, self._waiting = self._waiting, []
                await sink([row for rows, _ in taken for row in rows])
                for _, stored in taken:
                    if not stored.done():
                        stored.set_result(None)
        finally:
            self._open = False
            for _, stored in [*taken, *self._waiting]:
                if not stored.done():
                    stored.set_exception(Unavailable("what came could not be stored"))
                    stored.exception()  # heard, even where nobody waits for it any more
            self._waiting = []
