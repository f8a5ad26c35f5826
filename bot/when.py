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

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_WORDS = 20  # of a phrase
MORNING = Time(9)
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
class Once:
    """A moment by the person's clock."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again, so many seconds apart; the first time after as many, or else at a moment by the person's clock."""

    seconds: int
    first: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Again and again by the person's clock: a cron expression with names of weekdays and months."""

    cron: str


When = After | Once | Every | Rule


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a phrase says. `until` is by the person's clock, too, and only something that repeats has it."""

    when: When
    until: datetime | None = None


def parse(phrase: str, now: datetime, otherwise: Time = MORNING) -> Phrase | None:
    """What a phrase says to somebody whose clock shows `now`; None if it is not understood, to the last word.

    A day, or a rule for days, is at `otherwise` where no time of day is said. Raises `Impossible` for what has passed, and
    for a date that no calendar has.
    """
    words = _plain(phrase)
    if not words or len(words.split()) > MOST_WORDS:
        return None
    main, sign, end = words.partition(" until ")
    until = parse_end(end, now) if sign else None
    if sign and until is None:
        return None
    if seconds := _delay(main):
        return Phrase(After(seconds)) if until is None else None
    found = _Reader(main, now, otherwise).read()
    if until is not None and not isinstance(found, Every | Rule):
        return None
    return None if found is None else Phrase(found, until)


def parse_end(phrase: str, now: datetime) -> datetime | None:
    """Until when something is to last: a moment, or the end of a day that is told without a time of day; see `parse`."""
    found = parse(phrase, now)
    match found and found.when:
        case After(seconds):
            return now + timedelta(seconds=seconds)
        case Once(at):
            return at if _Reader(_plain(phrase), now).tells_time() else _end_of_day(at)
    return None


def split(text: str, now: datetime) -> tuple[str, str] | None:
    """The phrase that a text begins with (or else ends with), and the rest of it; None if there is none.

    "in 20 minutes to make tea" and "make tea in 20 minutes" are both ("in 20 minutes", "make tea").
    """
    text = _bare(text)
    ends = [match.end() for match in re.finditer(r"\S+", text)][:MOST_WORDS]
    for end in reversed(ends):
        if _understood(text[:end], now):
            return _with_end(text[:end].strip(" ,:"), _bare(text[end:]), now)
    starts = [match.start() for match in re.finditer(r"\S+", text)][1:][-MOST_WORDS:]
    for start in starts:
        if _understood(text[start:], now):
            return text[start:], text[:start].rstrip(" ,:–-")
    return None


def _with_end(phrase: str, text: str, now: datetime) -> tuple[str, str]:
    """An end may stand behind what is to be said: "every day at 9 to stretch until Friday"."""
    for found in re.finditer(r"[\s,]+(?=until\s)", text, re.IGNORECASE):
        if _understood(whole := f"{phrase} {text[found.end() :]}", now):
            return whole, text[: found.start()]
    return phrase, text


def _understood(phrase: str, now: datetime) -> bool:
    try:
        return parse(phrase, now) is not None
    except Impossible:
        return True


_LEADING = re.compile(r"(?:[\s,:;–—-]+|(?:me|to|that|about|of)\b(?=\s))+", re.IGNORECASE)


def _bare(text: str) -> str:
    """Without what joins a time to what is to be said: "to", "that", a colon."""
    found = _LEADING.match(text)
    return (text[found.end() :] if found else text).strip()


def _plain(phrase: str) -> str:
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", phrase.casefold().replace("’", "'"))
    text = re.sub(r"\b(?:till|til|through)\b", "until", text)
    return re.sub(r"\s*([,&])\s*", r"\1 ", " ".join(text.split())).strip(" ,:;.!")


# Numbers, days and hours --------------------------------------------------------------------------------------------

_NUMBERS = {
    name: number
    for number, name in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905 - reads better
    )
} | {"a": 1, "an": 1, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "forty-five": 45, "ninety": 90}
_NUMBER = rf"(?:\d{{1,6}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_WEEKDAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?"
_NTH = r"\d{1,2}(?:st|nd|rd|th)?"
_AND = r"(?:, (?:and )?| and | & )"


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else _NUMBERS[word]


def _nth(word: str) -> int:
    return int(re.match(r"\d+", word)[0])  # type: ignore[index]  # it is one by the pattern that found it


