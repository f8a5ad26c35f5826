"""Boswell on Slack from end to end: `run` itself between a strict scripted Slack and a strict model server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.sentences import say
from tests.fakes.model_server import Reply
from tests.fakes.running import echo, half_until, saying
from tests.fakes.slack import Mode, lost_answer, too_many
from tests.fakes.slack_running import Running, running

ANNA, DM, ROOM = Running.ANNA, Running.DM, Running.ROOM
BERT = "U1002"
MODES: tuple[Mode, ...] = ("socket", "http")


# Where it talks


@pytest.mark.parametrize("mode", MODES)
async def test_it_answers_direct_messages_and_mentions_and_nothing_else(tmp_path: Path, mode: Mode) -> None:
    async with running(tmp_path, echo, mode) as b:
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        b.slack.say(ROOM, ANNA, "among ourselves")
        question = b.ask("1 < 2", ROOM)
        await b.shows(ROOM, "You said: 1 < 2", thread=question)
        b.slack.say(ROOM, BERT, "@boswell beep", bot_id="B77")
        b.slack.say(ROOM, BERT, "@boswell joined", subtype="channel_join")
        b.ask("last", DM)
        await b.shows(DM, "You said: hello", "You said: last")
        await b.acknowledged()
        assert b.slack.texts(ROOM) == ["You said: 1 < 2"]
        assert len(b.boswell.model.requests) == 3
    assert b.boswell.said("slack-T1-U1001")[:2] == [("user", "hello"), ("assistant", "You said: hello")]


@pytest.mark.parametrize("mode", MODES)
async def test_a_mention_that_arrives_in_two_events_and_again_is_one_message(
    tmp_path: Path, mode: Mode
) -> None:
    async with running(tmp_path, echo, mode) as b:
        b.slack.deliveries.copies = 2
        question = b.ask("hello", ROOM)
        await b.shows(ROOM, "You said: hello", thread=question)
        await b.acknowledged()
        for delivery in b.slack.deliveries.events("app_mention") + b.slack.deliveries.events("message"):
            await b.slack.deliveries.again(delivery)
        b.slack.deliveries.copies = 1
        b.ask("after", ROOM, thread=question)
        await b.shows(ROOM, "You said: hello", "You said: after", thread=question)
        assert len(b.boswell.model.requests) == 2
        assert b.stored == 2


async def test_a_thread_that_it_is_part_of_goes_on_without_another_mention(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        question = b.ask("hello", ROOM)
        other = b.slack.say(ROOM, BERT, "another matter")
        await b.shows(ROOM, "You said: hello", thread=question)
        b.slack.say(ROOM, BERT, "not yours", thread=other)
        b.slack.say(ROOM, BERT, "me too", thread=question)
        await b.shows(ROOM, "You said: hello", "You said: me too", thread=question)
        b.slack.say(ROOM, ANNA, "and I", thread=question)
        await b.shows(ROOM, "You said: hello", "You said: me too", "You said: and I", thread=question)
        assert b.slack.texts(ROOM, other) == []
    assert b.boswell.said("slack-T1-U1002") == [("user", "me too"), ("assistant", "You said: me too")]


async def test_it_knows_its_threads_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        question = b.ask("hello", ROOM)
        await b.shows(ROOM, "You said: hello", thread=question)
    async with running(tmp_path, echo) as later:
        place = later.slack.first.channels[ROOM]
        place.messages.update(b.slack.first.channels[ROOM].messages)
        later.slack.say(ROOM, ANNA, "still there?", thread=question)
        await later.shows(ROOM, "You said: hello", "You said: still there?", thread=question)


async def test_threads_channels_and_direct_conversations_are_chats_of_their_own(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        places = {"G700": "private", "G800": "mpim", ROOM: "channel"}
        for channel, kind in places.items():
            b.slack.first.channel(channel, kind, ANNA)
        threads = {channel: b.ask(f"in {channel}", channel) for channel in places}
        direct = b.ask("root")
        await b.shows(DM, "You said: root")
        b.ask("below", thread=direct)
        await b.shows(DM, "You said: below", thread=direct)
        for channel, thread in threads.items():
            await b.shows(channel, f"You said: in {channel}", thread=thread)
        assert all(len(r.body["messages"]) == 2 for r in b.boswell.model.requests), "each has its own stream"


async def test_what_a_model_writes_can_ping_nobody(tmp_path: Path) -> None:
    text = "<!channel> <!here|now> <@U1001> <!subteam^S1> and <https://evil.example|https://bank.example>"
    async with running(tmp_path, saying(text)) as b:
        b.ask("hello")
        question = b.ask("hello", ROOM)
        await b.shows(DM, text)
        await b.shows(ROOM, text, thread=question)
        for channel in (DM, ROOM):
            assert b.slack.channel(channel).pings == []
            [message] = b.slack.channel(channel).ours()
            assert "<https" not in message.text


async def test_an_edit_of_a_question_and_the_echo_of_an_answer_ask_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        ts = b.ask("hello")
        await b.shows(DM, "You said: hello")
        b.slack.first.edit(DM, ts, "hello there")
        b.slack.first.delete(DM, ts)
        await b.acknowledged()
        b.ask("again")
        await b.shows(DM, "You said: hello", "You said: again")
        assert len(b.boswell.model.requests) == 2


async def test_a_long_reply_with_a_table_is_split_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    words = "\n\n".join([*(f"Paragraph {n}. " + "word " * 60 for n in range(70)), table])
    async with running(tmp_path, saying(words)) as b:
        b.ask("hello")
        await b.slack.wait_for(lambda s: len(s.texts(DM)) == 2 and table in s.texts(DM)[-1])
        shown = "\n\n".join(b.slack.texts(DM))
        assert shown.split() == words.split()


# Commands


@pytest.mark.parametrize("mode", MODES)
async def test_the_answer_to_a_slash_command_is_seen_by_the_asker_alone(tmp_path: Path, mode: Mode) -> None:
    async with running(tmp_path, echo, mode) as b:
        b.slack.first.command(ROOM, ANNA, "what is new?")
        await b.whispers(ROOM, "You said: what is new?")
        b.slack.first.command(ROOM, ANNA, "clear")
        await b.whispers(ROOM, "You said: what is new?", say("cleared"))
        assert b.slack.texts(ROOM) == []
        assert b.slack.first.whispers(ROOM, BERT) == []


async def test_a_slow_answer_to_a_question_by_slash_command_is_whispered_once_and_whole(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        b.slack.first.command(ROOM, ANNA, "go")
        await b.boswell.until(lambda: len(b.boswell.model.requests) == 1)
        await b.acknowledged()
        gate.set()
        await b.whispers(ROOM, "Half and whole")


async def test_where_the_address_for_answers_has_expired_the_asker_alone_is_told_all_the_same(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        b.slack.first.command(ROOM, ANNA, "go")
        await b.boswell.until(lambda: len(b.boswell.model.requests) == 1)
        b.slack.expire_answers()
        gate.set()
        await b.whispers(ROOM, "Half and whole")
        assert b.slack.texts(ROOM) == []


async def test_words_of_command_work_in_a_direct_conversation(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        b.ask("boswell clear")
        await b.shows(DM, "You said: hello", say("cleared"))
        b.ask("next")
        await b.shows(DM, "You said: hello", say("cleared"), "You said: next")
        heard = [m["content"] for m in b.boswell.model.requests[-1].body["messages"] if m["role"] == "user"]
        assert heard == ["next"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_pressed_stop_button_stops_the_turn_and_tells_its_presser_alone(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.preview.STOP_BUTTON", 0.0)
    async with running(tmp_path, half_until(asyncio.Event()), mode) as b:
        b.ask("go")
        await b.slack.wait_for(lambda s: s.channel(DM).ours() and s.channel(DM).ours()[0].buttons)
        [message] = b.slack.channel(DM).ours()
        b.slack.first.press(DM, ANNA, message.ts, say("stop_button"))
        await b.whispers(DM, say("stopped"))
        await b.shows(DM, f"Half\n\n{say('stopped_mark')}")
        assert message.buttons == []


async def test_opening_its_messages_offers_something_to_ask(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.slack.first.open_home(ANNA)
        await b.slack.wait_for(lambda s: s.channel(DM).prompts)
        assert all(prompt["title"] and prompt["message"] for prompt in b.slack.channel(DM).prompts)
        assert b.slack.texts(DM) == []


async def test_a_thread_shows_a_status_while_it_is_thought_about_and_none_after(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, lambda _: Reply((gate, "done"))) as b:
        question = b.ask("hello", ROOM)
        await b.slack.wait_for(lambda s: s.channel(ROOM).statuses)
        assert b.slack.channel(ROOM).statuses[-1][1]
        gate.set()
        await b.shows(ROOM, "done", thread=question)
        assert b.slack.channel(ROOM).statuses[-1] == (question, "")


# Sent once


async def test_when_the_answer_to_a_post_is_lost_the_reply_stands_once(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.slack.fault("chat.postMessage", lost_answer())
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        b.ask("again")
        await b.shows(DM, "You said: hello", "You said: again")
    assert b.boswell.rows("SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)]


async def test_when_the_answer_to_the_final_edit_is_lost_the_reply_stands_once(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        b.ask("go")
        await b.shows(DM, "Half")
        b.slack.fault("chat.update", lost_answer())
        gate.set()
        await b.shows(DM, "Half and whole")
    assert b.boswell.rows("SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)]


async def test_too_many_requests_only_delay(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.slack.fault("chat.postMessage", too_many(1))
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        assert b.slack.calls["chat.postMessage"] == 2


async def test_a_channel_from_which_it_is_removed_during_a_turn_harms_nobody(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        question = b.ask("go", ROOM)
        await b.shows(ROOM, "Half", thread=question)
        b.slack.first.remove_bot(ROOM)
        await b.acknowledged()
        gate.set()
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        await b.boswell.until(lambda: any(line["event"] == "undeliverable" for line in b.boswell.logs))
    assert not [line for line in b.boswell.logs if line["log_level"] == "error"]
