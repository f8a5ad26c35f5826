"""The fact tools keep what the person said and nothing else, and tell and erase only what may be seen where they ask."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat, Person, Update
from bot.events import ToolCall, Variables
from bot.tools import named
from bot.tools.base import ToolContext, ToolProblem
from memory.database import open_database
from memory.facts import MOST, Facts
from memory.transcripts import Place, Transcripts

NOON = 1784030400.0  # 2026-07-14 12:00:00 UTC
DAY = date(2026, 7, 14)
ANNA, ON_SLACK, BOB = "telegram-1001", "slack-T1-U1", "telegram-2"
CLUB = Place("telegram", "group", "-100123", "Book club")
GROUP = Chat("telegram", "-100123", "group", "Book club")
TOOLS = named(["facts"])


def context(
    folder: Path, *said: str, chat: Chat | None = None, at: float = NOON, now: float = NOON, **changes: Any
) -> ToolContext:
    chat = chat or Chat("telegram", "1001")
    values = {
        "user_id": ANNA,
        "platform": "telegram",
        "chat_id": chat.id,
        "private": chat.kind == "private",
        "turn_id": "1",
    }
    update = Update(source="telegram:7", key="1", chat=chat, person=Person(ANNA), text="\n".join(said), at=at)
    return ToolContext(
        Variables(**{**values, **changes}),
        Transcripts(folder),
        lambda: now,
        "1.c",
        update=update,
        said=said,
        facts=Facts(folder),
    )


async def call(context: ToolContext, tool: str, **arguments: Any) -> str:
    return await TOOLS[tool].call(ToolCall("c", tool, json.dumps(arguments)), context)


async def keep(folder: Path, text: str, **more: Any) -> str:
    """Have Anna say it and a model remember it; the fact's id."""
    told = await call(context(folder, f"Remember: {text}", **more), "remember", fact=text, quote=text)
    found = re.search(r"\[(\w+)\]", told)
    assert found is not None
    return found[1]


def held(folder: Path, user: str = ANNA) -> list[tuple[str, bool]]:
    return [(fact.text, fact.valid) for fact in Facts(folder).read(user)]


async def test_what_was_said_is_kept_with_its_date_in_the_persons_zone_and_its_place(tmp_path: Path) -> None:
    late = NOON + 11 * 3600  # 23:00 in UTC, and the day after in Tokyo
    asks = context(tmp_path, "I like tea", at=late, now=late + 7200, timezone="Asia/Tokyo", chat=GROUP)
    told = await call(asks, "remember", fact="Likes tea", quote="I like tea")
    [fact] = Facts(tmp_path).read(ANNA)
    assert (fact.text, fact.date, fact.place) == ("Likes tea", date(2026, 7, 15), CLUB)
    assert told == f"Kept: [{fact.id}] 2026-07-15 · telegram group Book club: Likes tea"


@pytest.mark.parametrize(
    ("said", "fact", "quote"),
    [
        ("Hello", "Likes tea", "I like tea"),
        ("Hello", "Likes tea", "Hello"),
        ("Hello", "Likes tea", ""),
        ("I like tea", "Likes tea and pays Mallory", "I like tea"),
        ("I like tea", "Number 42", "I like tea"),
        ("I like tea", "…", "I like tea"),
        ("I like tea", "", "I like tea"),
        ("tea " * 200, "tea " * 200, "tea"),
    ],
)
async def test_what_was_not_said_is_not_kept(tmp_path: Path, said: str, fact: str, quote: str) -> None:
    with pytest.raises(ToolProblem, match="Nothing was written"):
        await call(context(tmp_path, said), "remember", fact=fact, quote=quote)
    assert not Facts(tmp_path).path(ANNA).exists()


async def test_where_nobody_asks_nothing_is_kept_or_forgotten(tmp_path: Path) -> None:
    await keep(tmp_path, "I ski")
    with pytest.raises(ToolProblem, match="Nothing was written"):
        await call(context(tmp_path), "remember", fact="I like tea", quote="I like tea")
    with pytest.raises(ToolProblem, match="Nothing was forgotten"):
        await call(context(tmp_path), "forget_fact", fact="I ski")
    assert held(tmp_path) == [("I ski", True)]


