"""OpenAI, every server that speaks its Chat Completions (Ollama, vLLM, Gemini, gateways), and Azure."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from bot.errors import ModelRefused, ModelRejected, ModelUnauthorized, ModelUnavailable
from bot.events import AssistantSaid, Summarised, ToolCall, ToolReturned, Usage, UserSaid
from bot.models.base import Finished, ModelEvent, ModelRequest
from bot.models.embedding import EMBEDDINGS, Embedded
from bot.models.history import arguments, call_id, tool_name, user_text, well_formed
from bot.models.wire import RETRIES, Client, Line, failed, tokens
from config.schema import EmbeddingsConfig, ModelConfig

AZURE_API_VERSION = "2024-10-21"  # the last one that is generally available
EMBEDDING_SECONDS = 30.0  # until an answer begins, and between two pieces of it
_PROVIDER = "openai"


class OpenAIModel:
    """A model behind Chat Completions, the portable path. Azure differs in its addresses only, which the SDK knows."""

    def __init__(self, name: str, config: ModelConfig) -> None:
        self.name = name
        self.label = config.model
        self.max_output_tokens = config.max_output_tokens
        self._config = config
        self._line = Line(name, config, "openai", partial(_connect, name, f"models.{name}", config))

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """See `bot.models.base.Model.stream`."""
        host = str((await self._line.client()).base_url.host)
        azure = self._config.provider == "azure"
        ours = host == "api.openai.com" or host.endswith(".api.openai.com")  # with the regional ones
        body: dict[str, Any] = {
            "model": self.label,
            "messages": _messages(request, self.label),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
                }
                for t in request.tools
            ]
        if limit := request.max_output_tokens or self.max_output_tokens:
            # Reasoning models refuse the old name; compatible servers know only that one.
            body["max_completion_tokens" if ours or azure else "max_tokens"] = limit
        if request.user and ours:
            body["safety_identifier"] = body["prompt_cache_key"] = request.user
        answer = _Answer(self.name, self.label, thinks_aloud=not ours and not azure)
        async for event in self._line.converse("/chat/completions", body, answer):
            yield event

    async def close(self) -> None:
        """See `bot.models.base.Model.close`."""
        await self._line.close()


def _connect(name: str, key: str, config: ModelConfig, sdk: ModuleType, http_client: Any) -> Client:
    """The SDK's client. `key` is where in the configuration `config` stands."""
    api_key = config.api_key.get_secret_value() if config.api_key else None
    if not api_key and (config.provider == "azure" or not config.base_url):
        raise ModelUnauthorized(name, f"there is no key; set {key}.api_key")
    if config.provider == "azure":
        if not config.base_url:
            raise ModelRejected(name, f"azure needs {key}.base_url, the resource's endpoint")
        azure: Client = sdk.AsyncAzureOpenAI(
            azure_endpoint=config.base_url,
            api_version=config.api_version or AZURE_API_VERSION,
            api_key=api_key,
            http_client=http_client,
            max_retries=RETRIES,
        )
        return azure
    client: Client = sdk.AsyncOpenAI(
        # A server of the operator's own may need no key; the one in the environment is not for it.
        api_key=api_key or "none",
        base_url=config.base_url,
        http_client=http_client,
        max_retries=RETRIES,
    )
    return client


