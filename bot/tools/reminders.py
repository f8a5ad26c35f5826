"""The reminder tools: a model sets, lists and cancels reminders of the person who asks, to be said in the chat where they ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from hashlib import sha256
from typing import Annotated

from pydantic import Field

from adapters.base import Update
from bot import own, reminders, sentences, times
from bot.reminders import Bounds, Plan
from bot.tools.base import ToolContext, ToolProblem
from bot.when import MORNING, After, Impossible, Moment, Phrase
from memory import calls
from memory.database import Database, Tx

MOST_MINUTES = 60 * 24 * 366 * 100  # what is more is too far ahead in any case

At = Annotated[
    str | None,
    Field(
        description="By the person's own clock: 2026-11-27T09:00, without an offset; or words such as tomorrow at 9."
    ),
]
InMinutes = Annotated[float | None, Field(gt=0, description="Instead of at: so many minutes from now.")]
Repeat = Annotated[
    str | None,
    Field(
        description="For what repeats: daily at 8:30, weekdays at 8:30, weekly on friday at 17:00, monthly on the 15th at 9, "
        "every 2 hours; or a cron expression with weekdays by name: 30 8 * * mon-fri. If at is given as well, it begins then."
    ),
]
Until = Annotated[str | None, Field(description="When what repeats ends: 2026-12-24, or as at.")]
Work = Annotated[
    bool,
    Field(
        description="true only if they want work done then, such as a summary to be sent: text is then your task. "
        "false: text is said to them as it stands."
    ),
]
Number = Annotated[int, Field(description="As list_reminders tells it.")]


async def set_reminder(
    context: ToolContext,
    text: str,
    at: At = None,
    in_minutes: InMinutes = None,
    repeat: Repeat = None,
    until: Until = None,
    work: Work = False,
) -> str:
    """Remind the person who asks, in this chat: once (at, or in_minutes), or again and again (repeat).

    text is what they will read then, or with work what you are to do then. Afterwards tell them the weekday, date, time and zone
    that this returns. It reminds nobody else, and nowhere else.
    """
    variables, bounds, now = context.variables, context.reminders, context.now()
    database, update = _where(context)
    if own.is_own(update):  # or what was set once could set itself anew for ever, and nobody asked for it
        raise ToolProblem("Nothing was set: this is itself scheduled, and they are not asking for it now.")
    asked = _Asked(at, in_minutes, repeat, until)
    # Some models give the same id to every call
    arguments = sha256(repr((text, asked, work)).encode("utf-8", "backslashreplace")).hexdigest()[:16]
    key = f"{context.idempotency_key}:{arguments}"
    try:
        words = reminders.wording(text)
        says = sentences.say("reminder_says", text=words)
        if before := await database.read(lambda tx: calls.said(tx, key)):
            return f"{before} {says}"
        plan = await asyncio.to_thread(asked.plan, variables.timezone, now, bounds)

        def do(tx: Tx) -> str:
            schedule = reminders.add(tx, variables, update, words, plan, bounds, now, work=work)
            return reminders.confirmed(schedule, plan)

        said = await database.write(lambda tx: calls.once(tx, key, now, do))
    except Impossible as exc:
        raise ToolProblem(f"Nothing was set. {reminders.impossible(exc)}") from exc
    context.stir()
    return f"{said} {says}"


async def list_reminders(context: ToolContext) -> str:
    """List the reminders of the person who asks, with their ids; in a group those that they have set there."""
    database, update = _where(context)
    found = await database.read(lambda tx: reminders.visible(tx, context.variables))
    if not found:
        return f"They have no reminders{'' if context.variables.private else ' in this chat'}."
    return "\n".join(reminders.line(each, here=update.chat.key) for each in found)


async def cancel_reminder(context: ToolContext, id: Number) -> str:  # noqa: A002 - it is what lists call it
    """Cancel a reminder of the person who asks, for good."""
    database, _ = _where(context)

    def do(tx: Tx) -> str:
        if reminders.cancel(tx, context.variables, id) is None:
            raise ToolProblem(
                f"There is no reminder {id} of theirs here. list_reminders tells which there are."
            )
        return f"Reminder {id} is cancelled."

    key = f"{context.idempotency_key}:{id}"
    return await database.write(lambda tx: calls.once(tx, key, context.now(), do))


def _where(context: ToolContext) -> tuple[Database, Update]:
    if context.database is None or context.update is None:
        raise ToolProblem("There are no reminders here.")
    return context.database, context.update


@dataclass(frozen=True, slots=True)
class _Asked:
    """When, in the model's words."""

    at: str | None
    in_minutes: float | None
    repeat: str | None
    until: str | None

    def plan(self, zone: str, now: float, bounds: Bounds) -> Plan:
        """What that means. Raises `Impossible`, and `ToolProblem` for what does not go together."""
        at, repeat, until = ((text or "").strip() for text in (self.at, self.repeat, self.until))
        shown, start = times.clock(now, zone), None
        if self.in_minutes is not None:
            if at or repeat:
                raise ToolProblem(
                    "Nothing was set. Give in_minutes alone, or at, or repeat (with at it begins then)."
                )
            phrase = Phrase(After(round(min(self.in_minutes, MOST_MINUTES) * 60)))
        elif repeat and at:
            first = reminders.read(at, zone, shown).when
            if not isinstance(first, Moment):
                raise ToolProblem("Nothing was set. With repeat, at is the date and time when it begins.")
            start, _ = reminders.instant(first.at, zone)
            phrase = _repeating(repeat, zone, first.at - timedelta(minutes=1), first.at.time())
        elif repeat:
            phrase = _repeating(repeat, zone, shown)
        elif at:
            phrase = reminders.read(at, zone, shown)
        else:
            raise ToolProblem("Nothing was set. Tell when: with at, in_minutes or repeat.")
        if until:
            if isinstance(phrase.when, After | Moment):
                raise ToolProblem("Nothing was set. until is for what repeats.")
            phrase = replace(phrase, until=reminders.read_end(until, zone, shown))
        return reminders.plan(phrase, zone, now, bounds, start)


def _repeating(text: str, zone: str, now: datetime, otherwise: time = MORNING) -> Phrase:
    """What repeats: here "monday at 9" and "20 minutes" are meant to."""
    try:
        found = reminders.read(text, zone, now, otherwise)
    except Impossible as exc:
        if exc.key not in ("when_unclear", "when_past"):
            raise
    else:
        if not isinstance(found.when, After | Moment):
            return found
    return reminders.read(f"every {text}", zone, now, otherwise)
