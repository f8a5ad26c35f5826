"""Speaks HTTP with the Bot API, and says in our words what went wrong.

aiogram brings the addresses, the token's check, the HTTP session, the typed errors and the typed calls that are made once per
start. The calls made per message go through the same HTTP session as plain dictionaries, because building and checking
an object for each request and answer costs more than all the rest of a turn.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from aiogram import Bot, methods
from aiogram import exceptions as telegram
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.utils.token import TokenValidationError

from adapters.base import (
    AdapterError,
    ChatGone,
    ChatMigrated,
    Conflict,
    MessageGone,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    opened,
    sending_seconds,
)

_T = TypeVar("_T")

_TYPED: Final[dict[str, type[methods.TelegramMethod[Any]]]] = {
    "getUpdates": methods.GetUpdates,
    "sendMessage": methods.SendMessage,
    "editMessageText": methods.EditMessageText,
    "sendChatAction": methods.SendChatAction,
    "sendDocument": methods.SendDocument,
    "editMessageMedia": methods.EditMessageMedia,
}
"""The calls of the hot path, and those that send a file from the disk."""

_JSON = {"Content-Type": "application/json"}

# The Bot API has no error codes: its descriptions are all there is to tell 400s and 403s apart. Lower-case.
_CHAT_GONE = (
    "chat not found",
    "user is deactivated",
    "group chat was deactivated",
    "bot was kicked",
    "have no rights to send",
    "not enough rights to send",
    "need administrator rights",
    "chat_write_forbidden",
    "peer_id_invalid",
)
_MESSAGE_GONE = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "there is no text in the message to edit",  # a file has taken its place
)


class BadRequest(Refused):
    """Telegram calls the request wrong, in its own words (`description`, lower-case)."""

    def __init__(self, message: str, description: str) -> None:
        super().__init__(message)
        self.description = description


class Client:
    """The Bot API, for one token. Safe to use from several tasks.

    Every error is an `AdapterError` whose text, cause and context are free of the token (which is part of every URL).
    """

    def __init__(self, token: str, base_url: str, *, seconds: float) -> None:
        """`seconds` is the longest that any call but a long poll may take."""
        self._sessions = AiohttpSession(api=TelegramAPIServer.from_base(base_url))
        try:
            self._bot = Bot(token, session=self._sessions)
        except TokenValidationError:
            raise Unauthorized(
                "telegram.token is no bot token (it looks like 123456789:AA…); copy it again from @BotFather"
            ) from None  # aiogram's message may one day quote it
        self._seconds = seconds
        self._timeout = self._limit(seconds)
        self._http: aiohttp.ClientSession | None = None
        self._answered = 0

    @property
    def id(self) -> int:
        """The bot's number: the part of the token that is no secret."""
        return self._bot.id

    async def __call__(self, method: str, data: dict[str, Any], *, waits: float = 0) -> Any:
        """Make one of the frequent calls and return its plain result. `waits` is how long the server may hold it."""
        timeout = self._limit(waits + self._seconds) if waits else self._timeout
        body = json.dumps(data, separators=(",", ":")).encode()
        return await self._ask(method, body, _JSON, timeout)

    async def upload(self, method: str, data: Mapping[str, Any], name: str, path: Path, most: int) -> Any:
        """Make a call that sends a file, of at most so many bytes, as its part `name`; return its plain result."""
        async with opened(path, most) as (file, size):
            form = aiohttp.FormData(quote_fields=False)
            for field, value in data.items():
                form.add_field(field, value if isinstance(value, str) else json.dumps(value))
            form.add_field(name, file, filename=path.name, content_type="application/octet-stream")
            return await self._ask(method, form, {}, self._limit(sending_seconds(size, self._seconds)))

    async def _ask(
        self,
        method: str,
        body: bytes | aiohttp.FormData,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> Any:
        url = self._sessions.api.api_url(self._bot.token, method)
        broken: Exception | None = None
        content, status = b"", 0
        try:
            http = await self._session()
            # A redirect would carry the token, and the person's words, to wherever it points.
            async with http.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                content, status = await response.read(), response.status
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            broken = exc
        # Raised out here, or `broken` with its URL would be the context of what is raised
        if broken is not None:
            raise _no_answer(method, broken) from _without_url(broken)
        self._answered += 1
        try:
            answer = json.loads(content.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and answer.get("ok") is True and "result" in answer:
            return answer["result"]
        if status == 413:  # perhaps of a proxy before Telegram, in its own words
            raise Refused(f"Telegram refuses {method}: what is sent is too large")
        if not isinstance(answer, dict) or not isinstance(answer.get("description"), str):
            raise Unavailable(
                f"Telegram's answer to {method} (HTTP {status}) is none of the Bot API's", ambiguous=True
            )
        call = _TYPED[method].model_construct()
        try:
            self._sessions.check_response(self._bot, call, status, json.dumps(answer))
        except telegram.AiogramError as exc:
            raise _translate(method, exc, answer.get("error_code")) from exc
        raise Unavailable(f"Telegram's answer to {method} has no result", ambiguous=True)

    async def once(self, call: methods.TelegramMethod[_T]) -> _T:
        """Make a call that is rare, as aiogram's typed object, and return its typed result."""
        name = call.__api_method__
        try:
            await self._session()  # so that it is ours to close
            return await self._bot(call, request_timeout=math.ceil(self._seconds))
        except telegram.TelegramNetworkError as exc:
            broken = exc.__cause__ or exc
        except telegram.AiogramError as exc:
            raise _translate(name, exc) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            broken = exc
        raise _no_answer(name, broken) from _without_url(broken)

    @property
    def answered(self) -> int:
        """How many of the frequent calls got an answer, of whatever kind: it grows while the connection is alive."""
        return self._answered

    async def close(self) -> None:
        """Drop every connection; the next call makes new ones."""
        http, self._http = self._http, None
        if http is not None:
            # Not AiohttpSession.close, which sleeps a quarter of a second after doing just this.
            await http.close()

    async def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = await self._sessions.create_session()
        return self._http

    @staticmethod
    def _limit(seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 10))


def _no_answer(method: str, exc: BaseException) -> Unavailable:
    if isinstance(exc, aiohttp.InvalidURL):
        return Unavailable(
            "telegram.base_url is no address that can be called; correct it in the configuration"
        )
    if isinstance(exc, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Unavailable(
            f"Telegram can not be reached ({_reason(exc)}); is the network up, and base_url right?"
        )
    if isinstance(exc, asyncio.TimeoutError):
        return Unavailable(f"Telegram did not answer {method} in time", ambiguous=True)
    return Unavailable(
        f"the connection broke before Telegram answered {method} ({_reason(exc)})", ambiguous=True
    )


def _reason(exc: BaseException) -> str:
    """Why a connection failed, in words that can not hold a URL."""
    inner = getattr(exc, "os_error", exc)
    return getattr(inner, "strerror", None) or type(exc).__name__


def _without_url(exc: BaseException) -> BaseException | None:
    """`exc` as a cause to show, or None for the kinds that print the URL, and with it the token."""
    return None if isinstance(exc, (aiohttp.ClientResponseError, aiohttp.InvalidURL)) else exc


def _translate(method: str, exc: telegram.AiogramError, code: object = None) -> AdapterError:
    said = getattr(exc, "message", "") or ""
    where = f"Telegram refuses {method}: {said}"
    match exc:
        case telegram.TelegramRetryAfter():
            return RateLimited(
                f"Telegram asks for {exc.retry_after} s without {method}", float(exc.retry_after)
            )
        case telegram.TelegramMigrateToChat():
            return ChatMigrated(
                f"the group is a supergroup now, {exc.migrate_to_chat_id}", str(exc.migrate_to_chat_id)
            )
        case telegram.TelegramUnauthorizedError() | telegram.TelegramNotFound():
            return Unauthorized(
                "Telegram does not know this bot token; copy it again from @BotFather into telegram.token "
                "(with another telegram.base_url: is that a Bot API server?)"
            )
        case telegram.TelegramConflictError():
            return Conflict(where)
        case telegram.TelegramForbiddenError():
            return ChatGone(where)
        case telegram.TelegramBadRequest():
            return _bad_request(where, said.lower())
        case telegram.TelegramEntityTooLarge():
            return Refused(where)
        case telegram.TelegramServerError():
            return Unavailable(f"Telegram has a fault of its own ({method}: {said})", ambiguous=True)
        case telegram.ClientDecodeError():
            return Unavailable(f"Telegram's answer to {method} is none of the Bot API's", ambiguous=True)
    if code == 429:
        return RateLimited(f"Telegram asks for patience with {method}", 1.0)
    return Unavailable(where, ambiguous=True)


def _bad_request(where: str, description: str) -> AdapterError:
    if any(words in description for words in _CHAT_GONE):
        return ChatGone(where)
    if any(words in description for words in _MESSAGE_GONE):
        return MessageGone(where)
    return BadRequest(where, description)
