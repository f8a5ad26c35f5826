"""A scripted server that speaks /v1/embeddings, is strict, and can misbehave; and what its model takes words to mean."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

KEY = "sk-embed-key"
SIZE = 48
_FIELDS = {"model", "input", "encoding_format", "dimensions", "user"}

# Words that mean alike have a direction in common.
CONCEPTS = (
    "dog dogs greyhound hound pet puppy",
    "rent landlord flat housing apartment",
    "doctor physician knee meniscus joint",
    "trip holiday travel Lisbon voyage",
    "money pay salary budget price",
    "bicycle bike cycling wheel",
)
_CONCEPT = {word.lower(): number for number, words in enumerate(CONCEPTS) for word in words.split()}


def meaning(text: str, size: int = SIZE) -> list[float]:
    """A vector: a strong direction for each concept, a weak one for any other word."""
    vector = [0.0] * size
    vector[-1] = 0.05
    for word in re.findall(r"\w+", text.lower()):
        if word in _CONCEPT:
            vector[_CONCEPT[word]] += 1.0
        else:
            vector[len(CONCEPTS) + zlib.crc32(word.encode()) % (size - len(CONCEPTS) - 1)] += 0.1
    return vector


@dataclass(frozen=True)
class Fault:
    """What happens instead of an answer, or to it.

    `silent` never answers; `body` is sent as it is; `size` is the length of the vectors, `nan` are the places of those that are
    no numbers; `short` leaves out the last one; `shuffled` sends them from last to first; `uncounted` tells no usage; `zero`
    sends zeros.
    """

    status: int = 200
    error: str = "server_error"
    retry_after: float | None = None
    silent: bool = False
    body: bytes | None = None
    size: int = SIZE
    nan: tuple[int, ...] = ()
    short: bool = False
    shuffled: bool = False
    uncounted: bool = False
    zero: bool = False


class EmbeddingServer:
    """Answers each request with the next fault of `script`, and well when there is none; `always` in place of none.

    As a context manager it listens at `url` on a free port, and fails at the end if a request was wrong or a fault is left.
    """

    def __init__(self, *script: Fault, always: Fault | None = None, refuses: str = "") -> None:
        self.script = deque(script)
        self.always = always or Fault()
        self.refuses = refuses  # a word that it takes in no text
        self.size = SIZE
        self.requests: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.asked = asyncio.Condition()
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def texts(self) -> list[str]:
        """All that was sent to it."""
        return [text for request in self.requests for text in request["input"]]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_route("*", "/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if kind is None:
            assert not self.problems, self.problems
            assert not self.script, f"not asked for: {list(self.script)}"

    async def until(self, requests: int) -> None:
        """Return once so many requests have come."""
        async with asyncio.timeout(20), self.asked:
            await self.asked.wait_for(lambda: len(self.requests) >= requests)

    async def _unknown(self, request: web.Request) -> web.Response:
        self.problems.append(f"unknown path {request.method} {request.path}")
        return web.json_response({"error": {"message": "no such path"}}, status=404)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        texts = body.get("input")
        wrong = (
            set(body) - _FIELDS
            or request.headers.get("authorization") != f"Bearer {KEY}"
            or not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text.strip() for text in texts)
            or body.get("encoding_format") != "float"
        )
        if wrong:
            self.problems.append(f"a wrong request: {sorted(body)}")
        fault = self.script.popleft() if self.script else self.always
        async with self.asked:
            self.requests.append(body)
            self.asked.notify_all()
        if fault.silent:
            await asyncio.Event().wait()
        if fault.body is not None:
            return web.Response(body=fault.body, content_type="application/json")
        if self.refuses and any(self.refuses in text for text in texts):
            fault = Fault(400, "invalid_input")
        if fault.status != 200:
            headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
            error = {"message": "no", "type": fault.error, "code": fault.error}
            return web.json_response({"error": error}, status=fault.status, headers=headers)
        size = body.get("dimensions") or (fault.size if fault.size != SIZE else self.size)
        vectors = [[0.0] * size if fault.zero else meaning(text, size) for text in texts]
        for place in fault.nan:
            vectors[place] = [float("nan")] * size
        data = [
            {"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)
        ]
        if fault.short:
            data.pop()
        if fault.shuffled:
            data.reverse()
        answer: dict[str, Any] = {"object": "list", "model": body["model"], "data": data}
        if not fault.uncounted:
            count = sum(len(text.split()) for text in texts)
            answer["usage"] = {"prompt_tokens": count, "total_tokens": count}
        return web.Response(body=json.dumps(answer).encode(), content_type="application/json")
