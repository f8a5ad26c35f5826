"""A scripted model server that speaks the wire formats of OpenAI, Azure and Anthropic, is strict, and can misbehave.

Request bodies are validated against the SDKs' own parameter types, unknown keys and all, and against the rules that those
types can not say (every tool call answered, roles in turn). What is wrong is answered with 400 and fails the test at the end.

Alone, for benchmarks and acceptance tests: `python tests/fakes/model_server.py --port 0 --chunks 60` prints its address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Self

from aiohttp import web

Wire = Literal["openai", "azure", "anthropic"]
KEY = "sk-test-key"
ANTHROPIC_VERSION = "2026-10-21"


@dataclass(frozen=True)
class Call:
    """A tool call that the model makes."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True)
class Reply:
    """An answer, and how it goes wrong.

    `fault` happens after the text and the calls, in place of the finish reason: the connection is cut, the stream ends
    early, an error event, a chunk that is no JSON, or nothing more for ever. `finish` is the provider's own word.
    """

    text: tuple[str | asyncio.Event, ...] = ()
    """Its pieces; where an event stands among them, nothing comes until it is set (OpenAI's formats only)."""
    calls: tuple[Call, ...] = ()
    thinking: tuple[str, ...] = ()
    redacted: str = ""
    finish: str = ""
    fault: Literal["", "cut", "truncated", "error", "malformed", "stall"] = ""
    error: dict[str, Any] = field(
        default_factory=lambda: {"type": "overloaded_error", "message": "Overloaded"}
    )
    usage: bool = True
    pause: float = 0.0
    """Seconds between two events of the stream."""
    chunks: tuple[dict[str, Any], ...] = ()
    """Sent instead of all the above, word for word (OpenAI's formats only)."""


