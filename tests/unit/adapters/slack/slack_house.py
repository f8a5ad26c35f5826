"""Slack's adapter beside the scripted Slack, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from adapters.base import Chat, Menu, NoState, State, Update
from adapters.slack import Slack, Timing
from config.schema import SlackConfig
from tests.fakes import slack as fake
from tests.fakes.life import Life, running

MENU = Menu({"clear": "Begin anew", "help": "This list", "stop": "Stop"})
TIMING = Timing(call=5, retry_first=0.001, retry_most=0.01)


def settings(server: fake.SlackServer, *, oauth: bool = False, sockets: bool = True) -> SlackConfig:
    return SlackConfig(
        bot_token=None if oauth else SecretStr(fake.BOT_TOKEN),
        app_token=SecretStr(fake.APP_TOKEN) if sockets else None,
        signing_secret=SecretStr(fake.SIGNING_SECRET),
        client_id=SecretStr(fake.CLIENT_ID) if oauth else None,
        client_secret=SecretStr(fake.CLIENT_SECRET) if oauth else None,
        base_url=server.base_url,
    )


@asynccontextmanager
async def connected(
    server: fake.SlackServer, state: State | None = None, *, oauth: bool = False, sockets: bool = True
) -> AsyncIterator[tuple[Slack, Life]]:
    """The adapter, receiving from `server`."""
    config = settings(server, oauth=oauth, sockets=sockets)
    adapter = Slack(config, MENU, NoState() if state is None else state, TIMING)
    try:
        async with running(adapter) as life:
            yield adapter, life
    finally:
        await adapter.close()


async def first_update(life: Life) -> Update:
    await life.until(lambda: bool(life.rows))
    update = life.rows[0].update
    assert update is not None
    return update


def chat(channel: str, thread: str = "", team: str = "T1") -> Chat:
    kind = "private" if channel.startswith("D") else "group"
    return Chat("slack", f"{team}-{channel}", kind, "", thread)  # type: ignore[arg-type]
