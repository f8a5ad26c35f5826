"""Erasing a person: every row and file that holds anything of them, and what deleted rows leave behind in the database's file.

An erasure is a row of `erasures` until it is done, so that a kill at any instant leaves it owed; every step may be repeated.
What is kept of a person, and why: the operator's decision about them, without a name; what runs of today's limits, or forgetting
would be a way to a new budget; the keys of what their platform sent, so that what it sends again is not taken for new.
All functions but `wipe` run inside a `Tx`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from memory import export, links, schedules
from memory.database import Database, MemoryFault, Tx
from memory.transcripts import Transcripts
from memory.whole import sweep

CODE_SECONDS = 600.0
CODE_LENGTH = 4  # it keeps from mistakes, not from others: nobody's code is good for anybody else
KEEP = 3 * 86400.0  # seconds for which an erasure that is done is known
_ZONES_APART = timedelta(days=1)  # the day that runs somewhere may be yesterday's in UTC
_WAIT = 0.2  # seconds until a reader may have gone


class NotWiped(MemoryFault):
    """Another process reads the database for so long that its log could not be emptied. What was erased may stand there yet."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure that is owed, or that is done and whose person is to be told: `tell` is then where, as plain data.

    `person` is the user id that asked; those of one person have it in common. `upto` is the last row of the inbox that goes.
    """

    user_id: str
    person: str
    asked_at: float
    upto: int | None
    erased_at: float | None
    done_at: float | None
    tell: Mapping[str, Any] | None

    @property
    def platform(self) -> str:
        return self.user_id.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Erased:
    """What went, for those who have copies in memory: turns of theirs, and conversations that held anything of them.

    `shared` are those conversations in which others took part as well.
    """

    turns: frozenset[int]
    streams: frozenset[int]
    shared: frozenset[int]


# Asking ------------------------------------------------------------------------------------------------------------


def offer(tx: Tx, user_id: str, code: str, at: float) -> tuple[str, ...]:
    """Let somebody confirm with this code, in place of an older one; the user ids that will go, which they are to be told."""
    people = links.people(tx, user_id)
    expires_at = at + CODE_SECONDS
    tx.run("forget_code_set", user_id=user_id, code=code, people=json.dumps(people), expires_at=expires_at)
    return people


def confirm(tx: Tx, user_id: str, code: str, at: float) -> tuple[str, ...]:
    """The user ids that are to go, if it is the code of this very user id, which is used up. None if it is not, or no more.

    Nor is it good for more or fewer ids than those that were told.
    """
    row = tx.one("forget_code_get", user_id=user_id, code=code.strip().upper(), at=at)
    people = links.people(tx, user_id)
    if row is None or set(json.loads(row["people"])) != set(people):
        return ()
    tx.run("forget_code_drop", user_id=user_id)
    return people


def ask(tx: Tx, people: Sequence[str], at: float, tell: Mapping[str, Any] | None = None) -> None:
    """Owe the erasure of these user ids, which are one person; `tell` is where the first one is to be told when all is done.

    What is under way already goes on.
    """
    for user_id in people:
        told = tell if user_id == people[0] else None
        tx.run(
            "erasure_ask",
            user_id=user_id,
            person=people[0],
            at=at,
            tell="" if told is None else json.dumps(told, ensure_ascii=False),
        )


def owed(tx: Tx) -> list[Erasure]:
    """What is to be done, or to be told, in the order of asking."""
    return [_erasure(row) for row in tx.all("erasures_owed")]


def get(tx: Tx, user_id: str) -> Erasure | None:
    """The erasure of a user id, done or not."""
    row = tx.one("erasure_get", user_id=user_id)
    return row and _erasure(row)


def known(tx: Tx, user_id: str) -> bool:
    """Whether the database has anything of somebody that an erasure takes."""
    return tx.one("erase_known", user_id=user_id) is not None or bool(_unreadable(tx, user_id))


def again(tx: Tx, erasure: Erasure) -> None:
    """It could not be done now: until the next try, what comes is worked on, and goes as well."""
    tx.run("erasure_again", user_id=erasure.user_id)


def erased(tx: Tx, erasure: Erasure, at: float) -> None:
    """Rows and files are gone, the index too."""
    tx.run("erasure_erased", user_id=erasure.user_id, at=at)


def done(tx: Tx, erasure: Erasure, at: float) -> None:
    """Nothing of them is left."""
    tx.run("erasure_done", user_id=erasure.user_id, asked_at=erasure.asked_at, at=at)


def told(tx: Tx, erasure: Erasure) -> None:
    """They know, or will."""
    tx.run("erasure_told", user_id=erasure.user_id)


def prune(tx: Tx, at: float) -> None:
    """Let go of erasures that are done for long, of the days of limits that they left, and of codes that are over."""
    tx.run("forget_codes_expire", at=at)
    for row in tx.all("erasures_old", before=at - KEEP):
        tx.run("erase_spend", scopes=row["spent"], before=_first_day(at))
        tx.run("erasure_drop", user_id=row["user_id"])


# Erasing -----------------------------------------------------------------------------------------------------------


def erase(tx: Tx, erasure: Erasure, transcripts: Transcripts, data: Path, at: float) -> Erased:
    """Erase all rows and files of a user id. No turn of theirs runs, and whoever writes their files is this transaction.

    What they wrote after the erasure began stays in the inbox. Copies in memory are the caller's; so is the index, which is
    not of the database. `data` is the folder that exports wait in. Raises OSError as the disk does: nothing
    but files is then gone.
    """
    user_id, platform = erasure.user_id, erasure.platform
    tx.run("erasure_begin", user_id=user_id)
    upto = tx.one("erasure_get", user_id=user_id)["upto"]
    turns = [row["id"] for row in tx.all("erase_turns_of", user_id=user_id)]
    private = _private_chats(tx, user_id, turns)
    streams, shared = _streams(tx, user_id, platform, turns)
    _replies(tx, platform, turns, private)
    tx.run("erase_calls", turns=json.dumps([str(turn) for turn in turns]))
    _received(tx, user_id, upto)
    _money(tx, user_id, platform, private, at)
    _marks(tx, platform, private)
    _person(tx, user_id, at)
    tx.run("erase_turns", user_id=user_id, at=at)
    export.forget(data, user_id)
    sweep(data)  # a half backup, which holds everybody
    transcripts.forget(user_id)
    return Erased(frozenset(turns), frozenset(streams), frozenset(shared))


def _streams(tx: Tx, user_id: str, platform: str, turns: Sequence[int]) -> tuple[set[int], set[int]]:
    """Their own conversations go; of a room's, what they said, what was answered to them, and what others' turns heard of them.

    All that held anything, and the shared ones of them in which they took part.
    """
    own = {row["id"] for row in tx.all("erase_streams_own", user_id=user_id)}
    ids = json.dumps(sorted(own))
    tx.run("erase_events", streams=ids)
    tx.run("erase_room_seen", streams=ids)
    tx.run("erase_streams", streams=ids)
    # Where they took part, turns of an older version may be theirs: nobody knows whose those are.
    shared = {row["stream_id"] for row in tx.all("erase_streams_shared", user_id=user_id)} - own
    ids = json.dumps(sorted(shared))
    unknown = [row["id"] for row in tx.all("erase_turns_unknown", streams=ids)]
    tx.run("erase_said", streams=ids, turns=json.dumps([*turns, *unknown]))
    heard = {
        row["id"] for row in tx.all("erase_streams_hearing", user_id=user_id, prefix=f"{platform}:")
    } - own
    tx.run("erase_context", streams=json.dumps(sorted(heard)))
    tx.run("erase_room", user_id=user_id, prefix=f"{platform}:")
    tx.run("erase_room_people", user_id=user_id, prefix=f"{platform}:")
    return own | shared | heard, shared


def _private_chats(tx: Tx, user_id: str, turns: Sequence[int]) -> set[str]:
    """The platform's ids of the chats that they have with us alone, as far as they are known."""
    found = {
        row["id"] for row in tx.all("erase_chats_private", user_id=user_id, turns=json.dumps(list(turns)))
    }
    return found | {_native(user_id)}  # as some platforms have it; on others no chat has a person's id


