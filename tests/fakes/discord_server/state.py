"""What is on the scripted Discord: people, servers, channels, messages, and how each looks on the wire."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

EPOCH = 1_420_070_400_000  # milliseconds; snowflakes count from the first of January 2015
BOT_ID = 80351110224678912
MESSAGE_CONTENT = 1 << 15  # intents
TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 0, 1, 11, 12, 15  # channel types
THREADS = (PUBLIC_THREAD, PRIVATE_THREAD)
EPHEMERAL, LOADING = 1 << 6, 1 << 7  # message flags
VIEW, SEND, EMBED, ATTACH, READ_HISTORY, SEND_IN_THREADS = (1 << bit for bit in (10, 11, 14, 15, 16, 38))
ALL_NEEDED = VIEW | SEND | EMBED | ATTACH | READ_HISTORY | SEND_IN_THREADS

Json = dict[str, Any]


class ApiError(Exception):
    """A refusal, as Discord's REST API words it."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, "code": code, **more}


def invalid(name: str, code: str, message: str) -> ApiError:
    """400 about one field of the body."""
    return ApiError(
        400, 50035, "Invalid Form Body", errors={name: {"_errors": [{"code": code, "message": message}]}}
    )


@dataclass
class User:
    id: int
    name: str
    bot: bool = False

    def json(self) -> Json:
        return {
            "id": str(self.id),
            "username": self.name.lower().replace(" ", "_"),
            "global_name": None if self.bot else self.name,
            "discriminator": "0",
            "avatar": None,
            "bot": self.bot,
            "public_flags": 0,
        }

    def member(self) -> Json:
        joined = "2024-05-01T12:00:00.000000+00:00"
        return {
            "roles": [],
            "nick": None,
            "avatar": None,
            "joined_at": joined,
            "deaf": False,
            "mute": False,
            "flags": 0,
        }


@dataclass
class Attachment:
    id: int
    filename: str
    data: bytes

    def json(self) -> Json:
        url = f"https://cdn.discordapp.com/attachments/1/{self.id}/{self.filename}"
        return {
            "id": str(self.id),
            "filename": self.filename,
            "size": len(self.data),
            "url": url,
            "proxy_url": url,
        }


@dataclass
class Message:
    """A message. `history` is every text it ever showed, the newest last; `seen_by` the only person who sees it, or 0."""

    id: int
    channel: Channel
    author: User
    content: str
    at: float
    reply_to: Message | None = None
    reply_gone: int = 0  # the id of a deleted message that this one replies to
    pings_replied: bool = False
    nonce: str = ""
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: int = 0
    seen_by: int = 0
    kind: int = 0
    edited: float | None = None
    history: list[str] = field(default_factory=list)

    @property
    def thinking(self) -> bool:
        """A deferred answer that nothing has filled yet."""
        return bool(self.flags & LOADING)

    def buttons(self) -> dict[str, str]:
        """Label to custom_id of what can be pressed."""
        return {
            item["label"]: item["custom_id"]
            for row in self.components
            for item in row.get("components", [])
            if item["type"] == 2 and "custom_id" in item
        }


