"""The catalogue of what can go wrong: for each row what the person reads and what the operator finds in the log, word for word.

Each is provoked through `run` itself, between a Bot API server and a model server. The golden files are the catalogue:
`BOSWELL_GOLDEN=1 pytest tests/acceptance/test_outcomes.py` writes them anew; read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot.models import anthropic, openai
from bot.tools import ALL
from bot.tools.base import ToolContext, tool
from tests.fakes.model_server import KEY, Call, Fail, Reply, Request, Silence, Step, Wire
from tests.fakes.running import Running, running
from tests.fakes.telegram_server import refusal

GOLDEN = Path(__file__).parents[1] / "golden" / "outcomes"
RAW = "raw words of a provider about what the person wrote"
SHOWN = (
    "turn",
    "turn_failed",
    "turn_limited",
    "model_failed",
    "model_down",
    "model_back",
    "tool_failed",
    "refused_by_platform",
    "undeliverable",
    "limit_near",
)
ZONE = {"timezone": "Europe/Vienna"}
PRICE = {"input": 1, "output": 1}


@dataclass(frozen=True)
class Row:
    """One way for a turn to go. `asked` is how many requests reach the model's server, where that is the point."""

    steps: Sequence[Step] | Callable[[Request], Step]
    wire: Wire = "openai"
    asked: int | None = None
    says: Sequence[str] = ("Hello",)
    spare: bool = False
    fault: str = ""
    main: dict[str, Any] = field(default_factory=dict)
    agent: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)


def fail(status: int, type_: str = "", code: str = "", **more: Any) -> Fail:
    return Fail(status, {"message": RAW, "type": type_, "code": code}, **more)


def busy(status: int) -> Fail:
    return fail(status, "overloaded_error", retry_after=60)


def dead(status: int = 503) -> list[Step]:
    """As often as the SDK asks in one attempt."""
    return [fail(status, retry_after=0.001) for _ in range(openai.RETRIES + 1)]


