"""Calls Slack's Web API, and says in our words what went wrong.

The calls are slack_sdk's own methods, so that what is sent has the shape that it knows. Nothing is retried here: it would post
twice after a lost answer, and whoever calls has more patience and knows more.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Awaitable, Mapping
from typing import Any, BinaryIO

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

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

QUIET = logging.getLogger("adapters.slack.sdk")
"""What slack_sdk and Bolt log. They log bodies, codes and answers, so they are not heard; all that matters is raised to us."""
QUIET.setLevel(logging.CRITICAL + 1)
QUIET.addHandler(logging.NullHandler())

# Slack's error codes; https://docs.slack.dev/reference/methods lists them per method.
_CREDENTIALS = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "token_revoked",
        "token_expired",
        "account_inactive",
        "org_login_required",
        "team_access_not_granted",
        "no_permission",
        "not_allowed_token_type",
        "missing_scope",
        "two_factor_setup_required",
    }
)
_CHAT_GONE = frozenset(
    {
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "channel_is_archived",
        "user_not_found",
        "user_disabled",
        "cannot_dm_bot",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked",
        "messages_tab_disabled",
        "team_not_found",
        "access_denied",
        "ekm_access_denied",
        "is_inactive",
        "external_channel_migrating",
        "channel_type_not_supported",
        "thread_not_found",
        "thread_locked",
    }
)
_MESSAGE_GONE = frozenset(
    {
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "cant_update_streaming_message",
        "message_not_owned_by_app",
    }
)
_THEIR_FAULT = frozenset(
    {
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "accesslimited",
        "update_failed",
        "file_update_failed",
    }
)
_RATE = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})


class Rejected(Refused):
    """Slack answered with an error code of the content or the request: `code`."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class LostAccess(Unauthorized):
    """A token is no good any more; `code` is Slack's own word. Of one workspace among many it concerns that one alone."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Answer(dict[str, Any]):
    """What a method gave, and the response's `headers` (names in small letters)."""

    headers: Mapping[str, str] = {}


