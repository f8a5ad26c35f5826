"""What turns and delivery tell as it happens, for those who watch: counters for Prometheus and traces.

`Metrics` itself keeps nothing; `Counters` counts. No label ever holds an id, a name or a word of anybody: each has as many values
as there are platforms, models, outcomes and kinds of error.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from adapters.base import Adapter, AdapterError, Chat, RateLimited
from bot.agent import Middleware, Model_, Tool_
from bot.errors import ModelError
from bot.events import ToolCall, Usage
from bot.health import FRESH, PROBE, Vitals
from bot.models.base import Finished, Model, ModelEvent, ModelRequest
from bot.tools.base import Tool, ToolContext, ToolProblem
from memory.database import Database
from memory.outbox import Part

if TYPE_CHECKING:
    from bot.telemetry import Traces

MOST_UNSEEN = 10_000  # replies whose first text is waited for
TURN = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)  # seconds
FIRST = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60)


class Metrics:
    """Told what happens. Every verb is cheap and never fails."""

    def __init__(self, traces: Traces | None = None) -> None:
        self._traces = traces

    @property
    def middleware(self) -> Sequence[Middleware]:
        """What an agent needs so that its calls are seen."""
        return () if self._traces is None else (self._traces,)

    def turn_began(self, turn_id: int, platform: str, *, asks: bool) -> None:
        """Something is worked on; `asks` tells that a model is asked, and not only a command or a stranger answered."""
        if self._traces is not None and asks:
            self._traces.turn_began(turn_id, platform)

    def turn_ended(self, turn_id: int, platform: str, outcome: str) -> None:  # noqa: ARG002 - `Counters` counts by it
        """It has its outcome. A turn that is cut off by the end of the process has none yet."""
        if self._traces is not None:
            self._traces.turn_ended(turn_id, outcome)

    def text_shown(self, turn_id: int) -> None:
        """Words of a reply stand in its chat."""

    def used(self, model: str, usage: Usage, usd: float) -> None:
        """A model call is in the ledger."""

    def delivering(self, part: Part) -> AbstractContextManager[None]:
        """Around the delivery of a complete part, however long that takes."""
        return nullcontext() if self._traces is None else self._traces.delivering(part)

    def watched(self, adapters: Mapping[str, Adapter]) -> Mapping[str, Adapter]:
        """The adapters, their sends seen."""
        return adapters


class Counters(Metrics):
    """Counts in a registry of its own; `exposition` is what `/metrics` answers. Begins at nought with every process."""

    def __init__(self, traces: Traces | None = None) -> None:
        super().__init__(traces)
        # Only where somebody can read it: half of this library is a web server, and imported with the rest.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        own: dict[str, Any] = {"registry": CollectorRegistry(), "namespace": "boswell"}
        self._registry: CollectorRegistry = own["registry"]
        ProcessCollector(registry=self._registry)
        self._turns = Counter("turns", "Updates worked through to their end.", ("platform", "outcome"), **own)
        self._seconds = Histogram(
            "turn_seconds", "From taking a message up to its outcome.", ("platform",), buckets=TURN, **own
        )
        self._first = Histogram(
            "first_text_seconds",
            "From taking a message up to the first words in the chat.",
            ("platform",),
            buckets=FIRST,
            **own,
        )
        self._calls = Counter("model_calls", "Model calls, by how they ended.", ("model", "result"), **own)
        self._tokens = Counter(
            "tokens", "Tokens. Those of kind cached are part of input.", ("model", "kind"), **own
        )
        self._usd = Counter("usd", "USD, by the prices of the configuration.", ("model",), **own)
        self._errors = Counter(
            "errors", "What went wrong, in calls of models, tools and platforms.", ("where", "kind"), **own
        )
        self._sends = Counter("sends", "Sends that the platform took.", ("platform", "verb"), **own)
        self._limited = Counter("rate_limited", "Sends that were answered with 429.", ("platform",), **own)
        self._up = Gauge("adapter_up", "1 while the platform is heard of.", ("adapter",), **own)
        self._alive = Gauge("database_up", "1 while the database can be written to.", **own)
        queue = ("queue", "platform")
        self._depth = Gauge(
            "queue_depth", "Rows that are owed; of dead: that wait for an operator.", queue, **own
        )
        self._oldest = Gauge("queue_oldest_seconds", "Age of the oldest row that is owed.", queue[:2], **own)
        Gauge("build_info", "The version.", ("version",), **own).labels(version()).set(1)
        self._running: dict[int, float] = {}
        self._unseen: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._looked = -FRESH
        self._counted = (Counting(self),)

    @property
    def middleware(self) -> Sequence[Middleware]:
        return (*super().middleware, *self._counted)

    def turn_began(self, turn_id: int, platform: str, *, asks: bool) -> None:
        super().turn_began(turn_id, platform, asks=asks)
        if asks:
            self._running[turn_id] = time.monotonic()
            self._unseen[turn_id] = (platform, time.monotonic())
            while len(self._unseen) > MOST_UNSEEN:
                self._unseen.popitem(last=False)

    def turn_ended(self, turn_id: int, platform: str, outcome: str) -> None:
        super().turn_ended(turn_id, platform, outcome)
        self._turns.labels(platform, outcome).inc()
        began = self._running.pop(turn_id, None)
        if began is not None:
            self._seconds.labels(platform).observe(time.monotonic() - began)

    def text_shown(self, turn_id: int) -> None:
        platform, began = self._unseen.pop(turn_id, ("", 0.0))
        if platform:
            self._first.labels(platform).observe(time.monotonic() - began)

    def used(self, model: str, usage: Usage, usd: float) -> None:
        self._tokens.labels(model, "input").inc(usage.input)
        self._tokens.labels(model, "cached").inc(usage.cached)
        self._tokens.labels(model, "output").inc(usage.output)
        self._usd.labels(model).inc(usd)

    def called(self, model: str, result: str | ModelError) -> None:
        """A model call has ended: finished, stopped, or with an error."""
        self._calls.labels(model, result if isinstance(result, str) else type(result).__name__).inc()
        if isinstance(result, ModelError):
            self.failed("model", result)

    def sent(self, platform: str, verb: str) -> None:
        """The platform took something."""
        self._sends.labels(platform, verb).inc()

    def limited(self, platform: str) -> None:
        """The platform asks for patience."""
        self._limited.labels(platform).inc()

    def failed(self, where: str, error: BaseException) -> None:
        """A call of a model, a tool or a platform went wrong."""
        self._errors.labels(where, type(error).__name__).inc()

    def watched(self, adapters: Mapping[str, Adapter]) -> Mapping[str, Adapter]:
        return {name: cast("Adapter", _Watched(adapter, self)) for name, adapter in adapters.items()}

    async def exposition(self, database: Database, vitals: Vitals) -> tuple[bytes, str]:
        """Everything as Prometheus reads it, and its content type. What the database tells is at most a second old."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        self._alive.set(await vitals.alive())
        for name, state in vitals.states.items():
            self._up.labels(name).set(state == "up")
        if time.monotonic() - self._looked >= FRESH:
            self._looked = time.monotonic()
            self._depth.clear()  # no figure is better than an old one
            self._oldest.clear()
            with suppress(sqlite3.Error, TimeoutError):
                async with asyncio.timeout(PROBE):
                    await self._look(database, tuple(vitals.states))
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    async def _look(self, database: Database, names: Sequence[str]) -> None:
        rows = await database.read(lambda tx: (tx.all("inbox_counts"), tx.all("outbox_counts")))
        now = time.time()
        for queue, dead, found in (("inbox", "quarantined", rows[0]), ("outbox", "dead", rows[1])):
            counts = {row["platform"]: row for row in found}
            for name in names:
                row = counts.get(name)
                oldest = row["oldest"] if row else None
                self._depth.labels(queue, name).set(row["owed"] if row else 0)
                self._depth.labels(f"dead {queue}", name).set(row[dead] if row else 0)
                self._oldest.labels(queue, name).set(max(0.0, now - oldest) if oldest is not None else 0)


