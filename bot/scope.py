"""What of a person's memory may be told where they ask; and where and when they said something. One rule for all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from adapters.base import Chat, Update
from bot.events import Variables
from bot.wording import plain
from memory.index import everywhere
from memory.transcripts import PRIVATE_THREAD, Place


def may_be_told(variables: Variables, place: Place | None) -> bool:
    """Whether what this person said in `place` (None: in private) may be read out where they ask.

    In private all of it; in a group only what was said in that group, under its older ids as well, and of its private threads
    only what was said in that one.
    """
    if variables.private:
        return True
    if place is None:
        return False
    platform, chat, thread = place.audience
    if thread and thread != variables.chat_key.rpartition(":")[2]:
        return False
    chats = (variables.chat_id, *variables.extra.get("chat_aliases", ()))
    return platform == variables.platform and chat in chats


def reach(variables: Variables) -> Callable[[Place | None], bool]:
    """`may_be_told` for one who asks; in private it is `everywhere`, which the index need not ask for each place."""
    return everywhere if variables.private else partial(may_be_told, variables)


def within(allowed: Callable[[Place | None], bool], chat: str) -> Callable[[Place | None], bool]:
    """Of the places that are allowed those that are meant: `private`, or a group by its id or by words of its title."""
    wanted = plain(chat)

    def meant(place: Place | None) -> bool:
        if place is None:
            return wanted == "private" and allowed(None)
        return (wanted in plain(place.title) or wanted == plain(place.chat_id)) and allowed(place)

    return meant if wanted else allowed


def place_of(chat: Chat) -> Place | None:
    """The chat as memory keeps it; None for a private one."""
    if chat.kind == "private":
        return None
    kind = PRIVATE_THREAD if chat.closed else chat.kind
    return Place(chat.platform, kind, chat.id, chat.title, chat.thread)


def said_at(update: Update, now: float) -> float:
    """When it was said, as the engine took it, however long ago that may be; `now` where an older version has not noted it."""
    return update.at or now
