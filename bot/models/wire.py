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
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, suppress
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
from bot.models.base import Finished, ModelEvent, TextDelta
from bot.models.history import well_formed
from config.schema import ModelConfig

CONNECT_SECONDS = 10.0
RETRY_SECONDS = 20.0  # over all waits of one call
RETRIES = 2
KEEP_CONNECTION_SECONDS = 60.0  # a chat's next turn should not pay for another TLS handshake
DRAIN_SECONDS = 0.25  # for the last bytes after the end mark; a connection that was read to its end is used again


class Answer(Protocol):
    """Puts together one answer from the provider's chunks. Raises `ModelError` for a chunk that tells of a failure."""

    complete: bool
    """The finish reason has come: whatever goes wrong later, nothing of the answer is missing."""

    def take(self, chunk: dict[str, Any]) -> None: ...

    def drain(self) -> str:
        """The visible text since the last time."""
        ...

    def finished(self) -> Finished: ...


class Sdk(Protocol):
    """What is used of `openai.AsyncOpenAI` and `anthropic.AsyncAnthropic`: both are generated from one mould."""

    base_url: Any

    async def post(self, path: str, *, cast_to: Any, body: object, stream: bool, stream_cls: Any) -> Any: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Patience:
    """How long one call may still wait: for the server's first byte, and before retries."""

    limit: asyncio.Timeout
    silence: float
    retries: float = RETRY_SECONDS

    def grant(self, wait: float) -> bool:
        """Whether there is time to wait so long and try again."""
        if wait > self.retries:
            return False
        self.retries -= wait
        self.limit.reschedule(asyncio.get_running_loop().time() + wait + CONNECT_SECONDS + self.silence)
        return True


