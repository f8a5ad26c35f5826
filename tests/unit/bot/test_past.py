"""A day that has been is the last one of which the words are true."""

from __future__ import annotations

from datetime import date

import pytest

from bot.past import day, mentioned, without

TODAY = date(2026, 11, 25)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("what did we talk about?", []),
        ("yesterday, what did we talk about?", ["yesterday"]),
        ("what did we say last night", ["yesterday"]),
        ("and this morning?", ["today"]),
        ("the day before yesterday", ["2026-11-23"]),
        ("two days ago", ["2026-11-23"]),
        ("a week ago", ["2026-11-18"]),
        ("on Monday", ["2026-11-23"]),
        ("last Friday", ["2026-11-20"]),
        ("on wednesday", ["2026-11-18"]),
        ("on 2026-11-20", ["2026-11-20"]),
        ("between 2026-11-20 and 2026-11-01", ["2026-11-01", "2026-11-20"]),
        ("from Monday to today", ["2026-11-23", "today"]),
        ("on November 20", ["2026-11-20"]),
        ("on the 3rd of December", ["2025-12-03"]),
        ("on 29 February", ["2024-02-29"]),
        ("20 November 2024", ["2024-11-20"]),
        ("on 2026-02-31 or 31 February or 999999 weeks ago", []),
    ],
)
def test_a_day_is_found_in_a_text(text: str, days: list[str]) -> None:
    assert mentioned(text, TODAY) == days


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("on Friday", date(2026, 11, 20)),
        (" two days ago ", date(2026, 11, 23)),
        ("20 November", date(2026, 11, 20)),
        ("Friday tea", None),
        ("from Monday to Friday", None),
        ("2026-02-31", None),
        ("", None),
    ],
)
def test_a_text_is_a_day_if_it_is_nothing_else(text: str, meant: date | None) -> None:
    assert day(text, TODAY) == meant


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("tea on Monday", "tea"),
        ("tea between 2026-11-01 and yesterday", "tea"),
        ("last week", ""),
        ("tea in the last month", "tea"),
        ("the day before yesterday", ""),
        ("tea before", "tea"),
        ("the mayor", "the mayor"),
    ],
)
def test_a_text_is_told_from_its_days(text: str, rest: str) -> None:
    assert without(text).strip() == rest
