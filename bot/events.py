"""The typed events of a stream: what is kept in its log, and what only passes over its bus.

Durable events are the conversation: a model's context and a resumed turn are built from them alone. Bus events (`Delta`,
`ToolStarted`, `TurnEnded`) are for those who watch a turn as it runs; they are never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to run a tool. `arguments` is the JSON text as the model wrote it, not yet validated."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A person's message. `speaker` is their name where several share the stream; `context` is what the room said before.

    `relayed` tells that words of somebody else's are in it, which the person has forwarded.
    """

    type: ClassVar = "user"
    text: str
    speaker: str = ""
    context: str = ""
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class AssistantSaid:
    """What a model said in one call: text, tool calls, or both.

    `opaque` holds what the provider of `model` wants back word for word (signed thinking blocks); no other provider gets
    it. `stopped` marks a reply that was cut short by the person; its text then is what they saw.
    """

    type: ClassVar = "assistant"
    text: str
    calls: tuple[ToolCall, ...] = ()
    model: str = ""
    opaque: Any = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A tool's result, as the model reads it. `failed` tells that the tool did not do its work."""

    type: ClassVar = "tool"
    call_id: str
    name: str
    content: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Summarised:
    """Stands for every event before sequence number `upto` in a model's context. The originals stay in the log."""

    type: ClassVar = "summary"
    text: str
    upto: int


Event = UserSaid | AssistantSaid | ToolReturned | Summarised

_TYPES: dict[str, type[Event]] = {t.type: t for t in (UserSaid, AssistantSaid, ToolReturned, Summarised)}


def to_json(event: Event) -> dict[str, Any]:
    """The event's data without its type; `from_json(event.type, …)` gives it back."""
    return asdict(event)


def from_json(type_: str, data: Mapping[str, Any]) -> Event:
    """The event of a stored row. Unknown keys (of a later version) are passed over; an unknown type is a KeyError."""
    cls = _TYPES[type_]
    known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
    if "calls" in known:
        known["calls"] = tuple(ToolCall(**call) for call in known["calls"])
    return cls(**known)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply, as the model writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool begins to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over; `text` is the whole reply."""

    text: str


BusEvent = Event | Delta | ToolStarted | TurnEnded


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call. `input` counts all tokens read; `cached` is the part of it served from a prompt cache."""

    input: int = 0
    cached: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Variables:
    """What belongs to one ask: who asks, where, and in which zone. Tools take their scope from here.

    `people` are all user ids of who asks, who may be one person on several platforms; `user_id` is the first of them. `facts` is
    what they wanted to be remembered, as the system prompt has it.
    """

    user_id: str
    people: tuple[str, ...] = ()
    chat_key: str = ""
    chat_id: str = ""
    platform: str = ""
    private: bool = True
    timezone: str = "UTC"
    name: str = ""
    language: str = ""
    turn_id: str = ""
    facts: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.people:
            object.__setattr__(self, "people", (self.user_id,))
