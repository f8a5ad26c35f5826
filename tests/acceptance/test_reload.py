"""The configuration changes while it runs: applied whole or not at all, and nobody's turn notices."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.model_server import Call, Reply, Request, Step
from tests.fakes.running import Running, asked, running

CHATS = 20
RELOADS = 100


def version_of(request: Request) -> tuple[str, str]:
    """The version of the configuration that a request was made with: by its model, and by its prompt."""
    prompt = request.body["messages"][0]["content"]
    return request.body["model"], prompt.partition("version ")[2].partition(".")[0]


def looks_at_the_clock_first(request: Request) -> Step:
    if request.body["messages"][-1]["role"] == "tool":
        return Reply(text=(f"Answer to {asked(request)}",))
    return Reply(calls=(Call("clock"),))


class Operator:
    """Somebody who writes the file and looks at what the log says of it."""

    def __init__(self, b: Running) -> None:
        self.b = b
        self.values: dict[str, Any] = json.loads(b.path.read_text())

    def told(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.b.logs if line["event"] == event]

    def version(self, number: int) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(json.dumps(self.values))
        values["models"]["main"]["model"] = f"v{number}"
        values["agent"] = {"prompt": f"This is version v{number}."}
        return values

    async def write(self, text: str, event: str) -> None:
        """Write the file, ask for a reload, and return once the log tells of it."""
        before = len(self.told(event))
        self.b.path.write_text(text)
        signal.raise_signal(signal.SIGHUP)
        await self.b.until(lambda: len(self.told(event)) > before)


async def test_a_hundred_reloads_under_load_lose_nothing_and_split_no_turn(tmp_path: Path) -> None:
    over = asyncio.Event()
    versions: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def respond(request: Request) -> Step:
        versions[asked(request)].add(version_of(request))
        return looks_at_the_clock_first(request)

    async def talk(b: Running, chat: int) -> int:
        count = 0
        while not over.is_set():
            count += 1
            b.telegram.say(chat, chat, f"question {chat}.{count}")
            await b.answered(chat, f"Answer to question {chat}.{count}", seconds=30)
        return count

    limits = {"turns_per_minute": None}
    async with running(tmp_path, respond, limits=limits) as b:
        operator = Operator(b)
        operator.values["limits"] = limits
        await operator.write(json.dumps(operator.version(0)), "reloaded")
        async with asyncio.TaskGroup() as tasks:
            talks = [tasks.create_task(talk(b, 1000 + number)) for number in range(CHATS)]
            for number in range(1, RELOADS):
                good = operator.version(number)
                match number % 4:
                    case 1:
                        await operator.write(json.dumps(good)[:-20], "reload_rejected")
                    case 2:
                        await operator.write(json.dumps({**good, "agnet": {}}), "reload_rejected")
                    case 3:
                        await operator.write(
                            json.dumps({**good, "data_dir": str(tmp_path / "else")}), "reload_rejected"
                        )
                    case _:
                        await operator.write(json.dumps(good), "reloaded")
            over.set()
        counts = [talk.result() for talk in talks]
        b.telegram.say(1000, 1000, "which?")
        await b.answered(1000, "Answer to which?")
    assert versions["which?"] == {("v96", "v96")}
    del versions["which?"]
    early = {question for question, seen in versions.items() if ("test", "") in seen}
    assert not early
    assert all(len(seen) == 1 for seen in versions.values()), "a turn was half old and half new"
    assert all(model == prompt for seen in versions.values() for model, prompt in seen)
    assert len(versions) == sum(counts), "a message was lost"
    assert len({seen for kinds in versions.values() for seen in kinds}) > 5, "the reloads came too late"
    for chat, count in enumerate(counts, 1000):
        answers = [
            text for role, text in b.said(f"telegram-{chat}") if role == "assistant" and text[-1] != "?"
        ]
        assert answers == [f"Answer to question {chat}.{number}" for number in range(1, count + 1)]


async def test_a_changed_file_is_noticed_without_a_signal(tmp_path: Path) -> None:
    async with running(tmp_path, looks_at_the_clock_first) as b:
        operator = Operator(b)
        await b.until(lambda: operator.told("started"))
        b.path.write_text(json.dumps(operator.version(7)))
        await b.until(lambda: operator.told("reloaded"))
        b.telegram.say(1, 1, "hello")
        await b.answered(1, "Answer to hello")
        assert {version_of(request) for request in b.model.requests} == {("v7", "v7")}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"access": {"policy": "ajar"}}, "access.policy"),
        ({"data_dir": "elsewhere"}, "a change of data_dir and memory.dir takes a restart"),
        ({"server": {"port": 1}}, "a change of server takes a restart"),
        ({"models": {}}, ""),
    ],
)
async def test_a_bad_file_is_told_once_and_the_last_good_one_stays(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    async with running(tmp_path, looks_at_the_clock_first) as b:
        operator = Operator(b)
        await operator.write(json.dumps(operator.version(1)), "reloaded")
        bad = {**operator.version(2), **change}
        if change == {"models": {}}:
            bad["agent"]["model"] = "gone"
        b.path.write_text(json.dumps(bad))
        await b.until(lambda: operator.told("reload_rejected"))
        b.path.write_text(json.dumps(bad) + "\n")  # touched, and as bad as before
        b.telegram.say(1, 1, "hello")
        await b.answered(1, "Answer to hello")
        assert version_of(b.model.requests[-1]) == ("v1", "v1")
        [line] = operator.told("reload_rejected")
        assert word in " ".join(line["problems"])
        await operator.write(json.dumps(operator.version(3)), "reloaded")


async def test_who_is_let_in_changes_with_the_file(tmp_path: Path) -> None:
    async with running(tmp_path, looks_at_the_clock_first, access={"policy": "closed"}) as b:
        operator = Operator(b)
        b.telegram.say(1, 1, "hello")
        await b.until(lambda: b.telegram.chat(1).texts)
        operator.values["access"] = {"policy": "closed", "allow": ["telegram-1"]}
        await operator.write(json.dumps(operator.version(1)), "reloaded")
        b.telegram.say(1, 1, "hello")
        await b.answered(1, "Answer to hello")
