"""Tool calls that change something, each done once: what a call said is kept with what it did. All functions run inside a `Tx`.

A turn that is resumed after a crash may run a call again whose result did not reach the log.
"""

from __future__ import annotations

from collections.abc import Callable

from memory.database import Tx


def said(tx: Tx, key: str) -> str | None:
    """What the call of that key said when it was done; None if it was not."""
    row = tx.one("call_get", key=key)
    return row and str(row["said"])


def once(tx: Tx, key: str, at: float, do: Callable[[Tx], str]) -> str:
    """Do it, and keep what it says, unless it was done before. What it says holds nobody's words."""
    before = said(tx, key)
    if before is not None:
        return before
    result = do(tx)
    tx.run("call_add", key=key, said=result, at=at)
    return result


def prune(tx: Tx, before: float) -> None:
    """Let go of calls of turns that are long over."""
    tx.run("calls_prune", before=before)
