"""Reminders on all four platforms, as `boswell run` serves them: set, listed, cancelled and said when they are due.

The demo model drives the tools, and so does a model server by the wire formats of OpenAI and Anthropic. Nothing is said by a
model but what was asked of one. Due times are a second ahead; the tests wait for what is said.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from tests.fakes import discord_running, running, slack_running
from tests.fakes.model_server import KEY, Call, ModelServer, Reply, Request, Step
from tests.fakes.telegram_server import TelegramServer

Platform = Literal["console", "telegram", "slack", "discord"]
Brain = Literal["demo", "openai", "anthropic"]
ANNA, GROUP, TOPIC = 1, -100123, 7


class Talk(Protocol):
    """A conversation of one person with the assistant."""

    def say(self, text: str) -> None: ...

    async def sees(self, pattern: str) -> str:
        """What the assistant has said, once that has the pattern in it."""


class OnTelegram:
    def __init__(self, b: running.Running, chat: int = ANNA, thread: int | None = None) -> None:
        self._b, self._chat, self._thread = b, chat, thread

    def say(self, text: str) -> None:
        if self._chat != ANNA:
            text = re.sub(r"^/(\w+)", r"/\1@boswell_bot", text)
        self._b.telegram.say(self._chat, ANNA, text, name="Anna", thread=self._thread)

    async def sees(self, pattern: str) -> str:
        def texts(server: TelegramServer) -> list[str]:
            posted = server.chat(self._chat).messages.values()
            return [message.text for message in posted if message.thread == self._thread]

        return await waited(self._b.telegram.wait_for, texts, pattern)


class OnSlack:
    def __init__(self, b: slack_running.Running, channel: str = slack_running.Running.DM) -> None:
        self._b, self._channel, self._thread = b, channel, ""

    def say(self, text: str) -> None:
        ts = self._b.ask(text, self._channel, thread=self._thread)
        if self._channel != self._b.DM:
            self._thread = self._thread or ts

    async def sees(self, pattern: str) -> str:
        thread = self._thread or None
        return await waited(
            self._b.slack.wait_for, lambda server: server.texts(self._channel, thread), pattern
        )


class OnDiscord:
    def __init__(self, b: discord_running.Running, channel: int = discord_running.Running.DM) -> None:
        self._b, self._channel = b, channel

    def say(self, text: str) -> None:
        self._b.ask(text, self._channel)

    async def sees(self, pattern: str) -> str:
        return await waited(self._b.discord.wait_for, lambda server: server.texts(self._channel), pattern)


class AtTheConsole:
    """`boswell chat` between two pipes."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self._program = program
        self._printed = ""

    def say(self, text: str) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(f"{text}\n".encode())

    async def sees(self, pattern: str) -> str:
        assert self._program.stdout is not None
        try:
            async with asyncio.timeout(20):
                while not re.search(pattern, self._printed):
                    data = await self._program.stdout.read(65536)
                    assert data, f"it ended, and {pattern!r} is not in:\n{self._printed}"
                    self._printed += data.decode()
        except TimeoutError:
            pytest.fail(f"{pattern!r} is not in:\n{self._printed}")
        return self._printed


async def waited(wait_for: Any, texts: Callable[[Any], list[str]], pattern: str) -> str:
    said = ""

    def found(server: Any) -> bool:
        nonlocal said
        said = "\n".join(texts(server))
        return re.search(pattern, said) is not None

    try:
        await wait_for(found, 20)
    except TimeoutError:
        pytest.fail(f"{pattern!r} is not in:\n{said}")
    return said


# Models


def last(request: Request) -> tuple[bool, str]:
    """Whether a request ends with what a tool returned, and what that is or what the person said."""
    message = request.body["messages"][-1]
    content = message["content"]
    if isinstance(content, str):
        return message["role"] == "tool", content
    (block,) = [block for block in content if block["type"] in ("text", "tool_result")]
    returned = block["type"] == "tool_result"
    found = block["content"] if returned else block["text"]
    return returned, found if isinstance(found, str) else "".join(part["text"] for part in found)


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "feed the cat": ("set_reminder", {"text": "feed the cat", "at": "2100-01-01T09:00"}),
    "make tea": ("set_reminder", {"text": "make tea", "in_minutes": 1 / 60}),
    "my reminders": ("list_reminders", {}),
    "cancel reminder 1": ("cancel_reminder", {"id": 1}),
    "in 1 second": ("set_reminder", {"text": "write 3 words", "in_minutes": 1 / 60, "work": True}),
}


