"""Kill -9 at random instants of busy traffic, start again, and count what was lost or doubled.

`make soak` kills at least 200 times (BOSWELL_SOAK_KILLS); `make test` a few times. The seed is printed and can be given
(BOSWELL_SOAK_SEED).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from memory.transcripts import Transcripts
from tests.fakes.model_server import KEY, Call, ModelServer, Reply, Request, Step
from tests.fakes.soaked import serve
from tests.fakes.telegram_server import TelegramServer

CHATS = 20
KILLS = int(os.environ.get("BOSWELL_SOAK_KILLS", "12"))
SEED = int(os.environ.get("BOSWELL_SOAK_SEED", "0")) or random.randrange(1, 10**6)

CONFIG = """
access: {{policy: open}}
limits: {{turns_per_minute: null}}
models:
  main: {{provider: openai, model: test, api_key: {key}, base_url: "{model}/v1"}}
adapters:
  telegram: {{token: "{token}", base_url: "{telegram}", messages_per_second: 10000}}
data_dir: {data}
"""


def answer(request: Request) -> Step:
    """A third of the messages make the model take a note first."""
    messages = request.body["messages"]
    word = next(m["content"] for m in reversed(messages) if m["role"] == "user").split()[-1]
    if int(word[1:]) % 3 == 0 and messages[-1]["role"] == "user":
        return Reply(calls=(Call("note", f'{{"word": "{word}"}}', id=f"call_{word}"),))
    return Reply(text=("This ", "is the ", "whole ", "answer ", "to ", word), pause=0.015)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_killed_at_any_instant_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(SEED)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.fakes.soaked", "adapters.telegram", "openai", "bot.models.openai"])
    runs = tmp_path / "runs.txt"
    asked: dict[str, int] = {}  # word → chat
    async with ModelServer(respond=answer) as model, TelegramServer() as telegram:
        config = tmp_path / "boswell.yaml"
        config.write_text(
            CONFIG.format(
                key=KEY, model=model.url, telegram=telegram.url, token=telegram.token, data=tmp_path / "data"
            )
        )

        def start() -> multiprocessing.process.BaseProcess:
            process = forks.Process(target=serve, args=(str(config), str(runs), str(tmp_path / "log.txt")))
            process.start()
            return process

        def say(chat: int) -> None:
            word = f"w{len(asked)}"
            asked[word] = chat
            telegram.say(chat, chat, f"please answer {word}")

        async def talk() -> None:
            while True:
                say(dice.randint(1, CHATS))
                await asyncio.sleep(dice.uniform(0.0, 0.06))

        def owed() -> list[str]:
            return [
                w
                for w, chat in asked.items()
                if f"This is the whole answer to {w}" not in telegram.chat(chat).texts
            ]

        for _ in range(KILLS):
            polled = telegram.calls["getUpdates"]
            process = start()
            talking = asyncio.create_task(talk())
            if dice.random() < 0.7:  # else it is killed while it starts, or soon after
                await telegram.wait_for(lambda server, n=polled: server.calls["getUpdates"] > n, 30)
            await asyncio.sleep(dice.uniform(0.1, 0.9))
            process.kill()
            talking.cancel()
            await asyncio.to_thread(process.join)
        process = start()
        for chat in range(1, CHATS + 1):
            say(chat)
        async with asyncio.timeout(60):
            while owed():
                assert not model.problems, model.problems[:3]
                await asyncio.sleep(0.05)
        process.terminate()
        await asyncio.to_thread(process.join, 10)
        assert process.exitcode == 0, "it did not stop cleanly within ten seconds of SIGTERM"

        finals: Counter[str] = Counter()
        stubs = other = 0
        for chat in range(1, CHATS + 1):
            for text in telegram.chat(chat).texts:
                if text.startswith("This is the whole answer to "):
                    finals[text.rsplit(" ", 1)[1]] += 1
                elif text == "…":
                    stubs += 1
                else:
                    other += 1
        notes = [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []
        transcripts = Transcripts(tmp_path / "data" / "memory")
        written: Counter[str] = Counter()
        for chat in range(1, CHATS + 1):
            user = f"telegram-{chat}"
            said = [
                m for day in transcripts.dates(user) for s in transcripts.day(user, day) for m in s.messages
            ]
            for (role, question), (_, reply) in zip(said[::2], said[1::2], strict=True):
                assert role == "user"
                assert question.split()[-1] == reply.split()[-1]
                written[question.split()[-1]] += 1
        with closing(sqlite3.connect(tmp_path / "data" / "boswell.db")) as database:
            attempts = database.execute("SELECT sum(attempt - 1), max(attempt) FROM turns").fetchone()

    with capsys.disabled():
        print(
            f"\nsoak: seed {SEED}, {KILLS} kills, {len(asked)} messages in {CHATS} chats: "
            f"unanswered {len(asked) - len(finals)}, answered twice {sum(n - 1 for n in finals.values())}, "
            f"placeholders left (the named window) {stubs}, other messages {other}; "
            f"turns resumed {attempts[0]} (most: {attempts[1]} attempts); "
            f"tool runs {len(notes)}, after their result was recorded {sum(n[0] == 'AGAIN' for n in notes)}; "
            f"in transcripts {len(written)}, twice {sum(n - 1 for n in written.values())}"
        )
    assert set(finals) == set(asked)
    assert max(finals.values()) == 1
    assert other == 0
    assert not [note for note in notes if note[0] == "AGAIN"]
    assert set(written) == set(asked)
    assert max(written.values()) == 1
    assert attempts[0] > 0, "no kill fell into a turn: the traffic was not busy"
