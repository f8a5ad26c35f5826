"""Dead letters: what could not be read, answered or delivered, kept until the operator has it tried again or drops it.

No table of its own: an unreadable update and the messages of a turn that was given up are rows of the inbox that stay
'quarantined', a part of a reply that no platform took is a 'dead' row of the outbox. All functions run inside a `Tx`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memory.database import Tx

Kind = Literal["update", "turn", "reply"]

_ASK = {"update": "dead_update_ask", "turn": "dead_turn_ask", "reply": "dead_reply_ask"}
_DROP = {"update": "dead_update_drop", "turn": "dead_turn_drop"}

KEEP = 30 * 86400.0  # seconds; then nobody waits for the answer any more
_PREFIXES: dict[str, Kind] = {"u": "update", "t": "turn", "r": "reply"}


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `words` is what people said, or a platform's raw data: to be shown only to who asks for it.

    `number` is the row's; a turn's is that of the reference which the person was given. `asked` tells that it is to be tried
    again and that no process has taken it up yet.
    """

    kind: Kind
    number: int
    platform: str
    chat: str
    user: str
    at: float
    attempts: int
    problem: str
    asked: bool
    words: str

    @property
    def id(self) -> str:
        """How the operator names it: `u12`, `t13`, `r34`."""
        return f"{self.kind[0]}{self.number}"


def parse(id_: str) -> tuple[Kind, int]:
    """The kind and number of `Letter.id`; ValueError if it is none."""
    kind, number = _PREFIXES.get(id_[:1]), id_[1:]
    if kind is None or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise ValueError(f"{id_!r} is no dead letter's id; they look like u12, t13 or r34")
    return kind, int(number)


def letters(tx: Tx) -> list[Letter]:
    """Every dead letter, those that died first before the others."""
    found = [*_updates(tx.all("dead_updates")), *map(_reply, tx.all("dead_replies"))]
    return sorted(found, key=lambda letter: (letter.at, letter.number))


def get(tx: Tx, kind: Kind, number: int) -> Letter | None:
    """The letter of that id, or None."""
    return next((x for x in letters(tx) if (x.kind, x.number) == (kind, number)), None)


def ask(tx: Tx, kind: Kind, number: int) -> None:
    """Have a letter tried again, by the process that runs its platform or by the next one."""
    tx.run(_ASK[kind], id=number)


def drop(tx: Tx, kind: Kind, number: int) -> None:
    """Erase a letter's words. What a transcript has of them stays there."""
    if kind == "reply":
        tx.run("dead_reply_drop", id=number)
    else:
        tx.run(_DROP[kind], id=number, problem="dropped")


def prune(tx: Tx, now: float, keep: float = KEEP) -> None:
    """Let go of what has been dead for longer."""
    tx.run("dead_prune_updates", before=now - keep)
    tx.run("dead_prune_replies", before=now - keep)


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of the inbox to be tried again. `raw` is what could not be read, else `body` is what was kept of the message.

    `again` is the key of the row that takes its place: the same for the same try, so that it is taken up once.
    """

    id: int
    source: str
    again: str
    raw: str = ""
    body: Any = None


def asked(tx: Tx, platform: str) -> list[Asked]:
    """What the operator wants to have tried again of a platform, in order of arrival."""
    return [
        Asked(r["id"], r["source"], again, raw=r["body"] or "")
        if r["turn_id"] is None
        else Asked(r["id"], r["source"], again, body=json.loads(r["body"]))
        for r in tx.all("dead_updates_asked", platform=platform)
        for again in [f"{r['key']}~{r['retries']}"]
    ]


def taken_up(tx: Tx, row: Asked) -> None:
    """Another row has taken its place, or it turned out to be of no concern."""
    tx.run("dead_row_done", id=row.id)


def still_unreadable(tx: Tx, row: Asked, problem: str) -> None:
    """The try failed: it stays where it is until it is asked for again."""
    tx.run("dead_row_failed", id=row.id, problem=problem)


def _updates(rows: Sequence[Any]) -> Iterator[Letter]:
    """The letters of inbox rows: one each, but one for all the messages of a turn."""
    turns: dict[int, list[Any]] = {}
    for row in rows:
        if row["turn_id"] is not None:
            turns.setdefault(row["turn_id"], []).append(row)
            continue
        yield Letter(
            "update",
            row["id"],
            row["platform"],
            "",
            row["user_id"],
            row["at"],
            row["attempts"],
            row["problem"],
            bool(row["asked"]),
            row["body"] or "",
        )
    for turn_id, together in turns.items():
        first, updates = together[0], [json.loads(row["body"])["update"] for row in together]
        yield Letter(
            "turn",
            turn_id,
            first["platform"],
            _place(updates[0]["chat"]),
            first["user_id"],
            first["at"],
            first["attempts"],
            first["problem"],
            any(row["asked"] for row in together),
            "\n\n".join(update["text"] for update in updates),
        )


def _reply(row: Any) -> Letter:
    chat = json.loads(row["chat"])
    return Letter(
        "reply",
        row["id"],
        row["platform"],
        _place(chat),
        row["user_id"],
        row["at"],
        row["attempts"],
        row["problem"],
        bool(row["asked"]),
        row["text"] or "",
    )


def _place(chat: Mapping[str, Any]) -> str:
    """The chat's key, without its title: that is a person's words too."""
    return f"{chat['platform']}:{chat['id']}:{chat['thread']}"
