"""Letting people in: what a running process does about decisions, wherever they were made."""

from __future__ import annotations

from adapters.base import Chat, Person, Received, Update
from bot import own
from bot.engine import Engine
from memory import people
from memory.database import Database


class Approvals:
    """Keeps the set of approved people that the gate looks at true to the database, and welcomes the new ones."""

    def __init__(
        self, database: Database, engine: Engine, approved: set[str], platforms: frozenset[str]
    ) -> None:
        self._database = database
        self._engine = engine
        self._approved = approved
        self._platforms = platforms

    async def refresh(self) -> None:
        """Take over every decision, and welcome whoever was let in and does not know it."""
        decided, unwelcomed = await self._database.read(
            lambda tx: (people.decided(tx), people.unwelcomed(tx))
        )
        now = {row["user_id"] for row in decided if row["state"] == "approved"}
        self._approved &= now
        self._approved |= now
        for user_id, name, at, chat in unwelcomed:
            if chat["platform"] in self._platforms:
                update = _welcome(user_id, name, at, Chat(**chat))
                await self._engine.accept([Received(update.source, update.key, update)])
                await self._database.write(lambda tx, user_id=user_id: people.welcomed(tx, user_id))  # type: ignore[misc]


def _welcome(user_id: str, name: str, at: float, chat: Chat) -> Update:
    """The same whenever the same decision is acted on: by two looks at once, or again after a crash."""
    return own.update(f"welcome:{user_id}:{at}", chat, Person(user_id, name), command=own.PAIRED)
