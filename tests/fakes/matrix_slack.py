"""Slack in the access matrix, over a socket and by requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.fakes import slack as fake
from tests.fakes.matrix import BEFORE, Live, echo, seed
from tests.fakes.slack.workspace import new_ts
from tests.fakes.slack_running import Running, running

TEAM = "T1"


class Slack(Live):
    platform = "slack"
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, house: Running, gate: asyncio.Event) -> None:
        super().__init__(house.boswell, gate)
        self.server = house.slack
        self._removed: set[int] = set()

    @staticmethod
    def person(cell: int) -> str:
        return f"slack-{TEAM}-U{cell}"

    @staticmethod
    def group(cell: int) -> str:
        return f"slack-{TEAM}-C{cell}"

    async def do(self, kind: str, cell: int, word: str) -> None:
        self.server.first.person(f"U{cell}", self.name(cell))
        if f"C{cell}" not in self.server.first.channels:
            self.server.channel(f"C{cell}", f"U{cell}").name = word
            self.server.channel(f"D{cell}", f"U{cell}")
        await super().do(kind, cell, word)

    async def received(self) -> None:
        await self.server.wait_for(lambda server: not server.deliveries.waiting)

    async def rewrite(self, cell: int, word: str) -> None:
        self.server.first.edit(f"D{cell}", self.said[cell], word)

    def message(self, cell: int, word: str) -> None:
        self.said[cell] = self.server.say(f"D{cell}", f"U{cell}", word)

    def plain(self, cell: int, word: str) -> None:
        self.server.say(f"C{cell}", f"U{cell}", word)

    def mention(self, cell: int, word: str) -> None:
        self.server.say(f"C{cell}", f"U{cell}", f"@boswell {word}")

    def reply(self, cell: int, word: str) -> None:
        self.server.say(f"C{cell}", f"U{cell}", word, thread=self._before(cell).ts)

    def edit(self, cell: int, word: str) -> None:
        self._edit(f"D{cell}", cell, word)

    def group_edit(self, cell: int, word: str) -> None:
        self._edit(f"C{cell}", cell, f"@boswell {word}")

    def _edit(self, channel: str, cell: int, text: str) -> None:
        written = self.server.first.write(channel, f"U{cell}", "Nobody told the bot of this")
        self.server.first.edit(channel, written.ts, text)

    def command(self, cell: int, word: str) -> None:
        self.server.say(f"D{cell}", f"U{cell}", f"/timezone {word}")

    def group_command(self, cell: int, word: str) -> None:
        self.server.say(f"C{cell}", f"U{cell}", f"@boswell /timezone {word}")

    def slash(self, cell: int, word: str) -> None:
        self.server.first.command(f"D{cell}", f"U{cell}", f"timezone {word}")

    def group_slash(self, cell: int, word: str) -> None:
        self.server.first.command(f"C{cell}", f"U{cell}", f"timezone {word}")

    def button(self, cell: int, word: str) -> None:
        self.press(cell, f"stop {word}")

    def press(self, cell: int, value: str) -> None:
        """A button of ours is pressed that has this value."""
        label = {"type": "plain_text", "text": "Press"}
        button = {"type": "button", "action_id": "boswell:0", "text": label, "value": value}
        message = self._before(cell, [{"type": "actions", "elements": [button]}])
        self.server.first.press(f"C{cell}", f"U{cell}", message.ts, "Press")

    def reaction(self, cell: int, word: str) -> None:
        item = {"type": "message", "channel": f"D{cell}", "ts": "1.000001"}
        event = {"type": "reaction_added", "user": f"U{cell}", "reaction": word, "item": item}
        self.server.first.tell({**event, "item_user": self.server.first.bot, "event_ts": new_ts()})

    def file(self, cell: int, word: str) -> None:
        files = [{"id": f"F{cell}", "name": f"{word}.pdf", "title": word, "mimetype": "application/pdf"}]
        self.server.say(f"D{cell}", f"U{cell}", "", subtype="file_share", files=files)

    def added(self, cell: int, word: str) -> None:
        bot = self.server.first.bot
        event = {"type": "member_joined_channel", "user": bot, "channel": f"C{cell}", "channel_type": "C"}
        self.server.first.tell({**event, "team": TEAM, "inviter": f"U{cell}", "event_ts": new_ts()})

    def removed(self, cell: int, word: str) -> None:
        self._removed.add(cell)
        self.server.first.remove_bot(f"C{cell}")

    def _before(self, cell: int, blocks: list[dict[str, Any]] | None = None) -> fake.Message:
        """A message of the bot's that stands in the group."""
        message = fake.Message(new_ts(), self.server.first.bot, BEFORE, ours=True, blocks=blocks or [])
        self.server.channel(f"C{cell}").messages[message.ts] = message
        return message

    def shown(self, cell: int) -> list[str]:
        texts = [*self.server.texts(f"D{cell}"), *self.server.texts(f"C{cell}")]
        return [text for text in texts if text != BEFORE]

    def told(self, cell: int) -> list[str]:
        return [
            text
            for channel in (f"D{cell}", f"C{cell}")
            for text in self.server.first.whispers(channel, f"U{cell}")
        ]

    def left(self, cell: int) -> int:
        return cell not in self._removed and not self.server.channel(f"C{cell}").joined

    def waiting(self, cell: int) -> bool:
        return False  # Slack shows nobody that an answer is coming


@asynccontextmanager
async def _slack(
    mode: fake.Mode, folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any
) -> AsyncIterator[Slack]:
    await seed(folder / "data" / "boswell.db", decisions, at)
    gate = asyncio.Event()
    async with running(folder, echo(gate), mode, **sections) as house:
        yield Slack(house, gate)


def slack_socket(folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any) -> Any:
    return _slack("socket", folder, decisions, at, **sections)


def slack_http(folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any) -> Any:
    return _slack("http", folder, decisions, at, **sections)
