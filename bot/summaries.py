"""Summaries of conversations that have ended, written above their turns in the transcript, where the operator turned that on."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import structlog

from bot.agent import ModelCall
from bot.errors import LimitReached
from bot.events import UserSaid, Variables
from bot.limits import cost
from bot.stream import Stream
from config.schema import Price
from memory.database import Tx

if TYPE_CHECKING:
    from bot.setup import Setup
    from bot.turns import Turns

log = structlog.get_logger(__name__)

LEAST_TURNS = 2  # a conversation of one question is its own summary
BATCH = 20


class Summaries:
    """Sums up what `closing.close` has left to be summed up, each conversation once.

    It counts as its person's, and is held to their limits. One that several people share is not summed up: that would bring
    the words of one into the files of another.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def catch_up(self) -> None:
        """Sum up all that is owed. Killed in between, it is asked for again; what a model was paid for stays counted."""
        database = self._turns.database
        while rows := await database.read(lambda tx: tx.all("streams_owed", count=BATCH)):
            for row in rows:
                setup = self._turns.setup
                with setup.in_use():
                    await self._sum_up(setup, row["id"], row["key"], row["opened_at"])

    async def _sum_up(self, setup: Setup, stream_id: int, key: str, opened_at: float) -> None:
        turns = self._turns

        def read(tx: Tx) -> tuple[Stream, list[str]]:
            people = [row["user_id"] for row in tx.all("stream_people", id=stream_id)]
            return turns.streams.load(tx, stream_id, opened_at), people

        stream, people = await turns.database.read(read)
        text = ""
        said = sum(isinstance(event, UserSaid) for event in stream.events)
        if setup.summaries and len(people) == 1 and people[0] and said >= LEAST_TURNS:
            text = await self._ask(setup, stream, people[0], key.rpartition(":")[0])
        if text:
            try:
                await turns.journal.summarise(people[0], stream_id, text)
            except OSError as exc:
                log.error("summary_not_written", stream=stream_id, problem=exc.strerror or type(exc).__name__)
        await turns.database.write(lambda tx: tx.run("stream_summed_up", id=stream_id))

    async def _ask(self, setup: Setup, stream: Stream, user_id: str, chat_key: str) -> str:
        """The summary; empty if it can not be had, or must not be paid for."""
        turns = self._turns
        calls: list[ModelCall] = []
        zone = await turns.zone(user_id)
        variables = Variables(user_id, chat_key=chat_key, timezone=zone, turn_id=f"s{stream.id}")

        async def reserve(model: str, most_in: int, most_out: int, less_will_do: bool) -> tuple[int, int]:
            def unit(tx: Tx) -> tuple[int, int]:
                who, at, most = (user_id, chat_key, zone, model, most_in), turns.now(), most_out
                if less_will_do:
                    most = setup.limits.grant(tx, *who, most, at)
                return setup.limits.reserve(tx, 0, *who, most, at), most

            return await turns.database.write(unit)

        def settle(tx: Tx) -> None:
            for call in calls:
                turns.metrics.used(
                    call.model, call.usage, cost(setup.prices.get(call.model) or Price(), call.usage)
                )
                setup.limits.settle(tx, call.reservation, call.usage)

        try:
            return await setup.agent.summarise(stream, variables, calls, reserve)
        except LimitReached as exc:
            log.info("summary_limited", stream=stream.id, limit=exc.limit)
            return ""
        except sqlite3.Error:
            raise
        except Exception as exc:
            # Asked again each minute, it would be paid for each time, and the others would wait
            log.error("summary_broke", stream=stream.id, error=type(exc).__name__)
            log.debug("summary_broke_in_full", stream=stream.id, exc_info=exc)
            return ""
        finally:
            if calls:
                await turns.database.write(settle)
