"""Where we take part, and how far we have heard: the threads that we answer in unasked, and what was said while we were away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.base import AdapterError, Chat, RateLimited, State, Unavailable, Update
from adapters.slack.client import Client
from adapters.slack.installations import Workspace
from adapters.slack.updates import split_chat

_log = logging.getLogger(__name__)

MOST_THREADS = 5_000
SPARE = 500  # threads past that before the oldest are forgotten
_BACK = 86_400.0  # seconds: what is older is not fetched
_ROOMS = 50  # conversations that are looked at after an absence, the liveliest
_MESSAGES = 200  # of each


@dataclass(frozen=True, slots=True)
class Room:
    """A direct conversation (`thread` is empty) or a thread."""

    team: str
    channel: str
    thread: str

    @property
    def name(self) -> str:
        kind = "thread" if self.thread else "seen"
        return ":".join(filter(None, (kind, self.team, self.channel, self.thread)))

    @staticmethod
    def of(chat: Chat) -> Room:
        return Room(*split_chat(chat), chat.thread)

    @staticmethod
    def named(name: str) -> Room:
        _, team, channel, *thread = name.split(":")
        return Room(team, channel, thread[0] if thread else "")


class Rooms:
    """Kept in `State` as `seen:<team>:<channel>` and `thread:<team>:<channel>:<ts>`, each with the newest ts heard there."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._heard: dict[Room, str] = {}  # the one heard last is last
        self._behind: set[Room] = set()

    async def start(self) -> None:
        """Read what an earlier process kept. All of it may be behind."""
        kept = {**await self._state.get("seen:"), **await self._state.get("thread:")}
        rooms = {Room.named(name): ts for name, ts in kept.items()}
        self._heard = dict(sorted(rooms.items(), key=lambda item: item[1]))

    def takes_part(self, team: str, channel: str, thread: str) -> bool:
        return Room(team, channel, thread) in self._heard

    def marks(self, update: Update) -> Mapping[str, str]:
        """What is to be kept with an update that is addressed to us: it was heard, and its thread is one of ours."""
        room = Room.of(update.chat)
        if (
            not update.addressed
            or not update.message_id
            or not (room.thread or update.chat.kind == "private")
        ):
            return {}
        if room in self._behind:
            return {}  # what came before it is still to be fetched
        return self._hear(room, update.message_id)

    def fetched(self, room: Room, update: Update) -> Mapping[str, str]:
        """What is to be kept with an update that was missed, in the order in which it was said."""
        return self._hear(room, update.message_id)

    def _hear(self, room: Room, ts: str) -> Mapping[str, str]:
        self._heard[room] = ts = max(ts, self._heard.pop(room, ""))
        return {room.name: ts}

    async def joined(self, chat: Chat, ts: str) -> None:
        """We have written there. On disk when this returns, where it was not known before."""
        room = Room.of(chat)
        if not room.thread:
            return
        changes: dict[str, str | None] = {} if room in self._heard else {room.name: ts}
        self._heard.setdefault(room, ts)
        if len(self._heard) > MOST_THREADS + SPARE:
            threads = [each for each in self._heard if each.thread and each != room]
            for old in threads[: len(self._heard) - MOST_THREADS]:
                del self._heard[old]
                changes[old.name] = None
        if changes:
            await self._state.set(changes)

    def lag(self) -> list[tuple[Room, str]]:
        """The conversations to look at after an absence, and since when. Until `caught_up` their marks stand still."""
        since = f"{time.time() - _BACK:.6f}"
        lively = sorted(self._heard.items(), key=lambda item: item[1])[-_ROOMS:]
        self._behind.update(room for room, _ in lively)
        return [(room, max(ts, since)) for room, ts in lively]

    def caught_up(self, room: Room) -> None:
        self._behind.discard(room)


async def missed(
    client: Client, workspace: Workspace, room: Room, since: str
) -> AsyncIterator[dict[str, Any]]:
    """What was said in a room after `since`, oldest first, as message events. Nothing where we may not read.

    Raises `Unavailable` where Slack did not answer: what was missed then stays to be fetched.
    """
    arguments: dict[str, Any] = {"channel": room.channel, "oldest": since, "limit": _MESSAGES}
    method = "conversations_history"
    if room.thread:
        method, arguments["ts"] = "conversations_replies", room.thread
    found: dict[str, dict[str, Any]] = {}
    while len(found) < _MESSAGES:
        try:
            answer = await client(method, workspace.token, **arguments)
        except RateLimited as exc:
            await asyncio.sleep(exc.retry_after)
            continue
        except Unavailable:
            raise
        except AdapterError as exc:
            _log.info("what was missed in %s can not be fetched: %s", room.name, exc)
            return
        messages = [each for each in answer.get("messages") or () if isinstance(each, dict)]
        found |= {ts: each for each in messages if isinstance(ts := each.get("ts"), str) and ts > since}
        cursor = (answer.get("response_metadata") or {}).get("next_cursor")
        if not cursor:
            break
        arguments["cursor"] = cursor
    for _, message in sorted(found.items()):
        yield {"type": "message", **message, "channel": room.channel}
