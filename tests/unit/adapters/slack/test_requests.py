"""HTTP mode: only what Slack signed, just now and for the first time, is taken; nothing else leaves a trace but a line."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from multidict import CIMultiDict

from adapters.base import HttpRequest, HttpResponse
from adapters.slack import Slack
from tests.fakes import slack as fake
from tests.fakes.life import Life
from tests.unit.adapters.slack.slack_house import connected


def event(text: str = "precious words") -> str:
    message = {
        "type": "message",
        "channel": "D1",
        "channel_type": "im",
        "user": "U1",
        "ts": "1.1",
        "text": text,
    }
    return json.dumps(
        {"type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "Ev1", "event": message}
    )


async def ask(adapter: Slack, body: str | bytes, headers: dict[str, str]) -> HttpResponse:
    [route] = [route for route in adapter.routes if route.path == "/slack/events"]
    raw = body.encode() if isinstance(body, str) else body
    return await route.handler(
        HttpRequest(CIMultiDict({"Content-Type": "application/json", **headers}), {}, raw)
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"secret": "another"}, "wrong"),
        ({"at": -301}, "stale"),
        ({"at": 400}, "stale"),
        ({"drop": "X-Slack-Signature"}, "not signed"),
        ({"drop": "X-Slack-Request-Timestamp"}, "not signed"),
        ({"set": ("X-Slack-Request-Timestamp", "soon")}, "malformed"),
        ({"set": ("X-Slack-Request-Timestamp", "²")}, "malformed"),
        ({"set": ("X-Slack-Signature", "v0=ü")}, "malformed"),
        ({"body": b"\xff\xfe"}, "wrong"),
    ],
)
async def test_a_request_that_slack_did_not_sign_is_refused_without_a_trace_of_its_words(
    change: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, life):
        body = event()
        at = time.time() + change.get("at", 0)
        headers = server.deliveries.signed(body, at=at, secret=change.get("secret"))
        headers.pop(change.get("drop", ""), None)
        headers.update([change["set"]] if "set" in change else [])
        answer = await ask(adapter, change.get("body", body), headers)
        assert answer.status == 401
        assert not life.rows
    assert why in caplog.text
    assert "precious" not in caplog.text


async def test_a_request_is_taken_once_and_its_replay_refused() -> None:
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, life):
        headers = server.deliveries.signed(event())
        assert (await ask(adapter, event(), headers)).status == 200
        assert (await ask(adapter, event(), headers)).status == 401
        assert life.texts == ["precious words"]


async def test_what_could_not_be_stored_is_no_200_and_may_come_again_with_the_same_signature() -> None:
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, life):
        server.fault("users.info", fake.bad_gateway())
        stored, life.rows = life.rows, _Full()
        headers = server.deliveries.signed(event())
        answer = await ask(adapter, event(), headers)
        assert answer.status == 500
        assert "precious" not in answer.body
        life.rows = stored
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, life):
        assert (await ask(adapter, event(), server.deliveries.signed(event()))).status == 200
        assert life.texts == ["precious words"]


class _Full(list[Any]):
    def extend(self, _: object) -> None:
        raise OSError("the disk is full")


async def test_the_challenge_of_a_new_address_is_answered() -> None:
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, _):
        body = json.dumps({"token": "t", "challenge": "3eZ", "type": "url_verification"})
        answer = await ask(adapter, body, server.deliveries.signed(body))
        assert (answer.status, json.loads(answer.body)["challenge"]) == (200, "3eZ")


@pytest.mark.parametrize("body", ["{", "[]", "null", '"x"', "", '{"event": 3}', '{"type": "event_callback"}'])
async def test_a_body_that_says_nothing_is_survived(body: str) -> None:
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, life):
        answer = await ask(adapter, body, server.deliveries.signed(body))
        assert answer.status in (200, 400, 500)
        assert (await ask(adapter, event(), server.deliveries.signed(event()))).status == 200
        assert life.texts == ["precious words"]


async def test_nothing_is_taken_before_it_runs() -> None:
    async with fake.SlackServer() as server, connected(server, sockets=False) as (adapter, _):
        pass
    answer = await ask(adapter, event(), server.deliveries.signed(event()))
    assert answer.status == 503
    assert Life().rows == []
