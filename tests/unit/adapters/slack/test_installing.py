"""Workspaces that install the app: the OAuth flow, tokens encrypted and renewed, and gone at once when the app is removed."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from multidict import CIMultiDict
from pydantic import SecretStr

from adapters.base import ChatGone, HttpRequest, HttpResponse, NoState
from adapters.slack import Slack
from tests.fakes import slack as fake
from tests.fakes.life import running
from tests.unit.adapters.slack.slack_house import MENU, TIMING, chat, connected, settings

BACK = "https://boswell.example/slack/oauth_redirect"


async def get(
    adapter: Slack, path: str, query: dict[str, str] | None = None, cookie: str = ""
) -> HttpResponse:
    [route] = [route for route in adapter.routes if route.path == path]
    headers = CIMultiDict({"Cookie": cookie} if cookie else {})
    return await route.handler(HttpRequest(headers, query or {}, b""))


async def allow(server: fake.SlackServer, adapter: Slack, team: str = "T1") -> tuple[dict[str, str], str]:
    """What the browser brings back after somebody pressed Allow, and its cookie."""
    server.redirect_url = BACK
    page = await get(adapter, "/slack/install")
    assert page.status == 302
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(f"{page.headers['location']}&allow={team}", allow_redirects=False) as answer,
    ):
        back = urlsplit(answer.headers["Location"])
    assert back._replace(query="").geturl() == BACK
    return {name: values[0] for name, values in parse_qs(back.query).items()}, page.headers[
        "set-cookie"
    ].split(";")[0]


async def install(server: fake.SlackServer, adapter: Slack, team: str = "T1") -> None:
    query, cookie = await allow(server, adapter, team)
    assert (await get(adapter, "/slack/oauth_redirect", query, cookie)).status == 200


def empty(server: fake.SlackServer, *teams: str) -> None:
    """Nothing is installed anywhere."""
    for team in teams:
        server.workspace(team).tokens.clear()


async def test_two_workspaces_with_the_same_people_stay_apart() -> None:
    state = NoState()
    async with fake.SlackServer() as server, connected(server, state, oauth=True) as (adapter, life):
        empty(server, "T1", "T2")
        for team in ("T1", "T2"):
            await install(server, adapter, team)
            server.workspace(team).say("D1", "U1", f"hello from {team}")
        await life.until(lambda: len(life.rows) == 2)
        updates = [row.update for row in life.rows if row.update]
        assert {update.person.id for update in updates} == {"slack-T1-U1", "slack-T2-U1"}
        for update in updates:
            await adapter.post(update.chat, f"to {update.person.id}", key=update.key)
        assert server.workspace("T1").texts("D1") == ["to slack-T1-U1"]
        assert server.workspace("T2").texts("D1") == ["to slack-T2-U1"]


async def test_no_token_can_be_read_from_what_is_kept() -> None:
    state = NoState()
    async with fake.SlackServer() as server, connected(server, state, oauth=True) as (adapter, _):
        empty(server, "T1")
        await install(server, adapter)
        [token] = server.first.tokens
        kept = await state.get()
        assert list(kept) == ["installation::T1"]
        assert token not in "".join(kept.values())
        assert "xoxb" not in "".join(kept.values())


async def test_an_installation_outlives_the_process_but_not_another_secret() -> None:
    state = NoState()
    async with fake.SlackServer() as server:
        async with connected(server, state, oauth=True) as (adapter, _):
            empty(server, "T1")
            await install(server, adapter)
        server.channel("D1", "U1")
        async with connected(server, state, oauth=True) as (later, _):
            await later.post(chat("D1"), "still here", key="k")
        assert server.texts("D1") == ["still here"]
        changed = settings(server, oauth=True).model_copy(update={"client_secret": SecretStr("another")})
        adapter = Slack(changed, MENU, state, TIMING)
        async with running(adapter):
            with pytest.raises(ChatGone):
                await adapter.post(chat("D1"), "who am I?", key="l")
        await adapter.close()


@pytest.mark.parametrize("how", ["forged", "reused", "another browser", "no cookie", "missing", "denied"])
async def test_an_installation_that_was_not_begun_here_is_refused(how: str) -> None:
    state = NoState()
    async with fake.SlackServer() as server, connected(server, state, oauth=True) as (adapter, _):
        empty(server, "T1")
        query, cookie = await allow(server, adapter)
        match how:
            case "forged":
                query["state"] = "made-up"
                cookie = f"{cookie.partition('=')[0]}=made-up"
            case "reused":
                assert (await get(adapter, "/slack/oauth_redirect", query, cookie)).status == 200
                await adapter._workspaces.drop(_origin())
            case "another browser":
                cookie += "x"
            case "no cookie":
                cookie = ""
            case "missing":
                del query["state"]
            case "denied":
                query = {"error": "access_denied", "state": query["state"]}
        answer = await get(adapter, "/slack/oauth_redirect", query, cookie)
        assert answer.status >= 400 or how == "denied"
        assert not await state.get("installation:")


def _origin():  # type: ignore[no-untyped-def]  # a private type of the package
    from adapters.slack.updates import Origin

    return Origin("", "T1")


async def test_uninstalling_deletes_the_token_and_later_events_are_ignored() -> None:
    state = NoState()
    async with fake.SlackServer() as server, connected(server, state, oauth=True) as (adapter, life):
        empty(server, "T1", "T2")
        for team in ("T1", "T2"):
            await install(server, adapter, team)
        server.workspace("T1").uninstall()
        await server.wait_for(
            lambda s: all(d.acked is not None for d in s.deliveries.events("app_uninstalled"))
        )
        assert list(await state.get("installation:")) == ["installation::T2"]
        server.workspace("T1").say("D1", "U1", "anybody there?")
        server.workspace("T2").say("D1", "U1", "and here?")
        await life.until(lambda: bool(life.rows))
        await server.wait_for(lambda s: not s.deliveries.waiting)
        assert life.texts == ["and here?"]
        with pytest.raises(ChatGone):
            await adapter.post(chat("D1"), "hello", key="k")


async def test_a_token_that_slack_takes_no_more_is_forgotten() -> None:
    state = NoState()
    async with fake.SlackServer() as server, connected(server, state, oauth=True) as (adapter, _):
        empty(server, "T1")
        await install(server, adapter)
        server.fault("chat.postMessage", fake.refusal("token_revoked"))
        with pytest.raises(ChatGone):
            await adapter.post(chat("D1"), "hello", key="k")
        assert not await state.get("installation:")


async def test_a_token_is_renewed_before_it_expires_and_the_new_one_kept() -> None:
    state = NoState()
    async with fake.SlackServer() as server:
        server.expires_in = 3600
        async with connected(server, state, oauth=True) as (adapter, _):
            empty(server, "T1")
            await install(server, adapter)
            server.channel("D1", "U1")
            server.expire_tokens(server.first)
            server.expires_in = 43_200
            await adapter.post(chat("D1"), "with a new token", key="k")
        calls = server.calls["oauth.v2.access"]
        async with connected(server, state, oauth=True) as (later, _):
            await later.post(chat("D1"), "and again", key="l")
        assert server.texts("D1") == ["with a new token", "and again"]
        assert server.calls["oauth.v2.access"] == calls == 2


async def test_the_environment_does_not_switch_oauth_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_CLIENT_ID", "1.2")
    monkeypatch.setenv("SLACK_CLIENT_SECRET", "secret")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-of-somebody-else")
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        server.say("D1", "U1", "hello")
        await life.until(lambda: life.texts == ["hello"])
        await adapter.post(chat("D1"), "hello yourself", key="k")
        assert server.texts("D1") == ["hello yourself"]
        assert {route.path for route in adapter.routes} == set()
