"""Socket Mode: Slack's events over WebSockets that we open. Each envelope is confirmed on the socket on which it came.

Not slack_sdk's client: it connects again and again to an address that Slack takes but once, gives no sign that it is not
connected, and runs tasks that nobody can await. Its types, and Bolt's way from an envelope to a response, are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from adapters.base import Health, RateLimited, Unavailable
from adapters.slack.client import Client

_log = logging.getLogger(__name__)

_CLOSE = 0.3  # seconds that Slack gets to say goodbye
_LINGER = 30.0  # seconds that a socket which Slack is about to close is read on
_SOON = 10.0  # seconds; a socket that ends before was no good
_MOST_PAUSE = 10.0  # seconds between sockets that are no good: a mention that nobody hears is lost


class Sockets:
    """Receives as long as `run` runs. `behind` is called when messages may have been missed."""

    def __init__(
        self,
        client: Client,
        app_token: str,
        app: AsyncApp,
        *,
        ping: float,
        retry_first: float,
        retry_most: float,
        seconds: float,
        behind: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._client = client
        self._token = app_token
        self._app = app
        self._ping = ping
        self._retry = (retry_first, retry_most)
        self._seconds = seconds
        self._behind = behind
        self._open: set[aiohttp.ClientWebSocketResponse] = set()
        self._short = 0  # sockets in a row that ended soon after they were opened

    async def run(self, health: Health, detail: str) -> None:
        """Until cancelled. Raises what can not be mended by connecting again."""
        async with aiohttp.ClientSession() as http:
            try:
                async with asyncio.TaskGroup() as tasks:
                    while True:
                        await self._connected(http, tasks, health, detail)
                        health.down("the connection to Slack was lost; it is opened again")
                        await asyncio.sleep(max(self._retry[0], self._pause()))
            finally:
                await asyncio.gather(*(self._drop(socket) for socket in list(self._open)))

    async def _connected(
        self, http: aiohttp.ClientSession, tasks: asyncio.TaskGroup, health: Health, detail: str
    ) -> None:
        """Open a socket, and the next one whenever Slack asks for it; return when one is lost."""
        socket = await self._insist(http, health)
        health.up(detail)
        tasks.create_task(self._behind())
        alive = tasks.create_task(self._tell(health, detail))
        opened = time.monotonic()
        try:
            while await self._serve(socket, tasks):
                self._ended(opened)
                tasks.create_task(self._linger(socket, tasks))
                await asyncio.sleep(self._pause())
                socket = await self._insist(http, health)
                opened = time.monotonic()
                health.up(detail)
            self._ended(opened)
        finally:
            alive.cancel()
            await self._drop(socket)

    def _ended(self, opened: float) -> None:
        self._short = self._short + 1 if time.monotonic() - opened < _SOON else 0

    def _pause(self) -> float:
        """Seconds until the next socket: none at first, and ever more while sockets end as soon as they are open."""
        first, most = self._retry
        return min(most, _MOST_PAUSE, first * 2.0 ** min(self._short - 2, 30)) if self._short > 1 else 0.0

    async def _tell(self, health: Health, detail: str) -> None:
        """A socket is open as long as its pings are answered: aiohttp closes it otherwise."""
        while True:
            await asyncio.sleep(self._ping)
            health.up(detail)

    async def _insist(self, http: aiohttp.ClientSession, health: Health) -> aiohttp.ClientWebSocketResponse:
        """An open socket over which Slack has said hello."""
        wait, most = self._retry
        while True:
            try:
                answer = await self._client("apps_connections_open", "", app_token=self._token)
                return await self._opened(http, str(answer.get("url") or ""))
            except RateLimited as exc:
                health.down(str(exc))
                await asyncio.sleep(exc.retry_after)
            except Unavailable as exc:
                health.down(str(exc))
                await asyncio.sleep(wait)
                wait = min(wait * 2, most)

    async def _opened(self, http: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
        socket: aiohttp.ClientWebSocketResponse | None = None
        try:
            async with asyncio.timeout(self._seconds):
                socket = await http.ws_connect(
                    url,
                    heartbeat=self._ping,
                    max_msg_size=0,
                    proxy=self._client.web.proxy,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE),
                )
                self._open.add(socket)
                hello = _parsed((await socket.receive()).data)
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # a timeout is an OSError
            if socket is not None:
                await self._drop(socket)
            # The address holds a ticket: neither it nor the cause is shown
            raise Unavailable(f"Slack's socket could not be opened ({type(exc).__name__})") from None
        if hello.get("type") != "hello":
            await self._drop(socket)
            raise Unavailable("Slack's socket was opened and closed again without a hello")
        return socket

    async def _drop(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._open.discard(socket)
        await socket.close()

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse, tasks: asyncio.TaskGroup) -> bool:
        """Take what comes, in order, until the socket ends (False) or Slack asks for another one (True)."""
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            envelope = _parsed(message.data)
            if envelope.get("type") == "disconnect":
                if envelope.get("reason") == "link_disabled":
                    raise Unavailable(
                        "Socket Mode is switched off for this app; switch it on in its settings"
                    )
                return True
            # Tasks begin in the order in which they are made, and none waits before it stands in line to be stored
            tasks.create_task(self._handle(socket, envelope))
        return False

    async def _linger(self, socket: aiohttp.ClientWebSocketResponse, tasks: asyncio.TaskGroup) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while await self._serve(socket, tasks):
                    pass
        await self._drop(socket)

    async def _handle(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        """Confirm an envelope once Bolt is done with it. What is not confirmed, Slack brings again."""
        try:
            request = SocketModeRequest.from_dict(envelope)
            if request is None:
                return
            response = await run_async_bolt_app(self._app, request)
        except Exception as exc:  # noqa: BLE001 - the edge of one envelope: the others must get through
            _log.error("an envelope could not be read (%s)", type(exc).__name__)
            return
        if response.status != 200:
            _log.info("an envelope was not taken; Slack brings it again")
            return
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # it will come again, and be known
            await socket.send_str(json.dumps(SocketModeResponse(request.envelope_id).to_dict()))


def _parsed(data: Any) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
