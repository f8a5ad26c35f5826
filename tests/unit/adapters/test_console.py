"""The console without a terminal: plain lines in, complete replies out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.base import Chat, ChatGone, Menu, NoState, Received, Update
from adapters.console import Console, create
from config.schema import ConsoleConfig

CHAT = Chat("console", "ada")


class App:
    """What stands behind the adapter: answers each update, and knows when nothing is owed."""

    def __init__(self, answer: Callable[[Update], Awaitable[None]] | None = None) -> None:
        self.updates: list[Update] = []
        self._answer = answer
        self._turns: set[asyncio.Task[None]] = set()

    async def sink(self, rows: Sequence[Received]) -> None:
        for row in rows:
            assert row.update is not None
            self.updates.append(row.update)
            if self._answer is not None:
                turn = asyncio.ensure_future(self._answer(row.update))
                self._turns.add(turn)
                turn.add_done_callback(self._turns.discard)

    async def drain(self) -> None:
        while self._turns:
            await asyncio.wait(self._turns)

    def up(self, detail: str = "") -> None: ...

    def down(self, reason: str) -> None: ...


class Pipes:
    """The console between two real pipes."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin: int | None = stdin
        self._stdout = stdout
        self.console = create(ConsoleConfig(user="ada"), Menu({}), NoState())

    def type(self, data: bytes) -> None:
        assert self._stdin is not None
        os.write(self._stdin, data)

    def end(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
        self._stdin = None

    def printed(self) -> str:
        return os.read(self._stdout, 65536).decode()

    async def run(self, app: App) -> None:
        self.console.drain = app.drain
        async with asyncio.timeout(10):
            await self.console.run(app.sink, app)


@asynccontextmanager
async def between(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pipes]:
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    with os.fdopen(read_in) as stdin, os.fdopen(write_out, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        pipes = Pipes(write_in, read_out)
        yield pipes
        pipes.end()
    os.close(read_out)


async def test_lines_become_updates_of_one_person(monkeypatch):
    async with between(monkeypatch) as pipes:
        pipes.type("Grüße\r\n\n  \n/clear now\nno newline at the end".encode())
        pipes.end()
        app = App()
        await pipes.run(app)
    assert [update.text for update in app.updates] == ["Grüße", "/clear now", "no newline at the end"]
    assert [update.command for update in app.updates] == [None, "clear", None]
    assert len({update.key for update in app.updates}) == 3
    for update in app.updates:
        assert (update.source, update.chat, update.person.id) == ("console:console-ada", CHAT, "console-ada")
        assert update.kind == "message"
        assert update.at > 0


async def test_keys_of_another_process_are_other_keys(monkeypatch):
    keys = set()
    for _ in range(2):
        async with between(monkeypatch) as pipes:
            pipes.type(b"hello\n")
            pipes.end()
            app = App()
            await pipes.run(app)
            keys |= {update.key for update in app.updates}
    assert len(keys) == 2


async def test_at_the_end_of_the_input_what_was_asked_is_answered_first(monkeypatch):
    asked = asyncio.Event()

    async def answer(update: Update) -> None:
        reply = await pipes.console.post(CHAT, "Once", key="1")
        asked.set()
        await released.wait()
        await pipes.console.edit(CHAT, reply, "Once upon", final=False)
        await pipes.console.edit(CHAT, reply, "Once upon a time.", final=True)

    released = asyncio.Event()
    async with between(monkeypatch) as pipes:
        pipes.type(b"tell me\n")
        pipes.end()
        running = asyncio.create_task(pipes.run(App(answer)))
        await asked.wait()
        assert not running.done()
        released.set()
        await running
        assert pipes.printed() == "Once upon a time.\n"


async def test_a_post_that_no_edit_completes_is_printed_when_nothing_is_owed(monkeypatch):
    async def answer(update: Update) -> None:
        await pipes.console.post(CHAT, f"You said {update.text}.", key="1")

    async with between(monkeypatch) as pipes:
        running = asyncio.create_task(pipes.run(App(answer)))
        for word in ("one", "two"):
            pipes.type(f"{word}\n".encode())
            printed = await asyncio.to_thread(pipes.printed)  # there before the input ends
            assert printed == f"You said {word}.\n"
        pipes.end()
        await running


async def test_a_line_waits_for_the_answer_to_the_one_before(monkeypatch):
    heard: list[str] = []

    async def answer(update: Update) -> None:
        heard.append(update.text)
        reply = await pipes.console.post(CHAT, "I", key="1")
        await asyncio.sleep(0)
        heard.append("answered")
        if update.command is None:
            await pipes.console.edit(CHAT, reply, f"I heard {update.text}.", final=True)

    async with between(monkeypatch) as pipes:
        pipes.type(b"one\n/clear\ntwo\n")
        pipes.end()
        await pipes.run(App(answer))
        assert heard == ["one", "answered", "/clear", "answered", "two", "answered"]
        assert pipes.printed() == "I heard one.\nI\nI heard two.\n"


async def test_stop_waits_for_nothing(monkeypatch):
    stopped = asyncio.Event()

    async def answer(update: Update) -> None:
        if update.command == "stop":
            stopped.set()
        await stopped.wait()

    async with between(monkeypatch) as pipes:
        pipes.type(b"tell me\n/stop\n")
        pipes.end()
        await pipes.run(App(answer))
        assert stopped.is_set()


async def test_without_a_drain_a_post_is_printed_in_the_end(monkeypatch):
    monkeypatch.setattr("adapters.console.SETTLE", 0.01)
    async with between(monkeypatch) as pipes:
        pipes.type(b"hello\n")
        pipes.end()
        await pipes.console.post(CHAT, "Hello.", key="1")
        app = App()
        await pipes.console.run(app.sink, app)
        assert pipes.printed() == "Hello.\n"


async def test_a_reply_that_was_taken_for_whole_goes_on_where_it_stopped(monkeypatch):
    async with between(monkeypatch) as pipes:
        reply = await pipes.console.post(CHAT, "Once.", key="1")
        await pipes.console.close()
        await pipes.console.edit(CHAT, reply, "Once. Upon a time.", final=True)
        assert pipes.printed() == "Once.\n Upon a time.\n"


async def test_an_edit_of_an_earlier_process_is_a_new_message_and_repeating_it_is_harmless(monkeypatch):
    async with between(monkeypatch) as pipes:
        for _ in range(2):
            await pipes.console.edit(CHAT, "17-4", "Late, but here.", final=True)
        await pipes.console.edit(CHAT, "17-5", "End.", final=True)
        assert pipes.printed() == "Late, but here.\nEnd.\n"


@pytest.mark.parametrize("word", ["/exit", " /quit ", "/Exit now"])
async def test_leaving_in_words_ends_the_run(monkeypatch, word):
    async with between(monkeypatch) as pipes:
        pipes.type(f"hello\n{word}\nnever read\n".encode())
        app = App()
        await pipes.run(app)
        assert [update.text for update in app.updates] == ["hello"]


async def test_a_word_of_a_script_does_not_leave(monkeypatch):
    async with between(monkeypatch) as pipes:
        pipes.type(b"exit\n/exiting\n")
        pipes.end()
        app = App()
        await pipes.run(app)
        assert [update.text for update in app.updates] == ["exit", "/exiting"]


async def test_only_text_goes_out(monkeypatch):
    async with between(monkeypatch) as pipes:
        evil = "a\x1b[31mb\x07\x00\x9bc\r\nd\te \ud800\u202e שלום"
        await pipes.console.edit(CHAT, "1", evil, final=True)
        await pipes.console.typing(CHAT)
        assert pipes.printed() == "abc\nd\te \N{REPLACEMENT CHARACTER} שלום\n"


async def test_broken_utf_8_is_read_all_the_same(monkeypatch):
    async with between(monkeypatch) as pipes:
        pipes.type(b"a\xff\xed\xa0\x80b\0\n")
        pipes.end()
        app = App()
        await pipes.run(app)
        (update,) = app.updates
        assert update.text.startswith("a\N{REPLACEMENT CHARACTER}")
        update.text.encode()
        assert "\0" not in update.text


async def test_a_huge_line_arrives_whole(monkeypatch, tmp_path):
    (tmp_path / "input").write_text("x" * 300_000 + "\nend")
    with (tmp_path / "input").open() as stdin, (tmp_path / "output").open("w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        app = App()
        await create(ConsoleConfig(user="ada"), Menu({}), NoState()).run(app.sink, app)
        monkeypatch.undo()
    assert [len(update.text) for update in app.updates] == [300_000, 3]


async def test_a_reader_who_went_away_is_a_chat_that_is_gone(monkeypatch):
    read_out, write_out = os.pipe()
    os.close(read_out)
    with os.fdopen(write_out, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        console = create(ConsoleConfig(user="ada"), Menu({}), NoState())
        with pytest.raises(ChatGone, match="can not be written to"):
            await console.edit(CHAT, "1", "Anyone?", final=True)
        monkeypatch.undo()


async def test_nothing_of_the_input_is_lost_when_a_run_is_cancelled(monkeypatch):
    async with between(monkeypatch) as pipes:
        running = asyncio.create_task(pipes.run(App()))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        pipes.type(b"hello\n")
        pipes.end()
        app = App()
        await pipes.run(app)
        assert [update.text for update in app.updates] == ["hello"]


@pytest.mark.parametrize(("user", "person"), [("ada", "console-ada"), ("../Ada", "console-%2e%2e%2f%41da")])
def test_the_person_is_the_configured_user(user, person):
    assert Console(user, create(ConsoleConfig(), Menu({}), NoState())._screen)._person.id == person


PROGRAM = """
import asyncio, sys
from adapters.base import Chat, Menu, NoState
from adapters.console import create
from config.schema import ConsoleConfig

class Health:
    def up(self, detail=""): ...
    def down(self, reason): ...

async def sink(rows):
    await console.post(Chat("console", "ada"), f"{len(rows)} received", key="1")

async def main():
    global console
    console = create(ConsoleConfig(user="ada"), Menu({}), NoState())
    running = asyncio.create_task(console.run(sink, Health()))
    SCENE
    await console.close()
    assert not {"prompt_toolkit", "rich"} & set(sys.modules), "imported where there is no terminal"

asyncio.run(main())
"""
ROOT = Path(__file__).parents[3]


def start(scene: str, stdin: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM.replace("SCENE", scene)]
    streams = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **streams)


def test_dev_null_is_an_input_that_ends_at_once():
    output, errors = start("await running", subprocess.DEVNULL).communicate(timeout=30)
    assert (output, errors) == ("", "")


def test_a_read_that_never_returns_does_not_hinder_the_end_of_the_program():
    with start(
        "await asyncio.sleep(0.05); running.cancel(); await asyncio.wait([running])", subprocess.PIPE
    ) as program:
        assert program.wait(timeout=30) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""
