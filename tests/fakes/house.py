"""The whole of Boswell but the platforms and the models: real database, real files, a fake adapter and a scripted model."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

from adapters.base import Chat, Person, Received, Update, parse_command
from bot.access import Gate
from bot.agent import Agent
from bot.app import House as Parts
from bot.app import assemble
from bot.models import build_embedder
from bot.models.base import Model
from bot.setup import Setup
from bot.tools import named
from config import Config
from memory.database import Database, open_database
from memory.journal import Journal
from memory.transcripts import Transcripts
from tests.fakes.memory_adapter import MemoryAdapter


class _Over(Exception):
    pass


class House:
    """A running Boswell. `say` is what a platform does; `texts(chat)` is what a person sees."""

    def __init__(self, parts: Parts, adapter: MemoryAdapter, database: Database, folder: Path) -> None:
        self.parts = parts
        self.adapter = adapter
        self.database = database
        self.folder = folder
        self._serial = int(time.time() * 1000)

    def update(
        self, text: str, user: str = "1", chat: Chat | None = None, *, on: str = "memory", **more: Any
    ) -> Update:
        self._serial += 1
        command, args = parse_command(text)
        values: dict[str, Any] = {
            "source": f"{on}:test",
            "key": str(self._serial),
            "chat": chat or Chat(on, user),
            "person": Person(f"{on}-{user}", f"Person {user}"),
            "text": text,
            "message_id": f"m{self._serial}",
            "at": time.time(),
            "command": command,
            "args": args,
        }
        return Update(**{**values, **more})

    async def say(self, text: str, user: str = "1", chat: Chat | None = None, **more: Any) -> Update:
        update = self.update(text, user, chat, **more)
        await self.hand_in(update)
        return update

    async def ask(self, text: str, user: str = "1", chat: Chat | None = None, **more: Any) -> str:
        """Say it; what is answered in that chat on the first platform, and nothing if nothing is."""
        there = (chat or Chat("memory", user)).id
        before = len(self.texts(there))
        await self.say(text, user, chat, **more)
        await self.settled()
        return "\n".join(self.texts(there)[before:])

    async def hand_in(self, *updates: Update) -> None:
        await self.parts.engine.accept([Received(u.source, u.key, u) for u in updates])

    async def settled(self) -> None:
        """Everything asked is answered, delivered and in its transcript."""
        async with asyncio.timeout(20):
            await self.parts.engine.idle()
            await self.parts.delivery.drained()
            await self.parts.journal.flush()

    def texts(self, chat_id: str = "1") -> list[str]:
        return self.adapter.texts(chat_id)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database has on disk now."""
        with closing(sqlite3.connect(self.database.path)) as database:
            return database.execute(query).fetchall()

    def transcript(self, user: str = "1") -> list[tuple[str, str]]:
        """All (role, text) of a person's files, in order."""
        transcripts = self.parts.journal.transcripts
        return [
            message
            for day in transcripts.dates(f"memory-{user}")
            for section in transcripts.day(f"memory-{user}", day)
            for message in section.messages
        ]


def settings(folder: Path, **sections: Any) -> Config:
    values: dict[str, Any] = {
        "access": {"policy": "open"},
        "models": {"main": {"provider": "demo"}},
        "data_dir": str(folder),
        "memory": {"dir": str(folder / "memory")},
    }
    return Config.model_validate({**values, **sections})


@asynccontextmanager
async def house(
    folder: Path,
    answers: Model | Sequence[Model],
    *,
    adapter: MemoryAdapter | None = None,
    also: Sequence[MemoryAdapter] = (),
    recover: bool = True,
    now: Callable[[], float] = time.time,
    agent: dict[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[House]:
    """Start it, on the platforms of `also` as well; leaving the block is as abrupt as a kill for what still runs."""
    config = settings(folder, **sections)
    adapter = adapter or MemoryAdapter()
    connected = {one.name: one for one in (adapter, *also)}
    chain = tuple(answers) if isinstance(answers, Sequence) else (answers,)
    defined = Agent(
        name="Boswell",
        prompt="Be brief.",
        models=chain,
        **{
            "tools": named(config.agent.tools),
            "max_tool_rounds": config.agent.max_tool_rounds,
            "context_tokens": config.streams.context_tokens,
            "capped": config.limits.of_spending,
            **(agent or {}),
        },
    )
    embeddings = config.memory.embeddings
    embedder = build_embedder(embeddings) if embeddings else None
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(folder / "boswell.db"))
        if embedder is not None:
            stack.push_async_callback(embedder.close)
        journal = Journal(database, Transcripts(folder / "memory"), tuple(f"{name}-" for name in connected))
        try:
            async with asyncio.TaskGroup() as tasks:
                setup = Setup(config, defined, Gate(config.access, set()), embedder=embedder)
                parts = assemble(config, connected, setup, database, journal, tasks, now)
                _one_sweep_at_a_time(parts)
                for name in connected if recover else ():
                    await parts.delivery.recover(name)
                    await parts.engine.recover(name)
                    tasks.create_task(parts.scheduler.run(name))
                yield House(parts, adapter, database, folder)
                raise _Over  # noqa: TRY301 - ends the group, as abruptly as a kill
        except* _Over:
            pass


def _one_sweep_at_a_time(parts: Parts) -> None:
    """Have a test's sweep begin where the scheduler's own has ended: what that one has claimed is begun by then.

    Or a test that sweeps and waits until all is settled could find nothing to wait for.
    """
    sweep, turn = parts.scheduler.sweep, asyncio.Lock()

    async def alone(platform: str) -> float | None:
        async with turn:
            return await sweep(platform)

    parts.scheduler.sweep = alone  # type: ignore[method-assign]
