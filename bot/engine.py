"""Who runs a turn, and when: the seam behind which a distributed engine may stand one day, and the one for one machine.

What an adapter hands in is kept before it returns; each person's rows are worked on in order of arrival, different lanes side
by side. A process that dies leaves rows that are owed; the next one takes them up.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import structlog

from adapters.base import Chat, Received, Update
from bot import own
from bot.access import Decision
from bot.text import is_blank
from memory import inbox, leases, state
from memory.database import Database, Tx
from memory.inbox import Row

log = structlog.get_logger(__name__)

CONTROLS = frozenset({"stop", "clear"})  # commands that end the running turn of their lane
MOST_COLLECTED = 50  # messages in one turn
PLAUSIBLE = 2 * 86400.0  # seconds: no platform holds messages longer; else a clock is plainly wrong
RETRY = 5.0  # seconds until what came is written again, where the database failed


@dataclass(eq=False, slots=True)
class Job:
    """A row of the inbox to be worked on. `id` is the row's, and the turn's.

    `stopped` tells a running job why it is cancelled; `overdue` that the watchdog did it.
    A control command finds in `ended` how many turns it cut short and in
    `dropped` how many waiting messages it took with it. `more` are messages collected into the same turn.
    """

    id: int
    lane: str
    decision: Decision
    update: Update
    resumed: bool = False
    stopped: bool = False
    overdue: bool = False
    ended: int = 0
    dropped: int = 0
    more: list[Job] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Draft:
    """An update of our own that is to be worked on: its row, not yet in the inbox, and its job."""

    row: Row
    job: Job


class Worker(Protocol):
    """What an engine needs from the application. Neither verb raises anything but CancelledError."""

    async def prepare(self, updates: Sequence[Update]) -> None:
        """Look up what `decide` needs to know about these."""

    def decide(self, update: Update) -> tuple[Decision, str]:
        """What to do with a message, and in which lane."""

    def reaches(self, chat: Chat) -> bool:
        """Whether this process can speak there. Else it waits for one that can: another person's terminal."""

    def commands_others(self, update: Update) -> bool:
        """Whether who sent it may stop other people's turns."""

    def joins(self, updates: Sequence[Update]) -> bool:
        """Whether one turn can answer all of these messages."""

    def overheard(self, tx: Tx, update: Update) -> None:
        """Keep a group's message for the room's window."""

    def migrated(self, tx: Tx, chat: Chat, new_id: str) -> None:
        """The chat has another id now."""

    def left(self, tx: Tx, update: Update) -> None:
        """We were blocked, or removed from a group."""

    async def run(self, job: Job) -> None:
        """Work the job through to its end. On CancelledError with `job.stopped` it is brought to a good end all the same."""

    async def abandon(self, job: Job) -> None:
        """End a job that was stopped before this process began it."""


class Engine(Protocol):
    """Durable acceptance and ordered execution."""

    async def accept(self, received: Sequence[Received]) -> None:
        """Keep what came, once each, and see to it that it is worked on. On disk when this returns. An adapter's `Sink`."""

    async def accept_later(self, update: Update, at: float) -> None:
        """Keep an update that is to be worked on at a time (unix seconds), as if it arrived then."""

    async def draft(self, updates: Sequence[Update]) -> list[Draft | None]:
        """Decide on updates of our own, and keep nothing yet; None for one that is not to be worked on."""

    def enter(self, tx: Tx, draft: Draft) -> bool:
        """Keep a draft in the caller's transaction; whether it is new. Hand it to `begin` once that is committed.

        Killed between the two, the next start takes it up.
        """

    def begin(self, drafts: Sequence[Draft]) -> None:
        """See to it that what was entered is worked on."""

    async def eased(self, platform: str, most: int) -> None:
        """Return when no more than so many jobs of a platform run or wait."""

    def held(self, user_id: str) -> AbstractContextManager[Sequence[Job]]:
        """For the length of the block nothing of a person is begun: what comes waits, and in a shared lane what is behind it.

        What waited before is dropped, and not even marked as such; their turns that run are stopped. The block is given all of
        their jobs that run.
        """

    async def ended(self, jobs: Sequence[Job]) -> None:
        """Return when none of these runs any more."""

    def lease(self, name: str) -> AbstractContextManager[None]:
        """Be the only process that holds `name`; raises `leases.LeaseTaken`."""

    async def recover(self, platform: str) -> int:
        """Take up what a platform's people are still owed; how many rows. Call it once the platform's lease is held."""

    async def idle(self, platform: str = "") -> None:
        """Return when nothing of a platform (or of all) runs or waits."""

    async def drain(self, seconds: float) -> None:
        """Begin nothing more; give running turns so many seconds, then cut them off. The next start resumes them."""


