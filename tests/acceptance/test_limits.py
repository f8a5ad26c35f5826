"""What may be spent, with turns side by side and processes that are killed: the ledger is what the model server saw."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from adapters.base import Chat
from bot.cli import main
from bot.events import Usage, UserSaid
from bot.limits import LEAST_OUTPUT, Limits, cost, request_bound
from bot.models.base import Finished, ModelRequest
from config.schema import LimitsConfig, Price
from tests.fakes.house import House, house
from tests.fakes.model_server import KEY, ModelServer, Reply, Request, Step
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.soaked import serve
from tests.fakes.telegram_server import TelegramServer

PRICE = {"input": 2, "output": 8}
MODELS = {"main": {"provider": "demo", "price": PRICE}}
MOST = 16_000  # tokens that the model may write
FIFTY = range(10, 60)  # of one length, so that all cost the same


@pytest.fixture(autouse=True)
def _logs_are_not_drawn() -> Iterator[None]:
    """A traceback is drawn for each turn that fails, and takes longer than all the rest of fifty of them."""
    with capture_logs():
        yield


Place = Callable[[int], dict[str, Any]]
"""Who says the n-th message, and where."""

CROWDS: dict[str, tuple[str, Place]] = {
    "one person in fifty groups, by tokens": (
        "tokens_per_day",
        lambda n: {"user": "1", "chat": Chat("memory", f"-{n}", "group"), "addressed": True},
    ),
    "one person in fifty threads, by USD": (
        "usd_per_day",
        lambda n: {"user": "1", "chat": Chat("memory", "-1", "group", thread=str(n)), "addressed": True},
    ),
    "fifty people in one group, by tokens": (
        "chat_tokens_per_day",
        lambda n: {"user": str(n), "chat": Chat("memory", "-1", "group"), "addressed": True},
    ),
    "fifty people in the threads of one group, by USD": (
        "chat_usd_per_day",
        lambda n: {
            "user": str(n),
            "chat": Chat("memory", "-1", "group", thread=str(n)),
            "addressed": True,
        },
    ),
    "fifty people by themselves, by tokens": ("total_tokens_per_day", lambda n: {"user": str(n)}),
    "fifty people by themselves, by USD": ("total_usd_per_day", lambda n: {"user": str(n)}),
}


def costly(request: ModelRequest) -> list[Any]:
    """An answer that uses all that it may use."""
    assert request.max_output_tokens is not None
    used = Usage(request_bound(request), 0, request.max_output_tokens)
    return ["Fine.", Finished("stop", used)]


def rows(h: House, query: str) -> Any:
    return h.database.read(lambda tx: [tuple(row) for row in tx._connection.execute(query)])


def refusals(h: House) -> int:
    return sum("(ref t" in texts[-1] for chat in h.adapter.messages.values() for texts in chat.values())


async def price_of_one(folder: Path, where: dict[str, Any], unit: str) -> float:
    """What a turn costs there: tokens or USD."""
    model = ScriptedModel(costly)
    model.max_output_tokens = MOST
    async with house(folder, model, models=MODELS, limits={"total_tokens_per_day": 10**9}) as h:
        await h.say("hello", **where)
        await h.settled()
        [(tokens, usd)] = await rows(h, "SELECT input + output, usd FROM usage")
        return float(usd if "usd" in unit else tokens)


@pytest.mark.parametrize("at_once", [True, False], ids=["all at once", "four at a time"])
@pytest.mark.parametrize(("key", "where"), CROWDS.values(), ids=CROWDS)
async def test_of_fifty_turns_no_more_are_paid_for_than_there_is_room_for(
    tmp_path: Path, key: str, where: Place, at_once: bool
) -> None:
    one = await price_of_one(tmp_path / "one", where(FIFTY[0]), key)
    limit = one * 3.5 if "usd" in key else int(one * 3.5)
    go = asyncio.Event()
    model = ScriptedModel(lambda request: [go, *costly(request)])
    model.max_output_tokens = MOST
    limits = {key: limit, "turns_per_minute": None}
    if at_once:
        limits |= {"concurrent_turns": 50}
    else:
        go.set()
    async with house(tmp_path / "many", model, models=MODELS, limits=limits) as h:
        await h.hand_in(*(h.update("hello", **where(n)) for n in FIFTY))
        if at_once:  # none of those that are paid for ends before all the others were refused
            await asyncio.wait_for(h.adapter.wait_for(lambda: refusals(h) == 47), 20)
            go.set()
        await h.settled()
        assert len(model.requests) == 3
        assert refusals(h) == 47
        [(calls, tokens, usd, unsettled)] = await rows(
            h, "SELECT count(*), sum(input + output), sum(usd), sum(state = 'reserved') FROM usage"
        )
        assert (calls, unsettled) == (3, 0)
        assert tokens == sum(request_bound(r) + (r.max_output_tokens or 0) for r in model.requests)
        [booked] = await rows(h, "SELECT tokens, nano, held_tokens, held_nano FROM spend WHERE scope = 'all'")
        assert booked == (tokens, round(usd * 1e9), 0, 0)
        outcomes = Counter(outcome for (outcome,) in await rows(h, "SELECT outcome FROM turns"))
        assert (outcomes.pop("answered"), outcomes.total(), len(outcomes)) == (3, 47, 1)


async def test_a_turn_that_finds_no_room_calls_no_model_and_tells_until_when(tmp_path: Path) -> None:
    model = ScriptedModel(costly)
    async with house(tmp_path, model, limits={"tokens_per_day": 10}) as h:
        await h.say("hello")
        await h.settled()
        assert model.requests == []
        [text] = h.texts()
        assert "(UTC)" in text


async def test_the_warning_comes_once_below_the_reply_and_not_into_the_transcript(tmp_path: Path) -> None:
    one = int(await price_of_one(tmp_path / "one", {}, "tokens"))
    used = int(one * 0.3)
    model = ScriptedModel(lambda r: ["Fine.", Finished("stop", Usage(used, 0, 0))])
    limit = one * 2
    async with house(tmp_path / "b", model, limits={"tokens_per_day": limit}, models=MODELS) as h:
        for _ in range(4):
            await h.say("hello")
            await h.settled()
        assert [len(text) > len("Fine.") for text in h.texts()] == [
            used * (n + 1) >= 0.8 * limit for n in range(4)
        ]
        assert {text for role, text in h.transcript() if role == "assistant"} == {"Fine."}


async def test_a_flood_of_commands_is_told_once_and_stop_works_all_the_same(tmp_path: Path) -> None:
    never = asyncio.Event()
    model = ScriptedModel(lambda r: ["One two", never])
    async with house(tmp_path, model, limits={"turns_per_minute": 5}) as h:
        await h.say("count")
        await asyncio.wait_for(h.adapter.wait_for(lambda: "One" in "".join(h.texts())), 10)
        await h.hand_in(*(h.update("/timezone") for _ in range(30)))
        await asyncio.wait_for(h.adapter.wait_for(lambda: "(ref t" in h.texts()[-1]), 10)
        await h.say("/stop")
        await h.settled()
        outcomes = Counter(outcome for (outcome,) in await rows(h, "SELECT outcome FROM turns"))
        assert outcomes == {
            "command:timezone": 4,
            "limited:turns_per_minute": 26,
            "stopped": 1,
            "command:stop": 1,
        }
        assert sum("(ref t" in text for text in h.texts()) == 1


async def test_a_flood_of_messages_is_told_once_and_calls_no_model(tmp_path: Path) -> None:
    model = ScriptedModel(lambda r: "Fine.")
    async with house(tmp_path, model, limits={"turns_per_minute": 5}) as h:
        await h.hand_in(*(h.update("hello") for _ in range(40)))
        await h.say("hello", user="2")
        await h.settled()
        assert len(model.requests) == 6
        assert h.texts("2") == ["Fine."]
        *answers, last = h.texts()
        assert answers == ["Fine."] * 5
        assert "(ref t" in last


async def test_turns_of_one_person_wait_for_a_place_and_others_do_not_wait_for_them(tmp_path: Path) -> None:
    go = asyncio.Event()
    running: set[str] = set()
    most: list[int] = []

    async def answer(request: ModelRequest) -> str:
        text = next(e.text for e in reversed(request.events) if isinstance(e, UserSaid))
        if text == "quick":
            return "at once"
        running.add(text)
        most.append(len(running))
        await go.wait()
        running.remove(text)
        return "done"

    limits = {"turns_per_minute": None, "concurrent_turns": 3}
    async with house(tmp_path, ScriptedModel(answer), limits=limits) as h:
        for n in range(20):
            chat = Chat("memory", f"-{n}", "group")
            await h.say(f"slow {n}", user="1", chat=chat, addressed=True)
        await h.say("quick", user="2")
        await asyncio.wait_for(h.adapter.wait_for(lambda: h.texts("2") == ["at once"]), 10)
        go.set()
        await h.settled()
        assert max(most) == 3
        assert len(most) == 20


CONFIG = """
access: {{policy: open}}
limits: {{turns_per_minute: null, tokens_per_day: 100000}}
models:
  main:
    provider: openai
    model: test
    api_key: {key}
    base_url: "{model}/v1"
    max_output_tokens: 1000
    price: {{input: 2, output: 8, cached_input: 1}}
