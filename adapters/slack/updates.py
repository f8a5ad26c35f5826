"""Reads what Slack sends (events, slash commands, pressed buttons) into the words that every platform shares.

Reading is tolerant: only what we use must be as expected. One message has one key, whichever events it comes in: a mention
arrives as `app_mention` and as `message`, and both may be delivered again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.base import Chat, Person, Received, Update, clean, parse_command, user_id
from adapters.reading import Unreadable, told

PLATFORM = "slack"
COMMAND = "boswell"  # the slash command of our manifest
LIFETIME = 1700.0  # seconds that a response_url takes answers; Slack says 30 minutes

_SUBTYPES = (None, "file_share", "me_message", "thread_broadcast")
_LEFT = ("channel_left", "group_left", "member_left_channel")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a payload comes from: the workspace, or the organisation if the app is installed for all of it."""

    enterprise: str
    team: str
    org_wide: bool = False

    @property
    def source(self) -> str:
        return f"{PLATFORM}:{self.team}"


@dataclass(frozen=True, slots=True)
class Me:
    """The app itself in one workspace."""

    team: str
    bot_user: str
    bot_id: str = ""


def origin(body: Mapping[str, Any]) -> Origin:
    """Whose installation `body` is for. Parts that are not there are empty."""
    given = body.get("authorizations")
    first = given[0] if isinstance(given, list) and given and isinstance(given[0], Mapping) else {}
    team = _id(first, "team_id") or _id(body, "team_id") or _id(_part(body, "team"), "id")
    team = team or _id(_part(body, "user"), "team_id")
    enterprise = (
        _id(first, "enterprise_id") or _id(body, "enterprise_id") or _id(_part(body, "enterprise"), "id")
    )
    org_wide = str(first.get("is_enterprise_install") or body.get("is_enterprise_install")).lower() == "true"
    return Origin(enterprise, team, org_wide)


def event_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event in an envelope of the Events API; empty for everything else."""
    return _part(body, "event") if body.get("type") == "event_callback" else {}


def read(
    body: Mapping[str, Any],
    where: Origin,
    me: Me,
    takes_part: Callable[[str, str], bool],
    commands: Collection[str],
) -> Received | None:
    """What `body` says, or None if it is of no concern to us. What can not be read is kept raw.

    `takes_part` tells for a channel and a thread whether we speak there.
    """
    key = _id(body, "event_id") or _id(body, "trigger_id")
    try:
        update = _read(body, where, me, takes_part, commands)
    except Exception as problem:  # noqa: BLE001 - the edge of one payload: it is kept, and the others must get through
        raw = json.dumps({name: part for name, part in body.items() if name != "token"})
        return Received(where.source, key, None, raw, told(problem)) if key else None
    return None if update is None else Received(where.source, update.key, update)


def _read(
    body: Mapping[str, Any],
    where: Origin,
    me: Me,
    takes_part: Callable[[str, str], bool],
    commands: Collection[str],
) -> Update | None:
    event = event_of(body)
    if event.get("type") in ("message", "app_mention"):
        return message(event, where, me, takes_part, commands)
    if event.get("type") in _LEFT:
        return _left(event, body, where, me)
    if body.get("type") == "block_actions":
        return _pressed(body, where)
    if isinstance(body.get("command"), str):
        return _slash(body, where, commands)
    return None


def message(
    event: Mapping[str, Any],
    where: Origin,
    me: Me,
    takes_part: Callable[[str, str], bool],
    commands: Collection[str],
) -> Update | None:
    """A message, or the edit of one; None for those of apps, our own, and Slack's notices (somebody joined, …)."""
    channel, kind = _text(event, "channel"), "message"
    said = event
    if event.get("subtype") == "message_changed":
        said, kind = _part(event, "message"), "edit"
        if _part(event, "previous_message").get("text") == said.get("text"):
            return None  # a preview was added to it, or a reply below it
    user = _id(said, "user")
    if said.get("subtype") not in _SUBTYPES or not user or said.get("bot_id") or user == me.bot_user:
        return None
    ts, private = _text(said, "ts"), _is_private(channel)
    thread = _id(said, "thread_ts")
    if private:
        thread = "" if thread == ts else thread
    raw = _string(said, "text")
    text = readable(_without_mention(raw, me))
    unsupported = "" if text or kind == "edit" else _content(said)
    if not text and not unsupported:
        return None
    command, args = _command(text, commands, private=private)
    in_thread = bool(thread) and thread != ts
    ours = in_thread and (takes_part(channel, thread) or said.get("parent_user_id") == me.bot_user)
    edited = _id(_part(said, "edited"), "ts") or _id(event, "event_ts") or _id(event, "ts")
    key, team = f"message:{where.team}:{channel}:{ts}", _team_of(said, where)
    return Update(
        source=where.source,
        key=key if kind == "message" else f"{key}:{edited}",
        chat=_chat(where, channel, thread if private else thread or ts),
        person=_person(team, user, _profile_name(said)),
        text=text,
        kind="edit" if kind == "edit" else "message",
        message_id=ts,
        reply_to=thread if in_thread else "",
        at=_time(edited if kind == "edit" else ts),
        addressed=private or ours or bool(_mention(me).search(raw)),
        command=command,
        args=args,
        unsupported=unsupported,
        via=f"to:{team}:{user}",
    )


