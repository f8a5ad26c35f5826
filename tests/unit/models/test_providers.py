"""What every provider promises, whatever its wire format. They run against a local server that speaks it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from bot.errors import (
    ContextTooLong,
    ModelError,
    ModelOverloaded,
    ModelQuotaUsedUp,
    ModelRefused,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from bot.events import AssistantSaid, Event, Summarised, ToolCall, ToolReturned, Usage, UserSaid
from bot.models import build
from bot.models.base import Finished, Model, ModelRequest, TextDelta, ToolSpec
from config.schema import ModelConfig
from tests.fakes.model_server import KEY, Call, Fail, ModelServer, Reply, Silence, Step, Wire

TOOLS = [ToolSpec("history", "Look it up.", {"type": "object", "properties": {"date": {"type": "string"}}})]
HELLO: list[Event] = [UserSaid("Hello")]


@pytest.fixture(params=["openai", "azure", "anthropic"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return request.param


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


def config(server: ModelServer, wire: Wire, **more: Any) -> ModelConfig:
    return ModelConfig(
        **{"provider": wire, "model": "m-1", "api_key": KEY, "base_url": server.base_url(wire)} | more
    )


@pytest.fixture
async def model(server: ModelServer, wire: Wire) -> AsyncIterator[Model]:
    model = build("main", config(server, wire))
    yield model
    await model.close()


async def ask(model: Model, events: list[Event] | None = None, **more: Any) -> tuple[str, Finished]:
    """The whole text and the last event; checks that the stream is shaped as promised."""
    text, last = "", None
    async for event in model.stream(ModelRequest("You are Boswell.", events or HELLO, **more)):
        assert last is None
        if isinstance(event, TextDelta):
            assert event.text
            text += event.text
        else:
            last = event
    assert last is not None
    return text, last


async def fail(model: Model, events: list[Event] | None = None) -> tuple[str, ModelError]:
    """What was said before the call failed, and how it failed."""
    text = ""
    try:
        async for event in model.stream(ModelRequest("You are Boswell.", events or HELLO, TOOLS)):
            assert isinstance(event, TextDelta)
            text += event.text
    except ModelError as exc:
        return text, exc
    raise AssertionError("it did not fail")


async def test_text_is_streamed_and_its_tokens_are_counted(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(("Nice ", "to meet ", "you ✓")))
    text, finished = await ask(model)
    assert text == "Nice to meet you ✓"
    assert finished == Finished("stop", Usage(input=100, cached=64, output=20))


async def test_text_that_was_sent_is_seen_before_the_rest_comes(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(("Early",), fault="stall"))
    async with aclosing(model.stream(ModelRequest("", HELLO))) as stream:
        assert await anext(stream) == TextDelta("Early")
    await server.gone.wait()  # closing the stream has ended the call


async def test_cancelling_ends_the_call_at_the_provider(server: ModelServer, model: Model) -> None:
    server.script.append(Silence())
    asking = asyncio.create_task(ask(model))
    await server.stalled.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await server.gone.wait()


async def test_parallel_tool_calls_are_put_together(server: ModelServer, model: Model) -> None:
    server.script.append(
        Reply(
            ("I look. ",),
            (
                Call("history", '{"date": "2026-11-20"}', "c1"),
                Call("history", "{}", "c2"),
                Call("clock", "", "c3"),
            ),
        )
    )
    text, finished = await ask(model, tools=TOOLS)
    assert text == "I look. "
    assert finished.reason == "tools"
    assert finished.calls == (
        ToolCall("c1", "history", '{"date": "2026-11-20"}'),
        ToolCall("c2", "history", "{}"),
        ToolCall("c3", "clock", "{}"),
    )


async def test_any_history_becomes_a_request_that_the_provider_takes(
    server: ModelServer, model: Model
) -> None:
    """The strict server refuses two messages of one role in a row, blank texts, and calls without their results."""
    history: list[Event] = [
        Summarised("They like tea.", upto=7),
        UserSaid("Hello", speaker="Anna", context="Bob: hi"),
        UserSaid(""),
        AssistantSaid(" "),
        AssistantSaid("", stopped=True),
        UserSaid("lone \ud800 surrogate"),
        AssistantSaid(
            "", (ToolCall("call/1" * 20, "functions.history", "not JSON"), ToolCall("b", "x", '["a"]'))
        ),
        ToolReturned("call/1" * 20, "functions.history", "", failed=True),
        ToolReturned("b", "x", "ok"),
        AssistantSaid("So", opaque={"provider": "another", "model": "m-1", "content": 1}),
        AssistantSaid("much", (ToolCall("c", "x", "{}"),)),
        ToolReturned("c", "x", "ok"),
        UserSaid("And now?"),
    ]
    server.script += [Reply(("fine",)), Reply(("fine",))]
    assert (await ask(model, history, tools=TOOLS))[0] == "fine"
    assert (await ask(model, history))[0] == "fine"  # a last round without tools


async def test_the_request_is_a_prefix_of_the_next_one(server: ModelServer, model: Model) -> None:
    """A provider's prompt cache holds only then."""
    history: list[Event] = [UserSaid("One", speaker="Anna"), AssistantSaid("two"), UserSaid("Three")]
    server.script += [Reply(("four",)), Reply(("six",))]
    await ask(model, history)
    await ask(model, [*history, AssistantSaid("four"), UserSaid("Five")])
    first, second = (request.body["messages"] for request in server.requests)
    assert second[: len(first)] == first


