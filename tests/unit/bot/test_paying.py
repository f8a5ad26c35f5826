"""What an agent does about money: each call is reserved before it is made, and told of once, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.agent import DEFAULT_MAX_OUTPUT, Agent, Interrupted, ModelCall, Reply
from bot.context import NO_SUMMARY
from bot.errors import (
    LimitReached,
    ModelError,
    ModelOverloaded,
    ModelQuotaUsedUp,
    ModelRefused,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from bot.events import Summarised, ToolCall, Usage, UserSaid, Variables
from bot.limits import request_bound
from bot.models.base import Finished, ModelRequest
from bot.stream import Stream, Streams
from bot.tools.base import Tool, ToolContext, tool
from memory import inbox
from memory.database import Database, Tx, open_database
from memory.transcripts import Transcripts
from tests.fakes.scripted_model import ScriptedModel


@tool
def note(context: ToolContext) -> str:
    """Take a note."""
    return "noted"


TOOLS: dict[str, Tool] = {"note": note}


class Ledger:
    """Gives reservations and hears of every call. `most` is how many it gives before the limit is reached."""

    def __init__(self, most: int = 100) -> None:
        self.reserved: list[tuple[str, int, int]] = []
        self.recorded: list[ModelCall] = []
        self.unrecorded: list[ModelCall] = []
        self.replies: list[Reply] = []
        self.gate: asyncio.Event | None = None
        self._most = most

    async def reserve(self, model: str, read: int, written: int, less_will_do: bool) -> tuple[int, int]:
        if len(self.reserved) == self._most:
            raise LimitReached("usd_per_day", 0.0)
        self.reserved.append((model, read, written))
        if self.gate is not None:
            await self.gate.wait()
        return len(self.reserved), written

    def record(self, tx: Tx, calls: Sequence[ModelCall], reply: Reply | None) -> None:
        self.recorded += calls
        self.replies += [reply] if reply else []

    def settled(self) -> list[tuple[str, int]]:
        """Every call by model and reservation, in order; each reservation must be there once."""
        calls = [*self.recorded, *self.unrecorded]
        assert [call.reservation for call in calls] == list(range(1, len(self.reserved) + 1))
        return [(call.model, call.usage.input) for call in calls]


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[Stream]:
    async with open_database(tmp_path / "b.db") as database:
        yield await begun(database)


async def begun(database: Database, turn: int = 1) -> Stream:
    def unit(tx: Tx) -> Stream:
        opened = tx.one("stream_open", key="k", at=1.0)
        made = Streams(database).load(tx, opened["id"], 1.0)
        tx._connection.execute(
            "INSERT INTO inbox (id, source, key, platform, state, received_at) VALUES (?1, 'x', ?1, 'x', 'waiting', 1) "
            "ON CONFLICT DO NOTHING",
            (turn,),
        )
        made.claim = inbox.claim(tx, turn, opened["id"], "", [], 1.0)
        return made

    return await database.write(unit)


async def ask(stream: Stream, ledger: Ledger, *models: ScriptedModel, **more: Any) -> Reply:
    async def make_context(variables: Variables, key: str) -> ToolContext:
        return ToolContext(variables, Transcripts(Path("nowhere")), lambda: 0.0, key)

    agent = Agent("B", "p", models, tools=TOOLS, **more)
    return await agent.ask(
        "hi",
        stream=stream,
        variables=Variables("memory-1", turn_id="1"),
        make_context=make_context,
        record=ledger.record,
        unrecorded=ledger.unrecorded,
        reserve=ledger.reserve,
    )


def model(*pieces: Any, name: str = "main") -> ScriptedModel:
    return ScriptedModel(lambda r: list(pieces), name=name)


def twice() -> ScriptedModel:
    return ScriptedModel(
        lambda r: [ToolCall("c", "note", "{}")] if isinstance(r.events[-1], UserSaid) else "done"
    )


async def test_each_round_is_reserved_by_bounds_of_its_own_request(stream: Stream) -> None:
    ledger, asked = Ledger(), twice()
    reply = await ask(stream, ledger, asked, capped=True)
    assert ledger.reserved == [("main", request_bound(r), DEFAULT_MAX_OUTPUT) for r in asked.requests]
    assert [r.max_output_tokens for r in asked.requests] == [DEFAULT_MAX_OUTPUT] * 2
    assert ledger.settled() == [("main", 10), ("main", 10)]
    assert reply.calls == tuple(ledger.recorded)
    assert ledger.unrecorded == []


async def test_the_bound_of_the_output_is_what_is_configured_and_what_is_sent(stream: Stream) -> None:
    ledger, main, spare = Ledger(), model(ModelUnauthorized("main", "p")), model("x", name="spare")
    main.max_output_tokens = 500
    await ask(stream, ledger, main, spare, capped=True)
    assert [written for _, _, written in ledger.reserved] == [500, DEFAULT_MAX_OUTPUT]
    assert [m.requests[0].max_output_tokens for m in (main, spare)] == [500, DEFAULT_MAX_OUTPUT]


async def test_the_agents_own_bound_goes_first(stream: Stream) -> None:
    ledger, main = Ledger(), model("x")
    main.max_output_tokens = 500
    await ask(stream, ledger, main, max_output_tokens=50)
    assert [written for _, _, written in ledger.reserved] == [50]


async def test_where_no_limit_relies_on_it_nothing_is_bound_that_was_not_configured(stream: Stream) -> None:
    ledger, main = Ledger(), model("x")
    await ask(stream, ledger, main)
    assert ledger.reserved == [("main", request_bound(main.requests[0]), DEFAULT_MAX_OUTPUT)]
    assert main.requests[0].max_output_tokens is None


@pytest.mark.parametrize(
    "error", [ModelUnauthorized, ModelQuotaUsedUp, ModelRejected, ModelOverloaded], ids=lambda e: e.__name__
)
async def test_who_was_turned_away_unread_has_used_nothing(stream: Stream, error: type[ModelError]) -> None:
    ledger = Ledger()
    told = error("main", "p")
    if isinstance(told, ModelOverloaded):
        told.retry_after = 60.0
    await ask(stream, ledger, model(told), model("I am here", name="spare"))
    assert ledger.settled() == [("main", 0), ("spare", 10)]


@pytest.mark.parametrize(
    "pieces",
    [
        (ModelUnavailable("main", "p"),),
        ("Half an answer", ModelUnavailable("main", "p")),
        (ModelRefused("main", "p"),),
        ("Half", RuntimeError("a mistake of ours")),
    ],
)
async def test_what_broke_may_have_been_paid_for(stream: Stream, pieces: Sequence[Any]) -> None:
    def answer(_: ModelRequest) -> list[Any]:
        if isinstance(pieces[-1], RuntimeError):
            raise pieces[-1]
        return list(pieces)

    ledger = Ledger()
    with pytest.raises(Interrupted):
        await ask(stream, ledger, ScriptedModel(answer))
    assert all(read > 20 for _, read in ledger.settled())
    assert ledger.recorded == []


async def test_what_a_provider_counted_for_a_failure_is_taken_over(stream: Stream) -> None:
    error = ModelRefused("main", "p")
    error.usage = Usage(77, 0, 3)
    ledger = Ledger()
    with pytest.raises(Interrupted):
        await ask(stream, ledger, model(error))
    assert ledger.settled() == [("main", 77)]


async def test_a_server_that_does_not_count_is_counted_for(stream: Stream) -> None:
    ledger = Ledger()
    await ask(stream, ledger, model("four words of text", Finished("stop", Usage())))
    [call] = ledger.recorded
    assert call.usage.input > 20
    assert call.usage.output >= 4


async def test_a_limit_ends_the_ask_without_a_fallback_and_keeps_what_was_shown(stream: Stream) -> None:
    main = ScriptedModel(lambda r: ["I look. ", ToolCall("c", "note", "{}")])
    ledger, spare = Ledger(most=1), model("never", name="spare")
    with pytest.raises(Interrupted) as caught:
        await ask(stream, ledger, main, spare)
    assert isinstance(caught.value.cause, LimitReached)
    assert caught.value.text == "I look. "
    assert (len(main.requests), len(spare.requests)) == (1, 0)
    assert ledger.settled() == [("main", 10)]


async def cancelled(asking: asyncio.Task[Any]) -> None:
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


@pytest.mark.parametrize("before", ["", "Half"])
async def test_who_stops_a_call_has_used_what_was_sent(stream: Stream, before: str) -> None:
    ledger, main = Ledger(), model(before, asyncio.Event())
    asking = asyncio.create_task(ask(stream, ledger, main))
    await until(lambda: main.requests)
    await cancelled(asking)
    assert [read > 20 for _, read in ledger.settled()] == [True]


async def test_who_stops_while_it_is_reserved_leaves_no_reservation_behind(stream: Stream) -> None:
    ledger, main = Ledger(), model("never")
    ledger.gate = asyncio.Event()
    asking = asyncio.create_task(ask(stream, ledger, main))
    await until(lambda: ledger.reserved)
    asking.cancel()
    await asyncio.sleep(0)
    ledger.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ledger.settled() == [("main", 0)]
    assert not main.requests


async def test_who_stops_while_it_is_recorded_records_it_once(stream: Stream) -> None:
    ledger = Ledger()
    asking = asyncio.create_task(ask(stream, ledger, twice()))
    append = stream.append

    async def slow(*events: Any, **more: Any) -> Any:
        stopping.set()
        return await append(*events, **more)

    await until(lambda: stream.events)
    stopping = asyncio.Event()
    stream.append = slow  # type: ignore[method-assign]  # to know the moment
    await stopping.wait()
    await cancelled(asking)
    assert ledger.settled() == [("main", 10)]
    assert len(ledger.recorded) == 1


async def test_a_summary_is_reserved_like_every_call_and_a_limit_stops_it_too(stream: Stream) -> None:
    for n in range(30):
        await stream.append(UserSaid(f"{n} " * 200), at=1.0)
    stream.claim = None
    stream = await begun(stream._database, turn=2)
    ledger = Ledger(most=0)
    with pytest.raises(Interrupted) as caught:
        await ask(stream, ledger, model("x"), context_tokens=1000)
    assert isinstance(caught.value.cause, LimitReached)
    ledger, main = Ledger(), model("Notes.")
    await ask(stream, ledger, main, context_tokens=1000)
    assert len(main.requests) == len(ledger.settled()) == 2
    assert ledger.reserved[0][2] == 1000


async def test_a_summary_that_fails_is_asked_of_the_fallback_and_paid_for(stream: Stream) -> None:
    for n in range(30):
        await stream.append(UserSaid(f"{n} " * 200), at=1.0)
    stream = await begun(stream._database, turn=2)
    ledger = Ledger()
    await ask(
        stream,
        ledger,
        model(ModelUnauthorized("main", "p")),
        model("Notes.", name="spare"),
        context_tokens=1000,
    )
    assert [name for name, _ in ledger.settled()] == ["main", "spare", "main", "spare"]
    summary = next(event for event in stream.events if isinstance(event, Summarised))
    assert summary.text == "Notes." != NO_SUMMARY
