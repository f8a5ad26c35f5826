"""Times in plain English: what is understood is the moment that a calendar gives, and the rest is not understood at all.

The expectations come from walking through the days, and not from the arithmetic of the parser.
"""

# ruff: noqa: DTZ001, SIM905 - clocks on a wall have no zone, and lists of words are read as one line

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot import triggers
from bot.triggers import Cron
from bot.when import After, Impossible, Interval, Moment, Phrase, Rule, parse

NOW = datetime(2026, 11, 25, 14, 30)  # a Wednesday
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MONTHS = "january february march april may june july august september october november december".split()
HOURS = ["twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]

nows = st.datetimes(datetime(2024, 1, 1), datetime(2031, 12, 31)).map(lambda now: now.replace(microsecond=0))
times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
Day = tuple[str, Callable[[datetime], bool]]


@st.composite
def clocks(draw: st.DrawFn) -> tuple[str, time]:
    """A time of day, as people write it."""
    at = draw(times)
    half = "am" if at.hour < 12 else "pm"
    forms = [f"at {at:%H:%M}", f"{at:%H:%M}", f"at {at.hour}.{at.minute:02}", f"@{at:%H:%M}"]
    forms += [f"{at.hour % 12 or 12}:{at.minute:02} {half}", f"at {at.hour % 12 or 12}:{at.minute:02}{half}"]
    if at.minute == 0:
        forms += [f"at {at.hour}", f"at {at.hour} o'clock", f"{at.hour % 12 or 12}{half}"]
        forms += [f"at {HOURS[at.hour % 12]} {half[0]}.m."]
    if at.minute == 30:
        forms += [f"at half past {at.hour}"]
    if at == time(12):
        forms += ["noon", "at midday"]
    return draw(st.sampled_from(forms)), at


@st.composite
def days(draw: st.DrawFn) -> Day:
    """A day, as people write it, and which days it may be."""
    weekday, month = draw(st.integers(0, 6)), draw(st.integers(1, 12))
    number = draw(st.integers(1, 28))
    nth = f"{number}{ {1: 'st', 2: 'nd', 3: 'rd', 21: 'st', 22: 'nd', 23: 'rd'}.get(number, 'th') }"
    name = MONTHS[month - 1]

    def on_weekday(day: datetime) -> bool:
        return day.weekday() == weekday

    def on_date(day: datetime) -> bool:
        return (day.month, day.day) == (month, number)

    forms: list[Day] = [
        (f"{word}{WEEKDAYS[weekday]}", on_weekday) for word in ("", "on ", "this ", "coming ")
    ]
    forms += [(f"on {WEEKDAYS[weekday][:3]}", on_weekday)]
    forms += [(form, on_date) for form in (f"{number} {name}", f"on the {nth} of {name}", f"{name} {nth}")]
    forms += [(f"on {name[:3]} {number}", on_date), (f"on the {nth}", lambda day: day.day == number)]
    return draw(st.sampled_from(forms))


def first(now: datetime, at: time, fits: Callable[[datetime], bool]) -> datetime:
    """The first moment after now, at that time of a day that fits: found by looking at one day after the other."""
    day = now.replace(hour=at.hour, minute=at.minute, second=0)
    while not (day > now and fits(day)):
        day += timedelta(days=1)
    return day


@given(nows, clocks(), days(), st.booleans())
@example(NOW, ("at 12", time(12)), ("on friday", lambda day: day.weekday() == 4), True)
def test_a_day_and_a_time_are_the_first_such_moment_that_is_still_to_come(
    now: datetime, clock: tuple[str, time], day: Day, day_first: bool
) -> None:
    words = [day[0], clock[0]] if day_first else [clock[0], day[0]]
    assert parse(" ".join(words), now) == Phrase(Moment(first(now, clock[1], day[1])))


@given(nows, clocks())
def test_a_time_alone_is_the_next_one_by_the_clock(now: datetime, clock: tuple[str, time]) -> None:
    assert parse(clock[0], now) == Phrase(Moment(first(now, clock[1], lambda day: True)))


@given(nows, clocks(), st.sampled_from([("tomorrow", 1), ("the day after tomorrow", 2), ("in 3 days", 3)]))
def test_days_ahead_are_counted_from_today(
    now: datetime, clock: tuple[str, time], ahead: tuple[str, int]
) -> None:
    meant = datetime.combine(now.date() + timedelta(days=ahead[1]), clock[1])
    assert parse(f"{ahead[0]} {clock[0]}", now) == Phrase(Moment(meant))


@given(nows, clocks(), st.dates(datetime(2024, 1, 1).date(), datetime(2032, 1, 1).date()))
def test_a_date_with_its_year_is_that_date_or_has_passed(
    now: datetime, clock: tuple[str, time], date: datetime
) -> None:
    meant = datetime.combine(date, clock[1])
    name = MONTHS[date.month - 1]
    for words in (
        f"{date}",
        f"{date:%d.%m.%Y}",
        f"{date.day} {name} {date.year}",
        f"{name} {date.day}, {date.year}",
    ):
        if meant > now:
            assert parse(f"{words} {clock[0]}", now) == Phrase(Moment(meant))
        else:
            with pytest.raises(Impossible) as caught:
                parse(f"{words} {clock[0]}", now)
            assert caught.value.key == "when_past"


@given(nows, st.integers(1, 10_000), st.sampled_from(["second", "minute", "hour"]))
def test_a_delay_is_that_many_seconds(now: datetime, count: int, unit: str) -> None:
    seconds = count * {"second": 1, "minute": 60, "hour": 3600}[unit]
    plural = "" if count == 1 else "s"
    assert parse(f"in {count} {unit}{plural}", now) == Phrase(After(seconds))
    assert parse(f"{count} {unit}{plural} from now", now) == Phrase(After(seconds))


# What repeats


def due(fields: str, now: datetime) -> Iterator[datetime]:
    """When a cron expression is due after now, where the clocks are never changed."""
    at: float | None = (now - datetime(1970, 1, 1)).total_seconds()
    while at is not None:
        at = triggers.next_after(Cron(fields), "UTC", at)
        if at is not None:
            yield datetime(1970, 1, 1) + timedelta(seconds=at)


@st.composite
def rules(draw: st.DrawFn) -> Day:
    """What is done again and again, as people write it, and on which days."""
    chosen = sorted(draw(st.sets(st.integers(0, 6), min_size=1, max_size=4)))
    names = [WEEKDAYS[one] for one in chosen]
    listed = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    month, number = draw(st.integers(1, 12)), draw(st.integers(1, 28))

    def on_chosen(day: datetime) -> bool:
        return day.weekday() in chosen

    forms: list[Day] = [(form, lambda day: True) for form in ("every day", "daily", "each day")]
    forms += [
        (form, lambda day: day.weekday() < 5) for form in ("every weekday", "weekdays", "monday to friday")
    ]
    forms += [(form, lambda day: day.weekday() > 4) for form in ("every weekend", "on weekends")]
    forms += [(form, on_chosen) for form in (f"every {listed}", f"weekly on {listed}")]
    forms += [(f"{listed.replace('day', 'days')}", on_chosen)]
    forms += [
        (form, lambda day: day.day == number)
        for form in (f"monthly on the {number}th", f"on day {number} of every month", f"every {number}th")
    ]
    forms += [("on the last day of every month", lambda day: (day + timedelta(days=1)).day == 1)]
    forms += [
        (form, lambda day: (day.month, day.day) == (month, number))
        for form in (f"every {number} {MONTHS[month - 1]}", f"yearly on {MONTHS[month - 1]} {number}")
    ]
    return draw(st.sampled_from(forms))


@given(nows, rules(), clocks(), st.booleans())
def test_a_rule_is_due_on_its_days_at_its_time_and_on_no_other(
    now: datetime, rule: Day, clock: tuple[str, time], time_first: bool
) -> None:
    words = [clock[0], rule[0]] if time_first else [rule[0], clock[0]]
    phrase = parse(" ".join(words), now)
    assert phrase is not None
    assert isinstance(phrase.when, Rule)
    moment = now
    for found in islice(due(phrase.when.cron, now), 5):
        moment = first(moment, clock[1], rule[1])
        assert found == moment


@given(nows, clocks(), st.integers(2, 9))
def test_every_few_days_begins_at_the_next_such_time(
    now: datetime, clock: tuple[str, time], count: int
) -> None:
    begin = first(now, clock[1], lambda day: True)
    assert parse(f"every {count} days {clock[0]}", now) == Phrase(Interval(count * 86400, begin))
    on_friday = first(now, clock[1], lambda day: day.weekday() == 4)
    assert parse(f"every {count} weeks on friday {clock[0]}", now) == Phrase(
        Interval(count * 604800, on_friday)
    )


@given(nows, rules(), st.dates(datetime(2032, 1, 1).date(), datetime(2040, 1, 1).date()))
def test_what_repeats_may_have_an_end(now: datetime, rule: Day, last: datetime) -> None:
    plain = parse(rule[0], now)
    assert plain is not None
    whole = datetime.combine(last, time(23, 59, 59))
    assert parse(f"{rule[0]} until {last}", now) == Phrase(plain.when, whole)
    assert parse(f"{rule[0]} till {last} at 17:00", now) == Phrase(
        plain.when, whole.replace(hour=17, minute=0, second=0)
    )


@pytest.mark.parametrize(
    ("phrase", "meant"),
    [
        ("in an hour", After(3600)),
        ("in half an hour", After(1800)),
        ("in 1 hour and 30 minutes", After(5400)),
        ("in 1h30m", After(5400)),
        ("in two hours", After(7200)),
        ("in twenty-five minutes", After(1500)),
        ("in fifty five minutes", After(3300)),
        ("in a couple of hours", After(7200)),
        ("next week", Moment(datetime(2026, 12, 2, 14, 30))),
        ("next month at 9", Moment(datetime(2026, 12, 25, 9))),
        ("in 1 hour, 20 minutes", After(4800)),
        ("in 1 hour & 20 minutes", After(4800)),
        ("\u200fin 20\u200e minutes\u202c", After(1200)),
        ("tonight", Moment(datetime(2026, 11, 25, 20))),
        ("tonight at 8", Moment(datetime(2026, 11, 25, 20))),
        ("tonight at 12", Moment(datetime(2026, 11, 26))),
        ("tonight at 1", Moment(datetime(2026, 11, 26, 1))),
        ("tonight at 3am", Moment(datetime(2026, 11, 26, 3))),
        ("tonight at 11pm", Moment(datetime(2026, 11, 25, 23))),
        ("friday night at 1", Moment(datetime(2026, 11, 28, 1))),
        ("tomorrow evening at 12", Moment(datetime(2026, 11, 27))),
        ("tomorrow afternoon at 12", Moment(datetime(2026, 11, 26, 12))),
        ("every night at 2", Rule("0 2 * * *")),
        ("every night at 12", Rule("0 0 * * *")),
        ("every evening at 11am", Rule("0 11 * * *")),
        ("at 5 o'clock pm", Moment(datetime(2026, 11, 25, 17))),
        ("weds at 9", Moment(datetime(2026, 12, 2, 9))),
        ("every mon, wed & fri at 9", Rule("0 9 * * mon,wed,fri")),
        ("every day at 9 & 17", Rule("0 9,17 * * *")),
        ("tomorrow at nine", Moment(datetime(2026, 11, 26, 9))),
        ("tomorrow", Moment(datetime(2026, 11, 26, 9))),
        ("tomorrow evening at 7", Moment(datetime(2026, 11, 26, 19))),
        ("at 9 in the evening", Moment(datetime(2026, 11, 25, 21))),
        ("at quarter to 5 pm", Moment(datetime(2026, 11, 25, 16, 45))),
        ("today at midnight", Moment(datetime(2026, 11, 26))),
        ("friday at midnight", Moment(datetime(2026, 11, 28))),
        ("next wednesday at 16:00", Moment(datetime(2026, 12, 2, 16))),
        ("wednesday at 16:00", Moment(datetime(2026, 11, 25, 16))),
        ("sunday 2027-03-28 at 2:30", Moment(datetime(2027, 3, 28, 2, 30))),
        ("on sunday, the 28th of march 2027 at 2:30", Moment(datetime(2027, 3, 28, 2, 30))),
        ("2027-03-28, sunday, at 2:30", Moment(datetime(2027, 3, 28, 2, 30))),
        ("28 March 2027 at 2:30", Moment(datetime(2027, 3, 28, 2, 30))),
        ("last day of the month at 18:00", Rule("0 18 last * *")),
        ("in 3 days", Moment(datetime(2026, 11, 28, 14, 30))),
        ("a week from now", Moment(datetime(2026, 12, 2, 14, 30))),
        ("in 3 months", Moment(datetime(2027, 2, 25, 14, 30))),
        ("on 29 february at 12:00", Moment(datetime(2028, 2, 29, 12))),
        ("every 20 minutes", Interval(1200)),
        ("hourly", Interval(3600)),
        ("every other friday", Interval(1209600, datetime(2026, 11, 27, 9))),
        ("every 3 days starting monday at 7:00", Interval(259200, datetime(2026, 11, 30, 7))),
        ("daily at 8 and 20", Rule("0 8,20 * * *")),
        ("every evening", Rule("0 20 * * *")),
        ("weekly", Rule("0 9 * * wed")),
        ("every weekday at 8:30", Rule("30 8 * * mon-fri")),
    ],
)
def test_the_usual_ways_to_say_it(phrase: str, meant: object) -> None:
    assert parse(phrase, NOW) == Phrase(meant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "phrase",
    "bananas, , tomorrow bananas, at 25 elm street, 25, ratio 9:60, at 9 at 10, today tomorrow, 5, in 0 minutes, in minutes, "
    "every, every bananas, every 0 minutes, in 20 minutes until 5, tomorrow until friday, until friday, every day until bananas, "
    "every day in 3 days, every 20 minutes at 9, at half past 9:30, in 5 minutes at 9, friday to monday at 8, "
    "every friday at midnight, every friday night at 1, every day starting, weekend, "
    "in 999999 years bananas, bananas until yesterday".split(", "),
)
def test_what_is_not_understood_whole_is_not_understood_at_all(phrase: str) -> None:
    assert parse(phrase, NOW) is None


@pytest.mark.parametrize(
    ("phrase", "why"),
    [
        ("today at 8", "when_past"),
        ("2026-11-24 at 8", "when_past"),
        ("31 february", "when_no_such_date"),
        ("2027-02-29", "when_no_such_date"),
        ("in 999999 months", "when_too_far_to_reckon"),
        ("every day at 8:00 and 9:30", "when_times_differ"),
        ("yesterday at 9", "when_past"),
        ("wednesday 2026-11-18 at 9", "when_past"),
        ("sunday 2026-11-27 at 2:30", "when_other_weekday"),
        ("27 november, sunday", "when_other_weekday"),
        ("at 25", "when_no_such_time"),
        ("at 24:00", "when_no_such_time"),
        ("tomorrow at 9 and 9:60", "when_no_such_time"),
        ("9:60", "when_no_such_time"),
        ("at 13 pm", "when_no_such_time"),
    ],
)
def test_what_can_not_be_is_told(phrase: str, why: str) -> None:
    with pytest.raises(Impossible) as caught:
        parse(phrase, NOW)
    assert caught.value.key == why


@given(
    st.text(st.sampled_from("0123456789:.,- atinoneverydaymfu@"), max_size=60) | st.text(max_size=200), nows
)
def test_nothing_that_people_write_breaks_it(text: str, now: datetime) -> None:
    try:
        found = parse(text, now)
        if found is not None and isinstance(found.when, Moment):
            assert found.when.at > now
    except Impossible:
        pass
