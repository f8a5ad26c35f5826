"""A message answered by the agent: its turn, from the claim to whatever end it comes to.

What ends a turn (the reply's parts, the transcript's record, what was used) is one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from adapters.base import Update
from bot import context, dead, facts, own, room, sentences
from bot import stream as streams_
from bot.agent import Interrupted, ModelCall, Reply
from bot.delivery import reply_to
from bot.engine import Job
from bot.errors import BoswellError, LimitReached, TurnTimedOut
from bot.events import AssistantSaid, Event, Summarised, UserSaid, Variables
from bot.limits import Spent, cost
from bot.scope import place_of, said_at
from bot.setup import Setup
from bot.stream import Stream
from bot.text import is_blank
from bot.tools.base import ToolContext
from config.schema import Price
from memory import inbox, journal, links, outbox
from memory.database import Fenced, Tx
from memory.inbox import Claim
from memory.outbox import Part
from memory.transcripts import Message, TurnRecord

if TYPE_CHECKING:
    from bot.turns import Turns

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 12  # of one turn, over restarts
GRACE = 15.0  # seconds past agent.turn_timeout after which a turn is taken to be stuck


class Answering:
    """Works on turns. One for all chats; what belongs to one turn is in `_Turn`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._calls: dict[int, list[ModelCall]] = {}  # of running turns, for those that are stopped

    async def turn(self, job: Job) -> tuple[str, dict[str, Any]]:
        setup = self._turns.setup
        with setup.in_use():
            return await self._turn_with(setup, job)

    async def _turn_with(self, setup: Setup, job: Job) -> tuple[str, dict[str, Any]]:
        problem = self._unreadable(setup, job.update)
        if problem:
            return await self._turns.asides.unreadable(job, problem)
        user_id = job.update.person.id
        unasked = own.is_own(job.update)
        async with self._turns.places.taken(self._turns.linked.get(user_id, user_id), unasked=unasked):
            # The turn's own time-out is inside the agent; this is for what hangs around it, or does not heed that one.
            watchdog = asyncio.get_running_loop().call_later(
                setup.turn_timeout + GRACE, self._bark, job, asyncio.current_task()
            )
            try:
                return await self._turn_in_place(setup, job)
            finally:
                watchdog.cancel()

    def _bark(self, job: Job, task: asyncio.Task[Any] | None) -> None:
        """A turn is stuck: it is cancelled, and comes to its end with a sentence."""
        log.error("turn_stuck", turn=job.id, ref=f"t{job.id}")
        if task is not None and not job.stopped:
            job.stopped = job.overdue = True
            task.cancel()

    async def _turn_in_place(self, setup: Setup, job: Job) -> tuple[str, dict[str, Any]]:
        turn = await self._begin(setup, job)
        if isinstance(turn, _Denied):
            self._turns.delivery.submit(turn.parts)
            return f"limited:{turn.limit}", {}
        # It may be what ends the process each time, and each try is paid for
        if turn.claim.attempt > MOST_ATTEMPTS:
            reference, language = f"t{job.id}", turn.variables.language
            log.error("turn_given_up", turn=job.id, ref=reference, attempts=turn.claim.attempt - 1)
            text = sentences.referring(sentences.say("given_up", language), reference, language)
            text = own.named(turn.job.update, text)
            return await self._cut_short(turn, text, "failed:attempts"), {}
        said = "\n\n".join(e.text for e in turn.logged if isinstance(e, AssistantSaid) and e.text.strip())
        self._turns.delivery.preview(turn.part, turn.stream, said, turn.variables.language)
        self._calls[job.id] = turn.calls
        try:
            async with asyncio.timeout(setup.turn_timeout) as timer:
                await self._look_up_facts(turn)
                reply = await setup.agent_in(job.update.chat, job.update.person).ask(
                    None,
                    stream=turn.stream,
                    variables=turn.variables,
                    make_context=partial(self._tool_context, turn),
                    record=partial(self._record, turn),
                    reserve=partial(self._reserve, turn),
                    unrecorded=turn.calls,
                    now=self._turns.now,
                )
        except Interrupted as exc:
            return await self._failed(job, turn, exc)
        except TimeoutError:
            if not timer.expired():
                raise
            cause = TurnTimedOut(setup.turn_timeout)
            return await self._failed(job, turn, Interrupted(cause, self._turns.delivery.shown(job.id)))
        self._calls.pop(job.id, None)
        self._completed(turn)
        await self._note_summary(turn)
        used = [call.usage for call in reply.calls]
        return "answered", {
            "rounds": reply.rounds,
            "tokens_in": sum(u.input for u in used),
            "tokens_out": sum(u.output for u in used),
        }

    async def _look_up_facts(self, turn: _Turn) -> None:
        asked = next(e for e in [*turn.logged, *turn.new] if isinstance(e, UserSaid))
        known = await facts.for_prompt(self._turns.facts, turn.variables, turn.setup.facts_tokens, asked.text)
        if known:
            turn.variables = replace(turn.variables, facts=known)

    async def _note_summary(self, turn: _Turn) -> None:
        """If the conversation had grown too long and was summed up in this turn, its transcript may have that, too."""
        events = turn.stream.of_turn(turn.claim.turn_id)
        text = next((event.text for event in events if isinstance(event, Summarised)), context.NO_SUMMARY)
        if text == context.NO_SUMMARY or not turn.setup.summaries or turn.job.lane.endswith(":*"):
            return
        try:
            await self._turns.journal.summarise(turn.variables.user_id, turn.stream.id, text)
        except OSError as exc:
            log.error(
                "summary_not_written", stream=turn.stream.id, problem=exc.strerror or type(exc).__name__
            )

    def joins(self, updates: Sequence[Update]) -> bool:
        setup = self._turns.setup
        if any(self._unreadable(setup, update) for update in updates):
            return False  # it gets a sentence of its own
        return sum(context.tokens(update.text) for update in updates) <= setup.context_tokens // 2

    def _unreadable(self, setup: Setup, update: Update) -> str | None:
        """The sentence for a message that no model should be paid for."""
        language = update.person.language
        if is_blank(update.text):
            if update.unsupported:
                return sentences.say("unsupported", language, content=update.unsupported)
            return sentences.say("empty_message", language)
        most = setup.context_tokens // 2
        if len(update.text) > setup.message_chars:
            return sentences.say("too_long", language, have=len(update.text), most=setup.message_chars)
        if context.tokens(update.text) > most:
            return sentences.say("too_long", language, have=len(update.text), most=most * 2)
        return None

    async def _begin(self, setup: Setup, job: Job, *, admitted: bool = False) -> _Turn | _Denied:
        """Claim the turn, log the message, open the reply: one transaction. Raises `Fenced` if the turn is over already.

        A turn that a limit forbids is ended by that transaction instead.
        """
        update = job.update
        jobs = [job, *job.more]
        lane = job.lane  # as it is now: when the unit runs, the chat may be about to get another id

        def unit(tx: Tx) -> _Turn | _Denied:
            at = self._turns.now()
            opened = tx.one("stream_open", key=lane, at=at)
            claim = inbox.claim(tx, job.id, opened["id"], update.person.id, [j.id for j in jobs], at)
            if claim is None:
                raise Fenced(f"turn {job.id} is over already")
            self._turns.remember_home(tx, update)
            who = links.person(tx, update.person.id)
            zone = who.timezone or setup.timezone
            resumed = claim.attempt > 1
            if not resumed and not admitted:
                # What falls due comes when it was set for, however much there is
                paced = not own.is_own(update) and not setup.gate.at_home(update.person)
                said = said_at(update, at)
                denied = setup.limits.admit(tx, update.person.id, zone, at, said_at=said, paced=paced)
                if denied is not None:
                    return self._deny(tx, claim, update, denied, zone)
            stream = self._turns.streams.cached(claim.stream_id)
            if stream is None or resumed:
                stream = self._turns.streams.load(tx, claim.stream_id, opened["opened_at"])
            logged: Sequence[Event] = stream.of_turn(claim.turn_id)
            new: list[Event] = [] if logged else self._said(setup, tx, jobs, claim.stream_id)
            first = streams_.write(tx, claim.stream_id, claim.turn_id, new, at) if new else 0
            part = self._turns.delivery.begin(
                tx, job.id, update.chat, reply_to(update), via=update.via, resumed=resumed
            )
            if part is None:
                raise Fenced(f"turn {job.id} has its reply already")
            part.unasked = own.is_own(update)
            of = variables(tx, update, who.ids, zone, str(job.id))
            return _Turn(setup, claim, stream, part, of, job, logged, new, first)

        turn = await self._turns.database.write(unit)
        if isinstance(turn, _Denied):
            return turn
        self._turns.streams.keep(turn.stream)
        turn.stream.claim = turn.claim
        turn.stream.logged(turn.first, turn.claim.turn_id, turn.new)
        return turn

    def _deny(self, tx: Tx, claim: Claim, update: Update, denied: LimitReached, zone: str) -> _Denied:
        """End a turn that must not begin. Of a crowd of messages only the first is told why; it speaks for all."""
        parts: list[Part] = []
        if not denied.again:
            parts = self._turns.delivery.complete(
                tx,
                claim.turn_id,
                update.chat,
                reply_to(update),
                own.named(
                    update, sentences.limit_reached(denied, zone, update.person.language, f"t{claim.turn_id}")
                ),
                via=update.via,
                language=update.person.language,
                unasked=own.is_own(update),
            )
        inbox.close(tx, claim, f"limited:{denied.limit}", self._turns.now())
        return _Denied(denied.limit, parts)

    async def _reserve(
        self, turn: _Turn, model: str, input_bound: int, output_bound: int, less_will_do: bool
    ) -> tuple[int, int]:
        """Book a model call before it is made; its reservation, and how much it may write. Raises `LimitReached`."""
        of, limits = turn.variables, turn.setup.limits

        def unit(tx: Tx) -> tuple[int, int]:
            inbox.guard(tx, turn.claim)
            who, at, most = (
                (of.user_id, of.chat_key, of.timezone, model, input_bound),
                self._turns.now(),
                output_bound,
            )
            if less_will_do:
                most = limits.grant(tx, *who, most, at)
            return limits.reserve(tx, turn.claim.turn_id, *who, most, at), most

        return await self._turns.database.write(unit)

    def _said(self, setup: Setup, tx: Tx, jobs: Sequence[Job], stream_id: int) -> list[Event]:
        """The person's message as an event, with what the room said since the stream's last turn."""
        update = jobs[0].update
        text = "\n\n".join(j.update.text for j in jobs)
        relayed = any(j.update.relayed for j in jobs)
        if update.chat.kind == "private":
            return [UserSaid(text, relayed=relayed)]
        own = {j.update.message_id for j in jobs}
        heard = room.window(tx, update.chat.key, stream_id, own, setup.groups.window)
        return [UserSaid(text, update.person.name or update.person.id, heard, relayed)]

    async def _tool_context(self, turn: _Turn, variables: Variables, key: str) -> ToolContext:
        await self._turns.journal.flush()  # a turn that has ended is in its file before anybody reads there
        # Who was parted while the turn runs reads nothing of the others any more
        if len(variables.people) > 1:
            ids = await self._turns.database.read(lambda tx: links.people(tx, variables.user_id))
            variables = replace(variables, people=ids)
        said = tuple(
            event.text
            for event in turn.stream.of_turn(turn.claim.turn_id)
            if isinstance(event, UserSaid) and not event.relayed and not own.is_own(turn.job.update)
        )
        meanings = turn.setup.meanings(self._turns.database, self._turns.now, self._turns.metrics)
        who = variables.user_id, variables.chat_key, variables.timezone, turn.claim.turn_id
        return ToolContext(
            variables,
            self._turns.journal.transcripts,
            self._turns.now,
            key,
            update=turn.job.update,
            said=said,
            database=self._turns.database,
            facts=self._turns.facts,
            index=self._turns.index,
            meaning=meanings.asked_by(*who) if meanings else None,
            reminders=turn.setup.reminders,
            stir=lambda: self._turns.stir(),
        )

    def _record(self, turn: _Turn, tx: Tx, calls: Sequence[ModelCall], reply: Reply | None) -> None:
        """Runs in the transactions of the agent: usage always, and with the reply all that ends the turn."""
        self._usage(tx, turn, calls)
        if reply is not None:
            self._complete(tx, turn, reply.text, "answered")

    def _usage(self, tx: Tx, turn: _Turn, calls: Sequence[ModelCall]) -> None:
        for call in calls:
            price = turn.setup.prices.get(call.model) or Price()
            self._turns.metrics.used(call.model, call.usage, cost(price, call.usage))
            turn.warned += turn.setup.limits.settle(tx, call.reservation, call.usage)

    def _complete(self, tx: Tx, turn: _Turn, text: str, outcome: str) -> None:
        update = turn.job.update
        shown = "\n\n".join([text, *self._warnings(turn)])
        turn.parts = self._turns.delivery.complete(
            tx,
            turn.claim.turn_id,
            update.chat,
            reply_to(update),
            shown,
            via=update.via,
            language=turn.variables.language,
            unasked=own.is_own(update),
        )
        asked = next(e for e in [*turn.logged, *turn.new] if isinstance(e, UserSaid))
        messages: tuple[Message, ...] = (("user", asked.text), ("assistant", text))
        chat = update.chat
        if chat.kind == "group":
            message_id, name = f"reply:{turn.claim.turn_id}", turn.setup.agent.name
            room.add(
                tx,
                chat,
                message_id,
                update.person.id,
                name,
                text,
                self._turns.now(),
                turn.setup.groups.window,
            )
        now = self._turns.now()
        zone = turn.variables.timezone
        entry = TurnRecord(update.person.id, said_at(update, now), zone, place_of(chat), messages)
        journal.record(tx, turn.claim.turn_id, turn.claim.stream_id, entry)
        tx.run("stream_active", id=turn.claim.stream_id, at=now)
        inbox.close(tx, turn.claim, outcome, self._turns.now(), keep=dead.keeps(outcome))

    def _warnings(self, turn: _Turn) -> list[str]:
        """What the person is told below the reply, and not in the transcript, of limits that are nearly used up."""
        said = []
        for spent in turn.warned:
            log.warning(
                "limit_near",
                ref=f"t{turn.claim.turn_id}",
                limit=spent.limit,
                used=spent.used,
                most=spent.most,
            )
            if not spent.limit.startswith("total_"):
                said.append(sentences.limit_warning(spent, turn.variables.timezone, turn.variables.language))
        return said

    def _completed(self, turn: _Turn) -> None:
        self._turns.delivery.submit(turn.parts)
        self._turns.journal.notify()

    async def _failed(self, job: Job, turn: _Turn, exc: Interrupted) -> tuple[str, dict[str, Any]]:
        """Something went wrong: what was shown stays, and one human sentence says so."""
        cause = exc.cause
        self._calls.pop(job.id, None)
        if isinstance(cause, Fenced | sqlite3.OperationalError):
            await self._turns.delivery.abandon(job.id)
            self._turns.streams.forget(turn.stream.id)
            raise cause
        reference = f"t{job.id}"
        language, zone = turn.variables.language, turn.variables.timezone
        text = sentences.failure(cause, reference, language, zone)
        if exc.text.strip():
            text = f"{exc.text}\n\n{sentences.say('broken_off', language)}\n\n{text}"
        else:
            text = own.named(job.update, text)
        if isinstance(cause, LimitReached):
            log.info("turn_limited", turn=job.id, ref=reference, limit=cause.limit)
            return await self._cut_short(turn, text, f"limited:{cause.limit}", exc.text), {}
        name = sentences.kind(cause)
        log.error(
            "turn_failed",
            turn=job.id,
            ref=reference,
            error=name,
            model=getattr(cause, "model", ""),
            problem=getattr(cause, "problem", "") or (str(cause) if isinstance(cause, BoswellError) else ""),
        )
        log.debug("turn_failed_in_full", turn=job.id, exc_info=cause)
        return await self._cut_short(turn, text, f"failed:{name}", exc.text), {}

    async def end_stopped(self, job: Job) -> tuple[str, dict[str, Any]]:
        """The person stopped it, at whatever point it was: what was shown stays and is marked.

        The attempt that was cancelled may have left a write on its way; claiming the turn anew comes after that write,
        and fences off whatever else it might do.
        """
        calls = self._calls.get(job.id, [])
        try:
            shown = self._turns.delivery.shown(job.id)
            turn = await self._begin(self._turns.setup, job, admitted=True)
            if isinstance(turn, _Denied):  # it was admitted, so this can not be; the types do not know it
                return f"limited:{turn.limit}", {}
            turn.calls = calls
            language = turn.variables.language
            mark = (
                sentences.failure(TurnTimedOut(self._turns.setup.turn_timeout), f"t{job.id}", language)
                if job.overdue
                else sentences.say("stopped_mark", language)
            )
            text = f"{shown}\n\n{mark}" if shown.strip() else mark
            outcome = await self._cut_short(turn, text, "failed:TurnTimedOut" if job.overdue else "stopped")
        except Fenced:  # its reply was committed in that very moment: then it stands, and is delivered
            await self._deliver_committed(job.id)
            outcome = "answered"
        self._calls.pop(job.id, None)
        return outcome, {}

    async def _deliver_committed(self, turn_id: int) -> None:
        parts = await self._turns.database.read(lambda tx: outbox.parts(tx, turn_id))
        self._turns.delivery.submit([part for part in parts if part.text is not None])
        self._turns.journal.notify()

    async def _cut_short(self, turn: _Turn, text: str, outcome: str, shown: str | None = None) -> str:
        """End a turn with `text`. `shown` is what of it a model wrote, where the rest is a sentence of ours.

        No model is to read our sentences as its own words, or it will say them too.
        """
        own = text if shown is None else f"{shown}\n\n{context.UNANSWERED}".strip()
        said = AssistantSaid(own, stopped=True)

        def unit(tx: Tx) -> None:
            inbox.guard(tx, turn.claim)
            streams_.write(tx, turn.claim.stream_id, turn.claim.turn_id, [said], self._turns.now())
            self._usage(tx, turn, turn.calls)
            self._complete(tx, turn, text, outcome)

        try:
            await self._turns.database.write(unit)
        finally:
            # What was cancelled may have reached the disk and not this copy
            self._turns.streams.forget(turn.stream.id)
        self._completed(turn)
        return outcome


