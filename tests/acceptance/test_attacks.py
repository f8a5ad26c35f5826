"""What was tried against it, where it once gave way: floods, absurd figures, decisions that race."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from memory import people
from tests.fakes.house import House, house
from tests.fakes.scripted_model import ScriptedModel

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


async def state(h: House) -> str:
    return await h.database.read(lambda tx: people.state(tx, "memory-1"))
