"""What the real Slack does now and then: odd fields, frames that say nothing, sockets that end at once, late notices."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from adapters.base import Chat, ChatGone, NoState
from adapters.slack import Slack, Timing
from tests.fakes import slack as fake
from tests.fakes.life import running
from tests.unit.adapters.slack.slack_house import MENU, chat, connected, first_update, settings
from tests.unit.adapters.slack.test_installing import empty, install
from tests.unit.adapters.slack.test_receiving import settled, updates

FORWARDED = {"attachments": [{"is_share": True, "text": "the words of another", "fallback": "…"}]}


@pytest.mark.parametrize(
    ("text", "more", "read"),
    [
        ("", FORWARDED, ("", "a forwarded message")),
        ("look", FORWARDED, ("look", "")),
        ("waves", {"subtype": "me_message"}, ("waves", "")),
        ("hello", {"user_profile": {"display_name": 7}}, ("hello", "")),
        ("hello", {"user_profile": None, "team": None, "user_team": None}, ("hello", "")),
    ],
)
async def test_every_message_of_a_person_is_heard(
    text: str, more: dict[str, Any], read: tuple[str, str]
) -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        server.say("D1", "U1", text, **more)
        update = await first_update(life)
        assert (update.text, update.unsupported, update.person.id) == (*read, "slack-T1-U1")


async def test_who_a_colleague_is_does_not_hang_on_whether_the_organisation_is_named() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        server.first.enterprise = "E1"
        server.channel("C1", "U1")
        server.say("D1", "U1", "directly")
        server.say("C1", "U1", "@boswell in a shared channel", team="E1", user_team="E1")
        server.say("C1", "U1", "@boswell as a stranger", team="E2", user_team="E2")
        server.first.command("C1", "U1", "clear")
        await settled(server)
        assert [u.person.id for u in updates(life)] == [
            "slack-T1-U1",
            "slack-T1-U1",
            "slack-E2-U1",
            "slack-T1-U1",
        ]


@pytest.mark.parametrize("payload", ["null", "[1]", "7", '{"event": [], "authorizations": [null]}'])
async def test_a_frame_that_says_nothing_does_not_end_the_connection(payload: str) -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        await server.wait_for(lambda s: s.deliveries.connected)
        [socket] = server.deliveries.connected
        await socket.ws.send_str(f'{{"type": "events_api", "envelope_id": "x", "payload": {payload}}}')
        server.say("D1", "U1", "hello")
        assert (await first_update(life)).text == "hello"
        assert server.deliveries.connections == 1


async def test_sockets_that_end_at_once_are_opened_ever_more_slowly() -> None:
    async with fake.SlackServer() as server:
        adapter = Slack(settings(server), MENU, NoState(), Timing(retry_first=0.02, retry_most=10))
        began = time.monotonic()
        async with running(adapter):
            for number in range(1, 6):
                await server.wait_for(
                    lambda s, n=number: s.deliveries.connections == n and s.deliveries.connected
                )
                if number < 5:
                    await server.deliveries.refresh(grace=0)
        await adapter.close()
        assert time.monotonic() - began >= 0.02 + 0.04 + 0.08


async def test_a_line_that_breaks_again_and_again_does_not_look_again_and_again_for_what_was_missed() -> None:
    state, gate = NoState(), asyncio.Event()
    await state.set({"seen:T1:D1": "1.000000"})
    async with fake.SlackServer() as server:
        server.first.write("D1", "U1", "missed")
        server.fault("conversations.history", fake.held(gate))
        async with connected(server, state) as (_, life):
            for number in range(1, 4):
                await server.wait_for(
                    lambda s, n=number: s.deliveries.connections == n and s.deliveries.connected
                )
                if number < 3:
                    server.deliveries.drop_sockets()
            server.say("D2", "U2", "hello")
            assert (await first_update(life)).text == "hello"
            assert server.calls["conversations.history"] == 1
            gate.set()
            await server.wait_for(lambda s: s.calls["conversations.history"] == 2)
            await life.until(lambda: "missed" in life.texts)


async def test_a_late_word_of_a_removal_does_not_end_a_new_installation() -> None:
    state = NoState()
    async with fake.SlackServer() as server, connected(server, state, oauth=True) as (adapter, _):
        empty(server, "T1")
        server.channel("D1", "U1")
        await install(server, adapter)
        server.first.uninstall()
        await settled(server)
        assert not await state.get("installation:")
        await install(server, adapter)
        for old in [
            *server.deliveries.events("tokens_revoked"),
            *server.deliveries.events("app_uninstalled"),
        ]:
            old.payload["event_time"] -= 60
            await server.deliveries.again(old)
        assert await state.get("installation:")
        await adapter.post(chat("D1"), "still here", key="k")
        # Our clock may be wrong: a token that is no good is forgotten whatever the time
        server.first.tokens = dict.fromkeys(server.first.tokens, "account_inactive")
        await server.deliveries.again(old)
        assert not await state.get("installation:")


async def private_way(server: fake.SlackServer, life: Any) -> tuple[Chat, str]:
    server.channel("C1", "U1")
    server.first.command("C1", "U1", "clear")
    update = await first_update(life)
    return update.chat, update.via


@pytest.mark.parametrize(
    "body", ['{"ok": false, "error": "expired_url"}', '{"ok": false, "error": "invalid_blocks"}']
)
async def test_an_answer_that_is_refused_with_a_good_status_goes_another_way(body: str) -> None:
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        where, via = await private_way(server, life)
        server.fault("response_url", fake.Fault(200, body))
        await adapter.post(where, "for you", key="k", via=via)
        assert server.first.whispers("C1", "U1") == ["for you"]


async def test_a_private_answer_for_which_a_scope_is_missing_does_not_wait_for_it() -> None:
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        where, via = await private_way(server, life)
        server.expire_answers()
        server.first.scopes.discard("im:write")
        server.fault("chat.postEphemeral", *[fake.refusal("user_not_in_channel")] * 2)
        with pytest.raises(ChatGone, match="im:write"):
            await adapter.post(where, "for you", key="k", via=via)
        assert server.texts("C1") == []


async def test_a_wrong_app_token_is_named_as_the_one_that_it_is() -> None:
    async with fake.SlackServer() as server:
        server.fault("apps.connections.open", fake.refusal("invalid_auth"))
        adapter = Slack(settings(server), MENU, NoState())
        found = [finding.detail for finding in await adapter.check() if not finding.ok]
        assert len(found) == 1
        assert "apps.connections.open: invalid_auth; slack.app_token is wrong" in found[0]