@dataclass
class Channel:
    """A channel, thread or direct conversation. With `error` every call for it is answered so."""

    id: int
    type: int
    name: str = ""
    guild: Guild | None = None
    parent: Channel | None = None
    recipient: User | None = None
    deny: int = 0  # permissions taken from everybody here
    error: ApiError | None = None
    messages: dict[int, Message] = field(default_factory=dict)
    last_message_id: int | None = None
    typing: int = 0
    invited: bool = True  # whether the bot is in this thread
    archived: bool = False

    @property
    def texts(self) -> list[str]:
        """What the bot's messages read that everybody here sees, in order."""
        return [
            m.content
            for m in self.messages.values()
            if m.author.id == BOT_ID and not m.seen_by and not m.thinking
        ]

    def json(self) -> Json:
        last = str(self.last_message_id) if self.last_message_id else None
        common = {"id": str(self.id), "type": self.type, "last_message_id": last, "flags": 0}
        if self.recipient is not None:
            return {**common, "recipients": [self.recipient.json()]}
        assert self.guild is not None
        common |= {"name": self.name, "guild_id": str(self.guild.id)}
        common["parent_id"] = str(self.parent.id) if self.parent else None
        if self.type in THREADS:
            when = "2026-01-01T00:00:00.000000+00:00"
            thread = {
                "archived": self.archived,
                "auto_archive_duration": 1440,
                "archive_timestamp": when,
                "locked": False,
                "create_timestamp": when,
            }
            member = {"id": str(self.id), "user_id": str(BOT_ID), "join_timestamp": when, "flags": 0}
            return {
                **common,
                "owner_id": str(self.guild.owner),
                "message_count": len(self.messages),
                "member_count": 2,
                "rate_limit_per_user": 0,
                "thread_metadata": thread,
                **({"member": member} if self.invited else {}),
            }
        overwrite = {"id": str(self.guild.id), "type": 0, "allow": "0", "deny": str(self.deny)}
        return {
            **common,
            "position": 0,
            "nsfw": False,
            "topic": None,
            "rate_limit_per_user": 0,
            "permission_overwrites": [overwrite] if self.deny else [],
            **({"available_tags": []} if self.type == FORUM else {}),
        }


@dataclass
class Guild:
    """A server. `permissions` is what the bot may do in it."""

    id: int
    name: str
    owner: int
    permissions: int = ALL_NEEDED
    channels: dict[int, Channel] = field(default_factory=dict)
    unavailable: bool = False

    def roles(self) -> list[Json]:
        return [
            {
                "id": str(self.id),
                "name": "@everyone",
                "permissions": str(self.permissions),
                "position": 0,
                "color": 0,
                "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
                "hoist": False,
                "managed": False,
                "mentionable": False,
                "flags": 0,
            }
        ]

    def json(self, bot: User) -> Json:
        """What GUILD_CREATE tells."""
        places = [channel for channel in self.channels.values() if channel.type not in THREADS]
        threads = [c for c in self.channels.values() if c.type in THREADS and not c.archived]
        lists = ("emojis", "stickers", "voice_states", "presences", "stage_instances", "soundboard_sounds")
        return {
            "id": str(self.id),
            "name": self.name,
            "owner_id": str(self.owner),
            "unavailable": False,
            "large": False,
            "member_count": 2,
            "joined_at": "2024-05-01T12:00:00.000000+00:00",
            "roles": self.roles(),
            "members": [{**bot.member(), "user": bot.json()}],
            "channels": [channel.json() for channel in places],
            "threads": [thread.json() for thread in threads],
            "features": [],
            "preferred_locale": "en-US",
            "guild_scheduled_events": [],
            **{name: [] for name in lists},
        }


@dataclass
class Interaction:
    """A slash command or a pressed button. `messages` are the answers to it, the original first."""

    id: int
    token: str
    user: User
    channel: Channel
    at: float
    message: Message | None = None  # under which the button is
    state: Literal["new", "thinking", "quiet", "answered"] = "new"
    messages: list[Message] = field(default_factory=list)


