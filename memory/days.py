"""A person's days: what was said under all their user ids, each of which has a folder of its own, in the order of time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from heapq import merge

from memory.transcripts import Section, Transcripts, find_zone

_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)(?: (?:([+-])(\d\d)(\d\d)?|(\S+)))?(?: .*)?")


def dates(transcripts: Transcripts, people: Sequence[str]) -> list[date]:
    """The days for which any of these user ids has a file, oldest first."""
    return sorted({day for user_id in people for day in transcripts.dates(user_id)})


def sections(
    transcripts: Transcripts, people: Sequence[str], day: date, zone: str
) -> list[tuple[str, Section]]:
    """The conversations of a day, each with the user id whose it is.

    Those of one file stay in its order; those of several come in the order in which they began, by clocks that read as in
    `zone` where a heading does not tell which zone's it is.
    """
    files = [_timed(user_id, transcripts.day(user_id, day), day, zone) for user_id in people]
    return [(user_id, section) for _, user_id, section in merge(*files, key=lambda timed: timed[0])]


def _timed(
    user_id: str, found: Sequence[Section], day: date, zone: str
) -> Iterator[tuple[float, str, Section]]:
    """Each with when it began: never before what stands above it, whose time it also has where it has none."""
    latest = float("-inf")
    for section in found:
        at = began(section, day, zone)
        latest = latest if at is None else max(latest, at)
        yield latest, user_id, section


def began(section: Section, day: date, zone: str) -> float | None:
    """When a conversation of that day began, in unix seconds, as near as its heading tells; None if it has no time of day.

    Letters such as CST stand for several zones: they are taken for those of `zone`, where they tell an hour from its repetition.
    """
    match = _CLOCK.fullmatch(section.time)
    if match is None:
        return None
    hour, minute, second, sign, hours, minutes, letters = match.groups()
    there: tzinfo
    try:
        clock = datetime.combine(day, time(int(hour), int(minute), int(second)))
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            there = timezone(-offset if sign == "-" else offset)
        else:
            there = UTC if letters in ("UTC", "GMT", "Z") else find_zone(zone) or UTC
    except ValueError:  # a clock that shows 25:00, or is a day ahead
        return None
    first, second_time = (clock.replace(tzinfo=there, fold=fold) for fold in (0, 1))
    return (second_time if letters == second_time.tzname() != first.tzname() else first).timestamp()
