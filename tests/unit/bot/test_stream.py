"""A stream's bus, its log, and the middleware around an ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.agent import Agent, Middleware, Reply
from bot.events import (
    AssistantSaid,
    Delta,
    Summarised,
    ToolCall,
    ToolReturned,
    TurnEnded,
    UserSaid,
    Variables,
)
from bot.models.base import Model, ModelEvent, ModelRequest
from bot.stream import Stream, Streams
from bot.tools import ALL, named
from bot.tools.base import Tool, ToolContext
from memory import inbox
from memory.database import Database, Fenced, Tx, open_database
from memory.transcripts import Transcripts
from tests.fakes.scripted_model import ScriptedModel


async def begun(database: Database, key: str = "k", turn: int = 1) -> Stream:
    def unit(tx: Tx) -> Stream:
        opened = tx.one("stream_open", key=key, at=1.0)
        stream = Streams(database).load(tx, opened["id"], 1.0)
        tx._connection.execute(
            "INSERT INTO inbox (id, source, key, platform, state, received_at) VALUES (?1, 'x', ?1, 'x', 'waiting', 1) "
            "ON CONFLICT DO NOTHING",
            (turn,),
        )
        stream.claim = inbox.claim(tx, turn, opened["id"], "", [], 1.0)
        return stream

    return await database.write(unit)


def ask(agent: Agent, stream: Stream, folder: Path, text: str = "hi", **more: Any) -> Any:
    variables = Variables("memory-1", turn_id="1")

    async def make_context(variables: Variables, key: str) -> ToolContext:
        return ToolContext(variables, Transcripts(folder), lambda: 0.0, key)

    return agent.ask(text, stream=stream, variables=variables, make_context=make_context, **more)


async def test_an_agent_answers_on_a_stream_and_tells_the_bus(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        stream = await begun(database)
        watcher = stream.subscribe()
        agent = Agent("B", "p", [ScriptedModel(lambda r: "one two")])
        reply = await ask(agent, stream, tmp_path)
        watcher.close()
        assert reply.text == "one two"
        seen = [event async for event in watcher]
        assert seen == [
            UserSaid("hi"),
            Delta("one"),
            Delta(" two"),
            AssistantSaid("one two", model="main"),
            TurnEnded("one two"),
        ]


async def test_a_watcher_who_never_looks_neither_slows_nor_grows(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        stream = await begun(database)
        lazy = stream.subscribe(size=10)
        agent = Agent("B", "p", [ScriptedModel(lambda r: "word " * 500)])
        reply = await ask(agent, stream, tmp_path)
        assert len(reply.text.split()) == 500
        lazy.close()
        assert len([event async for event in lazy]) == 10
        assert lazy.dropped > 400


async def test_the_log_is_the_same_after_loading_it_again(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        stream = await begun(database)
        for n in range(6):
            await stream.append(UserSaid(f"q{n}"), AssistantSaid(f"a{n}", model="main"), at=1.0)
        await stream.append(Summarised("notes", upto=8), at=1.0)
        await stream.append(UserSaid("q6"), at=1.0)
        await stream.append(Summarised("more notes", upto=10), at=1.0)
        loaded = await database.read(lambda tx: Streams(database).load(tx, stream.id, 1.0))
        assert loaded.events == stream.events
        assert stream.events[0] == Summarised("more notes", upto=10)
        assert stream.events[1:] == [UserSaid("q5"), AssistantSaid("a5", model="main"), UserSaid("q6")]


async def test_a_fenced_writer_leaves_no_trace(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        stale, current = await begun(database), await begun(database)
        with pytest.raises(Fenced):
            await stale.append(UserSaid("stale"), at=1.0)
        await current.append(UserSaid("current"), at=1.0)
        loaded = await database.read(lambda tx: Streams(database).load(tx, current.id, 1.0))
        assert loaded.events == [UserSaid("current")]


async def test_middleware_wraps_turns_model_calls_and_tool_calls_in_the_order_given(tmp_path: Path) -> None:
    seen: list[str] = []

    class Tracing(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def turn(self, stream: Stream, variables: Variables, proceed: Any) -> Reply:
            seen.append(f"{self.name} turn")
            reply: Reply = await proceed(stream, variables)
            seen.append(f"{self.name} turn over")
            return reply

        async def model(self, model: Model, request: ModelRequest, proceed: Any) -> AsyncIterator[ModelEvent]:
            seen.append(f"{self.name} model")
            async for event in proceed(model, request):
                yield event

        async def tool(self, tool: Tool, call: ToolCall, context: ToolContext, proceed: Any) -> str:
            seen.append(f"{self.name} tool {call.name}")
            return f"{await proceed(tool, call, context)} ({self.name})"

    script = ScriptedModel(
        lambda r: [ToolCall("c", "clock", "{}")] if isinstance(r.events[-1], UserSaid) else "done"
    )
    agent = Agent("B", "p", [script], tools=named(ALL), middleware=[Tracing("outer"), Tracing("inner")])
    async with open_database(tmp_path / "b.db") as database:
        stream = await begun(database)
        await ask(agent, stream, tmp_path)
        result = next(e for e in stream.events if isinstance(e, ToolReturned))
        assert result.content.endswith("(inner) (outer)")
    assert seen == [
        "outer turn",
        "inner turn",
        "outer model",
        "inner model",
        "outer tool clock",
        "inner tool clock",
        "outer model",
        "inner model",
        "inner turn over",
        "outer turn over",
    ]


async def test_a_cancelled_tool_round_leaves_history_that_every_provider_takes(tmp_path: Path) -> None:
    model = ScriptedModel(lambda r: "fine")
    agent = Agent("B", "p", [model])
    async with open_database(tmp_path / "b.db") as database:
        stream = await begun(database)
        await stream.append(
            UserSaid("go"), AssistantSaid("", (ToolCall("c1", "x", "{}"), ToolCall("c2", "x", "{}"))), at=1.0
        )
        await stream.append(ToolReturned("c2", "x", "two"), at=1.0)
        later = await begun(database, turn=2)
        await ask(agent, later, tmp_path, "again")
        _, _, first, second, again = model.requests[0].events
        assert isinstance(first, ToolReturned)
        assert first.failed
        assert second == ToolReturned("c2", "x", "two")
        assert again == UserSaid("again")


async def test_asks_of_many_streams_run_side_by_side(tmp_path: Path) -> None:
    barrier = asyncio.Barrier(8)

    async def answer(request: ModelRequest) -> str:
        await barrier.wait()
        return "together"

    agent = Agent("B", "p", [ScriptedModel(answer)])
    async with open_database(tmp_path / "b.db") as database:
        streams = [await begun(database, key=f"k{n}", turn=n) for n in range(1, 9)]
        replies = await asyncio.gather(*(ask(agent, stream, tmp_path) for stream in streams))
        assert {reply.text for reply in replies} == {"together"}
