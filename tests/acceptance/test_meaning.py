"""Search by meaning as people meet it: beside the words, in time or not at all, and never another person's words."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.base import Chat
from bot import sentences
from bot.events import ToolCall
from bot.models.base import ModelRequest
from tests.fakes.embedding_server import KEY, EmbeddingServer, Fault
from tests.fakes.house import House, house
from tests.fakes.model_server import Reply
from tests.fakes.record import environ
from tests.fakes.running import running
from tests.fakes.scripted_model import ScriptedModel

GROUP = Chat("memory", "-100", "group", "Book club")


def memory(folder: Path, server: EmbeddingServer, **more: Any) -> dict[str, Any]:
    embeddings = {"provider": "openai", "model": "small", "base_url": server.url, "api_key": SecretStr(KEY)}
    return {"dir": str(folder / "memory"), "embeddings": {**embeddings, **more}}


def answers(text: str = "Fine.") -> ScriptedModel:
    return ScriptedModel(lambda request: text)


async def filled(h: House, *users: str) -> None:
    """As after a while without a turn: all vectors are made."""
    for user in users or ("1",):
        h.parts.filling.indexed(f"memory-{user}")
    async with asyncio.timeout(20):
        await h.parts.filling.idle()


async def test_search_finds_what_means_alike(tmp_path: Path) -> None:
    async with EmbeddingServer() as server, house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
        await h.ask("our greyhound sleeps all day")
        assert await h.ask("/search puppy") == sentences.SEARCH_NOTHING
        await filled(h)
        assert "**You:** our greyhound sleeps all day" in await h.ask("/search puppy")
        assert await h.ask('/search "puppy"') == sentences.SEARCH_NOTHING


async def test_the_tool_finds_what_means_alike_and_its_question_counts_in_the_turn(tmp_path: Path) -> None:
    told: list[str] = []

    def respond(request: ModelRequest) -> Any:
        last = request.events[-1]
        if getattr(last, "content", None) is not None:
            told.append(last.content)  # type: ignore[union-attr]
            return "Found."
        if getattr(last, "text", "") == "what pet do I have":
            return (ToolCall("c1", "search_history", json.dumps({"words": "pet puppy"})),)
        return "Fine."

    async with (
        EmbeddingServer() as server,
        house(tmp_path, ScriptedModel(respond), memory=memory(tmp_path, server, price=1000)) as h,
    ):
        await h.ask("our greyhound sleeps all day")
        await h.ask("/clear")
        await filled(h)
        await h.ask("what pet do I have")
        assert "our greyhound sleeps all day" in told[0]
        rows = h.rows(
            "SELECT user_id, turn_id > 0, input, state FROM usage WHERE model = 'memory.embeddings' ORDER BY id"
        )
        assert rows == [
            ("memory-1", 0, 2, "settled"),
            ("memory-1", 0, 11, "settled"),
            ("memory-1", 1, 2, "settled"),
        ]


async def test_in_a_group_nothing_of_what_was_said_in_private_comes_near(tmp_path: Path) -> None:
    async with EmbeddingServer() as server, house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
        await h.ask("my greyhound is a secret")
        await h.ask("the hound of the club", chat=GROUP, addressed=True)
        await h.ask("a puppy of somebody else", user="2")
        await filled(h, "1", "2")
        told = await h.ask("/search pet", chat=GROUP)
        assert "the hound of the club" in told
        assert "secret" not in told
        assert "somebody else" not in told
        assert "somebody else" not in await h.ask("/search pet")


@pytest.mark.parametrize(
    "fault", [Fault(500), Fault(429, retry_after=3600), Fault(nan=(0,)), Fault(body=b"!")]
)
async def test_a_broken_provider_leaves_search_by_words_and_turns_as_they_are(
    tmp_path: Path, fault: Fault
) -> None:
    async with (
        EmbeddingServer(always=fault) as server,
        house(tmp_path, answers(), memory=memory(tmp_path, server)) as h,
    ):
        assert await h.ask("our greyhound sleeps all day") == "Fine."
        assert "our greyhound" in await h.ask("/search greyhounds")
        h.parts.filling.indexed("memory-1")
        await server.until(len(server.requests) + 1)
        assert await h.ask("and so on") == "Fine."


async def test_what_is_missing_after_a_kill_is_made_by_the_next_process(tmp_path: Path) -> None:
    async with EmbeddingServer(Fault(), Fault(silent=True)) as server:
        async with house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
            await h.ask("our greyhound sleeps all day")
            h.parts.filling.indexed("memory-1")
            await server.until(2)  # and killed while it waits for the answer
        async with house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
            await filled(h)
            assert "our greyhound" in await h.ask("/search puppy")


async def test_another_model_makes_all_vectors_anew(tmp_path: Path) -> None:
    async with EmbeddingServer() as server:
        async with house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
            await h.ask("our greyhound sleeps all day")
            await filled(h)
        async with house(tmp_path, answers(), memory=memory(tmp_path, server, model="large")) as h:
            assert await h.ask("/search puppy") == sentences.SEARCH_NOTHING
            await filled(h)
            assert "our greyhound" in await h.ask("/search puppy")
        assert [one["model"] for one in server.requests] == ["small"] * 2 + ["large"] * 3


async def test_limits_hold_back_the_past_until_the_day_is_over_and_search_goes_on(tmp_path: Path) -> None:
    async with (
        EmbeddingServer() as server,
        house(tmp_path, answers(), memory=memory(tmp_path, server), limits={"tokens_per_day": 0}) as h,
    ):
        folder = tmp_path / "memory" / "memory-1"
        folder.mkdir(parents=True)
        (folder / "2026-01-01.md").write_text("## 10:00:00 UTC\n\n**user:** our greyhound sleeps\n\n")
        h.parts.filling.indexed("memory-1")
        assert "our greyhound" in await h.ask("/search greyhounds")
        assert server.requests == []


async def test_who_is_forgotten_is_in_no_vector_and_no_booking(tmp_path: Path) -> None:
    async with EmbeddingServer() as server, house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
        await h.ask("our greyhound sleeps all day")
        await filled(h)
        code = (await h.ask("/forget")).split("/forget ")[1].split()[0].strip("`.")
        await h.ask(f"/forget {code}")
        async with asyncio.timeout(20):
            while h.rows("SELECT 1 FROM erasures WHERE done_at IS NULL"):
                await h.parts.forgetting.catch_up()
        assert not list((tmp_path / "index").iterdir())
        assert h.rows("SELECT DISTINCT user_id, chat_key FROM usage WHERE model = 'memory.embeddings'") == [
            ("", "")
        ]


async def test_the_command_line_searches_by_meaning_and_counts_it_for_that_person(tmp_path: Path) -> None:
    async with EmbeddingServer() as server:
        async with house(tmp_path, answers(), memory=memory(tmp_path, server)) as h:
            await h.ask("our greyhound sleeps all day")
            await filled(h)
        (tmp_path / "boswell.yaml").write_text(
            f"data_dir: {tmp_path}\nmemory: {{dir: {tmp_path}/memory, embeddings: {{provider: openai, model: small, "
            f"base_url: '{server.url}', api_key: '${{EMBEDDING_KEY}}'}}}}\n"
        )

        async def search(*words: str, **variables: str) -> tuple[str, str]:
            command = [sys.executable, "-m", "bot.cli", "search", "memory-1", *words]
            done = await asyncio.to_thread(
                subprocess.run,
                command,
                cwd=tmp_path,
                env=environ() | variables,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout, done.stderr

        told, problem = await search("puppy", EMBEDDING_KEY=KEY)
        assert "our greyhound sleeps all day" in told
        assert problem == ""
        told, problem = await search("greyhounds")  # without the key in the environment
        assert "our greyhound sleeps all day" in told
        assert "by words alone: a secret of the configuration is missing" in problem
        asked = len(server.requests)
        await search('"our greyhound"', EMBEDDING_KEY=KEY)
        assert len(server.requests) == asked


async def test_a_reload_may_begin_search_by_meaning_and_end_it(tmp_path: Path) -> None:
    async with EmbeddingServer() as server, running(tmp_path, lambda _: Reply(text=("Fine.",))) as b:
        reloads = 0

        async def reload(values: dict[str, Any]) -> None:
            nonlocal reloads
            reloads += 1
            b.path.write_text(json.dumps(values))
            signal.raise_signal(signal.SIGHUP)
            await b.until(lambda: sum(line["event"] == "reloaded" for line in b.logs) >= reloads)

        values = json.loads(b.path.read_text())
        b.telegram.say(1, 1, "our greyhound sleeps all day")
        await b.answered(1, "Fine.")
        await b.until(lambda: b.said("telegram-1"))
        embeddings = {"provider": "openai", "model": "small", "base_url": server.url, "api_key": KEY}
        await reload({**values, "memory": {**values.get("memory", {}), "embeddings": embeddings}})
        await server.until(2)
        b.telegram.say(1, 1, "/search puppy")
        await b.until(lambda: any("our greyhound" in text for text in b.telegram.chat(1).texts))
        await reload(values)
        asked = len(server.requests)
        b.telegram.say(1, 1, "/search hound")
        await b.answered(1, sentences.SEARCH_NOTHING)
        assert len(server.requests) == asked


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(), "memory.embeddings: small answers"),
        (Fault(401, "invalid_api_key"), "does not accept the key"),
        (Fault(404, "model_not_found"), "calls the request wrong; check the model's name"),
    ],
)
async def test_check_live_asks_the_embedding_model(tmp_path: Path, fault: Fault, told: str) -> None:
    async with EmbeddingServer(fault) as server:
        (tmp_path / "boswell.yaml").write_text(
            "models: {main: {provider: demo}}\n"
            "memory: {embeddings: {provider: openai, model: small, "
            f"base_url: '{server.url}', api_key: '{KEY}'}}}}\n"
        )
        command = [sys.executable, "-m", "bot.cli", "check", "--live"]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=60
        )
    assert told in done.stdout + done.stderr
    assert done.returncode == (0 if fault == Fault() else 1)


def test_without_embeddings_numpy_is_never_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import bot.app, bot.filling, bot.tools.search, bot.commands.search\n"
        "from memory.index import Index\n"
        "from memory.transcripts import Transcripts\n"
        f"Index(Path({str(tmp_path)!r}), Transcripts(Path({str(tmp_path)!r}))).search(['telegram-1'], 'dog')\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
