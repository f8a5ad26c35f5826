"""One file with all that lasts, made while the program runs, and putting such a file back.

The database is copied first, as it is at one instant, and people's files after that. A turn that was complete at that instant is
in its file by then, or else the database's copy still owes it to its file, and the next start writes it there once: so nothing
is lost. The other way round, a turn could be missing from a file that was read too early while the database's copy, read
later, knows that it was written. What files have beyond the database was said after that instant, and stays.

What can be made from these two, the index, is not in it. All of it is file work that takes a while; it must not be called in
an event loop's thread.
"""

from __future__ import annotations

import calendar
import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from memory import swap
from memory.database import MemoryFault, copy
from memory.export import Paths
from memory.files import is_user_id, make_folder, open_or_make, sync_folder
from memory.sql import migrations
from memory.whole import PIECE, Archive, below, named, scratch, sweep, whole

_FORMAT = 1
_MANIFEST, _DATABASE, _MEMORY = "manifest.json", "boswell.db", "memory"
_MOST_MANIFEST = 1 << 28  # bytes
_SPARE = 16 << 20  # bytes of the disk that are left alone
_DAMAGED = "{!r} is no backup of Boswell's, or is damaged; use another one"


class BadBackup(MemoryFault):
    """The file is no backup that can be restored. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself: which Boswell made it and when, the database's version, size and SHA-256 of its members."""

    version: str
    schema: int
    made_at: str
    members: Mapping[str, tuple[int, str]]

    @property
    def people(self) -> int:
        """How many people's folders are in it."""
        return len({name.split("/")[1] for name in self.members if name != _DATABASE})


# Making ------------------------------------------------------------------------------------------------------------


def make(target: Path, paths: Paths, version: str, at: float) -> tuple[Manifest, list[Path]]:
    """Write a backup to `target`; what it says of itself, and what could not be taken: links, and names that no backup has.

    It is read back and checked before it appears under its name. Raises FileExistsError if there is such a file, and
    `DatabaseUnusable`.
    """
    sweep(target.parent, "boswell-backup-")
    left: list[Path] = []
    with whole(target) as file, scratch(target.with_name(f"{target.name}.db")) as database:
        schema = copy(paths.database, database)
        with Archive(file) as archive:
            archive.add(_DATABASE, database)
            for path in _files(paths.memory, left):
                name = f"{_MEMORY}/{path.relative_to(paths.memory).as_posix()}"
                if _utf8(name) and _safe(name):
                    archive.add(name, path)
                else:
                    left.append(path)
            manifest = Manifest(version, schema, _time(at), dict(archive.sums))
            with archive.member(_MANIFEST, at) as put:
                put(_written(manifest))
        file.flush()
        file.seek(0)
        with _opened(file, target) as (again, found):
            for name in found.members:
                _check(again, name, found, lambda _: None)
    return manifest, left


def _files(memory: Path, left: list[Path]) -> Iterator[Path]:
    """Everything in people's folders, which may be links themselves; what is no file is added to `left`."""
    with contextlib.suppress(FileNotFoundError):
        for folder in sorted(memory.iterdir()):
            if is_user_id(folder.name):
                yield from below(folder, left)


def _written(manifest: Manifest) -> bytes:
    members = {name: {"size": size, "sha256": digest} for name, (size, digest) in manifest.members.items()}
    told = {
        "boswell_backup": _FORMAT,
        "version": manifest.version,
        "schema": manifest.schema,
        "made_at": manifest.made_at,
        "members": members,
    }
    return f"{json.dumps(told, indent=1, ensure_ascii=False)}\n".encode()


# Restoring ---------------------------------------------------------------------------------------------------------


def restore(source: Path, paths: Paths, at: float) -> tuple[Manifest, list[Path]]:
    """Put a backup in the place of what is there; what it says of itself, and where the old state is kept.

    It is checked to the last byte before anything is touched. Killed at any instant, the old state or the new one is there,
    whole, once anybody opens it or restores again. Raises `BadBackup`, and `LeaseTaken` while anybody has the database open.
    """
    data = paths.database.parent
    with source.open("rb") as file, _opened(file, source) as (archive, manifest):
        for name in manifest.members:
            _check(archive, name, manifest, lambda _: None)
        make_folder(data)
        swap.resume(data)
        with swap.alone(data):
            _make_room(manifest, paths)
            plan = swap.prepare(
                data, paths.database.name, paths.memory, f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
            )
            try:
                _lay(archive, manifest, Path(plan.data.staged), Path(plan.memory.staged), paths.database.name)
            except BaseException:
                swap.undo(plan)
                raise
            return manifest, swap.carry_out(plan)