async def test_the_persons_pseudonym_is_the_only_name_sent(
    server: ModelServer, wire: Wire, model: Model
) -> None:
    server.script.append(Reply(("x",)))
    await ask(model, user="p-7f3a")
    body = server.requests[0].body
    assert body.get("metadata") == ({"user_id": "p-7f3a"} if wire == "anthropic" else None)
    assert "safety_identifier" not in body  # this host is not OpenAI's
    assert "prompt_cache_key" not in body


async def test_a_length_limit_is_no_failure_and_a_cut_call_is_no_call(
    server: ModelServer, wire: Wire, model: Model
) -> None:
    word = "max_tokens" if wire == "anthropic" else "length"
    server.script.append(Reply(("So far",), (Call("history", '{"da'),), finish=word))
    text, finished = await ask(model, tools=TOOLS)
    assert (text, finished.reason, finished.calls) == ("So far", "length", ())


async def test_the_output_limit_of_the_request_goes_before_the_configured_one(
    server: ModelServer, wire: Wire
) -> None:
    model = build("main", config(server, wire, max_output_tokens=500))
    server.script += [Reply(("x",)), Reply(("x",))]
    await ask(model)
    await ask(model, max_output_tokens=50)
    key = "max_completion_tokens" if wire == "azure" else "max_tokens"
    assert [request.body[key] for request in server.requests] == [500, 50]
    await model.close()


@pytest.mark.parametrize("fault", ["cut", "truncated", "malformed"])
async def test_a_broken_stream_is_unavailable_and_what_came_is_shown(
    server: ModelServer, model: Model, fault: Any
) -> None:
    server.script.append(Reply(("Half of",), fault=fault))
    text, error = await fail(model)
    assert isinstance(error, ModelUnavailable)
    # An aborted connection may take bytes with it that the client has not read.
    assert text == "Half of" or (fault == "cut" and not text)


async def test_a_stream_that_ends_at_once_is_unavailable(server: ModelServer, model: Model) -> None:
    server.script.append(Reply(fault="truncated"))
    assert isinstance((await fail(model))[1], ModelUnavailable)


async def test_a_stall_is_unavailable_after_the_configured_time_and_is_not_asked_again(
    server: ModelServer, wire: Wire
) -> None:
    model = build("main", config(server, wire, timeout=0.2))
    server.script += [Reply(("Half",), fault="stall"), Silence()]
    assert await fail(model) == ("Half", Anything(ModelUnavailable))
    assert await fail(model) == ("", Anything(ModelUnavailable))
    assert len(server.requests) == 2
    await model.close()


class Anything:
    """Equal to every instance of a type."""

    def __init__(self, type_: type) -> None:
        self._type = type_

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self._type)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, ModelOverloaded),
        ({"type": "rate_limit_error", "message": "slower"}, ModelOverloaded),
        ({"type": "api_error", "message": "oops"}, ModelUnavailable),
        ({"message": "upstream", "code": 502}, ModelUnavailable),
        ({"message": "upstream", "code": 429}, ModelOverloaded),
        ({"type": "insufficient_quota", "message": "You exceeded your current quota"}, ModelQuotaUsedUp),
    ],
)
async def test_an_error_event_in_mid_stream_is_told_by_its_code(
    server: ModelServer, model: Model, error: dict[str, Any], expected: type[ModelError]
) -> None:
    server.script.append(Reply(("Half",), fault="error", error=error))
    text, raised = await fail(model)
    assert (text, type(raised)) == ("Half", expected)
    assert len(server.requests) == 1  # never asked again after visible text


SECRET_WORDS = "what the person wrote in private"


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, {"type": "authentication_error"}, ModelUnauthorized),
        (403, {"type": "permission_error"}, ModelUnauthorized),
        (402, {"type": "billing_error"}, ModelQuotaUsedUp),
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, ModelQuotaUsedUp),
        (
            400,
            {"type": "invalid_request_error", "message": "Your credit balance is too low"},
            ModelQuotaUsedUp,
        ),
        (400, {"code": "context_length_exceeded"}, ContextTooLong),
        (
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"},
            ContextTooLong,
        ),
        (413, {"type": "request_too_large"}, ContextTooLong),
        (400, {"code": "content_filter"}, ModelRefused),
        (400, {"type": "invalid_request_error", "param": "tools[0].name"}, ModelRejected),
        (404, {"code": "model_not_found"}, ModelRejected),
        (422, {}, ModelRejected),
    ],
)
async def test_a_refused_request_is_told_by_status_and_code_and_is_not_repeated(
    server: ModelServer, model: Model, status: int, error: dict[str, Any], expected: type[ModelError]
) -> None:
    server.script.append(Fail(status, {"message": SECRET_WORDS} | error))
    _, raised = await fail(model)
    assert type(raised) is expected
    assert SECRET_WORDS not in str(raised)
    assert KEY not in str(raised)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_passing_fault_before_the_answer_is_not_noticed(
    server: ModelServer, model: Model, status: int
) -> None:
    server.script += [Fail(status, retry_after=0.001), Fail(status, retry_after=0.001), Reply(("There.",))]
    assert (await ask(model))[0] == "There."


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, ModelOverloaded), (529, ModelOverloaded), (500, ModelUnavailable), (503, ModelUnavailable)],
)
async def test_a_lasting_fault_is_told_after_three_attempts(
    server: ModelServer, model: Model, status: int, expected: type[ModelError]
) -> None:
    server.script += [Fail(status, retry_after=0.001, body=b"<html>" if status == 500 else None)] * 3
    assert type((await fail(model))[1]) is expected


