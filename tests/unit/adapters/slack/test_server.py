"""The scripted Slack itself, asked by Slack's own SDK: what it takes, what it refuses, and that misuse fails the test."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import (
    APP_TOKEN,
    BOT_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    SIGNING_SECRET,
    SlackServer,
    Workspace,
    lost_answer,
    too_many,
)

ROOT = Path(__file__).parents[4]


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        server.channel("D1", "U1")
        server.channel("C1", "U1")
        yield server


def client(slack: SlackServer, token: str = BOT_TOKEN) -> AsyncWebClient:
    return AsyncWebClient(token, base_url=slack.base_url, retry_handlers=[])


async def error_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def test_a_token_tells_who_we_are_and_what_we_may(slack: SlackServer) -> None:
    answer = await client(slack).auth_test()
    assert (answer["team_id"], answer["user_id"]) == ("T1", "UBOTT1")
    assert "chat:write" in answer.headers["x-oauth-scopes"]
    assert await error_of(client(slack, "xoxb-wrong").auth_test()) == "invalid_auth"


async def test_a_message_can_be_posted_found_by_its_metadata_and_edited(slack: SlackServer) -> None:
    web_client = client(slack)
    metadata = {"event_type": "reply", "event_payload": {"key": "a"}}
    posted = await web_client.chat_postMessage(channel="D1", markdown_text="**hi**", metadata=metadata)
    found = await web_client.conversations_history(channel="D1", include_all_metadata=True, limit=10)
    assert [(m["ts"], m["metadata"]["event_payload"]) for m in found["messages"]] == [
        (posted["ts"], {"key": "a"})
    ]
    await web_client.chat_update(channel="D1", ts=posted["ts"], text="done &amp; dusted")
    assert slack.texts("D1") == ["done & dusted"]
    assert await error_of(web_client.chat_update(channel="D1", ts="1.1", text="x")) == "message_not_found"


async def test_limits_are_those_of_slack(slack: SlackServer) -> None:
    web_client = client(slack)
    assert (
        await error_of(web_client.chat_postMessage(channel="D1", markdown_text="x" * 12_001))
        == "msg_too_long"
    )
    posted = await web_client.chat_postMessage(channel="D1", markdown_text="x" * 12_000)
    edit = web_client.chat_update(channel="D1", ts=posted["ts"], text="x" * 4001)
    assert await error_of(edit) == "msg_too_long"
    assert await error_of(web_client.chat_postMessage(channel="C9", text="x")) == "channel_not_found"
    slack.channel("C1").joined = False
    assert await error_of(web_client.chat_postMessage(channel="C1", text="x")) == "not_in_channel"
    slack.first.scopes.discard("chat:write")
    assert await error_of(web_client.chat_postMessage(channel="D1", text="x")) == "missing_scope"


async def test_a_stream_grows_stops_and_expires(slack: SlackServer) -> None:
    web_client = client(slack)
    asked = slack.say("C1", "U1", "@boswell hello")
    stream = await web_client.chat_stream(
        channel="C1", thread_ts=asked, recipient_team_id="T1", recipient_user_id="U1", buffer_size=1
    )
    await stream.append(markdown_text="one ")
    await stream.append(markdown_text="two ")
    update = web_client.chat_update(channel="C1", ts=str(stream.ts), text="x")
    assert await error_of(update) == "streaming_state_conflict"
    await stream.stop(markdown_text="three")
    assert slack.texts("C1", asked) == ["one two three"]
    assert slack.first.channels["C1"].ours()[0].history == ["one ", "one two ", "one two three"]
    again = await web_client.chat_startStream(
        channel="C1", thread_ts=asked, recipient_team_id="T1", recipient_user_id="U1", markdown_text="half"
    )
    assert slack.expire_streams() == 1
    append = web_client.chat_appendStream(channel="C1", ts=again["ts"], markdown_text="more")
    assert await error_of(append) == "message_not_in_streaming_state"
    await web_client.chat_update(channel="C1", ts=again["ts"], text="whole")
    assert slack.texts("C1", asked)[-1] == "whole"


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("chat.meMessage", {"channel": "D1", "text": "x"}),
        ("chat.postMessage", {"text": "x"}),
        ("chat.postMessage", {"channel": "D1", "text": "x", "colour": "red"}),
        ("chat.postMessage", {"channel": "D1", "text": "x", "markdown_text": "x"}),
        ("chat.postMessage", {"channel": "D1", "text": "x", "blocks": [{"type": "marquee"}]}),
        ("chat.postMessage", {"channel": "D1", "blocks": [{"type": "markdown", "text": "x", "size": 3}]}),
        ("chat.postMessage", {"channel": "D1", "text": "x", "metadata": {"key": "a"}}),
        ("chat.postMessage", {"channel": "D1", "text": "lone \ud83d"}),
        ("chat.startStream", {"channel": "C1", "thread_ts": "1.1", "markdown_text": "x"}),
    ],
)
async def test_what_nobody_should_ask_fails_the_test(method: str, given: dict[str, Any]) -> None:
    server = SlackServer()
    server.channel("D1")
    server.channel("C1")
    with pytest.raises(AssertionError):
        async with server:
            await error_of(client(server).api_call(method, json=given))


async def test_scripted_faults_are_met_and_one_that_never_is_fails_the_test() -> None:
    async with SlackServer() as slack:
        slack.channel("D1")
        slack.fault("chat.postMessage", too_many(0), lost_answer())
        patient = client(slack)
        patient.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=1))
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await patient.chat_postMessage(channel="D1", text="hi")
        assert slack.texts("D1") == ["hi"]
    with pytest.raises(AssertionError, match="never met"):
        async with SlackServer() as slack:
            slack.fault("chat.update", too_many(1))


class App:
    """Slack's own Socket Mode client, which keeps what comes and acknowledges it when it is told to."""

    def __init__(self, slack: SlackServer) -> None:
        self.requests: asyncio.Queue[SocketModeRequest] = asyncio.Queue()
        web_client = client(slack)
        self.client = SocketModeClient(APP_TOKEN, web_client=web_client, ping_interval=0.05)
        self.client.socket_mode_request_listeners.append(self._keep)

    async def _keep(self, _: Any, request: SocketModeRequest) -> None:
        self.requests.put_nowait(request)

    async def next(self, *, ack: bool = True) -> SocketModeRequest:
        request = await asyncio.wait_for(self.requests.get(), 5)
        if ack:
            await self.client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
        return request


