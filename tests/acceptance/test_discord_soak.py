"""Kill -9 at random instants of busy traffic on Discord, start again, and count what was lost or doubled.

People go on writing while it is down. `make soak` kills at least 100 times (BOSWELL_SOAK_KILLS); `make test` a few times. The
seed is printed and can be given (BOSWELL_SOAK_SEED).
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
from tests.fakes.discord_server import DiscordServer
from tests.fakes.model_server import KEY, Call, ModelServer, Reply, Request, Step
from tests.fakes.soaked import serve

PEOPLE = 10  # each with a direct conversation and a channel
KILLS = int(os.environ.get("BOSWELL_SOAK_KILLS", "12"))
SEED = int(os.environ.get("BOSWELL_SOAK_SEED", "0")) or random.randrange(1, 10**6)
WHOLE = "This is the whole answer to "

CONFIG = """
access: {{policy: open}}
limits: {{turns_per_minute: 100000}}
models:
  main: {{provider: openai, model: test, api_key: {key}, base_url: "{model}/v1"}}
adapters:
  discord: {{token: "{token}", base_url: "{rest}", gateway_url: "{gateway}", message_content: true}}
data_dir: {data}
"""


def answer(request: Request) -> Step:
    """A third of the messages make the model take a note first."""
    messages = request.body["messages"]
    said = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    word = next(w for w in reversed(said.split()) if w[0] == "w" and w[1:].isdigit())
    if int(word[1:]) % 3 == 0 and messages[-1]["role"] == "user":
        return Reply(calls=(Call("note", f'{{"word": "{word}"}}', id=f"call_{word}"),))
    return Reply(text=("This ", "is the ", "whole ", "answer ", "to ", word), pause=0.015)


class Crowd:
    """People who write, and what they are owed."""

    def __init__(self, discord: DiscordServer, dice: random.Random) -> None:
        self.discord = discord
        self.dice = dice
        self.asked: dict[str, int] = {}  # word → channel
        guild = discord.guild()
        self.places = [(person, discord.dm(person).id) for person in range(1, PEOPLE + 1)]
        self.places += [
            (person, discord.channel(guild, name=f"room-{person}").id) for person in range(1, PEOPLE + 1)
        ]

    def say(self, place: int) -> None:
        person, channel = self.places[place]
        word = f"w{len(self.asked)}"
        self.asked[word] = channel
        to = "" if place < PEOPLE else f"{self.discord.mention} "
        self.discord.say(channel, person, f"{to}please answer {word}")

    async def talk(self) -> None:
        while True:
            self.say(self.dice.randrange(len(self.places)))
            await asyncio.sleep(self.dice.uniform(0.0, 0.06))

    def owed(self) -> list[str]:
        shown = {channel: set(self.discord.texts(channel)) for _, channel in self.places}
        return [word for word, channel in self.asked.items() if WHOLE + word not in shown[channel]]

    async def satisfied(self, model: ModelServer, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self.owed():
                    assert not model.problems, model.problems[:3]
                    await self.discord.wait_for(
                        lambda s, seen=self.discord.version: s.version > seen, seconds
                    )
        except TimeoutError:
            assert not self.owed()


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_killed_at_any_instant_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(SEED)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.fakes.soaked", "adapters.discord", "openai", "bot.models.openai"])
    runs = tmp_path / "runs.txt"
    async with ModelServer(respond=answer) as model, DiscordServer() as discord:
        crowd = Crowd(discord, dice)
        discord.lag["create_message"] = 0.05  # so that kills fall between a post and our knowing of it
        config = tmp_path / "boswell.yaml"
        config.write_text(
            CONFIG.format(
                key=KEY,
                model=model.url,
                token=discord.token,
                rest=discord.base_url,
                gateway=discord.gateway_url,
                data=tmp_path / "data",
            )
        )

        def start() -> multiprocessing.process.BaseProcess:
            arguments = (str(config), str(runs), str(tmp_path / "log.txt"), "discord")
            process = forks.Process(target=serve, args=arguments)
            process.start()
            return process

        async def kill(process: multiprocessing.process.BaseProcess) -> None:
            process.kill()
            await asyncio.to_thread(process.join)

        # Discord tells a bot of no direct conversation but by a message in it, so one that it never met is not looked for
        process = start()
        await discord.wait_for(lambda s: s.gateway.online(), 30)
        for place in range(len(crowd.places)):
            crowd.say(place)
        await crowd.satisfied(model, 60)
        await kill(process)

        for _ in range(KILLS):
            talking = asyncio.create_task(crowd.talk())
            await asyncio.sleep(dice.uniform(0.0, 0.2))  # while it is down
            process = start()
            await asyncio.sleep(dice.uniform(0.1, 1.8))  # long enough that no turn is cut off twelve times
            await kill(process)
            talking.cancel()
        process = start()
        for place in range(len(crowd.places)):
            crowd.say(place)
        await crowd.satisfied(model, 120)
        process.terminate()
        await asyncio.to_thread(process.join, 10)
        assert process.exitcode == 0, "it did not stop cleanly within ten seconds of SIGTERM"

        finals: Counter[str] = Counter()
        other: list[str] = []
        for _, channel in crowd.places:
            for text in discord.texts(channel):
                if text.startswith(WHOLE):
                    finals[text.rsplit(" ", 1)[1]] += 1
                else:
                    other.append(text)
        notes = [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []
        written = _written(tmp_path / "data" / "memory")
        with closing(sqlite3.connect(tmp_path / "data" / "boswell.db")) as database:
            attempts = database.execute("SELECT sum(attempt - 1), max(attempt) FROM turns").fetchone()

    with capsys.disabled():
        print(
            f"\ndiscord soak: seed {SEED}, {KILLS} kills, {len(crowd.asked)} messages in {len(crowd.places)} places: "
            f"unanswered {len(crowd.asked) - len(finals)}, answered twice {sum(n - 1 for n in finals.values())}, "
            f"other messages {len(other)}; posts that their nonce kept from standing twice {discord.rest.repeats}; "
            f"turns resumed {attempts[0]} (most: {attempts[1]} attempts); "
            f"tool runs {len(notes)}, after their result was recorded {sum(n[0] == 'AGAIN' for n in notes)}; "
            f"in transcripts {len(written)}, twice {sum(n - 1 for n in written.values())}"
        )
    assert set(finals) == set(crowd.asked)
    assert max(finals.values()) == 1
    assert other == []
    assert discord.state.pinged == []
    assert discord.rest.syncs == 1
    assert not [note for note in notes if note[0] == "AGAIN"]
    assert set(written) == set(crowd.asked)
    assert max(written.values()) == 1
    assert attempts[0] > 0, "no kill fell into a turn: the traffic was not busy"


def _written(folder: Path) -> Counter[str]:
    """How often each word was asked and answered, by the transcripts."""
    transcripts = Transcripts(folder)
    written: Counter[str] = Counter()
    for person in range(1, PEOPLE + 1):
        user = f"discord-{person}"
        said = [m for day in transcripts.dates(user) for s in transcripts.day(user, day) for m in s.messages]
        for (role, question), (_, reply) in zip(said[::2], said[1::2], strict=True):
            assert role == "user"
            assert question.split()[-1] == reply.split()[-1]
            written[question.split()[-1]] += 1
    return written
