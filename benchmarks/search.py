"""What search by words costs: a query beside the bare FTS5 queries, an index made anew, and the turns beside it.

    python -m benchmarks.search [--people 1000] [--lines 1000] [--rounds 3] [--only query turns]

Each person has a folder of transcripts in words as common and as rare as those of a language (after Zipf), and every query is of
words that they used. The bare queries are what SQLite needs at the least for the ten best of the same words (the porter
stemmer, all merged, the database open): in a table of that one person, and in one table of everybody with a column for whose
a line is.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import CHATS, Program, Servers, cpu_seconds, servers, started
from memory.index import Index
from memory.transcripts import Message, Transcripts, render

LINES_A_DAY = 20
SEARCHED = 25  # people; fewer than the indexes that are kept open
QUERIES = 20  # of each
QUIET = 2.0  # seconds after which the measured program indexes a person
CONVERSATIONS, TURNS = 3, 20
_FUNCTION_WORDS = "the i to and a of you it that in is was my for on me we so have with be at not this but are do what".split()  # noqa: SIM905
_VOCABULARY = 20_000


class _Language:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        syllables = ["".join(s) for s in itertools.product("bdfgklmnprstvz", "aeiou", ["", "n", "r", "s"])]
        rest = {
            "".join(self._random.choices(syllables, k=self._random.randint(2, 4))) for _ in range(_VOCABULARY)
        }
        self._words = [*_FUNCTION_WORDS, *sorted(rest - {*_FUNCTION_WORDS})]
        self._random.shuffle(self._words[len(_FUNCTION_WORDS) :])
        self._weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(self._words))))

    def line(self) -> str:
        count = self._random.randint(5, 25)
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=count))

    def query(self, lines: list[str]) -> str:
        """Some words of a line, most of them rare ones, as somebody asks who remembers what it was about."""
        words = self._random.choice(lines).split()
        return " ".join(self._random.sample(words, min(len(words), self._random.randint(1, 5))))


def _people(count: int) -> list[str]:
    return [f"telegram-{number}" for number in range(1, count + 1)]


def _write(root: Path, people: list[str], lines: int, language: _Language) -> Iterator[tuple[str, list[str]]]:
    """Write everybody's transcripts; of each, the lines."""
    for user in people:
        folder = root / user
        folder.mkdir(parents=True)
        said = [language.line() for _ in range(lines)]
        for number, at in enumerate(range(0, lines, LINES_A_DAY)):
            messages: list[Message] = [
                ("assistant" if odd % 2 else "user", text)
                for odd, text in enumerate(said[at : at + LINES_A_DAY])
            ]
            name = f"{date(2025, 1, 1) + timedelta(days=number)}.md"
            (folder / name).write_text(f"## 10:00:00 UTC\n\n{render(messages)}", encoding="utf-8")
        yield user, said


