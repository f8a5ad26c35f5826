"""A summary above a section's turns leaves everything else as it was, whatever either of them says."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.transcripts import SUMMARY, Known, Section, Transcripts, TurnRecord

DAY = date(2026, 3, 2)
NOON = 1772452800.0  # that day, UTC
WORDS = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(["## 10:00:00 UTC", "**user:** x", "---", "> y", "", "\r", "\u2028", "- z"])
    ).map("\n".join),
)
one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(transcripts: Transcripts, *turns: tuple[str, str], at: float = NOON) -> None:
    known = Known()
    for said, answered in turns:
        record = TurnRecord("memory-1", at, "UTC", None, (("user", said), ("assistant", answered)))
        written = transcripts.write(record, known)
        known = Known(written.size, written.heading, written.turns)


def sections(transcripts: Transcripts) -> list[Section]:
    return transcripts.day("memory-1", DAY)


@one_file
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3), WORDS, WORDS)
def test_what_was_said_stays_as_it_is(
    tmp_path: Path, turns: list[tuple[str, str]], first: str, second: str
) -> None:
    transcripts = Transcripts(tmp_path)
    (tmp_path / "memory-1" / "2026-03-02.md").unlink(missing_ok=True)
    write(transcripts, *turns)
    write(transcripts, ("later", "indeed"), at=NOON + 3600)
    before, size = sections(transcripts), len(transcripts.path("memory-1", DAY).read_bytes())
    for text in (first, second):
        size += transcripts.summarise("memory-1", DAY, "12:00:00 UTC", text)
    after = sections(transcripts)
    assert [(s.heading, s.messages) for s in after] == [(s.heading, s.messages) for s in before]
    assert len(transcripts.path("memory-1", DAY).read_bytes()) == size
    assert after[0].stray.startswith(SUMMARY)
    assert after[0].stray.count(SUMMARY) == 1 + second.count(SUMMARY), "the older one is replaced"
    assert after[1].stray == ""


def test_what_a_person_wrote_above_the_turns_stays(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path)
    write(transcripts, ("hello", "hi"))
    path = transcripts.path("memory-1", DAY)
    path.write_text(
        path.read_text().replace("## 12:00:00 UTC\n", "## 12:00:00 UTC\n\nMy own note.\n> A quotation.\n")
    )
    transcripts.summarise("memory-1", DAY, "12:00:00 UTC", "one")
    transcripts.summarise("memory-1", DAY, "12:00:00 UTC", "two\nlines")
    assert sections(transcripts)[0].stray == f"{SUMMARY} two\n> lines\n\nMy own note.\n> A quotation."


def test_a_section_that_somebody_removed_is_not_summed_up(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path)
    write(transcripts, ("hello", "hi"))
    before = transcripts.raw("memory-1", DAY)
    assert transcripts.summarise("memory-1", DAY, "13:00:00 UTC", "one") == 0
    assert transcripts.summarise("memory-1", date(2026, 3, 3), "12:00:00 UTC", "one") == 0
    assert transcripts.raw("memory-1", DAY) == before