async def test_a_call_that_runs_again_writes_once_and_says_the_same(tmp_path: Path) -> None:
    old = await keep(tmp_path, "I like coffee")
    asks = context(tmp_path, "I like tea now")
    arguments = {"fact": "I like tea", "quote": "I like tea", "replaces": old}
    first = await call(asks, "remember", **arguments)
    written = Facts(tmp_path).path(ANNA).read_bytes()
    assert await call(replace(asks, now=lambda: NOON + 86400), "remember", **arguments) == first
    assert Facts(tmp_path).path(ANNA).read_bytes() == written
    assert held(tmp_path) == [("I like tea", True), ("I like coffee", False)]


async def test_what_is_replaced_may_be_named_by_words_that_fit_one_fact_alone(tmp_path: Path) -> None:
    await keep(tmp_path, "I like coffee")
    await keep(tmp_path, "I have a cat")
    asks = context(tmp_path, "I like green tea")
    arguments = {"fact": "I like green tea", "quote": "I like green tea", "replaces": "coffee"}
    first = await call(asks, "remember", **arguments)
    assert await call(asks, "remember", **arguments) == first, "as after a crash"
    assert held(tmp_path) == [("I like green tea", True), ("I like coffee", False), ("I have a cat", True)]
    asks = context(tmp_path, "I ski")
    with pytest.raises(ToolProblem, match="no fact"):
        await call(asks, "remember", fact="I ski", quote="I ski", replaces="I")


async def test_a_fact_that_is_known_in_other_spelling_is_not_written_again(tmp_path: Path) -> None:
    await keep(tmp_path, "I like tea.")
    await keep(tmp_path, "i LIKE tea")
    assert held(tmp_path) == [("I like tea.", True)]
    await keep(tmp_path, "I like C")
    await keep(tmp_path, "I like C++")
    assert len(held(tmp_path)) == 3


async def test_what_can_not_be_replaced_here_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    id_ = await keep(tmp_path, "I like coffee")
    for replaces, chat in (("zzzzz", None), (id_, GROUP), ("I like coffee", GROUP)):
        asks = context(tmp_path, "I like tea", chat=chat)
        with pytest.raises(ToolProblem, match="no fact"):
            await call(asks, "remember", fact="I like tea", quote="I like tea", replaces=replaces)
    assert held(tmp_path) == [("I like coffee", True)]


async def test_a_full_list_says_so(tmp_path: Path) -> None:
    await keep(tmp_path, "I like tea")
    Facts(tmp_path).path(ANNA).write_text("".join(f"- fact {number}\n" for number in range(MOST)))
    with pytest.raises(ToolProblem, match="no room"):
        await keep(tmp_path, "I like cake")


async def test_a_model_that_fills_in_every_argument_is_understood(tmp_path: Path) -> None:
    asks = context(tmp_path, "I like tea")
    await call(asks, "remember", fact="I like tea", quote="I like tea", replaces="")
    assert "I like tea" in await call(asks, "recall_facts", words="")


async def test_facts_are_told_newest_first_or_by_what_fits_some_words(tmp_path: Path) -> None:
    for number, text in enumerate(["My dog is called Rex", "I like tea", "I walk the dog at noon with Ida"]):
        await keep(tmp_path, text, at=NOON + number * 86400, now=NOON + number * 86400)
    asks = context(tmp_path, "x")
    told = await call(asks, "recall_facts")
    assert re.findall(r"\d: (.*)", told) == [
        "I walk the dog at noon with Ida",
        "I like tea",
        "My dog is called Rex",
    ]
    assert "not instructions" in told
    told = await call(asks, "recall_facts", words="Rex the dog")
    assert re.findall(r"\d: (.*)", told) == ["My dog is called Rex", "I walk the dog at noon with Ida"]
    told = await call(asks, "recall_facts", words="elephants")
    assert "None of them has these words" in told
    assert len(re.findall(r"\d: (.*)", told)) == 3


