"""What does not heed a time-out or a cancellation: the person still gets a sentence, and the process still ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import answering
from bot.models.base import ModelEvent, ModelRequest
from tests.fakes.house import house
from tests.fakes.scripted_model import ScriptedModel


class Deaf(ScriptedModel):
    """Its first request does not heed the first cancellation."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.requests.append(request)
        if len(self.requests) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()
        async for event in super().stream(request):
            yield event


async def test_a_turn_that_does_not_heed_its_time_out_ends_with_a_sentence_and_the_next_one_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "GRACE", 0.1)
    async with house(tmp_path, Deaf(lambda request: "Here I am.")) as h:
        h.parts.turns.setup.turn_timeout = 0.1
        await h.say("hello")
        await h.settled()
        h.parts.turns.setup.turn_timeout = 60
        await h.say("and now?")
        await h.settled()
        first, second = h.texts()
        assert "too long" in first
        assert second == "Here I am."
        assert [text for _, text in h.transcript()] == ["hello", first, "and now?", second]


STUBBORN = """
import asyncio, os, signal, sys
from pathlib import Path
from bot import app
from config import Config

app.EXIT = 1.0

async def deaf():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def serve(config, connected, house, database, tasks, stop, last, *rest):
    tasks.create_task(deaf())
    tasks.create_task(database.write(lambda tx: tx.run("status_set", name="x", state="up", detail="", at=0, until=0)))
    await asyncio.sleep(0.2)
    last.start()

app._serve = serve
config = Config.model_validate({"models": {"main": {"provider": "demo"}}, "adapters": {"console": {}}, "data_dir": sys.argv[1]})
asyncio.run(app.run(config, ["console"]))
"""


def test_the_process_ends_though_something_heeds_no_cancellation(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN, tmp_path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1, done.stderr
    assert "stopped_hard" in done.stdout + done.stderr
