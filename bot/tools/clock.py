"""The clock tool: a model does not know what time it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from bot.tools.base import ToolContext, ToolProblem
from memory.transcripts import find_zone, local_time

Zone = Annotated[
    str | None, Field(description="IANA name of a zone such as Asia/Tokyo; left out, the person's own.")
]


def clock(context: ToolContext, timezone: Zone = None) -> str:
    """Tell the weekday, date and time now, in the person's time zone or in another one.

    Call it before you say or reckon with a date, a weekday or a time of day.
    """
    name = (timezone or "").strip() or context.variables.timezone
    if timezone and find_zone(name) is None:
        raise ToolProblem(
            f"There is no time zone {name[:60]!r}. Names read like Europe/Vienna, America/New_York or UTC."
        )
    now = local_time(context.now(), name)
    return (
        f"{now:%A}, {now:%Y-%m-%d}, {now:%H:%M:%S} ({name if find_zone(name) else 'UTC'}, UTC{_offset(now)})"
    )


def _offset(now: datetime) -> str:
    digits = f"{now:%z}"
    return f"{digits[:3]}:{digits[3:5]}"