def _team_of(said: Mapping[str, Any], where: Origin) -> str:
    """Whose member says it. Of a colleague, an organisation is named at times; who it is must not hang on that."""
    team = _id(said, "user_team") or _id(said, "team") or where.team
    return where.team if team == where.enterprise else team


def _slash(body: Mapping[str, Any], where: Origin, commands: Collection[str]) -> Update:
    """`/boswell clear`: the first word is the command; words that are none are a question; nothing at all asks for help."""
    text = readable(_string(body, "text")).strip()
    word, _, args = text.partition(" ")
    command: str | None = word.lower().removeprefix("/") or "help"
    if command not in commands and word and not word.startswith("/"):
        command, args = None, ""
    user, channel = _text(body, "user_id"), _text(body, "channel_id")
    title = _string(body, "channel_name")
    return Update(
        source=where.source,
        key=f"command:{_text(body, 'trigger_id')}",
        chat=_chat(where, channel, "", "" if title in ("directmessage", "privategroup") else title),
        person=_person(where.team, user, _string(body, "user_name")),
        text=text if command is None else f"/{command} {args}".strip(),
        at=time.time(),
        addressed=True,
        command=command,
        args=args.strip(),
        via=reply_via(user, _string(body, "response_url")),
    )


def _pressed(body: Mapping[str, Any], where: Origin) -> Update | None:
    """A button of ours: the command of whoever pressed it."""
    actions = body.get("actions")
    action = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], Mapping) else {}
    command, args = parse_command("/" + _string(action, "value"))
    if command is None or not _string(action, "action_id").startswith("boswell:"):
        return None
    user, container, below = _part(body, "user"), _part(body, "container"), _part(body, "message")
    channel = _id(_part(body, "channel"), "id") or _text(container, "channel_id")
    thread = _id(below, "thread_ts") or _id(container, "thread_ts")
    native = _text(user, "id")
    return Update(
        source=where.source,
        key=f"press:{_id(body, 'trigger_id') or _text(action, 'action_ts')}",
        chat=_chat(where, channel, thread),
        person=_person(_id(user, "team_id") or where.team, native, _string(user, "name")),
        text=f"/{command} {args}".strip(),
        at=time.time(),
        addressed=True,
        command=command,
        args=args,
        via=reply_via(native, _string(body, "response_url")),
    )


def _left(event: Mapping[str, Any], body: Mapping[str, Any], where: Origin, me: Me) -> Update | None:
    """`left` when we were removed from a channel. Others who leave are of no concern."""
    if event.get("type") == "member_left_channel" and event.get("user") != me.bot_user:
        return None
    channel = _text(event, "channel")
    return Update(
        source=where.source,
        key=_text(body, "event_id"),
        chat=_chat(where, channel, ""),
        person=_person(where.team, _id(event, "actor_id") or me.bot_user, ""),
        kind="left",
        at=time.time(),
    )


