"""Search as people meet it: `/search`, the tool behind a question, the command line; and whose words it never gives."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat, parse_command
from bot import sentences
from bot.events import ToolCall, UserSaid
from bot.indexing import Indexing
from bot.models.base import ModelRequest
from bot.models.demo import DemoModel
from tests.fakes.house import house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.record import environ
from tests.fakes.scripted_model import ScriptedModel

GROUP = Chat("memory", "-100", "group", "Book club")
OTHER = Chat("memory", "-200", "group", "Zoo")


class Quick(DemoModel):
    pause = 0.0


def answers(text: str = "Fine.") -> ScriptedModel:
    return ScriptedModel(lambda request: text)


async def test_search_finds_what_was_said_a_moment_ago_and_after_clear(tmp_path: Path) -> None:
    async with house(tmp_path, answers()) as h:
        await h.ask("My bicycle is blue.")
        await h.ask("The weather is fine.")
        await h.ask("/clear")
        told = await h.ask("/search bicycles")
        assert "**You:** My bicycle is blue." in told
        assert "**Boswell:** Fine." in told
        assert "weather" in told  # it stands next to it
        assert await h.ask("/search zebra") == sentences.SEARCH_NOTHING
        assert await h.ask("/search") == sentences.SEARCH_USAGE
        assert await h.ask("/search 2026-01-01..") == sentences.SEARCH_USAGE


async def test_the_assistant_is_called_by_its_name_in_what_is_read_back(tmp_path: Path) -> None:
    async with house(tmp_path, answers()) as h:
        h.parts.turns.setup.agent = replace(h.parts.turns.setup.agent, name="Jeeves")
        await h.ask("My bicycle is blue.")
        for asked in ("/search bicycle", "/history"):
            assert "**Jeeves:** Fine." in await h.ask(asked)


async def test_a_search_itself_is_no_part_of_the_history(tmp_path: Path) -> None:
    async with house(tmp_path, answers()) as h:
        await h.ask("hello")
        await h.ask("/search zebra")
        assert await h.ask("/search zebra") == sentences.SEARCH_NOTHING


@pytest.mark.parametrize(
    ("span", "found"),
    [
        ("2026-01-02..2026-01-03", {2, 3}),
        ("2026-01-03..", {3, 4}),
        ("..2026-01-01", {1}),
        ("2026-01-05..2026-02-01", set()),
    ],
)
async def test_the_days_may_be_said(tmp_path: Path, span: str, found: set[int]) -> None:
    folder = tmp_path / "memory" / "memory-1"
    folder.mkdir(parents=True)
    for day in range(1, 5):
        (folder / f"2026-01-0{day}.md").write_text(f"## 10:00:00 UTC\n\n**user:** zebra {day}\n\n")
    async with house(tmp_path, answers()) as h:
        for asked in (f"/search zebra {span}", f"/search {span} zebra"):
            told = await h.ask(asked)
            assert {day for day in range(1, 5) if f"zebra {day}" in told} == found
        assert "range is empty" in await h.ask("/search zebra 2026-02-01..2026-01-01")
        assert "is no date" in await h.ask("/search zebra 2026-02-31..")


async def test_a_long_list_goes_on_by_its_button(tmp_path: Path) -> None:
    async with house(tmp_path, answers("word " * 100), limits={"turns_per_minute": None}) as h:
        for number in range(12):
            await h.ask(f"zebra {number} " + "and so on " * 50)
            await h.ask("/clear")
        told = [await h.ask("/search zebra")]
        while buttons := h.adapter.buttons[list(h.adapter.messages["1"])[-1]]:
            [button] = buttons
            assert button.label == sentences.MORE_BUTTON
            command, args = parse_command(f"/{button.command}")
            told.append(await h.ask(f"/{button.command}", command=command, args=args))
        assert len(told) >= 2
        assert all("\n".join(told).count(f"zebra {number} ") == 1 for number in range(12))


@pytest.mark.parametrize(
    "adapter", [MemoryAdapter(buttons=False), MemoryAdapter()], ids=["no buttons", "long"]
)
async def test_where_no_button_can_be_a_command_says_how_it_goes_on(
    tmp_path: Path, adapter: MemoryAdapter
) -> None:
    words = "zebra " + "and so on with many words that no button has room for"
    async with house(
        tmp_path, answers("word " * 100), adapter=adapter, limits={"turns_per_minute": None}
    ) as h:
        for number in range(12):
            await h.ask(f"zebra {number} " + "and so on " * 50)
            await h.ask("/clear")
        told = await h.ask(f"/search {words}")
        assert re.search(r"\n\nThis is page 1 of \d+\. The next one: ", told)
        assert told.endswith(f"/search {words} p#2")
        assert "p#2" in await h.ask("/help")
        assert "zebra" in await h.ask(told[told.rindex("/search") :])


async def test_a_page_ends_between_two_conversations_so_that_a_hit_stands_by_its_question(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "memory" / "memory-1"
    folder.mkdir(parents=True)
    said = "".join(
        f"## 10:00:0{n} UTC\n\n**user:** question {n} {'so ' * 60}\n\n**assistant:** {'on ' * 150}zebra {n}\n\n---\n\n"
        for n in range(9)
    )
    (folder / "2026-01-01.md").write_text(said)
    async with house(tmp_path, answers(), adapter=MemoryAdapter(buttons=False)) as h:
        for page in (1, 2):
            told = await h.ask(f"/search zebra p#{page}")
            questions = re.findall(r"question (\d)", told)
            assert len(questions) > 1
            assert re.findall(r"zebra (\d)", told) == questions


async def test_in_a_group_nothing_of_a_private_chat_or_of_another_group_is_told(tmp_path: Path) -> None:
    async with house(tmp_path, answers(), groups={"window": 0}) as h:
        await h.ask("zebra PRIVATE")
        await h.ask("zebra OTHER", chat=OTHER, addressed=True)
        await h.ask("zebra SOMEBODY", user="2", chat=GROUP, addressed=True)
        await h.ask("zebra HERE", chat=GROUP, addressed=True)
        await h.ask("/facts add a PRIVATE zebra")
        for asked in ("/search zebra", '/search "zebra"', "/search zeb* PRIVATE OTHER SOMEBODY"):
            told = await h.ask(asked, chat=GROUP)
            assert "HERE" in told
            assert not any(word in told for word in ("PRIVATE", "OTHER", "SOMEBODY"))
        told = await h.ask("/search zebra")
        assert all(word in told for word in ("PRIVATE", "OTHER", "HERE", "a PRIVATE zebra"))
        assert "SOMEBODY" not in told
        for asked in (f'/search zebra in:"{GROUP.title}"', f"/search in:{GROUP.id} zebra"):
            told = await h.ask(asked)
            assert "HERE" in told
            assert not any(word in told for word in ("PRIVATE", "OTHER"))
        assert "HERE" not in await h.ask("/search zebra in:private")
        assert await h.ask("/search zebra in:private", chat=GROUP) == sentences.SEARCH_NOTHING_HERE
        assert await h.ask("/search PRIVATE", chat=GROUP) == sentences.SEARCH_NOTHING_HERE


FORGED = [
    {"words": "elephant memory-2"},
    {"words": "elephant", "user_id": "memory-2"},
    {"words": '" OR "elephant'},
    {"words": "elephant OR user:memory-2 OR 1=1"},
    {"words": "NEAR(elephant)"},
    {"words": "{stems forms} : elephant*"},
    {"words": "elephant", "start": "../memory-2"},
    {"words": "eleph*", "people": ["memory-2"]},
]


@pytest.mark.parametrize("forged", FORGED, ids=map(json.dumps, FORGED))
@pytest.mark.parametrize("chat", [None, GROUP], ids=["private", "group"])
async def test_a_forged_argument_finds_nobody_elses_words(
    tmp_path: Path, forged: dict[str, Any], chat: Chat | None
) -> None:
    def script(request: ModelRequest) -> Any:
        last = request.events[-1]
        if isinstance(last, UserSaid) and last.text.endswith("spy"):
            return [ToolCall("c", "search_history", json.dumps(forged))]
        return json.dumps([*map(str, request.events)])

    model = ScriptedModel(script)
    async with house(tmp_path, model, groups={"window": 0}) as h:
        await h.ask("a BLUE elephant", user="2")
        await h.ask("a BLUE elephant", user="2", chat=GROUP, addressed=True)
        await h.ask("hello", user="1")
        asked = len(model.requests)
        told = await h.ask("spy", user="1", chat=chat, addressed=True)
        assert len(model.requests) == asked + 2
        assert "BLUE" not in told
        assert "BLUE" not in json.dumps([*map(str, model.requests[asked:])])


@pytest.mark.parametrize(
    "question",
    [
        "when did I mention my bicycle?",
        "What did I say about the bicycle",
        "search for bicycles",
        "search my history for a bicycle",
    ],
)
async def test_the_demo_model_searches_when_it_is_asked_in_plain_words(tmp_path: Path, question: str) -> None:
    async with house(tmp_path, Quick("main")) as h:
        await h.ask("My bicycle has seven gears.")
        await h.ask("/clear")
        told = await h.ask(question)
        assert "> **You:** My bicycle has seven gears." in told


async def test_files_edited_while_it_runs_are_the_truth_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, answers()) as h:
        await h.ask("zebra one")
        assert "zebra one" in await h.ask("/search zebra")
        [path] = (tmp_path / "memory" / "memory-1").iterdir()
        path.write_text(path.read_text().replace("zebra one", "okapi two"))
        assert await h.ask("/search zebra") == sentences.SEARCH_NOTHING
        assert "okapi two" in await h.ask("/search okapi")
        path.unlink()
        assert await h.ask("/search okapi") == sentences.SEARCH_NOTHING


async def test_what_was_said_is_indexed_before_anybody_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepers: list[Indexing] = []

    def keeper(*arguments: Any) -> Indexing:
        keepers.append(Indexing(*arguments, quiet=0.0))
        return keepers[-1]

    monkeypatch.setattr("bot.app.Indexing", keeper)
    async with house(tmp_path, answers()) as h:
        await h.ask("zebra one")
        await keepers[0].idle()
        with closing(sqlite3.connect(tmp_path / "index" / "memory-1.db")) as index:
            assert index.execute("SELECT text FROM units ORDER BY id").fetchall() == [
                ("zebra one",),
                ("Fine.",),
            ]


async def test_what_keeps_it_from_searching_is_told_in_a_sentence_and_nothing_else_stops(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, answers()) as h:
        await h.ask("zebra one")
        (tmp_path / "index" / "memory-1.db").mkdir(parents=True)
        assert await h.ask("/search zebra") == sentences.SEARCH_FAILED
        assert await h.ask("hello") == "Fine."


def boswell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bot.cli", *arguments],
        cwd=folder,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_an_operator_searches_at_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "memory" / "telegram-1001"
    folder.mkdir(parents=True)
    for day in (1, 2):
        (folder / f"2026-01-0{day}.md").write_text(
            f"## 10:00:0{day} UTC\n\n**user:** zebra {day}\n\n**assistant:** yes\n\n"
        )
    done = boswell(tmp_path, "search", "telegram-1001", "zebra")
    assert done.returncode == 0
    assert (
        "## 2026-01-01, conversation begun 10:00:01 UTC\n\n**You:** zebra 1\n\n**Boswell:** yes\n"
        in done.stdout
    )
    assert "zebra 2" in done.stdout
    done = boswell(tmp_path, "search", "--from", "2026-01-02", "telegram-1001", '"zebra', '2"')
    assert ("zebra 1" in done.stdout, "zebra 2" in done.stdout) == (False, True)
    done = boswell(tmp_path, "search", "telegram-1001", "--chat", "private", "zebra")
    assert "zebra 1" in done.stdout
    assert boswell(tmp_path, "search", "telegram-1001", "--chat", "Book club", "zebra").stdout == ""
    done = boswell(tmp_path, "search", "telegram-1001", "okapi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Nothing was found.\n")
    done = boswell(tmp_path, "search", "telegram-1002", "zebra")
    assert done.returncode == 1
    assert "there are no transcripts of 'telegram-1002'" in done.stderr
    for wrong in (["../x", "zebra"], ["telegram-1001", "zebra", "--to", "soon"], ["telegram-1001"]):
        assert boswell(tmp_path, "search", *wrong).returncode == 2
