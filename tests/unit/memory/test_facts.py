"""`facts.md` is a list that anyone can read and edit: nothing in it is lost, and nothing in it can be forged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from memory import files
from memory.facts import MOST, Fact, Facts, FactsFull, newest_first, parse
from memory.transcripts import Place

USER = "telegram-1001"
DAY = date(2026, 7, 14)
LATER = date(2026, 7, 20)
CLUB = Place("telegram", "group", "-100123", "Book club")


def texts(facts: Sequence[Fact]) -> list[str]:
    return [fact.text for fact in facts]


def by_hand(folder: Path, text: str | bytes) -> Facts:
    facts = Facts(folder)
    facts.path(USER).parent.mkdir(parents=True, exist_ok=True)
    facts.path(USER).write_bytes(text if isinstance(text, bytes) else text.encode())
    return facts


def test_a_fact_is_a_line_with_its_date_and_the_place_as_transcripts_have_it(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "My sister is called Ida.", DAY, None)
    facts.add(USER, "The club meets on Thursdays.", LATER, CLUB)
    assert facts.path(USER) == tmp_path / USER / "facts.md"
    assert facts.path(USER).read_text().splitlines()[-2:] == [
        "- My sister is called Ida. (2026-07-14)",
        '- The club meets on Thursdays. (2026-07-20 · telegram group -100123 "Book club")',
    ]
    first, second = facts.read(USER)
    assert (first.text, first.date, first.place, first.valid) == ("My sister is called Ida.", DAY, None, True)
    assert (second.text, second.date, second.place) == ("The club meets on Thursdays.", LATER, CLUB)


def test_a_changed_fact_replaces_the_old_one_and_keeps_its_trace_below_it(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "I like coffee.", DAY, CLUB)
    facts.add(USER, "I have a dog.", DAY, None)
    facts.add(USER, "I like tea.", LATER, None, facts.read(USER)[:1])
    facts.add(USER, "I like water.", date(2026, 8, 1), None, facts.read(USER)[:1])
    assert facts.path(USER).read_text().splitlines()[-4:] == [
        "- I like water. (2026-08-01)",
        "  - ~~I like tea.~~ (2026-07-20, until 2026-08-01)",
        '  - ~~I like coffee.~~ (2026-07-14, until 2026-07-20 · telegram group -100123 "Book club")',
        "- I have a dog. (2026-07-14)",
    ]
    found = facts.read(USER)
    assert texts([fact for fact in found if fact.valid]) == ["I like water.", "I have a dog."]
    assert [(f.text, f.date, f.until, f.place) for f in found if not f.valid] == [
        ("I like tea.", LATER, date(2026, 8, 1), None),
        ("I like coffee.", DAY, LATER, CLUB),
    ]


def test_an_id_names_the_same_fact_whatever_is_written_around_it(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "I like coffee.", DAY, CLUB)
    id_ = facts.read(USER)[0].id
    facts.add(USER, "I have a dog.", DAY, None)
    by_hand(tmp_path, "# My own heading\n\n- typed in\n" + facts.path(USER).read_text())
    assert id_ in [fact.id for fact in facts.read(USER)]
    facts.add(USER, "I like tea.", LATER, None, [f for f in facts.read(USER) if f.id == id_])
    assert [f.text for f in facts.read(USER) if f.id == id_] == ["I like coffee."]


def test_the_same_fact_is_written_once_however_often_and_under_what_title_it_is_said(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "I like tea.", DAY, CLUB)
    before = facts.path(USER).read_bytes()
    facts.add(USER, "I like tea.", LATER, Place("telegram", "group", "-100123", "Renamed"))
    assert facts.path(USER).read_bytes() == before
    facts.add(USER, "I like tea.", LATER, None)
    assert len(facts.read(USER)) == 2


def test_replacing_twice_after_a_crash_leaves_one_trace(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "I like coffee.", DAY, None)
    old = facts.read(USER)
    facts.add(USER, "I like tea.", LATER, None, old)
    once = facts.path(USER).read_bytes()
    facts.add(USER, "I like tea.", LATER, None, old)
    assert facts.path(USER).read_bytes() == once


def test_a_fact_that_is_known_takes_the_place_of_another_one(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "I like tea.", DAY, None)
    facts.add(USER, "I like coffee.", DAY, None)
    facts.add(USER, "I like tea.", LATER, None, facts.read(USER)[1:])
    assert facts.path(USER).read_text().splitlines()[-2:] == [
        "- I like tea. (2026-07-14)",
        "  - ~~I like coffee.~~ (2026-07-14, until 2026-07-20)",
    ]


def test_a_fact_that_something_elsewhere_replaced_is_struck_out_where_it_stands(tmp_path: Path) -> None:
    facts = by_hand(tmp_path, "- I like coffee\n  and cake\n- I have a dog\n")
    facts.retire(USER, facts.read(USER)[:1], LATER)
    assert facts.path(USER).read_text() == (
        "- ~~I like coffee\\nand cake~~ (until 2026-07-20)\n- I have a dog\n"
    )
    assert [(f.text, f.valid) for f in facts.read(USER)] == [
        ("I like coffee\nand cake", False),
        ("I have a dog", True),
    ]


def test_forgotten_means_erased_with_all_that_it_had_replaced(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "My number is 123.", DAY, None)
    facts.add(USER, "My number is 456.", LATER, None, facts.read(USER))
    facts.add(USER, "I have a dog.", LATER, None)
    facts.forget(USER, [fact for fact in facts.read(USER) if fact.text == "My number is 456."])
    assert texts(facts.read(USER)) == ["I have a dog."]
    for path in facts.path(USER).parent.iterdir():
        assert b"My number" not in path.read_bytes()


def test_a_former_fact_can_be_forgotten_by_itself(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.add(USER, "I like coffee.", DAY, None)
    facts.add(USER, "I like tea.", LATER, None, facts.read(USER))
    facts.forget(USER, [fact for fact in facts.read(USER) if not fact.valid])
    assert texts(facts.read(USER)) == ["I like tea."]


def test_there_is_an_end_to_the_room_that_facts_take(tmp_path: Path) -> None:
    facts = by_hand(tmp_path, "".join(f"- fact {number}\n" for number in range(MOST)))
    with pytest.raises(FactsFull):
        facts.add(USER, "one more", DAY, None)
    facts.add(USER, "fact 7", DAY, None)
    assert len(facts.read(USER)) == MOST


@pytest.mark.parametrize("user", ["", "..", "../telegram-1", "telegram-1/../telegram-2", "telegram", "a-b/c"])
def test_what_is_no_user_id_reaches_no_folder(tmp_path: Path, user: str) -> None:
    facts = Facts(tmp_path)
    with pytest.raises(ValueError, match="is no user id"):
        facts.read(user)
    with pytest.raises(ValueError, match="is no user id"):
        facts.add(user, "x", DAY, None)


# Files that others edit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("- I like tea", ["I like tea"]),
        ("* I like tea\n+ I like cake\n1. I like rain", ["I like tea", "I like cake", "I like rain"]),
        ("\ufeff- I like tea\r\n- I like cake\r\n", ["I like tea", "I like cake"]),
        ("- I like tea\n  and cake\n- and rain", ["I like tea\nand cake", "and rain"]),
        ("- I like tea\nand cake\n  and rain\n- and snow", ["I like tea", "and snow"]),
        ("- I have two cats\n  - Tom\n  - Kitty\n", ["I have two cats\n- Tom\n- Kitty"]),
        ("- I like tea\n\nSome words.\n- I like cake", ["I like tea", "I like cake"]),
        ("- C:\\new", ["C:\\new"]),
        ("---\n- - -\n* * *\n-\n- \n#- x\n| - x |\n> - x\n", []),
        ("Some words.\n# A heading\n", []),
        ("- ~~I like tea~~\n", ["(I like tea)"]),
        ("- ~~I like tea~~ (I was wrong)\n", ["(I like tea)"]),
        ("- ~~I like~~ I love tea\n", ["~~I like~~ I love tea"]),
        ("- it is open (until 2026-08-01)", ["it is open (until 2026-08-01)"]),
        ("- it is open (2026-02-31)", ["it is open (2026-02-31)"]),
        ("- it was (2026-01-01) and is (2026-02-02)", ["it was (2026-01-01) and is"]),
        ("", []),
        ("\n\n\n", []),
    ],
)
def test_what_is_typed_in_is_taken_as_a_reader_takes_it(typed: str, read: list[str]) -> None:
    assert [fact.text if fact.valid else f"({fact.text})" for fact in parse(typed.encode())] == read


def test_a_line_that_an_editor_has_wrapped_is_the_same_fact() -> None:
    straight, wrapped = (
        parse(text.encode())
        for text in (
            '- I like tea and cake (2026-07-14 · telegram group -100123 "Book club")\n',
            '- I like tea\n  and cake (2026-07-14 ·\n  telegram group -100123 "Book club")\n',
        )
    )
    assert [fact.id for fact in wrapped] == [fact.id for fact in straight]
    assert wrapped[0].place == CLUB


def test_blank_lines_that_an_editor_puts_between_leave_a_trace_where_it_belongs(tmp_path: Path) -> None:
    facts = by_hand(
        tmp_path,
        "- I like tea (2026-07-14)\n\n  - ~~I like coffee~~ (2026-07-01, until 2026-07-14)\n\n- I ski\n",
    )
    facts.forget(USER, facts.read(USER)[:1])
    assert texts(facts.read(USER)) == ["I ski"]
    assert "coffee" not in facts.path(USER).read_text()


def test_what_is_not_understood_stays_to_the_byte(tmp_path: Path) -> None:
    strange = (
        b"\xff\xfe broken \x00\n\n# Mine\r\n<!-- a note -->\n\t\n| a | b |\n- I like coffee\n> quoted\n\x85\n"
    )
    facts = by_hand(tmp_path, strange)
    facts.add(USER, "I ski", DAY, None)
    facts.add(USER, "I like tea", DAY, None, [f for f in facts.read(USER) if f.text == "I like coffee"])
    data = facts.path(USER).read_bytes()
    for line in strange.split(b"\n"):
        assert line in data or line == b"- I like coffee"
    facts.forget(USER, facts.read(USER))
    assert facts.path(USER).read_bytes() == strange.replace(b"- I like coffee\n", b"")


@pytest.mark.parametrize("line", [b"A note of mine.", b"\xff\xfe\x00", b"(2026-07-14)", b"\xc2\xa0  x"])
def test_a_line_that_is_not_indented_is_no_part_of_the_fact_above_and_outlives_it(
    tmp_path: Path, line: bytes
) -> None:
    facts = by_hand(tmp_path, b"- I like tea\n" + line + b"\n")
    assert texts(facts.read(USER)) == ["I like tea"]
    facts.forget(USER, facts.read(USER))
    assert facts.path(USER).read_bytes() == line + b"\n"


def test_a_file_of_another_system_keeps_its_line_ends(tmp_path: Path) -> None:
    facts = by_hand(tmp_path, b"# Facts\r\n\r\n- I like coffee\r\n")
    facts.add(USER, "I like tea", DAY, None, facts.read(USER))
    assert facts.path(USER).read_bytes() == (
        b"# Facts\r\n\r\n- I like tea (2026-07-14)\r\n  - ~~I like coffee~~ (until 2026-07-14)\r\n"
    )


def test_a_file_without_a_last_line_end_gets_no_line_glued_to_another(tmp_path: Path) -> None:
    facts = by_hand(tmp_path, "- I ski")
    facts.add(USER, "I like tea", DAY, None)
    assert facts.path(USER).read_text() == "- I ski\n- I like tea (2026-07-14)\n"


def test_a_place_that_was_broken_by_hand_counts_as_private() -> None:
    [fact] = parse(b'- I ski (2026-07-14 \xc2\xb7 telegram group -100123 "Book)\n')
    assert fact.place is None
    assert fact.text.startswith("I ski (2026-07-14")


def test_facts_of_several_files_come_newest_first_and_one_without_a_date_with_the_one_above() -> None:
    here = parse(b"- a (2026-07-14)\n- b\n- c (2026-08-01)\n")
    there = parse(b"- d (2026-07-20)\n")
    assert [f.text for _, f in newest_first({"x-1": here, "x-2": there})] == ["c", "d", "b", "a"]


# Others at the same file ---------------------------------------------------------------------------------------------


def test_an_edit_by_hand_during_a_write_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = by_hand(tmp_path, "- I ski\n")
    real, edits = files.write_all, ["- typed in meanwhile\n", "- and again\n"]

    def edited_meanwhile(fd: int, data: bytes) -> None:
        real(fd, data)
        if edits:
            path = facts.path(USER)
            path.write_text(path.read_text() + edits.pop(0))

    monkeypatch.setattr(files, "write_all", edited_meanwhile)
    facts.add(USER, "I like tea", DAY, None)
    assert texts(facts.read(USER)) == ["I ski", "typed in meanwhile", "and again", "I like tea"]


def test_many_threads_and_objects_lose_no_fact(tmp_path: Path) -> None:
    def write(who: int) -> None:
        facts = Facts(tmp_path)
        for number in range(20):
            facts.add(USER, f"fact {who} {number}", DAY, None)
            if number % 4 == 3:
                facts.forget(USER, [f for f in facts.read(USER) if f.text == f"fact {who} {number}"])

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = {f"fact {who} {number}" for who in range(4) for number in range(20) if number % 4 != 3}
    found = texts(Facts(tmp_path).read(USER))
    assert set(found) == wanted
    assert len(found) == len(wanted)


KILLED = """
import os, sys
from datetime import date
from pathlib import Path
from memory import files
from memory.facts import Facts
folder, step = Path(sys.argv[1]), int(sys.argv[2])
calls = ["open", "write", "fsync", "replace", "open", "fsync"]
count = 0
def dies(real):
    def call(*args, **more):
        global count
        count += 1
        if count == step:
            if real is os.write:
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            os._exit(9)
        return real(*args, **more)
    return call