@pytest.fixture
async def app(slack: SlackServer) -> AsyncIterator[App]:
    connected = App(slack)
    await connected.client.connect()
    yield connected
    await connected.client.close()


async def test_a_mention_comes_twice_over_the_socket_with_the_same_ts(slack: SlackServer, app: App) -> None:
    ts = slack.say("C1", "U1", "@boswell 1 < 2")
    first, second = await app.next(), await app.next()
    assert {r.payload["event"]["type"] for r in (first, second)} == {"message", "app_mention"}
    assert {r.payload["event"]["ts"] for r in (first, second)} == {ts}
    assert first.payload["event"]["text"] == "<@UBOTT1> 1 &lt; 2"
    assert first.payload["event_id"] != second.payload["event_id"]
    await slack.wait_for(lambda s: not s.deliveries.waiting)


async def test_what_is_not_acknowledged_in_time_comes_again(slack: SlackServer, app: App) -> None:
    slack.deliveries.ack_seconds = 0.05
    slack.say("D1", "U1", "hello")
    first = await app.next(ack=False)
    second = await app.next()
    assert (first.retry_attempt, second.retry_attempt) == (0, 1)
    assert first.payload == second.payload
    await slack.wait_for(lambda s: not s.deliveries.waiting)


async def test_a_cut_socket_brings_what_was_not_acknowledged_to_the_next(
    slack: SlackServer, app: App
) -> None:
    slack.say("D1", "U1", "hello")
    await app.next(ack=False)
    slack.deliveries.drop_sockets()
    assert (await app.next()).payload["event"]["text"] == "hello"
    await slack.wait_for(lambda s: not s.deliveries.waiting)
    await slack.deliveries.refresh()
    slack.say("D1", "U1", "after")
    assert (await app.next()).payload["event"]["text"] == "after"
    await slack.wait_for(lambda s: not s.deliveries.waiting)