class Counting(Middleware):
    """Counts the calls of an agent, and what goes wrong in them."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def model(self, model: Model, request: ModelRequest, proceed: Model_) -> AsyncIterator[ModelEvent]:
        result: str | ModelError = "stopped"
        try:
            async with aclosing(cast("Any", proceed(model, request))) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        result = "finished"
                    yield event
        except ModelError as exc:
            result = exc
            raise
        finally:
            self._counters.called(model.name, result)

    async def tool(self, tool: Tool, call: ToolCall, context: ToolContext, proceed: Tool_) -> str:
        try:
            return await proceed(tool, call, context)
        except ToolProblem:
            raise  # an answer like any other
        except Exception as exc:
            self._counters.failed("tool", exc)
            raise


class _Watched:
    """An adapter whose sends are counted; everything else is its own."""

    def __init__(self, adapter: Adapter, counters: Counters) -> None:
        self._adapter = adapter
        self._counters = counters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def post(self, chat: Chat, text: str, **more: Any) -> str:
        with self._counted("post"):
            return await self._adapter.post(chat, text, **more)

    async def edit(self, chat: Chat, message_id: str, text: str, **more: Any) -> None:
        with self._counted("edit"):
            await self._adapter.edit(chat, message_id, text, **more)

    async def send_file(self, chat: Chat, path: Path, text: str, **more: Any) -> str:
        with self._counted("send_file"):
            return await self._adapter.send_file(chat, path, text, **more)

    async def typing(self, chat: Chat) -> None:
        with self._counted("typing"):
            await self._adapter.typing(chat)

    @contextmanager
    def _counted(self, verb: str) -> Iterator[None]:
        try:
            yield
        except RateLimited:
            self._counters.limited(self._adapter.name)
            raise
        except AdapterError as exc:
            self._counters.failed("platform", exc)
            raise
        self._counters.sent(self._adapter.name, verb)


def version() -> str:
    """This program's; `unknown` where it was not installed."""
    try:
        return metadata.version("boswell")
    except metadata.PackageNotFoundError:
        return "unknown"
