"""Discord as a `World` of the contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import SecretStr

from adapters.base import (
    AdapterError,
    Chat,
    ChatGone,
    Health,
    Menu,
    NoState,
    RateLimited,
    Received,
    Sink,
    Unavailable,
)
from adapters.discord import Discord, Timing
from config.schema import DiscordConfig
from tests.fakes import discord_server as fake

ANNA, DM, GUILD, ROOM = 1001, 2001, 700, 500
CHANNELS = {"1001": DM, "-500": ROOM}


class Keeping(Discord):
    """The adapter, with a sink that keeps its marks together with the rows, as the engine's does."""

    async def run(self, sink: Sink, health: Health) -> None:
        async def keep(rows: Sequence[Received]) -> None:
            await sink(rows)
            for row in rows:
                await self.kept.set(row.marks)

        await super().run(keep, health)

    kept: NoState


class DiscordWorld:
    lacks = frozenset({"migration"})  # channels keep their ids
    person = f"discord-{ANNA}"

    def __init__(self, server: fake.DiscordServer) -> None:
        self.server = server
        settings = DiscordConfig(
            token=SecretStr(fake.TOKEN),
            base_url=server.base_url,
            gateway_url=server.gateway_url,
            message_content=True,
        )
        state = NoState()
        self.adapter = Keeping(
            settings,
            Menu({"clear": "begin anew: /clear all"}),
            state,
            Timing(retry_first=0.001, retry_most=0.01, identify=0, down=0),
        )
        self.adapter.kept = state
        server.dm(ANNA, "Anna", DM)
        server.channel(server.guild(GUILD), ROOM)

    def say(self, text: str, chat: str = "1001") -> None:
        """What nobody is connected for waits: a conversation that the bot never saw is told of by its next message only.

        A word with a slash is a slash command, which there is once it is registered.
        """
        if text.startswith("/"):
            command, _, args = text.removeprefix("/").partition(" ")
            self.server.rest.when_registered.append(
                lambda: self.server.slash(CHANNELS[chat], ANNA, command, args)
            )
        elif self.server.gateway.sessions:
            self.server.say(CHANNELS[chat], ANNA, text)
        else:
            self.server.gateway.greetings.append(lambda: self.server.say(CHANNELS[chat], ANNA, text))

    def texts(self, chat: str = "1001") -> list[str]:
        return self.server.texts(CHANNELS[chat])

    def files(self) -> list[tuple[str, bytes, str]]:
        sent = self.server.ours(DM)
        return [(file.filename, file.data, m.content) for m in sent for file in m.attachments]

    def trouble(self, verb: str, error: AdapterError) -> None:
        if verb == "run":
            self.server.fault("gateway", fake.server_error(503))
            if self.server.gateway.online():
                self.server.gateway.drop()
            return
        match error:
            case RateLimited():
                fault = fake.too_many(error.retry_after, scope="shared")
            case ChatGone():
                fault = fake.forbidden()
            case Unavailable(ambiguous=True):
                fault = fake.lost_answer()
            case _:
                fault = fake.server_error(503)
        self.server.fault(
            {"post": "create_message", "send_file": "create_message", "edit": "edit_message"}[verb], fault
        )

    def chat(self, native: str = "1001") -> Chat:
        if native == "1001":
            return Chat("discord", str(DM))
        return Chat("discord", f"{GUILD}-{ROOM}", "group")


@asynccontextmanager
async def discord_world() -> AsyncIterator[DiscordWorld]:
    """A Discord that stands for the block."""
    async with fake.DiscordServer() as server:
        world = DiscordWorld(server)
        yield world
        await world.adapter.close()
