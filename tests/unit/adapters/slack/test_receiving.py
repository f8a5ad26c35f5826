"""What comes from Slack: each message once, whichever events bring it and however often; nothing lost while nobody listened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapters.base import NoState, Received, Update
from adapters.slack import Slack
from adapters.slack.rooms import Rooms
from tests.fakes import slack as fake
from tests.fakes.life import Life
from tests.unit.adapters.slack.slack_house import MENU, TIMING, chat, connected, first_update, settings


def updates(life: Life) -> list[Update]:
    """What was handed in, each key once, as the inbox keeps it."""
    return list({row.key: row.update for row in reversed(life.rows) if row.update}.values())[::-1]


async def settled(server: fake.SlackServer) -> None:
    await server.wait_for(lambda s: not s.deliveries.waiting)


async def test_a_mention_is_one_message_in_a_thread_of_its_own() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        server.channel("C1", "U1")
        server.deliveries.copies = 3
        ts = server.say("C1", "U1", "@boswell, what is <this> & that?")
        await settled(server)
        assert len(life.rows) >= 2
        [update] = updates(life)
        assert (update.text, update.addressed, update.command) == ("what is <this> & that?", True, None)
        assert (update.chat.id, update.chat.kind, update.chat.thread) == ("T1-C1", "group", ts)
        assert (update.person.id, update.message_id) == ("slack-T1-U1", ts)


async def test_who_speaks_in_a_thread_of_ours_needs_no_mention_and_elsewhere_does() -> None:
    state = NoState()
    async with fake.SlackServer() as server:
        server.channel("C1", "U1", "U2")
        async with connected(server, state) as (adapter, life):
            ts = server.say("C1", "U1", "@boswell hello")
            update = await first_update(life)
            await state.set(life.rows[0].marks)
            await adapter.post(update.chat, "Hello", key="k")
            server.say("C1", "U2", "me too", thread=ts)
            server.say("C1", "U2", "an aside")
            await settled(server)
            heard = {update.text: (update.addressed, update.chat.thread == ts) for update in updates(life)}
            assert heard == {"hello": (True, True), "me too": (True, True), "an aside": (False, False)}
        async with connected(server, state) as (_, later):
            server.say("C1", "U2", "still me", thread=ts)
            await settled(server)
            assert {u.text: u.addressed for u in updates(later)}["still me"]


async def test_bots_ourselves_and_notices_are_not_heard() -> None:
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        update_chat = server.say("D1", "U1", "hello")
        update = await first_update(life)
        await adapter.post(update.chat, "my own words", key="k")
        server.say("D1", "U2", "beep", bot_id="B9")
        server.say("D1", "U2", "has joined", subtype="channel_join")
        server.first.delete("D1", update_chat)
        await settled(server)
        assert life.texts == ["hello"]


async def test_an_edit_is_told_and_a_preview_of_a_link_is_not() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        ts = server.say("D1", "U1", "helo")
        server.first.edit("D1", ts, "hello")
        place = server.channel("D1")
        server.first.changed(place, place.messages[ts], server.first.dump(place.messages[ts], place))
        await settled(server)
        assert [(u.kind, u.text, u.message_id) for u in updates(life)] == [
            ("message", "helo", ts),
            ("edit", "hello", ts),
        ]


async def test_files_without_words_are_named() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        server.say("D1", "U1", "", subtype="file_share", files=[{"id": "F1"}])
        server.say("D1", "U1", "look at this", subtype="file_share", files=[{"id": "F2"}])
        await settled(server)
        assert [(u.text, u.unsupported) for u in updates(life)] == [("", "a file"), ("look at this", "")]


async def test_mentions_channels_and_links_can_be_read() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        raw = (
            "<@U2|Bob> in <#C9|general>, <!here>: <https://a.example/x|the page>, "
            "<https://b.example>, <mailto:c@d.e|c@d.e> &lt;b&gt;"
        )
        server.channel("D1", "U1")
        event = {"type": "message", "channel": "D1", "user": "U1", "ts": "1.1", "text": raw}
        server.first.tell(event)
        assert (await first_update(life)).text == (
            "@Bob in #general, @here: the page (https://a.example/x), https://b.example, c@d.e <b>"
        )


@pytest.mark.parametrize(
    ("said", "command", "args"),
    [
        ("clear", "clear", ""),
        ("/clear", "clear", ""),
        ("CLEAR all", "clear", "all"),
        ("", "help", ""),
        ("/nonsense x", "nonsense", "x"),
        ("what is the time?", None, ""),
    ],
)
async def test_a_slash_command_and_its_private_answer(said: str, command: str | None, args: str) -> None:
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        server.channel("C1", "U1", "U2")
        server.first.command("C1", "U1", said)
        update = await first_update(life)
        assert (update.command, update.args, update.addressed) == (command, args, True)
        assert command is not None or update.text == said
        await adapter.post(update.chat, "for you alone", key="k", via=update.via)
        assert server.first.whispers("C1", "U1") == ["for you alone"]
        assert server.texts("C1") == []


async def test_a_private_answer_that_grows_is_sent_once_when_it_is_whole() -> None:
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        server.channel("C1", "U1")
        server.first.command("C1", "U1", "what is the time?")
        update = await first_update(life)
        message = await adapter.post(update.chat, "It", key="k", via=update.via, more=True)
        await adapter.edit(update.chat, message, "It is", final=False)
        for _ in range(2):
            await adapter.edit(update.chat, message, "It is late.", final=True)
        assert server.first.whispers("C1", "U1") == ["It is late."]


async def test_a_private_answer_after_half_an_hour_is_still_private() -> None:
    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        server.channel("C1", "U1")
        server.first.command("C1", "U1", "clear")
        update = await first_update(life)
        server.expire_answers()
        await adapter.post(update.chat, "late", key="k", via=update.via)
        assert server.first.whispers("C1", "U1") == ["late"]
        _, user, _, url = update.via.split(":", 3)
        await adapter.post(update.chat, "later", key="l", via=f"reply:{user}:1:{url}")
        assert server.first.whispers("C1", "U1") == ["late", "later"]
        server.fault("chat.postEphemeral", fake.refusal("not_in_channel"))
        await adapter.post(update.chat, "last", key="m", via=f"reply:{user}:1:{url}")
        assert server.first.direct("U1").texts() == ["last"]


async def test_a_command_can_be_written_as_words_in_a_direct_message() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        for text in ("/clear now", "boswell clear", "/boswell clear now", "clear", "boswell is a dog"):
            server.say("D1", "U1", text)
        await settled(server)
        assert [(u.command, u.args) for u in updates(life)] == [
            ("clear", "now"),
            ("clear", ""),
            ("clear", "now"),
            (None, ""),
            (None, ""),
        ]


async def test_a_pressed_button_is_the_command_of_who_pressed_it() -> None:
    from adapters.base import Button

    async with fake.SlackServer() as server, connected(server) as (adapter, life):
        server.channel("C1", "U1", "U2")
        server.say("C1", "U1", "@boswell hello")
        update = await first_update(life)
        ts = await adapter.post(update.chat, "Working", key="k", buttons=[Button("Stop", "stop 12")])
        server.first.press("C1", "U2", ts, "Stop")
        await life.until(lambda: any(row.update and row.update.command for row in life.rows))
        pressed = next(row.update for row in life.rows if row.update and row.update.command)
        assert (pressed.command, pressed.args, pressed.person.id) == ("stop", "12", "slack-T1-U2")
        assert pressed.chat.key == update.chat.key
        await adapter.post(pressed.chat, "Only who asked can stop it", key="l", via=pressed.via)
        assert server.first.whispers("C1", "U2") == ["Only who asked can stop it"]
        await adapter.edit(update.chat, ts, "Done", final=True)
        assert server.texts("C1") == ["Done"]
        assert server.channel("C1").messages[ts].buttons == []


async def test_being_removed_from_a_channel_is_told() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        server.channel("C1", "U1")
        server.first.remove_bot("C1")
        update = await first_update(life)
        assert (update.kind, update.chat.id) == ("left", "T1-C1")


async def test_what_was_said_while_nobody_listened_is_handed_in_with_the_keys_that_it_has() -> None:
    state = NoState()
    async with fake.SlackServer() as server:
        server.channel("C1", "U1")
        server.deliveries.hold = False
        async with connected(server, state) as (adapter, life):
            server.say("D1", "U1", "one")
            ts = server.say("C1", "U1", "@boswell hello")
            await settled(server)
            for row in life.rows:
                await state.set(row.marks)
                assert row.update is not None
            await adapter.post(updates(life)[1].chat, "Hello", key="k")
            heard = {row.key for row in life.rows}
        server.first.write("D1", "U1", "two")
        server.first.write("D1", "U1", "three")
        server.first.write("C1", "U1", "in the thread", ts)
        server.first.write("C1", "U1", "beside it")
        async with connected(server, state) as (_, later):
            await later.until(lambda: len(later.rows) == 3)
            assert sorted(later.texts) == ["in the thread", "three", "two"]
            assert [text for text in later.texts if text != "in the thread"] == ["two", "three"]
            assert all(u.addressed for u in updates(later))
            assert not heard & {row.key for row in later.rows}


async def test_a_refreshed_connection_loses_nothing() -> None:
    async with fake.SlackServer() as server, connected(server) as (_, life):
        for number in range(20):
            server.say("D1", "U1", f"m{number}")
            if number % 7 == 3:
                await server.deliveries.refresh()
            if number == 11:
                server.deliveries.drop_sockets()
        await settled(server)
        assert [u.text for u in updates(life)] == [f"m{number}" for number in range(20)]
        assert server.deliveries.connections >= 4


async def test_nothing_is_confirmed_before_it_is_stored() -> None:
    async with fake.SlackServer() as server:
        adapter = Slack(settings(server), MENU, NoState(), TIMING)
        storing, stored = asyncio.Event(), asyncio.Event()

        async def sink(_: Sequence[Received]) -> None:
            storing.set()
            await stored.wait()

        run = asyncio.create_task(adapter.run(sink, Life()))
        server.say("D1", "U1", "precious")
        async with asyncio.timeout(5):
            await storing.wait()
        assert server.deliveries.waiting
        stored.set()
        await settled(server)
        run.cancel()
        await asyncio.wait([run])
        await adapter.close()


async def test_names_that_can_not_be_had_hold_nothing_up() -> None:
    async with fake.SlackServer() as server:
        never = asyncio.Event()
        server.fault("users.info", fake.held(never))
        adapter = Slack(settings(server), MENU, NoState(), replace(TIMING, names=0.01))
        life = Life()
        run = asyncio.create_task(adapter.run(life.sink, life))
        server.say("D1", "U1", "hello")
        assert (await first_update(life)).person.name == ""
        run.cancel()
        await asyncio.wait([run])
        await adapter.close()
        never.set()


async def test_a_new_thread_of_a_direct_message_gets_a_title_and_an_opened_one_prompts() -> None:
    async with fake.SlackServer() as server, connected(server):
        root = server.say("D1", "U1", "hello")
        server.say("D1", "U1", "about the garden", thread=root)
        place = server.channel("D1")
        await server.wait_for(lambda _: place.titles)
        assert place.titles == {root: "about the garden"}
        opened = server.first.open_home("U1")
        await server.wait_for(lambda _: opened.prompts)


async def test_what_was_missed_is_fetched_by_the_next_process_if_this_one_dies_over_it() -> None:
    state, never = NoState(), asyncio.Event()
    async with fake.SlackServer() as server:
        server.deliveries.hold = False
        async with connected(server, state) as (_, life):
            server.say("D1", "U1", "one")
            await settled(server)
            await state.set(life.rows[0].marks)
        server.first.write("D1", "U1", "two")
        server.fault("conversations.history", fake.held(never))
        async with connected(server, state) as (_, life):
            await server.wait_for(lambda s: s.calls["conversations.history"] == 1)
            server.say("D1", "U1", "three")
            await settled(server)
            for row in life.rows:
                await state.set(row.marks)
        async with connected(server, state) as (_, later):
            await later.until(lambda: len(later.rows) == 2)
            assert later.texts == ["two", "three"]
        never.set()


async def test_the_oldest_threads_are_forgotten_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.rooms.MOST_THREADS", 5)
    monkeypatch.setattr("adapters.slack.rooms.SPARE", 2)
    state = NoState()
    rooms = Rooms(state)
    for number in range(20):
        await rooms.joined(chat("C1", f"{number:02}.1"), f"{number:02}.1")
    kept = sorted(await state.get("thread:"))
    assert 5 <= len(kept) <= 7
    assert kept[-1] == "thread:T1:C1:19.1"
    assert [rooms.takes_part("T1", "C1", f"{n:02}.1") for n in (0, 19)] == [False, True]
