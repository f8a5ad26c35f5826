"""Boswell on Discord from end to end: `run` itself between a strict scripted Discord and a strict model server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot import sentences
from tests.fakes import discord_server as fake
from tests.fakes.discord_running import Running, connected, running
from tests.fakes.model_server import Call, Reply, Request, Step
from tests.fakes.running import asked, echo, half_until, saying

ANNA, DM, ROOM = Running.ANNA, Running.DM, Running.ROOM
BERT = 1002


async def begun(b: Running, channel: int = DM) -> None:
    """Say something that `half_until` answers, and wait until the first half shows."""
    b.ask("go", channel)
    await b.shows(channel, "Half")


def warnings(b: Running, event: str) -> list[Any]:
    return [line for line in b.boswell.logs if line["event"] == event]


# Where it talks


async def test_it_answers_direct_messages_mentions_and_replies_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        b.discord.say(ROOM, ANNA, "among ourselves")
        question = b.ask("hi", ROOM)
        await b.shows(ROOM, "You said: hi")
        [answer] = b.discord.ours(ROOM)
        assert answer.reply_to is question
        b.discord.say(ROOM, ANNA, "and more", reply_to=answer)
        b.discord.say(ROOM, BERT, f"{b.discord.mention} beep", bot=True)
        await b.shows(ROOM, "You said: hi", "You said: and more")
    assert b.boswell.said("discord-1001")


async def test_with_the_intent_a_reply_that_pings_nobody_is_answered_too(tmp_path: Path) -> None:
    async with running(tmp_path, echo, {"message_content": True}) as b:
        b.ask("hi", ROOM)
        await b.shows(ROOM, "You said: hi")
        b.discord.say(ROOM, ANNA, "among ourselves")
        b.discord.say(ROOM, ANNA, "quietly", reply_to=b.discord.ours(ROOM)[0], ping=False)
        await b.discord.wait_for(lambda s: len(s.texts(ROOM)) == 2)
        assert "quietly" in b.discord.texts(ROOM)[1]


@pytest.mark.parametrize("kind", [fake.PUBLIC_THREAD, fake.PRIVATE_THREAD, fake.FORUM])
async def test_threads_and_forum_posts_are_answered_in_place_each_with_its_own_stream(
    tmp_path: Path, kind: int
) -> None:
    async with running(tmp_path, echo) as b:
        parent = b.discord.channel(b.guild, kind=fake.FORUM) if kind == fake.FORUM else b.room
        opened = fake.PUBLIC_THREAD if kind == fake.FORUM else kind
        threads = [b.discord.thread(parent, f"thread {n}", kind=opened) for n in range(2)]
        for thread in threads:
            b.ask(f"in {thread.name}", thread.id)
        for thread in threads:
            await b.shows(thread.id, f"You said: in {thread.name}")
        assert b.discord.texts(ROOM) == []
        heard = [len(request.body["messages"]) for request in b.boswell.model.requests]
        assert heard == [2, 2], "each thread has a stream of its own"


async def test_without_the_message_content_intent_mentions_replies_and_direct_messages_still_work(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, echo, {"message_content": False}) as b:
        intents = [session.intents for session in b.discord.gateway.sessions.values()]
        assert not any(intent & (1 << 15) for intent in intents)
        b.ask("hello")
        b.discord.say(ROOM, ANNA, "nobody should read this")
        b.ask("hi", ROOM)
        await b.shows(DM, "You said: hello")
        await b.shows(ROOM, "You said: hi")
        sent = str([request.body for request in b.boswell.model.requests])
        assert "nobody should read this" not in sent


async def test_an_intent_that_the_portal_does_not_allow_is_told_in_words(tmp_path: Path) -> None:
    async with fake.DiscordServer() as server:
        server.state.message_content = False
        async with connected(tmp_path, echo, server, {"message_content": True}, up=False) as boswell:
            await boswell.until(lambda: boswell.state()[0] == "down")
            assert "Message Content Intent" in boswell.state()[1]
            assert len(server.gateway.identifies) == 1, "it does not hammer the gateway"


# What it says


async def test_a_reply_with_every_kind_of_mention_pings_nobody(tmp_path: Path) -> None:
    gate = asyncio.Event()
    everyone = f"@everyone @here <@{BERT}> <@!{ANNA}> <@&77> <@&700>"
    async with running(tmp_path, lambda _: Reply((everyone, gate, f" and {everyone}"))) as b:
        b.discord.state.user(BERT)
        b.ask("go", ROOM)
        await b.discord.wait_for(lambda s: s.texts(ROOM))
        b.ask("go")
        await b.discord.wait_for(lambda s: s.texts(DM))
        gate.set()
        await b.discord.wait_for(lambda s: "and" in s.texts(ROOM)[-1] and "and" in s.texts(DM)[-1])
        assert b.discord.state.pinged == []
        assert b.discord.ours(ROOM)[0].reply_to is not None


async def test_a_long_reply_is_split_at_two_thousand_characters_with_fences_whole(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(12))
    text += "\n\n```python\n" + "\n".join(f"print({n})" for n in range(40)) + "\n```\n\nThe end."
    async with running(tmp_path, saying(text)) as b:
        b.ask("go")
        await b.discord.wait_for(lambda s: s.texts(DM) and s.texts(DM)[-1].endswith("The end."))
        texts = b.discord.texts(DM)
        assert len(texts) > 1
        assert all(len(part) <= 2000 and part.count("```") % 2 == 0 for part in texts)
        shown = "\n".join(texts)
        assert all(f"Paragraph {n}." in shown for n in range(12))
        assert all(f"print({n})" in shown for n in range(40))


async def test_long_code_is_one_file_between_the_words_around_it(tmp_path: Path) -> None:
    code = "\n".join(f"value_{n} = {n}" for n in range(400)) + "\n"
    async with running(tmp_path, saying(f"Here:\n\n```python\n{code}```\n\nDone.")) as b:
        b.ask("go")
        await b.discord.wait_for(lambda s: any("Done." in text for text in s.texts(DM)))
        assert b.discord.texts(DM) == ["Here:", "", "Done."]
        [file] = [item for message in b.discord.ours(DM) for item in message.attachments]
        assert (file.filename, file.data.decode()) == ("code.py", code)


async def test_one_message_is_edited_as_the_text_arrives(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        gate.set()
        await b.shows(DM, "Half and whole")
        assert b.history == ["Half", "Half and whole"]


async def test_it_types_while_there_is_nothing_to_show(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, lambda _: Reply((gate, "at last"))) as b:
        b.ask("go")
        await b.discord.wait_for(lambda s: s.state.channels[DM].typing)
        gate.set()
        await b.shows(DM, "at last")


async def test_a_stop_button_stops_the_answer_of_whoever_presses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.preview.STOP_BUTTON", 0.01)
    async with running(tmp_path, half_until(asyncio.Event())) as b:
        await begun(b)
        await b.discord.wait_for(lambda s: s.ours(DM)[0].buttons())
        [message] = b.discord.ours(DM)
        pressed = b.discord.press(message, sentences.STOP_BUTTON, ANNA)
        await b.discord.wait_for(lambda s: s.texts(DM)[:1] == [f"Half\n\n{sentences.STOPPED_MARK}"])
        await b.told(ANNA, sentences.STOPPED)
        assert message.buttons() == {}
        assert pressed.state in ("quiet", "answered")


async def test_a_stop_button_works_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.preview.STOP_BUTTON", 0.01)
    monkeypatch.setattr("bot.app.DRAIN", 0.1)
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        respond = half_until(asyncio.Event())
        async with connected(tmp_path, respond, server):
            server.say(DM, ANNA, "go")
            await server.wait_for(lambda s: s.ours(DM) and s.ours(DM)[0].buttons())
        [message] = server.ours(DM)
        async with connected(tmp_path, respond, server) as boswell:
            await boswell.until(lambda: boswell.model.requests)
            await server.wait_for(lambda _: message.buttons())
            server.press(message, sentences.STOP_BUTTON, ANNA)
            await server.wait_for(lambda s: s.texts(DM) == [f"Half\n\n{sentences.STOPPED_MARK}"])
            await server.wait_for(lambda s: s.private(ANNA) == [sentences.STOPPED])
        assert message.buttons() == {}


# Slash commands


async def test_slash_commands_are_answered_privately_wherever_they_are_given(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        await b.discord.wait_for(lambda s: s.state.commands)
        given = b.discord.slash(ROOM, ANNA, "timezone", "Europe/Vienna")
        await b.discord.wait_for(lambda s: s.private(ANNA))
        assert "Europe/Vienna" in b.discord.private(ANNA)[0]
        assert b.discord.texts(ROOM) == []
        assert given.state == "answered"
        b.discord.slash(DM, ANNA, "help")
        await b.discord.wait_for(lambda s: len(s.private(ANNA)) + len(s.texts(DM)) == 2)
        assert "/timezone" in [*b.discord.private(ANNA), *b.discord.texts(DM)][-1]


async def test_a_slash_command_is_acknowledged_before_its_answer_is_ready(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, echo) as b:
        await b.discord.wait_for(lambda s: s.state.commands)
        b.discord.fault("edit_original", fake.held(gate))
        given = b.discord.slash(ROOM, ANNA, "help")
        await b.discord.wait_for(lambda _: given.state == "thinking", 3)
        gate.set()
        await b.discord.wait_for(lambda _: given.state == "answered")


async def test_an_answer_to_a_slash_command_that_comes_too_late_goes_to_the_asker_directly(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, echo) as b:
        await b.discord.wait_for(lambda s: s.state.commands)
        b.discord.fault("callback", fake.refusal(fake.ApiError(404, 10062, "Unknown interaction")))
        b.discord.slash(ROOM, ANNA, "help")
        await b.discord.wait_for(lambda s: s.texts(DM))
        assert "/timezone" in b.discord.texts(DM)[0]
        assert b.discord.texts(ROOM) == []


async def test_slash_commands_of_people_without_access_are_refused_privately(tmp_path: Path) -> None:
    access = {"policy": "closed", "allow": ["discord-1001"]}
    async with running(tmp_path, echo, access=access) as b:
        await b.discord.wait_for(lambda s: s.state.commands)
        for command in ("help", "history", "clear"):
            given = b.discord.slash(ROOM, BERT, command)
            await b.discord.wait_for(lambda _, given=given: given.state == "answered")
        b.ask("hello", ROOM, BERT)
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        refused = sentences.REFUSED.format(user_id=f"discord-{BERT}")
        assert set(b.discord.private(BERT)) == {refused}
        assert b.discord.texts(ROOM) == []
        assert len(b.boswell.model.requests) == 1
    assert not list((tmp_path / "data" / "memory").glob(f"discord-{BERT}*"))


@pytest.mark.parametrize(
    "sections",
    [
        {"limits": {"turns_per_minute": 1}},
        {"groups": {"respond": "never"}},
        {"access": {"policy": "pairing"}},
    ],
)
async def test_no_slash_command_leaves_its_asker_before_a_thinking_notice(
    tmp_path: Path, sections: dict[str, Any]
) -> None:
    async with running(tmp_path, echo, **sections) as b:
        await b.discord.wait_for(lambda s: s.state.commands)
        given = [b.discord.slash(ROOM, BERT, command) for command in ("help", "clear", "stop", "help")]
        try:
            await b.discord.wait_for(lambda _: all(one.state not in ("new", "thinking") for one in given), 5)
        except TimeoutError:
            assert [one.state for one in given] == ["answered"] * 4
        assert b.discord.texts(ROOM) == []


async def test_slash_commands_are_registered_once_over_restarts(tmp_path: Path) -> None:
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        for number in range(3):
            async with connected(tmp_path, echo, server):
                server.say(DM, ANNA, f"m{number}")
                await server.wait_for(lambda s, n=number: s.texts(DM)[-1:] == [f"You said: m{n}"])
                await server.wait_for(lambda s: s.state.commands)
        assert server.rest.syncs == 1


# What goes wrong


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_too_many_requests_in_mid_reply_only_delay_it(tmp_path: Path, scope: str) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        limited = b.discord.fault("edit_message", fake.too_many(0.3, scope=scope))
        gate.set()
        await limited.met.wait()
        await b.shows(DM, "Half and whole")
        assert b.history[-1] == "Half and whole"


@pytest.mark.parametrize("scope", ["user", "global"])
async def test_too_many_requests_for_the_first_message_only_delay_it(tmp_path: Path, scope: str) -> None:
    async with running(tmp_path, echo) as b:
        b.discord.fault("create_message", fake.too_many(0.3, scope=scope))
        b.ask("hello")
        await b.shows(DM, "You said: hello")


async def test_a_bucket_that_is_used_up_is_waited_out_and_replies_keep_their_order(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.discord.allowances.limits["create_message"] = (3, 0.5)
        for n in range(8):
            b.ask(f"m{n}")
        await b.shows(DM, *(f"You said: m{n}" for n in range(8)), seconds=20)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_fault_on_their_side_in_mid_reply_does_not_cost_the_answer(
    tmp_path: Path, status: int
) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        b.discord.fault("edit_message", fake.server_error(status))
        gate.set()
        await b.shows(DM, "Half and whole")
        assert b.boswell.rows("SELECT count(*) FROM outbox WHERE state = 'dead'") == [(0,)]


@pytest.mark.parametrize("verb", ["create_message", "edit_message"])
async def test_when_an_answer_of_theirs_is_lost_the_reply_stands_once(tmp_path: Path, verb: str) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        b.discord.fault(verb, fake.lost_answer())
        b.ask("go")
        gate.set()
        await b.shows(DM, "Half and whole")
        b.ask("again")
        await b.answered(DM, "You said: again")
        assert b.discord.texts(DM) == ["Half and whole", "You said: again"]


async def test_a_channel_deleted_during_the_turn_harms_nobody_and_is_logged(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b, ROOM)
        b.discord.delete_channel(b.room)
        gate.set()
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        await b.boswell.until(lambda: warnings(b, "undeliverable"))
    [line] = warnings(b, "undeliverable")
    assert "Unknown Channel" in line["problem"] or "gone" in line["problem"]
    assert not [line for line in b.boswell.logs if line["log_level"] == "error"]


async def test_being_removed_from_a_server_during_the_turn_harms_nobody(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b, ROOM)
        b.discord.kick(b.guild)
        gate.set()
        b.ask("hello")
        await b.shows(DM, "You said: hello")
        await b.boswell.until(lambda: warnings(b, "undeliverable"))
    assert not [line for line in b.boswell.logs if line["log_level"] == "error"]


async def test_a_missing_permission_is_logged_with_what_is_missing(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.room.deny = fake.SEND
        b.ask("hello", ROOM)
        await b.boswell.until(lambda: warnings(b, "undeliverable"))
        [line] = warnings(b, "undeliverable")
        assert "ermission" in line["problem"]
        b.room.deny = 0
        b.ask("again", ROOM)
        await b.answered(ROOM, "You said: again")
    assert not [line for line in b.boswell.logs if line["log_level"] == "error"]


async def test_where_it_may_not_read_the_history_it_answers_without_a_reference(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.room.deny = fake.READ_HISTORY
        b.ask("hello", ROOM)
        await b.shows(ROOM, "You said: hello")


async def test_the_answer_to_a_deleted_question_arrives(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, lambda _: Reply((gate, "here"))) as b:
        question = b.ask("go", ROOM)
        await b.boswell.until(lambda: b.boswell.model.requests)
        b.discord.delete(question)
        gate.set()
        await b.shows(ROOM, "here")


async def test_a_reply_arrives_although_its_half_was_deleted(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        b.discord.delete(b.discord.ours(DM)[0])
        gate.set()
        await b.shows(DM, "Half and whole")


async def test_the_rest_of_a_reply_that_began_an_hour_ago_arrives(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, half_until(gate)) as b:
        await begun(b)
        b.discord.state.skip(3700)
        b.discord.rest.old_edits = 0
        gate.set()
        await b.answered(DM, "Half and whole", seconds=20)
    assert b.boswell.rows("SELECT count(*) FROM outbox WHERE state = 'dead'") == [(0,)]


async def test_a_person_who_takes_no_direct_messages_is_logged_and_harms_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.discord.state.channels[DM].error = fake.ApiError(403, 50007, "Cannot send messages to this user")
        b.ask("hello")
        await b.boswell.until(lambda: warnings(b, "undeliverable"))
        b.ask("again", ROOM)
        await b.shows(ROOM, "You said: again")


async def test_a_wrong_token_is_reported_in_words(tmp_path: Path) -> None:
    async with (
        fake.DiscordServer("another") as server,
        connected(tmp_path, echo, server, up=False) as boswell,
    ):
        await boswell.until(lambda: boswell.state()[0] == "down")
        assert "does not know this bot token" in boswell.state()[1]
        assert (await boswell.boswell("status")).exit_code == 1
        assert server.gateway.identifies == []


# Nothing missed


@pytest.mark.parametrize("trouble", ["reconnect", "drop", "invalid", "resumable", "4000", "4009", "zombie"])
async def test_what_is_said_while_the_connection_is_broken_is_answered_once(
    tmp_path: Path, trouble: str
) -> None:
    async with running(tmp_path, echo) as b:
        b.ask("before")
        b.ask("before", ROOM)
        await b.shows(DM, "You said: before")
        await b.shows(ROOM, "You said: before")
        gateway = b.discord.gateway
        match trouble:
            case "reconnect":
                gateway.reconnect()
            case "drop":
                gateway.drop()
            case "invalid":
                gateway.invalidate()
            case "resumable":
                gateway.invalidate(resumable=True)
            case "zombie":
                gateway.silence()
                b.ask("meanwhile")
                b.ask("meanwhile", ROOM)
                gateway.online() or next(iter(gateway.connections)).abort()
            case code:
                gateway.close(int(code))
        if trouble != "zombie":
            b.ask("meanwhile")
            b.ask("meanwhile", ROOM)
        for channel in (DM, ROOM):
            await b.shows(channel, "You said: before", "You said: meanwhile", seconds=30)
        b.ask("after")
        await b.shows(DM, "You said: before", "You said: meanwhile", "You said: after", seconds=30)


async def test_what_was_said_while_it_was_down_is_answered_in_order_and_once(tmp_path: Path) -> None:
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        guild = server.guild(700)
        room = server.channel(guild, ROOM)
        thread = server.thread(room)
        places = (DM, ROOM, thread.id)

        def say(text: str) -> None:
            for place in places:
                server.say(place, ANNA, text if place == DM else f"{server.mention} {text}")

        async def shown(*texts: str) -> None:
            for place in places:
                wanted = [f"You said: {text}" for text in texts]
                try:
                    await server.wait_for(lambda s, p=place, w=wanted: s.texts(p) == w, 20)
                except TimeoutError:
                    assert server.texts(place) == wanted, place

        async with connected(tmp_path, echo, server):
            say("before")
            await shown("before")
        say("one")
        server.say(ROOM, ANNA, "among ourselves")
        say("two")
        async with connected(tmp_path, echo, server):
            await shown("before", "one", "two")
            say("after")
            await shown("before", "one", "two", "after")
        async with connected(tmp_path, echo, server):
            say("later")
            await shown("before", "one", "two", "after", "later")


async def test_no_more_is_read_back_than_the_configuration_says(tmp_path: Path) -> None:
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        async with connected(tmp_path, echo, server):
            server.say(DM, ANNA, "before")
            await server.wait_for(lambda s: s.texts(DM))
        for n in range(6):
            server.say(DM, ANNA, f"m{n}")
        async with connected(tmp_path, echo, server, {"catch_up_messages": 3}):
            # Else what follows is one of the three
            await server.wait_for(lambda s: s.texts(DM)[-1] == "You said: m5")
            server.say(DM, ANNA, "after")
            await server.wait_for(lambda s: s.texts(DM)[-1] == "You said: after")
            answered = server.texts(DM)[1:-1]
            assert answered == [f"You said: m{n}" for n in range(3, 6)], "the newest, in order"


# Shards


async def test_two_shards_are_both_answered_and_a_dead_one_comes_back_without_the_other_noticing(
    tmp_path: Path,
) -> None:
    async with fake.DiscordServer() as server:
        server.gateway.shards = 2
        rooms = [server.channel(server.guild((2 + n) << 22, f"Guild {n}"), 20 + n).id for n in range(2)]
        async with connected(tmp_path, echo, server):
            await server.wait_for(lambda s: s.gateway.online(0) and s.gateway.online(1), 20)
            for room in rooms:
                server.say(room, ANNA, f"{server.mention} hello")
            for room in rooms:
                await server.wait_for(lambda s, r=room: s.texts(r) == ["You said: hello"])
            kept = server.gateway.online(0)
            server.gateway.invalidate(1)
            for room in rooms:
                server.say(room, ANNA, f"{server.mention} again")
            await server.wait_for(lambda s: s.texts(rooms[0])[-1] == "You said: again", 5)
            await server.wait_for(lambda s: s.texts(rooms[1])[-1] == "You said: again", 30)
            assert server.gateway.online(0) is kept
            assert [shard for _, shard in server.gateway.identifies] == [0, 1, 1]
            assert [len(server.texts(room)) for room in rooms] == [2, 2]


async def test_what_was_said_in_a_private_thread_is_read_out_nowhere_else_in_the_server(
    tmp_path: Path,
) -> None:
    def respond(request: Request) -> Step:
        last = request.body["messages"][-1]
        if last["role"] == "tool":
            told = last["content"]
            return Reply(("found " + " ".join(word for word in ("SECRET", "OPEN", "ROOM") if word in told),))
        if asked(request) in ("history", "search_history"):
            arguments = '{"words": "word"}' if asked(request) == "search_history" else "{}"
            return Reply(calls=(Call(asked(request), arguments),))
        return Reply(("heard",))

    async with running(tmp_path, respond) as b:
        secret = b.discord.thread(b.room, "ours", kind=fake.PRIVATE_THREAD)
        open_ = b.discord.thread(b.room, "everybody's")
        for channel, word in ((secret.id, "SECRET word"), (open_.id, "OPEN word"), (ROOM, "ROOM word")):
            b.ask(word, channel)
            await b.answered(channel, "heard")
        for ask in ("history", "search_history"):
            for channel, found in (
                (ROOM, "OPEN ROOM"),
                (open_.id, "OPEN ROOM"),
                (secret.id, "SECRET OPEN ROOM"),
            ):
                b.ask("/clear", channel)
                b.ask(ask, channel)
                await b.answered(channel, f"found {found}")
