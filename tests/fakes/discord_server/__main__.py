"""The scripted Discord as a program, with one server (a text channel in it) and whoever writes to it directly."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json

from tests.fakes.discord_server import TOKEN, DiscordServer


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    arguments = parser.parse_args()
    server = await DiscordServer(arguments.token, port=arguments.port).start()
    guild = server.guild()
    told = {
        "base_url": server.base_url,
        "gateway_url": server.gateway_url,
        "token": server.token,
        "guild": str(guild.id),
        "channel": str(server.channel(guild).id),
        "mention": server.mention,
    }
    print(json.dumps(told), flush=True)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await server.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
