"""Reads what Discord sends, one plain dictionary at a time, into the words that every platform shares.

Messages look alike from the gateway and from a channel's history, so one reader takes both. Reading is tolerant: only what we
use must be as expected, and whatever else Discord adds passes by.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.base import Chat, Person, Update, clean, parse_command, user_id
from adapters.reading import Unreadable, object_in

_EPOCH = 1_420_070_400_000  # milliseconds; Discord's ids count from the first of January 2015
_SAID = (0, 19)  # message types: a message, a reply. All others are notices of Discord's own
THREAD_STARTER = 21  # the message type that repeats, in a thread, the message that it began from
THREAD_TYPES = (10, 11, 12)
PRIVATE_THREAD = 12
_VOICE_MESSAGE, _HAS_SNAPSHOT = 1 << 13, 1 << 14  # message flags
BUTTON_PREFIX = "boswell:"
_UNREAD = "a message that does not mention me"

_MENTION = re.compile(r"<@!?(\d+)>")


@dataclass(frozen=True, slots=True)
class Me:
    """The bot itself. `hears_all`: it may read messages in servers that do not mention it."""

    id: str
    hears_all: bool
    commands: Collection[str] = ()

    @property
    def source(self) -> str:
        return f"discord:{self.id}"


@dataclass(frozen=True, slots=True)
class Where:
    """Where a message stands. Without `server` it is a direct one. `thread` is a thread or forum post in `channel`.

    `ours`: a thread in which we are at home; `closed`: one for those alone who were invited. `role` is the role that the server
    made for us; to mention it is to mention us.
    """

    channel: str
    server: str = ""
    thread: str = ""
    title: str = ""
    ours: bool = False
    role: str = ""
    closed: bool = False

    @property
    def chat(self) -> Chat:
        if not self.server:
            return Chat("discord", self.channel)
        return Chat("discord", f"{self.server}-{self.channel}", "group", self.title, self.thread, self.closed)


def channel_of(chat: Chat) -> str:
    """The channel's id that the API wants: a thread is a channel of its own there."""
    return chat.thread or chat.id.rpartition("-")[2]


def seconds_of(snowflake: str | int) -> float:
    """When an id was given out, in seconds since 1970."""
    return ((int(snowflake) >> 22) + _EPOCH) / 1000


def snowflake_at(seconds: float) -> int:
    """The smallest id that may be given out at that time."""
    return max(0, int(seconds * 1000) - _EPOCH) << 22


def read_message(message: Mapping[str, Any], where: Where, me: Me, *, edit: bool = False) -> Update | None:
    """What a person says; None for what is of no concern to us: a bot's, a notice, what we may not read."""
    author, edited = object_in(message, "author"), message.get("edited_timestamp")
    if not _is_said(message, author):
        return None
    if edit and not isinstance(edited, str):
        return None  # not its words changed: a link got its preview, somebody pinned it
    number = _id(message, "id")
    mentions = [m for m in message.get("mentions") or [] if isinstance(m, Mapping)]
    replied = message.get("referenced_message")
    replies = isinstance(replied, Mapping) and _author(replied) == me.id
    named = any(m.get("id") == me.id for m in mentions)  # in code, a name is no mention
    named = named or bool(where.role and where.role in (message.get("mention_roles") or []))
    text = _spoken(_text(message, "content"), where, me, mentions)
    unsupported = "" if text or edit else _content(message)
    private = not where.server
    nothing = not text and not unsupported
    if nothing and (edit or not (private or replies or named)):
        return None
    if nothing and not (private or named or me.hears_all):
        unsupported = _UNREAD
    addressed = named or replies or (where.ours and bool(text or unsupported))
    command, args = parse_command(text)
    if not private and not addressed and command not in me.commands:
        command, args = None, ""  # somebody else's, or a manner of speaking
    return Update(
        source=me.source,
        key=f"edit:{number}:{edited}" if edit else number,
        chat=where.chat,
        person=_person(author, message.get("member")),
        text=text,
        kind="edit" if edit else "message",
        message_id=number,
        reply_to=_refers_to(message),
        at=_moment(edited) if edit and isinstance(edited, str) else seconds_of(number),
        addressed=addressed,
        command=command,
        args=args,
        unsupported=unsupported,
    )


def _is_said(message: Mapping[str, Any], author: Mapping[str, Any]) -> bool:
    """Whether a person says it: no bot, no webhook, no notice."""
    machine = author.get("bot") or author.get("system") or "webhook_id" in message
    return not machine and message.get("type", 0) in _SAID


