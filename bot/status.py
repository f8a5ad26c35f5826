"""What `boswell status` tells: how each adapter is, what is owed, what was used. Reads the database and the leases only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bot.health import KEEP, all_well, seen
from memory import leases
from memory.database import Database, Tx

MOST_PROBLEMS = 10  # of schedules, that are told one by one


async def collect(
    database: Database, locks: Path, names: Sequence[str], now: float, zone: str = "UTC"
) -> dict[str, Any]:
    """A report as plain data; today is that of `zone`. `healthy` is what /readyz calls ready, seen from outside:

    every named adapter is run by some process, one at least is up and none is down, and the platforms were heard of lately.
    """
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    today = local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

    def read(tx: Tx) -> dict[str, Any]:
        inbox = {row["platform"]: row for row in tx.all("inbox_counts")}
        outbox = {row["platform"]: row for row in tx.all("outbox_counts")}
        states = {row["name"]: row for row in tx.all("status_all")}
        nothing: dict[str, Any] = {"owed": 0, "quarantined": 0, "oldest": None, "dead": 0}
        adapters = {}
        for name in names:
            last = tx.one("inbox_last", platform=name)
            waiting, ready = inbox.get(name, nothing), outbox.get(name, nothing)
            running = leases.held(locks, f"adapter-{name}")
            adapters[name] = {
                "running": running,
                **_state(states.get(name), running, now),
                "last_event_at": last["received_at"] if last else None,
                "updates_owed": waiting["owed"],
                "updates_quarantined": waiting["quarantined"],
                "oldest_update_at": waiting["oldest"],
                "replies_owed": ready["owed"],
                "replies_undeliverable": ready["dead"],
            }
        usage = [dict(row) for row in tx.all("usage_total", since=today)]
        return {
            "healthy": all_well(str(a["state"]) for a in adapters.values()),
            "adapters": adapters,
            "turns_today": {
                row["outcome"] or "running": row["turns"] for row in tx.all("turn_counts", since=today)
            },
            "usage_today": usage,
            "usd_today": sum(row["usd"] for row in usage),
            "schedules": {
                **dict(tx.one("schedules_counts")),
                "problems": [dict(row) for row in tx.all("schedules_troubled", limit=MOST_PROBLEMS)],
            },
        }

    return await database.read(read)


def _state(row: Mapping[str, Any] | None, running: bool, now: float) -> dict[str, Any]:
    """As the process that runs it would say; that it was heard of is written down now and then only."""
    since = row["since"] if row else None
    if row is None or not running:
        return {"state": "not running", "detail": "", "since": since}
    until = row["until"]
    return {
        "state": seen(row["state"], until and until + KEEP, now),
        "detail": row["detail"],
        "since": since,
    }


def as_text(report: dict[str, Any], now: float, *, color: bool) -> str:
    """The report for a terminal; what is not well is red."""

    def paint(text: str, good: bool) -> str:
        return f"\033[{32 if good else 31}m{text}\033[0m" if color else text

    lines = []
    for name, a in report["adapters"].items():
        detail = f" ({a['detail']})" if a["detail"] else ""
        lines.append(
            f"{name}: {paint(a['state'], a['state'] in ('up', 'stopped'))}{detail}, last event {_ago(a['last_event_at'], now)}"
        )
        lines.append(
            f"  owed: {_count(a['updates_owed'], 'update', 'updates')}, "
            f"{_count(a['replies_owed'], 'reply', 'replies')}; "
            f"unreadable: {a['updates_quarantined']}; undeliverable: {a['replies_undeliverable']}"
        )
    counts = Counter[str]()
    for outcome, turns in report["turns_today"].items():
        counts["by command" if outcome.startswith("command:") else outcome] += turns
    told = ", ".join(f"{turns} {outcome}" for outcome, turns in sorted(counts.items()))
    lines.append(f"turns today: {told or 'none'}")
    lines += [
        f"model {row['model']}: {_count(row['calls'], 'call', 'calls')}, "
        f"{row['input']:,} tokens read ({row['cached']:,} cached), "
        f"{row['output']:,} written, {row['usd']:.4f} USD"
        for row in report["usage_today"]
    ]
    if report["usage_today"]:
        lines.append(f"spent today: {report['usd_today']:.4f} USD")
    schedules = report["schedules"]
    if schedules["active"] or schedules["paused"]:
        due = schedules["next_at"]
        due = "" if due is None else f", next at {datetime.fromtimestamp(due, UTC):%Y-%m-%d %H:%M:%S UTC}"
        lines.append(f"schedules: {schedules['active']} active, {schedules['paused']} paused{due}")
    lines += [
        f"  {paint(row['name'], good=False)} to {row['user_id']}: {row['problem']}"
        for row in schedules["problems"]
    ]
    return "\n".join(lines)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    seconds = max(0, round(now - at))
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{when} ({seconds} s ago)" if seconds < 600 else when
