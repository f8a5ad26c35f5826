"""Reads the five fields of a cron expression, for the check of the configuration and for the reckoning of when it is due.

Weekdays are written by name, or by cron's numbers: 0 and 7 are Sunday. As in cron a rule that names days of the month and days of
the week is due on both; a field that begins with `*` names none. Besides, `last` is the last day of a month.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
LAST = 0  # among days of the month: the last one
EXAMPLE = "0 8 * * mon-fri"


class CronProblem(ValueError):
    """The expression can not be read: `what` is wrong, and what to write `instead`."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}; {instead}")
        self.what = what
        self.instead = instead


@dataclass(frozen=True, slots=True)
class Fields:
    """What an expression names, ascending. `weekdays` are cron's: 0 is Sunday. `days` may have LAST in front.

    `either` tells that one of the two kinds of day is enough. A rule that runs `through` is meant by the hour or the minute and
    not by the time of day: a day of 23 or 25 hours does not change its pace.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either: bool
    through: bool


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.first
        if not (
            text.isascii() and text.isdigit() and len(text) <= 2 and self.first <= int(text) <= self.last
        ):
            names = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
            raise CronProblem(f"'{text[:20]}' is no {self.name}", f"write {self.first} to {self.last}{names}")
        return int(text)

    def values(self, text: str) -> set[int]:
        """What a field names."""
        found: set[int] = set()
        for piece in text.split(","):
            if self.name == "day of the month" and piece.lower() == "last":
                found.add(LAST)
                continue
            span, slash, step = piece.partition("/")
            if slash and not (step.isascii() and step.isdigit() and len(step) <= 2 and int(step)):
                raise CronProblem(
                    f"'{piece[:20]}' has no step behind its /", "write a number there, such as */2"
                )
            found.update(self._span(span, open_ended=bool(slash))[:: int(step or 1)])
        return found

    def _span(self, span: str, *, open_ended: bool) -> list[int]:
        if span == "*":
            return list(range(self.first, self.last + 1))
        begin, hyphen, end = span.partition("-")
        first = self.number(begin)
        if not hyphen:
            return list(range(first, self.last + 1)) if open_ended else [first]
        last = self.number(end)
        if last >= first:
            return list(range(first, last + 1))
        if self.names is not _DAYS:
            two = f"{first}-{self.last},{self.first}-{last}"
            raise CronProblem(f"'{span[:20]}' ends before it begins", f"write two spans, such as {two}")
        return [*range(first, 7), *range(last + 1)]  # fri-mon


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


def parse(text: str) -> Fields:
    """The fields of an expression; raises `CronProblem`, also for a day that never comes."""
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise CronProblem(
            f"a cron expression has five fields, and this has {len(parts)}",
            f"write minute, hour, day of the month, month and day of the week, such as '{EXAMPLE}'",
        )
    minutes, hours, days, months, weekdays = (
        field.values(part) for field, part in zip(_FIELDS, parts, strict=True)
    )
    weekdays = {day % 7 for day in weekdays}
    either = not (parts[2].startswith("*") or parts[4].startswith("*"))
    # Leap years apart, every month has every weekday on every date in some year.
    if not either and not any(
        day <= (29 if month == 2 else monthrange(2001, month)[1]) for day in days for month in months
    ):
        raise CronProblem("there is no such day in these months", "name a day that comes, or `last`")
    return Fields(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        tuple(sorted(days)),
        tuple(sorted(months)),
        tuple(sorted(weekdays)),
        either,
        parts[0].startswith("*") or parts[1].startswith("*"),
    )
