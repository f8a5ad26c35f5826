"""How many turns run at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress


class Places:
    """How many turns run at a time, of one person and of everybody; whoever finds no place waits, first come first served.

    A person's places come first: whoever sends a hundred messages at once waits behind their own, not before others'. What nobody
    asks for just now takes half of the places at most: however much of it is due at once, people are answered.
    """

    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = _Queue(total)
        self._unasked = _Queue(_half(total))
        self._people: dict[str, _Queue] = {}

    def resize(self, each: int, total: int) -> None:
        """Other numbers from now on. Nobody loses a place; where there are fewer, the next ones are given later."""
        self._each = each
        self._total.resize(total)
        self._unasked.resize(_half(total))
        for person in self._people.values():
            person.resize(each)

    @asynccontextmanager
    async def taken(self, user_id: str, *, unasked: bool = False) -> AsyncIterator[None]:
        """A place for the length of the block. Who is cancelled while they wait, or inside, leaves nothing behind."""
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = _Queue(self._each)
        try:
            async with (
                person.place(),
                self._unasked.place() if unasked else nullcontext(),
                self._total.place(),
            ):
                yield
        finally:
            if person.empty:
                self._people.pop(user_id, None)


def _half(places: int) -> int:
    return max(1, places // 2)


class _Queue:
    """A number of places and those who wait for one."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def empty(self) -> bool:
        return not self._taken and not self._waiting

    def resize(self, places: int) -> None:
        self._places = places
        self._give()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._give()
        try:
            await turn
            yield
        finally:
            if turn.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(turn)
            else:
                self._taken -= 1
                self._give()

    def _give(self) -> None:
        """Hand free places to the first in line."""
        while self._waiting and self._taken < self._places:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self._taken += 1
                turn.set_result(None)
