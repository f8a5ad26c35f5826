"""Large files that are there whole or not at all, and zip files made of what people's folders hold.

What is being written stands beside its place under a hidden name, locked by who writes it. A kill leaves it there unlocked: so
whoever comes next can tell it from one that is being written, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from memory.files import sync_folder

PIECE = 1 << 20  # bytes read at a time
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # times that a zip file can tell
_TRIES = 5  # to read a file that others are writing at this moment


class Cancelled(Exception):
    """Whoever wanted the file wants it no more."""


def unfinished(path: Path) -> Path:
    """Where a file stands while it is written."""
    return path.with_name(f".{path.name}.part")


@contextlib.contextmanager
def whole(path: Path, *, over: bool = False) -> Iterator[BinaryIO]:
    """Write a file, for this account alone: it appears under its name, on disk and at one instant, when the block is left.

    Raises FileExistsError if there is one by then, unless it may be written `over`, and BlockingIOError if somebody else is
    writing this very file. If the block raises there is none.
    """
    temporary = unfinished(path)
    with named(path), _alone(temporary, path) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _place(temporary, path, over=over)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Have an error of the disk tell which file it was about: where one is written, as on a full disk, the system does not."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None:
            exc.filename = str(path)
        raise


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, for the block alone. What a kill leaves of it, `sweep` removes."""
    temporary = unfinished(path)
    with _alone(temporary, path):
        try:
            yield temporary
        finally:
            _remove(temporary)


def _alone(temporary: Path, path: Path) -> BinaryIO:
    """The unfinished file, empty, locked, and in its place."""
    while True:
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            exc.filename = str(path)  # which is the name that whoever reads of it knows
            raise
        file = open(descriptor, "r+b")  # noqa: PTH123, SIM115 - a descriptor; the caller closes it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, 0o600)
            file.truncate()
            if temporary.exists() and temporary.stat().st_ino == os.fstat(descriptor).st_ino:
                return file
        except BlockingIOError as exc:
            file.close()
            raise BlockingIOError(exc.errno, "it is being written at this moment", str(path)) from None
        file.close()  # whoever removes what was left has just removed it


def _place(temporary: Path, path: Path, *, over: bool) -> None:
    if over:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # which, unlike a rename, fails if there is one
    except FileExistsError:
        raise
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if path.exists():  # a file system without links: nothing better can be had
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from exc
        temporary.replace(path)
    else:
        temporary.unlink()


def sweep(folder: Path, prefix: str = "") -> None:
    """Remove what killed processes left half written in a folder, of files whose name begins so."""
    for path in folder.glob(".*.part"):
        if not path.name.startswith(f".{prefix}"):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)


def _remove(temporary: Path) -> None:
    """What SQLite lays beside a file goes first: it could not be found without the file."""
    for beside in ("-journal", "-wal", "-shm"):
        temporary.with_name(temporary.name + beside).unlink(missing_ok=True)
    temporary.unlink(missing_ok=True)


def below(folder: Path, left: list[Path] | None = None) -> Iterator[Path]:
    """Every file in a folder and its folders, in order. What is half written is left out.

    So is what is no file, such as a link, which is not followed; it is added to `left`.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith("."):
                yield from below(Path(entry.path), left)
        elif not entry.is_file(follow_symlinks=False):
            if left is not None:
                left.append(Path(entry.path))
        elif not _passing(entry.name):
            yield Path(entry.path)


def _passing(name: str) -> bool:
    return name.startswith(".") and name.endswith((".new", ".part"))


class Archive:
    """A zip file that is being written. `stop` tells that it is not wanted any more: `Cancelled` is then raised."""

    def __init__(self, file: BinaryIO, stop: Callable[[], bool] = lambda: False) -> None:
        self.sums: dict[str, tuple[int, str]] = {}  # size and SHA-256 of what was added, by name
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._stop = stop

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error it is thrown away
        with contextlib.nullcontext() if kind is None else contextlib.suppress(OSError):
            self._zip.close()

    @contextlib.contextmanager
    def member(self, name: str, at: float | None = None) -> Iterator[Callable[[bytes], None]]:
        """Add a file, piece by piece, that was last changed `at`."""
        info = zipfile.ZipInfo(name, min(max(_FIRST, time.gmtime(at)[:6]), _LAST))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFREG | 0o600) << 16
        digest, size = hashlib.sha256(), 0

        def write(piece: bytes) -> None:
            nonlocal size
            if self._stop():
                raise Cancelled
            digest.update(piece)
            size += len(piece)
            out.write(piece)

        with self._zip.open(info, "w", force_zip64=True) as out:
            yield write
        self.sums[name] = size, digest.hexdigest()

    def add(self, name: str, path: Path) -> bool:
        """Add a file as it is now; False if it is there no more. What others write into it meanwhile is in it whole or not."""
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return False
        with file, self.member(name, os.fstat(file.fileno()).st_mtime) as write:
            for piece in _settled(file):
                write(piece)
        return True


def _settled(file: IO[bytes]) -> Iterator[bytes]:
    """A file's pieces. A small one, as people's are, is read again where somebody was writing into it."""
    for _ in range(_TRIES):
        before = os.fstat(file.fileno())
        if before.st_size > PIECE:
            break
        file.seek(0)
        data = file.read()
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            yield data
            return
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece
