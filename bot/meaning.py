"""Search by meaning: vectors of what people said, made when nobody waits, and of what they look for, in time or not at all.

A call that costs money is a model call as any other: booked before it is made, on the person whose words they are, and held to
their limits. Whatever fails here, search goes on by words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from sqlite3 import Connection
from typing import TypeVar

import structlog

from bot.breaker import Breakers
from bot.errors import (
    ContextTooLong,
    LimitReached,
    ModelError,
    ModelRefused,
    ModelRejected,
    ModelUnavailable,
)
from bot.events import Usage
from bot.limits import Limits, bound, cost
from bot.metrics import Metrics
from bot.models.embedding import Embedded, Embedder
from bot.tools.base import AskMeaning
from config.schema import Price
from memory import vectors
from memory.database import Database, Tx
from memory.index import Index
from memory.vectors import Meaning, Vector

log = structlog.get_logger(__name__)

T = TypeVar("T")

QUESTION_SECONDS = 2.0  # after which a question is looked for by its words alone
QUESTION_CHARS = 2000
BATCH_BYTES = 16_000  # of one call: what is reserved for it must fit into a day's limit
LEFT_FOR_TALKING = 0.5  # of each limit: what was said long ago must not take the day from who wants to talk
PROBE = "Good morning"  # no model has anything against it


class _Gone(Exception):
    """They were forgotten meanwhile."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Whom a call counts for; `turn_id` is 0 outside of turns. `there` tells whether they are known yet."""

    user_id: str
    chat_key: str
    zone: str
    turn_id: int = 0
    there: Callable[[], bool] = lambda: True

    @classmethod
    def of(cls, user_id: str, zone: str) -> Payer:
        """For what is nobody's turn. As if it were said in private, where a chat has its person's id."""
        platform, _, native = user_id.partition("-")
        return cls(user_id, f"{platform}:{native}:", zone)


