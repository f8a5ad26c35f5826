"""When things are due: the arithmetic against another program's, and against a clock read minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from bot import quiet, triggers
from bot.triggers import Cron, Every, Once
from config.cron import CronProblem, parse
from tests.fakes.clock import at

ZONES = [
    "Europe/Vienna",  # changes at 01:00 UTC
    "America/New_York",  # at 02:00 local time
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kolkata",  # never, and is half an hour off
    "Africa/Casablanca",  # around Ramadan, twice a year more
    "America/St_Johns",
    "UTC",
]
EXPRESSIONS = [
    "30 8 * * mon-fri",
    "0 0 * * *",
    "30 2 * * *",
    "15 1 * * sun",
    "0,30 1-3 * * *",
    "0 9 1,15 * 3",
    "0 9 1-7 * */2",
    "10 2 */5 * *",
    "0 18 L * *",
    "0 12 */2 * mon",
    "*/7 3 * * 6",
    "5 * * * 1",
    "*/15 * * * 0",
    "0 */2 * * 7",
    "0 0 29 2 *",
    "59 23 31 dec *",
]


def theirs(expression: str, zone: str, begin: float, end: float) -> list[float]:
    """Times by cronsim, which does as Debian's cron; a time that it gives twice is one."""
    found: list[float] = []
    for time in CronSim(expression, datetime.fromtimestamp(begin, ZoneInfo(zone))):
        if time.timestamp() > end:
            break
        if not found or time.timestamp() > found[-1]:
            found.append(time.timestamp())
    return found


def ours(expression: str, zone: str, begin: float, end: float) -> list[float]:
    trigger, found = Cron(expression.replace("L", "last")), []
    time = triggers.next_after(trigger, zone, begin)
    while time is not None and time <= end:
        found.append(time)
        time = triggers.next_after(trigger, zone, time)
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_year_of_every_rule_is_as_debians_cron_has_it(expression: str, zone: str) -> None:
    begin, end = at("2026-01-01 00:00", zone), at("2027-01-02 00:00", zone)
    found = ours(expression, zone, begin, end)
    if (expression, zone) == ("0 */2 * * 7", "Australia/Lord_Howe"):
        # cronsim loses the hour that begins behind a change by half an hour; the clock itself tells
        wanted = by_the_clock(expression, zone, begin, end)
    else:
        wanted = theirs(expression, zone, begin, end)
    assert found == wanted


def by_the_clock(expression: str, zone: str, begin: float, end: float) -> list[float]:
    """Times of a rule that runs through the hours, by reading the clock at each minute."""
    fields, found, time = parse(expression), [], datetime.fromtimestamp(begin, UTC)
    while time.timestamp() <= end:
        time += timedelta(minutes=1)
        local = time.astimezone(ZoneInfo(zone))
        if (
            local.minute in fields.minutes
            and local.hour in fields.hours
            and local.isoweekday() % 7 in fields.weekdays
        ):
            found.append(time.timestamp())
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "day", "times"),
    [
        ("30 2 * * *", "Europe/Vienna", "2026-03-29", ["03:00+0200"]),  # skipped: right after the gap
        ("30 2 * * *", "Europe/Vienna", "2026-10-25", ["02:30+0200"]),  # repeated: the first time
        ("0,30 2 * * *", "America/New_York", "2026-03-08", ["03:00-0400"]),  # both are skipped: once
        ("0 2,3 * * *", "America/New_York", "2026-03-08", ["03:00-0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["02:30+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["01:45+1100"]),
        ("*/30 2 * * *", "Europe/Vienna", "2026-10-25", ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]),
        ("0 * 25 10 *", "Europe/Vienna", "2026-10-25", [
            *(f"{hour:02}:00+0200" for hour in range(3)), *(f"{hour:02}:00+0100" for hour in range(2, 24)),
        ]),
    ],
)  # fmt: skip
def test_changes_of_the_clock(expression: str, zone: str, day: str, times: list[str]) -> None:
    found = ours(expression, zone, at(f"{day} 00:00", zone) - 1, at(f"{day} 23:59", zone))
    assert [f"{datetime.fromtimestamp(time, ZoneInfo(zone)):%H:%M%z}" for time in found] == times


@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(ZONES),
    st.floats(at("2026-01-01 00:00"), at("2027-01-01 00:00")),
)
def test_the_next_time_is_always_later_and_nothing_lies_between(
    expression: str, zone: str, after: float
) -> None:
    trigger = Cron(expression.replace("L", "last"))
    due = triggers.next_after(trigger, zone, after)
    assert due is not None
    assert due > after
    for between in (after + (due - after) / 3, due - 0.001):
        if after <= between < due:
            assert triggers.next_after(trigger, zone, between) == due


