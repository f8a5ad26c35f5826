"""The last messages of a group, so that a turn there sees what the room was talking about."""

from __future__ import annotations

from collections.abc import Set

from adapters.base import Chat
from memory.database import Tx


def add(
    tx: Tx, chat: Chat, message_id: str, user_id: str, speaker: str, text: str, at: float, keep: int
) -> None:
    """Keep what somebody said; the last `keep` messages of the chat are kept. `user_id` is theirs; of our reply, who asked."""
    if keep:
        tx.run(
            "room_add",
            chat_key=chat.key,
            message_id=message_id,
            user_id=user_id,
            speaker=speaker,
            text=text,
            at=at,
        )
        tx.run("room_person", user_id=user_id, chat_key=chat.key)
        tx.run("room_trim", chat_key=chat.key, keep=keep)


def window(tx: Tx, chat_key: str, stream_id: int, own: Set[str], count: int) -> str:
    """What the room said since the stream's last turn, a message a line, `own` messages left out; marked as seen."""
    if not count:
        return ""
    rows = tx.all("room_window", chat_key=chat_key, stream_id=stream_id, count=count + len(own))
    lines = [_line(r["speaker"], r["text"]) for r in reversed(rows) if r["message_id"] not in own]
    tx.run("room_see", chat_key=chat_key, stream_id=stream_id)
    return "\n".join(lines[-count:])


def _line(speaker: str, text: str) -> str:
    """What somebody said in a room. Neither a name nor a text can look as if somebody else had said it."""
    name = " ".join(speaker.translate({ord("["): "(", ord("]"): ")"}).split())
    return f"[{name}] " + "\n    ".join(text.splitlines())
