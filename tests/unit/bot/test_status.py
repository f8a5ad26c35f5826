"""What `boswell status` prints."""

from __future__ import annotations

from typing import Any

import pytest

from bot.status import as_text


def report(count: int) -> dict[str, Any]:
    adapter = {
        "state": "up",
        "detail": "",
        "last_event_at": None,
        "updates_owed": count,
        "updates_quarantined": 0,
        "replies_owed": count,
        "replies_undeliverable": 0,
    }
    usage = {"model": "main", "calls": count, "input": 1200, "cached": 0, "output": 7, "usd": 0.5}
    return {
        "adapters": {"console": adapter},
        "turns_today": {},
        "usage_today": [usage],
        "usd_today": 0.5,
        "schedules": {"active": 0, "paused": 0, "problems": []},
    }


@pytest.mark.parametrize(
    ("count", "owed", "calls"),
    [(1, "1 update, 1 reply;", "1 call,"), (0, "0 updates, 0 replies;", "0 calls,")],
)
def test_one_is_told_as_one(count: int, owed: str, calls: str) -> None:
    told = as_text(report(count), 0.0, color=False)
    assert f"owed: {owed}" in told
    assert f"model main: {calls} 1,200 tokens read" in told


def test_commands_are_told_as_one_number() -> None:
    turns = {"answered": 4, "command:facts": 10, "command:help": 3, "command:unknown": 1, "own:remind": 2}
    told = as_text(report(0) | {"turns_today": turns}, 0.0, color=False)
    assert "turns today: 4 answered, 14 by command, 2 own:remind\n" in told
