"""What can go wrong with a call to any scripted platform, to be scripted with `ScriptedServer.fault`."""

from __future__ import annotations

import asyncio
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


def bad_gateway() -> Fault:
    """A page of a proxy in front of an API that is down."""
    return Fault(502, "<html><head><title>502 Bad Gateway</title></head></html>", "text/html")


def garbage() -> Fault:
    """A 200 that is no JSON."""
    return Fault(200, "\x00 not { json")


def dropped() -> Fault:
    """The socket closes before anything is done."""
    return Fault(drop=True)


def lost_answer() -> Fault:
    """It is done, but nobody hears of it."""
    return Fault(drop=True, process=True)


def held(until: asyncio.Event) -> Fault:
    """An answer that comes, rightly, when `until` is set."""
    return Fault(until=until, process=True)
