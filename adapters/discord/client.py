"""Connects with Discord by discord.py, whose temper is changed in two respects.

discord.py waits out every rate limit in silence and repeats what failed, so that a caller never learns what became of a call.
Here each call is made once and fails at once, in our words: what waits, and for how long, is decided above the seam. And its
addresses are constants of its modules; here they are this client's own, so that several may point elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakSet

import aiohttp
import discord
from discord.gateway import DiscordClientWebSocketResponse, DiscordWebSocket, KeepAliveHandler
from discord.http import HTTPClient, Route
from yarl import URL

from adapters.base import (
    AdapterError,
    ChatGone,
    MessageGone,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    sending_seconds,
)

_log = logging.getLogger(__name__)

# JSON error codes (Discord's topics/opcodes-and-status-codes) by what can be done about them.
_CHAT_GONE: Final = frozenset({10003, 10004, 10013, 50001, 50007, 50008, 50013, 50024, 50278, 160005})
_MESSAGE_GONE: Final = frozenset({10008, 30046, 50005, 50083})
_ANSWER_GONE: Final = frozenset({10015, 10062, 50027})  # an interaction's token is used up, or too old
NO_HISTORY: Final = 160002  # "Cannot reply without permission to read message history"

_MOST_BUCKETS = 1000


class AnswerGone(ChatGone):
    """The interaction can not be answered any more."""


class NoHistory(ChatGone):
    """A reply can not refer to a message here, because the channel's history may not be read."""