class Client:
    """The Web API. Safe to use from several tasks. Every error is an `AdapterError` without secrets or anybody's words."""

    def __init__(self, base_url: str, *, seconds: float) -> None:
        """`seconds` is the longest that a call may take."""
        self._base_url = base_url
        self._seconds = seconds
        self._timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 10))
        self._http: aiohttp.ClientSession | None = None
        self._web: AsyncWebClient | None = None

    @property
    def web(self) -> AsyncWebClient:
        """slack_sdk's client, without a token of its own."""
        self._session()
        assert self._web is not None  # noqa: S101 - _session made it
        return self._web

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(timeout=self._timeout)
            self._web = AsyncWebClient(
                base_url=self._base_url, session=self._http, logger=QUIET, retry_handlers=[]
            )
        return self._http

    async def __call__(self, method: str, token: str, **arguments: Any) -> Answer:
        """Call a method by slack_sdk's name for it (`chat_postMessage`), with a workspace's token or none."""
        name = method.replace("_", ".")
        if token:
            arguments["token"] = token
        return await _answer(name, getattr(self.web, method)(**arguments))

    async def exchange(self, client_id: str, client_secret: str, **grant: str) -> Answer:
        """oauth.v2.access: a code, or a refresh token, for a token.

        Not by slack_sdk's method, which leans on a part of aiohttp that is going away.
        """
        who = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        name = "oauth.v2.access"
        call = self.web.api_call(name, data=grant, headers={"Authorization": f"Basic {who}"})
        return await _answer(name, call)

    async def respond(self, url: str, message: Mapping[str, Any]) -> None:
        """Answer by an interaction's own address. Raises `Rejected` where Slack takes no more answers there."""
        name = "a response_url"
        try:
            async with self._session().post(url, json=dict(message), allow_redirects=False) as response:
                status, retry = response.status, response.headers.get("Retry-After", "")
                code = _code(await response.read())
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            broken = exc
        else:
            if status == 200 and not code:
                return
            if status == 429:
                raise RateLimited(f"Slack asks for patience with {name}", _seconds(retry))
            if status >= 500:
                raise Unavailable(f"Slack has a fault of its own ({name}: HTTP {status})", ambiguous=True)
            raise Rejected(f"Slack refuses an answer at {name} (HTTP {status})", code or "expired_url")
        raise _no_answer(name, broken) from None

    async def upload(self, url: str, file: BinaryIO, size: int) -> None:
        """Bring a file's bytes to the address that Slack gave for them. Nothing is shown by that, whatever becomes of it."""
        name = "an upload"
        seconds = sending_seconds(size, self._seconds)
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(self._seconds, 10))
        try:
            async with self._session().post(
                url, data=file, timeout=timeout, allow_redirects=False
            ) as response:
                status, retry = response.status, response.headers.get("Retry-After", "")
                await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            broken = exc
        else:
            if status == 200:
                return
            if status == 429:
                raise RateLimited(f"Slack asks for patience with {name}", _seconds(retry))
            if status >= 500:
                raise Unavailable(f"Slack has a fault of its own ({name}: HTTP {status})")
            raise Rejected(f"Slack refuses {name} (HTTP {status})", f"http_{status}")
        raise Unavailable(
            f"{name} to Slack broke off ({_reason(broken)})"
        ) from None  # its chain holds the address

    async def close(self) -> None:
        """Drop every connection; the next call makes new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()


async def _answer(name: str, call: Awaitable[AsyncSlackResponse]) -> Answer:
    broken: Exception
    try:
        response = await call
    except SlackApiError as exc:
        raise _translate(name, exc) from None  # its message quotes the answer, words and all
    except (aiohttp.ClientError, OSError, ValueError, AttributeError, SlackClientError) as exc:
        broken = exc
    else:
        answer = Answer(response.data if isinstance(response.data, dict) else {})
        answer.headers = {key.lower(): value for key, value in response.headers.items()}
        return answer
    raise _no_answer(name, broken) from None  # its chain may hold the request with the token


def _no_answer(method: str, exc: Exception) -> Unavailable:
    if isinstance(exc, aiohttp.InvalidURL):
        return Unavailable("slack.base_url is no address that can be called; correct it in the configuration")
    if isinstance(exc, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Unavailable(
            f"Slack can not be reached ({_reason(exc)}); is the network up, and base_url right?"
        )
    if isinstance(exc, asyncio.TimeoutError):
        return Unavailable(f"Slack did not answer {method} in time", ambiguous=True)
    if isinstance(exc, (aiohttp.ClientError, OSError)):
        return Unavailable(
            f"the connection broke before Slack answered {method} ({_reason(exc)})", ambiguous=True
        )
    return Unavailable(f"Slack's answer to {method} is none of the Web API's", ambiguous=True)


def _reason(exc: BaseException) -> str:
    inner = getattr(exc, "os_error", exc)
    return getattr(inner, "strerror", None) or type(exc).__name__


def _code(body: bytes) -> str:
    """The error code with which an interaction's address answers: in JSON, or by itself; empty for any other answer."""
    text = body.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text if re.fullmatch(r"[a-z]+(_[a-z]+)+", text) else ""
    code = answer.get("error") if isinstance(answer, dict) and answer.get("ok") is False else ""
    return code if isinstance(code, str) else ""


def _seconds(text: object) -> float:
    try:
        return max(0.0, float(str(text)))
    except ValueError:
        return 1.0


def _translate(method: str, exc: SlackApiError) -> AdapterError:
    response = exc.response
    status: int = getattr(response, "status_code", 0) or getattr(response, "status", 0)
    data = getattr(response, "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    headers = {key.lower(): value for key, value in (getattr(response, "headers", None) or {}).items()}
    if status == 429 or code in _RATE:
        wait = _seconds(headers.get("retry-after", "1"))
        return RateLimited(f"Slack asks for {wait:g} s without {method}", wait)
    if not isinstance(code, str) or not code.replace("_", "").isalnum() or len(code) > 80:
        return Unavailable(
            f"Slack's answer to {method} (HTTP {status}) is none of the Web API's", ambiguous=True
        )
    where = f"Slack refuses {method}: {code}"
    if code in _CREDENTIALS:
        if code == "missing_scope" and isinstance(needed := data.get("needed"), str):  # type: ignore[union-attr]  # code came from it
            where += f" (it needs {needed})"
        elif code not in ("missing_scope", "no_permission"):
            token = "slack.app_token" if method == "apps.connections.open" else "the token"
            where += f"; {token} is wrong, or was taken back"
        return LostAccess(where, code)
    if code in _CHAT_GONE:
        return ChatGone(where)
    if code in _MESSAGE_GONE:
        return MessageGone(where)
    if code in _THEIR_FAULT or status >= 500:
        return Unavailable(f"Slack has a fault of its own ({method}: {code})", ambiguous=True)
    return Rejected(where, code)
