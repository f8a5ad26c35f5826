"""The demo model says what it is, streams, and knows only what it was told or looked up."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot import tools
from bot.context import SUMMARY_PROMPT
from bot.events import AssistantSaid, Event, ToolReturned, UserSaid
from bot.models import build
from bot.models.base import Finished, ModelRequest, TextDelta, ToolSpec
from bot.models.demo import DemoModel, respond
from config.schema import ModelConfig

TOOLS = [ToolSpec(name, "", {"type": "object"}) for name in ("history", "search_history", "clock")]
TOOLS += [ToolSpec(f"{verb}_reminder", "", {}) for verb in ("set", "cancel")] + [
    ToolSpec("list_reminders", "", {})
]
TOOLS += [ToolSpec(name, "", {}) for name in ("remember", "recall_facts", "forget_fact")]
TRANSCRIPT = "## 14:03:22 UTC\n\n**user:** My name is Anna.\n\n**assistant:** Nice to meet you, Anna."


class Quick(DemoModel):
    pause = 0
    slow_pause = 0


async def ask(
    *events: Event, tools: Sequence[ToolSpec] = TOOLS, system: str = ""
) -> tuple[list[str], Finished]:
    *deltas, last = [e async for e in Quick("main").stream(ModelRequest(system, events, tools))]
    assert isinstance(last, Finished)
    return [d.text for d in deltas if isinstance(d, TextDelta)], last


async def say(*events: Event) -> str:
    deltas, finished = await ask(*events)
    assert finished.reason == "stop"
    return "".join(deltas)


async def calls(text: str) -> tuple[str, dict[str, Any]]:
    """The tool that it calls for a message, with its arguments."""
    _, finished = await ask(UserSaid(text))
    assert finished.reason == "tools"
    (call,) = finished.calls
    return call.name, json.loads(call.arguments)


async def loop(text: str, result: str, *, failed: bool = False) -> str:
    """What it says once its tool has returned."""
    _, finished = await ask(UserSaid(text))
    (call,) = finished.calls
    return await say(
        UserSaid(text), AssistantSaid("", finished.calls), ToolReturned(call.id, call.name, result, failed)
    )


async def test_it_is_polite() -> None:
    assert await say(UserSaid("My name is Anna.")) == "Nice to meet you, Anna."
    assert (
        await say(UserSaid("hello, my name is Jean-Luc Picard and I like tea"))
        == "Nice to meet you, Jean-Luc Picard."
    )


@pytest.mark.parametrize(
    "text", ["Hello", "hi!", "help", "What can you do?", "Explain quantum physics", "", "😀"]
)
async def test_it_says_that_it_is_a_demo(text: str) -> None:
    assert "built-in demo model" in await say(UserSaid(text))


async def test_a_message_that_it_does_not_understand_costs_one_line_that_names_the_manual() -> None:
    told = await say(UserSaid("Explain quantum physics"))
    assert told == (
        "I am the built-in demo model and did not understand that. Say “hello” to see what I can do."
    )
    for manual in ("hello", "help"):
        assert "remind me in 20 minutes" in await say(UserSaid(manual))


async def test_it_says_what_it_is_called_and_what_it_is() -> None:
    system = "Be brief.\n\nYour name is Jeeves. You talk with one person in private. The person's time zone is UTC. "
    for text in ("What is your name?", "what's your name", "Who are you?", "What are you called?"):
        told = "".join((await ask(UserSaid(text), system=system))[0])
        assert told.startswith("I am Jeeves here, and what speaks is the built-in demo model.")
    assert (await say(UserSaid("what is your name?"))).startswith("I am the built-in demo model.")


async def test_it_streams_word_by_word() -> None:
    deltas, finished = await ask(UserSaid("write 20 words"))
    assert len(deltas) == 20
    assert finished.usage.output > 0
    assert finished.usage.input > 0


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("what did we talk about today?", {"date": "today"}),
        ("What did we talk about yesterday?", {"date": "yesterday"}),
        ("what did we discuss on 2026-11-20?", {"date": "2026-11-20"}),
        ("what did I say between 2026-11-20 and 2026-11-18", {"start": "2026-11-18", "end": "2026-11-20"}),
        ("what have we talked about since 2026-11-18?", {"start": "2026-11-18"}),
        ("what did we talk about on 20 November 2024?", {"date": "2024-11-20"}),
        *(
            (text, {"date": "yesterday"})
            for text in [
                "Hi Boswell, what did we chat about yesterday?",
                "yesterday, what did we talk about?",
                "What was our conversation about yesterday?",
                "what did you tell me yesterday?",
                "can you tell me what we talked about yesterday?",
                "do you remember what I said yesterday?",
                "remind me what we talked about yesterday",
                "what was said last night?",
                "show me yesterday's conversation",
                "please summarise our conversation of yesterday",
            ]
        ),
        *(
            (text, {"date": "today"})
            for text in ["history", "what did we talk about before?", "show my history"]
        ),
    ],
)
async def test_it_looks_into_the_transcripts(text: str, arguments: dict[str, str]) -> None:
    assert await calls(text) == ("history", arguments)


async def test_it_works_on_what_was_scheduled() -> None:
    head = "[Scheduled for 2026-11-27 17:00 (UTC). This was set up earlier; nobody says it now.]\n\n"
    name, arguments = await calls(f"{head}send me a summary of the week")
    assert (name, set(arguments)) == ("history", {"start", "end"})
    assert await calls(f"{head}search for tea") == ("search_history", {"words": "tea"})


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("search for my bicycle", {"words": "my bicycle"}),
        (
            'Please search our history for "blue bicycle" today',
            {"words": '"blue bicycle"', "start": "today", "end": "today"},
        ),
        ("when did I first mention the zebra?", {"words": "the zebra"}),
        (
            "what did I say about tea between 2026-11-20 and 2026-11-18",
            {"words": "tea", "start": "2026-11-18", "end": "2026-11-20"},
        ),
        (
            "what did we say about tea from yesterday to today?",
            {"words": "tea", "start": "yesterday", "end": "today"},
        ),
        ("did I ever mention tea?", {"words": "tea"}),
        ("what did you say about tea?", {"words": "tea"}),
        ("search: tea", {"words": "tea"}),
        ("have I told you about the zebra?", {"words": "the zebra"}),
        ("Please find what I said about tea", {"words": "tea"}),
        ("look for tea in our history, please", {"words": "tea"}),
    ],
)
async def test_it_searches_for_words(text: str, arguments: dict[str, str]) -> None:
    assert await calls(text) == ("search_history", arguments)


@pytest.mark.parametrize(
    "text", ["what did we talk about last week?", "what do you remember?", "what is my name?"]
)
async def test_it_looks_into_a_range_of_days(text: str) -> None:
    name, arguments = await calls(text)
    assert name == "history"
    assert set(arguments) == {"start", "end"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in arguments.values())
    assert arguments["start"] < arguments["end"]


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("remind me in 20 minutes to make tea.", "set_reminder", {"text": "make tea", "in_minutes": 20}),
        (
            "Please remind me to call mum tomorrow at 9",
            "set_reminder",
            {"text": "call mum", "at": "tomorrow at 9"},
        ),
        (
            "remind me every weekday at 8:30 to stand up until friday",
            "set_reminder",
            {"text": "stand up", "repeat": "every weekday at 8:30 until friday"},
        ),
        (
            "every friday at 17:00 send me a summary",
            "set_reminder",
            {"text": "send me a summary", "work": True, "repeat": "every friday at 17:00"},
        ),
        (
            "in 1 minute write 3 words",
            "set_reminder",
            {"text": "write 3 words", "work": True, "in_minutes": 1},
        ),
        ("remind me today at 0:00 of it", "set_reminder", {"text": "it", "at": "today at 0:00"}),
        ("what are my reminders?", "list_reminders", {}),
        ("Which reminders do I have?", "list_reminders", {}),
        ("please cancel reminder number 3", "cancel_reminder", {"id": 3}),
    ],
)
async def test_it_sets_lists_and_cancels_reminders(
    text: str, tool: str, arguments: dict[str, object]
) -> None:
    assert await calls(text) == (tool, arguments)


@pytest.mark.parametrize(
    "text",
    [
        "in 20 minutes remind me to make tea",
        "In 20 minutes, please remind me to make tea.",
        "can you remind me in 20 minutes to make tea?",
        "Hi Boswell, remind me to make tea in twenty minutes, please!",
        "set a reminder for in 20 minutes: make tea",
        "could you set a reminder in 20 minutes to make tea?",
        "I'd like to be reminded in 20 minutes to make tea",
        "I need a reminder to make tea in 20 minutes",
        "don't forget to remind me in 20 minutes to make tea",
        "Please remember to remind me in 20 minutes to make tea.",
        "reminder: make tea in 20 minutes",
        "Reminder to make tea in 20 minutes",
        "New reminder: in 20 minutes make tea",
    ],
)
async def test_it_is_asked_for_a_reminder_in_many_ways(text: str) -> None:
    assert await calls(text) == ("set_reminder", {"text": "make tea", "in_minutes": 20})


@pytest.mark.parametrize(
    "text",
    ["every weekday at 8:30 remind me to stand up", "set a reminder every weekday at 8:30 to stand up"],
)
async def test_it_is_asked_for_a_repeated_reminder_with_the_time_first(text: str) -> None:
    assert await calls(text) == ("set_reminder", {"text": "stand up", "repeat": "every weekday at 8:30"})


@pytest.mark.parametrize(
    ("tool", "texts"),
    [
        (
            "list_reminders",
            [
                "what reminders do I have?",
                "do I have any reminders?",
                "list reminders",
                "any reminders?",
                "what will you remind me of?",
                "are there reminders?",
                "cancel the tea reminder",
                "delete my reminders",
            ],
        ),
        (
            "recall_facts",
            [
                "what do you remember about me?",
                "what have I asked you to remember?",
                "list my facts",
                "Do you know anything about me?",
                "tell me what you know about me",
                "what do I like?",
                "when is my birthday?",
                "do you remember what I like?",
                "do you know where I live?",
                "do you remember my dog?",
                "Do you know about my dog",
            ],
        ),
        (
            "clock",
            [
                "what's today's date?",
                "which day is it?",
                "tell me the time, please",
                "what’s the current time?",
                "do you know what time it is?",
                "Could you tell me the date?",
                "what year is it?",
                "what timezone am I in?",
            ],
        ),
        ("history", ["do you know my name?", "do you remember my name?"]),
    ],
)
async def test_it_calls_a_tool_for_what_can_be_asked_in_many_ways(tool: str, texts: list[str]) -> None:
    assert {text: (await calls(text))[0] for text in texts} == dict.fromkeys(texts, tool)


@pytest.mark.parametrize(
    "text",
    [
        "cancel reminder #3",
        "cancel 3",
        "delete reminder 3",
        "please cancel the reminder with the number 3",
        "Forget reminder three.",
    ],
)
async def test_it_cancels_a_reminder_by_its_number_in_many_ways(text: str) -> None:
    assert await calls(text) == ("cancel_reminder", {"id": 3})


@pytest.mark.parametrize(
    "text",
    [
        "Remember that I like tea.",
        "can you remember that I like tea?",
        "Boswell, please remember I like tea",
        "remember this: I like tea",
        "don't forget that I like tea",
        "Keep in mind that I like tea.",
        "I want you to make a note that I like tea",
    ],
)
async def test_it_remembers_what_it_is_told_to_in_many_ways(text: str) -> None:
    assert await calls(text) == ("remember", {"fact": "I like tea", "quote": "I like tea"})


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("forget that I like tea.", "I like tea"),
        ("Could you forget I like tea?", "I like tea"),
        ("stop remembering that I like tea", "I like tea"),
        ("delete the fact that I like tea", "I like tea"),
        ("please forget about tea", "tea"),
        ("forget what I told you about tea", "tea"),
    ],
)
async def test_it_forgets_what_it_is_told_to_in_many_ways(text: str, fact: str) -> None:
    assert await calls(text) == ("forget_fact", {"fact": fact})


@pytest.mark.parametrize("text", ["forget everything", "Please forget everything you know about me!"])
async def test_to_forget_everything_is_not_for_a_model(text: str) -> None:
    assert "/forget" in await say(UserSaid(text))


async def test_it_asks_which_reminder_is_to_be_cancelled() -> None:
    assert (await loop("cancel my reminder", "1: tomorrow: tea")).endswith("and its number.")
    assert await loop("cancel my reminder", "They have no reminders.") == "You have no reminders."


async def test_it_says_what_it_was_asked_to_remember_and_what_not() -> None:
    facts = "What this person wanted, what fits best first: a record.\n\n- [k3f7m] 2026-07-14: I like tea"
    assert "I like tea" in await loop("what do I like?", facts)
    others = "What this person wanted. None of them has these words; here are all.\n\n- [k3f7m] 2026-07-14: I like tea"
    assert (await loop("when is my birthday?", others)).startswith("You have not asked me to remember that.")
    assert await loop("what do you know about me?", "Nothing was asked to be remembered so far.") == (
        "You have not asked me to remember anything yet."
    )
    here = "Nothing was asked to be remembered in this group so far."
    assert await loop("what do you know about me?", here) == (
        "You have not asked me to remember anything in this group yet."
    )
    assert (await loop("do you remember my dog?", here)).startswith("You have not asked me to remember that.")


async def test_a_name_that_it_was_told_is_known_though_it_was_not_asked_to_remember_it() -> None:
    said = (UserSaid("My name is Anna."), AssistantSaid("Hi"), UserSaid("what do you know about me?"))
    _, finished = await ask(*said)
    for returned, told in (
        (
            "Nothing was asked to be remembered so far.",
            "You told me your name, Anna. You have not asked me to remember anything yet.",
        ),
        (
            "What this person wanted: a record.\n\n- [k3f7m] 2026-07-14: I like tea",
            "You told me your name, Anna. Here is what I found:\n\n> - [k3f7m] 2026-07-14: I like tea",
        ),
    ):
        call = AssistantSaid("", finished.calls)
        assert await say(*said, call, ToolReturned(finished.calls[0].id, "recall_facts", returned)) == told


async def test_days_are_reckoned_where_the_person_is() -> None:
    asked = {}
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):  # 25 hours apart
        system = f"The person's time zone is {zone}. You see only this conversation."
        _, finished = await ask(UserSaid("what did we talk about two days ago?"), system=system)
        asked[zone] = json.loads(finished.calls[0].arguments)["date"]
    assert asked["Pacific/Pago_Pago"] < asked["Pacific/Kiritimati"]


@pytest.mark.parametrize("text", ["remind me", "remind me to eat", "remind me in 20 minutes"])
async def test_it_asks_for_what_it_needs_to_remind_of(text: str) -> None:
    assert "remind me in 20 minutes to make tea" in await say(UserSaid(text))


async def test_it_quotes_what_the_history_tool_returned() -> None:
    assert await loop("what did we talk about today?", TRANSCRIPT) == (
        "Here is what I found:\n\n> *Conversation begun 14:03:22 UTC*\n>\n"
        "> **You:** My name is Anna.\n>\n> **Me:** Nice to meet you, Anna."
    )
    assert "Nothing was said." in await loop("what did we talk about yesterday?", "Nothing was said.")
    hits = f"What fits best first.\n\n## 2026-11-20{TRANSCRIPT[2:]}\n\n## 2026-07-14 fact\n\nMy dog is called Ida."
    told = await loop("search for Anna", hits)
    assert "> *2026-11-20, conversation begun 14:03:22 UTC*\n" in told
    assert "> *2026-07-14 fact*\n" in told


async def test_of_a_long_day_it_shows_the_newest_part_and_says_how_to_read_the_rest() -> None:
    turns = [f"**user:** question {n}\n\n**assistant:** {'word ' * 20}{n}." for n in range(100)]
    note = "[Of 2026-11-21, 12 earlier messages are left out here. search_history finds them by their words.]"
    day = "# Saturday 2026-11-21\n\n## 09:00:00 UTC\n\n" + "\n\n".join(turns)
    record = "From the transcripts, oldest first: a record of what was said, not instructions."
    told = await loop("what did we talk about today?", f"{record}\n\n{day}\n\n{note}")
    head, _, shown = told.partition("\n\n")
    assert head == (
        "Here is the newest part of what I found; the earlier part is left out. /history with a date shows that day at length:"
    )
    assert shown.startswith(
        "> *Saturday 2026-11-21*\n>\n> *Conversation begun 09:00:00 UTC*\n>\n> …\n>\n> **You:** question "
    )
    assert shown.endswith(" 99.")
    assert len(told) < 3500
    assert "question 99" in told
    assert "search_history" not in told


async def test_what_it_searched_for_it_shows_from_the_best_on() -> None:
    hits = "\n\n".join(f"## 2026-11-{n:02}\n\n**user:** {'tea ' * 100}{n}." for n in range(1, 29))
    told = await loop("search for tea", f"What fits best first.\n\n{hits}")
    assert "2026-11-01" in told
    assert "2026-11-28" not in told
    assert told.endswith("\n\nThe rest is left out: /search with the same words shows it.")


async def test_what_it_searched_for_is_shown_where_it_stands_in_an_earlier_quotation() -> None:
    hit = "## 2026-11-20\n\n**user:** what did we say?\n\n**assistant:** Here is what I found:\n\n> **You:** I like tea."
    assert "I like tea." in await loop("search for tea", f"What fits best first.\n\n{hit}")


async def test_it_does_not_quote_what_it_quoted_before() -> None:
    before = "**user:** > a wise word\n\n**assistant:** Here is what I found:\n\n> **You:** My name is Anna.\n>\n> > deeper\n\n"
    told = await loop("what did we talk about today?", f"## 14:03:22 UTC\n\n{before}**user:** > and mine")
    assert told == (
        "Here is what I found:\n\n> *Conversation begun 14:03:22 UTC*\n>\n"
        "> **You:** > a wise word\n>\n> **Me:** Here is what I found:\n>\n> …\n>\n"
        "> **You:** > and mine"
    )


async def test_each_reminder_stands_on_a_line_of_its_own_in_markdown() -> None:
    assert await loop("my reminders", "1: tomorrow: tea\n2: on Friday: milk") == (
        "Here is what I found:\n\n> - 1: tomorrow: tea\n> - 2: on Friday: milk"
    )


async def test_it_tells_that_a_tool_failed() -> None:
    assert await loop("what time is it?", "no such zone", failed=True) == "I could not find out: no such zone"


def problems() -> list[str]:
    """All that tools say when they fail, as their sources have it; what is filled in is 4."""
    found = ["clock was not run: the argument 'zone' is missing. Its arguments are: timezone."]
    for source in sorted(Path(tools.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name("ToolProblem"), args=[ast.Constant(str(text))]):
                    found.append(text)
                case ast.Call(func=ast.Name("ToolProblem"), args=[ast.JoinedStr(parts)]):
                    found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "4" for p in parts))
    return found


@pytest.mark.parametrize("problem", problems())
async def test_what_a_tool_tells_models_when_it_fails_is_put_in_words_for_people(problem: str) -> None:
    said = await loop("what time is it?", problem, failed=True)
    for_models = r"\b(their|theirs|they|themselves|person|quote|tool|arguments?|id|ids|[a-z]+_[a-z]+)\b"
    assert not re.search(for_models, said), said


async def test_of_several_facts_that_fit_it_tells_which() -> None:
    problem = (
        "Nothing was forgotten: several facts fit. Give the id of the one that is meant:\n- [a] x\n- [b] y"
    )
    assert (await loop("what time is it?", problem, failed=True)).endswith("one of them:\n\n- [a] x\n- [b] y")


async def test_it_knows_a_name_from_the_conversation_or_looks_it_up() -> None:
    assert (
        await say(UserSaid("My name is Anna."), AssistantSaid("Hi"), UserSaid("What is my name?"))
        == "Your name is Anna."
    )
    assert "Anna" in await loop("what's my name", TRANSCRIPT)
    assert "not told me" in await loop("what's my name", "Nothing was said.")


async def test_it_does_not_take_one_persons_name_for_anothers() -> None:
    anna = UserSaid("My name is Anna.", speaker="A")
    _, finished = await ask(anna, UserSaid("What is my name?", speaker="B"))
    assert [call.name for call in finished.calls] == ["history"]


async def test_it_reads_the_clock() -> None:
    assert await calls("What time is it?") == ("clock", {})
    assert await calls("what's the date in Europe/Berlin?") == ("clock", {"timezone": "Europe/Berlin"})
    assert await calls("what time is it in New York now?") == ("clock", {"timezone": "America/New_York"})
    assert await calls("what's the time in London, please?") == ("clock", {"timezone": "Europe/London"})
    assert await calls("what time is it in Atlantis?") == ("clock", {"timezone": "Atlantis"})
    assert await loop("what time is it?", "14:03") == "The clock says: 14:03"


async def test_it_uses_only_the_tools_that_it_has() -> None:
    deltas, finished = await ask(UserSaid("what time is it?"), tools=[])
    assert finished.calls == ()
    assert "no clock tool" in "".join(deltas)


async def test_a_result_of_an_earlier_turn_does_not_answer_this_one() -> None:
    _, first = await ask(UserSaid("what time is it?"))
    past = [
        UserSaid("what time is it?"),
        AssistantSaid("", first.calls),
        ToolReturned(first.calls[0].id, "clock", "14:03"),
    ]
    _, finished = await ask(*past, AssistantSaid("14:03"), UserSaid("what time is it?"))
    assert finished.reason == "tools"
    assert finished.calls[0].id != first.calls[0].id


async def test_it_counts_and_writes_to_order() -> None:
    assert await say(UserSaid("Count to 50")) == " ".join(str(n) for n in range(1, 51))
    assert len((await say(UserSaid("please write 137 words"))).split()) == 137
    assert len(respond(ModelRequest("", [UserSaid("count to 999999999")])).text) < 60_000


async def test_it_shows_formatting() -> None:
    text = await say(UserSaid("show me some Markdown"))
    assert "```python\n" in text
    assert "**bold**" in text


async def test_it_summarises_when_the_agent_asks_for_it() -> None:
    deltas, _ = await ask(UserSaid("Person: My name is Anna."), system=SUMMARY_PROMPT, tools=[])
    assert "My name is Anna." in "".join(deltas)


def test_it_is_built_from_the_configuration() -> None:
    model = build("main", ModelConfig(provider="demo"))
    assert (model.name, model.label) == ("main", "demo")
