"""Anthropic's Messages, with thinking blocks that only Anthropic may see again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from bot.errors import ContextTooLong, ModelRefused, ModelUnauthorized, ModelUnavailable
from bot.events import AssistantSaid, Summarised, ToolCall, ToolReturned, Usage, UserSaid
from bot.models.base import Finished, ModelEvent, ModelRequest
from bot.models.history import arguments, call_id, tool_name, user_text, well_formed
from bot.models.wire import RETRIES, Client, Line, failed, tokens
from config.schema import ModelConfig

MAX_TOKENS = 8192  # the API demands a number; this is beyond any chat message
_PROVIDER = "anthropic"
_PLAIN = ("text", "tool_use")  # blocks that text and calls say all about


class AnthropicModel:
    """A Claude model."""

    def __init__(self, name: str, config: ModelConfig) -> None:
        self.name = name
        self.label = config.model
        self.max_output_tokens: int | None = config.max_output_tokens or MAX_TOKENS
        self._config = config
        self._line = Line(name, config, "anthropic", self._connect)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """See `bot.models.base.Model.stream`."""
        body: dict[str, Any] = {
            "model": self.label,
            "max_tokens": request.max_output_tokens or self.max_output_tokens,
            "messages": _messages(request, self.label),
            "stream": True,
            "cache_control": {
                "type": "ephemeral"
            },  # marks the last block: the next turn reads all before it from the cache
        }
        if request.system:
            body["system"] = well_formed(request.system)
        if request.tools:
            body["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": t.parameters}
                for t in request.tools
            ]
        elif names := {call.name for e in request.events if isinstance(e, AssistantSaid) for call in e.calls}:
            # Tool calls in the history are refused where no tool is declared.
            body["tools"] = [
                {"name": name, "description": "Not available now.", "input_schema": {"type": "object"}}
                for name in sorted({tool_name(name) for name in names})
            ]
            body["tool_choice"] = {"type": "none"}
        if request.user:
            body["metadata"] = {"user_id": request.user}
        async for event in self._line.converse("/v1/messages", body, _Answer(self.name, self.label)):
            yield event

    async def close(self) -> None:
        """See `bot.models.base.Model.close`."""
        await self._line.close()

    def _connect(self, sdk: ModuleType, http_client: Any) -> Client:
        key = self._config.api_key.get_secret_value() if self._config.api_key else None
        if not key and not self._config.base_url:
            raise ModelUnauthorized(self.name, f"there is no key; set models.{self.name}.api_key")
        key = key or "none"  # for a server of the operator's own; the one in the environment is not for it
        client: Client = sdk.AsyncAnthropic(
            api_key=key,
            base_url=self._config.base_url,
            http_client=http_client,
            max_retries=RETRIES,
            # The SDK sends a bearer token since 2.10; proxies of before know only this header.
            default_headers={"x-api-key": key} if self._config.base_url else None,
        )
        return client


def _messages(request: ModelRequest, label: str) -> list[dict[str, Any]]:
    """The conversation, with the roles in turn: what follows in the same role becomes one message of several blocks."""
    messages: list[dict[str, Any]] = []
    for event in request.events:
        blocks: list[dict[str, Any]]
        match event:
            case UserSaid() | Summarised():
                role, blocks = "user", [{"type": "text", "text": user_text(event)}]
            case ToolReturned():
                result = {
                    "type": "tool_result",
                    "tool_use_id": call_id(event.call_id),
                    "content": well_formed(event.content),
                    "is_error": event.failed,
                }
                role, blocks = "user", [result]
            case AssistantSaid():
                role, blocks = "assistant", _said(event, label)
        if not blocks:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    return messages


def _said(event: AssistantSaid, label: str) -> list[dict[str, Any]]:
    """The blocks of an answer: word for word where this model wants them back so, made anew otherwise."""
    opaque = event.opaque
    if isinstance(opaque, dict) and opaque.get("provider") == _PROVIDER and opaque["model"] == label:
        made = {
            call.id for call in event.calls
        }  # a call that was dropped has no result, and may not stand there
        kept = (b for b in opaque["content"] if b["type"] != "tool_use" or b["id"] in made)
        return [{**b, "id": call_id(b["id"])} if b["type"] == "tool_use" else b for b in kept]
    blocks: list[dict[str, Any]] = []
    if event.text.strip():  # a blank text block is refused
        blocks.append({"type": "text", "text": well_formed(event.text)})
    blocks += [
        {"type": "tool_use", "id": call_id(c.id), "name": tool_name(c.name), "input": arguments(c)}
        for c in event.calls
    ]
    return blocks


class _Answer:
    """Puts the events of one message together. See `bot.models.wire.Answer`."""

    def __init__(self, model: str, label: str) -> None:
        self._model = model
        self._label = label
        self._text: list[str] = []
        self._said_something = False
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}
        self._reason = ""
        self._usage: dict[str, int] = {}
        self.complete = False
        self.over = False

    def take(self, chunk: dict[str, Any]) -> None:
        match chunk.get("type"):
            case "content_block_delta":
                self._take_delta(chunk["index"], chunk["delta"])
            case "content_block_start":
                self._start(chunk["index"], chunk["content_block"])
            case "message_start":
                self._count(chunk["message"].get("usage"))
            case "message_delta":
                self._count(chunk.get("usage"))
                if reason := chunk["delta"].get("stop_reason"):
                    self._reason = reason
                    self.complete = True
            case "message_stop":
                self.over = True
            case "error":
                raise failed(self._model, self._label, None, chunk["error"])
            case _:
                # Ping, content_block_stop, and what may come: the API asks that unknown events be passed over
                pass

    def _start(self, index: int, block: dict[str, Any]) -> None:
        self._blocks[index] = dict(block)
        if block["type"] == "text" and block["text"]:
            self._say(block["text"])

    def _take_delta(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
                self._say(delta["text"])
            case "input_json_delta":
                self._inputs.setdefault(index, []).append(delta["partial_json"])
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            case _:
                pass

    def _say(self, text: str) -> None:
        self._said_something = True
        self._text.append(text)

    def _count(self, usage: dict[str, Any] | None) -> None:
        # The last word of each counter holds: those of message_delta are sums.
        self._usage.update({k: tokens(v) for k, v in (usage or {}).items()})

    def drain(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        return text

    def finished(self) -> Finished:
        match self._reason:
            case "":
                raise ModelUnavailable(
                    self._model, "the answer ended without a stop reason: it was cut off on the way"
                )
            case "refusal":
                raise ModelRefused(self._model, "the model refused to answer")
            case "model_context_window_exceeded" if not self._said_something:
                raise ContextTooLong(self._model, "the conversation leaves the model no room to answer")
            case "max_tokens" | "model_context_window_exceeded":
                return Finished("length", self.used)  # a call that was cut is none
            case "pause_turn":
                return Finished("pause", self.used, opaque=self._opaque())
        calls = tuple(
            ToolCall(b["id"], b["name"], well_formed("".join(self._inputs.get(i, ()))) or "{}")
            for i, b in self._blocks.items()
            if b["type"] == "tool_use"
        )
        blocks_of_their_own = any(b["type"] not in _PLAIN for b in self._blocks.values())
        return Finished(
            "tools" if calls else "stop",
            self.used,
            calls,
            self._opaque() if blocks_of_their_own else None,
        )

    def _opaque(self) -> dict[str, Any]:
        """Every block as it came, in order: a signature covers what it stands beside."""
        content = []
        for index, block in self._blocks.items():
            if block["type"] == "text" and not block["text"].strip():
                continue
            if index in self._inputs:
                block = {**block, "input": _object("".join(self._inputs[index]))}
            content.append({key: well_formed(v) if isinstance(v, str) else v for key, v in block.items()})
        return {"provider": _PROVIDER, "model": self._label, "content": content}

    @property
    def used(self) -> Usage:
        """See `bot.models.wire.Answer`."""
        count = self._usage.get
        cached = count("cache_read_input_tokens", 0)
        read = count("input_tokens", 0) + count("cache_creation_input_tokens", 0) + cached
        return Usage(read, cached, count("output_tokens", 0))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