class Http(HTTPClient):
    """The REST API and the WebSockets, for one token. Safe to use from several tasks; lives longer than a `Gateway`.

    A call raises discord.py's errors, `discord.RateLimited` also for an allowance that is known to be used up.
    """

    def __init__(
        self,
        token: str,
        base_url: str,
        gateway_url: str | None,
        *,
        seconds: float,
        trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`seconds` is the longest that a call may take. `trouble` hears why the gateway could not be reached."""
        super().__init__(asyncio.get_running_loop())
        self.token = token
        self.trouble = trouble
        self._base_url = base_url.rstrip("/")
        self._gateway_url = URL(gateway_url) if gateway_url else None
        self._recommended: URL | None = None
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None
        self._bucket_of: dict[str, str] = {}
        self._used_up: dict[tuple[str, str], float] = {}  # until when, on the monotonic clock
        self._all_used_up = 0.0
        self.sockets: WeakSet[aiohttp.ClientWebSocketResponse] = WeakSet()

    async def static_login(self, token: str) -> Any:
        """Ask who we are."""
        self.token = token
        return await self.request(Route("GET", "/users/@me"))

    async def get_bot_gateway(self) -> tuple[int, str, Any]:
        shards, url, limits = await super().get_bot_gateway()
        self._recommended = URL(url)
        return shards, url, limits

    async def ws_connect(self, url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to `url`, or to the configured gateway in place of it."""
        target = URL(url)
        instead = self._gateway_url
        if instead is None and target.host == DiscordWebSocket.DEFAULT_GATEWAY.host:
            instead = self._recommended
        if instead is not None:
            target = instead.with_query(target.query)
        try:
            socket = await self._http().ws_connect(
                target,
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),  # a dead gateway must not hold up a clean stop
                autoclose=False,
                headers={"User-Agent": self.user_agent},
                compress=compress,
            )
        except (aiohttp.ClientError, OSError) as exc:
            self.trouble(f"Discord's gateway can not be reached ({_reason(exc)})")
            raise
        self.sockets.add(socket)
        return socket

    async def request(
        self,
        route: Route,
        *,
        files: Sequence[discord.File] | None = None,  # they are in `form` as well
        form: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Make one call, once, and return its JSON (None if there is none)."""
        self._check_allowance(route)
        headers = {"User-Agent": self.user_agent}
        if route.webhook_token is None:  # there the address itself says who we are
            headers["Authorization"] = f"Bot {self.token}"
        data: Any = None
        if form is not None:
            data = aiohttp.FormData(quote_fields=False)
            for field in form:
                data.add_field(**field)
        elif "json" in kwargs:
            headers["Content-Type"] = "application/json"
            data = json.dumps(kwargs["json"], separators=(",", ":")).encode()
        url = self._base_url + route.url.removeprefix(Route.BASE)
        size = sum(file.fp.getbuffer().nbytes for file in files or () if isinstance(file.fp, io.BytesIO))
        seconds = sending_seconds(size, self._seconds)
        async with self._http().request(
            route.method,
            URL(url, encoded=True),
            data=data,
            params=kwargs.get("params"),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(self._seconds, 10)),
            # A redirect would carry the token, and the person's words, to wherever it points.
            allow_redirects=False,
        ) as response:
            content = await response.read()
        answer: Any = content.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(answer) if answer else None
        self._note_allowance(route, response)
        if 200 <= response.status < 300 and not isinstance(answer, str):
            return answer
        if response.status == 429:
            raise self._too_many(route, response, answer)
        kind = {403: discord.Forbidden, 404: discord.NotFound}.get(response.status, discord.HTTPException)
        failure = kind(response, "no JSON")
        if isinstance(answer, dict):
            with contextlib.suppress(AttributeError, TypeError):  # what it says in detail may have any shape
                failure = kind(response, answer)
        raise failure

    async def close(self) -> None:
        """Does nothing: discord.py calls it when a session with the gateway ends, and calls go on after that."""

    async def end(self) -> None:
        """Drop every connection; the next call makes new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                ws_response_class=DiscordClientWebSocketResponse,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    # Allowances. Discord tells with every answer how many calls of the kind are left, and for how long that counts.

    def _bucket(self, route: Route) -> tuple[str, str]:
        return self._bucket_of.get(route.key, route.key), route.major_parameters

    def _check_allowance(self, route: Route) -> None:
        now = time.monotonic()
        until = self._used_up.get(self._bucket(route), 0.0)
        if route.webhook_token is None:  # answers to interactions do not count for the whole
            until = max(until, self._all_used_up)
        if until > now:
            raise discord.RateLimited(until - now)

    def _note_allowance(self, route: Route, response: aiohttp.ClientResponse) -> None:
        if bucket := response.headers.get("X-RateLimit-Bucket"):
            self._bucket_of[route.key] = bucket
        if response.headers.get("X-RateLimit-Remaining") != "0" or response.status == 429:
            return
        with contextlib.suppress(ValueError, KeyError):
            self._use_up(route, float(response.headers["X-RateLimit-Reset-After"]))

    def _use_up(self, route: Route, seconds: float) -> None:
        now = time.monotonic()
        if len(self._used_up) > _MOST_BUCKETS:
            self._used_up = {key: until for key, until in self._used_up.items() if until > now}
        self._used_up[self._bucket(route)] = now + seconds

    def _too_many(self, route: Route, response: aiohttp.ClientResponse, answer: Any) -> Exception:
        if isinstance(answer, dict) and answer.get("code") in _MESSAGE_GONE:
            return discord.HTTPException(response, answer)
        told = answer.get("retry_after") if isinstance(answer, dict) else response.headers.get("Retry-After")
        try:
            seconds = max(0.0, float(told or 0)) or 1.0
        except (TypeError, ValueError):
            seconds = 60.0
        # The proxy before Discord: we made far too many mistakes, and more would prolong it
        if isinstance(answer, str):
            seconds = max(seconds, 60.0)
        elif isinstance(answer, dict) and answer.get("global"):
            self._all_used_up = time.monotonic() + seconds
        elif response.headers.get("X-RateLimit-Scope") == "user":
            self._use_up(route, seconds)
        return discord.RateLimited(seconds)


async def call(
    http: HTTPClient,
    method: str,
    path: str,
    body: Any = None,
    *,
    params: Mapping[str, Any] | None = None,
    files: Sequence[tuple[str, bytes]] = (),
    **ids: str,
) -> Any:
    """Make a call and return its JSON. Fails with an `AdapterError` whose text is free of tokens and of anybody's words."""
    route = Route(method, path, **ids)
    more: dict[str, Any] = {}
    if params is not None:
        more["params"] = params
    if files:
        attached = [discord.File(io.BytesIO(data), name) for name, data in files]
        form: list[dict[str, Any]] = [{"name": "payload_json", "value": json.dumps(body)}]
        form += [
            {
                "name": f"files[{index}]",
                "value": file.fp,
                "filename": file.filename,
                "content_type": "application/octet-stream",
            }
            for index, file in enumerate(attached)
        ]
        more |= {"files": attached, "form": form}
    elif body is not None:
        more["json"] = body
    what = f"{method} {path}"
    try:
        return await http.request(route, **more)
    except (discord.DiscordException, aiohttp.ClientError, OSError, ValueError) as exc:
        raise translate(what, exc) from _without_url(exc)


def translate(what: str, exc: Exception) -> AdapterError:
    """What went wrong with a call, or with a session at the gateway, in our words."""
    match exc:
        case AdapterError():
            return exc
        case discord.RateLimited():
            return RateLimited(f"Discord asks for {exc.retry_after:.1f} s without {what}", exc.retry_after)
        case discord.HTTPException():
            return _refused(what, exc)
        case discord.GatewayNotFound(__cause__=Exception() as cause):
            return translate(what, cause)
        case discord.PrivilegedIntentsRequired():
            return Unauthorized(
                "Discord does not let this bot read message content: in the Developer Portal, page Bot, switch on "
                "Message Content Intent, or write `message_content: false` under `discord:`"
            )
        case discord.ConnectionClosed():
            return _closed(exc)
        case aiohttp.InvalidURL():
            return Unavailable(
                "discord.base_url is no address that can be called; correct it in the configuration"
            )
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unavailable(
                f"Discord can not be reached ({_reason(exc)}); is the network up, and base_url right?"
            )
        case TimeoutError():
            return Unavailable(f"Discord did not answer {what} in time", ambiguous=True)
    return Unavailable(
        f"the connection broke before Discord answered {what} ({_reason(exc)})", ambiguous=True
    )


def _refused(what: str, exc: discord.HTTPException) -> AdapterError:
    where = f"Discord refuses {what}: {exc.status}, code {exc.code}"
    if exc.text and exc.code:
        where += f", {exc.text.splitlines()[0]}"
    if exc.status == 401:
        return _wrong_token()
    if exc.status >= 500:
        return Unavailable(f"Discord has a fault of its own ({what}: {exc.status})", ambiguous=True)
    if exc.status < 400:
        return Unavailable(
            f"Discord's answer to {what} (HTTP {exc.status}) is none of its API's", ambiguous=True
        )
    if exc.code == NO_HISTORY:
        return NoHistory(where)
    if exc.code in _ANSWER_GONE:
        return AnswerGone(where)
    if exc.code in _MESSAGE_GONE:
        return MessageGone(where)
    if exc.code in _CHAT_GONE or exc.status in (403, 404):
        return ChatGone(where)
    return Refused(where)


def _wrong_token() -> Unauthorized:
    return Unauthorized(
        "Discord does not know this bot token; copy it again from the Developer Portal, page Bot, into discord.token"
    )


def _closed(exc: discord.ConnectionClosed) -> AdapterError:
    if exc.code == 4004:
        return _wrong_token()
    if exc.code in (4010, 4011):
        return Unauthorized(
            f"Discord does not accept this number of shards (it closed with {exc.code}); leave discord.shards out"
        )
    return Unavailable(f"Discord's gateway closed the connection with code {exc.code}")


def _reason(exc: BaseException) -> str:
    """Why a connection failed, in words that can not hold a URL."""
    inner = getattr(exc, "os_error", exc)
    return getattr(inner, "strerror", None) or type(exc).__name__


def _without_url(exc: BaseException) -> BaseException | None:
    """`exc` as a cause to show, or None for the kinds that print the URL: an interaction's is a secret for a while."""
    return None if isinstance(exc, (aiohttp.ClientResponseError, aiohttp.InvalidURL)) else exc


class Backoff:
    """Waits between attempts: each about twice as long as the one before, until a quiet time."""

    def __init__(self, first: float, most: float) -> None:
        self.first = first
        self.most = most
        self._next = first
        self._last = 0.0

    def delay(self) -> float:
        """Seconds to wait now. A little is left to chance, so that not all that failed together comes back together."""
        now = time.monotonic()
        if now - self._last > 2 * self.most:
            self._next = self.first
        self._last = now
        seconds, self._next = self._next, min(self._next * 2, self.most)
        return seconds * random.uniform(0.75, 1)  # noqa: S311 - no secret


class Gateway(discord.AutoShardedClient):
    """One session with the gateway, all its shards. What `handlers` name is given to them as it came, as dictionaries.

    A handler must not fail and not wait. Messages and interactions are given to nobody else: building discord.py's objects of
    them would cost more than all that we do. The rest passes discord.py first, which keeps track of servers and channels.
    """

    def __init__(
        self,
        http: HTTPClient,
        handlers: Mapping[str, Callable[[dict[str, Any]], None]],
        lost: Callable[[int], None],
        resumed: Callable[[int], None],
        *,
        message_content: bool,
        shards: int | None,
        pause: float,
        silence: float,
        retry: Backoff,
    ) -> None:
        """`lost` and `resumed` hear of shards. `pause` is between two that identify; after `silence` a connection is dead."""
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # we never speak
        intents = discord.Intents.none()
        intents.guilds = intents.guild_messages = intents.dm_messages = True
        intents.message_content = message_content
        super().__init__(
            intents=intents,
            shard_count=shards,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            heartbeat_timeout=silence,
            guild_ready_timeout=0.0,  # we do not wait for all servers to be described
        )
        self._lost = lost
        self._back = resumed
        self._pause = pause
        self._retry = retry
        self.http = http
        state = self._connection
        state.http = http
        for event, handler in handlers.items():
            theirs = state.parsers[event] if event not in _OURS_ALONE else None
            state.parsers[event] = _guarded(event, theirs, handler)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:  # noqa: ARG002 - discord.py's
        """Discord lets a bot identify once in five seconds."""
        if not initial:
            await asyncio.sleep(self._pause)

    async def launch_shard(self, gateway: URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard for the first time. discord.py itself would wait up to 17 minutes between later attempts."""
        await super().launch_shard(gateway, shard_id, initial=initial)
        if (info := self.get_shard(shard_id)) is not None:
            shard = info._parent  # noqa: SLF001 - there is no other way to the pace of its attempts
            shard._backoff = Backoff(self._retry.first, self._retry.most)  # type: ignore[assignment]  # noqa: SLF001 - the same

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self._lost(shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self._back(shard_id)

    async def stop(self, seconds: float) -> None:
        """Leave the gateway. Threads that keep connections alive are told to end, those of half-made connections too."""
        if self.loop is not None and hasattr(self, "_AutoShardedClient__queue"):  # it has logged in
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await super().close()
        if isinstance(self.http, Http):
            sockets = list(self.http.sockets)
            for thread in threading.enumerate():
                if isinstance(thread, KeepAliveHandler) and thread.ws.socket in sockets:
                    thread.stop()
            await asyncio.gather(*(socket.close() for socket in sockets), return_exceptions=True)


_OURS_ALONE = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE", "INTERACTION_CREATE"})


def _guarded(
    event: str, theirs: Callable[[Any], None] | None, ours: Callable[[dict[str, Any]], None]
) -> Callable[[Any], None]:
    """One event that can not be read must not end the session: it would come again with the next."""

    def parse(data: Any) -> None:
        for handler in (theirs, ours):
            try:
                if handler is not None:
                    handler(data)
            except Exception as exc:  # noqa: BLE001 - the edge of one event
                _log.warning("an event %s could not be read (%s)", event, type(exc).__name__)
                _log.debug("in full", exc_info=exc)

    return parse
