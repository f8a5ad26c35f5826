"""`/subscribe` and `/unsubscribe`: people choose which of the operator's schedules they get."""

from __future__ import annotations

from dataclasses import asdict

from bot import scheduler, times, triggers
from bot.commands.base import Answer, CommandContext
from bot.setup import Setup
from config.checks import SUBSCRIBERS
from config.schema import ScheduleConfig
from memory import links, schedules
from memory.database import Tx
from memory.schedules import Subscription


async def subscribe(ctx: CommandContext) -> Answer:
    """`/subscribe` lists what there is, `/subscribe news` takes it."""
    turns, update, name = ctx.turns, ctx.job.update, ctx.args.strip().lower()
    if update.chat.kind != "private":
        return Answer(ctx.say("private_only"))
    if not name:
        return Answer(await _list(ctx))
    at = turns.now()

    def join(tx: Tx) -> str:
        # As the configuration is now: the rows of another one may just have been put in order
        config = _offered(turns.setup).get(name)
        if config is None:
            return ctx.say("subscribe_unknown")
        wish = Subscription(name, ctx.user_id, asdict(update.person), asdict(update.chat))
        row = scheduler.row(name, config, update.person, update.chat, turns.setup.timezone, at)
        if schedules.subscribe(tx, wish, at):
            schedules.add(tx, row)
        return ctx.say(
            "subscribed", name=name, moment=times.moment(row.next_at, row.zone, update.person.language)
        )

    return Answer(join, stirs=True)


async def unsubscribe(ctx: CommandContext) -> Answer:
    """`/unsubscribe news`: on all platforms that the person is linked on."""
    update, name = ctx.job.update, ctx.args.strip().lower()
    if update.chat.kind != "private":
        return Answer(ctx.say("private_only"))
    if not name:
        return Answer(ctx.say("unsubscribe_usage"))

    def leave(tx: Tx) -> str:
        had = schedules.unsubscribe(tx, name, links.people(tx, ctx.user_id))
        return ctx.say("unsubscribed", name=name) if had else ctx.say("unsubscribe_unknown")

    return Answer(leave)


def _offered(setup: Setup) -> dict[str, ScheduleConfig]:
    return {name: config for name, config in setup.schedules.items() if config.to == SUBSCRIBERS}


async def _list(ctx: CommandContext) -> str:
    offered = _offered(ctx.turns.setup)
    if not offered:
        return ctx.say("subscriptions_none")
    mine = await ctx.turns.database.read(
        lambda tx: schedules.subscriptions(tx, links.people(tx, ctx.user_id))
    )
    language = ctx.job.update.person.language
    lines = []
    for name, config in offered.items():
        zone = config.timezone or ctx.turns.setup.timezone
        rule = times.rule(triggers.Cron(config.cron), zone, language)
        key = "subscription_yours" if name in mine else "subscription"
        lines.append(f"- {ctx.say(key, name=name, rule=f'{rule} ({zone})')}")
    return "\n".join([ctx.say("subscriptions"), *lines])
