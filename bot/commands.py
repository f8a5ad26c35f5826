"""What people can say with a slash: the same words on every platform, answered without a model."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from adapters.base import Button
from bot import sentences
from bot.pairing import pair
from bot.tools.base import ToolProblem
from bot.tools.history import read_history, render_history
from memory.database import Tx

if TYPE_CHECKING:
    from bot.engine import Job
    from bot.turns import Turns


@dataclass(frozen=True)
class CommandContext:
    """Who gave the command, where, and what it may use."""

    turns: Turns
    job: Job

    @property
    def user_id(self) -> str:
        return self.job.update.person.id

    @property
    def args(self) -> str:
        return self.job.update.args


@dataclass(frozen=True)
class Answer:
    """What is said back, what is written in the same transaction, and what can be pressed below it."""

    text: str
    also: Callable[[Tx], object] | None = None
    buttons: tuple[Button, ...] = ()
    stirs: bool = False  # what it writes is to be acted upon at once, as if another process had written it


@dataclass(frozen=True)
class Command:
    """A command: one line of help, and what it does. It may run twice (after a crash) and must not mind."""

    help: str
    handler: Callable[[CommandContext], Awaitable[Answer]]


async def _start(ctx: CommandContext) -> Answer:
    name = ctx.turns.setup.agent.name
    return Answer(
        f"Hello, I am {name}. Just write to me. I remember what we say; /help lists what else I can do."
    )


async def _help(_: CommandContext) -> Answer:
    return Answer("\n".join(f"/{name} – {command.help}" for name, command in COMMANDS.items()))


def _dropped(ctx: CommandContext) -> str:
    if not ctx.job.dropped:
        return ""
    return " " + (
        sentences.DROPPED_ONE if ctx.job.dropped == 1 else sentences.DROPPED.format(count=ctx.job.dropped)
    )


async def _clear(ctx: CommandContext) -> Answer:
    turns, key = ctx.turns, ctx.job.lane
    open_ = await turns.database.read(lambda tx: tx.one("stream_current", key=key))
    if open_ is None:
        return Answer(sentences.NOTHING_TO_CLEAR + _dropped(ctx))

    def close(tx: Tx) -> None:
        tx.run("stream_close", key=key, at=turns.now(), reason="clear")

    turns.streams.forget(open_["id"])
    return Answer(sentences.CLEARED + _dropped(ctx), close)


async def _stop(ctx: CommandContext) -> Answer:
    if not ctx.job.ended and not ctx.job.dropped:
        return Answer(sentences.NOTHING_TO_STOP)
    return Answer(sentences.STOPPED + _dropped(ctx))


async def _history(ctx: CommandContext) -> Answer:
    turns = ctx.turns
    update = ctx.job.update
    zone = await turns.zone(ctx.user_id)
    variables = await turns.variables(update, zone)
    try:
        found = await asyncio.to_thread(
            read_history, turns.journal.transcripts, variables, turns.now(), ctx.args or None
        )
    except ToolProblem as exc:
        return Answer(str(exc))
    return Answer(render_history(found))


async def _timezone(ctx: CommandContext) -> Answer:
    turns, user_id = ctx.turns, ctx.user_id
    if not ctx.args:
        zone = await turns.zone(user_id)
        return Answer(
            f"Your time zone is {zone}; it is {_time(turns.now(), zone)} there. `/timezone Europe/Vienna` sets another."
        )
    wanted = ctx.args.strip().replace(" ", "_")
    zones = available_timezones()
    zone = {z.lower(): z for z in zones}.get(wanted.lower(), "")
    if not zone:
        near = difflib.get_close_matches(wanted.lower(), [z.lower() for z in zones], 3, 0.5)
        near += [z.lower() for z in sorted(zones) if wanted.lower() in z.lower() and z.lower() not in near][
            :3
        ]
        names = [z for z in sorted(zones) if z.lower() in near]
        hint = (
            f" Did you mean {' or '.join(names)}?"
            if names
            else " Names look like Europe/Vienna or America/New_York."
        )
        return Answer(f"I do not know that time zone.{hint}")
    turns.zones[user_id] = zone

    def store(tx: Tx) -> None:
        tx.run("person_timezone", user_id=user_id, timezone=zone)

    return Answer(f"Your time zone is {zone} now; it is {_time(turns.now(), zone)} there.", store)


async def _usage(ctx: CommandContext) -> Answer:
    turns, user_id = ctx.turns, ctx.user_id
    if ctx.job.update.chat.kind != "private":
        return Answer(sentences.PRIVATE_ONLY)
    zone = ZoneInfo(await turns.zone(user_id))
    midnight = datetime.fromtimestamp(turns.now(), zone).replace(hour=0, minute=0, second=0, microsecond=0)
    spans = {
        "Today": midnight,
        "Last 30 days": midnight - timedelta(days=29),
        "In all": datetime.fromtimestamp(0, zone),
    }

    def read(tx: Tx) -> list[str]:
        lines = []
        for label, since in spans.items():
            row = tx.one("usage_of_person", user_id=user_id, since=since.timestamp())
            lines.append(
                f"- {label}: {row['calls']} model calls, {row['input']:,} tokens read ({row['cached']:,} cached), "
                f"{row['output']:,} written, {row['usd']:.4f} USD"
            )
        return lines

    return Answer("\n".join(await turns.database.read(read)))


def _time(now: float, zone: str) -> str:
    return f"{datetime.fromtimestamp(now, ZoneInfo(zone)):%H:%M}"


COMMANDS: dict[str, Command] = {
    "start": Command("say hello", _start),
    "help": Command("this list", _help),
    "clear": Command("end this conversation and start afresh; your history stays", _clear),
    "stop": Command("stop the answer that is being written", _stop),
    "history": Command("what we said today, or on a date: /history 2026-01-31", _history),
    "timezone": Command("show or set your time zone: /timezone Europe/Vienna", _timezone),
    "usage": Command("how much you have used", _usage),
    "pair": Command("for operators: who may talk", pair),
}
