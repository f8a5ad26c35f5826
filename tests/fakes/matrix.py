"""The platforms of the access matrix: on each, all that a person can do there, by a person and in places of a cell's own.

A cell is a number: the person, their conversation with the bot and their group are made of it. What they write, the names of
their files and groups, and the data of their buttons have a word that stands nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import aiohttp

from adapters.base import Chat, Person, parse_command
from bot.models.base import ModelRequest
from memory import people
from memory.database import Tx, open_database
from tests.fakes.house import House, house
from tests.fakes.model_server import Reply, Request, Step
from tests.fakes.running import Running as OnTelegram
from tests.fakes.running import Started, asked
from tests.fakes.running import running as on_telegram
from tests.fakes.scripted_model import ScriptedModel

BEFORE = "Something that the bot said before"
NO_REACTIONS = "adapters have no word for reactions"
WEBHOOK_SECRET = "the-webhooks-secret"


def name_of(cell: int) -> str:
    """What the cell's person calls themselves."""
    return f"Zqname{cell}z"


def echo(gate: asyncio.Event) -> Callable[[Request], Step]:
    """A model that repeats what was said; to "hold" it answers when the gate opens."""

    def respond(request: Request) -> Step:
        said = asked(request)
        return Reply((gate, "held") if said == "hold" else ("You said: ", said))

    return respond


