"""Makes one of the archives beside this file: run it, in a checkout of the version whose database it is to be, as

    PYTHONPATH=. python …/make.py v2.tar.gz

Everything in it was said and answered by that version's own code, and cut off in the middle as a kill does.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from adapters.base import Chat, Unavailable
from bot.events import ToolCall, UserSaid
from bot.models.base import ModelRequest
from tests.fakes.house import House, house
from tests.fakes.scripted_model import Said, ScriptedModel

ROOM = Chat("memory", "-100", "group", "Book club")


def answer(request: ModelRequest) -> Said:
    last = request.events[-1]
    if isinstance(last, UserSaid) and "hang" in last.text:
        return ["Half of ", asyncio.Event()]
    if isinstance(last, UserSaid) and "yesterday" in last.text:
        return [ToolCall("c1", "history", '{"date": "yesterday"}')]
    return "Noted."


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of another connection
            await asyncio.sleep(0.01)


async def live(h: House, folder: Path) -> None:
    async def said(text: str, user: str = "1", chat: Chat | None = None) -> None:
        await h.say(text, user, chat, addressed=True)
        await h.settled()

    await said("My name is Anna.")
    await said("What did we talk about yesterday?")
    await said("/clear")
    await said("/timezone Europe/Oslo")
    await said("Grüße aus Oslo 👋")
    await said("I am Bob.", "2")
    await said("Which book is next?", "1", ROOM)
    await said("The one with the whale.", "2", ROOM)

    def rows(query: str) -> int:
        with closing(sqlite3.connect(folder / "boswell.db")) as database:
            return int(database.execute(query).fetchone()[0])

    # A turn that is complete and can not be brought into its file
    (folder / "memory/memory-3").write_text("in the way")
    await h.say("I am Cy.", "3")
    await until(lambda: rows("SELECT count(*) FROM transcript_pending") == 1)
    # A turn that is cut off, and what waits behind it
    await h.say("Please hang.")
    await until(lambda: any("Half" in text for text in h.texts()))
    await h.say("And then this.")
    # An answer that can not be delivered
    h.adapter.trouble += [("edit", Unavailable("away"))] * 1000
    await h.say("I am Dee.", "4")
    await until(lambda: rows("SELECT count(*) FROM outbox WHERE state = 'ready'") == 1)
    await until(lambda: rows("SELECT count(*) FROM inbox WHERE state = 'waiting'") == 1)


async def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with house(folder, ScriptedModel(answer)) as h:
            await live(h, folder)
        (folder / "memory/memory-3").unlink()
        with closing(sqlite3.connect(folder / "boswell.db")) as database:
            database.execute("PRAGMA journal_mode = DELETE")
        with tarfile.open(target, "w:gz") as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "locks" not in path.parts:
                    archive.add(path, path.relative_to(folder), filter=nobody)


def nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


asyncio.run(main(Path(sys.argv[1])))
