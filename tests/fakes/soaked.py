"""The process that the soak test kills: Boswell as it is, with one more tool whose every run leaves a line in a file.

It is forked from a server that has imported everything already, so that hundreds of starts cost little.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from pathlib import Path
from typing import cast

import bot.tools
from bot.app import database_path, run
from bot.logs import configure
from bot.tools.base import Tool, ToolContext, tool
from config import load


def serve(config_path: str, runs: str, logs: str, platform: str = "telegram") -> None:
    """Run Boswell on one platform until it is killed."""
    descriptor = os.open(logs, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 2)
    loaded = load(Path(config_path), os.environ)
    configure("info", "json")
    database = database_path(loaded.config)

    async def note(context: ToolContext, word: str) -> str:
        """Take a note of a word."""
        key = context.idempotency_key
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            turn, _, call = key.partition(".")
            rows = reader.execute("SELECT data FROM events WHERE turn_id = ? AND type = 'tool'", (int(turn),))
            recorded = any(f'"call_id": "{call}"' in data for (data,) in rows)
        line = f"{'AGAIN' if recorded else 'run'} {key} {word}\n"
        out = os.open(runs, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(out, line.encode())
        os.close(out)
        await asyncio.sleep(0.005)
        return f"noted {word}"

    cast(dict[str, tuple[Tool, ...]], bot.tools.ALL)["note"] = (tool(note),)
    agent = loaded.config.agent.model_copy(update={"tools": ("note",)})
    config = loaded.config.model_copy(update={"agent": agent})
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(run(config, [platform]))
