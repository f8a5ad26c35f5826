"""Reads Telegram's updates, one plain dictionary at a time, into the words that every platform shares.

Reading is tolerant: only what we use must be as expected, and whatever else Telegram adds passes by. No typed model of the
whole update is built, because one unknown member in one update would then make the whole batch unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.base import Chat, Person, Received, Update, clean, parse_command, user_id
from adapters.reading import Unreadable, object_in, told

ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "my_chat_member")

_MEDIA = {
    "photo": "a photo",
    "live_photo": "a photo",
    "voice": "a voice message",
    "audio": "a sound file",
    "animation": "an animation",  # before document: an animation comes with both
    "video": "a video",
    "video_note": "a video message",
    "sticker": "a sticker",
    "document": "a file",
    "venue": "a place",  # before location, likewise
    "location": "a place",
    "contact": "a contact",
    "poll": "a poll",
    "checklist": "a checklist",
    "dice": "a die",
    "game": "a game",
    "story": "a story",
    "paid_media": "paid media",
    "rich_message": "a page",
}


@dataclass(frozen=True, slots=True)
class Me:
    """The bot itself, as getMe tells it."""

    id: int
    username: str
    hears_all: bool
    """Privacy mode is off: in groups every message comes, not just commands, mentions and replies."""


def row_id(row: object) -> int | None:
    """The row's update_id, or None where there is none to confirm it by."""
    value = row.get("update_id") if isinstance(row, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_batch(rows: Iterable[object], me: Me) -> list[Received]:
    """What `rows` say, in their order. What is of no concern to us is left out; what can not be read is kept raw."""
    received = []
    for row in rows:
        number = row_id(row)
        if number is None or not isinstance(row, Mapping):
            continue  # nothing to know it again by; Telegram never sends this
        key, source = str(number), f"telegram:{me.id}"
        try:
            update = _read(row, me, source, key)
        except Exception as problem:  # noqa: BLE001 - the edge of one row: whatever is in it, the others must get through
            received.append(Received(source, key, None, json.dumps(row), told(problem)))
        else:
            if update is not None:
                received.append(Received(source, update.key, update))
    return received


def _read(row: Mapping[str, Any], me: Me, source: str, key: str) -> Update | None:
    if "message" in row:
        return _message(object_in(row, "message"), me, source, key, edit=False)
    if "edited_message" in row:
        return _message(object_in(row, "edited_message"), me, source, key, edit=True)
    if "callback_query" in row:
        return _pressed(object_in(row, "callback_query"), source, key)
    if "my_chat_member" in row:
        return _membership(object_in(row, "my_chat_member"), source, key)
    return None


def _message(message: Mapping[str, Any], me: Me, source: str, key: str, *, edit: bool) -> Update | None:
    chat = _chat(message)
    if chat is None:
        return None
    if "migrate_to_chat_id" in message or "migrate_from_chat_id" in message:
        return _migration(message, chat, source)
    if "sender_chat" in message:
        # Written in the name of a chat: an anonymous admin (GroupAnonymousBot, 1087968824), a channel that speaks in its group
        # or whose posts are forwarded there (777000). One account stands for several people, and nobody's memory may be
        # opened for an unknown somebody, so these are not answered.
        return None
    sender = object_in(message, "from")
    if sender.get("is_bot"):
        return None
    body = _Body.of(message)
    # A live place that moves on is edited every few seconds: an edit counts only if it has words.
    unsupported = "" if body.text or edit else _content(message)
    if not body.text and not unsupported:
        return None
    replied = message.get("reply_to_message")
    # In a topic every message "replies" to the service message that opened the topic.
    if not isinstance(replied, Mapping) or "forum_topic_created" in replied:
        replied = {}
    text = body.without_mention(me)
    relayed = "forward_origin" in message
    # A command in a forwarded message was given by somebody else, perhaps to another bot.
    command, args = (None, "") if relayed else parse_command(text, me.username)
    reply_author = replied.get("from")
    reply_id = replied.get("message_id")
    return Update(
        source=source,
        key=key,
        chat=chat,
        person=_person(sender),
        text=text,
        kind="edit" if edit else "message",
        message_id=str(_integer(message, "message_id")),
        reply_to=str(reply_id) if isinstance(reply_id, int) else "",
        at=float(_integer(message, "edit_date" if edit and "edit_date" in message else "date")),
        addressed=body.mentions(me)
        or (isinstance(reply_author, Mapping) and reply_author.get("id") == me.id),
        command=command,
        args=args,
        unsupported=unsupported,
        relayed=relayed,
    )


def _pressed(query: Mapping[str, Any], source: str, key: str) -> Update | None:
    """A button of ours: the command of whoever pressed it. Without a message it belongs to an inline one, which we never send."""
    if "message" not in query:
        return None
    chat, sender = _chat(object_in(query, "message")), object_in(query, "from")
    command, args = parse_command("/" + _text(query, "data"))
    if chat is None or sender.get("is_bot") or command is None:
        return None
    return Update(
        source=source,
        key=key,
        chat=chat,
        person=_person(sender),
        text=f"/{command} {args}".strip(),
        addressed=True,
        command=command,
        args=args,
        via=_text(query, "id"),
    )


def _migration(message: Mapping[str, Any], chat: Chat, source: str) -> Update:
    """A group became a supergroup. Both chats tell of it, in either order; one key makes the two the same update."""
    if "migrate_to_chat_id" in message:
        old, new = chat.id, str(_integer(message, "migrate_to_chat_id"))
    else:
        old, new = str(_integer(message, "migrate_from_chat_id")), chat.id
    return Update(
        source=source,
        key=f"migrated:{old}",
        chat=Chat("telegram", old, "group", chat.title),
        person=Person(user_id("telegram", old)),  # no person says it: the chat stands for itself
        text=new,
        kind="migrated",
        at=float(_integer(message, "date")),
    )


def _membership(change: Mapping[str, Any], source: str, key: str) -> Update | None:
    """`left` when we were blocked or removed; every other change of our standing is of no concern."""
    chat = _chat(change)
    status = object_in(change, "new_chat_member").get("status")
    if chat is None or status not in ("kicked", "left"):
        return None
    person, at = _person(object_in(change, "from")), float(_integer(change, "date"))
    return Update(source=source, key=key, chat=chat, person=person, kind="left", at=at)


def _chat(message: Mapping[str, Any]) -> Chat | None:
    """The chat and topic; None for a channel, where nobody talks with us."""
    chat = object_in(message, "chat")
    number, kind = str(_integer(chat, "id")), chat.get("type")
    thread = ""
    if message.get("is_topic_message"):  # without it the number only names a chain of replies
        thread = str(_integer(message, "message_thread_id"))
    if kind == "private":
        return Chat("telegram", number, "private", "", thread)
    if kind in ("group", "supergroup"):
        return Chat("telegram", number, "group", _text(chat, "title"), thread)
    if kind == "channel":
        return None
    raise Unreadable("chat.type is none that we know")


def _person(sender: Mapping[str, Any]) -> Person:
    name = f"{_text(sender, 'first_name')} {_text(sender, 'last_name')}".strip()
    return Person(user_id("telegram", str(_integer(sender, "id"))), name, _text(sender, "language_code"))


def _content(message: Mapping[str, Any]) -> str:
    return next((name for kind, name in _MEDIA.items() if kind in message), "")


@dataclass(frozen=True, slots=True)
class _Body:
    """A message's words with its entities, whose offsets count UTF-16 code units."""

    text: str
    entities: tuple[Mapping[str, Any], ...]

    @staticmethod
    def of(message: Mapping[str, Any]) -> _Body:
        text, marks = ("text", "entities") if "text" in message else ("caption", "caption_entities")
        entities = message.get(marks)
        known = entities if isinstance(entities, list) else []
        return _Body(_text(message, text), tuple(filter(_is_placed, known)))

    def _cut(self, entity: Mapping[str, Any]) -> tuple[str, str, str]:
        """The text before, in and after the entity."""
        units = self.text.encode("utf-16-le")
        start = 2 * entity["offset"]
        end = start + 2 * entity["length"]
        before, inside, after = (
            part.decode("utf-16-le", "replace") for part in (units[:start], units[start:end], units[end:])
        )
        return before, inside, after

    def _names(self, entity: Mapping[str, Any], me: Me) -> bool:
        if entity.get("type") == "text_mention":
            user = entity.get("user")
            return isinstance(user, Mapping) and user.get("id") == me.id
        return entity.get("type") == "mention" and self._cut(entity)[1].lower() == f"@{me.username}".lower()

    def mentions(self, me: Me) -> bool:
        """Whether it names the bot, be it in a command (`/help@our_bot`)."""
        return any(
            self._names(entity, me)
            or (
                entity.get("type") == "bot_command"
                and self._cut(entity)[1].lower().endswith(f"@{me.username}".lower())
            )
            for entity in self.entities
        )

    def without_mention(self, me: Me) -> str:
        """The words, without our own name where it only begins or ends them; never nothing."""
        cuts = [self._cut(entity) for entity in self.entities if self._names(entity, me)]
        text = self.text.strip()
        if cuts and not cuts[-1][2].strip():
            text = text.removesuffix(cuts[-1][1].strip()).rstrip()
        if cuts and not cuts[0][0].strip():
            text = text.removeprefix(cuts[0][1].strip()).lstrip(" \t\n,:")
        return text or self.text.strip()


def _is_placed(entity: object) -> bool:
    """Whether it is an entity with a place in the text; one without is passed over, the words still count."""
    if not isinstance(entity, Mapping):
        return False
    place = (entity.get("offset"), entity.get("length"))
    return all(isinstance(value, int) and value >= 0 for value in place)


def _integer(parent: Mapping[str, Any], name: str) -> int:
    value = parent.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unreadable(f"{name} is missing or no integer")
    return value


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name, "")
    if not isinstance(value, str):
        raise Unreadable(f"{name} is no text")
    return clean(value)