async def test_a_long_list_is_cut_with_a_note(tmp_path: Path) -> None:
    await keep(tmp_path, "I like tea")
    Facts(tmp_path).path(ANNA).write_text("".join(f"- {number} {'x' * 90}\n" for number in range(MOST)))
    told = await call(context(tmp_path, "x"), "recall_facts")
    assert len(told) < 13_000
    left = re.search(r"\[(\d+) more are left out", told)
    assert left is not None
    assert told.count("\n- ") + int(left[1]) == MOST


async def test_nothing_to_tell_is_said_plainly(tmp_path: Path) -> None:
    assert await call(context(tmp_path, "x"), "recall_facts") == "Nothing was asked to be remembered so far."
    assert "in this group" in await call(context(tmp_path, "x", chat=GROUP), "recall_facts")


async def test_former_facts_are_not_told_as_valid(tmp_path: Path) -> None:
    old = await keep(tmp_path, "I like coffee")
    await call(
        context(tmp_path, "I like tea"), "remember", fact="I like tea", quote="I like tea", replaces=old
    )
    assert "coffee" not in await call(context(tmp_path, "x"), "recall_facts")


# Scope ------------------------------------------------------------------------------------------------------------


async def test_in_a_group_only_what_was_said_there_is_told_replaced_or_forgotten(tmp_path: Path) -> None:
    private = await keep(tmp_path, "My pin is 1234")
    public = await keep(tmp_path, "I bring the cake", chat=GROUP)
    other = Chat("telegram", "-100999", "group", "Others")
    for chat, seen in ((GROUP, {"cake"}), (other, set()), (None, {"cake", "pin"})):
        told = await call(context(tmp_path, "x", chat=chat), "recall_facts", words="pin cake")
        assert {word for word in ("cake", "pin") if word in told} == seen
    for wanted in (private, "My pin is 1234", "pin"):
        with pytest.raises(ToolProblem, match="no such fact") as caught:
            await call(context(tmp_path, "x", chat=GROUP), "forget_fact", fact=wanted)
        assert "1234" not in str(caught.value)
    with pytest.raises(ToolProblem, match="no such fact"):
        await call(context(tmp_path, "x", chat=other), "forget_fact", fact=public)
    await call(context(tmp_path, "x", chat=GROUP), "forget_fact", fact=public)
    assert held(tmp_path) == [("My pin is 1234", True)]


async def test_what_is_said_in_a_group_though_it_is_known_in_private_can_be_told_there(
    tmp_path: Path,
) -> None:
    await keep(tmp_path, "I like tea")
    await keep(tmp_path, "I like tea", chat=GROUP)
    assert len(held(tmp_path)) == 2
    assert "I like tea" in await call(context(tmp_path, "x", chat=GROUP), "recall_facts")


async def test_a_group_that_got_another_id_still_hears_what_was_said_there(tmp_path: Path) -> None:
    await keep(tmp_path, "I bring the cake", chat=GROUP)
    moved = replace(GROUP, id="-100777")
    asks = context(tmp_path, "x", chat=moved, extra={"chat_aliases": ("-100123",)})
    assert "cake" in await call(asks, "recall_facts")


async def test_nobody_elses_facts_are_reached_by_any_argument(tmp_path: Path) -> None:
    Facts(tmp_path).add(BOB, "Bob has a secret", DAY, None)
    [secret] = Facts(tmp_path).read(BOB)
    asks = context(tmp_path, "Bob has a secret, forget it, I like tea")
    for tool, arguments in (
        ("forget_fact", {"fact": secret.id}),
        ("forget_fact", {"fact": "Bob has a secret"}),
        ("remember", {"fact": "I like tea", "quote": "I like tea", "replaces": secret.id}),
        ("recall_facts", {"user_id": BOB}),
        ("forget_fact", {"fact": secret.id, "people": [BOB]}),
    ):
        with pytest.raises(ToolProblem) as caught:
            await call(asks, tool, **arguments)
        assert "Bob has" not in str(caught.value)
    assert held(tmp_path, BOB) == [("Bob has a secret", True)]
    assert "secret" not in await call(asks, "recall_facts", words="secret")


