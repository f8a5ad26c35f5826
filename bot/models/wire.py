"""The part of a streamed model call that is alike at every provider: one HTTP POST, server-sent events, and time.

The SDKs give addresses, authentication, retries and error types. Their streams are passed by: they build a validated object
for each chunk, which costs more than everything else in a turn. Here each chunk is a dictionary, and what one network read
brought becomes one delta.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any, Protocol

from bot.errors import (
    ContextTooLong,
    ModelError,
    ModelOverloaded,
    ModelQuotaUsedUp,
    ModelRefused,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from bot.events import Usage
from bot.models.base import Finished, ModelEvent, TextDelta
from bot.models.history import well_formed
from config.schema import ModelConfig

RETRIES = 2
RETRY_SECONDS = 20.0  # over all waits of one call
CONNECT_SECONDS = 10.0
KEEP_CONNECTION_SECONDS = 60.0  # a chat's next turn should not pay for another TLS handshake
DRAIN_SECONDS = 0.25  # for the last bytes after the end mark: only a connection read to its end is used again
MOST_TOKENS = 10**12  # of one call; what is more is nobody's count
MOST_BYTES = 64_000_000  # of one answer, little of which is text; what has no end must not fill the memory


class Answer(Protocol):
    """Puts one answer together from the provider's chunks."""

    complete: bool
    """The reason why it ended has come: whatever fails later, nothing that was said is missing."""
    over: bool
    """The end mark has come."""

    @property
    def used(self) -> Usage:
        """What the provider has counted so far."""
        ...

    def take(self, chunk: dict[str, Any]) -> None:
        """Raises `ModelError` for a chunk that tells of a failure."""
        ...

    def drain(self) -> str:
        """The visible text since the last time."""
        ...

    def finished(self) -> Finished:
        """Called once, when the stream has ended. Raises `ModelError` if it ended too early, or in a refusal."""
        ...


class Client(Protocol):
    """What is used of `openai.AsyncOpenAI` and `anthropic.AsyncAnthropic`: both come out of one generator."""

    base_url: Any

    async def post(self, path: str, *, cast_to: Any, body: object, stream: bool, stream_cls: Any) -> Any: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Patience:
    """How long one call may still wait: for the server's first byte, and before another attempt."""

    limit: asyncio.Timeout
    silence: float
    retries: float = RETRY_SECONDS

    def allows(self, wait: float) -> bool:
        """Whether there is time to wait so long and ask again; if so, it is counted."""
        if wait > self.retries:
            return False
        self.retries -= wait
        self.limit.reschedule(asyncio.get_running_loop().time() + wait + self.silence)
        return True


_patience: ContextVar[_Patience] = ContextVar("_patience")


async def _judge(response: Any) -> None:
    """Hook on every response: keeps the SDK from waiting longer than a person would, or for money that will not come."""
    if response.status_code < 400:
        return
    error = error_of(await response.aread())
    wait = retry_after(response.headers) or 0.0
    if kind(response.status_code, error) is ModelQuotaUsedUp or not _patience.get().allows(wait):
        response.headers["x-should-retry"] = "false"  # both SDKs obey it


