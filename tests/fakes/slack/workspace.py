"""A Slack workspace: its people, its conversations, and what its people do there. Everything may be read or set by a test."""

from __future__ import annotations

import html
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.slack import published

Kind = Literal["im", "mpim", "channel", "private"]
_TYPES = {"im": "im", "mpim": "mpim", "channel": "channel", "private": "group"}  # what events call them
_LETTERS = {"im": "D", "mpim": "G", "channel": "C", "private": "G"}
_PING = re.compile(r"<(?:!(?:channel|here|everyone|subteam\^\w+)|@[UW]\w+)(?:\|[^>]*)?>")

_last_ts = itertools.count(1)


def new_ts() -> str:
    """A ts that is later than all others."""
    return f"{int(time.time())}.{next(_last_ts):06d}"


@dataclass
class File:
    """A file: announced with its length, then uploaded, then shown in a message."""

    id: str
    name: str
    length: int
    data: bytes | None = None
    shown: bool = False


@dataclass
class Message:
    """A message as it stands. `history` is every text it ever showed, the newest last."""

    ts: str
    user: str
    text: str
    thread_ts: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    ours: bool = False
    state: Literal["posted", "streaming", "expired", "stopped"] = "posted"
    notification: str = ""  # the top-level text beside blocks
    files: list[File] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """What people read: Slack's three entities are characters again."""
        return self.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    @property
    def pings(self) -> list[str]:
        """Everybody whom it would notify."""
        return _PING.findall(self.text)

    @property
    def buttons(self) -> list[dict[str, Any]]:
        return published.buttons(self.blocks)


@dataclass
class Whisper:
    """What one person alone sees."""

    user: str
    text: str
    thread_ts: str = ""


@dataclass
class Channel:
    """A conversation, threads included."""

    id: str
    kind: Kind
    members: set[str]
    name: str = ""
    joined: bool = True  # the bot is in it
    error: str = ""  # what every call for it answers from now on
    messages: dict[str, Message] = field(default_factory=dict)
    whispers: list[Whisper] = field(default_factory=list)
    statuses: list[tuple[str, str]] = field(default_factory=list)  # thread, status
    titles: dict[str, str] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)

    def ours(self, thread: str | None = None) -> list[Message]:
        """The bot's messages, in order; with `thread` those of one thread ("" for none)."""
        return [m for m in self.messages.values() if m.ours and thread in (None, m.thread_ts)]

    def texts(self, thread: str | None = None) -> list[str]:
        """What the bot's messages read now."""
        return [message.shown for message in self.ours(thread)]

    def told(self, user: str) -> list[str]:
        """What this person alone was shown."""
        return [whisper.text for whisper in self.whispers if whisper.user == user]

    @property
    def pings(self) -> list[str]:
        """Everybody whom a message of the bot's would notify."""
        return [ping for message in self.ours() for ping in message.pings]

    def thread(self, ts: str) -> list[Message]:
        """A thread's messages, the first one first."""
        return [m for m in self.messages.values() if ts in (m.ts, m.thread_ts)]


Sent = Callable[["Workspace", str, dict[str, Any], str], Any]


