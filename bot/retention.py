"""What is older than `memory.retention_days` is let go of: day's files, and what is kept of conversations that have ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from bot.turns import Turns
from memory import dead
from memory.database import Tx

log = structlog.get_logger(__name__)

DAY = 86400.0
BATCH = 100  # conversations, or days of a person, in one transaction


async def keep_to(turns: Turns) -> None:
    """Remove what is too old by now; nothing where everything is kept. Harmless to break off and to repeat.

    Facts stay, and what others have put into a person's folder. So does an open conversation, as old as it may be. The index
    follows the files by itself. Raises sqlite3.Error, and OSError where the disk does not tell who there is.
    """
    days, at = turns.setup.retention_days, turns.now()
    if days is None:
        return
    before = at - days * DAY
    files = await _files(turns, at, days)
    conversations = 0
    while ended := await turns.database.write(lambda tx: _conversations(tx, before)):
        conversations += ended
    events = await turns.database.write(lambda tx: _rest(tx, at, before, days))
    if files or conversations or events:
        log.info("let_go_of_old", files=files, conversations=conversations, events=events)


async def _files(turns: Turns, at: float, days: int) -> int:
    """Remove the files of days that are over for longer, where each person is; how many there were."""
    transcripts, removed = turns.journal.transcripts, 0
    for user_id in await asyncio.to_thread(lambda: sorted(transcripts.people())):
        zone = await turns.zone(user_id)
        first = datetime.fromtimestamp(at, ZoneInfo(zone)).date() - timedelta(days=days)
        try:
            found = await asyncio.to_thread(transcripts.dates, user_id)
        except OSError as exc:
            log.error("not_let_go", user=user_id, problem=exc.strerror or type(exc).__name__)
            continue
        old = [day for day in found if day < first]
        for start in range(0, len(old), BATCH):
            batch = old[start : start + BATCH]

            def unit(tx: Tx, user_id: str = user_id, batch: Sequence[date] = batch) -> None:
                # In the database's transaction, as they are written: never beside a turn that is put into one.
                for day in batch:
                    transcripts.remove(user_id, day)
                    tx.run("retain_no_section", user_id=user_id, date=day.isoformat())
                    tx.run("retain_no_file", user_id=user_id, date=day.isoformat())

            try:
                await turns.database.write(unit)
            except OSError as exc:
                log.error("not_let_go", user=user_id, problem=exc.strerror or type(exc).__name__)
                break
            removed += len(batch)
    return removed


def _conversations(tx: Tx, before: float) -> int:
    """Remove some of the conversations that ended before then; how many there were."""
    ids = [row["id"] for row in tx.all("retain_no_streams", before=before, count=BATCH)]
    streams = json.dumps(ids)
    tx.run("erase_events", streams=streams)
    tx.run("erase_room_seen", streams=streams)
    tx.run("erase_streams", streams=streams)
    return len(ids)


def _rest(tx: Tx, at: float, before: float, days: int) -> int:
    """Of those that ended later, what is older than that; what hangs on none any more; and other old words. How many events."""
    events = tx.run("retain_no_events", before=before).rowcount
    tx.run("retain_no_turns", before=before)
    tx.run("retain_no_room", before=before)
    dead.prune(tx, at, min(dead.KEEP, days * DAY))
    return events
