"""`/remind`, `/reminders` and `/quiet`: what the clock says to a person, set and taken back without a model."""

from __future__ import annotations

import asyncio
import re

from adapters.base import Button
from bot import phrases, quiet, reminders, times
from bot.commands.base import Answer, CommandContext
from bot.reminders import Plan
from bot.when import Impossible
from memory import links, people, schedules
from memory.database import Tx
from memory.schedules import Schedule

MOST_BUTTONS = 5  # below a list
MOST_CHARS = 3500  # of a list
CANCEL_ALL = "cancel all"
CANCEL_ALL_NOW = f"{CANCEL_ALL} yes"


async def remind(ctx: CommandContext) -> Answer:
    """`/remind tomorrow at 9 water the plants`: a time, and what is to be said then; or the other way round."""
    turns, update = ctx.turns, ctx.job.update
    zone, now = await turns.zone(ctx.user_id), turns.now()
    variables, bounds = await turns.variables(update, zone), turns.setup.reminders

    def planned() -> tuple[str, Plan] | None:
        shown = times.clock(now, zone)
        found = phrases.split(ctx.args, shown)
        if found is None:
            return None
        phrase, text = found
        return reminders.wording(text), reminders.plan(reminders.read(phrase, zone, shown), zone, now, bounds)

    try:
        found = await asyncio.to_thread(planned)
    except Impossible as exc:
        return Answer(ctx.say(exc.key, **exc.values))
    if found is None:
        return Answer(ctx.say("remind_usage"))
    text, plan = found

    def set_(tx: Tx) -> str:
        try:
            schedule = reminders.add(tx, variables, update, text, plan, bounds, now, work=False)
        except Impossible as exc:
            return ctx.say(exc.key, **exc.values)
        told = reminders.confirmed(schedule, plan, update.person.language)
        return f"{told} {ctx.say('reminder_says', text=text)}"

    return Answer(set_, stirs=True)


async def list_or_cancel(ctx: CommandContext) -> Answer:
    """`/reminders`, `/reminders cancel 3`, also `cancel #3`, `cancel 1 2`, and with a confirmation `cancel all`."""
    turns, update = ctx.turns, ctx.job.update
    variables = await turns.variables(update, await turns.zone(ctx.user_id))
    verb, _, which = ctx.args.strip().partition(" ")
    if verb.lower() == "cancel" and _WHICH.fullmatch(which):
        wanted = dict.fromkeys(_one(word) for word in _ONE.finditer(which))

        def cancel(tx: Tx) -> str:
            done = {number: reminders.cancel(tx, variables, number, created) for number, created in wanted}
            return "\n".join(
                ctx.say("reminder_cancelled" if gone else "reminder_unknown", id=number)
                for number, gone in done.items()
            )

        return Answer(cancel)
    every = " ".join(ctx.args.lower().split())
    if every == CANCEL_ALL_NOW:

        def cancel_all(tx: Tx) -> str:
            for one in reminders.visible(tx, variables):
                schedules.cancel(tx, one.id, variables.people)
            return ctx.say("reminders_cancelled")

        return Answer(cancel_all)
    if verb and every != CANCEL_ALL:
        return Answer(ctx.say("reminders_usage"))
    found = await turns.database.read(lambda tx: reminders.visible(tx, variables))
    if not found:
        return Answer(ctx.say("reminders_none" if variables.private else "reminders_none_here"))
    if verb:
        button = Button(ctx.say("reminders_cancel_button"), f"reminders {CANCEL_ALL_NOW}")
        return Answer(ctx.say("reminders_cancel_confirm", count=len(found)), buttons=(button,))
    return Answer(_listed(ctx, found), buttons=_buttons(ctx, found))


_ONE = re.compile(r"#?(\d{1,9})(?:@(\d{1,11}))?", re.ASCII)
_WHICH = re.compile(rf"\s*{_ONE.pattern}(?:(?:\s*,\s*|\s+(?:and\s+)?){_ONE.pattern}){{0,49}}\s*", re.ASCII)


def _one(found: re.Match[str]) -> tuple[int, int | None]:
    """A number, and where a button named it also the second when the reminder was set."""
    return int(found[1]), int(found[2]) if found[2] else None


def _listed(ctx: CommandContext, found: list[Schedule]) -> str:
    """As many as one message holds, and how many more there are."""
    update = ctx.job.update
    lines: list[str] = []
    for one in found:
        line = f"- {reminders.line(one, update.person.language, here=update.chat.key)}"
        if sum(map(len, lines)) + len(line) > MOST_CHARS:
            return "\n".join([*lines, ctx.say("reminders_more", count=len(found) - len(lines))])
        lines.append(line)
    return "\n".join(lines)


def _buttons(ctx: CommandContext, found: list[Schedule]) -> tuple[Button, ...]:
    return tuple(
        # With the second when it was set: the list may be an old one, and the number another one's by now
        Button(
            ctx.say("reminder_cancel_button", id=one.number),
            f"reminders cancel {one.number}@{int(one.created_at)}",
        )
        for one in found[:MOST_BUTTONS]
    )


async def quiet_hours(ctx: CommandContext) -> Answer:
    """`/quiet`, `/quiet 22:00-07:00`, `/quiet off`: when what may wait says nothing to this person, whichever id they use."""
    wanted = ctx.args.strip().lower()
    zone = await ctx.turns.zone(ctx.user_id)
    if not wanted:
        kept = await ctx.turns.database.read(lambda tx: people.quiet(tx, ctx.user_id))
        return Answer(ctx.say("quiet", hours=kept, zone=zone) if kept else ctx.say("quiet_none"))
    span = quiet.parse(wanted)
    if span is None and wanted != "off":
        return Answer(ctx.say("quiet_usage"))
    hours = quiet.written(*span) if span else ""

    def store(tx: Tx) -> None:
        for one in links.people(tx, ctx.user_id):
            tx.run("person_quiet", user_id=one, quiet=hours)
            schedules.wake(tx, one, ctx.turns.now())

    text = ctx.say("quiet_set", hours=hours, zone=zone) if hours else ctx.say("quiet_off")
    return Answer(text, store, stirs=True)
