"""When a schedule is due: at one instant, every so many seconds, or by a cron expression in somebody's time zone.

APScheduler reckons on the wall clock of a place that never changes it; what a change of the clock does is decided here, as
Debian's cron does it. A time of day that is skipped comes right after the gap, one that is repeated comes once, the first
time. Rules that run through the hours (`*` first in the field of minutes or hours) go by real time. Instants are unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from config.cron import LAST, parse

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

DAY = 86400
# What a stored trigger or its zone may raise: a zone that is no more is a LookupError, one that is a folder an OSError.
UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, OSError)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class Once:
    """At one instant."""

    at: float


@dataclass(frozen=True, slots=True)
class Every:
    """Every so many seconds, counted from `anchor`. Whole days keep the time of day where the clock is changed."""

    seconds: int
    anchor: float


@dataclass(frozen=True, slots=True)
class Cron:
    """By the five fields of a cron expression, see `config.cron`."""

    fields: str


Trigger = Once | Every | Cron
_KINDS: dict[str, type[Once | Every | Cron]] = {"once": Once, "every": Every, "cron": Cron}


def dump(trigger: Trigger) -> str:
    """The trigger as it is stored; `load` gives it back."""
    return json.dumps({"kind": type(trigger).__name__.lower(), **asdict(trigger)})


def load(text: str) -> Trigger:
    """What `dump` wrote; raises ValueError for anything else."""
    try:
        values = json.loads(text)
        return _KINDS[values.pop("kind")](**values)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError("this is no trigger that this version knows") from exc


def next_after(trigger: Trigger, zone: str, after: float) -> float | None:
    """The first time the trigger is due strictly after an instant, or None if it is never due again.

    Raises ValueError for a zone or an expression that is none (`ZoneInfoNotFoundError` is a KeyError).
    """
    place = ZoneInfo(zone)
    match trigger:
        case Once(at):
            return at if at > after else None
        case Every(seconds, anchor) if seconds % DAY:
            count = max(0, int((after - anchor) // seconds))
            return next(at for n in (0, 1, 2) if (at := anchor + (count + n) * seconds) > after)
        case Every(seconds, anchor):
            return _every_day(seconds, anchor, place, after)
        case Cron(fields):
            reckon = _through if parse(fields).through else _by_the_clock
            return float(reckon(fields, place, int(after // 1)))


def instant(wall: datetime, zone: str) -> float:
    """When a clock in the zone shows that for the first time; the end of the gap, if it never does."""
    return float(_instant(ZoneInfo(zone), int(wall.replace(tzinfo=UTC).timestamp())))


def last_and_next(trigger: Trigger, zone: str, due: float, until: float) -> tuple[float, float | None]:
    """The last time that what is due at `due` is due up to `until`, and the first time after it."""
    last, found = due, next_after(trigger, zone, due)
    if found is None or found > until:
        return last, found
    window = 60.0
    while window < until - due:  # a rule for every minute is not to be gone through for a whole month
        late = next_after(trigger, zone, until - window)
        if late is not None and late <= until:
            found = late
            break
        window *= 4
    while found is not None and found <= until:
        last, found = found, next_after(trigger, zone, found)
    return last, found


# Wall clocks are counted in seconds as if they were UTC's.


def _by_the_clock(fields: str, place: ZoneInfo, after: int) -> int:
    wall = after + _offset(place, after)
    while True:
        wall = _match(fields, wall)
        at = _instant(place, wall)
        if at > after:  # else it is repeated, and was due the first time
            return at


def _through(fields: str, place: ZoneInfo, after: int) -> int:
    at, wall = after, after + _offset(place, after)
    while True:
        due = _match(fields, wall) - _offset(place, at)
        change = _change(place, at, due)
        if change is None:
            return due
        at, wall = change, change + _offset(place, change) - 1


def _every_day(seconds: int, anchor: float, place: ZoneInfo, after: float) -> float:
    begin = int(anchor // 1)
    first = begin + _offset(place, begin)
    count = max(0, int((after - anchor) // seconds) - 1)
    while True:  # a few times: changes of the clock alone part the two
        at = _instant(place, first + count * seconds) + anchor % 1
        if at > after:
            return at
        count += 1


def _match(fields: str, wall: int) -> int:
    """The first time on the wall clock strictly after another that the fields name; `parse` has seen to it that there is one."""
    start = datetime.fromtimestamp(wall + 1, UTC)
    return min(int(each.get_next_fire_time(None, start).timestamp()) for each in _reckoners(fields))


@lru_cache(maxsize=1024)
def _reckoners(text: str) -> tuple[CronTrigger, ...]:
    from apscheduler.triggers.cron import CronTrigger  # slow to import, and most starts need none

    fields = parse(text)
    days = _named(31, ("last" if day == LAST else str(day) for day in fields.days))
    weekdays = _named(7, (_DAYS[day] for day in fields.weekdays))
    return tuple(
        CronTrigger(
            month=_named(12, map(str, fields.months)),
            day=day,
            day_of_week=weekday,
            hour=_named(24, map(str, fields.hours)),
            minute=_named(60, map(str, fields.minutes)),
            second=0,
            timezone=UTC,
        )
        for day, weekday in ([(days, "*"), ("*", weekdays)] if fields.either else [(days, weekdays)])
    )


def _named(most: int, values: Iterable[str]) -> str:
    """As APScheduler reads them; it is many times faster with `*` than with everything named."""
    named = list(values)
    return "*" if len(set(named) - {"last"}) == most else ",".join(named)


def _offset(place: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, place).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _instant(place: ZoneInfo, wall: int) -> int:
    """When the wall clock shows that for the first time; the end of the gap, where it never does."""
    shown = datetime.fromtimestamp(wall, UTC).replace(tzinfo=place)
    early, late = sorted(int(shown.replace(fold=fold).timestamp()) for fold in (0, 1))
    if early + _offset(place, early) == wall:
        return early
    change = _change(place, early, late)
    return late if change is None else change


def _change(place: ZoneInfo, after: int, until: int) -> int | None:
    """The first instant in `after` < t <= `until` at which the clock is changed, if there is one."""
    offset, low = _offset(place, after), after
    while low < until:
        high = min(low + DAY, until)
        if _offset(place, high) != offset:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if _offset(place, middle) != offset else (middle, high)
            return high
        low = high
    return None