def _replies(tx: Tx, platform: str, turns: Sequence[int], private: set[str]) -> None:
    """Replies to them go, delivered or not."""
    tx.run(
        "erase_outbox",
        platform=platform,
        turns=json.dumps(list(turns)),
        chats=json.dumps(sorted(private)),
    )


def _received(tx: Tx, user_id: str, upto: int) -> None:
    """Of what they sent, the keys stay alone. An update that could not be read may be anybody's whose id stands in it."""
    tx.run("erase_inbox", user_id=user_id, upto=upto)
    for id_ in _unreadable(tx, user_id):
        tx.run("dead_update_drop", id=id_, problem="forgotten")


def _money(tx: Tx, user_id: str, platform: str, private: set[str], at: float) -> None:
    """What was used stays, as nobody's; a chat that nobody else has used is theirs."""
    tx.run("erase_usage", user_id=user_id)
    scopes = json.dumps([f"person:{user_id}", *(f"chat:{platform}:{chat}" for chat in sorted(private))])
    tx.run("erase_spend", scopes=scopes, before=_first_day(at))
    tx.run("erasure_spent", user_id=user_id, spent=scopes)
    tx.run("pace_drop", user_id=user_id, at=at)


def _marks(tx: Tx, platform: str, private: set[str]) -> None:
    """What the adapter keeps of a private chat bears the parts of its id in its name."""
    for chat in private:
        parts = set(chat.split("-"))
        for row in tx.all("state_get", adapter=platform, prefix=""):
            if parts <= set(row["name"].split(":")[1:]):
                tx.run("state_drop", adapter=platform, name=row["name"])


