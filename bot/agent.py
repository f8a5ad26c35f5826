"""The loop of model and tools. An agent is a definition: it serves every chat and holds no conversation.

What it says and does goes into the stream it is asked on: each step is on disk before the next begins, so that a turn which
is cut off goes on where it was, without running a finished tool again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import structlog

from bot import context, sentences
from bot.breaker import Breakers
from bot.errors import ModelError, ModelUnavailable
from bot.events import (
    AssistantSaid,
    Delta,
    Event,
    Summarised,
    ToolCall,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    Usage,
    UserSaid,
    Variables,
)
from bot.limits import request_bound
from bot.models.base import Finished, Model, ModelEvent, ModelRequest, TextDelta
from bot.prompt import system_prompt
from bot.stream import Stream
from bot.text import is_blank
from bot.tools.base import Tool, ToolContext, ToolProblem
from memory.database import Tx

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_TOOL_RESULT = (
    40_000  # characters; a tool that says more is cut, so that one result can not fill the context
)

MAX_REPLY = 200_000  # characters of one message of a model; past it, it has lost itself, and would fill the chat for hours


DEFAULT_MAX_OUTPUT = (
    16_000  # tokens; what is reserved must have an upper bound, even where none is configured
)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call that was made: the model's name in the configuration, what it used, and what `Reserve` gave for it."""

    model: str
    usage: Usage
    reservation: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole of what is said back. `calls` are those of this ask; an attempt before a crash has recorded its own."""

    text: str
    calls: tuple[ModelCall, ...] = ()
    rounds: int = 0


Record = Callable[[Tx, Sequence[ModelCall], Reply | None], Any]
"""Runs in each transaction that logs what a model said, with the calls since the last one, and with the reply in the last."""

Reserve = Callable[[str, int, int, bool], Awaitable[tuple[int, int]]]
"""Awaited before each model call, with the model's name in the configuration and the most tokens that it may read and write.

