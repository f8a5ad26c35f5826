"""The durable edge where replies go out: a row per message, its state committed before every call to a platform."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memory.database import Tx


@dataclass(slots=True)
class Part:
    """One message of a reply. `stub` parts begin as a placeholder; `ambiguous` tells that it may stand under an unknown id."""

    id: int
    turn_id: int
    part: int
    chat: Mapping[str, Any]
    reply_to: str
    stub: bool
    text: str | None
    message_id: str
    via: str = ""
    buttons: tuple[Mapping[str, str], ...] = ()
    ambiguous: bool = False
    language: str = ""  # the person's; not known after a restart, and then our own words are English
    file: str = ""  # path below data_dir of the file that goes with the text
    unsendable: bool = False  # the platform would not take it
    unasked: bool = False  # nobody waits for it

    @property
    def key(self) -> str:
        """The same whenever this message is tried again, and for no other message."""
        return f"{self.turn_id}.{self.part}"


def put(
    tx: Tx,
    turn_id: int,
    part: int,
    chat: Mapping[str, Any],
    reply_to: str,
    stub: bool,
    text: str | None,
    at: float,
    via: str = "",
    buttons: Sequence[Mapping[str, str]] = (),
    file: str = "",
) -> Part | None:
    """Open a part (`text` None), or complete it; None if it was completed before.

    From here on the part counts as one that may have been posted: the call follows without another commit.
    """
    row = tx.one(
        "outbox_add",
        turn_id=turn_id,
        part=part,
        platform=chat["platform"],
        chat=json.dumps(chat, ensure_ascii=False),
        reply_to=reply_to,
        stub=int(stub),
        text=text,
        state="open" if text is None else "ready",
        at=at,
        via=via,
        buttons=json.dumps(buttons, ensure_ascii=False) if buttons else "",
        file=file,
    )
    if row is None:
        return None
    shown = tuple(buttons)
    return Part(
        row["id"], turn_id, part, chat, reply_to, stub, text, row["message_id"], via, shown, file=file
    )


def parts(tx: Tx, turn_id: int) -> list[Part]:
    """The parts of a turn that were begun, in order."""
    return [_part(row) for row in tx.all("outbox_of_turn", turn_id=turn_id)]


def owed(tx: Tx, platform: str, own: str = "") -> list[Part]:
    """Complete parts not delivered yet, oldest first. Nobody waits for those that answer what came from the source `own`."""
    rows = tx.all("outbox_owed", platform=platform, own=own)
    return [replace(_part(row), unasked=bool(row["unasked"])) for row in rows]


def revive(tx: Tx, platform: str) -> list[Part]:
    """Make the dead parts that the operator wants to be tried again ready like any other; they are the caller's to deliver."""
    return [
        _part(row)
        for row in sorted(tx.all("outbox_revive", platform=platform), key=lambda row: int(row["id"]))
    ]


def _part(row: Any) -> Part:
    return Part(
        row["id"],
        row["turn_id"],
        row["part"],
        json.loads(row["chat"]),
        row["reply_to"],
        bool(row["stub"]),
        row["text"],
        row["message_id"],
        row["via"],
        tuple(json.loads(row["buttons"] or "[]")),
        ambiguous=not row["message_id"],
        file=row["file"],
    )
