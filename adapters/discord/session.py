"""One login at Discord, from its beginning to what ends it: all shards, and what is received by them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any

import discord
from discord.http import HTTPClient

from adapters.base import Health, Menu, Sink, State, Unavailable
from adapters.discord.answers import Answers, Api, register
from adapters.discord.client import Backoff, Gateway, Http, translate
from adapters.discord.receiving import Found, Marks, Patience, Receiver
from adapters.discord.updates import Me
from config.schema import DiscordConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.

    `call` is the longest that any call may take. A connection is dead after `silence`; that a shard is away is told after `down`.
    `identify` lies between the beginnings of two shards (Discord's rule); `stop` is the longest that leaving may take.
    That all shards are alive is told again each `alive`.
    """

    call: float = 15
    retry_first: float = 0.5
    retry_most: float = 30
    silence: float = 60
    identify: float = 5
    down: float = 5
    stop: float = 1
    alive: float = 30


class Session:
    """Receives until it fails; `run` tells by its exception what went wrong. `client` is there from the beginning."""

    def __init__(
        self,
        settings: DiscordConfig,
        menu: Menu,
        state: State,
        timing: Timing,
        http: HTTPClient,
        answers: Answers,
        api: Api,
        unstored: MutableMapping[str, int],
        sink: Sink,
        health: Health,
    ) -> None:
        self.was_up = False
        self._settings = settings
        self._menu = menu
        self._state = state
        self._timing = timing
        self._answers = answers
        self._api = api
        self._unstored = unstored
        self._sink = sink
        self._health = health
        self._marks = Marks()
        self._receiver: Receiver | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._away: set[int] = set()
        self._present: set[int] = set()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._alive: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._name = ""
        if isinstance(http, Http):
            http.trouble = health.down
        self.client = Gateway(
            http,
            {
                "READY": self._ready,
                "MESSAGE_CREATE": self._received(Receiver.message),
                "MESSAGE_UPDATE": self._received(Receiver.edited),
                "GUILD_CREATE": self._received(Receiver.server),
                "GUILD_DELETE": self._received(Receiver.left),
                "THREAD_CREATE": self._received(Receiver.thread_created),
                "THREAD_MEMBERS_UPDATE": self._received(Receiver.thread_members),
                "INTERACTION_CREATE": self._interaction,
            },
            self._lost,
            self._resumed,
            message_content=settings.message_content,
            shards=settings.shards,
            pause=timing.identify,
            silence=timing.silence,
            retry=Backoff(timing.retry_first, timing.retry_most),
        )

    async def run(self, start: Callable[[Gateway], Coroutine[Any, Any, None]]) -> None:
        """Log in and serve, by `start`. Fails with an `AdapterError`, or with what the sink raised."""
        self._marks.load(await self._state.get())
        task = asyncio.create_task(start(self.client))
        try:
            await asyncio.wait({task, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            try:
                await task
            except Exception as exc:
                raise translate("the login", exc) from exc
            raise Unavailable("the session with Discord has ended")  # which nobody but us should end
        finally:
            await self._stop(task)

    async def _stop(self, task: asyncio.Task[None]) -> None:
        for timer in (*self._timers.values(), self._alive):
            if timer is not None:
                timer.cancel()
        tasks = [task, *self._tasks]
        for one in tasks:
            one.cancel()
        await self.client.stop(self._timing.stop)
        if self._receiver is not None:
            await self._receiver.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self._failed.cancel() and not self._failed.cancelled():
            self._failed.exception()  # it has been heard, or nobody is left to hear it

    # Events

    def _ready(self, data: dict[str, Any]) -> None:
        """A shard has begun a new session: what happened before it is told to nobody."""
        if self._receiver is None:
            self._receiver = self._begin(data)
        shard = data.get("shard") or [0, 1]
        self._receiver.ready(direct=shard[0] == 0)
        self._resumed(shard[0])

    def _begin(self, data: dict[str, Any]) -> Receiver:
        user = data["user"]
        self._name = str(user.get("username"))
        application = str((data.get("application") or user)["id"])
        if self._menu.commands:
            registering = asyncio.create_task(register(self._api, self._state, application, self._menu))
            self._tasks.add(registering)
            registering.add_done_callback(self._tasks.discard)
        return Receiver(
            Me(str(user["id"]), self._settings.message_content, frozenset(self._menu.commands)),
            self._sink,
            self._state,
            self._marks,
            self._api,
            self._look_up,
            self._hidden,
            self._unstored,
            self._failed,
            hours=self._settings.catch_up_hours,
            messages=self._settings.catch_up_messages,
            patience=Patience(self._timing.retry_first, self._timing.retry_most),
        )

    def _received(self, take: Callable[[Receiver, dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        def handle(data: dict[str, Any]) -> None:
            if self._receiver is not None:
                take(self._receiver, data)

        return handle

    def _interaction(self, data: dict[str, Any]) -> None:
        if self._receiver is None:
            return
        number, token = str(data["id"]), str(data["token"])
        self._answers.expect(token)

        async def stored(ours: bool) -> None:
            if ours:
                await self._answers.acknowledge(number, token)
            else:
                self._answers.forget(token)

        self._receiver.interaction(data, stored)

    def _look_up(self, channel: str, server: str) -> Found | None:
        guild = self.client.get_guild(int(server))
        there = guild.get_channel_or_thread(int(channel)) if guild is not None else None
        if there is None:
            return None
        role = there.guild.self_role
        parent, owner, closed = "", "", False
        if isinstance(there, discord.Thread):
            parent, owner, closed = str(there.parent_id), str(there.owner_id), there.is_private()
        title = f"{there.guild.name} #{there.name}"
        return Found(parent, title, owner, str(role.id) if role is not None else "", closed)

    def _hidden(self, channel: str, server: str) -> bool:
        guild = self.client.get_guild(int(server))
        there = guild.get_channel_or_thread(int(channel)) if guild is not None else None
        me: discord.Member | None = guild.me if guild is not None else None
        if there is None or me is None:
            return False
        with contextlib.suppress(discord.ClientException):  # a thread whose channel is not known
            may = there.permissions_for(me)
            return not (may.view_channel and may.read_message_history)
        return False

    # Shards

    def _resumed(self, shard: int) -> None:
        self._present.add(shard)
        self._away.discard(shard)
        if (timer := self._timers.pop(shard, None)) is not None:
            timer.cancel()
        if not self._away:
            self.was_up = True
            shards = self.client.shard_count or 1
            self._health.up(
                self._name if shards == 1 else f"{self._name}, {len(self._present)} of {shards} shards"
            )

    def _lost(self, shard: int) -> None:
        """Lines break all the time, and most are mended within a second: only what lasts is told."""
        self._present.discard(shard)
        self._away.add(shard)
        if shard not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[shard] = loop.call_later(self._timing.down, self._tell, shard)

    def _tell(self, shard: int) -> None:
        if shard in self._away:
            self._health.down(f"the connection with Discord (shard {shard}) broke; it is being mended")
