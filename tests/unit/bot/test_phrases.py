"""A time and what is to be said then: told apart, or refused where a part of the time would be left in what is to be said."""

# ruff: noqa: DTZ001, SIM905 - clocks on a wall have no zone, and lists of words are read as one line

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.phrases import split
from bot.when import Impossible

NOW = datetime(2026, 11, 25, 14, 30)  # a Wednesday

PHRASES = [
    "in 20 minutes",
    "tomorrow at 9",
    "every weekday at 8:30",
    "on friday evening",
    "at 17:00",
    "every 2 hours",
]
texts = st.lists(
    st.sampled_from("tea call mum the plants 30 eggs Ida's cake – now? ship".split()), min_size=1, max_size=8
)


@given(
    st.sampled_from(PHRASES),
    texts,
    st.sampled_from(["", "to ", "that ", ": ", ", "]),
    st.sampled_from(["", "me "]),
)
def test_a_time_in_front_is_told_from_what_is_to_be_said(
    phrase: str, words: list[str], join: str, me: str
) -> None:
    text = " ".join(["go", *words])
    gap = "" if join[:1] in (":", ",") else " "
    assert split(f"{me}{phrase}{gap}{join}{text}", NOW) == (phrase, text)


@given(st.sampled_from(PHRASES), texts, st.sampled_from(["", "to ", "me to "]))
def test_a_time_behind_is_told_from_what_is_to_be_said(phrase: str, words: list[str], join: str) -> None:
    text = " ".join(["go", *words]).rstrip(" –")
    assert split(f"{join}{text} {phrase}", NOW) == (phrase, text)


def test_an_end_may_stand_behind_what_is_to_be_said() -> None:
    assert split("every day at 9 stretch until friday", NOW) == ("every day at 9 until friday", "stretch")
    assert split("tomorrow at 9 wait until friday", NOW) == ("tomorrow at 9", "wait until friday")
    assert split("every day at 9 wait until it rains", NOW) == ("every day at 9", "wait until it rains")


@pytest.mark.parametrize(
    "text",
    [
        "sunday 31/12/2026 at 2:30 foo",
        "tomorrow 2026-13-40 foo",
        "tomorrow march 32 foo",
        "tomorrow at 9 at 10 foo",
        "friday 17:00ish foo",
        "12/31/2026 foo at 9",
        "every day at 9 starting friday foo",
        "every day at 9 from friday foo",
        "every day at 9 until friday until saturday foo",
        "every hour between 9 and 17 foo",
        "every hour from 9 to 17 foo",
        "every day except sunday at 9 foo",
        "every monday at 9 and friday at 10 foo",
        "monday, wednesday and friday at 9 foo",
        "friday or monday foo",
        "monday week foo",
        "at 9 and 10 foo",
        "at 5 30 foo",
        "at nine thirty foo",
        "in 1h 30 foo",
        "in 2 days and 3 hours foo",
        "in 20 minutes until friday foo",
        "tomorrow 21 foo",
        "2026-12-05 9 foo",
        "tomorrow at 9 UTC foo",
        "foo last friday at 9",
        "foo a week from monday",
        "foo twice a day at 9",
        "foo starting friday every day at 9",
        "foo every day except sunday",
        "foo in 5 minutes at 9",
        "foo at 9 at 10",
        "foo 5.3. at 10:00",
        "foo UTC tomorrow at 9",
    ],
)
def test_what_is_left_and_looks_like_a_time_was_meant_as_one(text: str) -> None:
    with pytest.raises(Impossible) as caught:
        split(text, NOW)
    assert caught.value.key == "when_left"


@pytest.mark.parametrize(
    ("text", "unclear"),
    [
        ("every month on the last friday at 17:00 pay", "on the last friday"),
        ("every month on the first monday at 9 pay", "on the first monday"),
        ("every year on the last sunday of march foo", "on the last sunday"),
        ("every tuesday in december at 9 foo", "in december"),
        ("every friday except holidays at 5 foo", "except holidays"),
        ("friday at 9 every week foo", "every week"),
        ("every day at 9 for two weeks take pills", "for two weeks"),
        ("every day at 8 twice a week foo", "twice a week"),
        ("tomorrow after 17:00 call bob", "after 17:00"),
        ("every last friday at 9 foo", "every last friday"),
        ("every day at 9 only on school days foo", "only on school"),
        ("buy 2 tickets for 8 may", "for 8 may"),
        ("book a table for tomorrow", "for tomorrow"),
        ("pay the rent by friday", "by friday"),
        ("move the meeting to tomorrow at 9", "to tomorrow at 9"),
        ("foo every tuesday in december at 9", "in december at 9"),
        ("foo every friday except holidays at 5", "except holidays at 5"),
        ("pay every month on the last friday at 17:00", "last friday at 17:00"),
        ("presents 12/24 at 6pm", "12/24 at 6pm"),
        ("12/24 at 6pm presents", "12/24"),
        ("call bob tommorow at 9", "tommorow at 9"),
        ("tommorow at 9 call bob", "tommorow"),
        ("tommorow call bob", "tommorow"),
        ("at 9 wensday call bob", "wensday"),
        ("in 5 mintues tea", "in 5 mintues"),
        ("every munday at 9 foo", "every munday"),
        ("every hour on the hour drink", "on the hour"),
    ],
)
def test_what_of_a_time_is_not_understood_is_quoted(text: str, unclear: str) -> None:
    with pytest.raises(Impossible) as caught:
        split(text, NOW)
    assert caught.value.values == {"phrase": unclear}