class State:
    """All of it. `emit` is called with every gateway event; `clock` may be moved by `skip`."""

    def __init__(self) -> None:
        self.bot = User(BOT_ID, "Boswell", bot=True)
        self.users: dict[int, User] = {BOT_ID: self.bot}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.interactions: dict[str, Interaction] = {}
        self.commands: list[Json] = []
        self.message_content = True  # whether the operator has allowed that intent in the portal
        self.pinged: list[tuple[int, str]] = []  # who would have heard of our messages: channel, whom
        self.complaints: list[str] = []
        self.emit: Callable[[str, Json, int], None] = lambda _event, _data, _guild: None
        self._ahead = 0.0
        self._last_id = 0

    def now(self) -> float:
        return time.time() + self._ahead

    def skip(self, seconds: float) -> None:
        """Let time pass here: message ids, nonces, tokens and the age of messages go by it."""
        self._ahead += seconds

    def snowflake(self) -> int:
        """A new id, greater than all before."""
        self._last_id = max(self._last_id + 1, (int(self.now() * 1000) - EPOCH) << 22)
        return self._last_id

    def user(self, user_id: int, name: str = "") -> User:
        if user_id not in self.users:
            self.users[user_id] = User(user_id, name or f"Person {user_id}")
        return self.users[user_id]

    def add(self, message: Message) -> Message:
        message.channel.messages[message.id] = message
        if not message.seen_by:
            message.channel.last_message_id = message.id
        message.history.append(message.content)
        return message

    # On the wire

    def mentioned(self, message: Message) -> list[User]:
        """The people whom a message mentions, and the one to whose message it replies."""
        found = [
            self.users[int(n)] for n in re.findall(r"<@!?(\d+)>", message.content) if int(n) in self.users
        ]
        if message.pings_replied and message.reply_to is not None:
            found.append(message.reply_to.author)
        return list({user.id: user for user in found}.values())

    def json(self, message: Message, *, content: bool = True, nested: bool = False) -> Json:
        """A message as the API gives it. Without `content` (the intent) only some show what they say."""
        guild = message.channel.guild
        mentioned = self.mentioned(message)
        shown = content or guild is None or message.author is self.bot or self.bot in mentioned
        data: Json = {
            "id": str(message.id),
            "type": 19 if message.reply_to is not None or message.reply_gone else message.kind,
            "channel_id": str(message.channel.id),
            "author": message.author.json(),
            "content": message.content if shown else "",
            "timestamp": stamp(message.at),
            "edited_timestamp": stamp(message.edited) if message.edited else None,
            "tts": False,
            "mention_everyone": "@everyone" in message.content,
            "mentions": [user.json() for user in mentioned],
            "mention_roles": re.findall(r"<@&(\d+)>", message.content),
            "attachments": [item.json() for item in message.attachments] if shown else [],
            "embeds": [],
            "components": message.components if shown else [],
            "pinned": False,
            "flags": message.flags,
        }
        if message.nonce:
            data["nonce"] = message.nonce
        replied = message.reply_to.id if message.reply_to is not None else message.reply_gone
        if replied:
            data["message_reference"] = {
                "type": 0,
                "message_id": str(replied),
                "channel_id": str(message.channel.id),
            }
            if not nested:
                there = message.reply_to
                data["referenced_message"] = (
                    self.json(there, content=content, nested=True) if there is not None else None
                )
        return data

    def event(self, message: Message, *, content: bool) -> Json:
        """The same as MESSAGE_CREATE and MESSAGE_UPDATE tell it."""
        data = self.json(message, content=content)
        data["channel_type"] = message.channel.type
        if message.channel.guild is not None:
            data |= {"guild_id": str(message.channel.guild.id), "member": message.author.member()}
        return data

    def note_pings(self, message: Message, allowed: Json | None) -> None:
        """Keep whom Discord would notify: all that the text names, as far as `allowed_mentions` lets it."""
        everything = allowed is None
        parse = ("everyone", "roles", "users") if allowed is None else allowed.get("parse", ())
        allowed = allowed or {}
        text = message.content
        pinged = re.findall(r"@everyone|@here", text) if "everyone" in parse else []
        for kind, pattern in (("roles", r"<@&(\d+)>"), ("users", r"<@!?(\d+)>")):
            named = re.findall(pattern, text)
            pinged += [f"{kind} {n}" for n in named if kind in parse or n in allowed.get(kind, ())]
        if message.reply_to is not None and allowed.get("replied_user", everything):
            pinged.append(f"users {message.reply_to.author.id}")
        self.pinged += [(message.channel.id, whom) for whom in pinged]


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
