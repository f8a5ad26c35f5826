"""A stream is one conversation: a durable log of events, and the bus on which a turn tells what it does.

Streams belong to the application. A turn writes with its `Claim`; nothing that a fenced-off attempt does reaches the log.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence, Set
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from bot import events as ev
from bot.events import BusEvent, Event
from memory import inbox
from memory.database import Database, Tx
from memory.inbox import Claim

Also = Callable[[Tx], Any]


class Subscription:
    """A watcher's end of the bus. Iterate it; it ends when it is closed.

    It can not slow a turn down: it keeps at most `size` events and lets go of the oldest when its owner lags (`dropped` counts).
    """

    def __init__(self, stream: Stream, size: int | None) -> None:
        self._stream = stream
        self._events: deque[BusEvent] = deque(maxlen=size)
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def put(self, event: BusEvent) -> None:
        if self._events.maxlen is not None and len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)
        self._wake.set()

    def close(self) -> None:
        """End the iteration, after what is still in the queue. Idempotent."""
        self._closed = True
        self._stream.unsubscribe(self)
        self._wake.set()

    def take(self) -> list[BusEvent]:
        """What is in the queue now, without waiting."""
        events = list(self._events)
        self._events.clear()
        return events

    async def stirred(self) -> None:
        """Return when there is something to take, or the subscription is closed."""
        while not self._events and not self._closed:
            self._wake.clear()
            await self._wake.wait()

    async def __aiter__(self) -> AsyncIterator[BusEvent]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            await self.stirred()


class Stream:
    """One conversation. `log` is what a model's context is made of: pairs of sequence number and event, from the last
    summary on. Asks on one stream must run one after the other; the turns' lanes see to that.
    """

    def __init__(
        self, database: Database, id_: int, opened_at: float, log: Sequence[tuple[int, int, Event]]
    ) -> None:
        self.id = id_
        self.opened_at = opened_at
        self.claim: Claim | None = None
        self.erasures = 0  # how often something was taken out of `log`
        self._database = database
        self._log = list(log)
        self._subscriptions: list[Subscription] = []

    @property
    def events(self) -> list[Event]:
        """The events of the context, a summary first where there is one."""
        return [event for _, _, event in self._log]

    def of_turn(self, turn_id: int) -> list[Event]:
        """What this turn has logged so far."""
        return [event for _, turn, event in self._log if turn == turn_id]

    def sequence(self, index: int) -> int:
        """The sequence number of `events[index]`."""
        return self._log[index][0]

    def subscribe(self, size: int | None = 4096) -> Subscription:
        """Watch the bus from now on. `size` None keeps everything until it is taken."""
        subscription = Subscription(self, size)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def publish(self, event: BusEvent) -> None:
        """Tell all who watch; returns at once and never fails."""
        for subscription in self._subscriptions:
            subscription.put(event)

    async def append(self, *events: Event, at: float, also: Also | None = None) -> Any:
        """Log the events for the turn that holds `claim`; return what `also`, run in the same transaction, returns.

        When this returns they are on disk. Raises `Fenced` if another attempt owns the turn; nothing is kept then. If the caller
        is cancelled here the log on disk may be ahead of this object: `Streams.forget` it.
        """
        claim = self.claim
        if claim is None:
            raise RuntimeError("a stream is written to by a turn that holds a claim; begin one first")

        def unit(tx: Tx) -> tuple[int, Any]:
            inbox.guard(tx, claim)
            return write(tx, self.id, claim.turn_id, events, at), also(tx) if also else None

        first, result = await self._database.write(unit)
        self.logged(first, claim.turn_id, events)
        return result

    def logged(self, first: int, turn_id: int, events: Sequence[Event]) -> None:
        """Take over events that a transaction of the caller's own has written with `write`."""
        for seq, event in enumerate(events, first):
            self._log.append((seq, turn_id, event))
            if isinstance(event, ev.Summarised):
                self._log = _context(self._log)
            self.publish(event)

    def erase(self, turns: Set[int]) -> None:
        """Let go of these turns, of what others have heard in the room, and of summaries. What runs goes on with the rest."""
        self._log = [
            (seq, turn_id, replace(event, context="") if isinstance(event, ev.UserSaid) else event)
            for seq, turn_id, event in self._log
            if turn_id not in turns and not isinstance(event, ev.Summarised)
        ]
        self.erasures += 1


def write(tx: Tx, stream_id: int, turn_id: int, events: Sequence[Event], at: float) -> int:
    """Put events at the end of a stream's log; the sequence number of the first one."""
    first: int = tx.one("event_next", stream_id=stream_id)["seq"]
    for seq, event in enumerate(events, first):
        data = json.dumps(ev.to_json(event), ensure_ascii=False)
        tx.run("event_add", stream_id=stream_id, seq=seq, turn_id=turn_id, type=event.type, data=data, at=at)
    return first


def _context(log: Sequence[tuple[int, int, Event]]) -> list[tuple[int, int, Event]]:
    """The last summary, if there is one, and then the events that it does not stand for."""
    summary = next((entry for entry in reversed(log) if isinstance(entry[2], ev.Summarised)), None)
    if summary is None or not isinstance(summary[2], ev.Summarised):
        return list(log)
    upto = summary[2].upto
    return [summary, *(e for e in log if e[0] >= upto and not isinstance(e[2], ev.Summarised))]


class Streams:
    """The streams of the application, the most recently used ones kept in memory."""

    def __init__(self, database: Database, keep: int = 256) -> None:
        self._database = database
        self._keep = keep
        self._streams: OrderedDict[int, Stream] = OrderedDict()
        self._alive: WeakValueDictionary[int, Stream] = WeakValueDictionary()  # those that a turn holds, too

    def cached(self, id_: int) -> Stream | None:
        return self._streams.get(id_)

    def load(self, tx: Tx, id_: int, opened_at: float) -> Stream:
        """The stream as its log has it. Run in a transaction or a read; hand the result to `keep` afterwards."""
        rows = [
            (row["seq"], row["turn_id"], ev.from_json(row["type"], json.loads(row["data"])))
            for row in tx.all("events_since_summary", stream_id=id_)
        ]
        return Stream(self._database, id_, opened_at, _context(rows))

    def keep(self, stream: Stream) -> None:
        self._streams[stream.id] = self._alive[stream.id] = stream
        self._streams.move_to_end(stream.id)
        while len(self._streams) > self._keep:
            self._streams.popitem(last=False)

    def erase(self, ids: Set[int], turns: Set[int]) -> None:
        """Take out of all copies in memory what was erased of these conversations; the next turn reads them anew."""
        for id_ in ids:
            if (stream := self._alive.get(id_)) is not None:
                stream.erase(turns)
            self.forget(id_)

    def forget(self, id_: int) -> None:
        """Drop the copy in memory: the stream was closed, or its copy may be stale."""
        self._streams.pop(id_, None)
