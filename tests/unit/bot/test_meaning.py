"""What vectors and questions cost, whom they count for, and that nothing of it ever keeps a search from its words."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot import models
from bot.breaker import Breakers
from bot.errors import LimitReached, ModelError, ModelUnavailable
from bot.limits import Limits, bound
from bot.meaning import PROBE, Meanings, Payer
from bot.metrics import Metrics
from bot.models.embedding import EMBEDDINGS, Embedder
from config.schema import EmbeddingsConfig, LimitsConfig, Price
from memory.database import Database, open_database
from memory.index import Index
from memory.transcripts import Known, Message, Transcripts, TurnRecord
from memory.vectors import Meaning
from tests.fakes.embedding_server import KEY, EmbeddingServer, Fault

ROOT = Path(__file__).parents[3]
NOW = 1793707200.0  # 2026-11-03 12:00:00 UTC
ANNA, BEN = "telegram-1001", "telegram-1002"
WHO = Payer(ANNA, "telegram:1001:", "UTC", 7)


class Desk:
    """Somebody's transcripts, their index, and what makes vectors of them."""

    def __init__(self, root: Path, server: EmbeddingServer, database: Database, **limits: Any) -> None:
        self.transcripts = Transcripts(root / "memory")
        self.index = Index(root / "index", self.transcripts)
        self.database = database
        values = {"provider": "openai", "model": "small", "base_url": server.url, "api_key": SecretStr(KEY)}
        self.embedder: Embedder = models.build_embedder(EmbeddingsConfig.model_validate(values))
        self.limits = Limits(LimitsConfig(**limits), {EMBEDDINGS: Price(input=1000)}, "UTC")
        self.breakers = Breakers(lambda: 0.0)

    def meanings(self, patience: float = 10) -> Meanings:
        price = Price(input=1000)
        return Meanings(
            self.embedder, price, self.limits, self.breakers, self.database, lambda: NOW, Metrics(), patience
        )

    def say(self, *messages: str, user: str = ANNA, days: int = 0) -> None:
        said: list[Message] = [("assistant" if n % 2 else "user", text) for n, text in enumerate(messages)]
        self.transcripts.write(TurnRecord(user, NOW + days * 86400, "UTC", None, tuple(said)), Known())

    async def usage(self) -> list[tuple[Any, ...]]:
        rows = await self.database.read(lambda tx: tx.all("usage_by", by="person", since=0))
        return [(row["key"], row["calls"], row["input"], row["unsettled"]) for row in rows]

    async def find(self, query: str) -> list[str]:
        meaning = await self.meanings().of(query, WHO)
        return [one.text for one in self.index.search([ANNA], query, meaning=meaning)]


@asynccontextmanager
async def desk(root: Path, server: EmbeddingServer, **limits: Any) -> AsyncIterator[Desk]:
    async with server, open_database(root / "boswell.db") as database:
        made = Desk(root, server, database, **limits)
        try:
            yield made
        finally:
            await made.embedder.close()
            made.index.close()


