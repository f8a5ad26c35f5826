"""Limits on a database, with what a test does not care about filled in."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.errors import LimitReached
from bot.events import Usage
from bot.limits import Limits, Spent
from config.schema import LimitsConfig, Price
from memory.database import Database

DAY = 86400.0
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()
PRICES = {"main": Price(input=2, output=8, cached_input=0.5), "free": Price()}
ZONES = (
    "Etc/GMT+12",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "UTC",
    "Europe/Vienna",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
)


def limits(timezone: str = "UTC", **keys: Any) -> Limits:
    return Limits(LimitsConfig(**keys), PRICES, timezone)


@dataclass
class Ledger:
    """One database and one set of limits, with the arguments that a test does not care about filled in."""

    database: Database
    limits: Limits
    at: float = NOON
    zone: str = "UTC"

    async def admit(self, person: str = "telegram-1", *, command: bool = False) -> LimitReached | None:
        return await self.database.write(
            lambda tx: self.limits.admit(tx, person, self.zone, self.at, command=command)
        )

    async def reserve(
        self,
        input_: int = 100,
        output: int = 0,
        *,
        person: str = "telegram-1",
        chat: str = "telegram:1:",
        model: str = "main",
    ) -> int:
        return await self.database.write(
            lambda tx: self.limits.reserve(tx, 7, person, chat, self.zone, model, input_, output, self.at)
        )

    async def refused(self, *args: Any, **more: Any) -> LimitReached:
        with pytest.raises(LimitReached) as caught:
            await self.reserve(*args, **more)
        return caught.value

    async def fits(self, *args: Any, **more: Any) -> bool:
        try:
            await self.reserve(*args, **more)
        except LimitReached:
            return False
        return True

    async def settle(self, reservation: int, input_: int, output: int = 0, cached: int = 0) -> list[Spent]:
        return await self.database.write(
            lambda tx: self.limits.settle(tx, reservation, Usage(input_, cached, output))
        )

    async def release(self, reservation: int) -> None:
        await self.database.write(lambda tx: self.limits.release(tx, reservation))

    async def used(self) -> dict[str, float]:
        spent = await self.database.read(
            lambda tx: self.limits.spent(tx, "telegram-1", "telegram:1:", self.zone, self.at)
        )
        return {one.limit: one.used for one in spent}


Make = Callable[..., Ledger]


def run_property(work: Callable[[Path], Any]) -> Any:
    """Work in a folder of its own, for an example of a property."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(work(Path(folder)))