class World:
    """A platform. Every verb that is a kind of event takes the cell and the word; the rest is what can be seen of it.

    "press" is one more kind: a button whose data is all the word, as only a forged client sends it.
    """

    platform: str
    lacks: ClassVar[Mapping[str, str]] = {}  # kind of event → why there is none
    data: Path  # all that Boswell keeps

    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate  # see `echo`
        self.said: dict[
            int, Any
        ] = {}  # what the cell's person wrote last in private, as the platform knows it
        self.names: dict[int, str] = {}  # of people who do not bear their cell's

    def name(self, cell: int) -> str:
        """What the cell's person calls themselves."""
        return self.names.get(cell, name_of(cell))

    @staticmethod
    def person(cell: int) -> str:
        """The user id of the cell's person."""
        raise NotImplementedError

    @staticmethod
    def group(cell: int) -> str:
        """The cell's group, as the configuration names it."""
        raise NotImplementedError

    async def do(self, kind: str, cell: int, word: str) -> None:
        """Let it happen."""
        getattr(self, kind.replace(" ", "_"))(cell, word)

    async def rewrite(self, cell: int, word: str) -> None:
        """The cell's person edits what they wrote last in private."""
        raise NotImplementedError

    async def received(self) -> None:
        """Return once all that happened was received."""

    async def settle(self) -> None:
        """Return once all that happened has been worked on to its end."""
        raise NotImplementedError

    def shown(self, cell: int) -> list[str]:
        """What the bot said for all to see in the cell's places."""
        raise NotImplementedError

    def told(self, cell: int) -> list[str]:
        """What the cell's person alone was shown."""
        raise NotImplementedError

    def left(self, cell: int) -> int:
        """How often the bot went out of the cell's group."""
        raise NotImplementedError

    def waiting(self, cell: int) -> bool:
        """Whether the person looks at a sign that an answer will come, and none has."""
        raise NotImplementedError

    def asked(self) -> list[str]:
        """All that a model was sent, a text for each call."""
        raise NotImplementedError

    def logged(self) -> str:
        """All that was logged, at every level."""
        return ""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database has on disk now."""
        path = next(self.data.rglob("boswell.db"))
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def kept(self) -> Kept:
        """All that is on disk now."""
        tables = [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        held = {f"table {table}": repr(self.rows(f"SELECT * FROM {table}")).encode() for table in tables}
        for file in sorted(self.data.rglob("*")):
            place = f"file {file.relative_to(self.data)}"
            held[place] = place.encode() + (file.read_bytes() if file.is_file() else b"")
        return Kept(held)


@dataclass(frozen=True)
class Kept:
    """What every table and every file (and its name) holds."""

    held: Mapping[str, bytes]

    def where(self, word: str) -> list[str]:
        """The places that have a word."""
        return [place for place, content in self.held.items() if word.encode() in content]


async def seed(path: Path, decisions: Mapping[str, Iterable[str]], at: float) -> None:
    """What was decided before Boswell started: state (pending, approved, denied, revoked) to user ids."""

    def unit(tx: Tx) -> None:
        for state, users in decisions.items():
            for user in users:
                chat = asdict(Chat(user.partition("-")[0], f"of-{user}"))
                code = people.ask(tx, user, "", chat, at)
                assert code, "too many wait"
                if state == "pending":
                    tx.run("person_refused", user_id=user, at=at)
                    continue
                people.decide(tx, code, state != "denied", "command line", at)
                people.welcomed(tx, user)
                if state == "revoked":
                    people.revoke(tx, user)

    path.parent.mkdir(parents=True, exist_ok=True)
    async with open_database(path) as database:
        await database.write(unit)


class InMemory(World):
    platform = "memory"
    lacks: ClassVar[Mapping[str, str]] = {
        "reaction": NO_REACTIONS,
        "added": "adapters do not tell of it",
    }

    def __init__(self, house: House, model: ScriptedModel, clock: list[float], gate: asyncio.Event) -> None:
        super().__init__(gate)
        self._house = house
        self._model = model
        self.clock = clock
        self._given: list[str] = []  # the `via` of every slash command and pressed button
        self.data = house.folder

    @staticmethod
    def person(cell: int) -> str:
        return f"memory-{cell}"

    @staticmethod
    def group(cell: int) -> str:
        return f"memory--{cell}"

    async def do(self, kind: str, cell: int, word: str) -> None:
        group = Chat("memory", f"-{cell}", "group", word)
        more: dict[str, Any] = {"person": Person(f"memory-{cell}", self.name(cell), "en")}
        text = word
        if kind == "press" and parse_command(f"/{word}")[0] is None:
            return  # adapters take no data for theirs that is no command
        match kind:
            case "plain":
                more["chat"] = group
            case "mention" | "reply":
                more |= {"chat": group, "addressed": True}
            case "edit":
                more |= {"kind": "edit"}
            case "group edit":
                more |= {"kind": "edit", "chat": group, "addressed": True}
            case "command" | "group command":
                text = f"/timezone {word}"
                more |= {"chat": group} if "group" in kind else {}
            case "slash" | "group slash":
                text = f"/timezone {word}"
                more |= {"via": self._via(cell), "message_id": "", "addressed": True}
                more |= {"chat": group} if "group" in kind else {}
            case "button" | "press":
                text = f"/{word}" if kind == "press" else f"/stop {word}"
                more |= {"via": self._via(cell), "message_id": "", "chat": group, "addressed": True}
            case "file":
                text, more["unsupported"] = "", "a file"
            case "removed":
                more |= {"kind": "left", "chat": group}
        self.said[cell] = await self._house.say(text, str(cell), **more)

    async def rewrite(self, cell: int, word: str) -> None:
        key = f"edit of {self.said[cell].key}"
        await self._house.hand_in(replace(self.said[cell], kind="edit", key=key, text=word))

    def _via(self, cell: int) -> str:
        self._given.append(f"{cell} {len(self._given)}")
        return self._given[-1]

    async def settle(self) -> None:
        await self._house.settled()

    def shown(self, cell: int) -> list[str]:
        told = self.told(cell)
        return [t for chat in (str(cell), f"-{cell}") for t in self._house.texts(chat) if t not in told]

    def told(self, cell: int) -> list[str]:
        return [t for via, t in self._house.adapter.answers.items() if via.startswith(f"{cell} ")]

    def left(self, cell: int) -> int:
        return self._house.adapter.left.count(f"-{cell}")

    def waiting(self, cell: int) -> bool:
        adapter = self._house.adapter
        pressed = {via for via in self._given if via.startswith(f"{cell} ")}
        return bool(pressed - set(adapter.answers) - set(adapter.dismissed))

    def asked(self) -> list[str]:
        return [repr(request.events) for request in self._model.requests]


@asynccontextmanager
async def in_memory(
    folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any
) -> AsyncIterator[InMemory]:
    gate = asyncio.Event()

    def respond(request: ModelRequest) -> list[Any]:
        said = request.events[-1].text  # type: ignore[union-attr]  # it is a person's
        return [gate, "held"] if said == "hold" else [f"You said: {said}"]

    model = ScriptedModel(respond)
    await seed(folder / "boswell.db", decisions, at)
    sections = {"limits": {"turns_per_minute": None}, **sections}
    clock = [at]
    async with house(folder, model, now=lambda: clock[0], **sections) as running:
        yield InMemory(running, model, clock, gate)


class Live(World):
    """A platform whose scripted server a whole Boswell is connected to."""

    def __init__(self, boswell: Started, gate: asyncio.Event) -> None:
        super().__init__(gate)
        self.boswell = boswell
        self.data = boswell.path.parent / "data"

    async def settle(self) -> None:
        await self.received()
        owed = """SELECT 'inbox', id FROM inbox WHERE state IN ('waiting', 'running')
                  UNION ALL SELECT 'outbox', turn_id FROM outbox WHERE state IN ('open', 'ready')"""
        try:
            await self.boswell.until(lambda: not self.boswell.rows(owed), 20)
        except TimeoutError:
            assert self.boswell.rows(owed) == [], "it does not come to an end"

    def asked(self) -> list[str]:
        return [json.dumps(request.body) for request in self.boswell.model.requests]

    def logged(self) -> str:
        return repr(self.boswell.logs)


class Telegram(Live):
    platform = "telegram"
    lacks: ClassVar[Mapping[str, str]] = {
        "slash": "commands are messages there",
        "group slash": "commands are messages there",
    }

    def __init__(self, boswell: OnTelegram, gate: asyncio.Event) -> None:
        super().__init__(boswell, gate)
        self.server = boswell.telegram

    @staticmethod
    def person(cell: int) -> str:
        return f"telegram-{cell}"

    @staticmethod
    def group(cell: int) -> str:
        return f"telegram--{cell}"

    async def received(self) -> None:
        await self.server.wait_for(lambda server: not server.pending)

    async def rewrite(self, cell: int, word: str) -> None:
        self.server.edit(cell, cell, self.said[cell], word, name=self.name(cell))

    def message(self, cell: int, word: str) -> None:
        self.said[cell] = self.server.say(cell, cell, word, name=self.name(cell))

    def plain(self, cell: int, word: str) -> None:
        self.server.say(-cell, cell, word, name=self.name(cell), title=word)

    def mention(self, cell: int, word: str) -> None:
        self.server.say(-cell, cell, f"@boswell_bot {word}", name=self.name(cell), title=word)

    def reply(self, cell: int, word: str) -> None:
        before = {
            "message_id": 1,
            "date": 1,
            "chat": {"id": -cell, "type": "supergroup"},
            "from": self.server.bot,
        }
        self.server.say(
            -cell, cell, word, name=self.name(cell), title=word, reply_to={**before, "text": BEFORE}
        )

    def edit(self, cell: int, word: str) -> None:
        self.server.edit(cell, cell, 1, word, name=self.name(cell))

    def group_edit(self, cell: int, word: str) -> None:
        self.server.edit(-cell, cell, 1, f"@boswell_bot {word}", name=self.name(cell), title=word)

    def command(self, cell: int, word: str) -> None:
        self.server.say(cell, cell, f"/timezone {word}", name=self.name(cell))

    def group_command(self, cell: int, word: str) -> None:
        self.server.say(-cell, cell, f"/timezone {word}", name=self.name(cell), title=word)

    def button(self, cell: int, word: str) -> None:
        self.press(cell, f"stop {word}")

    def press(self, cell: int, data: str) -> None:
        self.server.press(-cell, cell, data, name=self.name(cell), title=data)

    def reaction(self, cell: int, word: str) -> None:
        self.server.react(cell, cell, word, name=self.name(cell))

    def file(self, cell: int, word: str) -> None:
        document = {"file_id": word, "file_unique_id": word, "file_name": f"{word}.pdf"}
        self.server.say(cell, cell, None, name=self.name(cell), document=document)

    def added(self, cell: int, word: str) -> None:
        self.server.invite(-cell, cell, name=self.name(cell), title=word)

    def removed(self, cell: int, word: str) -> None:
        self.server.block(-cell, cell, name=self.name(cell), title=word)

    def shown(self, cell: int) -> list[str]:
        return [*self.server.chat(cell).texts, *self.server.chat(-cell).texts]

    def told(self, cell: int) -> list[str]:
        return [text for user, text in self.server.notices if user == cell]

    def left(self, cell: int) -> int:
        return self.server.left.count(-cell)

    def waiting(self, cell: int) -> bool:
        return cell in self.server.pressed.values()


class TelegramByWebhook(Telegram):
    def __init__(self, boswell: OnTelegram, gate: asyncio.Event, http: aiohttp.ClientSession) -> None:
        super().__init__(boswell, gate)
        self._http = http
        port = next(line["port"] for line in boswell.logs if line["event"] == "listening")
        self._url = f"http://127.0.0.1:{port}/telegram"

    async def received(self) -> None:
        headers = {"X-Telegram-Bot-Api-Secret-Token": WEBHOOK_SECRET}
        while self.server.pending:
            update = self.server.pending.popleft()
            async with self._http.post(self._url, json=update, headers=headers) as response:
                assert response.status == 200


@asynccontextmanager
async def telegram_polling(
    folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any
) -> AsyncIterator[Telegram]:
    await seed(folder / "data" / "boswell.db", decisions, at)
    gate = asyncio.Event()
    async with on_telegram(folder, echo(gate), limits={"turns_per_minute": None}, **sections) as boswell:
        yield Telegram(boswell, gate)


@asynccontextmanager
async def telegram_webhook(
    folder: Path, decisions: Mapping[str, Iterable[str]], at: float, **sections: Any
) -> AsyncIterator[Telegram]:
    await seed(folder / "data" / "boswell.db", decisions, at)
    settings = {
        "mode": "webhook",
        "webhook_url": "https://bot.example.org",
        "webhook_secret": WEBHOOK_SECRET,
    }
    sections = {"limits": {"turns_per_minute": None}, "server": {"port": 0}, **sections}
    gate = asyncio.Event()
    async with (
        on_telegram(folder, echo(gate), telegram=settings, **sections) as boswell,
        aiohttp.ClientSession() as http,
    ):
        await boswell.until(lambda: boswell.state()[0] == "up")
        yield TelegramByWebhook(boswell, gate, http)
