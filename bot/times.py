"""Times for people: moments and rules in words, and what a clock's time is where the clocks are changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise, product
from zoneinfo import ZoneInfo

from bot import sentences, triggers
from bot.triggers import DAY, Cron, Every, Once, Trigger
from config.cron import LAST, parse
from memory.transcripts import find_zone

MOST_TIMES = 6  # of a day, that are told one by one


def there(zone: str) -> ZoneInfo:
    """The zone of that name; UTC for one that the system does not know any more."""
    return find_zone(zone) or ZoneInfo("UTC")


def clock(at: float, zone: str) -> datetime:
    """What the clock shows there, without its zone."""
    return datetime.fromtimestamp(at, there(zone)).replace(tzinfo=None)


def instant(shown: datetime, zone: str) -> tuple[float, str]:
    """When the clock shows that there, and what is to be said about it: the key of a sentence, or "".

    What is skipped in spring is right after the gap, as with rules. What is repeated in autumn is the first time, or with
    `fold` set the second.
    """
    place = there(zone)
    early, late = (shown.replace(tzinfo=place, fold=fold).timestamp() for fold in (0, 1))
    if early == late:
        return early, ""
    if clock(early, zone) == shown:
        return (late, "") if shown.fold else (early, "when_twice")
    return triggers.instant(shown, place.key), "when_gap"


def moment(at: float, zone: str, language: str = "") -> str:
    """`Friday 2026-11-27 at 09:00 (Europe/Vienna)`."""
    shown = clock(at, zone)
    return sentences.say(
        "moment",
        language,
        weekday=_weekday(shown.weekday(), language),
        date=f"{shown:%Y-%m-%d}",
        time=f"{shown:%H:%M}",
        zone=there(zone).key,
    )


def moments(trigger: Trigger, zone: str, first: float, until: float | None, count: int) -> list[float]:
    """The first so many times that it is due, beginning with `first`."""
    found = [first]
    while len(found) < count:
        following = triggers.next_after(trigger, there(zone).key, found[-1])
        if following is None or (until is not None and following > until):
            break
        found.append(following)
    return found


def rule(trigger: Trigger, zone: str, language: str = "") -> str:
    """A trigger in words: `every weekday at 08:30`. In English `bot.when` reads it back."""
    match trigger:
        case Once(at):
            return moment(at, zone, language)
        case Every(seconds, anchor) if seconds % DAY == 0:
            return _every_days(seconds // DAY, clock(anchor, zone), language)
        case Every(seconds):
            return _every(seconds, language)
        case Cron(fields):
            return _cron(fields, language)


def _every(seconds: int, language: str) -> str:
    if seconds == 3600:
        return sentences.say("rule_hour", language)
    if seconds % 3600 == 0:
        return sentences.say("rule_hours", language, count=seconds // 3600)
    if seconds == 60:
        return sentences.say("rule_minute", language)
    return sentences.say("rule_minutes", language, count=f"{seconds / 60:g}")


def _every_days(days: int, first: datetime, language: str) -> str:
    time = f"{first:%H:%M}"
    if days == 1:
        return sentences.say("rule_day", language, times=time)
    if days % 7:
        return sentences.say("rule_days", language, count=days, times=time)
    day = _weekday(first.weekday(), language)
    if days == 7:
        return sentences.say("rule_week", language, days=day, times=time)
    return sentences.say("rule_weeks", language, count=days // 7, day=day, times=time)


def _cron(fields: str, language: str) -> str:
    found, stars = parse(fields), [field == "*" for field in fields.split()]
    gaps = {later - earlier for earlier, later in pairwise([*found.minutes, found.minutes[0] + 60])}
    if all(stars[1:]) and found.minutes[0] == 0 and len(gaps) == 1:
        return _every(60 * gaps.pop(), language)
    if len(found.hours) * len(found.minutes) > MOST_TIMES or found.either:
        return sentences.say("rule_cron", language, rule=fields)
    times = listed([f"{h:02}:{m:02}" for h, m in product(found.hours, found.minutes)], language)
    match stars[2:]:
        case [True, True, True]:
            return sentences.say("rule_day", language, times=times)
        case [True, True, False] if found.weekdays == (1, 2, 3, 4, 5):
            return sentences.say("rule_weekdays", language, times=times)
        case [True, True, False]:
            days = sorted((day - 1) % 7 for day in found.weekdays)
            names = listed([_weekday(day, language) for day in days], language)
            return sentences.say("rule_week", language, days=names, times=times)
        case [False, True, True] if found.days == (LAST,):
            return sentences.say("rule_month_end", language, times=times)
        case [False, True, True] if len(found.days) == 1:
            return sentences.say("rule_month", language, day=found.days[0], times=times)
        case [False, False, True] if len(found.days) == len(found.months) == 1 and found.days != (LAST,):
            month = sentences.say("month_names", language).split()[found.months[0] - 1]
            return sentences.say("rule_year", language, day=found.days[0], month=month, times=times)
    return sentences.say("rule_cron", language, rule=fields)


def shortest_gap(trigger: Trigger, zone: str, first: float) -> float:
    """The shortest time between two firings, in seconds; an hour less where the clocks are changed does not count.

    More than a day may be told as a day.
    """
    match trigger:
        case Once():
            return float("inf")
        case Every(seconds):
            return seconds
        case Cron(fields):
            found = parse(fields)
            minutes = [60 * hour + minute for hour, minute in product(found.hours, found.minutes)]
            within = min(_differences(minutes), default=DAY / 60)
            overnight = minutes[0] + DAY / 60 - minutes[-1]
            return 60 * min(within, overnight if _days_follow(fields, zone, first) else DAY / 60)


def _differences(numbers: Sequence[int]) -> Iterable[int]:
    return (later - earlier for earlier, later in pairwise(numbers))


def _days_follow(fields: str, zone: str, first: float) -> bool:
    """Whether the rule is ever due on two days in a row."""
    day = Cron(" ".join(["0", "12", *fields.split()[2:]]))
    begin = triggers.next_after(day, there(zone).key, first - DAY)
    found = [] if begin is None else moments(day, zone, begin, None, 40)
    return any(later - earlier < 1.5 * DAY for earlier, later in pairwise(found))


def listed(words: Sequence[str], language: str) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return sentences.say("listed", language, first=", ".join(words[:-1]), last=words[-1])


def _weekday(number: int, language: str) -> str:
    return sentences.say("weekday_names", language).split()[number]
