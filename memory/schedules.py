"""What is to happen at a time: people's reminders and the operator's schedules. All functions run inside a `Tx`.

The table is the truth. Whoever fires a schedule moves its `next_at` on by a guarded write (`advance`), in the transaction
that enters what fires into the inbox: of two processes one succeeds. A schedule that is over has no row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from memory.database import Tx

QUIET = "it waits for the end of their quiet hours"  # the problem of what does


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule; `id` is 0 until `add` has given it one, and so is the `number` by which its person calls a reminder.

    `person` and `chat` are plain data of the adapters' types. An empty `chat` is the person's private one, wherever that is when
    it is due. `text` is said, or with `work` worked on by the agent. `trigger` is as `bot.triggers.dump` writes it, in
    `zone`; `next_at` is when it is due next, and never after `until`. Up to `grace` seconds late it is in time; what
    `missed` says is done when it is later. Times are unix seconds.
    """

    kind: Literal["reminder", "prompt"]
    platform: str
    user_id: str
    person: Mapping[str, Any]
    chat: Mapping[str, Any]
    chat_key: str
    text: str
    trigger: str
    zone: str
    next_at: float
    created_at: float
    work: bool = False
    missed: Literal["run", "skip", "notify"] = "run"
    grace: float = 0.0
    until: float | None = None
    name: str = ""
    id: int = 0
    number: int = 0
    state: Literal["active", "paused"] = "active"
    problem: str = ""
    last_at: float | None = None


def add(tx: Tx, schedule: Schedule, people: Sequence[str] = ()) -> Schedule:
    """Keep a schedule, a reminder under a number that no other one of these user ids has (none: of its own); as it is kept."""
    row = tx.one(
        "schedule_add",
        kind=schedule.kind,
        name=schedule.name,
        platform=schedule.platform,
        user_id=schedule.user_id,
        created_at=schedule.created_at,
        **_changeable(schedule),
    )
    kept = replace(schedule, id=row["id"])
    return _numbered(tx, kept, people or [kept.user_id]) if kept.kind == "reminder" else kept


def join(tx: Tx, people: Sequence[str]) -> None:
    """These user ids are one person now: of reminders that have one number all but the oldest get another."""
    taken: set[int] = set()
    for one in sorted(of_people(tx, people), key=lambda one: one.id):
        taken.add((one if one.number not in taken else _numbered(tx, one, people)).number)


def _numbered(tx: Tx, schedule: Schedule, people: Sequence[str]) -> Schedule:
    row = tx.one("schedule_number", id=schedule.id, people=json.dumps(people))
    return replace(schedule, number=row["number"])


def get(tx: Tx, schedule_id: int) -> Schedule | None:
    """A schedule by its id, whosever it is; None if there is none (any more)."""
    row = tx.one("schedule_get", id=schedule_id)
    return row and _schedule(row)


def every(tx: Tx) -> list[Schedule]:
    """All of them, the next first."""
    return [_schedule(row) for row in tx.all("schedules_all")]


def of_people(
    tx: Tx, people: Sequence[str], kind: Literal["reminder", "prompt"] = "reminder"
) -> list[Schedule]:
    """What stands for these user ids, paused ones included, the next first."""
    return [_schedule(row) for row in tx.all("schedules_of", people=json.dumps(people), kind=kind)]


def count(tx: Tx, people: Sequence[str]) -> int:
    """How many reminders these user ids have, paused ones included."""
    return int(tx.one("schedules_count", people=json.dumps(people))["number"])


def cancel(tx: Tx, schedule_id: int, people: Sequence[str]) -> Schedule | None:
    """Take back a reminder of one of these user ids; what it was, or None if they have no such one."""
    row = tx.one("schedule_cancel", id=schedule_id, people=json.dumps(people))
    return row and _schedule(row)


def pause_chat(tx: Tx, chat_key: str, problem: str) -> int:
    """A chat can not be written to: what goes there rests, and says why; how many there were."""
    return tx.run("schedules_pause", first=chat_key, beyond=f"{chat_key}\0", problem=problem).rowcount


