"""The durable edge where platforms' updates come in: kept before they are confirmed, each taken up by one turn.

All functions run inside a `Tx`. A row's body (people's words) goes when its turn is over, unless that was given up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from memory.database import Fenced, Tx


@dataclass(frozen=True, slots=True)
class Row:
    """A row to add. `lane` is the stream key; rows of one lane are worked on in order of arrival."""

    source: str
    key: str
    platform: str
    state: Literal["waiting", "ignored", "quarantined"]
    received_at: float
    lane: str = ""
    user_id: str = ""
    message_id: str = ""
    command: bool = False
    body: str | None = None
    problem: str = ""
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Owed:
    """A row that waits, or whose turn was cut off (`turn_id` is set)."""

    id: int
    lane: str
    command: bool
    body: Mapping[str, Any]
    turn_id: int | None
    due_at: float


def add(tx: Tx, row: Row) -> int | None:
    """Keep a row; its id, or None if the same source and key came before."""
    found = tx.one(
        "inbox_add",
        source=row.source,
        key=row.key,
        platform=row.platform,
        lane=row.lane,
        user_id=row.user_id,
        message_id=row.message_id,
        state=row.state,
        command=int(row.command),
        body=row.body,
        problem=row.problem,
        received_at=row.received_at,
        due_at=row.due_at,
    )
    return found and int(found["id"])


def owed(tx: Tx, platform: str, after: int = 0) -> list[Owed]:
    """What the platform's people are still owed, in order of arrival, from row `after` on."""
    return [
        Owed(r["id"], r["lane"], bool(r["command"]), json.loads(r["body"]), r["turn_id"], r["due_at"])
        for r in tx.all("inbox_owed", platform=platform, after=after)
    ]


def undelivered(tx: Tx, source: str, prefix: str, since: float) -> bool:
    """Whether the reply to the last of a source's keys that begin so waits for its delivery since then at least."""
    values = {"source": source, "first": prefix, "beyond": f"{prefix}~", "since": since}
    return tx.one("inbox_undelivered", **values) is not None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a turn. Every write of the turn shows it; `attempt` tells a first try from a resumed one."""

    turn_id: int
    attempt: int
    stream_id: int


def claim(tx: Tx, turn_id: int, stream_id: int, user_id: str, rows: list[int], at: float) -> Claim | None:
    """Begin a turn, or take it over from an attempt that died; None if it is over already, or its row is not owed any more.

    `user_id` is who asked. Earlier claims of the turn are void from here on. A resumed turn stays in the stream where it began.
    """
    found = tx.one("turn_begin", id=turn_id, stream_id=stream_id, user_id=user_id, at=at)
    if found is None:
        return None
    for row in rows:
        tx.run("inbox_take", id=row, turn_id=turn_id)
    return Claim(turn_id, found["attempt"], found["stream_id"])


def guard(tx: Tx, claim: Claim) -> None:
    """Raise `Fenced` unless the claim still holds: call it first in every write of a turn."""
    if tx.one("turn_owner", id=claim.turn_id, attempt=claim.attempt) is None:
        raise Fenced(
            f"turn {claim.turn_id}: attempt {claim.attempt} is not the current one; its writes are dropped"
        )


def close(tx: Tx, claim: Claim, outcome: str, at: float, *, keep: bool = False) -> None:
    """The turn is over: its rows are done and their words are gone; with `keep` they are dead letters (memory/dead.py)."""
    tx.run("turn_end", id=claim.turn_id, outcome=outcome, at=at)
    tx.run("inbox_keep" if keep else "inbox_close", turn_id=claim.turn_id)
