"""The scripted Discord as a whole: what people do there, what they see, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fakes.discord_server.calls import Allowances, find, read
from tests.fakes.discord_server.faults import Fault
from tests.fakes.discord_server.gateway import Gateway
from tests.fakes.discord_server.rest import Rest
from tests.fakes.discord_server.state import (
    PUBLIC_THREAD,
    TEXT,
    ApiError,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Json,
    Message,
    State,
    User,
)

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI.GtestB.nobodys-token-0123456789-abcdefghijklm"
API = "/api/v10"


class DiscordServer:
    """The server. All its state is public and may be read or set by a test.

    `gateway` has the sessions and the ways to break them, `rest` the routes, `allowances` their rate
    limits, `state` what is there.
    """

    def __init__(self, token: str = TOKEN, *, port: int = 0) -> None:
        self.token = token
        self.state = State()
        self.gateway = Gateway(self.state, token, self._note)
        self.rest = Rest(self.state, self.gateway)
        self.allowances = Allowances()
        self.calls: Counter[str] = Counter()
        self.lag: dict[str, float] = {}  # seconds from a route's deed to its answer
        self.version = 0
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._port = port
        self._changed = asyncio.Event()
        self._dead = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    # Life

    async def start(self) -> DiscordServer:
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.gateway.resume_url = self.gateway_url
        return self

    async def stop(self) -> None:
        self._dead.set()
        await self.gateway.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> DiscordServer:
        return await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Fail if anything unexpected was asked, or a scripted fault was never met."""
        assert not self.state.complaints, self.state.complaints
        left = {name: len(faults) for name, faults in self._faults.items() if faults}
        assert not left, f"scripted faults never met: {left}"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}{API}"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway"

    # What is there

    def dm(self, user_id: int, name: str = "", channel_id: int = 0) -> Channel:
        """The direct conversation with a person."""
        self.state.user(user_id, name)
        return self.rest.dm(user_id, channel_id)

    def guild(self, guild_id: int = 0, name: str = "Book club", **more: Any) -> Guild:
        """A server that the bot is in."""
        guild = Guild(guild_id or self.state.snowflake(), name, self.state.user(1, "Operator").id, **more)
        self.state.guilds[guild.id] = guild
        self.state.emit("GUILD_CREATE", guild.json(self.state.bot), guild.id)
        return guild

    def channel(self, guild: Guild, channel_id: int = 0, name: str = "general", kind: int = TEXT) -> Channel:
        """A channel of a server."""
        channel = Channel(channel_id or self.state.snowflake(), kind, name, guild)
        return self._add(channel, "CHANNEL_CREATE")

    def thread(
        self,
        parent: Channel,
        name: str = "a thread",
        *,
        kind: int = PUBLIC_THREAD,
        thread_id: int = 0,
        **more: Any,
    ) -> Channel:
        """Somebody opens a thread, or a post in a forum."""
        made = thread_id or self.state.snowflake()
        return self._add(Channel(made, kind, name, parent.guild, parent, **more), "THREAD_CREATE")

    def _add(self, channel: Channel, event: str) -> Channel:
        assert channel.guild is not None
        self.state.channels[channel.id] = channel.guild.channels[channel.id] = channel
        more = {"newly_created": True} if event == "THREAD_CREATE" else {}
        self.state.emit(event, {**channel.json(), **more}, channel.guild.id)
        return channel

    @property
    def mention(self) -> str:
        """How somebody addresses the bot."""
        return f"<@{self.state.bot.id}>"

    # What people do

    def say(
        self,
        channel_id: int,
        user_id: int,
        text: str,
        *,
        name: str = "",
        reply_to: Message | None = None,
        ping: bool = True,
        files: tuple[str, ...] = (),
        bot: bool = False,
    ) -> Message:
        """Somebody writes. `ping`: a reply notifies whom it replies to, as it does unless switched off."""
        author = self.state.user(user_id, name)
        author.bot = bot
        message = Message(
            self.state.snowflake(),
            self.state.channels[channel_id],
            author,
            text,
            self.state.now(),
            reply_to=reply_to,
            pings_replied=ping,
            attachments=[Attachment(self.state.snowflake(), name, b"0123") for name in files],
        )
        self.state.add(message)
        self.gateway.emit_message("MESSAGE_CREATE", message)
        self._note()
        return message

    def when_online(self, act: Callable[[], object]) -> None:
        """Do it now, or as soon as the bot has a session."""
        if self.gateway.online():
            act()
        else:
            self.gateway.greetings.append(act)

    def edit(self, message: Message, text: str) -> None:
        """Somebody edits what they wrote."""
        message.content, message.edited = text, self.state.now()
        self.gateway.emit_message("MESSAGE_UPDATE", message)
        self._note()

    def delete(self, message: Message) -> None:
        """A message is deleted, ours too."""
        channel = message.channel
        del channel.messages[message.id]
        data = {"id": str(message.id), "channel_id": str(channel.id)}
        if channel.guild is not None:
            data["guild_id"] = str(channel.guild.id)
        self.state.emit("MESSAGE_DELETE", data, channel.guild.id if channel.guild else 0)
        self._note()

    def delete_channel(self, channel: Channel) -> None:
        """A channel of a server is deleted, and its threads with it."""
        assert channel.guild is not None
        for gone in [channel, *(c for c in self.state.channels.values() if c.parent is channel)]:
            gone.error = ApiError(404, 10003, "Unknown Channel")
            channel.guild.channels.pop(gone.id, None)
        event = "THREAD_DELETE" if channel.parent is not None else "CHANNEL_DELETE"
        self.state.emit(event, channel.json(), channel.guild.id)
        self._note()

    def kick(self, guild: Guild, *, outage: bool = False) -> None:
        """The bot is removed from a server; with `outage` the server is only out of reach for now."""
        data: Json = {"id": str(guild.id)}
        if outage:
            guild.unavailable = data["unavailable"] = True
        else:
            del self.state.guilds[guild.id]
            for channel in guild.channels.values():
                channel.error = ApiError(403, 50001, "Missing Access")
        self.state.emit("GUILD_DELETE", data, guild.id)
        self._note()

    def recover(self, guild: Guild) -> None:
        """A server that was out of reach is back."""
        guild.unavailable = False
        self.state.emit("GUILD_CREATE", guild.json(self.state.bot), guild.id)

    def slash(
        self, channel_id: int, user_id: int, command: str, args: str = "", *, name: str = "", **options: str
    ) -> Interaction:
        """Somebody gives a slash command, which must be registered and have these options; `args` is the first of them."""
        registered = next((c for c in self.state.commands if c["name"] == command), None)
        assert registered is not None, f"there is no /{command}"
        known = {option["name"]: option["type"] for option in registered.get("options") or []}
        if args:
            options = {next(iter(known)): args, **options}
        given = [{"name": key, "type": known[key], "value": value} for key, value in options.items()]
        data = {"id": registered["id"], "name": command, "type": 1, "options": given}
        return self._interact(channel_id, self.state.user(user_id, name), 2, data)

    def press(self, message: Message, label: str, user_id: int, *, name: str = "") -> Interaction:
        """Somebody presses a button under a message."""
        data = {"custom_id": message.buttons()[label], "component_type": 2, "id": 1}
        return self._interact(message.channel.id, self.state.user(user_id, name), 3, data, message)

    def _interact(
        self, channel_id: int, user: User, kind: int, data: Json, message: Message | None = None
    ) -> Interaction:
        channel = self.state.channels[channel_id]
        number = self.state.snowflake()
        interaction = Interaction(number, f"token-{number}.x-_", user, channel, self.state.now(), message)
        self.state.interactions[interaction.token] = interaction
        guild = channel.guild
        payload: Json = {
            "id": str(interaction.id),
            "application_id": str(self.state.bot.id),
            "type": kind,
            "token": interaction.token,
            "version": 1,
            "data": data,
            "channel_id": str(channel.id),
            "channel": channel.json(),
            "locale": "en-GB",
            "entitlements": [],
            "authorizing_integration_owners": {"0": str(guild.id if guild else 0)},
            "attachment_size_limit": 10 << 20,
            "app_permissions": str(guild.permissions & ~channel.deny) if guild else "0",
            "context": 0 if guild else 1,
        }
        if message is not None:
            payload["message"] = self.state.json(message)
        if guild is None:
            payload["user"] = user.json()
        else:
            member = {**user.member(), "user": user.json(), "permissions": str(guild.permissions)}
            payload |= {"guild_id": str(guild.id), "guild_locale": "en-US", "member": member}
            payload["guild"] = {"id": str(guild.id), "locale": "en-US", "features": []}
        self.state.emit("INTERACTION_CREATE", payload, guild.id if guild else 0)
        self._note()
        return interaction

    # What tests read

    def texts(self, channel_id: int) -> list[str]:
        """What the bot's messages read that everybody in the channel sees."""
        return self.state.channels[channel_id].texts

    def ours(self, channel_id: int) -> list[Message]:
        """Those messages."""
        return [
            m
            for m in self.state.channels[channel_id].messages.values()
            if m.author is self.state.bot and not m.seen_by and not m.thinking
        ]

    def private(self, user_id: int) -> list[str]:
        """What only this person sees of the bot's answers, wherever, in order."""
        every = (m for channel in self.state.channels.values() for m in channel.messages.values())
        return [
            m.content for m in sorted(every, key=lambda m: m.id) if m.seen_by == user_id and not m.thinking
        ]

    def fault(self, name: str, *faults: Fault) -> Fault:
        """The next calls of a route (its handler's name in `rest`, or `gateway`) go wrong, one per fault, in order.

        Returns the last, whose `met` can be awaited.
        """
        self._faults[name].extend(faults)
        return faults[-1]

    async def wait_for(self, predicate: Callable[[DiscordServer], Any], seconds: float = 10) -> None:
        """Return as soon as `predicate(server)` holds; it is asked again whenever something happens."""
        async with asyncio.timeout(seconds):
            while not predicate(self):
                self._changed.clear()
                await self._changed.wait()

    # Serving

    def _note(self) -> None:
        self.version += 1
        self._changed.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/_control/"):
            action = getattr(self, f"_control_{path.removeprefix('/_control/')}", None)
            return web.json_response(await action(request)) if action else web.Response(status=404)
        if path.rstrip("/") == "/gateway":
            fault = self._next("gateway")
            if fault is not None:
                return await self._misbehave(request, fault)
            return await self.gateway.serve(request)
        found = find(request.method, path.removeprefix(API)) if path.startswith(API) else None
        if found is None:
            self.state.complaints.append(f"unknown route {request.method} {path}")
            return _answer(404, {"message": "404: Not Found", "code": 0})
        route, match = found
        if not self._authorized(request, route.name):
            return _answer(401, {"message": "401: Unauthorized", "code": 0})
        self._note()
        fault = self._next(route.name)
        major = next((group for group in match.groups() if group), "")
        try:
            if fault is not None and not fault.process:
                return await self._misbehave(request, fault)
            allowed, headers = self.allowances.take(route.name, major)
            if not allowed:
                wait = float(headers["X-RateLimit-Reset-After"])
                body = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
                return _answer(429, body, {**headers, "Retry-After": str(round(wait))})
            call = await read(route, match, request, self.state.complaints)
            if fault is not None:
                await self._hold(fault)
            result = route.handle(self.rest, call)
            if lag := self.lag.get(route.name):
                self._note()
                await asyncio.sleep(lag)
            if fault is not None and (fault.status or fault.drop):
                return await self._misbehave(request, fault)
        except ApiError as error:
            return _answer(error.status, error.body)
        finally:
            self._note()
        return _answer(204 if result is None else 200, result, headers)

    def _authorized(self, request: web.BaseRequest, name: str) -> bool:
        if name in ("callback", "followup") or "original" in name or name == "edit_followup":
            return True  # the interaction's token says it
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            self.state.complaints.append(f"{name} without a bot's User-Agent")
        return request.headers.get("Authorization") == f"Bot {self.token}"

    def _next(self, name: str) -> Fault | None:
        self.calls[name] += 1
        fault = self._faults[name].popleft() if self._faults.get(name) else None
        if fault is not None:
            fault.met.set()
        return fault

    async def _hold(self, fault: Fault) -> None:
        if fault.until is None:
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (fault.until, self._dead)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _misbehave(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        if not fault.process:
            await self._hold(fault)
        if fault.drop:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.Response(status=fault.status, body=fault.body.encode(), headers={**VIA, **fault.headers})

    # Control from another process

    async def _control_say(self, request: web.BaseRequest) -> Any:
        """`{"channel_id": 5, "user_id": 7, "text": "hi"}`; without a channel, directly to the bot."""
        given = json.loads(await request.read())
        if "channel_id" not in given:
            given["channel_id"] = self.dm(given["user_id"], given.get("name", "")).id
        message = self.say(**given)
        return {"message_id": str(message.id), "channel_id": str(message.channel.id)}

    async def _control_slash(self, request: web.BaseRequest) -> Any:
        given = json.loads(await request.read())
        if "channel_id" not in given:
            given["channel_id"] = self.dm(given["user_id"], given.get("name", "")).id
        return {"token": self.slash(**given).token}

    async def _control_fault(self, request: web.BaseRequest) -> Any:
        """`{"name": "create_message", "fault": {"status": 502, …}, "times": 3}`, with the fields of `Fault`."""
        order = json.loads(await request.read())
        self.fault(order["name"], *(Fault(**order["fault"]) for _ in range(order.get("times", 1))))
        return {}

    async def _control_state(self, request: web.BaseRequest) -> Any:
        """Everything. With `?after=VERSION` it waits (up to 25 s) until there is something newer than that."""
        after = int(request.query.get("after", "-1"))
        with contextlib.suppress(TimeoutError):
            await self.wait_for(lambda _: self.version > after, 25)
        return {
            "version": self.version,
            "online": [session.shard for session in self.gateway.sessions.values() if session.connection],
            "calls": dict(self.calls),
            "complaints": self.state.complaints,
            "commands": [command["name"] for command in self.state.commands],
            "channels": {
                str(channel.id): [
                    {"id": str(m.id), "author": m.author.name, "text": m.content, "seen_by": m.seen_by}
                    for m in channel.messages.values()
                ]
                for channel in self.state.channels.values()
            },
        }


VIA = {"Via": "1.1 google"}  # what tells discord.py that an answer is Discord's own


def _answer(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    headers = {**VIA, **(headers or {})}
    if status == 204:
        return web.Response(status=204, headers=headers)
    # discord.py reads JSON only where the type is exactly this
    headers["Content-Type"] = "application/json"
    return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)