def _person(tx: Tx, user_id: str, at: float) -> None:
    """All that is under their user id and nothing else."""
    tx.run("erase_pending", user_id=user_id)
    tx.run("erase_sections", user_id=user_id)
    tx.run("erase_files", user_id=user_id)
    tx.run("erase_person", user_id=user_id)
    tx.run("erase_home", user_id=user_id)
    schedules.drop(tx, user_id)
    tx.run("erase_notices", user_id=user_id)
    tx.run("erase_access", user_id=user_id)
    tx.run("erase_decided", user_id=user_id)
    tx.run("pairing_drop", user_id=user_id)
    tx.run("forget_code_drop", user_id=user_id)
    _, *others = links.people(tx, user_id)
    for alone in (user_id, *others) if len(others) == 1 else (user_id,):
        tx.run("links_drop", user_id=alone)
    tx.run("erase_link_codes", user_id=user_id)
    tx.run("erase_link_codes_shown", user_id=user_id)
    tx.run("erase_link_notices", user_id=user_id)
    # Those of the last hour stay, or forgetting would be a way to guess on.
    tx.run("erase_link_tries", user_id=user_id, before=at - links.TRIES_SECONDS)


def summaries(tx: Tx, erased: Erased) -> None:
    """Erase once more what a turn of somebody else may have summed up of a shared conversation while its past was erased."""
    tx.run("erase_said", streams=json.dumps(sorted(erased.shared)), turns="[]")


async def wipe(database: Database, patience: float | None = None) -> None:
    """Leave nothing of what was deleted in the database's files. With `patience`, raise `NotWiped` after so many seconds.

    SQLite overwrites what is deleted, but copies that it left where it moved rows from page to page: only writing the file
    anew is sure to lose those. It takes about a second for each 100 MB, and others' writes wait meanwhile.
    """
    began = time.monotonic()
    await database.read(lambda tx: tx.run("vacuum"))
    while await database.read(_log_is_read):
        if patience is not None and time.monotonic() - began > patience:
            raise NotWiped(
                f"something else has been reading {str(database.path)!r} for {patience:.0f} seconds, so that its log can not be "
                "emptied; end it, and run this again"
            )
        await asyncio.sleep(_WAIT)


def _log_is_read(tx: Tx) -> bool:
    """Empty the write-ahead log; whether that could not be done now. Waiting here would hold up everybody's writes."""
    tx.run("wait_for_nobody")
    try:
        return bool(tx.one("wal_empty")["busy"])
    finally:
        tx.run("wait_as_usual")


# Small things ------------------------------------------------------------------------------------------------------


def backups(database: Path, memory: Path) -> list[Path]:
    """What upgrades and restores have left of earlier states beside the database and the transcripts: nothing is erased there."""
    found = {*database.parent.glob(f"{database.name}.*.bak")}
    for folder in (database.parent.absolute(), memory.absolute()):
        found |= {*folder.glob(".before-restore-*"), *folder.parent.glob(f"{folder.name}.before-restore-*")}
    return sorted(path for path in found if path.is_file() or any(path.iterdir()))


def _first_day(at: float) -> str:
    """The first day that may run yet somewhere."""
    return str(datetime.fromtimestamp(at, UTC).date() - _ZONES_APART)


def _native(user_id: str) -> str:
    """The platform's own id of a person."""
    return unquote(user_id.partition("-")[2])


def _unreadable(tx: Tx, user_id: str) -> list[int]:
    """Rows of updates that could not be read, and that their id stands in."""
    ids = {_native(user_id), unquote(user_id.rpartition("-")[2])}
    rows = tx.all("erase_unreadable", platform=user_id.partition("-")[0])
    return [row["id"] for row in rows if _mentions(row["body"], ids)]


def _mentions(raw: str, ids: set[str]) -> bool:
    """Whether one of these ids stands in what a platform sent, be it as text or as the number of an object."""
    try:
        found: list[Any] = [json.loads(raw)]
    except (ValueError, RecursionError):
        return any(id_ in raw for id_ in ids)
    while found:
        value = found.pop()
        if isinstance(value, dict):
            if any(isinstance(value.get(key), int) and str(value[key]) in ids for key in ("id", "user_id")):
                return True
            found += value.values()
        elif isinstance(value, list):
            found += value
        elif isinstance(value, str) and value in ids:
            return True
    return False


def _erasure(row: sqlite3.Row) -> Erasure:
    return Erasure(
        row["user_id"],
        row["person"],
        row["asked_at"],
        row["upto"],
        row["erased_at"],
        row["done_at"],
        json.loads(row["tell"]) if row["tell"] else None,
    )
