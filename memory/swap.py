"""Putting a restored state in the place of the old one, so that a kill at any instant leaves the one or the other.

What is restored is laid beside what it replaces, whole, before anything is touched. Then the old state is moved out, entry by
entry, and the new one in: renames alone, of which a plan on disk says how far they are. Whoever opens the database next, or
restores again, brings a plan that was begun to its end, or undoes it where nothing was moved yet.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from memory import leases
from memory.files import is_user_id, make_folder, replace, sync_folder

PLAN = "restore.json"
_LOCK = "restore"  # held by many who have the database open, or by one who restores
_NOT_THERE = (errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EEXIST)
_PROBE = ".restoring-probe"
_OURS = ("index", "exports")  # beside the database's own files: what is made from it, or for it


@dataclass(frozen=True, slots=True)
class Side:
    """A folder whose content is replaced: from `staged`, while what was there goes to `kept`."""

    root: str
    staged: str
    kept: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`data` is the folder of the database called `database`, `memory` that of people's folders. They may be one."""

    database: str
    data: Side
    memory: Side
    phase: str = "staging"  # then out, then in


@contextlib.contextmanager
def at_rest(data: Path) -> Iterator[None]:
    """Keep a state from being replaced for the block, after bringing to its end what a killed process began.

    Raises `LeaseTaken` while one is being restored.
    """
    while True:
        resume(data)
        with leases.shared(data / "locks", _LOCK):
            if (data / PLAN).exists():
                continue  # begun, and killed, since we looked
            yield
            return


@contextlib.contextmanager
def alone(data: Path) -> Iterator[None]:
    """Be the only one who has a state open. Raises `LeaseTaken`, by name where another runs an adapter on it."""
    locks = data / "locks"
    for lock in sorted(locks.glob("adapter-*.lock")):
        with leases.lease(locks, lock.stem):
            pass  # an older version's process holds nothing else
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(leases.lease(locks, _LOCK))
        except leases.LeaseTaken as exc:
            raise leases.InUse from exc
        yield


def resume(data: Path) -> None:
    """Bring a restore that was cut off to its end, or undo it. Raises `LeaseTaken` if it was not cut off."""
    if not (data / PLAN).exists():
        return
    with alone(data):
        plan = _read(data)
        if plan is None:
            return
        if plan.phase == "staging":
            undo(plan)
        else:
            carry_out(plan)


def prepare(data: Path, database: str, memory: Path, stamp: str) -> Plan:
    """Folders for what is to be restored and for what is there now, and a plan that a kill undoes. Inside `alone`.

    `stamp` tells when, in the names of what is kept.
    """
    for folder in (data, memory):
        make_folder(folder)
        # Of one that was cut off before there was a plan, as what follows
        (folder / _PROBE).unlink(missing_ok=True)
        for empty in folder.parent.glob(f"{folder.name}.before-restore-*"):
            with contextlib.suppress(OSError):
                (empty / _PROBE).unlink(missing_ok=True)
                empty.rmdir()
    kept = _folder(
        data, [data.with_name(f"{data.name}.before-restore-{stamp}"), data / f".before-restore-{stamp}"]
    )
    inside = [kept / memory.relative_to(data)] if memory.is_relative_to(data) and memory != data else [kept]
    beside = [memory.with_name(f"{memory.name}.before-restore-{stamp}"), memory / f".before-restore-{stamp}"]
    remembered = _folder(memory, [*(inside if memory.is_relative_to(data) else []), *beside])
    plan = Plan(
        database,
        Side(str(data), str(data / ".restoring-data"), str(kept)),
        Side(str(memory), str(memory / ".restoring-memory"), str(remembered)),
    )
    _write(plan)
    for side in (plan.data, plan.memory):
        shutil.rmtree(side.staged, ignore_errors=True)
        make_folder(Path(side.staged))
    return plan


def _folder(root: Path, places: list[Path]) -> Path:
    """The first of these places into which entries of `root` can be moved; a volume's mount has nothing beside it."""
    for place in places:
        try:
            make_folder(place)
            probe = root / _PROBE
            probe.touch()
            probe.rename(place / probe.name).unlink()
        except OSError as exc:
            with contextlib.suppress(OSError):
                place.rmdir()
            if place == places[-1] or exc.errno not in _NOT_THERE:
                raise
        else:
            return place
    raise AssertionError("there is always a last place")


def undo(plan: Plan) -> None:
    """Nothing was moved yet: nothing is to be seen of it any more."""
    _clean(plan)


def carry_out(plan: Plan) -> list[Path]:
    """Move the old state out and the new one in, from wherever it was cut off; where the old one is kept now."""
    sides = (plan.data, plan.memory)
    if plan.phase != "in":
        _write(plan := Plan(plan.database, plan.data, plan.memory, "out"))
        for side in sides:
            for name in _standing(plan, side):
                (Path(side.root) / name).rename(Path(side.kept) / name)
            _sync(side)
        _write(plan := Plan(plan.database, plan.data, plan.memory, "in"))
    for side in sides:
        for name in _names(side.staged):
            (Path(side.staged) / name).rename(Path(side.root) / name)
        _sync(side)
    kept = [Path(side.kept) for side in sides if _holds(Path(side.kept))]
    _clean(plan)
    return [path for path in kept if not any(path != other and path.is_relative_to(other) for other in kept)]


def _standing(plan: Plan, side: Side) -> list[str]:
    """What of a folder is ours to move: whatever else stands there, such as a configuration, stays."""
    names = _names(side.root)
    data = [name for name in names if name in _OURS or name.startswith(plan.database)]
    people = [name for name in names if is_user_id(name)]
    if side.root == plan.data.root == plan.memory.root:
        return data + people
    return data if side is plan.data else people


def _names(folder: str) -> list[str]:
    try:
        return sorted(path.name for path in Path(folder).iterdir())
    except FileNotFoundError:
        return []


def _sync(side: Side) -> None:
    for folder in (side.kept, side.staged, side.root):
        with contextlib.suppress(FileNotFoundError):
            sync_folder(Path(folder))


def _holds(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _clean(plan: Plan) -> None:
    """Take away what was there for the move alone; the plan last, so that a kill before leaves it to the next one."""
    for side in (plan.memory, plan.data):
        shutil.rmtree(side.staged, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(side.kept).rmdir()
    plan_file = Path(plan.data.root) / PLAN
    plan_file.unlink(missing_ok=True)
    sync_folder(plan_file.parent)


def _read(data: Path) -> Plan | None:
    try:
        given = json.loads((data / PLAN).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Plan(given["database"], Side(**given["data"]), Side(**given["memory"]), given["phase"])


def _write(plan: Plan) -> None:
    replace(Path(plan.data.root) / PLAN, json.dumps(asdict(plan), indent=2).encode())
