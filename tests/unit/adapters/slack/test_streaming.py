"""Replies that grow: by Slack's own streaming in threads, by edits elsewhere; the final text stands once, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.base import NoState, RateLimited, Unavailable, Update
from adapters.slack import Slack
from tests.fakes import slack as fake
from tests.unit.adapters.slack.slack_house import connected, first_update

TEXT = "One. Two [three](https://a.example/3). " + "Four, and more of it. " * 20 + "**Five.**"


@asynccontextmanager
async def asked(
    server: fake.SlackServer, state: NoState | None = None
) -> AsyncIterator[tuple[Slack, Update]]:
    """Anna has mentioned the app in a channel."""
    server.channel("C1", "U1")
    async with connected(server, state) as (adapter, life):
        server.say("C1", "U1", "@boswell tell me")
        yield adapter, await first_update(life)


async def grow(adapter: Slack, update: Update, message: str, *lengths: int) -> None:
    for length in lengths:
        await adapter.edit(update.chat, message, TEXT[:length], final=False)


async def test_a_reply_in_a_thread_is_streamed_to_who_asked() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        message = await adapter.post(update.chat, TEXT[:4], key="k", via=update.via, more=True)
        await grow(adapter, update, message, 7, 12, 60)
        await adapter.edit(update.chat, message, TEXT, final=True)
        assert server.texts("C1", update.chat.thread) == [TEXT]
        assert server.calls["chat.startStream"] == server.calls["chat.stopStream"] == 1
        assert server.calls["chat.appendStream"] >= 2
        assert server.calls["chat.update"] == server.calls["chat.postMessage"] == 0


async def test_a_stream_shows_nothing_that_a_later_word_could_change() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        message = await adapter.post(update.chat, "see", key="k", via=update.via, more=True)
        await adapter.edit(update.chat, message, "see [bank.example", final=False)
        assert server.texts("C1") == ["see"]
        await adapter.edit(update.chat, message, "see [bank.example](https://evil.example)", final=True)
        assert server.texts("C1") == ["see bank.example (https://evil.example)"]


async def test_an_expired_stream_goes_on_as_an_edited_message() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        message = await adapter.post(update.chat, TEXT[:4], key="k", via=update.via, more=True)
        assert server.expire_streams() == 1
        await grow(adapter, update, message, 60, 80)
        await adapter.edit(update.chat, message, TEXT, final=True)
        assert server.texts("C1") == [TEXT]


@pytest.mark.parametrize(
    "fault", [fake.lost_answer(), fake.dropped(), fake.broken(), fake.bad_gateway(), fake.too_many(3)]
)
@pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
async def test_the_final_text_stands_once_after_trouble_in_mid_stream(method: str, fault: fake.Fault) -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        message = await adapter.post(update.chat, TEXT[:4], key="k", via=update.via, more=True)
        server.fault(method, fault)
        if method == "chat.appendStream":
            with pytest.raises((Unavailable, RateLimited)):
                await grow(adapter, update, message, 60)
        else:
            with pytest.raises((Unavailable, RateLimited)):
                await adapter.edit(update.chat, message, TEXT, final=True)
        await adapter.edit(update.chat, message, TEXT, final=True)
        assert server.texts("C1") == [TEXT]


async def test_a_text_that_became_another_one_replaces_what_was_streamed() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        message = await adapter.post(update.chat, "A first thought", key="k", via=update.via, more=True)
        await adapter.edit(update.chat, message, "Something else", final=False)
        await adapter.edit(update.chat, message, "Something else altogether", final=True)
        assert server.texts("C1") == ["Something else altogether"]


async def test_a_stream_that_a_killed_process_left_is_found_and_finished() -> None:
    state = NoState()
    async with fake.SlackServer() as server:
        async with asked(server, state) as (adapter, update):
            await adapter.post(update.chat, TEXT[:4], key="k", via=update.via, more=True)
        async with connected(server, state) as (later, _):
            found = await later.find(update.chat, "k")
            assert found is not None
            await later.edit(update.chat, found, TEXT, final=True)
            assert server.texts("C1") == [TEXT]
            assert await later.find(update.chat, "k") == found


async def test_a_stream_whose_begin_was_never_answered_is_found() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        server.fault("chat.startStream", fake.lost_answer())
        with pytest.raises(Unavailable) as caught:
            await adapter.post(update.chat, "Hello", key="k", via=update.via, more=True)
        assert caught.value.ambiguous
        found = await adapter.find(update.chat, "k")
        assert found is not None
        await adapter.edit(update.chat, found, TEXT, final=True)
        assert server.texts("C1") == [TEXT]


async def test_where_streaming_is_barred_an_ordinary_message_is_posted() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        server.fault("chat.startStream", fake.refusal("team_not_found"))
        message = await adapter.post(update.chat, "Hello", key="k", via=update.via, more=True)
        await adapter.edit(update.chat, message, TEXT, final=True)
        assert server.texts("C1") == [TEXT]
        assert await adapter.find(update.chat, "k") == message


async def test_a_whole_message_is_never_streamed() -> None:
    async with fake.SlackServer() as server, asked(server) as (adapter, update):
        await adapter.post(update.chat, "All of it", key="k", via=update.via)
        assert server.calls["chat.startStream"] == 0
        assert server.texts("C1", update.chat.thread) == ["All of it"]
