"""How much of what was said is found again: by words, by meaning, and by both, beside plain BM25 and plain FTS5.

    python -m benchmarks.recall [locomo10.json] [--conversations 1 2 3 4 5] [--base-url URL --model NAME]

Each conversation of LoCoMo (https://github.com/snap-research/locomo; not for commercial use, so not ours to ship) is written as
the transcripts of one person, indexed and searched by the code that runs in a chat. Of the first k passages it tells the share of
questions for which `all` messages that the evidence names are among them, `any` one is, or all are `shown`: found, or beside what
was found, as people and models get to see it. Without the file it runs on a small set of our own.

Meaning is by the model in this process where `boswell[local-meaning]` is installed, or by a server with --base-url (its key
is OPENAI_API_KEY); without either there are no such lines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bot import models
from bot.breaker import Breakers
from bot.errors import ModelError
from bot.limits import Limits
from bot.meaning import Meanings, Payer
from bot.metrics import Metrics
from bot.models.embedding import Embedder
from config.schema import EmbeddingsConfig, LimitsConfig, Price
from memory import vectors
from memory.database import open_database
from memory.index import Index
from memory.transcripts import Known, Message, Transcripts, TurnRecord

SHIPPED = Path(__file__).parent / "recall.json"
USER = "console-recall"
PLACES = (5, 10, 20)
FIRST_HALF = (1, 2, 3, 4, 5)  # of LoCoMo's ten conversations: the others are kept for judging
EVERYTHING = {"first": "", "last": "9999-12-31", "private": True, "places": "[]"}


@dataclass(frozen=True)
class Said:
    """A message: its id in the file, when its conversation began, who said it."""

    id: str
    at: float
    first: bool
    speaker: str
    text: str

    @property
    def line(self) -> str:
        return f"{self.speaker}: {self.text}"


@dataclass(frozen=True)
class Conversation:
    """All that two people said to each other, and the questions with the ids of the messages that answer them."""

    name: str
    said: tuple[Said, ...]
    questions: tuple[tuple[str, frozenset[str]], ...]


def read(path: Path, numbers: Sequence[int]) -> list[Conversation]:
    """Conversations of a file in LoCoMo's form; questions without evidence are left out."""
    found = []
    for entry in (json.loads(path.read_text("utf-8"))[number - 1] for number in numbers):
        talk, said = entry["conversation"], []
        for number in range(1, 1000):
            if f"session_{number}" not in talk:
                break
            at = datetime.strptime(f"{talk[f'session_{number}_date_time']} +0000", "%I:%M %p on %d %B, %Y %z")
            for turn in talk[f"session_{number}"]:
                first = turn["speaker"] == talk["speaker_a"]
                said.append(Said(turn["dia_id"], at.timestamp(), first, turn["speaker"], turn["text"]))
        questions = []
        for asked in entry["qa"]:
            # Some entries hold several ids, or a zero before a number.
            named = re.findall(r"D:?(\d+):0*(\d+)", " ".join(map(str, asked["evidence"])))
            if named:
                questions.append((asked["question"], frozenset(f"D{a}:{b}" for a, b in named)))
        found.append(Conversation(entry["sample_id"], tuple(said), tuple(questions)))
    return found


def write(transcripts: Transcripts, conversation: Conversation) -> None:
    """The conversation as one person's transcripts; the second speaker stands where the assistant does."""
    turns: list[tuple[float, list[Message]]] = []
    for said in conversation.said:
        if not turns or turns[-1][0] != said.at or (said.first and turns[-1][1][-1][0] == "assistant"):
            turns.append((said.at, []))
        turns[-1][1].append(("user" if said.first else "assistant", said.line))
    sizes: dict[Path, int] = {}
    sections: dict[float, tuple[str, int]] = {}
    for at, messages in turns:
        record = TurnRecord(USER, at, "UTC", None, tuple(messages))
        path = transcripts.path(USER, transcripts.date_of(record))
        written = transcripts.write(record, Known(sizes.get(path), *sections.get(at, (None, 0))))
        sizes[path], sections[at] = written.size, (written.heading, written.turns)


# The plain ones -------------------------------------------------------------------------------------------------------

Ranking = Callable[[str], Sequence[str]]  # a question to the ids of messages, best first


