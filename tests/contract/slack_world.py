"""Slack as a `World` of the contract suite, in Socket Mode and in HTTP mode: one server, two ways to be told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.base import AdapterError, Chat, ChatGone, Menu, NoState, RateLimited, Unavailable
from adapters.slack import Slack, Timing
from bot.server import serve
from config.schema import ServerConfig, SlackConfig
from tests.fakes import slack as fake

PERSON = "U1001"


class SlackWorld:
    lacks = frozenset({"migration"})  # channels keep their ids

    def __init__(self, server: fake.SlackServer, mode: fake.Mode) -> None:
        self.server = server
        self.mode = mode
        sockets = mode == "socket"
        settings = SlackConfig.model_validate(server.settings(mode))
        timing = Timing(call=5, ping=20 if sockets else 0.02, retry_first=0.001, retry_most=0.01)
        self.adapter = Slack(settings, Menu({"clear": "Begin anew"}), NoState(), timing)
        self.person = f"slack-{server.first.id}-{PERSON}"
        self._channels = {"1001": "D1001", "-500": "C500"}
        for channel in self._channels.values():
            server.channel(channel, server.first.person(PERSON, "Anna"))

    def say(self, text: str, chat: str = "1001") -> None:
        """A word with a slash is sent to the app and never shown, as in Slack's own clients."""
        if text.startswith("/"):
            self.server.first.command(self._channels[chat], PERSON, text.removeprefix("/"))
        else:
            self.server.say(self._channels[chat], PERSON, text)

    def texts(self, chat: str = "1001") -> list[str]:
        return self.server.texts(self._channels[chat])

    def files(self) -> list[tuple[str, bytes, str]]:
        sent = self.server.first.channel(self._channels["1001"]).ours()
        return [(file.name, file.data or b"", m.shown) for m in sent for file in m.files]

    def trouble(self, verb: str, error: AdapterError) -> None:
        if verb == "run":
            self.server.fault(
                "apps.connections.open" if self.mode == "socket" else "auth.test", fake.bad_gateway()
            )
            self.server.deliveries.drop_sockets()
            return
        match error:
            case RateLimited():
                fault = fake.too_many(int(error.retry_after))
            case ChatGone():
                fault = fake.refusal("is_archived")
            case Unavailable(ambiguous=True):
                fault = fake.lost_answer()
            case _:
                fault = fake.bad_gateway()
        methods = {
            "post": "chat.postMessage",
            "send_file": "files.completeUploadExternal",
            "edit": "chat.update",
        }
        self.server.fault(methods[verb], fault)

    def chat(self, native: str = "1001") -> Chat:
        channel = f"{self.server.first.id}-{self._channels[native]}"
        return Chat("slack", channel, "private" if native == "1001" else "group")


@asynccontextmanager
async def slack_world(mode: fake.Mode) -> AsyncIterator[SlackWorld]:
    """A Slack that stands for the block; in HTTP mode our own server answers what it posts."""
    async with fake.SlackServer() as server, asyncio.TaskGroup() as tasks:
        world = SlackWorld(server, mode)
        serving = tasks.create_task(asyncio.sleep(0))
        if mode == "http":
            port = await serve(ServerConfig(port=0), world.adapter.routes, tasks)
            server.deliveries.url = f"http://127.0.0.1:{port}/slack/events"
            [serving] = [task for task in asyncio.all_tasks() if task.get_name() == "http server"]
        try:
            yield world
            await world.adapter.close()
        finally:
            serving.cancel()
