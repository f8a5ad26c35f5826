"""Tools: typed functions that a model may call, with what the runner knows injected and out of the model's reach."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from adapters.base import Update
from bot.events import ToolCall, Variables
from bot.models.base import ToolSpec
from bot.reminders import UNBOUNDED, Bounds
from memory.database import Database
from memory.facts import Facts
from memory.index import Index
from memory.transcripts import Transcripts

if TYPE_CHECKING:
    from memory.vectors import Meaning


class ToolProblem(Exception):
    """Raised by a tool to tell the model something. The message is one short safe sentence."""


AskMeaning = Callable[[str], Awaitable["Meaning | None"]]
"""What a question means, in time or not at all."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What the runner gives to a tool. Nothing in it comes from the model.

    `idempotency_key` is the same whenever the same call of the same turn runs again after a crash. `now` gives unix seconds.
    `update` is what is being answered, and `said` what the person wrote in it, word for word; nothing if we asked ourselves
    (a reminder that has work to do), or if they forwarded somebody else's words. `stir` is called once something is scheduled.
    """

    variables: Variables
    transcripts: Transcripts
    now: Callable[[], float]
    idempotency_key: str = ""
    update: Update | None = None
    said: tuple[str, ...] = ()
    database: Database | None = None
    facts: Facts | None = None
    index: Index | None = None
    meaning: AskMeaning | None = None
    reminders: Bounds = UNBOUNDED
    stir: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function made callable by a model. `spec` is what the model is told."""

    spec: ToolSpec
    function: Callable[..., Any]
    arguments: type[BaseModel]

    @property
    def name(self) -> str:
        return self.spec.name

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        """Validate the model's arguments, run the function, return its text.

        A plain function runs in a thread. Raises `ToolProblem` for arguments that do not fit, in words for the model.
        """
        try:
            parsed = self.arguments.model_validate_json(call.arguments.strip() or "{}")
        except ValidationError as exc:
            raise ToolProblem(self._misfit(exc)) from exc
        values = {name: getattr(parsed, name) for name in type(parsed).model_fields}
        if inspect.iscoroutinefunction(self.function):
            result = await self.function(context, **values)
        else:
            result = await asyncio.to_thread(self.function, context, **values)
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)

    def _misfit(self, exc: ValidationError) -> str:
        problems = dict.fromkeys(
            _problem(error) for error in exc.errors(include_url=False, include_context=False)[:5]
        )
        names = ", ".join(self.arguments.model_fields) or "none"
        return f"{self.name} was not run: {'; '.join(problems)}. Its arguments are: {names}."


def _problem(error: ErrorDetails) -> str:
    """One misfit in plain words. `error["msg"]` of the other types reads "Input should be …" and quotes no input."""
    name = ".".join(str(part)[:40] for part in error["loc"])
    match error["type"]:
        case "json_invalid":
            return "the arguments are not valid JSON"
        case "extra_forbidden":
            return f"there is no argument {name!r}"
        case "missing":
            return f"the argument {name!r} is missing"
        case _ if not name:
            return "the arguments must be one JSON object"
        case _:
            return f"the argument {name!r} {error['msg'].replace('Input should', 'must', 1)}"


def tool(function: Callable[..., Awaitable[object] | object]) -> Tool:
    """Make a tool of a function whose first parameter is the `ToolContext`.

    Its name, its docstring and the other parameters' annotations (with `Field(description=…)`) are what the model sees;
    unknown arguments are refused.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is inspect.Parameter.empty else p.default)
        for p in parameters
    }
    arguments = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    schema: Mapping[str, Any] = _untitled(arguments.model_json_schema())
    spec = ToolSpec(function.__name__, inspect.cleandoc(function.__doc__ or ""), schema)
    return Tool(spec, function, arguments)


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the titles that pydantic makes of the names: they tell a model nothing and cost tokens in every call."""
    properties = schema.get("properties", {})
    bare = {name: {k: v for k, v in field.items() if k != "title"} for name, field in properties.items()}
    return {k: v for k, v in schema.items() if k != "title"} | {"properties": bare}
