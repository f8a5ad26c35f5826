"""Dead letters on disk: what is kept of them, what one try takes along, and what is erased."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memory import dead, inbox, outbox
from memory.database import Database, Tx, open_database
from memory.dead import KEEP

CHAT = {"platform": "memory", "id": "7", "kind": "group", "title": "Anna's secret club", "thread": "3"}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "b.db") as database:
        yield database


def unreadable(tx: Tx, key: str = "1", at: float = 100.0) -> int:
    row = inbox.Row("memory:x", key, "memory", "quarantined", at, body='{"raw": 1}', problem="no chat")
    return inbox.add(tx, row) or 0


def given_up(tx: Tx, *texts: str, at: float = 200.0, keep: bool = True) -> int:
    """A turn of several messages that ended badly; its id."""
    rows = [
        inbox.add(
            tx,
            inbox.Row(
                "memory:x",
                f"{at}-{index}",
                "memory",
                "waiting",
                at,
                "lane",
                "memory-1",
                body=json.dumps({"decision": "turn", "update": {"chat": CHAT, "text": text}}),
            ),
        )
        or 0
        for index, text in enumerate(texts)
    ]
    claim = inbox.claim(tx, rows[0], 0, "", rows, at)
    assert claim is not None
    inbox.close(tx, claim, "failed:attempts", at, keep=keep)
    return rows[0]


def undelivered(tx: Tx, turn_id: int, text: str = "an answer", at: float = 300.0) -> int:
    part = outbox.put(tx, turn_id, 0, CHAT, "", True, text, at)
    assert part is not None
    tx.run("outbox_dead", id=part.id, problem="the chat is gone")
    return part.id


async def test_the_three_kinds_are_listed_by_age_and_tell_no_words_but_in_words(database: Database) -> None:
    def unit(tx: Tx) -> tuple[int, int, int]:
        turn = given_up(tx, "one", "two")
        return unreadable(tx), turn, undelivered(tx, turn)

    update, turn, reply = await database.write(unit)
    found = await database.read(dead.letters)
    assert [(x.id, x.problem, x.attempts, x.words) for x in found] == [
        (f"u{update}", "no chat", 1, '{"raw": 1}'),
        (f"t{turn}", "failed:attempts", 1, "one\n\ntwo"),
        (f"r{reply}", "the chat is gone", 1, "an answer"),
    ]
    assert [(x.chat, x.user) for x in found] == [("", ""), *[("memory:7:3", "memory-1")] * 2]
    assert [dead.parse(x.id) for x in found] == [(x.kind, x.number) for x in found]


async def test_a_turn_that_is_not_kept_leaves_no_words(database: Database) -> None:
    await database.write(lambda tx: given_up(tx, "one", "two", keep=False))
    assert await database.read(dead.letters) == []
    assert b"one" not in database.path.read_bytes()


@pytest.mark.parametrize("id_", ["", "u", "x1", "12", "u-1", "u1.5", "u١", "u1 ", "t" + "9" * 19])
def test_what_is_no_id_is_told_so(id_: str) -> None:
    with pytest.raises(ValueError, match="no dead letter's id"):
        dead.parse(id_)


async def test_a_letter_is_tried_again_once_for_each_time_it_is_asked_for(database: Database) -> None:
    def unit(tx: Tx) -> tuple[int, int, int]:
        turn = given_up(tx, "one", "two")
        return unreadable(tx), turn, undelivered(tx, turn)

    update, turn, reply = await database.write(unit)

    def ask(tx: Tx) -> None:
        for kind, number in (("update", update), ("turn", turn), ("reply", reply)) * 2:
            dead.ask(tx, kind, number)  # type: ignore[arg-type]

    await database.write(ask)
    assert {x.asked for x in await database.read(dead.letters)} == {True}
    [first, second, raw] = rows = await database.read(lambda tx: dead.asked(tx, "memory"))
    assert [row.again for row in rows] == ["200.0-0~1", "200.0-1~1", "1~1"]
    assert (raw.raw, [row.body["update"]["text"] for row in (first, second)]) == (
        '{"raw": 1}',
        ["one", "two"],
    )
    assert await database.read(lambda tx: dead.asked(tx, "other")) == []
    assert await database.write(lambda tx: outbox.revive(tx, "other")) == []
    [part] = await database.write(lambda tx: outbox.revive(tx, "memory"))
    assert (part.id, part.text, part.chat) == (reply, "an answer", CHAT)
    assert await database.write(lambda tx: outbox.revive(tx, "memory")) == []
    assert [p.id for p in await database.read(lambda tx: outbox.owed(tx, "memory"))] == [reply]

    await database.write(lambda tx: [dead.taken_up(tx, row) for row in (first, second)])
    await database.write(lambda tx: dead.still_unreadable(tx, raw, "still no chat"))
    [left] = await database.read(dead.letters)
    assert (left.id, left.problem, left.attempts, left.asked) == (f"u{update}", "still no chat", 2, False)
    await database.write(lambda tx: dead.ask(tx, "update", update))
    [again] = await database.read(lambda tx: dead.asked(tx, "memory"))
    assert again.again == "1~2"


async def test_a_part_that_dies_again_is_a_letter_again_with_its_attempts(database: Database) -> None:
    reply = await database.write(lambda tx: undelivered(tx, 5))
    await database.write(lambda tx: dead.ask(tx, "reply", reply))
    await database.write(lambda tx: outbox.revive(tx, "memory"))
    assert await database.read(dead.letters) == []
    await database.write(lambda tx: tx.run("outbox_dead", id=reply, problem="still gone"))
    [letter] = await database.read(dead.letters)
    assert (letter.problem, letter.attempts, letter.asked) == ("still gone", 2, False)


async def test_what_is_dropped_stands_nowhere_in_the_files(database: Database, tmp_path: Path) -> None:
    def unit(tx: Tx) -> list[tuple[str, int]]:
        turn = given_up(tx, "marzipan one", "marzipan two")
        return [
            ("update", unreadable(tx)),
            ("turn", turn),
            ("reply", undelivered(tx, turn, "marzipan three")),
        ]

    numbers = await database.write(unit)
    await database.write(lambda tx: [dead.drop(tx, kind, number) for kind, number in numbers])  # type: ignore[arg-type]
    assert await database.read(dead.letters) == []
    await database.read(lambda tx: tx.one("wal_empty"))
    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert [file.name for file in files if b"marzipan" in file.read_bytes()] == []
    # An update that the platform brings once more is known all the same
    again = inbox.Row("memory:x", "1", "memory", "quarantined", 1.0)
    assert await database.write(lambda tx: inbox.add(tx, again)) is None


async def test_after_thirty_days_letters_are_let_go(database: Database) -> None:
    def unit(tx: Tx, at: float) -> None:
        turn = given_up(tx, "words", at=at)
        unreadable(tx, str(at), at)
        undelivered(tx, turn, at=at)

    await database.write(lambda tx: unit(tx, 1000.0))
    await database.write(lambda tx: unit(tx, 2000.0))
    await database.write(lambda tx: dead.prune(tx, 1500.0 + KEEP))
    assert [x.at for x in await database.read(dead.letters)] == [2000.0] * 3
