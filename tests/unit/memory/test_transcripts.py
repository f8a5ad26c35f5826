"""The transcripts as people see them on disk, and what a write does in each situation."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from memory.transcripts import Known, Place, Transcripts, TurnRecord, Written, parse

AFTERNOON = 1793714602.0  # 2026-11-03 14:03:22 UTC
DAY = date(2026, 11, 3)
ANNA = "telegram-1001"
CLUB = Place("telegram", "group", "-100123", "Book club")


@pytest.fixture
def transcripts(tmp_path: Path) -> Transcripts:
    return Transcripts(tmp_path / "memory")


def turn(
    said: str = "hi",
    answered: str = "ho",
    *,
    at: float = AFTERNOON,
    timezone: str = "UTC",
    place: Place | None = None,
    user_id: str = ANNA,
) -> TurnRecord:
    return TurnRecord(user_id, at, timezone, place, (("user", said), ("assistant", answered)))


def after(*written: Written) -> Known:
    """What the database knows once these were marked; the last one is of the conversation that asks."""
    last = written[-1]
    return Known(last.size, last.heading, last.turns, frozenset(w.heading for w in written))


def elsewhere(*written: Written) -> Known:
    """What it knows for a conversation that has no section yet."""
    return Known(written[-1].size, taken=frozenset(w.heading for w in written))


def test_a_file_reads_as_the_contract_shows_it(transcripts: Transcripts) -> None:
    first = transcripts.write(turn("My name is Anna.", "Nice to meet you, Anna."), Known())
    transcripts.write(turn("Hello all", "Hello", at=AFTERNOON + 4002, place=CLUB), elsewhere(first))

    assert transcripts.path(ANNA, DAY).read_text() == (
        "## 14:03:22 UTC\n\n"
        "**user:** My name is Anna.\n\n"
        "**assistant:** Nice to meet you, Anna.\n\n"
        "---\n\n"
        '## 15:10:04 UTC · telegram group -100123 "Book club"\n\n'
        "**user:** Hello all\n\n"
        "**assistant:** Hello\n\n"
    )


def test_folders_and_files_are_for_their_owner_alone(transcripts: Transcripts) -> None:
    path = transcripts.write(turn(), Known()).path

    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


def test_date_and_time_are_those_of_the_persons_zone(transcripts: Transcripts) -> None:
    tokyo = transcripts.write(turn(at=AFTERNOON + 7200, timezone="Asia/Tokyo"), Known())
    sao_paulo = transcripts.write(turn(timezone="America/Sao_Paulo"), Known())

    assert (tokyo.path.name, tokyo.heading) == ("2026-11-04.md", "01:03:22 JST")
    assert (sao_paulo.path.name, sao_paulo.heading) == ("2026-11-03.md", "11:03:22 -03")


@pytest.mark.parametrize("timezone", ["", "Mars/Olympus", "../etc/passwd", "Europe", "\0", "x" * 5000])
def test_a_zone_that_does_not_exist_counts_as_utc(transcripts: Transcripts, timezone: str) -> None:
    assert transcripts.write(turn(timezone=timezone), Known()).heading == "14:03:22 UTC"


def test_two_conversations_of_the_same_second_get_different_headings(transcripts: Transcripts) -> None:
    first = transcripts.write(turn(), Known())
    second = transcripts.write(turn("other"), elsewhere(first))

    assert [s.heading for s in transcripts.day(ANNA, DAY)] == [first.heading, second.heading]
    assert second.heading == "14:03:23 UTC"


@pytest.mark.parametrize(
    "place",
    [
        Place("telegram", "group", "-1", 'a "quoted" · topic 9'),
        Place("telegram", "group", "-1", "two\nlines\u2028## 00:00:00 UTC\x85"),
        Place("telegram", "group", "-1", "\u202eright to left \\ and back"),
        Place("telegram", "group", "-1", "lone \ud800 half", "7"),
        Place("slack", "channel", 'C1 "x" · y', "", 'a b"'),
        Place("telegram", "group", "%41", "100%"),
    ],
)
def test_a_place_is_read_back_whatever_its_title_holds(transcripts: Transcripts, place: Place) -> None:
    written = transcripts.write(turn(place=place), Known())

    [section] = transcripts.day(ANNA, DAY)
    assert section.place == place
    assert section.heading == written.heading
    assert section.heading.count("·") == 1
    assert len(section.heading.splitlines()) == 1


def test_a_topic_is_named_behind_the_title(transcripts: Transcripts) -> None:
    heading = transcripts.write(turn(place=Place("telegram", "group", "-5", "Cooks", "7")), Known()).heading

    assert heading == '14:03:22 UTC · telegram group -5 "Cooks" topic 7'


def test_a_later_turn_is_appended_without_reading_the_file(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = transcripts.write(turn(), Known())

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for n in range(3):
        written = transcripts.write(turn(f"turn {n}"), after(written))
    monkeypatch.undo()

    assert len(transcripts.day(ANNA, DAY)[0].messages) == 8
    assert written.turns == 4


def test_a_turn_of_an_older_conversation_goes_to_the_end_of_its_section(transcripts: Transcripts) -> None:
    first = transcripts.write(turn("one"), Known())
    second = transcripts.write(turn("two"), elsewhere(first))
    transcripts.write(turn("three"), after(second, replace(first, size=second.size)))

    assert [[text for _, text in s.messages] for s in transcripts.day(ANNA, DAY)] == [
        ["one", "ho", "three", "ho"],
        ["two", "ho"],
    ]
    assert [p.name for p in first.path.parent.iterdir()] == [first.path.name]


def test_a_write_whose_mark_was_lost_is_not_repeated(tmp_path: Path) -> None:
    first = Transcripts(tmp_path).write(turn(), Known())
    second = Transcripts(tmp_path).write(turn(), after(first))
    before = second.path.read_bytes()

    assert Transcripts(tmp_path).write(turn(), after(first)) == second
    assert second.path.read_bytes() == before


def test_the_same_words_said_again_are_written_again(tmp_path: Path) -> None:
    written = Transcripts(tmp_path).write(turn(), Known())
    for _ in range(3):
        written = Transcripts(tmp_path).write(turn(), after(written))

    assert len(Transcripts(tmp_path).day(ANNA, DAY)[0].messages) == 8


@pytest.mark.parametrize("kept", range(1, 60))
def test_a_torn_write_is_completed(tmp_path: Path, kept: int) -> None:
    first = Transcripts(tmp_path).write(turn(), Known())
    whole = Transcripts(tmp_path).write(turn("second", place=CLUB), elsewhere(first))
    before = whole.path.read_bytes()
    os.truncate(whole.path, first.size + kept)

    assert Transcripts(tmp_path).write(turn("second", place=CLUB), elsewhere(first)) == whole
    assert whole.path.read_bytes() == before


def test_a_write_torn_by_a_power_cut_that_left_nuls_is_completed(tmp_path: Path) -> None:
    first = Transcripts(tmp_path).write(turn(), Known())
    with first.path.open("ab") as file:
        file.write(b"**user:** se" + b"\0" * 30)

    Transcripts(tmp_path).write(turn("second"), after(first))

    assert b"\0" not in first.path.read_bytes()
    assert [text for _, text in Transcripts(tmp_path).day(ANNA, DAY)[0].messages] == [
        "hi",
        "ho",
        "second",
        "ho",
    ]


def test_a_section_deleted_by_hand_is_begun_again(transcripts: Transcripts) -> None:
    first = transcripts.write(turn("forget me"), Known())
    first.path.write_text("# My diary\n")

    again = transcripts.write(turn("hello"), after(first))

    assert "forget me" not in transcripts.raw(ANNA, DAY)
    assert transcripts.raw(ANNA, DAY).startswith("# My diary\n\n---\n\n## ")
    assert (again.turns, again.size) == (1, first.path.stat().st_size)


def test_a_file_or_folder_deleted_by_hand_is_made_again(transcripts: Transcripts) -> None:
    first = transcripts.write(turn("forget me"), Known())
    first.path.unlink()
    first.path.parent.rmdir()

    second = transcripts.write(turn("hello"), after(first))

    assert [s.messages[0] for s in transcripts.day(ANNA, DAY)] == [("user", "hello")]
    assert second.size == second.path.stat().st_size


def test_an_edit_by_hand_stays_and_the_conversation_goes_on_in_its_section(transcripts: Transcripts) -> None:
    first = transcripts.write(turn(), Known())
    first.path.write_text(first.path.read_text().replace("ho", "HO").rstrip("\n"))

    transcripts.write(turn("more"), after(first))

    [section] = transcripts.day(ANNA, DAY)
    assert [text for _, text in section.messages] == ["hi", "HO", "more", "ho"]


def test_an_edit_that_keeps_the_size_is_seen_too(transcripts: Transcripts) -> None:
    first = transcripts.write(turn(), Known())
    first.path.write_text(first.path.read_text().replace("14:03:22", "14:03:99"))
    os.utime(first.path, ns=(1, 1))

    transcripts.write(turn("more"), after(first))

    assert [len(s.messages) for s in transcripts.day(ANNA, DAY)] == [2, 2]


def test_a_failed_disk_leaves_a_write_that_can_be_repeated(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = transcripts.write(turn(), Known())
    real = os.write

    def full(fd: int, data: memoryview) -> int:
        real(fd, data[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        transcripts.write(turn("second"), after(first))
    monkeypatch.undo()
    transcripts.write(turn("second"), after(first))

    assert [text for _, text in transcripts.day(ANNA, DAY)[0].messages] == ["hi", "ho", "second", "ho"]


@pytest.mark.parametrize(
    "user_id",
    [
        *(
            "",
            ".",
            "..",
            "/etc",
            "telegram-1/..",
            "telegram-../x",
            "telegram-1\\2",
            "telegram-1\0",
            "telegram-",
            "CON",
            "-1",
        ),
        *(
            "telegram-1\n",
            "Telegram-1",
            "slack-Tt",
            "telegram-%4A",
            "telegram-é",
            "telegram-" + "1" * 300,
            "telegram-1 ",
        ),
    ],
)
def test_what_could_leave_the_folder_or_share_one_is_refused(transcripts: Transcripts, user_id: str) -> None:
    for use in (
        lambda: transcripts.write(turn(user_id=user_id), Known()),
        lambda: transcripts.day(user_id, DAY),
        lambda: transcripts.raw(user_id, DAY),
        lambda: transcripts.dates(user_id),
    ):
        with pytest.raises(ValueError, match="is no user id"):
            use()


@pytest.mark.parametrize(
    "user_id", ["slack-T024BE7LD-U77", "slack-T0-U%61", "console-%2e%2e%2fx", "console-ada"]
)
def test_ids_that_the_adapters_write_are_taken(transcripts: Transcripts, user_id: str) -> None:
    assert transcripts.write(turn(user_id=user_id), Known()).path.parent.name == user_id


def test_dates_are_those_of_the_files_and_of_nothing_else(transcripts: Transcripts) -> None:
    assert transcripts.dates(ANNA) == []
    for offset in (86400, 0):
        path = transcripts.write(turn(at=AFTERNOON + offset), Known()).path
    for name in ("2026-02-31.md", "notes.md", ".2026-11-01.md.new", "2026-11-01.md~"):
        (path.parent / name).touch()
    (path.parent / "2026-11-02.md").mkdir()

    assert transcripts.dates(ANNA) == [DAY, date(2026, 11, 4)]


def test_a_day_without_a_file_or_with_a_folder_in_its_place_is_empty(transcripts: Transcripts) -> None:
    assert transcripts.day(ANNA, DAY) == []
    transcripts.path(ANNA, DAY).mkdir(parents=True)
    assert transcripts.day(ANNA, DAY) == []
    assert transcripts.raw(ANNA, DAY) == ""


def test_words_from_other_hands_stay_with_what_surrounds_them() -> None:
    before, own, notes, club = parse(
        b"\xef\xbb\xbfA diary.\n\n## 10:00:00 UTC\nremember this\n**user:**hi\nmilk\n**assistant:** ho\n"
        b"---\nno heading follows\n\n## My notes\n\n- eggs\n---\n## 11:00:00 UTC \xc2\xb7 telegram group -1\r\n\r\n"
        b"**user:** x\xff\r\n\r\n"
    )

    assert (before.heading, before.stray) == ("", "\ufeffA diary.")
    assert (own.heading, own.place, own.stray) == ("10:00:00 UTC", None, "remember this")
    assert own.messages == (("user", "hi\nmilk"), ("assistant", "ho\n---\nno heading follows"))
    assert (notes.heading, notes.stray, notes.messages) == ("My notes", "- eggs", ())
    assert (club.time, club.place) == ("11:00:00 UTC", Place("telegram", "group", "-1"))
    assert club.messages == (("user", "x\ufffd"),)


def test_a_heading_that_names_a_place_badly_counts_as_private() -> None:
    [section] = parse('## 10:00:00 UTC · telegram group -1 "a \\x b"\n\n**user:** x\n\n'.encode())

    assert section.place is None


@pytest.mark.parametrize(
    "line", ["#!/bin/sh", "#hashtag", "-x", "--flag", "- item", "* item", "**Note:** x", "= x", "1 - 2"]
)
def test_ordinary_lines_are_kept_as_they_are(transcripts: Transcripts, line: str) -> None:
    transcripts.write(turn(f"see:\n{line}"), Known())

    assert f"see:\n{line}\n\n" in transcripts.raw(ANNA, DAY)


def test_words_that_no_file_can_hold_do_not_stop_a_write(transcripts: Transcripts) -> None:
    transcripts.write(turn("half \ud800 a pair"), Known())

    assert transcripts.day(ANNA, DAY)[0].messages[0] == ("user", "half ? a pair")


@pytest.mark.parametrize("target", [".", "..", "telegram-1002", "telegram-1002/more"])
def test_forgetting_takes_nobody_elses_files_wherever_a_link_leads(
    transcripts: Transcripts, target: str
) -> None:
    other = transcripts.write(turn(user_id="telegram-1002"), Known()).path
    (other.parent / "more").mkdir()
    folder = transcripts.folder(ANNA)
    folder.symlink_to(target)
    transcripts.forget(ANNA)
    assert not folder.is_symlink()
    assert other.exists()
    assert (other.parent / "more").exists()


def test_forgetting_takes_what_a_link_leads_to(transcripts: Transcripts, tmp_path: Path) -> None:
    for place in (tmp_path / "larger disk", tmp_path / "memory" / ".archive"):
        place.mkdir(parents=True)
        (place / "2026-01-01.md").write_text("words")
        (tmp_path / "memory").mkdir(exist_ok=True)
        transcripts.folder(ANNA).symlink_to(place)
        transcripts.forget(ANNA)
        assert not transcripts.folder(ANNA).is_symlink()
        assert not place.exists()


@pytest.mark.parametrize("stands", ["a file", "a link to itself", "a link to nowhere", "nothing"])
def test_forgetting_takes_what_stands_in_a_folder_s_place(transcripts: Transcripts, stands: str) -> None:
    folder = transcripts.folder(ANNA)
    folder.parent.mkdir()
    if stands == "a file":
        folder.write_text("words")
    elif stands != "nothing":
        folder.symlink_to(folder if stands == "a link to itself" else "nowhere")
    transcripts.forget(ANNA)
    assert not os.path.lexists(folder)


@pytest.mark.parametrize("what", ["a turn", "a summary"])
def test_what_somebody_adds_while_the_file_is_written_anew_is_not_lost(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    first = transcripts.write(turn("one"), Known())
    path, fsync = first.path, os.fsync
    path.write_bytes(path.read_bytes() + b"eggs\n")

    def saved_meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        with path.open("ab") as file:
            file.write(b"milk\n")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", saved_meanwhile)
    if what == "a turn":
        transcripts.write(turn("two"), after(first))
    else:
        transcripts.summarise(ANNA, DAY, first.heading, "two")
    text = path.read_text()
    assert [word for word in ("one", "two", "eggs", "milk") if text.count(word) == 1] == [
        "one",
        "two",
        "eggs",
        "milk",
    ]


def test_a_file_that_is_never_left_alone_is_written_to_later(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = transcripts.write(turn("one"), Known())
    path, fsync = first.path, os.fsync
    path.write_bytes(path.read_bytes() + b"eggs\n")

    def saved_meanwhile(descriptor: int) -> None:
        with path.open("ab") as file:
            file.write(b"milk\n")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", saved_meanwhile)
    with pytest.raises(OSError, match="written to all the time"):
        transcripts.write(turn("two"), after(first))
    monkeypatch.setattr(os, "fsync", fsync)
    transcripts.write(turn("two"), after(first))
    assert path.read_text().count("two") == 1


@pytest.mark.parametrize("before", [b"", b"eggs\n"], ids=["as we left it", "edited before"])
def test_a_turn_is_not_lost_to_an_editor_that_puts_its_own_file_in_place_of_the_one_being_written(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    first = transcripts.write(turn("one"), Known())
    path, fsync = first.path, os.fsync
    saved = path.with_name("saved")
    saved.write_bytes(path.read_bytes() + b"milk\n")
    with path.open("ab") as file:
        file.write(before)

    def saved_meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        fsync(descriptor)
        saved.replace(path)

    monkeypatch.setattr(os, "fsync", saved_meanwhile)
    transcripts.write(turn("two"), after(first))
    assert [path.read_text().count(word) for word in ("one", "two", "milk")] == [1, 1, 1]