async def test_what_was_said_is_made_vectors_of_and_found_by_what_it_means(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("our greyhound sleeps", "how nice")
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert (await it.find("puppy"))[0] == "our greyhound sleeps"
        assert server.texts == [PROBE, "our greyhound sleeps\nhow nice", "our greyhound sleeps", "puppy"]


async def test_every_call_is_booked_on_the_person_whose_words_they_are(tmp_path: Path) -> None:
    async with desk(tmp_path, EmbeddingServer()) as it:
        it.say("my dog", "nice one")
        it.say("my rent", "oh dear", user=BEN)
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert await it.usage() == [(ANNA, 2, 2 + 6, 0)]
        await it.meanings().fill(it.index, BEN, "UTC")
        await it.meanings().of("one two three", WHO)
        assert await it.usage() == [(ANNA, 3, 8 + 3, 0), (BEN, 1, 6, 0)]
        row = await it.database.read(lambda tx: tx.all("usage_by", by="model", since=0))
        assert [(one["key"], round(one["usd"], 6)) for one in row] == [(EMBEDDINGS, 0.017)]


async def test_a_server_that_counts_nothing_is_booked_at_the_upper_estimate(tmp_path: Path) -> None:
    async with desk(tmp_path, EmbeddingServer(always=Fault(uncounted=True))) as it:
        await it.meanings().of("one two three", WHO)
        assert await it.usage() == [(ANNA, 1, bound("one two three"), 0)]


async def test_a_question_past_a_limit_is_not_asked_and_is_looked_for_by_its_words(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server, tokens_per_day=5) as it:
        it.say("my dog sleeps", "nice")
        assert await it.find("sleeping dogs") == ["my dog sleeps", "nice"]
        assert server.requests == []
        assert await it.usage() == []


async def test_the_past_takes_no_more_than_half_of_a_day_from_who_wants_to_talk(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server, tokens_per_day=1000) as it:
        for number in range(200):
            it.say(f"{number} words of the past in a long line of them", "yes", days=-number)
        it.embedder.batch = 4
        with pytest.raises(LimitReached) as caught:
            await it.meanings().fill(it.index, ANNA, "UTC")
        assert caught.value.limit == "tokens_per_day"
        ((_, calls, tokens, unsettled),) = await it.usage()
        assert 200 < tokens <= 500
        assert (calls, unsettled) == (len(server.requests), 0)
        assert await it.meanings().of("there is enough left to ask", WHO) is not None


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401, "invalid_api_key"),
        Fault(429, "insufficient_quota"),
        Fault(400, "bad_request"),
        Fault(body=b"<html>"),
        Fault(nan=(0,)),
        Fault(zero=True),
        Fault(silent=True),
    ],
)
async def test_a_model_that_does_not_answer_leaves_the_words(tmp_path: Path, fault: Fault) -> None:
    async with desk(tmp_path, EmbeddingServer(fault)) as it:
        it.say("my dog sleeps", "nice")
        assert await it.meanings(patience=0.2).of("dogs", WHO) is None
        assert next(one.text for one in it.index.search([ANNA], "dogs")) == "my dog sleeps"


async def test_a_model_that_fails_again_and_again_is_asked_no_more_for_a_while(tmp_path: Path) -> None:
    server = EmbeddingServer(always=Fault(401, "invalid_api_key"))
    async with desk(tmp_path, server) as it:
        for _ in range(8):
            assert await it.meanings().of("dogs", WHO) is None
        assert len(server.requests) == 3
        assert await it.usage() == [(ANNA, 8, 0, 0)]


