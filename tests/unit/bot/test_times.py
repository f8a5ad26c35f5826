"""Moments and rules in words, and clocks that are changed: against what a calendar and the words themselves say."""

# ruff: noqa: DTZ001 - clocks on a wall have no zone

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import times, triggers, when
from bot.triggers import DAY, Cron, Every, Once, Trigger
from tests.fakes.clock import at

VIENNA = "Europe/Vienna"
ZONES = ["UTC", VIENNA, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NOW = datetime(2026, 11, 25, 14, 30)


def test_a_moment_is_told_with_its_weekday_date_time_and_zone() -> None:
    assert (
        times.moment(at("2026-11-27 09:00", VIENNA), VIENNA) == "Friday 2026-11-27 at 09:00 (Europe/Vienna)"
    )
    assert times.moment(at("2026-11-27 09:00"), "No/Where") == "Friday 2026-11-27 at 09:00 (UTC)"


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (Once(at("2026-11-27 09:00", VIENNA)), "Friday 2026-11-27 at 09:00 (Europe/Vienna)"),
        (Every(1200, 0), "every 20 minutes"),
        (Every(90, 0), "every 1.5 minutes"),
        (Every(3600, 0), "every hour"),
        (Every(7200, 0), "every 2 hours"),
        (Every(DAY, at("2026-11-27 09:00", VIENNA)), "every day at 09:00"),
        (Every(3 * DAY, at("2026-11-27 09:00", VIENNA)), "every 3 days at 09:00"),
        (Every(7 * DAY, at("2026-11-27 09:00", VIENNA)), "every Friday at 09:00"),
        (Every(14 * DAY, at("2026-11-27 09:00", VIENNA)), "every 2 weeks on Friday at 09:00"),
        (Cron("30 8 * * *"), "every day at 08:30"),
        (Cron("0 8,20 * * *"), "every day at 08:00 and 20:00"),
        (Cron("30 8 * * mon-fri"), "every weekday at 08:30"),
        (Cron("30 8 * * fri-mon"), "every Monday, Friday, Saturday and Sunday at 08:30"),
        (Cron("30 8 15 * *"), "on day 15 of every month at 08:30"),
        (Cron("30 8 last * *"), "on the last day of every month at 08:30"),
        (Cron("0 9 24 dec *"), "every year on 24 December at 09:00"),
        (Cron("*/30 8-18 * * mon-fri"), "by the rule `*/30 8-18 * * mon-fri`"),
        (Cron("* * * * *"), "every minute"),
        (Cron("*/15 * * * *"), "every 15 minutes"),
        (Cron("0 * * * *"), "every hour"),
        (Cron("*/25 * * * *"), "by the rule `*/25 * * * *`"),
        (Cron("0 9 13 * fri"), "by the rule `0 9 13 * fri`"),
        (Cron("0 9 1,15 * *"), "by the rule `0 9 1,15 * *`"),
        (Cron("0 9 * mar *"), "by the rule `0 9 * mar *`"),
    ],
)
def test_a_rule_is_told_in_words_that_say_all_of_it(trigger: Trigger, words: str) -> None:
    assert times.rule(trigger, VIENNA) == words


clocks = st.tuples(st.integers(0, 23), st.integers(0, 59))
crons = st.one_of(
    st.just("* * *"),
    st.just("* * mon-fri"),
    st.sets(st.sampled_from(WEEKDAYS), min_size=1).map(lambda days: f"* * {','.join(days)}"),
    st.integers(1, 31).map(lambda day: f"{day} * *"),
    st.just("last * *"),
    st.tuples(st.integers(1, 28), st.sampled_from(["jan", "may", "dec"])).map(lambda d: f"{d[0]} {d[1]} *"),
)


@given(clocks, crons, st.sampled_from(ZONES))
def test_the_words_of_a_rule_are_read_back_as_a_rule_that_is_due_when_it_is(
    clock: tuple[int, int], days: str, zone: str
) -> None:
    trigger = Cron(f"{clock[1]} {clock[0]} {days}")
    phrase = when.parse(times.rule(trigger, zone), NOW)
    assert phrase is not None
    assert isinstance(phrase.when, when.Rule)
    begin = times.moments(trigger, zone, at("2026-11-25 14:30"), None, 8)
    assert times.moments(Cron(phrase.when.cron), zone, at("2026-11-25 14:30"), None, 8) == begin


@given(st.integers(1, 100), st.sampled_from([60, 3600]))
def test_the_words_of_a_span_are_read_back_as_that_span(count: int, unit: int) -> None:
    assert when.parse(times.rule(Every(count * unit, 0), "UTC"), NOW) == when.Phrase(
        when.Interval(count * unit)
    ) or (count * unit % DAY == 0)


# Clocks that are changed


def test_a_time_that_is_skipped_is_right_after_the_gap_and_is_told() -> None:
    shown = datetime(2027, 3, 28, 2, 30)
    assert times.instant(shown, VIENNA) == (at("2027-03-28 03:00", VIENNA), "when_gap")


def test_a_time_that_comes_twice_is_the_first_one_unless_the_second_is_meant() -> None:
    shown = datetime(2026, 10, 25, 2, 30)
    summer = shown.replace(tzinfo=ZoneInfo(VIENNA)).timestamp()
    assert times.instant(shown, VIENNA) == (summer, "when_twice")
    assert times.instant(shown.replace(fold=1), VIENNA) == (summer + 3600, "")


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)), st.sampled_from(ZONES))
def test_any_other_time_is_when_the_clock_there_shows_it(shown: datetime, zone: str) -> None:
    shown = shown.replace(microsecond=0)
    found, note = times.instant(shown, zone)
    offset = datetime.fromtimestamp(found, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    if note == "when_gap":
        assert times.clock(found, zone) > shown
        assert times.clock(found - 1, zone) < shown
    else:
        assert datetime(1970, 1, 1) + timedelta(seconds=found) + offset == shown


# How often


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["0", "0,30", "*/20", "5-7", "59", "0,59", "*"]),
    st.sampled_from(["8", "0,23", "*", "8-18", "*/6", "23"]),
    st.sampled_from(["* * *", "* * mon", "* * mon,tue", "1,15 * *", "1,15,16 * *", "* feb *", "13 * fri"]),
)
def test_the_shortest_time_between_two_firings_is_found_without_going_through_them(
    minutes: str, hours: str, days: str
) -> None:
    trigger = Cron(f"{minutes} {hours} {days}")
    first = triggers.next_after(trigger, "UTC", at("2026-01-31 12:00"))
    assert first is not None
    firings = times.moments(trigger, "UTC", first, first + 800 * DAY, 3000)
    walked = min((later - earlier for earlier, later in pairwise(firings)), default=float("inf"))
    assert min(times.shortest_gap(trigger, "UTC", first), DAY) == min(walked, DAY)


def test_what_is_due_once_or_every_so_often_needs_no_search() -> None:
    assert times.shortest_gap(Once(0), "UTC", 0) == float("inf")
    assert times.shortest_gap(Every(60, 0), "UTC", 0) == 60
