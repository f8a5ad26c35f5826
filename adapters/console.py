"""The terminal: whoever sits at it talks to the assistant without any platform in between.

On a terminal the last, unfinished paragraph of a reply stands above the prompt while it grows, and moves into
the scrollback, formatted, when it is complete: so nothing flickers and nothing is printed twice. Elsewhere (a
pipe, a file, TERM=dumb) plain lines come in and complete replies go out.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import getpass
import io
import itertools
import os
import re
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from adapters.base import (
    Adapter,
    Chat,
    ChatGone,
    Finding,
    Health,
    Limits,
    Menu,
    Person,
    Received,
    Refused,
    Route,
    Sink,
    State,
    Update,
    clean,
    parse_command,
    user_id,
)
from config.schema import ConsoleConfig

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent
    from rich.console import Console as RichConsole

T = TypeVar("T")

PROMPT = "> "
LEAVE = ("exit", "quit")
HOW_TO_LEAVE = "Ctrl-D or /exit leaves."
HINT = "/help lists what I understand. Ctrl-C stops an answer, Ctrl-D leaves."
BEGUN_AGAIN = "(The answer above was begun again.)"
SETTLE = 1.0  # seconds without a sign after which, where no `drain` was set, nothing more is expected
REMEMBERED = 100  # messages of ours whose edits are still told from new messages
FORMATTED = (
    10_000  # characters: to format a longer block would hold up everything else, so it is printed as it is
)


def create(settings: ConsoleConfig, menu: Menu, state: State) -> Console:  # noqa: ARG001 - nothing is missed here
    """The adapter for this process's standard input and output."""
    return Console(settings.user or _account(), Terminal(menu) if _at_terminal() else Pipe())


def _at_terminal() -> bool:
    able = os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return able and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return str(os.getuid())


@dataclass(eq=False, slots=True)
class Reply:
    """A message of ours: what it should read, and how much of that has been printed for good."""

    text: str
    final: bool = False
    printed: int = 0
    edited: bool = False

    def update(self, text: str, *, final: bool) -> bool:
        """Take a newer text. True if it contradicts what was printed, so that all of it is printed again."""
        again = not text.startswith(self.text[: self.printed])
        if again:
            self.printed = 0
        self.text, self.final, self.edited = text, final, True
        return again


class Screen(Protocol):
    """Where the person reads and writes."""

    waits: bool
    """Whether a line waits for the answer to the one before, and leaving for the answer to the last: as in a script."""

    def entries(self, banner: str, interrupt: Callable[[], bool]) -> AsyncGenerator[str, None]:
        """What the person enters, until they leave. `interrupt` is for Ctrl-C: it tells whether it stops anything."""

    async def show(self, reply: Reply) -> None:
        """Print what is ready, and move `reply.printed` past it. OSError if there is no way to write."""

    def note(self, text: str) -> None:
        """Print a remark of the program itself."""

    def thinking(self, seconds: float) -> None:
        """Show for so long that an answer is being worked on."""


