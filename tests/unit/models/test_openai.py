"""What is peculiar to Chat Completions and to the servers that are compatible with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bot.errors import ModelRefused, ModelUnavailable
from bot.events import AssistantSaid, Event, ToolCall, ToolReturned, Usage, UserSaid
from bot.models import build, wire
from bot.models.base import Finished, Model, ModelRequest, TextDelta
from config.schema import ModelConfig
from tests.fakes.model_server import KEY, ModelServer, Reply


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[Model]:
    model = build(
        "main", ModelConfig(provider="openai", model="m-1", api_key=KEY, base_url=server.base_url("openai"))
    )
    yield model
    await model.close()


async def ask(
    model: Model, events: Sequence[Event] = (UserSaid("Hello"),), **more: Any
) -> tuple[str, Finished]:
    *deltas, last = [event async for event in model.stream(ModelRequest("", events, **more))]
    assert isinstance(last, Finished)
    return "".join(d.text for d in deltas if isinstance(d, TextDelta)), last


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(
    index: int | None, id_: str | None = None, name: str | None = None, arguments: str = ""
) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return chunk(
        {"tool_calls": [piece | ({} if index is None else {"index": index}) | ({"id": id_} if id_ else {})]}
    )


async def test_hidden_reasoning_is_never_shown(server: ModelServer, model: Model) -> None:
    server.script += [
        Reply(("The answer.",), thinking=("Let me ", "think")),
        Reply(("\n<thi", "nk>secret </th", "ink>\n", "\nThe answer", ".")),
        Reply(("<think></think>The answer.",)),
    ]
    for _ in range(3):
        assert (await ask(model))[0] == "The answer."


@pytest.mark.parametrize("text", ["<thing> is fine", "<", "I <think> so</think>", "  spaced"])
async def test_text_that_only_looks_like_reasoning_is_whole(
    server: ModelServer, model: Model, text: str
) -> None:
    server.script.append(Reply(tuple(text)))
    assert (await ask(model))[0] == text


async def test_content_in_parts_is_text_without_its_thinking(server: ModelServer, model: Model) -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Yes."},
    ]
    server.script.append(Reply(chunks=(chunk({"content": parts}), chunk({}, "stop"))))
    assert (await ask(model))[0] == "Yes."


@pytest.mark.parametrize("index", [0, None])
async def test_calls_are_told_apart_by_id_where_a_server_does_not_number_them(
    server: ModelServer, model: Model, index: int | None
) -> None:
    server.script.append(
        Reply(
            chunks=(
                call(index, "a", "x", '{"n":'),
                call(index, None, None, "1}"),
                call(index, "b", "y", "{}"),
                chunk({}, "stop"),  # several servers say stop where they mean tool_calls
            )
        )
    )
    finished = (await ask(model))[1]
    assert finished.reason == "tools"
    assert finished.calls == (ToolCall("a", "x", '{"n":1}'), ToolCall("b", "y", "{}"))


async def test_an_answer_without_end_does_not_fill_the_memory(
    server: ModelServer, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments of a call are not shown, so nobody would see how many there are."""
    monkeypatch.setattr(wire, "MOST_BYTES", 1_000_000)
    pieces = [call(0, "a", "x", "1" * 10_000)] * 200
    server.script.append(Reply(chunks=(*pieces, chunk({}, "stop"))))
    with pytest.raises(ModelUnavailable, match="has no end"):
        await ask(model)


async def test_a_call_without_an_id_gets_one(server: ModelServer, model: Model) -> None:
    server.script.append(
        Reply(chunks=(call(0, None, "x", "{}"), call(1, None, "x", "{}"), chunk({}, "tool_calls")))
    )
    ids = {made.id for made in (await ask(model))[1].calls}
    assert len(ids) == 2
    assert all(ids)


