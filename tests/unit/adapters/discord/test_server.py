"""The scripted server itself, before discord.py's own clients: what they get from it, and that it is as strict as it says."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest
import yarl

from tests.fakes import discord_server as fake
from tests.fakes.discord_server import DiscordServer

ROOT = Path(__file__).parents[4]
DM, ANNA = 1001, 1001


class Client(discord.AutoShardedClient):
    """discord.py as it is, keeping what it is told."""

    def __init__(self, **options: Any) -> None:
        intents = discord.Intents(guilds=True, messages=True, message_content=True)
        self.heard: list[discord.Message] = []
        self.events: list[str] = []
        self.interactions: asyncio.Queue[discord.Interaction[Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        super().__init__(**{"intents": intents, "guild_ready_timeout": 0.05, **options})

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        self.events.append(event)
        if event == "message":
            self.heard.append(args[0])
        if event == "interaction":
            self.interactions.put_nowait(args[0])
        self._changed.set()
        super().dispatch(event, *args, **kwargs)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Discord's five seconds between two are left out."""

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    @property
    def texts(self) -> list[str]:
        return [m.content for m in self.heard if not m.author.bot]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as server:
        monkeypatch.setattr(discord.http.Route, "BASE", server.base_url)
        url = yarl.URL(server.gateway_url)
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", url)
        server.dm(ANNA, "Anna", DM)
        yield server


@asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[Client]:
    client = Client(**options)
    task = asyncio.create_task(client.start(fake.TOKEN))
    try:
        await client.until(lambda: "ready" in client.events or task.done())
        yield client
    finally:
        await client.close()
        await asyncio.wait([task])


def room(server: DiscordServer, **more: Any) -> fake.Channel:
    return server.channel(server.guild(700, **more), 500)


async def test_what_people_say_is_heard_and_answers_are_shown(server: DiscordServer) -> None:
    room(server)
    async with connected() as client:
        server.say(DM, ANNA, "hello")
        server.say(500, ANNA, f"{server.mention} grüße 👋", name="Anna")
        await client.until(lambda: len(client.heard) == 2)
        direct, public = client.heard
        assert isinstance(direct.channel, discord.DMChannel)
        assert public.channel.id == 500
        assert public.author.display_name == "Anna"
        assert client.user in public.mentions
        answer = await public.reply("You said: grüße")
        await answer.edit(content="You said: **grüße**")
        async with direct.channel.typing():
            pass
        assert server.texts(500) == ["You said: **grüße**"]
        assert server.ours(500)[0].history == ["You said: grüße", "You said: **grüße**"]
        assert server.state.channels[DM].typing == 1
        await client.until(lambda: "raw_message_edit" in client.events)


async def test_without_the_intent_only_what_is_meant_for_the_bot_has_content(server: DiscordServer) -> None:
    room(server)
    async with connected(intents=discord.Intents(guilds=True, messages=True)) as client:
        server.say(500, ANNA, "among ourselves", files=("a.png",))
        server.say(500, ANNA, f"{server.mention} hi")
        ours = await client.get_partial_messageable(500).send("yes")
        server.say(500, ANNA, "a reply", reply_to=server.state.channels[500].messages[ours.id])
        server.say(500, ANNA, "quiet", reply_to=server.state.channels[500].messages[ours.id], ping=False)
        server.say(DM, ANNA, "private")
        await client.until(lambda: len(client.heard) == 6)
        assert client.texts == ["", f"{server.mention} hi", "a reply", "", "private"]
        assert client.heard[0].attachments == []


async def test_an_intent_that_the_portal_does_not_allow_closes_with_4014(server: DiscordServer) -> None:
    server.state.message_content = False
    async with Client() as client:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await client.start(fake.TOKEN)


async def test_a_wrong_token_is_refused_on_both_ways_in(server: DiscordServer) -> None:
    async with Client() as client:
        with pytest.raises(discord.LoginFailure):
            await client.start("another")
    server.gateway.token = "another"
    async with Client() as client:
        with pytest.raises(discord.ConnectionClosed) as caught:
            await client.start(fake.TOKEN)
    assert caught.value.code == 4004


