"""What adapters keep over restarts (the last message seen in a channel, an installation): names to texts, in the database."""

from __future__ import annotations

from collections.abc import Mapping

from memory.database import Database, Tx


class AdapterState:
    """The `State` of the adapter called `adapter`."""

    def __init__(self, database: Database, adapter: str) -> None:
        self._database = database
        self._adapter = adapter

    async def get(self, prefix: str = "") -> dict[str, str]:
        rows = await self._database.read(lambda tx: tx.all("state_get", adapter=self._adapter, prefix=prefix))
        return {row["name"]: row["value"] for row in rows}

    async def set(self, values: Mapping[str, str | None]) -> None:
        await self._database.write(lambda tx: keep(tx, self._adapter, values))


def keep(tx: Tx, adapter: str, values: Mapping[str, str | None]) -> None:
    """Keep the texts under their names; None forgets a name."""
    for name, value in values.items():
        if value is None:
            tx.run("state_drop", adapter=adapter, name=name)
        else:
            tx.run("state_set", adapter=adapter, name=name, value=value)