async def test_each_payload_goes_to_one_of_several_sockets(slack: SlackServer, app: App) -> None:
    other = App(slack)
    await other.client.connect()
    await slack.wait_for(lambda s: len(s.deliveries.connected) == 2)
    for number in range(4):
        slack.say("D1", "U1", f"m{number}")
    texts = [(await each.next()).payload["event"]["text"] for each in (app, app, other, other)]
    assert sorted(texts) == ["m0", "m1", "m2", "m3"]
    await slack.wait_for(lambda s: not s.deliveries.waiting)
    await other.client.close()


async def test_an_answer_to_a_command_is_a_whisper(slack: SlackServer, app: App) -> None:
    slack.first.command("C1", "U1", "help")
    request = await app.next()
    assert (request.type, request.payload["command"], request.payload["text"]) == (
        "slash_commands",
        "/boswell",
        "help",
    )
    async with aiohttp.ClientSession() as http:
        async with http.post(request.payload["response_url"], json={"text": "for you"}) as response:
            assert response.status == 200
        slack.expire_answers()
        async with http.post(request.payload["response_url"], json={"text": "too late"}) as response:
            assert response.status == 404
    assert slack.first.whispers("C1", "U1") == ["for you"]
    assert slack.texts("C1") == []


async def test_requests_are_signed_and_repeated_until_they_are_taken(slack: SlackServer) -> None:
    came: list[tuple[dict[str, str], str]] = []
    verifier = SignatureVerifier(SIGNING_SECRET)

    async def take(request: web.BaseRequest) -> web.Response:
        body = await request.text()
        headers = dict(request.headers)
        assert verifier.is_valid_request(body, headers)
        came.append((headers, body))
        if "challenge" in body:
            return web.Response(text=json.loads(body)["challenge"])
        return web.Response(status=500 if len(came) == 2 else 200)

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    slack.deliveries.mode = "http"
    slack.deliveries.url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    assert await slack.deliveries.verify_url()
    slack.say("D1", "U1", "hello")
    await slack.wait_for(lambda s: not s.deliveries.waiting)
    slack.first.command("D1", "U1", "help")
    await slack.wait_for(lambda s: not s.deliveries.waiting)
    await runner.cleanup()
    _, (first, body), (second, again), (_, form) = came
    assert body == again
    assert "X-Slack-Retry-Num" not in first
    assert (second["X-Slack-Retry-Num"], second["X-Slack-Retry-Reason"]) == ("1", "http_error")
    assert parse_qs(form)["text"] == ["help"]


