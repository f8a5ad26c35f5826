"""What search finds: the messages, notes and facts in a person's folder, brought from the files into that person's index.

Only files that were changed are read again, and of those only what is new is put into the index: an append costs what was
appended.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sqlite3
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import structlog

from memory import facts, files, words
from memory.sql import queries
from memory.transcripts import MOST_BYTES, Place, parse

log = structlog.get_logger(__name__)

# A file's size, and when its content and its node were changed last, in nanoseconds
Stamp = tuple[int, int, int]

NOTE = -1  # the position of what stands before a section's messages
MOST_SECTIONS = 1 << 20  # of a file; see `at` in index_schema.sql. What is over is not found
MOST_MESSAGES = (1 << 20) - 8  # of a section; what is over goes into a next one, and is nowhere near
COMMIT_UNITS = 5000  # between two commits: what a kill in a long rebuild makes it do again
_LEAST = 100  # units that are worth merging
_WORTH = 8  # merged when one in so many units is new: to merge is to write all of it
_SETTLED = 2_000_000_000  # nanoseconds after which a file's times show every further change; some disks count in such steps
_OUR_TIME = re.compile(r"\d\d:\d\d:\d\d \S+")
_FILE_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.md", re.ASCII)
_SQL = queries("index.sql")


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that can be found. `section` is counted in its file, `position` in its section."""

    section: int
    position: int
    date: str
    place: Place | None
    heading: str
    role: str
    text: str


def scan(folder: Path) -> dict[str, Stamp]:
    """The files of a folder that have units, as they are now."""
    found: dict[str, Stamp] = {}
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return found
    try:
        # Of an open folder: so that its path is walked once and not for each file
        with os.scandir(fd) as entries:
            for entry in entries:
                if not _counts(entry.name):
                    continue
                try:
                    now = entry.stat()
                except OSError:  # gone since, or a link to nowhere
                    continue
                if stat.S_ISREG(now.st_mode):
                    found[entry.name] = (now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    finally:
        os.close(fd)
    return found


@lru_cache(maxsize=20_000)
def _counts(name: str) -> bool:
    return name == facts.FILE or _day(name) is not None


def _day(name: str) -> date | None:
    match = _FILE_NAME.fullmatch(name)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:  # 2026-02-31.md: not one of ours
        return None


def read(path: Path) -> list[Unit]:
    """The units of a file, in its order; none if it is gone, not for us to read, or too large."""
    of_facts = path.name == facts.FILE
    try:
        data = files.read(path, facts.MOST_BYTES if of_facts else MOST_BYTES)
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EPERM, errno.EFBIG):
            raise
        log.warning("file_not_indexed", file=f"{path.parent.name}/{path.name}", problem=exc.strerror)
        return []
    return _facts(data) if of_facts else _messages(path.stem, data)


def _messages(day: str, data: bytes) -> list[Unit]:
    found = []
    number = 0
    for section in parse(data):
        # What somebody wrote as a heading is to be found as well.
        title = "" if _OUR_TIME.fullmatch(section.time) else section.heading
        note = "\n\n".join(filter(None, (title, section.stray)))
        if note:
            found.append(Unit(number, NOTE, day, section.place, section.heading, "note", note))
        for at, (role, text) in enumerate(section.messages):
            more, position = divmod(at, MOST_MESSAGES)
            found.append(Unit(number + more, position, day, section.place, section.heading, role, text))
        number += 1 + len(section.messages) // MOST_MESSAGES
    return found if number <= MOST_SECTIONS else [unit for unit in found if unit.section < MOST_SECTIONS]


def _facts(data: bytes) -> list[Unit]:
    """Each in a section of its own: they are no conversation."""
    return [
        Unit(
            number,
            0,
            str(fact.date or ""),
            fact.place,
            "",
            "fact" if fact.valid else "former fact",
            fact.text.encode("utf-8", "replace").decode(),  # it may hold what is no Unicode
        )
        for number, fact in enumerate(facts.parse(data))
    ]


def places(connection: sqlite3.Connection) -> dict[int, Place]:
    """Where the units of an index were said that were not said in private."""
    return {key: Place(**json.loads(place)) for key, place in connection.execute(_SQL["places_all"])}


