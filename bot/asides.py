"""What is said outside every stream: answers to commands, refusals, what we say when something broke; and going out of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from adapters.base import AdapterError, Button, Chat, Update
from bot import dead, gone, own, room, sentences
from bot.commands import COMMANDS, known
from bot.commands.base import CommandContext
from bot.delivery import reply_to
from bot.engine import CONTROLS, Job
from bot.errors import LimitReached
from bot.scope import place_of
from config.problems import nearest
from memory import inbox, journal, people
from memory.database import Tx
from memory.outbox import Part
from memory.transcripts import TurnRecord

if TYPE_CHECKING:
    from bot.turns import Turns

log = structlog.get_logger(__name__)

LEAVE_INTERVAL = 3600.0  # seconds between two tries to go out of one group
REFUSAL_INTERVAL = 3600.0  # seconds between two refusals of one stranger


class Asides:
    """Each verb brings a job to its end, and returns its outcome and what the log tells of it."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._left: dict[str, float] = {}
        self._refused: dict[str, list[float]] = {}  # when strangers were refused in a group

    async def command(self, job: Job) -> tuple[str, dict[str, Any]]:
        name = job.update.command or ""
        if own.is_own(job.update):
            return await self._own(job, name)
        command, control = COMMANDS.get(name), name in CONTROLS
        denied, sentence = await self._admit(job)
        if denied is not None and not control:
            return await self._limited(job, denied, sentence)
        if command is None:
            person = job.update.person
            near = nearest(name, known(operator=self._turns.setup.gate.commands(person)))
            key = "unknown_command_near" if near else "unknown_command"
            unknown = sentences.say(key, person.language, command=name, near=near)
            await self.answer(job, unknown, "command:unknown")
            return "command:unknown", {}
        await self._turns.journal.flush()
        answer = await command.handler(CommandContext(self._turns, job))
        text: str | Callable[[Tx], str] | None = answer.text
        if denied is not None and not job.ended:  # it was done all the same, and is not talked about for ever
            text = None if denied.again else f"{answer.text}\n\n{sentence}"
        await self.answer(job, text, f"command:{name}", answer.also, buttons=answer.buttons, file=answer.file)
        if answer.stirs:
            self._turns.stir()
        return f"command:{name}", {}

    async def _own(self, job: Job, name: str) -> tuple[str, dict[str, Any]]:
        """Say what we have to say of our own accord."""
        update = job.update
        language = update.person.language
        match name:
            case own.PAIRED:
                text = sentences.say("paired", language)
            case own.LINKED:
                text = sentences.say("linked_elsewhere", language, others=update.args)
            case own.PARTED:
                text = sentences.say("parted_elsewhere", language, others=update.args)
            case _:
                text = update.args
        if name == own.REMIND:
            zone = await self._turns.zone(update.person.id)
            await self.answer(job, text, f"own:{name}", partial(self._record, job, zone))
            self._turns.journal.notify()
        else:
            await self.answer(job, text, f"own:{name}")
        return f"own:{name}", {}

    def _record(self, job: Job, zone: str, tx: Tx) -> None:
        """What we say unasked stands in the transcript, in a section of its own, and in the room."""
        update, at = job.update, self._turns.now()
        chat = update.chat
        if chat.kind == "group":
            setup = self._turns.setup
            message_id, name = f"reply:{job.id}", setup.agent.name
            room.add(tx, chat, message_id, update.person.id, name, update.args, at, setup.groups.window)
        entry = TurnRecord(update.person.id, at, zone, place_of(chat), (("assistant", update.args),))
        journal.record(tx, job.id, -job.id, entry)  # below 0: no stream's, for it belongs to no conversation

    async def unreadable(self, job: Job, problem: str) -> tuple[str, dict[str, Any]]:
        """Say why a message is not for a model. It costs no turn, but answers to a flood of them would hold up a whole chat."""
        denied, sentence = await self._admit(job)
        if denied is not None:
            return await self._limited(job, denied, sentence)
        await self.answer(job, problem, "unreadable", stub=True)
        return "unreadable", {}

    async def _admit(self, job: Job) -> tuple[LimitReached | None, str]:
        """Count what is answered without a model; if there was too much of it lately, that limit and its sentence."""
        person, at, setup = job.update.person, self._turns.now(), self._turns.setup
        paced = not setup.gate.at_home(person)

        def unit(tx: Tx) -> tuple[LimitReached | None, str]:
            zone = self._turns.zone_of(tx, person.id)
            return setup.limits.admit(tx, person.id, zone, at, command=True, paced=paced), zone

        denied, zone = await self._turns.database.write(unit)
        return denied, sentences.limit_reached(denied, zone, person.language, f"t{job.id}") if denied else ""

    async def _limited(self, job: Job, denied: LimitReached, sentence: str) -> tuple[str, dict[str, Any]]:
        """Of a crowd of messages only the first is told why; it speaks for all."""
        await self.answer(job, None if denied.again else sentence, f"limited:{denied.limit}")
        return f"limited:{denied.limit}", {}

    async def refuse(self, job: Job) -> tuple[str, dict[str, Any]]:
        person, at = job.update.person, self._turns.now()
        chat = job.update.chat
        by_code = self._turns.setup.gate.policy(chat.platform) == "pairing"

        def silent(tx: Tx) -> bool:
            """Whether nothing is to be said; a code that was made before a crash is made anew, for it was not seen."""
            row = tx.one("person_get", user_id=person.id)
            if row is not None and row["refused_at"] > at - REFUSAL_INTERVAL and not job.resumed:
                return True
            return by_code and people.state(tx, person.id) == "denied"

        def drop(tx: Tx) -> None:
            tx.run("inbox_drop", id=job.id, problem="refused before")

        if await self._turns.database.read(silent):
            await self.dismiss(job.update)
            await self._turns.database.write(drop)
            return "refused silently", {}

        def text(tx: Tx) -> str | None:
            code = people.ask(tx, person.id, person.name, asdict(chat), at) if by_code else ""
            if code is None or (not by_code and self._crowded(chat, at)):
                return None
            tx.run("person_refused", user_id=person.id, at=at)
            if code:
                return sentences.say("pairing", person.language, code=code)
            return sentences.say("refused", person.language, user_id=person.id)

        said = await self.answer(job, text, "refused")
        return "refused" if said else "refused silently", {}

    def _crowded(self, chat: Chat, at: float) -> bool:
        """Whether enough strangers were refused in a group lately: a crowd of them must not fill it with refusals."""
        if chat.kind == "private":
            return False
        lately = [each for each in self._refused.get(chat.place, ()) if each > at - REFUSAL_INTERVAL]
        if len(lately) >= people.MOST_IN_CHAT:
            return True
        if len(self._refused) > 10_000:
            self._refused.clear()
        self._refused[chat.place] = [*lately, at]
        return False

    async def leave(self, job: Job) -> tuple[str, dict[str, Any]]:
        """Go out of a group where the configuration does not want us."""
        chat = job.update.chat
        await self.dismiss(job.update)
        setup, limits = self._turns.setup, self._turns.delivery.limits(chat)
        if limits.leaves_server and setup.gate.knows_server(chat):
            pass  # another channel of that server is where it shall be
        elif not self.left_lately(chat):  # where it can not leave, it does not try for every message
            self._left[chat.place] = self._turns.now()
            try:
                await self._turns.delivery.leave(chat)
            except AdapterError as exc:
                log.warning("not_left", chat=chat.key, problem=str(exc))

        def drop(tx: Tx) -> None:
            tx.run("inbox_drop", id=job.id, problem="not one of access.groups")
            gone.not_wanted(self._turns, tx, chat)

        await self._turns.database.write(drop)
        return "left", {}

    def left_lately(self, chat: Chat) -> bool:
        return self._left.get(chat.place, 0.0) > self._turns.now() - LEAVE_INTERVAL

    async def answer(
        self,
        job: Job,
        text: str | Callable[[Tx], str | None] | None,
        outcome: str,
        also: Callable[[Tx], object] | None = None,
        *,
        buttons: Sequence[Button] = (),
        stub: bool = False,
        file: str = "",
    ) -> bool:
        """Answer outside every stream: one transaction, then delivery. Whether anything is said (`text` may find nothing)."""
        update = job.update
        context = copy_context()  # how commands are given here; in the database's thread nobody knows

        def unit(tx: Tx) -> list[Part]:
            at = self._turns.now()
            claim = inbox.claim(tx, job.id, 0, update.person.id, [job.id, *(j.id for j in job.more)], at)
            if claim is None:
                return []
            if job.decision == "command":
                self._turns.remember_home(tx, update)
            if also is not None:
                also(tx)
            words = context.run(text, tx) if callable(text) else text
            parts = words and self._turns.delivery.complete(
                tx,
                job.id,
                update.chat,
                reply_to(update),
                words,
                via=update.via,
                buttons=buttons,
                stub=stub,
                language=update.person.language,
                file=file,
                unasked=own.is_own(update),
            )
            keep = job.decision in ("turn", "command") and dead.keeps(outcome)  # a stranger's words never
            inbox.close(tx, claim, outcome, at, keep=keep)
            return parts or []

        parts = await self._turns.database.write(unit)
        self._turns.delivery.submit(parts)
        if not parts:
            await self.dismiss(update)
        return bool(parts)

    async def dismiss(self, update: Update) -> None:
        """Nothing is said: who pressed a button or gave a slash command must not be left waiting for it."""
        if update.interaction:
            with suppress(AdapterError):
                await self._turns.delivery.dismiss(update.chat, update.via)

    async def broken(self, job: Job, exc: Exception) -> tuple[str, dict[str, Any]]:
        """A fault of our own: the person still gets a sentence."""
        await self._turns.delivery.abandon(job.id)
        text = sentences.failure(exc, f"t{job.id}", job.update.person.language)
        await self.answer(job, text, f"failed:{type(exc).__name__}", stub=True)
        return f"failed:{type(exc).__name__}", {}
