"""`boswell check` tells of a limit that refuses even the first message, and of no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.tight import tight
from config import load
from tests.fakes.house import house
from tests.fakes.scripted_model import ScriptedModel

MODELS = {"main": {"provider": "demo", "price": {"input": 1.0, "output": 4.0}}}


def written(folder: Path, limits: dict[str, float], **model: Any) -> Path:
    path = folder / "boswell.yaml"
    sections = {"models": {"main": {**MODELS["main"], **model}}, "limits": limits}
    path.write_text(json.dumps(sections))  # JSON is YAML
    return path


def told(folder: Path, limits: dict[str, float], **model: Any) -> list[str]:
    return list(tight(load(written(folder, limits, **model), {}).config))


@pytest.mark.parametrize(
    "limits",
    [
        {"tokens_per_day": 4000},
        {"tokens_per_day": 50_000},
        {"chat_tokens_per_day": 8500},
        {"total_tokens_per_day": 9500},
        {"usd_per_day": 0.01},
        {"usd_per_day": 0.5},
        {"total_usd_per_day": 0.001},
        {"turns_per_day": 1},
    ],
    ids=str,
)
async def test_it_tells_of_those_limits_that_refuse_the_first_message(
    tmp_path: Path, limits: dict[str, float]
) -> None:
    model = ScriptedModel(lambda request: "Fine.")
    async with house(tmp_path, model, models=MODELS, limits=limits) as h:
        await h.say("Hello")
        await h.settled()
    assert bool(told(tmp_path, limits)) == (not model.requests)


def test_it_says_about_how_much_a_call_takes(tmp_path: Path) -> None:
    (tokens,) = told(tmp_path, {"tokens_per_day": 4000})
    assert tokens.startswith("limits.tokens_per_day: 4000 lets nobody have an answer: ")
    assert "about 9,000 tokens" in tokens
    (usd,) = told(tmp_path, {"usd_per_day": 0.001})
    assert "about 0.01 USD" in usd


def test_a_limit_of_nothing_is_meant_so(tmp_path: Path) -> None:
    assert told(tmp_path, {"tokens_per_day": 0, "total_usd_per_day": 0}) == []


def test_what_a_model_may_write_counts(tmp_path: Path) -> None:
    own = {"provider": "anthropic", "model": "m", "api_key": "k"}
    assert told(tmp_path, {"tokens_per_day": 12_000}) == []
    assert len(told(tmp_path, {"tokens_per_day": 12_000}, **own)) == 1
    assert told(tmp_path, {"tokens_per_day": 12_000}, **own, max_output_tokens=1000) == []


def test_check_warns_and_does_not_fail(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["check", "--config", str(written(tmp_path, {"tokens_per_day": 4000}))])
    assert done.exit_code == 0
    assert "warning: limits.tokens_per_day: 4000 " in done.output
