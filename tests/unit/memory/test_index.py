"""Search by words: what is found, in what order, and that the files are the truth whatever happens to them or to the index."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from memory import index as index_
from memory import units
from memory.facts import Facts
from memory.index import Index, IndexStopped, IndexUnusable, Passage
from memory.sql import index_schema, queries
from memory.transcripts import Known, Message, Place, Transcripts, TurnRecord

NOON = 1793707200.0  # 2026-11-03 12:00:00 UTC
DAY = 86_400.0
ANNA, BEN = "telegram-1001", "telegram-1002"
CLUB = Place("telegram", "group", "-100123", "Book club")


class Memory:
    """The transcripts of some people, and their index."""

    def __init__(self, root: Path) -> None:
        self.transcripts = Transcripts(root / "memory")
        self.facts = Facts(root / "memory")
        self.root = root / "index"
        self.index = Index(self.root, self.transcripts)

    def say(
        self, *messages: str, user: str = ANNA, at: float = NOON, place: Place | None = None, days: int = 0
    ) -> Path:
        """A conversation in which the person begins and each answers the other."""
        said: list[Message] = [
            ("assistant" if number % 2 else "user", text) for number, text in enumerate(messages)
        ]
        record = TurnRecord(user, at + days * DAY, "UTC", place, tuple(said))
        return self.transcripts.write(record, Known()).path

    def find(self, query: str, *people: str, **how: object) -> list[str]:
        return [one.text for one in self.passages(query, *people, **how)]

    def passages(self, query: str, *people: str, **how: object) -> list[Passage]:
        return self.index.search(people or (ANNA,), query, **how)  # type: ignore[arg-type]

    def units(self, user: str = ANNA) -> dict[int, str]:
        """Each unit's key and text."""
        return dict(
            self.index.use(user, lambda it: it.execute("SELECT id, text FROM units").fetchall()) or []
        )

    def file(self, user: str = ANNA) -> Path:
        return self.root / f"{user}.db"

    def again(self) -> Index:
        """Another process's index of the same files."""
        return Index(self.root, self.transcripts)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path)
    yield memory
    memory.index.close()


# What is found, and in what order -----------------------------------------------------------------------------------


def test_more_of_the_words_come_first_and_rare_words_weigh_more(memory: Memory) -> None:
    for number in range(20):
        memory.say(f"the weather is number {number}", days=number)
    memory.say("weather in Lisbon", days=30)
    memory.say("Lisbon has old trams", days=31)
    memory.say("old trams in Lisbon have a bell", days=32)
    assert memory.find("trams Lisbon bell")[0] == "old trams in Lisbon have a bell"
    assert memory.find("weather Lisbon")[0] == "weather in Lisbon"


def test_a_passage_comes_with_its_date_its_place_and_its_neighbours(memory: Memory) -> None:
    memory.say("Where is it?", "In Graz.", "And who has the zebra?", "Ida has it.", place=CLUB)
    found = memory.passages("zebra")[0]
    assert (found.user_id, found.date, found.place) == (ANNA, date(2026, 11, 3), CLUB)
    assert found.heading == '12:00:00 UTC · telegram group -100123 "Book club"'
    assert (found.role, found.text) == ("user", "And who has the zebra?")
    assert found.before == (("assistant", "In Graz."),)
    assert found.after == (("assistant", "Ida has it."),)


def test_neighbours_are_of_the_same_conversation(memory: Memory) -> None:
    memory.say("first", "last of the morning")
    memory.say("zebra", "later", at=NOON + 60)
    [found, *_] = memory.passages("zebra")
    assert (found.before, found.after) == ((), (("assistant", "later"),))
    assert "last of the morning" not in memory.find("zebra")


def test_an_answer_is_found_by_the_words_of_its_question(memory: Memory) -> None:
    memory.say("Which restaurant was it?", "The one by the river.")
    memory.say("unrelated", "talk", days=1)
    assert memory.find("restaurant") == ["Which restaurant was it?", "The one by the river."]


def test_a_phrase_gives_only_what_has_it_to_the_letter(memory: Memory) -> None:
    memory.say("I saw a blue whale", "A blue whales' song?", "whale, blue", "The blue whale!")
    assert sorted(memory.find('"blue whale"')) == ["I saw a blue whale", "The blue whale!"]
    assert memory.find('"blue whale" song')[-1] in ("I saw a blue whale", "The blue whale!")
    assert memory.find('"blue whale" "saw a"') == ["I saw a blue whale"]


