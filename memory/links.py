"""One person on several platforms: user ids that belong together, and the codes by which they come together.

Each user id keeps its own folder, facts and rows; what is shared is reading and counting, which go over `people`. So parting two
leaves each with what was said on its own platform. Nobody is let in by being linked. All functions run inside a `Tx`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memory import people as people_
from memory import schedules
from memory.database import Tx
from memory.transcripts import find_zone

CODE_SECONDS = 600.0
MOST_IDS = 8  # of one person
TRIES_SECONDS = 3600.0  # in which so many codes may be wrong:
MOST_TRIES = 5  # of one user id
MOST_TRIES_IN_ALL = 100

Refusal = Literal["unknown", "too_often", "own", "linked", "too_many"]
"""Why a code links nobody: it is none (any more), codes are not looked at for now, it is their own, they are linked already, or
it would make too many ids of one person."""


@dataclass(frozen=True, slots=True)
class Person:
    """All user ids of one person, the one that was asked for first, and the zone that they set; "" if they set none.

    One that this machine does not know counts for none: it knew another one's files, or its zones were changed.
    """

    ids: tuple[str, ...]
    timezone: str


def person(tx: Tx, user_id: str) -> Person:
    """Who somebody is. Their zone is the one that was set for this id, else that of the first of the others that has one."""
    ids = people(tx, user_id)
    rows = (tx.one("person_get", user_id=id_) for id_ in ids)
    return Person(ids, next((row["timezone"] for row in rows if row and find_zone(row["timezone"])), ""))


def people(tx: Tx, user_id: str) -> tuple[str, ...]:
    """Every user id of the person that `user_id` is one of, itself first."""
    return (user_id, *(row["user_id"] for row in tx.all("links_of", user_id=user_id)))


def linked(tx: Tx) -> dict[str, str]:
    """What stands for the person, by each user id that is linked."""
    return {row["user_id"]: row["person"] for row in tx.all("links_all")}


# Codes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Code:
    """A code that somebody may be linked by. `name` is what they call themselves.

    `chat` is where they are to be told of it (None: at home), `shown_to` are the user ids that were told whose it is.
    """

    code: str
    user_id: str
    name: str
    language: str
    chat: Mapping[str, Any] | None
    shown_to: frozenset[str]


def ask(tx: Tx, user_id: str, name: str, language: str, chat: Mapping[str, Any] | None, at: float) -> str:
    """A new code for a user id, in place of an older one. `chat` is private, as plain data."""
    code = people_.new_code(people_.CODE_LENGTH)
    tx.run(
        "link_code_add",
        code=code,
        user_id=user_id,
        name=" ".join(name.split())[: people_.NAME_CHARS],
        language=language,
        chat="" if chat is None else json.dumps(chat, ensure_ascii=False),
        expires_at=at + CODE_SECONDS,
    )
    return code


def find(tx: Tx, code: str, user_id: str, at: float) -> Code | Refusal:
    """Whose code it is that `user_id` has typed, or why it links nobody. Writes nothing: a wrong one is for `missed` to count."""
    tries = tx.one("link_tries_count", user_id=user_id, since=at - TRIES_SECONDS)
    if tries["own"] >= MOST_TRIES or tries["total"] >= MOST_TRIES_IN_ALL:
        return "too_often"
    row = tx.one("link_code_get", code=_plain(code), at=at)
    if row is None:
        return "unknown"
    if row["user_id"] == user_id:
        return "own"
    ids, others = people(tx, user_id), people(tx, row["user_id"])
    if row["user_id"] in ids:
        return "linked"
    if len(ids) + len(others) > MOST_IDS:
        return "too_many"
    chat = json.loads(row["chat"]) if row["chat"] else None
    return Code(
        row["code"],
        row["user_id"],
        row["name"],
        row["language"],
        chat,
        frozenset(json.loads(row["shown_to"])),
    )


def missed(tx: Tx, user_id: str, at: float) -> None:
    """A code was wrong: guessing comes to its end soon."""
    tx.run("link_tries_prune", before=at - TRIES_SECONDS, after=at + TRIES_SECONDS)
    tx.run("link_try_add", user_id=user_id, at=at)


def show(tx: Tx, code: Code, user_id: str) -> None:
    """`user_id` is told whose the code is."""
    if user_id not in code.shown_to:
        tx.run("link_code_show", code=code.code, user_id=user_id)


def void(tx: Tx, code: str) -> None:
    """A code, if it is one, is good for nothing any more."""
    tx.run("link_code_drop", code=_plain(code))


def _plain(code: str) -> str:
    return code.strip().upper()


# Linking and parting ------------------------------------------------------------------------------------------------


def link(tx: Tx, code: Code, user_id: str, at: float) -> tuple[str, ...]:
    """Make `user_id` and whoever `code` was given to one person, both with all they were linked with before; the new ids.

    The code is used up, and everybody but `user_id` is owed a notice. `code` was found in this very transaction.
    """
    void(tx, code.code)
    ours, theirs = people(tx, user_id), people(tx, code.user_id)
    row = tx.one("links_get", user_id=user_id) or tx.one("links_get", user_id=code.user_id)
    stands = row["person"] if row else secrets.token_hex(16)
    for id_ in (*theirs, *ours):
        tx.run("links_set", user_id=id_, person=stands, at=at)
    for id_ in theirs:
        maker = id_ == code.user_id
        _notify(
            tx,
            id_,
            ours,
            at,
            linked=True,
            chat=code.chat if maker else None,
            language=code.language if maker else "",
        )
    for id_ in ours[1:]:
        _notify(tx, id_, theirs, at, linked=True)
    schedules.join(tx, (*theirs, *ours))
    return theirs


def unlink(tx: Tx, user_id: str, at: float) -> tuple[str, ...]:
    """Part `user_id` from the others, who stay together, and owe them a notice; they are returned. None: it was alone."""
    _, *others = people(tx, user_id)
    tx.run("links_drop", user_id=user_id)
    if len(others) == 1:
        tx.run("links_drop", user_id=others[0])
    for id_ in others:
        _notify(tx, id_, (user_id,), at, linked=False)
    return tuple(others)


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody is to be told, in a private chat, that they were `linked` with others or parted from them."""

    id: int
    user_id: str
    language: str
    chat: Mapping[str, Any]
    others: tuple[str, ...]
    linked: bool
    at: float


