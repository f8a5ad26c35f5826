"""The console adapter at a real pseudo-terminal, seen as a person sees it: by what stands on the screen."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.utils import get_cwidth

from adapters.base import Chat, Menu, NoState, Received, Update
from adapters.console import Console, create
from config.schema import ConsoleConfig
from tests.fakes.terminal import Screen
from tests.fakes.watched import Watched

CHAT = Chat("console", "ada")
MENU = Menu({"help": "Show what I understand", "history": "What we said", "stop": "Stop the answer"})


class Person(Watched):
    """Somebody at a terminal that the adapter runs on."""

    def __init__(self, master: int, width: int) -> None:
        super().__init__()
        self.screen = Screen(width)
        self.raw = ""
        self._master = master
        self.updates: asyncio.Queue[Update] = asyncio.Queue()
        self.owed = asyncio.Event()  # set: nothing is owed
        self.owed.set()
        self.console: Console
        self.running: asyncio.Task[None]

    def read(self) -> None:
        self.raw += self.screen.receive(os.read(self._master, 65536))
        self._note()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def sees(self, pattern: str) -> str:
        """The screen, once it shows the pattern."""
        try:
            await self.until(lambda: re.search(pattern, self.screen.text, re.MULTILINE))
        except TimeoutError:
            pytest.fail(f"{pattern!r} is not on the screen:\n{self.screen.text}")
        return self.screen.text

    async def sink(self, rows: Sequence[Received]) -> None:
        for row in rows:
            assert row.update is not None
            assert (row.source, row.key) == (row.update.source, row.update.key)
            self.owed.clear()
            self.updates.put_nowait(row.update)

    async def said(self) -> Update:
        async with asyncio.timeout(10):
            return await self.updates.get()

    async def drain(self) -> None:
        await self.owed.wait()

    def up(self, detail: str = "") -> None:
        assert detail == "as console-ada"

    def down(self, reason: str) -> None:
        raise AssertionError(reason)


@asynccontextmanager
async def at_terminal(monkeypatch: pytest.MonkeyPatch, width: int = 60) -> AsyncIterator[Person]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    modes = termios.tcgetattr(slave)
    loop = asyncio.get_running_loop()
    with (
        os.fdopen(slave, encoding="utf-8", closefd=False) as stdin,
        os.fdopen(slave, "w", encoding="utf-8", closefd=False) as stdout,
        create_app_session(),
    ):
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setenv("TERM", "xterm-256color")
        person = Person(master, width)
        person.console = create(ConsoleConfig(user="ada"), MENU, NoState())
        person.console.banner = "Boswell (demo model)"
        person.console.drain = person.drain
        loop.add_reader(master, person.read)
        try:
            person.running = asyncio.create_task(person.console.run(person.sink, person))
            await person.sees(r"^> ?$")
            yield person
        finally:
            person.running.cancel()
            await asyncio.wait([person.running])
            await person.console.close()
            loop.remove_reader(master)
            assert termios.tcgetattr(slave) == modes, "the terminal was not left as it was found"
    monkeypatch.undo()
    os.close(slave)
    os.close(master)


async def ended(person: Person) -> None:
    async with asyncio.timeout(10):
        await person.running


async def test_a_greeting_and_a_prompt_stand_at_the_start(monkeypatch):
    async with at_terminal(monkeypatch, 100) as ada:
        greeting, hint, _, prompt = ada.screen.text.split("\n")
        assert greeting == "Boswell (demo model)"
        assert "/help" in hint
        assert prompt.rstrip() == ">"


async def test_what_is_typed_arrives_as_an_update(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("Grüße 👋\r")
        first = await ada.said()
        ada.type("/history 2026-11-20\r")
        second = await ada.said()
        assert (first.text, first.command, first.chat, first.person.id) == (
            "Grüße 👋",
            None,
            CHAT,
            "console-ada",
        )
        assert first.source == "console:console-ada"
        assert (second.command, second.args) == ("history", "2026-11-20")
        assert first.key != second.key
        await ada.sees("^> Grüße 👋\n> /history 2026-11-20\n>")


async def test_a_reply_grows_above_the_prompt_and_then_stands_there_once(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("tell me\r")
        await ada.said()
        reply = await ada.console.post(CHAT, "Once **up", key="1")
        await ada.sees(r"> tell me\nOnce \*\*up\n\n>")
        await ada.console.edit(CHAT, reply, "Once **upon** a", final=False)
        await ada.sees(r"> tell me\nOnce \*\*upon\*\* a\n\n>")
        await ada.console.edit(CHAT, reply, "Once **upon** a time.\n\nThe", final=False)
        await ada.sees(r"> tell me\nOnce upon a time.\n\nThe\n\n>")
        await ada.console.edit(CHAT, reply, "Once **upon** a time.\n\nThe end.", final=True)
        await ada.console.edit(CHAT, reply, "Once **upon** a time.\n\nThe end.", final=True)
        ada.type("thanks\r")
        await ada.sees(r"> tell me\nOnce upon a time.\n\nThe end.\n\n> thanks\n>")


async def test_a_commands_answer_is_printed_in_one_piece_though_a_reply_is_growing(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("tell me\r")
        await ada.said()
        reply = await ada.console.post(CHAT, "One.\n\nTwo", key="1")
        ada.type("/help\r")
        await ada.said()
        await ada.console.post(CHAT, "A list:\n\n1. first\n\n2. last", key="2")
        await ada.console.edit(CHAT, reply, "One.\n\nTwo.\n\nThree", final=False)
        await ada.console.edit(CHAT, reply, "One.\n\nTwo.\n\nThree.", final=True)
        shown = await ada.sees("Three\\.\n")
        assert shown.index("A list") < shown.index("last") < shown.index("Two.") < shown.index("Three.")


async def test_a_message_sent_while_a_reply_grows_leaves_no_copy_of_it(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("tell me\r")
        await ada.said()
        reply = await ada.console.post(CHAT, "A long st", key="1")
        await ada.sees("A long st")
        ada.type("and more\r")
        await ada.sees("> and more\nA long st\n\n>")
        await ada.console.edit(CHAT, reply, "A long story.", final=True)
        assert (await ada.sees("A long story.\n\n>")).count("A long st") == 1


async def test_what_is_being_typed_survives_a_reply(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("half a th")
        await ada.sees("^> half a th$")
        await ada.console.edit(CHAT, "of an earlier process", "News.", final=True)
        await ada.sees("News.\n\n> half a th$")
        ada.type("ought\r")
        assert (await ada.said()).text == "half a thought"


async def test_a_post_that_nothing_completes_is_whole_when_nothing_is_owed(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("/help\r")
        await ada.said()
        await ada.console.post(CHAT, "I know **nothing**.", key="1")
        await ada.sees(r"I know \*\*nothing\*\*\.")
        ada.owed.set()
        await ada.sees("> /help\nI know nothing.\n\n>")


async def test_thinking_is_shown_until_there_is_an_answer(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        await ada.console.typing(CHAT)
        await ada.sees(r"^thinking\.+\n>")
        await ada.console.edit(CHAT, "1", "Done.", final=True)
        assert "thinking" not in await ada.sees("Done.\n\n>")


async def test_ctrl_c_during_a_turn_stops_it_and_keeps_what_was_typed(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("tell me\r")
        await ada.said()
        ada.type("but\x03")
        stop = await ada.said()
        assert (stop.command, stop.text) == ("stop", "/stop")
        await ada.sees("^> but$")


async def test_ctrl_c_with_nothing_running_clears_the_line_and_then_tells_how_to_leave(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("never mind")
        await ada.sees("> never mind")
        ada.type("\x03")
        await ada.sees("^>$")
        ada.type("\x03")
        await ada.sees("Ctrl-D or /exit leaves.\n\n>$")
        assert ada.updates.empty()
        assert not ada.running.done()


@pytest.mark.parametrize("keys", ["\x04", "/exit\r", " /quit \r", "/exit now\r", "exit\r", "Quit \r"])
async def test_leaving_ends_the_run(monkeypatch, keys):
    async with at_terminal(monkeypatch) as ada:
        ada.type(keys)
        await ended(ada)
        assert ada.updates.empty()


async def test_a_pasted_text_of_several_lines_is_one_message(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("\x1b[200~first\nsecond\x1b[201~\r")
        assert (await ada.said()).text == "first\nsecond"


async def test_an_earlier_message_comes_back_with_the_up_key(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("again\r")
        await ada.said()
        await ada.sees("> again\n>")
        ada.type("\x1b[A\r")
        assert (await ada.said()).text == "again"


async def test_commands_are_offered_while_they_are_typed(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.type("/h")
        await ada.sees(r"^\s*/help +Show what I understand")
        await ada.sees(r"^\s*/history +What we said")
        ada.type("\x03")


async def test_nothing_in_a_reply_acts_on_the_terminal(monkeypatch):
    evil = "a\x1b[2Jb\x1b]0;title\x07c\x9b31md\re\x08f\x00g &#27;[31mh \u202etxet\u202c &#13;i"
    async with at_terminal(monkeypatch) as ada:
        reply = await ada.console.post(CHAT, evil, key="1")
        await ada.sees("ab.*txet")
        await ada.console.edit(CHAT, reply, evil + "\n\nnext\x1b[2J", final=False)
        await ada.console.edit(CHAT, reply, evil + "\n\nnext\x1b[2J\n\n```\n\x1b[2J\x07\n```", final=True)
        await ada.sees("^next\n")  # the screen itself refuses what acts on it
        assert not re.search("[\x00\x07\x9b\u202e]", ada.raw)


async def test_zero_width_right_to_left_and_wide_text_keeps_the_lines_whole(monkeypatch):
    async with at_terminal(monkeypatch, 40) as ada:
        for text in (
            "שלום עולם",
            "a\u200bb\u200d",
            "日本語" * 10,
            "👩\u200d👩\u200d👧 e\u0301",
            "\ud800 lone",
        ):
            reply = await ada.console.post(CHAT, text, key="1")
            await ada.console.edit(CHAT, reply, text, final=True)
        await ada.sees("lone\n\n>$")
        assert all(get_cwidth(line) <= 40 for line in ada.screen.text.split("\n"))
        assert "שלום עולם" in ada.screen.text


async def test_what_looks_like_html_is_shown(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        await ada.console.edit(CHAT, "1", "Use <b> and\n\n<div>\nthis\n</div>", final=True)
        await ada.sees("Use <b> and\n\n<div>\nthis\n</div>")


async def test_line_breaks_of_a_reply_are_kept(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        await ada.console.edit(CHAT, "1", "/help - this list\n/clear - a new start", final=True)
        await ada.sees("^/help - this list\n/clear - a new start\n")


async def test_a_list_with_its_code_stays_in_one_piece(monkeypatch):
    text = "1. First\n\n   ```sh\n   run\n\n   this\n   ```\n\n2. Second"
    async with at_terminal(monkeypatch) as ada:
        reply = await ada.console.post(CHAT, text[:30], key="1")
        await ada.console.edit(CHAT, reply, text, final=True)
        await ada.sees(r" 1 First\n(.*\n)*    run\s*\n\s*\n    this\n(.*\n)* 2 Second\n\n>")


async def test_a_reply_that_begins_anew_says_so(monkeypatch):
    async with at_terminal(monkeypatch) as ada:
        ada.owed.clear()
        reply = await ada.console.post(CHAT, "It is blue.\n\nBecause", key="1")
        await ada.sees("It is blue.\n\nBecause")
        await ada.console.edit(CHAT, reply, "It is red.", final=True)
        await ada.sees(r"It is blue.\n\n\(The answer above was begun again.\)\n\nIt is red.\n\n>$")


async def test_a_long_reply_shows_its_end_while_it_grows_and_all_of_it_at_the_end(monkeypatch):
    lines = [f"line {number}" for number in range(100)]
    async with at_terminal(monkeypatch) as ada:
        ada.owed.clear()
        reply = await ada.console.post(CHAT, "\n".join(lines), key="1")
        assert "line 50\n" not in await ada.sees("line 99")
        await ada.console.edit(CHAT, reply, "\n".join(lines), final=True)
        await ada.sees("^line 0\n(line .*\n)+line 99\n\n>$")
        assert ada.screen.text.count("line 99") == 1


async def test_the_real_width_is_used(monkeypatch):
    async with at_terminal(monkeypatch, 30) as ada:
        await ada.console.edit(CHAT, "1", "word " * 20, final=True)
        await ada.sees("^(word ){5}word\n(word ){5}word\n")


async def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with at_terminal(monkeypatch) as ada:
        await ada.console.edit(CHAT, "1", "[x](http://y.z) `code`\n\n```py\nx = 1\n```", final=True)
        await ada.sees("x = 1")
        assert not re.search(r"\x1b\[(\d+;)*(3[0-8]|4[0-8]|9\d|10\d)(;\d+)*m", ada.raw)


async def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, encoding="utf-8") as stdin, os.fdopen(os.dup(slave), "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setenv("TERM", "dumb")
        console = create(ConsoleConfig(user="ada"), MENU, NoState())
        await console.edit(CHAT, "1", "**Plain**", final=True)
        assert os.read(master, 100) == b"**Plain**\r\n"
        monkeypatch.undo()
    os.close(master)


PROGRAM = """
import asyncio, resource, sys
from adapters.base import Menu, NoState
from adapters.console import create
from config.schema import ConsoleConfig
from tests.fakes.terminal import Screen