class Workspace:
    """One workspace, or one of an Enterprise Grid. `send` brings what happens in it to the app."""

    def __init__(
        self,
        send: Sent,
        team: str = "T1",
        *,
        app: str = "A1",
        enterprise: str = "",
        scopes: Iterable[str] = published.ALL_SCOPES,
        token: str = "",
    ) -> None:
        self.id = team
        self.name = f"Workspace {team}"
        self.app = app
        self.enterprise = enterprise
        self.scopes = set(scopes)
        self.bot = f"UBOT{team}"
        self.bot_id = f"BBOT{team}"
        self.people: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, Channel] = {}
        self.files: dict[str, File] = {}
        self.tokens: dict[str, str] = {token: ""} if token else {}  # token → "" or the error that it answers
        self.refresh_tokens: set[str] = set()
        self.installed = bool(token)
        self.quiet = False  # the bot's own messages do not come back as events
        self._send = send
        self._numbers = itertools.count(1)

    # What stands in it

    def person(self, user: str, name: str = "", **profile: Any) -> str:
        """A member, known from now on."""
        if user not in self.people or name or profile:
            shown = name or f"Person {user}"
            self.people[user] = {
                "id": user,
                "team_id": self.id,
                "name": shown.lower().replace(" ", "."),
                "real_name": shown,
                "is_bot": False,
                "deleted": False,
                "tz": "Europe/London",
                "locale": "en-GB",
                "profile": {"real_name": shown, "display_name": shown},
                **profile,
            }
        return user

    def channel(self, channel: str, kind: Kind | None = None, *members: str) -> Channel:
        """A conversation, made at the first mention of it: D… a direct message, G… a private channel, C… a public one."""
        if channel not in self.channels:
            kind = kind or {"D": "im", "G": "private"}.get(channel[0], "channel")  # type: ignore[assignment]
            assert kind is not None
            self.channels[channel] = Channel(
                channel, kind, set(members), "" if kind == "im" else channel.lower()
            )
        self.channels[channel].members.update(members)
        return self.channels[channel]

    def direct(self, user: str) -> Channel:
        """The direct message channel with a person."""
        for channel in self.channels.values():
            if channel.kind == "im" and channel.members == {user}:
                return channel
        return self.channel(f"D{user[1:]}", "im", self.person(user))

    def texts(self, channel: str, thread: str | None = None) -> list[str]:
        return self.channel(channel).texts(thread)

    def whispers(self, channel: str, user: str) -> list[str]:
        """What a person alone was shown there."""
        return self.channel(channel).told(user)

    # What people do

    def write(self, channel: str, user: str, text: str, thread: str = "", **more: Any) -> Message:
        """Put a message there without telling the app: what is said while it is away."""
        place = self.channel(channel)
        place.members.add(self.person(user))
        escaped = html.escape(text, quote=False).replace("@boswell", f"<@{self.bot}>")
        message = Message(new_ts(), user, escaped, thread or "", history=[escaped], **more)
        place.messages[message.ts] = message
        return message

    def say(self, channel: str, user: str, text: str, thread: str = "", **event: Any) -> str:
        """Somebody writes; `@boswell` is a mention. A ts. `event` overrides fields of the event."""
        message = self.write(channel, user, text, thread)
        for each in self.events_of(channel, message):
            self.tell({**each, **event}, lane=channel)
        return message.ts

    def events_of(self, channel: str, message: Message) -> Iterator[dict[str, Any]]:
        """The events of a new message to which the app is subscribed and entitled; a mention makes two."""
        place = self.channel(channel)
        event = {
            "type": "message",
            **self.dump(message, place),
            "channel": channel,
            "channel_type": _TYPES[place.kind],
            "event_ts": message.ts,
        }
        mention = f"<@{self.bot}>" in message.text and place.kind != "im" and not message.ours
        if place.joined and published.scope_of("conversations.history", place.kind) in self.scopes:
            yield event
        if mention and "app_mentions:read" in self.scopes:
            dropped = ("channel_type",)
            yield {**{k: v for k, v in event.items() if k not in dropped}, "type": "app_mention"}

    def edit(self, channel: str, ts: str, text: str) -> None:
        """Somebody edits what they wrote."""
        place = self.channel(channel)
        before = self.dump(place.messages[ts], place)
        place.messages[ts].text = html.escape(text, quote=False).replace("@boswell", f"<@{self.bot}>")
        self.changed(place, place.messages[ts], before)

    def changed(self, place: Channel, message: Message, before: dict[str, Any]) -> None:
        """Tell that a message reads otherwise now."""
        now = {**self.dump(message, place), "edited": {"user": message.user, "ts": new_ts()}}
        self.tell(
            {
                "type": "message",
                "subtype": "message_changed",
                "message": {"type": "message", **now},
                "previous_message": {"type": "message", **before},
                "channel": place.id,
                "channel_type": _TYPES[place.kind],
                "hidden": True,
                "ts": new_ts(),
                "event_ts": new_ts(),
            },
            lane=place.id,
        )

    def delete(self, channel: str, ts: str) -> None:
        """Somebody deletes a message, perhaps one of the bot's."""
        place = self.channel(channel)
        gone = place.messages.pop(ts)
        self.tell(
            {
                "type": "message",
                "subtype": "message_deleted",
                "channel": channel,
                "channel_type": _TYPES[place.kind],
                "hidden": True,
                "deleted_ts": ts,
                "previous_message": {"type": "message", **self.dump(gone, place)},
                "ts": new_ts(),
                "event_ts": new_ts(),
            },
            lane=channel,
        )

    def command(self, channel: str, user: str, text: str, command: str = "/boswell", **more: Any) -> str:
        """Somebody uses the slash command; the id of its answers' address."""
        place = self.channel(channel)
        place.members.add(self.person(user))
        url = self._send(self, "response_url", {"channel": channel, "user": user, "ts": ""}, "")
        payload = {
            "token": "legacy",
            "team_id": self.id,
            "team_domain": self.id.lower(),
            **({"enterprise_id": self.enterprise, "enterprise_name": "Grid"} if self.enterprise else {}),
            "channel_id": channel,
            "channel_name": "directmessage" if place.kind == "im" else place.name,
            "user_id": user,
            "user_name": self.people[user]["name"],
            "command": command,
            "text": text,
            "api_app_id": self.app,
            "is_enterprise_install": "false",
            "response_url": url,
            "trigger_id": f"{next(self._numbers)}.{self.id}.trigger",
            **more,
        }
        self._send(self, "slash_commands", payload, channel)
        return str(url)

    def press(self, channel: str, user: str, ts: str, label: str) -> None:
        """Somebody presses the button of this label under a message of the bot's."""
        place = self.channel(channel)
        message = place.messages[ts]
        [button] = [b for b in message.buttons if b["text"]["text"] == label]
        [block] = [b for b in message.blocks if b["type"] == "actions" and button in b["elements"]]
        url = self._send(self, "response_url", {"channel": channel, "user": user, "ts": ts}, "")
        payload = {
            "type": "block_actions",
            "user": {
                "id": self.person(user),
                "username": user.lower(),
                "name": user.lower(),
                "team_id": self.id,
            },
            "api_app_id": self.app,
            "token": "legacy",
            "container": {
                "type": "message",
                "message_ts": ts,
                "channel_id": channel,
                "is_ephemeral": False,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            },
            "trigger_id": f"{next(self._numbers)}.{self.id}.trigger",
            "team": {"id": self.id, "domain": self.id.lower()},
            "enterprise": {"id": self.enterprise, "name": "Grid"} if self.enterprise else None,
            "is_enterprise_install": False,
            "channel": {"id": channel, "name": place.name or "directmessage"},
            "message": {"type": "message", **self.dump(message, place)},
            "state": {"values": {}},
            "response_url": url,
            "actions": [
                {
                    "action_id": button.get("action_id", "generated"),
                    "block_id": block.get("block_id", "generated"),
                    "text": button["text"],
                    "value": button.get("value", ""),
                    "type": "button",
                    "action_ts": new_ts(),
                }
            ],
        }
        self._send(self, "interactive", payload, channel)

    def open_home(self, user: str, tab: str = "messages") -> Channel:
        """Somebody opens the app: its Messages tab is where it is spoken to."""
        place = self.direct(user)
        self.tell(
            {"type": "app_home_opened", "user": user, "channel": place.id, "tab": tab, "event_ts": new_ts()},
            lane=place.id,
        )
        return place

    def remove_bot(self, channel: str) -> None:
        """The bot is removed from a channel."""
        place = self.channel(channel)
        place.joined = False
        kind = "channel_left" if place.kind == "channel" else "group_left"
        self.tell({"type": kind, "channel": channel, "actor_id": "U1", "event_ts": new_ts()}, lane=channel)

    def uninstall(self) -> None:
        """An administrator removes the app: its tokens end, and it is told so twice."""
        self.installed = False
        bots = list(self.tokens)
        self.tokens = dict.fromkeys(self.tokens, "account_inactive")
        self.refresh_tokens.clear()
        if bots:
            self.tell(
                {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [self.bot]}, "event_ts": new_ts()}
            )
        self.tell({"type": "app_uninstalled", "event_ts": new_ts()})

    # What the app is told

    def tell(self, event: dict[str, Any], *, lane: str = "", event_id: str = "") -> dict[str, Any]:
        """Send an event, as its whole callback, which is returned."""
        payload = {
            "token": "legacy",
            "team_id": self.id,
            "context_team_id": self.id,
            "context_enterprise_id": self.enterprise or None,
            **({"enterprise_id": self.enterprise} if self.enterprise else {}),
            "api_app_id": self.app,
            "event": event,
            "type": "event_callback",
            "event_id": event_id or f"Ev{self.id}{next(self._numbers):08d}",
            "event_time": int(time.time()),
            "authorizations": [
                {
                    "enterprise_id": self.enterprise or None,
                    "team_id": self.id,
                    "user_id": self.bot,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "event_context": "4-context",
        }
        self._send(self, "events_api", payload, lane)
        return payload

    def echo(self, place: Channel, message: Message) -> None:
        """Tell the app what it has posted itself, as Slack does."""
        if not self.quiet:
            for event in self.events_of(place.id, message):
                self.tell(event, lane=place.id)

    def dump(self, message: Message, place: Channel, *, metadata: bool = False) -> dict[str, Any]:
        """A message as Slack's API shows it."""
        replies = [m for m in place.messages.values() if m.thread_ts == message.ts]
        return {
            "user": message.user,
            "ts": message.ts,
            "text": message.text,
            "team": self.id,
            **(
                {"bot_id": self.bot_id, "app_id": self.app}
                if message.ours and not message.files  # of files a bot is told like of anybody's
                else {"client_msg_id": f"c-{message.ts}"}
            ),
            **(
                {
                    "subtype": "file_share",
                    "upload": True,
                    "files": [{"id": f.id, "name": f.name, "size": f.length} for f in message.files],
                }
                if message.files
                else {}
            ),
            **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            **({"parent_user_id": self._parent(message, place)} if message.thread_ts else {}),
            **({"blocks": message.blocks} if message.blocks else {}),
            **({"metadata": message.metadata} if metadata and message.metadata else {}),
            **({"streaming_state": "in_progress"} if message.state == "streaming" else {}),
            **(
                {
                    "thread_ts": message.ts,
                    "reply_count": len(replies),
                    "reply_users": sorted({m.user for m in replies}),
                    "latest_reply": replies[-1].ts,
                }
                if replies
                else {}
            ),
        }

    @staticmethod
    def _parent(message: Message, place: Channel) -> str:
        parent = place.messages.get(message.thread_ts)
        return parent.user if parent else ""