@given(st.integers(1, 10**7), st.floats(0, 2e9), st.floats(0, 2e9))
def test_an_interval_is_always_later_than_before(seconds: int, anchor: float, after: float) -> None:
    due = triggers.next_after(Every(seconds, anchor), "Europe/Vienna", after)
    assert due is not None
    assert due > after
    again = triggers.next_after(Every(seconds, anchor), "Europe/Vienna", due)
    assert again is not None
    assert again > due


def test_whole_days_keep_the_time_of_day_and_seconds_do_not() -> None:
    anchor = at("2026-03-28 09:00", "Europe/Vienna")
    assert triggers.next_after(Every(86400, anchor), "Europe/Vienna", anchor) == at(
        "2026-03-29 09:00", "Europe/Vienna"
    )
    assert triggers.next_after(Every(7200, anchor), "Europe/Vienna", anchor + 86400 - 1) == anchor + 86400


def test_once_is_once() -> None:
    assert triggers.next_after(Once(5.5), "UTC", 5.0) == 5.5
    assert triggers.next_after(Once(5.5), "UTC", 5.5) is None


@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), st.integers(0, 40 * 86400))
def test_the_last_time_before_now_is_the_one_that_is_followed_by_a_later_one(
    expression: str, zone: str, away: int
) -> None:
    trigger = Cron(expression.replace("L", "last"))
    since = triggers.next_after(trigger, zone, at("2026-03-01 00:00"))
    assert since is not None
    until = since + away
    last, following = triggers.last_and_next(trigger, zone, since, until)
    assert following == triggers.next_after(trigger, zone, last)
    assert since <= last <= until
    assert following is not None
    assert following > until


@pytest.mark.parametrize("trigger", [Once(1.5), Every(60, 0.5), Cron("0 8 * * mon")])
def test_a_trigger_is_read_back_as_it_was(trigger: triggers.Trigger) -> None:
    assert triggers.load(triggers.dump(trigger)) == trigger


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "never"}', '{"kind": "once"}', "null"])
def test_what_is_no_trigger_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        triggers.load(text)


def test_weekday_numbers_are_crons() -> None:
    assert parse("0 8 * * 1").weekdays == parse("0 8 * * mon").weekdays == (1,)
    assert parse("0 8 * * 0").weekdays == parse("0 8 * * 7").weekdays == parse("0 8 * * sun").weekdays == (0,)
    assert parse("0 8 * * fri-mon").weekdays == (0, 1, 5, 6)


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8", "a * * * *",
     "1- * * * *", "*/0 * * * *", "*/x * * * *", "1-5/ * * * *", "5-1 * * * *", "0 0 31 4 *", "0 0 30 feb *", "², * * * *",
     "-1 * * * *", "1,,2 * * * *", "* * * jan-mar-may *", "* * last/2 * *", "@daily", "0 0 * * mon#2", "1e1 * * * *"],
)  # fmt: skip
def test_what_is_no_expression_is_told_what_to_write(text: str) -> None:
    with pytest.raises(CronProblem) as caught:
        parse(text)
    assert caught.value.what
    assert caught.value.instead


# Quiet hours


@pytest.mark.parametrize(
    ("hours", "now", "ends"),
    [
        ("22:00-07:00", "2026-03-02 23:00", "2026-03-03 07:00"),
        ("22:00-07:00", "2026-03-03 06:59", "2026-03-03 07:00"),
        ("22:00-07:00", "2026-03-03 07:00", None),
        ("22:00-07:00", "2026-03-02 21:59", None),
        ("22:00-07:00", "2026-03-02 22:00", "2026-03-03 07:00"),
        ("13:00-15:00", "2026-03-02 14:00", "2026-03-02 15:00"),
        ("13:00-15:00", "2026-03-02 15:00", None),
        ("22:00-02:30", "2026-03-28 23:00", "2026-03-29 03:00"),  # the end is skipped
        ("", "2026-03-02 23:00", None),
        ("nonsense", "2026-03-02 23:00", None),
    ],
)
def test_quiet_hours_end(hours: str, now: str, ends: str | None) -> None:
    zone = "Europe/Vienna"
    assert quiet.until(hours, zone, at(now, zone)) == (ends and at(ends, zone))


def test_quiet_hours_as_people_write_them() -> None:
    for text in ("22-7", "22:00-07:00", " 22 – 7:00 "):
        hours = quiet.parse(text)
        assert hours is not None
        assert quiet.written(*hours) == "22:00-07:00"
    for text in ("", "22", "25-7", "22:60-7", "7-7", "22-7-8"):
        assert quiet.parse(text) is None
