"""`/forget`: everything that is kept of a person goes, once they have confirmed it."""

from __future__ import annotations

from dataclasses import asdict, replace

from adapters.base import Button
from bot.commands.base import Answer, CommandContext
from memory import erase
from memory.database import Tx
from memory.people import new_code


async def forget(ctx: CommandContext) -> Answer:
    """`/forget` says what will go and gives a word, `/forget WORD` does it. Whose it is, the platform says, and nobody else."""
    update, at = ctx.job.update, ctx.turns.now()
    if not update.alone:
        return Answer(ctx.say("private_only"))
    if not ctx.args:
        code = new_code(erase.CODE_LENGTH)

        def offer(tx: Tx) -> str:
            people = erase.offer(tx, ctx.user_id, code, at)
            listed = "\n".join(f"- `{user_id}`" for user_id in people)
            minutes = round(erase.CODE_SECONDS / 60)
            return ctx.say("forget_asked", people=listed, code=code, minutes=minutes)

        return Answer(offer, buttons=(Button(ctx.say("forget_button"), f"forget {code}"),))

    def confirm(tx: Tx) -> str:
        people = erase.confirm(tx, ctx.user_id, ctx.args, at)
        if not people:
            return ctx.say("forget_wrong")
        # Without a title: it would be kept until it is said
        chat, language = asdict(replace(update.chat, title="")), update.person.language
        erase.ask(tx, people, at, {"chat": chat, "via": update.via, "language": language})
        return ctx.say("forget_begun")

    return Answer(confirm, stirs=True)