async def test_linked_ids_share_facts_and_each_writes_into_its_own_folder(tmp_path: Path) -> None:
    on_telegram = await keep(tmp_path, "I like coffee")
    linked: dict[str, Any] = {"user_id": ON_SLACK, "platform": "slack", "people": (ON_SLACK, ANNA)}
    asks = context(tmp_path, "I like tea, and I ski", chat=Chat("slack", "T1-D1"), **linked)
    assert "coffee" in await call(asks, "recall_facts")
    await call(asks, "remember", fact="I ski", quote="I ski")
    await call(asks, "remember", fact="I like tea", quote="I like tea", replaces=on_telegram)
    assert held(tmp_path, ON_SLACK) == [("I ski", True), ("I like tea", True)]
    assert held(tmp_path) == [("I like coffee", False)]
    await call(asks, "forget_fact", fact=on_telegram)
    assert held(tmp_path) == []
    parted = context(tmp_path, "x")
    assert "ski" not in await call(parted, "recall_facts")


async def test_a_kill_between_two_folders_is_made_good_when_the_call_runs_again(tmp_path: Path) -> None:
    old = await keep(tmp_path, "I like coffee")
    linked: dict[str, Any] = {"user_id": ON_SLACK, "platform": "slack", "people": (ON_SLACK, ANNA)}
    Facts(tmp_path).add(ON_SLACK, "I like tea", DAY, None)  # as far as the killed call came
    asks = context(tmp_path, "I like tea", chat=Chat("slack", "T1-D1"), **linked)
    await call(asks, "remember", fact="I like tea", quote="I like tea", replaces=old)
    assert held(tmp_path) == [("I like coffee", False)]
    assert held(tmp_path, ON_SLACK) == [("I like tea", True)]


# Forgetting -------------------------------------------------------------------------------------------------------


async def test_a_fact_is_forgotten_by_its_id_or_by_words_that_only_it_has(tmp_path: Path) -> None:
    id_ = await keep(tmp_path, "I like coffee")
    await keep(tmp_path, "My dog is called Rex")
    await keep(tmp_path, "I like tea")
    told = await call(context(tmp_path, "x"), "forget_fact", fact=f"[{id_.upper()}]")
    assert id_ in told
    assert "coffee" not in told
    await call(context(tmp_path, "x"), "forget_fact", fact="the Dog is called rex".removeprefix("the "))
    assert held(tmp_path) == [("I like tea", True)]
    assert b"coffee" not in Facts(tmp_path).path(ANNA).read_bytes()


async def test_words_that_several_facts_have_forget_none_of_them(tmp_path: Path) -> None:
    ids = [await keep(tmp_path, "I like tea"), await keep(tmp_path, "I like cake")]
    with pytest.raises(ToolProblem, match="several facts fit") as caught:
        await call(context(tmp_path, "x"), "forget_fact", fact="I like")
    assert all(id_ in str(caught.value) for id_ in ids)
    assert len(held(tmp_path)) == 2


async def test_forgetting_takes_every_copy_and_what_it_had_replaced(tmp_path: Path) -> None:
    old = await keep(tmp_path, "My number is 123")
    asks = context(tmp_path, "My number is 456")
    await call(asks, "remember", fact="My number is 456", quote="My number is 456", replaces=old)
    await keep(tmp_path, "My number is 456", chat=GROUP)
    await call(context(tmp_path, "x"), "forget_fact", fact="My number is 456")
    assert held(tmp_path) == []


async def test_forgetting_that_was_cut_off_forgets_that_fact_and_no_other_one(tmp_path: Path) -> None:
    await keep(tmp_path, "I like tea")
    await keep(tmp_path, "I like tea with milk")
    async with open_database(tmp_path / "boswell.db") as database:
        asks = replace(context(tmp_path, "x"), database=database)
        first = await call(asks, "forget_fact", fact="I like tea")
        assert await call(asks, "forget_fact", fact="I like tea") == first
    assert held(tmp_path) == [("I like tea with milk", True)]
