"""What the soak tests of all platforms do: people write, Boswell is killed, and at last it is counted what was lost or doubled.

`make soak` kills often (BOSWELL_SOAK_KILLS); `make test` a few times. The seed is told and can be given (BOSWELL_SOAK_SEED).
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from memory.transcripts import Transcripts
from tests.fakes.model_server import KEY, Call, ModelServer, Reply, Request, Step
from tests.fakes.scripted_server import ScriptedServer
from tests.fakes.soaked import serve

SEED = int(os.environ.get("BOSWELL_SOAK_SEED", "0")) or random.randrange(1, 10**6)
WHOLE = "This is the whole answer to "


def kills(usual: int) -> int:
    """How often to kill."""
    return int(os.environ.get("BOSWELL_SOAK_KILLS", usual))


def answer(request: Request) -> Step:
    """A third of the messages make the model take a note first."""
    messages = request.body["messages"]
    said = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    word = next(w for w in reversed(said.split()) if w[0] == "w" and w[1:].isdigit())
    if int(word[1:]) % 3 == 0 and messages[-1]["role"] == "user":
        return Reply(calls=(Call("note", f'{{"word": "{word}"}}', id=f"call_{word}"),))
    return Reply(text=("This ", "is the ", "whole ", "answer ", "to ", word), pause=0.015)


class Crowd:
    """People who write, each word of theirs once, in `places`; and what they are owed."""

    def __init__(
        self, server: ScriptedServer, places: int, users: Sequence[str], dice: random.Random
    ) -> None:
        self.server = server
        self.places = range(places)
        self.users = users  # whose transcripts there are in the end
        self.dice = dice
        self.asked: dict[str, int] = {}  # word → place

    def speak(self, place: int, words: str) -> None:
        """Say words there that are meant for the bot."""
        raise NotImplementedError

    def texts(self, place: int) -> Sequence[str]:
        """What the bot's messages there read."""
        raise NotImplementedError

    def say(self, place: int) -> None:
        word = f"w{len(self.asked)}"
        self.asked[word] = place
        self.speak(place, f"please answer {word}")

    def say_everywhere(self) -> None:
        for place in self.places:
            self.say(place)

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """Somebody writes somewhere every few hundredths of a second."""

        async def talk() -> None:
            while True:
                self.say(self.dice.choice(self.places))
                await asyncio.sleep(self.dice.uniform(0.0, 0.06))

        task = asyncio.create_task(talk())
        try:
            yield
        finally:
            task.cancel()

    def owed(self) -> list[str]:
        shown = [set(self.texts(place)) for place in self.places]
        return [word for word, place in self.asked.items() if WHOLE + word not in shown[place]]

    async def satisfied(self, model: ModelServer, seconds: float) -> None:
        """Return once nobody is owed anything."""
        try:
            async with asyncio.timeout(seconds):
                while self.owed():
                    assert not model.problems, model.problems[:3]
                    seen = self.server.version
                    await self.server.wait_for(lambda s, seen=seen: s.version > seen, seconds)
        except TimeoutError:
            assert not self.owed()


class Boswell:
    """A process that is started, killed and started again, on one platform.

    `settings` are those of its adapter, `sections` others of the configuration.
    """

    def __init__(
        self, folder: Path, platform: str, settings: dict[str, Any], model: ModelServer, **sections: Any
    ) -> None:
        self._folder = folder
        config = {
            "access": {"policy": "open"},
            "limits": {"turns_per_minute": 100_000},
            "models": {
                "main": {"provider": "openai", "model": "test", "api_key": KEY, "base_url": f"{model.url}/v1"}
            },
            "adapters": {platform: settings},
            "data_dir": str(folder / "data"),
            **sections,
        }
        path = folder / "boswell.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        self._arguments = (str(path), str(folder / "runs.txt"), str(folder / "log.txt"), platform)
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(
            ["tests.fakes.soaked", f"adapters.{platform}", "openai", "bot.models.openai"]
        )
        self._process: BaseProcess

    def start(self) -> None:
        # As a daemon it ends with the test, failed or not.
        self._process = self._forks.Process(target=serve, args=self._arguments, daemon=True)
        self._process.start()

    async def kill(self) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.join)

    async def stop(self) -> None:
        """Stop it as a service manager does."""
        self._process.terminate()
        await asyncio.to_thread(self._process.join, 10)
        assert self._process.exitcode == 0, "it did not stop cleanly within ten seconds of SIGTERM"

    def count(self, crowd: Crowd) -> Count:
        """What there is in the end."""
        finals: Counter[str] = Counter()
        other: list[str] = []
        for place in crowd.places:
            for text in crowd.texts(place):
                if text.startswith(WHOLE):
                    finals[text.rsplit(" ", 1)[1]] += 1
                else:
                    other.append(text)
        runs, data = self._folder / "runs.txt", self._folder / "data"
        notes = [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []
        written = Counter(
            word for user in crowd.users for word in _written(Transcripts(data / "memory"), user)
        )
        with closing(sqlite3.connect(data / "boswell.db")) as database:
            resumed, most = database.execute("SELECT sum(attempt - 1), max(attempt) FROM turns").fetchone()
        return Count(crowd, finals, other, notes, written, resumed, most)


def _written(transcripts: Transcripts, user: str) -> list[str]:
    """The words that were asked and answered, by a person's transcripts."""
    said = [m for day in transcripts.dates(user) for s in transcripts.day(user, day) for m in s.messages]
    words = []
    for (role, question), (_, reply) in zip(said[::2], said[1::2], strict=True):
        assert role == "user"
        assert question.split()[-1] == reply.split()[-1]
        words.append(question.split()[-1])
    return words


@dataclass
class Count:
    """What was answered, how often, and what else stands there."""

    crowd: Crowd
    finals: Counter[str]
    other: list[str]  # texts that are no whole answer
    notes: list[list[str]]  # runs of the tool
    written: Counter[str]
    resumed: int
    most: int  # attempts at one turn

    def told(self, name: str, kills: int, **more: object) -> str:
        """A line for who runs it; `more` is what the platform has to tell."""
        figures = {
            "messages": len(self.crowd.asked),
            "places": len(self.crowd.places),
            "unanswered": len(self.crowd.asked) - len(self.finals),
            "answered twice": _again(self.finals),
            "other messages": len(self.other),
            **{key.replace("_", " "): value for key, value in more.items()},
            "turns resumed": self.resumed,
            "attempts at most": self.most,
            "tool runs": len(self.notes),
            "after their result was recorded": len(self._rerun),
            "in transcripts": len(self.written),
            "twice": _again(self.written),
        }
        return f"\n{name}: seed {SEED}, {kills} kills; " + ", ".join(f"{k} {v}" for k, v in figures.items())

    def check(self) -> None:
        """Fail if anything was lost or doubled."""
        assert set(self.finals) == set(self.crowd.asked)
        assert max(self.finals.values()) == 1
        assert self.other == []
        assert not self._rerun
        assert set(self.written) == set(self.crowd.asked)
        assert max(self.written.values()) == 1
        assert self.resumed > 0, "no kill fell into a turn: the traffic was not busy"

    @property
    def _rerun(self) -> list[list[str]]:
        return [note for note in self.notes if note[0] == "AGAIN"]


def _again(counted: Counter[str]) -> int:
    return sum(times - 1 for times in counted.values())