def test_words_beside_a_phrase_say_what_comes_first(memory: Memory) -> None:
    for number in range(10):
        memory.say(f"a blue whale, number {number}", days=number)
    memory.say("a blue whale near Tromsø", days=3, at=NOON + 60)
    assert memory.find('Tromso "blue whale"')[0] == "a blue whale near Tromsø"
    assert len(memory.find('Tromso "blue whale"', limit=50)) == 11


def test_a_beginning_gives_all_that_begin_so(memory: Memory) -> None:
    memory.say("generalization", "general", "genera", "in general")
    assert sorted(memory.find("general*")) == ["general", "generalization", "in general"]


def test_of_what_matches_alike_the_newest_comes_first(memory: Memory) -> None:
    for number in range(100):
        memory.say("good morning", days=number)
    assert [one.date for one in memory.passages("morning", limit=3)] == [
        date(2027, 2, 10),
        date(2027, 2, 9),
        date(2027, 2, 8),
    ]


def test_the_days_are_kept_to(memory: Memory) -> None:
    for number in range(5):
        memory.say(f"zebra {number}", days=number)
    first, last = date(2026, 11, 4), date(2026, 11, 5)
    assert sorted(memory.find("zebra", first=first, last=last)) == ["zebra 1", "zebra 2"]
    assert sorted(memory.find("zebra", first=last)) == ["zebra 2", "zebra 3", "zebra 4"]
    assert sorted(memory.find('"zebra"', last=first)) == ["zebra 0", "zebra 1"]
    assert sorted(memory.find("zeb*", last=first)) == ["zebra 0", "zebra 1"]
    assert memory.find("zebra", first=date(2027, 1, 1)) == []


def test_the_places_are_kept_to(memory: Memory) -> None:
    memory.say("zebra in private", "yes")
    memory.say("zebra in the club", "no", place=CLUB, days=1)
    memory.say("zebra elsewhere", place=Place("slack", "group", "-100123"), days=2)
    assert memory.find("zebra", allowed=lambda place: place == CLUB) == ["zebra in the club", "no"]
    assert memory.find('"zebra"', allowed=lambda place: place is None) == ["zebra in private"]
    assert memory.find("zebra", allowed=lambda place: False) == []


def test_several_user_ids_are_searched_as_one(memory: Memory) -> None:
    memory.say("a zebra", user=ANNA)
    memory.say("a zebra, a zebra, two zebras", user="slack-U1")
    found = memory.passages("zebra", ANNA, "slack-U1", "discord-7")
    assert {one.user_id for one in found} == {ANNA, "slack-U1"}
    assert found == sorted(found, key=lambda one: -one.score)


def test_facts_are_found_each_alone_with_its_date_and_place(memory: Memory) -> None:
    memory.facts.add(ANNA, "My zebra is called Ida.", date(2026, 7, 14), CLUB)
    memory.facts.add(ANNA, "I drink tea.", date(2026, 7, 15), None)
    [found] = memory.passages("zebra")
    assert (found.role, found.text, found.date, found.place) == (
        "fact",
        "My zebra is called Ida.",
        date(2026, 7, 14),
        CLUB,
    )
    assert (found.before, found.after) == ((), ())
    assert memory.find("zebra", allowed=lambda place: place is None) == []


def test_a_fact_that_holds_no_more_says_so(memory: Memory) -> None:
    memory.facts.add(ANNA, "I like coffee.", date(2026, 5, 2), None)
    memory.facts.add(ANNA, "I drink tea now.", date(2026, 7, 1), None, memory.facts.read(ANNA))
    assert [one.role for one in memory.passages("coffee")] == ["former fact"]


def test_a_fact_that_was_typed_in_has_no_date(memory: Memory) -> None:
    path = memory.transcripts.folder(ANNA) / "facts.md"
    path.parent.mkdir(parents=True)
    path.write_text("- I keep a zebra\n", encoding="utf-8")
    [found] = memory.passages("zebra")
    assert (found.text, found.date) == ("I keep a zebra", None)
    assert memory.find("zebra", first=date(2020, 1, 1)) == []
    assert memory.find("zebra", last=date(2030, 1, 1)) == ["I keep a zebra"]


def test_what_somebody_wrote_beside_the_messages_is_found(memory: Memory) -> None:
    path = memory.say("hello")
    path.write_text(
        "zebra at the top\n\n## Zebra at the fair\n\nand a note on the okapi\n\n" + path.read_text()
    )
    assert [one.role for one in memory.passages("zebra")] == ["note", "note"]
    assert [one.text for one in memory.passages("okapi")] == ["Zebra at the fair\n\nand a note on the okapi"]


