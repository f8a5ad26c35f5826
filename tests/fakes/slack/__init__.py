"""A scripted Slack on a loopback port: strict about what it is asked, able to misbehave as the real one does.

In a test: `async with SlackServer() as slack`, speak as a person with `slack.say("D1", "U1", "hello")`, read what stands there
with `slack.texts("D1")`, and script faults with `slack.fault("chat.postMessage", too_many(3))`.
Leaving the block fails if anything unexpected was
asked or a scripted fault was never met. `python -m tests.fakes.slack [--port N]` prints its address and its secrets as
one JSON line and is driven over /_control/say, /_control/command, /_control/fault and
/_control/state.

    server      addresses, tokens, the authorisation page      published   arguments, scopes and limits, as Slack publishes them
    webapi      what each method of the Web API does           deliveries  Socket Mode and signed requests, with their retries
    workspace   people, channels, messages, what happens       faults      the ways to misbehave
"""

from tests.fakes.faults import Fault, bad_gateway, dropped, garbage, held, lost_answer
from tests.fakes.slack.deliveries import Deliveries, Delivery, Mode
from tests.fakes.slack.faults import broken, refusal, too_many
from tests.fakes.slack.server import (
    APP_TOKEN,
    BOT_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    SIGNING_SECRET,
    SlackServer,
    free_port,
)
from tests.fakes.slack.workspace import Channel, Message, Whisper, Workspace

__all__ = [
    "APP_TOKEN",
    "BOT_TOKEN",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SIGNING_SECRET",
    "Channel",
    "Deliveries",
    "Delivery",
    "Fault",
    "Message",
    "Mode",
    "SlackServer",
    "Whisper",
    "Workspace",
    "bad_gateway",
    "broken",
    "dropped",
    "free_port",
    "garbage",
    "held",
    "lost_answer",
    "refusal",
    "too_many",
]
