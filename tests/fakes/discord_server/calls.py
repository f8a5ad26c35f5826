"""How a request reaches its route of the scripted REST API: found by its path, checked against the description, rationed."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiohttp import BodyPartReader, web

from tests.fakes.discord_server import shapes
from tests.fakes.discord_server.state import ApiError


class Call(NamedTuple):
    """One request, read whole. `ids` are the snowflakes of its path, `token` an interaction's."""

    ids: tuple[int, ...]
    token: str
    query: dict[str, str]
    body: Any
    files: list[tuple[str, bytes]]


class Route(NamedTuple):
    name: str
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    handle: Callable[[Any, Call], Any]


ROUTES: list[Route] = []


def route(method: str, path: str, *query: str) -> Callable[[Callable[[Any, Call], Any]], Any]:
    """Serve `path`, where `#` stands for a snowflake and `*` for an interaction's token."""
    pattern = re.compile(re.escape(path).replace(r"\#", r"(\d+)").replace(r"\*", r"(?P<token>[\w.-]+)"))

    def register(handle: Callable[[Any, Call], Any]) -> Any:
        ROUTES.append(Route(handle.__name__, method, pattern, frozenset(query), handle))
        return handle

    return register


def find(method: str, path: str) -> tuple[Route, re.Match[str]] | None:
    for candidate in ROUTES:
        match = candidate.path.fullmatch(path)
        if match and candidate.method == method:
            return candidate, match
    return None


async def read(found: Route, match: re.Match[str], request: web.BaseRequest, complaints: list[str]) -> Call:
    """The request, whole. What is not as Discord describes it is complained of."""
    if unknown := set(request.query) - found.query:
        complaints.append(f"{found.name} has no query {sorted(unknown)}")
    body, files = await body_of(request)
    complaints += [f"{found.name}: {fault}" for fault in _faults(found.name, body, files)]
    token = match.groupdict().get("token") or ""
    ids = tuple(int(group) for group in match.groups() if group and group != token)
    return Call(ids, token, dict(request.query), body, files)


def _faults(name: str, body: Any, files: list[tuple[str, bytes]]) -> Iterator[str]:
    if name not in shapes.OPERATIONS:
        if body is not None:
            yield "with a body"
        return
    # A text that is too long is answered with 400, as people's texts and models' may be; all else is our mistake.
    yield from (fault for fault in shapes.faults(name, body) if not re.search(r"content has \d+ char", fault))
    data = body.get("data", body) if isinstance(body, dict) else {}
    declared = [a for a in (data or {}).get("attachments") or [] if isinstance(a, dict) and "filename" in a]
    if len(declared) != len(files):
        yield f"declares {len(declared)} attachments, sends {len(files)}"


class Allowances:
    """Rate limits per route and channel. `limits` gives a route's (calls, seconds); without it there is plenty."""

    def __init__(self) -> None:
        self.limits: dict[str, tuple[int, float]] = {}
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, name: str, major: str) -> tuple[bool, dict[str, str]]:
        """Take one of the route's places; whether there was one, and the headers that tell of it."""
        most, seconds = self.limits.get(name, (10_000, 1.0))
        now = time.monotonic()
        began, used = self._windows.get((name, major), (now, 0))
        if now - began >= seconds:
            began, used = now, 0
        allowed = used < most
        used += allowed
        self._windows[name, major] = began, used
        left = max(0.0, began + seconds - now)
        return allowed, {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(most - used),
            "X-RateLimit-Reset": f"{time.time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
        }


async def body_of(request: web.BaseRequest) -> tuple[Any, list[tuple[str, bytes]]]:
    """The JSON of a request and its files, which come with a JSON part named payload_json."""
    if request.content_type != "multipart/form-data":
        raw = await request.read()
        if not raw:
            return None, []
        if request.headers.get("Content-Type") != "application/json":
            raise ApiError(400, 0, f"a body of type {request.content_type}")
        return json.loads(raw), []
    body: Any = None
    files: list[tuple[str, bytes]] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = b""
        while piece := await part.read_chunk():  # `read` takes no more than a megabyte
            data += piece
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            assert part.name == f"files[{len(files)}]", part.name
            files.append((part.filename or "", data))
    return body, files
