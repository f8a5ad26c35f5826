"""Whatever people ask, write and do to their files: nobody finds another's words, and everybody finds their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from memory.index import Index
from memory.transcripts import Known, Place, Transcripts, TurnRecord, parse

DETERMINISTIC = settings(deadline=None, derandomize=True, database=None, max_examples=60)
NOON = 1793707200.0  # 2026-11-03 12:00:00 UTC
DAY = 86_400.0
FIRST = date(2026, 11, 3)
ANNA, BEN = "telegram-1001", "telegram-1002"
CLUB = Place("telegram", "group", "-100123", "Book club")
LIKE_THE_CLUB = [
    Place("slack", "group", "-100123", "Book club"),
    Place("telegram", "group", "-1001234", "Book club"),
    Place("telegram", "group", "-100123\u200b"),
    Place("telegram", "group", "-１００123"),
]

WORDS = st.sampled_from(
    ["zebra", "okapi", "Zebra,", "the", "東京", "ภาษา", "café", "\n## ", "**user:** ", "---", "\0", "x" * 40]
)
TEXTS = st.lists(WORDS, max_size=5).map(" ".join)
_SYNTAX = """AND|OR|NOT|NEAR(|NEAR(zebra okapi, 9)|"|*|^|-|:|{|}|(|)|stems :|text:|rowid:1|rank MATCH 'bm25(0)'|%|_|z*|"zebra|\
'; DROP TABLE units; --|telegram-1002|../telegram-1002|user_id=telegram-1002|2026-11-03|ｚｅｂｒａ|z\u200bebra|zebr\u0430|\ud800|\
\U000e0041|\u202ezebra"""
SYNTAX = st.sampled_from(_SYNTAX.split("|"))
QUERIES = st.lists(st.one_of(SYNTAX, WORDS, st.text(max_size=5)), max_size=6).map(" ".join)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def turn(user: str, texts: tuple[str, str], place: Place | None, day: int, second: int) -> TurnRecord:
    return TurnRecord(
        user, NOON + day * DAY + second, "UTC", place, (("user", texts[0]), ("assistant", texts[1]))
    )


@given(
    st.lists(st.tuples(TEXTS, st.integers(0, 3)), min_size=1, max_size=6),
    st.lists(TEXTS, min_size=1, max_size=4),
    QUERIES,
)
@DETERMINISTIC
@example([("zebra", 0)], ["zebra"], 'zebra" OR rowid:1 OR "')
def test_no_query_gives_another_persons_words(
    theirs: list[tuple[str, int]], mine: list[str], query: str
) -> None:
    with folder() as root:
        transcripts = Transcripts(root / "memory")
        for second, (text, day) in enumerate(theirs):
            transcripts.write(turn(BEN, (f"{text} planted{second}", "planted"), None, day, second), Known())
        for second, text in enumerate(mine):
            transcripts.write(turn(ANNA, (text, "mine"), None, 0, second), Known())
        with closing(Index(root / "index", transcripts)) as index:
            index.refresh(BEN)
            for asked in (query, f"{query} planted", f'"planted" {query}', f"plant* {query}"):
                for one in index.search([ANNA], asked, limit=100):
                    assert one.user_id == ANNA
                    words = "\n".join([one.text, *(text for _, text in (*one.before, *one.after))])
                    assert "planted" not in words


@given(
    st.lists(
        st.tuples(TEXTS, st.sampled_from([None, CLUB, *LIKE_THE_CLUB]), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    QUERIES,
)
@DETERMINISTIC
def test_where_only_one_chat_counts_nothing_of_another_and_nothing_private_is_given(
    said: list[tuple[str, Place | None, int]], query: str
) -> None:
    with folder() as root:
        transcripts = Transcripts(root / "memory")
        for second, (text, place, day) in enumerate(said):
            mark = "public" if place == CLUB else "hidden"
            transcripts.write(turn(ANNA, (f"{text} {mark}", mark), place, day, second), Known())
        with closing(Index(root / "index", transcripts)) as index:
            for asked in (query, f"{query} hidden public", f'{query} "hidden"', f"{query} hidd*"):
                for one in index.search([ANNA], asked, allowed=lambda place: place == CLUB, limit=100):
                    assert one.place == CLUB
                    assert "hidden" not in "\n".join([one.text, *(t for _, t in (*one.before, *one.after))])
            some = index.search([ANNA], "public", allowed=lambda place: place == CLUB, limit=100)
            assert bool(some) == any(place == CLUB for _, place, _ in said)


EDITS = st.one_of(
    st.sampled_from(
        [b"\n", b"---\n", b"## \n", b"## notes\n", b"**user:** zebra\n\n", b"\xff\xfe", b"\r\n", b"okapi"]
    ),
    st.binary(max_size=6),
)


@given(st.data())
@DETERMINISTIC
def test_after_any_changes_search_finds_what_an_index_made_anew_finds(data: st.DataObject) -> None:
    with folder() as root:
        transcripts = Transcripts(root / "memory")
        with closing(Index(root / "index", transcripts)) as index:
            for second in range(data.draw(st.integers(1, 8), label="steps")):
                day = data.draw(st.integers(0, 2), label="day")
                path = transcripts.path(ANNA, FIRST + timedelta(days=day))
                match data.draw(st.sampled_from(["write", "edit", "delete", "search", "tidy"]), label="step"):
                    case "write":
                        texts = data.draw(st.tuples(TEXTS, TEXTS))
                        place = data.draw(st.sampled_from([None, CLUB]))
                        transcripts.write(turn(ANNA, texts, place, day, second), Known())
                    case "edit":
                        path.parent.mkdir(parents=True, exist_ok=True)
                        was = path.read_bytes() if path.exists() else b""
                        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(was))] * 2)))
                        path.write_bytes(was[:start] + data.draw(EDITS) + was[stop:])
                    case "delete":
                        path.unlink(missing_ok=True)
                    case "search":
                        index.search([ANNA], "zebra")
                    case "tidy":
                        index.refresh(ANNA)
            with closing(Index(root / "anew", transcripts)) as anew:
                for query in ("zebra okapi", '"zebra"', "okap*", "東京", "the", "x"):
                    assert found(index, query) == found(anew, query)


