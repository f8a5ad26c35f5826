"""`/export`: all that is kept of a person, as a file for them alone."""

from __future__ import annotations

from bot.commands.base import Answer, CommandContext
from bot.exports import TooSoon


async def export(ctx: CommandContext) -> Answer:
    """Make the file; it is sent with the answer. In a group nothing is made, unless the answer is for the asker alone."""
    turns, update = ctx.turns, ctx.job.update
    if not update.alone:
        return Answer(ctx.say("private_only"))
    variables = await turns.variables(update, await turns.zone(ctx.user_id))
    try:
        file = await turns.exports.make(variables.people, ctx.job.id)
    except TooSoon:
        return Answer(ctx.say("export_too_soon"))
    ready = ctx.say("export_ready")
    if turns.delivery.limits(update.chat).files_stay:
        ready += f" {ctx.say('export_stays')}"
    return Answer(ready, file=file)