def notices(tx: Tx) -> list[Notice]:
    """What is to be told, in order."""
    return [
        Notice(
            row["id"],
            row["user_id"],
            row["language"],
            json.loads(row["chat"]),
            tuple(json.loads(row["others"])),
            bool(row["linked"]),
            row["at"],
        )
        for row in tx.all("link_notices")
    ]


def told(tx: Tx, notice: Notice) -> None:
    """It is seen to."""
    tx.run("link_notice_drop", id=notice.id)


def prune(tx: Tx, at: float, before: float) -> None:
    """Let go of codes and tries that are over, and of notices from before then."""
    tx.run("link_codes_expire", at=at)
    tx.run("link_tries_prune", before=at - TRIES_SECONDS, after=at + TRIES_SECONDS)
    tx.run("link_notices_prune", before=before)


def _notify(
    tx: Tx,
    user_id: str,
    others: Sequence[str],
    at: float,
    *,
    linked: bool,
    chat: Mapping[str, Any] | None = None,
    language: str = "",
) -> None:
    """Who never wrote to us in private can not be told."""
    chat = chat or people_.home(tx, user_id)
    if chat is not None:
        tx.run(
            "link_notice_add",
            user_id=user_id,
            language=language,
            chat=json.dumps(chat, ensure_ascii=False),
            others=json.dumps(others),
            linked=int(linked),
            at=at,
        )