def variables(tx: Tx, update: Update, ids: tuple[str, ...], zone: str, turn_id: str) -> Variables:
    person, chat = update.person, update.chat
    aliases: tuple[str, ...] = ()
    if chat.kind == "group":  # a migrated group's older messages stand under its older ids
        aliases = tuple(r["old_id"] for r in tx.all("aliases_of", platform=chat.platform, new_id=chat.id))
    # Providers want a stable id per person for abuse reports; they need not learn who it is.
    pseudonym = hashlib.sha256(f"boswell:{person.id}".encode()).hexdigest()[:32]
    return Variables(
        user_id=person.id,
        people=ids,
        chat_key=chat.key,
        chat_id=chat.id,
        platform=chat.platform,
        private=chat.kind == "private",
        timezone=zone,
        name=person.name,
        language=person.language,
        turn_id=turn_id,
        extra={"pseudonym": pseudonym, "chat_aliases": aliases},
    )


@dataclass(slots=True)
class _Denied:
    """A turn that a limit forbade; `parts` say so."""

    limit: str
    parts: list[Part]


@dataclass(slots=True)
class _Turn:
    """What one attempt at one turn holds."""

    setup: Setup
    claim: Claim
    stream: Stream
    part: Part
    variables: Variables
    job: Job
    logged: Sequence[Event]
    new: Sequence[Event]
    first: int
    warned: list[Spent] = field(default_factory=list)  # limits that were found nearly used up
    calls: list[ModelCall] = field(default_factory=list)  # made and not yet recorded
    parts: list[Part] = field(default_factory=list)  # set by the transaction that completes the turn