def _make_room(manifest: Manifest, paths: Paths) -> None:
    needed = sum(size for size, _ in manifest.members.values())
    free = shutil.disk_usage(paths.database.parent).free
    if needed > free - _SPARE:
        raise BadBackup(
            f"what is in the backup needs {needed >> 20} MB beside what is there, and {free >> 20} MB are free under "
            f"{str(paths.database.parent)!r}; make room first"
        )


def _lay(archive: zipfile.ZipFile, manifest: Manifest, data: Path, memory: Path, database: str) -> None:
    """Write everything to where it waits for the swap, durably."""
    folders = {data, memory}
    for name in manifest.members:
        path = data / database if name == _DATABASE else memory.joinpath(*name.split("/")[1:])
        for parent in reversed(path.parents):
            if parent not in folders and parent.is_relative_to(memory):
                make_folder(parent)
                folders.add(parent)
        descriptor = open_or_make(path, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)
        with named(path), open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            _check(archive, name, manifest, file.write)
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(ValueError, OverflowError):
            changed = calendar.timegm((*archive.getinfo(name).date_time, 0, 0, 0))
            os.utime(path, (changed, changed))
    for folder in folders:
        sync_folder(folder)
    _sound(data / database, manifest)


def _sound(database: Path, manifest: Manifest) -> None:
    """Its sum is right; this is about who made it."""
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            [problem] = connection.execute("PRAGMA quick_check(1)").fetchone()
            [schema] = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as exc:
        problem, schema = str(exc), 0
    if problem != "ok" or schema != manifest.schema:
        raise BadBackup(f"the database in the backup is damaged ({problem}); use another backup")


# Reading -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(file: BinaryIO, path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """The backup and its manifest. Nothing that it says of itself is believed: it comes from anywhere."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive, _manifest(archive)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        UnicodeError,
        RuntimeError,
    ) as exc:
        raise BadBackup(_DAMAGED.format(str(path))) from exc
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # a place in the file that can not be
            raise
        raise BadBackup(_DAMAGED.format(str(path))) from exc


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if names.count(_MANIFEST) != 1 or archive.getinfo(_MANIFEST).file_size > _MOST_MANIFEST:
        raise zipfile.BadZipFile
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in infos):
        raise zipfile.BadZipFile  # none of ours, and each way of packing has errors of its own
    try:
        told = json.loads(archive.read(_MANIFEST))
        format_, schema = int(told["boswell_backup"]), int(told["schema"])
        members = {
            str(name): (int(member["size"]), str(member["sha256"]))
            for name, member in told["members"].items()
        }
        manifest = Manifest(str(told["version"])[:40], schema, str(told["made_at"])[:40], members)
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise zipfile.BadZipFile from exc
    if format_ > _FORMAT or schema > len(migrations()):
        raise BadBackup(
            f"the backup is of a later Boswell ({manifest.version}, database version {schema}; this one knows up to "
            f"{len(migrations())}); upgrade Boswell, then restore it"
        )
    if schema < 1 or sorted(names) != sorted([*members, _MANIFEST]) or _DATABASE not in members:
        raise zipfile.BadZipFile
    for info in infos:
        size = members.get(info.filename, (info.file_size, ""))[0]
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not _safe(info.filename) or kind not in (0, stat.S_IFREG) or info.file_size != size:
            raise BadBackup(
                "the backup holds something that no backup of Boswell's does, such as a link or a path that leads elsewhere; it "
                "was not made by `boswell backup`, or was changed: nothing of it is used"
            )
    return manifest


def _safe(name: str) -> bool:
    """Whether a member is one of ours: the database, or a file in a person's folder."""
    if name in (_MANIFEST, _DATABASE):
        return True
    top, *parts = name.split("/")
    return (
        top == _MEMORY
        and len(parts) > 1
        and is_user_id(parts[0])
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
        and not re.search(r"[\\\x00]", name)
    )


def _check(archive: zipfile.ZipFile, name: str, manifest: Manifest, take: Callable[[bytes], object]) -> None:
    """Give a member to `take`, piece by piece. Raises `BadBackup` if it is not what the manifest says."""
    size, digest = manifest.members[name]
    sum_, read = hashlib.sha256(), 0
    try:
        with archive.open(name) as member:
            while piece := member.read(PIECE):
                read += len(piece)
                if read > size:
                    break
                sum_.update(piece)
                take(piece)
    except (zipfile.BadZipFile, EOFError, zlib.error) as exc:
        raise BadBackup(f"{name!r} in the backup is damaged; use another backup") from exc
    if read != size or sum_.hexdigest() != digest:
        raise BadBackup(f"{name!r} in the backup is damaged; use another backup")


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
