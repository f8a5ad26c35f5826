"""A platform in memory: chats are lists, and it misbehaves as it is told. Passes the contract suite of every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters import base
from adapters.base import AdapterError, Chat, Health, Sink, Unavailable
from tests.fakes.watched import Watched


class MemoryAdapter(Watched):
    """`trouble` holds what the next calls raise: pairs of a verb and an error; an ambiguous one comes after the deed."""

    def __init__(self, name: str = "memory", **limits: Any) -> None:
        super().__init__()
        self.name = name
        rates = dict.fromkeys(
            ("posts_per_second", "posts_burst", "group_posts_per_minute", "total_per_second"), 1e6
        )
        usual = {
            "edit_interval": 0.0,
            "group_edit_interval": 0.0,
            "buttons": True,
            "max_file_bytes": 2_000_000,
        }
        self.limits = base.Limits(**{"max_chars": 4096, **rates, **usual, **limits})
        self.routes: Sequence[base.Route] = ()
        self.messages: dict[str, dict[str, list[str]]] = {}  # chat → message id → every text it had
        self.posts: list[tuple[str, str, str]] = []  # chat, key, text
        self.buttons: dict[str, tuple[base.Button, ...]] = {}  # of a message, now
        self.answers: dict[str, str] = {}  # by the `via` of what they answer
        self.files: dict[str, tuple[str, bytes]] = {}  # by the id of the message: name, content
        self.dismissed: list[str] = []
        self.left: list[str] = []
        self.typed: list[str] = []
        self.trouble: list[tuple[str, AdapterError]] = []
        self.received: list[base.Received] = []
        self._serial = 0

    def say(self, chat: Chat, person: base.Person, text: str, **more: Any) -> None:
        """A person writes."""
        self._serial += 1
        key, (command, args) = str(self._serial), base.parse_command(text)
        values = {"text": base.clean(text), "message_id": f"m{key}", "command": command, "args": args, **more}
        update = base.Update(source=f"{self.name}:test", key=key, chat=chat, person=person, **values)
        self.received.append(base.Received(update.source, key, update))
        self._note()

    async def run(self, sink: Sink, health: Health) -> None:
        while True:
            try:
                async with self._call("run"):
                    health.up("in memory")
            except Unavailable as exc:
                health.down(str(exc))
                continue
            await self.wait_for(lambda: bool(self.received) or any(verb == "run" for verb, _ in self.trouble))
            await sink(rows := list(self.received))
            del self.received[: len(rows)]

    async def post(
        self,
        chat: Chat,
        text: str,
        *,
        key: str,
        reply_to: str = "",
        via: str = "",
        buttons: Sequence[base.Button] = (),
    ) -> str:
        async with self._call("post", text):
            message_id = str(len(self.posts) + 1)
            self.posts.append((chat.id, key, text))
            self.messages.setdefault(chat.id, {})[message_id] = [text]
            self.buttons[message_id] = tuple(buttons)
            if via:
                self.answers[via] = text
        return message_id

    async def edit(
        self, chat: Chat, message_id: str, text: str, *, final: bool, buttons: Sequence[base.Button] = ()
    ) -> None:
        async with self._call("edit", text):
            if message_id not in self.messages.get(chat.id, {}):
                raise base.MessageGone(f"there is no message {message_id!r}")
            self.messages[chat.id][message_id].append(text)
            self.buttons[message_id] = tuple(buttons)

    async def send_file(
        self, chat: Chat, path: Path, text: str, *, key: str, via: str = "", instead: str = ""
    ) -> str:
        if chat.kind == "group" and not via:
            raise base.ChatGone("all would see it")
        async with self._call("send_file", text), base.opened(path, self.limits.max_file_bytes) as (file, _):
            if instead and instead not in self.messages.get(chat.id, {}):
                raise base.MessageGone(f"there is no message {instead!r}")
            message_id = instead or str(len(self.posts) + 1)
            if not instead:
                self.posts.append((chat.id, key, text))
            self.messages.setdefault(chat.id, {}).setdefault(message_id, []).append(text)
            self.files[message_id] = (path.name, file.read())
            if via:
                self.answers[via] = text
        return message_id

    async def find(self, chat: Chat, key: str) -> str | None:
        return None

    async def typing(self, chat: Chat) -> None:
        self.typed.append(chat.id)

    async def dismiss(self, chat: Chat, via: str) -> None:
        self.dismissed.append(via)

    async def leave(self, chat: Chat) -> None:
        self.left.append(chat.id)

    async def check(self) -> Sequence[base.Finding]:
        return [base.Finding(True, self.name, "in memory")]

    async def close(self) -> None:
        pass

    def texts(self, chat_id: str) -> list[str]:
        """What a person sees in a chat now."""
        return [history[-1] for history in self.messages.get(chat_id, {}).values()]

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after every change."""
        await self.until(condition, None)

    @asynccontextmanager
    async def _call(self, verb: str, text: str = "-") -> AsyncIterator[None]:
        await asyncio.sleep(0)
        error = self.trouble.pop(0)[1] if self.trouble and self.trouble[0][0] == verb else None
        if error is not None and not getattr(error, "ambiguous", False):
            self._note()
            raise error
        if not text.strip() or self.limits.length(text) > self.limits.max_chars:
            raise base.Refused(f"a text of {len(text)} characters can not be shown")
        yield
        self._note()
        if error is not None:
            raise error