@pytest.mark.parametrize(
    ("step", "used"),
    [
        (Fail(401, {"type": "authentication_error"}), Usage()),
        (Fail(404), Usage()),
        (Fail(429, retry_after=60), Usage()),
        (Fail(529, retry_after=60), Usage()),
        (Fail(503, retry_after=60), Usage()),
        (Fail(504, retry_after=60), None),  # a gateway that stopped waiting: the model may be at work still
        (Fail(400, {"code": "content_filter"}), None),  # the filter has read it
        (Reply(("Half",), fault="error"), None),
        (Reply(("Half",), fault="truncated"), None),
        (Reply(("Half",), fault="cut"), None),
    ],
)
async def test_a_failure_tells_what_was_counted_for_it_if_that_is_known(
    server: ModelServer, model: Model, step: Step, used: Usage | None
) -> None:
    server.script.append(step)
    assert (await fail(model))[1].usage == used


async def test_a_refusal_in_place_of_an_answer_is_paid_for(
    server: ModelServer, wire: Wire, model: Model
) -> None:
    server.script.append(Reply(("Well",), finish="refusal" if wire == "anthropic" else "content_filter"))
    text, error = await fail(model)
    assert (text, type(error)) == ("Well", ModelRefused)
    assert error.usage == Usage(input=100, cached=64, output=20)


async def test_a_wait_longer_than_a_person_has_is_told_at_once(server: ModelServer, model: Model) -> None:
    server.script.append(Fail(429, {"type": "rate_limit_error"}, retry_after=21))
    _, error = await fail(model)
    assert isinstance(error, ModelOverloaded)
    assert error.retry_after == 21
    assert len(server.requests) == 1


async def test_connections_are_used_again_after_success_and_after_errors(
    server: ModelServer, model: Model
) -> None:
    server.script += [Reply(("a",)), Fail(400), Reply(("b",), (Call("history"),)), Reply(("c",))]
    await ask(model)
    await fail(model)
    await ask(model, tools=TOOLS)
    await ask(model)
    assert len(server.connections) == 1


async def test_calls_run_side_by_side(server: ModelServer, model: Model) -> None:
    server.script += [Reply((str(i),)) for i in range(8)]
    answers = await asyncio.gather(*(ask(model) for _ in range(8)))
    assert sorted(text for text, _ in answers) == [str(i) for i in range(8)]


async def test_nothing_listens_at_the_address(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer() as gone:
        settings = config(gone, wire)
    monkeypatch.setattr(
        f"bot.models.{'anthropic' if wire == 'anthropic' else 'openai'}.RETRIES", 0
    )  # for speed
    model = build("main", settings)
    _, error = await fail(model)
    assert isinstance(error, ModelUnavailable)
    assert error.usage == Usage()
    await model.close()


async def test_an_address_that_is_none_is_the_operators_matter(wire: Wire) -> None:
    model = build("main", ModelConfig(provider=wire, model="m", api_key=KEY, base_url="http://[::1"))
    assert isinstance((await fail(model))[1], ModelRejected)


async def test_a_missing_key_is_told_before_anything_is_sent(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-of-the-environment")
    model = build("main", ModelConfig(provider=wire, model="m"))
    _, error = await fail(model)
    assert isinstance(error, ModelUnauthorized)
    assert "models.main.api_key" in str(error)


def test_a_model_without_a_name_is_refused_when_it_is_built(wire: Wire) -> None:
    with pytest.raises(ModelRejected, match=r"models\.main\.model"):
        build("main", ModelConfig(provider=wire))


async def test_closing_twice_or_unused_is_harmless(server: ModelServer, model: Model) -> None:
    await model.close()
    server.script.append(Reply(("x",)))
    await ask(model)
    await model.close()
    await model.close()


async def test_building_a_model_imports_no_sdk() -> None:
    code = (
        "import sys; from bot.models import build; from config.schema import ModelConfig\n"
        "for p in ('openai', 'azure', 'anthropic', 'demo'): build('m', ModelConfig(provider=p, model='x', base_url='http://x'))\n"
        "assert not {'openai', 'anthropic', 'httpx2', 'aiohttp'} & set(sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
