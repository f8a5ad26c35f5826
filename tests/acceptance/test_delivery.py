"""Delivery: once, whole, in order, whatever the platform does; and again after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.base import (
    Chat,
    ChatGone,
    ChatMigrated,
    MessageGone,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
)
from bot import sentences
from tests.fakes.house import house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

ANSWER = "the whole answer"


def model(text: str = ANSWER) -> ScriptedModel:
    return ScriptedModel(lambda r: text)


class Looking(MemoryAdapter):
    """A platform that can be asked whether a message stands."""

    async def find(self, chat: Chat, key: str) -> str | None:
        return next((str(n) for n, (_, k, _) in enumerate(self.posts, 1) if k == key), None)


class Keyed(MemoryAdapter):
    """A platform that drops a second post with the same key."""

    async def post(self, chat: Chat, text: str, *, key: str, **more: Any) -> str:
        for number, (_, known, _) in enumerate(self.posts, 1):
            if known == key:
                return str(number)
        return await super().post(chat, text, key=key, **more)


@pytest.mark.parametrize(
    "trouble",
    [
        [("post", RateLimited("slow down", 0.01))],
        [("edit", RateLimited("slow down", 0.01)), ("edit", RateLimited("slow down", 0.01))],
        [("post", Unavailable("502")), ("post", Unavailable("502"))],
        [("edit", Unavailable("lost", ambiguous=True))],
        [("edit", Unauthorized("token revoked for a moment"))],
        [("edit", MessageGone("deleted by the person"))],
    ],
)
async def test_the_answer_arrives_once_in_spite_of(tmp_path: Path, trouble: list[tuple[str, Any]]) -> None:
    adapter = MemoryAdapter()
    async with house(tmp_path, model(), adapter=adapter) as h:
        adapter.trouble += trouble
        await h.say("hi")
        await h.settled()
        assert [t for t in h.texts() if t != "…"] == [ANSWER]
        assert not adapter.trouble


async def test_a_post_that_was_made_but_not_answered_leaves_at_most_a_placeholder(tmp_path: Path) -> None:
    adapter = MemoryAdapter()
    async with house(tmp_path, model(), adapter=adapter) as h:
        adapter.trouble.append(("post", Unavailable("lost", ambiguous=True)))
        await h.say("hi")
        await h.settled()
        assert sorted(h.texts()) == sorted(["…", ANSWER])


@pytest.mark.parametrize(("platform", "resend"), [(Looking, "lookup"), (Keyed, "key")])
async def test_where_the_platform_can_tell_nothing_stands_twice(
    tmp_path: Path, platform: type[MemoryAdapter], resend: str
) -> None:
    adapter = platform(resend=resend)
    async with house(tmp_path, model(), adapter=adapter) as h:
        adapter.trouble.append(("post", Unavailable("lost", ambiguous=True)))
        await h.say("hi")
        await h.settled()
        assert h.texts() == [ANSWER]


async def test_a_refused_text_is_replaced_by_a_sentence(tmp_path: Path) -> None:
    adapter = MemoryAdapter(edit_interval=60.0)  # so that the one edit is the last
    async with house(tmp_path, model(), adapter=adapter) as h:
        adapter.trouble.append(("edit", Refused("can't parse")))
        await h.say("hi")
        await h.settled()
        assert h.texts() == [f"{sentences.UNSENDABLE} (ref t1)"]


async def test_a_gone_chat_is_given_up_and_holds_nobody_up(tmp_path: Path) -> None:
    adapter = MemoryAdapter()
    async with house(tmp_path, model(), adapter=adapter) as h:
        adapter.trouble += [("post", ChatGone("blocked by the user"))] * 2  # the preview meets it first
        await h.say("hi", user="1")
        await h.settled()
        await h.say("hi", user="2")
        await h.settled()
        assert h.texts("2") == [ANSWER]
        row = await h.database.read(lambda tx: tx.one("outbox_counts"))
        assert (row["dead"], row["owed"]) == (1, 0)


async def test_a_chat_that_moved_gets_the_answer_where_it_is_now(tmp_path: Path) -> None:
    adapter = MemoryAdapter()
    group = Chat("memory", "-1", "group", "Club")
    async with house(tmp_path, model(), adapter=adapter) as h:
        adapter.trouble += [("post", ChatMigrated("moved", "-2"))] * 2  # the preview meets it first
        await h.say("hi", chat=group, addressed=True)
        await h.settled()
        assert h.texts("-2") == [ANSWER]
        aliases = await h.database.read(lambda tx: tx.all("aliases_of", platform="memory", new_id="-2"))
        assert [row["old_id"] for row in aliases] == ["-1"]


async def test_a_long_answer_is_split_in_order_and_each_part_stands_once(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n} " + "word " * 60 for n in range(60))
    async with house(tmp_path, model(text)) as h:
        await h.say("hi")
        await h.settled()
        shown = h.texts()
        assert len(shown) > 3
        assert " ".join(" ".join(shown).split()) == " ".join(text.split())


async def test_a_reply_grows_in_place_while_it_is_written(tmp_path: Path) -> None:
    gate = asyncio.Event()
    adapter = MemoryAdapter(edit_interval=0.01)
    script = ScriptedModel(lambda r: ["First words", gate, " and the rest"])
    async with house(tmp_path, script, adapter=adapter) as h:
        await h.say("hi")
        await asyncio.wait_for(adapter.wait_for(lambda: h.texts() == ["First words"]), 10)
        gate.set()
        await h.settled()
        assert h.texts() == ["First words and the rest"]
        (history,) = adapter.messages["1"].values()
        assert history[0] == "…"


async def test_typing_is_shown_while_nothing_can_be_seen_yet(tmp_path: Path) -> None:
    gate = asyncio.Event()
    adapter = MemoryAdapter(typing_interval=0.01)
    async with house(tmp_path, ScriptedModel(lambda r: [gate, "done"]), adapter=adapter) as h:
        await h.say("hi")
        async with asyncio.timeout(10):
            while len(adapter.typed) < 3:  # noqa: ASYNC110 - nothing else tells of a typing notice
                await asyncio.sleep(0)
        gate.set()
        await h.settled()
        assert h.texts() == ["done"]


class Dying(MemoryAdapter):
    """Its process dies before or after a call, and nothing of it goes on."""

    def __init__(self, verb: str, *, after: bool, of: MemoryAdapter) -> None:
        super().__init__()
        self.messages, self.posts = of.messages, of.posts
        self._where = (verb, after)
        self.died = asyncio.Event()

    async def _die(self, verb: str, after: bool) -> None:
        if self._where == (verb, after):
            self.died.set()
            await asyncio.Event().wait()

    async def post(self, chat: Chat, text: str, *, key: str, **more: Any) -> str:
        await self._die("post", after=False)
        message_id = await super().post(chat, text, key=key, **more)
        await self._die("post", after=True)
        return message_id

    async def edit(self, chat: Chat, message_id: str, text: str, *, final: bool, **more: Any) -> None:
        if final:
            await self._die("edit", after=False)
        await super().edit(chat, message_id, text, final=final, **more)
        if final:
            await self._die("edit", after=True)


@pytest.mark.parametrize("verb", ["post", "edit"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_process_that_dies_around_a_call_leaves_one_answer_after_the_restart(
    tmp_path: Path, verb: str, after: bool
) -> None:
    seen = MemoryAdapter()
    dying = Dying(verb, after=after, of=seen)
    async with house(tmp_path, model(), adapter=dying) as h:
        await h.say("hi")
        await asyncio.wait_for(dying.died.wait(), 10)
    async with house(tmp_path, model(), adapter=seen) as h:
        await h.settled()
        texts = seen.texts("1")
        assert texts.count(ANSWER) == 1
        # The one window that is named: a placeholder whose id was never stored.
        assert texts.count("…") == (1 if (verb, after) == ("post", True) else 0)
        assert h.transcript() == [("user", "hi"), ("assistant", ANSWER)]


async def test_answers_to_one_chat_keep_their_order_while_another_chat_waits(tmp_path: Path) -> None:
    adapter = MemoryAdapter()
    script = ScriptedModel(lambda r: f"answer {len(script.requests)}")
    async with house(tmp_path, script, adapter=adapter) as h:
        adapter.trouble.append(("post", RateLimited("later", 1.0)))
        await h.say("slow", user="1")
        await asyncio.wait_for(adapter.wait_for(lambda: not adapter.trouble), 10)
        for _ in range(3):
            await h.say("quick", user="2")
        await asyncio.wait_for(
            adapter.wait_for(lambda: len(h.texts("2")) == 3 and "…" not in h.texts("2")), 10
        )
        assert h.texts("1") == []
        await h.settled()
        assert h.texts("2") == ["answer 2", "answer 3", "answer 4"]
        assert h.texts("1") == ["answer 1"]


async def test_an_unfinished_preview_of_a_failed_start_does_not_outlive_its_turn(tmp_path: Path) -> None:
    async with house(tmp_path, model()) as h:
        for n in range(5):
            await h.say(f"m{n}")
        await h.settled()
        assert not h.parts.delivery._previews
        assert not h.parts.turns.answering._calls
        assert not h.parts.engine._lanes
        assert not h.parts.engine._known
