"""The adapter against the scripted Discord: what the contract suite does not ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.base import (
    Button,
    Chat,
    ChatGone,
    Menu,
    MessageGone,
    NoState,
    RateLimited,
    Received,
    Refused,
    Unauthorized,
    Unavailable,
    Update,
)
from adapters.discord import Discord, Timing
from adapters.discord.client import Backoff
from config.schema import DiscordConfig
from tests.fakes import discord_server as fake
from tests.fakes.discord_server.state import FORUM, ApiError
from tests.fakes.life import Life as Surroundings

ANNA, DM, GUILD, ROOM = 1001, 2001, 700, 500
PRIVATE = Chat("discord", str(DM))
GROUP = Chat("discord", f"{GUILD}-{ROOM}", "group")
QUICK = Timing(call=5, retry_first=0.001, retry_most=0.01, identify=0, down=0)
MENU = Menu({"clear": "begin anew", "history": "what we said"})


class Noticed(NoState):
    """A state that tells when something is kept in it."""

    def __init__(self, note: Callable[[], None]) -> None:
        super().__init__()
        self.values = self._values
        self._note = note

    async def set(self, values: Mapping[str, str | None]) -> None:
        await super().set(values)
        self._note()


class Life(Surroundings):
    """One adapter's surroundings: its sink keeps marks with the rows, as the engine's does."""

    def __init__(self, server: fake.DiscordServer, **settings: Any) -> None:
        super().__init__()
        given = {"base_url": server.base_url, "gateway_url": server.gateway_url, **settings}
        self.settings = DiscordConfig(token=SecretStr(given.pop("token", fake.TOKEN)), **given)
        self.server = server
        self.timing = QUICK
        self.state = Noticed(self._note)
        self.adapter: Discord

    async def sink(self, rows: Sequence[Received]) -> None:
        known = {row.key for row in self.rows}
        await super().sink([row for row in rows if row.key not in known])
        for row in rows:
            await self.state.set(row.marks)

    @property
    def texts(self) -> list[str]:
        return [
            row.update.text for row in self.rows if row.update is not None and row.update.kind == "message"
        ]

    @property
    def last(self) -> Update:
        update = self.rows[-1].update
        assert update is not None
        return update

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Discord]:
        """The adapter as a new process has it, receiving for the block."""
        self.adapter = Discord(self.settings, MENU, self.state, self.timing)
        self.states.clear()
        task = asyncio.create_task(self.adapter.run(self.sink, self))
        try:
            await self.until(lambda: ("up" in dict(self.states)) or task.done())
            yield self.adapter
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.adapter.close()

    async def fails(self) -> Exception:
        """What `run` ends with."""
        self.adapter = Discord(self.settings, MENU, self.state, self.timing)
        try:
            async with asyncio.timeout(10):
                await self.adapter.run(self.sink, self)
        except TimeoutError:
            raise
        except Exception as exc:  # noqa: BLE001 - what it is, is what the test asks
            return exc
        finally:
            await self.adapter.close()
        raise AssertionError("run returned")


@pytest.fixture
async def server() -> AsyncIterator[fake.DiscordServer]:
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        server.channel(server.guild(GUILD), ROOM)
        yield server


@pytest.fixture
def life(server: fake.DiscordServer) -> Life:
    return Life(server)


# Reading back


async def test_what_was_said_while_it_was_down_comes_in_order_and_before_what_is_said_now(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(DM, ANNA, "one")
        await life.until(lambda: life.texts == ["one"])
    server.say(DM, ANNA, "two")
    server.say(DM, ANNA, "three")
    gate = asyncio.Event()
    reading = server.fault("history", fake.held(gate))
    async with life.running():
        await reading.met.wait()
        server.say(DM, ANNA, "four")
        gate.set()
        await life.until(lambda: len(life.texts) == 4)
    assert life.texts == ["one", "two", "three", "four"]


async def test_a_mention_in_a_channel_that_it_never_heard_of_is_found_after_a_restart(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(ROOM, ANNA, f"{server.mention} hello")
        await life.until(lambda: life.texts == ["hello"])
    other = server.channel(server.state.guilds[GUILD], name="other")
    post = server.thread(server.channel(server.state.guilds[GUILD], name="forum", kind=FORUM), "a post")
    server.say(other.id, ANNA, f"{server.mention} over here")
    server.say(post.id, ANNA, f"{server.mention} and here")
    async with life.running():
        await life.until(lambda: len(life.texts) == 3)
    assert sorted(life.texts[1:]) == ["and here", "over here"]


async def test_only_what_changed_is_read_back(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(ROOM, ANNA, f"{server.mention} hello")
        await life.until(lambda: life.texts == ["hello"])
    before = server.calls["history"]
    async with life.running():
        server.say(ROOM, ANNA, f"{server.mention} again")
        await life.until(lambda: life.texts == ["hello", "again"])
    assert server.calls["history"] == before


async def test_what_was_said_before_it_first_saw_a_server_is_not_answered(life: Life) -> None:
    life.server.say(ROOM, ANNA, f"{life.server.mention} long ago")
    async with life.running():
        life.server.say(ROOM, ANNA, f"{life.server.mention} now")
        await life.until(lambda: "now" in life.texts)
    assert life.texts == ["now"]


async def test_of_too_many_the_newest_are_read_back(life: Life) -> None:
    server = life.server
    life.settings = life.settings.model_copy(update={"catch_up_messages": 3})
    async with life.running():
        server.say(DM, ANNA, "first")
        await life.until(lambda: life.texts)
    for number in range(250):
        server.say(DM, ANNA, str(number))
    async with life.running():
        await life.until(lambda: len(life.texts) == 4)
        server.say(DM, ANNA, "now")
        await life.until(lambda: "now" in life.texts)
    assert life.texts == ["first", "247", "248", "249", "now"]


async def test_what_is_too_old_is_not_read_back(life: Life) -> None:
    server = life.server
    life.settings = life.settings.model_copy(update={"catch_up_hours": 1})
    server.state.skip(-2 * 3600)
    async with life.running():
        server.say(DM, ANNA, "first")
        await life.until(lambda: life.texts)
    server.say(DM, ANNA, "missed")
    server.state.skip(2 * 3600)
    async with life.running():
        server.say(DM, ANNA, "now")
        await life.until(lambda: "now" in life.texts)
    assert life.texts == ["first", "now"]


async def test_a_fault_while_reading_back_is_waited_out(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(DM, ANNA, "one")
        await life.until(lambda: life.texts)
    server.say(DM, ANNA, "two")
    server.fault("history", fake.server_error(), fake.too_many(0.01), fake.dropped(), fake.garbage())
    async with life.running():
        await life.until(lambda: life.texts == ["one", "two"])


async def test_a_conversation_that_is_gone_is_forgotten(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(DM, ANNA, "one")
        await life.until(lambda: life.texts)
    gone = server.fault("history", fake.refusal(ApiError(404, 10003, "Unknown Channel")))
    async with life.running():
        await gone.met.wait()
        server.say(ROOM, ANNA, f"{server.mention} hello")
        await life.until(lambda: "hello" in life.texts)
    assert f"seen:{DM}" not in await life.state.get("seen:")


async def test_a_session_that_is_lost_is_followed_by_reading_back(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(ROOM, ANNA, f"{server.mention} one")
        await life.until(lambda: life.texts == ["one"])
        server.gateway.invalidate()
        server.say(ROOM, ANNA, f"{server.mention} unheard")
        await life.until(lambda: life.texts == ["one", "unheard"])


# Threads


async def test_it_is_at_home_in_threads_where_it_was_mentioned_also_after_a_restart(life: Life) -> None:
    server = life.server
    life.settings = life.settings.model_copy(update={"message_content": True})
    thread = server.thread(server.state.channels[ROOM])
    async with life.running():
        server.say(thread.id, ANNA, "among us")
        server.say(thread.id, ANNA, f"{server.mention} join us")
        server.say(thread.id, ANNA, "and now?")
        await life.until(lambda: len(life.texts) == 3)
    assert [row.update.addressed for row in life.rows if row.update] == [False, True, True]
    async with life.running():
        server.say(thread.id, ANNA, "still there?")
        await life.until(lambda: len(life.texts) == 4)
    assert life.last.addressed
    assert life.last.chat == Chat("discord", f"{GUILD}-{ROOM}", "group", life.last.chat.title, str(thread.id))


# Posting


async def test_a_resent_post_shows_the_newer_text_in_the_message_that_stands(life: Life) -> None:
    async with life.running() as adapter:
        first = await adapter.post(PRIVATE, "half", key="7.0")
        assert await adapter.post(PRIVATE, "half and whole", key="7.0") == first
    async with life.running() as adapter:  # the nonce is the same in another process
        assert await adapter.post(PRIVATE, "whole", key="7.0", buttons=[Button("Stop", "stop 7")]) == first
    [stands] = life.server.ours(DM)
    assert (stands.content, stands.buttons()) == ("whole", {"Stop": "boswell:stop 7"})


async def test_another_installation_with_the_same_bot_does_not_answer_with_our_message(life: Life) -> None:
    async with life.running() as adapter:
        await adapter.post(PRIVATE, "same", key="7.0")
    await life.state.set(dict.fromkeys(life.state.values))
    async with life.running() as adapter:
        await adapter.post(PRIVATE, "same", key="7.0")
    assert life.server.texts(DM) == ["same", "same"]


async def test_what_was_deleted_is_posted_anew(life: Life) -> None:
    async with life.running() as adapter:
        message = await adapter.post(PRIVATE, "text", key="7.0")
        life.server.delete(life.server.ours(DM)[0])
        with pytest.raises(MessageGone):
            await adapter.edit(PRIVATE, message, "text", final=True)
        assert await adapter.post(PRIVATE, "text", key="7.0") != message
    assert life.server.texts(DM) == ["text"]


async def test_a_reply_refers_to_its_question_in_servers_only(life: Life) -> None:
    question = life.server.say(ROOM, ANNA, "hm")
    private = life.server.say(DM, ANNA, "hm")
    async with life.running() as adapter:
        await adapter.post(GROUP, "a", key="1", reply_to=str(question.id))
        await adapter.post(PRIVATE, "b", key="2", reply_to=str(private.id))
        await adapter.post(GROUP, "c", key="3", reply_to="123456")
    assert [message.reply_to for message in life.server.ours(ROOM)] == [question, None]
    assert life.server.ours(DM)[0].reply_to is None
    assert life.server.state.pinged == []


async def test_long_code_alone_is_a_file(life: Life) -> None:
    code = "x = 1\n" * 1000
    async with life.running() as adapter:
        message = await adapter.post(PRIVATE, "…", key="1")
        await adapter.edit(PRIVATE, message, f"```python\n{code}```", final=True)
        await adapter.post(PRIVATE, f"```python\n{code}```", key="2")
    for stands in life.server.ours(DM):
        assert stands.content == ""
        assert [(file.filename, file.data.decode()) for file in stands.attachments] == [("code.py", code)]


async def test_what_formatting_makes_too_long_goes_out_as_it_was_written(life: Life) -> None:
    text = "| a | b |\n|---|---|\n" + "| x | |\n" * 150 + "| " + "y" * 700 + " | |"
    assert len(text) < 2000
    async with life.running() as adapter:
        await adapter.post(PRIVATE, text, key="1")
    assert life.server.texts(DM) == [text]


async def test_an_allowance_that_is_used_up_is_told_without_a_call(life: Life) -> None:
    server = life.server
    server.allowances.limits["edit_message"] = (2, 60)
    async with life.running() as adapter:
        message = await adapter.post(PRIVATE, "…", key="1")
        for number in range(2):
            await adapter.edit(PRIVATE, message, str(number), final=False)
        calls = server.calls["edit_message"]
        with pytest.raises(RateLimited) as caught:
            await adapter.edit(PRIVATE, message, "more", final=False)
        assert 50 < caught.value.retry_after <= 60
        await adapter.post(PRIVATE, "others go on", key="2")
    assert server.calls["edit_message"] == calls


async def test_a_global_limit_stops_everything_but_answers_to_interactions(life: Life) -> None:
    server = life.server
    async with life.running() as adapter:
        await server.wait_for(lambda s: s.state.commands)
        server.slash(DM, ANNA, "clear")
        await life.until(lambda: life.texts)
        server.fault("create_message", fake.too_many(60, scope="global"))
        for _ in range(2):
            with pytest.raises(RateLimited):
                await adapter.post(PRIVATE, "hi", key="1")
        await adapter.post(PRIVATE, "done", key="2", via=life.last.via)
    assert server.calls["create_message"] == 1
    assert server.private(ANNA) == ["done"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (fake.forbidden(), ChatGone),
        (fake.closed_dms(), ChatGone),
        (fake.refusal(ApiError(404, 10003, "Unknown Channel")), ChatGone),
        (fake.refusal(ApiError(400, 50083, "Thread is archived")), MessageGone),
        (fake.old_message(), MessageGone),
        (fake.refusal(ApiError(400, 50035, "Invalid Form Body")), Refused),
        (fake.unauthorized(), Unauthorized),
        (fake.server_error(503), Unavailable),
        (fake.garbage(), Unavailable),
        (fake.dropped(), Unavailable),
        (fake.banned_for_a_while(), RateLimited),
    ],
)
async def test_refusals_are_told_by_what_can_be_done(
    life: Life, fault: fake.Fault, error: type[Exception]
) -> None:
    async with life.running() as adapter:
        life.server.fault("edit_message", replace(fault, met=asyncio.Event()))
        message = await adapter.post(PRIVATE, "hi", key="1")
        with pytest.raises(error) as caught:
            await adapter.edit(PRIVATE, message, "secret words", final=True)
        assert fake.TOKEN not in str(caught.value)
        assert "secret" not in str(caught.value)


# Interactions


async def give(life: Life, command: str = "clear", channel: int = ROOM) -> Update:
    await life.server.wait_for(lambda s: s.state.commands)
    before = len(life.rows)
    life.server.slash(channel, ANNA, command)
    await life.until(lambda: len(life.rows) > before)
    return life.last


async def test_an_answer_to_a_slash_command_is_seen_by_its_asker_alone(life: Life) -> None:
    async with life.running() as adapter:
        update = await give(life)
        first = await adapter.post(update.chat, "one", key="1", via=update.via)
        second = await adapter.post(update.chat, "two", key="2", via=update.via)
        await adapter.edit(update.chat, second, "three", final=True)
        assert await adapter.post(update.chat, "one again", key="1", via=update.via) == first
    assert life.server.private(ANNA) == ["one again", "three"]
    assert life.server.texts(ROOM) == []


async def test_an_answer_that_a_later_process_gives_takes_the_notices_place(life: Life) -> None:
    async with life.running():
        update = await give(life)
        await life.server.wait_for(lambda s: s.calls["callback"] == 1)
    async with life.running() as adapter:
        await adapter.post(update.chat, "one", key="1", via=update.via)
    async with life.running() as adapter:  # which does not know that it was sent
        await adapter.post(update.chat, "one", key="1", via=update.via)
        await adapter.post(update.chat, "two", key="2", via=update.via)
    assert life.server.private(ANNA) == ["one", "two"]
    [asked] = life.server.state.interactions.values()
    assert not any(message.thinking for message in asked.messages)


async def test_after_fifteen_minutes_the_answer_goes_to_the_asker_directly(life: Life) -> None:
    async with life.running() as adapter:
        update = await give(life)
        application, token, at, user = update.via.split(":")
        late = f"{application}:{token}:{int(at) - 1000}:{user}"
        message = await adapter.post(update.chat, "late", key="1", via=late)
        await adapter.edit(update.chat, message, "later", final=True)
        life.server.fault("create_dm", fake.closed_dms())
        await adapter.post(update.chat, "in public", key="2", via=late)
    assert life.server.texts(DM) == ["later"]
    assert life.server.texts(ROOM) == ["in public"]


async def test_an_interaction_that_discord_gave_up_is_answered_another_way(life: Life) -> None:
    async with life.running() as adapter:
        life.server.fault("callback", fake.refusal(ApiError(404, 10062, "Unknown interaction")))
        update = await give(life)
        await adapter.post(update.chat, "late", key="1", via=update.via)
    assert life.server.texts(DM) == ["late"]


async def test_a_command_is_acknowledged_only_when_it_is_durable(life: Life) -> None:
    stored = asyncio.Event()

    class Slow(Life):
        async def sink(self, rows: Sequence[Received]) -> None:
            await stored.wait()
            await super().sink(rows)

    slow = Slow(life.server)
    async with slow.running() as adapter:
        await slow.server.wait_for(lambda s: s.state.commands)
        asked = slow.server.slash(ROOM, ANNA, "clear")
        slow.server.say(DM, ANNA, "hello")
        await adapter.post(PRIVATE, "meanwhile", key="1")
        assert asked.state == "new"
        stored.set()
        await slow.server.wait_for(lambda _: asked.state == "thinking")


async def test_a_command_overtakes_what_is_read_back(life: Life) -> None:
    server = life.server
    async with life.running():
        server.say(DM, ANNA, "one")
        await life.until(lambda: life.texts)
    server.say(DM, ANNA, "two")
    gate = asyncio.Event()
    server.fault("history", fake.held(gate))
    async with life.running():
        await give(life, channel=DM)
        assert life.texts == ["one", "/clear"]
        gate.set()
        await life.until(lambda: len(life.texts) == 3)


async def test_commands_are_registered_again_only_when_they_changed(life: Life) -> None:
    async with life.running():
        await life.until(lambda: "commands" in life.state.values)
    async with life.running():
        life.server.say(DM, ANNA, "hello")
        await life.until(lambda: life.texts)
    assert [command["name"] for command in life.server.state.commands] == ["clear", "history"]
    assert life.server.calls["set_commands"] == 1
    await life.state.set({"commands": "those of an earlier version"})
    async with life.running():
        await life.server.wait_for(lambda s: s.calls["set_commands"] == 2)


# Connecting


async def test_a_wrong_token_ends_the_run_in_words(life: Life) -> None:
    life.settings = life.settings.model_copy(update={"token": SecretStr("wrong-token-0123456789")})
    error = await life.fails()
    assert isinstance(error, Unauthorized)
    assert "discord.token" in str(error)
    assert "wrong-token" not in f"{error} {error.__cause__}"


async def test_an_intent_that_is_not_allowed_ends_the_run_in_words(life: Life) -> None:
    life.server.state.message_content = False
    life.settings = life.settings.model_copy(update={"message_content": True})
    error = await life.fails()
    assert isinstance(error, Unauthorized)
    assert "Message Content Intent" in str(error)


async def test_a_number_of_shards_that_discord_refuses_ends_the_run_in_words(life: Life) -> None:
    life.server.gateway.greetings.append(lambda: life.server.gateway.close(4011))
    error = await life.fails()
    assert isinstance(error, Unauthorized)
    assert "discord.shards" in str(error)


async def test_an_outage_at_the_start_is_told_and_waited_out(life: Life) -> None:
    life.server.fault("get_me", fake.server_error(), fake.garbage(), fake.too_many(0.01))
    async with life.running():
        await life.until(lambda: ("up", "boswell") in life.states)
    assert [state for state, _ in life.states] == ["down", "down", "down", "up"]


async def test_being_removed_from_a_server_is_told_once_and_an_outage_is_not(life: Life) -> None:
    server = life.server
    other = server.guild(701, "Chess")
    async with life.running():
        server.kick(other, outage=True)
        server.kick(server.state.guilds[GUILD])
        await life.until(lambda: life.rows)
    [row] = life.rows
    assert row.update is not None
    assert (row.update.kind, row.update.chat.id) == ("left", str(GUILD))


async def test_leaving_goes_out_of_the_whole_server(life: Life) -> None:
    async with life.running() as adapter:
        await adapter.leave(GROUP)
        await adapter.leave(GROUP)
        await adapter.leave(PRIVATE)
    assert life.server.state.guilds == {}


async def test_check_names_what_is_missing_and_how_to_invite(life: Life) -> None:
    server = life.server
    server.state.message_content = False
    server.guild(701, "Chess", permissions=fake.VIEW)
    life.settings = life.settings.model_copy(update={"message_content": True})
    adapter = Discord(life.settings, Menu(), NoState())
    findings = await adapter.check()
    wrong = [finding.detail for finding in findings if not finding.ok]
    assert len(wrong) == 2
    assert "Message Content Intent" in wrong[0]
    assert "'Chess'" in wrong[1]
    assert "send messages, " in wrong[1]
    assert "scope=bot+applications.commands&permissions=" in findings[-1].detail


async def test_check_tells_a_wrong_token(life: Life) -> None:
    life.settings = life.settings.model_copy(update={"token": SecretStr("wrong-token-0123456789")})
    [finding] = await Discord(life.settings, Menu(), NoState()).check()
    assert not finding.ok
    assert "discord.token" in finding.detail


def test_attempts_are_ever_further_apart_but_never_further_than_told() -> None:
    backoff = Backoff(1, 4)
    waits = [backoff.delay() for _ in range(6)]
    assert all(0.75 * ideal <= wait <= ideal for wait, ideal in zip(waits, (1, 2, 4, 4, 4, 4), strict=True))


async def test_a_file_that_answers_a_slash_command_is_seen_by_its_asker_alone(
    life: Life, tmp_path: Path
) -> None:
    file = tmp_path / "kept.zip"
    file.write_bytes(b"PK whatever")
    async with life.running() as adapter:
        update = await give(life)
        await adapter.send_file(update.chat, file, "Here.", key="1", via=update.via)
    async with life.running() as adapter:  # a later process, which does not know that it was sent
        await adapter.send_file(update.chat, file, "Here.", key="1", via=update.via)
    assert life.server.private(ANNA) == ["Here."]
    assert life.server.texts(ROOM) == []
    [message] = [m for m in life.server.state.channels[ROOM].messages.values() if m.seen_by == ANNA]
    assert [(a.filename, a.data) for a in message.attachments] == [("kept.zip", b"PK whatever")]


async def test_a_file_that_comes_too_late_goes_to_the_asker_directly_or_nowhere(
    life: Life, tmp_path: Path
) -> None:
    file = tmp_path / "kept.zip"
    file.write_bytes(b"PK whatever")
    async with life.running() as adapter:
        update = await give(life)
        application, token, at, user = update.via.split(":")
        late = f"{application}:{token}:{int(at) - 1000}:{user}"
        await adapter.send_file(update.chat, file, "Here.", key="1", via=late)
        life.server.fault("create_dm", fake.closed_dms())
        with pytest.raises(ChatGone):
            await adapter.send_file(update.chat, file, "Here.", key="2", via=late)
    assert life.server.texts(DM) == ["Here."]
    assert life.server.texts(ROOM) == []
