"""Quiet hours: when what may wait does not speak to a person. `22:00-07:00`, in their time zone."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from bot import times, triggers

_CLOCK = r"(\d{1,2})(?::(\d\d))?(?:\s*([ap])\.?m\.?)?"
_HOURS = re.compile(rf"{_CLOCK}\s*(?:[-–]|to)\s*{_CLOCK}", re.ASCII | re.IGNORECASE)


def parse(text: str) -> tuple[time, time] | None:
    """When they begin and end, from `22-7`, `22:00-07:00` or `10pm-7am`; None for no such span. They may go over midnight."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        return None
    try:
        begin, end = _time(*match.groups()[:3]), _time(*match.groups()[3:])
    except ValueError:
        return None
    return None if begin == end else (begin, end)


def _time(hour: str, minute: str | None, half: str | None) -> time:
    if half is None:
        return time(int(hour), int(minute or 0))
    if not 1 <= int(hour) <= 12:
        raise ValueError("no such hour")
    return time(int(hour) % 12 + (12 if half in "pP" else 0), int(minute or 0))


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
