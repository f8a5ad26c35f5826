"""The scripted Slack as a program; see the package."""

from __future__ import annotations

import argparse

from tests.fakes.scripted_server import run
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, SlackServer

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.slack", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deliver", metavar="URL", help="HTTP mode: where events are posted to")
    options = parser.parse_args()
    server = SlackServer(port=options.port)
    if options.deliver:
        server.deliveries.mode, server.deliveries.url = "http", options.deliver
    secrets = {"bot_token": BOT_TOKEN, "app_token": APP_TOKEN, "signing_secret": SIGNING_SECRET}
    run(server, lambda: {"base_url": server.base_url, **secrets})
