"""One person on several platforms: user ids that belong together. All functions run inside a `Tx`."""

from __future__ import annotations

from memory.database import Tx


def people(tx: Tx, user_id: str) -> tuple[str, ...]:
    """Every user id of the person that `user_id` is one of, itself first."""
    others = [row["user_id"] for row in tx.all("links_of", user_id=user_id)]
    return (user_id, *(other for other in others if other != user_id))
