"""The HTTP server for what platforms send by themselves. Opened only where an adapter has routes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from aiohttp import web

from adapters.base import HttpRequest, Route
from bot.errors import BoswellError
from config.schema import ServerConfig

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024  # bytes; no platform's webhook comes near it


class ServerNotOpened(BoswellError):
    """The address can not be listened on. The message says which, and what to do."""


async def serve(config: ServerConfig, routes: Sequence[Route], tasks: asyncio.TaskGroup) -> int:
    """Listen, as a task of the group, until it is cancelled; the port that was taken."""
    app = web.Application(client_max_size=MAX_BODY)
    for route in routes:
        app.router.add_route(route.method, route.path, _handler(route))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
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


async def _until_cancelled(runner: web.AppRunner) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _handler(route: Route):  # type: ignore[no-untyped-def]  # aiohttp's handler types are private
    async def handle(request: web.Request) -> web.Response:
        async with asyncio.timeout(10):  # a body that comes drop by drop holds nothing up
            body = await request.read()
        answer = await route.handler(HttpRequest(request.headers, request.query, body))
        return web.Response(status=answer.status, text=answer.body, content_type=answer.content_type)

    return handle
