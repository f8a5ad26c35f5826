"""Times in plain English: "in 20 minutes", "tomorrow at nine", "every weekday at 8:30 until Friday".

A small grammar of our own: what exists understands dates in running text by guessing, knows no repetitions, and is large. This
one understands a phrase whole or not at all, and whoever uses it tells the person what was understood. Hours are those of the
clock with 24 unless am or pm is said. A time of day that is left out is 9 o'clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - `date` and `time` are names of what is read
from datetime import datetime, timedelta
from datetime import time as Time  # noqa: N812

from bot import vocabulary

MOST_WORDS = 20  # of a phrase
MORNING = Time(9)
DAY_END = Time(23, 59, 59)
DAY = 86400


class Impossible(Exception):
    """A time that was understood and can not be: `key` and `values` are the sentence that says why."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@dataclass(frozen=True, slots=True)
class After:
    """So many seconds from now."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by the person's clock."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Interval:
    """Again and again, so many seconds apart; the first time after as many, or else at a moment by the person's clock."""

    seconds: int
    first: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Again and again by the person's clock: a cron expression with names of weekdays and months."""

    cron: str


When = After | Moment | Interval | Rule


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a phrase says. `until` is by the person's clock, too, and only something that repeats has it."""

    when: When
    until: datetime | None = None


def parse(phrase: str, now: datetime, otherwise: Time = MORNING) -> Phrase | None:
    """What a phrase says to somebody whose clock shows `now`; None if it is not understood, to the last word.

    A day, or a rule for days, is at `otherwise` where no time of day is said. Raises `Impossible` for what has passed, for a
    date that no calendar has or on another weekday, and for a time of day that no clock shows.
    """
    words = _plain(phrase)
    if not words or len(words.split()) > MOST_WORDS:
        return None
    main, sign, end = words.partition(" until ")
    if seconds := vocabulary.delay(main):
        return None if sign else Phrase(After(seconds))
    found = _Reader(main, now, otherwise).read()
    if found is None or not sign:
        return None if found is None else Phrase(found)
    until = parse_end(end, now) if isinstance(found, Interval | Rule) else None
    return None if until is None else Phrase(found, until)


def parse_end(phrase: str, now: datetime) -> datetime | None:
    """Until when something is to last: a moment, or the end of a day that is told without a time of day; see `parse`."""
    found = parse(phrase, now)
    match found and found.when:
        case After(seconds):
            return now + timedelta(seconds=seconds)
        case Moment(at):
            return at if _Reader(_plain(phrase), now).tells_time() else _end_of_day(at)
    return None


def _plain(phrase: str) -> str:
    text = _UNSEEN.sub("", phrase).casefold().replace("’", "'").replace("&", " & ")
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", text)
    text = re.sub(r"\b(\d{4}-\d\d-\d\d)t(\d\d:\d\d)(?::00)?\b", r"\1 \2", text)
    text = re.sub(r"\b(?:till|til|through)\b", "until", text)
    return re.sub(r"\s*,\s*", ", ", " ".join(text.split())).strip(" ,:;.!")


# Marks of the writing direction, and the like
_UNSEEN = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def _end_of_day(at: datetime) -> datetime:
    return datetime.combine(at, DAY_END)


# The reader ---------------------------------------------------------------------------------------------------------


