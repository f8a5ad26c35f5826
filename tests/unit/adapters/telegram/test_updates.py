"""Telegram's updates are read into the words of every platform, and nothing that comes can stop the reading."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Update
from adapters.telegram.updates import Me, read_batch
from tests.fakes.telegram_server import BOT, TelegramServer

ME = Me(4242, "boswell_bot", hears_all=False)
SERVER = TelegramServer()  # never started: it knows how messages look
GROUP = -100500


def read(update: dict[str, Any]) -> Update | None:
    rows = read_batch([{"update_id": 7, **update}], ME)
    assert all(row.update is not None for row in rows), rows
    return rows[0].update if rows else None


def said(text: str | None, chat: int = 1001, **options: Any) -> Update | None:
    return read({"message": SERVER.message(chat, 1001, text, **options)})


def test_a_forwarded_message_is_known_for_one_and_gives_no_command() -> None:
    plain = SERVER.message(1001, 1001, "/clear all")
    origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Mallory"}
    for message, relayed in ((plain, False), ({**plain, "forward_origin": origin}, True)):
        update = read({"message": message})
        assert update is not None
        assert (update.text, update.relayed) == ("/clear all", relayed)
        assert (update.command, update.args) == ((None, "") if relayed else ("clear", "all"))


def test_private_message() -> None:
    update = said("hello", name="Anna", language="de")
    assert update is not None
    assert (update.source, update.key, update.text) == ("telegram:4242", "7", "hello")
    assert (update.chat.key, update.chat.kind) == ("telegram:1001:", "private")
    assert (update.person.id, update.person.name, update.person.language) == ("telegram-1001", "Anna", "de")
    assert update.at > 0


@pytest.mark.parametrize(
    ("text", "addressed", "left"),
    [
        ("@boswell_bot, hi there", True, "hi there"),
        ("@Boswell_Bot hi", True, "hi"),
        ("😀 hi @boswell_bot", True, "😀 hi"),
        ("hi @boswell_bot and you", True, "hi @boswell_bot and you"),
        ("@boswell_bot", True, "@boswell_bot"),
        ("@boswell_bot hi @boswell_bot", True, "hi"),
        ("@boswell_bot_two hi", False, "@boswell_bot_two hi"),
        ("mail me@boswell_bot.example", False, "mail me@boswell_bot.example"),
        ("hi all", False, "hi all"),
    ],
)
def test_a_mention_addresses_the_bot_and_is_no_part_of_the_words(
    text: str, addressed: bool, left: str
) -> None:
    update = said(text, GROUP)
    assert update is not None
    assert (update.addressed, update.text, update.chat.kind) == (addressed, left, "group")


def test_a_mention_by_name_counts_units_as_telegram_does() -> None:
    entity = {"type": "text_mention", "offset": 3, "length": 7, "user": BOT}
    update = said("😀 Boswell hi", GROUP, entities=[entity])
    assert update is not None
    assert update.addressed
    assert update.text == "😀 Boswell hi"


@pytest.mark.parametrize(
    "entities",
    [[{"type": "mention"}], ["x"], "x", [{"type": "mention", "offset": -1, "length": 99}], [{"type": 1}]],
)
def test_broken_entities_do_not_cost_the_message(entities: Any) -> None:
    update = said("hello", GROUP, entities=entities)
    assert update is not None
    assert (update.text, update.addressed) == ("hello", False)


def test_a_reply_to_the_bot_addresses_it() -> None:
    ours = {"message_id": 55, "date": 1, "chat": {"id": GROUP, "type": "group"}, "from": BOT, "text": "x"}
    update = said("and then?", GROUP, reply_to=ours)
    assert update is not None
    assert (update.addressed, update.reply_to) == (True, "55")


def test_the_first_message_of_a_topic_is_nobodys_reply() -> None:
    root = {"message_id": 5, "date": 1, "from": BOT, "forum_topic_created": {"name": "T", "icon_color": 1}}
    update = said("hello", GROUP, thread=5, reply_to=root)
    assert update is not None
    assert (update.addressed, update.reply_to, update.chat.thread) == (False, "", "5")


def test_a_chain_of_replies_is_no_topic() -> None:
    update = said("hello", GROUP, message_thread_id=9)
    assert update is not None
    assert update.chat.thread == ""


def test_private_topics_are_threads() -> None:
    update = said("hello", 1001, thread=3)
    assert update is not None
    assert update.chat.key == "telegram:1001:3"


@pytest.mark.parametrize(
    ("text", "command", "args"),
    [
        ("/clear", "clear", ""),
        ("/CLEAR@Boswell_Bot", "clear", ""),
        ("/clear@other_bot", None, ""),
        ("/start abc-123", "start", "abc-123"),
        ("@boswell_bot /history 2026-11-01", "history", "2026-11-01"),
        ("so /clear", None, ""),
    ],
)
def test_commands(text: str, command: str | None, args: str) -> None:
    update = said(text, GROUP)
    assert update is not None
    assert (update.command, update.args) == (command, args)


def test_a_command_to_the_bot_by_name_addresses_it() -> None:
    update = said("/weather@boswell_bot Rome", GROUP)
    assert update is not None
    assert update.addressed


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"photo": []}, "a photo"),
        ({"voice": {}}, "a voice message"),
        ({"animation": {}, "document": {}}, "an animation"),
        ({"venue": {}, "location": {}}, "a place"),
    ],
)
def test_content_without_words_is_named(content: dict[str, Any], name: str) -> None:
    update = said(None, **content)
    assert update is not None
    assert (update.unsupported, update.text) == (name, "")


def test_a_caption_is_the_text_with_its_own_entities() -> None:
    mention = {"type": "mention", "offset": 0, "length": 12}
    update = said(None, GROUP, photo=[], caption="@boswell_bot what is it?", caption_entities=[mention])
    assert update is not None
    assert (update.text, update.addressed, update.unsupported) == ("what is it?", True, "")


def test_an_edit_is_told_with_its_own_time() -> None:
    message = {**SERVER.message(1001, 1001, "better"), "edit_date": 1_900_000_000}
    update = read({"edited_message": message})
    assert update is not None
    assert (update.kind, update.text, update.at) == ("edit", "better", 1_900_000_000.0)
    assert update.message_id == str(message["message_id"])


def test_both_tidings_of_a_migration_are_one_update() -> None:
    leaving = SERVER.message(-5, 1001, None, migrate_to_chat_id=-1005)
    arriving = SERVER.message(-1005, 1001, None, migrate_from_chat_id=-5)
    rows = read_batch([{"update_id": 1, "message": leaving}, {"update_id": 2, "message": arriving}], ME)
    first, second = (row.update for row in rows)
    assert first is not None
    assert second is not None
    assert rows[0].key == rows[1].key
    assert (first.kind, first.chat.id, first.text) == ("migrated", "-5", "-1005")
    assert (second.kind, second.chat.id, second.text) == ("migrated", "-5", "-1005")


@pytest.mark.parametrize(
    ("status", "kind"), [("kicked", "left"), ("left", "left"), ("member", None), ("hologram", None)]
)
def test_being_blocked_or_removed_is_told(status: str, kind: str | None) -> None:
    source = SERVER.message(1001, 1001, None)
    change = {
        "chat": source["chat"],
        "from": source["from"],
        "date": 5,
        "new_chat_member": {"status": status},
    }
    update = read({"my_chat_member": change})
    assert (update.kind if update else None) == kind


@pytest.mark.parametrize(
    "update",
    [
        {
            "message": SERVER.message(
                GROUP, 1, "hi", **{"from": {"id": 1, "is_bot": True, "first_name": "Bot"}}
            )
        },
        {"message": SERVER.message(GROUP, 1, "hi", sender_chat={"id": GROUP, "type": "supergroup"})},
        {"message": SERVER.message(GROUP, 1, None, new_chat_title="New")},
        {"message": SERVER.message(GROUP, 1, "hi", chat={"id": -1, "type": "channel", "title": "News"})},
        {"edited_message": SERVER.message(1, 1, None, location={"latitude": 1, "longitude": 1})},
        {"callback_query": {"id": "1"}},
        {},
    ],
)
def test_what_is_of_no_concern_is_left_out(update: dict[str, Any]) -> None:
    assert read(update) is None


@pytest.mark.parametrize(
    "update",
    [
        {"message": None},
        {"message": 5},
        {"message": {"message_id": 1, "date": 1}},
        {"message": {**SERVER.message(1, 1, "hi"), "chat": {"id": "x", "type": "private"}}},
        {"message": {**SERVER.message(1, 1, "hi"), "chat": {"id": 1, "type": "hologram"}}},
        {"message": {**SERVER.message(1, 1, "hi"), "from": {"id": None}}},
        {"message": {**SERVER.message(1, 1, "hi"), "date": 10**400}},
        {"message": {**SERVER.message(1, 1, "hi"), "text": ["hi"]}},
    ],
)
def test_what_can_not_be_read_is_kept_raw_and_its_neighbours_get_through(update: dict[str, Any]) -> None:
    good = {"update_id": 2, "message": SERVER.message(1, 1, "fine")}
    bad, fine = read_batch([{"update_id": 1, **update}, good], ME)
    assert bad.update is None
    assert bad.problem
    assert json.loads(bad.raw)["update_id"] == 1
    assert fine.update is not None


def test_surrogates_and_nul_are_replaced() -> None:
    update = said("a\ud83db\0c", name="\udc00Anna")
    assert update is not None
    assert update.text == "a\ufffdb\ufffdc"
    assert update.person.name == "\ufffdAnna"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_whatever_stands_in_a_field_one_row_comes_out_or_none(data: st.DataObject) -> None:
    message = SERVER.message(GROUP, 1, "@boswell_bot hi", reply_to={"message_id": 1, "from": BOT})
    target = data.draw(st.sampled_from([message, message["chat"], message["from"], message["entities"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
    assert len(read_batch([{"update_id": 1, "message": message}], ME)) <= 1
