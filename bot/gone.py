"""Chats that can not be written to any more: what is scheduled there rests, the operators are told, and it goes on by itself.

A chat is gone when the platform says that we were blocked or removed, or that a message can not be posted there; and when the
configuration does not want us there. It is back when somebody writes to us in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from adapters.base import Chat, Person, Received, Update
from bot import own, sentences
from bot.engine import Engine
from memory import notices, schedules
from memory.database import Database, Tx

if TYPE_CHECKING:
    from bot.turns import Turns

log = structlog.get_logger(__name__)

GONE = "the chat is gone"  # why a schedule is paused
NOT_LET_IN = "not let in"  # likewise; the scheduler looks for these when somebody is let in, or the configuration changes


def left(turns: Turns, tx: Tx, update: Update) -> None:
    """We were blocked, or removed from a group; where groups are parts of a server, perhaps from the whole of it."""
    chat = update.chat
    prefixes = [f"{chat.platform}:{chat.id}:"]
    if turns.delivery.limits(chat).leaves_server:
        prefixes.append(f"{chat.platform}:{chat.id}-")
    count = sum(schedules.pause_chats(tx, prefix, GONE) for prefix in prefixes)
    _paused(turns, tx, chat, GONE, count, update.person.id if chat.kind == "private" else "")


def unreachable(turns: Turns, tx: Tx, chat: Chat, turn_id: int) -> None:
    """A turn's reply can not be posted there. Of a thread that only this thread is gone."""
    row = tx.one("turn_user", id=turn_id) if chat.kind == "private" else None
    pause = schedules.pause_chat if chat.thread else schedules.pause_chats
    _paused(turns, tx, chat, GONE, pause(tx, chat.key, GONE), row["user_id"] if row else "")


def not_wanted(turns: Turns, tx: Tx, chat: Chat) -> None:
    """A group is none of those in which the configuration wants us."""
    count = schedules.pause_chats(tx, f"{chat.platform}:{chat.id}:", NOT_LET_IN)
    _paused(turns, tx, chat, NOT_LET_IN, count)


def _paused(turns: Turns, tx: Tx, chat: Chat, problem: str, count: int, person: str = "") -> None:
    """So many schedules rest now: if these are any, the operators are told, and so only once."""
    if person:
        count += schedules.pause_home(tx, person, problem)
    if not count:
        return
    log.warning("schedules_paused", chat=chat.key, problem=problem, count=count)
    name = f"{chat.title} ({chat.place})" if chat.title else person or chat.place
    sentence = "notice_chat_gone" if problem == GONE else "notice_chat_not_wanted"
    operators = sorted(turns.setup.gate.operators - {person})
    notices.add(tx, operators, sentences.say(sentence, chat=name, count=count))
    turns.stir()


def back(turns: Turns, tx: Tx, update: Update) -> None:
    """Somebody writes to us in a chat: what rested because it was gone goes on."""
    chat = update.chat
    if own.is_own(update) or (update.interaction and chat.kind == "group"):  # those work where we are not
        return
    count = schedules.resume_chats(tx, f"{chat.platform}:{chat.id}:", GONE)
    if chat.kind == "private":
        count += schedules.resume_home(tx, update.person.id, GONE)
    if count:
        log.info("schedules_resumed", chat=chat.key, count=count)
        turns.stir()


class Notices:
    """Enters what operators are to be told into the inbox, by the process that runs their platform."""

    def __init__(self, database: Database, engine: Engine, platforms: frozenset[str]) -> None:
        self._database = database
        self._engine = engine
        self._platforms = platforms

    async def refresh(self) -> None:
        """Tell what is not told yet, once."""
        for notice in await self._database.read(notices.waiting):
            chat = Chat(**notice.chat)
            if chat.platform not in self._platforms:
                continue
            person = Person(notice.user_id)
            update = own.update(f"notice:{notice.id}", chat, person, command=own.NOTICE, args=notice.text)
            await self._engine.accept([Received(update.source, update.key, update)])
            await self._database.write(lambda tx, notice=notice: notices.told(tx, notice))  # type: ignore[misc]