def respond(request: Request) -> Step:
    """A model that uses the tools, and repeats what they return."""
    returned, text = last(request)
    if returned:
        return Reply((text,))
    for words, (name, arguments) in CALLS.items():
        if words in text:
            return Reply(calls=(Call(name, json.dumps(arguments)),))
    assert "write 3 words" in text
    return Reply(("The quick brown.",))


def model_section(brain: Brain) -> dict[str, Any]:
    if brain == "demo":
        return {"main": {"provider": "demo"}}
    url = "MODEL-SERVER/v1" if brain == "openai" else "MODEL-SERVER"
    return {"main": {"provider": brain, "model": "test", "api_key": KEY, "base_url": url}}


@asynccontextmanager
async def talking(
    platform: Platform, brain: Brain, folder: Path
) -> AsyncIterator[tuple[Talk, ModelServer, Any]]:
    """Anna's private conversation, the model's server, and what the platform is played by."""
    sections: dict[str, Any] = {
        "models": model_section(brain),
        "limits": {"turns_per_minute": None, "reminder_days": None},
    }
    async with AsyncExitStack() as stack:
        match platform:
            case "telegram":
                b = await stack.enter_async_context(running.running(folder, respond, **sections))
                yield OnTelegram(b), b.model, b
            case "slack":
                s = await stack.enter_async_context(slack_running.running(folder, respond, **sections))
                yield OnSlack(s), s.boswell.model, s
            case "discord":
                d = await stack.enter_async_context(discord_running.running(folder, respond, **sections))
                yield OnDiscord(d), d.boswell.model, d
            case "console":
                model = await stack.enter_async_context(ModelServer(respond=respond))
                path = folder / "boswell.yaml"
                values = {**sections, "data_dir": str(folder / "data")}
                path.write_text(json.dumps(values).replace("MODEL-SERVER", model.url))
                program = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "bot.cli", "chat", "--config", path),
                    cwd=Path(__file__).parents[2],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                yield AtTheConsole(program), model, None
                assert program.stdin is not None
                program.stdin.close()
                async with asyncio.timeout(20):
                    assert await program.wait() == 0


@pytest.mark.parametrize("brain", ["demo", "openai", "anthropic"])
@pytest.mark.parametrize("platform", ["console", "telegram", "slack", "discord"])
async def test_reminders_are_set_listed_cancelled_and_said_when_they_are_due(
    tmp_path: Path, platform: Platform, brain: Brain
) -> None:
    paid = 0 if brain == "demo" else 1
    async with talking(platform, brain, tmp_path) as (anna, model, _):
        anna.say("remind me on 1 january 2100 at 9:00 to feed the cat")
        await anna.sees(r"Reminder 1 is set for Friday 2100-01-01 at 09:00 \(UTC\)\. It says: feed the cat")
        anna.say("remind me in 1 second to make tea")
        await anna.sees(r"Reminder 2 is set for \w+ \d{4}-\d\d-\d\d at \d\d:\d\d \(UTC\)\.")
        asked = len(model.requests)
        assert asked == 4 * paid
        await anna.sees("⏰ make tea")
        assert len(model.requests) == asked
        anna.say("what are my reminders?")
        said = await anna.sees(r"1: Friday 2100-01-01 at 09:00 \(UTC\): feed the cat")
        assert "2: " not in said.replace("Reminder 2: ", "")
        anna.say("cancel reminder 1")
        await anna.sees("Reminder 1 is cancelled.")
        anna.say("in 1 second write 3 words")
        await anna.sees(r"Reminder 1 is set for .* I will work on it then\.")
        await anna.sees(r"The quick brown\.")
        assert len(model.requests) == 11 * paid


@pytest.mark.parametrize("platform", ["telegram", "slack", "discord"])
async def test_without_a_model_too_and_in_a_group_for_that_group(tmp_path: Path, platform: Platform) -> None:
    async with talking(platform, "openai", tmp_path) as (anna, model, played):
        there: Talk
        match platform:
            case "telegram":
                there = OnTelegram(played, GROUP, TOPIC)
            case "slack":
                there = OnSlack(played, played.ROOM)
            case _:
                there = OnDiscord(played, played.ROOM)
        anna.say("/remind in 2 hours private")
        await anna.sees("Reminder 1 is set")
        there.say("/remind in 1 second books")
        await there.sees("Reminder 2 is set")
        await there.sees("⏰ Anna: books")
        there.say("/reminders")
        said = await there.sees("You have no reminders in this chat.")
        assert "private" not in said
        assert model.requests == []
