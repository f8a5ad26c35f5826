"""Boswell as `boswell run` starts it on Discord, inside a test's event loop, against whatever speaks Discord's API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.fakes.discord_server import TOKEN, DiscordServer, Message
from tests.fakes.running import Respond, Started, started


class Speaks(Protocol):
    """A Discord to connect to."""

    @property
    def base_url(self) -> str: ...

    @property
    def gateway_url(self) -> str: ...


@asynccontextmanager
async def connected(
    folder: Path,
    respond: Respond,
    discord: Speaks,
    settings: dict[str, Any] | None = None,
    *,
    up: bool = True,
    **sections: Any,
) -> AsyncIterator[Started]:
    """Boswell, connected to `discord` for the block; `settings` are keys of adapters.discord, `sections` other sections.

    With `up` False it is not waited for, because it can not connect.
    """
    given = {
        "token": TOKEN,
        "base_url": discord.base_url,
        "gateway_url": discord.gateway_url,
        **(settings or {}),
    }
    sections = {"limits": {"turns_per_minute": 100_000}, **sections}
    async with started(folder, respond, "discord", given, Started, **sections) as house:
        if up:
            await house.until(lambda: house.state()[0] == "up")
        yield house


class Running:
    """A Boswell on the scripted Discord, in a server with one channel and in direct conversation with Anna."""

    ANNA, DM, GUILD, ROOM = 1001, 2001, 700, 500

    def __init__(self, discord: DiscordServer) -> None:
        self.discord = discord
        discord.dm(self.ANNA, "Anna", self.DM)
        self.guild = discord.guild(self.GUILD)
        self.room = discord.channel(self.guild, self.ROOM)
        self.boswell: Started

    def ask(self, text: str, channel: int = DM, user: int = ANNA, **options: Any) -> Message:
        """Somebody says something that is meant for the bot."""
        text = text if channel == self.DM else f"{self.discord.mention} {text}"
        return self.discord.say(channel, user, text, **options)

    async def shows(self, channel: int, *texts: str, seconds: float = 10) -> None:
        """Return once a channel's messages from the bot read exactly so."""
        try:
            await self.discord.wait_for(lambda server: server.texts(channel) == list(texts), seconds)
        except TimeoutError:
            assert self.discord.texts(channel) == list(texts)

    async def answered(self, channel: int, text: str, seconds: float = 10) -> None:
        """Return once the bot's last message in a channel reads so."""
        try:
            await self.discord.wait_for(lambda server: server.texts(channel)[-1:] == [text], seconds)
        except TimeoutError:
            assert self.discord.texts(channel)[-1:] == [text]

    async def told(self, user: int, *texts: str, seconds: float = 10) -> None:
        """Return once what only this person sees reads exactly so."""
        try:
            await self.discord.wait_for(lambda server: server.private(user) == list(texts), seconds)
        except TimeoutError:
            assert self.discord.private(user) == list(texts)

    @property
    def history(self) -> list[str]:
        """Every text that the bot's only message in the room or the direct conversation showed."""
        [message] = [m for channel in (self.DM, self.ROOM) for m in self.discord.ours(channel)]
        return message.history


@asynccontextmanager
async def running(
    folder: Path,
    respond: Respond,
    settings: dict[str, Any] | None = None,
    *,
    shards: int = 1,
    **sections: Any,
) -> AsyncIterator[Running]:
    """Boswell on the scripted Discord; leaving the block stops it in order, and fails if a server met anything unexpected."""
    async with DiscordServer() as server:
        server.gateway.shards = shards
        house = Running(server)
        async with connected(folder, respond, server, settings, **sections) as house.boswell:
            yield house