async def test_a_delivery_is_given_up_after_three_retries_unless_slack_is_patient(slack: SlackServer) -> None:
    slack.deliveries.lose_patience()
    slack.say("D1", "U1", "hello")
    await slack.wait_for(lambda s: not s.deliveries.waiting)
    [delivery] = slack.deliveries.all
    assert (delivery.given_up, delivery.attempts) == (True, 4)


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk's own use of aiohttp
async def test_the_authorisation_page_gives_a_code_that_is_good_once(slack: SlackServer) -> None:
    slack.redirect_url = "https://bot.example/slack/oauth_redirect"
    slack.expires_in = 43200
    asked = {
        "client_id": CLIENT_ID,
        "scope": "chat:write,commands",
        "state": "s",
        "allow": "T2",
        "user": "U9",
    }
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{slack.url}/oauth/v2/authorize", params=asked, allow_redirects=False) as response,
    ):
        back = urlsplit(response.headers["Location"])
    query = parse_qs(back.query)
    assert query["state"] == ["s"]
    anybody = client(slack, "")
    secrets = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    got = await anybody.oauth_v2_access(**secrets, code=query["code"][0])
    assert (got["team"]["id"], got["authed_user"]["id"]) == ("T2", "U9")
    assert await error_of(anybody.oauth_v2_access(**secrets, code=query["code"][0])) == "invalid_code"
    assert (await client(slack, got["access_token"]).auth_test())["team_id"] == "T2"
    slack.expire_tokens(slack.workspace("T2"))
    assert await error_of(client(slack, got["access_token"]).auth_test()) == "token_expired"
    refresh = {"grant_type": "refresh_token", "refresh_token": got["refresh_token"]}
    fresh = await anybody.oauth_v2_access(**secrets, **refresh)
    assert (await client(slack, fresh["access_token"]).auth_test())["team_id"] == "T2"
    assert await error_of(anybody.oauth_v2_access(**secrets, **refresh)) == "invalid_refresh_token"
    slack.workspace("T2").uninstall()
    assert await error_of(client(slack, fresh["access_token"]).auth_test()) == "account_inactive"


async def test_history_comes_in_pages_with_threads_apart(slack: SlackServer) -> None:
    root = slack.first.write("C1", "U1", "root").ts
    for number in range(5):
        slack.first.write("C1", "U1", f"reply {number}", root)
    slack.first.write("C1", "U1", "other")
    slack.api.page = 2
    web_client = client(slack)
    top = await web_client.conversations_history(channel="C1", limit=100)
    assert [m["text"] for m in top["messages"]] == ["other", "root"]
    assert top["messages"][1]["reply_count"] == 5
    texts: list[str] = []
    async for page in await web_client.conversations_replies(channel="C1", ts=root, limit=100):
        texts += [m["text"] for m in page["messages"]]
    assert texts == ["root", *(f"reply {n}" for n in range(5))]
    last = slack.channel("C1").thread(root)[-2].ts
    after = await web_client.conversations_replies(channel="C1", ts=root, oldest=last)
    assert [m["text"] for m in after["messages"]] == ["reply 4"]


async def test_pings_are_seen_in_what_the_bot_says(slack: SlackServer) -> None:
    await client(slack).chat_postMessage(channel="C1", text="<!channel> and <@U1> and &lt;!here&gt;")
    assert slack.channel("C1").pings == ["<!channel>", "<@U1>"]


async def test_as_a_program_it_is_driven_over_http() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.slack", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        told = json.loads(await asyncio.wait_for(program.stdout.readline(), 20))
        url = told["base_url"].removesuffix("/api/")
        async with aiohttp.ClientSession() as http:
            said = {"channel": "D1", "user": "U1", "text": "hi"}
            async with http.post(f"{url}/_control/say", json=said) as response:
                assert (await response.json())["result"]
            web_client = AsyncWebClient(told["bot_token"], base_url=told["base_url"])
            await web_client.chat_postMessage(channel="D1", text="hello")
            async with http.get(f"{url}/_control/state", params={"after": "0"}) as response:
                state = await response.json()
        assert state["channels"] == {"T1-D1": {"texts": ["hello"], "files": [], "whispers": []}}
    finally:
        program.terminate()
        await program.wait()


async def test_two_workspaces_have_the_same_ids_and_share_nothing(slack: SlackServer) -> None:
    other: Workspace = slack.workspace("T2", token="xoxb-other")
    other.channel("D1", "im", "U1")
    await client(slack, "xoxb-other").chat_postMessage(channel="D1", text="there")
    assert (slack.texts("D1"), other.texts("D1")) == ([], ["there"])
    assert abs(float(other.channel("D1").ours()[0].ts) - time.time()) < 60
