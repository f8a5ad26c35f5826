"""Days that have been, in plain English: "yesterday", "last Friday", "two weeks ago", "3 May". `when` has those to come."""

from __future__ import annotations

import re
from datetime import date as Date  # noqa: N812 - `date` makes one
from datetime import timedelta

from bot.vocabulary import MONTH, NTH, NUMBER, WEEKDAYS, date, month, nth, number

_DAY = (
    r"(?P<iso>\d{4}-\d\d-\d\d)"
    r"|(?P<yesterday>(?<!before )yesterday|last (?:night|evening))"
    r"|(?P<today>today|tonight|this (?:morning|afternoon|evening))"
    r"|(?:the )?(?P<before>day before yesterday)"
    rf"|(?P<count>{NUMBER}) (?P<unit>day|week)s? ago"
    r"|(?:last |this )?(?P<weekday>(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
    rf"|(?:the )?(?P<nth>{NTH})(?: of)? (?P<month>{MONTH})(?:,? (?P<year>\d{{4}}))?"
    rf"|(?P<month_>{MONTH}) (?:the )?(?P<nth_>{NTH})(?:,? (?P<year_>\d{{4}}))?"
)
_ONE = re.compile(rf"\b(?:{_DAY})\b", re.IGNORECASE)
_ANY = re.compile(
    rf"\b(?:(?:on|from|since|until|to|between|and) )?(?:{_DAY})\b"
    r"|\b(?:(?:in|over|during|within) the |this |last )(?:last |past )?(?:day|week|month|year)s?\b"
    r"|\b(?:before|earlier|last time|so far|recently|lately)(?=\W*$)",
    re.IGNORECASE,
)


def mentioned(text: str, today: Date) -> list[str]:
    """The days that a text speaks of, each once, oldest first: `today`, `yesterday` or an ISO date."""
    found = {day: word for one in _ONE.finditer(text) for day, word in _meant(one, today)}
    return [found[day] for day in sorted(found)]


def day(text: str, today: Date) -> Date | None:
    """The day that a text is, and nothing else."""
    found = _ONE.fullmatch(text.strip().removeprefix("on "))
    return next((day for day, _ in _meant(found, today)), None) if found else None


def without(text: str) -> str:
    """The text without what it says of days."""
    return _ANY.sub(" ", text)


def _meant(found: re.Match[str], today: Date) -> list[tuple[Date, str]]:
    """The day, and how it is written; none if no calendar has it."""
    if found["today"]:
        return [(today, "today")]
    if found["yesterday"]:
        return [(today - timedelta(1), "yesterday")]
    try:
        day = _reckoned(found, today)
    except (ValueError, OverflowError):
        return []
    return [(day, str(day))] if day else []


def _reckoned(found: re.Match[str], today: Date) -> Date | None:
    if found["iso"]:
        return Date.fromisoformat(found["iso"])
    if found["before"]:
        return today - timedelta(2)
    if found["count"]:
        return today - timedelta(
            number(found["count"].lower()) * (7 if found["unit"].lower() == "week" else 1)
        )
    if found["weekday"]:
        back = (today.weekday() - WEEKDAYS.index(found["weekday"][:3].lower())) % 7
        return today - timedelta(back or 7)
    name, day = month((found["month"] or found["month_"]).lower()), nth(found["nth"] or found["nth_"])
    if year := found["year"] or found["year_"]:
        return date(int(year), name, day)
    dates = (
        date(today.year - back, name, day) for back in range(9)
    )  # the 29th of February may be that long ago
    return next((one for one in dates if one and one <= today), None)