def test_nobody_is_found_who_has_no_files_and_nothing_is_made_for_them(memory: Memory) -> None:
    assert memory.find("zebra") == []
    assert not memory.file().exists()
    with pytest.raises(ValueError, match="no user id"):
        memory.find("zebra", "../telegram-1001")


# The files are the truth ----------------------------------------------------------------------------------------------


def test_edits_by_hand_count_at_once(memory: Memory) -> None:
    path = memory.say("I saw a zebra", "Really?")
    assert memory.find('"zebra"') == ["I saw a zebra"]
    path.write_text(path.read_text().replace("zebra", "okapi"))
    assert memory.find("zebra") == []
    assert memory.find('"okapi"') == ["I saw a okapi"]


def test_an_edit_counts_that_changes_neither_the_size_nor_the_time_that_the_disk_keeps(
    memory: Memory,
) -> None:
    path = memory.say("zebra")
    assert memory.find("zebra") == ["zebra"]
    was = path.stat()
    for animal in ("okapi", "hippo", "tapir"):
        path.write_text(path.read_text()[:-7] + animal + "\n\n")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        assert memory.find(animal) == [animal]
    assert memory.find("zebra okapi hippo") == []


def test_files_that_are_added_or_deleted_count_at_once(memory: Memory) -> None:
    path = memory.say("zebra one")
    assert memory.find("zebra") == ["zebra one"]
    other = path.with_name("2025-01-31.md")
    other.write_text("## 10:00:00 UTC\n\n**user:** zebra two\n\n")
    assert sorted(memory.find("zebra")) == ["zebra one", "zebra two"]
    path.unlink()
    assert memory.find("zebra") == ["zebra two"]
    other.unlink()
    assert memory.find("zebra") == []
    assert not memory.file().exists()


def test_only_files_of_days_and_of_facts_count(memory: Memory) -> None:
    folder = memory.say("okapi").parent
    for name in ("notes.md", "2026-02-31.md", ".2026-11-03.md.new", "2026-11-04.md.bak", "2026-11-05.txt"):
        (folder / name).write_text("## 10:00:00 UTC\n\n**user:** zebra\n\n")
    (folder / "2026-11-06.md").mkdir()
    (folder / "2026-11-07.md").symlink_to(folder / "nowhere")
    assert memory.find("zebra") == []


def test_an_append_keeps_the_keys_of_what_stood_there(memory: Memory) -> None:
    memory.say("one", "two")
    before = memory.units()
    memory.transcripts.write(
        TurnRecord(ANNA, NOON, "UTC", None, (("user", "three"), ("assistant", "two"))),
        Known(len(memory.transcripts.raw(ANNA, date(2026, 11, 3))), "12:00:00 UTC", 1),
    )
    after = memory.units()
    assert before.items() < after.items()
    assert [after[key] for key in sorted(after.keys() - before.keys())] == ["three", "two"]


def test_the_same_text_in_two_places_is_found_in_both_wherever_it_moves(memory: Memory) -> None:
    path = memory.say("zebra", "yes", "zebra", "no")
    assert [one.after[0][1] for one in memory.passages('"zebra"')] == ["no", "yes"]
    path.write_text(
        path.read_text().replace("**assistant:** no\n\n", "")
        + "**user:** zebra\n\n**assistant:** perhaps\n\n"
    )
    assert [one.after[0][1] for one in memory.passages('"zebra"')] == ["perhaps", "zebra", "yes"]


def test_nothing_of_what_was_removed_is_left_in_the_file_once_it_was_tidied_up(memory: Memory) -> None:
    path = memory.say("the secret is xyzzyplugh", "I see")
    memory.say("other talk", days=1)
    memory.index.refresh(ANNA)
    assert b"xyzzyplugh" in memory.file().read_bytes()
    path.write_text(path.read_text().replace("xyzzyplugh", "gone"))
    memory.index.refresh(ANNA)
    assert b"xyzzyplugh" not in memory.file().read_bytes()


def test_refresh_tells_how_much_is_new(memory: Memory) -> None:
    memory.say("one", "two")
    assert memory.index.refresh(ANNA) == 2
    assert memory.index.refresh(ANNA) == 0
    memory.say("three", days=1)
    assert memory.index.refresh(ANNA) == 1