@pytest.mark.parametrize("trouble", ["reconnect", "drop", "close", "invalid"])
async def test_a_broken_connection_is_resumed_and_nothing_said_meanwhile_is_lost(
    server: DiscordServer, trouble: str
) -> None:
    async with connected() as client:
        server.say(DM, ANNA, "before")
        await client.until(lambda: client.texts == ["before"])
        match trouble:
            case "reconnect":
                server.gateway.reconnect()
            case "drop":
                server.gateway.drop()
            case "close":
                server.gateway.close(4000)
            case _:
                server.gateway.invalidate(resumable=True)
        server.say(DM, ANNA, "meanwhile")
        await client.until(lambda: "resumed" in client.events)
        server.say(DM, ANNA, "after")
        await client.until(lambda: "after" in client.texts)
        assert client.texts == ["before", "meanwhile", "after"]
        assert server.gateway.resumes == 1


async def test_an_invalid_session_begins_anew_and_what_was_said_meanwhile_is_only_in_the_history(
    server: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected() as client:
        server.gateway.invalidate()
        server.say(DM, ANNA, "meanwhile")
        await client.until(lambda: client.events.count("ready") == 2)
        assert client.texts == []
        assert len(server.gateway.identifies) == 2
        found = [m.content async for m in client.get_partial_messageable(DM).history()]
        assert found == ["meanwhile"]


async def test_a_zombie_is_noticed_by_its_missing_heartbeats_and_resumed(server: DiscordServer) -> None:
    server.gateway.heartbeat = 100
    async with connected(heartbeat_timeout=0.3) as client:
        server.gateway.silence()
        server.say(DM, ANNA, "is anybody there?")
        await client.until(lambda: "resumed" in client.events)
        assert client.texts == ["is anybody there?"]


async def test_two_shards_hear_their_own_servers_and_one_dies_without_the_other(
    server: DiscordServer,
) -> None:
    server.gateway.shards = 2
    even, odd = server.guild(2 << 22), server.guild(3 << 22)
    server.channel(even, 20)
    server.channel(odd, 30)
    async with connected() as client:
        assert client.shard_count == 2
        server.gateway.drop(1)
        server.say(20, ANNA, "even")
        server.say(30, ANNA, "odd")
        server.say(DM, ANNA, "direct")
        await client.until(lambda: sorted(client.texts) == ["direct", "even", "odd"])
        assert client.events.count("shard_resumed") == 1
        shards = [message.guild.shard_id for message in client.heard if message.guild]
        assert sorted(shards) == [0, 1]


async def test_a_nonce_posts_once_within_its_window(server: DiscordServer) -> None:
    async with connected() as client:
        room = client.get_partial_messageable(DM)
        first = await room.send("once", nonce="turn-1.0")
        assert (await room.send("once", nonce="turn-1.0")).id == first.id
        assert server.texts(DM) == ["once"]
        assert server.rest.repeats == 1
        server.state.skip(server.rest.nonce_window)
        await room.send("once", nonce="turn-1.0")
        assert server.texts(DM) == ["once", "once"]


async def test_whoever_would_be_pinged_is_recorded(server: DiscordServer) -> None:
    room(server)
    text = f"@everyone @here <@&77> <@{ANNA}>"
    async with connected() as client:
        channel = client.get_partial_messageable(500)
        said = server.say(500, ANNA, "hi")
        await client.until(lambda: bool(client.heard))
        await client.heard[0].reply(text, allowed_mentions=discord.AllowedMentions.none())
        assert server.state.pinged == []
        await channel.send(
            text, allowed_mentions=discord.AllowedMentions(users=True, everyone=False, roles=False)
        )
        assert server.state.pinged == [(500, f"users {ANNA}")]
        server.state.pinged.clear()
        await client.heard[0].reply(text)
        whom = [whom for _, whom in server.state.pinged]
        assert whom == ["@everyone", "@here", "roles 77", f"users {ANNA}", f"users {said.author.id}"]


async def test_what_discord_refuses_is_refused_with_its_codes(server: DiscordServer) -> None:
    guild = server.guild(700)
    channel = server.channel(guild, 500)
    server.channel(guild, 501)
    async with connected() as client:
        partial = client.get_partial_messageable(500)

        async def code(*arguments: Any, **options: Any) -> int:
            with pytest.raises(discord.HTTPException) as caught:
                await partial.send(*arguments, **options)
            return caught.value.code

        assert await code("x" * 2001) == 50035
        assert await code(" \n") == 50006
        assert await code("a \ud83d half") == 50109
        gone = discord.MessageReference(message_id=9, channel_id=500)
        assert await code("a reply", reference=gone) == 50035
        channel.deny = fake.SEND
        assert await code("hi") == 50013
        channel.deny = fake.VIEW
        assert await code("hi") == 50001
        server.delete_channel(channel)
        assert await code("hi") == 10003
        await client.until(lambda: "guild_channel_delete" in client.events)
        server.kick(guild)
        partial = client.get_partial_messageable(501)
        assert await code("hi") == 50001
        assert server.ours(500) == []


async def test_edits_of_hour_old_messages_are_few(server: DiscordServer) -> None:
    async with connected() as client:
        message = await client.get_partial_messageable(DM).send("old")
        server.state.skip(3601)
        server.rest.old_edits = 1
        await message.edit(content="older")
        with pytest.raises(discord.HTTPException) as caught:
            await message.edit(content="oldest")
        assert caught.value.code == 30046
        assert server.texts(DM) == ["older"]


@pytest.mark.parametrize("scope", ["user", "global"])
async def test_too_many_requests_are_waited_out(server: DiscordServer, scope: str) -> None:
    async with connected() as client:
        server.fault("create_message", fake.too_many(0.05, scope=scope))
        await client.get_partial_messageable(DM).send("at last")
        assert server.texts(DM) == ["at last"]
        assert server.calls["create_message"] == 2


async def test_a_routes_allowance_is_told_and_kept(server: DiscordServer) -> None:
    server.allowances.limits["create_message"] = (2, 0.1)
    async with connected() as client, aiohttp.ClientSession() as http:
        channel = client.get_partial_messageable(DM)
        await asyncio.gather(*(channel.send(f"m{n}") for n in range(5)))
        assert sorted(server.texts(DM)) == [f"m{n}" for n in range(5)]
        assert server.calls["create_message"] == 5, "discord.py kept to the headers"
        headers = {"Authorization": f"Bot {fake.TOKEN}", "User-Agent": "DiscordBot (test)"}
        statuses = []
        for _ in range(4):
            url = f"{server.base_url}/channels/{DM}/messages"
            async with http.post(url, json={"content": "hasty"}, headers=headers) as response:
                statuses.append(response.status)
        assert 429 in statuses


async def test_an_answer_may_be_lost_after_the_deed(server: DiscordServer) -> None:
    async with connected() as client:
        server.fault("create_message", fake.lost_answer())
        with pytest.raises(aiohttp.ClientError):
            await client.get_partial_messageable(DM).send("done all the same")
        assert server.texts(DM) == ["done all the same"]


async def test_files_arrive_as_attachments(server: DiscordServer) -> None:
    async with connected() as client:
        file = discord.File(io.BytesIO(b"print()"), "code.py")
        await client.get_partial_messageable(DM).send("see", file=file)
        [message] = server.ours(DM)
        assert [(a.filename, a.data) for a in message.attachments] == [("code.py", b"print()")]


async def test_a_slash_command_is_answered_privately_and_its_token_expires(server: DiscordServer) -> None:
    room(server)
    async with connected() as client:
        tree = discord.app_commands.CommandTree(client)

        @tree.command(name="history", description="What we said")
        async def history(interaction: discord.Interaction[Any], date: str) -> None:
            await interaction.response.defer(thinking=True, ephemeral=True)
            await interaction.followup.send(f"On {date} nothing.", ephemeral=True)

        await tree.sync()
        assert server.rest.syncs == 1
        given = server.slash(500, ANNA, "history", date="2026-11-20")
        await server.wait_for(lambda s: s.private(ANNA))
        assert server.private(ANNA) == ["On 2026-11-20 nothing."]
        assert server.texts(500) == []
        assert given.state == "answered"
        interaction = await client.interactions.get()
        server.state.skip(15 * 60)
        with pytest.raises(discord.HTTPException) as caught:
            await interaction.edit_original_response(content="late")
        assert caught.value.code == 50027


async def test_an_interaction_must_be_answered_within_three_seconds_and_only_once(
    server: DiscordServer,
) -> None:
    async with connected() as client:
        tree = discord.app_commands.CommandTree(client)
        tree.command(name="stop", description="Stop")(_nothing)
        await tree.sync()
        server.slash(DM, ANNA, "stop")
        first = await client.interactions.get()
        await first.response.defer(thinking=True)
        with pytest.raises(discord.HTTPException) as twice:
            await client.http.request(
                discord.http.Route("POST", f"/interactions/{first.id}/{first.token}/callback"),
                json={"type": 5},
            )
        assert twice.value.code == 40060
        server.slash(DM, ANNA, "stop")
        second = await client.interactions.get()
        server.state.skip(3.1)
        with pytest.raises(discord.NotFound) as late:
            await second.response.defer()
        assert late.value.code == 10062


async def _nothing(interaction: discord.Interaction[Any]) -> None:
    """Answered by the test."""


async def test_a_button_is_pressed_and_changes_its_message(server: DiscordServer) -> None:
    async with connected() as client:
        view = discord.ui.View(timeout=None)
        view.add_item(discord.ui.Button(label="Stop", custom_id="stop 12"))
        await client.get_partial_messageable(DM).send("Half", view=view)
        [message] = server.ours(DM)
        assert message.buttons() == {"Stop": "stop 12"}
        server.press(message, "Stop", ANNA)
        interaction = await client.interactions.get()
        assert interaction.data == {"custom_id": "stop 12", "component_type": 2, "id": 1}
        await interaction.response.edit_message(content="Half (stopped)", view=None)
        assert server.texts(DM) == ["Half (stopped)"]
        assert message.buttons() == {}


async def test_threads_and_forum_posts_are_told_and_heard(server: DiscordServer) -> None:
    guild = server.guild(700)
    server.thread(server.channel(guild, 500), thread_id=501)
    async with connected() as client:
        assert client.get_guild(700).get_thread(501) is not None  # type: ignore[union-attr]
        forum = server.channel(guild, 600, kind=fake.FORUM)
        server.thread(forum, "How do I?", thread_id=601)
        server.say(601, ANNA, "like this?")
        await client.until(lambda: "thread_create" in client.events and client.heard)
        channel = client.heard[0].channel
        assert isinstance(channel, discord.Thread)
        assert channel.parent_id == 600


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/users/1001", None),
        ("POST", f"/channels/{DM}/messages", {"content": "hi", "colour": "red"}),
        ("POST", f"/channels/{DM}/messages", {"content": 5}),
        ("POST", f"/channels/{DM}/messages", {"content": "hi", "nonce": "x" * 26}),
        ("GET", f"/channels/{DM}/messages?since=5", None),
        ("PUT", "/applications/1/commands", [{"name": "clear", "description": "x", "colour": "red"}]),
    ],
)
async def test_what_nobody_should_ask_fails_the_test(method: str, path: str, body: Any) -> None:
    server = await DiscordServer().start()
    server.dm(ANNA, channel_id=DM)
    headers = {"Authorization": f"Bot {fake.TOKEN}", "User-Agent": "DiscordBot (test)"}
    given = {"json": body} if body is not None else {}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.request(method, server.base_url + path, **given),
    ):
        pass
    await server.stop()
    with pytest.raises(AssertionError):
        server.check()


async def test_as_a_program_it_is_driven_over_http() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.discord_server", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert program.stdout is not None
        told = json.loads(await asyncio.wait_for(program.stdout.readline(), 20))
        control = told["base_url"].replace("/api/v10", "/_control")
        async with aiohttp.ClientSession() as http:
            async with http.post(
                f"{control}/say", json={"user_id": 7, "text": "hi", "name": "Anna"}
            ) as response:
                channel = (await response.json())["channel_id"]
            headers = {"Authorization": f"Bot {told['token']}", "User-Agent": "DiscordBot (test)"}
            url = f"{told['base_url']}/channels/{channel}/messages"
            async with http.post(url, json={"content": "hello, Anna"}, headers=headers) as response:
                assert response.status == 200
            async with http.get(f"{control}/state", params={"after": "0"}) as response:
                state = await response.json()
        texts = [(m["author"], m["text"]) for m in state["channels"][channel]]
        assert texts == [("Anna", "hi"), ("Boswell", "hello, Anna")]
        assert state["complaints"] == []
    finally:
        program.terminate()
        await program.wait()
