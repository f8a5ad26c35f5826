"""What can be made to go wrong on the scripted Discord, one call at a time."""

from __future__ import annotations

import json

from tests.fakes.discord_server.state import ApiError
from tests.fakes.faults import Fault


def refusal(error: ApiError) -> Fault:
    """Any error of the API's own."""
    return Fault(error.status, json.dumps(error.body))


def too_many(retry_after: float, *, scope: str = "user", code: int | None = None) -> Fault:
    """429. `scope` is user (this route), shared (others use it up) or global; `code` that of a limit with a name."""
    body = {"message": "You are being rate limited.", "retry_after": retry_after, "global": scope == "global"}
    if code is not None:
        body["code"] = code
    headers = {"Retry-After": str(round(retry_after)), "X-RateLimit-Scope": scope}
    if scope == "global":
        headers["X-RateLimit-Global"] = "true"
    else:
        headers |= {
            "X-RateLimit-Limit": "5",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": f"{retry_after:.3f}",
            "X-RateLimit-Bucket": "80c17d2f203122d936070c88c8d10f33",
        }
    return Fault(429, json.dumps(body), headers=headers)


def banned_for_a_while() -> Fault:
    """Cloudflare's own 429, which comes as a page and without a Via header."""
    return Fault(429, "error code: 1015", "text/plain; charset=UTF-8", {"Via": ""})


def old_message(retry_after: float = 0.01) -> Fault:
    """What one edit too many of hour-old messages gets."""
    fault = too_many(retry_after, code=30046)
    text = "Maximum number of edits to messages older than 1 hour reached. Try again later."
    fault.body = json.dumps({**json.loads(fault.body), "message": text})
    return fault


def server_error(status: int = 502) -> Fault:
    """A fault on their side. discord.py tries 500, 502, 504 and 524 again by itself; 503 it does not."""
    return Fault(status, "<html><h1>Server Error</h1></html>", "text/html; charset=UTF-8")


def forbidden() -> Fault:
    """A permission is missing."""
    return refusal(ApiError(403, 50013, "Missing Permissions"))


def closed_dms() -> Fault:
    """A person takes no direct messages."""
    return refusal(ApiError(403, 50007, "Cannot send messages to this user"))


def unauthorized() -> Fault:
    """The token was reset."""
    return refusal(ApiError(401, 0, "401: Unauthorized"))
