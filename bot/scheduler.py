"""Fires what is due: reminders and the operator's schedules enter the inbox, and are worked on like anything that was sent.

The table is the truth. A firing is one transaction: a guarded write moves the schedule on, and its update stands in the inbox
under a key made of the schedule and the time. So neither two processes, a kill, nor a clock that is set doubles or drops one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from adapters.base import Chat, Person, Update
from bot import gone, own, quiet, sentences, triggers
from bot.engine import Draft, Engine
from bot.gone import NOT_LET_IN
from config.checks import SUBSCRIBERS, is_group
from config.schema import ScheduleConfig
from memory import inbox, people, schedules
from memory.database import Database, Tx
from memory.schedules import Schedule

if TYPE_CHECKING:
    from bot.turns import Turns

log = structlog.get_logger(__name__)

LOOK = 30.0  # seconds between two looks at least: the clock may be set, and other processes set reminders
RETRY = 5.0  # seconds, where the database failed
IN_TIME = 60.0  # seconds late that never count as missed
FIRST_DAY = 1_767_225_600.0  # 2026-01-01: a clock that shows an earlier time is not set yet, as when a machine has just started
STUCK = 30.0  # seconds that a reply waits, after which the next one would come on top of it
BATCH = 100  # firings in one transaction
MOST_WAITING = 300  # firings of a platform that wait to be worked on, before more are entered

UNREADABLE = "its time can not be read"  # why a schedule is paused, or was not said
NO_CHAT = "they have not written in private yet"


@dataclass(frozen=True, slots=True)
class _Due:
    """A schedule that is due, where it goes (None: not known yet), and when the quiet hours end that it has to wait for.

    `stuck` tells that what it said last, a while ago, has not come through yet.
    """

    schedule: Schedule
    chat: Chat | None
    quiet_until: float | None
    stuck: bool


@dataclass(slots=True)
class _Firing:
    """What becomes of one that is due: it moves on to `next_at` (None: it is over), and `update` is entered.

    With `rests` it is paused instead, for its `problem`.
    """

    schedule: Schedule
    next_at: float | None = None
    update: Update | None = None
    problem: str = ""
    rests: bool = False
    late: bool = False
    draft: Draft | None = None


class Scheduler:
    """One for the process; `run` is a task for each platform whose lease it holds."""

    def __init__(
        self, database: Database, engine: Engine, turns: Turns, now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._engine = engine
        self._turns = turns
        self._now = now
        self._stirred = asyncio.Event()
        self._applied: dict[str, tuple[Mapping[str, ScheduleConfig], str]] = {}
        self._to_readmit: set[str] = set()

    def stir(self) -> None:
        """Something was scheduled, or is configured otherwise: look at once."""
        self._stirred.set()  # whoever waits looks again; the next ones wait for the next one
        self._stirred = asyncio.Event()

    def readmit(self) -> None:
        """Somebody may be let in now who was not, or a group be wanted: what rests for that goes on."""
        self._to_readmit.update(self._applied)
        self.stir()

    async def refresh(self) -> None:
        """Another process did something, or something was decided here: look at once."""
        self.readmit()

    async def run(self, platform: str) -> None:
        """Fire what is due on a platform, until cancelled. To be begun once what was owed there is taken up."""
        while True:
            stirred, wait = self._stirred, LOOK
            try:
                due = await self.sweep(platform)
                if due is not None:
                    wait = min(LOOK, max(0.0, due - self._now()))
            except sqlite3.Error as exc:
                log.error("database_failed", what="firing schedules", problem=str(exc), retry_in=RETRY)
                wait = RETRY
            except Exception as exc:  # must not end every adapter
                log.error("scheduler_broke", platform=platform, error=type(exc).__name__)
                log.debug("scheduler_broke_in_full", platform=platform, exc_info=exc)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await stirred.wait()

    async def sweep(self, platform: str) -> float | None:
        """Fire all that is due on a platform by now; when something is due there next."""
        at = self._now()
        if at < FIRST_DAY:
            return None
        await self._apply(platform, at)
        await self._readmit(platform)
        while True:
            ahead, due, following = await self._database.read(lambda tx: self._look(tx, platform, at))
            if ahead:
                await self._turn_back(ahead, at)
            elif due:
                await self._fire(platform, due, at)
                await self._engine.eased(platform, MOST_WAITING)
            else:
                return following

    # Firing -------------------------------------------------------------------------------------------------------

    def _look(self, tx: Tx, platform: str, at: float) -> tuple[list[Schedule], list[_Due], float | None]:
        """A batch of what was fired by a clock that was ahead, one of what is due, and when something is due next."""
        only = self._turns.delivery.limits(Chat(platform, "")).only_chat
        due = [self._due(tx, schedule, at) for schedule in schedules.due(tx, platform, at, BATCH, only)]
        return schedules.ahead(tx, platform, at, BATCH), due, schedules.next_due(tx, platform, only)

    async def _fire(self, platform: str, due: list[_Due], at: float) -> None:
        firings = [self._plan(one, at) for one in due]
        to_enter = [firing for firing in firings if firing.update is not None]
        drafts = await self._engine.draft([firing.update for firing in to_enter if firing.update is not None])
        for firing, draft in zip(to_enter, drafts, strict=True):
            firing.draft = draft
            if draft is None:  # who was let in when it was set is not any more
                firing.rests, firing.problem = True, NOT_LET_IN

        def unit(tx: Tx) -> tuple[list[_Firing], list[Draft]]:
            moved = [firing for firing in firings if self._move(tx, firing, at)]
            drafts = [firing.draft for firing in moved if firing.draft is not None]
            return moved, [draft for draft in drafts if self._engine.enter(tx, draft)]

        moved, entered = await self._database.write(unit)
        self._engine.begin(entered)
        _tell(platform, moved)

    def _due(self, tx: Tx, schedule: Schedule, at: float) -> _Due:
        chat, ends = schedule.chat, None
        if not chat:
            chat = people.home(tx, schedule.user_id) or {}
            there = Chat(schedule.platform, schedule.user_id.partition("-")[2])
            if not chat and self._turns.delivery.limits(there).private_by_id:
                chat = asdict(there)
        # A reminder was set for that very time, and does not wait.
        if schedule.kind == "prompt" and chat.get("kind") == "private":
            hours = people.quiet(tx, schedule.user_id)
            ends = quiet.until(hours, self._turns.zone_of(tx, schedule.user_id), at) if hours else None
        source, keys = own.source(schedule.platform), f"schedule:{schedule.id}:"
        stuck = schedule.last_at is not None and inbox.undelivered(tx, source, keys, at - STUCK)
        return _Due(schedule, Chat(**chat) if chat else None, ends, stuck)

    def _plan(self, due: _Due, at: float) -> _Firing:
        schedule = due.schedule
        try:
            trigger = triggers.load(schedule.trigger)
            last = schedule.next_at
            if at - last <= IN_TIME:
                next_at = triggers.next_after(trigger, schedule.zone, last)
            else:  # of several that were missed the last one stands for all
                until = at if schedule.until is None else min(at, schedule.until)
                last, next_at = triggers.last_and_next(trigger, schedule.zone, last, until)
        except triggers.UNREADABLE:
            return _Firing(schedule, problem=UNREADABLE, rests=True)
        missed = at - last > max(schedule.grace, IN_TIME)
        late = missed or last > schedule.next_at
        if due.chat is None:
            return _Firing(schedule, next_at, problem=NO_CHAT, late=late)
        if missed and schedule.missed == "skip":
            return _Firing(schedule, next_at, late=late)
        # Or all of them would come at once, when that can be reached again
        if due.stuck and next_at is not None:
            return _Firing(schedule, next_at, late=True)
        if due.quiet_until is not None:
            return _Firing(schedule, due.quiet_until, problem=schedules.QUIET, late=late)
        return _Firing(schedule, next_at, _update(schedule, due.chat, last, missed=missed), late=late)

    def _move(self, tx: Tx, firing: _Firing, at: float) -> bool:
        """Whether it was there to be moved, or paused, and nobody else did it."""
        if firing.rests:
            chat = Chat(**firing.schedule.chat) if firing.schedule.chat else None
            if chat is None or self._turns.setup.gate.stays(chat):
                return schedules.pause(tx, firing.schedule, firing.problem)
            gone.not_wanted(self._turns, tx, chat)
            return True
        fired_at = at if firing.draft else None
        return schedules.advance(tx, firing.schedule, firing.next_at, fired_at, firing.problem)

    async def _turn_back(self, ahead: list[Schedule], at: float) -> None:
        """The clock was set back: what was fired by the wrong time is due again; its key keeps it from being entered twice."""

        def unit(tx: Tx) -> None:
            for schedule in ahead:
                with suppress(*triggers.UNREADABLE):  # told when it is due
                    trigger = triggers.load(schedule.trigger)
                    next_at = triggers.next_after(trigger, schedule.zone, at)
                    if next_at is not None and next_at < schedule.next_at:
                        schedules.advance(tx, schedule, next_at, at)
                        continue
                schedules.advance(tx, schedule, schedule.next_at, at)

        await self._database.write(unit)

    async def _readmit(self, platform: str) -> None:
        """Let go on what rests because its person was not let in, or its time could not be read, where that has changed."""
        if platform not in self._to_readmit:
            return
        self._to_readmit.discard(platform)
        for problem, mended in ((NOT_LET_IN, self._lets_in), (UNREADABLE, _is_readable)):
            await self._let_go_on(platform, problem, mended)

    async def _let_go_on(self, platform: str, problem: str, mended: Callable[[Schedule], bool]) -> None:
        after = 0
        while True:
            found = await self._database.read(
                lambda tx: schedules.paused(tx, platform, problem, after, BATCH)  # noqa: B023 - awaited at once
            )
            again = [schedule for schedule in found if mended(schedule)]

            def unit(tx: Tx, again: list[Schedule] = again) -> None:
                for schedule in again:
                    schedules.resume(tx, schedule)

            if again:
                await self._database.write(unit)
            if len(found) < BATCH:
                return
            after = found[-1].id

    def _lets_in(self, schedule: Schedule) -> bool:
        chat = Chat(**schedule.chat) if schedule.chat else Chat(schedule.platform, "")
        update = own.update("", chat, Person(**schedule.person), command=own.REMIND)
        return self._turns.decide(update)[0] == "command"

    # The operator's -------------------------------------------------------------------------------------------------

    async def _apply(self, platform: str, at: float) -> None:
        """Keep the rows true to the configuration: what is unchanged is due when it was."""
        setup = self._turns.setup
        if self._applied.get(platform) == (setup.schedules, setup.timezone):
            return

        def unit(tx: Tx) -> None:
            have = {(row.name, row.user_id): row for row in schedules.operators(tx, platform)}
            for row in [
                row
                for name, config in setup.schedules.items()
                for row in rows(tx, name, config, platform, setup.timezone, at)
            ]:
                old = have.pop((row.name, row.user_id), None)
                if old is None:
                    schedules.add(tx, row)
                    continue
                same = (old.trigger, old.zone) == (row.trigger, row.zone)
                new = replace(row, id=old.id, next_at=old.next_at if same else row.next_at)
                kept = replace(
                    new,
                    state=old.state,
                    problem=old.problem,
                    last_at=old.last_at,
                    until=old.until,
                    created_at=old.created_at,
                )
                if kept != old:
                    schedules.change(tx, new)
            for old in have.values():
                schedules.remove(tx, old)

        await self._database.write(unit)
        self._applied[platform] = setup.schedules, setup.timezone
        self._to_readmit.add(platform)


def _is_readable(schedule: Schedule) -> bool:
    try:
        triggers.next_after(triggers.load(schedule.trigger), schedule.zone, schedule.next_at)
    except triggers.UNREADABLE:
        return False
    return True


def rows(
    tx: Tx, name: str, config: ScheduleConfig, platform: str, timezone: str, at: float
) -> list[Schedule]:
    """What an operator's schedule is on a platform: a row for each who gets it, due for the first time after now."""
    targets: list[tuple[Person, Chat | None]]
    if config.to == SUBSCRIBERS:
        targets = [(Person(**s.person), Chat(**s.chat)) for s in schedules.subscribers(tx, name, platform)]
    elif config.to.partition("-")[0] != platform:
        targets = []
    elif is_group(config.to):
        chat_id = schedules.current_id(tx, platform, config.to.partition("-")[2])
        targets = [(own.pseudonym(platform, name), Chat(platform, chat_id, "group"))]
    else:
        targets = [(Person(config.to), None)]
    return [row(name, config, person, chat, timezone, at) for person, chat in targets]


