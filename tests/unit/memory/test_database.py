"""The database: groups, failures of single units, migrations with a backup, leases."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from memory import inbox, leases
from memory.database import DatabaseTooNew, DatabaseUnusable, Fenced, Tx, open_database
from memory.sql import migrations, queries

CURRENT = len(migrations())


def remember(tx: Tx, user: str) -> None:
    tx.run("person_timezone", user_id=user, timezone="UTC")


async def known(database: object, *users: str) -> list[bool]:
    return await database.read(lambda tx: [tx.one("person_get", user_id=u) is not None for u in users])  # type: ignore[attr-defined]


async def test_a_unit_that_raises_is_undone_alone_within_its_group(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:

        def bad(tx: Tx) -> None:
            remember(tx, "bad")
            raise LookupError("no")

        results = await asyncio.gather(
            database.write(lambda tx: remember(tx, "a")),
            database.write(bad),
            database.write(lambda tx: remember(tx, "b")),
            return_exceptions=True,
        )
        assert [type(r) for r in results] == [type(None), LookupError, type(None)]
        assert await known(database, "a", "bad", "b") == [True, False, True]


async def test_an_error_that_a_unit_returns_is_a_result_and_what_it_wrote_stays(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:

        def refuse(tx: Tx) -> LookupError:
            remember(tx, "a")
            return LookupError("no")

        assert isinstance(await database.write(refuse), LookupError)
        assert await known(database, "a") == [True]


async def test_units_that_wait_together_share_one_commit(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        commits = 0

        def count() -> int:
            nonlocal commits
            commits += 1
            return 0

        connection = database._connection._conn
        statements: list[str] = []
        await database._connection.call(lambda c: c.set_trace_callback(statements.append))
        await asyncio.gather(*(database.write(lambda tx, n=n: remember(tx, f"u{n}")) for n in range(100)))
        await database._connection.call(lambda c: c.set_trace_callback(None))
        assert connection is not None
        assert sum(s.startswith("COMMIT") for s in statements) <= 2


async def test_a_unit_is_carried_out_even_if_its_caller_is_cancelled(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        task = asyncio.create_task(database.write(lambda tx: remember(tx, "a")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with open_database(tmp_path / "b.db") as database:
        assert await known(database, "a") == [True]


async def test_what_was_begun_before_the_end_of_the_block_is_on_disk(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        writes = [
            asyncio.create_task(database.write(lambda tx, n=n: remember(tx, f"u{n}"))) for n in range(20)
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*writes)
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchone()[0] == 20


async def test_a_new_file_that_another_process_is_about_to_set_up_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.1, other.execute, ["COMMIT"])
        release.start()
        async with open_database(tmp_path / "x.db") as database:
            assert await known(database, "telegram-1") == [False]
        release.join()


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    async with open_database(tmp_path / "x" / "b.db"):
        assert stat.S_IMODE((tmp_path / "x" / "b.db").stat().st_mode) == 0o600


async def test_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match="version 999.*upgrade Boswell"):
        async with open_database(path):
            pass
    assert path.read_bytes()[:100] == before[:100] or path.stat().st_size == len(before)


async def test_what_is_no_database_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "b.db").write_text("this is no database, and longer than a header would be " * 50)
    with pytest.raises(DatabaseUnusable, match=r"b\.db"):
        async with open_database(tmp_path / "b.db"):
            pass


async def test_an_older_database_is_backed_up_before_it_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_database(tmp_path / "b.db") as database:
        await database.write(lambda tx: remember(tx, "a"))
    more = [
        *migrations(),
        (len(migrations()) + 1, "CREATE TABLE later (x);\nINSERT INTO later VALUES ('a;b');"),
    ]
    monkeypatch.setattr("memory.database.migrations", lambda: more)
    async with open_database(tmp_path / "b.db") as database:
        assert await known(database, "a") == [True]
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        assert connection.execute("SELECT x FROM later").fetchall() == [("a;b",)]
    (backup,) = tmp_path.glob(f"b.db.v{CURRENT}.*.bak")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT user_id FROM people").fetchall() == [("a",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (CURRENT,)


async def test_who_only_looks_does_not_migrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_database(tmp_path / "b.db"):
        pass
    more = [*migrations(), (len(migrations()) + 1, "CREATE TABLE later (x);")]
    monkeypatch.setattr("memory.database.migrations", lambda: more)
    with pytest.raises(
        DatabaseUnusable, match=f"version {CURRENT}, and this Boswell works with {CURRENT + 1}"
    ):
        async with open_database(tmp_path / "b.db", migrate=False):
            pass
    assert not list(tmp_path.glob("*.bak"))


async def test_a_migration_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_database(tmp_path / "b.db"):
        pass
    broken = [*migrations(), (len(migrations()) + 1, "CREATE TABLE later (x);\nNONSENSE;")]
    monkeypatch.setattr("memory.database.migrations", lambda: broken)
    with pytest.raises(DatabaseUnusable):
        async with open_database(tmp_path / "b.db"):
            pass
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (CURRENT,)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'later'").fetchall() == []


def test_every_query_is_used() -> None:
    root = Path(__file__).parents[3]
    code = "".join(path.read_text() for folder in ("bot", "memory") for path in (root / folder).rglob("*.py"))
    assert [name for name in queries() if f'"{name}"' not in code] == []


def test_every_query_is_one_that_the_schema_understands(tmp_path: Path) -> None:
    import re

    with closing(sqlite3.connect(":memory:")) as connection:
        for _, script in migrations():
            connection.executescript(script)
        for name, text in queries().items():
            values = dict.fromkeys(re.findall(r":(\w+)", text), 1)
            try:
                connection.execute(f"EXPLAIN {text}", values)
            except sqlite3.Error as exc:
                pytest.fail(f"{name}: {exc}")


async def test_a_claim_fences_off_the_one_before_it_and_a_closed_turn_can_not_be_claimed(
    tmp_path: Path,
) -> None:
    async with open_database(tmp_path / "b.db") as database:

        def begin(tx: Tx) -> inbox.Claim | None:
            return inbox.claim(tx, 1, 1, "", [1], 0.0)

        assert await database.write(begin) is None  # nothing came that it could be the turn of
        await database.write(lambda tx: inbox.add(tx, inbox.Row("x", "1", "x", "waiting", 0.0)))
        first, second = await database.write(begin), await database.write(begin)
        assert first is not None
        assert second is not None
        assert (first.attempt, second.attempt) == (1, 2)
        with pytest.raises(Fenced):
            await database.write(lambda tx: inbox.guard(tx, first))
        await database.write(lambda tx: inbox.guard(tx, second))
        await database.write(lambda tx: inbox.close(tx, second, "answered", 0.0))
        assert await database.write(begin) is None
        with pytest.raises(Fenced):
            await database.write(lambda tx: inbox.guard(tx, second))


def test_a_lease_is_held_by_one_and_names_its_holder(tmp_path: Path) -> None:
    with leases.lease(tmp_path, "adapter-x"):
        assert leases.held(tmp_path, "adapter-x")
        assert not leases.held(tmp_path, "adapter-y")
        with (
            pytest.raises(leases.LeaseTaken, match=f"pid {os.getpid()}"),
            leases.lease(tmp_path, "adapter-x"),
        ):
            pass
    assert not leases.held(tmp_path, "adapter-x")


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\nfrom memory.leases import lease\n"
        "with lease(pathlib.Path(sys.argv[1]), 'x'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert leases.held(tmp_path, "x")
        holder.kill()
        holder.wait()
        assert not leases.held(tmp_path, "x")