def measure_search(people: int, lines: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a search and of the bare queries for the same words, and lines a second of an index made anew."""
    language = _Language(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        everybody = sqlite3.connect(root / "everybody.db", isolation_level=None)
        everybody.execute("PRAGMA synchronous = OFF")
        everybody.execute(
            "CREATE VIRTUAL TABLE said USING fts5(text, user UNINDEXED, tokenize = 'porter unicode61')"
        )
        names = _people(people)
        searched = set(names[:: max(1, people // SEARCHED)][:SEARCHED])
        own: dict[str, tuple[sqlite3.Connection, list[str]]] = {}
        everybody.execute("BEGIN")
        for user, said in _write(root / "memory", names, lines, language):
            everybody.executemany("INSERT INTO said VALUES (?, ?)", ((text, user) for text in said))
            if user in searched:
                own[user] = (
                    _table_of(root / f"{user}.bare", said),
                    [language.query(said) for _ in range(QUERIES)],
                )
        everybody.execute("COMMIT")
        everybody.execute("INSERT INTO said (said) VALUES ('optimize')")

        time.sleep(2.5)  # until no file was written just now, which is read again at each search
        with closing(Index(root / "index", Transcripts(root / "memory"))) as index:
            began = time.perf_counter()
            added = sum(index.refresh(user) for user in names)
            built = time.perf_counter() - began
        with closing(Index(root / "index", Transcripts(root / "memory"))) as index:
            first = _timed(lambda: [index.search([user], "tomorrow") for user in searched]) / len(searched)
            found: dict[str, list[float]] = {"search_ms": [], "own_ms": [], "everybody_ms": []}
            for _ in range(rounds):
                for user, (table, queries) in own.items():
                    for query in queries:
                        bare = _bare(query)
                        found["search_ms"].append(_timed(lambda: index.search([user], query)))  # noqa: B023
                        found["own_ms"].append(_timed(lambda: table.execute(_OWN, (bare,)).fetchall()))  # noqa: B023
                    query = queries[0]  # of everybody's one is enough: each takes long
                    found["everybody_ms"].append(
                        _timed(lambda: everybody.execute(_EVERYBODY, (_bare(query), user)).fetchall())  # noqa: B023
                    )
        assert added == people * lines
        everybody.close()
        for table, _ in own.values():
            table.close()
        size = sum(path.stat().st_size for path in (root / "index").iterdir())
        text = sum(path.stat().st_size for path in (root / "memory").rglob("*.md"))
        return {
            **{key: statistics.fmean(times) * 1e3 for key, times in found.items()},
            "first_ms": first * 1e3,
            "lines": float(added),
            "rebuild_lines_per_second": added / built,
            "index_to_text": size / text,
        }


_OWN = "SELECT rowid, text FROM said WHERE said MATCH ? ORDER BY rank LIMIT 10"
_EVERYBODY = "SELECT rowid, text FROM said WHERE said MATCH ? AND user = ? ORDER BY rank LIMIT 10"


def _bare(query: str) -> str:
    return " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))


def _table_of(path: Path, said: list[str]) -> sqlite3.Connection:
    table = sqlite3.connect(path)
    table.execute("CREATE VIRTUAL TABLE said USING fts5(text, tokenize = 'porter unicode61')")
    table.executemany("INSERT INTO said VALUES (?)", ((text,) for text in said))
    table.execute("INSERT INTO said (said) VALUES ('optimize')")
    table.commit()
    return table


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_turns(there: Servers, rounds: int) -> dict[str, float]:
    """CPU per turn with the index, all that is indexed afterwards included, and without; the two take turns.

    The least of each: what else the machine does only adds to it.
    """
    from benchmarks.catalogue import beside_boswell

    programs = {name: beside_boswell(name) for name in ("indexed", "unindexed")}
    found: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds):
        for name, program in sorted(programs.items(), reverse=bool(number % 2)):
            found[name].append(_turns(program, there))
    return {f"{name}_cpu_ms": min(times) * 1e3 for name, times in found.items()}


def _turns(program: Program, there: Servers) -> float:
    with started(program, there) as (pid, token, _):
        there.ready(token, 60)
        chats = list(range(1000, 1000 + CHATS))
        there.drive(token, {"chats": chats, "first": 1, "turns": 1}, 120)
        time.sleep(2 * QUIET)
        before = cpu_seconds(pid)
        for conversation in range(CONVERSATIONS):
            first = 2 + conversation * TURNS
            there.drive(token, {"chats": chats, "first": first, "turns": TURNS}, 1200)
            time.sleep(2 * QUIET)
        return (cpu_seconds(pid) - before) / (CHATS * TURNS * CONVERSATIONS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=1000, help="of each person")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("query", "turns"), default=("query", "turns"))
    options = parser.parse_args()
    found: dict[str, float] = {}
    if "query" in options.only:
        found |= measure_search(options.people, options.lines, options.rounds)
        print(f"search to the bare query of one's own table: {found['search_ms'] / found['own_ms']:.2f}")
        print(
            f"search to the bare query of everybody's table: {found['search_ms'] / found['everybody_ms']:.2f}"
        )
    if "turns" in options.only:
        with servers() as there:
            found |= measure_turns(there, options.rounds)
        print(
            f"CPU per turn with the index, to without: {found['indexed_cpu_ms'] / found['unindexed_cpu_ms']:.3f}"
        )
    for key, value in found.items():
        print(f"{key:>26}: {value:,.3f}")


if __name__ == "__main__":
    main()