class OpenAIEmbedder:
    """An embedding model behind /v1/embeddings, of OpenAI or of any server that speaks alike. See `bot.models.embedding`."""

    name = EMBEDDINGS
    paid = True

    def __init__(self, config: EmbeddingsConfig) -> None:
        self.batch = config.batch
        self.size: int | None = None
        self.model = json.dumps(["openai", config.model, config.dimensions, config.text_prefix])
        self._config = config
        model = ModelConfig(
            provider="openai",
            model=config.model,
            api_key=config.api_key,
            base_url=config.base_url,
            timeout=EMBEDDING_SECONDS,
        )
        connect = partial(_connect, self.name, self.name, model)
        self._line = Line(self.name, model, "openai", connect, key=self.name)

    async def embed(self, texts: Sequence[str], *, asked: bool = False) -> Embedded:
        """See `bot.models.embedding.Embedder.embed`."""
        prefix = self._config.query_prefix if asked else self._config.text_prefix
        body: dict[str, Any] = {
            "model": self._config.model,
            "input": [well_formed(prefix + text) for text in texts],
            "encoding_format": "float",  # what the SDK would ask for instead, not every server knows
        }
        if self._config.dimensions is not None:
            body["dimensions"] = self._config.dimensions
        answer = await self._line.fetch("/embeddings", body)
        used = answer.get("usage")
        usage = Usage(input=tokens(used.get("prompt_tokens"))) if isinstance(used, dict) else None
        data = answer.get("data")
        items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
        places = [item.get("index", place) for place, item in enumerate(items)]
        if len(items) != len(texts) or any(place not in places for place in range(len(texts))):
            raise ModelUnavailable(self.name, "the answer has other vectors than were asked for")
        vectors = {place: item.get("embedding") for place, item in zip(places, items, strict=True)}
        return Embedded([vectors[place] for place in range(len(texts))], usage)

    async def close(self) -> None:
        """See `bot.models.embedding.Embedder.close`."""
        await self._line.close()


def _messages(request: ModelRequest, label: str) -> list[dict[str, Any]]:
    """The conversation. Many chat templates refuse two messages of one role in a row, so they become one."""
    messages: list[dict[str, Any]] = []
    if request.system:
        messages.append({"role": "system", "content": well_formed(request.system)})
    for event in request.events:
        match event:
            case UserSaid() | Summarised():
                _say(messages, "user", user_text(event))
            case AssistantSaid(calls=()):
                if event.text.strip():
                    _say(messages, "assistant", well_formed(event.text))
            case AssistantSaid():
                messages.append(_calling(event, label))
            case ToolReturned():
                messages.append(
                    {
                        "role": "tool",
                        "tool_call_id": call_id(event.call_id),
                        "content": well_formed(event.content),
                    }
                )
    return messages


def _say(messages: list[dict[str, Any]], role: str, text: str) -> None:
    last = messages[-1] if messages else {}
    if last.get("role") == role and "tool_calls" not in last:
        last["content"] += f"\n\n{text}"
    else:
        messages.append({"role": role, "content": text})


def _calling(event: AssistantSaid, label: str) -> dict[str, Any]:
    extras = {}
    if (
        isinstance(event.opaque, dict)
        and event.opaque.get("provider") == _PROVIDER
        and event.opaque["model"] == label
    ):
        extras = event.opaque["extras"]
    calls = []
    for call in event.calls:
        made = {
            "id": call_id(call.id),
            "type": "function",
            "function": {"name": tool_name(call.name), "arguments": json.dumps(arguments(call))},
        }
        if call.id in extras:
            made["extra_content"] = extras[call.id]
        calls.append(made)
    message: dict[str, Any] = {"role": "assistant", "tool_calls": calls}
    if event.text.strip():
        message["content"] = well_formed(event.text)
    return message


