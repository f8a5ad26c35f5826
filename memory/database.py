"""The only opener of the database: one SQLite file in WAL mode, one connection, writes committed in groups.

Turns of many chats write at the same time. Each hands a unit of work (a plain function of a `Tx`) to `Database.write`; all
units that wait are run in one transaction and share one fsync. A unit that raises is rolled back alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from memory import swap
from memory.files import make_folder, open_or_make
from memory.sql import migrations, queries
from memory.whole import scratch, sweep

# MemoryFault                the database can not be used as it is
# ├── DatabaseTooNew         written by a later version
# ├── DatabaseUnusable       not a database, no permission, disk full at start
# └── Fenced                 another attempt owns the turn: nothing was written

T = TypeVar("T")

LAG = 0.05  # seconds

_NOT_WRITTEN = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_FSYNC,
)
BUSY = 10.0  # seconds that a lock of another process is waited for


class MemoryFault(Exception):
    """Base of what this package raises on purpose."""


class DatabaseTooNew(MemoryFault):
    """The file was written by a later version. Upgrade Boswell, or restore the backup made before the migration."""


class DatabaseUnusable(MemoryFault):
    """The file can not be opened. The message says why and what to do."""


class Fenced(MemoryFault):
    """The turn belongs to a later attempt (or is over): the whole unit was rolled back."""


class Tx:
    """A transaction in progress, or a read. Only inside the function that was given it."""

    __slots__ = ("_connection", "_queries")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queries = queries()

    def run(self, name: str, /, **values: Any) -> sqlite3.Cursor:
        """Run the query of that name from queries.sql."""
        return self._connection.execute(self._queries[name], values)

    def one(self, name: str, /, **values: Any) -> Any:
        """The first row, or None."""
        return self.run(name, **values).fetchone()

    def all(self, name: str, /, **values: Any) -> list[Any]:
        """Every row."""
        return self.run(name, **values).fetchall()


class _Connection(aiosqlite.Connection):
    """aiosqlite's connection and thread, with one hop for a whole function instead of one for each statement."""

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite leaves it untyped
        return result


_Unit = tuple[Callable[[Tx], Any], "asyncio.Future[Any]"]


