"""One person on several platforms: what a running process does about it, wherever it was decided."""

from __future__ import annotations

from adapters.base import Chat, Person, Received
from bot import own
from bot.engine import Engine
from memory import links
from memory.database import Database


class Linking:
    """Keeps in mind who is linked, and tells people on this process's platforms that they were linked or parted elsewhere."""

    def __init__(self, database: Database, engine: Engine, platforms: frozenset[str]) -> None:
        self.linked: dict[str, str] = {}
        """What stands for the person, by each linked user id. For what need not be exact: a transaction asks `links.people`."""
        self._database = database
        self._engine = engine
        self._platforms = platforms

    async def refresh(self) -> None:
        """Take over who is linked, and tell whoever does not know it yet."""
        linked, notices = await self._database.read(lambda tx: (links.linked(tx), links.notices(tx)))
        self.linked.clear()
        self.linked.update(linked)
        for notice in notices:
            if notice.chat["platform"] in self._platforms:
                update = own.update(
                    f"link:{notice.id}",  # the same after a crash: it is said once
                    Chat(**notice.chat),
                    Person(notice.user_id, language=notice.language),
                    command=own.LINKED if notice.linked else own.PARTED,
                    args=", ".join(f"`{other}`" for other in notice.others),
                )
                await self._engine.accept([Received(update.source, update.key, update)])
                await self._database.write(lambda tx, notice=notice: links.told(tx, notice))  # type: ignore[misc]