Returns a reservation's id, and how much may be written: less than was asked for only where the last argument says that less
will do. Whatever it raises (`LimitReached`) ends the ask, and the call is not made.
"""

MakeContext = Callable[[Variables, str], Awaitable[ToolContext]]
"""Gives what the runner injects into a tool, for these variables and this idempotency key."""

Model_ = Callable[[Model, ModelRequest], AsyncIterator[ModelEvent]]
Tool_ = Callable[[Tool, ToolCall, ToolContext], Awaitable[str]]
Turn_ = Callable[[Stream, Variables], Awaitable[Reply]]


class Middleware:
    """Wraps turns, model calls and tool calls; override what is of interest and call `proceed` to go on.

    The first one given to an agent is the outermost.
    """

    async def turn(self, stream: Stream, variables: Variables, proceed: Turn_) -> Reply:
        return await proceed(stream, variables)

    def model(self, model: Model, request: ModelRequest, proceed: Model_) -> AsyncIterator[ModelEvent]:
        return proceed(model, request)

    async def tool(self, tool: Tool, call: ToolCall, context: ToolContext, proceed: Tool_) -> str:
        return await proceed(tool, call, context)


class Interrupted(Exception):
    """The ask failed with `cause` after `text` had been shown."""

    def __init__(self, cause: BaseException, text: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.text = text


@dataclass(frozen=True)
class Agent:
    """One reusable definition. `models` are tried in that order: the second and later ones are the fallbacks."""

    name: str
    prompt: str
    models: Sequence[Model]
    tools: Mapping[str, Tool] = field(default_factory=dict)
    max_tool_rounds: int = 8
    context_tokens: int = 100_000
    max_output_tokens: int | None = None
    capped: bool = False  # models are told how much they may write at most, because a limit of tokens or USD relies on it
    middleware: Sequence[Middleware] = ()
    breakers: Breakers = field(default_factory=Breakers, compare=False)

    async def ask(
        self,
        message: str | UserSaid | None,
        *,
        stream: Stream,
        variables: Variables,
        make_context: MakeContext,
        record: Record | None = None,
        unrecorded: list[ModelCall] | None = None,
        reserve: Reserve | None = None,
        now: Callable[[], float] = time.time,
    ) -> Reply:
        """Answer a message on a stream. None goes on with the turn whose message is in the log already.

        Deltas, tool calls and results are published on the stream as they come. Raises `Interrupted` for whatever goes wrong (its
        cause is the error), and CancelledError when cancelled: the log is valid history in both cases, and `unrecorded` holds the
        model calls that were made and that `record` has not had. Every reserved call reaches one of the two, once: if cut off,
        with a guess of what the provider may have counted; if turned away unread, with nothing.
        """
        calls = [] if unrecorded is None else unrecorded
        ask = _Ask(self, stream, variables, make_context, record, calls, reserve, now)
        if message is not None:
            said = UserSaid(message) if isinstance(message, str) else message
            await stream.append(said, at=now())
        proceed: Turn_ = ask.run
        for layer in reversed(self.middleware):
            proceed = _bind(layer.turn, proceed)
        try:
            return await proceed(stream, variables)
        except Exception as exc:
            raise Interrupted(exc, ask.text) from exc

    async def summarise(
        self, stream: Stream, variables: Variables, unrecorded: list[ModelCall], reserve: Reserve
    ) -> str:
        """Sum up a conversation that has ended; empty if no model does. Nothing is logged.

        Each call is reserved before it is made, and is in `unrecorded` however it ends. Raises what `reserve` raises.
        """
        ask = _Ask(self, stream, variables, _no_tools, None, unrecorded, reserve, time.time)
        return await ask.sum_up(stream.events)


async def _no_tools(_: Variables, __: str) -> ToolContext:
    raise RuntimeError("a summary calls no tools")


def _bind(method: Callable[..., Any], proceed: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: method(*args, proceed)


class _Ask:
    """One ask in progress."""

    def __init__(
        self,
        agent: Agent,
        stream: Stream,
        variables: Variables,
        make_context: MakeContext,
        record: Record | None,
        unrecorded: list[ModelCall],
        reserve: Reserve | None,
        now: Callable[[], float],
    ) -> None:
        self.agent = agent
        self.stream = stream
        self.variables = variables
        self.make_context = make_context
        self.record = record
        self.reserve = reserve
        self.now = now
        self.calls = unrecorded
        self.made: list[ModelCall] = []
        self.texts: list[str] = []
        self.current: list[str] = []  # of the model call in progress
        self.paused = False  # the provider wants to be called again to go on
        self.chain = agent.models  # from the one that has answered last: it goes on with what it began
        self.acted = False  # a tool has run in this ask: from then on nothing is tried again
        self.call_model: Model_ = lambda model, request: model.stream(request)
        self.call_tool: Tool_ = lambda tool, call, context: tool.call(call, context)
        for layer in reversed(agent.middleware):
            self.call_model = cast(Model_, _bind(layer.model, self.call_model))
            self.call_tool = cast(Tool_, _bind(layer.tool, self.call_tool))

    @property
    def text(self) -> str:
        """What has been said in this turn, the piece in progress included."""
        return _join([*self.texts, "".join(self.current)])

    def _own(self, key: str) -> str:
        """Words of ours, in the person's language."""
        return sentences.say(key, self.variables.language)

    async def run(self, stream: Stream, variables: Variables) -> Reply:
        self.stream, self.variables = stream, variables
        done = stream.of_turn(stream.claim.turn_id) if stream.claim else []
        rounds = 0
        for event in done:  # a turn that is taken up again
            if isinstance(event, AssistantSaid):
                self.texts.append(event.text)
                rounds += bool(event.calls)
                self._go_on_with(event.model)
        await self._run_tools(done)
        while True:
            await self._fit()
            allowed = rounds < self.agent.max_tool_rounds
            said = await self._say(with_tools=allowed)
            if not allowed:  # some models call tools that they were not offered: it must end all the same
                said = replace(said, calls=(), opaque=None if self.paused else said.opaque)
                self.paused = False
            if not said.calls and not self.paused:
                break
            rounds += 1
            await self._log(said)
            await self._run_tools([said])
        self.texts.append(said.text)
        text = _join(self.texts)
        if is_blank(text):
            text = self._own("no_rounds" if rounds >= self.agent.max_tool_rounds > 0 else "empty")
            said = AssistantSaid(text, model=said.model, opaque=said.opaque)
        reply = Reply(text, tuple(self.made), rounds)
        await self._log(said, reply=reply)
        stream.publish(TurnEnded(text))
        return reply

    async def _log(self, *events: Event, reply: Reply | None = None) -> None:
        calls = list(self.calls)
        record = self.record
        also = (lambda tx: record(tx, calls, reply)) if record else None
        self.current = []
        if not reply and isinstance(events[0], AssistantSaid):
            self.texts.append(events[0].text)

        def recorded(_: object = None) -> None:
            del self.calls[: len(calls)]

        await _to_its_end(self.stream.append(*events, at=self.now(), also=also), recorded)
        recorded()

    async def _say(self, *, with_tools: bool) -> AssistantSaid:
        """One message of a model: the first of the agent's models, or another one while nothing was shown or done."""
        request = ModelRequest(
            system_prompt(self.agent.name, self.agent.prompt, self.stream.opened_at, self.variables),
            context.repair(self.stream.events),
            [tool.spec for tool in self.agent.tools.values()] if with_tools else (),
            self.variables.extra.get("pseudonym", ""),
            self.agent.max_output_tokens,
        )
        chain = [model for model in self.chain for _ in range(2)]
        while True:
            model = chain.pop(0)
            try:
                with self.agent.breakers.of(model).call():
                    said = await self._call(model, request)
            except ModelError as exc:
                if self.current or self.acted:
                    raise
                if not self._worth_another_try(model, exc):
                    chain = [other for other in chain if other is not model]
                if not chain:
                    raise
                if exc.asked:
                    self._warn("model_failed", exc, next=chain[0].name)
            else:
                self._go_on_with(model.name)
                return said

    def _worth_another_try(self, model: Model, exc: ModelError) -> bool:
        """Whether the same model may do better at once. Whoever told us to wait means it."""
        told = getattr(exc, "retry_after", None)
        return exc.transient and exc.asked and not told and self.agent.breakers.of(model).closed

    def _go_on_with(self, name: str) -> None:
        names = [model.name for model in self.chain]
        if name in names:
            self.chain = self.chain[names.index(name) :]

    def _warn(self, what: str, exc: ModelError, **more: object) -> None:
        reference, kind = f"t{self.variables.turn_id}", type(exc).__name__
        log.warning(what, ref=reference, error=kind, model=exc.model, problem=exc.problem, **more)

    async def _call(self, model: Model, request: ModelRequest) -> AssistantSaid:
        gap = bool(_join(self.texts))
        finished: Finished | None = None
        length = 0
        async with aclosing(self._paid(model, request)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    finished = event
                    break
                if gap and not self.current:
                    self.stream.publish(Delta("\n\n"))
                self.current.append(event.text)
                self.stream.publish(Delta(event.text))
                length += len(event.text)
                if length > MAX_REPLY:
                    break
        if finished is None:
            self.paused = False
            return AssistantSaid(
                f"{''.join(self.current)[:MAX_REPLY]}\n\n{self._own('cut')}", model=model.name
            )
        self.paused = finished.reason == "pause"
        text = "".join(self.current)
        if finished.reason == "length" and not finished.calls:
            text = f"{text}\n\n{self._own('cut')}" if text.strip() else self._own("cut")
        return AssistantSaid(text, self._with_own_ids(finished.calls), model.name, finished.opaque)

    async def _paid(self, model: Model, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """One model call: reserved before it is made, and in `calls` when it is over, however it ends.

        Raises `ModelUnavailable` if the model ends it without a `Finished`.
        """
        reservation = 0
        if self.reserve is not None:
            configured = request.max_output_tokens or model.max_output_tokens
            most = configured or DEFAULT_MAX_OUTPUT
            reserving = self.reserve(model.name, request_bound(request), most, configured is None)
            reservation, most = await _to_its_end(
                reserving, lambda given: self._account(model, Usage(), given[0])
            )
            # Else it is a guess, and some servers refuse more than their model can write
            if self.agent.capped:
                request = replace(request, max_output_tokens=most)
        used: Usage | None = None
        said: list[str] = []
        try:
            async with aclosing(cast(Any, self.call_model(model, request))) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        said.append(event.text)
                    elif event.usage != Usage():  # a server that does not count leaves it to us
                        used = event.usage
                    yield event
                    if isinstance(event, Finished):
                        return
            raise ModelUnavailable(model.name, "the stream ended without a finish")
        except ModelError as exc:
            used = exc.usage
            raise
        finally:
            self._account(model, used or _guess(request, "".join(said)), reservation)

    def _account(self, model: Model, usage: Usage, reservation: int) -> None:
        if reservation or usage != Usage():
            call = ModelCall(model.name, usage, reservation)
            self.calls.append(call)
            self.made.append(call)

    def _with_own_ids(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls under ids that no other call of the stream has: some servers number them anew in every message.

        A result is known by its call's id, and so is what has run already.
        """
        taken = (
            {c.id for e in self.stream.events if isinstance(e, AssistantSaid) for c in e.calls}
            if calls
            else set()
        )
        own = []
        for call in calls:
            id_, count = call.id, 1
            while id_ in taken:
                count += 1
                id_ = f"{call.id}_{count}"
            taken.add(id_)
            own.append(replace(call, id=id_))
        return tuple(own)

    async def _run_tools(self, events: Sequence[Event]) -> None:
        """Run the calls of `events` that have no result yet, side by side; each result is logged as it comes."""
        answered = {e.call_id for e in events if isinstance(e, ToolReturned)}
        calls = [
            call
            for e in events
            if isinstance(e, AssistantSaid)
            for call in e.calls
            if call.id not in answered
        ]
        if answered or calls:
            self.acted = True
        if not calls:
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                for call in calls:
                    tasks.create_task(self._run_tool(call))
        except* Exception as group:  # only the log can fail here, and then for all of them alike
            raise group.exceptions[0] from group

    async def _run_tool(self, call: ToolCall) -> None:
        self.stream.publish(ToolStarted(call))
        tool = self.agent.tools.get(call.name)
        failed = True
        if tool is None:
            content = f"There is no tool {call.name!r}. There are: {', '.join(self.agent.tools) or 'none'}."
        else:
            key = f"{self.variables.turn_id}.{call.id}"
            try:
                content = await self.call_tool(tool, call, await self.make_context(self.variables, key))
                failed = False
            except ToolProblem as exc:
                content = str(exc)
            except Exception as exc:
                log.error(
                    "tool_failed",
                    ref=f"t{self.variables.turn_id}",
                    tool=call.name,
                    key=key,
                    error=type(exc).__name__,
                    where=_where(exc),
                )
                log.debug("tool_failed_in_full", key=key, exc_info=exc)
                content = f"The tool {call.name!r} failed. Do without it, and say so if it matters."
        if len(content) > MAX_TOOL_RESULT:
            content = content[:MAX_TOOL_RESULT] + "\n[cut: the result was longer]"
        await self.stream.append(ToolReturned(call.id, call.name, content, failed), at=self.now())

    async def _fit(self) -> None:
        """Summarise older turns if the context has grown too long. The summary is an event; the originals stay in the log."""
        events = self.stream.events
        turn = self.stream.claim.turn_id if self.stream.claim else 0
        at = context.cut(events, self.agent.context_tokens, len(self.stream.of_turn(turn)))
        if at is None:
            return
        erasures = self.stream.erasures
        text = await self.sum_up(events[:at])
        # Somebody was forgotten: what was summed up is not all there any more
        if self.stream.erasures != erasures:
            await self._fit()
            return
        await self._log(Summarised(text or context.NO_SUMMARY, self.stream.sequence(at)))

    async def sum_up(self, events: Sequence[Event]) -> str:
        """A summary of these events by the first model that gives one; empty if none does."""
        request = ModelRequest(
            context.SUMMARY_PROMPT,
            [UserSaid(context.as_text(events)[-4 * self.agent.context_tokens :])],
            (),
            self.variables.extra.get("pseudonym", ""),
            1000,
        )
        for model in self.chain:
            try:
                with self.agent.breakers.of(model).call():
                    return (await self._said_by(model, request)).strip()
            except ModelError as exc:
                self._warn("summary_failed", exc)
        return ""

    async def _said_by(self, model: Model, request: ModelRequest) -> str:
        async with aclosing(self._paid(model, request)) as events:
            return "".join([event.text async for event in events if isinstance(event, TextDelta)])


def _join(texts: Sequence[str]) -> str:
    return "\n\n".join(text for text in texts if text.strip())


def _guess(request: ModelRequest, said: str) -> Usage:
    """What a provider may have counted that does not say."""
    tools = "".join(f"{tool.name}{tool.description}{tool.parameters}" for tool in request.tools)
    read = context.tokens(request.system) + context.tokens(tools) + sum(map(context.weight, request.events))
    return Usage(read, 0, context.tokens(said))


async def _to_its_end(work: Awaitable[T], then: Callable[[T], None]) -> T:
    """What `work` returns. If cancelled meanwhile it is waited for all the same, and `then` hears what it returned."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            then(task.result())
        raise


def _where(exc: BaseException) -> str:
    """The place of an exception without its message, which may hold somebody's words."""
    trace = exc.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place, trace = (
            f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}",
            trace.tb_next,
        )
    return place
