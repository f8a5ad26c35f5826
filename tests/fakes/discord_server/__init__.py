"""A scripted Discord on a loopback port, REST and gateway: strict about what it is asked, able to misbehave as the real one does.

In a test: `async with DiscordServer() as server`, speak as a person with `server.say`, `slash` and `press`, read
`server.texts(channel)` and `server.private(user)`, break the gateway with `server.gateway.drop()`, `silence`, `invalidate`, …,
and script faults of single calls with `server.fault("create_message", too_many(3))`. Leaving the block fails if anything
unexpected was asked or a scripted fault was never met. As a program (`python -m tests.fakes.discord_server [--port N]
[--token T]`) it prints its addresses as one JSON line and is driven over /_control/say, slash, fault and state.
"""

from tests.fakes.discord_server.faults import (
    banned_for_a_while,
    closed_dms,
    forbidden,
    old_message,
    refusal,
    server_error,
    too_many,
    unauthorized,
)
from tests.fakes.discord_server.server import TOKEN, DiscordServer
from tests.fakes.discord_server.state import (
    ATTACH,
    FORUM,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    READ_HISTORY,
    SEND,
    TEXT,
    VIEW,
    ApiError,
    Channel,
    Guild,
    Interaction,
    Message,
)
from tests.fakes.faults import Fault, dropped, garbage, held, lost_answer

__all__ = [
    "ATTACH",
    "FORUM",
    "PRIVATE_THREAD",
    "PUBLIC_THREAD",
    "READ_HISTORY",
    "SEND",
    "TEXT",
    "TOKEN",
    "VIEW",
    "ApiError",
    "Channel",
    "DiscordServer",
    "Fault",
    "Guild",
    "Interaction",
    "Message",
    "banned_for_a_while",
    "closed_dms",
    "dropped",
    "forbidden",
    "garbage",
    "held",
    "lost_answer",
    "old_message",
    "refusal",
    "server_error",
    "too_many",
    "unauthorized",
]
