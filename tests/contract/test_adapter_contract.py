"""What every adapter promises, whatever its platform. A `World` is a platform with people in it, and the adapter under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from pydantic import SecretStr

from adapters.base import (
    Adapter,
    AdapterError,
    Chat,
    ChatGone,
    ChatMigrated,
    Menu,
    MessageGone,
    Person,
    RateLimited,
    Received,
    Refused,
    Unavailable,
    Update,
)
from adapters.console import Console, Reply
from adapters.telegram import Telegram, Timing
from config.schema import TelegramConfig
from tests.contract.discord_world import discord_world
from tests.contract.slack_world import slack_world
from tests.fakes import telegram_server as telegram
from tests.fakes.life import Life, running
from tests.fakes.memory_adapter import MemoryAdapter

PRIVATE = "1001"
GROUP = "-500"


class World(Protocol):
    """One platform. Chat `PRIVATE` is Anna's, `GROUP` is a group of hers."""

    adapter: Adapter
    person: str  # Anna's user id
    lacks: frozenset[
        str
    ]  # what its platform does not have: groups, faults, redelivery, gone messages, migration

    def say(self, text: str, chat: str = PRIVATE) -> None:
        """Anna writes."""

    def texts(self, chat: str = PRIVATE) -> list[str]:
        """What the adapter's messages in the chat read now."""

    def files(self) -> list[tuple[str, bytes, str]]:
        """The files that Anna was sent: name, content, and the text beside each."""

    def trouble(self, verb: str, error: AdapterError) -> None:
        """The platform does, at the next call of `verb` (post, edit, send_file, run), what the adapter must tell as `error`."""

    def chat(self, native: str = PRIVATE) -> Chat: ...


class MemoryWorld:
    person = "memory-1001"
    lacks: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.adapter = MemoryAdapter()

    def say(self, text: str, chat: str = PRIVATE) -> None:
        self.adapter.say(self.chat(chat), Person("memory-1001", "Anna"), text)

    def texts(self, chat: str = PRIVATE) -> list[str]:
        return self.adapter.texts(chat)

    def files(self) -> list[tuple[str, bytes, str]]:
        texts = self.adapter.messages.get(PRIVATE, {})
        return [(*file, texts[number][-1]) for number, file in self.adapter.files.items()]

    def trouble(self, verb: str, error: AdapterError) -> None:
        self.adapter.trouble.append((verb, error))
        self.adapter._note()

    def chat(self, native: str = PRIVATE) -> Chat:
        return Chat("memory", native, "private" if native == PRIVATE else "group")


METHODS = {
    "post": "sendMessage",
    "edit": "editMessageText",
    "send_file": "sendDocument",
    "run": "getUpdates",
}


class TelegramWorld:
    person = "telegram-1001"
    lacks: frozenset[str] = frozenset()

    def __init__(self, server: telegram.TelegramServer) -> None:
        self.server = server
        settings = TelegramConfig(token=SecretStr(telegram.TOKEN), base_url=server.url)
        timing = Timing(poll=20, call=5, retry_first=0.001, retry_most=0.01, conflict=0.01)
        self.adapter = Telegram(settings, Menu({"clear": "Begin anew"}), timing)
        for native in (PRIVATE, GROUP):
            server.chat(int(native))

    def say(self, text: str, chat: str = PRIVATE) -> None:
        self.server.say(int(chat), 1001, text, name="Anna")

    def texts(self, chat: str = PRIVATE) -> list[str]:
        return self.server.chat(int(chat)).texts

    def files(self) -> list[tuple[str, bytes, str]]:
        sent = self.server.chat(int(PRIVATE)).messages.values()
        return [(m.file.name, m.file.data, m.text) for m in sent if m.file is not None]

    def trouble(self, verb: str, error: AdapterError) -> None:
        match error:
            case RateLimited():
                fault = telegram.too_many(int(error.retry_after))
            case ChatMigrated():
                fault = telegram.migrated(int(error.new_id))
            case ChatGone():
                fault = telegram.forbidden()
            case Unavailable(ambiguous=True):
                fault = telegram.lost_answer()
            case _:
                fault = telegram.bad_gateway()
        self.server.fault(METHODS[verb], fault)

    def chat(self, native: str = PRIVATE) -> Chat:
        return Chat("telegram", native, "private" if native == PRIVATE else "group")