@dataclass(frozen=True)
class Fail:
    """An HTTP error in place of an answer."""

    status: int
    error: dict[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    body: bytes | None = None


@dataclass(frozen=True)
class Silence:
    """No answer at all, until the client gives up."""


Step = Reply | Fail | Silence


@dataclass(frozen=True)
class Request:
    """What came."""

    wire: Wire
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ModelServer:
    """Answers each request with the next step of `script`; a function in its place answers them all.

    As a context manager it listens at `url` on a free port, and fails at the end if a request was wrong or a step is left.
    """

    def __init__(
        self, *steps: Step, respond: Callable[[Request], Step] | None = None, strict: bool = True
    ) -> None:
        self.script = deque(steps)
        self.respond = respond
        self.strict = strict
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self.stalled = asyncio.Event()
        """Set when a scripted stall or silence begins."""
        self.gone = asyncio.Event()
        """Set when a client has left in the middle of one."""
        self.connections: set[int] = set()
        """The client ports that requests came from: one for each connection."""
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/openai/deployments/{deployment}/chat/completions", self._azure)
        app.router.add_post("/v1/messages", self._anthropic)
        app.router.add_route("*", "/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        await self.stop()
        if kind is None:
            assert not self.problems, self.problems
            assert not self.script, f"not asked for: {list(self.script)}"

    def base_url(self, wire: Wire) -> str:
        """What to configure for a provider."""
        return f"{self.url}/v1" if wire == "openai" else self.url

    async def _unknown(self, request: web.Request) -> web.Response:
        return self._refuse(f"unknown path {request.method} {request.path}", 404)

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        return await self._serve("openai", request)

    async def _azure(self, request: web.Request) -> web.StreamResponse:
        return await self._serve("azure", request)

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        return await self._serve("anthropic", request)

    def _refuse(self, problem: str, status: int = 400) -> web.Response:
        self.problems.append(problem)
        error = {"type": "invalid_request_error", "message": problem}
        return web.json_response({"type": "error", "error": error}, status=status)

    async def _serve(self, wire: Wire, http: web.Request) -> web.StreamResponse:
        body = json.loads(await http.read())
        request = Request(wire, http.path_qs, {k.lower(): v for k, v in http.headers.items()}, body)
        self.requests.append(request)
        if peer := http.transport and http.transport.get_extra_info("peername"):
            self.connections.add(peer[1])
        if self.strict and (problem := wrong_with(request)):
            return self._refuse(problem)
        if self.respond is not None:
            step = self.respond(request)
        elif self.script:
            step = self.script.popleft()
        else:
            return self._refuse("a request that the script does not know of")
        match step:
            case Fail():
                headers = (
                    {}
                    if step.retry_after is None
                    else {"retry-after-ms": str(round(step.retry_after * 1000))}
                )
                content = step.body
                if content is None:
                    content = json.dumps({"type": "error", "error": step.error}).encode()
                return web.Response(
                    status=step.status, body=content, content_type="application/json", headers=headers
                )
            case Silence():
                await self._say_nothing()
                return web.Response()
            case Reply():
                return await self._stream(wire, http, request, step)

    async def _stream(
        self, wire: Wire, http: web.Request, request: Request, reply: Reply
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(http)
        pieces: Iterator[bytes | asyncio.Event] = (
            anthropic_stream(request, reply) if wire == "anthropic" else openai_stream(request, reply)
        )
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
                continue
            await response.write(piece)
            if reply.pause:
                await asyncio.sleep(reply.pause)
        match reply.fault:
            case "cut":
                assert http.transport is not None
                http.transport.abort()
            case "malformed":
                await response.write(b'event: message_delta\ndata: {"choices": [{"del\n\n')
            case "error":
                await response.write(_sse({"type": "error", "error": reply.error}, "error"))
            case "stall":
                await self._say_nothing()
        return response

    async def _say_nothing(self) -> None:
        self.stalled.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()


def _sse(data: dict[str, Any] | str, event: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def _pieces(text: str, size: int = 7) -> Iterator[str]:
    yield from (text[i : i + size] for i in range(0, len(text), size))


def openai_stream(request: Request, reply: Reply) -> Iterator[bytes | asyncio.Event]:
    """The chunks of a completion, as OpenAI sends them, and the events to wait for in between."""
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795200000,
        "model": request.body["model"],
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sse({**head, "service_tier": "default", "choices": [choice], "usage": None})

    if reply.chunks:
        yield from (_sse(c) for c in reply.chunks)
        yield _sse("[DONE]")
        return
    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for text in reply.thinking:
        yield chunk({"reasoning_content": text})
    for piece in reply.text:
        yield chunk({"content": piece}) if isinstance(piece, str) else piece
    ids = [call.id or f"call_{len(request.body['messages'])}_{i}" for i, call in enumerate(reply.calls)]
    for i, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": i, "id": ids[i], "type": "function", "function": function}]})
    for i, call in enumerate(reply.calls):
        for arguments in _pieces(call.arguments):
            yield chunk({"tool_calls": [{"index": i, "function": {"arguments": arguments}}]})
    if reply.fault:
        return
    yield chunk({}, reply.finish or ("tool_calls" if reply.calls else "stop"))
    if reply.usage and request.body.get("stream_options", {}).get("include_usage"):
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        }
        yield _sse({**head, "choices": [], "usage": usage})
    yield _sse("[DONE]")


def anthropic_stream(request: Request, reply: Reply) -> Iterator[bytes]:
    """The events of a message, as Anthropic sends them."""

    def event(type_: str, **data: Any) -> bytes:
        return _sse({"type": type_, **data}, type_)

    def block(start: dict[str, Any], *deltas: dict[str, Any]) -> Iterator[bytes]:
        nonlocal index
        yield event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
        index += 1

    index = 0
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 36,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 64,
            "output_tokens": 1,
            "service_tier": "standard",
        },
    }
    yield event("message_start", message=message)
    yield event("ping")
    if reply.thinking:
        thoughts = [{"type": "thinking_delta", "thinking": text} for text in reply.thinking]
        signature = {"type": "signature_delta", "signature": "c2lnbmVk"}
        yield from block({"type": "thinking", "thinking": "", "signature": ""}, *thoughts, signature)
    if reply.redacted:
        yield from block({"type": "redacted_thinking", "data": reply.redacted})
    if reply.text:
        yield from block(
            {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in reply.text)
        )
    for i, call in enumerate(reply.calls):
        start = {
            "type": "tool_use",
            "id": call.id or f"toolu_{len(request.body['messages'])}_{i}",
            "name": call.name,
            "input": {},
        }
        pieces = ["", *(_pieces(call.arguments) if call.arguments != "{}" else ())]
        yield from block(start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))
    if reply.fault:
        return
    stop = reply.finish or ("tool_use" if reply.calls else "end_turn")
    yield event(
        "message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 20}
    )
    yield event("message_stop")


