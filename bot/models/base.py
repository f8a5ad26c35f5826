"""The seam between the agent and whoever answers it: one protocol of streamed events.

A provider module turns a `ModelRequest` into its wire format and its stream into these events. It raises only `ModelError`s.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from bot.events import Event, ToolCall, Usage


@dataclass(frozen=True)
class ToolSpec:
    """What a model is told of a tool. `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @cached_property
    def size(self) -> int:
        """Characters of all of it as JSON, in ASCII."""
        return len(json.dumps([self.name, self.description, self.parameters]))


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call.

    `events` is repaired history: it begins with a UserSaid or Summarised, every tool call has its result right after the
    message that made it, and no two user messages stand in a row unless `UserSaid`s were merged by the caller. `user` is a
    stable pseudonym (for abuse reports and prompt-cache routing), never a platform id in
    clear.
    """

    system: str
    events: Sequence[Event]
    tools: Sequence[ToolSpec] = ()
    user: str = ""
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Visible text. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a stream that ended as it should. `opaque` is for `AssistantSaid.opaque`.

    `reason`: `stop` (said all), `tools` (wants `calls` run), `length` (cut by an output limit; the text so far is real),
    `pause` (Anthropic's pause_turn: call again with what was said).
    """

    reason: Literal["stop", "tools", "length", "pause"]
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    opaque: Any = None


ModelEvent = TextDelta | Finished


class Model(Protocol):
    """One entry of `models:` in the configuration. `name` is its key there; `label` what the provider calls it.

    `max_output_tokens` is the limit that it sets where a request has none; None leaves it to the provider.
    """

    name: str
    label: str
    max_output_tokens: int | None

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Call the model once. Yields text as it comes and exactly one `Finished`, or raises a `ModelError`.

        A stream that ends without a finish reason raises `ModelUnavailable`; a refusal raises `ModelRefused`. Closing the
        iterator or cancelling the task ends the call at the provider. Retries before the first byte of an answer are
        the provider module's (the SDK's, with retry-after honoured up to 20 s); after it, never.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