class Database:
    """Open with `open_database`. Safe to use from many tasks of one event loop."""

    def __init__(self, connection: _Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._waiting: list[_Unit] = []
        self._wake = asyncio.Event()

    async def write(self, unit: Callable[[Tx], T]) -> T:
        """Run `unit` in a transaction; return its result once that is committed and on disk.

        Units run in the order of the calls. If the caller is cancelled the unit is still carried out. An exception of the unit
        undoes its writes alone and is raised here.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((unit, future))
        self._wake.set()
        return await future

    def later(self, unit: Callable[[Tx], T]) -> asyncio.Future[T]:
        """As `write`, but in no hurry: it joins the next group, at the latest `LAG` seconds from now.

        For what may be done again without harm if a kill comes first: each group costs a change of threads and an fsync.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((unit, future))
        loop.call_later(LAG, self._wake.set)
        return future

    def hurry(self) -> None:
        """Let what waits for a group go now."""
        self._wake.set()

    async def read(self, unit: Callable[[Tx], T]) -> T:
        """Run `unit` outside a transaction, after the writes before it; it must not write."""
        return await self._connection.call(lambda connection: unit(Tx(connection)))

    async def _commit_groups(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            units, self._waiting = self._waiting, []
            if not units:
                continue
            try:
                results = await self._connection.call(lambda connection: _commit(connection, units))  # noqa: B023 - awaited at once
            except Exception as exc:  # noqa: BLE001 - BEGIN or COMMIT failed (disk full, locked): no unit took effect, each hears
                results = [_Raised(exc)] * len(units)
            for (_, future), result in zip(units, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, _Raised):
                    future.set_exception(result.error)
                else:
                    future.set_result(result)

    async def _drain(self) -> None:
        while self._waiting:
            self._wake.set()
            await asyncio.sleep(0)
        await self._connection.call(lambda _: None)  # behind the last group in the thread's queue
        await asyncio.sleep(0)


class _Raised:
    """What a unit raised; one that it returns is a result like any other."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _commit(connection: sqlite3.Connection, units: list[_Unit]) -> list[Any]:
    tx = Tx(connection)
    results: list[Any] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for unit, _ in units:
            connection.execute("SAVEPOINT unit")
            try:
                results.append(unit(tx))
            except Exception as exc:  # noqa: BLE001 - handed to the unit's caller
                connection.execute("ROLLBACK TO unit")
                results.append(_Raised(exc))
            connection.execute("RELEASE unit")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return results


@contextlib.asynccontextmanager
async def open_database(path: Path, *, migrate: bool = True) -> AsyncIterator[Database]:
    """Open (and create, and migrate) the database at `path`; what was written is on disk when the block is left.

    Before a migration of an existing file a backup is made beside it: `boswell.db.v1.bak`. Several processes of one machine may
    have it open. With `migrate` False, for who only looks, an older file is refused: an older process may be running on it.
    A restore that was cut off is brought to its end first. Raises `DatabaseTooNew`, `DatabaseUnusable`, and `LeaseTaken` while
    a backup is being restored.
    """
    with contextlib.ExitStack() as stack:
        connection = await _connect(path, migrate, stack)
        database = Database(connection, path)
        writer = asyncio.create_task(database._commit_groups(), name="database writer")  # noqa: SLF001 - its own module
        try:
            yield database
        finally:
            try:
                await asyncio.shield(database._drain())  # noqa: SLF001 - its own module
            finally:
                writer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await writer
                await connection.close()


@contextlib.contextmanager
def snapshot(path: Path) -> Iterator[Tx]:
    """The database at `path`, of whatever version, as it is at this instant: to be read in a thread of its own.

    It is in nobody's way, nor anybody in its. Raises `DatabaseUnusable`, and `LeaseTaken` while a backup is being restored.
    """
    with _beside(path) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # only reading fixes what is read
        yield Tx(connection)


def copy(path: Path, target: Path) -> int:
    """Write the database at `path`, of whatever version, to `target` as it is at one instant; its version.

    In a thread of its own, in nobody's way. Raises as `snapshot` does, and where the copy can not be written.
    """
    with _beside(path) as connection, contextlib.closing(sqlite3.connect(target)) as written:
        try:
            connection.backup(written)
            written.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode not in _NOT_WRITTEN:
                raise
            raise DatabaseUnusable(
                f"a copy of the database can not be written to {str(target.parent)!r} ({exc}); check the free space there"
            ) from exc
        return int(written.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own, for reading."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with (
            swap.at_rest(path.parent.absolute()),
            contextlib.closing(
                sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY)
            ) as connection,
        ):
            connection.execute("PRAGMA query_only = ON")
            yield connection
    except sqlite3.DatabaseError as exc:
        raise DatabaseUnusable(f"the database {str(path)!r} can not be read ({exc}); {_advice(exc)}") from exc


async def _connect(path: Path, migrate: bool, stack: contextlib.ExitStack) -> _Connection:
    connection = _Connection(lambda: _open(path, migrate), 64)
    try:
        make_folder(path.parent)
        stack.enter_context(swap.at_rest(path.parent.absolute()))
        try:
            await connection
        except Exception:
            # aiosqlite tells its thread to end and does not wait; a loop that closes first makes the thread print a traceback.
            connection._thread.join()  # noqa: SLF001 - it has no name of its own for this
            raise
    except (sqlite3.DatabaseError, OSError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise DatabaseUnusable(
            f"the database {str(path)!r} can not be opened ({reason}); {_advice(exc)}"
        ) from exc
    return connection


def _advice(exc: Exception) -> str:
    match exc:
        case FileExistsError() | NotADirectoryError() | IsADirectoryError():
            return "something else has its name or its folder's: move that away, or set data_dir to another folder"
        case sqlite3.DatabaseError(sqlite_errorcode=sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT):
            return "move it away and put back a backup; without one the transcripts are still there, and a new one is made"
        case _:
            return "check the folder's permissions and the free space"


def _open(path: Path, migrate: bool) -> sqlite3.Connection:
    os.close(open_or_make(path, os.O_RDWR))
    for file in path.parent.glob(f"{path.name}*"):  # a restored copy is often readable by all
        if file.stat().st_mode & 0o077 and file.stat().st_uid == os.geteuid():
            file.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY, cached_statements=256)
    try:
        connection.row_factory = sqlite3.Row
        _keep_journal(connection)
        # FULL: an update confirmed to a platform must survive a power cut, not only a kill. Groups share the fsync.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # erased words must not stay in free pages
        if not migrate:
            _refuse_older(connection, path)
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _keep_journal(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. Where another process does so in this very moment, SQLite gives up at once; we do not."""
    until = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    have, know = int(connection.execute("PRAGMA user_version").fetchone()[0]), len(migrations())
    if have < know:
        raise DatabaseUnusable(
            f"the database {str(path)!r} has version {have}, and this Boswell works with {know}; "
            "it is brought up to date when `boswell run` or `boswell chat` starts"
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    scripts = migrations()

    def version() -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    have = version()
    if have > len(scripts):
        raise DatabaseTooNew(
            f"the database {str(path)!r} has version {have}, this Boswell knows up to {len(scripts)}; "
            f"upgrade Boswell, or put back the backup that the upgrade made beside it"
        )
    if have == len(scripts):
        return
    connection.execute("BEGIN IMMEDIATE")
    have = version()  # another process may have migrated while this one waited for the lock
    backup = path.with_name(f"{path.name}.v{have}.{time.strftime('%Y%m%d%H%M%S', time.gmtime())}.bak")
    try:
        if 0 < have < len(scripts):
            _keep(path, backup)
        for number, script in scripts[have:]:
            for statement in statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has undone it already
            connection.execute("ROLLBACK")
        # What failed is tried again, and the database is as it was: a backup for each try would fill the disk.
        backup.unlink(missing_ok=True)
        raise


def _keep(path: Path, backup: Path) -> None:
    """Copy the database to `backup`, which is there whole or not at all, while another connection is about to write."""
    sweep(path.parent, path.name)
    with scratch(backup) as unfinished:
        with (
            contextlib.closing(sqlite3.connect(path)) as before,
            contextlib.closing(sqlite3.connect(unfinished)) as copied,
        ):
            before.backup(copied)
        unfinished.replace(backup)


def statements(script: str) -> list[str]:
    """The script's statements; `executescript` would commit in between."""
    statements, rest = [], ""
    for line in script.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            statements.append(rest)
            rest = ""
    return statements