_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LENGTH = re.compile(rf"({_NUMBER}) ?(h|m|s|hours?|hrs?|minutes?|mins?|seconds?|secs?)(?= |\d|$)(?: and | )?")
_FIXED = {
    "half an hour": 1800,
    "a half hour": 1800,
    "half hour": 1800,
    "a quarter of an hour": 900,
    "quarter of an hour": 900,
    "an hour and a half": 5400,
    "one and a half hours": 5400,
}


def _delay(words: str) -> int:
    """The seconds of "in 1 hour and 20 minutes"; 0 if it is something else."""
    if words.startswith("in "):
        return _length(words[3:])
    return _length(words.removesuffix(" from now")) if words.endswith(" from now") else 0


def _length(words: str) -> int:
    if words in _FIXED:
        return _FIXED[words]
    position = seconds = 0
    while found := _LENGTH.match(words, position):
        seconds += _number(found[1]) * _SECONDS[found[2][0]]
        position = found.end()
    return seconds if position == len(words) else 0


def _end_of_day(at: datetime) -> datetime:
    return at.replace(hour=23, minute=59, second=59)


# The reader ---------------------------------------------------------------------------------------------------------

_CLOCK = (
    r"(?:(?P<word>noon|midday|midnight)"
    r"|(?:(?P<past>half|quarter|ten|five|twenty) (?P<way>past|to) )?"
    rf"(?P<hour>\d{{1,2}}|{'|'.join(list(_NUMBERS)[1:13])})(?:[:.](?P<minute>\d\d))?"
    r"(?: ?(?P<half>am|pm)|(?P<sharp> o'?clock))?)(?![\w:.%])"
)
_TIME = re.compile(rf"(?P<at>at |@ ?)?{_CLOCK}")
_MORE_TIMES = re.compile(rf"{_AND}(?P<at>at )?{_CLOCK}")
_PART = re.compile(r"(?:in the |at |this |on the )?(morning|afternoon|evening|night)\b")
_HOURS = {"morning": MORNING, "afternoon": Time(15), "evening": Time(20), "night": Time(20)}
_PAST = {"half": 30, "quarter": 15, "ten": 10, "five": 5, "twenty": 20}


