"""`/facts`: what a person asked to be remembered, listed, added and forgotten without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from adapters.base import clean
from bot.commands.base import Answer, CommandContext
from bot.events import Variables
from bot.scope import place_of, said_at
from bot.tools.base import ToolProblem
from bot.tools.facts import (
    MAX_CHARS,
    Kept,
    about,
    begin,
    begun,
    erase,
    named,
    once,
    says_nothing,
    visible,
    write,
)
from memory.facts import Fact, FactsFull
from memory.transcripts import local_time

log = structlog.get_logger(__name__)

MOST_CHARS = 3500  # of a list


async def facts(ctx: CommandContext) -> Answer:
    """`/facts`, `/facts tea` (those with these words), `/facts add I like tea`, `/facts forget k3f7m`."""
    try:
        return await _facts(ctx)
    except OSError as exc:
        log.error("facts_unreadable", user=ctx.user_id, problem=exc.strerror or type(exc).__name__)
        return Answer(ctx.say("facts_failed"))


async def _facts(ctx: CommandContext) -> Answer:
    turns, update = ctx.turns, ctx.job.update
    variables = await turns.variables(update, await turns.zone(ctx.user_id))
    verb, _, rest = ctx.args.strip().partition(" ")
    if verb.lower() == "add":
        return await _add(ctx, variables, rest.strip())
    if verb.lower() == "forget":
        return await _forget(ctx, variables, rest.strip())
    found = await asyncio.to_thread(visible, turns.facts, variables)
    if not found:
        return Answer(ctx.say("facts_none" if variables.private else "facts_none_here"))
    return Answer(await asyncio.to_thread(_fitting, ctx, found))


async def _add(ctx: CommandContext, variables: Variables, text: str) -> Answer:
    turns, update = ctx.turns, ctx.job.update
    if says_nothing(text):
        return Answer(ctx.say("facts_usage"))
    if len(text) > MAX_CHARS:
        return Answer(ctx.say("fact_too_long", have=len(text), most=MAX_CHARS))
    day = local_time(said_at(update, turns.now()), variables.timezone).date()
    try:
        kept = await asyncio.to_thread(write, turns.facts, variables, text, day, place_of(update.chat))
    except FactsFull:
        return Answer(ctx.say("facts_full"))
    except ToolProblem as exc:
        return Answer(str(exc))
    return Answer(ctx.say("fact_kept", id=kept.fact.id, text=_flat(kept.fact.text)))


async def _forget(ctx: CommandContext, variables: Variables, wanted: str) -> Answer:
    """By its id, which another fact never takes over, or its very text: the order of the list may have changed meanwhile."""
    turns, key = ctx.turns, f"{ctx.job.id}.facts"
    if not wanted:
        return Answer(ctx.say("facts_usage"))
    ids = await begun(turns.database, key)  # what it had found before it was cut off
    if ids is None:
        found = named(await asyncio.to_thread(visible, turns.facts, variables), wanted)
        if not found:
            return Answer(ctx.say("fact_unknown"))
        ids = sorted({one.fact.id for one in found})
        await begin(turns.database, key, turns.now(), ids)
    for id_ in ids:
        await asyncio.to_thread(erase, turns.facts, variables, id_)
    return Answer(ctx.say("fact_forgotten"))


def _fitting(ctx: CommandContext, found: Sequence[Kept]) -> str:
    fitting = about(once(found), ctx.args) if ctx.args.strip() else once(found)
    return _listed(ctx, fitting) if fitting else ctx.say("facts_none_fits")


def _listed(ctx: CommandContext, found: Sequence[Kept]) -> str:
    """Those that hold, newest first, then former ones: as many as one message holds, and how many more there are."""
    holding = [one.fact for one in found if one.fact.valid]
    former = [one.fact for one in found if not one.fact.valid]
    lines = [_line(ctx, fact) for fact in holding]
    if former:
        lines += ["", ctx.say("facts_former"), *(_line(ctx, fact) for fact in former)]
    shown, room = 0, MOST_CHARS
    while shown < len(lines) and (room := room - len(lines[shown]) - 1) >= 0:
        shown += 1
    left = sum(line.startswith("- ") for line in lines[shown:])
    return "\n".join([*lines[:shown], *([ctx.say("facts_more", count=left)] if left else [])])


def _line(ctx: CommandContext, fact: Fact) -> str:
    place = fact.place
    where = f"{place.platform} {place.kind} {place.title or place.chat_id}" if place else ""
    until = ctx.say("fact_until", date=fact.until) if fact.until else ""
    behind = ", ".join(part for part in (str(fact.date or ""), until, _flat(where)) if part)
    return f"- `{fact.id}` {_flat(fact.text)}{f' ({behind})' if behind else ''}"


def _flat(text: str) -> str:
    return " ".join(clean(text).split())