class Paper:
    """A screen that keeps what is shown on it."""

    waits = False

    def __init__(self) -> None:
        self.typed: asyncio.Queue[str] = asyncio.Queue()
        self.replies: list[Reply] = []

    async def entries(self, banner: str, interrupt: Callable[[], bool]) -> AsyncGenerator[str, None]:
        while True:
            yield await self.typed.get()

    async def show(self, reply: Reply) -> None:
        if reply not in self.replies:
            self.replies.append(reply)
        reply.printed = len(reply.text)

    def note(self, text: str) -> None:
        pass

    def thinking(self, seconds: float) -> None:
        pass


class ConsoleWorld:
    person = "console-1001"
    # One person at one terminal: it has no groups, never fails, can not be asked again for what was typed, and a message
    # that it does not know (an earlier process printed it) is printed anew.
    lacks = frozenset({"groups", "faults", "redelivery", "gone messages", "migration"})

    def __init__(self) -> None:
        self.paper = Paper()
        self.adapter = Console("1001", self.paper)

    def say(self, text: str, chat: str = PRIVATE) -> None:
        self.paper.typed.put_nowait(text)

    def texts(self, chat: str = PRIVATE) -> list[str]:
        return [reply.text for reply in self.paper.replies]

    def files(self) -> list[tuple[str, bytes, str]]:
        said = [text.rpartition("\n\n") for text in self.texts()]
        paths = [(Path(path.strip("`")), text) for text, _, path in said if path]
        return [(path.name, path.read_bytes(), text) for path, text in paths]

    def trouble(self, verb: str, error: AdapterError) -> None:
        raise NotImplementedError("it lacks faults")

    def chat(self, native: str = PRIVATE) -> Chat:
        return Chat("console", native)


def needs(world: World, *what: str) -> None:
    """Skip a claim about something that this platform does not have."""
    if missing := world.lacks & set(what):
        pytest.skip(f"{world.adapter.name} has no {', '.join(sorted(missing))}")


