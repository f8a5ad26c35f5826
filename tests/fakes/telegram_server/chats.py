"""What the people in a chat see of the bot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.telegram_server.methods import BotApiError, Upload


@dataclass
class Message:
    """A message that the bot sent. `history` is every text it ever showed, the newest last."""

    id: int
    text: str
    entities: list[dict[str, Any]]
    thread: int | None
    reply_to: int | None
    history: list[str]
    file: Upload | None = None  # the text is then its caption

    def marked(self, kind: str) -> list[str]:
        """The pieces of the text under entities of this type."""
        data = self.text.encode("utf-16-le")
        return [
            data[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le")
            for e in self.entities
            if e["type"] == kind
        ]


@dataclass
class Conversation:
    """A chat, as the people in it see it."""

    id: int
    messages: dict[int, Message] = field(default_factory=dict)
    last_id: int = 0
    error: BotApiError | None = None  # what every call for this chat answers from now on
    threads_gone: set[int] = field(default_factory=set)
    typing: int = 0

    @property
    def texts(self) -> list[str]:
        """What the bot's messages read now, in order."""
        return [message.text for message in self.messages.values()]

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id
