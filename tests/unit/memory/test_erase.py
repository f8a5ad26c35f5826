"""What an erasure takes from the database, table by table, and what it leaves there, and in whose name."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memory import erase
from memory.database import Database, Tx, open_database
from memory.erase import Erased, Erasure
from memory.transcripts import Transcripts

ANNA, BOB = "slack-T1-U77", "slack-T1-U88"
WORD = "märkerword"
NOW = 1_793_707_200.0
TODAY = datetime.fromtimestamp(NOW, UTC).date()
GROUP = "slack:T1-C5:"

# What holds nobody's words and no user id: it is looked at here when a table is added.
IMPERSONAL = {"adapter_status", "chat_aliases", "sqlite_sequence"}


def chat(id_: str, kind: str = "private", title: str = "") -> str:
    return json.dumps({"platform": "slack", "id": id_, "kind": kind, "title": title, "thread": ""})


def said(text: str, context: str = "", speaker: str = "") -> str:
    return json.dumps({"text": text, "context": context, "speaker": speaker}, ensure_ascii=False)


def body(text: str) -> str:
    return json.dumps({"decision": "turn", "update": {"text": text}}, ensure_ascii=False)


def rows_of(user: str, word: str, first: int) -> dict[str, list[dict[str, Any]]]:
    """A row of everything that is kept of a person; `first` is the first of their ids. Their words are all `word`."""
    own, shared, direct = first, 900, f"T1-D{user[-2:]}"
    home = chat(direct, title=word)
    tokens = {"model": "m", "input": 1, "cached": 0, "output": 2, "usd": 0.5}
    person = json.dumps({"id": user, "name": word, "language": ""}, ensure_ascii=False)

    def row(number: int, state: str, **more: Any) -> dict[str, Any]:
        base = {"source": "slack:T1", "key": f"{first}.{number}", "platform": "slack", "received_at": NOW}
        who = {"user_id": user, "lane": f"slack:{direct}::{user}", "message_id": "5"}
        return {"id": first + number, **base, **who, "state": state, "body": None, **more}

    return {
        "streams": [
            {"id": own, "key": f"slack:{direct}::{user}", "opened_at": NOW},
            {"id": own + 1, "key": f"{GROUP}:{user}", "opened_at": NOW, "closed_at": NOW},
        ],
        "events": [
            {"stream_id": own, "seq": 0, "turn_id": first + 1, "type": "user", "data": said(word), "at": NOW},
            {
                "stream_id": own,
                "seq": 1,
                "turn_id": first + 1,
                "type": "tool",
                "data": said(word),
                "at": NOW,
            },
            {
                "stream_id": shared,
                "seq": first,
                "turn_id": first + 2,
                "type": "user",
                "data": said(word, "", word),
                "at": NOW,
            },
            {
                "stream_id": shared,
                "seq": first + 1,
                "turn_id": first + 2,
                "type": "assistant",
                "data": said(word),
                "at": NOW,
            },
        ],
        "turns": [
            {
                "id": first + 1,
                "stream_id": own,
                "attempt": 1,
                "state": "done",
                "outcome": "answered",
                "started_at": NOW,
                "ended_at": NOW,
                "user_id": user,
            },
            {
                "id": first + 2,
                "stream_id": shared,
                "attempt": 1,
                "state": "done",
                "outcome": "answered",
                "started_at": NOW,
                "ended_at": NOW,
                "user_id": user,
            },
            {
                "id": first + 4,
                "stream_id": own,
                "attempt": 3,
                "state": "running",
                "started_at": NOW,
                "user_id": user,
            },
        ],
        "inbox": [
            row(1, "done"),
            row(2, "done", lane=f"{GROUP}:*"),
            row(3, "waiting", body=body(word)),
            row(4, "running", body=body(word), turn_id=first + 4),
            row(5, "quarantined", body=body(word), turn_id=first + 1),
            row(6, "ignored"),
        ],
        "outbox": [
            {
                "id": first + n,
                "turn_id": first + 1,
                "part": n,
                "platform": "slack",
                "chat": home,
                "text": word,
                "state": state,
                "created_at": NOW,
            }
            for n, state in enumerate(("open", "ready", "sent", "dead"))
        ],
        "transcript_pending": [
            {"turn_id": first + 1, "user_id": user, "stream_id": own, "record": json.dumps({"messages": [word]})}
        ],
        "transcript_sections": [
            {"user_id": user, "date": "2026-11-01", "stream_id": own, "heading": word, "turns": 1}
        ],
        "transcript_files": [{"user_id": user, "date": "2026-11-01", "size": 5}],
        "people": [{"user_id": user, "timezone": "Europe/Vienna", "quiet": "22:00-07:00"}],
        "homes": [{"user_id": user, "chat": home}],
        "links": [{"user_id": user, "person": f"p{first}", "at": NOW}],
        "link_codes": [
            {"code": "C" + word, "user_id": user, "name": word, "language": "", "chat": home, "expires_at": NOW + 9}
        ],
        "link_notices": [
            {"user_id": user, "language": "", "chat": home, "others": "[]", "linked": 1, "at": NOW}
        ],
        "link_tries": [{"user_id": user, "at": NOW - 10}, {"user_id": user, "at": NOW - 9999}],
        "forget_codes": [{"user_id": user, "code": "ABCD", "people": "[]", "expires_at": NOW + 9}],
        "usage": [
            {"at": NOW, "turn_id": first + 1, "user_id": user, "chat_key": key, **tokens}
            for key in (f"slack:{direct}:", GROUP)
        ],
        "spend": [
            {"scope": scope, "day": str(TODAY - timedelta(days=days)), "zone": "UTC", "turns": 3}
            for scope in (f"person:{user}", f"chat:slack:{direct}")
            for days in (0, 5)
        ],
        "pace": [{"user_id": user, "at": NOW - 5, "count": 1}, {"user_id": user, "at": NOW - 500, "count": 1}],
        "room": [
            {"chat_key": GROUP, "message_id": str(first), "speaker": word, "text": word, "at": NOW, "user_id": user}
        ],
        "room_people": [{"user_id": user, "chat_key": GROUP}],
        "room_seen": [{"stream_id": own + 1, "room_id": 1}],
        "schedules": [
            {
                "kind": "reminder",
                "platform": "slack",
                "user_id": user,
                "person": person,
                "chat": home,
                "chat_key": f"slack:{direct}:",
                "text": word,
                "trigger": "{}",
                "zone": "UTC",
                "next_at": NOW,
                "created_at": NOW,
            }
        ],
        "subscriptions": [
            {"name": "news", "user_id": user, "person": person, "chat": home, "at": NOW}
        ],
        "access": [
            {"user_id": user, "state": "denied", "name": word, "by": "command line", "at": NOW, "welcome": home},
            {"user_id": f"slack-T1-V{first}", "state": "approved", "name": "Else", "by": user, "at": NOW, "welcome": ""},
        ],
        "pairing": [
            {"code": f"P{first}", "user_id": user, "name": word, "chat_key": direct, "chat": home, "expires_at": NOW}
        ],
        "notices": [{"user_id": user, "chat": home, "text": word}],
        "adapter_state": [
            {"adapter": "slack", "name": f"seen:T1:D{user[-2:]}", "value": "1.2"},
            {"adapter": "slack", "name": f"thread:T1:D{user[-2:]}:3.4", "value": "1.2"},
        ],
        "tool_calls": [{"key": f"{first + 1}.call_{word}", "said": "", "at": NOW}],
        "erasures": [],
    }  # fmt: skip


EVERYBODYS: dict[str, list[dict[str, Any]]] = {
    "streams": [
        {"id": 900, "key": f"{GROUP}:*", "opened_at": NOW},
        {"id": 901, "key": "slack:T1-C6::slack-T1-U88", "opened_at": NOW},
    ],
    "events": [
        {"stream_id": 900, "seq": 0, "turn_id": 1, "type": "summary", "data": json.dumps({"text": WORD, "upto": 0}), "at": NOW},
        {"stream_id": 901, "seq": 0, "turn_id": 1, "type": "user", "data": said("hi", "[Else] of another room"), "at": NOW},
        {"stream_id": 901, "seq": 1, "turn_id": 1, "type": "summary", "data": said("of another room"), "at": NOW},
    ],
    "adapter_state": [{"adapter": "slack", "name": "seen:T1:C5", "value": "1.2"}],
}  # fmt: skip


def plant(tx: sqlite3.Connection, *sets: dict[str, list[dict[str, Any]]]) -> None:
    """Put rows into tables, in an order that foreign keys bear."""
    for table in dict.fromkeys(["streams", *(table for rows in sets for table in rows)]):
        for rows in sets:
            for row in rows.get(table, ()):
                names = ", ".join(row)
                tx.execute(
                    f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
                )


def dump(path: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of every table."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: set(database.execute(f"SELECT * FROM {table}")) for table in tables}


def erasure(user: str) -> Erasure:
    return Erasure(user, user, NOW, None, None, None, None)


async def forget(database: Database, folder: Path, user: str = ANNA) -> Erased:
    """As who runs the platform does it."""

    def unit(tx: Tx) -> Erased:
        erase.ask(tx, [user], NOW)
        found = erase.erase(tx, erasure(user), Transcripts(folder / "memory"), folder, NOW)
        erase.erased(tx, erasure(user), NOW)
        return found

    found = await database.write(unit)
    await erase.wipe(database, 5)
    await database.write(lambda tx: erase.done(tx, erasure(user), NOW))
    return found


def traces(folder: Path, *words: str) -> list[str]:
    """The files in which one of the words stands, as it is or as JSON writes it."""
    wanted = {form for word in words for form in (word.encode(), json.dumps(word)[1:-1].encode())}
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in path.read_bytes() for form in wanted)]


@pytest.fixture
async def planted(tmp_path: Path) -> Path:
    path = tmp_path / "boswell.db"
    async with open_database(path):
        pass
    with closing(sqlite3.connect(path)) as database, database:
        plant(database, rows_of(ANNA, WORD, 100), rows_of(BOB, "bobsword", 200), EVERYBODYS)
    return tmp_path


async def test_every_table_is_known_here(planted: Path) -> None:
    """A table that is added says here what an erasure does with it."""
    known = rows_of(ANNA, WORD, 100).keys() | IMPERSONAL
    assert dump(planted / "boswell.db").keys() == known


async def test_no_row_and_no_byte_of_a_person_is_left_but_what_is_said_to_stay(planted: Path) -> None:
    assert traces(planted, WORD)
    async with open_database(planted / "boswell.db") as database:
        await forget(database, planted)
        assert traces(planted, WORD) == []
    left = {
        (table, *row)
        for table, rows in dump(planted / "boswell.db").items()
        for row in rows
        if any(ANNA in str(value) or "D77" in str(value) for value in row)
    }
    assert {(table, row[0]) for table, *row in left if table in ("access", "erasures")} == {
        ("access", ANNA),
        ("erasures", ANNA),
    }
    assert [row[:3] for table, *row in left if table == "access"] == [[ANNA, "denied", ""]]
    # Today's limits alone, and what keeps from guessing codes.
    assert {(row[1], row[2]) for table, *row in left if table == "spend"} == {
        (f"person:{ANNA}", str(TODAY)),
        ("chat:slack:T1-D77", str(TODAY)),
    }
    assert [row[1] for table, *row in left if table == "pace"] == [NOW - 5]
    assert [row[1] for table, *row in left if table == "link_tries"] == [NOW - 10]
    assert {table for table, *_ in left} == {"access", "erasures", "spend", "pace", "link_tries"}


async def test_what_others_have_is_left_as_it_was(planted: Path) -> None:
    before = dump(planted / "boswell.db")
    async with open_database(planted / "boswell.db") as database:
        await forget(database, planted)
    after = dump(planted / "boswell.db")
    gone = {table: before[table] - after[table] for table in before}
    mine = rows_of(BOB, "bobsword", 200)
    for table, rows in gone.items():
        assert not [row for row in rows if BOB in str(row) or "bobsword" in str(row)], table
    assert all(
        len([row for row in after[table] if row in before[table]]) >= len(mine[table]) for table in mine
    )
    assert {data for *_, kind, data, _ in after["events"] if kind == "summary"} == {said("of another room")}
    assert ("slack", "seen:T1:C5", "1.2") in after["adapter_state"]


async def test_keys_and_amounts_stay_as_nobodys(planted: Path) -> None:
    async with open_database(planted / "boswell.db") as database:
        before = await database.read(lambda tx: tx.all("turn_counts", since=0))
        await forget(database, planted)
        counts = await database.read(lambda tx: tx.all("turn_counts", since=0))
    assert {tuple(row) for row in before} ^ {tuple(row) for row in counts} == {
        ("", 2),
        ("", 1),
        ("forgotten", 1),
    }
    with closing(sqlite3.connect(planted / "boswell.db")) as database:
        inbox = database.execute(
            "SELECT key, state, body, user_id, lane FROM inbox WHERE id < 200 ORDER BY id"
        ).fetchall()
        usage = database.execute(
            "SELECT user_id, chat_key, usd FROM usage WHERE turn_id < 200 ORDER BY id"
        ).fetchall()
    assert inbox == [
        (f"100.{n}", state, None, "", "") for n, state in enumerate(("done",) * 5 + ("ignored",), 1)
    ]
    assert usage == [("", "", 0.5), ("", GROUP, 0.5)]


async def test_what_others_turns_heard_is_taken_out_and_the_rest_of_them_stays(planted: Path) -> None:
    heard = said("what did she say?", f"[Anna] {WORD}", "Bob")
    with closing(sqlite3.connect(planted / "boswell.db")) as database, database:
        for stream in (900, 201):  # the room's, and Bob's own there
            database.execute("INSERT INTO events VALUES (?, 500, 202, 'user', ?, 1)", (stream, heard))
    async with open_database(planted / "boswell.db") as database:
        erased = await forget(database, planted)
    assert traces(planted, WORD) == []
    assert {900, 201} <= erased.streams
    assert erased.shared == {900}
    with closing(sqlite3.connect(planted / "boswell.db")) as connection:
        left = connection.execute("SELECT data FROM events WHERE seq = 500").fetchall()
    assert [json.loads(data) for (data,) in left] == [json.loads(said("what did she say?", "", "Bob"))] * 2


async def test_of_an_older_version_all_goes_of_which_nobody_knows_whose_it_is(planted: Path) -> None:
    with closing(sqlite3.connect(planted / "boswell.db")) as database, database:
        database.execute("UPDATE turns SET user_id = '' WHERE id = 102")
        database.execute("INSERT INTO transcript_sections VALUES (?, '2026-11-01', 900, 'x', 1)", (ANNA,))
        database.execute("UPDATE room SET user_id = '' WHERE user_id = ?", (ANNA,))
        database.execute("UPDATE room_people SET user_id = '' WHERE user_id = ?", (ANNA,))
        database.execute(
            "INSERT INTO events VALUES (201, 500, 202, 'user', ?, 1)", (said("hm", f"[Anna] {WORD}"),)
        )
        database.execute(
            "INSERT INTO room (chat_key, message_id, speaker, text, at) VALUES ('telegram:5:', '1', 'a', 'b', 1)"
        )
    async with open_database(planted / "boswell.db") as database:
        await forget(database, planted)
    assert traces(planted, WORD) == []
    after = dump(planted / "boswell.db")
    assert [row[1] for row in after["room"] if row[-1] == ""] == ["telegram:5:"]  # she never talked there


UNREADABLE = [
    ({"event": {"user": "U77", "text": WORD}}, True),
    ({"event": {"message": {"user": {"id": "U77"}}}, "blocks": [WORD]}, True),
    ({"event": {"user": "U88", "text": "bobs"}}, False),
    ({"event": {"user": "U770", "text": "another's"}}, False),
    ("no JSON at all: U77", True),
]


@pytest.mark.parametrize(("raw", "goes"), UNREADABLE)
async def test_an_update_that_nobody_could_read_goes_if_their_id_stands_in_it(
    planted: Path, raw: Any, goes: bool
) -> None:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    with closing(sqlite3.connect(planted / "boswell.db")) as database, database:
        database.execute(
            "INSERT INTO inbox (id, source, key, platform, state, received_at, body) "
            "VALUES (700, 's', 'k', 'slack', 'quarantined', 1, ?)",
            (text,),
        )
    async with open_database(planted / "boswell.db") as database:
        await forget(database, planted)
    with closing(sqlite3.connect(planted / "boswell.db")) as database:
        assert database.execute("SELECT body IS NULL FROM inbox WHERE id = 700").fetchone() == (goes,)


@pytest.mark.parametrize(
    ("raw", "ids", "found"),
    [
        ({"message": {"message_id": 1, "from": {"id": 7}}}, {"1"}, False),
        ({"message": {"message_id": 1, "from": {"id": 7}}}, {"7"}, True),
        ({"user_id": 7}, {"7"}, True),
        ({"ok": True, "id": True}, {"1"}, False),
        ([[[{"a": ["U7"]}]]], {"U7"}, True),
    ],
)
def test_a_number_is_an_id_where_it_stands_as_one(raw: Any, ids: set[str], found: bool) -> None:
    assert erase._mentions(json.dumps(raw), ids) is found


async def test_what_comes_after_it_began_stays_however_often_it_is_begun(planted: Path) -> None:
    async with open_database(planted / "boswell.db") as database:
        await database.write(lambda tx: erase.ask(tx, [ANNA], NOW))
        await database.write(lambda tx: tx.run("erasure_begin", user_id=ANNA))
        with closing(sqlite3.connect(planted / "boswell.db")) as connection, connection:
            connection.execute(
                "INSERT INTO inbox (id, source, key, platform, user_id, state, received_at, body) "
                "VALUES (800, 's', 'new', 'slack', ?, 'waiting', 1, 'again')",
                (ANNA,),
            )
        for _ in range(2):
            await forget(database, planted)
    with closing(sqlite3.connect(planted / "boswell.db")) as connection:
        found = connection.execute("SELECT state, body, user_id FROM inbox WHERE id = 800").fetchall()
    assert found == [("done", None, "")]  # the second time was asked for after the first was done


async def test_a_code_is_good_once_for_its_own_person_for_ten_minutes_and_for_the_ids_that_were_told(
    tmp_path: Path,
) -> None:
    async with open_database(tmp_path / "b.db") as database:

        def offer(tx: Tx, user: str = ANNA) -> tuple[str, ...]:
            return erase.offer(tx, user, "AB2C", NOW)

        def confirm(user: str, code: str, at: float = NOW + 1) -> Any:
            return lambda tx: erase.confirm(tx, user, code, at)

        assert await database.write(offer) == (ANNA,)
        assert await database.write(confirm(BOB, "AB2C")) == ()
        assert await database.write(confirm(ANNA, "AB2D")) == ()
        assert await database.write(confirm(ANNA, "AB2C", NOW + erase.CODE_SECONDS)) == ()
        assert await database.write(confirm(ANNA, " ab2c ")) == (ANNA,)
        assert await database.write(confirm(ANNA, "AB2C")) == ()
        await database.write(offer)
        await database.write(
            lambda tx: [tx.run("links_set", user_id=u, person="p", at=1) for u in (ANNA, BOB)]
        )
        assert await database.write(confirm(ANNA, "AB2C")) == ()
        assert set(await database.write(offer)) == {ANNA, BOB}
        assert set(await database.write(confirm(ANNA, "AB2C"))) == {ANNA, BOB}


async def test_an_erasure_and_what_it_left_of_limits_are_let_go_after_days(planted: Path) -> None:
    later = NOW + erase.KEEP + 86400
    async with open_database(planted / "boswell.db") as database:
        await forget(database, planted)
        await database.write(lambda tx: erase.prune(tx, NOW + 60))
        assert await database.read(lambda tx: erase.get(tx, ANNA)) is not None
        await database.write(lambda tx: erase.prune(tx, later))
        assert await database.read(lambda tx: erase.get(tx, ANNA)) is None
    left = dump(planted / "boswell.db")
    assert not [row for row in left["spend"] if "77" in row[1]]
    assert len([row for row in left["spend"] if "88" in row[1]]) == 4
    assert not left["forget_codes"]


async def test_nothing_is_left_where_rows_were_moved_from_page_to_page(tmp_path: Path) -> None:
    """SQLite zeroes what is deleted, but not the copies that it leaves where it splits pages: many talk at the same time."""
    dice = random.Random(7)
    path = tmp_path / "boswell.db"
    async with open_database(path) as database:
        with closing(sqlite3.connect(path)) as connection, connection:
            streams = [{"id": n, "key": f"c:{n}::slack-T1-U{n % 10}", "opened_at": 1} for n in range(1, 1001)]
            plant(connection, {"streams": streams})
            for turn in range(3000):
                stream = dice.randint(1, 1000)
                text = ("pl4nt3d " if stream % 10 == 7 else "other ") * dice.randint(1, 200)
                event = {"stream_id": stream, "turn_id": turn, "seq": turn, "type": "user", "at": 1}
                plant(connection, {"events": [{**event, "data": said(text)}]})

        def rows(tx: Tx) -> Erased:
            erase.ask(tx, ["slack-T1-U7"], NOW)
            return erase.erase(tx, erasure("slack-T1-U7"), Transcripts(tmp_path / "memory"), tmp_path, NOW)

        erased = await database.write(rows)
        assert len(erased.streams) == 100
        await database.read(lambda tx: tx.one("wal_empty"))
        if traces(tmp_path, "pl4nt3d") == []:
            pytest.skip("this SQLite leaves no copies")
        await erase.wipe(database, 5)
        assert traces(tmp_path, "pl4nt3d") == []
    assert 2500 < len(dump(path)["events"]) < 2900


async def test_a_reader_that_stays_keeps_it_from_being_done_and_is_told(planted: Path) -> None:
    async with open_database(planted / "boswell.db") as database:
        with closing(sqlite3.connect(planted / "boswell.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM inbox").fetchone()
            with pytest.raises(erase.NotWiped, match="has been reading"):
                await erase.wipe(database, 0.0)
        await erase.wipe(database, 0.0)


def test_backups_are_named_and_what_a_restore_has_left(tmp_path: Path) -> None:
    data, memory = tmp_path / "data", tmp_path / "elsewhere" / "memory"
    (data / "boswell.db.v2.20261101000000.bak").parent.mkdir()
    left = [
        data / "boswell.db.v2.20261101000000.bak",
        data / ".before-restore-1" / "boswell.db",
        tmp_path / "data.before-restore-2" / "boswell.db",
        memory / ".before-restore-3" / "x",
        memory.parent / "memory.before-restore-4" / "x",
    ]
    for path in [*left, data / "boswell.db", data / "other.bak", memory / "telegram-1" / "x"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (data / ".before-restore-5").mkdir()
    assert erase.backups(data / "boswell.db", memory) == sorted(
        path if path.suffix == ".bak" else path.parent for path in left
    )
