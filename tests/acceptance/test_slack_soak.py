"""Kill -9 at random instants of busy traffic on Slack, start again, and count what was lost or doubled; in both modes.

People go on writing while it is down, and Slack gives its deliveries up after three retries, so that what is missing must be
fetched. `make soak` kills at least 100 times in each mode (BOSWELL_SOAK_KILLS); `make test` a few times. The seed is
printed and can be given (BOSWELL_SOAK_SEED).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import socket
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from memory.transcripts import Transcripts
from tests.fakes.model_server import KEY, Call, ModelServer, Reply, Request, Step
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, SlackServer
from tests.fakes.slack_running import Mode
from tests.fakes.soaked import serve

PEOPLE = 10  # each with a direct conversation and a thread of a channel
KILLS = int(os.environ.get("BOSWELL_SOAK_KILLS", "6"))
SEED = int(os.environ.get("BOSWELL_SOAK_SEED", "0")) or random.randrange(1, 10**6)
WHOLE = "This is the whole answer to "

CONFIG = """
access: {{policy: open}}
limits: {{turns_per_minute: null}}
models:
  main: {{provider: openai, model: test, api_key: {key}, base_url: "{model}/v1"}}
adapters:
  slack: {{bot_token: "{token}", {way}, base_url: "{slack}"}}
