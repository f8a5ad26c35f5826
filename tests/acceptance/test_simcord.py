"""Conversations on two Discords: the scripted one, and simcord, which was not written here and can not share our mistakes.

Boswell runs whole and connects by HTTP and WebSocket to either. What simcord does not know it refuses loudly, and it validates
bodies, permissions, components and the life of an interaction by rules of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from bot import sentences
from tests.fakes.discord_running import Running, connected
from tests.fakes.discord_server import DiscordServer
from tests.fakes.model_server import Reply, Request, Step
from tests.fakes.running import Started, echo
from tests.fakes.simcord_bridge import SimcordBridge

Where = Literal["dm", "room"]


class Stage(Protocol):
    """A Discord with Anna in it, in direct conversation with the bot and in one channel of a server."""

    boswell: Started
    mention: str

    def say(self, where: Where, text: str, *, reply_to: int = 0) -> int: ...
    def slash(self, where: Where, command: str, args: str = "") -> None: ...
    def press(self, where: Where, message_id: int, label: str) -> None: ...
    def texts(self, where: Where) -> list[str]: ...
    def ids(self, where: Where) -> list[int]: ...
    def labels(self, where: Where) -> list[str]:
        """Of the buttons under the bot's last message."""

    def private(self) -> list[str]:
        """What Anna alone sees, in the channel."""

    def pinged(self) -> bool: ...
    def has_commands(self) -> bool: ...


class Scripted:
    def __init__(self, server: DiscordServer) -> None:
        self.house = Running(server)
        self.server = server
        self.mention = server.mention
        self.places = {"dm": Running.DM, "room": Running.ROOM}
        self.boswell: Started

    def say(self, where: Where, text: str, *, reply_to: int = 0) -> int:
        channel = self.places[where]
        replied = self.server.state.channels[channel].messages[reply_to] if reply_to else None
        return self.server.say(channel, Running.ANNA, text, reply_to=replied).id

    def slash(self, where: Where, command: str, args: str = "") -> None:
        self.server.slash(self.places[where], Running.ANNA, command, args)

    def press(self, where: Where, message_id: int, label: str) -> None:
        message = self.server.state.channels[self.places[where]].messages[message_id]
        self.server.press(message, label, Running.ANNA)

    def texts(self, where: Where) -> list[str]:
        return self.server.texts(self.places[where])

    def ids(self, where: Where) -> list[int]:
        return [message.id for message in self.server.ours(self.places[where])]

    def labels(self, where: Where) -> list[str]:
        return [label for message in self.server.ours(self.places[where])[-1:] for label in message.buttons()]

    def private(self) -> list[str]:
        return self.server.private(Running.ANNA)

    def pinged(self) -> bool:
        return bool(self.server.state.pinged)

    def has_commands(self) -> bool:
        return bool(self.server.state.commands)


class OnSimcord:
    def __init__(self, bridge: SimcordBridge) -> None:
        self.bridge = bridge
        self.mention = f"<@{bridge.backend.bot_user.id}>"
        self.places = {"dm": bridge.dm, "room": bridge.room}
        self.boswell: Started

    def say(self, where: Where, text: str, *, reply_to: int = 0) -> int:
        return self.bridge.say(self.places[where], text, reply_to=reply_to)

    def slash(self, where: Where, command: str, args: str = "") -> None:
        self.bridge.slash(self.places[where], command, args)

    def press(self, where: Where, message_id: int, label: str) -> None:
        self.bridge.press(self.places[where], message_id, label)

    def texts(self, where: Where) -> list[str]:
        return self.bridge.texts(self.places[where])

    def ids(self, where: Where) -> list[int]:
        return self.bridge.ids(self.places[where])

    def labels(self, where: Where) -> list[str]:
        return self.bridge.labels(self.places[where])

    def private(self) -> list[str]:
        return self.bridge.private(self.places["room"])

    def pinged(self) -> bool:
        return any(self.bridge.pinged(channel) for channel in self.places.values())

    def has_commands(self) -> bool:
        return bool(self.bridge.backend.commands.get(None))


Play = Callable[[Callable[[Request], Step]], Any]