def _refers_to(message: Mapping[str, Any]) -> str:
    """The message that it replies to."""
    reference = message.get("message_reference")
    number = reference.get("message_id") if isinstance(reference, Mapping) else None
    return number if isinstance(number, str) else ""


def read_interaction(data: Mapping[str, Any], where: Where, me: Me, now: float) -> Update | None:
    """A slash command, or a button of ours: the command of whoever gave it."""
    inner = data.get("data")
    if not isinstance(inner, Mapping):
        return None
    if data.get("type") == 2 and inner.get("type", 1) == 1:
        options = [option for option in inner.get("options") or [] if isinstance(option, Mapping)]
        words = [_text(inner, "name"), *(str(option.get("value", "")) for option in options)]
    elif data.get("type") == 3 and _text(inner, "custom_id").startswith(BUTTON_PREFIX):
        words = [_text(inner, "custom_id").removeprefix(BUTTON_PREFIX)]
    else:
        return None
    command, args = parse_command(clean("/" + " ".join(words)))
    if command is None:
        return None
    member = data.get("member")
    user = object_in(member, "user") if isinstance(member, Mapping) else object_in(data, "user")
    number, person = _id(data, "id"), _person(user, member)
    locale = data.get("locale")
    return Update(
        source=me.source,
        key=number,
        chat=where.chat,
        person=Person(person.id, person.name, locale if isinstance(locale, str) else ""),
        text=f"/{command} {args}".strip(),
        at=seconds_of(number),
        addressed=True,
        command=command,
        args=args,
        via=f"{_id(data, 'application_id')}:{_text(data, 'token')}:{int(now)}:{_id(user, 'id')}",
    )


def starts_from_us(message: Mapping[str, Any], me: Me) -> bool:
    """Whether it tells that a thread was begun from a message of ours."""
    first = message.get("referenced_message")
    return message.get("type") == THREAD_STARTER and isinstance(first, Mapping) and _author(first) == me.id


def _author(message: Mapping[str, Any]) -> object:
    author = message.get("author")
    return author.get("id") if isinstance(author, Mapping) else None


def _spoken(raw: str, where: Where, me: Me, mentions: list[Mapping[str, Any]]) -> str:
    """The words, without our own name where it only begins or ends them, and with others' names in place of their ids."""
    names = {str(m.get("id")): _name(m, m.get("member")) for m in mentions}
    ours = rf"<@!?{me.id}>" + (rf"|<@&{where.role}>" if where.role else "")
    text = raw.strip()
    if bare := re.sub(rf"\s*(?:{ours})\Z", "", text):
        text = bare
    if bare := re.sub(rf"\A(?:{ours})[\s,:]*", "", text):
        text = bare
    return _MENTION.sub(lambda m: f"@{names[m[1]]}" if names.get(m[1]) else m[0], text)


def _content(message: Mapping[str, Any]) -> str:
    """What there is besides words, in words."""
    flags = message.get("flags")
    flags = flags if isinstance(flags, int) else 0
    for file in message.get("attachments") or []:
        kind = str(file.get("content_type") or "") if isinstance(file, Mapping) else ""
        if flags & _VOICE_MESSAGE:
            return "a voice message"
        names = {"image": "a picture", "audio": "a sound file", "video": "a video"}
        return names.get(kind.partition("/")[0], "a file")
    if message.get("sticker_items"):
        return "a sticker"
    if message.get("poll"):
        return "a poll"
    return "a forwarded message" if message.get("message_snapshots") or flags & _HAS_SNAPSHOT else ""


def _person(user: Mapping[str, Any], member: object) -> Person:
    return Person(user_id("discord", _id(user, "id")), _name(user, member))


def _name(user: Mapping[str, Any], member: object) -> str:
    """What people see: the name in this server, else that of the account, else its handle."""
    nick = member.get("nick") if isinstance(member, Mapping) else None
    name = nick or user.get("global_name") or user.get("username") or ""
    return clean(name) if isinstance(name, str) else ""


def _moment(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        raise Unreadable("edited_timestamp is no time") from None


def _id(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value.isdecimal():
        raise Unreadable(f"{name} is missing or no id")
    return value


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name) or ""
    if not isinstance(value, str):
        raise Unreadable(f"{name} is no text")
    return clean(value)