def counted(text: str, read: int) -> Reply:
    """An answer for which the provider counts so many tokens."""
    return Reply(
        chunks=(
            {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": 0}},
        )
    )


def again_and_again(_: Request) -> Step:
    return Reply(calls=(Call("clock"),))


def by_the_tool(request: Request) -> Step:
    if request.body["messages"][-1]["role"] != "tool":
        return Reply(calls=(Call("clock", '{"broken": true}'),))
    return Reply(("I could not look that up.",))


def clock(context: ToolContext, *, broken: bool = False) -> str:
    """A tool with a mistake in it, in the place of one that ships."""
    return str(1 / 0) if broken else "midnight"


def by_the_spare_alone(request: Request) -> Step:
    if request.body["model"] == "test-1":
        return fail(401)
    if request.body["messages"][-1]["role"] == "tool":
        return Reply(("It is late.",))
    return Reply(calls=(Call("clock"),))


def limited(**limits: float) -> Row:
    return Row([], asked=0, limits=limits, main={"price": PRICE, "max_output_tokens": 1000})


ROWS = {
    "model-down": Row([*dead(), *dead()], asked=6),
    "model-down-anthropic": Row([*dead(500), *dead(500)], "anthropic", asked=6),
    "model-not-there": Row([], main={"base_url": "http://127.0.0.1:1/v1"}, asked=0),
    "overloaded": Row([busy(429)], asked=1),
    "overloaded-anthropic": Row([busy(529)], "anthropic", asked=1),
    "refused": Row([Reply(("",), finish="refusal")], "anthropic", asked=1),
    "content-filter": Row([Reply(finish="content_filter")], asked=1),
    "content-filter-azure": Row([fail(400, code="content_filter")], "azure", asked=1),
    "context-too-long": Row([fail(400, "invalid_request_error", "context_length_exceeded")], asked=1),
    "context-too-long-anthropic": Row(
        [Fail(400, {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"})],
        "anthropic",
        asked=1,
    ),
    "key-wrong": Row([fail(401, "invalid_request_error", "invalid_api_key")], asked=1),
    "key-wrong-azure": Row([fail(401, code="401")], "azure", asked=1),
    "key-wrong-anthropic": Row([fail(401, "authentication_error")], "anthropic", asked=1),
    "quota-used-up": Row([fail(429, "insufficient_quota", "insufficient_quota")], asked=1),
    "quota-used-up-anthropic": Row(
        [Fail(400, {"type": "invalid_request_error", "message": "Your credit balance is too low"})],
        "anthropic",
        asked=1,
    ),
    "quota-used-up-billing": Row([fail(402, "billing_error")], "anthropic", asked=1),
    "unknown-model": Row([fail(404, "invalid_request_error", "model_not_found")], asked=1),
    "unknown-model-azure": Row([fail(404, code="DeploymentNotFound")], "azure", asked=1),
    "unknown-model-anthropic": Row([fail(404, "not_found_error")], "anthropic", asked=1),
    "tool-failed": Row(by_the_tool, asked=2),
    "too-many-rounds": Row(again_and_again, asked=3, agent={"max_tool_rounds": 2}),
    "platform-refused": Row([Reply(("An answer.",))], fault="Bad Request: MESSAGE_EMPTY"),
    "turn-timeout": Row([Silence()], asked=1, agent={"turn_timeout": 0.3}),
    "broken-off": Row([Reply(("Half an ", "answer"), fault="truncated")], asked=1, spare=True),
    "broken-off-by-an-error": Row(
        [Reply(("Half an ", "answer"), fault="error", error={"type": "overloaded_error", "message": RAW})],
        "anthropic",
        asked=1,
        spare=True,
    ),
    "empty-answer": Row([Reply()], asked=1),
    "fallback": Row([busy(429), Reply(("I am the other one.",))], asked=2, spare=True),
    "fallback-for-a-key": Row([fail(401), Reply(("I am the other one.",))], asked=2, spare=True),
    "fallback-fails-too": Row([fail(401), fail(402)], asked=2, spare=True),
    "fallback-goes-on-with-tools": Row(
        by_the_spare_alone,
        asked=3,
        spare=True,
    ),
    "breaker": Row([*dead(), *dead(), *dead()], asked=9, says=("One", "Two", "Three")),
    "breaker-with-fallback": Row(
        [
            fail(401),
            Reply(("one",)),
            fail(401),
            Reply(("two",)),
            fail(401),
            Reply(("three",)),
            Reply(("four",)),
        ],
        asked=7,
        says=("One", "Two", "Three", "Four"),
        spare=True,
    ),
    "limit-turns-per-minute": Row(
        [Reply(("Hello.",))], asked=1, says=("Hello", "Again", "And again"), limits={"turns_per_minute": 1}
    ),
    "limit-turns-per-day": limited(turns_per_day=0),
    "limit-tokens-per-day": limited(tokens_per_day=1000),
    "limit-usd-per-day": limited(usd_per_day=0.001),
    "limit-chat-tokens-per-day": limited(chat_tokens_per_day=1000),
    "limit-chat-usd-per-day": limited(chat_usd_per_day=0.001),
    "limit-total-tokens-per-day": limited(total_tokens_per_day=1000),
    "limit-total-usd-per-day": limited(total_usd_per_day=0.001),
    "limit-in-the-middle": Row(
        [counted("One.", 99_500)], asked=1, says=("One", "Two"), limits={"tokens_per_day": 100_000}
    ),
    "warning-person": Row([counted("Fine.", 81_000)], limits={"tokens_per_day": 100_000}),
    "warning-chat": Row([counted("Fine.", 81_000)], limits={"chat_tokens_per_day": 100_000}),
    "warning-total": Row([counted("Fine.", 81_000)], limits={"total_tokens_per_day": 100_000}),
}


@pytest.mark.parametrize("name", sorted(ROWS))
async def test_the_person_reads_one_human_sentence_and_the_operator_finds_it_by_its_reference(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ROWS[name]
    if name == "model-not-there":  # for speed: the SDK would wait between its attempts
        monkeypatch.setattr(openai, "RETRIES", 0)
    monkeypatch.setitem(ALL, "clock", (tool(clock),))  # type: ignore[call-overload]  # a mapping that is a dict
    steps = row.steps
    script = iter(()) if callable(steps) else iter(steps)
    async with running(
        tmp_path,
        steps if callable(steps) else lambda _: next(script),
        models=models(row),
        agent=row.agent,
        limits=row.limits,
        memory={"dir": str(tmp_path / "data" / "memory"), **ZONE},
    ) as b:
        if row.fault:
            b.telegram.fault("editMessageText", refusal(400, row.fault))
        for text in row.says:
            turns = len(ended(b))
            b.telegram.say(1, 1, text)
            await b.until(lambda turns=turns: len(ended(b)) > turns)
        await b.until(lambda: not b.rows("SELECT 1 FROM outbox WHERE state != 'sent'"))
        requests = len(b.model.requests)
    if row.asked is not None:
        assert requests == row.asked
    found = told(name, b)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("BOSWELL_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def models(row: Row) -> dict[str, Any]:
    """The model of that row, and another one behind it."""

    def at(wire: Wire, label: str) -> dict[str, Any]:
        url = "MODEL-SERVER/v1" if wire == "openai" else "MODEL-SERVER"
        more = {"api_version": "2024-10-21"} if wire == "azure" else {}
        return {"provider": wire, "model": label, "api_key": KEY, "base_url": url, **more}

    main = {**at(row.wire, "test-1"), **({"fallback": "spare"} if row.spare else {}), **row.main}
    return {"main": main, "spare": at("openai", "test-2")}


def ended(b: Running) -> list[dict[str, Any]]:
    return [line for line in b.logs if line["event"] == "turn"]


def told(name: str, b: Running) -> str:
    """What the person saw and what the operator did, without what differs from run to run."""
    person = [f"> {line}".rstrip() for text in b.telegram.chat(1).texts for line in (*text.splitlines(), "")]
    operator = [line for line in b.logs if line["event"] in SHOWN]
    text = "\n".join(
        ["The person reads:", "", *person[:-1], "", "The operator finds:", "", *map(entry, operator)]
    )
    if name == "limit-turns-per-minute":
        text = re.sub(r"\d\d:\d\d", "HH:MM", text)
    text = re.sub(r"until \d{10}", "until SECONDS", re.sub(r"(\.py):\d+", r"\1:N", text))
    return text.replace(b.model.url, "MODEL-SERVER") + "\n"


def entry(line: dict[str, Any]) -> str:
    volatile = ("event", "log_level", "ms", "tokens_in", "tokens_out", "chat", "user", "rounds")
    pairs = [f"{key}={json.dumps(line[key])}" for key in sorted(line) if key not in volatile]
    return " ".join([line["log_level"], line["event"], *pairs])


def goldens() -> Iterator[tuple[str, str]]:
    for path in sorted(GOLDEN.glob("*.txt")):
        yield path.stem, path.read_text(encoding="utf-8")


def test_every_row_has_its_file_and_every_file_its_row() -> None:
    assert {name for name, _ in goldens()} == set(ROWS)


def test_no_row_shows_a_providers_words_or_the_key() -> None:
    for name, text in goldens():
        assert RAW not in text, name
        assert KEY not in text, name
        assert "Traceback" not in text, name


def test_every_reference_that_a_person_reads_stands_in_the_log() -> None:
    for name, text in goldens():
        person, _, operator = text.partition("The operator finds:")
        for reference in re.findall(r"\(ref (t\d+)\)", person):
            assert f'"{reference}"' in operator or f"turn={reference[1:]}\n" in operator, name


def test_the_sentences_do_not_depend_on_the_provider() -> None:
    said: dict[str, set[str]] = {}
    for name, text in goldens():
        for provider in ("-azure", "-anthropic", "-billing"):
            name = name.removesuffix(provider)
        said.setdefault(name, set()).add(text.partition("The operator finds:")[0])
    assert [name for name, texts in said.items() if len(texts) > 1] == []


def test_the_goldens_were_made_with_the_retries_of_both_sdks_alike() -> None:
    assert openai.RETRIES == anthropic.RETRIES
