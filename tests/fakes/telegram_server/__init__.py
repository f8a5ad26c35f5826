"""A scripted Bot API server on a loopback port: strict about what it is asked, able to misbehave as the real one does.

In a test: `async with TelegramServer() as server`, speak as a person with `server.say`, read `server.chat(id).texts`, and
script faults with `server.fault("sendMessage", too_many(3))`. Leaving the block fails if anything unexpected was
asked or a scripted fault was never met. As a program (`python -m tests.fakes.telegram_server [--port N] [--token T]`) it
prints its address as one JSON line and is driven over /_control/say, /_control/push, /_control/fault and /_control/state.

    server   what people do and see              methods   parameters, limits and refusals of the Bot API
    bot_api  what each method of it does         faults    the ways to misbehave
    chats    messages, as they stand there
"""

from tests.fakes.faults import Fault, bad_gateway, dropped, garbage, held, lost_answer
from tests.fakes.telegram_server.bot_api import BOT, TOKEN
from tests.fakes.telegram_server.chats import Conversation, Message
from tests.fakes.telegram_server.faults import conflict, forbidden, migrated, refusal, too_many, unauthorized
from tests.fakes.telegram_server.methods import MAX_CHARS, BotApiError, Upload, units
from tests.fakes.telegram_server.server import TelegramServer

__all__ = [
    "BOT",
    "MAX_CHARS",
    "TOKEN",
    "BotApiError",
    "Conversation",
    "Fault",
    "Message",
    "TelegramServer",
    "Upload",
    "bad_gateway",
    "conflict",
    "dropped",
    "forbidden",
    "garbage",
    "held",
    "lost_answer",
    "migrated",
    "refusal",
    "too_many",
    "unauthorized",
    "units",
]
