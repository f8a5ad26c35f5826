"""Whatever people write, edit and whenever the process is killed: each turn stands in its file once, as it was said."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from memory.transcripts import (
    Known,
    Message,
    Place,
    Transcripts,
    TurnRecord,
    Written,
    escape,
    parse,
    unescape,
)

DETERMINISTIC = settings(deadline=None, derandomize=True, database=None)
DAY = date(2026, 11, 3)
NOON = 1793707200.0  # 2026-11-03 12:00:00 UTC
USER = "telegram-1001"
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
MARKS = [
    *(
        "## ",
        "##",
        "# ",
        "#",
        "---",
        "----",
        "- - -",
        "-",
        "***",
        "* * *",
        "_ _ _",
        "===",
        "=",
        "**user:** ",
        "**assistant:**",
    ),
    *(
        "**User:**",
        "## 12:00:00 UTC",
        "\\",
        "\\\\",
        " ",
        "   ",
        "\t",
        "\u00a0",
        "\u3000",
        "\x1f",
        "```",
        "> ",
        "\0",
        "·",
        '"',
    ),
    *("hi", "ſ", "ﬀ", "**uſer:**"),
]
PIECES = st.one_of(
    st.sampled_from(BREAKS), st.sampled_from(MARKS), st.text(st.characters(codec="utf-8"), max_size=4)
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
TITLES = st.one_of(TEXTS, st.text(max_size=10))
IDS = st.text(min_size=1, max_size=8)
PLACES = st.one_of(
    st.none(),
    st.builds(Place, st.just("telegram"), st.just("group"), IDS, TITLES, st.one_of(st.just(""), IDS)),
)
FEW_TEXTS = st.sampled_from(["hi", "hi", "", "\n", "**user:** hi\n\n", "ho\n## 12:00:00 UTC\n\n", "x" * 50])
FEW_PLACES = st.sampled_from([None, None, Place("telegram", "group", "-100123", "Book club")])


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@dataclass
class Books:
    """What the database holds: of the file, and of each conversation."""

    size: int | None = None
    sections: dict[int, tuple[str, int]] = field(default_factory=dict)

    def known(self, conversation: int) -> Known:
        heading, turns = self.sections.get(conversation, (None, 0))
        return Known(self.size, heading, turns, frozenset(heading for heading, _ in self.sections.values()))

    def mark(self, conversation: int, written: Written) -> None:
        self.size = written.size
        self.sections[conversation] = (written.heading, written.turns)

    def copy(self) -> Books:
        return Books(self.size, dict(self.sections))


@dataclass(frozen=True)
class Said:
    conversation: int
    second: int
    messages: tuple[Message, ...]


def said(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Said]:
    user = texts.map(lambda text: ("user", text))
    assistant = texts.map(lambda text: ("assistant", text))
    turn = st.tuples(st.lists(user, min_size=1, max_size=2), assistant).map(lambda t: (*t[0], t[1]))
    return st.builds(Said, st.integers(0, 3), st.integers(0, 2), turn)


def record(turn: Said, places: list[Place | None]) -> TurnRecord:
    return TurnRecord(USER, NOON + turn.second, "UTC", places[turn.conversation], turn.messages)


def write(transcripts: Transcripts, books: Books, turn: Said, places: list[Place | None]) -> Written:
    written = transcripts.write(record(turn, places), books.known(turn.conversation))
    books.mark(turn.conversation, written)
    return written


def assert_stands_once(
    transcripts: Transcripts, books: Books, turns: list[Said], places: list[Place | None]
) -> None:
    sections = {section.heading: section for section in transcripts.day(USER, DAY)}
    assert len(sections) == len(transcripts.day(USER, DAY)) == len(books.sections)
    for conversation, (heading, _) in books.sections.items():
        expected = tuple(m for turn in turns if turn.conversation == conversation for m in turn.messages)
        assert sections[heading].messages == expected
        assert sections[heading].place == places[conversation]
        assert sections[heading].stray == ""


@given(TEXTS)
@DETERMINISTIC
@example("\n## ")
@example("\n\\## ")
@example("\r\u3000\\\\---")
def test_escaping_is_undone_by_unescaping(text: str) -> None:
    assert unescape(escape(text)) == text


@given(st.lists(said(TEXTS), max_size=8), st.lists(PLACES, min_size=4, max_size=4))
@DETERMINISTIC
def test_interleaved_conversations_are_read_back_as_they_were_said(
    turns: list[Said], places: list[Place | None]
) -> None:
    with folder() as root:
        transcripts, books = Transcripts(root), Books()
        for turn in turns:
            write(transcripts, books, turn, places)
        assert_stands_once(transcripts, books, turns, places)


@given(st.lists(said(TEXTS), min_size=1, max_size=5), st.lists(PLACES, min_size=4, max_size=4))
@DETERMINISTIC
def test_a_strangers_parser_sees_our_headings_messages_and_separators_and_no_others(
    turns: list[Said], places: list[Place | None]
) -> None:
    with folder() as root:
        transcripts, books = Transcripts(root), Books()
        for turn in turns:
            write(transcripts, books, turn, places)
        text = transcripts.path(USER, DAY).read_bytes().decode()
        headings = {f"## {heading}" for heading, _ in books.sections.values()}
        messages = sum(len(turn.messages) for turn in turns)
        for lines in (text.split("\n"), text.splitlines()):
            for seen in (lines, [line.strip() for line in lines]):
                assert {
                    line for line in seen if line.startswith("#") and line[1:2] in {"#", " ", ""}
                } == headings
                assert (
                    sum(line.lower().startswith(("**user:**", "**assistant:**")) for line in seen) == messages
                )
                assert sum(line.startswith("---") for line in seen) == len(headings) - 1
                assert not any(set(line.strip()) == {"="} for line in seen)


@given(st.data())
@settings(DETERMINISTIC, max_examples=300)
def test_killed_at_any_byte_with_any_number_of_marks_lost_each_turn_stands_once(data: st.DataObject) -> None:
    """Turns are written in batches whose marks are committed together; each batch is killed some times before that."""
    places = data.draw(st.lists(FEW_PLACES, min_size=4, max_size=4))
    with folder() as root:
        transcripts, books = Transcripts(root), Books()
        path = transcripts.path(USER, DAY)
        turns: list[Said] = []
        for _ in range(data.draw(st.integers(1, 3), label="batches")):
            batch = data.draw(st.lists(said(FEW_TEXTS), min_size=1, max_size=4), label="batch")
            for reached in data.draw(st.lists(st.integers(1, len(batch)), max_size=2), label="kills"):
                lost = books.copy()
                before = b""
                for turn in batch[:reached]:
                    before = content(path)
                    write(transcripts, lost, turn, places)
                if content(path).startswith(before):  # an append may be torn, a rename not
                    cut = data.draw(st.integers(len(before), len(content(path))), label="cut")
                    os.truncate(path, cut)
                if data.draw(st.booleans(), label="restart"):
                    transcripts = Transcripts(root)
            for turn in batch:
                write(transcripts, books, turn, places)
            turns += batch
            assert_stands_once(transcripts, books, turns, places)


@given(st.lists(said(FEW_TEXTS), min_size=1, max_size=6), st.randoms())
@DETERMINISTIC
def test_retrying_in_another_order_than_the_first_one_writes_nothing_twice(
    turns: list[Said], random: object
) -> None:
    first = list({turn.conversation: turn for turn in turns}.values())
    places: list[Place | None] = [None, None, Place("telegram", "group", "-1", "x"), None]
    with folder() as root:
        transcripts, lost = Transcripts(root), Books()
        for turn in first:
            write(transcripts, lost, turn, places)
        whole = transcripts.path(USER, DAY).read_bytes()
        transcripts, books = Transcripts(root), Books()
        for turn in reversed(first):
            write(transcripts, books, turn, places)
        assert transcripts.path(USER, DAY).read_bytes() == whole


EDITS = st.one_of(
    st.sampled_from(
        [
            b"\n",
            b"---\n",
            b"## \n",
            b"## notes\n",
            b"**user:**",
            b"\xff\xfe",
            b"\r\n",
            b"\n\n\n---\n\n",
            b"text",
            b"\xef\xbb\xbf",
        ]
    ),
    st.binary(max_size=6),
)


@given(st.data())
@DETERMINISTIC
def test_a_file_edited_in_any_way_is_read_without_fault_and_the_next_write_loses_nothing_of_it(
    data: st.DataObject,
) -> None:
    places: list[Place | None] = [None, None, Place("telegram", "group", "-1", "x"), None]
    with folder() as root:
        transcripts, books = Transcripts(root), Books()
        for turn in data.draw(st.lists(said(FEW_TEXTS), max_size=4)):
            write(transcripts, books, turn, places)
        path = transcripts.path(USER, DAY)
        path.parent.mkdir(exist_ok=True)
        edited = content(path)
        for _ in range(data.draw(st.integers(1, 3))):
            start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(edited))] * 2)))
            edited = edited[:start] + data.draw(EDITS) + edited[stop:]
        path.write_bytes(edited)
        os.utime(path, ns=(0, 0))  # this edit came within the same tick of the file system's clock
        transcripts.day(USER, DAY)
        assert transcripts.raw(USER, DAY) == edited.decode("utf-8", "replace")

        new = Said(0, 2, (("user", "something new"), ("assistant", "\n## an answer")))
        written = write(transcripts, books, new, places)

        now = path.read_bytes()
        assert written.size == len(now)
        assert any(now.startswith(edited[:at]) and now.endswith(edited[at:]) for at in range(len(edited) + 1))
        assert [m for s in transcripts.day(USER, DAY) if s.heading == written.heading for m in s.messages][
            -2:
        ] == list(new.messages)


@given(st.lists(PIECES, max_size=30).map("".join))
@DETERMINISTIC
def test_reading_keeps_every_word_of_any_file(text: str) -> None:
    read = "".join(
        s.heading + s.stray + "".join(role + words for role, words in s.messages)
        for s in parse(text.encode())
    )
    assert all(word in read for word in ("hi", "ſ", "ﬀ") if word in text)


@given(
    st.one_of(
        st.binary(max_size=80),
        st.lists(st.one_of(PIECES.map(lambda text: text.encode()), EDITS), max_size=30).map(b"".join),
    )
)
@settings(DETERMINISTIC, max_examples=300)
def test_reading_keeps_all_words_of_any_bytes_in_their_order(data: bytes) -> None:
    read = " ".join(
        " ".join([s.heading, s.stray, *(f"{role}: {words}" for role, words in s.messages)])
        for s in parse(data)
    )
    assert re.findall(r"\w+", read.lower()) == re.findall(r"\w+", data.decode("utf-8", "replace").lower())
