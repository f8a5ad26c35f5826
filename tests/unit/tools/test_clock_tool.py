"""The clock tool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.events import ToolCall, Variables
from bot.tools import named
from bot.tools.base import ToolContext, ToolProblem
from memory.transcripts import Transcripts

NOW = 1793707200.0  # Tuesday 2026-11-03 12:00:00 UTC


async def ask(tmp_path: Path, zone: str, **arguments: str | None) -> str:
    context = ToolContext(Variables("telegram-1", timezone=zone), Transcripts(tmp_path), lambda: NOW)
    return await named(["clock"])["clock"].call(ToolCall("1", "clock", json.dumps(arguments)), context)


async def test_it_tells_the_time_in_the_persons_zone(tmp_path: Path) -> None:
    assert await ask(tmp_path, "Europe/Vienna") == "Tuesday, 2026-11-03, 13:00:00 (Europe/Vienna, UTC+01:00)"


@pytest.mark.parametrize("nothing", [None, "", " "])
async def test_an_empty_zone_is_the_persons(tmp_path: Path, nothing: str | None) -> None:
    assert "Asia/Kolkata, UTC+05:30" in await ask(tmp_path, "Asia/Kolkata", timezone=nothing)


async def test_it_tells_the_time_elsewhere(tmp_path: Path) -> None:
    told = await ask(tmp_path, "UTC", timezone="Pacific/Kiritimati")
    assert told == "Wednesday, 2026-11-04, 02:00:00 (Pacific/Kiritimati, UTC+14:00)"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "\0", "x" * 3000])
async def test_a_zone_that_does_not_exist_is_answered_with_a_sentence(tmp_path: Path, zone: str) -> None:
    with pytest.raises(ToolProblem, match=r"no time zone .* Europe/Vienna"):
        await ask(tmp_path, "UTC", timezone=zone)


async def test_a_person_whose_zone_is_gone_is_told_utc(tmp_path: Path) -> None:
    assert await ask(tmp_path, "Mars/Olympus") == "Tuesday, 2026-11-03, 12:00:00 (UTC, UTC+00:00)"
