"""Boswell as `boswell run` starts it on the scripted Slack, inside a test's event loop, in Socket Mode or in HTTP mode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import slack as fake
from tests.fakes.running import Respond, Started, started


class Running:
    """A Boswell in one workspace, with Anna in a direct conversation and in a channel."""

    ANNA, DM, ROOM = "U1001", "D1001", "C500"

    def __init__(self, slack: fake.SlackServer) -> None:
        self.slack = slack
        self.boswell: Started
        slack.first.person(self.ANNA, "Anna")
        for channel in (self.DM, self.ROOM):
            slack.channel(channel, self.ANNA)

    def ask(self, text: str, channel: str = DM, user: str = ANNA, thread: str = "") -> str:
        """Somebody says something that is meant for the bot; its ts."""
        text = text if channel.startswith("D") else f"@boswell {text}"
        return self.slack.say(channel, user, text, thread)

    async def shows(self, channel: str, *texts: str, thread: str | None = None, seconds: float = 10) -> None:
        """Return once a conversation's (or a thread's) messages from the bot read exactly so."""
        try:
            await self.slack.wait_for(lambda server: server.texts(channel, thread) == list(texts), seconds)
        except TimeoutError:
            pytest.fail(f"{self.slack.texts(channel, thread)}, not {list(texts)}")

    async def whispers(self, channel: str, *texts: str, user: str = ANNA, seconds: float = 10) -> None:
        """Return once what only this person sees there reads exactly so."""
        try:
            await self.slack.wait_for(lambda s: s.first.whispers(channel, user) == list(texts), seconds)
        except TimeoutError:
            pytest.fail(f"{self.slack.first.whispers(channel, user)}, not {list(texts)}")

    async def acknowledged(self, seconds: float = 10) -> None:
        """Return once nothing is on its way to the app."""
        await self.slack.wait_for(lambda server: not server.deliveries.waiting, seconds)

    @property
    def stored(self) -> int:
        """How many updates were ever put into the inbox."""
        [(count,)] = self.boswell.rows("SELECT count(*) FROM inbox") or [(0,)]
        return int(count)

    @property
    def address(self) -> str:
        """Where our own HTTP server listens."""
        port = next(line["port"] for line in self.boswell.logs if line["event"] == "listening")
        return f"http://127.0.0.1:{port}"


@asynccontextmanager
async def running(
    folder: Path,
    respond: Respond,
    mode: fake.Mode = "socket",
    *,
    settings: dict[str, Any] | None = None,
    slack: fake.SlackServer | None = None,
    **sections: Any,
) -> AsyncIterator[Running]:
    """Boswell on `slack`, or else on one of its own; leaving the block stops it in order.

    It fails if a server met anything unexpected. `settings` are keys of adapters.slack, `sections` other sections.
    """
    if slack is None:
        async with (
            fake.SlackServer() as own,
            running(folder, respond, mode, settings=settings, slack=own, **sections) as house,
        ):
            yield house
        return
    given: dict[str, Any] = {**slack.settings(mode), **(settings or {})}
    sections = {"limits": {"turns_per_minute": None}, "server": {"port": 0}, **sections}
    house = Running(slack)
    given = {name: value for name, value in given.items() if value is not None}
    async with started(folder, respond, "slack", given, Started, **sections) as house.boswell:
        await house.boswell.until(lambda: house.boswell.state()[0] == "up")
        if mode == "http":
            slack.deliveries.url = f"{house.address}/slack/events"
        yield house
