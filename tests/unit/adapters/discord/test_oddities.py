"""What the real Discord, and what models, do now and then: answers of any shape, hidden channels, links that pretend."""

from __future__ import annotations

import pytest

from adapters.base import AdapterError, Menu, NoState, RateLimited, Refused
from adapters.discord import Discord, _content
from adapters.discord.formatting import MAX_CHARS, bare, render
from tests.fakes import discord_server as fake
from tests.unit.adapters.discord.test_adapter import ANNA, DM, GUILD, PRIVATE, ROOM, Life

EVIL = "https://evil.example/x"


@pytest.mark.parametrize("body", ["", "[]", "null", "7"])
async def test_a_limit_that_is_told_in_no_words_is_a_limit(body: str) -> None:
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        async with Life(server).running() as adapter:
            server.fault("create_message", fake.Fault(429, body, headers={"Retry-After": "7"}))
            with pytest.raises(RateLimited) as told:
                await adapter.post(PRIVATE, "hello", key="k")
            assert told.value.retry_after == 7


@pytest.mark.parametrize(
    "body",
    ['{"code": 50035, "errors": [1], "message": "x"}', '{"code": 1, "errors": {"a": {"_errors": [1]}}}'],
)
async def test_a_refusal_whose_details_have_another_shape_is_a_refusal(body: str) -> None:
    async with fake.DiscordServer() as server:
        server.dm(ANNA, "Anna", DM)
        async with Life(server).running() as adapter:
            server.fault("create_message", fake.Fault(400, body))
            with pytest.raises(Refused) as told:
                await adapter.post(PRIVATE, "hello", key="k")
            assert isinstance(told.value, AdapterError)


@pytest.mark.parametrize("body", ["{}", '{"id": "x", "flags": "y"}'])
async def test_a_check_of_what_is_no_discord_says_so(body: str) -> None:
    async with fake.DiscordServer() as server:
        adapter = Discord(Life(server).settings, Menu(), NoState())
        for call in ("get_me", "get_application"):
            server.fault(call, fake.Fault(200, body))
        [finding] = await adapter.check()
        assert not finding.ok
        assert "base_url" in finding.detail


async def test_what_was_missed_is_not_looked_for_where_we_may_not_read() -> None:
    async with fake.DiscordServer() as server:
        guild = server.guild(GUILD)
        server.channel(guild, ROOM)
        for number, taken in enumerate((fake.VIEW, fake.READ_HISTORY)):
            server.channel(guild, 600 + number).deny = taken
        life = Life(server)
        async with life.running():
            server.say(ROOM, ANNA, f"{server.mention} hello")
            await life.until(lambda: len(life.rows) == 1)
        for channel in (600, 601, ROOM):
            server.say(channel, ANNA, f"{server.mention} missed")
        server.calls.clear()
        async with life.running():
            await life.until(lambda: len(life.rows) == 2)
        assert server.calls["history"] == 1


async def test_to_name_it_in_code_is_not_to_speak_to_it() -> None:
    async with fake.DiscordServer() as server:
        server.channel(server.guild(GUILD), ROOM)
        life = Life(server, message_content=True)
        async with life.running():
            said = server.say(ROOM, ANNA, "look")
            said.content = f"`{server.mention}` is how it is written"
            told = server.state.event(said, content=True) | {
                "id": str(server.state.snowflake()),
                "mentions": [],
            }
            server.state.emit("MESSAGE_CREATE", told, GUILD)
            await life.until(lambda: len(life.rows) == 2)
        assert not life.last.addressed


@pytest.mark.parametrize(
    "link",
    [
        rf"[bank\.example]({EVIL})",
        f"[ba\N{ZERO WIDTH SPACE}nk.example]({EVIL})",
        f"[log in at bank.example now]({EVIL})",
        f"[[bank.example]]({EVIL})",
        f"[`bank.example`]({EVIL})",
        f"[bank.example]({EVIL.replace('https', 'HTTPS')})",
        "[bank.example](https://evil.example/x_(y))",
        "[192.168.0.1](https://evil.example/x)",
    ],
)
def test_a_link_that_pretends_shows_where_it_leads_however_it_is_written(link: str) -> None:
    leads = link.rpartition("](")[2][:-1]
    assert f"(<{leads}>)" in render(link)
    assert "](" not in render(link)


@pytest.mark.parametrize(
    "link", [f"`[bank.example]({EVIL})`", f"[a good page]({EVIL})", f"[evil.example]({EVIL})"]
)
def test_code_and_honest_links_stay_as_they_are(link: str) -> None:
    assert render(link) == bare(link) == link


def test_a_link_that_pretends_does_so_in_no_message_that_is_nearly_too_long() -> None:
    link = f"[bank.example]({EVIL})"
    text = "x" * (MAX_CHARS - len(link) - 1) + " " + link
    body, _ = _content(text, (), edit=False)
    assert len(body["content"]) <= MAX_CHARS
    assert body["content"].endswith(f"bank.example <{EVIL}>")
