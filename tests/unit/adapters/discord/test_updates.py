from __future__ import annotations

from typing import Any

import pytest

from adapters.base import Chat, Update, parse_command
from adapters.discord.updates import (
    Me,
    Where,
    channel_of,
    read_interaction,
    read_message,
    seconds_of,
    snowflake_at,
    starts_from_us,
)
from adapters.reading import Unreadable

ME = Me("80351", hears_all=True, commands=frozenset({"clear", "history"}))
DIRECT = Where("2001")
ROOM = Where("500", "700", title="Book club #general", role="99")
THREAD = Where("500", "700", "600", "Book club #talk")
NUMBER = "1573610690160099328"
ANNA = {"id": "1001", "username": "anna_1", "global_name": "Anna"}


def message(content: str = "", **more: Any) -> dict[str, Any]:
    given = {
        "id": NUMBER,
        "type": 0,
        "channel_id": "500",
        "author": ANNA,
        "content": content,
        "edited_timestamp": None,
    }
    return {
        **given,
        "mentions": [{"id": "80351", "username": "boswell"}] if "<@80351>" in content else [],
        **more,
    }


def read(content: str = "", where: Where = ROOM, me: Me = ME, *, edit: bool = False, **more: Any) -> Update:
    update = read_message(message(content, **more), where, me, edit=edit)
    assert update is not None
    return update


def test_a_direct_message_is_read_whole() -> None:
    update = read(" hello\n", DIRECT)
    assert (update.source, update.key, update.message_id) == ("discord:80351", NUMBER, NUMBER)
    assert update.chat == Chat("discord", "2001")
    assert (update.person.id, update.person.name) == ("discord-1001", "Anna")
    assert (update.text, update.kind, update.command) == ("hello", "message", None)
    assert update.at == seconds_of(NUMBER)


def test_a_place_in_a_server_is_server_channel_and_thread() -> None:
    assert read("hi").chat == Chat("discord", "700-500", "group", "Book club #general")
    assert read("hi", THREAD).chat == Chat("discord", "700-500", "group", "Book club #talk", "600")
    assert [channel_of(where.chat) for where in (DIRECT, ROOM, THREAD)] == ["2001", "500", "600"]
    assert read("hi").chat.place == "discord-700-500"


@pytest.mark.parametrize(
    "change",
    [
        {"author": {**ANNA, "bot": True}},
        {"author": {**ANNA, "system": True}},
        {"webhook_id": "5"},
        {"type": 6},  # somebody pinned a message
        {"type": 21},  # a thread repeats what it began from
    ],
)
def test_what_no_person_says_is_passed_over(change: dict[str, Any]) -> None:
    assert read_message(message("hello", **change), DIRECT, ME) is None


@pytest.mark.parametrize(
    ("content", "change"),
    [
        ("<@80351> hi", {}),
        ("<@!80351>, hi", {"mentions": [{"id": "80351"}]}),
        ("hi <@80351>", {}),
        ("<@&99> hi", {"mention_roles": ["99"]}),
        ("hi", {"referenced_message": message("I said", author={"id": "80351"})}),
    ],
)
def test_a_mention_of_us_our_role_or_a_reply_to_us_is_for_us(content: str, change: dict[str, Any]) -> None:
    update = read(content, **change)
    assert update.addressed
    assert update.text == "hi"


@pytest.mark.parametrize(
    ("content", "change"),
    [
        ("@everyone hi", {"mention_everyone": True}),
        ("<@&98> hi", {"mention_roles": ["98"]}),
        ("<@80352> hi", {"mentions": [{"id": "80352", "username": "other"}]}),
        ("hi", {"referenced_message": message("I said", author={"id": "80352"})}),
        ("hi", {"referenced_message": None}),
    ],
)
def test_what_names_others_or_everybody_is_not_for_us(content: str, change: dict[str, Any]) -> None:
    assert not read(content, **change).addressed


def test_a_thread_is_for_us_only_where_we_are_at_home() -> None:
    home = Where("500", "700", "600", ours=True)
    assert read("hi", home).addressed
    assert not read("hi", THREAD).addressed


def test_other_people_are_named_and_not_numbered() -> None:
    mentions = [
        {"id": "7", "username": "bert", "member": {"nick": "Bertie"}},
        {"id": "8", "username": "cleo"},
    ]
    assert read("ask <@7> or <@!8> or <@9>", mentions=mentions).text == "ask @Bertie or @cleo or <@9>"
    assert read("<@80351>").text == "@boswell"


