"""The scripted server itself: run as a program, and as strict as it says."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.telegram_server import TOKEN, TelegramServer

ROOT = Path(__file__).parents[4]


async def call(http: aiohttp.ClientSession, url: str, method: str, **given: Any) -> dict[str, Any]:
    async with http.post(f"{url}/bot{TOKEN}/{method}", json=given) as response:
        return dict(await response.json())


async def test_as_a_program_it_is_driven_over_http() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.telegram_server", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert program.stdout is not None
        url = json.loads(await asyncio.wait_for(program.stdout.readline(), 20))["url"]
        async with aiohttp.ClientSession() as http:
            said = {"chat_id": 1, "user_id": 1, "text": "hi"}
            async with http.post(f"{url}/_control/say", json=said) as response:
                assert await response.json() == {"message_id": 1}
            (update,) = (await call(http, url, "getUpdates"))["result"]
            assert update["message"]["text"] == "hi"
            async with http.post(
                f"{url}/_control/fault", json={"method": "sendMessage", "fault": {"status": 502}}
            ):
                pass
            async with http.post(
                f"{url}/bot{TOKEN}/sendMessage", json={"chat_id": 1, "text": "lost"}
            ) as response:
                assert response.status == 502
            await call(http, url, "sendMessage", chat_id=1, text="hello")
            await call(http, url, "editMessageText", chat_id=1, message_id=2, text="hello, Anna")
            async with http.get(f"{url}/_control/state", params={"after": "0"}) as response:
                state = await response.json()
        assert state["chats"] == {"1": [{"id": 2, "text": "hello, Anna", "edits": 1, "file": None}]}
        assert state["pending"] == 1
    finally:
        program.terminate()
        await program.wait()


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("sendPhoto", {"chat_id": 1}),
        ("sendMessage", {"chat_id": 1}),
        ("sendMessage", {"chat_id": 1, "text": "hi", "colour": "red"}),
        ("sendMessage", {"chat_id": "1", "text": "hi"}),
    ],
)
async def test_what_nobody_should_ask_fails_the_test(method: str, given: dict[str, Any]) -> None:
    server = TelegramServer()
    server.chat(1)
    with pytest.raises(AssertionError):
        async with server, aiohttp.ClientSession() as http:
            assert not (await call(http, server.url, method, **given))["ok"]


async def test_a_later_poll_ends_the_earlier_with_a_conflict() -> None:
    async with TelegramServer() as server, aiohttp.ClientSession() as http:
        first = asyncio.create_task(call(http, server.url, "getUpdates", timeout=20))
        await server.wait_for(lambda s: s.calls["getUpdates"] == 1)
        await call(http, server.url, "getUpdates")
        assert (await first)["error_code"] == 409
