"""The scripted Discord as a program, with one server (a text channel in it) and whoever writes to it directly."""

from __future__ import annotations

import argparse

from tests.fakes.discord_server import TOKEN, DiscordServer
from tests.fakes.scripted_server import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.discord_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    arguments = parser.parse_args()
    server = DiscordServer(arguments.token, port=arguments.port)
    guild = server.guild()
    there = {"guild": str(guild.id), "channel": str(server.channel(guild).id), "mention": server.mention}
    run(
        server,
        lambda: {
            "base_url": server.base_url,
            "gateway_url": server.gateway_url,
            "token": server.token,
            **there,
        },
    )
