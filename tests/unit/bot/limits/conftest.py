"""The fixture of all tests of limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memory.database import open_database
from tests.unit.bot.limits.ledger import Ledger, Make, limits


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes ledgers in one database, given the limits."""
    async with open_database(tmp_path / "b.db") as database:
        yield lambda **keys: Ledger(database, limits(**keys))
