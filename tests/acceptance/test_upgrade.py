"""Databases that earlier versions made, with what they owed: opened, migrated with a backup, and gone on with.

`tests/golden/databases/make.py` made them, run by those versions' own code: v1 is of commit db57275, v2 of 701e973, v3 of
a2c0b14.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.events import UserSaid
from bot.models.base import ModelRequest
from memory import backup, erase, export
from memory.database import DatabaseUnusable, open_database
from memory.export import Paths
from memory.sql import migrations
from tests.fakes.full_disk import no_file_larger_than
from tests.fakes.house import house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

ARCHIVES = Path(__file__).parents[1] / "golden/databases"
VERSIONS = (1, 2, 3)


def unpacked(folder: Path, version: int) -> Path:
    with tarfile.open(ARCHIVES / f"v{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "boswell.db"


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def platform() -> MemoryAdapter:
    """The platform as it was left: a reply that was being written to Anna, and a placeholder of Dee's."""
    adapter = MemoryAdapter()
    adapter.messages = {"1": {"10": ["…", "Half of"]}, "4": {"11": ["…"]}}
    adapter.posts = [("", "", "")] * 11
    return adapter


def test_there_is_a_database_of_every_version_but_this_one() -> None:
    assert len(migrations()) - 1 in VERSIONS
    assert {path.name for path in ARCHIVES.glob("*.gz")} == {f"v{version}.tar.gz" for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_earlier_version_s_database_is_migrated_with_a_backup_and_pays_what_it_owed(
    tmp_path: Path, version: int
) -> None:
    path = unpacked(tmp_path, version)
    before = rows(path, "SELECT id, user_id, state, body FROM inbox ORDER BY id")
    at = rows(path, "SELECT max(received_at) FROM inbox")[0][0]
    heard: list[list[str]] = []

    def answer(request: ModelRequest) -> str:
        heard.append([event.text for event in request.events if isinstance(event, UserSaid)])
        return f"Answered: {heard[-1][-1]}"

    adapter = platform()
    async with house(tmp_path, ScriptedModel(answer), adapter=adapter, now=lambda: at + 60) as h:
        await h.settled()
        [kept] = tmp_path.glob(f"boswell.db.v{version}.*.bak")
        assert rows(kept, "PRAGMA user_version") == [(version,)]
        assert rows(kept, "SELECT id, user_id, state, body FROM inbox ORDER BY id") == before
        assert kept.stat().st_mode & 0o777 == 0o600
        assert rows(path, "PRAGMA user_version") == [(len(migrations()),)]
        # The turn that was cut off, what waited behind it, and the reply that could not be delivered
        assert h.texts("1") == ["Answered: Please hang.", "Answered: And then this."]
        assert h.texts("4") == ["Noted."]
        # In the conversation that it was, with nothing from before its /clear
        assert heard == [
            ["Grüße aus Oslo 👋", "Please hang."],
            ["Grüße aus Oslo 👋", "Please hang.", "And then this."],
        ]
        # The turn that was complete and not in its file, and the files that were there
        assert h.transcript("3") == [("user", "I am Cy."), ("assistant", "Noted.")]
        said = [text for role, text in h.transcript("1") if role == "user"]
        assert said == [
            "My name is Anna.",
            "What did we talk about yesterday?",
            "Grüße aus Oslo 👋",
            "Please hang.",
            "And then this.",
            "Which book is next?",
        ]
        # Who they are
        assert await h.parts.turns.zone("memory-1") == "Europe/Oslo"
        known = rows(path, "SELECT DISTINCT user_id FROM turns ORDER BY user_id")
        assert known == [(f"memory-{number}",) for number in (1, 2, 3, 4)]
        await h.say("And today?")
        await h.say("/export")
        await h.settled()
        assert h.texts("1")[-2:].count("Answered: And today?") == 1
        assert len(adapter.files) == 1
    async with house(tmp_path, ScriptedModel(answer), adapter=adapter, now=lambda: at + 120) as h:
        await h.settled()
    assert len(list(tmp_path.glob("*.bak"))) == 1, "it is migrated once"
    assert len(heard) == 3, "nothing is answered twice"


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_only_looks_migrates_nothing(tmp_path: Path, version: int) -> None:
    path = unpacked(tmp_path, version)
    with pytest.raises(DatabaseUnusable, match="brought up to date when"):
        async with open_database(path, migrate=False):
            pass
    assert rows(path, "PRAGMA user_version") == [(version,)]
    assert not list(tmp_path.glob("*.bak"))


@pytest.mark.parametrize("room", [0.4, 0.99, 1.2])
async def test_without_room_for_a_migration_all_stays_as_it_was_and_no_try_leaves_anything(
    tmp_path: Path, room: float
) -> None:
    path = unpacked(tmp_path, 1)
    before = rows(path, "SELECT * FROM inbox")
    for _ in range(2):
        with no_file_larger_than(int(path.stat().st_size * room)), pytest.raises(DatabaseUnusable) as caught:
            async with open_database(path):
                pass
        assert "check the folder's permissions and the free space" in str(caught.value)
        assert "disk" in str(caught.value).partition("opened")[2]
    assert rows(path, "PRAGMA user_version") == [(1,)]
    assert rows(path, "SELECT * FROM inbox") == before
    assert not [*tmp_path.glob("*.bak"), *tmp_path.glob(".*")]
    async with open_database(path):
        assert len([*tmp_path.glob("*.bak")]) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_backup_of_an_earlier_version_is_restored_and_migrated_at_the_next_start(
    tmp_path: Path, version: int
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    unpacked(old, version)
    made, _ = await asyncio.to_thread(
        backup.make, tmp_path / "b.zip", Paths(old / "boswell.db", old / "memory"), "0", 0.0
    )
    assert made.schema == version
    await asyncio.to_thread(
        backup.restore, tmp_path / "b.zip", Paths(new / "boswell.db", new / "memory"), 0.0
    )
    assert rows(new / "boswell.db", "PRAGMA user_version") == [(version,)]
    async with open_database(new / "boswell.db") as database:
        assert await database.read(lambda tx: export.people(tx, "memory-1")) == ("memory-1",)
    assert list(new.glob(f"boswell.db.v{version}.*.bak"))


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_migration_that_is_killed_is_none(tmp_path: Path, version: int) -> None:
    """It is one transaction: what the next start finds is the old version, whole."""
    path = unpacked(tmp_path, version)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        for number, script in migrations()[version:]:
            for statement in script.split(";\n"):
                if "CREATE TABLE" in statement:
                    database.execute(statement[statement.index("CREATE TABLE") :])
                    break
            database.execute(f"PRAGMA user_version = {number}")
        # closed without a COMMIT, as a kill does
    async with open_database(path) as opened:
        assert (
            await opened.read(lambda tx: tx.one("person_get", user_id="memory-1")["timezone"])
            == "Europe/Oslo"
        )


async def test_what_an_earlier_version_s_process_still_writes_is_forgotten_too(tmp_path: Path) -> None:
    """It runs one platform yet while a process of this version, of another one, has migrated the database."""
    path, word = unpacked(tmp_path, 2), "Märkerwort"
    async with open_database(path):
        pass
    [(at,)] = rows(path, "SELECT max(received_at) FROM inbox")
    with closing(sqlite3.connect(path)) as database, database:  # each statement as that version has it
        database.execute(
            "INSERT INTO room (chat_key, message_id, speaker, text, at) VALUES ('memory:-9', 'm', 'Dee', ?, ?)",
            (word, at),
        )
        database.execute(
            "INSERT INTO streams (id, key, opened_at) VALUES (901, 'memory:-9:memory-1', ?)", (at,)
        )
        heard = json.dumps(
            {"text": "What?", "speaker": "Anna", "context": f"[Dee] {word}"}, ensure_ascii=False
        )
        database.execute("INSERT INTO events VALUES (901, 1, 9001, 'user', ?, ?)", (heard, at))
        database.execute(
            "INSERT INTO inbox (id, source, key, platform, lane, user_id, state, turn_id, received_at) "
            "VALUES (9002, 'memory:test', 'k', 'memory', 'memory:D4:memory-4', 'memory-4', 'done', 9002, ?)",
            (at,),
        )
        database.execute(
            "INSERT INTO turns (id, stream_id, attempt, state, started_at, ended_at) VALUES (9002, 0, 1, 'done', ?, ?)",
            (at, at),
        )
        database.execute(
            "INSERT INTO outbox (turn_id, part, platform, chat, text, state, created_at) "
            "VALUES (9002, 0, 'memory', ?, ?, 'sent', ?)",
            (json.dumps({"platform": "memory", "id": "D4", "kind": "private", "title": ""}), word, at),
        )
    async with house(tmp_path, ScriptedModel(lambda _: "Noted."), now=lambda: at + 60) as h:
        await h.settled()
        await h.database.write(lambda tx: erase.ask(tx, ["memory-4"], at + 60))
        await h.parts.forgetting.catch_up()
        assert rows(path, "SELECT count(*) FROM erasures WHERE done_at IS NULL") == [(0,)]
        kept = {file.name for file in tmp_path.glob("boswell.db*") if word.encode() in file.read_bytes()}
        assert kept == set()
