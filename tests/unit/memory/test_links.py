"""Who is one person with whom: codes link once, for those they are meant for, and parting undoes it."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import links, people
from memory.database import Database, Tx, open_database
from memory.links import CODE_SECONDS, MOST_IDS, MOST_TRIES, MOST_TRIES_IN_ALL, TRIES_SECONDS, Code

NOW = 1_793_707_200.0
CHAT = {"platform": "telegram", "id": "1", "kind": "private", "title": "", "thread": ""}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "b.db") as opened:
        yield opened


def code_of(tx: Tx, user: str, at: float = NOW) -> str:
    return links.ask(tx, user, user.title(), "de", CHAT, at)


def join(tx: Tx, one: str, other: str, at: float = NOW) -> tuple[str, ...]:
    found = links.find(tx, code_of(tx, one, at), other, at)
    assert isinstance(found, Code)
    return links.link(tx, found, other, at)


async def test_whoever_types_the_code_is_one_person_with_whoever_got_it(database: Database) -> None:
    def unit(tx: Tx) -> None:
        assert join(tx, "telegram-1", "discord-7") == ("telegram-1",)
        assert links.people(tx, "telegram-1") == ("telegram-1", "discord-7")
        assert links.people(tx, "discord-7") == ("discord-7", "telegram-1")
        assert links.people(tx, "slack-T1-U7") == ("slack-T1-U7",)
        assert set(links.linked(tx)) == {"telegram-1", "discord-7"}

    await database.write(unit)


async def test_a_code_is_good_once(database: Database) -> None:
    def unit(tx: Tx) -> None:
        code = code_of(tx, "telegram-1")
        found = links.find(tx, code, "discord-7", NOW)
        assert isinstance(found, Code)
        links.link(tx, found, "discord-7", NOW)
        for user in ("discord-7", "discord-8", "telegram-1"):
            assert links.find(tx, code, user, NOW) == "unknown"

    await database.write(unit)


async def test_a_code_is_good_for_ten_minutes_and_in_small_letters(database: Database) -> None:
    def unit(tx: Tx) -> None:
        code = code_of(tx, "telegram-1")
        assert isinstance(links.find(tx, f" {code.lower()} ", "discord-7", NOW + CODE_SECONDS - 1), Code)
        assert links.find(tx, code, "discord-7", NOW + CODE_SECONDS) == "unknown"

    await database.write(unit)


async def test_a_new_code_takes_the_place_of_the_older_one_and_forgets_who_saw_it(database: Database) -> None:
    def unit(tx: Tx) -> None:
        first = code_of(tx, "telegram-1")
        found = links.find(tx, first, "discord-7", NOW)
        assert isinstance(found, Code)
        links.show(tx, found, "discord-7")
        second = code_of(tx, "telegram-1")
        assert links.find(tx, first, "discord-7", NOW) == "unknown"
        found = links.find(tx, second, "discord-7", NOW)
        assert isinstance(found, Code)
        assert found.shown_to == set()

    await database.write(unit)


async def test_nobody_is_linked_with_themselves(database: Database) -> None:
    def unit(tx: Tx) -> None:
        assert links.find(tx, code_of(tx, "telegram-1"), "telegram-1", NOW) == "own"
        join(tx, "telegram-1", "discord-7")
        join(tx, "telegram-1", "slack-T1-U7")
        assert links.find(tx, code_of(tx, "slack-T1-U7"), "discord-7", NOW) == "linked"
        assert len(links.people(tx, "discord-7")) == 3

    await database.write(unit)


async def test_two_who_were_linked_with_others_bring_them_along_up_to_eight(database: Database) -> None:
    def unit(tx: Tx) -> None:
        for n in range(2, 5):
            join(tx, "telegram-1", f"telegram-{n}")
            join(tx, "discord-1", f"discord-{n}")
        join(tx, "telegram-3", "discord-2")
        assert len(links.people(tx, "telegram-1")) == MOST_IDS == len(set(links.people(tx, "discord-4")))
        assert links.find(tx, code_of(tx, "discord-4"), "slack-T1-U7", NOW) == "too_many"
        assert links.find(tx, code_of(tx, "slack-T1-U7"), "discord-4", NOW) == "too_many"
        assert links.people(tx, "slack-T1-U7") == ("slack-T1-U7",)

    await database.write(unit)


async def test_after_some_wrong_codes_even_the_right_one_is_not_looked_at(database: Database) -> None:
    def unit(tx: Tx) -> None:
        code = code_of(tx, "telegram-1")
        for _ in range(MOST_TRIES):
            assert links.find(tx, "AAAAAAAA", "discord-7", NOW) == "unknown"
            links.missed(tx, "discord-7", NOW)
        assert links.find(tx, code, "discord-7", NOW + CODE_SECONDS - 1) == "too_often"
        assert isinstance(links.find(tx, code, "discord-8", NOW), Code)
        assert links.find(tx, code, "discord-7", NOW + TRIES_SECONDS) == "unknown"  # they may try again

    await database.write(unit)


async def test_a_crowd_of_guessers_is_one_guesser(database: Database) -> None:
    def unit(tx: Tx) -> None:
        code = code_of(tx, "telegram-1")
        for n in range(MOST_TRIES_IN_ALL):
            links.missed(tx, f"discord-{n}", NOW)
        assert links.find(tx, code, "discord-1000", NOW) == "too_often"

    await database.write(unit)


async def test_what_cannot_be_a_code_is_none(database: Database) -> None:
    def unit(tx: Tx) -> None:
        code_of(tx, "telegram-1")
        for forged in ("telegram-1", "%", "' OR 1=1 --", "*", "ＡＡＡＡＡＡＡＡ", "\0", "x" * 10_000):
            assert links.find(tx, forged, "discord-7", NOW) == "unknown"

    await database.write(unit)


async def test_parting_leaves_the_others_together_and_of_two_neither(database: Database) -> None:
    def unit(tx: Tx) -> None:
        join(tx, "telegram-1", "discord-7")
        join(tx, "telegram-1", "slack-T1-U7")
        assert set(links.unlink(tx, "telegram-1", NOW)) == {"discord-7", "slack-T1-U7"}
        assert links.people(tx, "telegram-1") == ("telegram-1",)
        assert links.people(tx, "discord-7") == ("discord-7", "slack-T1-U7")
        assert links.unlink(tx, "discord-7", NOW) == ("slack-T1-U7",)
        assert links.linked(tx) == {}
        assert links.unlink(tx, "discord-7", NOW) == ()
        join(tx, "telegram-1", "discord-7")
        assert len(links.people(tx, "discord-7")) == 2

    await database.write(unit)


async def test_everybody_but_who_decides_is_told_where_they_can_be(database: Database) -> None:
    home = {**CHAT, "platform": "discord", "id": "70"}

    def unit(tx: Tx) -> None:
        people.set_home(tx, "discord-7", home)
        join(tx, "discord-6", "discord-7")  # 6 asked for a code in CHAT
        join(tx, "telegram-1", "discord-6")
        told = [(n.user_id, n.chat["id"], n.language, n.others, n.linked) for n in links.notices(tx)]
        assert told == [
            ("discord-6", "1", "de", ("discord-7",), True),
            ("telegram-1", "1", "de", ("discord-6", "discord-7"), True),
            ("discord-7", "70", "", ("telegram-1",), True),
        ]
        for notice in links.notices(tx):
            links.told(tx, notice)
        links.unlink(tx, "telegram-1", NOW)
        assert [(n.user_id, n.others, n.linked) for n in links.notices(tx)] == [
            ("discord-7", ("telegram-1",), False)
        ]  # nobody knows a private chat of 6, who asked for a code as an interaction in a group

    await database.write(unit)


async def test_the_zone_is_ones_own_else_that_of_whom_one_was_linked_with_first(database: Database) -> None:
    def unit(tx: Tx) -> None:
        join(tx, "telegram-1", "discord-7", NOW)
        join(tx, "telegram-1", "slack-T1-U7", NOW + 1)
        assert links.person(tx, "telegram-1").timezone == ""
        tx.run("person_timezone", user_id="slack-T1-U7", timezone="Asia/Tokyo")
        assert links.person(tx, "telegram-1").timezone == "Asia/Tokyo"
        tx.run("person_timezone", user_id="discord-7", timezone="Europe/Vienna")
        assert links.person(tx, "telegram-1").timezone == "Europe/Vienna"
        assert links.person(tx, "slack-T1-U7").timezone == "Asia/Tokyo"
        tx.run("person_timezone", user_id="telegram-1", timezone="UTC")
        assert links.person(tx, "telegram-1").timezone == "UTC"
        links.unlink(tx, "slack-T1-U7", NOW)
        assert links.person(tx, "slack-T1-U7").timezone == "Asia/Tokyo"

    await database.write(unit)


async def test_what_is_over_is_let_go_of(database: Database) -> None:
    def unit(tx: Tx) -> list[int]:
        join(tx, "discord-6", "discord-7")
        code_of(tx, "telegram-1")
        links.missed(tx, "discord-7", NOW)
        links.missed(tx, "discord-7", NOW + 10 * TRIES_SECONDS)  # by a clock that was wrong
        links.prune(tx, NOW + TRIES_SECONDS, NOW + TRIES_SECONDS)
        tables = ("link_codes", "link_tries", "link_notices", "links")
        return [tx._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]

    assert await database.write(unit) == [0, 0, 0, 2]


IDS = [f"{platform}-{n}" for platform in ("telegram", "discord") for n in range(5)]


@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([None, *IDS])), max_size=30))
@settings(deadline=None, derandomize=True, database=None, max_examples=150)
def test_whatever_is_linked_and_parted_everybody_is_exactly_one_person(
    steps: list[tuple[str, str | None]],
) -> None:
    """Against sets: None parts, an id links."""
    sets = {one: frozenset({one}) for one in IDS}

    def unit(tx: Tx) -> None:
        for at, (one, other) in enumerate(steps):
            if other is None:
                rest = sets[one] - {one}
                assert set(links.unlink(tx, one, at)) == rest
                sets.update(dict.fromkeys(rest, rest) | {one: frozenset({one})})
            else:
                found = links.find(tx, code_of(tx, one, at), other, at)
                if isinstance(found, Code):
                    assert set(links.link(tx, found, other, at)) == sets[one]
                    both = sets[one] | sets[other]
                    sets.update(dict.fromkeys(both, both))
                elif found == "too_many":
                    assert len(sets[one] | sets[other]) > MOST_IDS
                else:
                    assert sets[one] == sets[other]
                    assert found == ("own" if one == other else "linked")
            for who in IDS:
                ids = links.people(tx, who)
                assert ids[0] == who
                assert len(set(ids)) == len(ids)
                assert set(ids) == sets[who]
            assert set(links.linked(tx)) == {who for who in IDS if len(sets[who]) > 1}

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_in(Path(folder), unit))


async def _in(folder: Path, unit: Callable[[Tx], Any]) -> Any:
    async with open_database(folder / "b.db") as database:
        return await database.write(unit)


# Two processes --------------------------------------------------------------------------------------------------------

ROUNDS = 20


def confirm(path: str, user: str, start: Barrier) -> None:
    """A process in which a user types every code that there is, in the same moment as the other process."""

    async def main() -> None:
        async with open_database(Path(path)) as database:
            codes = await database.read(
                lambda tx: [
                    row["code"]
                    for row in tx._connection.execute("SELECT code FROM link_codes ORDER BY user_id")
                ]
            )
            for code in codes:
                await asyncio.to_thread(start.wait)

                def unit(tx: Tx, code: str = code) -> None:
                    found = links.find(tx, code, user, NOW)
                    if isinstance(found, Code):
                        links.link(tx, found, user, NOW)
                        links.unlink(tx, user, NOW)  # there is room for eight only

                await database.write(unit)

    asyncio.run(main())


def test_of_two_processes_that_use_a_code_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "b.db"

    def give(tx: Tx) -> None:
        for n in range(ROUNDS):
            code_of(tx, f"telegram-{n:02}")

    asyncio.run(_in(tmp_path, give))
    forks = multiprocessing.get_context("forkserver")
    start = forks.Barrier(2)
    both = [forks.Process(target=confirm, args=(str(path), f"discord-{n}", start)) for n in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    with closing(sqlite3.connect(path)) as database:
        told = database.execute(
            "SELECT user_id, count(*) FROM link_notices WHERE linked = 1 GROUP BY 1"
        ).fetchall()
        assert told == [(f"telegram-{n:02}", 1) for n in range(ROUNDS)]
        assert database.execute("SELECT count(*) FROM link_codes").fetchone() == (0,)
