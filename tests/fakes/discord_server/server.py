"""The scripted Discord as a whole: what people do there, what they see, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from tests.fakes.discord_server.calls import Allowances, find, read
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
from tests.fakes.scripted_server import ScriptedServer

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI.GtestB.nobodys-token-0123456789-abcdefghijklm"
API = "/api/v10"
VIA = {"Via": "1.1 google"}  # what tells discord.py that an answer is Discord's own


class Wire(ScriptedServer):
    """Where a Discord listens, with its API and its gateway."""

    every_answer = VIA
    gateway: Gateway

    async def start(self) -> Self:
        await super().start()
        self.gateway.resume_url = self.gateway_url
        return self

    async def stop(self) -> None:
        await self.gateway.stop()
        await super().stop()

    @property
    def base_url(self) -> str:
        return f"{self.url}{API}"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway"


class DiscordServer(Wire):
    """The server. All its state is public and may be read or set by a test.

    `gateway` has the sessions and the ways to break them, `rest` the routes, `allowances` their rate
    limits, `state` what is there. Its calls are named after their handlers in `rest`, or `gateway`.
    """

    def __init__(self, token: str = TOKEN, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.token = token
        self.state = State()
        self.state.complaints = self.complaints
        self.gateway = Gateway(self.state, token, self._note)
        self.rest = Rest(self.state, self.gateway)
        self.allowances = Allowances()
        self.lag: dict[str, float] = {}  # seconds from a route's deed to its answer

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

    # Serving

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/_control/"):
            return await self._controlled(request)
        if path.rstrip("/") == "/gateway":
            fault = self._called("gateway")
            if fault is None:
                return await self.gateway.serve(request)
            await self._hold(fault)
            return self._misbehave(request, fault)
        found = find(request.method, path.removeprefix(API)) if path.startswith(API) else None
        if found is None:
            self._complain(f"unknown route {request.method} {path}")
            return answer(404, {"message": "404: Not Found", "code": 0})
        route, match = found
        if not self._authorized(request, route.name):
            return answer(401, {"message": "401: Unauthorized", "code": 0})
        fault = self._called(route.name)
        major = next((group for group in match.groups() if group), "")
        try:
            if fault is not None and not fault.process:
                await self._hold(fault)
                return self._misbehave(request, fault)
            allowed, headers = self.allowances.take(route.name, major)
            if not allowed:
                wait = float(headers["X-RateLimit-Reset-After"])
                body = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
                return answer(429, body, {**headers, "Retry-After": str(round(wait))})
            call = await read(route, match, request, self.complaints)
            if fault is not None:
                await self._hold(fault)
            result = route.handle(self.rest, call)
            if lag := self.lag.get(route.name):
                self._note()
                await asyncio.sleep(lag)
            if fault is not None and (fault.status or fault.drop):
                return self._misbehave(request, fault)
        except ApiError as error:
            return answer(error.status, error.body)
        finally:
            self._note()
        return answer(204 if result is None else 200, result, headers)

    def _authorized(self, request: web.BaseRequest, name: str) -> bool:
        if name in ("callback", "followup") or "original" in name or name == "edit_followup":
            return True  # the interaction's token says it
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            self._complain(f"{name} without a bot's User-Agent")
        return request.headers.get("Authorization") == f"Bot {self.token}"

    # Control from another process

    def _control_say(self, **said: Any) -> dict[str, str]:
        """`{"channel_id": 5, "user_id": 7, "text": "hi"}`; without a channel, directly to the bot."""
        message = self.say(**self._placed(said))
        return {"message_id": str(message.id), "channel_id": str(message.channel.id)}

    def _control_slash(self, **given: Any) -> dict[str, str]:
        return {"token": self.slash(**self._placed(given)).token}

    def _placed(self, given: dict[str, Any]) -> dict[str, Any]:
        if "channel_id" in given:
            return given
        return {**given, "channel_id": self.dm(given["user_id"], given.get("name", "")).id}

    def _state(self) -> dict[str, Any]:
        return {
            "online": [session.shard for session in self.gateway.sessions.values() if session.connection],
            "commands": [command["name"] for command in self.state.commands],
            "channels": {
                str(channel.id): [
                    {"id": str(m.id), "author": m.author.name, "text": m.content, "seen_by": m.seen_by}
                    for m in channel.messages.values()
                ]
                for channel in self.state.channels.values()
            },
        }


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    headers = {**VIA, **(headers or {})}
    if status == 204:
        return web.Response(status=204, headers=headers)
    # discord.py reads JSON only where the type is exactly this
    headers["Content-Type"] = "application/json"
    return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)