async def test_a_call_that_is_cut_off_stays_counted_at_its_estimate(tmp_path: Path) -> None:
    server = EmbeddingServer(Fault(silent=True))
    async with desk(tmp_path, server) as it:
        asking = asyncio.create_task(it.meanings().of("one two three", WHO))
        await server.until(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        ((_, calls, _, unsettled),) = await it.usage()
        assert (calls, unsettled) == (1, 1)


async def test_filling_goes_on_where_it_was_cut_off_and_pays_nothing_twice(tmp_path: Path) -> None:
    server = EmbeddingServer(Fault(), Fault(), Fault(), Fault(silent=True))
    async with desk(tmp_path, server) as it:
        it.embedder.batch = 2
        for number in range(6):
            it.say(f"dog {number}", "nice", days=number)
        cut = asyncio.create_task(it.meanings().fill(it.index, ANNA, "UTC"))
        await server.until(4)
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
        await it.meanings().fill(it.index, ANNA, "UTC")
        answered = [
            text for number, one in enumerate(server.requests) if number != 3 for text in one["input"]
        ]
        assert sorted(answered) == sorted(set(answered))
        assert len(answered) == 1 + 12


async def test_a_text_that_the_model_will_not_take_is_left_out_and_the_others_are_made(
    tmp_path: Path,
) -> None:
    server = EmbeddingServer(refuses="poison")
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        it.say("poison", "a hound", days=1)
        await it.meanings().fill(it.index, ANNA, "UTC")
        asked = len(server.requests)
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert len(server.requests) == asked
        assert "my dog" in (await it.find("puppy"))[:2]


async def test_a_server_that_takes_nothing_at_all_marks_no_text_as_hopeless(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        server.always = Fault(400, "model_not_found")
        with pytest.raises(ModelError):
            await it.meanings().fill(it.index, ANNA, "UTC")
        server.always = Fault()
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert (await it.find("puppy"))[0] == "my dog"


async def test_one_vector_that_is_none_costs_the_others_nothing(tmp_path: Path) -> None:
    server = EmbeddingServer(Fault(), Fault(nan=(0,)))
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert (await it.find("puppy"))[0] == "my dog"


async def test_vectors_of_another_length_are_not_mixed_with_the_others(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        await it.meanings().fill(it.index, ANNA, "UTC")
        server.always = Fault(size=16)
        it.say("a hound", "fine", days=1)
        with pytest.raises(ModelUnavailable):
            await it.meanings().fill(it.index, ANNA, "UTC")
        assert await it.meanings().of("puppy", WHO) is None


async def test_a_model_whose_vectors_have_another_length_now_makes_them_all_anew(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        await it.meanings().fill(it.index, ANNA, "UTC")
        server.size = 16
        it.embedder.size = None  # as at the next start
        it.say("a hound", "fine", days=1)
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert (await it.find("puppy"))[:2] != []
        assert {"my dog", "a hound"} <= set(await it.find("puppy"))


async def test_where_all_is_made_nothing_is_asked_at_the_next_start(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        await it.meanings().fill(it.index, ANNA, "UTC")
        asked = len(server.requests)
        it.embedder.size = None  # as at the next start
        await it.meanings().fill(it.index, ANNA, "UTC")
        await it.meanings().fill(it.index, BEN, "UTC")
        assert len(server.requests) == asked
        assert (await it.find("puppy"))[0] == "my dog"


async def test_nothing_is_booked_for_who_was_forgotten_meanwhile(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("my dog", "nice")
        await it.meanings().fill(it.index, ANNA, "UTC", lambda: False)
        assert server.requests == []
        assert await it.usage() == []


async def test_a_blank_question_and_blank_messages_are_never_sent(tmp_path: Path) -> None:
    server = EmbeddingServer()
    async with desk(tmp_path, server) as it:
        it.say("my dog", "  ", "\n")
        await it.meanings().fill(it.index, ANNA, "UTC")
        assert await it.meanings().of(" \n", WHO) is None
        assert isinstance(await it.meanings().of("dog", WHO), Meaning)


FILL = """
import asyncio, sys, time
from pathlib import Path
from bot.breaker import Breakers
from bot.limits import Limits
from bot.meaning import Meanings
from bot.metrics import Metrics
from bot.models.embedding import Embedded
from config.schema import LimitsConfig, Price
from memory.database import open_database
from memory.index import Index
from memory.transcripts import Transcripts
from tests.fakes.embedding_server import meaning

class Printing:
    name, model, batch, paid, size = "memory.embeddings", "printing", 4, False, None
    async def embed(self, texts, *, asked=False):
        print(len(texts), flush=True)
        sys.stdin.readline()
        return Embedded([meaning(text) for text in texts], None)

async def main(root):
    async with open_database(root / "boswell.db") as database:
        limits = Limits(LimitsConfig(), {}, "UTC")
        it = Meanings(Printing(), Price(), limits, Breakers(), database, time.time, Metrics())
        await it.fill(Index(root / "index", Transcripts(root / "memory")), "telegram-1001", "UTC")
    print("done", flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_vectors_that_were_made_outlive_a_kill_at_any_instant(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path / "memory")
    for number in range(200):
        record = TurnRecord(ANNA, NOW + 86400 * number, "UTC", None, (("user", f"dog {number}"),))
        transcripts.write(record, Known())
    made = 0
    for calls in (2, 5, 9, 1000):  # killed in the call of that number; the first is a probe
        command = [sys.executable, "-c", FILL, str(tmp_path)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            told: list[str] = []
            for line in program.stdout:
                told.append(line.strip())
                if told[-1] == "done":
                    break
                if len(told) == calls:
                    program.kill()
                    break
                program.stdin.write("\n")
                program.stdin.flush()
        kept = _vectors(tmp_path)
        if told[-1] != "done":
            assert kept == made + 4 * (calls - 2)
        made = kept
    assert told[-1] == "done"
    assert made == 200


def _vectors(root: Path) -> int:
    with closing(sqlite3.connect(root / "index" / f"{ANNA}.db")) as file:
        return int(file.execute("SELECT count(*) FROM vectors").fetchone()[0])
