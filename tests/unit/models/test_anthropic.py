"""What is peculiar to Anthropic's Messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bot.errors import ContextTooLong, ModelRefused
from bot.events import AssistantSaid, Event, ToolReturned, UserSaid, from_json, to_json
from bot.models import build
from bot.models.base import Finished, Model, ModelRequest, TextDelta
from config.schema import ModelConfig
from tests.fakes.model_server import KEY, Call, ModelServer, Reply

HELLO = UserSaid("Hello")


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[Model]:
    model = build(
        "main", ModelConfig(provider="anthropic", model="claude-x", api_key=KEY, base_url=server.url)
    )
    yield model
    await model.close()


async def ask(model: Model, events: Sequence[Event] = (HELLO,), **more: Any) -> tuple[str, Finished]:
    *deltas, last = [event async for event in model.stream(ModelRequest("Be brief.", events, **more))]
    assert isinstance(last, Finished)
    return "".join(d.text for d in deltas if isinstance(d, TextDelta)), last


def said(text: str, finished: Finished) -> AssistantSaid:
    """As it comes back from the stream's log."""
    event = AssistantSaid(text, finished.calls, "main", finished.opaque)
    stored = from_json("assistant", to_json(event))
    assert isinstance(stored, AssistantSaid)
    return stored


async def test_thinking_is_not_shown_and_goes_back_word_for_word(server: ModelServer, model: Model) -> None:
    server.script += [
        Reply(("I look.",), (Call("x", '{"a": 1}', "t1"),), ("Hm, ", "let me see"), redacted="ZW5j"),
        Reply(("Done.",)),
    ]
    text, finished = await ask(model)
    assert text == "I look."
    await ask(model, [HELLO, said(text, finished), ToolReturned("t1", "x", "ok")])
    assert server.requests[1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm, let me see", "signature": "c2lnbmVk"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "x", "input": {"a": 1}},
    ]


async def test_thinking_is_not_given_to_another_model(server: ModelServer, model: Model) -> None:
    server.script += [Reply((), (Call("x", "{}", "t1"),), ("Hm",)), Reply(("x",))]
    text, finished = await ask(model)
    other = build(
        "main", ModelConfig(provider="anthropic", model="claude-y", api_key=KEY, base_url=server.url)
    )
    await ask(other, [HELLO, said(text, finished), ToolReturned("t1", "x", "ok")])
    assert [block["type"] for block in server.requests[1].body["messages"][1]["content"]] == ["tool_use"]
    await other.close()


async def test_a_call_that_was_dropped_is_not_sent_back_with_the_thinking(
    server: ModelServer, model: Model
) -> None:
    server.script += [Reply(("Hm.",), (Call("x", "{}", "t1"),), ("Hm",)), Reply(("x",))]
    text, finished = await ask(model)
    await ask(model, [HELLO, AssistantSaid(text, (), "main", finished.opaque), UserSaid("So?")])
    assert [block["type"] for block in server.requests[1].body["messages"][1]["content"]] == [
        "thinking",
        "text",
    ]


async def test_arguments_that_are_no_json_spoil_no_later_request(server: ModelServer, model: Model) -> None:
    server.script += [Reply((), (Call("x", '{"a": ', "t1"),), ("Hm",)), Reply(("x",))]
    text, finished = await ask(model)
    assert finished.calls[0].arguments == '{"a": '
    await ask(model, [HELLO, said(text, finished), ToolReturned("t1", "x", "not JSON", failed=True)])
    body = server.requests[1].body["messages"]
    assert body[1]["content"][1]["input"] == {}
    assert body[2]["content"][0]["is_error"] is True


async def test_a_pause_is_taken_up_with_all_that_was_said(server: ModelServer, model: Model) -> None:
    server.script += [Reply(("Searching",), thinking=("Hm",), finish="pause_turn"), Reply(("Found.",))]
    text, finished = await ask(model)
    assert finished.reason == "pause"
    await ask(model, [HELLO, said(text, finished)])
    assert [message["role"] for message in server.requests[1].body["messages"]] == ["user", "assistant"]


async def test_plain_answers_keep_nothing_opaque(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(("x",), (Call("x"),)))
    assert (await ask(model))[1].opaque is None


async def test_the_prefix_is_cached_and_sampling_is_left_to_the_model(
    server: ModelServer, model: Model
) -> None:
    server.script.append(Reply(("x",)))
    await ask(model)
    body = server.requests[0].body
    assert body["cache_control"] == {"type": "ephemeral"}
    assert body["max_tokens"] == 8192
    assert not {"temperature", "top_p", "top_k"} & set(body)


async def test_a_last_round_without_tools_declares_those_of_the_history_and_forbids_them(
    server: ModelServer, model: Model
) -> None:
    server.script += [Reply((), (Call("x", "{}", "t1"),)), Reply(("x",))]
    text, finished = await ask(model)
    await ask(model, [HELLO, said(text, finished), ToolReturned("t1", "x", "ok")])
    body = server.requests[1].body
    assert [tool["name"] for tool in body["tools"]] == ["x"]
    assert body["tool_choice"] == {"type": "none"}


async def test_a_refusal_is_told(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(("No",), finish="refusal"))
    with pytest.raises(ModelRefused):
        await ask(model)


async def test_a_full_context_is_a_length_limit_only_if_something_was_said(
    server: ModelServer, model: Model
) -> None:
    server.script += [
        Reply(("So far",), finish="model_context_window_exceeded"),
        Reply(finish="model_context_window_exceeded"),
    ]
    text, finished = await ask(model)
    assert (text, finished.reason) == ("So far", "length")
    with pytest.raises(ContextTooLong):
        await ask(model)


async def test_older_proxies_find_the_key_where_they_look_for_it(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(("x",)))
    await ask(model)
    headers = server.requests[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-api-key"] == KEY
