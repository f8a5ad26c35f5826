"""What of the configuration works on turns, as one thing.

A reload replaces it whole, and a running turn keeps the one it began with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.base import Chat, Person
from bot.access import Gate
from bot.agent import Agent
from bot.limits import Limits
from bot.metrics import Metrics
from bot.models.base import Model
from bot.models.embedding import EMBEDDINGS, Embedder
from bot.reminders import Bounds
from config import Config
from config.schema import ChatConfig, GroupsConfig, Price
from memory.database import Database

if TYPE_CHECKING:
    from bot.meaning import Meanings


class Setup:
    """`chains` has, for each model that `chats` names, that model and its fallbacks; `embedder` is for search by meaning."""

    def __init__(
        self,
        config: Config,
        agent: Agent,
        gate: Gate,
        chains: Mapping[str, Sequence[Model]] | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self.agent = agent
        self.gate = gate
        self.embedder = embedder
        self.groups: GroupsConfig = config.groups
        self.prices: dict[str, Price] = {name: model.price for name, model in config.models.items()}
        if config.memory.embeddings is not None:
            self.prices[EMBEDDINGS] = Price(input=config.memory.embeddings.price)
        self.limits = Limits(config.limits, self.prices, config.memory.timezone)
        self.concurrent_turns = config.limits.concurrent_turns
        self.total_concurrent_turns = config.limits.total_concurrent_turns
        self.message_chars = config.limits.message_chars
        self.reminders = Bounds(
            config.limits.reminders, config.limits.reminder_repeat, config.limits.reminder_days
        )
        self.timezone = config.memory.timezone
        self.retention_days = config.memory.retention_days
        self.facts_tokens = config.memory.facts_tokens
        self.turn_timeout = config.agent.turn_timeout
        self.context_tokens = config.streams.context_tokens
        self.idle_clear = config.streams.idle_clear
        self.daily_clear = config.streams.daily_time
        self.summaries = config.memory.summaries
        self.schedules = config.schedules
        self._chats = config.chats
        self._chains = chains or {}
        self._there: dict[tuple[str, str], ChatConfig] = {}
        self._agents: dict[ChatConfig, Agent] = {}
        self._turns = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def there(self, chat: Chat, person: Person) -> ChatConfig:
        """What is different in a chat: for each key the longest entry of `chats` that fits and has it."""
        if not self._chats:
            return _NOTHING
        id_ = person.id if chat.kind == "private" else chat.place
        found = self._there.get((chat.kind, id_))
        if found is None:
            fitting = sorted((entry for entry in self._chats if _fits(entry, id_)), key=len)
            merged: dict[str, object] = {}
            for entry in fitting:
                merged.update(self._chats[entry].model_dump(exclude_none=True))
            if len(self._there) > 10_000:
                self._there.clear()
            found = self._there[chat.kind, id_] = ChatConfig.model_validate(merged)
        return found

    def agent_in(self, chat: Chat, person: Person) -> Agent:
        """The agent as it is in that chat: the same one, but where the configuration gives it another prompt or model."""
        there = self.there(chat, person)
        if there.prompt is None and there.model is None:
            return self.agent
        agent = self._agents.get(there)
        if agent is None:
            agent = self.agent
            if there.prompt is not None:
                agent = replace(agent, prompt=there.prompt)
            if there.model is not None:
                agent = replace(agent, models=self._chains[there.model])
            self._agents[there] = agent
        return agent

    def meanings(self, database: Database, now: Callable[[], float], metrics: Metrics) -> Meanings | None:
        """Who tells what texts mean; None where search is by words alone."""
        if self.embedder is None:
            return None
        from bot.meaning import Meanings  # it needs numpy

        price = self.prices.get(EMBEDDINGS) or Price()
        return Meanings(self.embedder, price, self.limits, self.agent.breakers, database, now, metrics)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """For the time of a turn that works with this."""
        self._turns += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._turns -= 1
            if not self._turns:
                self._unused.set()

    async def unused(self) -> None:
        """Return when no turn works with this any more."""
        await self._unused.wait()


_NOTHING = ChatConfig()


def _fits(entry: str, id_: str) -> bool:
    return id_.startswith(entry[:-1]) if entry.endswith("*") else id_ == entry
