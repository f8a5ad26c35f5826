"""What is the same word to a reader, and what a query of people asks for."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import words
from memory.sql import index_schema
from memory.words import MOST_TERMS, first_of, fold, parse

DETERMINISTIC = settings(deadline=None, derandomize=True, database=None)


def matches(query: str, text: str) -> bool:
    """Whether the real FTS5 finds the text."""
    asked = parse(query)
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in index_schema().split("CREATE VIRTUAL TABLE ")[1:]:
            connection.execute("CREATE VIRTUAL TABLE " + statement[: statement.index(");") + 1])
        for table in ("stems", "forms"):
            connection.execute(f"INSERT INTO {table} (rowid, text) VALUES (1, ?)", (fold(text),))

        def found(table: str, expression: str) -> bool:
            rows = connection.execute(f"SELECT rowid FROM {table} WHERE {table} MATCH ?", (expression,))
            return rows.fetchone() is not None

        if asked.phrases and not found("forms", asked.phrases):
            return False
        return bool(
            asked.phrases
            or (asked.words and found("stems", asked.words))
            or (asked.beginnings and found("forms", asked.beginnings))
        )


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("run", "I was running"),
        ("universities", "my university"),
        ("CAFE", "Let us meet at the Café"),
        ("café", "cafe"),
        ("strasse", "Die STRAẞE nach Graz"),
        ("Straße", "STRASSE"),
        ("uberraschung", "eine Überraschung"),
        ("naïve", "naive"),
        ("Lodz Tromso", "Łódź"),
        ("ærø", "Aero"),
        ("елка", "Ёлка стоит"),
        ("Ελλαδα", "στην Ελλάδα"),
        ("İstanbul", "istanbul"),
        ("don't", "I don’t know"),
        ("dont't know", "I know"),
        ("ﬁre", "fire"),
        ("ＡＢＣ", "abc"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("東京", "昨日東京でラーメンを食べました"),
        ("ラーメン", "昨日東京でラーメンを食べました"),
        ("東京で何を食べましたか", "昨日東京でラーメンを食べました"),
        ("犬", "犬を飼っています"),
        ("北京", "我明天去北京出差"),
        ("自行车", "我买了一辆蓝色的自行车"),
        ("ภาษาไทย", "ฉันเรียนภาษาไทยทุกวัน"),
        ("ກາເຟ", "ຂ້ອຍມັກກາເຟລາວ"),
        ("កាហ្វេ", "ខ្ញុំចូលចិត្តកាហ្វេ"),
        ("ကော်ဖီ", "ကျွန်တော် ကော်ဖီ ကြိုက်တယ်"),
        ("학교", "어제 학교에서 만났어"),
        ("हिन्दी", "मुझे हिन्दी पसंद है"),
        ("سلام", "سَلَام عليكم"),
        ("שלום", "שָׁלוֹם"),
        ("iPhone", "新しいiPhoneを買った"),
        ("2026", "in 2026年"),
        ("the", "over the hill"),
        ("what did I say about my dog", "the dog barks"),
        ("someone@example.org", "write to someone@example.org"),
        ('"blue whale"', "A blue, whale"),
        ('"東京で"', "昨日東京でラーメン"),
        ('"see you tomorrow', "see you tomorrow"),
        ("“blue whale”", "a blue whale"),
        ("beginn*", "in the beginning"),
        ("use*", "I used it"),
        ("generali*", "generalization"),
        ("tie*", "ties"),
        ("cafe*", "Cafés"),
        ('"blue whale" krill', "a blue whale"),
    ],
)
def test_what_a_reader_would_find_is_found(query: str, text: str) -> None:
    assert matches(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ('"running shoes"', "run shoe"),
        ('"blue whale"', "a whale that is blue"),
        ('"blue whale"', "blue whales"),
        ('"the whale" dog', "the dog saw a whale"),
        ("京東", "東京"),
        ('"東京"', "京東"),
        ("cat*", "location"),
        ("running*", "run"),
        ("use*", "us"),
        ("dog", "dogma"),
        ("犬", "猫"),
    ],
)
def test_what_a_reader_would_not_find_is_not_found(query: str, text: str) -> None:
    assert not matches(query, text)


@pytest.mark.parametrize(
    "query", ["", "   ", "!!!", '""', '"', "*", "***", "-", "\0", "\ud800", "🎉", "( ) : ^"]
)
def test_a_query_without_a_word_asks_for_nothing(query: str) -> None:
    assert not parse(query)


@pytest.mark.parametrize(
    "query",
    [
        *(
            "a AND b",
            "NEAR(a b)",
            "text : a",
            "{text} : a",
            "-a",
            "^a",
            "a OR",
            "AND",
            "(a",
            "a)",
            'a" b',
            "a\0b",
        ),
        *(
            '"a" + "b"',
            "a NOT b",
            "NEAR(a b, 2",
            '"',
            '""a""',
            "rank MATCH 'x'",
            "'; DROP TABLE stems; --",
            "a*b* c*",
        ),
    ],
)
def test_the_syntax_of_fts5_is_data(query: str) -> None:
    matches(query, "something else")
    assert matches(f"{query.replace(chr(34), ' ')} zebra", "a zebra")


@given(st.text(max_size=60), st.text(max_size=60))
@DETERMINISTIC
def test_no_query_breaks_the_index_and_no_text_does(query: str, text: str) -> None:
    matches(query, text.encode("utf-8", "replace").decode())


@given(
    st.text(st.characters(categories=["Ll", "Lo"], max_codepoint=0x52F), min_size=1, max_size=12),
    st.text(max_size=20),
)
@settings(DETERMINISTIC, max_examples=200)
def test_a_word_is_found_in_a_text_that_has_it(word: str, around: str) -> None:
    around = around.encode("utf-8", "replace").decode()
    assert matches(word, f"{around} {word} {around}")
    assert matches(f'"{word}"', f"{around} {word} {around}")


def test_a_pasted_book_asks_for_its_beginning_alone() -> None:
    asked = parse(" ".join(f"word{number}" for number in range(100_000)))
    assert asked.words.count(" OR ") == MOST_TERMS - 1


def test_function_words_count_only_where_there_is_nothing_else() -> None:
    assert parse("what did I say about the dog").words == '"dog"'
    assert parse("to be or not to be").words.count(" OR ") == 3
    assert parse('what about "my dog"').words == ""


def test_a_word_that_stands_twice_is_asked_for_once() -> None:
    assert parse("dog Dog DOG").words == '"dog"'


@pytest.mark.parametrize(
    ("query", "text", "there"),
    [
        ("bicycle", "x" * 50 + " my Bicycles", 54),
        ("the bicycle", "the red bicycle", 8),
        ("café", "un CAFÉ", 3),
        ("東京", "昨日の東京", 3),
        ("學校 어제", "한국어 어제", 4),
        ("cat", "location of a cat", 14),
        ("tea", "I teach a team about tea", 21),
        ("teas", "a cup of tea", 9),
        ("cities", "the old city", 8),
        ("bicycle tea", "my bicycles and tea", 16),
        ('"green tea"', "a green hat and green  tea", 16),
        ("“green tea” hat", "a hat and GREEN-tea", 10),
        ("zebra", "no such animal", 0),
        ("!!!", "nothing", 0),
    ],
)
def test_where_a_text_has_the_words_is_known(query: str, text: str, there: int) -> None:
    assert first_of(query, text) == there


def test_a_change_of_what_folding_does_comes_with_another_version() -> None:
    """An index that was folded otherwise has to be made anew: whoever changes the first line here raises the version."""
    folded = fold("Ｃａｆé STRAẞE Ærø Ёлка ｶﾞ 東京ก็ سَلَام हिन्दी")
    assert (folded, words.VERSION.split()[0]) == ("cafe strasse aero елка  ガ   東  京  ก็  سلام हिन्दी", "1")
