"""People's folders on the disk, and writing there so that a kill at any instant leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# A user id is `<platform>-<id>`. In the id, small and capital letters never stand together (`%41` is the escape of a letter of
# the other case), and of one platform all ids take the same case: so no two share a folder where case does not count.
_USER_ID = re.compile(r"[a-z0-9_]+-(?:(?:[a-z0-9_-]|%[0-9a-f]{2})+|(?:[A-Z0-9_-]|%[0-9a-f]{2})+)", re.ASCII)


def is_user_id(name: str) -> bool:
    """Whether this is a user id, and so the name of a person's folder."""
    return len(name) <= 255 and _USER_ID.fullmatch(name) is not None


def folder_of(root: Path, user_id: str) -> Path:
    """A person's folder below `root`. Raises ValueError for what is no user id, and so can not leave it."""
    if not is_user_id(user_id):
        raise ValueError(
            f"{user_id[:80]!r} is no user id: it reads <platform>-<the platform's own id>, such as telegram-1001"
        )
    return root / user_id


def read(path: Path, most: int | None = None) -> bytes:
    """What the file holds; nothing if there is none, or something else in its place.

    Raises OSError (EFBIG) if that is more than `most` bytes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # else a pipe waits for its other end
    except (FileNotFoundError, NotADirectoryError):
        return b""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return b""
        if most is not None and found.st_size > most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(fd)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written to; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def replace(path: Path, data: bytes, *, still: Callable[[], bool] = lambda: True) -> bool:
    """Put new content in the place of a file's, durably and at one instant.

    `still` is asked right before that instant: if it says no, the file stays as it is. Whether it was replaced.
    """
    temporary = path.with_name(f".{path.name}.new")
    fd = open_or_make(temporary, os.O_WRONLY | os.O_TRUNC)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)
    if not still():
        temporary.unlink()
        return False
    temporary.replace(path)
    sync_folder(path.parent)
    return True


def unless_saved(path: Path, work: Callable[[Callable[[], bool]], T | None], tries: int) -> T:
    """What `work` on a file comes to; None if somebody has saved it since: then it is done again with what they wrote.

    It is given what tells whether the file is still as it was. Raises OSError where that is so too often.
    """
    for _ in range(tries):
        before = stamp(path)
        done = work(lambda: stamp(path) == before)  # noqa: B023 - called at once
        if done is not None:
            return done
    raise OSError(f"{path.name} of {path.parent.name!r} is being written to all the time by something else")


def write_all(fd: int, data: bytes) -> None:
    """Write to an open file, durably."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
    os.fsync(fd)


def open_or_make(path: Path, flags: int) -> int:
    """Open a file, made if it is not there: for one account alone, which is its folder's owner also where root makes it."""
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _hand_over(fd, path.parent)
    return fd


def make_folder(folder: Path) -> None:
    """Make a folder that only one account of this machine can look into, durably, if it is not there.

    As with a file, that is the owner of the folder that it stands in.
    """
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():  # else somebody was faster
            raise
    else:
        _hand_over(folder, folder.parent)
    sync_folder(folder.parent)


def _hand_over(made: int | Path, folder: Path) -> None:
    """Let what root has just made be its folder's owner's: a command of root's must not keep Boswell from its own files.

    Never what was there before: whoever owns the folder could lay a link to anything there.
    """
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    with contextlib.suppress(OSError):  # a root that may not, as in some containers: it stays root's
        if isinstance(made, int):
            os.fchown(made, owner.st_uid, owner.st_gid)
        else:
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def remove_folder(folder: Path) -> None:
    """Remove a person's folder, or what stands in its place, durably; of a link, what it leads to as well. There need be none.

    What holds other people's folders, or is in one of them, stays.
    """
    # Path.resolve raises on a link that leads to itself
    root, real = (Path(os.path.realpath(path)) for path in (folder.parent, folder))
    whose = real.relative_to(root).parts[0] if real != root and real.is_relative_to(root) else ""
    if not root.is_relative_to(real) and (whose == folder.name or not is_user_id(whose)):
        with contextlib.suppress(FileNotFoundError):
            if real.is_dir():
                shutil.rmtree(real)
            else:
                real.unlink()
    if folder.is_symlink():
        folder.unlink()
    for parent in {real.parent, folder.parent}:
        if parent.is_dir():
            sync_folder(parent)


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder holds."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
