"""The ways in which Slack misbehaves, to be scripted with `SlackServer.fault`."""

from __future__ import annotations

import json

from tests.fakes.faults import Fault


def refusal(error: str, **more: str) -> Fault:
    """An answer with `ok: false`: "channel_not_found", "not_in_channel", "invalid_auth", …"""
    return Fault(200, json.dumps({"ok": False, "error": error, **more}))


def too_many(retry_after: int) -> Fault:
    """429 with Retry-After."""
    return Fault(
        429, json.dumps({"ok": False, "error": "ratelimited"}), headers={"Retry-After": str(retry_after)}
    )


def broken() -> Fault:
    """A fault inside Slack, told in its own way."""
    return Fault(500, json.dumps({"ok": False, "error": "internal_error"}))
