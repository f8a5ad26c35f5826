"""The ways in which Slack misbehaves, to be scripted with `SlackServer.fault`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Fault:
    """One misbehaviour. `process`: the call takes effect first. `drop`: the socket is closed instead of an answer."""

    status: int = 0
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    process: bool = False
    drop: bool = False
    until: asyncio.Event | None = None  # wait for it first
    met: asyncio.Event = field(default_factory=asyncio.Event)


def refusal(error: str, **more: str) -> Fault:
    """An answer with `ok: false`: "channel_not_found", "not_in_channel", "invalid_auth", …"""
    return Fault(200, json.dumps({"ok": False, "error": error, **more}))


def too_many(retry_after: int) -> Fault:
    """429 with Retry-After."""
    return Fault(
        429, json.dumps({"ok": False, "error": "ratelimited"}), headers={"Retry-After": str(retry_after)}
    )


def bad_gateway() -> Fault:
    """A page of a proxy in front of Slack."""
    return Fault(502, "<html><head><title>502 Bad Gateway</title></head></html>", "text/html")


def broken() -> Fault:
    """A fault inside Slack, told in its own way."""
    return Fault(500, json.dumps({"ok": False, "error": "internal_error"}))


def garbage() -> Fault:
    """A 200 that is no JSON."""
    return Fault(200, "\x00 not { json")


def dropped() -> Fault:
    """The connection closes before anything is done."""
    return Fault(drop=True)


def lost_answer() -> Fault:
    """It is done, but nobody hears of it."""
    return Fault(drop=True, process=True)


def held(until: asyncio.Event) -> Fault:
    """An answer that comes, rightly, when `until` is set."""
    return Fault(until=until, process=True)
