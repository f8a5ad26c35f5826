"""Traces of turns for OpenTelemetry, where the usual OTEL_* variables ask for them and the extra `otel` is installed.

A span per turn; below it one for each call of a model or a tool and for the delivery of each part of the reply. Spans carry ids,
names of the configuration, numbers and outcomes: nobody's words and no secrets. They are sent from a thread of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import structlog

from bot.agent import Middleware, Model_, Reply, Tool_, Turn_
from bot.events import ToolCall, Variables
from bot.models.base import Finished, Model, ModelEvent, ModelRequest
from bot.stream import Stream
from bot.tools.base import Tool, ToolContext, ToolProblem
from memory.outbox import Part

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = structlog.get_logger(__name__)

FLUSH = 1.5  # seconds for what is not sent yet, on the way down
MOST_TURNS = 1000  # whose deliveries can still find their turn's span


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether the environment wants traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter != "none" and bool(exporter or any(environ.get(name) for name in endpoints))


def start(environ: Mapping[str, str]) -> Traces | None:
    """What sends traces as the environment asks; None where it does not, or asks for what is not there: a warning says so."""
    if not asked_for(environ):
        return None
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if exporter not in ("", "otlp") or protocol not in (None, "", "http/protobuf"):
        log.warning(
            "no_traces",
            note="traces are sent by OTLP over http/protobuf only; the OTEL_* variables ask for others",
        )
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(
            "no_traces", note="OTEL_* variables are set; install the extra: pip install 'boswell[otel]'"
        )
        return None
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create(None if named else {"service.name": "boswell"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


class Traces(Middleware):
    """Told of turns and deliveries by `Metrics`, and of calls as an agent's middleware."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context

        self._api = trace
        self._nothing = Context()
        self._provider = provider
        self._tracer = provider.get_tracer("boswell")
        self._running: dict[int, Span] = {}
        self._ended: OrderedDict[int, Span] = OrderedDict()

    def turn_began(self, turn_id: int, platform: str) -> None:
        attributes: dict[str, Any] = {"boswell.turn": turn_id, "boswell.platform": platform}
        # A root: what else runs in this task is no concern of the turn's
        self._running[turn_id] = self._tracer.start_span("turn", self._nothing, attributes=attributes)

    def turn_ended(self, turn_id: int, outcome: str) -> None:
        span = self._running.pop(turn_id, None)
        if span is None:
            return
        span.set_attribute("boswell.outcome", outcome)
        if outcome.startswith("failed"):
            self._failed(span, outcome)
        span.end()
        self._ended[turn_id] = span
        while len(self._ended) > MOST_TURNS:
            self._ended.popitem(last=False)

    @contextmanager
    def delivering(self, part: Part) -> Iterator[None]:
        """Around the delivery of a part: a child of its turn's span, if this process has worked on the turn."""
        turn = self._running.get(part.turn_id) or self._ended.get(part.turn_id)
        above = self._nothing if turn is None else self._api.set_span_in_context(turn, self._nothing)
        attributes = {"boswell.turn": part.turn_id, "boswell.part": part.part}
        span = self._tracer.start_span("delivery", above, attributes=attributes)
        span.set_attribute("boswell.platform", part.chat["platform"])
        try:
            yield
        except BaseException as exc:
            self._failed(span, type(exc).__name__)
            raise
        finally:
            span.end()

    async def turn(self, stream: Stream, variables: Variables, proceed: Turn_) -> Reply:
        span = self._running.get(int(variables.turn_id or 0))
        if span is None:
            return await proceed(stream, variables)
        # Whatever is started in this task and its children is below the turn
        with self._api.use_span(span, record_exception=False, set_status_on_exception=False):
            return await proceed(stream, variables)

    async def model(self, model: Model, request: ModelRequest, proceed: Model_) -> AsyncIterator[ModelEvent]:
        span = self._tracer.start_span(f"model {model.name}")
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": model.name})
        try:
            async with aclosing(cast("Any", proceed(model, request))) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        self._used(span, event)
                    yield event
        except Exception as exc:
            self._failed(span, type(exc).__name__)
            raise
        finally:
            span.end()

    async def tool(self, tool: Tool, call: ToolCall, context: ToolContext, proceed: Tool_) -> str:
        span = self._tracer.start_span(f"tool {tool.name}")
        span.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool.name})
        try:
            return await proceed(tool, call, context)
        except ToolProblem:
            raise  # an answer like any other
        except BaseException as exc:
            self._failed(span, type(exc).__name__)
            raise
        finally:
            span.end()

    async def close(self) -> None:
        """Send what is left, and wait for that no longer than `FLUSH` seconds."""
        for span in self._running.values():
            span.set_attribute("boswell.outcome", "cut off")
            span.end()
        self._running.clear()
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
                loop.call_soon_threadsafe(sent.set)

        # A daemon, and not one of the loop's threads, for whose end the process would wait.
        threading.Thread(target=flush, name="last traces", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH):
                await sent.wait()
        except TimeoutError:
            log.warning("traces_not_sent", note="the receiver does not answer")

    def _used(self, span: Span, finished: Finished) -> None:
        usage = finished.usage
        span.set_attributes(
            {
                "gen_ai.usage.input_tokens": usage.input,
                "gen_ai.usage.cached_tokens": usage.cached,
                "gen_ai.usage.output_tokens": usage.output,
                "boswell.finish": finished.reason,
            }
        )

    def _failed(self, span: Span, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._api.StatusCode.ERROR)