def pause_chats(tx: Tx, prefix: str, problem: str) -> int:
    """Likewise for all chats whose key begins so."""
    return tx.run("schedules_pause", first=prefix, beyond=prefix + _LAST, problem=problem).rowcount


def pause_home(tx: Tx, user_id: str, problem: str) -> int:
    """Likewise what goes to a person's private chat, wherever that is."""
    return tx.run("schedules_pause_home", user_id=user_id, problem=problem).rowcount


def resume_chats(tx: Tx, prefix: str, problem: str) -> int:
    """What was paused there with that problem goes on; what was due meanwhile counts as missed. How many there were."""
    return tx.run("schedules_resume", first=prefix, beyond=prefix + _LAST, problem=problem).rowcount


def resume_home(tx: Tx, user_id: str, problem: str) -> int:
    """Likewise what goes to a person's private chat."""
    return tx.run("schedules_resume_home", user_id=user_id, problem=problem).rowcount


_LAST = "\U0010ffff"  # behind all else that a key may go on with


def drop(tx: Tx, user_id: str) -> None:
    """Somebody is not let in any more, or forgotten: they have no reminders, and have subscribed to nothing.

    What the configuration sends to them by name is the operator's, and stays; it rests while they are not let in.
    """
    tx.run("schedules_drop", user_id=user_id)
    tx.run("subscriptions_drop", user_id=user_id)


def wake(tx: Tx, user_id: str, at: float) -> None:
    """The person has other quiet hours now: what waits for the end of the old ones is due at once."""
    tx.run("schedules_wake", user_id=user_id, problem=QUIET, at=at)


def due(tx: Tx, platform: str, at: float, limit: int, only: str = "") -> list[Schedule]:
    """What a platform's process is to fire by `at`, in order; at most `limit`, and for the chat with the id `only`, if any."""
    rows = tx.all("schedules_due", platform=platform, at=at, limit=limit, only=only)
    return [_schedule(row) for row in rows]


def next_due(tx: Tx, platform: str, only: str = "") -> float | None:
    """When something of a platform is due next: a look into an index, however many wait."""
    row = tx.one("schedules_next", platform=platform, only=only)
    return row and float(row["next_at"])


def ahead(tx: Tx, platform: str, at: float, limit: int) -> list[Schedule]:
    """What was last fired later than now, by a clock that has been set back since; at most `limit`."""
    return [_schedule(row) for row in tx.all("schedules_ahead", platform=platform, at=at, limit=limit)]


def advance(
    tx: Tx, schedule: Schedule, next_at: float | None, fired_at: float | None, problem: str = ""
) -> bool:
    """Move a schedule on from the time that was read, or end it with None; whether nobody else did before.

    Only then is what it fires to be entered, in this transaction. `fired_at` is the clock's time, None where nothing is fired.
    """
    if next_at is None or (schedule.until is not None and next_at > schedule.until):
        return tx.run("schedule_end", id=schedule.id, due=schedule.next_at).rowcount == 1
    return (
        tx.run(
            "schedule_advance",
            id=schedule.id,
            due=schedule.next_at,
            next_at=next_at,
            fired_at=fired_at,
            problem=problem,
        ).rowcount
        == 1
    )


def pause(tx: Tx, schedule: Schedule, problem: str) -> bool:
    """It can not be fired: it rests, and says why; whether nobody else fired it before."""
    return tx.run("schedule_pause", id=schedule.id, due=schedule.next_at, problem=problem).rowcount == 1


def migrated(tx: Tx, platform: str, old_id: str, new_id: str) -> None:
    """A chat has another id now: what goes there goes on there, in its threads as well."""
    tx.run("schedules_migrate", prefix=f"{platform}:{old_id}:", new=f"{platform}:{new_id}:", new_id=new_id)


def paused(tx: Tx, platform: str, problem: str, after: int, limit: int) -> list[Schedule]:
    """What rests with that problem, by id, from `after` on; at most `limit`."""
    return [
        _schedule(row)
        for row in tx.all("schedules_paused", platform=platform, problem=problem, after=after, limit=limit)
    ]


