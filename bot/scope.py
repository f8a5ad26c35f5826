"""What of a person's memory may be told where they ask: one rule for all that reads it."""

from __future__ import annotations

from bot.events import Variables
from memory.transcripts import Place


def may_be_told(variables: Variables, place: Place | None) -> bool:
    """Whether what this person said in `place` (None: in private) may be read out where they ask.

    In private all of it; in a group only what was said in that group, under its older ids as well.
    """
    if variables.private:
        return True
    chats = (variables.chat_id, *variables.extra.get("chat_aliases", ()))
    return place is not None and place.platform == variables.platform and place.chat_id in chats
