"""The scripted Telegram as a program; see the package."""

from __future__ import annotations

import argparse

from tests.fakes.scripted_server import run
from tests.fakes.telegram_server import TOKEN, TelegramServer

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.telegram_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    arguments = parser.parse_args()
    server = TelegramServer(arguments.token, port=arguments.port)
    run(server, lambda: {"url": server.url, "token": server.token})
