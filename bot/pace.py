"""How fast we may talk: what a platform allows in all and in each chat, and what it asked for when it was too much."""

from __future__ import annotations

import asyncio
import time

from aiolimiter import AsyncLimiter

from adapters.base import Adapter, Chat


class Pace:
    """How fast we may talk on one platform: in all, and in each chat. Rates are guidance; a 429 is law."""

    def __init__(self, adapter: Adapter) -> None:
        self._limits = adapter.limits
        self._total = AsyncLimiter(max(1.0, self._limits.total_per_second), 1)
        self._unasked = asyncio.Lock()
        self._chats: dict[str, AsyncLimiter] = {}
        self._paused: dict[str, float] = {}

    def pause(self, chat: Chat, seconds: float) -> None:
        """The platform said so: nothing goes to this chat until then."""
        self._paused[chat.key] = time.monotonic() + seconds

    def paused(self, chat: Chat) -> float:
        """Seconds until this chat may be written to."""
        until = self._paused.get(chat.key)
        if until is None:
            return 0.0
        if until <= time.monotonic():
            del self._paused[chat.key]
            return 0.0
        return until - time.monotonic()

    async def wait(self, chat: Chat, *, post: bool, unasked: bool = False) -> None:
        """Return when a call may be made; a post also takes one of the chat's and of the platform's places.

        What is said `unasked` stands in line one at a time: however much of it is due at once, answers go ahead of it.
        """
        seconds = self.paused(chat)
        while seconds > 0:  # it may be prolonged while we sleep
            await asyncio.sleep(seconds)
            seconds = self.paused(chat)
        if post:
            await self._limiter(chat).acquire()
            if unasked:
                async with self._unasked:
                    await self._total.acquire()
            else:
                await self._total.acquire()

    def preview_allowed(self, chat: Chat) -> bool:
        """Whether there is room for an edit that could as well be left out."""
        return self.paused(chat) == 0 and self._total.has_capacity()

    def edit_interval(self, chat: Chat) -> float:
        return self._limits.edit_interval if chat.kind == "private" else self._limits.group_edit_interval

    def _limiter(self, chat: Chat) -> AsyncLimiter:
        limiter = self._chats.get(chat.key)
        if limiter is None:
            # A chat that comes back begins with a full allowance, as after a quiet minute
            if len(self._chats) > 10_000:
                self._chats.clear()
            burst = float(self._limits.posts_burst)
            period = (
                burst / self._limits.posts_per_second
                if chat.kind == "private"
                else burst * 60 / self._limits.group_posts_per_minute
            )
            limiter = self._chats[chat.key] = AsyncLimiter(burst, period)
        return limiter