class Health:
    def up(self, detail=""): ...
    def down(self, reason): ...

async def sink(rows): ...

async def main():
    console = create(ConsoleConfig(user="ada"), Menu({"help": "Help"}), NoState())
    asyncio.get_running_loop().call_later(0.2, print, "a log line")
    await console.run(sink, Health())
    print("left", flush=True)

asyncio.run(main())
"""


def test_a_program_prints_above_the_prompt_and_ends_at_ctrl_d():
    pid, master = pty.fork()
    if pid == 0:
        environment = os.environ | {"TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])}
        os.execve(sys.executable, [sys.executable, "-c", PROGRAM], environment)  # noqa: S606 - a test's own program
    screen, seen = Screen(80), b""

    def read() -> bool:
        nonlocal seen
        try:
            seen += os.read(master, 4096)
        except OSError:  # how Linux tells that the other side is closed
            return False
        return True

    while not re.search(rb"a log line.*>", seen, re.DOTALL) and read():
        pass
    os.write(master, b"\x04")
    while read():
        pass
    _, status, usage = os.wait4(pid, 0)
    os.close(master)
    screen.feed(seen.decode())
    assert status == 0, screen.text
    assert screen.text.endswith("a log line\n>\nleft")
    assert usage.ru_utime + usage.ru_stime < 2, "it takes a fraction of a second; this is for busy machines"