def plain_bm25(said: Sequence[Said]) -> Ranking:
    """Okapi BM25 over single turns, as textbooks have it."""
    words = [re.findall(r"\w+", one.line.lower()) for one in said]
    counts = [Counter(one) for one in words]
    frequency = Counter(word for one in counts for word in one)
    mean = sum(map(len, words)) / len(words)

    def rank(question: str) -> Sequence[str]:
        scores = []
        for one, length in zip(counts, map(len, words), strict=True):
            score = 0.0
            for word in re.findall(r"\w+", question.lower()):
                rare = math.log(1 + (len(words) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                score += rare * one[word] * 2.5 / (one[word] + 1.5 * (0.25 + 0.75 * length / mean))
            scores.append(score)
        best = sorted(range(len(said)), key=lambda i: -scores[i])
        return [said[i].id for i in best[: max(PLACES)]]

    return rank


def plain_fts5(said: Sequence[Said]) -> Ranking:
    """SQLite's full-text search as it comes, over single turns; any of the words."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE turns USING fts5(text)")
    connection.executemany(
        "INSERT INTO turns (rowid, text) VALUES (?, ?)", enumerate(one.line for one in said)
    )

    def rank(question: str) -> Sequence[str]:
        match = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question))
        rows = connection.execute(
            "SELECT rowid FROM turns WHERE turns MATCH ? ORDER BY rank LIMIT ?", (match, max(PLACES))
        )
        return [said[row].id for (row,) in rows]

    return rank


# Ours -----------------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """For how many questions the evidence was found, by number of places."""

    questions: int = 0
    seconds: float = 0.0
    all: Counter[int] = field(default_factory=Counter)
    any: Counter[int] = field(default_factory=Counter)
    shown: Counter[int] = field(default_factory=Counter)

    def add(self, wanted: frozenset[str], found: Sequence[str], beside: dict[str, set[str]]) -> None:
        """Count one question."""
        self.questions += 1
        for places in PLACES:
            top = set(found[:places])
            shown = top.union(*(beside[one] for one in top)) if top else top
            self.all[places] += wanted <= top
            self.any[places] += bool(wanted & top)
            self.shown[places] += wanted <= shown


async def measure(conversation: Conversation, embedder: Embedder | None, tallies: dict[str, Tally]) -> None:
    """Write, index and ask one conversation."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        transcripts = Transcripts(folder / "memory")
        write(transcripts, conversation)
        index = Index(folder / "index", transcripts)
        stack.callback(index.close)
        index.refresh(USER)
        said = [one for one in conversation.said if one.text.strip()]
        spots = (
            index.use(USER, lambda it: it.execute("SELECT id, at FROM units ORDER BY id").fetchall()) or []
        )
        keys = {key: one for (key, _), one in zip(spots, _in_files(said), strict=True)}
        there = {at: keys[key] for key, at in spots}
        beside = _beside(said)

        def by_words(question: str) -> Sequence[str]:
            return [keys[one.key] for one in index.search([USER], question, limit=max(PLACES))]

        rankings: dict[str, Callable[[str], Any]] = {
            "plain BM25": plain_bm25(said),
            "plain FTS5": plain_fts5(said),
            "words alone": by_words,
        }
        if embedder is not None:
            database = await stack.enter_async_context(open_database(folder / "boswell.db"))
            limits = Limits(LimitsConfig(), {}, "UTC")
            meanings = Meanings(embedder, Price(), limits, Breakers(), database, time.time, Metrics())
            payer = Payer(USER, "memory:recall:", "UTC")
            began = time.perf_counter()
            await meanings.fill(index, USER, "UTC")
            seconds = time.perf_counter() - began
            print(f"{conversation.name}: {len(said)} vectors in {seconds:.1f} s", file=sys.stderr, flush=True)

            async def by_meaning(question: str) -> Sequence[str]:
                meaning = await meanings.of(question, payer)
                assert meaning is not None, "the embedding model did not answer"

                def near(connection: sqlite3.Connection) -> dict[int, float]:
                    return vectors.nearest(connection, meaning, EVERYTHING, max(PLACES))

                return [there[at] for at in index.use(USER, near) or {}]

            async def by_both(question: str) -> Sequence[str]:
                meaning = await meanings.of(question, payer)
                assert meaning is not None, "the embedding model did not answer"
                found = index.search([USER], question, limit=max(PLACES), meaning=meaning)
                return [keys[one.key] for one in found]

            rankings |= {"meaning alone": by_meaning, "fused": by_both}
        for name, rank in rankings.items():
            tally = tallies.setdefault(name, Tally())
            began = time.perf_counter()
            for question, evidence in conversation.questions:
                found = rank(question)
                if asyncio.iscoroutine(found):
                    found = await found
                tally.add(evidence, found, beside)
            tally.seconds += time.perf_counter() - began


def _in_files(said: Sequence[Said]) -> list[str]:
    """The ids in the order in which the index has numbered the messages: by days, then as they were said."""
    return [one.id for one in sorted(said, key=lambda one: one.at)]


def _beside(said: Sequence[Said]) -> dict[str, set[str]]:
    """For each message those that are shown with it."""
    found: dict[str, set[str]] = {one.id: set() for one in said}
    for one, next_ in pairwise(said):
        if one.at == next_.at:
            found[one.id].add(next_.id)
            found[next_.id].add(one.id)
    return found


def embedder_of(options: argparse.Namespace | None = None) -> Embedder | None:
    """The model that is asked for, or the one that is there."""
    try:
        if options and (options.base_url or options.model):
            config = EmbeddingsConfig.model_validate(
                {
                    "provider": "openai",
                    "model": options.model or "text-embedding-3-small",
                    "base_url": options.base_url,
                    "api_key": os.environ.get("OPENAI_API_KEY"),
                    "query_prefix": options.query_prefix,
                    "text_prefix": options.text_prefix,
                }
            )
            return models.build_embedder(config)
        return models.build_embedder(EmbeddingsConfig(provider="local"))
    except ModelError as exc:
        print(f"Without meaning: {exc}", file=sys.stderr)
        return None


def measure_recall(
    locomo: Path | None, numbers: Sequence[int], embedder: Embedder | None = None
) -> dict[str, Any]:
    """What was measured, as plain data: `what` it was, how many `questions`, and for each way of searching its figures."""
    conversations = read(locomo or SHIPPED, numbers if locomo else [1])
    return asyncio.run(_measure_all(conversations, locomo, numbers, embedder))


async def _measure_all(
    conversations: Sequence[Conversation],
    locomo: Path | None,
    numbers: Sequence[int],
    embedder: Embedder | None,
) -> dict[str, Any]:
    tallies: dict[str, Tally] = {}
    try:
        for conversation in conversations:
            await measure(conversation, embedder, tallies)
    finally:
        if embedder is not None:
            await embedder.close()
    what = (
        f"LoCoMo, conversations {', '.join(map(str, numbers))}"
        if locomo
        else "a small set of our own, made up; LoCoMo's path as an argument gives figures that mean more"
    )
    found = {
        name: {
            f"{kind} @{places}": counts[places] / tally.questions
            for kind, counts in (("all", tally.all), ("any", tally.any), ("shown", tally.shown))
            for places in PLACES
        }
        | {"ms": 1000 * tally.seconds / tally.questions}
        for name, tally in tallies.items()
    }
    return {"what": what, "questions": sum(len(one.questions) for one in conversations), "found": found}


def render(results: dict[str, Any]) -> list[str]:
    """The table, in Markdown."""
    found = results["found"]
    columns = list(next(iter(found.values())))
    lines = [
        f"| recall: {results['what']} ({results['questions']} questions) | {' | '.join(columns)} |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, figures in found.items():
        cells = (f"{figures[one]:.1f}" if one == "ms" else f"{figures[one]:.3f}" for one in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Exit code 0 when it was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall", description=__doc__)
    parser.add_argument("locomo", nargs="?", type=Path, help="LoCoMo's locomo10.json; left out, a small set")
    parser.add_argument("--conversations", nargs="+", type=int, default=FIRST_HALF)
    parser.add_argument("--base-url", default=None, help="a server that speaks /v1/embeddings")
    parser.add_argument("--model", default="", help="its embedding model")
    parser.add_argument("--query-prefix", default="")
    parser.add_argument("--text-prefix", default="")
    options = parser.parse_args()
    results = measure_recall(options.locomo, options.conversations, embedder_of(options))
    print("\n".join(render(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