def update(
    connection: sqlite3.Connection, folder: Path, go_on: Callable[[], bool]
) -> tuple[dict[str, Stamp], int]:
    """Bring an index to what is in the folder: what the folder was like then, and how many units are new.

    `go_on` is asked before each file; where it says no, what is done so far is kept, and the rest is left for the next time.
    """
    done: dict[str, Stamp] = {}
    added = 0
    while True:
        with transaction(connection):
            # Looked at within the transaction: so that of two processes the later one has seen the later folder.
            now = scan(folder)
            batch = _Batch(connection, folder)
            finished = batch.run(now, done, go_on)
            batch.count()
        added += batch.added
        if finished or not go_on():
            return done, added


class _Batch:
    """As much of an update as goes into one transaction."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self.added = 0
        self._removed = 0
        self._run = connection.execute
        self._many = connection.executemany
        self._folder = folder
        self._places = {place: key for key, place in places(connection).items()}
        last = self._run(_SQL["units_last"]).fetchone()
        self._last = last[0] if last else 0

    def run(self, now: dict[str, Stamp], done: dict[str, Stamp], go_on: Callable[[], bool]) -> bool:
        """Whether it came to the end. `done` has the files that were seen to, and gets more."""
        indexed: dict[str, tuple[int, Stamp]] = {
            name: (key, (size, mtime_ns, ctime_ns))
            for name, key, size, mtime_ns, ctime_ns in self._run(_SQL["files_all"])
        }
        for name in indexed.keys() - now.keys():
            self._replace(indexed[name][0], [])
            self._run(_SQL["files_remove"], {"id": indexed[name][0]})
        for name in done.keys() - now.keys():
            del done[name]
        for name in sorted(now):
            if name in indexed and indexed[name][1] in (now[name], done.get(name)):
                done[name] = indexed[name][1]
                continue
            if self.added >= COMMIT_UNITS or not go_on():
                return False
            size, mtime_ns, ctime_ns = now[name]
            if time.time_ns() - ctime_ns < _SETTLED:
                ctime_ns = 0  # the next change may show in none of the three: to be read again
            values = {"name": name, "size": size, "mtime_ns": mtime_ns, "ctime_ns": ctime_ns}
            ((key,),) = self._run(_SQL["files_set"], values).fetchall()
            self._replace(key, read(self._folder / name))
            done[name] = (size, mtime_ns, ctime_ns)
        return True

    def count(self) -> None:
        """Keep how much there is to merge."""
        self._run(_SQL["unmerged_add"], {"added": self.added, "removed": self._removed})

    def _replace(self, file: int, new: list[Unit]) -> None:
        """Make these the units of a file. A text that stays keeps its key."""
        old = defaultdict(list)
        for key, *where, role, text in self._run(_SQL["units_of_file"], {"file": file}):
            old[role, text].append((key, where))
        added, moved = [], []
        for unit in new:
            where = [unit.section, unit.position, unit.date, self._place(unit.place), unit.heading]
            same = old[unit.role, unit.text]
            if not same:
                added.append((*where, unit.role, unit.text))
                continue
            key, before = same.pop(0)
            if before != where:
                moved.append((*where, key))
        removed = [(key, text) for (_, text), units in old.items() for key, _ in units]
        self._remove(removed)
        self._many(_SQL["units_move"], moved)
        self._add(file, added)
        self._removed += len(removed)

    def _remove(self, gone: list[tuple[int, str]]) -> None:
        folded = [(key, words.fold(text)) for key, text in gone]
        for query in ("stems_remove", "forms_remove"):
            self._many(_SQL[query], folded)
        self._many(_SQL["units_remove"], ((key,) for key, _ in gone))

    def _add(self, file: int, added: list[tuple[object, ...]]) -> None:
        first = self._last + 1
        self._last += len(added)
        self.added += len(added)
        self._many(_SQL["units_add"], ((key, file, *row) for key, row in enumerate(added, first)))
        folded = [(key, words.fold(str(row[-1]))) for key, row in enumerate(added, first)]
        for query in ("stems_add", "forms_add"):
            self._many(_SQL[query], folded)

    def _place(self, place: Place | None) -> int | None:
        if place is None:
            return None
        if place not in self._places:
            values = {"place": json.dumps(asdict(place))}
            ((self._places[place],),) = self._run(_SQL["places_add"], values).fetchall()
        return self._places[place]


def merge(connection: sqlite3.Connection) -> None:
    """Merge the pieces of an index, if that is worth it: it is searched faster, and nothing is left of what was removed."""
    added, removed, all_ = connection.execute(_SQL["unmerged_get"]).fetchone()
    if not removed and (added < _LEAST or added * _WORTH <= all_):
        return
    with transaction(connection):
        for query in ("stems_merge", "forms_merge", "unmerged_clear"):
            connection.execute(_SQL[query])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that is undone by whatever is raised in it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