def reply_via(user: str, url: str) -> str:
    """How an interaction is answered, in a `via`: who asked, until when, and where."""
    return f"reply:{user}:{time.time() + LIFETIME:.0f}:{url}"


def parse_via(via: str) -> tuple[str, float, str]:
    """The parts of a `reply:` via."""
    _, user, until, url = via.split(":", 3)
    return user, float(until), url


def parse_recipient(via: str) -> tuple[str, str]:
    """Team and user of the person whom a message's `to:` via names; empty for another via."""
    parts = via.split(":")
    return (parts[1], parts[2]) if parts[0] == "to" and len(parts) == 3 else ("", "")


def _chat(where: Origin, channel: str, thread: str, title: str = "") -> Chat:
    if not where.team:
        raise Unreadable("team_id is missing")
    kind = "private" if _is_private(channel) else "group"
    return Chat(
        PLATFORM, f"{where.team}-{channel}", "private" if kind == "private" else "group", title, thread
    )


def split_chat(chat: Chat) -> tuple[str, str]:
    """Team and channel of a chat's id."""
    team, _, channel = chat.id.partition("-")
    return team, channel


def _is_private(channel: str) -> bool:
    return channel.startswith("D")


def _person(team: str, user: str, name: str) -> Person:
    return Person(user_id(PLATFORM, team, user, upper=True), clean(name))


def native_user(person: Person) -> str:
    """Slack's id of a person."""
    return person.id.rpartition("-")[2]


def _profile_name(said: Mapping[str, Any]) -> str:
    profile = _part(said, "user_profile")
    return _id(profile, "display_name") or _id(profile, "real_name")


def _content(said: Mapping[str, Any]) -> str:
    """What there is besides words, in words."""
    if said.get("files"):
        return "a file"
    return "a forwarded message" if said.get("attachments") else ""


def _command(text: str, commands: Collection[str], *, private: bool) -> tuple[str | None, str]:
    """`/clear`, or, because Slack keeps unknown slash words from being sent, `boswell clear` in a private chat."""
    command, args = parse_command(text)
    if command == COMMAND or (command is None and private):
        word, _, rest = text.lstrip("/").partition(" ")
        name, args = rest.strip().partition(" ")[0].lower(), rest.strip().partition(" ")[2].strip()
        name = name.removeprefix("/")
        if word.lower() == COMMAND and name in commands and (command == COMMAND or not args):
            return name, args
        return (None, "") if command is None else ("help", "")
    return command, args


def _mention(me: Me) -> re.Pattern[str]:
    return re.compile(rf"<@{re.escape(me.bot_user)}(?:\|[^>]*)?>")


def _without_mention(raw: str, me: Me) -> str:
    """The words, without our own name where it only begins or ends them; never nothing."""
    mention = _mention(me).pattern
    text = re.sub(rf"^(?:\s*{mention})+[\s,:]*", "", raw)
    text = re.sub(rf"\s*(?:{mention}\s*)+$", "", text)
    return text if text.strip() else raw


_CONTROL = re.compile(r"<([^<>\n]+)>")


def readable(raw: str) -> str:
    """Slack's text as people see it: names for mentions, addresses for links, brackets for entities."""
    text = _CONTROL.sub(_shown, raw)
    return clean(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).strip()


def _shown(match: re.Match[str]) -> str:
    inside, _, label = match[1].partition("|")
    if inside.startswith("@"):
        return f"@{label or inside[1:]}"
    if inside.startswith("#"):
        return f"#{label or inside[1:]}"
    if inside.startswith("!"):
        word = inside[1:].partition("^")[0]
        return label or f"@{word}"
    address = inside.removeprefix("mailto:").removeprefix("tel:")
    if not label or label in (inside, address) or inside.partition("://")[2].rstrip("/") == label.rstrip("/"):
        return address
    return f"{label} ({address})"


def _part(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def _id(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} is missing or no text")
    return value


def _string(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name) or ""
    if not isinstance(value, str):
        raise Unreadable(f"{name} is no text")
    return value


def _time(ts: str) -> float:
    try:
        return float(ts)
    except ValueError:
        return time.time()
