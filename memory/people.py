"""Who was let in by an operator, and who asks to be. All functions run inside a `Tx`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memory import schedules
from memory.database import Tx

_CODE_CHARS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # none that look alike
CODE_LENGTH = 8
CODE_SECONDS = 3600.0
MOST_IN_CHAT = 3
MOST_IN_ALL = 1000  # a crowd of strangers must not fill the disk
NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class Pairing:
    """Somebody who asks to be let in. `chat` is where they got the code, as plain data; `name` is what they call themselves."""

    code: str
    user_id: str
    name: str
    chat: Mapping[str, Any]
    expires_at: float


def new_code(length: int) -> str:
    """What a person reads here and types there; whoever looks it up takes it in either case."""
    return "".join(secrets.choice(_CODE_CHARS) for _ in range(length))


def ask(tx: Tx, user_id: str, name: str, chat: Mapping[str, Any], at: float) -> str | None:
    """A new code for a stranger, in place of an older one; None where too many wait already."""
    tx.run("pairing_expire", at=at)
    tx.run("pairing_drop", user_id=user_id)
    key = json.dumps([chat["platform"], chat["id"]])
    counts = tx.one("pairing_counts", chat_key=key)
    if counts["here"] >= MOST_IN_CHAT or counts["total"] >= MOST_IN_ALL:
        return None
    code = new_code(CODE_LENGTH)
    tx.run(
        "pairing_add",
        code=code,
        user_id=user_id,
        name=" ".join(name.split())[:NAME_CHARS],
        chat_key=key,
        chat=json.dumps(chat, ensure_ascii=False),
        expires_at=at + CODE_SECONDS,
    )
    return code


def pending(tx: Tx, at: float) -> list[Pairing]:
    """Who asks to be let in now, oldest first."""
    return [_pairing(row) for row in tx.all("pairing_all", at=at)]


def decide(tx: Tx, code: str, approved: bool, by: str, at: float) -> Pairing | None:
    """Let in, or keep out, who was given the code; None if it is no valid code (any more).

    For who is kept out nothing is scheduled any more.
    """
    row = tx.one("pairing_get", code=code.strip().upper(), at=at)
    if row is None:
        return None
    pairing = _pairing(row)
    chat = json.dumps(pairing.chat, ensure_ascii=False) if approved else ""
    state = "approved" if approved else "denied"
    tx.run("access_set", user_id=pairing.user_id, state=state, name=pairing.name, by=by, at=at, welcome=chat)
    if not approved:
        schedules.drop(tx, pairing.user_id)
    tx.run("pairing_drop", user_id=pairing.user_id)
    return pairing


def revoke(tx: Tx, user_id: str) -> bool:
    """Forget the decision about somebody, whichever it was; whether there was one. They are answered at once if they write.

    Nothing is scheduled for them any more.
    """
    tx.run("person_refused", user_id=user_id, at=0.0)
    if tx.one("access_drop", user_id=user_id) is None:
        return False
    schedules.drop(tx, user_id)
    return True


def state(tx: Tx, user_id: str) -> str:
    """ "approved", "denied", or "" where nothing was decided."""
    row = tx.one("access_get", user_id=user_id)
    return str(row["state"]) if row else ""


def decided(tx: Tx) -> list[Mapping[str, Any]]:
    """Every decision, newest first."""
    return [dict(row) for row in tx.all("access_all")]


def unwelcomed(tx: Tx) -> list[tuple[str, str, float, Mapping[str, Any]]]:
    """Who was let in and was not told so: user id, name, when it was decided, and the chat where they asked."""
    return [(r["user_id"], r["name"], r["at"], json.loads(r["welcome"])) for r in tx.all("access_unwelcomed")]


def welcomed(tx: Tx, user_id: str) -> None:
    """They are told."""
    tx.run("access_welcomed", user_id=user_id)


def set_home(tx: Tx, user_id: str, chat: Mapping[str, Any]) -> None:
    """They wrote to us in private, there."""
    tx.run("home_set", user_id=user_id, chat=json.dumps(chat, ensure_ascii=False))


def home(tx: Tx, user_id: str) -> Mapping[str, Any] | None:
    """The private chat where a person can be written to, as plain data; None if they never wrote to us in private."""
    row = tx.one("home_get", user_id=user_id)
    return json.loads(row["chat"]) if row else None


def quiet(tx: Tx, user_id: str) -> str:
    """A person's quiet hours, as they or another user id of theirs set them; "" for none."""
    row = tx.one("person_quiet_get", user_id=user_id)
    return str(row["quiet"]) if row else ""


def prune(tx: Tx, before: float) -> None:
    """Let go of strangers who were refused before then, and of their codes that are over: a crowd must not fill the disk."""
    tx.run("people_prune", before=before)
    tx.run("pairing_expire", at=before)


def _pairing(row: Any) -> Pairing:
    return Pairing(row["code"], row["user_id"], row["name"], json.loads(row["chat"]), row["expires_at"])