@pytest.mark.parametrize("words", ["2 eggs", "50% of it", "may I", "3.141 is pi", "march on", "2 o clocks"])
def test_what_is_to_be_said_may_begin_with_a_number(words: str) -> None:
    assert split(f"tomorrow at 9 {words}", NOW) == ("tomorrow at 9", words)


@pytest.mark.parametrize(
    ("asked", "phrase", "words"),
    [
        ("tomorrow: friday report", "tomorrow", "friday report"),
        ("tomorrow to do friday's report", "tomorrow", "do friday's report"),
        ("tomorrow at 9: 30 eggs", "tomorrow at 9", "30 eggs"),
        ("at 17:00 20 squats", "at 17:00", "20 squats"),
        ("at 17:00 time to go", "at 17:00", "time to go"),
        ("every day at 8 an hour of yoga", "every day at 8", "an hour of yoga"),
        ("tomorrow at 9 and bring cake", "tomorrow at 9", "and bring cake"),
        ("turn the oven on at 17:00", "at 17:00", "turn the oven on"),
        ("do this tomorrow", "tomorrow", "do this"),
        ("water every plant tomorrow at 9", "tomorrow at 9", "water every plant"),
        ("call room 9 tomorrow", "tomorrow", "call room 9"),
        ("tomorrow at 9 to book the table for friday", "tomorrow at 9", "book the table for friday"),
        (
            "tomorrow at 9 book the table for friday at 17:00",
            "tomorrow at 9",
            "book the table for friday at 17:00",
        ),
        ("tomorrow at 9 friday's report", "tomorrow at 9", "friday's report"),
        ("tomorrow at 9 on the way home buy milk", "tomorrow at 9", "on the way home buy milk"),
        ("tomorrow at 9 last chance to pay", "tomorrow at 9", "last chance to pay"),
        ("every day at 9 for 20 minutes stretch", "every day at 9", "for 20 minutes stretch"),
        ("at 17:00 not to forget milk", "at 17:00", "not to forget milk"),
        ("tomorrow: buy 2 tickets for 8 may", "tomorrow", "buy 2 tickets for 8 may"),
        ("turn the light on tomorrow", "tomorrow", "turn the light on"),
        ("call augusta at 9", "at 9", "call augusta"),
        ("2026-12-24T18:00 presents", "2026-12-24T18:00", "presents"),
        ("20m tea", "in 20m", "tea"),
        ("1h30m: tea", "in 1h30m", "tea"),
        ("5 minutes of yoga at 17:00", "at 17:00", "5 minutes of yoga"),
        ("every second friday pay", "every second friday", "pay"),
        ("in 999999 years make tea", "in 999999 years", "make tea"),
        (
            "tomorrow at 9 pay what was owed until 31.12.2020",
            "tomorrow at 9",
            "pay what was owed until 31.12.2020",
        ),
    ],
)
def test_what_is_to_be_said_may_speak_of_times(asked: str, phrase: str, words: str) -> None:
    assert split(asked, NOW) == (phrase, words)


def test_why_a_time_can_not_be_is_known_where_a_text_follows() -> None:
    assert split("yesterday at 9 tea", NOW) == ("yesterday at 9", "tea")
    assert split("at 25:00 tea", NOW) == ("at 25:00", "tea")
    assert split("pay 25.99 tomorrow", NOW) == ("tomorrow", "pay 25.99")


def test_without_a_time_there_is_nothing_to_tell_apart() -> None:
    assert split("buy milk", NOW) is None
    assert split("", NOW) is None
    assert split("in 20 minutes", NOW) == ("in 20 minutes", "")


@given(
    st.text(st.sampled_from("0123456789:.,- atinoneverydaymfu@/"), max_size=60) | st.text(max_size=200),
    st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1)),
)
def test_nothing_that_people_write_breaks_it(text: str, now: datetime) -> None:
    with suppress(Impossible):
        split(text, now)