facts = Facts(folder)
old = facts.read("telegram-1001")
files.os = type("os", (), {**{n: getattr(os, n) for n in dir(os)}, "write": dies(os.write), "fsync": dies(os.fsync),
                           "open": dies(os.open), "close": os.close})
real = Path.replace
Path.replace = dies(real)
facts.add("telegram-1001", "I like tea", date(2026, 7, 20), None, old[:1])
"""


def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one_and_it_can_be_done_again(
    tmp_path: Path,
) -> None:
    outcomes = set()
    for step in range(1, 12):
        folder = tmp_path / str(step)
        facts = Facts(folder)
        facts.add(USER, "I like coffee", DAY, None)
        before = facts.read(USER)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(step)],
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])},
        )
        found = [(fact.text, fact.valid) for fact in facts.read(USER)]
        assert found in ([("I like coffee", True)], [("I like tea", True), ("I like coffee", False)])
        outcomes.add((done.returncode, len(found)))
        facts.add(USER, "I like tea", LATER, None, before)
        assert [(f.text, f.valid) for f in facts.read(USER)] == [
            ("I like tea", True),
            ("I like coffee", False),
        ]
    assert outcomes == {(9, 1), (9, 2), (0, 2)}


# The copy in memory ---------------------------------------------------------------------------------------------------


def settled(facts: Facts) -> None:
    """As if the file had been written a while ago."""
    stat = facts.path(USER).stat()
    os.utime(facts.path(USER), ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))


def test_nobody_without_facts_costs_more_than_a_look(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    assert facts.known(USER) == []
    assert not (tmp_path / USER).exists()


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = by_hand(tmp_path, "- I ski\n")
    settled(facts)
    assert facts.known(USER) is None
    facts.read(USER)
    monkeypatch.setattr(files, "read", lambda path: pytest.fail("read again"))
    assert texts(facts.known(USER) or []) == ["I ski"]
    monkeypatch.undo()
    facts.path(USER).write_text("- I swim\n")
    assert facts.known(USER) is None
    assert texts(facts.read(USER)) == ["I swim"]


def test_a_file_that_may_change_again_in_the_same_tick_is_not_taken_for_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = by_hand(tmp_path, "- I ski\n")
    written = facts.path(USER).stat().st_mtime_ns
    monkeypatch.setattr(time, "time_ns", lambda: written + 1000)
    facts.read(USER)
    assert facts.known(USER) is None
