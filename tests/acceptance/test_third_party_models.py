"""The providers against model servers that others wrote: llmock (Python) and aimock (Node).

Both accept nearly any request, so these tests say that we read what others believe the wire formats to be, and behave well
when they break; that our requests are right is tested against the SDKs' types (tests/fakes/model_server.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aimock_pytest import AIMockServer
from aimock_pytest._node_manager import NodeManager  # the package exports the server, but not what it needs
from llmock.pytest_plugin import LLMock

from bot.errors import (
    ContextTooLong,
    ModelError,
    ModelOverloaded,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from bot.events import AssistantSaid, Event, ToolReturned, UserSaid
from bot.models import build
from bot.models.base import Finished, Model, ModelRequest, TextDelta, ToolSpec
from config.schema import ModelConfig

AIMOCK = "@copilotkit/aimock@1.43.0"
CLOCK = ToolSpec(
    "clock",
    "Tells the time in a zone.",
    {"type": "object", "properties": {"timezone": {"type": "string"}}, "required": ["timezone"]},
)
HELLO = UserSaid("Hello")

Connect = Callable[..., Awaitable[Model]]


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    models: list[Model] = []

    async def connect(provider: str, base_url: str, **more: Any) -> Model:
        models.append(
            build("main", ModelConfig(provider=provider, model="m-1", api_key="k", base_url=base_url, **more))
        )
        return models[-1]

    yield connect
    for model in models:
        await model.close()


async def ask(model: Model, *events: Event, tools: Sequence[ToolSpec] = ()) -> tuple[str, Finished]:
    *deltas, last = [
        event async for event in model.stream(ModelRequest("Be brief.", events or (HELLO,), tools))
    ]
    assert isinstance(last, Finished)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), last


async def fail(model: Model) -> tuple[str, ModelError]:
    text = ""
    try:
        async for event in model.stream(ModelRequest("Be brief.", (HELLO,))):
            assert isinstance(event, TextDelta)
            text += event.text
    except ModelError as exc:
        return text, exc
    raise AssertionError("it did not fail")


class TestLlmock:
    """Its verdict judges the client as well: too short waits, retry storms, retries of what can not succeed."""

    # It says these of every client that does not ask again, whatever it did instead. We never ask again once an answer has
    # begun or where the wait is too long for a person; that we tell of a failure is what the tests here assert.
    BY_DESIGN = frozenset({"gave_up", "truncated_stream_accepted", "malformed_chunk_ignored"})

    @pytest.fixture
    async def model(self, llmock: LLMock, provider: str, connect: Connect) -> AsyncIterator[Model]:
        yield await connect(provider, llmock.base_url(provider))
        verdict = llmock.verdict()
        assert {finding.code for finding in verdict.findings} <= self.BY_DESIGN, verdict.render()

    async def test_text_and_usage(self, llmock: LLMock, model: Model) -> None:
        llmock.reply("Nice to meet you, Anna.")
        text, finished = await ask(model)
        assert (text, finished.reason) == ("Nice to meet you, Anna.", "stop")
        assert finished.usage.input > 0
        assert finished.usage.output > 0

    async def test_a_tool_round(self, llmock: LLMock, model: Model) -> None:
        """In its automatic mode it calls an offered tool, and answers once the result is there."""
        text, finished = await ask(model, tools=[CLOCK])
        assert finished.reason == "tools"
        (call,) = finished.calls
        assert call.name == "clock"
        said = AssistantSaid(text, finished.calls, "main", finished.opaque)
        text, finished = await ask(model, HELLO, said, ToolReturned(call.id, "clock", "14:03"), tools=[CLOCK])
        assert text
        assert finished.reason == "stop"

    async def test_a_tool_call_that_is_no_json_spoils_nothing(self, llmock: LLMock, model: Model) -> None:
        llmock.break_tool_call()
        text, finished = await ask(model, tools=[CLOCK])
        (call,) = finished.calls
        said = AssistantSaid(text, finished.calls, "main", finished.opaque)
        text, _ = await ask(
            model, HELLO, said, ToolReturned(call.id, "clock", "not JSON", failed=True), tools=[CLOCK]
        )
        assert text

    @pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
    async def test_a_broken_stream_is_unavailable(self, llmock: LLMock, model: Model, fault: str) -> None:
        getattr(llmock.reply("One two three four five six seven"), fault)(after_chunks=4)
        assert isinstance((await fail(model))[1], ModelUnavailable)
        assert len(llmock.requests) == 1

    async def test_a_stall_is_unavailable(self, llmock: LLMock, provider: str, connect: Connect) -> None:
        llmock.reply("One two three four five six seven").stall(after_chunks=4, seconds=1)
        model = await connect(provider, llmock.base_url(provider), timeout=0.2)
        assert isinstance((await fail(model))[1], ModelUnavailable)

    @pytest.mark.parametrize("status", [429, 503, 529])
    async def test_a_passing_fault_is_waited_for_as_long_as_it_asks(
        self, llmock: LLMock, model: Model, status: int
    ) -> None:
        llmock.fail(status, times=2, retry_after=0.1).reply("There.")
        assert (await ask(model))[0] == "There."
        assert len(llmock.requests) == 3

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (401, None, ModelUnauthorized),
            (404, None, ModelRejected),
            (400, None, ModelRejected),
            (400, "context_length_exceeded", ContextTooLong),
        ],
    )
    async def test_what_can_not_succeed_is_not_repeated(
        self, llmock: LLMock, model: Model, status: int, code: str | None, expected: type[ModelError]
    ) -> None:
        if code:
            llmock.context_overflow()
        else:
            llmock.fail(status)
        assert type((await fail(model))[1]) is expected
        assert len(llmock.requests) == 1

    async def test_a_long_wait_is_told_and_not_waited_for(self, llmock: LLMock, model: Model) -> None:
        llmock.rate_limit(retry_after=60)
        _, error = await fail(model)
        assert isinstance(error, ModelOverloaded)
        assert error.retry_after == 60
        assert len(llmock.requests) == 1


@pytest.fixture(scope="module")
def aimock_server() -> Iterator[AIMockServer]:
    """One server for the module. npm puts it into a cache folder at the first run, and finds it there afterwards."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("aimock is a Node program, and there is no node here")
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "boswell-tests"
        / AIMOCK.rpartition("@")[2]
    )
    cli = cache / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    if not cli.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # --ignore-scripts: nothing that came from a registry runs but the server itself.
        npm = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(cache),
            AIMOCK,
        ]
        subprocess.run(npm, check=True, timeout=100, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIMOCK_CLI_PATH", str(cli))  # else the wrapper loads a version of its own
        server = AIMockServer(NodeManager())
        server.start()
        process = server._proc
        yield server
        server.stop()
        if process is not None and process.stdout is not None:
            process.stdout.close()  # the wrapper forgets it


class TestAimock:
    @pytest.fixture
    def aimock(self, aimock_server: AIMockServer) -> AIMockServer:
        return aimock_server.reset()

    @pytest.fixture
    async def model(self, aimock: AIMockServer, provider: str, connect: Connect) -> Model:
        return await connect(provider, f"{aimock.url}/v1" if provider == "openai" else aimock.url)

    async def test_text(self, aimock: AIMockServer, model: Model) -> None:
        aimock.on_message("Hello", {"content": "Nice to meet you, Anna ✓"}, chunkSize=3)
        text, finished = await ask(model)
        assert (text, finished.reason) == ("Nice to meet you, Anna ✓", "stop")

    async def test_parallel_tool_calls_and_the_turn_after(self, aimock: AIMockServer, model: Model) -> None:
        calls = [
            {"name": "clock", "arguments": f'{{"timezone": "{zone}"}}'} for zone in ("Asia/Tokyo", "UTC")
        ]
        aimock.on_message("Hello", {"toolCalls": calls}, chunkSize=4, hasToolResult=False)
        aimock.on_message("Hello", {"content": "It is late."}, hasToolResult=True)
        text, finished = await ask(model, tools=[CLOCK])
        assert [json.loads(c.arguments) for c in finished.calls] == [
            json.loads(c["arguments"]) for c in calls
        ]
        said = AssistantSaid(text, finished.calls, "main", finished.opaque)
        results = [ToolReturned(call.id, "clock", "23:00") for call in finished.calls]
        assert (await ask(model, HELLO, said, *results, tools=[CLOCK]))[0] == "It is late."

    async def test_reasoning_is_not_shown(self, aimock: AIMockServer, model: Model, provider: str) -> None:
        aimock.on_message("Hello", {"content": "Yes.", "reasoning": "Let me think"}, chunkSize=4)
        text, finished = await ask(model)
        assert text == "Yes."
        if provider == "anthropic":
            thinking, _ = finished.opaque["content"]
            assert thinking["thinking"] == "Let me think"
            assert thinking["signature"]

    async def test_a_stream_cut_in_the_middle_is_unavailable(
        self, aimock: AIMockServer, model: Model
    ) -> None:
        aimock.on_message("Hello", {"content": "One two three four"}, chunkSize=3, truncateAfterChunks=4)
        assert isinstance((await fail(model))[1], ModelUnavailable)

    @pytest.mark.parametrize(("status", "type_"), [(429, "rate_limit_error"), (529, "overloaded_error")])
    async def test_overload_is_told_once_the_retries_are_used_up(
        self, aimock: AIMockServer, model: Model, status: int, type_: str
    ) -> None:
        error = {"error": {"message": "later", "type": type_}, "status": status, "retryAfter": 30}
        aimock.on_message("Hello", error)
        _, raised = await fail(model)
        assert isinstance(raised, ModelOverloaded)

    async def test_a_passing_error_is_not_noticed(self, aimock: AIMockServer, model: Model) -> None:
        aimock.on_message("Hello", {"content": "There."})
        aimock.next_error(503, {"error": {"message": "later", "type": "api_error"}})
        assert (await ask(model))[0] == "There."
