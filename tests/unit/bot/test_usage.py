"""What is told of usage: every call once, in the operator's days, in forms that harm neither terminals nor spreadsheets."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot import usage
from bot.cli import main
from bot.events import Usage
from bot.limits import Limits
from bot.usage import By, Calls
from config.schema import LimitsConfig, Price
from memory.database import Database, open_database
from memory.sql import migrations

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
Call = tuple[float, str, str, str, tuple[int, int, int] | None]
CALLS: tuple[Call, ...] = (
    (0, "telegram-1", "telegram:1:", "main", (100, 60, 20)),
    (0, "telegram-1", "telegram:-5:", "spare", (10, 0, 5)),
    (13 * HOUR, "telegram-2", "telegram:-5:", "main", (200, 0, 40)),
    (26 * HOUR, "telegram-2", "telegram:2:", "main", None),
)
"""After how long, who, where, which model, and what was used; None: nobody knows."""


async def fill(database: Database, calls: Sequence[Call] = CALLS) -> None:
    limits = Limits(LimitsConfig(), {"main": Price(input=2, output=8, cached_input=0.5)}, "UTC")
    for later, person, chat, model, used in calls:
        at = NOON + later
        id_ = await database.write(
            lambda tx, p=person, c=chat, m=model, at=at: limits.reserve(tx, 1, p, c, "UTC", m, 500, 100, at)  # type: ignore[misc]
        )
        if used is not None:
            counted = Usage(*used)
            await database.write(lambda tx, id_=id_, counted=counted: limits.settle(tx, id_, counted))  # type: ignore[misc]


async def report(folder: Path, by: By, since: date | None = None, zone: str = "UTC") -> dict[str, Any]:
    async with open_database(folder / "b.db") as database:
        await fill(database)
        return await usage.collect(database, by, since, zone)


@pytest.mark.parametrize(
    ("by", "counts"),
    [
        ("person", {"telegram-1": (2, 0), "telegram-2": (2, 1)}),
        ("model", {"main": (3, 1), "spare": (1, 0)}),
        ("chat", {"telegram:-5:": (2, 0), "telegram:1:": (1, 0), "telegram:2:": (1, 1)}),
        ("day", {"2026-03-10": (2, 0), "2026-03-11": (2, 1)}),
    ],
)
async def test_every_call_is_in_one_row_and_in_the_total(
    tmp_path: Path, by: By, counts: dict[str, tuple[int, int]]
) -> None:
    told = await report(tmp_path, by)
    assert {row[by]: (row["calls"], row["unsettled"]) for row in told["rows"]} == counts
    assert told["total"] == {
        "calls": 4,
        "input": 310,
        "cached": 60,
        "output": 65,
        "usd": 0.00099,
        "unsettled": 1,
        "unsettled_usd": 0.0018,
    }


async def test_days_are_those_of_the_zone(tmp_path: Path) -> None:
    told = await report(tmp_path, "day", zone="Asia/Kathmandu")  # 5:45 ahead
    assert {row["day"]: row["calls"] for row in told["rows"]} == {"2026-03-10": 2, "2026-03-11": 2}
    told = await report(tmp_path / "b", "day", zone="Pacific/Kiritimati")  # 14:00 ahead
    assert {row["day"]: row["calls"] for row in told["rows"]} == {"2026-03-11": 3, "2026-03-12": 1}


async def test_since_begins_at_that_days_midnight(tmp_path: Path) -> None:
    told = await report(tmp_path, "model", date(2026, 3, 11))
    assert (told["total"]["calls"], told["since"]) == (2, "2026-03-11")
    told = await report(tmp_path / "b", "model", date(2026, 3, 11), "Etc/GMT+2")  # its midnight is at 2:00
    assert told["total"]["calls"] == 1
    told = await report(tmp_path / "c", "model", date(1, 1, 1), "Asia/Tokyo")
    assert told["total"]["calls"] == 4


async def test_a_person_is_told_of_their_own_calls_in_their_own_days(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        await fill(database)
        at = NOON + 26 * HOUR
        used = await database.read(lambda tx: usage.of_person(tx, "telegram-2", "Asia/Kathmandu", at))
        assert used.today == Calls(2, 200, 0, 40, 0.00072, 1, 0.0018)
        used = await database.read(
            lambda tx: usage.of_person(tx, "telegram-2", "Europe/Vienna", at + 30 * 24 * HOUR)
        )
        assert (used.today, used.month, used.ever.calls) == (Calls(), Calls(), 2)
        assert await database.read(lambda tx: usage.of_person(tx, "telegram-", "UTC", at)) == usage.Personal(
            Calls(), Calls(), Calls()
        )


async def test_calls_of_before_the_ledger_count_as_settled(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "b.db")) as old:
        old.executescript(migrations()[0][1])
        old.execute(
            "INSERT INTO usage VALUES (1, ?, 1, 'telegram-1', 'telegram:1:', 'main', 7, 0, 3, 0.5)", (NOON,)
        )
        old.execute("PRAGMA user_version = 1")
        old.commit()
    async with open_database(tmp_path / "b.db") as database:
        told = await usage.collect(database, "person", None, "UTC")
    assert [(row["calls"], row["usd"], row["unsettled"]) for row in told["rows"]] == [(1, 0.5, 0)]


@pytest.mark.parametrize(
    "id_", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", '=HYPERLINK("x","y")', "a,b", 'a"b', "a\nb"]
)
async def test_no_id_is_a_formula_for_a_spreadsheet_or_breaks_a_row(tmp_path: Path, id_: str) -> None:
    async with open_database(tmp_path / "b.db") as database:
        await fill(database, [(0, "telegram-1", "telegram:1:", id_, (1, 0, 1))])
        told = await usage.collect(database, "model", None, "UTC")
    head, row = csv.reader(io.StringIO(usage.as_csv(told)))
    assert head[0] == "model"
    assert row[0] == (f"'{id_}" if id_.strip()[0] in "=+-@" else id_)
    assert row[1:] == ["1", "1", "0", "1", "0.000000000", "0", "0.000000000"]


async def test_no_id_acts_on_a_terminal(tmp_path: Path) -> None:
    async with open_database(tmp_path / "b.db") as database:
        await fill(database, [(0, "console-\x1b[2J\r\u202e", "console:x:", "main", (1, 0, 1))])
        told = await usage.collect(database, "person", None, "UTC")
    assert all(line.isprintable() for line in usage.as_text(told).splitlines())


async def test_the_table_reads_well(tmp_path: Path) -> None:
    assert usage.as_text(await report(tmp_path, "person")) == (
        "person      calls  read  cached  written     USD  unsettled\n"
        "telegram-1      2   110      60       25  0.0003  0\n"
        "telegram-2      2   200       0       40  0.0007  1 (up to 0.0018 USD)\n"
        "all             4   310      60       65  0.0010  1 (up to 0.0018 USD)"
    )


# The command --------------------------------------------------------------------------------------------------------


def boswell(folder: Path, *arguments: str) -> Result:
    config = folder / "boswell.yaml"
    config.write_text(json.dumps({"models": {"main": {"provider": "demo"}}, "data_dir": str(folder)}))
    return CliRunner().invoke(main, ["usage", "--config", str(config), *arguments])


def filled(folder: Path) -> Path:
    async def work() -> None:
        async with open_database(folder / "boswell.db") as database:
            await fill(database)

    asyncio.run(work())
    return folder


def test_the_three_forms_tell_the_same(tmp_path: Path) -> None:
    filled(tmp_path)
    as_json = json.loads(boswell(tmp_path, "--by", "chat", "--json").output)
    as_csv = list(csv.DictReader(io.StringIO(boswell(tmp_path, "--by", "chat", "--csv").output)))
    as_text = boswell(tmp_path, "--by", "chat")
    assert as_text.exit_code == 0
    assert [row["chat"] for row in as_json["rows"]] == [row["chat"] for row in as_csv]
    assert [row["chat"] for row in as_csv] == [line.split()[0] for line in as_text.output.splitlines()[1:-1]]
    assert [float(row["usd"]) for row in as_csv] == [row["usd"] for row in as_json["rows"]]


def test_it_tells_by_model_and_of_all_time_unless_asked_otherwise(tmp_path: Path) -> None:
    told = json.loads(boswell(filled(tmp_path), "--json").output)
    assert (told["by"], told["since"], told["total"]["calls"]) == ("model", None, 4)
    assert json.loads(boswell(tmp_path, "--json", "--since", "2026-03-11").output)["total"]["calls"] == 2
    assert boswell(tmp_path, "--since", "2999-01-01").output == "no model was called since 2999-01-01\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--by", "colour"), 2, "is not one of"),
        (("--since", "31.1.2026"), 2, "'31.1.2026' is no date; write it like 2026-01-31"),
        (("--json", "--csv"), 2, "--json or --csv, not both"),
        (("--since", "today"), 1, "there is no database at"),
    ],
)
def test_what_is_wrong_is_said_and_ends_as_other_commands_do(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = boswell(tmp_path, *arguments)
    assert (done.exit_code, words in done.output) == (code, True)


def test_who_looks_does_not_migrate(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "boswell.db")) as old:
        old.executescript(migrations()[0][1])
        old.execute("PRAGMA user_version = 1")
    done = boswell(tmp_path)
    assert done.exit_code == 1
    assert "is brought up to date when `boswell run`" in done.output
    with closing(sqlite3.connect(tmp_path / "boswell.db")) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