_patience: ContextVar[_Patience] = ContextVar("_patience")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The SDK, imported and set up."""

    sdk: ModuleType
    http: ModuleType
    client: Sdk


class Line:
    """The line to one provider. The SDK is imported at the first call, so that a process that is not asked stays small.

    `connect(sdk, http_client)` builds the SDK's client; it runs in a thread. `package` is the SDK's, and the extra's, name.
    """

    def __init__(
        self, name: str, config: ModelConfig, package: str, connect: Callable[[ModuleType, Any], Sdk]
    ) -> None:
        """Raises `ModelRejected` where the configuration lacks a model name, or the installation the SDK."""
        if not config.model:
            raise ModelRejected(name, f"no model is named; set models.{name}.model")
        if importlib.util.find_spec(package) is None:
            raise ModelRejected(name, f"package {package!r} is not installed; run pip install 'boswell[{package}]'")
        self._name = name
        self._label = config.model
        self._timeout = config.timeout
        self._package = package
        self._connect = connect
        self._loading: asyncio.Task[_Loaded] | None = None

    async def client(self) -> Sdk:
        """The SDK's client, made at the first call."""
        return (await self._load()).client

    async def converse(self, path: str, body: Mapping[str, Any], answer: Answer) -> AsyncIterator[ModelEvent]:
        """Post `body` and stream what comes back through `answer`. Text that came before a failure is yielded first."""
        held = ""  # the first half of a surrogate pair whose second half is in the next chunk
        failure: ModelError | None = None
        async with aclosing(self._chunks(path, body)) as batches:
            while True:
                try:
                    for chunk in await anext(batches):
                        answer.take(chunk)
                except StopAsyncIteration:
                    break
                except ModelError as exc:
                    failure = None if isinstance(exc, ModelUnavailable) and answer.complete else exc
                    break
                finally:
                    text = held + answer.drain()
                if text:
                    held = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
                    if visible := well_formed(text.removesuffix(held)):
                        yield TextDelta(visible)
                    text = ""
        if rest := well_formed(text):
            yield TextDelta(rest)
        if failure is not None:
            raise failure
        yield answer.finished()

    async def close(self) -> None:
        """Let go of connections. Idempotent; a later call would connect anew."""
        loading, self._loading = self._loading, None
        if loading is not None:
            with suppress(ModelError):
                await (await loading).client.close()

    async def _load(self) -> _Loaded:
        # One import for calls that begin together; a caller that is cancelled does not take it from the others.
        if self._loading is None:
            self._loading = asyncio.create_task(self._import(), name=f"import {self._package}")
        try:
            return await asyncio.shield(self._loading)
        except ModelError:
            self._loading = None
            raise

    async def _import(self) -> _Loaded:
        def build() -> _Loaded:
            sdk = importlib.import_module(self._package)
            http = importlib.import_module("httpx2")
            logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line for each request
            # Silence is timed here and not by the SDK, which would ask, and pay, again after a time-out.
            http_client = sdk.DefaultAioHttpClient(
                timeout=http.Timeout(None, connect=CONNECT_SECONDS),
                limits=http.Limits(
                    max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEP_CONNECTION_SECONDS
                ),
                event_hooks={"response": [_judge]},
            )
            return _Loaded(sdk, http, self._connect(sdk, http_client))

        try:
            return await asyncio.to_thread(build)
        except ImportError as exc:
            raise ModelRejected(
                self._name,
                f"package {self._package!r} can not be imported; run pip install 'boswell[{self._package}]'",
            ) from exc

    async def _chunks(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        """The answer's chunks, in batches as the network brought them. The connection is free again at the end."""
        loaded = await self._load()
        response = await self._post(loaded, path, body)
        events = Events()
        ended = False
        try:
            async with asyncio.timeout(self._timeout) as limit:
                loop = asyncio.get_running_loop()
                async for data in response.aiter_bytes():
                    limit.reschedule(loop.time() + (DRAIN_SECONDS if ended else self._timeout))
                    if ended:
                        continue
                    chunks, ended = events.feed(data)
                    if ended:
                        limit.reschedule(loop.time() + DRAIN_SECONDS)
                    if chunks:
                        yield chunks
                if not ended and (chunks := events.feed(b"\n\n")[0]):
                    yield chunks
        except TimeoutError as exc:
            if not ended:
                raise ModelUnavailable(self._name, f"nothing came for {self._timeout:g} s") from exc
        except (loaded.http.HTTPError, OSError) as exc:
            if not ended:
                raise ModelUnavailable(self._name, "the connection broke in the middle of the answer") from exc
        except ValueError as exc:
            raise ModelUnavailable(self._name, "the answer holds a chunk that is not JSON") from exc
        finally:
            await response.aclose()

    async def _post(self, loaded: _Loaded, path: str, body: Mapping[str, Any]) -> Any:
        sdk, http = loaded.sdk, loaded.http
        try:
            async with asyncio.timeout(CONNECT_SECONDS + self._timeout) as limit:
                token = _patience.set(_Patience(limit, self._timeout))
                try:
                    return await loaded.client.post(
                        path, cast_to=http.Response, body=body, stream=True, stream_cls=sdk.AsyncStream
                    )
                finally:
                    _patience.reset(token)
        except TimeoutError as exc:
            raise ModelUnavailable(self._name, f"no answer began within {self._timeout:g} s") from exc
        except sdk.APIStatusError as exc:
            error = exc.body.get("error", exc.body) if isinstance(exc.body, dict) else exc.body
            raise classify(self._name, self._label, exc.status_code, error, exc.response.headers) from exc
        except sdk.APIConnectionError as exc:
            raise ModelUnavailable(self._name, "no connection; check the network and base_url") from exc
        except http.HTTPError as exc:
            raise ModelUnavailable(self._name, "the connection broke before the answer") from exc


class Events:
    """Server-sent events, as JSON objects, from pieces of bytes cut anywhere."""

    def __init__(self) -> None:
        self._tail = b""
        self._data: list[bytes] = []
        self._failed = False

    def feed(self, piece: bytes) -> tuple[list[dict[str, Any]], bool]:
        """The objects that are whole now, and whether the end mark `[DONE]` has come.

        Raises ValueError for data that is not a JSON object; the objects before it in `piece` are given first, the error
        with the next call.
        """
        raise NotImplementedError
