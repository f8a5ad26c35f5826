"""Processes that kill themselves at a chosen line: what they leave is what `kill -9` leaves there.

Lines are counted over all threads, in the modules that are named. They are forked from a server that has imported everything.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import FrameType
from typing import Any

from bot.cli import main
from bot.models.base import ModelRequest
from memory.database import Tx
from tests.fakes.house import house
from tests.fakes.scripted_model import ScriptedModel

Trace = Callable[[FrameType, str, Any], Any]


def forks() -> ForkServerContext:
    """Where such processes come from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fakes.killed"])
    return context


def kill_at(line: int, modules: Sequence[str]) -> Callable[[], int]:
    """Kill this process when so many lines of these modules were begun; what is returned tells how many there were."""
    count = 0

    def local(frame: FrameType, event: str, _: Any) -> Trace | None:
        nonlocal count
        if event == "line":
            count += 1
            if count == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return local

    def begins(frame: FrameType, _: str, __: Any) -> Trace | None:
        return local if frame.f_code.co_filename.endswith(tuple(modules)) else None

    threading.settrace(begins)
    sys.settrace(begins)
    return lambda: count


def command_line(counted: str, line: int, modules: Sequence[str], *arguments: str) -> None:
    """A command, killed at that line; 0: not at all. How many lines there were is written to a file."""
    count = kill_at(line, modules)
    try:
        main(list(arguments))
    finally:
        sys.settrace(None)
        Path(counted).write_text(str(count()))


def _owed(tx: Tx) -> bool:
    updates, replies = tx.all("inbox_counts"), tx.all("outbox_counts")
    return bool(tx.all("erasures_owed")) or any(row["owed"] for row in [*updates, *replies])


def running(counted: str, line: int, modules: Sequence[str], folder: str, text: str) -> None:
    """A house in which somebody is to be forgotten, and writes `text` meanwhile. It ends when all is done and said."""
    count = kill_at(line, modules)

    def answer(_: ModelRequest) -> str:
        return "a new answer"

    async def live() -> None:
        async with house(Path(folder), ScriptedModel(answer)) as h:
            # The platform gives it again as long as it was not confirmed: it is the same update each time.
            await h.hand_in(h.update(text, key="after"))
            async with asyncio.timeout(60):
                while await h.database.read(_owed):  # noqa: ASYNC110 - rows give no sign of their own
                    await asyncio.sleep(0.01)
            await h.settled()

    asyncio.run(live())
    sys.settrace(None)
    Path(counted).write_text(str(count()))