@pytest.fixture(params=["scripted", "simcord"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Begins a conversation with a model that answers so."""

    @asynccontextmanager
    async def begin(respond: Callable[[Request], Step]) -> AsyncIterator[Stage]:
        if request.param == "scripted":
            async with DiscordServer() as server:
                scripted = Scripted(server)
                async with connected(tmp_path, respond, server) as scripted.boswell:
                    yield scripted
        else:
            async with SimcordBridge() as bridge:
                simcord = OnSimcord(bridge)
                async with connected(tmp_path, respond, bridge) as simcord.boswell:
                    yield simcord

    return begin


async def test_a_direct_conversation(play: Play) -> None:
    async with play(echo) as on:
        for n in range(3):
            on.say("dm", f"question {n}")
            await on.boswell.until(lambda n=n: on.texts("dm")[-1:] == [f"You said: question {n}"])
        assert len(on.texts("dm")) == 3
        assert not on.pinged()


async def test_a_mention_and_a_reply_in_a_server(play: Play) -> None:
    async with play(echo) as on:
        on.say("room", "among ourselves")
        on.say("room", f"{on.mention} hello")
        await on.boswell.until(lambda: on.texts("room") == ["You said: hello"])
        on.say("room", "and more", reply_to=on.ids("room")[0])
        await on.boswell.until(lambda: on.texts("room")[1:] == ["You said: and more"])
        assert not on.pinged()


async def test_a_reply_is_edited_as_it_is_written(play: Play) -> None:
    gate = asyncio.Event()
    async with play(lambda _: Reply(("Half", gate, " and whole"))) as on:
        on.say("dm", "go")
        await on.boswell.until(lambda: on.texts("dm") == ["Half"])
        gate.set()
        await on.boswell.until(lambda: on.texts("dm") == ["Half and whole"])


async def test_a_reply_beyond_two_thousand_characters(play: Play) -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(12))
    async with play(lambda _: Reply((text,))) as on:
        on.say("dm", "go")
        await on.boswell.until(lambda: any("Paragraph 11." in part for part in on.texts("dm")))
        shown = "\n".join(on.texts("dm"))
        assert [n for n in range(12) if f"Paragraph {n}." not in shown] == []
        assert all(len(part) <= 2000 for part in on.texts("dm"))


async def test_a_reply_that_names_everybody_pings_nobody(play: Play) -> None:
    async with play(lambda _: Reply(("@everyone @here and all",))) as on:
        on.say("room", f"{on.mention} go")
        on.say("dm", "go")
        await on.boswell.until(lambda: on.texts("room") and on.texts("dm"))
        assert not on.pinged()


async def test_a_slash_command_is_answered_for_its_asker_alone(play: Play) -> None:
    async with play(echo) as on:
        await on.boswell.until(on.has_commands)
        on.slash("room", "timezone", "Europe/Vienna")
        await on.boswell.until(on.private)
        assert "Europe/Vienna" in on.private()[0]
        on.slash("room", "help")
        await on.boswell.until(lambda: len(on.private()) == 2)
        assert on.texts("room") == []


async def test_a_stop_button_ends_the_answer(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.preview.STOP_BUTTON", 0.01)
    gate = asyncio.Event()
    async with play(lambda _: Reply(("Half", gate))) as on:
        on.say("room", f"{on.mention} go")
        await on.boswell.until(lambda: on.labels("room"))
        on.press("room", on.ids("room")[0], sentences.STOP_BUTTON)
        await on.boswell.until(lambda: on.texts("room") == [f"Half\n\n{sentences.STOPPED_MARK}"])
        await on.boswell.until(lambda: on.private() == [sentences.STOPPED])
        assert on.labels("room") == []


async def test_a_conversation_cleared(play: Play) -> None:
    async with play(echo) as on:
        await on.boswell.until(on.has_commands)
        on.say("dm", "one")
        await on.boswell.until(lambda: on.texts("dm") == ["You said: one"])
        on.slash("dm", "clear")
        await on.boswell.until(
            lambda: on.boswell.rows("SELECT count(*) FROM streams WHERE closed_at IS NOT NULL") == [(1,)]
        )
        on.say("dm", "two")
        await on.boswell.until(lambda: on.texts("dm")[-1] == "You said: two")
        heard = [m["content"] for m in on.boswell.model.requests[-1].body["messages"] if m["role"] == "user"]
        assert heard == ["two"]
