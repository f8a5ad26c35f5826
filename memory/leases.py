"""Named leases between the processes of one machine: whoever holds one is alone, and death lets go of it at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from memory.files import make_folder, open_or_make


class LeaseTaken(Exception):
    """Another process holds the lease; `holder` is its process id, 0 if unknown."""

    def __init__(self, name: str, holder: int) -> None:
        super().__init__(
            f"another Boswell process{f' (pid {holder})' if holder else ''} runs the {name.replace('-', ' ')} "
            "on this data_dir; stop it first"
        )
        self.holder = holder


class InUse(LeaseTaken):
    """Somebody who shares in the lease keeps the others from having it alone."""

    def __init__(self) -> None:
        Exception.__init__(self, "a Boswell process has the database of this data_dir open; stop it first")
        self.holder = 0


def _path(folder: Path, name: str) -> Path:
    return folder / (re.sub(r"[^A-Za-z0-9_.%-]", "_", name) + ".lock")


@contextlib.contextmanager
def lease(folder: Path, name: str) -> Iterator[None]:
    """Hold `name` for the block. Raises `LeaseTaken`. The lock is the kernel's: a killed holder holds nothing."""
    with _locked(folder, name, fcntl.LOCK_EX) as descriptor:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield


@contextlib.contextmanager
def shared(folder: Path, name: str) -> Iterator[None]:
    """Be one of many that share in `name` for the block. Raises `LeaseTaken` where somebody has it alone, by `lease`."""
    with _locked(folder, name, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _locked(folder: Path, name: str, how: int) -> Iterator[int]:
    make_folder(folder)
    descriptor = open_or_make(_path(folder, name), os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            written = os.read(descriptor, 20).strip()
            raise LeaseTaken(name, int(written) if written.isdigit() else 0) from None
        yield descriptor
    finally:
        os.close(descriptor)


def held(folder: Path, name: str) -> bool:
    """Whether some process holds `name` now."""
    try:
        with lease(folder, name):
            return False
    except LeaseTaken:
        return True
