"""The scripted Telegram as a whole: what people do there, and what they see."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

from tests.fakes.telegram_server.bot_api import TOKEN, BotApi
from tests.fakes.telegram_server.chats import Conversation
from tests.fakes.telegram_server.methods import BotApiError, units


class TelegramServer(BotApi):
    """The server. All its state is public and may be read or set by a test."""

    def __init__(self, token: str = TOKEN, *, port: int = 0) -> None:
        super().__init__(token, port=port)
        self._next_update = 1000

    # What tests do and read

    def chat(self, chat_id: int) -> Conversation:
        return self.chats.setdefault(chat_id, Conversation(chat_id))

    def push(self, update: dict[str, Any]) -> int:
        """Queue a raw update; it gets an update_id if it has none."""
        if "update_id" not in update:
            update = {"update_id": self._next_update, **update}
        if isinstance(update["update_id"], int):
            self._next_update = update["update_id"] + 1
        self.pending.append(update)
        self._wake()
        return int(update["update_id"])

    def message(
        self,
        chat_id: int,
        user_id: int,
        text: str | None,
        *,
        name: str = "",
        language: str = "en",
        thread: int | None = None,
        reply_to: dict[str, Any] | None = None,
        title: str = "Book club",
        **extra: Any,
    ) -> dict[str, Any]:
        """A message in the Bot API's form, with the entities that Telegram itself would find in `text`."""
        chat = (
            {"id": chat_id, "type": "private", "first_name": name or f"Person {user_id}"}
            if chat_id > 0
            else {"id": chat_id, "type": "supergroup", "title": title}
        )
        message: dict[str, Any] = {
            "message_id": self.chat(chat_id).next_id(),
            "date": int(time.time()),
            "chat": chat,
            "from": {
                "id": user_id,
                "is_bot": False,
                "first_name": name or f"Person {user_id}",
                "language_code": language,
            },
        }
        if text is not None:
            message["text"] = text
            if entities := _found_entities(text):
                message["entities"] = entities
        if thread is not None:
            message |= {"message_thread_id": thread, "is_topic_message": True}
        if reply_to is not None:
            message["reply_to_message"] = reply_to
        return {**message, **extra}

    def say(self, chat_id: int, user_id: int, text: str | None, **options: Any) -> int:
        """Somebody writes; see `message`. Returns the message's id."""
        message = self.message(chat_id, user_id, text, **options)
        self.push({"message": message})
        return int(message["message_id"])

    def edit(self, chat_id: int, user_id: int, message_id: int, text: str, **options: Any) -> None:
        """Somebody edits what they wrote."""
        message = self.message(chat_id, user_id, text, **options)
        self.push({"edited_message": {**message, "message_id": message_id, "edit_date": message["date"] + 1}})

    def ours(self, chat_id: int, message_id: int) -> dict[str, Any]:
        """A message of the bot's, as `reply_to`."""
        text = self.chat(chat_id).messages[message_id].text
        return {
            "message_id": message_id,
            "date": 1,
            "chat": {"id": chat_id, "type": "private"},
            "from": self.bot,
            "text": text,
        }

    def block(self, chat_id: int, user_id: int, **options: Any) -> None:
        """A person blocks the bot, or it is removed from a group."""
        self.chat(chat_id).error = BotApiError(403, "Forbidden: bot was blocked by the user")
        self._standing(chat_id, user_id, "member", "kicked", **options)

    def invite(self, chat_id: int, user_id: int, **options: Any) -> None:
        """The bot is added to a group."""
        self._standing(chat_id, user_id, "left", "member", **options)

    def _standing(self, chat_id: int, user_id: int, old: str, new: str, **options: Any) -> None:
        source = self.message(chat_id, user_id, None, **options)
        member = {"user": self.bot, "status": new, **({"until_date": 0} if new == "kicked" else {})}
        self.push(
            {
                "my_chat_member": {
                    "chat": source["chat"],
                    "from": source["from"],
                    "date": source["date"],
                    "old_chat_member": {"user": self.bot, "status": old},
                    "new_chat_member": member,
                }
            }
        )

    def press(self, chat_id: int, user_id: int, data: str, **options: Any) -> int:
        """Somebody presses a button under a message of the bot's. The data is what their client sends, whatever was there."""
        source = self.message(chat_id, user_id, None, **options)
        query = str(4242_000_000 + len(self.pressed) + len(self.notices) + self._next_update)
        self.pressed[query] = user_id
        message = {**source, "from": self.bot, "text": "Pressed"}
        given = {"id": query, "from": source["from"], "message": message, "chat_instance": "1", "data": data}
        return self.push({"callback_query": given})

    def react(self, chat_id: int, user_id: int, emoji: str, *, name: str = "") -> int:
        """Somebody reacts to a message."""
        source = self.message(chat_id, user_id, None, name=name)
        reaction = {
            "chat": source["chat"],
            "message_id": source["message_id"],
            "user": source["from"],
            "date": source["date"],
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": emoji}],
        }
        return self.push({"message_reaction": reaction})

    def migrate(self, chat_id: int, new_id: int, user_id: int) -> None:
        """A group becomes a supergroup."""
        self.chat(chat_id).error = BotApiError(
            400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new_id
        )
        self.say(chat_id, user_id, None, migrate_to_chat_id=new_id)
        self.say(new_id, user_id, None, migrate_from_chat_id=chat_id)

    # Control from another process

    def _control_say(self, **said: Any) -> dict[str, int]:
        return {"message_id": self.say(**said)}

    def _control_push(self, **update: Any) -> dict[str, int]:
        return {"update_id": self.push(update)}

    def _state(self) -> dict[str, Any]:
        return {
            "pending": len(self.pending),
            "chats": {
                str(chat.id): [
                    {
                        "id": m.id,
                        "text": m.text,
                        "edits": len(m.history) - 1,
                        "file": m.file and [m.file.name, base64.b64encode(m.file.data).decode()],
                    }
                    for m in chat.messages.values()
                ]
                for chat in self.chats.values()
            },
        }


_FOUND = re.compile(
    r"(?<!\w)(?:(?P<bot_command>/[A-Za-z0-9_]{1,32}(?:@\w{3,32})?)|(?P<mention>@\w{3,32}))(?!\w)"
)


def _found_entities(text: str) -> list[dict[str, Any]]:
    if "/" not in text and "@" not in text:
        return []
    return [
        {"type": match.lastgroup, "offset": units(text[: match.start()]), "length": units(match[0])}
        for match in _FOUND.finditer(text)
    ]