def test_the_name_in_a_server_goes_before_that_of_the_account() -> None:
    assert read("hi", member={"nick": "Annie"}).person.name == "Annie"
    assert read("hi", member={"nick": None}).person.name == "Anna"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"attachments": [{"filename": "a.bin"}]}, "a file"),
        ({"attachments": [{"content_type": "image/png"}]}, "a picture"),
        ({"attachments": [{"content_type": "video/mp4"}]}, "a video"),
        ({"attachments": [{"content_type": "audio/ogg"}], "flags": 1 << 13}, "a voice message"),
        ({"sticker_items": [{}]}, "a sticker"),
        ({"poll": {"question": {}}}, "a poll"),
        ({"message_snapshots": [{}]}, "a forwarded message"),
    ],
)
def test_content_without_words_is_named(change: dict[str, Any], what: str) -> None:
    assert read("", DIRECT, **change).unsupported == what
    assert read("words", DIRECT, **change).unsupported == ""


def test_what_may_not_be_read_is_passed_over_unless_it_is_a_reply_to_us() -> None:
    deaf = Me("80351", hears_all=False)
    assert read_message(message(""), ROOM, deaf) is None
    assert read_message(message(""), Where("500", "700", "600", ours=True), deaf) is None
    reply = read("", me=deaf, referenced_message=message("", author={"id": "80351"}))
    assert reply.addressed
    assert reply.unsupported == "a message that does not mention me"


def test_an_edit_is_told_once_and_only_where_words_changed() -> None:
    stamp = "2026-01-31T12:00:00.500000+00:00"
    update = read("better", edit=True, edited_timestamp=stamp)
    assert (update.kind, update.key, update.message_id) == ("edit", f"edit:{NUMBER}:{stamp}", NUMBER)
    assert update.at == 1769860800.5
    assert read_message(message("same"), ROOM, ME, edit=True) is None


def test_a_typed_command_counts_in_private_or_where_it_can_only_be_ours() -> None:
    assert (read("/clear all", DIRECT).command, read("/clear all", DIRECT).args) == ("clear", "all")
    assert read("/shrug", DIRECT).command == "shrug"
    assert read("/clear").command == "clear"
    assert read("/shrug").command is None
    assert read("<@80351> /shrug").command == "shrug"


def interaction(**more: Any) -> dict[str, Any]:
    given = {"id": NUMBER, "application_id": "80350", "token": "tok.en:_-", "type": 2, "locale": "de"}
    return {**given, "channel_id": "500", "member": {"nick": "Annie", "user": ANNA}, **more}


def test_a_slash_command_is_a_command_to_us_with_a_way_to_answer() -> None:
    data = {"type": 1, "name": "history", "options": [{"name": "args", "type": 3, "value": "2026-01-31"}]}
    update = read_interaction(interaction(data=data), THREAD, ME, 1000.9)
    assert update is not None
    assert (update.command, update.args, update.text) == ("history", "2026-01-31", "/history 2026-01-31")
    assert (update.key, update.addressed, update.chat) == (NUMBER, True, THREAD.chat)
    assert (update.person.id, update.person.name, update.person.language) == ("discord-1001", "Annie", "de")
    assert update.via == "80350:tok.en:_-:1000:1001"


def test_a_pressed_button_is_the_command_in_its_id() -> None:
    pressed = interaction(type=3, data={"custom_id": "boswell:stop 12"}, member=None, user=ANNA)
    update = read_interaction(pressed, DIRECT, ME, 0)
    assert update is not None
    assert (update.command, update.args, update.person.name) == ("stop", "12", "Anna")


@pytest.mark.parametrize(
    "change",
    [
        {"type": 1},
        {"type": 3, "data": {"custom_id": "somebody else's"}},
        {"data": {"type": 2, "name": "a user's menu"}},
        {"type": 4, "data": {"name": "clear"}},
        {"data": None},
    ],
)
def test_other_interactions_are_passed_over(change: dict[str, Any]) -> None:
    assert read_interaction(interaction(**change), ROOM, ME, 0) is None


def test_a_thread_that_began_from_a_message_of_ours_is_known() -> None:
    assert starts_from_us({"type": 21, "referenced_message": {"author": {"id": "80351"}}}, ME)
    assert not starts_from_us({"type": 21, "referenced_message": {"author": {"id": "1"}}}, ME)
    assert not starts_from_us({"type": 0, "referenced_message": {"author": {"id": "80351"}}}, ME)


@pytest.mark.parametrize("change", [{"author": 5}, {"author": {}}, {"id": None}, {"content": 7}])
def test_what_can_not_be_read_names_the_part_and_never_its_content(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match=r"^(author|id|content) is (missing or )?no \w+$"):
        read_message({**message("secret words"), **change}, ROOM, ME)


def test_ids_tell_when_they_were_given_out() -> None:
    assert seconds_of("175928847299117063") == 1462015105.796
    assert seconds_of(snowflake_at(1462015105.796)) == 1462015105.796
    assert snowflake_at(0) == 0


def test_a_command_with_an_empty_name_is_none() -> None:
    assert parse_command("/") == (None, "")
    assert read_interaction(interaction(data={"name": ""}), ROOM, ME, 0) is None
