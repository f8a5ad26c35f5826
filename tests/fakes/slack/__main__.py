"""The scripted Slack as a program; see the package."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json

from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, SlackServer


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.slack", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deliver", metavar="URL", help="HTTP mode: where events are posted to")
    options = parser.parse_args()
    async with SlackServer(port=options.port) as server:
        if options.deliver:
            server.deliveries.mode, server.deliveries.url = "http", options.deliver
        secrets = {"bot_token": BOT_TOKEN, "app_token": APP_TOKEN, "signing_secret": SIGNING_SECRET}
        print(json.dumps({"base_url": server.base_url, **secrets}), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
