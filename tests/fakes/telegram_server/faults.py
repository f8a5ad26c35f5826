"""The ways in which Telegram misbehaves, to be scripted with `TelegramServer.fault`."""

from __future__ import annotations

import json

from tests.fakes.faults import Fault
from tests.fakes.telegram_server.methods import BotApiError


def refusal(code: int, description: str, **parameters: int) -> Fault:
    """Any error answer, with its `parameters`."""
    return Fault(code, json.dumps(BotApiError(code, description, **parameters).answer))


def too_many(retry_after: int) -> Fault:
    """429."""
    return refusal(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


def conflict() -> Fault:
    """Another program polls."""
    return refusal(
        409,
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    )


def unauthorized() -> Fault:
    """The token was revoked."""
    return refusal(401, "Unauthorized")


def forbidden() -> Fault:
    """A person has blocked the bot."""
    return refusal(403, "Forbidden: bot was blocked by the user")


def migrated(new_id: int) -> Fault:
    """The group is a supergroup now."""
    return refusal(
        400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new_id
    )