class _Reader:
    """Takes a phrase apart from its beginning: what repeats, days, times, parts of the day, in any order."""

    def __init__(self, words: str, now: datetime, otherwise: Time = MORNING) -> None:
        self._rest = words
        self._now = now
        self._otherwise = otherwise
        self._day: Callable[[Time], datetime] | None = None
        self._weekday: tuple[int, bool] | None = None  # and whether the next one is meant
        self._no_time = ""  # what was said for a time of day and is none
        self._times: list[tuple[Time, bool]] = []  # and whether it is known which half of the day is meant
        self._part = ""
        self._midnight = False
        self._repeat: vocabulary.Repeat = None
        self._same_time = False  # a day that is told by its distance keeps the time of day

    def tells_time(self) -> bool:
        """Whether a time of day is said, and not only a day."""
        self.read()
        return bool(self._times or self._part)

    def read(self) -> Moment | Interval | Rule | None:
        """What it says; None if it is not understood whole."""
        while self._rest:
            if not any(
                take()
                for take in (
                    self._take_repeat,
                    self._take_day,
                    self._take_weekday,
                    self._take_time,
                    self._take_part,
                )
            ):
                return None
            self._rest = self._rest.lstrip(" ,")
            if self._repeat and self._day is None and self._weekday is None:
                self._match("(?:starting|beginning|from)(?= .)")
                self._rest = self._rest.lstrip(" ")
        if self._no_time:
            raise Impossible("when_no_such_time", time=self._no_time)
        if self._weekday is not None:
            self._day = self._on_weekday(*self._weekday)
        if isinstance(self._repeat, timedelta):
            alone = not (self._times or self._part or self._day)
            return Interval(int(self._repeat.total_seconds())) if alone else None
        times = sorted({self._in_part(time, exact=exact) for time, exact in self._times}) or [
            vocabulary.HOURS.get(self._part, self._otherwise)
        ]
        if isinstance(self._repeat, tuple):
            if self._day or (self._repeat != ("*", "*", "*") and any(map(self._ends_the_day, times))):
                return None
            return _rule(times, *self._repeat)
        if len(times) > 1 or not (self._day or self._times or self._repeat):
            return None
        at = self._moment(times[0])
        return Interval(self._repeat * DAY, at) if self._repeat else Moment(at)

    def _match(self, pattern: str | re.Pattern[str]) -> re.Match[str] | None:
        """Take this off the beginning, if it ends with a word."""
        found = re.compile(pattern).match(self._rest)
        if found is None or not re.match(r"[\s,]|$", self._rest[found.end() :]):
            return None
        self._rest = self._rest[found.end() :]
        return found

    # What repeats

    def _take_repeat(self) -> bool:
        if self._repeat is not None:
            return False
        for pattern, meant in vocabulary.REPEATS:
            before = self._rest
            if found := self._match(pattern):
                self._repeat = meant(found, self._now)
                if self._repeat is not None:
                    if part := re.search(r"(morning|afternoon|evening|night)$", found[0]):
                        self._part = part[1]
                    return True
                self._rest = before
        return False

    # Days

    def _take_day(self) -> bool:
        if self._day is not None:
            return False
        now = self._now
        if found := self._match(r"(today|tonight|(?:the )?day after tomorrow|tomorrow|yesterday)"):
            ahead = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1}.get(found[1], 2)
            self._part = "night" if found[1] == "tonight" else self._part
            self._day = lambda time: _future(datetime.combine(now.date() + timedelta(ahead), time), now)
        elif (
            found := self._match(rf"in ({vocabulary.NUMBER}) (day|week|month|year)s?")
            or self._match(rf"({vocabulary.NUMBER}) (day|week|month|year)s? from (?:now|today)")
            or self._match(r"(next) (week|month|year)")
        ):
            count = 1 if found[1] == "next" else vocabulary.number(found[1])
            unit = found[2]
            self._same_time = True
            self._day = lambda time: datetime.combine(_ahead(now.date(), count, unit), time)
        elif found := self._match(r"(?:on )?(\d{4})-(\d\d)-(\d\d)"):
            self._day = _on(now, int(found[1]), int(found[2]), int(found[3]))
        elif found := self._match(r"(?:on )?(\d{1,2})\.(\d{1,2})\.(\d{4})"):
            self._day = _on(now, int(found[3]), int(found[2]), int(found[1]))
        elif found := self._match(
            rf"(?:on )?(?:the )?({vocabulary.NTH})(?: of)? ({vocabulary.MONTH})(?:,? (\d{{4}}))?"
        ):
            self._day = _on(now, _year(found[3]), vocabulary.month(found[2]), vocabulary.nth(found[1]))
        elif found := self._match(
            rf"(?:on )?({vocabulary.MONTH}) (?:the )?({vocabulary.NTH})(?:,? (\d{{4}}))?(?!:)"
        ):
            self._day = _on(now, _year(found[3]), vocabulary.month(found[1]), vocabulary.nth(found[2]))
        elif found := self._match(r"(?:on )?the (\d{1,2}(?:st|nd|rd|th))"):
            self._day = _on(now, None, None, vocabulary.nth(found[1]))
        return self._day is not None

    def _take_weekday(self) -> bool:
        if self._weekday is not None:
            return False
        if found := self._match(rf"(?:on |this |coming |(next ))*({vocabulary.WEEKDAY})"):
            self._weekday = vocabulary.WEEKDAYS.index(found[2][:3]), bool(found[1])
        return self._weekday is not None

    def _on_weekday(self, weekday: int, later: bool) -> Callable[[Time], datetime]:
        """The weekday that is meant; where a date is said as well, that date, which has to fall on it."""
        day, now = self._day, self._now
        if day is None:
            return lambda time: _weekday((weekday - now.weekday()) % 7, later, time, now)

        def at(time: Time) -> datetime:
            found = day(time)
            if found.weekday() != weekday:
                raise Impossible("when_other_weekday", date=f"{found:%Y-%m-%d}")
            return found

        return at

    # Times of day

    def _take_time(self) -> bool:
        if self._times:
            return False
        before, found = self._rest, self._match(vocabulary.TIME)
        if found is None or not (
            found["at"]
            or found["word"]
            or found["minute"]
            or found["half"]
            or found["sharp"]
            or found["past"]
        ):
            self._rest = before
            return False
        while found:
            time = vocabulary.time_of_day(found)
            if time is None:
                if found["past"] or not (found["at"] or found["half"] or ":" in found[0]):
                    self._rest = before
                    return False
                self._no_time, time = found[0].removeprefix("at ").strip(" @"), Time()
            self._midnight = self._midnight or found["word"] == "midnight"
            self._times.append((time, bool(found["half"])))
            found = self._match(vocabulary.MORE_TIMES)
        return True

    def _take_part(self) -> bool:
        found = None if self._part else self._match(vocabulary.PART)
        if found is None:
            return False
        self._part = found[1]
        if self._day is None and "this" in found[0]:
            self._day = lambda time: _future(datetime.combine(self._now.date(), time), self._now)
        return True

    def _in_part(self, time: Time, *, exact: bool) -> Time:
        """Eight in the evening is at 20, twelve at night is midnight, and two at night is two."""
        late = self._part in ("evening", "night")
        if exact or not (late or self._part == "afternoon"):
            return time
        if time.hour == 12:
            return time.replace(hour=0 if late else 12)
        return (
            time.replace(hour=time.hour + 12)
            if (6 if self._part == "night" else 1) <= time.hour < 12
            else time
        )

    def _ends_the_day(self, time: Time) -> bool:
        """Whether it is on the morning after the day that is said: midnight, and two in a night."""
        return self._midnight or (self._part in ("evening", "night") and time.hour < 6)

    def _moment(self, time: Time) -> datetime:
        now = self._now
        if self._same_time and not (self._times or self._part):
            time = now.time().replace(microsecond=0)
        if self._day is not None and self._ends_the_day(time):
            return datetime.combine(self._day(Time(23, 59)).date() + timedelta(1), time)
        if self._day is not None:
            return self._day(time)
        at = datetime.combine(now.date(), time)
        return at if at > now else at + timedelta(days=1)


