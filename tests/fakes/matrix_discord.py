"""Discord in the access matrix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapters.base import parse_command
from tests.fakes.discord_running import Running, running
from tests.fakes.discord_server import Channel, Interaction, Message
from tests.fakes.matrix import BEFORE, Live, echo, seed

DIRECT, SERVER, ROOM = 1_000_000, 2_000_000, 3_000_000  # plus the cell's number: its places


class Discord(Live):
    platform = "discord"
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, house: Running, gate: asyncio.Event) -> None:
        super().__init__(house.boswell, gate)
        self.server = house.discord
        self._removed: set[int] = set()
        self._keys: list[str] = []  # of what must have been received
        self._touched: dict[int, Channel] = {}
        self._given: list[Interaction] = []

    @staticmethod
    def person(cell: int) -> str:
        return f"discord-{cell}"

    @staticmethod
    def group(cell: int) -> str:
        return f"discord-{SERVER + cell}-{ROOM + cell}"

    async def rewrite(self, cell: int, word: str) -> None:
        self.server.edit(self.said[cell], word)
        self._keys.append(f"edit:{self.said[cell].id}")

    async def received(self) -> None:
        """The gateway confirms nothing: what is edited behind it in the same place is received after it."""
        for channel in self._touched.values():
            author = channel.recipient or self.server.state.user(1)
            self.edit_in(channel, author.id, "The end of it")
        self._touched.clear()
        wanted = set(self._keys)

        def there() -> bool:
            rows = self.boswell.rows("SELECT key FROM inbox")
            return wanted <= {":".join(key.split(":")[:2]) for (key,) in rows}

        await self.boswell.until(there)

    def edit_in(self, channel: Channel, user: int, text: str) -> None:
        """Somebody edits a message of which the bot was never told."""
        state = self.server.state
        message = Message(state.snowflake(), channel, state.user(user), "Unheard", state.now())
        self.server.edit(message, text)  # it is not in the channel, or it would be read back one day
        self._keys.append(f"edit:{message.id}")

    def _direct(self, cell: int) -> Channel:
        channel = self.server.dm(cell, self.name(cell), DIRECT + cell)
        self._touched[channel.id] = channel
        return channel

    def _room(self, cell: int, word: str = "") -> Channel:
        self.server.state.user(cell, self.name(cell))
        channel = self.server.state.channels.get(ROOM + cell)
        if channel is None:
            channel = self.server.channel(self.server.guild(SERVER + cell, word), ROOM + cell, word)
        self._touched[channel.id] = channel
        return channel

    def _interact(self, given: Interaction) -> None:
        self._given.append(given)
        self._keys.append(str(given.id))

    def message(self, cell: int, word: str) -> None:
        self.said[cell] = self.server.say(self._direct(cell).id, cell, word)

    def plain(self, cell: int, word: str) -> None:
        self.server.say(self._room(cell, word).id, cell, word)

    def mention(self, cell: int, word: str) -> None:
        self.server.say(self._room(cell, word).id, cell, f"{self.server.mention} {word}")

    def reply(self, cell: int, word: str) -> None:
        self.server.say(self._room(cell, word).id, cell, word, reply_to=self._before(cell, word), ping=False)

    def edit(self, cell: int, word: str) -> None:
        self.edit_in(self._direct(cell), cell, word)

    def group_edit(self, cell: int, word: str) -> None:
        self.edit_in(self._room(cell, word), cell, f"{self.server.mention} {word}")

    def command(self, cell: int, word: str) -> None:
        self.server.say(self._direct(cell).id, cell, f"/timezone {word}")

    def group_command(self, cell: int, word: str) -> None:
        self.server.say(self._room(cell, word).id, cell, f"{self.server.mention} /timezone {word}")

    def slash(self, cell: int, word: str) -> None:
        self._interact(self.server.slash(self._direct(cell).id, cell, "timezone", word))

    def group_slash(self, cell: int, word: str) -> None:
        self._interact(self.server.slash(self._room(cell, word).id, cell, "timezone", word))

    def slash_in(self, room: int, cell: int, command: str, args: str) -> None:
        """A cell's person gives a slash command in another cell's group."""
        self._interact(self.server.slash(self._room(room).id, cell, command, args))

    def button(self, cell: int, word: str) -> None:
        self.press(cell, f"stop {word}")

    def press(self, cell: int, command: str) -> None:
        """A button of ours is pressed that has this command."""
        button = {"type": 2, "style": 2, "label": "Press", "custom_id": f"boswell:{command}"}
        message = self._before(cell, command, [{"type": 1, "components": [button]}])
        given = self.server.press(message, "Press", cell)
        if parse_command(f"/{command}")[0] is not None:  # else it is not taken for one of ours
            self._interact(given)

    def reaction(self, cell: int, word: str) -> None:
        given = {"user_id": str(cell), "channel_id": str(self._direct(cell).id), "message_id": "1"}
        emoji = {"id": None, "name": word}
        self.server.state.emit("MESSAGE_REACTION_ADD", {**given, "emoji": emoji, "type": 0}, 0)

    def file(self, cell: int, word: str) -> None:
        self.server.say(self._direct(cell).id, cell, "", files=(f"{word}.pdf",))

    def added(self, cell: int, word: str) -> None:
        room = self._room(cell, word)
        assert room.guild is not None
        self.server.recover(room.guild)

    def removed(self, cell: int, word: str) -> None:
        room = self._room(cell, word)
        if cell not in self._removed:
            assert room.guild is not None
            self._removed.add(cell)
            self.server.kick(room.guild)

    def _before(self, cell: int, word: str, components: list[dict[str, Any]] | None = None) -> Message:
        """A message of the bot's that stands in the group."""
        state = self.server.state
        room = self._room(cell, word)
        message = Message(
            state.snowflake(), room, state.bot, BEFORE, state.now(), components=components or []
        )
        return state.add(message)

    def shown(self, cell: int) -> list[str]:
        places = (self.server.state.channels.get(start + cell) for start in (DIRECT, ROOM))
        return [text for place in places if place is not None for text in place.texts if text != BEFORE]

    def told(self, cell: int) -> list[str]:
        return self.server.private(cell)

    def left(self, cell: int) -> int:
        room = self.server.state.channels.get(ROOM + cell)
        return (
            room is not None and cell not in self._removed and SERVER + cell not in self.server.state.guilds
        )

    def waiting(self, cell: int) -> bool:
        return any(one.user.id == cell and one.state in ("new", "thinking") for one in self._given)


@asynccontextmanager
async def discord(
    folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any
) -> AsyncIterator[Discord]:
    await seed(folder / "data" / "boswell.db", decisions, at)
    gate = asyncio.Event()
    async with running(folder, echo(gate), {"message_content": True}, **sections) as house:
        await house.discord.wait_for(lambda server: server.state.commands)
        yield Discord(house, gate)