@pytest.fixture(params=["memory", "telegram", "console", "slack", "slack over http", "discord"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    if request.param == "console":
        yield ConsoleWorld()
        return
    if request.param.startswith("slack"):
        async with slack_world("http" if "http" in request.param else "socket") as world:
            yield world
        return
    if request.param == "discord":
        async with discord_world() as world:
            yield world
        return
    async with telegram.TelegramServer() as server:
        world = TelegramWorld(server)
        yield world
        await world.adapter.close()


async def test_messages_arrive_in_order_and_whole(world: World) -> None:
    texts = ["hello", "grüße 👋\u200d", "line\nbreak", "x" * 4000]
    for text in texts:
        world.say(text)
    async with running(world.adapter) as life:
        await life.until(lambda: len(life.rows) == 4)
    assert life.texts == texts
    update = life.rows[0].update
    assert update is not None
    assert update.chat.id == world.chat().id
    assert update.chat.kind == "private"
    assert update.person.id == world.person
    assert update.person.name == ("Anna" if "groups" not in world.lacks else "1001")
    assert update.message_id
    assert len({row.key for row in life.rows}) == 4


async def test_an_update_survives_being_stored(world: World) -> None:
    needs(world, "groups")
    world.say("/clear all", GROUP)
    async with running(world.adapter) as life:
        await life.until(lambda: bool(life.rows))
    update = life.rows[0].update
    assert update is not None
    assert (update.command, update.args, update.chat.kind) == ("clear", "all", "group")
    assert Update.from_json(update.to_json()) == update


async def test_what_was_not_stored_comes_again_with_the_same_key(world: World) -> None:
    needs(world, "redelivery")
    world.say("precious")
    seen: list[str] = []

    class FullDiskError(Exception):
        pass

    async def broken(rows: Sequence[Received]) -> None:
        seen.extend(row.key for row in rows)
        if rows:
            raise FullDiskError

    with pytest.raises(FullDiskError):
        await asyncio.wait_for(world.adapter.run(broken, Life()), 5)
    async with running(world.adapter) as life:
        await life.until(lambda: bool(life.rows))
    assert [row.key for row in life.rows] == seen


async def test_what_was_stored_does_not_come_again_to_a_later_run(world: World) -> None:
    world.say("one")
    async with running(world.adapter) as life:
        await life.until(lambda: life.texts == ["one"])
        world.say("two")  # asked for only after `one` was confirmed
        await life.until(lambda: "two" in life.texts)
    async with running(world.adapter) as later:
        world.say("three")
        await later.until(lambda: "three" in later.texts)
    assert "one" not in later.texts


async def test_run_ends_at_once_when_cancelled_and_may_be_called_again(world: World) -> None:
    for number in range(3):
        async with running(world.adapter) as life:
            world.say(f"m{number}")
            await life.until(lambda n=number: f"m{n}" in life.texts)


async def test_an_outage_is_told_and_mended(world: World) -> None:
    needs(world, "faults")
    async with running(world.adapter) as life:
        world.trouble("run", Unavailable("away"))
        world.trouble("run", Unavailable("away"))
        world.say("first")  # ends a poll that may be waiting, so that the next one meets the trouble
        await life.until(lambda: [state for state, _ in life.states].count("down") == 2)
        await life.until(lambda: life.states[-1][0] == "up")
        world.say("after")
        await life.until(lambda: "after" in life.texts)
    assert all(detail for _, detail in life.states)


async def test_post_returns_the_id_by_which_it_is_edited(world: World) -> None:
    async with running(world.adapter):
        chat = world.chat()
        first = await world.adapter.post(chat, "…", key="a")
        second = await world.adapter.post(chat, "other", key="b")
        assert first != second
        await world.adapter.edit(chat, first, "Hello", final=False)
        await world.adapter.edit(chat, first, "Hello, Anna.", final=True)
        assert world.texts() == ["Hello, Anna.", "other"]


async def test_an_edit_may_be_repeated(world: World) -> None:
    async with running(world.adapter):
        message = await world.adapter.post(world.chat(), "…", key="a")
        for _ in range(3):
            await world.adapter.edit(world.chat(), message, "the same", final=True)
        assert world.texts() == ["the same"]


HOSTILE = (
    "use <b>bold</b> & List<int>",
    "[x](y) and [j](javascript:alert(1))",
    "```unclosed\ncode",
    "**never closed",
    "@everyone @here",
    "\u202eRTL \u200bzero\u200dwidth",
    "lone \ud83d surrogate and \0 nul",
    "&amp; &lt;b&gt;",
    "_" * 100,
    "| a | b |\n|---|---|\n| 1 | 2 |",
)


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_reaches_the_chat(world: World, text: str) -> None:
    async with running(world.adapter):
        message = await world.adapter.post(world.chat(), text, key="a")
        await world.adapter.edit(world.chat(), message, text + "\n\nend", final=True)
        (shown,) = world.texts()
        assert shown.endswith("end")


async def test_the_longest_text_passes_and_a_longer_one_is_refused(world: World) -> None:
    limits = world.adapter.limits
    if limits.max_chars > 100_000:
        pytest.skip("no practical limit")
    async with running(world.adapter):
        await world.adapter.post(world.chat(), "x" * limits.max_chars, key="a")
        wide = "😀" * (limits.max_chars // limits.length("😀"))
        message = await world.adapter.post(world.chat(), wide, key="b")
        for text in ("x" * (limits.max_chars + 1), wide + "😀"):
            with pytest.raises(Refused):
                await world.adapter.post(world.chat(), text, key="c")
            with pytest.raises(Refused):
                await world.adapter.edit(world.chat(), message, text, final=True)
        assert len(world.texts()) == 2


@pytest.mark.parametrize("text", ["", "  \n\t"])
async def test_nothing_is_refused(world: World, text: str) -> None:
    async with running(world.adapter):
        with pytest.raises(Refused):
            await world.adapter.post(world.chat(), text, key="a")
        assert world.texts() == []


async def test_rate_limit_tells_how_long_to_wait(world: World) -> None:
    needs(world, "faults")
    async with running(world.adapter):
        for verb in ("post", "edit"):
            world.trouble(verb, RateLimited("slow down", 7))
        with pytest.raises(RateLimited) as caught:
            await world.adapter.post(world.chat(), "hi", key="a")
        assert caught.value.retry_after == 7
        message = await world.adapter.post(world.chat(), "hi", key="a")
        with pytest.raises(RateLimited):
            await world.adapter.edit(world.chat(), message, "ho", final=False)
        assert world.texts() == ["hi"]


async def test_a_lost_answer_is_ambiguous_and_an_edit_mends_it(world: World) -> None:
    needs(world, "faults")
    async with running(world.adapter):
        world.trouble("post", Unavailable("lost", ambiguous=True))
        with pytest.raises(Unavailable) as caught:
            await world.adapter.post(world.chat(), "…", key="a")
        assert caught.value.ambiguous
        assert world.texts() == ["…"]
        message = await world.adapter.post(world.chat(), "…", key="a")
        world.trouble("edit", Unavailable("lost", ambiguous=True))
        with pytest.raises(Unavailable):
            await world.adapter.edit(world.chat(), message, "done", final=True)
        await world.adapter.edit(world.chat(), message, "done", final=True)
        assert world.texts()[-1] == "done"


async def test_a_chat_that_is_gone_is_told(world: World) -> None:
    needs(world, "faults")
    async with running(world.adapter):
        world.trouble("post", ChatGone("blocked"))
        with pytest.raises(ChatGone):
            await world.adapter.post(world.chat(), "hi", key="a")


async def test_a_chat_that_moved_is_told(world: World) -> None:
    needs(world, "faults", "migration")
    async with running(world.adapter):
        world.trouble("post", ChatMigrated("moved", "-100500"))
        with pytest.raises(ChatMigrated) as caught:
            await world.adapter.post(world.chat(GROUP), "hi", key="a")
        assert caught.value.new_id == "-100500"


async def test_a_message_that_is_gone_is_told(world: World) -> None:
    needs(world, "gone messages")
    async with running(world.adapter):
        with pytest.raises(MessageGone):
            await world.adapter.edit(world.chat(), "999", "hi", final=True)


async def test_verbs_before_run_work_or_are_unavailable(world: World, file: Path) -> None:
    calls = (
        world.adapter.post(world.chat(), "hi", key="a"),
        world.adapter.typing(world.chat()),
        world.adapter.send_file(world.chat(), file, "Here.", key="b"),
    )
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert not isinstance(outcome, BaseException) or isinstance(outcome, Unavailable)


async def test_verbs_work_after_run_was_cancelled_so_that_a_drain_can_finish(world: World) -> None:
    async with running(world.adapter):
        message = await world.adapter.post(world.chat(), "…", key="a")
    await world.adapter.edit(world.chat(), message, "the end", final=True)
    await world.adapter.typing(world.chat())
    assert world.texts() == ["the end"]


async def test_many_chats_are_written_to_at_once(world: World) -> None:
    needs(world, "groups")
    async with running(world.adapter):
        posts = [
            world.adapter.post(world.chat((PRIVATE, GROUP)[n % 2]), f"m{n}", key=str(n)) for n in range(40)
        ]
        ids = await asyncio.gather(*posts)
        assert len(set(ids[::2])) == len(set(ids[1::2])) == 20
        assert sorted(world.texts() + world.texts(GROUP)) == sorted(f"m{n}" for n in range(40))


async def test_find_knows_nothing_where_resend_is_not_lookup(world: World) -> None:
    if world.adapter.limits.resend == "lookup":
        pytest.skip("this platform can look its messages up")
    async with running(world.adapter):
        await world.adapter.post(world.chat(), "hi", key="a")
        assert await world.adapter.find(world.chat(), "a") is None


async def test_find_tells_whether_a_message_stands_where_resend_is_lookup(world: World) -> None:
    if world.adapter.limits.resend != "lookup":
        pytest.skip("this platform can not look its messages up")
    async with running(world.adapter):
        assert await world.adapter.find(world.chat(), "a") is None
        posted = await world.adapter.post(world.chat(), "hi", key="a")
        await world.adapter.post(world.chat(), "other", key="b")
        assert await world.adapter.find(world.chat(), "a") == posted
        world.trouble("post", Unavailable("lost", ambiguous=True))
        with pytest.raises(Unavailable):
            await world.adapter.post(world.chat(), "lost", key="c")
        found = await world.adapter.find(world.chat(), "c")
        assert found
        await world.adapter.edit(world.chat(), found, "found", final=True)
        assert world.texts() == ["hi", "other", "found"]


DATA = bytes(range(256)) * 5_000  # more than one piece of a stream, and no text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "what-is-kept.zip"
    path.write_bytes(DATA)
    return path


async def test_a_file_reaches_its_person_whole_with_its_text(world: World, file: Path) -> None:
    async with running(world.adapter):
        message = await world.adapter.send_file(world.chat(), file, "Here it is.", key="a")
        assert message
        assert world.files() == [("what-is-kept.zip", DATA, "Here it is.")]


async def test_a_file_takes_the_place_of_its_placeholder_however_often(world: World, file: Path) -> None:
    if world.adapter.limits.resend != "stub":
        pytest.skip("no placeholders here")
    async with running(world.adapter):
        stub = await world.adapter.post(world.chat(), "…", key="a")
        for _ in range(3):
            assert await world.adapter.send_file(world.chat(), file, "Here.", key="a", instead=stub) == stub
        assert world.texts() == ["Here."]
        assert world.files() == [("what-is-kept.zip", DATA, "Here.")]
        with pytest.raises(MessageGone):
            await world.adapter.send_file(world.chat(), file, "Here.", key="b", instead="999")


async def test_a_file_whose_answer_was_lost_does_not_stand_twice(world: World, file: Path) -> None:
    needs(world, "faults")
    if world.adapter.limits.resend not in ("key", "lookup"):
        pytest.skip("here a placeholder does it")
    async with running(world.adapter):
        world.trouble("send_file", Unavailable("lost", ambiguous=True))
        with pytest.raises(Unavailable) as caught:
            await world.adapter.send_file(world.chat(), file, "Here.", key="a")
        assert caught.value.ambiguous
        if world.adapter.limits.resend == "lookup":
            assert await world.adapter.find(world.chat(), "a")
            assert await world.adapter.find(world.chat(), "b") is None
        else:
            await world.adapter.send_file(world.chat(), file, "Here.", key="a")
        assert world.files() == [("what-is-kept.zip", DATA, "Here.")]


async def test_a_file_never_goes_openly_into_a_group(world: World, file: Path) -> None:
    needs(world, "groups")
    async with running(world.adapter):
        with pytest.raises(ChatGone):
            await world.adapter.send_file(world.chat(GROUP), file, "Here.", key="a")
        assert world.texts(GROUP) == []
        assert world.files() == []


async def test_a_file_that_is_too_large_is_refused_before_it_is_sent(world: World, file: Path) -> None:
    most = world.adapter.limits.max_file_bytes
    if most > 2**33:
        pytest.skip("no practical limit")
    assert most > 0
    with file.open("wb") as large:
        large.truncate(most + 1)
    async with running(world.adapter):
        with pytest.raises(Refused):
            await world.adapter.send_file(world.chat(), file, "Here.", key="a")
        file.unlink()
        with pytest.raises(Refused):
            await world.adapter.send_file(world.chat(), file, "Here.", key="b")
        assert world.files() == []


async def test_trouble_with_a_file_is_told_as_with_a_message(world: World, file: Path) -> None:
    needs(world, "faults")
    async with running(world.adapter):
        for error in (RateLimited("slow down", 7), ChatGone("blocked"), Unavailable("away")):
            world.trouble("send_file", error)
            with pytest.raises(type(error)) as caught:
                await world.adapter.send_file(world.chat(), file, "Here.", key="a")
            assert not isinstance(caught.value, RateLimited) or caught.value.retry_after == 7
        assert world.files() == []


async def test_check_finds_a_working_platform_in_order(world: World) -> None:
    findings = await world.adapter.check()
    assert findings
    assert all(finding.ok and finding.detail for finding in findings)


async def test_close_is_quick_and_may_be_repeated(world: World) -> None:
    async with running(world.adapter):
        await world.adapter.post(world.chat(), "hi", key="a")
    async with asyncio.timeout(1):
        await world.adapter.close()
        await world.adapter.close()
