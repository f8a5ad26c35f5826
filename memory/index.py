"""Search over what a person said and was told: a full-text index per person, derived from the files of their folder.

The files are the truth. Before each search the folder is looked through, and what was changed, added or removed since is
indexed again, whoever did it. Each person's index is a file of its own: no query can reach anybody else's words, and to
erase it is to remove the file. A file that is broken or of another version is thrown away and made anew.

Plain synchronous work on the disk; the caller runs it in a thread. Safe to use from several threads and processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Date  # noqa: N812 - `date` is the name of a field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from memory import units, words
from memory.database import MemoryFault, statements
from memory.files import is_user_id, make_folder, open_or_make
from memory.fusion import fused
from memory.sql import index_schema, queries
from memory.transcripts import Message, Place, Transcripts

if TYPE_CHECKING:
    from memory.vectors import Meaning

log = structlog.get_logger(__name__)

T = TypeVar("T")

_SHARES = ((1, 0.5), (-1, 0.3), (2, 0.2))  # of a message's score, for what stands so far behind it
_POOL = 40  # of the best matches, from which the neighbours get their shares
_MANY = 10_000  # matches of a query that is more than words
_SPARE = 4  # places that may be empty among the best
_MOST_OPEN = 32  # indexes that are kept open for the next search
_TRIES = 5  # to use an index, where other processes take it away meanwhile
_VERSION = zlib.crc32(f"{words.VERSION} {index_schema()}".encode()) & 0x7FFFFFFF
_SQL = queries("index.sql")
_BEST = itemgetter(1, 0)  # by the score; of equals the later one

# What shows that a file is broken, or that the disk is. SQLite does not notice each wrong byte: then a value is odd.
_FAULTS = (sqlite3.DatabaseError, OSError, ValueError, KeyError)

# Where it fails with one of these, to make the file anew would cure nothing.
_NOT_THE_FILE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
}


class IndexUnusable(MemoryFault):
    """A person's index can neither be used nor be made anew. The message says why and what to do."""


class IndexStopped(MemoryFault):
    """Indexing was broken off because the process stops. What is indexed stays; the rest is done at the next search."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Something that was found, and where it stands.

    `role` is that of the message; `note` for text from other hands and for summaries; `fact`, or `former fact` for one that holds
    no more. `date` is None for a fact that has none. `before` and `after` have the message next to it in its conversation, if
    there is one. The higher the `score`, the better. `key` names it in the person's index, `at` is where it stands there: what
    is next to it in the same conversation has the next number, and no other conversation is near.
    """

    user_id: str
    date: Date | None
    heading: str
    place: Place | None
    role: str
    text: str
    before: tuple[Message, ...]
    after: tuple[Message, ...]
    score: float
    key: int
    at: int


_Found = tuple[list[Passage], dict[int, float], dict[int, float]]


def everywhere(_: Place | None) -> bool:
    """What was said in any place."""
    return True