def wrong_with(request: Request) -> str:
    """What the real server would refuse in a request; empty if nothing."""
    headers = request.headers
    if headers.get("content-type") != "application/json":
        return f"content-type {headers.get('content-type')!r}"
    bearer = headers.get("authorization") == f"Bearer {KEY}"
    if request.wire == "azure":
        if headers.get("api-key") != KEY:
            return "no api-key header"
        if "api-version=" not in request.path:
            return "no api-version"
    elif not bearer:
        return "no bearer token"
    if request.wire == "anthropic" and headers.get("anthropic-version") != ANTHROPIC_VERSION:
        return f"anthropic-version {headers.get('anthropic-version')!r}"
    from pydantic_core import ValidationError

    try:
        _validator("anthropic" if request.wire == "anthropic" else "openai").validate_python(request.body)
    except ValidationError as exc:
        return "; ".join(f"{e['loc']}: {e['msg']}" for e in exc.errors()[:3])
    messages = request.body["messages"]
    return (
        _wrong_messages_anthropic(messages)
        if request.wire == "anthropic"
        else _wrong_messages_openai(messages)
    )


def _wrong_messages_openai(messages: list[dict[str, Any]]) -> str:
    open_calls: set[str] = set()
    before = ""
    for message in messages:
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                return "a tool result without its call"
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return "a tool call without its result"
        if role == before and role != "tool" and not message.get("tool_calls"):
            return f"two {role} messages in a row"
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            return "an empty assistant message"
        for call in message.get("tool_calls") or ():
            json.loads(call["function"]["arguments"])
            open_calls.add(call["id"])
        before = role
    return "a tool call without its result" if open_calls else ""


def _wrong_messages_anthropic(messages: list[dict[str, Any]]) -> str:
    open_calls: set[str] = set()
    before = "assistant"
    for message in messages:
        if message["role"] == before:
            return f"two {before} messages in a row, or the first is not the user's"
        before = message["role"]
        blocks = message["content"]
        results = {b["tool_use_id"] for b in blocks if b["type"] == "tool_result"}
        if results != open_calls:
            return "tool calls and results do not match"
        if any(b["type"] == "tool_result" for b in blocks[len(results) :]):
            return "a tool result after other content"
        if not blocks or any(b["type"] == "text" and not b["text"].strip() for b in blocks):
            return "blank text"
        open_calls = {b["id"] for b in blocks if b["type"] == "tool_use"}
    return "tool calls and results do not match" if open_calls else ""


@cache
def _validator(sdk: Literal["openai", "anthropic"]) -> Any:
    """A validator of the SDK's parameters that refuses unknown keys, nested ones too."""
    # Here and not above: the SDKs are slow to import, and a benchmark needs neither.
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    params: Any
    if sdk == "openai":
        from openai.types.chat import completion_create_params

        params = completion_create_params.CompletionCreateParamsStreaming
    else:
        from anthropic.types import message_create_params

        params = message_create_params.MessageCreateParamsStreaming

    def strict(node: Any) -> Any:
        if isinstance(node, dict):
            node = {key: strict(value) for key, value in node.items()}
            if node.get("type") == "generator":  # an Iterable is validated lazily: one would have to walk it
                node["type"] = "list"
            elif node.get("type") == "typed-dict":
                node["extra_behavior"] = "forbid"
        elif isinstance(node, list | tuple):
            node = type(node)(strict(value) for value in node)
        return node

    return SchemaValidator(strict(TypeAdapter(params).core_schema))


def chunks_of(count: int) -> Reply:
    """A reply of so many chunks."""
    return Reply(tuple(f"word{i} " for i in range(count)))


def obey(request: Request, otherwise: Reply) -> Step:
    """For programs that run alone: a message `!tool NAME {json}` makes the model call that tool and then quote its result."""
    last = request.body["messages"][-1]
    content = last["content"]
    if last["role"] == "tool":
        return Reply((str(content),))
    if isinstance(content, list):
        if content[-1]["type"] == "tool_result":
            return Reply((str(content[-1]["content"]),))
        content = content[-1]["text"]
    if "!tool " in content:
        name, _, arguments = content.partition("!tool ")[2].strip().partition(" ")
        return Reply(calls=(Call(name, arguments or "{}"),))
    return otherwise


async def _alone(port: int, chunks: int, *, strict: bool) -> None:
    reply = chunks_of(chunks)
    server = ModelServer(respond=lambda request: obey(request, reply), strict=strict)
    await server.start(port)
    print(server.url, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=60)
    parser.add_argument("--strict", action="store_true", help="validate requests (needs both SDKs)")
    options = parser.parse_args()
    try:
        asyncio.run(_alone(options.port, options.chunks, strict=options.strict))
    except KeyboardInterrupt:
        sys.exit(0)
