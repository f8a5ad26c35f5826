"""From complete turns to transcript files: each turn is written once, whatever happens in between.

A turn's record is put into the database by the transaction that completes the turn; the writer brings it into its file and
marks it. Killed between the two, the next start finds the record and what the file looked like, and `Transcripts.write` sees
whether it stands there already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import date as Date  # noqa: N812 - `date` is a column of the tables

import structlog

from memory.database import Database, Tx
from memory.transcripts import Known, Place, Transcripts, TurnRecord

log = structlog.get_logger(__name__)

RETRY = 5.0  # seconds until a file that could not be written is tried again


def record(tx: Tx, turn_id: int, stream_id: int, turn: TurnRecord) -> None:
    """Owe a turn to its transcript, in the transaction that completes the turn."""
    tx.run(
        "pending_add",
        turn_id=turn_id,
        user_id=turn.user_id,
        stream_id=stream_id,
        record=json.dumps(asdict(turn), ensure_ascii=False),
    )


def _unheeded(_: str) -> None:
    pass


class Journal:
    """The one writer of the transcripts of all people whose ids begin with one of `prefixes`."""

    def __init__(self, database: Database, transcripts: Transcripts, prefixes: tuple[str, ...]) -> None:
        self.transcripts = transcripts
        self._database = database
        self._prefixes = prefixes
        self._wake = asyncio.Event()
        self._passed = asyncio.Event()
        self._noted = 1  # what an earlier process left counts as the first
        self._written = 0
        self._failed = False
        self._reached: set[str] = set()
        self.wrote: Callable[[str], None] = _unheeded  # set by who wants to know whose file has grown

    def notify(self) -> None:
        """A record was committed."""
        self._noted += 1
        self._wake.set()

    async def flush(self) -> None:
        """Return when every record committed before the call stands in its file, or could not be written for now."""
        noted = self._noted  # others go on committing: waiting until nothing is left could take for ever
        while self._written < noted:
            self._database.hurry()
            await self._passed.wait()

    async def run(self) -> None:
        """Write what is owed, first of all what an earlier process left. Runs until cancelled; what is owed then stays owed."""
        self._wake.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY if self._failed else None):
                    await self._wake.wait()
            self._wake.clear()
            noted = self._noted
            try:
                self._failed = not await self._write_owed()
            except sqlite3.Error as exc:
                log.error(
                    "transcripts_not_written", error=type(exc).__name__, problem=str(exc), retry_in=RETRY
                )
                self._failed = True
            reached, self._reached = self._reached, set()
            for user_id in reached:
                self.wrote(user_id)
            self._written = noted
            self._passed.set()  # whoever waits looks again; the next ones wait for the next pass
            self._passed = asyncio.Event()

    async def _write_owed(self) -> bool:
        """Whether all that is owed could be written."""
        # In the database's thread and transaction: only a kill can part the file and its mark. In no hurry: it shares a
        # commit with whatever comes next, and after a kill it is done again.
        return await self._database.later(self._write)

    def _write(self, tx: Tx) -> bool:
        """Write what is owed; one person's unwritable folder is in nobody else's way."""
        failed: set[str] = set()
        for row in [row for prefix in self._prefixes for row in tx.all("pending_all", prefix=prefix)]:
            user_id = row["user_id"]
            if user_id in failed:  # their later turns wait for the earlier one
                continue
            try:
                self._write_turn(tx, row["turn_id"], row["stream_id"], _turn(row["record"]))
                self._reached.add(user_id)
            except (OSError, ValueError) as exc:
                failed.add(user_id)
                log.error(
                    "transcript_not_written",
                    user=user_id,
                    error=type(exc).__name__,
                    problem=getattr(exc, "strerror", None) or str(exc),
                    retry_in=RETRY,
                )
        return not failed

    async def summarise(self, user_id: str, stream_id: int, text: str) -> None:
        """Put a summary above a conversation's turns, in the last section that it has with this person. Harmless to repeat."""
        await self.flush()
        await self._database.write(lambda tx: self._summarise(tx, user_id, stream_id, text))

    def _summarise(self, tx: Tx, user_id: str, stream_id: int, text: str) -> None:
        section = tx.one("section_last", user_id=user_id, stream_id=stream_id)
        if section is None:
            return
        date = section["date"]
        grown = self.transcripts.summarise(user_id, Date.fromisoformat(date), section["heading"], text)
        tx.run("file_grown", user_id=user_id, date=date, bytes=grown)

    def _write_turn(self, tx: Tx, turn_id: int, stream_id: int, turn: TurnRecord) -> None:
        date = self.transcripts.date_of(turn).isoformat()
        file = tx.one("file_get", user_id=turn.user_id, date=date)
        section = tx.one("section_get", user_id=turn.user_id, date=date, stream_id=stream_id)
        known = Known(
            size=file and file["size"],
            heading=section and section["heading"],
            turns=section["turns"] if section else 0,
            taken=frozenset(
                r["heading"] for r in tx.all("section_headings", user_id=turn.user_id, date=date)
            ),
        )
        written = self.transcripts.write(turn, known)
        tx.run("file_set", user_id=turn.user_id, date=date, size=written.size)
        tx.run(
            "section_set",
            user_id=turn.user_id,
            date=date,
            stream_id=stream_id,
            heading=written.heading,
            turns=written.turns,
        )
        tx.run("pending_done", turn_id=turn_id)


def _turn(text: str) -> TurnRecord:
    data = json.loads(text)
    place = data["place"]
    return TurnRecord(
        data["user_id"],
        data["at"],
        data["timezone"],
        Place(**place) if place else None,
        tuple((role, words) for role, words in data["messages"]),
    )