class Index:
    """The indexes under one folder, of the transcripts under another.

    Methods raise ValueError for what is no user id, `IndexUnusable` where the disk does not let them, and `IndexStopped` after
    `stop`.
    """

    def __init__(self, root: Path, transcripts: Transcripts) -> None:
        self._root = root
        self._transcripts = transcripts
        self._lock = threading.Lock()
        self._people: dict[str, _Person] = {}
        self._open: OrderedDict[str, _Person] = OrderedDict()
        self._stopped = threading.Event()

    def search(
        self,
        people: Sequence[str],
        query: str,
        *,
        first: Date | None = None,
        last: Date | None = None,
        allowed: Callable[[Place | None], bool] = everywhere,
        limit: int = 10,
        meaning: Meaning | None = None,
    ) -> list[Passage]:
        """What these user ids' files have for a query, best first; see `words.parse` for what a query is.

        `first` and `last` are the days between which it was said, both included; `allowed` says of a place (None: in private)
        whether it counts. With the query's `meaning`, what means alike is found as well, but for phrases and beginnings: who
        writes these wants to see them. Whatever the query holds, nothing is raised on its account.
        """
        asked = words.parse(query)
        if not asked:
            return []
        if meaning is not None and not asked.phrases and not asked.beginnings:
            return self._search_both(people, asked, meaning, first, last, allowed, limit)
        found: list[Passage] = []
        for user_id in dict.fromkeys(people):
            person = self._person(user_id)

            def find(connection: sqlite3.Connection, person: _Person = person) -> list[Passage]:
                scores = _find(connection, asked, first, last, allowed, limit)
                return _passages(connection, person.user_id, scores, limit)

            found += self._use(person, find) or []
        return sorted(found, key=lambda one: (one.score, one.date or Date.min), reverse=True)[:limit]

    def _search_both(
        self,
        people: Sequence[str],
        asked: words.Query,
        meaning: Meaning,
        first: Date | None,
        last: Date | None,
        allowed: Callable[[Place | None], bool],
        limit: int,
    ) -> list[Passage]:
        """By words and by meaning; the places of all people's units in both rankings count together."""
        from memory import vectors  # it needs numpy, as whoever has a meaning does

        found: list[Passage] = []
        worded: dict[tuple[str, int], float] = {}
        near: dict[tuple[str, int], float] = {}
        for user_id in dict.fromkeys(people):

            def find(connection: sqlite3.Connection, user_id: str = user_id) -> _Found:
                scores = _find(connection, asked, first, last, allowed, limit)
                spots = connection.execute(_SQL["units_there"], {"spots": json.dumps([*scores])})
                scores = {at: scores[at] for (at,) in spots}
                alike = vectors.nearest(connection, meaning, _scope(connection, first, last, allowed))
                return _passages(connection, user_id, fused(scores, alike), limit), scores, alike

            passages, scores, alike = self._use(self._person(user_id), find) or ([], {}, {})
            found += passages
            worded.update(((user_id, at), score) for at, score in scores.items())
            near.update(((user_id, at), score) for at, score in alike.items())
        joint = fused(worded, near)
        found = [replace(passage, score=joint[passage.user_id, passage.at]) for passage in found]
        return sorted(found, key=lambda one: (one.score, one.date or Date.min), reverse=True)[:limit]

    def refresh(self, user_id: str) -> int:
        """Index what was changed in a person's folder, and tidy up; how many units are new."""
        person = self._person(user_id)
        before = person.added
        self._use(person, units.merge)
        return person.added - before

    def use(self, user_id: str, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` returns for a person's index, brought up to date; None, and not called, where they have no files.

        Nobody else of this process uses the index meanwhile. `work` may run twice, the second time on an index made anew.
        """
        return self._use(self._person(user_id), work)

    def forget(self, user_id: str) -> None:
        """Remove a person's index. It comes back as soon as it is used while there are files in their folder."""
        person = self._person(user_id)
        with person.lock:
            person.remove()
        with self._lock:
            self._open.pop(user_id, None)

    def people(self) -> Iterator[str]:
        """The user ids of all who have an index, in no order."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
            names = [entry.name.removesuffix(".db") for entry in entries if entry.name.endswith(".db")]
            yield from filter(is_user_id, names)

    def stop(self) -> None:
        """Break off what is being indexed, at once, and let nothing begin. May be called from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Close all files, after what runs has ended."""
        with self._lock:
            people, self._open = list(self._open.values()), OrderedDict()
        for person in people:
            with person.lock:
                person.close()

    def _person(self, user_id: str) -> _Person:
        folder = self._transcripts.folder(user_id)  # refuses what is no user id
        with self._lock:
            person = self._people.get(user_id)
            if person is None:
                person = self._people[user_id] = _Person(user_id, folder, _path(self._root, user_id))
            return person

    def _use(self, person: _Person, work: Callable[[sqlite3.Connection], T]) -> T | None:
        anew = False
        with person.lock:
            for last in (False,) * (_TRIES - 1) + (True,):
                try:
                    if anew:
                        person.remove()
                    connection = self._ready(person)
                    return None if connection is None else work(connection)
                except _FAULTS as exc:
                    taken = person.taken() or _journal_taken(exc)
                    person.close()
                    if last or (not taken and (anew or _of_the_disk(exc))):
                        raise _unusable(person, exc) from exc
                    if not taken:
                        log.warning("index_rebuilt", user=person.user_id, error=type(exc).__name__)
                    anew = not taken
        raise AssertionError("the last try returns or raises")

    def _ready(self, person: _Person) -> sqlite3.Connection | None:
        """The connection to an index that has all that is in the folder; None if there is nothing in it."""
        now = units.scan(person.folder)
        if not now:
            person.remove()
            return None
        if not self._stopped.is_set():
            connection = person.opened()
            self._keep_open(person)
            if now != person.seen:
                person.seen, added = units.update(connection, person.folder, self._goes_on)
                person.added += added
            if not self._stopped.is_set():
                return connection
        raise IndexStopped("search is over: the process stops")

    def _goes_on(self) -> bool:
        return not self._stopped.is_set()

    def _keep_open(self, person: _Person) -> None:
        with self._lock:
            self._open[person.user_id] = person
            self._open.move_to_end(person.user_id)
            oldest = next(iter(self._open.values())) if len(self._open) > _MOST_OPEN else None
            # One that is in use is not the oldest for long.
            if oldest is None or not oldest.lock.acquire(blocking=False):
                return
            del self._open[oldest.user_id]
        try:
            oldest.close()
        finally:
            oldest.lock.release()


class _Person:
    """One person's index: use it with the lock held."""

    def __init__(self, user_id: str, folder: Path, path: Path) -> None:
        self.user_id = user_id
        self.folder = folder
        self.path = path
        self.lock = threading.Lock()
        self.seen: dict[str, units.Stamp] = {}  # the folder, as the index has it
        self.added = 0  # units, since the start of the process
        self._connection: sqlite3.Connection | None = None
        self._node = (0, 0)

    def opened(self) -> sqlite3.Connection:
        """The connection to the file that bears the name now: another process may have removed the one before."""
        if self._connection is not None:
            if not self.taken():
                return self._connection
            self.close()
        make_folder(self.path.parent)
        connection = self._connect()
        if _version(connection) not in (0, _VERSION):
            self.remove()
            connection = self._connect()
        _create(connection)
        return connection

    def taken(self) -> bool:
        """Whether another process has taken the open file away, and perhaps put a new one there. It is of no use any more."""
        return self._connection is not None and self._node != _node(self.path)

    def _connect(self) -> sqlite3.Connection:
        self._connection = _connect(self.path)
        self._node = _node(self.path)
        return self._connection

    def close(self) -> None:
        self.seen = {}
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def remove(self) -> None:
        self.close()
        # In this order: a journal without its database is taken for no part of the next one.
        self.path.unlink(missing_ok=True)
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)


def _path(root: Path, user_id: str) -> Path:
    if len(user_id) > 200:  # with its ending a name that a folder can have would be too long for a file
        user_id = f"{user_id[:150]}~{hashlib.sha256(user_id.encode()).hexdigest()[:32]}"
    return root / f"{user_id}.db"


def _connect(path: Path) -> sqlite3.Connection:
    os.close(open_or_make(path, os.O_RDWR))
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    # What is lost at a power cut is made anew; a kill loses nothing.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -2000")
    connection.execute("PRAGMA temp_store = MEMORY")  # nobody's words anywhere else on the disk
    return connection


def _node(path: Path) -> tuple[int, int]:
    """Which file bears the name; none if there is none."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return 0, 0
    return there.st_dev, there.st_ino


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _create(connection: sqlite3.Connection) -> None:
    if _version(connection) == _VERSION:
        return
    with units.transaction(connection):
        if _version(connection) == 0:  # another process may have been faster
            for statement in statements(index_schema()):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")


def _journal_taken(exc: Exception) -> bool:
    """Whether it failed because another process removed our journal together with an index that bore the name before."""
    return getattr(exc, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_DELETE_NOENT


def _of_the_disk(exc: Exception) -> bool:
    """Whether another file in the place of this one would fare no better; one of somebody else's would."""
    if isinstance(exc, OSError):
        return not isinstance(exc, PermissionError)
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _NOT_THE_FILE


def _unusable(person: _Person, exc: Exception) -> IndexUnusable:
    reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return IndexUnusable(
        f"the search index {str(person.path)!r} can not be used ({reason}); check the folder's permissions and the free space, "
        "or remove that file: it is made anew"
    )


def _scope(
    connection: sqlite3.Connection,
    first: Date | None,
    last: Date | None,
    allowed: Callable[[Place | None], bool],
) -> dict[str, Any]:
    """Days and places, as the queries take them."""
    places = [key for key, place in units.places(connection).items() if allowed(place)]
    return {
        "first": first.isoformat() if first else "",
        "last": (last or Date.max).isoformat(),
        "private": allowed(None),
        "places": json.dumps(places),
    }


def _find(
    connection: sqlite3.Connection,
    query: words.Query,
    first: Date | None,
    last: Date | None,
    allowed: Callable[[Place | None], bool],
    limit: int,
) -> dict[int, float]:
    """Where the units stand that match best, and their scores."""
    among, values = "", {}
    if first is not None or last is not None or allowed is not everywhere:
        among, values = "_among", _scope(connection, first, last, allowed)

    def ranked(table: str, expression: str, most: int) -> dict[int, float]:
        asked = {**values, "match": expression, "most": most}
        return dict(connection.execute(_SQL[f"{table}_find{among}"], asked).fetchall()) if expression else {}

    if not query.phrases and not query.beginnings:
        return _with_neighbours(ranked("stems", query.words, max(_POOL, 4 * limit)))
    scores = ranked("forms", query.phrases, _MANY)
    others = [ranked("stems", query.words, _MANY), ranked("forms", query.beginnings, _MANY)]
    for at, score in (item for other in others for item in other.items()):
        if at in scores or not query.phrases:
            scores[at] = scores.get(at, 0.0) + score
    return scores


def _with_neighbours(scores: Mapping[int, float]) -> dict[int, float]:
    """With a share of each score for what stands next to it: the answer to a question seldom has its words.

    Of these places some are empty.
    """
    shared = dict(scores)
    get = shared.get
    for at, score in scores.items():
        for distance, share in _SHARES:
            shared[at + distance] = get(at + distance, 0.0) + share * score
    return shared


def _passages(
    connection: sqlite3.Connection, user_id: str, scores: Mapping[int, float], limit: int
) -> list[Passage]:
    """The best of what stands at these places; some are empty."""
    spots = [at for at, _ in sorted(scores.items(), key=_BEST, reverse=True)]
    rows: dict[int, tuple[Any, ...]] = {}
    said: dict[int, tuple[Message]] = {}
    places: dict[int | None, Place | None] = {None: None}
    passages: list[Passage] = []
    while spots and len(passages) < limit:
        some = limit - len(passages) + _SPARE
        now, spots = spots[:some], spots[some:]
        near = {spot for at in now for spot in (at - 1, at, at + 1)}
        for row in connection.execute(_SQL["units_at"], {"spots": json.dumps([*near])}):
            at, _, _, place, _, role, text = rows[row[0]] = row
            if role in ("user", "assistant"):
                said[at] = ((role, text),)
            if place not in places:
                places.update(units.places(connection).items())
        for at in [at for at in now if at in rows][: limit - len(passages)]:
            _, key, day, place, heading, role, text = rows[at]
            date, before, after = (
                Date.fromisoformat(day) if day else None,
                said.get(at - 1, ()),
                said.get(at + 1, ()),
            )
            passages.append(
                Passage(user_id, date, heading, places[place], role, text, before, after, scores[at], key, at)
            )
    return passages
