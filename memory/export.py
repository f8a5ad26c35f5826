"""All that is kept of a person, as one zip file that they can take along; and the folder where such files wait to be sent.

The database is read as it is at one instant, the files after that: a turn that was complete then is in its file, or else in
`not-yet-in-a-file.json`. Of a conversation that several people share only the person's own turns are taken, with what was
answered to them: never another's words. All of it is file work that takes a while: call it in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory import links
from memory.database import Tx, snapshot
from memory.files import folder_of, make_folder
from memory.whole import Archive, below, sweep, whole

KEEP = 3600.0  # seconds that a file may wait in the folder
_PRUNE = KEEP - 360  # it is looked through every five minutes

README = """\
This is what Boswell keeps of you, as of {at}.

There is a folder for each of your accounts: {people}.

In each:

memory/*.md          your conversations, a file per day, as they stand on the disk: read them with any editor
memory/facts.md      what you asked to be remembered, if anything; besides it whatever else was put into your folder
streams/*.json       the same conversations as Boswell's own log has them, event by event: what you wrote ("user"), what was
                     answered and which tools were called ("assistant"), what these returned ("tool"), and what stands for
                     earlier parts ("summary"). Of conversations in groups there are your own turns alone: what others wrote is
                     theirs, and left out. So is what a model's provider wants back word for word (its reasoning, encrypted).
usage.json           every call of a model that was made for you: tokens and USD
schedules.json       your reminders, and what else is to happen for you at a time
room.json            what you said lately in groups, where it is kept so that an answer can refer to it
waiting.json         messages of yours that are not answered yet, or could not be
undelivered.json     answers that you were not given yet, or could not be
not-yet-in-a-file.json   turns that were complete and were about to be written to memory/
profile.json         your time zone and quiet hours, whether you were let in, and your private chat

What is empty is left out. Times are in UTC, but in memory/, where they are in your time zone.
There are no attachments: Boswell keeps none.
"""

GIVEN: Mapping[str, frozenset[str]] = {
    "user": frozenset({"text", "speaker", "relayed"}),
    "assistant": frozenset({"text", "calls", "model", "stopped"}),
    "tool": frozenset({"call_id", "name", "content", "failed"}),
    "summary": frozenset({"text", "upto"}),
}
"""What is given of an event (bot/events.py), by its type. Not what others said before it, nor what is for the provider alone."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where everything of an installation is: its database file, and its folder of people's folders."""

    database: Path
    memory: Path


def people(tx: Tx, user_id: str) -> tuple[str, ...]:
    """All user ids of a person; nothing if nothing is kept of any of them in the database."""
    ids = links.people(tx, user_id)
    return ids if any(tx.one("export_known", user_id=each)["known"] for each in ids) else ()


def write(
    path: Path,
    paths: Paths,
    ids: Sequence[str],
    at: float,
    *,
    over: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Write the file of the person whose user ids these are. A kill leaves no half of it; see `whole` for what it raises.

    `stop` may tell that it is not wanted any more: `Cancelled` is then raised.
    """
    with whole(path, over=over) as file, snapshot(paths.database) as tx, Archive(file, stop) as archive:
        readme = README.format(at=_time(at), people=", ".join(ids))
        with archive.member("README.txt", at) as put:
            put(readme.encode())
        for user_id in ids:
            _person(archive, tx, user_id, ids, at)
            folder = folder_of(paths.memory, user_id)
            for found in below(folder):
                archive.add(f"{user_id}/memory/{_name(found.relative_to(folder))}", found)


def _person(archive: Archive, tx: Tx, user_id: str, ids: Sequence[str], at: float) -> None:
    _json(archive, f"{user_id}/profile.json", _profile(tx, user_id, ids), at)
    for stream in tx.run("export_streams", user_id=user_id).fetchall():
        _stream(archive, tx, user_id, stream, at)
    lists: dict[str, Iterable[dict[str, Any]]] = {
        "usage": map(_usage, tx.run("export_usage", user_id=user_id)),
        "schedules": [
            *map(_schedule, tx.all("export_schedules", user_id=user_id)),
            *map(_subscription, tx.all("export_subscriptions", user_id=user_id)),
        ],
        "room": ({**dict(row), "at": _time(row["at"])} for row in tx.run("export_room", user_id=user_id)),
        "waiting": map(_waiting, tx.run("export_waiting", user_id=user_id)),
        "undelivered": (
            {"state": row["state"], "at": _time(row["created_at"]), "text": row["text"]}
            for row in tx.run("export_undelivered", user_id=user_id)
        ),
        "not-yet-in-a-file": (_pending(row["record"]) for row in tx.run("export_pending", user_id=user_id)),
    }
    for name, rows in lists.items():
        _list(archive, f"{user_id}/{name}.json", rows, at)


def _profile(tx: Tx, user_id: str, ids: Sequence[str]) -> dict[str, Any]:
    row = tx.one("export_person", user_id=user_id)
    profile: dict[str, Any] = {
        "user_id": user_id,
        "your_other_accounts": [other for other in ids if other != user_id],
        "timezone": row["timezone"],
        "quiet_hours": row["quiet"],
    }
    if row["access"]:
        profile["access"] = {"state": row["access"], "name": row["name"], "at": _time(row["decided_at"])}
    if row["chat"]:
        profile["private_chat"] = json.loads(row["chat"])
    return profile


def _stream(archive: Archive, tx: Tx, user_id: str, stream: Mapping[str, Any], at: float) -> None:
    head = {
        "conversation": stream["id"],
        "chat": stream["key"].rpartition(":")[0],
        "began": _time(stream["opened_at"]),
        "ended": _time(stream["closed_at"]),
        "ended_by": stream["close_reason"],
    }
    alone = bool(stream["own"]) and not stream["room"]
    rows = tx.run("export_events", stream_id=stream["id"], own=bool(stream["own"]), user_id=user_id)
    events = (_event(row) for row in rows if alone or row["type"] != "summary")
    _list(archive, f"{user_id}/streams/{stream['id']}.json", events, at, head)


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    given = GIVEN.get(row["type"], frozenset())
    data = {name: value for name, value in json.loads(row["data"]).items() if name in given}
    return {"seq": row["seq"], "turn": row["turn_id"], "at": _time(row["at"]), "type": row["type"], **data}


def _usage(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(row), "at": _time(row["at"])}


def _schedule(row: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: _time(row[name]) for name in ("next_at", "last_at", "until", "created_at")}
    return {**dict(row), **times, "work": bool(row["work"]), "trigger": json.loads(row["trigger"])}


def _subscription(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "subscription", **dict(row), "at": _time(row["at"])}


def _waiting(row: Mapping[str, Any]) -> dict[str, Any]:
    waiting = {"state": row["state"], "at": _time(row["received_at"])}
    try:
        update = json.loads(row["body"])["update"]
        return {**waiting, "chat": update["chat"], "text": update["text"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {**waiting, "raw": row["body"]}


def _pending(record: str) -> dict[str, Any]:
    turn = json.loads(record)
    messages = [{"role": role, "text": text} for role, text in turn["messages"]]
    return {
        "at": _time(turn["at"]),
        "timezone": turn["timezone"],
        "place": turn["place"],
        "messages": messages,
    }


def _list(
    archive: Archive,
    name: str,
    rows: Iterable[dict[str, Any]],
    at: float,
    head: Mapping[str, Any] | None = None,
) -> None:
    """A JSON list, row by row, or an object with `head` and the rows as its `events`. Without rows there is no file."""
    found: Iterator[dict[str, Any]] = iter(rows)
    row = next(found, None)
    if row is None:
        return
    with archive.member(name, at) as put:
        begin, end = "[", "]"
        if head is not None:
            begin, end = f'{_text(head)[:-1]}, "events": [', "]}"
        put(f"{begin}\n{_text(row)}".encode("utf-8", "replace"))
        for row in found:
            put(f",\n{_text(row)}".encode("utf-8", "replace"))
        put(f"\n{end}\n".encode("utf-8", "replace"))


def _json(archive: Archive, name: str, data: Mapping[str, Any], at: float) -> None:
    with archive.member(name, at) as put:
        put(f"{json.dumps(data, indent=2, ensure_ascii=False)}\n".encode("utf-8", "replace"))


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _name(path: Path) -> str:
    """A name that a zip file can have: what is no UTF-8 is escaped."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# The folder --------------------------------------------------------------------------------------------------------

# Its files are `<user id>.<name>`, and no user id has a dot in it.


def begin(data: Path, user_id: str, name: str) -> Path:
    """Where a person's file is to be written, in a folder that is there. Raises ValueError for what is no user id."""
    folder = data / "exports"
    make_folder(folder)
    return folder_of(folder, user_id).with_name(f"{user_id}.{name}")


def remove(path: Path) -> None:
    """A file is of no use any more."""
    path.unlink(missing_ok=True)


def forget(data: Path, user_id: str) -> None:
    """Nothing that was to be sent to somebody is left."""
    for path in _files(data, f"{user_id}.", f".{user_id}."):
        remove(path)


def clear(data: Path, platform: str, wanted: Callable[[str], bool], at: float, *, stay: bool) -> None:
    """Remove what an earlier process left of a platform's people: half files, and whole ones that nothing waits for.

    `wanted` tells that of a path below `data`. Those that `stay` where they are do so for their hour.
    """
    sweep(data / "exports", f"{platform}-")
    for path in _files(data, f"{platform}-"):
        if not stay and not wanted(str(path.relative_to(data))):
            remove(path)
    prune(data, platform, at)


def prune(data: Path, platform: str, at: float) -> None:
    """Remove what has waited for an hour, and what bears a time that is yet to come."""
    for path in _files(data, f"{platform}-"):
        with suppress(FileNotFoundError):
            if not -KEEP < at - path.stat().st_mtime < _PRUNE:
                remove(path)


def _files(data: Path, *prefixes: str) -> list[Path]:
    with suppress(FileNotFoundError):
        return [path for path in (data / "exports").iterdir() if path.name.startswith(prefixes)]
    return []
