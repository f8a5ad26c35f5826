"""How Slack brings events, commands and pressed buttons to an app: over sockets or as signed requests, until acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

How = Literal["events_api", "slash_commands", "interactive"]
Mode = Literal["socket", "http"]
ACK = 3.0  # seconds that Slack waits for an acknowledgement
MOST_SOCKETS = 10


@dataclass
class Delivery:
    """One payload on its way. `attempts` counts how often it was sent; `acked` is the time until it was acknowledged."""

    kind: How
    payload: dict[str, Any]
    attempts: int = 0
    reason: str = ""  # why the last attempt failed
    acked: float | None = None
    given_up: bool = False
    answer: Any = None  # what came with the acknowledgement
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        return str(self.payload.get("event_id") or self.payload.get("trigger_id"))


@dataclass
class Socket:
    """A Socket Mode connection. One that is to be refreshed gets nothing new."""

    ws: web.WebSocketResponse
    request: web.BaseRequest
    draining: bool = False
    waiting: dict[str, tuple[Delivery, asyncio.Event]] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Deliveries:
    """Everything on its way to the app.

    Slack tries an event again up to three times: at once, after a minute, after five. Here the pauses are `retries`, after
    which it gives up, unless `patient`: then the last pause is repeated. Commands and buttons are sent once. With `hold`, what
    happens while nobody is connected waits for a connection instead. What happens in one conversation is sent in order.
    """

    def __init__(
        self, complain: Callable[[str], None], note: Callable[[], None], signing_secret: str
    ) -> None:
        self.mode: Mode = "socket"
        self.url = ""  # HTTP mode: where events, commands and buttons are posted
        self.signing_secret = signing_secret
        self.retries: Sequence[float] = (0.01, 0.1, 0.5)
        self.patient = True
        self.hold = True
        self.ack_seconds = ACK
        self.copies = 1  # how often each event is sent without waiting: Slack promises at least once
        self.sockets: list[Socket] = []
        self.connections = 0  # sockets that ever were
        self.all: list[Delivery] = []
        self._complain = complain
        self._note = note
        self._lanes: dict[str, deque[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = asyncio.Event()
        self._turn = itertools.count()
        self._known: set[str] = set()  # envelopes ever sent
        self._http: aiohttp.ClientSession | None = None

    # What tests read

    @property
    def waiting(self) -> list[Delivery]:
        """What is neither acknowledged nor given up."""
        return [delivery for delivery in self.all if delivery.acked is None and not delivery.given_up]

    @property
    def connected(self) -> list[Socket]:
        """The sockets over which something may be sent."""
        return [socket for socket in self.sockets if not socket.draining and not socket.ws.closed]

    @property
    def worst_ack(self) -> float:
        """Seconds of the slowest acknowledgement."""
        return max((delivery.acked or 0 for delivery in self.all), default=0.0)

    def events(self, kind: str) -> list[Delivery]:
        """The deliveries of one type of event."""
        return [d for d in self.all if d.payload.get("event", {}).get("type") == kind]

    # Sending

    def lose_patience(self, *pauses: float) -> None:
        """From now on nothing waits for a connection, and what is not taken after these retries is given up."""
        self.hold = self.patient = False
        self.retries = pauses or (0.001, 0.001, 0.001)
        self._connected.set()

    def be_patient(self) -> None:
        """Nothing is given up any more."""
        self.hold = self.patient = True

    def send(self, kind: How, payload: dict[str, Any], lane: str = "") -> Delivery:
        """Bring a payload to the app; what has the same lane arrives in order."""
        delivery = Delivery(kind, payload)
        self.all.append(delivery)
        lane = lane or f"alone {id(delivery)}"
        queue = self._lanes.get(lane)
        if queue is None:
            self._lanes[lane] = deque([delivery])
            self._start(self._drive(lane))
        else:
            queue.append(delivery)
        return delivery

    async def again(self, delivery: Delivery) -> None:
        """Deliver once more what was acknowledged already, as happens when an acknowledgement is lost."""
        repeated = Delivery(delivery.kind, delivery.payload, attempts=1, reason="timeout")
        self.all.append(repeated)
        await self._insist(repeated, asyncio.Event())

    async def _drive(self, lane: str) -> None:
        queue = self._lanes[lane]
        while queue:
            delivery = queue[0]
            if self.mode == "socket":
                await self._someone()
            if self.mode == "socket":
                # Only the first sending is in order: what is not acknowledged is sent again by itself.
                sent = asyncio.Event()
                self._start(self._insist(delivery, sent))
                await sent.wait()
            else:
                await self._insist(delivery, asyncio.Event())
            queue.popleft()
        del self._lanes[lane]

    async def _insist(self, delivery: Delivery, sent: asyncio.Event) -> None:
        """Try until it is acknowledged or given up."""
        try:
            failures = 0
            while True:
                copies = [self._attempt(delivery, sent) for _ in range(self.copies)]
                if any(await asyncio.gather(*copies)):
                    break
                sent.set()
                pause = self.retries[min(failures, len(self.retries) - 1)]
                if not (self.hold and delivery.reason == "unreachable"):
                    failures += 1
                    if delivery.kind != "events_api" or (failures > len(self.retries) and not self.patient):
                        delivery.given_up = True
                        break
                await asyncio.sleep(pause)
        finally:
            sent.set()
            delivery.done.set()
            self._note()

    async def _attempt(self, delivery: Delivery, sent: asyncio.Event | None = None) -> bool:
        began = time.monotonic()
        number = delivery.attempts
        delivery.attempts += 1
        try:
            async with asyncio.timeout(self.ack_seconds):
                if self.mode == "socket":
                    problem = await self._by_socket(delivery, number, sent)
                else:
                    problem = await self._by_request(delivery, number)
        except TimeoutError:
            problem = "timeout" if self.mode == "socket" else "http_timeout"
        if problem:
            delivery.reason = problem
            if problem == "unreachable" and self.hold:
                delivery.attempts -= 1  # nobody was there: it does not count
        elif delivery.acked is None:
            delivery.acked = time.monotonic() - began
        self._note()
        return not problem

    # Socket Mode

    async def _by_socket(self, delivery: Delivery, number: int, sent: asyncio.Event | None) -> str:
        ready = self.connected
        if not ready:
            return "unreachable"
        socket = ready[next(self._turn) % len(ready)]  # each payload to one of them
        envelope, acked = str(uuid.uuid4()), asyncio.Event()
        socket.waiting[envelope] = (delivery, acked)
        self._known.add(envelope)
        frame: dict[str, Any] = {
            "envelope_id": envelope,
            "type": delivery.kind,
            "payload": delivery.payload,
            "accepts_response_payload": delivery.kind != "events_api",
        }
        if delivery.kind == "events_api":
            frame |= {"retry_attempt": number, "retry_reason": delivery.reason if number else ""}
        try:
            await socket.ws.send_json(frame)
        except (ConnectionError, RuntimeError):
            return "unreachable"
        finally:
            if sent is not None:
                sent.set()
        try:
            closing = asyncio.ensure_future(socket.ended.wait())
            waiting = asyncio.ensure_future(acked.wait())
            await asyncio.wait([closing, waiting], return_when=asyncio.FIRST_COMPLETED)
            closing.cancel()
            waiting.cancel()
            return "" if acked.is_set() else "socket closed"
        finally:
            socket.waiting.pop(envelope, None)

    async def _someone(self) -> None:
        while self.hold and not self.connected:
            self._connected.clear()
            await self._connected.wait()

    async def serve_socket(self, request: web.BaseRequest, app: str) -> web.StreamResponse:
        """One connection, from hello to its end."""
        ws = web.WebSocketResponse(autoping=True, timeout=0.1)
        await ws.prepare(request)
        if len(self.sockets) >= MOST_SOCKETS:
            await ws.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await ws.close()
            return ws
        socket = Socket(ws, request)
        self.connections += 1
        await ws.send_json(
            {
                "type": "hello",
                "num_connections": len(self.sockets) + 1,
                "debug_info": {"host": "applink-1", "build_number": 1, "approximate_connection_time": 18060},
                "connection_info": {"app_id": app},
            }
        )
        self.sockets.append(socket)
        self._connected.set()
        self._note()
        try:
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._acknowledged(socket, message.data)
        finally:
            if socket in self.sockets:
                self.sockets.remove(socket)
            socket.ended.set()
            self._note()
        return ws

    def _acknowledged(self, socket: Socket, data: str) -> None:
        try:
            frame = json.loads(data)
            envelope = frame["envelope_id"]
        except (ValueError, KeyError, TypeError):
            self._complain(f"a frame of {len(data)} characters that acknowledges nothing")
            return
        if set(frame) - {"envelope_id", "payload"}:
            self._complain(f"an acknowledgement with {sorted(frame)}")
        if envelope not in self._known:
            self._complain("an acknowledgement of an envelope that was never sent")
        if envelope in socket.waiting:  # else it comes too late
            delivery, acked = socket.waiting[envelope]
            delivery.answer = frame.get("payload") or None
            acked.set()

    async def refresh(self, reason: str = "refresh_requested", grace: float = 0.05) -> None:
        """Tell every socket that it ends soon, give it nothing new, and close it after `grace` seconds."""
        old = [socket for socket in self.sockets if not socket.draining]
        for socket in old:
            socket.draining = True
            await socket.ws.send_json(
                {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}
            )
        if reason == "refresh_requested":
            await asyncio.sleep(grace)
        for socket in old:
            await socket.ws.close()

    def drop_sockets(self) -> None:
        """Cut every connection without a word."""
        for socket in list(self.sockets):
            socket.draining = True
            if socket.request.transport is not None:
                socket.request.transport.abort()

    # HTTP mode

    def signed(self, body: str, *, at: float | None = None, secret: str | None = None) -> dict[str, str]:
        """The headers of a request with this body."""
        timestamp = str(int(at if at is not None else time.time()))
        base = f"v0:{timestamp}:{body}".encode()
        secret = self.signing_secret if secret is None else secret
        digest = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest}"}

    @staticmethod
    def encoded(kind: How, payload: dict[str, Any]) -> tuple[str, str]:
        """A payload as a request's body and its content type."""
        if kind == "events_api":
            return json.dumps(payload), "application/json"
        form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        return urlencode(form), "application/x-www-form-urlencoded"

    async def _by_request(self, delivery: Delivery, number: int) -> str:
        body, content_type = self.encoded(delivery.kind, delivery.payload)
        headers = {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            **self.signed(body),
        }
        if number and delivery.kind == "events_api":
            headers |= {
                "X-Slack-Retry-Num": str(number),
                "X-Slack-Retry-Reason": delivery.reason or "http_error",
            }
        try:
            async with self.http().post(self.url, data=body.encode(), headers=headers) as response:
                text = await response.text()
                if response.status == 503 and self.hold:
                    return "unreachable"
                if response.status >= 300:
                    return "" if response.headers.get("X-Slack-No-Retry") == "1" else "http_error"
        except aiohttp.ClientError:
            return "unreachable" if self.hold else "connection_failed"
        if text and delivery.kind != "events_api":
            delivery.answer = json.loads(text) if text.startswith("{") else {"text": text}
        return ""

    def http(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._http

    async def verify_url(self) -> bool:
        """What Slack does when the request URL is saved: whether the app answers the challenge."""
        body = json.dumps({"token": "legacy", "challenge": "3eZbrw1aB", "type": "url_verification"})
        headers = {"Content-Type": "application/json", **self.signed(body)}
        async with self.http().post(self.url, data=body, headers=headers) as response:
            text = await response.text()
            said = json.loads(text).get("challenge") if text.startswith("{") else text
            return response.status == 200 and said == "3eZbrw1aB"

    # Life

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._complain(f"the fake itself failed: {task.exception()!r}")

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in list(self.sockets):
            if socket.request.transport is not None:
                socket.request.transport.abort()
        if self._http is not None:
            await self._http.close()
            self._http = None
