"""What Slack brings reaches the inbox once and whole: over sockets that break, in signed requests, and after an absence."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.running import echo
from tests.fakes.slack import SIGNING_SECRET, Mode, SlackServer, bad_gateway, dropped, held, refusal
from tests.fakes.slack_running import Running, running

ANNA, DM, ROOM = Running.ANNA, Running.DM, Running.ROOM
MODES: tuple[Mode, ...] = ("socket", "http")
WORDS = "BLUE-ELEPHANT"  # that no log may show


def answers(*texts: str) -> list[str]:
    return [f"You said: {text}" for text in texts]


# Acknowledged only when it is durable, and only once


@pytest.mark.parametrize("mode", MODES)
async def test_everything_is_acknowledged_and_what_comes_again_is_answered_once(
    tmp_path: Path, mode: Mode
) -> None:
    async with running(tmp_path, echo, mode) as b:
        b.ask("hello")
        await b.shows(DM, *answers("hello"))
        await b.acknowledged()
        [delivery, *_] = b.slack.deliveries.events("message")
        for _ in range(3):
            await b.slack.deliveries.again(delivery)
        b.ask("after")
        await b.shows(DM, *answers("hello", "after"))
        await b.acknowledged()
        assert b.stored == 2


@pytest.mark.parametrize("mode", MODES)
async def test_two_hundred_events_at_once_are_each_acknowledged_at_the_first_try(
    tmp_path: Path, mode: Mode
) -> None:
    async with running(tmp_path, echo, mode) as b:
        b.slack.first.quiet = True
        for number in range(200):
            b.slack.say(f"D{number:04}", f"U{number:04}", "hello")
        await b.acknowledged(30)
        assert [d.attempts for d in b.slack.deliveries.all] == [1] * 200
        assert b.stored == 200


async def test_a_socket_that_is_cut_in_mid_flight_loses_and_repeats_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        for number in range(10):
            b.ask(f"m{number}")
            if number % 3 == 1:
                await b.slack.wait_for(lambda s: s.deliveries.connected)
                b.slack.deliveries.drop_sockets()
        wanted = answers(*(f"m{number}" for number in range(10)))
        # In what order Slack brings again what was not acknowledged, it does not say.
        await b.slack.wait_for(lambda s: sorted(s.texts(DM)) == wanted, 20)
        await b.acknowledged()
        assert b.slack.deliveries.connections == 4


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_a_socket_that_is_refreshed_in_mid_flight_loses_and_repeats_nothing(
    tmp_path: Path, reason: str
) -> None:
    async with running(tmp_path, echo) as b:
        for number in range(10):
            b.ask(f"m{number}")
            if number == 5:
                await b.slack.deliveries.refresh(reason)
        await b.shows(DM, *answers(*(f"m{number}" for number in range(10))), seconds=20)
        assert b.slack.deliveries.connections == 2


async def test_a_socket_that_can_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.slack.fault("apps.connections.open", bad_gateway())
        b.slack.fault("socket", dropped())
        b.slack.deliveries.drop_sockets()
        await b.boswell.until(lambda: b.boswell.state()[0] == "down")
        b.ask("hello")
        await b.shows(DM, *answers("hello"))
        await b.boswell.until(lambda: b.boswell.state()[0] == "up")


async def test_a_revoked_app_token_is_told_in_words(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.slack.fault("apps.connections.open", refusal("invalid_auth"))
        b.slack.deliveries.drop_sockets()
        await b.boswell.until(lambda: b.boswell.state()[0] == "down" and "token" in b.boswell.state()[1])
        status = await b.boswell.boswell("status")
        assert status.exit_code == 1


async def test_names_that_can_not_be_had_hold_nothing_up(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, echo) as b:
        b.slack.fault("users.info", held(gate))
        b.ask("hello")
        await b.shows(DM, *answers("hello"))
        gate.set()
    assert max(delivery.acked or 0 for delivery in b.slack.deliveries.all) < 3


# Signatures


class Forger:
    """Sends requests that Slack would not."""

    def __init__(self, b: Running, http: aiohttp.ClientSession) -> None:
        self.b = b
        self._http = http
        self._number = 0

    def body(self) -> str:
        """An event that is in order."""
        self._number += 1
        team = self.b.slack.first
        message = team.write(DM, ANNA, f"{WORDS} {self._number}")
        [event] = team.events_of(DM, message)
        authorization = {"team_id": team.id, "user_id": team.bot, "is_bot": True, "enterprise_id": None}
        payload: dict[str, Any] = {
            "type": "event_callback",
            "team_id": team.id,
            "api_app_id": team.app,
            "event_id": f"EvForged{self._number}",
            "event_time": int(time.time()),
            "event": event,
            "authorizations": [authorization],
        }
        return json.dumps(payload)

    async def post(self, body: str, headers: dict[str, str]) -> int:
        url = self.b.slack.deliveries.url
        given = {"Content-Type": "application/json", **headers}
        async with self._http.post(url, data=body.encode(), headers=given) as response:
            assert WORDS not in await response.text()
            return response.status


@pytest.fixture
async def forger(tmp_path: Path) -> AsyncIterator[Forger]:
    async with running(tmp_path, echo, "http") as b, aiohttp.ClientSession() as http:
        yield Forger(b, http)


async def test_a_request_that_slack_did_not_sign_is_refused_and_nothing_of_it_is_kept(
    forger: Forger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack, body = forger.b.slack.deliveries, forger.body()
    right = slack.signed(body)
    wrong = {
        "another secret": slack.signed(body, secret="0" * 32),
        "of another body": slack.signed(forger.body()),
        "six minutes old": slack.signed(body, at=time.time() - 360),
        "from the future": slack.signed(body, at=time.time() + 360),
        "of another time": {**right, "X-Slack-Request-Timestamp": str(int(time.time()) - 1)},
        "missing": {},
        "without its time": {"X-Slack-Signature": right["X-Slack-Signature"]},
        "without itself": {"X-Slack-Request-Timestamp": right["X-Slack-Request-Timestamp"]},
        "no number for a time": {**right, "X-Slack-Request-Timestamp": "1e9"},
        "of another version": {**right, "X-Slack-Signature": "v1" + right["X-Slack-Signature"][2:]},
        "cut short": {**right, "X-Slack-Signature": right["X-Slack-Signature"][:-1]},
        "nothing": {**right, "X-Slack-Signature": ""},
        "not ASCII": {**right, "X-Slack-Signature": "v0=\u00e9"},
    }
    for name, headers in wrong.items():
        assert await forger.post(body, headers) == 401, name
    assert forger.b.stored == 0
    assert len([r for r in caplog.records if "refused" in r.getMessage()]) == len(wrong)
    assert WORDS not in caplog.text
    assert SIGNING_SECRET not in caplog.text
    assert WORDS not in repr(forger.b.boswell.logs)
    assert await forger.post(body, right) == 200
    assert forger.b.stored == 1
    kept = [p for p in tmp_path.rglob("*") if p.is_file() and SIGNING_SECRET.encode() in p.read_bytes()]
    assert [path.name for path in kept] == ["boswell.yaml"]


async def test_a_request_that_is_replayed_is_refused(forger: Forger) -> None:
    body = forger.body()
    headers = forger.b.slack.deliveries.signed(body)
    assert await forger.post(body, headers) == 200
    assert await forger.post(body, headers) == 401
    assert forger.b.stored == 1


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", "\x00", '{"type": "event_callback"}', "payload=%7B", "a=1"]
)
async def test_a_signed_request_that_says_nothing_harms_nothing(forger: Forger, body: str) -> None:
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        headers = {**forger.b.slack.deliveries.signed(body), "Content-Type": content_type}
        assert await forger.post(body, headers) < 500 or body == "{"
    forger.b.ask("hello")
    await forger.b.shows(DM, *answers("hello"))


async def test_the_address_proves_itself_to_slack(forger: Forger) -> None:
    assert await forger.b.slack.deliveries.verify_url()


# After an absence


async def absent(slack: SlackServer, *said: tuple[str, str, str]) -> None:
    """People write (conversation, thread, words), and Slack gives up telling us."""
    slack.deliveries.lose_patience()
    for channel, thread, text in said:
        slack.say(channel, ANNA, text, thread)
    await slack.wait_for(lambda s: not s.deliveries.waiting)
    assert all(delivery.given_up for delivery in slack.deliveries.all[-len(said) :])
    slack.deliveries.be_patient()


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_said_while_it_was_away_is_answered_in_order_and_once(
    tmp_path: Path, mode: Mode
) -> None:
    async with SlackServer() as slack:
        slack.api.page = 3
        async with running(tmp_path, echo, mode, slack=slack) as b:
            b.ask("hello")
            thread = b.ask("hello", ROOM)
            await b.shows(DM, *answers("hello"))
            await b.shows(ROOM, *answers("hello"))
            await b.acknowledged()
        missed = [f"m{number}" for number in range(10)]
        aside = slack.first.write(ROOM, ANNA, "among ourselves").ts
        await absent(
            slack,
            *((DM, "", text) for text in missed),
            *((ROOM, thread, text) for text in missed),
            (ROOM, aside, "still among ourselves"),
        )
        async with running(tmp_path, echo, mode, slack=slack) as b:
            await b.shows(DM, *answers("hello", *missed), seconds=30)
            await b.shows(ROOM, *answers("hello", *missed), thread=thread, seconds=30)
            b.ask("back?")
            await b.shows(DM, *answers("hello", *missed, "back?"), seconds=30)
            assert b.stored == 23
            assert slack.texts(ROOM, aside) == []


async def test_what_came_both_by_history_and_again_is_answered_once(tmp_path: Path) -> None:
    async with SlackServer() as slack:
        async with running(tmp_path, echo, slack=slack) as b:
            b.ask("hello")
            await b.shows(DM, *answers("hello"))
        slack.say(DM, ANNA, "meanwhile")  # waits for a connection
        async with running(tmp_path, echo, slack=slack) as b:
            await b.shows(DM, *answers("hello", "meanwhile"))
            await b.acknowledged()
            b.ask("after")
            await b.shows(DM, *answers("hello", "meanwhile", "after"))
            assert b.stored == 3


async def test_where_it_may_not_read_what_was_said_it_goes_on_without(tmp_path: Path) -> None:
    async with SlackServer() as slack:
        slack.first.scopes -= {"im:history", "users:read", "im:read"}
        slack.first.scopes.add("im:history")
        async with running(tmp_path, echo, slack=slack) as b:
            b.ask("hello")
            await b.shows(DM, *answers("hello"))
        await absent(slack, (DM, "", "meanwhile"))
        slack.fault(
            "conversations.history", refusal("missing_scope", needed="im:history", provided="chat:write")
        )
        async with running(tmp_path, echo, slack=slack) as b:
            await slack.wait_for(lambda s: s.calls["conversations.history"])
            b.ask("after")
            await b.shows(DM, *answers("hello", "after"))
