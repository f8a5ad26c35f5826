"""Workspaces install Boswell by OAuth: the whole flow by HTTP as a browser goes it, and what ends an installation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.fakes.running import echo
from tests.fakes.slack import CLIENT_ID, CLIENT_SECRET, SIGNING_SECRET, Mode, SlackServer, Workspace
from tests.fakes.slack_running import Running, running

pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk's own use of aiohttp

ANNA = Running.ANNA
SETTINGS = {"bot_token": None, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


class Browser:
    """A person's browser: it keeps cookies, and follows where it is sent."""

    def __init__(self, house: Running) -> None:
        self.house = house
        # The cookie of the state is for https alone, which a proxy before us speaks
        self.cookies: dict[str, str] = {}
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    async def get(self, url: str) -> tuple[int, str, str]:
        """Status, where it leads, and the page."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookie} if cookie and url.startswith(self.house.address) else {}
        async with self._http.get(url, headers=headers, allow_redirects=False) as response:
            for name, morsel in response.cookies.items():
                self.cookies[name] = morsel.value
            return response.status, response.headers.get("Location", ""), await response.text()

    async def begin(self) -> str:
        """Where /slack/install leads to."""
        status, location, page = await self.get(f"{self.house.address}/slack/install")
        if status == 200:
            [location] = re.findall(r'href="([^"]+/oauth/v2/authorize[^"]+)"', page)
        return location.replace("&amp;", "&")

    async def allow(self, address: str, team: str, user: str = ANNA) -> str:
        """Press Allow, for a workspace; where that leads to."""
        status, location, _ = await self.get(f"{address}&allow={team}&user={user}")
        assert status == 302
        return location

    async def install(self, team: str, user: str = ANNA) -> tuple[int, str]:
        """The whole way; the last page."""
        status, _, page = await self.get(await self.allow(await self.begin(), team, user))
        return status, page

    async def close(self) -> None:
        await self._http.close()


@asynccontextmanager
async def distributed(
    folder: Path, mode: Mode = "http", slack: SlackServer | None = None, **settings: Any
) -> AsyncIterator[Browser]:
    """Boswell as a distributed app, and somebody who may install it."""
    async with running(folder, echo, mode, settings={**SETTINGS, **settings}, slack=slack) as house:
        house.slack.redirect_url = f"{house.address}/slack/oauth_redirect"
        browser = Browser(house)
        try:
            yield browser
        finally:
            await browser.close()


def settled(team: Workspace) -> Workspace:
    """A workspace with Anna in a direct conversation and in a channel."""
    team.person(ANNA, f"Anna of {team.id}")
    team.channel("D1001", "im", ANNA)
    team.channel("C500", "channel", ANNA)
    return team


async def answers(browser: Browser, team: Workspace, *texts: str) -> None:
    wanted = [f"You said: {text}" for text in texts]
    await browser.house.slack.wait_for(lambda _: team.texts("D1001") == wanted)


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_workspace_installs_it_and_talks_with_it_and_still_does_after_a_restart(
    tmp_path: Path, mode: Mode
) -> None:
    async with SlackServer() as slack:
        team = settled(slack.workspace("T2"))
        async with distributed(tmp_path, mode, slack) as browser:
            status, page = await browser.install("T2")
            assert status == 200
            assert "xox" not in page
            team.say("D1001", ANNA, "hello")
            await answers(browser, team, "hello")
            await browser.house.acknowledged()
        async with distributed(tmp_path, mode, slack) as browser:
            team.say("D1001", ANNA, "again")
            await answers(browser, team, "hello", "again")
        [token] = team.tokens
        kept = [p.name for p in tmp_path.rglob("*") if p.is_file() and token.encode() in p.read_bytes()]
        assert kept == [], "the token lies there in clear"


async def test_two_workspaces_with_the_same_ids_stay_apart(tmp_path: Path) -> None:
    async with distributed(tmp_path) as browser:
        one, two = (settled(browser.house.slack.workspace(team)) for team in ("T2", "T3"))
        for team in (one, two):
            assert (await browser.install(team.id))[0] == 200
        one.say("D1001", ANNA, "I am of the second")
        await answers(browser, one, "I am of the second")
        two.say("D1001", ANNA, "I am of the third")
        await answers(browser, two, "I am of the third")
        one.say("D1001", ANNA, "more")
        await answers(browser, one, "I am of the second", "more")
        assert "third" not in repr(browser.house.boswell.model.requests[-1].body)
    house = browser.house.boswell
    assert house.said("slack-T2-U1001")[0] == ("user", "I am of the second")
    assert house.said("slack-T3-U1001") == [
        ("user", "I am of the third"),
        ("assistant", "You said: I am of the third"),
    ]


async def test_a_state_that_was_not_given_out_or_was_used_installs_nothing(tmp_path: Path) -> None:
    async with distributed(tmp_path) as browser:
        slack, house = browser.house.slack, browser.house
        back = await browser.allow(await browser.begin(), "T2")
        state = parse_qs(urlsplit(back).query)["state"][0]
        forged = back.replace(state, "forged")
        # Who was not sent there from our own page has no cookie, and who forges a state forges that too
        for cookies in ({}, dict(browser.cookies), dict.fromkeys(browser.cookies, "forged")):
            for address in (forged, back.replace(f"&state={state}", ""), back.partition("?")[0]):
                stranger = Browser(house)
                stranger.cookies = cookies
                assert (await stranger.get(address))[0] in (400, 401)
                await stranger.close()
        stranger = Browser(house)
        assert (await stranger.get(back))[0] in (400, 401)
        await stranger.close()
        assert slack.calls["oauth.v2.access"] == 0
        assert (await browser.get(back))[0] == 200
        assert slack.calls["oauth.v2.access"] == 1
        assert (await browser.get(back))[0] in (400, 401)
        assert slack.calls["oauth.v2.access"] == 1


async def test_a_state_is_good_once_even_for_two_at_the_same_time(tmp_path: Path) -> None:
    async with distributed(tmp_path) as browser:
        back = await browser.allow(await browser.begin(), "T2")
        results = await asyncio.gather(*(browser.get(back) for _ in range(5)))
        assert sorted(status for status, _, _ in results)[:1] == [200]
        assert browser.house.slack.calls["oauth.v2.access"] == 1


async def test_who_presses_cancel_installs_nothing(tmp_path: Path) -> None:
    async with distributed(tmp_path) as browser:
        _, back, _ = await browser.get(f"{await browser.begin()}&deny=1")
        status, _, page = await browser.get(back)
        assert status < 500
        assert "Traceback" not in page
        assert browser.house.slack.calls["oauth.v2.access"] == 0


async def test_an_uninstalled_workspace_is_forgotten_at_once_and_its_next_event_ignored(
    tmp_path: Path,
) -> None:
    async with distributed(tmp_path) as browser:
        slack = browser.house.slack
        gone, stays = (settled(slack.workspace(team)) for team in ("T2", "T3"))
        for team in (gone, stays):
            await browser.install(team.id)
            team.say("D1001", ANNA, "hello")
            await answers(browser, team, "hello")
        await browser.house.acknowledged()
        before = browser.house.boswell.rows("SELECT name FROM adapter_state WHERE name LIKE 'installation:%'")
        gone.uninstall()
        await browser.house.acknowledged()
        after = browser.house.boswell.rows("SELECT name FROM adapter_state WHERE name LIKE 'installation:%'")
        assert (len(before), len(after)) == (2, 1)
        stored = browser.house.stored
        gone.say("D1001", ANNA, "are you there?")
        await browser.house.acknowledged()
        assert browser.house.stored == stored
        stays.say("D1001", ANNA, "and you?")
        await answers(browser, stays, "hello", "and you?")
        assert gone.texts("D1001") == ["You said: hello"]
        assert (await browser.install("T2"))[0] == 200
        gone.say("D1001", ANNA, "back")
        await answers(browser, gone, "hello", "back")


async def test_tokens_that_expire_are_renewed_before_they_do(tmp_path: Path) -> None:
    async with SlackServer() as slack:
        slack.expires_in = 3600  # less than what is renewed beforehand
        team = settled(slack.workspace("T2"))
        async with distributed(tmp_path, slack=slack) as browser:
            await browser.install("T2")
            [first] = team.tokens
            slack.expires_in = 43200
            team.say("D1001", ANNA, "hello")
            await answers(browser, team, "hello")
            team.tokens[first] = "token_expired"
            team.say("D1001", ANNA, "still there?")
            await answers(browser, team, "hello", "still there?")
            assert len(team.tokens) == 2
            assert slack.calls["oauth.v2.access"] == 2


async def test_a_workspace_of_an_organisation_is_known_by_both_ids(tmp_path: Path) -> None:
    async with SlackServer() as slack:
        team = settled(slack.workspace("T2", enterprise="E1"))
        async with distributed(tmp_path, slack=slack) as browser:
            await browser.install("T2")
            team.say("C500", ANNA, "@boswell hello")
            await slack.wait_for(lambda _: team.texts("C500") == ["You said: hello"])
            team.command("C500", ANNA, "help")
            await slack.wait_for(lambda _: team.whispers("C500", ANNA))


async def test_no_log_shows_a_code_a_token_or_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with distributed(tmp_path) as browser:
        team = settled(browser.house.slack.workspace("T2"))
        back = await browser.allow(await browser.begin(), "T2")
        await browser.get(back)
        await browser.get(back)
        team.say("D1001", ANNA, "hello")
        await answers(browser, team, "hello")
    code, state = (parse_qs(urlsplit(back).query)[name][0] for name in ("code", "state"))
    shown = caplog.text + repr(browser.house.boswell.logs)
    for secret in (code, state, *team.tokens, CLIENT_SECRET, SIGNING_SECRET):
        assert secret not in shown
