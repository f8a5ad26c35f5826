"""Telegram's own ways: what its server can do to us, and what we must do then."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters import create
from adapters.base import (
    AdapterError,
    Chat,
    ChatGone,
    ChatMigrated,
    HttpRequest,
    Menu,
    MessageGone,
    NoState,
    RateLimited,
    Received,
    Refused,
    Unauthorized,
    Unavailable,
)
from adapters.telegram import Telegram, Timing
from config.schema import TelegramConfig
from tests.fakes import telegram_server as api
from tests.fakes.life import Life as Surroundings
from tests.fakes.telegram_server import TOKEN, TelegramServer

ANNA = 1001
CHAT = Chat("telegram", str(ANNA))
GROUP = Chat("telegram", "-500", "group")
QUICK = Timing(poll=20, call=5, retry_first=0.001, retry_most=0.01, conflict=0.01)


class Life(Surroundings):
    def up(self, detail: str = "") -> None:
        """Up is told after every poll."""
        if self.states[-1:] == [("up", detail)]:
            self._note()
        else:
            super().up(detail)


def build(server: TelegramServer, timing: Timing = QUICK, **settings: Any) -> Telegram:
    values = {"token": SecretStr(TOKEN), "base_url": server.url, **settings}
    return Telegram(TelegramConfig(**values), Menu({"clear": "Begin anew"}), timing)


@asynccontextmanager
async def receiving(adapter: Telegram) -> AsyncIterator[Life]:
    life = Life()
    task = asyncio.create_task(adapter.run(life.sink, life))
    try:
        await life.until(lambda: ("up" in dict(life.states)) or task.done())
        yield life
    finally:
        task.cancel()
        await asyncio.wait([task])
        await adapter.close()
        if not task.cancelled():
            task.result()


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as server:
        server.chat(ANNA)
        server.chat(-500)
        yield server


# Receiving


async def test_an_update_is_confirmed_only_after_the_sink_has_it(server: TelegramServer) -> None:
    server.say(ANNA, ANNA, "one")
    stored = asyncio.Event()
    waiting: list[int] = []

    async def slow(rows: Sequence[Received]) -> None:
        if rows:
            waiting.append(len(server.pending))
            stored.set()

    task = asyncio.create_task((adapter := build(server)).run(slow, Life()))
    await asyncio.wait_for(stored.wait(), 5)
    await server.wait_for(lambda s: s.calls["getUpdates"] >= 1)
    server.say(ANNA, ANNA, "two")
    await server.wait_for(lambda s: not any(u["message"]["text"] == "one" for u in s.pending))
    task.cancel()
    await asyncio.wait([task])
    await adapter.close()
    assert waiting[0] == 1


async def test_an_undecodable_update_is_quarantined_and_does_not_wedge_the_loop(
    server: TelegramServer,
) -> None:
    server.say(ANNA, ANNA, "before")
    server.push({"message": {"message_id": 2, "chat": {"id": 1, "type": "hologram"}}})
    server.say(ANNA, ANNA, "after")
    async with receiving(build(server)) as life:
        await life.until(lambda: "after" in life.texts)
        await server.wait_for(lambda s: not s.pending)
    assert [row.problem for row in life.rows if row.update is None] == ["chat.type is none that we know"]


async def test_numbers_may_go_on_from_anywhere(server: TelegramServer) -> None:
    async with receiving(build(server)) as life:
        for number in (5000, 9000, 20):  # after a quiet week Telegram begins anew
            server.push({"update_id": number, "message": server.message(ANNA, ANNA, f"m{number}")})
            await life.until(lambda n=number: f"m{n}" in life.texts)
            await server.wait_for(lambda s: not s.pending)
            calls = server.calls["getUpdates"]
            server.push({"callback_query": {"id": "of no concern"}, "update_id": number + 1})
            await server.wait_for(lambda s, c=calls: s.calls["getUpdates"] > c)


async def test_a_batch_with_a_duplicate_comes_out_with_equal_keys(server: TelegramServer) -> None:
    message = server.message(ANNA, ANNA, "twice")
    for _ in range(2):
        server.push({"update_id": 77, "message": message})
    async with receiving(build(server)) as life:
        await life.until(lambda: len(life.rows) == 2)
    assert {row.key for row in life.rows} == {"77"}


@pytest.mark.parametrize(
    "fault",
    [
        api.bad_gateway(),
        api.garbage(),
        api.dropped(),
        api.lost_answer(),
        api.too_many(0),
        api.refusal(500, "Internal"),
    ],
    ids=["502", "garbage", "dropped", "lost", "429", "500"],
)
async def test_no_fault_of_the_server_ends_the_polling(server: TelegramServer, fault: api.Fault) -> None:
    server.fault("getUpdates", replace(fault), replace(fault))
    server.say(ANNA, ANNA, "still here")
    async with receiving(build(server)) as life:
        await life.until(lambda: bool(life.texts))
        assert [state for state, _ in life.states] == ["down", "down", "up"]


async def test_a_poll_too_many_waits_as_long_as_it_is_told(server: TelegramServer) -> None:
    server.fault("getUpdates", api.too_many(1))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with receiving(build(server)) as life:
        assert [state for state, _ in life.states] == ["down", "up"]
        assert loop.time() - began >= 1


async def test_a_silent_connection_is_given_up_and_made_anew(server: TelegramServer) -> None:
    never = asyncio.Event()
    server.fault("getUpdates", api.held(never))
    adapter = build(server, Timing(poll=20, call=0.2, retry_first=0.001, retry_most=0.01))
    async with receiving(adapter) as life:
        server.say(ANNA, ANNA, "hello?")
        await life.until(lambda: bool(life.texts))
    assert life.down_reasons == ["Telegram did not answer getUpdates in time"]


async def test_a_second_poller_is_told_in_words_and_outwaited(server: TelegramServer) -> None:
    server.fault("getUpdates", api.conflict(), api.conflict())
    async with receiving(build(server)) as life:
        assert [state for state, _ in life.states] == ["down", "down", "up"]
    assert "another program" in life.down_reasons[0]


async def test_a_webhook_is_removed_and_what_waits_is_kept(server: TelegramServer) -> None:
    server.webhook = {"url": "https://old.example"}
    server.say(ANNA, ANNA, "waited")
    async with receiving(build(server)) as life:
        await life.until(lambda: life.texts == ["waited"])
        server.webhook = {"url": "https://other.example"}
        server.say(ANNA, ANNA, "more")  # wakes the poll that is under way
        await life.until(lambda: "more" in life.texts)
        await life.until(lambda: life.states[-1][0] == "up" and len(life.states) > 1)
    assert "webhook" in life.down_reasons[0]


@pytest.mark.parametrize(
    "token",
    ["nonsense", "12 34:ab", "4242:AAwrong-wrong-wrong-wrong-wrong-wrong-w"],
    ids=["form", "blank", "unknown"],
)
async def test_a_wrong_token_is_told_in_words_without_it(server: TelegramServer, token: str) -> None:
    adapter = build(server, token=SecretStr(token))
    with pytest.raises(Unauthorized, match="BotFather") as caught:
        await adapter.run(Life().sink, Life())
    assert token not in "".join(traceback.format_exception(caught.value))
    (finding,) = await adapter.check()
    assert not finding.ok
    assert "BotFather" in finding.detail
    await adapter.close()


async def test_a_token_that_is_revoked_while_polling_ends_the_run(server: TelegramServer) -> None:
    adapter = build(server)
    server.fault("getUpdates", api.unauthorized())
    with pytest.raises(Unauthorized):
        await adapter.run(Life().sink, Life())
    await adapter.close()


async def test_a_server_that_is_away_at_the_start_is_waited_for(server: TelegramServer) -> None:
    server.fault("getMe", api.bad_gateway(), api.dropped())
    async with receiving(build(server)) as life:
        assert [state for state, _ in life.states] == ["down", "down", "up"]
        assert life.states[-1][1].startswith("@boswell_bot; privacy mode is on")


async def test_the_menu_is_registered_after_receiving_began_and_only_if_it_differs(
    server: TelegramServer,
) -> None:
    async with receiving(build(server)):
        await server.wait_for(lambda s: s.commands)
        assert server.commands == [{"command": "clear", "description": "Begin anew"}]
    async with receiving(build(server)):
        await server.wait_for(lambda s: s.calls["getMyCommands"] == 2)
        server.say(ANNA, ANNA, "hi")
        await server.wait_for(lambda s: not s.pending)
    assert server.calls["setMyCommands"] == 1


async def test_a_menu_that_is_refused_does_not_stop_the_talk(
    server: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    refused = server.fault("setMyCommands", api.refusal(400, "Bad Request: BOT_COMMAND_INVALID"))
    async with receiving(build(server)) as life:
        await asyncio.wait_for(refused.met.wait(), 5)
        server.say(ANNA, ANNA, "hi")
        await life.until(lambda: life.texts == ["hi"])
    assert "could not be registered" in caplog.text


async def test_blocked_and_migrated_chats_are_told(server: TelegramServer) -> None:
    server.block(ANNA, ANNA)
    server.migrate(-500, -100500, ANNA)
    adapter = build(server)
    async with receiving(adapter) as life:
        await life.until(lambda: len(life.rows) == 3)
        assert [row.update.kind for row in life.rows if row.update] == ["left", "migrated", "migrated"]
        with pytest.raises(ChatGone, match="blocked"):
            await adapter.post(CHAT, "hi", key="a")
        with pytest.raises(ChatMigrated) as caught:
            await adapter.post(GROUP, "hi", key="a")
        assert caught.value.new_id == "-100500"


# The webhook


async def deliver(adapter: Telegram, body: bytes, secret: str) -> int:
    (route,) = adapter.routes
    assert (route.method, route.path) == ("POST", "/telegram")
    request = HttpRequest({"X-Telegram-Bot-Api-Secret-Token": secret}, {}, body)
    return (await route.handler(request)).status


async def test_webhook_stores_before_it_answers_and_checks_the_secret(server: TelegramServer) -> None:
    settings = {
        "mode": "webhook",
        "webhook_url": "https://bot.example/",
        "webhook_secret": SecretStr("s3cret"),
    }
    adapter = build(server, **settings)
    body = json.dumps({"update_id": 5, "message": server.message(ANNA, ANNA, "hi")}).encode()
    assert await deliver(adapter, body, "s3cret") == 503
    async with receiving(adapter) as life:
        assert server.webhook["url"] == "https://bot.example/telegram"
        assert server.webhook["secret_token"] == "s3cret"
        assert server.webhook["drop_pending_updates"] is False
        for wrong in ("", "s3cret2", "schlüssel\ud800"):
            assert await deliver(adapter, body, wrong) == 401
        for broken in (b"{", b"[]", b"{}", b'{"update_id": "x"}', b"\xff", b"[" * 100_000):
            assert await deliver(adapter, broken, "s3cret") == 400
        assert life.rows == []
        assert await deliver(adapter, body, "s3cret") == 200
        assert life.texts == ["hi"]
        assert await deliver(adapter, b'{"update_id": 6, "message": 7}', "s3cret") == 200
        assert life.rows[-1].update is None
        assert [finding.ok for finding in await adapter.check()] == [True]
        server.webhook["last_error_message"] = "Connection refused"
        assert [finding.ok for finding in await adapter.check()] == [True, False]


async def test_webhook_without_a_secret_of_the_operators_has_one_of_its_own(server: TelegramServer) -> None:
    async with receiving(build(server, mode="webhook", webhook_url="https://bot.example")):
        assert len(server.webhook["secret_token"]) == 64
        assert TOKEN.partition(":")[2] not in server.webhook["secret_token"]


@pytest.mark.parametrize("url", [None, "http://bot.example"])
async def test_a_webhook_address_that_can_not_be_is_refused(server: TelegramServer, url: str | None) -> None:
    adapter = build(server, mode="webhook", webhook_url=url)
    with pytest.raises(Refused, match=r"(?i)https"):
        await adapter.run(Life().sink, Life())
    await adapter.close()


# Writing


async def test_what_telegram_can_not_parse_is_sent_plain(server: TelegramServer) -> None:
    adapter = build(server)
    async with receiving(adapter):
        server.fault("sendMessage", api.refusal(400, "Bad Request: can't parse entities: at byte offset 3"))
        message = await adapter.post(CHAT, "**bold** text", key="a")
        assert server.chat(ANNA).texts == ["**bold** text"]
        server.fault("editMessageText", api.refusal(400, "Bad Request: ENTITY_TEXTURL_INVALID"))
        await adapter.edit(CHAT, message, "_it_ text", final=True)
        assert server.chat(ANNA).texts == ["_it_ text"]
        await adapter.edit(CHAT, message, "_it_ text", final=True)
        assert server.chat(ANNA).messages[int(message)].marked("italic") == ["it"]


async def test_a_refusal_of_plain_text_is_told(server: TelegramServer) -> None:
    adapter = build(server)
    async with receiving(adapter):
        with pytest.raises(Refused, match="empty"):
            await adapter.post(CHAT, "\u200b\u200d", key="a")


async def test_a_topic_that_is_gone_is_left_out(server: TelegramServer) -> None:
    adapter = build(server)
    server.chat(-500).threads_gone.add(9)
    topic = replace(GROUP, thread="9")
    async with receiving(adapter):
        await adapter.post(replace(GROUP, thread="8"), "there", key="a")
        await adapter.post(topic, "here", key="a")
        await adapter.typing(topic)
        assert [m.thread for m in server.chat(-500).messages.values()] == [8, None]
        assert server.chat(-500).typing == 1


async def test_replies_quote_in_groups_only_and_survive_the_quoted(server: TelegramServer) -> None:
    adapter = build(server)
    asked = server.say(-500, ANNA, "what?")
    async with receiving(adapter):
        await adapter.post(GROUP, "this", key="a", reply_to=str(asked))
        await adapter.post(GROUP, "that", key="b", reply_to="9999")
        await adapter.post(CHAT, "here", key="c", reply_to="1")
    assert [m.reply_to for m in server.chat(-500).messages.values()] == [asked, None]
    assert server.chat(ANNA).messages[1].reply_to is None


async def test_429_without_a_number_is_still_a_rate_limit(server: TelegramServer) -> None:
    adapter = build(server)
    async with receiving(adapter):
        server.fault("sendMessage", api.refusal(429, "Too Many Requests"))
        with pytest.raises(RateLimited):
            await adapter.post(CHAT, "hi", key="a")


@pytest.mark.parametrize(
    "fault", [api.bad_gateway(), api.garbage(), api.dropped()], ids=["502", "garbage", "dropped"]
)
async def test_whatever_may_have_been_done_is_ambiguous(server: TelegramServer, fault: api.Fault) -> None:
    adapter = build(server)
    async with receiving(adapter):
        server.fault("sendMessage", replace(fault))
        with pytest.raises(Unavailable) as caught:
            await adapter.post(CHAT, "hi", key="a")
        assert caught.value.ambiguous


async def test_no_connection_at_all_is_not_ambiguous(server: TelegramServer) -> None:
    adapter = build(server)
    async with receiving(adapter):
        await server.stop()
        await adapter._client.close()  # type: ignore[union-attr]
        with pytest.raises(Unavailable) as caught:
            await adapter.post(CHAT, "hi", key="a")
        assert not caught.value.ambiguous


async def test_a_slow_edit_may_be_cancelled_and_the_next_one_works(server: TelegramServer) -> None:
    adapter = build(server)
    async with receiving(adapter):
        message = await adapter.post(CHAT, "…", key="a")
        slow = server.fault("editMessageText", api.held(asyncio.Event()))
        task = asyncio.create_task(adapter.edit(CHAT, message, "slow", final=False))
        await asyncio.wait_for(slow.met.wait(), 5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await adapter.edit(CHAT, message, "done", final=True)
        assert server.chat(ANNA).texts == ["done"]


SECRET = TOKEN.partition(":")[2]


async def shown(call: Awaitable[Any]) -> str:
    """All that a log could print of the error: message, repr, causes, contexts."""
    try:
        await call
    except AdapterError as error:
        seen, parts = error, []
        while seen is not None:
            parts.append(f"{seen} {seen!r} {seen.args}")
            seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
        return "\n".join([*parts, *traceback.format_exception(error)])
    raise AssertionError("no error")


async def test_the_token_is_in_no_message_log_or_repr(
    server: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    adapter = build(server)
    redirect = api.Fault(302, "", "text/html")
    faults = [
        api.bad_gateway(),
        api.garbage(),
        api.dropped(),
        api.conflict(),
        api.forbidden(),
        api.too_many(3),
        redirect,
    ]
    async with receiving(adapter):
        for fault in [
            *faults,
            api.unauthorized(),
            api.migrated(5),
            api.refusal(404, "Not Found"),
            api.refusal(413, "x"),
        ]:
            server.fault("sendMessage", replace(fault))
            assert SECRET not in await shown(adapter.post(CHAT, "**hi**", key="a"))
    assert SECRET not in caplog.text + repr(adapter) + repr(vars(adapter)) + repr(vars(adapter._client))  # type: ignore[arg-type]


class Rubbish(asyncio.Protocol):
    """Answers every request with what is no HTTP at all, which aiohttp reports with the whole URL."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"HTTP/1.1 abc nonsense\r\n\r\n")
        self._transport.close()