server: {{port: {port}}}
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
    """People who write, each in a direct conversation and in a thread, and what they are owed."""

    def __init__(self, slack: SlackServer, dice: random.Random) -> None:
        self.slack = slack
        self.dice = dice
        self.asked: dict[str, int] = {}  # word → place
        self.threads: dict[int, str] = {}
        self.people = [f"U{number:03}" for number in range(1, PEOPLE + 1)]
        self.places = [(user, f"D{user[1:]}") for user in self.people]
        self.places += [(user, f"C{user[1:]}") for user in self.people]
        for user, channel in self.places:
            slack.channel(channel, slack.first.person(user))

    def say(self, place: int) -> None:
        user, channel = self.places[place]
        word = f"w{len(self.asked)}"
        self.asked[word] = place
        thread = self.threads.get(place, "")
        mention = "" if place < PEOPLE or thread else "@boswell "
        ts = self.slack.say(channel, user, f"{mention}please answer {word}", thread)
        if place >= PEOPLE:
            self.threads.setdefault(place, ts)

    async def talk(self) -> None:
        while True:
            self.say(self.dice.randrange(len(self.places)))
            await asyncio.sleep(self.dice.uniform(0.0, 0.06))

    def owed(self) -> list[str]:
        shown = [set(self.slack.texts(channel)) for _, channel in self.places]
        return [word for word, place in self.asked.items() if WHOLE + word not in shown[place]]

    async def satisfied(self, model: ModelServer, seconds: float) -> None:
        """Return once nobody is owed anything."""
        try:
            async with asyncio.timeout(seconds):
                while self.owed():
                    assert not model.problems, model.problems[:3]
                    seen = self.slack.version
                    await self.slack.wait_for(lambda s, seen=seen: s.version > seen, seconds)
        except TimeoutError:
            assert not self.owed()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_killed_at_any_instant_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, mode: Mode, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(SEED)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.fakes.soaked", "adapters.slack", "openai", "bot.models.openai"])
    runs = tmp_path / "runs.txt"
    async with ModelServer(respond=answer) as model, SlackServer() as slack:
        crowd = Crowd(slack, dice)
        port = _free_port()
        way = f'app_token: "{APP_TOKEN}"' if mode == "socket" else f'signing_secret: "{SIGNING_SECRET}"'
        slack.deliveries.mode, slack.deliveries.url = mode, f"http://127.0.0.1:{port}/slack/events"
        config = tmp_path / "boswell.yaml"
        config.write_text(
            CONFIG.format(
                key=KEY,
                model=model.url,
                token=BOT_TOKEN,
                way=way,
                slack=slack.base_url,
                port=port,
                data=tmp_path / "data",
            )
        )

        def start() -> multiprocessing.process.BaseProcess:
            arguments = (str(config), str(runs), str(tmp_path / "log.txt"), "slack")
            process = forks.Process(
                target=serve, args=arguments, daemon=True
            )  # ends with the test, failed or not
            process.start()
            return process

        async def kill(process: multiprocessing.process.BaseProcess) -> None:
            process.kill()
            await asyncio.to_thread(process.join)

        # Slack tells of no conversation but by a message in it: the ones that it has met are those that it looks through
        process = start()
        for place in range(len(crowd.places)):
            crowd.say(place)
        await crowd.satisfied(model, 60)
        await slack.wait_for(lambda s: not s.deliveries.waiting, 60)
        await kill(process)

        slack.deliveries.lose_patience(0.01, 0.05, 0.1)
        for _ in range(KILLS):
            talking = asyncio.create_task(crowd.talk())
            await asyncio.sleep(dice.uniform(0.0, 0.6))  # while it is down
            process = start()
            # Long enough that hardly a turn is cut off twelve times in a row, after which it is given up
            await asyncio.sleep(dice.uniform(0.3, 2.0))
            await kill(process)
            talking.cancel()
        given_up = sum(delivery.given_up for delivery in slack.deliveries.all)
        process = start()
        await slack.wait_for(lambda s: s.calls["auth.test"] > KILLS, 30)
        slack.deliveries.be_patient()
        for place in range(len(crowd.places)):
            crowd.say(place)
        await crowd.satisfied(model, 180)
        process.terminate()
        await asyncio.to_thread(process.join, 10)
        assert process.exitcode == 0, "it did not stop cleanly within ten seconds of SIGTERM"

        finals: Counter[str] = Counter()
        other: list[str] = []
        for _, channel in crowd.places:
            for text in slack.texts(channel):
                if text.startswith(WHOLE):
                    finals[text.rsplit(" ", 1)[1]] += 1
                else:
                    other.append(text)
        streaming = [m for c in slack.first.channels.values() for m in c.ours() if m.state == "streaming"]
        notes = [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []
        written = _written(tmp_path / "data" / "memory", crowd.people)
        with closing(sqlite3.connect(tmp_path / "data" / "boswell.db")) as database:
            attempts = database.execute("SELECT sum(attempt - 1), max(attempt) FROM turns").fetchone()

    with capsys.disabled():
        print(
            f"\nslack soak over {mode}: seed {SEED}, {KILLS} kills, {len(crowd.asked)} messages in "
            f"{len(crowd.places)} places, {given_up} deliveries given up: "
            f"unanswered {len(crowd.asked) - len(finals)}, answered twice {sum(n - 1 for n in finals.values())}, "
            f"other messages {len(other)}, streams left open {len(streaming)}; "
            f"turns resumed {attempts[0]} (most: {attempts[1]} attempts); "
            f"tool runs {len(notes)}, after their result was recorded {sum(n[0] == 'AGAIN' for n in notes)}; "
            f"in transcripts {len(written)}, twice {sum(n - 1 for n in written.values())}"
        )
    assert set(finals) == set(crowd.asked)
    assert max(finals.values()) == 1
    assert other == []
    assert streaming == []
    assert not [note for note in notes if note[0] == "AGAIN"]
    assert set(written) == set(crowd.asked)
    assert max(written.values()) == 1
    assert attempts[0] > 0, "no kill fell into a turn: the traffic was not busy"
    assert given_up > 0, "nothing had to be fetched: Slack was too patient"


def _free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _written(folder: Path, people: list[str]) -> Counter[str]:
    """How often each word was asked and answered, by the transcripts."""
    transcripts = Transcripts(folder)
    written: Counter[str] = Counter()
    for person in people:
        user = f"slack-T1-{person}"
        said = [m for day in transcripts.dates(user) for s in transcripts.day(user, day) for m in s.messages]
        for (role, question), (_, reply) in zip(said[::2], said[1::2], strict=True):
            assert role == "user"
            assert question.split()[-1] == reply.split()[-1]
            written[question.split()[-1]] += 1
    return written