def found(index: Index, query: str) -> list[tuple[object, ...]]:
    passages = index.search([ANNA], query, limit=1000)
    return sorted(
        (round(one.score, 6), str(one.date), one.heading, one.role, one.text, one.before, one.after)
        for one in passages
    )


@given(
    st.one_of(
        st.binary(max_size=200), st.lists(WORDS, max_size=12).map(lambda words: "\n".join(words).encode())
    )
)
@DETERMINISTIC
@example(b"\xef\xbb\xbf## zebra\r\n\r\n**USER:** okapi")
@example(b'## 12:00:00 UTC \xc2\xb7 telegram group %ff "\\ud800"\n\n**user:** zebra\n\n')
def test_any_file_can_be_indexed_and_what_stands_in_it_is_found(content: bytes) -> None:
    with folder() as root:
        transcripts = Transcripts(root / "memory")
        path = transcripts.path(ANNA, FIRST)
        path.parent.mkdir(parents=True)
        path.write_bytes(content + b"\nmarmalade\n")
        with closing(Index(root / "index", transcripts)) as index:
            assert any("marmalade" in one.text for one in index.search([ANNA], "marmalade"))
            texts = [text for section in parse(path.read_bytes()) for _, text in section.messages]
            for animal in ("zebra", "okapi"):
                if any(animal in text.lower() for text in texts):
                    assert any(animal in one.text.lower() for one in index.search([ANNA], f'"{animal}"'))


@given(QUERIES, st.integers(0, 100_000))
@DETERMINISTIC
@example('"' * 100_000, 0)
@example("(" * 100_000, 0)
@example("東" * 100_000, 0)
@example("zebra* " * 20_000, 0)
@example("\0" * 100_000, 0)
def test_no_query_is_refused_however_long(query: str, times: int) -> None:
    with folder() as root:
        transcripts = Transcripts(root / "memory")
        transcripts.write(turn(ANNA, ("zebra", "yes"), None, 0, 0), Known())
        with closing(Index(root / "index", transcripts)) as index:
            index.search([ANNA], query)
            index.search([ANNA], f"zebra {query * (times // max(1, len(query)))}")
