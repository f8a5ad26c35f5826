"""Quiet hours: when what may wait does not speak to a person. `22:00-07:00`, in their time zone."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from bot import times, triggers

_HOURS = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-–]\s*(\d{1,2})(?::(\d\d))?", re.ASCII)


def parse(text: str) -> tuple[time, time] | None:
    """When they begin and end, from `22-7` or `22:00-07:00`; None for what is no such span. They may go over midnight."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        return None
    try:
        begin, end = time(int(match[1]), int(match[2] or 0)), time(int(match[3]), int(match[4] or 0))
    except ValueError:
        return None
    return None if begin == end else (begin, end)


def written(begin: time, end: time) -> str:
    """As they are kept; `parse` gives them back."""
    return f"{begin:%H:%M}-{end:%H:%M}"


def until(quiet: str, zone: str, at: float) -> float | None:
    """When the quiet hours end in which an instant is; None if it is in none. The end itself is not quiet."""
    hours = parse(quiet)
    if hours is None:
        return None
    begin, end = hours
    local = times.clock(at, zone)
    now = local.time()
    if not (begin <= now < end if begin < end else now >= begin or now < end):
        return None
    day = local.date() + timedelta(days=1) if now >= end else local.date()
    ends = triggers.instant(datetime.combine(day, end), times.there(zone).key)
    # In an hour that is repeated, the first end may be over
    return ends if ends > at else None
