"""Vectors beside the words: what is found by them, and that they are of what stands in the files now, and of one model."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from functools import partial
from operator import eq
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import vectors
from memory.index import Index, Passage
from memory.transcripts import Known, Message, Place, Transcripts, TurnRecord
from memory.vectors import Meaning, unit_vector
from tests.fakes.embedding_server import meaning

NOON = 1793707200.0  # 2026-11-03 12:00:00 UTC
DAY = 86_400.0
ANNA, BEN = "telegram-1001", "telegram-1002"
CLUB = Place("telegram", "group", "-100123", "Book club")
ZOO = Place("telegram", "group", "-100200", "Zoo")


class Memory:
    """Transcripts, their index, and vectors by the fake model."""

    def __init__(self, root: Path) -> None:
        self.transcripts = Transcripts(root / "memory")
        self.index = Index(root / "index", self.transcripts)

    def say(self, *messages: str, user: str = ANNA, days: int = 0, place: Place | None = None) -> Path:
        said: list[Message] = [("assistant" if n % 2 else "user", text) for n, text in enumerate(messages)]
        record = TurnRecord(user, NOON + days * DAY, "UTC", place, tuple(said))
        return self.transcripts.write(record, Known()).path

    def fill(self, user: str = ANNA, model: str = "m", most: int = 100) -> list[str]:
        """Make vectors that are wanted, at most so many; their texts."""
        told = self.index.use(user, lambda it: vectors.wanted(it, model, most)) or []
        made = [(key, text, unit_vector(meaning(text))) for key, text in told]
        self.index.use(user, lambda it: vectors.store(it, model, made))
        return [text for _, text in told]

    def find(self, query: str, *people: str, model: str = "m", **how: object) -> list[str]:
        return [one.text for one in self.passages(query, *people, model=model, **how)]

    def passages(self, query: str, *people: str, model: str = "m", **how: object) -> list[Passage]:
        asked = unit_vector(meaning(query))
        assert asked is not None
        return self.index.search(people or (ANNA,), query, meaning=Meaning(model, asked), **how)  # type: ignore[arg-type]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path)
    yield memory
    memory.index.close()


def test_what_means_alike_is_found_without_a_word_in_common(memory: Memory) -> None:
    memory.say("our greyhound sleeps", "how nice")
    memory.say("the landlord wrote", "oh dear", days=1)
    memory.fill()
    assert memory.find("puppy")[0] == "our greyhound sleeps"
    assert memory.find("apartment")[0] == "the landlord wrote"
    assert memory.index.search([ANNA], "puppy") == []


def test_words_and_meaning_together_come_before_either(memory: Memory) -> None:
    memory.say("a hound", "x", days=1)
    memory.say("my greyhound in March", "x", days=2)
    memory.say("March was cold", "x", days=3)
    memory.fill()
    assert memory.find("dog March")[0] == "my greyhound in March"


def test_a_phrase_or_a_beginning_gives_what_has_it_and_nothing_else(memory: Memory) -> None:
    memory.say("our greyhound sleeps", "how nice")
    memory.fill()
    assert memory.find('"puppy"') == []
    assert memory.find("pup*") == []


def test_days_and_places_are_kept_to_before_anything_is_ranked(memory: Memory) -> None:
    for number in range(200):
        memory.say(f"dog {number}", "dog", days=-number)
    memory.say("hound", "fine", days=1, place=CLUB)
    memory.say("hound", "well", days=2, place=ZOO)
    memory.fill(most=1000)
    of_club = memory.passages("puppy", allowed=lambda place: place == CLUB, limit=20)
    assert {one.text for one in of_club} == {"hound", "fine"}
    assert {one.place for one in of_club} == {CLUB}
    later = memory.passages("puppy", first=date(2026, 11, 5), limit=20)
    assert {one.date for one in later} == {date(2026, 11, 5)}


def test_vectors_that_are_half_made_find_what_they_can_and_words_find_the_rest(memory: Memory) -> None:
    memory.say("our greyhound", "nice")
    memory.say("a hound at last", "good", days=1)
    assert memory.find("puppy") == []
    assert memory.fill(most=2) == ["a hound at last\ngood", "a hound at last"]  # the newest first
    assert memory.find("puppy")[0] == "a hound at last"
    assert "our greyhound" in memory.find("greyhound")
    assert memory.fill() == ["our greyhound\nnice", "our greyhound"]
    assert memory.fill() == []


def test_what_was_removed_takes_its_vector_along_and_that_of_the_message_after_it(memory: Memory) -> None:
    path = memory.say("my dog", "is it well", "yes", "fine")
    assert len(memory.fill()) == 4
    path.write_text(path.read_text().replace("**user:** my dog\n\n", ""))
    assert memory.find("puppy", limit=20) != ["my dog"]
    assert sorted(memory.fill()) == ["is it well", "is it well\nyes", "yes\nfine"]  # they stand elsewhere now


def test_a_message_that_was_edited_is_made_a_vector_of_again_with_the_one_after_it(memory: Memory) -> None:
    path = memory.say("my dog", "is it well", "yes", "fine")
    memory.fill()
    path.write_text(path.read_text().replace("my dog", "my rent"))
    assert sorted(memory.fill()) == ["my rent", "my rent\nis it well"]


def test_a_turn_that_is_added_costs_its_own_messages_alone(memory: Memory) -> None:
    memory.say("my dog", "is it well")
    memory.fill()
    memory.say("a second one", "fine", days=1)
    assert sorted(memory.fill()) == ["a second one", "a second one\nfine"]


def test_another_model_has_all_vectors_made_anew_and_finds_none_of_the_old_ones(memory: Memory) -> None:
    memory.say("our greyhound", "nice")
    memory.fill(model="m")
    assert memory.find("puppy", model="other") == []
    assert len(memory.fill(model="other")) == 2
    assert memory.find("puppy", model="other")[0] == "our greyhound"
    assert memory.find("puppy", model="m") == []


def test_a_vector_of_what_was_changed_meanwhile_is_not_kept(memory: Memory) -> None:
    path = memory.say("my dog", "nice")
    told = memory.index.use(ANNA, lambda it: vectors.wanted(it, "m", 9)) or []
    path.write_text(path.read_text().replace("my dog", "my rent"))
    made = [(key, text, unit_vector(meaning(text))) for key, text in told]
    memory.index.use(ANNA, lambda it: vectors.store(it, "m", made))
    assert len(memory.fill()) == 2
    assert memory.find("puppy", limit=1) != ["my dog"]


def test_vectors_of_a_model_that_is_no_longer_the_one_are_not_kept(memory: Memory) -> None:
    memory.say("my dog", "nice")
    told = memory.index.use(ANNA, lambda it: vectors.wanted(it, "old", 9)) or []
    memory.fill(model="new")
    made = [(key, text, unit_vector(meaning(text))) for key, text in told]
    memory.index.use(ANNA, lambda it: vectors.store(it, "old", made))
    assert memory.find("puppy", model="new")[0] == "my dog"


def test_a_text_without_a_vector_is_not_asked_for_again_and_harms_no_search(memory: Memory) -> None:
    memory.say("my dog", "zzz")
    told = memory.index.use(ANNA, lambda it: vectors.wanted(it, "m", 9)) or []
    made = [(key, text, None if "zzz" in text else unit_vector(meaning(text))) for key, text in told]
    memory.index.use(ANNA, lambda it: vectors.store(it, "m", made))
    assert memory.fill() == []
    assert memory.find("puppy", limit=1) == ["my dog"]


def test_long_messages_are_told_by_their_beginning(memory: Memory) -> None:
    memory.say("dog " * 5000, "rent " * 5000)
    assert max(len(text) for text in memory.fill()) <= 2301
    assert memory.find("puppy")[0].startswith("dog")


def test_of_several_user_ids_the_nearest_come_first_wherever_they_stand(memory: Memory) -> None:
    for number in range(12):
        memory.say(f"greyhound number {number}", "x", days=number)
        memory.say(f"the bicycle {number}", "x", user=BEN, days=number)
    memory.fill(ANNA)
    memory.fill(BEN)
    found = memory.passages("puppy", ANNA, BEN, limit=10)
    assert [one.user_id for one in found].count(ANNA) >= 9


def test_an_index_that_is_made_anew_has_its_vectors_made_anew(memory: Memory) -> None:
    memory.say("my dog", "nice")
    memory.fill()
    memory.index.forget(ANNA)
    assert memory.find("puppy") == []
    assert len(memory.fill()) == 2
    assert memory.find("puppy", limit=1) == ["my dog"]


@pytest.mark.parametrize(
    "found", ["x", None, 7, [], {}, ["a"], [math.nan, 1], [math.inf], [0.0, 0.0], [[1.0]]]
)
def test_what_is_no_vector_is_none(found: object) -> None:
    assert unit_vector(found) is None


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40).filter(any))
def test_any_numbers_make_a_vector_of_length_one_that_points_the_same_way(numbers: list[float]) -> None:
    vector = unit_vector(numbers)
    assert vector is not None
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    biggest = int(np.argmax(np.abs(numbers)))
    assert math.copysign(1, vector[biggest]) == math.copysign(1, numbers[biggest])


# Whose words ------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["dog", "hound", "rent", "flat", "bike", "a b", "", "'; --", "zzz", '"', "ſ", "\u202e"]
)
PLACES = st.sampled_from([None, CLUB, ZOO])
SAID = st.lists(st.tuples(st.sampled_from([ANNA, BEN]), PLACES, WORDS), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(said=SAID, asks=st.lists(st.tuples(WORDS, PLACES), min_size=1, max_size=4), some=st.integers(0, 20))
def test_meaning_gives_nobody_elses_words_and_in_a_group_only_that_groups(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[str, Place | None, str]],
    asks: list[tuple[str, Place | None]],
    some: int,
) -> None:
    memory = Memory(tmp_path_factory.mktemp("memory"))
    for number, (user, place, words) in enumerate(said):
        where = place.chat_id if place else "private"
        memory.say(
            f"{words} of {user} in {where}",
            f"answer to {user} in {where}",
            user=user,
            days=number,
            place=place,
        )
    for user in (ANNA, BEN):
        memory.fill(user, most=some or 1)  # half of them, or all
    for query, place in asks:
        for user, other in ((ANNA, BEN), (BEN, ANNA)):
            for one in memory.passages(f"puppy {query}", user, limit=50):
                assert one.user_id == user
                assert other not in repr(one)
            for one in memory.passages(f"puppy {query}", user, allowed=partial(eq, place), limit=50):
                assert one.place == place
                told = " ".join([one.text, *(text for _, text in (*one.before, *one.after))])
                assert ("private" in told) == (place is None)
                assert {"-100123", "-100200"} & set(told.split()) <= {place.chat_id if place else ""}
    memory.index.close()


def test_vectors_are_in_the_persons_own_file_and_go_with_it(memory: Memory, tmp_path: Path) -> None:
    memory.say("my dog", "nice")
    memory.say("my rent", "oh", user=BEN)
    memory.fill(ANNA)
    memory.fill(BEN)
    with closing(sqlite3.connect(tmp_path / "index" / f"{ANNA}.db")) as file:
        assert file.execute("SELECT count(*) FROM vectors").fetchone() == (2,)
    memory.index.forget(ANNA)
    assert [path.name for path in (tmp_path / "index").iterdir()] == [f"{BEN}.db"]