async def test_what_gemini_hangs_on_a_call_goes_back_with_it_and_to_no_other_model(
    server: ModelServer, model: Model
) -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    piece = {"index": 0, "id": "a", "extra_content": signature, "function": {"name": "x", "arguments": "{}"}}
    server.strict = False  # the SDK's types know nothing of extra_content
    server.script += [
        Reply(chunks=(chunk({"tool_calls": [piece]}), chunk({}, "tool_calls"))),
        Reply(("x",)),
        Reply(("x",)),
    ]
    finished = (await ask(model))[1]
    said = AssistantSaid("", finished.calls, "main", finished.opaque)
    history: list[Event] = [UserSaid("Hello"), said, ToolReturned("a", "x", "ok")]
    await ask(model, history)
    assert server.requests[1].body["messages"][1]["tool_calls"][0]["extra_content"] == signature
    await model.close()
    other = build("main", ModelConfig(provider="openai", model="m-2", base_url=server.base_url("openai")))
    await ask(other, history)
    assert "extra_content" not in server.requests[2].body["messages"][1]["tool_calls"][0]
    await other.close()


async def test_a_server_that_counts_no_tokens_is_fine(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(("x",), usage=False))
    assert (await ask(model))[1].usage == Usage()


@pytest.mark.parametrize("delta", [{"refusal": "I can not"}, {}])
async def test_a_refusal_is_told(server: ModelServer, model: Model, delta: dict[str, Any]) -> None:
    server.script.append(Reply(chunks=(chunk(delta), chunk({}, "stop" if delta else "content_filter"))))
    with pytest.raises(ModelRefused):
        await ask(model)


@pytest.mark.parametrize(
    "bad", [{"choices": "none"}, {"choices": [{"delta": {"tool_calls": [7]}}]}, {"choices": [7]}]
)
async def test_a_chunk_of_another_shape_is_unavailable(
    server: ModelServer, model: Model, bad: dict[str, Any]
) -> None:
    server.script.append(Reply(chunks=(bad,)))
    with pytest.raises(ModelUnavailable):
        await ask(model)


async def test_a_surrogate_pair_cut_in_two_is_joined_and_a_lone_one_replaced(
    server: ModelServer, model: Model
) -> None:
    server.script.append(Reply(("Hi \ud83d", "\ude00 and \udc00!", "\ud83d")))
    assert (await ask(model))[0] == "Hi 😀 and \N{REPLACEMENT CHARACTER}!\N{REPLACEMENT CHARACTER}"


async def test_a_server_of_ones_own_needs_no_key_and_does_not_get_the_one_in_the_environment(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    server.strict = False
    server.script.append(Reply(("x",)))
    model = build("main", ModelConfig(provider="openai", model="m", base_url=server.base_url("openai")))
    await ask(model)
    assert "environment" not in server.requests[0].headers["authorization"]
    await model.close()


async def test_openais_own_host_gets_its_own_options(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK sends what is for api.openai.com through a proxy, which the fake is here: so nothing leaves this machine."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.script.append(Reply(("<think>is just text</think>",)))
    model = build(
        "main", ModelConfig(provider="openai", model="m", api_key=KEY, base_url="http://api.openai.com/v1")
    )
    text, _ = await ask(model, user="p-1", max_output_tokens=9)
    assert text == "<think>is just text</think>"
    body = server.requests[0].body
    assert (body["safety_identifier"], body["prompt_cache_key"]) == ("p-1", "p-1")
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body
    await model.close()


async def test_azure_puts_the_deployment_and_the_version_into_the_address(server: ModelServer) -> None:
    server.script += [Reply(("x",)), Reply(("x",))]
    for version in (None, "2025-04-01-preview"):
        model = build(
            "main",
            ModelConfig(
                provider="azure", model="my-gpt", api_key=KEY, base_url=f"{server.url}/", api_version=version
            ),
        )
        await ask(model)
        await model.close()
    assert [request.path for request in server.requests] == [
        "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
        "/openai/deployments/my-gpt/chat/completions?api-version=2025-04-01-preview",
    ]
