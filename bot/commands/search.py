"""`/search`: what was said before, found without a model that speaks."""

from __future__ import annotations

import asyncio
import re

import structlog

from adapters.base import Button
from bot import sentences
from bot.commands.base import Answer, CommandContext
from bot.excerpts import Excerpt
from bot.text import split
from bot.tools.base import ToolProblem
from bot.tools.history import render_section
from bot.tools.search import days, find
from memory.database import MemoryFault

log = structlog.get_logger(__name__)

PAGE = 3000  # characters at a time
_BUTTON_BYTES = 64  # of a button's command, on every platform

_PAGE = re.compile(r"(?<!\s)\s+p#(\d{1,3})$")
_DAY = r"(?:\d{4}-\d\d-\d\d|today|yesterday)"
_RANGE = re.compile(rf"(?:^|\s)(?=\S*\w)(?P<start>{_DAY})?\.\.(?P<end>{_DAY})?(?=\s|$)", re.IGNORECASE)

_CHAT = re.compile(r'(?:^|\s)in:(?:"([^"]+)"|(\S+))(?=\s|$)', re.IGNORECASE)


async def search(ctx: CommandContext) -> Answer:
    """`/search blue bicycle`, `/search "to the letter" begin* 2026-01-01..2026-03-31 in:"Book club"`."""
    turns = ctx.turns
    asked, number = ctx.args.strip(), 1
    if page := _PAGE.search(asked):  # what the button below asks for
        asked, number = asked[: page.start()], int(page[1])
    span = _RANGE.search(asked)
    words = _RANGE.sub(" ", asked, count=1) if span else asked
    place = _CHAT.search(words)
    words = (_CHAT.sub(" ", words, count=1) if place else words).strip()
    chat = (place[1] or place[2]) if place else ""
    if not words:
        return Answer(ctx.say("search_usage"))
    variables = await turns.variables(ctx.job.update, await turns.zone(ctx.user_id))
    try:
        first, last = days(variables, turns.now(), *(span.group("start", "end") if span else (None, None)))
        meanings = turns.setup.meanings(turns.database, turns.now, turns.metrics)
        who = variables.user_id, variables.chat_key, variables.timezone
        meaning = meanings.asked_by(*who) if meanings else None
        found = await find(turns.index, variables, words, first, last, meaning, chat)
    except ToolProblem as exc:
        return Answer(str(exc))
    except MemoryFault as exc:
        log.warning("search_failed", user=ctx.user_id, problem=str(exc))
        return Answer(ctx.say("search_failed"))
    if not found:
        return Answer(ctx.say("search_nothing" if variables.private else "search_nothing_here"))
    return await asyncio.to_thread(_page, ctx, asked, found, number)


def _page(ctx: CommandContext, asked: str, found: list[Excerpt], number: int) -> Answer:
    name = ctx.turns.setup.agent.name
    parts = [render_section(one.date, one.section, name) for one in found]
    pages: list[str] = []
    for part in parts:
        if pages and len(pages[-1]) + len(part) + 2 <= PAGE:
            pages[-1] += f"\n\n{part}"
        else:
            pages += split(part, PAGE)
    number = max(1, min(number, len(pages)))
    text = pages[number - 1]
    if number == len(pages):
        return Answer(text)
    more = f"search {asked} p#{number + 1}"
    if ctx.turns.delivery.limits(ctx.job.update.chat).buttons and len(more.encode()) <= _BUTTON_BYTES:
        return Answer(text, buttons=(Button(ctx.say("more_button"), more),))
    more = ctx.say("search_more", page=number, pages=len(pages), command=sentences.command(more))
    return Answer(f"{text}\n\n{more}")