def _future(at: datetime, now: datetime) -> datetime:
    if at <= now:
        raise Impossible("when_past", time=f"{at:%Y-%m-%d %H:%M}")
    return at


def _weekday(ahead: int, later: bool, time: Time, now: datetime) -> datetime:
    at = datetime.combine(now.date() + timedelta(ahead), time)
    return at + timedelta(7) if at <= now or (later and not ahead) else at


def _year(word: str | None) -> int | None:
    return int(word) if word else None


def _ahead(day: Date, count: int, unit: str) -> Date:
    """A date so many days, weeks, months or years later; the last of a month that has no such day."""
    try:
        if unit in ("day", "week"):
            return day + timedelta(count * (7 if unit == "week" else 1))
        months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
        for last in (day.day, 30, 29, 28):
            if found := vocabulary.date(months // 12, months % 12 + 1, last):
                return found
    except OverflowError:
        pass
    raise Impossible("when_too_far_to_reckon")


def _on(now: datetime, year: int | None, month: int | None, day: int) -> Callable[[Time], datetime]:
    """A date; without its year (or month) the next one that is still to come."""

    def at(time: Time) -> datetime:
        if year is not None and month is not None:
            months: Sequence[tuple[int, int]] = [(year, month)]
        elif month is not None:
            months = [(now.year + ahead, month) for ahead in range(9)]  # the 29th of February may be that far
        else:
            count = now.year * 12 + now.month - 1
            months = [divmod(one, 12) for one in range(count, count + 13)]
            months = [(y, m + 1) for y, m in months]
        found = [datetime.combine(one, time) for y, m in months if (one := vocabulary.date(y, m, day))]
        if not found:
            raise Impossible("when_no_such_date")
        return next((one for one in found if one > now), None) or _future(found[-1], now)

    return at


def _rule(times: Sequence[Time], day: str, month: str, weekday: str) -> Rule:
    """Several times of day in one expression, where one can say it."""
    minutes, hours = ({t.minute for t in times}, {t.hour for t in times})
    if len(minutes) * len(hours) != len(times):
        raise Impossible("when_times_differ")
    return Rule(f"{_listed(minutes)} {_listed(hours)} {day} {month} {weekday}")


def _listed(numbers: set[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))