class Line:
    """The line to one provider. The SDK is imported at the first call, so that a process that is not asked stays small.

    `connect(sdk, http_client)` builds the SDK's client, in a thread; it may raise `ModelError`. `package` is the name of
    the SDK and of our extra that brings it.
    """

    def __init__(
        self,
        name: str,
        config: ModelConfig,
        package: str,
        connect: Callable[[ModuleType, Any], Client],
        *,
        key: str = "",
    ) -> None:
        """`key` is where in the configuration `config` stands; left out, `models.<name>`.

        Raises `ModelRejected` where the configuration names no model, or the SDK is not installed.
        """
        key = key or f"models.{name}"
        if not config.model:
            raise ModelRejected(name, f"no model is named; set {key}.model")
        if importlib.util.find_spec(package) is None:
            raise ModelRejected(
                name, f"package {package!r} is not installed; pip install 'boswell[{package}]'"
            )
        self._name = name
        self._key = key
        self._label = config.model
        self._timeout = config.timeout
        self._package = package
        self._connect = connect
        self._client: Client | None = None
        self._loading = asyncio.Lock()

    async def client(self) -> Client:
        """The SDK's client, made at the first call. Raises `ModelError` where it can not be."""
        if self._client is None:
            async with self._loading:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._load)
        return self._client

    async def close(self) -> None:
        """Let go of connections. Idempotent; a later call connects anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def converse(self, path: str, body: Mapping[str, Any], answer: Answer) -> AsyncIterator[ModelEvent]:
        """Post `body` and stream what comes back through `answer`. Text that came before a failure is yielded first."""
        response = await self._post(path, body)
        try:
            pieces = response.aiter_bytes()
            events = Events()
            size = 0
            half = ""  # of a surrogate pair whose other half is in the next piece
            while not answer.over:
                failure: ModelError | None = None
                try:
                    piece = await self._read(pieces)
                    size += len(piece)
                    if size > MOST_BYTES:
                        raise ModelUnavailable(self._name, "the answer has no end")
                    self._digest(events, piece, answer)
                except ModelError as exc:
                    failure = exc
                if text := half + answer.drain():
                    more = failure is None and not answer.over
                    half = text[-1] if more and "\ud800" <= text[-1] <= "\udbff" else ""
                    if visible := well_formed(text.removesuffix(half)):
                        yield TextDelta(visible)
                if failure is not None:
                    if answer.complete and isinstance(failure, ModelUnavailable):
                        break
                    raise failure
            await _exhaust(pieces)
        finally:
            await response.aclose()
        try:
            finished = answer.finished()
        except ModelError as exc:
            if answer.complete and answer.used != Usage():  # a refusal is paid for as well
                exc.usage = answer.used
            raise
        yield finished

    async def fetch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post `body` and return the JSON object that comes back, whole. Raises `ModelError`."""
        response = await self._post(path, body)
        data = bytearray()
        try:
            pieces = response.aiter_bytes()
            while piece := await self._read(pieces):
                data += piece
                if len(data) > MOST_BYTES:
                    raise ModelUnavailable(self._name, "the answer has no end")
        finally:
            await response.aclose()
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ModelUnavailable(self._name, "the answer is not as agreed")
        if error := answer.get("error"):
            raise failed(self._name, self._label, None, error if isinstance(error, dict) else {})
        return answer

    def _digest(self, events: Events, piece: bytes, answer: Answer) -> None:
        """Feed a piece to the answer; an empty one is the end."""
        try:
            for chunk in events.feed(piece or b"\n\n"):
                answer.take(chunk)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise ModelUnavailable(self._name, "the answer holds a chunk that is not as agreed") from exc
        answer.over = answer.over or events.done or not piece

    async def _read(self, pieces: AsyncIterator[bytes]) -> bytes:
        """What the network brings next; empty at the end."""
        try:
            async with asyncio.timeout(self._timeout):
                return await anext(pieces, b"")
        except TimeoutError as exc:
            raise ModelUnavailable(
                self._name, f"the answer stalled: nothing for {self._timeout:g} s"
            ) from exc
        except _network_errors() as exc:
            raise ModelUnavailable(self._name, "the connection broke in the middle of the answer") from exc

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        client = await self.client()
        sdk = sys.modules[self._package]
        try:
            async with asyncio.timeout(self._timeout) as limit:
                token = _patience.set(_Patience(limit, self._timeout))
                try:
                    return await client.post(
                        path,
                        cast_to=sys.modules["httpx2"].Response,
                        body=body,
                        stream=True,
                        stream_cls=sdk.AsyncStream,
                    )
                finally:
                    _patience.reset(token)
        except TimeoutError as exc:
            raise ModelUnavailable(self._name, f"no answer began within {self._timeout:g} s") from exc
        except sdk.APIStatusError as exc:
            error = error_of(exc.response.content)
            wait = retry_after(exc.response.headers)
            raise failed(self._name, self._label, exc.status_code, error, wait) from exc
        except (sdk.APIConnectionError, *_network_errors()) as exc:
            failure = ModelUnavailable(self._name, "no connection; check the network and base_url")
            failure.usage = Usage() if _unsent(exc) else None
            raise failure from exc

    def _load(self) -> Client:
        try:
            sdk = importlib.import_module(self._package)
            http = importlib.import_module("httpx2")
        except ImportError as exc:
            problem = f"package {self._package!r} can not be imported; pip install 'boswell[{self._package}]'"
            raise ModelRejected(self._name, problem) from exc
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it has a line for each request
        http_client = sdk.DefaultAioHttpClient(
            # Silence is timed here: the SDK would ask, and pay, once more after a time-out of its own.
            timeout=http.Timeout(None, connect=CONNECT_SECONDS),
            limits=http.Limits(keepalive_expiry=KEEP_CONNECTION_SECONDS),
            event_hooks={"response": [_judge]},
        )
        try:
            return self._connect(sdk, http_client)
        except http.InvalidURL as exc:
            raise ModelRejected(self._name, f"{self._key}.base_url is not an address") from exc


def _network_errors() -> tuple[type[Exception], ...]:
    """What the transport raises: httpx's errors, and those of aiohttp that it forgets to translate."""
    return sys.modules["httpx2"].HTTPError, sys.modules["aiohttp"].ClientError, OSError


def _unsent(exc: BaseException | None) -> bool:
    """Whether there was no connection to send anything over."""
    http = sys.modules["httpx2"]
    never = (http.ConnectError, http.ConnectTimeout, sys.modules["aiohttp"].ClientConnectorError)
    while exc is not None and not isinstance(exc, never):
        exc = exc.__cause__
    return exc is not None


