"""Whatever is said, titled, typed in and done in whatever order: a file parses back to just that, and never breaks."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from memory.facts import Fact, Facts, escape, parse, unescape
from memory.transcripts import Place

DETERMINISTIC = settings(deadline=None, derandomize=True, database=None)
USER = "telegram-1001"
DAY = date(2026, 7, 14)

PIECES = st.one_of(
    st.sampled_from(
        [
            *(
                "\n",
                "\r",
                "\r\n",
                "\x0b",
                "\x0c",
                "\x1c",
                "\x85",
                "\u2028",
                "\u2029",
                "\t",
                " ",
                "\u00a0",
                "\u3000",
            ),
            *(
                "- ",
                "  - ",
                "* ",
                "1. ",
                "# ",
                "## ",
                "---",
                "> ",
                "```",
                "~~",
                "~",
                "~~~",
                "\\",
                "\\\\",
                "\\n",
                "\\u0041",
            ),
            *(
                "(2026-07-14)",
                " (2026-07-14",
                "(",
                ")",
                ", until 2026-08-01)",
                " (until 2026-08-01)",
                "2026-",
                "(0000-",
            ),
            *(
                ' · telegram group -1 "x"',
                " · ",
                '"',
                " topic 7",
                "\ufeff",
                "\u202e",
                "\u2066",
                "\\ud83d",
                "\0",
            ),
            *("I like tea", "ſ", "é", "茶"),
        ]
    ),
    st.text(max_size=4),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=10).map("".join).filter(lambda text: bool(text.strip()))
IDS = st.text(min_size=1, max_size=8)
PLACES = st.one_of(
    st.none(),
    st.builds(
        Place,
        st.just("telegram"),
        st.just("group"),
        IDS,
        st.one_of(st.just(""), TEXTS),
        st.one_of(st.just(""), IDS),
    ),
)
DATES = st.dates(min_value=date(1000, 1, 1))
FILES = st.lists(
    st.one_of(
        PIECES, st.sampled_from(["\n", "\n- ", "\n  - ~~", "~~ (2026-07-14, until 2026-08-01)\n", "\n\n"])
    ),
    max_size=30,
).map(lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass"))


def told(fact: Fact) -> tuple[object, ...]:
    return fact.text, fact.date, fact.place, fact.until, fact.valid


@DETERMINISTIC
@given(st.text())
@example("\\n\n\\\\u0041~~(2026-")
def test_any_text_comes_back_and_is_one_line(text: str) -> None:
    assert unescape(escape(text)) == text
    assert len(escape(text).splitlines()) <= 1


@DETERMINISTIC
@given(st.lists(st.tuples(TEXTS, DATES, PLACES), min_size=1, max_size=4))
@example([("x (2026-07-14)", DAY, Place("telegram", "group", "-1", 'a" (2026-01-01 · telegram group -1"'))])
@example([("~~x~~ (2026-07-14, until 2026-08-01)", DAY, None)])
def test_what_was_said_when_and_where_comes_back_exactly(said: list[tuple[str, date, Place | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        facts = Facts(Path(folder))
        expected: list[tuple[object, ...]] = []
        keys = set()
        for text, day, place in said:
            facts.add(USER, text, day, place)
            key = (text, place and (place.platform, place.chat_id))
            if key not in keys:
                expected.append((text, day, place, None, True))
            keys.add(key)
        assert [told(fact) for fact in facts.read(USER)] == expected
        assert len({fact.raw for fact in facts.read(USER)}) == len(expected)


@DETERMINISTIC
@given(TEXTS, TEXTS, TEXTS, PLACES, PLACES)
def test_a_trace_says_exactly_what_was_so_and_until_when(
    first: str, second: str, third: str, before: Place | None, after: Place | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        facts, later = Facts(Path(folder)), date(2026, 8, 1)
        facts.add(USER, first, DAY, before)
        old = facts.read(USER)
        facts.add(USER, second, later, after, old)
        found = [told(fact) for fact in facts.read(USER)]
        if (first, before) == (second, after):
            assert found == [(first, DAY, before, None, True)]
        elif first != second:
            assert found == [(second, later, after, None, True), (first, DAY, before, later, False)]
        facts.retire(USER, facts.read(USER), later)
        assert all(not fact.valid for fact in facts.read(USER))
        facts.add(USER, third, later, None)
        facts.forget(USER, facts.read(USER))
        assert facts.read(USER) == []


@DETERMINISTIC
@given(FILES, TEXTS, PLACES, st.integers(min_value=0, max_value=5))
def test_whatever_a_file_holds_a_new_fact_joins_it_and_nothing_else_changes(
    held: bytes, text: str, place: Place | None, chosen: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        facts = Facts(Path(folder))
        path = facts.path(USER)
        path.parent.mkdir()
        path.write_bytes(held)
        before = facts.read(USER)
        facts.add(USER, text, DAY, place)
        after = facts.read(USER)
        new = [fact for fact in after if fact.text == text and fact.valid]
        assert new
        assert [told(fact) for fact in after if fact not in new] == [
            told(fact) for fact in before if fact.text != text or not fact.valid
        ]
        for line in held.split(b"\n"):
            assert line in path.read_bytes()
        victims = after[chosen : chosen + 1]
        facts.forget(USER, victims)
        left = facts.read(USER)
        assert not {fact.said for fact in victims} & {fact.said for fact in left}


@DETERMINISTIC
@given(st.binary(max_size=200))
def test_no_file_breaks_the_reading(data: bytes) -> None:
    for fact in parse(data):
        assert fact.raw.strip()
        assert len(fact.id) == 5