class _Reader:
    """Takes a phrase apart from its beginning: what repeats, days, times, parts of the day, in any order."""

    def __init__(self, words: str, now: datetime, otherwise: Time = MORNING) -> None:
        self._rest = words
        self._now = now
        self._otherwise = otherwise
        self._day: Callable[[Time], datetime] | None = None
        self._times: list[Time] = []
        self._part = ""
        self._midnight = False
        self._repeat: _Repeat = None
        self._same_time = False  # a day that is told by its distance keeps the time of day

    def tells_time(self) -> bool:
        """Whether a time of day is said, and not only a day."""
        self.read()
        return bool(self._times or self._part)

    def read(self) -> Once | Every | Rule | None:
        """What it says; None if it is not understood whole."""
        while self._rest:
            if not any(
                take() for take in (self._take_repeat, self._take_day, self._take_time, self._take_part)
            ):
                return None
            self._rest = self._rest.lstrip(" ,")
            if self._repeat and self._day is None:
                self._match("starting|beginning|from")
                self._rest = self._rest.lstrip(" ")
        if isinstance(self._repeat, Every):
            return None if self._times or self._part or self._day else self._repeat
        times = sorted({self._in_part(time) for time in self._times}) or [
            _HOURS.get(self._part, self._otherwise)
        ]
        if isinstance(self._repeat, tuple):
            return None if self._day else _rule(times, *self._repeat)
        if len(times) > 1 or not (self._day or self._times or self._repeat):
            return None
        at = self._moment(times[0])
        return Every(self._repeat * DAY, at) if self._repeat else Once(at)

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
        for pattern, meant in _REPEATS:
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
        if found := self._match(r"(today|tonight|(?:the )?day after tomorrow|tomorrow)"):
            ahead = 2 if "after" in found[1] else int(found[1] == "tomorrow")
            self._part = "night" if found[1] == "tonight" else self._part
            self._day = lambda time: _future(datetime.combine(now.date() + timedelta(ahead), time), now)
        elif found := self._match(rf"(?:on |this |coming |(next ))*({_WEEKDAY})"):
            ahead = (WEEKDAYS.index(found[2][:3]) - now.weekday()) % 7
            later = bool(found[1])
            self._day = lambda time: _weekday(ahead, later, time, now)
        elif found := self._match(rf"in ({_NUMBER}) (day|week|month|year)s?") or self._match(
            rf"({_NUMBER}) (day|week|month|year)s? from (?:now|today)"
        ):
            day = _ahead(now.date(), _number(found[1]), found[2])
            self._same_time = True
            self._day = lambda time: datetime.combine(day, time)
        elif found := self._match(r"(?:on )?(\d{4})-(\d\d)-(\d\d)t?"):
            self._day = _on(now, int(found[1]), int(found[2]), int(found[3]))
        elif found := self._match(r"(?:on )?(\d{1,2})\.(\d{1,2})\.(\d{4})"):
            self._day = _on(now, int(found[3]), int(found[2]), int(found[1]))
        elif found := self._match(rf"(?:on )?(?:the )?({_NTH})(?: of)? ({_MONTH})(?:,? (\d{{4}}))?"):
            self._day = _on(now, _year(found[3]), _month(found[2]), _nth(found[1]))
        elif found := self._match(rf"(?:on )?({_MONTH}) (?:the )?({_NTH})(?:,? (\d{{4}}))?(?!:)"):
            self._day = _on(now, _year(found[3]), _month(found[1]), _nth(found[2]))
        elif found := self._match(r"(?:on )?the (\d{1,2}(?:st|nd|rd|th))"):
            self._day = _on(now, None, None, _nth(found[1]))
        return self._day is not None

    # Times of day

    def _take_time(self) -> bool:
        if self._times:
            return False
        before, found = self._rest, self._match(_TIME)
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
            time = _time(found)
            if time is None:
                self._rest = before
                return False
            self._midnight = self._midnight or found["word"] == "midnight"
            self._times.append(time)
            found = self._match(_MORE_TIMES)
        return True

    def _take_part(self) -> bool:
        found = None if self._part else self._match(_PART)
        if found is None:
            return False
        self._part = found[1]
        if self._day is None and "this" in found[0]:
            self._day = lambda time: _future(datetime.combine(self._now.date(), time), self._now)
        return True

    def _in_part(self, time: Time) -> Time:
        """Eight in the evening is at 20."""
        if self._part in ("afternoon", "evening", "night") and 1 <= time.hour < 12:
            return time.replace(hour=time.hour + 12)
        return time

    def _moment(self, time: Time) -> datetime:
        now = self._now
        if self._same_time and not (self._times or self._part):
            time = now.time().replace(microsecond=0)
        if self._midnight and self._day is not None:  # the one that ends that day
            return self._day(Time(23, 59)) + timedelta(minutes=1)
        if self._day is not None:
            return self._day(time)
        at = datetime.combine(now.date(), time)
        return at if at > now else at + timedelta(days=1)