class Console(Adapter):
    """The adapter of one person's terminal.

    `run` returns when the person leaves (Ctrl-D, the end of the input, `/exit`, `/quit`; at a terminal `exit` and `quit`
    do as well). From a pipe, where lines do not wait for anybody, each but `/stop` is handed in after the one before was
    answered, and so is the end.
    """

    name = "console"
    limits = Limits(
        max_chars=1_000_000,
        edit_interval=0.05,
        group_edit_interval=0.05,
        posts_per_second=1_000_000,
        posts_burst=1_000_000,
        group_posts_per_minute=60_000_000,
        total_per_second=1_000_000,
        typing_interval=1,
        resend="none",
        leaves_by=LEAVE,
        max_file_bytes=1 << 40,
        files_stay=True,
        quiet=None,
    )
    routes: Sequence[Route] = ()

    banner: str = ""
    """Who answers here, and with which model: the app sets it before `run`."""

    drain: Callable[[], Awaitable[None]] | None = None
    """Set by the app: returns once everything that this adapter handed in is answered and delivered.

    A post may be whole, or the beginning of a reply that edits complete: when nothing is owed, it is whole.
    """

    def __init__(self, user: str, screen: Screen) -> None:
        name = clean(user)  # a shell can give bytes that are no text
        self._person = Person(user_id("console", user), name)
        self._chat = Chat("console", name)
        self.limits = replace(type(self).limits, only_chat=name)
        self._screen = screen
        self._boot = time.time_ns()  # with a counter, a key that no other process has used
        self._numbers = itertools.count(1)
        self._replies: dict[str, Reply] = {}
        self._printing = asyncio.Lock()
        self._signs = asyncio.Event()  # that something is going on
        self._busy = False
        self._handing = 0  # entries that the sink has not taken yet

    async def run(self, sink: Sink, health: Health) -> None:
        health.up(f"as {self._person.id}")
        async with asyncio.TaskGroup() as group:

            def interrupt() -> bool:
                if self._busy:
                    group.create_task(self._hand_in("/stop", sink))
                return self._busy

            settling = group.create_task(self._settle_when_idle())
            try:
                async with aclosing(self._screen.entries(self.banner, interrupt)) as entries:
                    async for entry in entries:
                        if self._leaves(entry):
                            break
                        if self._screen.waits and self._busy and entry.strip() != "/stop":
                            await self._settle_at_last()
                        if entry.strip():
                            await self._hand_in(entry, sink)
            finally:
                settling.cancel()
        if not self._screen.waits and self._busy:  # nobody will read the rest: it is stopped, and says so
            await self._hand_in("/stop", sink)
        if self._screen.waits or self._busy:
            await self._settle_at_last()
        await self._settle()

    def _leaves(self, entry: str) -> bool:
        """Whether the entry is a command to leave; from who types it, the bare word is one, as in a shell."""
        command, _ = parse_command(entry)
        return command in LEAVE or (not self._screen.waits and entry.strip().lower() in LEAVE)

    async def post(self, chat: Chat, text: str, *, key: str, **_: Any) -> str:  # noqa: ARG002 - the protocol's
        if not text.strip():
            raise Refused("an empty message can not be shown")
        message_id = self._number()
        self._replies[message_id] = reply = Reply(text)
        await self._show(reply)
        return message_id

    async def edit(self, chat: Chat, message_id: str, text: str, *, final: bool, **_: Any) -> None:  # noqa: ARG002 - the protocol's
        # One that an earlier process posted is not known here: it is printed as a new one.
        reply = self._replies.setdefault(message_id, Reply(""))
        # Turns come one after the other: what else was posted and never edited is whole, such as a command's answer.
        await self._settle([other for other in self._replies.values() if other is not reply])
        if reply.update(text, final=final):
            self._screen.note(BEGUN_AGAIN)
        await self._show(reply)

    async def send_file(self, chat: Chat, path: Path, text: str, *, key: str, **_: Any) -> str:
        """See `Adapter.send_file`. Who sits here can read the file where it is: that is what they are told."""
        return await self.post(chat, f"{text}\n\n`{path}`", key=key)

    async def find(self, chat: Chat, key: str) -> str | None:  # noqa: ARG002 - the protocol's
        return None

    async def typing(self, chat: Chat) -> None:  # noqa: ARG002 - the protocol's
        self._signs.set()
        self._screen.thinking(2.5 * self.limits.typing_interval)

    async def dismiss(self, chat: Chat, via: str) -> None:
        """A terminal has no interactions."""

    async def leave(self, chat: Chat) -> None:
        """A terminal has no groups."""

    async def check(self) -> Sequence[Finding]:
        return [Finding(True, "console", f"whoever sits here is {self._person.id}")]

    async def close(self) -> None:
        await self._settle()

    async def _hand_in(self, text: str, sink: Sink) -> None:
        key = self._number()
        text = clean(text)
        command, args = parse_command(text)
        update = Update(
            source=f"console:{self._person.id}",
            key=key,
            chat=self._chat,
            person=self._person,
            text=text,
            message_id=key,
            at=time.time(),
            command=command,
            args=args,
        )
        self._busy = True
        self._handing += 1
        try:
            await sink([Received(update.source, key, update)])
        finally:
            self._handing -= 1
            self._signs.set()

    async def _show(self, reply: Reply) -> None:
        if not reply.final:
            self._signs.set()
        try:
            async with self._printing:
                await self._screen.show(reply)
        except OSError as exc:
            raise ChatGone(f"the console can not be written to any more: {exc.strerror}") from exc
        for message_id in list(self._replies)[:-REMEMBERED]:
            if self._replies[message_id].final:
                del self._replies[message_id]

    async def _settle_when_idle(self) -> None:
        while True:
            await self._signs.wait()
            self._busy = True
            await self._settle_at_last()

    async def _settle_at_last(self) -> None:
        """Settle once nothing more is to come for what was handed in."""
        while True:
            self._signs.clear()
            if self.drain is not None:
                await self.drain()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SETTLE):
                        await self._signs.wait()
            if self._handing:  # not durable yet, so no drain knows of it
                await self._signs.wait()
            if not self._signs.is_set():
                break
        self._busy = False
        await self._settle()

    async def _settle(self, unedited: Iterable[Reply] | None = None) -> None:
        """Complete the replies that no final edit has completed: they are all they will be. Of `unedited`, those that are so."""
        replies = (
            self._replies.values() if unedited is None else [reply for reply in unedited if not reply.edited]
        )
        for reply in [reply for reply in replies if not reply.final]:
            reply.final = True
            with suppress(ChatGone):  # nobody reads any more; the verbs have said so
                await self._show(reply)

    def _number(self) -> str:
        return f"{self._boot}-{next(self._numbers)}"


