"""The words of `bot.when`: numbers, names, clocks, and what repeats, as patterns of plain English in lower case."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date as Date  # noqa: N812 - `date` and `time` are names of what is read
from datetime import datetime, timedelta
from datetime import time as Time  # noqa: N812

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ONES = "zero one two three four five six seven eight nine".split()  # noqa: SIM905 - reads better
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # noqa: SIM905
_TENS = dict(enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2))  # noqa: SIM905 - reads better
_NUMBERS = (
    {name: number for number, name in enumerate(_ONES + _TEENS)}
    | {name: 10 * tens for tens, name in _TENS.items()}
    | {
        f"{name}{sign}{_ONES[ones]}": 10 * tens + ones
        for tens, name in _TENS.items()
        for sign in "- "
        for ones in range(1, 10)
    }
    | {"a": 1, "an": 1, "a couple of": 2}
)
NUMBER = rf"(?:\d{{1,6}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
WEEKDAY = r"(?:mon|tues?|wed(?:nes|s)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?"
_WEEKDAYS = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days"
NTH = r"\d{1,2}(?:st|nd|rd|th)?"
_AND = r"(?:, (?:and )?| and | & )"


def number(word: str) -> int:
    """What `NUMBER` has found."""
    return int(word) if word.isdecimal() else _NUMBERS[word]


def nth(word: str) -> int:
    """What `NTH` has found."""
    return int(re.match(r"\d+", word)[0])  # type: ignore[index]  # it is one by the pattern that found it


_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LENGTH = re.compile(
    rf"({NUMBER}) ?(h|m|s|hours?|hrs?|minutes?|mins?|seconds?|secs?)(?=,| |\d|$)(?:{_AND}| )?"
)
_FIXED = {
    "half an hour": 1800,
    "a half hour": 1800,
    "half hour": 1800,
    "a quarter of an hour": 900,
    "quarter of an hour": 900,
    "an hour and a half": 5400,
    "one and a half hours": 5400,
}


def delay(words: str) -> int:
    """The seconds of "in 1 hour and 20 minutes"; 0 if it is something else."""
    if words.startswith("in "):
        return _length(words[3:])
    return _length(words.removesuffix(" from now")) if words.endswith(" from now") else 0


def _length(words: str) -> int:
    if words in _FIXED:
        return _FIXED[words]
    position = seconds = 0
    while found := _LENGTH.match(words, position):
        seconds += number(found[1]) * _SECONDS[found[2][0]]
        position = found.end()
    return seconds if position == len(words) else 0


def month(word: str) -> int:
    """What `MONTH` has found: 1 to 12."""
    return _MONTHS.index(word[:3]) + 1


def date(year: int, month: int, day: int) -> Date | None:
    """That date; None if no calendar has it."""
    try:
        return Date(year, month, day)
    except ValueError:
        return None


# Times of day ------------------------------------------------------------------------------------------------------

_CLOCK = (
    r"(?:(?P<word>noon|midday|midnight)"
    r"|(?:(?P<past>half|quarter|ten|five|twenty) (?P<way>past|to) )?"
    rf"(?P<hour>\d{{1,2}}|{'|'.join(list(_NUMBERS)[1:13])})(?:[:.](?P<minute>\d\d))?"
    r"(?P<sharp> o'?clock)?(?: ?(?P<half>am|pm))?)(?![\w:.%])"
)
TIME = re.compile(rf"(?P<at>at |@ ?)?{_CLOCK}")
MORE_TIMES = re.compile(rf"{_AND}(?P<at>at )?{_CLOCK}")
PART = re.compile(r"(?:in the |at |this |on the )?(morning|afternoon|evening|night)\b")
HOURS = {"morning": Time(9), "afternoon": Time(15), "evening": Time(20), "night": Time(20)}
_PAST = {"half": 30, "quarter": 15, "ten": 10, "five": 5, "twenty": 20}


def time_of_day(found: re.Match[str]) -> Time | None:
    """What `TIME` or `MORE_TIMES` has found; None if no clock shows it."""
    if found["word"]:
        return Time(0) if found["word"] == "midnight" else Time(12)
    hour = number(found["hour"])
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


# What repeats -------------------------------------------------------------------------------------------------------

Repeat = tuple[str, str, str] | timedelta | int | None
"""The last three fields of a cron expression (day of the month, month, weekday), a span of real time, or so many days."""
_DAYS = rf"{WEEKDAY}s?(?:{_AND}{WEEKDAY}s?)*"


def _days(words: str) -> str:
    found = {WEEKDAYS.index(one[:3]) for one in re.findall(WEEKDAY, words)}
    return ",".join(WEEKDAYS[one] for one in sorted(found))


def _span(found: re.Match[str], _: datetime) -> Repeat:
    first, last = (WEEKDAYS.index(found[i][:3]) for i in (1, 2))
    if first < last:
        return "*", "*", f"{WEEKDAYS[first]}-{WEEKDAYS[last]}"
    return None


def _seconds(found: re.Match[str], _: datetime) -> Repeat:
    seconds = _length(found[1])
    return timedelta(seconds=seconds) if seconds else None


def _spaced(count: str, unit: str) -> Repeat:
    return (2 if count in ("other", "second") else number(count)) * (7 if unit == "week" else 1) or None


def _monthly(found: re.Match[str], _: datetime) -> Repeat:
    day = nth(found[1])
    return (str(day), "*", "*") if 1 <= day <= 31 else None


def _yearly(day: str, name: str) -> Repeat:
    in_month = month(name)
    return (str(nth(day)), _MONTHS[in_month - 1], "*") if date(2024, in_month, nth(day)) else None


_YEARLY = r"(?:every year|yearly|annually|every)(?: on)? (?:the )?"
REPEATS: Sequence[tuple[str, Callable[[re.Match[str], datetime], Repeat]]] = [
    (r"hourly|every hour", lambda _, __: timedelta(hours=1)),
    (r"every minute", lambda _, __: timedelta(minutes=1)),
    (rf"every ({NUMBER} ?(?:hours?|hrs?|h|minutes?|mins?|m))", _seconds),
    (r"every (half an hour|half hour|quarter of an hour)", _seconds),
    (
        r"(?:every|each) (?:single )?day|daily|(?:every|each) (?:morning|afternoon|evening|night)",
        lambda _, __: ("*", "*", "*"),
    ),
    (
        r"(?:every|each) (?:weekday|working day|workday)|(?:every |each |on )?(?:weekdays|working days|workdays)",
        lambda _, __: ("*", "*", "mon-fri"),
    ),
    (r"(?:every|each) weekend|(?:every |each |on )?weekends", lambda _, __: ("*", "*", "sat,sun")),
    (rf"every (other|second|{NUMBER}) (day|week)s?", lambda f, _: _spaced(f[1], f[2])),
    (rf"every (other|second)(?= {WEEKDAY}\b)", lambda f, _: _spaced(f[1], "week")),
    (rf"(?:every |on )?({WEEKDAY}) ?(?:-|–|to) ?({WEEKDAY})", _span),
    (rf"(?:every|each|weekly on|every week on) ({_DAYS})", lambda f, _: ("*", "*", _days(f[1]))),
    (rf"(?:on )?({_WEEKDAYS}(?:{_AND}{_WEEKDAYS})*)", lambda f, _: ("*", "*", _days(f[1]))),
    (r"weekly|every week", lambda _, now: ("*", "*", WEEKDAYS[now.weekday()])),
    (rf"{_YEARLY}({NTH})(?: of)? ({MONTH})", lambda f, _: _yearly(f[1], f[2])),
    (rf"{_YEARLY}({MONTH}) (?:the )?({NTH})", lambda f, _: _yearly(f[2], f[1])),
    (
        r"(?:on )?(?:the )?last day of (?:every|each|the) month|(?:monthly|every month) on the last day",
        lambda _, __: ("last", "*", "*"),
    ),
    (rf"(?:monthly|every month) on (?:the )?({NTH})", _monthly),
    (rf"(?:on )?(?:the |every |day )({NTH}) of (?:every|each|the) month", _monthly),
    (r"every (\d{1,2}(?:st|nd|rd|th))", _monthly),
    (r"monthly|every month", lambda _, now: (str(now.day), "*", "*")),
    (r"yearly|annually|every year", lambda _, now: (str(now.day), _MONTHS[now.month - 1], "*")),
]
