"""A platform in memory: chats are lists, and it misbehaves as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from adapters.base import AdapterError, Chat, Finding, Health, Limits, MessageGone, Refused, Route, Sink


class MemoryAdapter:
    """`trouble` holds what the next calls raise, in order: pairs of a verb and an error."""

    def __init__(self, name: str = "memory", **limits: Any) -> None:
        self.name = name
        wide = {"posts_per_second": 1e6, "posts_burst": 10**6, "group_posts_per_minute": 1e6, "total_per_second": 1e6}
        self.limits = Limits(**{"max_chars": 4096, "edit_interval": 0.0, "group_edit_interval": 0.0, **wide, **limits})
        self.routes: Sequence[Route] = ()
        self.messages: dict[str, dict[str, list[str]]] = {}  # chat → message id → every text it had
        self.posts: list[tuple[str, str, str]] = []  # chat, key, text
        self.typed: list[str] = []
        self.trouble: list[tuple[str, AdapterError]] = []
        self._changed = asyncio.Event()

    async def run(self, sink: Sink, health: Health) -> None:
        health.up("in memory")
        await asyncio.Event().wait()

    async def post(self, chat: Chat, text: str, *, key: str, reply_to: str = "") -> str:
        await self._may_fail("post")
        if not text.strip() or len(text) > self.limits.max_chars:
            raise Refused(f"{len(text)} characters can not be posted")
        message_id = str(len(self.posts) + 1)
        self.posts.append((chat.id, key, text))
        self.messages.setdefault(chat.id, {})[message_id] = [text]
        self._tell()
        return message_id

    async def edit(self, chat: Chat, message_id: str, text: str, *, final: bool) -> None:
        await self._may_fail("edit")
        if message_id not in self.messages.get(chat.id, {}):
            raise MessageGone(f"there is no message {message_id!r}")
        if not text.strip() or len(text) > self.limits.max_chars:
            raise Refused(f"{len(text)} characters can not be shown")
        self.messages[chat.id][message_id].append(text)
        self._tell()

    async def find(self, chat: Chat, key: str) -> str | None:
        return None

    async def typing(self, chat: Chat) -> None:
        self.typed.append(chat.id)

    async def check(self) -> Sequence[Finding]:
        return [Finding(True, self.name, "in memory")]

    async def close(self) -> None:
        pass

    def texts(self, chat_id: str) -> list[str]:
        """What a person sees in a chat now."""
        return [history[-1] for history in self.messages.get(chat_id, {}).values()]

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after every change."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()

    async def _may_fail(self, verb: str) -> None:
        await asyncio.sleep(0)
        if self.trouble and self.trouble[0][0] == verb:
            raise self.trouble.pop(0)[1]