async def _exhaust(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end. A server that does not end in time is left, with its connection."""
    with suppress(Exception):  # the answer is whole; what fails now is nobody's loss
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in pieces:
                pass


class Events:
    """Server-sent events as JSON objects, from pieces of bytes cut anywhere."""

    def __init__(self) -> None:
        self.done = False
        """`[DONE]` has come."""
        self._tail = b""
        self._data: list[bytes] = []
        self._name = b""

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Each object that is whole now. ValueError for data that is none."""
        lines = (self._tail + piece).split(b"\n")
        self._tail = lines.pop()
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:])
            elif line.startswith(b"event:"):
                self._name = line[6:].strip()
            elif not line and self._data:
                data = b"\n".join(self._data).strip()
                name, self._name = self._name, b""
                self._data.clear()
                if data == b"[DONE]":
                    self.done = True
                    return
                chunk = json.loads(data.decode())
                if not isinstance(chunk, dict):
                    raise ValueError
                yield {"error": chunk} if name == b"error" and "error" not in chunk else chunk


def tokens(value: object) -> int:
    """A server's count of tokens; 0 for what is none. Sums of it must fit the database, whatever a server writes."""
    return min(int(value), MOST_TOKENS) if isinstance(value, int | float) and 0 <= value < 2**53 else 0


def error_of(content: bytes) -> dict[str, Any]:
    """The error object of a response's body; empty if there is none."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    error = body.get("error", body) if isinstance(body, dict) else body
    return error if isinstance(error, dict) else {"message": error}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return float(milliseconds) / 1000
        value = headers.get("retry-after", "")
        if re.fullmatch(r"[0-9.]+", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time()) if value else None
    except ValueError:
        return None


_NO_MONEY = {"insufficient_quota", "billing_error", "billing_not_active", "billing_hard_limit_reached"}
_NO_KEY = {"authentication_error", "permission_error", "invalid_api_key"}
_BUSY = {"overloaded_error", "rate_limit_error", "rate_limit_exceeded", "engine_overloaded"}
_FILTERED = {"content_filter", "content_policy_violation"}
_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}
# No code tells these: Anthropic calls them invalid_request_error, and compatible servers write what they like.
_TOO_LONG_WORDS = re.compile(
    r"prompt is too long|context (length|window|size)|maximum context|too many (input )?tokens"
)
_NO_MONEY_WORDS = re.compile(r"credit balance|exceeded your current quota")


def kind(status: int | None, error: Mapping[str, Any]) -> type[ModelError]:
    """Which error a provider's status and error object are. Without a status (in mid-stream) its codes decide."""
    codes = {str(error.get(key) or "").lower() for key in ("type", "code")}
    message = str(error.get("message") or "").lower()
    if status is None and isinstance(code := error.get("code"), int):  # as vLLM and several gateways have it
        status = code
    if status == 402 or codes & _NO_MONEY or _NO_MONEY_WORDS.search(message):
        return ModelQuotaUsedUp
    if status in (401, 403) or codes & _NO_KEY:
        return ModelUnauthorized
    if codes & _FILTERED:
        return ModelRefused
    if status in (429, 529) or codes & _BUSY:
        return ModelOverloaded
    if status == 413 or codes & _TOO_LONG or (status in (None, 400, 422) and _TOO_LONG_WORDS.search(message)):
        return ContextTooLong
    if status is None or status >= 500 or status in (408, 409):
        return ModelUnavailable
    return ModelRejected


_WORKED_ON = (408, 504)  # somebody there stopped waiting for a model that may be at work still

_ADVICE = {
    ModelOverloaded: "the provider asks for patience",
    ModelUnavailable: "the provider has a fault",
    ModelUnauthorized: "the provider does not accept the key; check api_key and what it may use",
    ModelQuotaUsedUp: "the account has no money or quota left; see the provider's billing page",
    ModelRefused: "a content filter stopped it",
    ContextTooLong: "the conversation does not fit the model's context; lower streams.context_tokens",
    ModelRejected: "the provider calls the request wrong; check the model's name and its options",
}


def failed(
    name: str, label: str, status: int | None, error: Mapping[str, Any], wait: float | None = None
) -> ModelError:
    """The error of a provider's error object. Of its words only identifiers are kept: the rest may quote the person."""
    cls = kind(status, error)
    told = [f"HTTP {status}"] if status else []
    for key in ("type", "code", "param"):
        word = str(error.get(key) or "")
        if re.fullmatch(r"[\w.\[\]-]{1,64}", word) and word not in (*told, str(status)):
            told.append(word)
    problem = f"{_ADVICE[cls]} ({', '.join([repr(label), *told])})"
    error_ = ModelOverloaded(name, problem, wait) if cls is ModelOverloaded else cls(name, problem)
    if status is None:
        error_.usage = None  # it had begun to answer
    elif cls is ModelUnavailable and status not in _WORKED_ON:
        error_.usage = Usage()
    return error_
