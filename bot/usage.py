"""What the models have used: by person, model, day or chat for operators, and a person's own for themselves.

Every call counts, those of summaries too. A call that is in flight, or was cut off by a kill, is told apart as unsettled: of it
only an upper estimate is known, which the limits go by.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from memory import links
from memory.database import Database, Tx

By = Literal["person", "model", "day", "chat"]
QUARTER = 900  # seconds, see usage_by

_FORMULA = tuple("=+-@\t\r")  # what makes a spreadsheet take a cell's text for a formula


@dataclass(frozen=True, slots=True)
class Calls:
    """`calls` counts all, `unsettled` those of them that are in flight or cut off; the rest is of settled calls."""

    calls: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    usd: float = 0.0
    unsettled: int = 0
    unsettled_usd: float = 0.0

    def __add__(self, other: Calls) -> Calls:
        return Calls(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Personal:
    """A person's own calls, in days of their zone."""

    today: Calls
    month: Calls
    """Of thirty days, today's included."""
    ever: Calls


def of_person(tx: Tx, user_id: str, zone: str, at: float) -> Personal:
    """What a person has used, under all their user ids."""
    today = datetime.fromtimestamp(at, ZoneInfo(zone)).date()

    ids = links.people(tx, user_id)

    def since(moment: float) -> Calls:
        return sum((_calls(tx.one("usage_of_person", user_id=id_, since=moment)) for id_ in ids), Calls())

    return Personal(since(_begin(today, zone)), since(_begin(today - timedelta(days=29), zone)), since(0))


async def collect(database: Database, by: By, since: date | None, zone: str) -> dict[str, Any]:
    """The report as plain data: `rows` named by what `by` says, and their `total`. Days are those of `zone`."""
    begin = 0.0 if since is None or since.year < 1971 else _begin(since, zone)
    found = await database.read(lambda tx: tx.all("usage_by", by=by, since=begin))
    rows: dict[str, Calls] = {}
    for row in found:
        key = row["key"]
        if by == "day":
            key = str(datetime.fromtimestamp(key * QUARTER, ZoneInfo(zone)).date())
        rows[key] = rows.get(key, Calls()) + _calls(row)
    return {
        "by": by,
        "since": None if since is None else str(since),
        "timezone": zone,
        "rows": [{by: key, **_plain(calls)} for key, calls in rows.items()],
        "total": _plain(sum(rows.values(), Calls())),
    }


def _begin(day: date, zone: str) -> float:
    return datetime.combine(day, time(), ZoneInfo(zone)).timestamp()


def _calls(row: Mapping[str, Any]) -> Calls:
    return Calls(*(row[name] for name in Calls.__slots__))


def _plain(calls: Calls) -> dict[str, Any]:
    data = asdict(calls)
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in data.items()}


def as_text(report: Mapping[str, Any]) -> str:
    """The report for a terminal."""
    since = "" if report["since"] is None else f" since {report['since']}"
    if not report["rows"]:
        return f"no model was called{since}"
    by = report["by"]
    head: tuple[str, ...] = (by, "calls", "read", "cached", "written", "USD", "unsettled")
    lines = [head]
    for row in [*report["rows"], {by: "all", **report["total"]}]:
        unsettled = f"{row['unsettled']} (up to {row['unsettled_usd']:.4f} USD)" if row["unsettled"] else "0"
        counts = (f"{row[name]:,}" for name in ("calls", "input", "cached", "output"))
        lines.append((_shown(row[by]), *counts, f"{row['usd']:.4f}", unsettled))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < index < len(head) - 1 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_csv(report: Mapping[str, Any]) -> str:
    """The rows for a spreadsheet, which will find no formula in them; without the total, which it can make itself."""
    by = report["by"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by, *Calls.__slots__])
    for row in report["rows"]:
        numbers = (row[name] for name in Calls.__slots__)
        writer.writerow([_harmless(row[by]), *(f"{n:.9f}" if isinstance(n, float) else n for n in numbers)])
    return text.getvalue()


def _shown(text: str) -> str:
    """A platform's ids must not act on the operator's terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _harmless(text: str) -> str:
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