class Meanings:
    """What texts mean, by the configured model."""

    def __init__(
        self,
        embedder: Embedder,
        price: Price,
        limits: Limits,
        breakers: Breakers,
        database: Database,
        now: Callable[[], float],
        metrics: Metrics,
        patience: float = QUESTION_SECONDS,
    ) -> None:
        """`patience` is how long a question may take; vectors of what was said may take as long as the embedder lets them."""
        self.embedder = embedder
        self._price = price
        self._limits = limits
        self._breakers = breakers
        self._database = database
        self._now = now
        self._metrics = metrics
        self._patience = patience

    async def of(self, question: str, payer: Payer) -> Meaning | None:
        """What a question means; None where no model tells in time, or the limits do not let it."""
        try:
            return await self.ask(question, payer)
        except (ModelError, LimitReached) as exc:
            log.info("search_by_words_alone", reason=type(exc).__name__, problem=str(exc))
            return None

    async def ask(self, question: str, payer: Payer) -> Meaning | None:
        """As `of`, but raises `ModelError` or `LimitReached` where it does not know; None for a question that says nothing."""
        text = question.strip()[:QUESTION_CHARS]
        if not text:
            return None
        vector = await self._one(text, payer, asked=True)
        return Meaning(self._model, vector)  # whose length is known only now

    def asked_by(self, user_id: str, chat_key: str, zone: str, turn_id: int = 0) -> AskMeaning:
        """`of`, for questions that count for this person."""
        return partial(self.of, payer=Payer(user_id, chat_key, zone, turn_id))

    async def fill(
        self, index: Index, user_id: str, zone: str, there: Callable[[], bool] = lambda: True
    ) -> None:
        """Make all vectors that are missing of a person's index, the newest first.

        Each call's are kept at once: cut off anywhere, it goes on from there. `there` tells, inside the database's transactions,
        whether there is anything of theirs yet: for who was forgotten nothing is booked. Raises `ModelError`, `LimitReached`,
        sqlite3.Error, and what `Index.use` does.
        """
        payer = Payer.of(user_id, zone)
        with suppress(_Gone):
            await self._fill(index, replace(payer, there=there))

    async def _fill(self, index: Index, payer: Payer) -> None:
        if self.embedder.size is None:
            if not await self._use(index, payer, self._behind):
                return
            await self._one(PROBE, payer)
        while batch := await self._use(index, payer, self._wanted):
            told = [(key, text) for key, text in batch if text.strip()]
            found = await self._each([text for _, text in told], payer) if told else []
            made = {key: vector for (key, _), vector in zip(told, found, strict=True)}
            rows = [(key, text, made.get(key)) for key, text in batch]
            await self._use(index, payer, partial(vectors.store, model=self._model, made=rows))

    @property
    def _model(self) -> str:
        """With the length of its vectors: those of another length can not be compared either."""
        return f"{self.embedder.model} {self.embedder.size}"

    def _behind(self, connection: Connection) -> bool:
        return vectors.behind(connection, f"{self.embedder.model} ")

    def _wanted(self, connection: Connection) -> list[tuple[int, str]]:
        total = 0
        kept: list[tuple[int, str]] = []
        for key, text in vectors.wanted(connection, self._model, self.embedder.batch):
            total += bound(text)
            if kept and total > BATCH_BYTES:
                break
            kept.append((key, text))
        return kept

    async def _use(self, index: Index, payer: Payer, work: Callable[[Connection], T]) -> T | None:
        return await asyncio.to_thread(index.use, payer.user_id, work)

    async def _each(self, texts: Sequence[str], payer: Payer) -> list[Vector | None]:
        """Vectors of texts; None for one that the model has none of, when it is the text that it minds."""
        try:
            found = await self._ask(texts, payer)
        except (ModelRejected, ModelRefused, ContextTooLong):
            found = []
        if any(vector is not None for vector in found):
            return found
        await self._one(PROBE, payer)
        if len(texts) == 1:
            return [None]
        return [vector for text in texts for vector in await self._each([text], payer)]

    async def _one(self, text: str, payer: Payer, *, asked: bool = False) -> Vector:
        """The vector of a text that has one."""
        [vector] = await self._ask([text], payer, asked=asked)
        if vector is None:
            raise ModelUnavailable(self.embedder.name, "the answer holds no vector, or one of another length")
        return vector

    async def _ask(self, texts: Sequence[str], payer: Payer, *, asked: bool = False) -> list[Vector | None]:
        """One call, booked; None for a vector that is none, and for all where they are not as long as all others."""
        most = sum(bound(text) for text in texts)
        reservation = 0
        if self.embedder.paid:
            reservation = await self._database.write(
                partial(self._reserve, payer=payer, most=most, asked=asked)
            )
        usage: Usage | None = None
        try:
            embedded = await self._call(texts, asked)
            usage = embedded.usage or Usage(input=most)
        except ModelError as exc:
            usage = exc.usage
            raise
        finally:
            if reservation and usage is not None:  # else nobody knows: its estimate stays counted
                await self._database.write(partial(self._settle, reservation=reservation, usage=usage))
        found = [vectors.unit_vector(one) for one in embedded.vectors]
        sizes = {one.size for one in found if one is not None}
        size = self.embedder.size or max(sizes, default=0)
        if sizes != {size}:
            return [None] * len(texts)
        self.embedder.size = size
        return found

    async def _call(self, texts: Sequence[str], asked: bool) -> Embedded:
        name = self.embedder.name
        with self._breakers.of(self.embedder).call():
            try:
                async with asyncio.timeout(self._patience if asked else None):
                    return await self.embedder.embed(texts, asked=asked)
            except TimeoutError as exc:
                raise ModelUnavailable(name, f"no answer within {self._patience:g} s") from exc

    def _reserve(self, tx: Tx, payer: Payer, most: int, asked: bool) -> int:
        if not payer.there():
            raise _Gone
        who = payer.user_id, payer.chat_key, payer.zone
        at, name = self._now(), self.embedder.name
        reservation = self._limits.reserve(tx, payer.turn_id, *who, name, most, 0, at)
        if not asked:
            for spent in self._limits.spent(tx, *who, at):
                if not spent.limit.endswith("turns_per_day") and spent.used > LEFT_FOR_TALKING * spent.most:
                    raise LimitReached(spent.limit, spent.until, spent.used, spent.most)
        return reservation

    def _settle(self, tx: Tx, reservation: int, usage: Usage) -> None:
        self._limits.settle(tx, reservation, usage)
        self._metrics.used(self.embedder.name, usage, cost(self._price, usage))
