"""What was tried against it, where it once gave way: floods, absurd figures, decisions that race."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot import reload
from bot.app import KEEP_ROWS, prune
from bot.events import Usage
from bot.limits import MOST_USD
from bot.models.base import Finished
from bot.models.wire import tokens
from bot.reload import Reloader
from config import Config, load
from memory import people
from tests.fakes.house import House, house
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.watched import Watched

FLOOD = 30
PACE = 5


def fine() -> ScriptedModel:
    return ScriptedModel(lambda request: "Fine.")


@pytest.mark.parametrize(
    "more",
    [
        {"text": "", "unsupported": "a sticker"},
        {"text": " "},
        {"text": "x" * 60_000},
        {"text": "/nonsense"},
        {"text": "/help"},
        {"text": "/stop"},
        {"text": "/clear"},
        {"text": "hello"},
    ],
    ids=lambda more: str(more)[:40],
)
async def test_no_flood_of_any_kind_is_answered_faster_than_turns_are(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    """Answers leave at the platform's pace: those to a flood would hold up everybody else's in the chat for hours."""
    async with house(tmp_path, fine(), limits={"turns_per_minute": PACE}) as h:
        await h.hand_in(*(h.update(**more) for _ in range(FLOOD)))
        await h.settled()
        assert len(h.texts()) == PACE + 1
        assert ["(ref t" in text for text in h.texts()] == [False] * PACE + [True]


@pytest.mark.parametrize("command", ["/stop", "/clear"])
async def test_what_ends_a_turn_does_so_after_a_flood_and_says_so(tmp_path: Path, command: str) -> None:
    never = asyncio.Event()
    model = ScriptedModel(lambda request: ["One two", never])
    async with house(tmp_path, model, limits={"turns_per_minute": PACE}) as h:
        await h.say("count")
        await asyncio.wait_for(h.adapter.wait_for(lambda: "One" in "".join(h.texts())), 10)
        await h.hand_in(*(h.update("/nonsense") for _ in range(FLOOD)))
        await asyncio.wait_for(h.adapter.wait_for(lambda: "(ref t" in h.texts()[-1]), 10)
        before = len(h.texts())
        await h.say(command)
        await h.settled()
        assert len(h.texts()) == before + 1


@pytest.mark.parametrize("first", ["approve", "deny"])
async def test_of_two_decisions_at_once_only_the_one_that_counts_is_confirmed(
    tmp_path: Path, first: str
) -> None:
    second = "deny" if first == "approve" else "approve"
    access = {"policy": "pairing", "operators": ["memory-8", "memory-9"]}
    async with house(tmp_path, fine(), access=access) as h:
        await h.say("hello")
        await h.settled()
        [one] = await h.database.read(lambda tx: people.pending(tx, 0))
        await h.hand_in(
            h.update(f"/pair {first} {one.code}", user="8"),
            h.update(f"/pair {second} {one.code}", user="9"),
        )
        await h.settled()
        said = [h.texts("8")[-1], h.texts("9")[-1]]
        assert sum("memory-1" in text for text in said) == 1
        kept = await state(h)
        [word] = [text for text in said if "memory-1" in text]
        assert ("let in" in word) == (kept == "approved")


@pytest.mark.parametrize("count", [2**53 - 1, 2**53, 10**400, -1, float("nan"), float("inf"), "5", None])
async def test_a_server_that_counts_absurdly_costs_nobody_their_answer(tmp_path: Path, count: object) -> None:
    model = ScriptedModel(lambda request: ["Fine.", Finished("stop", Usage(tokens(count), 0, tokens(count)))])
    priced = {"main": {"provider": "demo", "price": {"input": 1000, "output": 1000}}}
    async with house(tmp_path, model, models=priced, limits={"turns_per_minute": None}) as h:
        for _ in range(5):
            await h.say("hello")
        await h.settled()
        assert h.texts() == ["Fine."] * 5
        held = await h.database.read(lambda tx: tx.one("spend_last", scope="all", most="9999")["held_nano"])
        assert held == 0


@pytest.mark.parametrize("limit", [None, MOST_USD * 10, 1e300])
async def test_a_price_beyond_reason_keeps_nobody_from_an_answer(tmp_path: Path, limit: float | None) -> None:
    priced = {"main": {"provider": "demo", "price": {"input": 1e300, "output": 1e300}}}
    async with house(tmp_path, fine(), models=priced, limits={"usd_per_day": limit}) as h:
        await h.say("hello")
        await h.settled()
        assert h.texts() == ["Fine."]


@pytest.mark.parametrize("policy", ["pairing", "closed"])
async def test_of_a_crowd_of_strangers_nothing_stays_for_good(tmp_path: Path, policy: str) -> None:
    async with house(tmp_path, fine(), access={"policy": policy, "allow": ["memory-1"]}) as h:
        await h.say("hello")
        await h.say("/timezone Asia/Tokyo")
        await h.hand_in(*(h.update("let me in", user=str(100 + n)) for n in range(50)))
        await h.settled()
        later = h.parts.turns.now() + KEEP_ROWS + people.CODE_SECONDS + 60
        await h.database.write(lambda tx: prune(tx, later))
        tables = ("inbox", "outbox", "turns", "people", "pairing")
        left = await h.database.read(
            lambda tx: [
                tx._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables
            ]
        )
        assert dict(zip(tables, left, strict=True)) == {
            "inbox": 0,
            "outbox": 0,
            "turns": 1,
            "people": 1,
            "pairing": 0,
        }


class Reloading(Watched):
    """A file and what is applied of it, by the agent's name."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(reload, "INTERVAL", 0.01)
        self.path = folder / "boswell.yaml"
        self.applied: list[str] = []
        self.meanwhile: list[str] = []  # names that are written while the one before is applied

    def write(self, name: str) -> None:
        self.path.write_text(f"agent: {{name: {name}}}")

    def apply(self, _: Config, new: Config) -> None:
        self.applied.append(new.agent.name)
        if self.meanwhile:
            self.write(self.meanwhile.pop(0))
        self._note()


async def test_a_file_that_changes_while_a_reload_or_the_start_is_under_way_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Reloading(tmp_path, monkeypatch)
    there.write("One")
    first = load(there.path, {}).config
    there.write("Two")  # before anybody watches the file
    there.meanwhile = ["Three", "Four"]
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(
            Reloader(there.path, asyncio.Event(), first, there.apply).run(), name="reload"
        )
        await there.until(lambda: there.applied == ["Two", "Three", "Four"])
        watching.cancel()


async def state(h: House) -> str:
    return await h.database.read(lambda tx: people.state(tx, "memory-1"))
