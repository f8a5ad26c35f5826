"""Boswell on Telegram from end to end: `run` itself between a strict Bot API server and a strict model server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from bot import sentences
from tests.fakes.running import Running, echo, half_until, running
from tests.fakes.telegram_server import conflict, lost_answer, too_many

GROUP, NEW_GROUP = -100123, -100456


async def begun(b: Running, chat: int = 1, text: str = "go", **options: int) -> None:
    """Say something that `half_until` answers, and wait until the first half shows."""
    b.telegram.say(chat, 1, text, **options)
    await b.shows(chat, "Half")


async def test_ten_quick_messages_are_answered_in_order_while_another_chats_slow_turn_runs(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b, chat=1)
        for n in range(10):
            b.telegram.say(2, 2, f"m{n}")
        await b.shows(2, *(f"You said: m{n}" for n in range(10)))
        assert b.telegram.chat(1).texts == ["Half"]
        gate.set()
        await b.shows(1, "Half and whole")
    assert b.said("telegram-2") == [
        said for n in range(10) for said in (("user", f"m{n}"), ("assistant", f"You said: m{n}"))
    ]


@pytest.mark.parametrize("command", ["/stop", "/clear"])
async def test_a_control_command_takes_effect_within_a_second_and_leaves_no_half_turn(
    tmp_path: Path, command: str
) -> None:
    async with running(tmp_path, half_until(asyncio.Event())) as b:
        await begun(b)
        began = time.monotonic()
        b.telegram.say(1, 1, command)
        stopped = f"Half\n\n{sentences.STOPPED_MARK}"
        answer = sentences.STOPPED if command == "/stop" else sentences.CLEARED
        await b.shows(1, stopped, answer)
        assert time.monotonic() - began < 1
        b.telegram.say(1, 1, "next")
        await b.answered(1, "You said: next")
        heard = [m["content"] for m in b.model.requests[-1].body["messages"] if m["role"] == "user"]
        assert heard == (["next"] if command == "/clear" else ["go", "next"])
    turns = [("user", "go"), ("assistant", stopped), ("user", "next"), ("assistant", "You said: next")]
    assert b.said("telegram-1") == turns


async def test_too_many_requests_in_mid_stream_and_at_the_end_only_delay_the_final_text(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        in_preview = b.telegram.fault("editMessageText", too_many(1))
        b.telegram.fault("editMessageText", too_many(1))
        b.telegram.say(1, 1, "go")
        await in_preview.met.wait()
        gate.set()
        await b.shows(1, "Half and whole")
        [message] = b.telegram.chat(1).messages.values()
        assert message.history == ["…", "Half and whole"]


async def test_too_many_requests_for_the_placeholder_keeps_us_quiet_for_that_long(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        refused = b.telegram.fault("sendMessage", too_many(1))
        b.telegram.say(1, 1, "hello")
        await refused.met.wait()
        began = time.monotonic()
        await b.shows(1, "You said: hello")
        assert time.monotonic() - began > 0.9
        assert b.telegram.calls["sendMessage"] == 2


async def test_when_the_answer_to_a_post_is_lost_the_reply_stands_once_and_at_most_a_placeholder_more(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, echo) as b:
        b.telegram.fault("sendMessage", lost_answer())
        b.telegram.say(1, 1, "hello")
        await b.shows(1, "…", "You said: hello")
        b.telegram.say(1, 1, "again")
        await b.answered(1, "You said: again")
    assert b.telegram.chat(1).texts == ["…", "You said: hello", "You said: again"]


async def test_when_the_answer_to_the_final_edit_is_lost_the_reply_stands_once(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        b.telegram.fault("editMessageText", lost_answer())
        gate.set()
        await b.shows(1, "Half and whole")
    assert b.rows("SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)]


async def test_a_person_who_blocks_the_bot_during_a_turn_harms_nobody_and_is_logged_in_words(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        b.telegram.block(1, 1)
        gate.set()
        b.telegram.say(2, 2, "hello")
        await b.shows(2, "You said: hello")
        await b.until(lambda: any(line["event"] == "undeliverable" for line in b.logs))
    [line] = [line for line in b.logs if line["event"] == "undeliverable"]
    assert "blocked by the user" in line["problem"]
    assert not [line for line in b.logs if line["log_level"] == "error"]
    assert b.said("telegram-1") == [("user", "go"), ("assistant", "Half and whole")]


async def test_a_reply_follows_its_group_into_the_supergroup_that_it_became_meanwhile(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b, GROUP, "@boswell_bot go")
        b.telegram.migrate(GROUP, NEW_GROUP, 1)
        b.telegram.say(NEW_GROUP, 1, "@boswell_bot are you there?")
        await b.until(lambda: b.rows("SELECT count(*) FROM chat_aliases") == [(1,)])
        gate.set()
        await b.telegram.wait_for(
            lambda s: len(s.chat(NEW_GROUP).texts) == 2 and "…" not in s.chat(NEW_GROUP).texts
        )
        texts = b.telegram.chat(NEW_GROUP).texts
        assert "Half and whole" in texts
        assert any("are you there?" in text for text in texts)
        b.telegram.say(NEW_GROUP, 1, "@boswell_bot last")
        await b.telegram.wait_for(lambda _: "last" in b.telegram.chat(NEW_GROUP).texts[-1])
        heard = [m["content"] for m in b.model.requests[-1].body["messages"] if m["role"] == "user"]
        assert any("go" in words for words in heard)
        assert any("are you there?" in words for words in heard)
    said_in_it = [text for role, text in b.said("telegram-1") if role == "user"]
    assert sorted(said_in_it) == ["are you there?", "go", "last"]
    assert not [line for line in b.logs if line["log_level"] == "error"]


async def test_a_message_in_the_supergroup_before_the_news_of_it_harms_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.telegram.say(GROUP, 1, "@boswell_bot one")
        await b.shows(GROUP, "You said: one")
        b.telegram.say(NEW_GROUP, 1, "@boswell_bot two")
        await b.shows(NEW_GROUP, "You said: two")
        b.telegram.migrate(GROUP, NEW_GROUP, 1)
        b.telegram.say(NEW_GROUP, 1, "@boswell_bot three")
        await b.answered(NEW_GROUP, "You said: three")
        b.telegram.say(NEW_GROUP, 1, "/history")
        await b.telegram.wait_for(lambda s: "You: one" in s.chat(NEW_GROUP).texts[-1])
        assert "You: two" in b.telegram.chat(NEW_GROUP).texts[-1]
    assert not [line for line in b.logs if line["log_level"] in ("warning", "error")]


async def test_a_reply_arrives_although_its_placeholder_was_deleted(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        b.telegram.chat(1).messages.clear()
        gate.set()
        await b.shows(1, "Half and whole")


async def test_replies_go_to_the_topic_that_they_answer(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        for thread in (7, 8):
            b.telegram.say(GROUP, 1, "@boswell_bot forum", thread=thread)
            b.telegram.say(1, 1, f"private {thread}", thread=thread)
        b.telegram.say(1, 1, "none")
        await b.telegram.wait_for(
            lambda s: [sum("You said" in t for t in s.chat(c).texts) for c in (GROUP, 1)] == [2, 3]
        )
        assert sorted(m.thread or 0 for m in b.telegram.chat(GROUP).messages.values()) == [7, 8]
        private = {m.text: m.thread for m in b.telegram.chat(1).messages.values()}
        assert private == {"You said: private 7": 7, "You said: private 8": 8, "You said: none": None}
        assert all(len(r.body["messages"]) == 2 for r in b.model.requests), (
            "each topic has a stream of its own"
        )


async def test_a_reply_to_a_topic_that_is_gone_arrives_in_the_chat(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.telegram.chat(1).threads_gone.add(7)
        b.telegram.say(1, 1, "hello", thread=7)
        await b.shows(1, "You said: hello")


async def test_a_stranger_is_refused_once_and_no_model_is_called(tmp_path: Path) -> None:
    access = {"policy": "closed", "allow": ["telegram-2"]}
    async with running(tmp_path, echo, access=access) as b:
        for text in ("hello", "BLUE-ELEPHANT", "/help", "/history"):
            b.telegram.say(1, 1, text)
        b.telegram.say(GROUP, 1, "@boswell_bot hello")
        b.telegram.say(2, 2, "hello")
        await b.shows(2, "You said: hello")
        await b.until(lambda: b.rows("SELECT count(*) FROM inbox WHERE state = 'waiting'") == [(0,)])
        assert b.telegram.chat(1).texts == [sentences.REFUSED.format(user_id="telegram-1")]
        assert len(b.model.requests) == 1
    assert not list((tmp_path / "data" / "memory").glob("telegram-1*"))
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"BLUE-ELEPHANT" in path.read_bytes()]
    assert not kept


async def test_a_second_poller_is_reported_in_words(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.telegram.say(1, 1, "hello")
        await b.shows(1, "You said: hello")
        await b.until(lambda: b.state()[0] == "up")
        assert (await b.boswell("status")).exit_code == 0
        b.telegram.fault("getUpdates", conflict())
        b.telegram.say(1, 1, "wakes the poll that waits")
        await b.until(lambda: b.state()[0] == "down")
        assert "another program receives this bot's updates" in b.state()[1]
        status = await b.boswell("status")
        assert status.exit_code == 1
        assert "another program receives this bot's updates" in status.output


async def test_a_wrong_token_is_reported_in_words(tmp_path: Path) -> None:
    async with running(tmp_path, echo, server_token="4242:AAanother-token-than-the-configured-one") as b:
        await b.until(lambda: b.state()[0] == "down")
        assert "does not know this bot token" in b.state()[1]
        status = await b.boswell("status")
        assert status.exit_code == 1
        assert "copy it again from @BotFather" in status.output


async def test_a_webhook_delivery_is_answered_only_with_the_right_secret(tmp_path: Path) -> None:
    telegram = {"mode": "webhook", "webhook_url": "https://bot.example.org", "webhook_secret": "s3cret"}
    async with (
        running(tmp_path, echo, telegram=telegram, server={"port": 0}) as b,
        aiohttp.ClientSession() as http,
    ):
        await b.until(lambda: b.state()[0] == "up")
        assert b.telegram.webhook["url"] == "https://bot.example.org/telegram"
        port = next(line["port"] for line in b.logs if line["event"] == "listening")

        async def deliver(number: int, text: str, secret: str | None) -> int:
            headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
            update = {"update_id": number, "message": b.telegram.message(1, 1, text)}
            url = f"http://127.0.0.1:{port}/telegram"
            async with http.post(url, json=update, headers=headers) as response:
                return response.status

        assert await deliver(1, "forged", None) == 401
        assert await deliver(2, "forged", "wrong") == 401
        assert b.rows("SELECT count(*) FROM inbox") == [(0,)]
        assert [await deliver(3, "hello", "s3cret") for _ in range(2)] == [200, 200]
        await b.shows(1, "You said: hello")
        assert b.rows("SELECT count(*) FROM inbox") == [(1,)]
    assert b.said("telegram-1") == [("user", "hello"), ("assistant", "You said: hello")]
