"""Telegram's adapter against a fake that was not written here: teremok, by way of aiogram's own request types.

A small bridge takes each raw call off the wire, makes aiogram's method object of it (which checks the request's shape)
and hands that to teremok's MockBot, which applies the Bot API's documented rules and answers in its types.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiogram.methods
import pytest
from aiogram.client.default import Default
from aiogram.exceptions import TelegramBadRequest
from aiogram.methods import (
    EditMessageText,
    GetMyCommands,
    GetWebhookInfo,
    SendMessage,
    SetMyCommands,
    TelegramMethod,
)
from aiogram.types import TelegramObject, WebhookInfo
from aiohttp import web
from pydantic import SecretStr
from teremok import MockBot

from adapters.base import Chat, Menu, Received, Refused
from adapters.telegram import Telegram, Timing
from config.schema import TelegramConfig

CHAT = Chat("telegram", "1001")
TOKEN = "42:TEST-of-nobody"


class Bridge:
    """The Bot API's HTTP before teremok's MockBot. Polls are answered here: teremok has no queue of updates."""

    def __init__(self) -> None:
        self.bot = MockBot(token=TOKEN)
        self.updates: list[dict[str, Any]] = []
        self.wake = asyncio.Event()
        self.menu = asyncio.Event()  # set once the commands are registered
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        prefix, _, name = request.path.rpartition("/")
        assert prefix == f"/bot{TOKEN}", prefix
        given = await self._given(request)
        kind = getattr(aiogram.methods, name[0].upper() + name[1:])
        assert set(given) <= set(kind.model_fields), set(given) - set(kind.model_fields)
        method = kind.model_validate(given)
        if name == "getUpdates":
            return _ok(await self._poll(method))
        if kind is GetMyCommands:
            self.bot.add_result(GetMyCommands, [])
        if kind is GetWebhookInfo:
            self.bot.add_result(
                GetWebhookInfo, WebhookInfo(url="", has_custom_certificate=False, pending_update_count=0)
            )
        try:
            result = await self.bot(method)
        except TelegramBadRequest as refused:
            answer = {"ok": False, "error_code": 400, "description": refused.message}
            return web.json_response(answer, status=400)
        if kind is SetMyCommands:
            self.menu.set()
        return _ok(_plain(result))

    async def _given(self, request: web.BaseRequest) -> dict[str, Any]:
        if request.content_type == "application/json":
            return dict(await request.json())
        form = await request.post()
        return {name: _form_value(str(value)) for name, value in form.items()}

    async def _poll(self, method: Any) -> list[dict[str, Any]]:
        self.updates = [u for u in self.updates if u["update_id"] >= (method.offset or 0)]
        if not self.updates and method.timeout:
            self.wake.clear()
            await self.wake.wait()
        return self.updates

    def say(self, number: int, text: str) -> None:
        anna = {"id": 1001, "first_name": "Anna"}
        chat = {**anna, "type": "private"}
        message = {
            "message_id": 100 + number,
            "date": 1,
            "chat": chat,
            "from": {**anna, "is_bot": False},
            "text": text,
        }
        self.updates.append({"update_id": number, "message": message})
        self.wake.set()

    @property
    def writes(self) -> list[TelegramMethod[Any]]:
        return [m for m in self.bot.requests.all if isinstance(m, SendMessage | EditMessageText)]


def _form_value(value: str) -> Any:
    try:
        return json.loads(value.replace("False", "false").replace("True", "true"))
    except ValueError:
        return value


def _plain(result: Any) -> Any:
    if isinstance(result, TelegramObject):
        return result.model_dump(mode="json", exclude_none=True, by_alias=True, fallback=_unset)
    return [_plain(item) for item in result] if isinstance(result, list) else result


def _unset(value: Any) -> None:
    assert isinstance(value, Default)


def _ok(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


class Silent:
    def up(self, detail: str = "") -> None: ...

    def down(self, reason: str) -> None:
        raise AssertionError(reason)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Bridge, Telegram, asyncio.Queue[Received]]]:
    bridge = Bridge()
    runner = web.ServerRunner(web.Server(bridge.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    adapter = Telegram(
        TelegramConfig(token=SecretStr(TOKEN), base_url=url), Menu({"help": "What I do"}), Timing(call=5)
    )
    received: asyncio.Queue[Received] = asyncio.Queue()

    async def sink(rows: Sequence[Received]) -> None:
        for row in rows:
            received.put_nowait(row)

    task = asyncio.create_task(adapter.run(sink, Silent()))
    try:
        bridge.say(1, "hello")
        first = await asyncio.wait_for(received.get(), 10)
        assert first.update is not None
        assert first.update.text == "hello"
        yield bridge, adapter, received
    finally:
        task.cancel()
        await asyncio.wait([task])
        await adapter.close()
        bridge.wake.set()
        await runner.cleanup()


async def test_a_conversation_is_heard_and_answered() -> None:
    async with connected() as (bridge, adapter, received):
        for number in range(2, 5):
            bridge.say(number, f"question {number}")
            row = await asyncio.wait_for(received.get(), 10)
            assert row.update is not None
            assert row.update.text == f"question {number}"
            await adapter.typing(row.update.chat)
            message = await adapter.post(row.update.chat, "…", key=row.key)
            await adapter.edit(row.update.chat, message, "An *answer* in", final=False)
            await adapter.edit(row.update.chat, message, f"An **answer** to `{number}`.", final=True)
        replies = [["…", "An answer in", f"An answer to {number}."] for number in range(2, 5)]
        assert [m.text for m in bridge.writes] == [text for reply in replies for text in reply]
        entities = bridge.writes[-1].entities
        assert [(e.type, e.offset, e.length) for e in entities] == [("bold", 3, 6), ("code", 13, 1)]
        assert len(bridge.bot.requests.send_chat_action) == 3
        await asyncio.wait_for(bridge.menu.wait(), 10)
        assert [c.command for c in bridge.bot.requests.set_my_commands[0].commands] == ["help"]


async def test_every_request_carries_no_parse_mode_and_no_link_preview() -> None:
    async with connected() as (bridge, adapter, _):
        message = await adapter.post(CHAT, "https://a.example **b**", key="a")
        await adapter.edit(CHAT, message, "https://a.example **c**", final=True)
        for write in bridge.writes:
            assert isinstance(write.parse_mode, Default | None)
            assert write.link_preview_options.is_disabled is True


async def test_five_thousand_characters_are_refused_and_nothing_is_shown() -> None:
    async with connected() as (bridge, adapter, _):
        with pytest.raises(Refused):
            await adapter.post(CHAT, "x" * 5000, key="a")
        message = await adapter.post(CHAT, "…", key="a")
        with pytest.raises(Refused):
            await adapter.edit(CHAT, message, "😀" * 2049, final=True)
        await adapter.edit(CHAT, message, "😀" * 2048, final=True)
        assert [m.text for m in bridge.writes] == ["…", "😀" * 2048]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>unclosed & <i>wrong</b>", "<b>unclosed & <i>wrong</b>"),
        ("*a _b* c_ [x](y) ![", "a _b c_ [x](y) !["),
        ("```\nnever closed", "never closed"),
        ("List<int> x = a<b ? c : d;", "List<int> x = a<b ? c : d;"),
    ],
)
async def test_broken_formatting_is_accepted_as_it_stands(text: str, shown: str) -> None:
    async with connected() as (bridge, adapter, _):
        await adapter.post(CHAT, text, key="a")
        assert [m.text for m in bridge.writes] == [shown]


async def test_what_the_platform_refuses_to_parse_goes_out_plain() -> None:
    async with connected() as (bridge, adapter, _):
        bridge.bot.add_result(
            SendMessage, ok=False, description="Bad Request: can't parse entities: wrong offset"
        )
        await adapter.post(CHAT, "**b**", key="a")
        first, second = bridge.writes
        assert (first.text, second.text, second.entities) == ("b", "**b**", None)


async def test_check_is_in_order() -> None:
    async with connected() as (_, adapter, _):
        (finding,) = await adapter.check()
        assert finding.ok
        assert "@test_bot" in finding.detail
