"""Letting people in: what `/pair` does in a chat, and what a running process does about decisions made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.base import Chat, Person, Received, Update
from bot.engine import Engine
from memory import people
from memory.database import Database, Tx

if TYPE_CHECKING:
    from bot.commands import Answer, CommandContext

WELCOME = "paired"  # the command that a person's welcome is
OWN = "boswell"  # what we enter into the inbox ourselves has a source `<platform>:boswell`


def is_own(update: Update) -> bool:
    """Whether we entered it ourselves; no platform's source looks so."""
    return update.source == f"{update.chat.platform}:{OWN}"


class Approvals:
    """Keeps the set of approved people that the gate looks at true to the database, and welcomes the new ones."""

    def __init__(
        self, database: Database, engine: Engine, approved: set[str], platforms: frozenset[str]
    ) -> None:
        self._database = database
        self._engine = engine
        self._approved = approved
        self._platforms = platforms

    async def refresh(self) -> None:
        """Take over every decision, and welcome whoever was let in and does not know it."""
        decided, unwelcomed = await self._database.read(
            lambda tx: (people.decided(tx), people.unwelcomed(tx))
        )
        now = {row["user_id"] for row in decided if row["state"] == "approved"}
        self._approved &= now
        self._approved |= now
        for user_id, name, at, chat in unwelcomed:
            if chat["platform"] in self._platforms:
                update = _welcome(user_id, name, at, Chat(**chat))
                await self._engine.accept([Received(update.source, update.key, update)])
                await self._database.write(lambda tx, user_id=user_id: people.welcomed(tx, user_id))  # type: ignore[misc]


def _welcome(user_id: str, name: str, at: float, chat: Chat) -> Update:
    """The same whenever the same decision is acted on: by two looks at once, or again after a crash."""
    return Update(
        source=f"{chat.platform}:{OWN}",
        key=f"welcome:{user_id}:{at}",
        chat=chat,
        person=Person(user_id, name),
        command=WELCOME,
        addressed=True,
    )


async def pair(ctx: CommandContext) -> Answer:
    """`/pair`, `/pair approve CODE`, `/pair deny CODE`, `/pair revoke USER`: for operators."""
    from bot.commands import Answer

    turns, person = ctx.turns, ctx.job.update.person
    if not turns.setup.gate.commands(person):
        return Answer(ctx.say("operators_only"))
    update = ctx.job.update
    if update.chat.kind != "private" and not update.interaction and not ctx.args.strip():
        return Answer(ctx.say("private_only"))  # names of people who are not there
    verb, _, rest = ctx.args.partition(" ")
    verb, rest, at = verb.lower() or "list", rest.strip(), turns.now()
    if verb in ("approve", "deny") and rest:
        approve = verb == "approve"

        def decide(tx: Tx) -> str:  # whoever was faster has decided
            found = people.decide(tx, rest, approve, person.id, at)
            if found is None:
                return ctx.say("no_such_code")
            return ctx.say("pair_approved" if approve else "pair_denied", person=_described(found))

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
    return Answer("\n".join(f"- `{one.code}` {_described(one)}" for one in waiting))


def _described(one: people.Pairing) -> str:
    """Who it is, by their id; what they call themselves is only what they say, and can not act as Markdown."""
    return f"{one.user_id} (“{one.name.translate(_MARKS)}”)" if one.name else one.user_id


_MARKS = {
    ord(char): " " for char in "*_`[]()<>#|~\\@:/\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
}
