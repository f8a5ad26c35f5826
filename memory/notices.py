"""What operators are to be told in their private chats, until it stands in the inbox. All functions run inside a `Tx`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from memory import people
from memory.database import Tx


@dataclass(frozen=True, slots=True)
class Notice:
    """`id` is never another one's. `chat` is plain data."""

    id: int
    user_id: str
    chat: Mapping[str, Any]
    text: str


def add(tx: Tx, operators: Iterable[str], text: str) -> int:
    """Keep it for each of them whose private chat is known; how many that are."""
    told = 0
    for user_id in operators:
        chat = people.home(tx, user_id)
        if chat is not None:
            tx.run("notice_add", user_id=user_id, chat=json.dumps(chat, ensure_ascii=False), text=text)
            told += 1
    return told


def waiting(tx: Tx) -> list[Notice]:
    """All of them, oldest first."""
    return [
        Notice(row["id"], row["user_id"], json.loads(row["chat"]), row["text"])
        for row in tx.all("notices_all")
    ]


def told(tx: Tx, notice: Notice) -> None:
    """It stands in the inbox."""
    tx.run("notice_drop", id=notice.id)
