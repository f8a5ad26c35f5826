"""`kill -9` while somebody is forgotten, at every line and at any moment: it is done by the next try, and nobody else is hurt.

`make soak` kills at every line; `make test` at some of them (BOSWELL_FORGET_KILLS in all). The seed of the moments is printed.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from memory.transcripts import Transcripts
from tests.acceptance.test_forget import bobs, plant, told, traces
from tests.fakes import killed

KILLS = int(os.environ.get("BOSWELL_FORGET_KILLS", "8"))
SEED = int(os.environ.get("BOSWELL_FORGET_SEED", "0")) or random.randrange(1, 10**6)
MOST_MOMENTS = 200
ERASING = ("memory/erase.py", "memory/files.py", "memory/export.py", "bot/forgetting.py", "bot/cli/forget.py")
CONFIG = "access: {{policy: open}}\ndata_dir: {folder}\nmemory: {{dir: {folder}/memory}}\n"


@pytest.fixture
async def template(tmp_path: Path) -> Path:
    """A folder in which people have talked, and one is to be forgotten."""
    folder = tmp_path / "template"
    async with told(folder) as h:
        await plant(h)
    return folder


def points(total: int) -> list[int]:
    """The lines at which it is killed: all of them, or as many as there shall be kills, spread over all."""
    step = max(1, total // KILLS)
    return list(range(1, total + 1, step))


class Runs:
    """Copies of the template, on each of which a process is killed and another one finishes."""

    def __init__(
        self, template: Path, target: Callable[..., None], arguments: Callable[[Path], Sequence[str]]
    ) -> None:
        self.template = template
        self.before = bobs(template)
        self._target = target
        self._arguments = arguments
        self._forks = killed.forks()
        self._number = 0

    def copy(self) -> Path:
        self._number += 1
        folder = self.template.parent / f"copy{self._number}"
        shutil.copytree(self.template, folder)
        (folder.parent / f"{folder.name}.yaml").write_text(CONFIG.format(folder=folder))
        return folder

    def start(self, folder: Path, line: int = 0) -> BaseProcess:
        counted = str(folder.parent / "lines.txt")
        process = self._forks.Process(
            target=self._target, args=(counted, line, ERASING, *self._arguments(folder))
        )
        process.start()
        return process

    async def finish(self, folder: Path) -> int:
        """Run it to its end; how many lines there were."""
        process = self.start(folder)
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == 0
        return int((folder.parent / "lines.txt").read_text())

    def complete(self, folder: Path) -> None:
        """Nothing is left of Anna, and all of Bob."""
        assert traces(folder) == {}
        after = bobs(folder)
        assert {name for name in self.before if after.get(name) != self.before[name]} == set()

    async def killed_at_lines(self) -> tuple[int, int]:
        total = await self.finish(folder := self.copy())
        self.complete(folder)
        shutil.rmtree(folder)
        deaths = 0
        for line in points(total):
            process = self.start(folder := self.copy(), line)
            await asyncio.to_thread(process.join, 60)
            deaths += process.exitcode == -9
            await self.finish(folder)
            self.complete(folder)
            self.check(folder)
            shutil.rmtree(folder)
        return total, deaths

    async def killed_at_moments(self) -> int:
        dice, deaths = random.Random(SEED), 0
        await self.finish(
            folder := self.copy()
        )  # the first one also starts the server that they are forked from
        shutil.rmtree(folder)
        began = time.monotonic()
        await self.finish(folder := self.copy())
        seconds = time.monotonic() - began
        shutil.rmtree(folder)
        for _ in range(min(KILLS, MOST_MOMENTS)):
            process = self.start(folder := self.copy())
            await asyncio.to_thread(process.join, dice.uniform(0.0, seconds))
            process.kill()
            await asyncio.to_thread(process.join)
            deaths += process.exitcode == -9
            await self.finish(folder)
            self.complete(folder)
            self.check(folder)
            shutil.rmtree(folder)
        return deaths

    def check(self, folder: Path) -> None:
        """What else must hold."""


class Live(Runs):
    """While it runs, and Anna writes meanwhile: what she wrote is answered once, or went with the rest."""

    def check(self, folder: Path) -> None:
        transcripts = Transcripts(folder / "memory")
        said = [
            m
            for day in transcripts.dates("memory-1")
            for s in transcripts.day("memory-1", day)
            for m in s.messages
        ]
        with closing(sqlite3.connect(folder / "boswell.db")) as database:
            [(state, problem)] = database.execute("SELECT state, problem FROM inbox WHERE key = 'after'")
            told = database.execute(
                "SELECT state FROM inbox WHERE key LIKE 'forgotten:memory-1:%'"
            ).fetchall()
        assert told == [("done",)]
        assert state == "done"
        if problem == "forgotten":
            assert said == []
        else:
            assert said == [("user", "after that"), ("assistant", "a new answer")]


def owe(folder: Path) -> None:
    """Anna has confirmed it."""
    tell = '{"chat": {"platform": "memory", "id": "1", "kind": "private", "title": "", "thread": ""}, "via": "", "language": ""}'
    with closing(sqlite3.connect(folder / "boswell.db")) as database, database:
        database.execute(
            "INSERT INTO erasures (user_id, person, asked_at, tell) VALUES ('memory-1', 'memory-1', 5, ?)",
            (tell,),
        )


def offline(template: Path) -> Runs:
    return Runs(
        template,
        killed.command_line,
        lambda folder: [
            "forget",
            "memory-1",
            "--yes",
            "--config",
            str(folder.parent / f"{folder.name}.yaml"),
        ],
    )


def live(template: Path) -> Runs:
    owe(template)
    return Live(template, killed.running, lambda folder: [str(folder), "after that"])


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [offline, live])
async def test_killed_at_any_line_it_is_done_by_the_next_try(
    template: Path, kind: Callable[[Path], Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    total, deaths = await kind(template).killed_at_lines()
    with capsys.disabled():
        print(
            f"\nforgetting, {kind.__name__}: killed {deaths} times, at lines 1 to {total}; nothing was left, nobody else hurt"
        )
    assert deaths >= min(total, KILLS) // 2


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [offline, live])
async def test_killed_at_any_moment_it_is_done_by_the_next_try(
    template: Path, kind: Callable[[Path], Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    deaths = await kind(template).killed_at_moments()
    with capsys.disabled():
        print(f"\nforgetting, {kind.__name__}: killed {deaths} times at moments of seed {SEED}")
    assert deaths
