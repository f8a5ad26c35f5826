"""Hands what Discord sends to the sink, nothing left out: what was said while nobody listened is read back first.

Each server, and each direct conversation, has a lane of its own: work in it is done in order, lanes run side by side. When a
session begins, reading back is the first work of a lane, so that what arrives meanwhile waits behind it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from adapters import reading
from adapters.base import (
    AdapterError,
    Chat,
    ChatGone,
    Person,
    RateLimited,
    Received,
    Sink,
    State,
    Unavailable,
    Update,
    user_id,
)
from adapters.discord.updates import (
    PRIVATE_THREAD,
    THREAD_TYPES,
    Me,
    Where,
    read_interaction,
    read_message,
    snowflake_at,
    starts_from_us,
)

_log = logging.getLogger(__name__)

_PAGE = 100  # messages; the most that Discord gives at once
_MOST_PAGES = 50
_MOST_AT_ONCE = 100  # rows in one call of the sink
_READERS = 4  # channels that are read back side by side
_NO_MESSAGES = (4, 15, 16)  # categories, forums: channels without messages of their own
_ARCHIVED_AFTER = 8 * 86400.0  # seconds; a thread sleeps after a week at most, and is not listed then


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until what failed is tried again."""

    first: float = 0.5
    most: float = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a channel. A thread has a `parent` and an `owner`, and may be `closed`.

    `role` is the one that its server made for us.
    """

    parent: str
    title: str = ""
    owner: str = ""
    role: str = ""
    closed: bool = False


@dataclass(slots=True)
class Marks:
    """How far everything was handed in: one run's copy of what is in the adapter's `State`."""

    seen: dict[str, int] = field(default_factory=dict)
    """The last message of a channel, thread or direct conversation."""
    places: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Its server and the channel around it; ("", "") for a direct conversation."""
    inside: dict[str, set[str]] = field(default_factory=dict)
    """The threads of a server."""
    servers: dict[str, int] = field(default_factory=dict)
    """All messages of a server up to this one."""
    threads: set[str] = field(default_factory=set)
    """Where we are at home."""

    def load(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            kind, _, native = name.partition(":")
            if kind == "seen":
                number, server, parent = (value + "  ").split(" ")[:3]
                self.note(native, server, parent, int(number))
            elif kind == "server":
                self.note_server(native, int(value))
            elif kind == "thread":
                self.threads.add(native)

    def note(self, channel: str, server: str, parent: str, number: int) -> dict[str, str]:
        """Move the channel's mark on; what to keep of it."""
        if number <= self.seen.get(channel, 0):
            return {}
        self.seen[channel], self.places[channel] = number, (server, parent)
        if parent:
            self.inside.setdefault(server, set()).add(channel)
        return {f"seen:{channel}": f"{number} {server} {parent}".rstrip()}

    def note_server(self, server: str, number: int) -> dict[str, str]:
        if number <= self.servers.get(server, 0):
            return {}
        self.servers[server] = number
        return {f"server:{server}": str(number)}


@dataclass(frozen=True, slots=True)
class _Raw:
    """A message as it came. `server` is empty for a direct one."""

    message: Mapping[str, Any]
    server: str
    edit: bool = False
    live: bool = True


_Job = _Raw | Callable[[], Awaitable[None]]


class Receiver:
    """What one session receives. `failed` gets what ends it; until then every event finds its way to the sink."""

    def __init__(
        self,
        me: Me,
        sink: Sink,
        state: State,
        marks: Marks,
        api: Callable[..., Awaitable[Any]],
        look_up: Callable[[str, str], Found | None],
        hidden: Callable[[str, str], bool],
        unstored: MutableMapping[str, int],
        failed: asyncio.Future[None],
        *,
        hours: float,
        messages: int,
        patience: Patience,
    ) -> None:
        """`hidden` tells whether a channel of a server can certainly not be read: Discord bars who asks for too many of these.

        `unstored` tells, for direct conversations that no mark knows yet, after which message to begin."""
        self._failed = failed
        self.me = me
        self._sink = sink
        self._state = state
        self._marks = marks
        self._api = api
        self._look_up = look_up
        self._hidden = hidden
        self._unstored = unstored
        self._hours = hours
        self._messages = messages
        self._patience = patience
        self._lanes: dict[str, deque[_Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers = asyncio.Semaphore(_READERS)
        self._fetched: dict[str, Found] = {}

    async def stop(self) -> None:
        """End all work. What was not handed in is read back by the next run."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What arrives. These neither wait nor fail.

    def message(self, data: dict[str, Any]) -> None:
        self._arrived(data, edit=False)

    def edited(self, data: dict[str, Any]) -> None:
        if "author" in data:  # else it only got a preview of a link
            self._arrived(data, edit=True)

    def _arrived(self, data: dict[str, Any], *, edit: bool) -> None:
        server, channel = str(data.get("guild_id") or ""), str(data.get("channel_id"))
        if not server and not edit and channel not in self._marks.seen and _is_number(data.get("id")):
            self._unstored.setdefault(channel, int(data["id"]) - 1)
        self._put(server or f"direct {channel}", _Raw(data, server, edit))

    def interaction(self, data: dict[str, Any], stored: Callable[[bool], Awaitable[None]]) -> None:
        """A command or button: it overtakes what is being read back, because it must be answered within seconds.

        `stored` is called when it is durable (True), or found to be of no concern to us.
        """

        async def work() -> None:
            row = await self._interaction(data)
            if row is not None:
                await self._sink([row])
            await stored(row is not None and row.update is not None)

        self._spawn(work())

    def ready(self, *, direct: bool) -> None:
        """A session has begun: what happened before it is told to nobody. `direct`: direct messages come by this shard."""
        if not direct:
            return
        known = {channel for channel, place in self._marks.places.items() if not place[0]} | set(
            self._unstored
        )
        for channel in sorted(known, key=lambda one: -self._marks.seen.get(one, 0)):
            self._put(f"direct {channel}", partial(self._read_back_direct, channel))

    def server(self, data: dict[str, Any]) -> None:
        """A server is described: at the beginning of a session, after an outage of Discord's, or because we joined it."""
        if data.get("unavailable"):
            return
        server = str(data["id"])
        channels = {
            str(channel["id"]): (int(channel.get("last_message_id") or 0), self._parent(channel))
            for channel in [*(data.get("channels") or []), *(data.get("threads") or [])]
            if channel.get("type") not in _NO_MESSAGES
        }
        self._put(server, partial(self._read_back_server, server, channels))

    def left(self, data: dict[str, Any]) -> None:
        """We are no longer in a server."""
        if data.get("unavailable"):
            return
        server, now = str(data["id"]), time.time()
        # No person says it: the server stands for itself
        nobody = Person(user_id("discord", server))
        chat, key = Chat("discord", server, "group"), f"left:{server}:{int(now)}"
        update = Update(self.me.source, key, chat, nobody, kind="left", at=now)

        async def work() -> None:
            await self._sink([Received(update.source, update.key, update)])

        self._put(server, work)

    def thread_created(self, data: dict[str, Any]) -> None:
        """A thread was made, or we were put into one that was there: only then it tells of our membership."""
        if "member" in data and not data.get("newly_created"):
            self._at_home(str(data["id"]))

    def thread_members(self, data: dict[str, Any]) -> None:
        """People were added to a thread, or went."""
        if any(str(member.get("user_id")) == self.me.id for member in data.get("added_members") or []):
            self._at_home(str(data["id"]))

    def _at_home(self, thread: str) -> None:
        if thread not in self._marks.threads:
            self._marks.threads.add(thread)
            self._spawn(self._state.set({f"thread:{thread}": "1"}))

    # Lanes

    def _put(self, lane: str, job: _Job) -> None:
        jobs = self._lanes.get(lane)
        if jobs is None:
            jobs = self._lanes[lane] = deque()
            self._spawn(self._work(lane, jobs))
        jobs.append(job)

    def _spawn(self, work: Awaitable[None]) -> None:
        async def safely() -> None:
            try:
                await work
            except Exception as exc:  # noqa: BLE001 - it is the run's, which raises it
                if not self._failed.done():
                    self._failed.set_exception(exc)

        task = asyncio.create_task(safely())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, lane: str, jobs: deque[_Job]) -> None:
        while jobs:
            raws: list[_Raw] = []
            while jobs and isinstance(jobs[0], _Raw) and len(raws) < _MOST_AT_ONCE:
                raws.append(jobs.popleft())  # type: ignore[arg-type]  # just seen to be one
            if raws:
                await self._hand_in(raws)
            else:
                await jobs.popleft()()  # type: ignore[operator]  # the other kind of job
        del self._lanes[lane]

    async def _hand_in(self, raws: Iterable[_Raw]) -> None:
        rows = [row for raw in raws if (row := await self._row(raw)) is not None]
        if rows:
            await self._sink(rows)
        for row in rows:
            if row.update is not None:
                self._unstored.pop(row.update.chat.id, None)

    async def _row(self, raw: _Raw) -> Received | None:
        message, marks = raw.message, dict[str, str]()
        channel = str(message.get("channel_id"))
        key = str(message.get("id"))
        try:
            where = await self._where(channel, raw.server)
            if where.thread and starts_from_us(message, self.me):
                self._at_home(where.thread)
            update = read_message(message, where, self.me, edit=raw.edit)
        except AdapterError:
            raise
        except Exception as exc:  # noqa: BLE001 - the edge of one row: whatever is in it, the others must get through
            return Received(self.me.source, key, None, json.dumps(message), reading.told(exc))
        if update is None:
            return None
        if not raw.edit:
            number = int(update.message_id)
            marks |= self._marks.note(channel, raw.server, where.channel if where.thread else "", number)
            if raw.server and raw.live:
                marks |= self._marks.note_server(raw.server, number)
            if where.thread and update.addressed and where.thread not in self._marks.threads:
                self._marks.threads.add(where.thread)
                marks[f"thread:{where.thread}"] = "1"
        return Received(self.me.source, update.key, update, marks=marks)

    async def _interaction(self, data: dict[str, Any]) -> Received | None:
        channel, marks = str(data.get("channel_id")), dict[str, str]()
        try:
            told = data.get("channel")
            server = str(data.get("guild_id") or "")
            where = (
                self._told(told, server) if isinstance(told, Mapping) else await self._where(channel, server)
            )
            update = read_interaction(data, where, self.me, time.time())
        except AdapterError:
            raise
        except Exception as exc:  # noqa: BLE001 - the edge of one row
            # Not the token: whoever has it can speak for us
            kept = json.dumps({name: value for name, value in data.items() if name != "token"})
            return Received(self.me.source, str(data.get("id")), None, kept, reading.told(exc))
        if update is None:
            return None
        if not server and channel not in self._marks.seen and channel not in self._unstored:
            # From now on we know of this conversation
            marks = self._marks.note(channel, "", "", int(update.key))
        return Received(self.me.source, update.key, update, marks=marks)

    # Where things are

    async def _where(self, channel: str, server: str) -> Where:
        if not server:
            return Where(channel)
        found = self._look_up(channel, server) or self._fetched.get(channel)
        if found is None:
            try:
                data = await self._patiently("/channels/{channel_id}", {}, channel_id=channel)
                found = self._read(data)
            except ChatGone:  # we may no longer look at it; what it says there we know all the same
                found = Found(self._marks.places.get(channel, ("", ""))[1], closed=True)
            self._fetched[channel] = found
        return self._place(channel, server, found)

    def _told(self, data: Mapping[str, Any], server: str) -> Where:
        """An interaction tells about its channel itself."""
        channel = str(data.get("id"))
        if not server:
            return Where(channel)
        found = self._look_up(channel, server) or self._read(data)
        return self._place(channel, server, found)

    def _place(self, channel: str, server: str, found: Found) -> Where:
        if not found.parent:
            return Where(channel, server, title=found.title, role=found.role)
        ours = channel in self._marks.threads or found.owner == self.me.id
        return Where(found.parent, server, channel, found.title, ours, found.role, found.closed)

    def _read(self, channel: Mapping[str, Any]) -> Found:
        return Found(
            self._parent(channel),
            str(channel.get("name") or ""),
            str(channel.get("owner_id") or ""),
            closed=channel.get("type") == PRIVATE_THREAD,
        )

    @staticmethod
    def _parent(channel: Mapping[str, Any]) -> str:
        """The channel around a thread; a category is none."""
        return str(channel.get("parent_id") or "") if channel.get("type") in THREAD_TYPES else ""

    # Reading back

    async def _read_back_server(self, server: str, channels: Mapping[str, tuple[int, str]]) -> None:
        newest = max((last for last, _ in channels.values()), default=0)
        known = self._marks.servers.get(server)
        if known is not None:
            for channel, (last, _) in channels.items():
                after = max(self._marks.seen.get(channel, 0), known)
                if last > after and not self._hidden(channel, server):
                    await self._read_back(channel, server, after)
            asleep = snowflake_at(time.time() - _ARCHIVED_AFTER)
            for channel in sorted(self._marks.inside.get(server, set()) - channels.keys()):
                if self._marks.seen[channel] > asleep:
                    await self._read_back(channel, server, max(self._marks.seen[channel], known))
        # From the first sight of a server on: what was said before is not ours to answer.
        if marks := self._marks.note_server(server, max(newest, 1)):
            await self._state.set(marks)

    async def _read_back_direct(self, channel: str) -> None:
        await self._read_back(channel, "", self._marks.seen.get(channel) or self._unstored.get(channel, 0))

    async def _read_back(self, channel: str, server: str, after: int) -> None:
        """Hand in what a channel holds after that message, oldest first, within the configured bounds."""
        if not self._hours or not self._messages:
            return
        after = max(after, snowflake_at(time.time() - self._hours * 3600))
        kept: deque[Mapping[str, Any]] = deque(maxlen=self._messages)
        count = 0
        try:
            async with self._readers:
                for _ in range(_MOST_PAGES):
                    params = {"limit": _PAGE, "after": str(after)}
                    page = await self._patiently(
                        "/channels/{channel_id}/messages", params, channel_id=channel
                    )
                    found = [one for one in page if isinstance(one, Mapping) and _is_number(one.get("id"))]
                    found.sort(key=lambda one: int(one["id"]))
                    kept.extend(found)
                    count += len(found)
                    if len(page) < _PAGE or not found:
                        break
                    after = int(found[-1]["id"])
        except ChatGone as exc:
            _log.info("channel %s can not be read back: %s", channel, exc)
            if not server:
                self._marks.seen.pop(channel, None)
                self._marks.places.pop(channel, None)
                await self._state.set({f"seen:{channel}": None})
            return
        if count > len(kept):
            _log.warning("channel %s: %d older messages were passed over", channel, count - len(kept))
        messages = [_Raw(message, server, live=False) for message in kept]
        for start in range(0, len(messages), _MOST_AT_ONCE):
            await self._hand_in(messages[start : start + _MOST_AT_ONCE])

    async def _patiently(self, path: str, params: Mapping[str, Any], **ids: str) -> Any:
        wait = self._patience.first
        while True:
            try:
                return await self._api("GET", path, params=params, **ids)
            except RateLimited as exc:
                await asyncio.sleep(exc.retry_after)
            except Unavailable as exc:
                _log.debug("%s is tried again: %s", path, exc)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self._patience.most)


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.isdecimal()