class Pipe:
    """Lines from the standard input, complete replies to the standard output.

    Daemon threads read and write, whatever the two are: asyncio's own pipe transports refuse files and `/dev/null`,
    and would make descriptors non-blocking that we share with other programs.
    """

    waits = True

    def __init__(self) -> None:
        self._reading: asyncio.Future[bytes] | None = (
            None  # outlives a cancelled run, and keeps what it reads
        )
        self._writing: asyncio.Future[None] | None = None

    async def entries(self, banner: str, interrupt: Callable[[], bool]) -> AsyncGenerator[str, None]:  # noqa: ARG002 - the protocol's
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while sys.stdin is not None:  # as it is where a program was started with its input closed
            self._reading = self._reading or _in_thread(partial(_read, sys.stdin.fileno()))
            data = await asyncio.shield(self._reading)
            self._reading = None
            *lines, rest = (rest + decoder.decode(data, final=not data)).split("\n")
            for line in lines:
                yield line.rstrip("\r")
            if not data:
                break
        if rest:
            yield rest

    async def show(self, reply: Reply) -> None:
        text = _safe(reply.text[reply.printed :]).strip("\n")
        if not reply.final or not text:
            return
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        if self._writing:
            await asyncio.wait([self._writing])
        reply.printed = len(reply.text)
        data = f"{text}\n".encode(errors="replace")
        self._writing = _in_thread(partial(_write, sys.stdout.fileno(), data))
        await asyncio.shield(self._writing)

    def note(self, text: str) -> None:
        """Nothing: only answers go out."""

    def thinking(self, seconds: float) -> None:
        """Nothing: only answers go out."""