async def test_an_answer_that_is_no_http_does_not_show_the_token() -> None:
    rubbish = await asyncio.get_running_loop().create_server(Rubbish, "127.0.0.1", 0)
    async with rubbish:
        url = f"http://127.0.0.1:{rubbish.sockets[0].getsockname()[1]}"
        for base_url in (url, "no address at all", "http://[::1", "http://127.0.0.1:1"):
            adapter = build(TelegramServer(), base_url=base_url)
            client = adapter._connect()
            calls = (client("getUpdates", {}), adapter.check())
            assert SECRET not in await shown(calls[0])
            (finding,) = await calls[1]
            assert not finding.ok
            assert SECRET not in finding.detail
            await client.close()


async def test_create_gives_the_adapter_asked_for(server: TelegramServer) -> None:
    adapter = create(
        "telegram", TelegramConfig(token=SecretStr(TOKEN), messages_per_second=5), Menu(), NoState()
    )
    assert isinstance(adapter, Telegram)
    assert (adapter.limits.max_chars, adapter.limits.total_per_second, adapter.limits.resend) == (
        4096,
        5,
        "stub",
    )


async def test_a_file_whose_topic_is_gone_is_sent_without_it(server: TelegramServer, tmp_path: Path) -> None:
    file = tmp_path / "kept.zip"
    file.write_bytes(b"PK whatever")
    adapter = build(server)
    async with receiving(adapter):
        server.chat(ANNA).threads_gone.add(7)
        await adapter.send_file(replace(CHAT, thread="7"), file, "Here *it* is.", key="1")
        [message] = server.chat(ANNA).messages.values()
        assert (message.file and message.file.data, message.text) == (b"PK whatever", "Here it is.")
        assert message.marked("italic") == ["it"]


async def test_a_proxy_that_finds_a_file_too_large_is_a_refusal(
    server: TelegramServer, tmp_path: Path
) -> None:
    file = tmp_path / "kept.zip"
    file.write_bytes(b"PK whatever")
    adapter = build(server)
    async with receiving(adapter):
        server.fault("sendDocument", api.Fault(413, "<html>413</html>", "text/html"))
        with pytest.raises(Refused):
            await adapter.send_file(CHAT, file, "Here.", key="1")


async def test_a_placeholder_that_became_a_file_is_no_text_any_more(
    server: TelegramServer, tmp_path: Path
) -> None:
    file = tmp_path / "kept.zip"
    file.write_bytes(b"PK whatever")
    adapter = build(server)
    async with receiving(adapter):
        stub = await adapter.post(CHAT, "…", key="1")
        await adapter.send_file(CHAT, file, "Here.", key="1", instead=stub)
        with pytest.raises(MessageGone):
            await adapter.edit(CHAT, stub, "gone", final=True)
