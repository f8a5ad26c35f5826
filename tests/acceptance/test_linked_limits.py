"""What one person may spend on two platforms at once: the ledger of all of it is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.base import Chat
from bot.events import Usage, UserSaid
from bot.limits import request_bound
from bot.models.base import Finished, ModelRequest
from memory import links
from memory.database import Tx
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

MODELS = {"main": {"provider": "demo", "price": {"input": 2, "output": 8}}}
MOST = 16_000  # tokens that the model may write
FIFTY = range(10, 60)  # of one length, so that all cost the same
THEIRS = ("1", "memory"), ("1", "tavern")


@pytest.fixture(autouse=True)
def _logs_are_not_drawn() -> Iterator[None]:
    """A traceback is drawn for each turn that fails, and takes longer than all the rest of fifty of them."""
    with capture_logs():
        yield


def costly(request: ModelRequest) -> list[Any]:
    """An answer that uses all that it may use."""
    assert request.max_output_tokens is not None
    used = Usage(request_bound(request), 0, request.max_output_tokens)
    return ["Fine.", Finished("stop", used)]


def model_of(answer: Callable[[ModelRequest], Any]) -> ScriptedModel:
    model = ScriptedModel(answer)
    model.max_output_tokens = MOST
    return model


def everywhere(n: int) -> dict[str, Any]:
    """Who says the n-th message, and where: one person, in groups of both platforms by turns."""
    user, platform = THEIRS[n % 2]
    return {"user": user, "on": platform, "chat": Chat(platform, f"-{n}", "group"), "addressed": True}


async def link(h: House) -> None:
    def unit(tx: Tx) -> None:
        found = links.find(tx, links.ask(tx, "memory-1", "", "", None, 1e9), "tavern-1", 1e9)
        assert isinstance(found, links.Code)
        links.link(tx, found, "tavern-1", 1e9)

    await h.database.write(unit)
    h.parts.turns.stir()
    async with asyncio.timeout(10):
        while len(h.parts.turns.linked) < 2:  # noqa: ASYNC110 - the watch looks at the database in its own time
            await asyncio.sleep(0.01)


def refusals(*adapters: MemoryAdapter) -> int:
    return sum(
        "(ref t" in texts[-1]
        for adapter in adapters
        for chat in adapter.messages.values()
        for texts in chat.values()
    )


@pytest.mark.parametrize("at_once", [True, False], ids=["all at once", "four at a time"])
@pytest.mark.parametrize("unit", ["tokens", "usd"])
async def test_of_fifty_turns_on_two_platforms_no_more_are_paid_for_than_there_is_room_for(
    tmp_path: Path, unit: str, at_once: bool
) -> None:
    async with house(
        tmp_path / "one", model_of(costly), models=MODELS, limits={"total_tokens_per_day": 10**9}
    ) as h:
        await h.say("hello", **everywhere(FIFTY[0]))
        await h.settled()
        [(tokens, usd)] = h.rows("SELECT input + output, usd FROM usage")
    limit = usd * 3.5 if unit == "usd" else int(tokens * 3.5)
    go = asyncio.Event()
    model = model_of(lambda request: [go, *costly(request)])
    limits = {f"{unit}_per_day": limit, "turns_per_minute": None}
    if at_once:
        limits |= {"concurrent_turns": 50}
    else:
        go.set()
    tavern = MemoryAdapter("tavern")
    async with house(tmp_path / "many", model, also=[tavern], models=MODELS, limits=limits) as h:
        await link(h)
        await h.hand_in(*(h.update("hello", **everywhere(n)) for n in FIFTY))
        if at_once:  # none of those that are paid for ends before all the others were refused
            async with asyncio.timeout(20):
                while refusals(h.adapter, tavern) < 47:  # noqa: ASYNC110 - on either of two adapters
                    await asyncio.sleep(0.01)
            go.set()
        await h.settled()
        assert len(model.requests) == 3
        assert refusals(h.adapter, tavern) == 47
        booked = h.rows(
            "SELECT sum(tokens), sum(held_tokens + held_nano) FROM spend WHERE scope LIKE 'person:%'"
        )
        assert booked == [(3 * tokens, 0)]


async def test_turns_of_a_minute_are_counted_on_both_platforms_together(tmp_path: Path) -> None:
    model, tavern = ScriptedModel(lambda request: "Fine."), MemoryAdapter("tavern")
    async with house(tmp_path, model, also=[tavern], limits={"turns_per_minute": 7}) as h:
        await link(h)
        await h.hand_in(*(h.update("hello", user, on=on) for user, on in THEIRS * 20))
        await h.settled()
        assert len(model.requests) == 7
        seen = h.adapter.texts("1") + tavern.texts("1")
        assert seen.count("Fine.") == 7
        assert len(seen) == 9  # each side is told once why the others are not answered


async def test_turns_of_one_person_on_two_platforms_share_their_places(tmp_path: Path) -> None:
    go = asyncio.Event()
    running: set[str] = set()
    most: list[int] = []

    async def answer(request: ModelRequest) -> str:
        text = next(e.text for e in reversed(request.events) if isinstance(e, UserSaid))
        running.add(text)
        most.append(len(running))
        await go.wait()
        running.remove(text)
        return "done"

    tavern, limits = MemoryAdapter("tavern"), {"turns_per_minute": None, "concurrent_turns": 3}
    async with house(tmp_path, ScriptedModel(answer), also=[tavern], limits=limits) as h:
        await link(h)
        await h.hand_in(*(h.update(f"n{n}", **everywhere(n)) for n in range(20)))
        async with asyncio.timeout(10):
            while len(running) < 3:  # noqa: ASYNC110 - the model gives no sign of its own
                await asyncio.sleep(0.01)
        go.set()
        await h.settled()
        assert (max(most), len(most)) == (3, 20)


async def test_usage_tells_of_both_platforms_on_either(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: ["Fine.", Finished("stop", Usage(100, 0, 20))])
    tavern, limits = MemoryAdapter("tavern"), {"tokens_per_day": 500_000}
    async with house(tmp_path, model, also=[tavern], limits=limits) as h:
        await link(h)
        for user, on in THEIRS:
            await h.say("hello", user, on=on)
        await h.settled()
        for user, on in THEIRS:
            await h.say("/usage", user, on=on)
        await h.settled()
        for adapter in (h.adapter, tavern):
            told = adapter.texts("1")[-1]
            assert "Today: 2 model calls, 200 tokens read (0 cached), 40 written" in told
            assert "240 of 500,000" in told
