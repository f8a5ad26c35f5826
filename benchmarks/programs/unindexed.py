"""`boswell` without the keeper of the search indexes: what the turns cost without them."""

from __future__ import annotations

import asyncio

import bot.app
from bot.cli import main
from bot.indexing import Indexing


class Idle(Indexing):
    def changed(self, user_id: str) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


bot.app.Indexing = Idle  # type: ignore[misc]
main()