def resume(tx: Tx, schedule: Schedule) -> None:
    """It goes on; what was due meanwhile counts as missed."""
    tx.run("schedule_resume", id=schedule.id)


# The operator's: one row for each who gets it. They are kept true to the configuration by who runs the platform.


def operators(tx: Tx, platform: str) -> list[Schedule]:
    """The rows of all schedules in the configuration."""
    return [_schedule(row) for row in tx.all("schedules_named", platform=platform)]


def change(tx: Tx, schedule: Schedule) -> None:
    """What the configuration says of a row now, `next_at` included."""
    tx.run("schedule_change", id=schedule.id, **_changeable(schedule))


def _changeable(schedule: Schedule) -> dict[str, Any]:
    """What another configuration, or another zone, may change of a row."""
    return {
        "person": json.dumps(schedule.person, ensure_ascii=False),
        "chat": json.dumps(schedule.chat, ensure_ascii=False) if schedule.chat else "",
        "chat_key": schedule.chat_key,
        "text": schedule.text,
        "work": int(schedule.work),
        "trigger": schedule.trigger,
        "zone": schedule.zone,
        "missed": schedule.missed,
        "grace": schedule.grace,
        "next_at": schedule.next_at,
        "until": schedule.until,
    }


def remove(tx: Tx, schedule: Schedule) -> None:
    """The configuration has it no more."""
    tx.run("schedule_remove", id=schedule.id)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants an operator's schedule; `person` and `chat` are plain data of the adapters' types."""

    name: str
    user_id: str
    person: Mapping[str, Any]
    chat: Mapping[str, Any]


def current_id(tx: Tx, platform: str, chat_id: str) -> str:
    """The id that a group has now, where it has moved since the configuration was written."""
    row = tx.one("alias_get", platform=platform, old_id=chat_id)
    return str(row["new_id"]) if row else chat_id


def subscribe(tx: Tx, subscription: Subscription, at: float) -> bool:
    """Somebody wants it from now on; False if they did already."""
    cursor = tx.run(
        "subscription_add",
        name=subscription.name,
        user_id=subscription.user_id,
        person=json.dumps(subscription.person, ensure_ascii=False),
        chat=json.dumps(subscription.chat, ensure_ascii=False),
        at=at,
    )
    return cursor.rowcount == 1


def unsubscribe(tx: Tx, name: str, people: Sequence[str]) -> bool:
    """A person wants it no more, whichever of these user ids had asked for it; whether one had."""
    who = json.dumps(people)
    tx.run("subscription_rows_drop", name=name, people=who)
    return tx.run("subscription_drop", name=name, people=who).rowcount > 0


def subscriptions(tx: Tx, people: Sequence[str]) -> set[str]:
    """The names that a person subscribed to."""
    return {row["name"] for row in tx.all("subscriptions_of", people=json.dumps(people))}


def subscribers(tx: Tx, name: str, platform: str) -> list[Subscription]:
    """Who wants it on a platform."""
    return [
        Subscription(row["name"], row["user_id"], json.loads(row["person"]), json.loads(row["chat"]))
        for row in tx.all("subscribers", name=name, prefix=f"{platform}-")
    ]


def _schedule(row: Any) -> Schedule:
    return Schedule(
        kind=row["kind"],
        name=row["name"],
        platform=row["platform"],
        user_id=row["user_id"],
        person=json.loads(row["person"]),
        chat=json.loads(row["chat"]) if row["chat"] else {},
        chat_key=row["chat_key"],
        text=row["text"],
        work=bool(row["work"]),
        trigger=row["trigger"],
        zone=row["zone"],
        missed=row["missed"],
        grace=row["grace"],
        state=row["state"],
        problem=row["problem"],
        next_at=row["next_at"],
        last_at=row["last_at"],
        until=row["until"],
        created_at=row["created_at"],
        id=row["id"],
        number=row["number"],
    )
