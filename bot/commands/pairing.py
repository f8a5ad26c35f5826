"""`/pair`: operators let people in, or keep them out."""

from __future__ import annotations

from bot.commands.base import Answer, CommandContext, described
from memory import people
from memory.database import Tx


async def pair(ctx: CommandContext) -> Answer:
    """`/pair`, `/pair approve CODE`, `/pair deny CODE`, `/pair revoke USER`: for operators."""
    turns, person = ctx.turns, ctx.job.update.person
    if not turns.setup.gate.commands(person):
        return Answer(ctx.say("operators_only"))
    update = ctx.job.update
    if not update.alone and not ctx.args.strip():
        return Answer(ctx.say("private_only"))  # names of people who are not there
    verb, _, rest = ctx.args.partition(" ")
    verb, rest, at = verb.lower() or "list", rest.strip(), turns.now()
    if verb in ("approve", "deny") and rest:
        approve = verb == "approve"

        def decide(tx: Tx) -> str:  # whoever was faster has decided
            found = people.decide(tx, rest, approve, person.id, at)
            if found is None:
                return ctx.say("no_such_code")
            return ctx.say(
                "pair_approved" if approve else "pair_denied", person=described(found.user_id, found.name)
            )

        return Answer(decide, stirs=True)
    if verb == "revoke" and rest:

        def revoke(tx: Tx) -> str:
            return ctx.say("pair_revoked" if people.revoke(tx, rest) else "nothing_to_revoke", user=rest)

        return Answer(revoke, stirs=True)
    if verb != "list":
        return Answer(ctx.say("pair_usage"))
    waiting = await turns.database.read(lambda tx: people.pending(tx, at))
    if not waiting:
        return Answer(ctx.say("nobody_waits"))
    return Answer("\n".join(f"- `{one.code}` {described(one.user_id, one.name)}" for one in waiting))
