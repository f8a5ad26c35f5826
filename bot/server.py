"""The HTTP server: what platforms send by themselves, and what operators ask. Opened only where something needs it.

It may stand in the open, so nobody can hold much of it: heads and bodies are bounded in size and in time, the connections in
number, and what goes wrong is answered without a detail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiohttp import hdrs, web

from adapters.base import HttpRequest, HttpResponse, Route
from bot.errors import BoswellError
from bot.health import Vitals
from bot.metrics import Counters
from config.schema import ServerConfig
from memory.database import Database

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024  # bytes; no platform's webhook comes near it
MAX_LINE = 8190  # bytes of a request line or a header
MAX_HEADERS = 64
BODY = 10.0  # seconds for a whole body
HEAD = 20.0  # seconds for a whole head, and for which an idle connection is kept
ANSWER = 30.0  # seconds for an answer
MOST_CONNECTIONS = 512  # of the process's file descriptors; past it, whoever has been connected longest goes


class ServerNotOpened(BoswellError):
    """The address can not be listened on. The message says which, and what to do."""


async def serve(config: ServerConfig, routes: Sequence[Route], tasks: asyncio.TaskGroup) -> int:
    """Listen, as a task of the group, until it is cancelled; the port that was taken."""
    server = _Server(routes)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, config.host, config.port)
    try:
        await site.start()
    except OSError as exc:
        await runner.cleanup()
        raise ServerNotOpened(
            f"server: {config.host}:{config.port} can not be listened on ({exc.strerror}); set server.port to a free one"
        ) from exc
    port = int(runner.addresses[0][1])
    log.info("listening", host=config.host, port=port, paths=[route.path for route in routes])
    tasks.create_task(_until_cancelled(runner), name="http server")
    return port


def own_routes(vitals: Vitals, counters: Counters, database: Database) -> Sequence[Route]:
    """What operators and their machines ask: /healthz, /readyz and /metrics."""

    async def healthz(_: HttpRequest) -> HttpResponse:
        return (
            HttpResponse(200, "ok\n")
            if await vitals.alive()
            else HttpResponse(503, "the database does not work\n")
        )

    async def readyz(_: HttpRequest) -> HttpResponse:
        ready = vitals.ready
        report = {"ready": ready, "phase": vitals.phase, "adapters": vitals.states}
        return HttpResponse(200 if ready else 503, json.dumps(report, indent=1) + "\n", "application/json")

    async def metrics(_: HttpRequest) -> HttpResponse:
        body, content_type = await counters.exposition(database, vitals)
        return HttpResponse(200, body.decode(), content_type)

    return [Route("GET", f"/{answer.__name__}", answer) for answer in (healthz, readyz, metrics)]


async def _until_cancelled(runner: web.ServerRunner) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # Which software, and of which version, is nobody's business
        response.headers.popall(hdrs.SERVER, None)


class _Protocol(web.RequestHandler):
    def handle_error(self, _: web.BaseRequest, status: int = 500, *__: Any) -> web.StreamResponse:
        """What is no HTTP, or too long. In the open that is noise without end: nothing is logged, and nothing told back."""
        answer = _plain(status)
        answer.force_close()
        return answer


class _Server(web.Server):
    """aiohttp's protocol with bounds, and a table in place of its router."""

    def __init__(self, routes: Sequence[Route]) -> None:
        super().__init__(self._answer, request_factory=self._request)
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {})[route.method] = route

    def __call__(self) -> web.RequestHandler:
        bounds: dict[str, Any] = {
            "access_log": None
        }  # aiohttp's own way to have none, which its types forget
        return _Protocol(
            self,
            loop=asyncio.get_running_loop(),
            **bounds,
            keepalive_timeout=HEAD,  # aiohttp counts a head that is not complete as idleness
            lingering_time=1.0,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            auto_decompress=False,  # nobody we know compresses, and a small body could become a large one
        )

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        open_ = self.connections
        if len(open_) > MOST_CONNECTIONS:
            open_[0].force_close()

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> _Request:
        loop = asyncio.get_running_loop()
        return _Request(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        methods = self._routes.get(request.path)
        if methods is None:
            return _plain(404)
        route = methods.get(hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method)
        if route is None:
            return _plain(405, {hdrs.ALLOW: ", ".join(methods)})
        try:
            async with asyncio.timeout(BODY):
                body = await request.read()
        except TimeoutError:
            return _plain(408)
        except web.HTTPRequestEntityTooLarge:
            return _plain(413)
        except web.RequestPayloadError:
            return _plain(400)
        return await _called(route, HttpRequest(request.headers, request.query, body))


async def _called(route: Route, request: HttpRequest) -> web.Response:
    """The route's answer, or an error that tells nothing; the log has its kind."""
    try:
        async with asyncio.timeout(ANSWER):
            answer = await route.handler(request)
    except TimeoutError:
        log.error("route_timed_out", path=route.path)
        return _plain(503)
    except Exception as exc:
        log.error("route_broke", path=route.path, error=type(exc).__name__)
        log.debug("route_broke_in_full", path=route.path, exc_info=exc)
        return _plain(500)
    kind = answer.content_type
    headers = {**answer.headers, hdrs.CONTENT_TYPE: kind if ";" in kind else f"{kind}; charset=utf-8"}
    return web.Response(status=answer.status, body=answer.body.encode(), headers=headers)


def _plain(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    reason = web.Response(status=status).reason
    return web.Response(status=status, text=f"{reason}\n", headers=headers)