def row(
    name: str, config: ScheduleConfig, person: Person, chat: Chat | None, timezone: str, at: float
) -> Schedule:
    """An operator's schedule as it is for one person; `chat` None is their private one."""
    trigger, zone = triggers.Cron(config.cron), config.timezone or timezone
    next_at = triggers.next_after(trigger, zone, at)
    return Schedule(
        kind="prompt",
        name=name,
        platform=person.id.partition("-")[0],
        user_id=person.id,
        person=asdict(person),
        chat=asdict(chat) if chat else {},
        chat_key=chat.key if chat else "",
        text=config.prompt or config.text or "",
        work=config.prompt is not None,
        trigger=triggers.dump(trigger),
        zone=zone,
        missed=config.missed,
        grace=config.grace,
        next_at=at if next_at is None else next_at,
        created_at=at,
    )


def _update(schedule: Schedule, chat: Chat, due: float, *, missed: bool) -> Update:
    """What is entered: something to be said, or something for the agent to work on, marked as what nobody says now."""
    person = Person(**schedule.person)
    language, when = person.language, f"{datetime.fromtimestamp(due, ZoneInfo(schedule.zone)):%Y-%m-%d %H:%M}"
    key = f"schedule:{schedule.id}:{due:.3f}"
    works = schedule.work and not (missed and schedule.missed == "notify")
    text = schedule.name if schedule.work and schedule.name else schedule.text
    if schedule.kind == "prompt" and not schedule.work and schedule.chat and chat.kind == "private":
        text = sentences.say(
            "subscription_text", language, name=schedule.name, text=text
        )  # what they may end
    if works or schedule.kind == "reminder":
        name = person.name if chat.kind == "group" and schedule.kind == "reminder" else ""
        text = (
            sentences.say("reminder_for", language, name=name, text=text)
            if name
            else sentences.say("reminder", language, text=text)
        )
    if works:
        task = sentences.say(
            "scheduled_prompt", language, time=f"{when} ({schedule.zone})", text=schedule.text
        )
        return own.update(key, chat, person, text=task, args=text)
    if missed:
        note = "missed_note" if schedule.missed == "notify" else "late_note"
        text = f"{text}\n\n{sentences.say(note, language, time=when)}"
    return own.update(key, chat, person, command=own.REMIND, args=text)


def _tell(platform: str, firings: list[_Firing]) -> None:
    """What is unusual goes to the log, without a word of it: what was missed, rests, or waits."""
    for policy in ("run", "skip", "notify"):
        late = [firing.schedule.id for firing in firings if firing.late and firing.schedule.missed == policy]
        if late:
            log.info("schedules_missed", platform=platform, policy=policy, count=len(late), schedules=late)
    for problem in (NOT_LET_IN, UNREADABLE, NO_CHAT):
        troubled = [firing.schedule.id for firing in firings if firing.problem == problem]
        if troubled:
            log.warning(
                "schedules_not_fired",
                platform=platform,
                problem=problem,
                count=len(troubled),
                schedules=troubled,
            )
