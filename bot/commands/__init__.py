"""What people can say with a slash: the same words on every platform, answered without a model."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from adapters.base import Button, Menu
from bot import sentences, usage
from bot.closing import close
from bot.commands.base import Answer, Command, CommandContext
from bot.commands.exporting import export
from bot.commands.facts import facts
from bot.commands.forgetting import forget
from bot.commands.linking import link, unlink
from bot.commands.pairing import pair
from bot.commands.reminders import list_or_cancel, quiet_hours, remind
from bot.commands.search import search
from bot.commands.subscribing import subscribe, unsubscribe
from bot.limits import Spent
from bot.reminders import rezone
from bot.text import split
from bot.tools.base import ToolProblem
from bot.tools.history import read_history, render_history
from config.checks import nearest_zone
from memory import links
from memory.database import Tx

HISTORY_PAGE = 3500  # characters of a history at a time, where there is a button for more


async def _start(ctx: CommandContext) -> Answer:
    return Answer(ctx.say("start", name=ctx.turns.setup.agent.name))


async def _help(ctx: CommandContext) -> Answer:
    update = ctx.job.update
    operator = ctx.turns.setup.gate.commands(update.person)
    lines = [
        f"{sentences.command(name)} – {ctx.say(COMMANDS[name].help)}" for name in known(operator=operator)
    ]
    if leave := ctx.turns.delivery.limits(update.chat).leaves_by:
        lines.append(f"{', '.join(map(sentences.command, leave))} – {ctx.say('help_leave')}")
    return Answer("\n".join(lines))


def _dropped(ctx: CommandContext) -> str:
    if not ctx.job.dropped:
        return ""
    return " " + (
        ctx.say("dropped_one") if ctx.job.dropped == 1 else ctx.say("dropped", count=ctx.job.dropped)
    )


async def _clear(ctx: CommandContext) -> Answer:
    turns, key = ctx.turns, ctx.job.lane
    open_ = await turns.database.read(lambda tx: tx.one("stream_current", key=key))
    if open_ is None:
        return Answer(ctx.say("nothing_to_clear") + _dropped(ctx))

    def end(tx: Tx) -> None:
        close(tx, open_["id"], "clear", turns.now(), summary=turns.setup.summaries)

    turns.streams.forget(open_["id"])
    return Answer(ctx.say("cleared") + _dropped(ctx), end)


async def _stop(ctx: CommandContext) -> Answer:
    if not ctx.job.ended and not ctx.job.dropped:
        if ctx.args == "all" and not ctx.turns.setup.gate.commands(ctx.job.update.person):
            return Answer(ctx.say("operators_only"))
        return Answer(ctx.say("nothing_to_stop"))
    return Answer(ctx.say("stopped") + _dropped(ctx))


async def _history(ctx: CommandContext) -> Answer:
    turns = ctx.turns
    update = ctx.job.update
    zone = await turns.zone(ctx.user_id)
    variables = await turns.variables(update, zone)
    date, _, page = ctx.args.partition("#")  # behind # is what the button below a long history asks for
    try:
        found = await asyncio.to_thread(
            read_history, turns.journal.transcripts, variables, turns.now(), date.strip() or None
        )
    except ToolProblem as exc:
        return Answer(str(exc))
    text = render_history(found, assistant=turns.setup.agent.name)
    if found.cut:
        text += f"\n\n{ctx.say('history_cut', date=found.last)}"
    if not turns.delivery.limits(update.chat).buttons:
        return Answer(text)
    pages = await asyncio.to_thread(split, text, HISTORY_PAGE)
    number = min(int(page[:9]), len(pages)) if page.isdecimal() and int(page[:9]) else 1
    if number == len(pages):
        return Answer(pages[-1])
    # By its date: pressed tomorrow, today's history is yesterday's.
    more = f"history {date.strip() or found.last.isoformat()} #{number + 1}"
    return Answer(pages[number - 1], buttons=(Button(ctx.say("more_button"), more),))


async def _timezone(ctx: CommandContext) -> Answer:
    turns, user_id = ctx.turns, ctx.user_id
    if not ctx.args:
        zone = await turns.zone(user_id)
        return Answer(ctx.say("timezone", zone=zone, time=_time(turns.now(), zone)))
    wanted = ctx.args.strip().replace(" ", "_")
    zones = available_timezones()
    zone = {z.lower(): z for z in zones}.get(wanted.lower(), "")
    if not zone:
        meant = nearest_zone(wanted)
        names = [meant] if meant else [z for z in sorted(zones) if wanted.lower() in z.lower()][:3]
        if not names:
            return Answer(ctx.say("timezone_unknown"))
        return Answer(ctx.say("timezone_near", zones=ctx.say("timezone_or").join(names)))

    def store(tx: Tx) -> None:
        for one in links.people(tx, user_id):
            tx.run("person_timezone", user_id=one, timezone=zone)
        rezone(tx, links.people(tx, user_id), zone, turns.now())

    return Answer(ctx.say("timezone_set", zone=zone, time=_time(turns.now(), zone)), store)


async def _usage(ctx: CommandContext) -> Answer:
    turns, user_id = ctx.turns, ctx.user_id
    if ctx.job.update.chat.kind != "private":
        return Answer(ctx.say("private_only"))
    zone, at, chat_key = await turns.zone(user_id), turns.now(), ctx.job.update.chat.key
    limits = turns.setup.limits

    def read(tx: Tx) -> tuple[usage.Personal, list[Spent]]:
        return usage.of_person(tx, user_id, zone, at), limits.spent(tx, user_id, chat_key, zone, at)

    used, spent = await turns.database.read(read)
    spans = {"usage_today": used.today, "usage_month": used.month, "usage_all": used.ever}
    lines = [ctx.say(key, used=_calls(ctx, calls)) for key, calls in spans.items()]
    # What everybody uses is the operator's to know, and theirs alone.
    language = ctx.job.update.person.language
    lines += [
        sentences.limit_used(one, zone, language, at) for one in spent if not one.limit.startswith("total_")
    ]
    return Answer("\n".join(f"- {line}" for line in lines))


def _calls(ctx: CommandContext, calls: usage.Calls) -> str:
    return ctx.say(
        "usage",
        calls=calls.calls,
        read=f"{calls.input:,}",
        cached=f"{calls.cached:,}",
        written=f"{calls.output:,}",
        usd=f"{calls.usd:.4f}",
    )


def _time(now: float, zone: str) -> str:
    return f"{datetime.fromtimestamp(now, ZoneInfo(zone)):%H:%M}"


async def _status(ctx: CommandContext) -> Answer:
    turns, update = ctx.turns, ctx.job.update
    if not turns.setup.gate.commands(update.person):
        return Answer(ctx.say("operators_only"))
    if not update.alone:
        return Answer(ctx.say("private_only"))
    return Answer(f"```\n{await turns.report()}\n```")


COMMANDS: dict[str, Command] = {
    "start": Command("help_start", _start),
    "help": Command("help_help", _help),
    "clear": Command("help_clear", _clear),
    "stop": Command("help_stop", _stop),
    "history": Command("help_history", _history),
    "search": Command("help_search", search),
    "facts": Command("help_facts", facts),
    "remind": Command("help_remind", remind),
    "reminders": Command("help_reminders", list_or_cancel),
    "quiet": Command("help_quiet", quiet_hours),
    "subscribe": Command("help_subscribe", subscribe),
    "unsubscribe": Command("help_unsubscribe", unsubscribe),
    "timezone": Command("help_timezone", _timezone),
    "usage": Command("help_usage", _usage),
    "link": Command("help_link", link),
    "unlink": Command("help_unlink", unlink),
    "export": Command("help_export", export),
    "forget": Command("help_forget", forget),
    "pair": Command("help_pair", pair, operators=True),
    "status": Command("help_status", _status, operators=True),
}


def known(*, operator: bool) -> list[str]:
    """The names of the commands that somebody is told of."""
    return [name for name, command in COMMANDS.items() if operator or not command.operators]


def menu() -> Menu:
    """All of them, as the platforms are to show them."""
    return Menu({name: sentences.say(command.help) for name, command in COMMANDS.items()})