@dataclass(eq=False, slots=True)
class _Lane:
    key: str
    queue: deque[Job] = field(default_factory=deque)
    running: Job | None = None
    task: asyncio.Task[None] | None = None


class SqliteEngine:
    """The engine of one machine: the inbox table is the truth, lanes are tasks of one event loop, leases are file locks."""

    def __init__(
        self,
        database: Database,
        worker: Worker,
        tasks: asyncio.TaskGroup,
        locks: Path,
        on_busy: Literal["queue", "collect", "interrupt"] = "queue",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._worker = worker
        self._tasks = tasks
        self._locks = locks
        self.on_busy = on_busy
        self._now = now
        self._lanes: dict[str, _Lane] = {}
        self._known: set[int] = set()
        self._later: list[tuple[float, int, Job]] = []
        self._later_changed = asyncio.Event()
        self._clock: asyncio.Task[None] | None = None
        self._draining = False
        self._held: dict[str, asyncio.Event] = {}
        self._lane_ended = asyncio.Event()
        self._job_ended = asyncio.Event()

    def lease(self, name: str) -> AbstractContextManager[None]:
        return leases.lease(self._locks, name)

    async def accept(self, received: Sequence[Received]) -> None:
        # A task of its own: what is committed must also be queued, even if the adapter is cancelled in between.
        failure = await asyncio.shield(self._tasks.create_task(self._accept_or_tell(received), name="accept"))
        if failure is not None:
            raise failure

    async def _accept_or_tell(self, received: Sequence[Received]) -> Exception | None:
        """What failed is the adapter's to know; raised in a task of the group it would end every other adapter too."""
        try:
            await self._accept(received)
        except Exception as exc:  # noqa: BLE001 - raised by `accept`
            return exc
        return None

    async def _accept(self, received: Sequence[Received]) -> None:
        await self._worker.prepare([item.update for item in received if item.update is not None])
        at = self._now()
        rows = [self._row(item, at) for item in received]
        for _, job in rows:
            if job is not None and job.update.kind == "edit":
                self._edit(job)
            elif job is not None and job.update.kind == "migrated":
                self.migrated(job.update.chat, job.update.text)

        for row_id, (row, job) in zip(await self._keep(received, rows), rows, strict=True):
            if row_id is not None and job is not None and row.state == "waiting":
                job.id = row_id
                self._enqueue(job)
            elif row_id is not None and row.state == "quarantined":
                log.warning("update_quarantined", platform=row.platform, row=row_id, problem=row.problem)

    async def _keep(
        self, received: Sequence[Received], rows: Sequence[tuple[Row, Job | None]]
    ) -> list[int | None]:
        """The ids of the rows, once they are on disk; None for what was there before."""

        def unit(tx: Tx) -> list[int | None]:
            ids = []
            for row, job in rows:
                row_id = inbox.add(tx, row)
                ids.append(row_id)
                if row_id is not None and job is not None:
                    self._also(tx, row, job)
            for item in received:
                state.keep(tx, item.source.partition(":")[0], item.marks)
            return ids

        while True:
            try:
                return await self._database.write(unit)
            except sqlite3.OperationalError as exc:
                # The disk is full, or the file is locked: what came is not confirmed to the platform yet, and waits.
                log.error("database_failed", what="accepting updates", problem=str(exc), retry_in=RETRY)
                await asyncio.sleep(RETRY)

    def _row(self, item: Received, at: float, due_at: float = 0.0) -> tuple[Row, Job | None]:
        update = item.update
        platform = item.source.partition(":")[0]
        if update is None:
            return Row(
                item.source, item.key, platform, "quarantined", at, body=item.raw, problem=item.problem
            ), None
        if update.kind != "message":
            return Row(item.source, item.key, platform, "ignored", at), Job(0, "", "ignore", update)
        heard = due_at or at
        if abs(heard - update.at) > PLAUSIBLE:
            update = replace(update, at=heard)
        decision, lane = self._worker.decide(update)
        job = Job(0, lane, decision, update)
        if decision in ("ignore", "overhear"):
            return Row(item.source, item.key, platform, "ignored", at, user_id=update.person.id), job
        kept = update
        if decision in ("refuse", "leave"):  # no words of a stranger are kept, and the name for pairing alone
            nameless = replace(update.chat, title="")
            job.update = replace(update, chat=nameless, text="", args="", command=None)
            kept = replace(job.update, person=replace(update.person, name=""))
        row = Row(
            item.source,
            item.key,
            platform,
            "waiting",
            at,
            lane,
            update.person.id,
            update.message_id,
            decision == "command",
            _body(decision, kept),
            due_at=due_at,
        )
        return row, job

    def _also(self, tx: Tx, row: Row, job: Job) -> None:
        update = job.update
        if update.kind == "migrated":
            self._worker.migrated(tx, update.chat, update.text)
        elif update.kind == "left":
            self._worker.left(tx, update)
        elif update.kind == "edit":
            for edited in job.more:
                tx.run("inbox_replace", id=edited.id, body=_body(edited.decision, edited.update))
        elif job.decision in ("overhear", "turn") and update.chat.kind == "group" and not row.due_at:
            self._worker.overheard(tx, update)

    def _edit(self, job: Job) -> None:
        """An edit of the last message of its lane, not begun yet, replaces it; any other is ignored."""
        edit = job.update
        _, key = self._worker.decide(replace(edit, addressed=True, command=None))
        lane = self._lanes.get(key)
        last = lane.queue[-1] if lane and lane.queue else None
        if last is None or last.resumed or last.decision != "turn" or edit.command is not None:
            return
        if (last.update.message_id, last.update.person.id) == (edit.message_id, edit.person.id):
            last.update = replace(last.update, text=edit.text)
            job.more = [last]

    def migrated(self, chat: Chat, new_id: str) -> None:
        """A chat has another id now: what waits there goes on in the lanes of the new one, behind what still runs.

        Else two turns would write to one stream. The worker's `migrated`, which renames the streams, must be the very next write.
        """
        old, new = f"{chat.platform}:{chat.id}:", f"{chat.platform}:{new_id}:"
        moved = [lane for key, lane in self._lanes.items() if key.startswith(old)]
        waiting = [*(job for lane in moved for job in lane.queue), *(job for _, _, job in self._later)]
        for job in waiting:
            if job.lane.startswith(old):
                job.lane = new + job.lane[len(old) :]
                job.update = replace(job.update, chat=replace(job.update.chat, id=new_id))
        for lane in moved:
            key = new + lane.key[len(old) :]
            there = self._lanes.get(key)
            if there is None:
                self._lanes[key] = self._lanes.pop(lane.key)
                lane.key = key
            else:  # somebody wrote in the new chat before we heard of it: that is another stream
                there.queue = deque(sorted([*there.queue, *lane.queue], key=lambda job: job.id))
                lane.queue.clear()

    async def accept_later(self, update: Update, at: float) -> None:
        row, job = self._row(Received(update.source, update.key, update), self._now(), due_at=at)
        if job is None or row.state != "waiting":
            return
        row_id = await self._database.write(lambda tx: inbox.add(tx, row))
        if row_id is not None:
            job.id = row_id
            self._wait_for(at, job)

    async def draft(self, updates: Sequence[Update]) -> list[Draft | None]:
        await self._worker.prepare(updates)
        at, drafts = self._now(), []
        for update in updates:
            row, job = self._row(Received(update.source, update.key, update), at)
            wanted = job is not None and job.decision in ("turn", "command")
            drafts.append(Draft(row, job) if wanted and job is not None else None)
        return drafts

    def enter(self, tx: Tx, draft: Draft) -> bool:
        row_id = inbox.add(tx, draft.row)
        draft.job.id = row_id or 0
        return row_id is not None

    def begin(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            if draft.job.id not in self._known:  # else `recover` was faster
                self._enqueue(draft.job)

    async def eased(self, platform: str, most: int) -> None:
        while self._burden(platform) > most and not self._draining:
            await self._lane_ended.wait()

    def _burden(self, platform: str) -> int:
        lanes = (lane for key, lane in self._lanes.items() if key.startswith(f"{platform}:"))
        return sum(len(lane.queue) + (lane.running is not None) for lane in lanes)

    async def recover(self, platform: str) -> int:
        rows = await self._database.read(lambda tx: inbox.owed(tx, platform))
        for row in rows:
            if row.id in self._known:
                continue
            job = Job(
                row.id,
                row.lane,
                row.body["decision"],
                Update.from_json(row.body["update"]),
                resumed=row.turn_id is not None,
            )
            if row.turn_id is not None and row.turn_id != row.id:
                continue  # collected into an earlier row's turn, which takes it along
            if row.due_at > self._now():
                self._wait_for(row.due_at, job)
            else:
                self._enqueue(job)
        return len(rows)

    def _wait_for(self, at: float, job: Job) -> None:
        self._known.add(job.id)
        heapq.heappush(self._later, (at, job.id, job))
        self._later_changed.set()
        if self._clock is None:
            self._clock = self._tasks.create_task(self._tick(), name="due rows")

    async def _tick(self) -> None:
        while self._later and not self._draining:
            seconds = self._later[0][0] - self._now()
            if seconds <= 0:
                self._enqueue(heapq.heappop(self._later)[2])
                continue
            self._later_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, 60)):  # the wall clock may be set meanwhile
                    await self._later_changed.wait()
        self._clock = None

    def _enqueue(self, job: Job) -> None:
        """Put a job at the end of its lane. A control command ends what is before it."""
        if not self._worker.reaches(job.update.chat):
            return
        self._known.add(job.id)
        update = job.update
        control = job.decision == "command" and update.command in CONTROLS
        # Other commands do not touch the conversation: they wait for each other, not for a slow turn.
        key = f"{job.lane}!" if job.decision == "command" and not control else job.lane
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        if control:
            for target in self._targets(job, lane):
                for waiting in target.queue:
                    if not waiting.stopped and waiting.decision == "turn":
                        waiting.stopped = True
                        job.dropped += 1
                job.ended += self._stop(target)
        elif job.decision == "turn" and self.on_busy == "interrupt" and not own.is_own(update):
            self._stop(lane)
        lane.queue.append(job)
        if lane.task is None and not self._draining:
            lane.task = self._tasks.create_task(self._work(lane), name=f"lane {key}")

    def _targets(self, job: Job, lane: _Lane) -> list[_Lane]:
        """The lanes that a control command is for: its own, or for `/stop 12` and `/stop all` those that it may reach."""
        args, chat = job.update.args, job.update.chat
        if job.update.command != "stop" or not args:
            return [lane]
        if args == "all" and self._worker.commands_others(job.update):
            return [there for key, there in self._lanes.items() if key.startswith(f"{chat.key}:")]
        running = [there for there in self._lanes.values() if there.running and str(there.running.id) == args]
        if running == [lane] or self._worker.commands_others(job.update):
            return running
        return []

    def _stop(self, lane: _Lane) -> int:
        """Cancel the running turn of a lane; how many there were."""
        if (
            lane.running is None
            or lane.running.decision != "turn"
            or lane.running.stopped
            or lane.task is None
        ):
            return 0
        lane.running.stopped = True
        lane.task.cancel()
        return 1

    @contextlib.contextmanager
    def held(self, user_id: str) -> Iterator[Sequence[Job]]:
        released = self._held[user_id] = asyncio.Event()
        try:
            yield self._drop(user_id)
        finally:
            del self._held[user_id]
            released.set()

    def _drop(self, user_id: str) -> list[Job]:
        def theirs(job: Job) -> bool:
            return job.update.person.id == user_id

        running = []
        dropped = [job.id for _, _, job in self._later if theirs(job)]
        self._later = [entry for entry in self._later if not theirs(entry[2])]
        heapq.heapify(self._later)
        for lane in self._lanes.values():
            dropped += [job.id for job in lane.queue if theirs(job)]
            lane.queue = deque(job for job in lane.queue if not theirs(job))
            if lane.running is not None and theirs(lane.running):
                running.append(lane.running)
                self._stop(lane)
        self._known.difference_update(dropped)
        return running

    async def ended(self, jobs: Sequence[Job]) -> None:
        while any(lane.running in jobs for lane in self._lanes.values()):
            await self._job_ended.wait()

    async def _work(self, lane: _Lane) -> None:
        while lane.queue and not self._draining:
            if held := self._held.get(lane.queue[0].update.person.id):
                await held.wait()
                continue
            job = lane.queue.popleft()
            if self.on_busy == "collect" and _collectable(job):
                self._collect(lane, job)
            lane.running = job
            try:
                await (self._worker.abandon(job) if job.stopped else self._worker.run(job))
            except Exception as exc:
                log.error("job_broke", row=job.id, error=type(exc).__name__)
                log.debug("job_broke_in_full", row=job.id, exc_info=exc)
            finally:
                lane.running = None
                self._job_ended.set()
                self._job_ended = asyncio.Event()
            self._known.difference_update([job.id, *(other.id for other in job.more)])
        lane.task = None
        if not lane.queue:
            del self._lanes[lane.key]
        self._lane_ended.set()  # whoever waits looks again; the next ones wait for the next end
        self._lane_ended = asyncio.Event()

    def _collect(self, lane: _Lane, job: Job) -> None:
        person = job.update.person.id
        while lane.queue and len(job.more) < MOST_COLLECTED:
            other = lane.queue[0]
            if not _collectable(other) or other.update.person.id != person:
                return
            if not self._worker.joins([j.update for j in (job, *job.more, other)]):
                return
            job.more.append(lane.queue.popleft())

    async def idle(self, platform: str = "") -> None:
        while any(key.startswith(f"{platform}:" if platform else "") for key in self._lanes):
            await self._lane_ended.wait()

    async def drain(self, seconds: float) -> None:
        self._draining = True
        self._later_changed.set()
        for held in self._held.values():
            held.set()
        running = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                log.info("turns_cut_off", count=len(late), note="they are resumed at the next start")
                await asyncio.wait(late)


def _collectable(job: Job) -> bool:
    """Whether it may share a turn. What has no words gets its own sentence, and must take no words with it.

    What we entered ourselves is not what the person says now.
    """
    update = job.update
    return (
        job.decision == "turn"
        and not job.stopped
        and not job.resumed
        and not is_blank(update.text)
        and not own.is_own(update)
    )


def _body(decision: Decision, update: Update) -> str:
    return json.dumps({"decision": decision, "update": update.to_json()}, ensure_ascii=False)
