"""Boswell as `boswell run` starts it, inside a test's event loop: the real adapter, HTTP and SDK, against scripted servers."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from bot.app import database_path, run
from bot.cli import main
from config import Config, load
from memory.transcripts import Transcripts
from tests.fakes.model_server import KEY, ModelServer, Reply, Request, Step
from tests.fakes.telegram_server import TOKEN, TelegramServer

Respond = Callable[[Request], Step]


class Started:
    """A Boswell that runs on one platform. `logs` are its structured log lines so far."""

    def __init__(
        self,
        path: Path,
        config: Config,
        platform: str,
        model: ModelServer,
        task: asyncio.Task[None],
        logs: list[Any],
    ) -> None:
        self.model = model
        self.logs = logs
        self.path = path
        self._config = config
        self._platform = platform
        self._task = task

    async def until(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        """Return once something holds that gives no sign of its own, such as a row of the database."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - another connection's commit can not be waited for
                await asyncio.sleep(0.01)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database has on disk now."""
        path = database_path(self._config)
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            if database.execute("PRAGMA user_version").fetchone() == (0,):
                return []  # the file is there, and its tables will be in a moment
            return database.execute(query).fetchall()

    def said(self, user: str) -> list[tuple[str, str]]:
        """All (role, text) of a person's transcripts. Complete once the block is left."""
        transcripts = Transcripts(self._config.memory_path)
        return [
            message
            for day in transcripts.dates(user)
            for section in transcripts.day(user, day)
            for message in section.messages
        ]

    def state(self) -> tuple[str, str]:
        """What `adapter_status` has: the state, and what it says about it."""
        query = f"SELECT state, detail FROM adapter_status WHERE name = '{self._platform}'"
        [row] = self.rows(query) or [("", "")]
        return row[0], row[1]

    async def boswell(self, *arguments: str) -> Result:
        """A command line's result, with this configuration."""
        return await asyncio.to_thread(
            CliRunner().invoke, main, [*arguments, "--config", str(self.path)], catch_exceptions=False
        )

    async def stop(self) -> None:
        """SIGTERM, as a service manager sends it; what it brings down in an orderly way is then on disk."""
        if not self._task.done():
            signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await self._task


class Running(Started):
    """A Boswell on Telegram."""

    telegram: TelegramServer

    async def shows(self, chat: int, *texts: str, seconds: float = 10) -> None:
        """Return once a chat's messages from the bot read exactly so."""
        try:
            await self.telegram.wait_for(lambda server: server.chat(chat).texts == list(texts), seconds)
        except TimeoutError:
            assert self.telegram.chat(chat).texts == list(texts)

    async def answered(self, chat: int, text: str, seconds: float = 10) -> None:
        """Return once the bot's last message in a chat reads so."""
        try:
            await self.telegram.wait_for(lambda server: server.chat(chat).texts[-1:] == [text], seconds)
        except TimeoutError:
            assert self.telegram.chat(chat).texts[-1:] == [text]


_S = TypeVar("_S", bound=Started)


@asynccontextmanager
async def started(
    folder: Path, respond: Respond, platform: str, settings: dict[str, Any], kind: type[_S], **sections: Any
) -> AsyncIterator[_S]:
    """Run one adapter for the block; `settings` is its section of the configuration, `sections` are the others.

    MODEL-SERVER in them stands for the address of the model's server.

    Leaving the block stops it in order, and fails if the model's server was asked anything unexpected.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(ModelServer(respond=respond))
        values = {
            "access": {"policy": "open"},
            "models": {
                "main": {"provider": "openai", "model": "test", "api_key": KEY, "base_url": f"{model.url}/v1"}
            },
            "adapters": {platform: settings},
            "data_dir": str(folder / "data"),
            **sections,
        }
        path = folder / "boswell.yaml"
        path.write_text(json.dumps(values).replace("MODEL-SERVER", model.url))  # JSON is YAML
        config = load(path, {}).config
        logs = stack.enter_context(capture_logs())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            stack.callback(loop.remove_signal_handler, number)
        task = asyncio.create_task(run(config, [platform], path=path))
        await asyncio.sleep(0)  # now its signal handlers stand, and a SIGTERM does not end the tests
        house = kind(path, config, platform, model, task, logs)
        try:
            yield house
        finally:
            await house.stop()


@asynccontextmanager
async def running(
    folder: Path,
    respond: Respond,
    *,
    server_token: str = TOKEN,
    telegram: dict[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[Running]:
    """Run the Telegram adapter for the block; `telegram` and `sections` are keys of the configuration.

    Leaving the block stops it in order, and fails if a server was asked anything unexpected.
    """
    async with TelegramServer(server_token) as server:
        settings = {
            "token": TOKEN,
            "base_url": server.url,
            "messages_per_second": 10_000,
            **(telegram or {}),
        }
        async with started(folder, respond, "telegram", settings, Running, **sections) as house:
            house.telegram = server
            yield house


def asked(request: Request) -> str:
    """What the person said last, without what the program says about it."""
    content = next(m["content"] for m in reversed(request.body["messages"]) if m["role"] == "user")
    tagged = re.search(r"<message[^>]*>\n(.*)\n</message>\Z", content, re.DOTALL)
    return tagged[1] if tagged else str(content)


def echo(request: Request) -> Step:
    """A model that repeats what was said."""
    return Reply(("You said: ", asked(request)))


def saying(text: str) -> Respond:
    """A model that says one thing, whatever it is asked."""
    return lambda _: Reply((text,))


def half_until(gate: asyncio.Event) -> Respond:
    """A model that begins its answer to "go", and ends it when the gate opens; to all else it is an echo."""
    return lambda request: Reply(("Half", gate, " and whole")) if asked(request) == "go" else echo(request)
