"""`/link` and `/unlink`: one person on several platforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from adapters.base import Button, Chat, Person
from bot.commands.base import Answer, CommandContext, described
from memory import links, people
from memory.database import Tx
from memory.links import Code, Refusal

CONFIRMED = "yes"


async def link(ctx: CommandContext) -> Answer:
    """`/link` gives a code; `/link CODE` on the other platform tells whose it is, and `/link CODE yes` links the two."""
    code, _, word = ctx.args.strip().partition(" ")
    if not ctx.job.update.alone:
        if not code:
            return Answer(ctx.say("private_only"))
        return Answer(ctx.say("link_in_public"), partial(links.void, code=code))
    if not code:
        return Answer(partial(_give, ctx))
    if word.strip().lower() not in ("", CONFIRMED):
        return Answer(ctx.say("link_usage"))
    found = await ctx.turns.database.read(lambda tx: _find(ctx, tx, code))
    if isinstance(found, Code) and not (word and _shown(ctx, found)):
        button = Button(ctx.say("link_button"), f"link {found.code} {CONFIRMED}")
        return Answer(partial(_show, ctx, code), buttons=(button,))
    return Answer(partial(_link, ctx, code), stirs=True)


async def unlink(ctx: CommandContext) -> Answer:
    """`/unlink` parts the user id that gives the command from all others."""
    if not ctx.job.update.alone:
        return Answer(ctx.say("private_only"))
    if ctx.args.strip():
        return Answer(ctx.say("unlink_usage"))

    def part(tx: Tx) -> str:
        others = links.unlink(tx, ctx.user_id, ctx.turns.now())
        return ctx.say("unlinked", others=_named(others)) if others else ctx.say("not_linked")

    return Answer(part, stirs=True)


def _give(ctx: CommandContext, tx: Tx) -> str:
    chat, person = ctx.job.update.chat, ctx.job.update.person
    told_in = asdict(chat) if chat.kind == "private" else None
    code = links.ask(tx, person.id, person.name, person.language, told_in, ctx.turns.now())
    others = links.people(tx, person.id)[1:]
    have = f"{ctx.say('link_have', others=_named(others))}\n\n" if others else ""
    return have + ctx.say("link_code", code=code)


def _find(ctx: CommandContext, tx: Tx, code: str) -> Code | Refusal:
    """Whose code it is. That of somebody who is not let in (any more) is none, and for who is not let in there is none."""
    update = ctx.job.update
    found = links.find(tx, code, ctx.user_id, ctx.turns.now())
    if isinstance(found, Code):
        maker = found.user_id
        home = found.chat or people.home(tx, maker)
        there = Chat(**home) if home else Chat(maker.partition("-")[0], "")
        if not (_let_in(ctx, tx, Person(maker), there) and _let_in(ctx, tx, update.person, update.chat)):
            return "unknown"
    return found


def _let_in(ctx: CommandContext, tx: Tx, person: Person, chat: Chat) -> bool:
    """By what is decided at this very moment, by whichever process."""
    approved = people.state(tx, person.id) == "approved"
    return ctx.turns.setup.gate.lets_in(person, chat, approved=approved)


def _shown(ctx: CommandContext, code: Code) -> bool:
    return ctx.user_id in code.shown_to


def _show(ctx: CommandContext, code: str, tx: Tx) -> str:
    found = _find(ctx, tx, code)
    if not isinstance(found, Code):
        return _refused(ctx, tx, found)
    links.show(tx, found, ctx.user_id)
    who, platform = described(found.user_id, found.name), found.user_id.partition("-")[0].capitalize()
    return ctx.say("link_confirm", platform=platform, person=who, code=found.code)


def _link(ctx: CommandContext, code: str, tx: Tx) -> str:
    found = _find(ctx, tx, code)
    if not isinstance(found, Code):
        return _refused(ctx, tx, found)
    if not _shown(ctx, found):  # it was none a moment ago
        return _show(ctx, code, tx)
    return ctx.say("linked", others=_named(links.link(tx, found, ctx.user_id, ctx.turns.now())))


def _refused(ctx: CommandContext, tx: Tx, why: Refusal) -> str:
    match why:
        case "unknown":
            links.missed(tx, ctx.user_id, ctx.turns.now())
            return ctx.say("link_unknown")
        case "too_often":
            return ctx.say("link_too_often")
        case "own":
            return ctx.say("link_own")
        case "linked":
            return ctx.say("link_again")
        case "too_many":
            return ctx.say("link_too_many", most=links.MOST_IDS)


def _named(ids: Sequence[str]) -> str:
    return ", ".join(f"`{id_}`" for id_ in ids)
