"""What `boswell status` tells: how each adapter is, what is owed, what was used. Reads the database and the leases only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory import leases
from memory.database import Database, Tx

DAY = 86400.0


async def collect(database: Database, locks: Path, names: Sequence[str], now: float) -> dict[str, Any]:
    """A report as plain data. `healthy`: every named adapter is run by some process, and one at least is up and none down.

    A console whose input has ended (a service has none) is done, and is not ill.
    """

    def read(tx: Tx) -> dict[str, Any]:
        inbox = {row["platform"]: row for row in tx.all("inbox_counts")}
        outbox = {row["platform"]: row for row in tx.all("outbox_counts")}
        states = {row["name"]: row for row in tx.all("status_all")}
        adapters = {}
        for name in names:
            last = tx.one("inbox_last", platform=name)
            waiting, ready, state = inbox.get(name), outbox.get(name), states.get(name)
            running = leases.held(locks, f"adapter-{name}")
            adapters[name] = {
                "running": running,
                "state": state["state"] if state and running else "not running",
                "detail": state["detail"] if state and running else "",
                "since": state["since"] if state else None,
                "last_event_at": last["received_at"] if last else None,
                "updates_owed": waiting["owed"] if waiting else 0,
                "updates_quarantined": waiting["quarantined"] if waiting else 0,
                "oldest_update_at": waiting["oldest"] if waiting else None,
                "replies_owed": ready["owed"] if ready else 0,
                "replies_undeliverable": ready["dead"] if ready else 0,
            }
        return {
            "healthy": all(_is_well(a) for a in adapters.values())
            and any(a["state"] == "up" for a in adapters.values()),
            "adapters": adapters,
            "turns_today": {
                row["outcome"] or "running": row["turns"] for row in tx.all("turn_counts", since=now - DAY)
            },
            "usage_today": [dict(row) for row in tx.all("usage_total", since=now - DAY)],
        }

    return await database.read(read)


def _is_well(adapter: Mapping[str, Any]) -> bool:
    return adapter["running"] and adapter["state"] in ("up", "stopped")


def as_text(report: dict[str, Any], now: float, *, color: bool) -> str:
    """The report for a terminal; what is not well is red."""

    def paint(text: str, good: bool) -> str:
        return f"\033[{32 if good else 31}m{text}\033[0m" if color else text

    lines = []
    for name, a in report["adapters"].items():
        detail = f" ({a['detail']})" if a["detail"] else ""
        lines.append(
            f"{name}: {paint(a['state'], _is_well(a))}{detail}, last event {_ago(a['last_event_at'], now)}"
        )
        lines.append(
            f"  owed: {a['updates_owed']} updates, {a['replies_owed']} replies; "
            f"unreadable: {a['updates_quarantined']}; undeliverable: {a['replies_undeliverable']}"
        )
    turns = (
        ", ".join(f"{count} {outcome}" for outcome, count in sorted(report["turns_today"].items())) or "none"
    )
    lines.append(f"turns, last 24 hours: {turns}")
    lines += [
        f"model {row['model']}: {row['calls']} calls, {row['input']:,} tokens read ({row['cached']:,} cached), "
        f"{row['output']:,} written, {row['usd']:.4f} USD"
        for row in report["usage_today"]
    ]
    return "\n".join(lines)


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    seconds = max(0, round(now - at))
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{when} ({seconds} s ago)" if seconds < 600 else when
