"""Conversations that end: by `/clear`, by silence, or at an hour of the day. All of them end here, and in the same way."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from bot.summaries import Summaries
from bot.triggers import instant
from memory.database import Tx

if TYPE_CHECKING:
    from bot.turns import Turns

log = structlog.get_logger(__name__)

INTERVAL = 60.0  # seconds between two looks at least; the wall clock may be set
DAILY_INTERVAL = 300.0  # likewise for the hour of the day, which is another one in each zone
BATCH = 200  # conversations in one transaction


def close(tx: Tx, stream_id: int, reason: str, at: float, *, summary: bool = False) -> None:
    """End a conversation: the next message begins a new one. With `summary` the model is to sum it up for the transcript.

    Let go of the stream's copy in memory (`Streams.forget`) afterwards. Does nothing if it has ended already.
    """
    tx.run("stream_close", id=stream_id, reason=reason, at=at, summary="owed" if summary else "")


class Closer:
    """Ends conversations in which nothing was said for long (`streams.idle_clear`), or since the hour of `streams.daily_clear`.

    Nobody is told, and no model is asked but for summaries, where they are turned on. One in which a turn runs or a message
    waits does not end.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._summaries = Summaries(turns)
        self._daily_at = float("-inf")  # when the hour of the day was last looked at

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            seconds = INTERVAL
            try:
                seconds = await self.close_due()
                await self._summaries.catch_up()
            except sqlite3.Error as exc:
                log.error("database_failed", what="closing conversations", problem=str(exc))
            except Exception as exc:  # must not end every adapter
                log.error("closing_broke", error=type(exc).__name__)
                log.debug("closing_broke_in_full", exc_info=exc)
            await asyncio.sleep(seconds)

    async def close_due(self) -> float:
        """End what is to end by now; the seconds until the next look."""
        setup, at = self._turns.setup, self._turns.now()
        wait = INTERVAL
        if setup.idle_clear is not None:
            wait = min(wait, setup.idle_clear)  # one that begins after this look is due then at the earliest
            await self._close_silent("idle", at - setup.idle_clear)
            oldest = await self._turns.database.read(lambda tx: tx.one("stream_oldest")["active_at"])
            if oldest is not None:
                wait = min(wait, max(1.0, oldest + setup.idle_clear - at))
        if setup.daily_clear is not None and not 0 <= at - self._daily_at < DAILY_INTERVAL:
            self._daily_at = at
            await self._close_silent("daily", at, setup.daily_clear)
        return wait

    async def _close_silent(self, reason: str, since: float, hour: time | None = None) -> None:
        """End what was silent since then, and with `hour` since that hour last struck in its person's zone."""
        database, streams = self._turns.database, self._turns.streams
        summaries = self._turns.setup.summaries
        struck: dict[str, float] = {}
        after, last = 0.0, 0
        while True:
            rows = await database.read(
                lambda tx: tx.all("streams_silent", since=since, after=after, last=last, count=BATCH)  # noqa: B023 - awaited at once
            )
            if not rows:
                return
            after, last = rows[-1]["active_at"], rows[-1]["id"]
            due = [
                row
                for row in rows
                if hour is None or row["active_at"] < await self._struck(row["key"], hour, struck)
            ]

            def unit(tx: Tx, due: list[sqlite3.Row] = due) -> list[int]:
                at = self._turns.now()
                found = [
                    row["id"]
                    for row in due
                    if tx.one("stream_silent", id=row["id"], active_at=row["active_at"])
                ]
                for id_ in found:
                    close(tx, id_, reason, at, summary=summaries)
                return found

            closed = await database.write(unit) if due else []
            for id_ in closed:
                streams.forget(id_)
            if closed:
                log.info("conversations_closed", reason=reason, count=len(closed))

    async def _struck(self, key: str, hour: time, struck: dict[str, float]) -> float:
        """When that hour last struck for the person of a stream's key; in a room that shares one, in the configured zone."""
        user_id = key.rpartition(":")[2]
        zone = self._turns.setup.timezone if user_id == "*" else await self._turns.zone(user_id)
        if zone not in struck:
            struck[zone] = _last(hour, zone, self._turns.now())
        return struck[zone]


def _last(hour: time, zone: str, at: float) -> float:
    """The last time, in unix seconds, that a clock there showed this hour."""
    today = datetime.fromtimestamp(at, ZoneInfo(zone)).date()
    struck = instant(datetime.combine(today, hour), zone)
    return struck if struck <= at else instant(datetime.combine(today - timedelta(days=1), hour), zone)