adapters:
  telegram: {{token: "{token}", base_url: "{telegram}", messages_per_second: 10000}}
data_dir: {data}
"""
CHATS = range(1, 13)
KILLS = 4
USED = 100 + 20  # tokens that the model server tells of each reply


async def test_after_kill_9_in_the_middle_the_ledger_is_what_the_model_server_saw(tmp_path: Path) -> None:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.fakes.soaked", "adapters.telegram", "openai", "bot.models.openai"])
    seen: Counter[str] = Counter()  # requests by the word that was asked for
    enough = asyncio.Event()

    def answer(request: Request) -> Step:
        seen[word_of(request.body["messages"][-1]["content"])] += 1
        if seen.total() >= target:
            enough.set()
        return Reply(text=("This ", "is the ", "whole ", "answer"), pause=0.02)

    async with ModelServer(respond=answer) as model, TelegramServer() as telegram:
        config = tmp_path / "boswell.yaml"
        data = tmp_path / "data"
        config.write_text(
            CONFIG.format(key=KEY, model=model.url, telegram=telegram.url, token=telegram.token, data=data)
        )

        def start() -> multiprocessing.process.BaseProcess:
            process = forks.Process(
                target=serve, args=(str(config), str(tmp_path / "runs"), str(tmp_path / "log"))
            )
            process.start()
            return process

        asked = 0
        for _ in range(KILLS):
            for chat in CHATS:
                telegram.say(chat, chat, f"please answer w{asked}")
                asked += 1
            target = seen.total() + len(CHATS) // 2
            enough.clear()
            process = start()
            try:
                await asyncio.wait_for(enough.wait(), 30)
            finally:
                process.kill()  # in the middle of several replies
                await asyncio.to_thread(process.join)
        target = 10**9
        process = start()
        try:
            await telegram.wait_for(
                lambda server: all(
                    server.chat(chat).texts.count("This is the whole answer") == KILLS for chat in CHATS
                ),
                60,
            )
        finally:
            process.terminate()
            await asyncio.to_thread(process.join, 10)

    with closing(sqlite3.connect(data / "boswell.db")) as database:
        usage = database.execute("SELECT turn_id, state, input + output, usd FROM usage").fetchall()
        words = {
            turn: word_of(json.loads(said)["text"])
            for turn, said in database.execute("SELECT turn_id, data FROM events WHERE type = 'user'")
        }
        spend = database.execute("SELECT scope, tokens, nano, held_tokens, held_nano FROM spend").fetchall()

    calls, settled = Counter[str](), Counter[str]()
    for turn, state, tokens, _ in usage:
        calls[words[turn]] += 1
        settled[words[turn]] += state == "settled"
        assert tokens == USED or state == "reserved"
    unsettled = [(tokens, usd) for _, state, tokens, usd in usage if state == "reserved"]
    assert len(unsettled) > 0, "no kill fell into a call"
    assert all(settled[word] == 1 for word in calls)  # each was answered once, and paid for as it was
    for word in calls:  # what was reserved and cut off before it left the house is counted all the same
        assert settled[word] <= seen[word] <= calls[word]
    assert set(seen) == set(calls)
    [(_, tokens, nano, held_tokens, held_nano)] = [row for row in spend if row[0] == "all"]
    assert tokens == USED * settled.total()
    assert held_tokens == sum(tokens for tokens, _ in unsettled)
    assert held_nano == round(sum(usd for _, usd in unsettled) * 1e9)
    people = [row for row in spend if row[0].startswith("person:")]
    assert [sum(column) for column in list(zip(*people, strict=True))[1:]] == [
        tokens,
        nano,
        held_tokens,
        held_nano,
    ]
    assert all(row[1] + row[3] <= 100_000 for row in people)

    arguments = ["usage", "--by", "person", "--json", "--config", str(config)]
    told = await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)
    total = json.loads(told.output)["total"]
    assert (total["calls"], total["unsettled"]) == (calls.total(), len(unsettled))
    assert (total["input"], total["output"]) == (100 * settled.total(), 20 * settled.total())
    assert round(total["usd"] * 1e9) == nano
    assert seen.total() <= total["calls"] <= seen.total() + len(unsettled)


def word_of(text: str) -> str:
    return str(text).split()[-1]


@pytest.mark.parametrize("limits", [{}, {"turns_per_day": 5}, {"usd_per_day": 1.0}], ids=str)
async def test_a_model_is_told_how_much_it_may_write_only_where_a_limit_relies_on_it(
    tmp_path: Path, limits: dict[str, Any]
) -> None:
    """Some servers refuse a request for more tokens than their model can write."""
    model = ScriptedModel(lambda request: "Fine.")
    async with house(tmp_path, model, models=MODELS, limits=limits) as h:
        await h.say("hello")
        await h.settled()
    assert (model.requests[0].max_output_tokens is not None) == ("usd_per_day" in limits)


async def test_what_was_said_over_an_hour_and_comes_at_once_is_no_flood(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: "Fine.")
    async with house(tmp_path, model, limits={"turns_per_minute": 3}) as h:
        now = time.time()
        await h.hand_in(*(h.update(f"n{n}", at=now - 3600 + n * 60) for n in range(30)))
        await h.settled()
        assert len(model.requests) == 30
        await h.hand_in(*(h.update(f"m{n}", at=now - 7200 + n) for n in range(30)))
        await h.settled()
        assert len(model.requests) == 33


@pytest.mark.parametrize("limits", [{"tokens_per_day": 20_000}, {"usd_per_day": 0.03}], ids=str)
async def test_a_small_limit_is_used_up_by_short_answers_and_not_by_what_they_might_have_been(
    tmp_path: Path, limits: dict[str, Any]
) -> None:
    """An answer may be long, and booked for all that it may be it would not fit even into an unused limit."""
    used = Usage(400, 0, 100)
    model = ScriptedModel(lambda request: ["Fine.", Finished("stop", used)])
    limits = {"turns_per_minute": None, **limits}
    async with house(tmp_path, model, models=MODELS, limits=limits, agent={"tools": {}}) as h:
        for _ in range(60):
            await h.say("hello")
            await h.settled()
        one = sum(cost(Price(**PRICE), used) if "usd_per_day" in limits else 500 for _ in "1")
        room = list(limits.values())[1] / one
        assert 0.5 * room < len(model.requests) <= room
        written = [request.max_output_tokens or 0 for request in model.requests]
        assert all(at_most >= LEAST_OUTPUT for at_most in written)
        assert written[0] > written[-1]


async def test_a_model_does_not_read_our_sentences_as_its_own_words(tmp_path: Path) -> None:
    used = Usage(1, 0, 1)
    model = ScriptedModel(lambda request: ["Fine.", Finished("stop", used)])
    async with house(tmp_path, model, limits={"tokens_per_day": 100}) as h:
        await h.say("hello")
        await h.settled()
        assert "is not enough" in h.texts()[0]
        h.parts.turns.setup.limits = Limits(LimitsConfig(), {}, "UTC")
        await h.say("and now?")
        await h.settled()
        assert "is not enough" not in str(model.requests[0].events)
        assert "is not enough" in h.transcript()[1][1]