# The index is derived -------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def drop(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE stems")
        connection.commit()


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99999999")


def of_nobody(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "harm",
    [cut, overwrite, empty, garble, drop, of_another_version, of_nobody, remove],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("running", [True, False], ids=["running", "restarted"])
def test_an_index_that_was_harmed_is_made_anew(
    memory: Memory, harm: Callable[[Path], None], running: bool
) -> None:
    for number in range(50):
        memory.say(f"zebra {number}", "and some more text to fill the pages", days=number)
    assert len(memory.find("zebra", limit=100)) >= 50
    if not running:
        memory.index.close()
    harm(memory.file())
    index = memory.index if running else memory.again()
    found = {one.text for one in index.search([ANNA], '"zebra"', limit=100)}
    assert found == {f"zebra {number}" for number in range(50)}
    index.close()


def test_a_journal_without_its_database_is_no_part_of_the_next_one(memory: Memory) -> None:
    memory.say("zebra")
    memory.root.mkdir()
    memory.file().with_name(f"{ANNA}.db-journal").write_bytes(
        b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\1" * 5000
    )
    assert memory.find("zebra") == ["zebra"]


def test_what_is_in_the_way_is_told_without_anybodys_words(memory: Memory) -> None:
    memory.say("zebra")
    memory.file().mkdir(parents=True)
    with pytest.raises(IndexUnusable, match=r"telegram-1001\.db") as caught:
        memory.find("zebra")
    assert "zebra" not in str(caught.value)


def test_two_processes_may_use_one_index(memory: Memory) -> None:
    other = memory.again()
    memory.say("zebra one")
    assert memory.find("zebra") == ["zebra one"]
    memory.say("zebra two", days=1)
    assert {one.text for one in other.search([ANNA], "zebra")} == {"zebra one", "zebra two"}
    assert sorted(memory.find("zebra")) == ["zebra one", "zebra two"]
    other.forget(ANNA)
    assert sorted(memory.find("zebra")) == ["zebra one", "zebra two"]
    other.close()


def test_an_index_that_another_process_takes_away_meanwhile_is_not_taken_for_broken(memory: Memory) -> None:
    other = memory.again()
    memory.say("zebra one")
    tries = []

    def write(connection: sqlite3.Connection) -> str:
        tries.append(connection)
        if len(tries) <= 2:
            other.forget(ANNA)
            other.refresh(ANNA)
        with units.transaction(connection):
            connection.execute("UPDATE unmerged SET added = added + 1")
        return "written"

    assert memory.index.use(ANNA, write) == "written"
    assert len(other.search([ANNA], "zebra")) == 1
    other.close()


def test_threads_that_search_while_files_change_find_what_is_there(memory: Memory) -> None:
    memory.say("zebra")
    problems: list[Exception] = []
    ready = threading.Barrier(4)

    def search() -> None:
        ready.wait()
        try:
            for _ in range(30):
                assert "zebra" in memory.find("zebra")
        except Exception as exc:  # noqa: BLE001 - told to the test
            problems.append(exc)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    for number in range(30):
        memory.say(f"zebra {number}", days=number + 1)
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(memory.find('"zebra"', limit=100)) == 31


def test_many_people_are_searched_with_few_files_open(memory: Memory) -> None:
    people = [f"telegram-{number}" for number in range(100)]
    for user in people:
        memory.say(f"zebra of {user}", user=user)
    for _ in range(2):
        for user in people:
            assert memory.find("zebra", user) == [f"zebra of {user}"]
    opened = [link for link in Path("/proc/self/fd").iterdir() if str(memory.root) in os.path.realpath(link)]
    assert len(opened) <= 33


def test_to_forget_somebody_removes_their_file_and_its_journal_and_nothing_else(memory: Memory) -> None:
    memory.say("zebra", user=ANNA)
    memory.say("zebra", user=BEN)
    assert memory.find("zebra", ANNA, BEN) == ["zebra", "zebra"]
    memory.file().with_name(f"{ANNA}.db-journal").write_bytes(b"left by a kill")
    memory.index.forget(ANNA)
    memory.index.forget(ANNA)
    assert [path.name for path in memory.root.iterdir()] == [f"{BEN}.db"]
    assert list(memory.index.people()) == [BEN]


def test_an_index_is_for_this_account_alone(memory: Memory) -> None:
    memory.say("zebra")
    memory.find("zebra")
    assert memory.root.stat().st_mode & 0o077 == 0
    assert memory.file().stat().st_mode & 0o077 == 0


def test_the_longest_user_id_has_an_index_of_its_own(memory: Memory) -> None:
    one, other = "telegram-" + "1" * 246, "telegram-" + "1" * 245 + "2"
    memory.say("zebra", user=one)
    memory.say("okapi", user=other)
    assert memory.find("zebra okapi", one) == ["zebra"]
    assert memory.find("zebra okapi", other) == ["okapi"]
    memory.index.forget(one)
    assert len(list(memory.root.iterdir())) == 1


def test_stopping_breaks_off_and_what_was_done_stays(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        memory.say(f"zebra {number}", days=number)
    monkeypatch.setattr(units, "COMMIT_UNITS", 10)
    read = units.read

    def slow(path: Path) -> list[units.Unit]:
        if path.stem == "2026-12-03":
            memory.index.stop()
        return read(path)

    monkeypatch.setattr(units, "read", slow)
    with pytest.raises(IndexStopped):
        memory.find("zebra")
    with pytest.raises(IndexStopped):
        memory.find("zebra")
    memory.index.close()
    with closing(sqlite3.connect(memory.file())) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (31,)
    monkeypatch.undo()
    index = memory.again()
    assert len(index.search([ANNA], '"zebra"', limit=100)) == 50
    index.close()


def test_a_rebuild_that_is_killed_leaves_what_search_goes_on_from(memory: Memory) -> None:
    """kill -9 at some instants of a rebuild in many transactions; the last one is searched to its end."""
    for number in range(60):
        memory.say(*(f"zebra {number} {line}" for line in range(10)), days=number)
    program = (
        "import sys\nfrom pathlib import Path\nfrom memory import units\n"
        "from memory.index import Index\nfrom memory.transcripts import Transcripts\n"
        "units.COMMIT_UNITS = 30\nread, root = units.read, Path(sys.argv[1])\n"
        "def told(path):\n    print(path.name, flush=True)\n    return read(path)\n"
        "units.read = told\n"
        "print(Index(root / 'index', Transcripts(root / 'memory')).refresh(sys.argv[2]), flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(memory.root.parent), ANNA]
    for lines in (1, 7, 2, 15, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rebuild:
            assert rebuild.stdout is not None
            for _ in range(lines):
                assert rebuild.stdout.readline().endswith(".md\n")
            rebuild.send_signal(signal.SIGKILL)
    found = {one.text for one in memory.index.search([ANNA], '"zebra"', limit=1000)}
    assert found == {f"zebra {number} {line}" for number in range(60) for line in range(10)}
    with closing(sqlite3.connect(memory.file())) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO stems (stems) VALUES ('integrity-check')")


def test_every_query_of_the_index_is_used_and_understood() -> None:
    root = Path(index_.__file__).parent
    code = "".join(path.read_text() for path in root.glob("*.py"))
    made = {f"{table}_find{among}" for table in ("stems", "forms") for among in ("", "_among")}
    names = queries("index.sql")
    assert [name for name in names if f'"{name}"' not in code and name not in made] == []
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(index_schema())
        for text in names.values():
            count = text.count("?")
            values = [1] * count if count else dict.fromkeys(_named(text), 1)
            connection.execute(f"EXPLAIN {text}", values)


def _named(text: str) -> list[str]:
    import re

    return re.findall(r":(\w+)", text)


def test_however_many_messages_a_section_has_none_is_near_another_section_s(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert units.MOST_MESSAGES + 4 < 1 << 20  # what `at` has room for, in index_schema.sql
    monkeypatch.setattr(units, "MOST_MESSAGES", 3)
    path = memory.say(*"abcdefg", place=CLUB)
    with path.open("a") as file:
        file.write("---\n\n## 13:00:00 UTC\n\n**user:** in private\n\n")
    found = [(unit.section, unit.position, unit.place) for unit in units.read(path)]
    numbers = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert found == [(*number, CLUB) for number in numbers] + [(3, 0, None)]


def test_of_more_sections_than_a_file_may_have_the_last_are_not_found_and_no_other_file_s_take_harm(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "MOST_SECTIONS", 3)
    memory.say("apples").write_text(
        "".join(f"## {hour}:00:00 UTC\n\n**user:** apples\n\n" for hour in range(10, 16))
    )
    memory.say("pears", days=1)
    assert memory.find("apples") == ["apples"] * 3
    assert memory.find("pears") == ["pears"]