def _time(found: re.Match[str]) -> Time | None:
    if found["word"]:
        return Time(0) if found["word"] == "midnight" else Time(12)
    hour = _number(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"] == "pm" else 0)
    minute = int(found["minute"] or 0)
    if hour > 23 or minute > 59 or (found["past"] and found["minute"]):
        return None
    if found["past"]:
        minute = _PAST[found["past"]]
        if found["way"] == "to":
            hour, minute = (hour - 1) % 24, 60 - minute
    return Time(hour, minute)


def _future(at: datetime, now: datetime) -> datetime:
    if at <= now:
        raise Impossible("when_past", time=f"{at:%Y-%m-%d %H:%M}")
    return at


def _weekday(ahead: int, later: bool, time: Time, now: datetime) -> datetime:
    at = datetime.combine(now.date() + timedelta(ahead), time)
    return at + timedelta(7) if at <= now or (later and not ahead) else at


def _month(word: str) -> int:
    return _MONTHS.index(word[:3]) + 1


def _year(word: str | None) -> int | None:
    return int(word) if word else None


def _ahead(day: Date, count: int, unit: str) -> Date:
    """A date so many days, weeks, months or years later; the last of a month that has no such day."""
    try:
        if unit in ("day", "week"):
            return day + timedelta(count * (7 if unit == "week" else 1))
        months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
        for last in (day.day, 30, 29, 28):
            if found := _date(months // 12, months % 12 + 1, last):
                return found
    except OverflowError:
        pass
    raise Impossible("when_too_far_to_reckon")


def _date(year: int, month: int, day: int) -> Date | None:
    try:
        return Date(year, month, day)
    except ValueError:
        return None


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
        found = [datetime.combine(one, time) for y, m in months if (one := _date(y, m, day))]
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


# What repeats -------------------------------------------------------------------------------------------------------

_Repeat = tuple[str, str, str] | Every | int | None
"""The last three fields of an expression (day of the month, month, weekday), or every so many days."""
_DAYS = rf"{_WEEKDAY}s?(?:{_AND}{_WEEKDAY}s?)*"


def _days(words: str) -> str:
    found = {WEEKDAYS.index(one[:3]) for one in re.findall(_WEEKDAY, words)}
    return ",".join(WEEKDAYS[one] for one in sorted(found))


def _span(found: re.Match[str], _: datetime) -> _Repeat:
    first, last = (WEEKDAYS.index(found[i][:3]) for i in (1, 2))
    if first < last:
        return "*", "*", f"{WEEKDAYS[first]}-{WEEKDAYS[last]}"
    return None


def _seconds(found: re.Match[str], _: datetime) -> _Repeat:
    seconds = _length(found[1])
    return Every(seconds) if seconds else None


def _spaced(count: str, unit: str) -> _Repeat:
    return (2 if count == "other" else _number(count)) * (7 if unit == "week" else 1) or None


def _monthly(found: re.Match[str], _: datetime) -> _Repeat:
    day = _nth(found[1])
    return (str(day), "*", "*") if 1 <= day <= 31 else None


def _yearly(day: str, month: str) -> _Repeat:
    number = _nth(day)
    return (str(number), _month_name(month), "*") if _date(2024, _month(month), number) else None


def _month_name(word: str) -> str:
    return _MONTHS[_month(word) - 1]


_YEARLY = r"(?:every year|yearly|annually|every)(?: on)? (?:the )?"
_REPEATS: Sequence[tuple[str, Callable[[re.Match[str], datetime], _Repeat]]] = [
    (r"hourly|every hour", lambda _, __: Every(3600)),
    (r"every minute", lambda _, __: Every(60)),
    (rf"every ({_NUMBER} ?(?:hours?|hrs?|h|minutes?|mins?|m))", _seconds),
    (r"every (half an hour|half hour|quarter of an hour)", _seconds),
    (
        r"(?:every|each) (?:single )?day|daily|(?:every|each) (?:morning|afternoon|evening|night)",
        lambda _, __: ("*", "*", "*"),
    ),
    (r"(?:every |each |on )?(?:weekdays?|working days?|workdays?)", lambda _, __: ("*", "*", "mon-fri")),
    (r"(?:every |each |on )?weekends?", lambda _, __: ("*", "*", "sat,sun")),
    (rf"every (other|{_NUMBER}) (day|week)s?", lambda f, _: _spaced(f[1], f[2])),
    (rf"every (other)(?= {_WEEKDAY}\b)", lambda f, _: _spaced(f[1], "week")),
    (rf"(?:every |on )?({_WEEKDAY}) ?(?:-|–|to) ?({_WEEKDAY})", _span),
    (rf"(?:every|each|weekly on|every week on) ({_DAYS})", lambda f, _: ("*", "*", _days(f[1]))),
    (rf"(?:on )?({_WEEKDAY}s(?:{_AND}{_WEEKDAY}s)*)", lambda f, _: ("*", "*", _days(f[1]))),
    (r"weekly|every week", lambda _, now: ("*", "*", WEEKDAYS[now.weekday()])),
    (rf"{_YEARLY}({_NTH})(?: of)? ({_MONTH})", lambda f, _: _yearly(f[1], f[2])),
    (rf"{_YEARLY}({_MONTH}) (?:the )?({_NTH})", lambda f, _: _yearly(f[2], f[1])),
    (
        r"(?:on )?the last day of (?:every|each|the) month|(?:monthly|every month) on the last day",
        lambda _, __: ("last", "*", "*"),
    ),
    (rf"(?:monthly|every month) on (?:the )?({_NTH})", _monthly),
    (rf"(?:on )?(?:the |every |day )({_NTH}) of (?:every|each|the) month", _monthly),
    (r"every (\d{1,2}(?:st|nd|rd|th))", _monthly),
    (r"monthly|every month", lambda _, now: (str(now.day), "*", "*")),
    (r"yearly|annually|every year", lambda _, now: (str(now.day), _MONTHS[now.month - 1], "*")),
]
