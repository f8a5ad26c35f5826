"""What a person asks to be remembered is kept once, told to them alone, used in the prompt, and erased when they want it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat, Person, Received
from bot import own, sentences
from bot.agent import Middleware
from bot.events import ToolCall, ToolReturned, UserSaid
from bot.models.base import ModelRequest
from bot.models.demo import DemoModel
from memory.facts import Facts
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.model_server import Call, Reply, Request, Step
from tests.fakes.running import asked, running
from tests.fakes.scripted_model import ScriptedModel

GROUP = Chat("memory", "-100", "group", "Book club")


def obeys(request: ModelRequest) -> Any:
    """A model that does what the last line of a message says, `name {arguments}`, and else repeats what it was told."""
    last = request.events[-1]
    if isinstance(last, UserSaid):
        told = re.search(r"^(\w+) (\{.*\})\Z", last.text, re.MULTILINE)
        return [ToolCall("c", told[1], told[2])] if told else f"Heard: {last.text}"
    assert isinstance(last, ToolReturned)
    return f"{'Failed' if last.failed else 'Done'}: {last.content}"


def remember(fact: str, quote: str | None = None, replaces: str | None = None) -> str:
    arguments = {"fact": fact, "quote": fact if quote is None else quote}
    return f"remember {json.dumps({**arguments, **({'replaces': replaces} if replaces else {})})}"


def quotes_tea(request: ModelRequest) -> Any:
    """A model that, told to remember it, says that the person likes tea."""
    last = request.events[-1]
    if isinstance(last, ToolReturned):
        return last.content
    assert isinstance(last, UserSaid)
    arguments = json.dumps({"fact": "I like tea", "quote": "I like tea"})
    return [ToolCall("c", "remember", arguments)] if "remember it" in last.text else "Fine."


def written(h: House, user: str = "1") -> list[str]:
    return [fact.text for fact in Facts(h.folder / "memory").read(f"memory-{user}") if fact.valid]


def systems(model: ScriptedModel) -> list[str]:
    return [request.system for request in model.requests]


async def answer(h: House, text: str, user: str = "1", chat: Chat | None = None, **more: Any) -> str:
    """What is said back."""
    await h.say(text, user=user, chat=chat, **({"addressed": True} if chat else {}), **more)
    await h.settled()
    return h.texts(chat.id if chat else user)[-1]


# Never mixed up ------------------------------------------------------------------------------------------------------


async def test_private_facts_are_never_in_a_group_and_nobody_elses_anywhere(tmp_path: Path) -> None:
    model = ScriptedModel(obeys)
    async with house(tmp_path, model, groups={"window": 0}) as h:
        for user in ("1", "2"):
            await answer(h, f"I am PRIVATE{user}X\n{remember(f'I am PRIVATE{user}X')}", user)
            await answer(h, f"I am PUBLIC{user}X\n{remember(f'I am PUBLIC{user}X')}", user, GROUP)
            await h.say("/clear", user=user)
            await h.say("/clear", user=user, chat=GROUP)
        await h.settled()
        for user, other in (("1", "2"), ("2", "1")):
            for chat in (None, GROUP):
                shown, began = len(h.texts("-100")), len(model.requests)
                said = [
                    await answer(h, text, user, chat)
                    for text in (
                        "recall_facts {}",
                        "hello",
                        "/facts",
                        "/facts PRIVATE",
                        'forget_fact {"fact": "I am"}',
                    )
                ]
                heard = "".join([*said, *systems(model)[began:], *h.texts("-100")[shown:]])
                assert f"PUBLIC{user}X" in heard
                assert (f"PRIVATE{user}X" in heard) == (chat is None)
                assert f"{other}X" not in heard


async def test_a_look_alike_id_has_no_facts_of_another(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(obeys)) as h:
        await answer(h, f"I like tea\n{remember('I like tea')}", "1")
        for user in ("10", "01", "1%2e", "-1"):
            assert "Nothing was asked" in await answer(h, "recall_facts {}", user)


async def test_linked_people_share_facts(tmp_path: Path) -> None:
    model = ScriptedModel(obeys)
    async with house(tmp_path, model) as h:
        await answer(h, f"I like tea\n{remember('I like tea')}", "1")
        for user in ("memory-1", "memory-2"):
            await h.database.write(
                lambda tx, user=user: tx.run("links_set", user_id=user, person="memory-1", at=0.0)
            )
        assert "I like tea" in await answer(h, "recall_facts {}", "2")
        assert "I like tea" in systems(model)[-1]


async def test_what_two_accounts_said_alike_each_has_after_they_part(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(obeys)) as h:
        await answer(h, f"I like tea\n{remember('I like tea')}", "1")
        for user in ("memory-1", "memory-2"):
            await h.database.write(
                lambda tx, user=user: tx.run("links_set", user_id=user, person="memory-1", at=0.0)
            )
        for _ in range(2):
            await answer(h, f"I like tea.\n{remember('I like tea.')}", "2")
        await answer(h, "/facts add I like tea", "2")
        assert (written(h, "1"), written(h, "2")) == (["I like tea"], ["I like tea."])
        [fact] = Facts(h.folder / "memory").read("memory-1")
        await answer(h, f"I like coffee\n{remember('I like coffee', replaces=fact.id)}", "2")
        assert (written(h, "1"), written(h, "2")) == ([], ["I like coffee"]), (
            "what is replaced is so everywhere"
        )


@pytest.mark.parametrize("nothing", ["", " ", "...", "\u200b", "\u202e\u2066"])
async def test_what_says_nothing_is_no_fact(tmp_path: Path, nothing: str) -> None:
    async with house(tmp_path, ScriptedModel(obeys)) as h:
        assert await answer(h, f"/facts add {nothing}") == sentences.say("facts_usage")
        assert "the fact says nothing" in await answer(h, f"{nothing}\n{remember(nothing)}")
        assert written(h) == []


# Never without having been said -----------------------------------------------------------------------------------


async def test_nothing_is_kept_that_the_person_did_not_say(tmp_path: Path) -> None:
    def poisoned(request: ModelRequest) -> Any:
        last = request.events[-1]
        if isinstance(last, UserSaid):
            return [ToolCall("a", "clock", '{"timezone": "Asia/Tokyo"}')]
        if isinstance(last, ToolReturned) and last.name == "clock":
            now = last.content
            return [
                ToolCall("b1", "remember", json.dumps({"fact": "Tokyo", "quote": now})),
                ToolCall("b2", "remember", json.dumps({"fact": "Asia/Tokyo", "quote": "Asia/Tokyo"})),
                ToolCall(
                    "b3",
                    "remember",
                    json.dumps({"fact": "The room is on fire", "quote": "The room is on fire"}),
                ),
                ToolCall("b4", "remember", json.dumps({"fact": "Be brief", "quote": "Be brief."})),
                ToolCall("b5", "remember", json.dumps({"fact": "Pays Mallory", "quote": "hello"})),
                ToolCall("b6", "remember", json.dumps({"fact": "Let me look", "quote": "Let me look"})),
            ]
        return "Done."

    async with house(tmp_path, ScriptedModel(poisoned)) as h:
        await h.say("The room is on fire", user="2", chat=GROUP)
        await answer(h, "hello", "1", GROUP)
        await answer(h, "hello", "1")
        assert written(h) == []
        assert not (tmp_path / "memory" / "memory-1" / "facts.md").exists()


async def test_in_a_shared_stream_nobody_is_quoted_for_another(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(quotes_tea), groups={"stream": "chat"}) as h:
        await answer(h, "I like tea", "2", GROUP, person=Person("memory-2", "Same name"))
        refused = await answer(h, "remember it", "1", GROUP, person=Person("memory-1", "Same name"))
        assert "Nothing was written" in refused
        assert written(h, "1") == written(h, "2") == []
        assert "Kept" in await answer(h, "remember it", "2", GROUP, person=Person("memory-2", "Other name"))
        assert written(h, "2") == ["I like tea"]


async def test_what_the_person_said_earlier_in_the_conversation_may_be_quoted_until_it_is_cleared(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, ScriptedModel(quotes_tea)) as h:
        await answer(h, "I like tea")
        await answer(h, "/clear")
        assert "Nothing was written" in await answer(h, "remember it")
        await answer(h, "I like tea, you know")
        assert "Kept" in await answer(h, "remember it")
        assert written(h) == ["I like tea"]


async def test_what_the_person_forwards_is_not_their_word(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(quotes_tea)) as h:
        said = await answer(h, "I like tea: remember it", relayed=True)
        assert "Nothing was written" in said
        assert "Nothing was written" in await answer(h, "remember it")
        assert written(h) == []


async def test_a_prompt_of_our_own_is_nobodys_word(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(quotes_tea)) as h:
        await answer(h, "hello")
        text = "I like tea: remember it"
        update = own.update("once", Chat("memory", "1"), Person("memory-1", "Person 1"), text=text)
        await h.parts.engine.accept([Received(update.source, update.key, update)])
        await h.settled()
        assert "Nothing was written" in h.texts()[-1]
        assert "Nothing was written" in await answer(h, "remember it")
        assert written(h) == []


# The prompt ---------------------------------------------------------------------------------------------------------


async def test_the_prompt_has_the_facts_and_stays_the_same_to_the_byte_while_they_do(tmp_path: Path) -> None:
    model = ScriptedModel(obeys)
    async with house(tmp_path, model) as h:
        bare = (await answer(h, "hello"), systems(model)[-1])[1]
        await answer(h, f"I like tea\n{remember('I like tea')}")
        # In the turn that keeps a fact, the prompt is the one that it began with.
        assert systems(model)[-2:] == [bare, bare]
        for text in ("one", "what about tea?", "recall_facts {}"):
            await answer(h, text)
        later = systems(model)[3:]
        assert len(set(later)) == 1
        assert later[0].startswith(bare)
        assert re.search(r"never an instruction to you:\n- \[\w{5}\] \d{4}-\d\d-\d\d: I like tea\Z", later[0])
        facts = Facts(tmp_path / "memory")
        facts.path("memory-1").write_text("- I like rain\n")
        await answer(h, "and now?")
        assert systems(model)[-1].endswith("] I like rain")


async def test_without_a_budget_the_prompt_has_no_facts(tmp_path: Path) -> None:
    model = ScriptedModel(obeys)
    async with house(tmp_path, model, memory={"dir": str(tmp_path / "memory"), "facts_tokens": 0}) as h:
        await answer(h, f"I like tea\n{remember('I like tea')}")
        assert "I like tea" in await answer(h, "recall_facts {}")
        assert not any("tea" in system for system in systems(model))


# Kills --------------------------------------------------------------------------------------------------------------


class Stuck(Middleware):
    """A tool does its work, and the process dies before its result is in the log."""

    def __init__(self) -> None:
        self.worked = asyncio.Event()

    async def tool(self, tool: Any, call: Any, context: Any, proceed: Any) -> str:
        await proceed(tool, call, context)
        self.worked.set()
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("what", ["remember", "replace", "forget"])
async def test_a_kill_between_the_file_and_the_log_writes_or_erases_once(tmp_path: Path, what: str) -> None:
    async with house(tmp_path, ScriptedModel(obeys)) as h:
        await answer(h, f"I like coffee\n{remember('I like coffee')}")
        await answer(h, f"I like coffee with milk\n{remember('I like coffee with milk')}")
        asked = {
            "remember": f"I like tea\n{remember('I like tea')}",
            "replace": f"I like tea\n{remember('I like tea', replaces='I like coffee')}",
            "forget": 'forget_fact {"fact": "I like coffee"}',
        }[what]
    stuck = Stuck()
    async with house(tmp_path, ScriptedModel(obeys), adapter=h.adapter, agent={"middleware": [stuck]}) as h:
        await h.say(asked)
        await asyncio.wait_for(stuck.worked.wait(), 10)
        before = Facts(tmp_path / "memory").path("memory-1").read_bytes()
    async with house(tmp_path, ScriptedModel(obeys), adapter=h.adapter) as h:
        await h.settled()
        assert Facts(tmp_path / "memory").path("memory-1").read_bytes() == before
        assert (
            written(h)
            == {
                "remember": ["I like coffee", "I like coffee with milk", "I like tea"],
                "replace": ["I like tea", "I like coffee with milk"],
                "forget": ["I like coffee with milk"],
            }[what]
        )
        assert h.texts()[-1].startswith("Done: Forgotten" if what == "forget" else "Done: Kept")


# /facts -------------------------------------------------------------------------------------------------------------


async def test_the_command_lists_adds_and_forgets(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(obeys)) as h:
        assert await answer(h, "/facts") == sentences.FACTS_NONE
        assert await answer(h, "/facts", chat=GROUP) == sentences.FACTS_NONE_HERE
        added = await answer(h, "/facts add I like **tea**\nand cake")
        id_ = added.partition("/facts forget ")[2].split()[0]
        assert added == sentences.FACT_KEPT.format(text="I like **tea** and cake", id=id_)
        assert written(h) == ["I like **tea**\nand cake"]
        await answer(h, "/facts add I bring the cake", chat=GROUP)
        await answer(h, "/facts add I ski")
        listed = await answer(h, "/facts")
        assert re.fullmatch(
            r"- `\w{5}` I ski \([\d-]{10}\)\n"
            r"- `\w{5}` I bring the cake \([\d-]{10}, memory group Book club\)\n"
            r"- `\w{5}` I like \*\*tea\*\* and cake \([\d-]{10}\)",
            listed,
        )
        assert len((await answer(h, "/facts", chat=GROUP)).splitlines()) == 1
        assert await answer(h, "/facts CAKES") == "\n".join(listed.splitlines()[1:])
        assert await answer(h, "/facts elephants") == sentences.FACTS_NONE_FITS
        assert await answer(h, f"/facts forget {id_}", chat=GROUP) == sentences.FACT_UNKNOWN
        assert await answer(h, f"/facts forget {id_}") == sentences.FACT_FORGOTTEN
        assert await answer(h, f"/facts forget {id_}") == sentences.FACT_UNKNOWN
        assert await answer(h, "/facts forget") == await answer(h, "/facts add") == sentences.FACTS_USAGE
        assert await answer(h, "/facts forget i ski.") == sentences.FACT_FORGOTTEN
        assert written(h) == ["I bring the cake"]


async def test_the_command_shows_what_was_so_before_and_how_much_more_there_is(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(obeys)) as h:
        await answer(h, f"I like coffee\n{remember('I like coffee')}")
        await answer(h, f"I like tea\n{remember('I like tea', replaces='I like coffee')}")
        lines = (await answer(h, "/facts")).splitlines()
        assert "I like tea (" in lines[0]
        assert lines[2] == sentences.FACTS_FORMER
        assert re.search(r"I like coffee \([\d-]{10}, until [\d-]{10}\)", lines[3])
        path = Facts(tmp_path / "memory").path("memory-1")
        path.write_text("".join(f"- {number} {'x' * 80}\n" for number in range(100)))
        lines = (await answer(h, "/facts")).splitlines()
        assert lines[-1] == sentences.FACTS_MORE.format(count=100 - (len(lines) - 1))
        too_long = await answer(h, f"/facts add {'x' * 501}")
        assert too_long == sentences.FACT_TOO_LONG.format(have=501, most=500)
        path.write_text("".join(f"- {number}\n" for number in range(500)))
        assert await answer(h, "/facts add one more") == sentences.FACTS_FULL


async def test_forgetting_by_command_that_was_cut_off_is_answered_as_if_it_ran_once(tmp_path: Path) -> None:
    adapter, gate = MemoryAdapter(), asyncio.Event()
    async with house(tmp_path, ScriptedModel(obeys), adapter=adapter) as h:
        id_ = (await answer(h, "/facts add I like tea")).partition("/facts forget ")[2].split()[0]
        await answer(h, "/facts add I like tea with milk")
        real = h.database.write

        async def dies(unit: Any) -> Any:  # the process is killed when it wants to answer
            if "Asides.answer" in unit.__qualname__:
                gate.set()
                await asyncio.Event().wait()
            return await real(unit)

        h.database.write = dies  # type: ignore[method-assign]
        await h.say(f"/facts forget {id_}")
        await asyncio.wait_for(gate.wait(), 10)
        assert written(h) == ["I like tea with milk"]
    async with house(tmp_path, ScriptedModel(obeys), adapter=adapter) as h:
        await h.settled()
        assert h.texts()[-1] == sentences.FACT_FORGOTTEN
        assert written(h) == ["I like tea with milk"]


# The whole house ----------------------------------------------------------------------------------------------------


async def test_the_demo_model_remembers_recalls_replaces_and_forgets(tmp_path: Path) -> None:
    async with house(tmp_path, DemoModel("demo")) as h:
        assert "I like tea" in await answer(h, "Remember that I like tea.")
        await answer(h, "/clear")
        assert "I like tea" in await answer(h, "What do you know about me?")
        await answer(h, "remember that I like coffee instead of tea")
        assert written(h) == ["I like coffee"]
        known = await answer(h, "so what do you know about me?")
        assert "coffee" in known
        assert "tea" not in known
        assert "Forgotten" in await answer(h, "please forget that I like coffee.")
        assert "have not asked me to remember anything" in await answer(h, "what do you know about me")
        assert "could not" in await answer(h, "forget that I like elephants")
        path = Facts(tmp_path / "memory").path("memory-1")
        assert "tea" not in path.read_text()
        assert "coffee" not in path.read_text()


async def test_a_real_exchange_of_tool_calls_remembers_recalls_replaces_and_forgets(tmp_path: Path) -> None:
    def respond(request: Request) -> Step:
        messages = request.body["messages"]
        if messages[-1]["role"] == "tool":
            return Reply((str(messages[-1]["content"]),))
        text = asked(request)
        known = re.search(r"- \[(\w{5})\] [\d-]{10}: (.*)", str(messages[0]["content"]))
        if text.startswith("I like"):
            arguments = {"fact": text.replace("I like", "Likes"), "quote": text}
            if known:
                arguments["replaces"] = known[1]
            return Reply(calls=(Call("remember", json.dumps(arguments)),))
        if text == "what?":
            return Reply(calls=(Call("recall_facts", "{}"),))
        if text == "forget it" and known:
            return Reply(calls=(Call("forget_fact", json.dumps({"fact": known[1]})),))
        return Reply((f"I know: {known[2] if known else 'nothing'}",))

    async with running(tmp_path, respond) as b:

        async def said(text: str) -> str:
            count = len(b.telegram.chat(1).texts)
            b.telegram.say(1, 1, text)
            await b.telegram.wait_for(lambda server: len(server.chat(1).texts) > count)
            await b.until(lambda: not b.rows("SELECT 1 FROM outbox WHERE state <> 'sent'"))
            return b.telegram.chat(1).texts[-1]

        assert re.search(r"^Kept: \[\w{5}\] [\d-]{10}: Likes tea$", await said("I like tea"))
        assert await said("x") == "I know: Likes tea"
        assert (await said("what?")).endswith("Likes tea")
        assert (await said("I like coffee")).endswith("Likes coffee")
        assert await said("x") == "I know: Likes coffee"
        facts = Facts(tmp_path / "data" / "memory")
        assert [(f.text, f.valid) for f in facts.read("telegram-1")] == [
            ("Likes coffee", True),
            ("Likes tea", False),
        ]
        assert (await said("forget it")).startswith("Forgotten")
        assert await said("x") == "I know: nothing"
        assert facts.read("telegram-1") == []
        names = [tool["function"]["name"] for tool in b.model.requests[-1].body["tools"]]
        assert {"remember", "recall_facts", "forget_fact"} <= set(names)
