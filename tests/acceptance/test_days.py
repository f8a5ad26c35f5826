"""A person's days from outside: midnight, travel, changes of the clock, long absences; in the files, and in what is read back."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.events import ToolCall, ToolReturned, UserSaid
from bot.models.base import ModelRequest
from bot.retention import keep_to
from memory.database import open_database
from tests.fakes.house import House, house
from tests.fakes.scripted_model import ScriptedModel

VIENNA, APIA, PAGO = "Europe/Vienna", "Pacific/Apia", "Pacific/Pago_Pago"


def instant(zone: str, *clock: int, fold: int = 0) -> float:
    return datetime(*clock, tzinfo=ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[arg-type]


class Clock:
    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def answer(request: ModelRequest) -> Any:
    """Says "heard"; asked to look at a date, tells which words the history tool has for it."""
    last = request.events[-1]
    if isinstance(last, ToolReturned):
        return "found " + (" ".join(re.findall(r"\*\*user:\*\* (w\S+)", last.content)) or "nothing")
    if isinstance(last, UserSaid) and last.text.startswith("look "):
        return [ToolCall("c", "history", f'{{"date": "{last.text.removeprefix("look ")}"}}')]
    return "heard"


async def say(h: House, clock: Clock, text: str) -> str:
    await h.say(text, at=clock.at)
    await h.settled()
    return h.texts()[-1]


def files(folder: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """Of each file the headings, each with what the person said below it that begins with w."""
    found = {}
    for path in sorted((folder / "memory" / "memory-1").glob("*.md")):
        parts = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)[1:]
        found[path.stem] = [
            (part.splitlines()[0], re.findall(r"^\*\*user:\*\* (w\S+)", part, re.MULTILINE)) for part in parts
        ]
    return found


async def test_a_conversation_over_midnight_goes_on_in_the_next_days_file(tmp_path: Path) -> None:
    clock = Clock(instant(VIENNA, 2026, 6, 1, 23, 59, 58))
    memory = {"timezone": VIENNA, "dir": str(tmp_path / "memory")}
    async with house(tmp_path, ScriptedModel(answer), now=clock, memory=memory) as h:
        for pause, word in ((0, "w1"), (1, "w2"), (1, "w3"), (60, "w4")):
            clock.at += pause
            await say(h, clock, word)
        assert files(tmp_path) == {
            "2026-06-01": [("23:59:58 CEST", ["w1", "w2"])],
            "2026-06-02": [("00:00:00 CEST", ["w3", "w4"])],
        }
        assert await say(h, clock, "look yesterday") == "found w1 w2"
        assert await say(h, clock, "look today") == "found w3 w4"


async def test_who_changes_their_zone_in_the_middle_is_filed_by_the_new_clock_from_the_next_turn_on(
    tmp_path: Path,
) -> None:
    clock = Clock(instant("UTC", 2026, 6, 2, 9))
    go = asyncio.Event()

    async def slow(request: ModelRequest) -> Any:
        if "w2" in str(request.events[-1]):
            await go.wait()
        return answer(request)

    async with house(tmp_path, ScriptedModel(slow), now=clock) as h:
        await say(h, clock, f"/timezone {APIA}")  # it is the 2nd there, and the 1st in Pago Pago
        await say(h, clock, "w1")
        await h.say("w2", at=clock.at)
        await h.say(f"/timezone {PAGO}", at=clock.at)  # while that turn runs
        async with asyncio.timeout(10):
            await h.adapter.wait_for(lambda: PAGO in h.texts()[-1])
        go.set()
        await h.settled()
        clock.at += 60
        await say(h, clock, "w3")
        assert files(tmp_path) == {
            "2026-06-01": [("22:01:00 SST", ["w3"])],
            "2026-06-02": [("22:00:00 +13", ["w1", "w2"])],
        }
        assert await say(h, clock, "look today") == "found w3"
        assert await say(h, clock, "look 2026-06-02") == "found w1 w2"
    # And back, after a restart, into a date that has been: its conversation goes on there.
    async with house(tmp_path, ScriptedModel(answer), now=clock) as h:
        await say(h, clock, f"/timezone {APIA}")
        clock.at += 60
        await say(h, clock, "w4")
        assert files(tmp_path)["2026-06-02"] == [("22:00:00 +13", ["w1", "w2", "w4"])]
        assert await say(h, clock, "look today") == "found w1 w2 w4"
        assert await say(h, clock, "look yesterday") == "found w3"


@pytest.mark.parametrize(
    ("day", "hours", "letters"),
    [
        ((2026, 10, 25), 25, ["CEST", "CET"]),
        ((2026, 3, 29), 23, ["CET", "CEST"]),
        ((2026, 6, 1), 24, ["CEST"]),
    ],
)
async def test_a_day_has_as_many_hours_as_the_clock_gives_it(
    tmp_path: Path, day: tuple[int, int, int], hours: int, letters: list[str]
) -> None:
    clock = Clock(instant(VIENNA, *day) - 1800)
    memory = {"timezone": VIENNA, "dir": str(tmp_path / "memory")}
    limits = {"turns_per_day": hours, "turns_per_minute": None}
    async with house(tmp_path, ScriptedModel(answer), now=clock, memory=memory, limits=limits) as h:
        for n in range(hours + 1):
            await say(h, clock, f"w{n}")
            await say(h, clock, "/clear")
            clock.at += 3600
        _, (date, sections), *_ = [*files(tmp_path).items()]
        assert date == "{}-{:02}-{:02}".format(*day)
        assert [words for _, words in sections] == [[f"w{n + 1}"] for n in range(hours)]
        assert list(dict.fromkeys(heading.split()[1] for heading, _ in sections)) == letters
        assert (
            len({heading for heading, _ in sections}) == hours
        )  # the hour that comes twice has other letters
        assert await say(h, clock, "look yesterday") == "found " + " ".join(f"w{n + 1}" for n in range(hours))


async def test_what_waited_for_days_is_filed_on_the_day_on_which_it_was_said(tmp_path: Path) -> None:
    clock = Clock(instant("UTC", 2026, 6, 1, 12))
    never = asyncio.Event()
    async with house(tmp_path, ScriptedModel(lambda request: ["Well", never]), now=clock) as h:
        await h.say("w1", at=clock.at)
        async with asyncio.timeout(10):
            await h.adapter.wait_for(lambda: h.texts() != [])
    clock.at += 5 * 86_400
    async with house(tmp_path, ScriptedModel(answer), now=clock) as h:
        await h.settled()
        assert files(tmp_path) == {"2026-06-01": [("12:00:00 UTC", ["w1"])]}
        # A platform's clock that is plainly wrong tells nothing.
        await h.say("w2", at=clock.at - 3 * 86_400)
        await h.settled()
        assert files(tmp_path)["2026-06-06"] == [("12:00:00 UTC", ["w2"])]


async def test_who_had_set_a_zone_that_is_no_more_is_answered_by_the_configured_one(tmp_path: Path) -> None:
    clock = Clock(instant("UTC", 2026, 6, 1, 12))
    old = tmp_path / "memory" / "memory-1" / "2001-01-01.md"
    old.parent.mkdir(parents=True)
    old.write_text("## 10:00:00 UTC\n\n**user:** hi\n\n")
    memory = {"dir": str(tmp_path / "memory"), "retention_days": 30, "timezone": VIENNA}
    limits = {"usd_per_day": 1.0}
    async with house(
        tmp_path,
        ScriptedModel(answer),
        now=clock,
        memory=memory,
        limits=limits,
        streams={"daily_clear": "04:00"},
    ) as h:
        await h.database.write(
            lambda tx: tx.run("person_timezone", user_id="memory-1", timezone="US/Pacific-New")
        )
        assert await say(h, clock, "w1") == "heard"
        [(day, number)] = h.rows("SELECT day, id FROM spend WHERE scope = 'person:memory-1'")
        await h.database.write(lambda tx: tx.run("spend_move", id=number, day=day, zone="US/Pacific-New"))
        assert await say(h, clock, "w2") == "heard"
        assert VIENNA in await say(h, clock, "/timezone")
        assert "found" not in await say(h, clock, "/usage")
        await keep_to(h.parts.turns)
        await h.parts.closer.close_due()
        assert files(tmp_path) == {"2026-06-01": [("14:00:00 CEST", ["w1", "w2"])]}


def test_today_is_the_persons_at_the_command_line_too(tmp_path: Path) -> None:
    async def far_east() -> None:
        async with open_database(tmp_path / "boswell.db") as database:
            await database.write(lambda tx: tx.run("person_timezone", user_id="memory-1", timezone=far))

    now = datetime.now(ZoneInfo("UTC"))
    far = "Etc/GMT-14" if now.hour >= 12 else "Etc/GMT+12"  # where it is another date now
    asyncio.run(far_east())
    folder = tmp_path / "memory" / "memory-1"
    folder.mkdir(parents=True)
    for zone in ("UTC", far):
        (folder / f"{now.astimezone(ZoneInfo(zone)).date()}.md").write_text(f"in {zone}\n")
    config = tmp_path / "boswell.yaml"
    config.write_text(f"data_dir: {tmp_path}\nmemory: {{dir: {tmp_path / 'memory'}}}\n")
    found = CliRunner().invoke(main, ["history", "memory-1", "today", "--config", str(config)])
    assert found.output == f"in {far}\n"