class Terminal:
    """A prompt that stays at the bottom, with the replies above it."""

    waits = False

    def __init__(self, menu: Menu) -> None:
        # Imported here: who sits at no terminal need not pay for it.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.input.defaults import create_input
        from prompt_toolkit.output.defaults import create_output
        from prompt_toolkit.output.vt100 import Vt100_Output

        self._output = create_output()
        if isinstance(self._output, Vt100_Output):
            # To ask for the cursor's place takes seconds on a terminal that does not answer.
            self._output.enable_cpr = False
        commands = {f"/{name}": help_ for name, help_ in menu.commands.items()}
        commands |= {f"/{name}": "" for name in LEAVE}
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            input=create_input(),
            output=self._output,
            completer=WordCompleter(list(commands), meta_dict=commands, sentence=True),
            complete_while_typing=Condition(lambda: self._session.default_buffer.text.startswith("/")),
        )
        self._growing: list[Reply] = []
        self._thinking = 0.0  # until when that is shown, by the monotonic clock
        self._frames = itertools.cycle((".", "..", "..."))
        self._frame = "."
        self._console: RichConsole | None = None

    async def entries(self, banner: str, interrupt: Callable[[], bool]) -> AsyncGenerator[str, None]:
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.patch_stdout import patch_stdout

        keys = KeyBindings()

        @keys.add("c-c", eager=True)
        def _(event: KeyPressEvent) -> None:
            if interrupt():
                return
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                self.note(HOW_TO_LEAVE)

        told = textwrap.fill(_safe(banner), self._output.get_size().columns)
        self._write(f"{told}\n{HINT}\n\n".lstrip("\n"))
        # The raw mode is kept between two prompts, so that what is typed then is neither echoed nor a signal. And
        # what anything else prints appears above the prompt, too.
        with self._session.input.raw_mode(), patch_stdout(raw=True):
            while True:
                try:
                    yield await self._session.prompt_async(
                        key_bindings=keys, set_exception_handler=False, handle_sigint=False
                    )
                except (EOFError, OSError):  # Ctrl-D; the terminal is gone
                    return

    async def show(self, reply: Reply) -> None:
        while (end := _printable(reply)) > reply.printed:
            block = reply.text[reply.printed : end]
            reply.printed = end
            self._write(self._formatted(_safe(block)).strip("\n") + "\n\n")
            await asyncio.sleep(0)
        if reply.final:
            self._thinking = 0.0
            self._growing = [other for other in self._growing if other is not reply]
        elif reply not in self._growing:
            self._growing.append(reply)
        self._session.app.invalidate()

    def note(self, text: str) -> None:
        self._write(f"{text}\n\n")

    def thinking(self, seconds: float) -> None:
        self._thinking = time.monotonic() + seconds
        self._frame = next(self._frames)
        self._session.app.invalidate()
        asyncio.get_running_loop().call_later(seconds + 0.01, self._session.app.invalidate)

    def _prompt(self) -> str:
        """The growing ends of replies, or a sign that one is coming; then the prompt itself."""
        if self._session.app.is_done:  # what is drawn last stays in the scrollback
            return PROMPT
        size = self._output.get_size()
        above = [_safe(reply.text[reply.printed :]).strip("\n") for reply in self._growing]
        lines = _last_lines("\n".join(filter(None, above)), size.columns, max(3, size.rows - 6))
        if lines:
            return "\n".join([*lines, "", PROMPT])
        if time.monotonic() < self._thinking:
            return f"thinking{self._frame}\n{PROMPT}"
        return PROMPT

    def _formatted(self, markdown: str) -> str:
        if len(markdown) > FORMATTED:
            return markdown
        from markdown_it import MarkdownIt
        from rich.console import Console as RichConsole
        from rich.markdown import Markdown

        if self._console is None:
            self._console = RichConsole(file=io.StringIO(), force_terminal=True, legacy_windows=False)
        document = Markdown("", code_theme="ansi_dark", hyperlinks=False)
        # Rich's own parser takes what looks like HTML for HTML, and shows nothing of it.
        parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
        document.parsed = parser.parse(markdown)
        for token in document.parsed:
            for part in token.children or ():
                if part.type == "softbreak":  # in a chat a line break is meant
                    part.type = "hardbreak"
        with self._console.capture() as capture:
            self._console.print(document, width=self._output.get_size().columns)
        return _PADDING.sub("", capture.get())

    def _write(self, text: str) -> None:
        """Print above the prompt, which is taken away and drawn anew; without an await, so nothing comes between."""
        app = self._session.app
        if app.is_running:
            app.renderer.erase()
        self._output.write_raw(text)
        self._output.flush()
        app.invalidate()


_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PADDING = re.compile(r" +$", re.MULTILINE)
_LINE = re.compile(r"^([ \t]*)(`{3,}|~{3,})?(.*)$", re.MULTILINE)


def _safe(text: str) -> str:
    """Text without anything that acts on a terminal: escape sequences, control characters, forced directions."""
    return clean(_CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n"))))


def _printable(reply: Reply) -> int:
    """Where the first block ends that is not printed yet, if it is complete; else where printing stopped.

    A block ends at a blank line outside a fence that is followed by an unindented line: so a list with its
    paragraphs and code stays in one piece.
    """
    fence, blank, begun = "", False, False
    for line in _LINE.finditer(reply.text, reply.printed):
        indent, mark, rest = line[1], line[2] or "", line[3]
        if fence:
            if mark.startswith(fence) and not rest.strip():
                fence = ""
        elif not mark and not rest.strip():
            blank = True
        else:
            if blank and begun and not indent:
                return line.start()
            blank, begun = False, True
            if not (mark.startswith("`") and "`" in rest):
                fence = mark
    return len(reply.text) if reply.final and begun else reply.printed


def _last_lines(text: str, width: int, rows: int) -> list[str]:
    """The end of `text` as it fills so many rows of a terminal."""
    from prompt_toolkit.utils import get_cwidth

    lines = []
    for line in text[-width * rows :].expandtabs(4).split("\n") if text else ():
        start = used = 0
        for i, char in enumerate(line):
            columns = get_cwidth(char)
            if used + columns > width:
                lines.append(line[start:i])
                start, used = i, 0
            used += columns
        lines.append(line[start:])
    return lines[-rows:]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal that was closed
        return b""


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run what may block for ever where it can not hinder the program from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(future.set_result, work())
        except OSError as exc:
            settle = partial(future.set_exception, exc)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=run, name="console", daemon=True).start()
    return future