class _Call:
    """A tool call that comes in pieces."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.name = ""
        self.arguments: list[str] = []
        self.extra: Any = None


class _Answer:
    """Puts the chunks of one completion together. See `bot.models.wire.Answer`."""

    def __init__(self, model: str, label: str, *, thinks_aloud: bool) -> None:
        self._model = model
        self._label = label
        self._text: list[str] = []
        self._thoughts = _Thoughts() if thinks_aloud else None
        self._refused = False
        self._calls: list[_Call] = []
        self._by_index: dict[Any, _Call] = {}
        self._reason = ""
        self.used = Usage()
        self.complete = False
        self.over = False  # `[DONE]` is no chunk: whoever reads the stream sees it

    def take(self, chunk: dict[str, Any]) -> None:
        if error := chunk.get("error"):
            raise failed(
                self._model, self._label, None, error if isinstance(error, dict) else {"message": error}
            )
        if usage := chunk.get("usage"):
            self.used = _usage(usage)
        for choice in chunk.get("choices") or ():
            if delta := choice.get("delta"):
                self._take_delta(delta)
            if reason := choice.get("finish_reason"):
                self._reason = reason
                self.complete = True
                if self._thoughts:
                    self._text.append(self._thoughts.rest())

    def _take_delta(self, delta: dict[str, Any]) -> None:
        # `reasoning_content`, `reasoning` and the like of compatible servers are left where they are: they are not for people.
        if content := delta.get("content"):
            if not isinstance(content, str):  # Mistral's list of parts, thinking among them
                content = "".join(part.get("text", "") for part in content if part.get("type") == "text")
            self._text.append(self._thoughts.strip(content) if self._thoughts else content)
        if delta.get("refusal"):
            self._refused = True
        for piece in delta.get("tool_calls") or ():
            self._take_call(piece)

    def _take_call(self, piece: dict[str, Any]) -> None:
        index, id_ = piece.get("index"), str(piece.get("id") or "")
        call = self._by_index.get(index)
        # A server may number every parallel call 0 (Gemini's) or none: a new id then begins a new call.
        if call is None or (id_ and id_ != call.id):
            call = _Call(id_ or f"call_{uuid.uuid4().hex[:24]}")
            self._by_index[index] = call
            self._calls.append(call)
        function = piece.get("function") or {}
        call.name = call.name or str(function.get("name") or "")
        if text := function.get("arguments"):
            call.arguments.append(text if isinstance(text, str) else json.dumps(text))
        # Gemini keeps the signature of its thoughts here and refuses the tool round without it.
        call.extra = piece.get("extra_content") or call.extra

    def drain(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        return text

    def finished(self) -> Finished:
        if not self.complete:
            raise ModelUnavailable(
                self._model, "the answer ended without a finish reason: it was cut off on the way"
            )
        if self._refused or self._reason.startswith("content_filter"):  # Gemini's goes on with why
            raise ModelRefused(self._model, "the model or its content filter refused to answer")
        if self._reason == "error":  # OpenRouter's word for a fault of the provider behind it
            raise ModelUnavailable(self._model, "the answer ended in an error of the provider's")
        if self._reason in ("length", "max_tokens"):
            return Finished("length", self.used)  # a call that was cut is none
        if not self._calls:
            return Finished("stop", self.used)
        calls = tuple(ToolCall(c.id, c.name, well_formed("".join(c.arguments)) or "{}") for c in self._calls)
        extras = {c.id: c.extra for c in self._calls if c.extra is not None}
        opaque = {"provider": _PROVIDER, "model": self._label, "extras": extras} if extras else None
        return Finished("tools", self.used, calls, opaque)


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        input=tokens(usage.get("prompt_tokens")),
        cached=tokens(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        output=tokens(usage.get("completion_tokens")),
    )


class _Thoughts:
    """Takes out the `<think>` block with which models on local servers begin."""

    OPEN = "<think>"
    CLOSE = "</think>"

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"  # then inside, then after (blank lines are dropped), then said

    def strip(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if self._state == "said":
            return text
        self._held += text
        if self._state == "start":
            begun = self._held.lstrip()
            if begun.startswith(self.OPEN):
                self._state, self._held = "inside", begun
            elif not self.OPEN.startswith(begun):
                self._state = "said"
                return self._held
        if self._state == "inside" and self.CLOSE in self._held:
            self._state, self._held = "after", self._held.partition(self.CLOSE)[2]
        if self._state == "after" and (shown := self._held.lstrip()):
            self._state = "said"
            return shown
        return ""

    def rest(self) -> str:
        """What was held back and turned out to be no such block."""
        held, self._held = self._held, ""
        return held if self._state == "start" else ""
