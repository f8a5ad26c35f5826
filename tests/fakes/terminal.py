"""A pseudo-terminal with a program on it, seen as a person sees it: by what stands on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from prompt_toolkit.utils import get_cwidth

SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|([\x00-\x1f])|([^\x00-\x1f\x1b]+)", re.DOTALL)


class Screen:
    """As much of a terminal as our programs use, scrollback included. Whatever else it is sent fails the test."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self._rest = b""

    def receive(self, data: bytes) -> str:
        """Feed what arrived, but for a sequence or a character whose end is still to come; what was fed."""
        self._rest += data
        complete = self._rest.decode(errors="ignore")
        cut = complete.rfind("\x1b")
        if cut >= 0 and not re.match(r"\x1b\[[?\d;]*[A-Za-z]", complete[cut:]):
            complete = complete[:cut]
        self._rest = self._rest[len(complete.encode()) :]
        self.feed(complete)
        return complete

    def feed(self, data: str) -> None:
        for match in SEQUENCE.finditer(data):
            arguments, verb, control, text = match.groups()
            if verb:
                self._sequence(arguments, verb)
            elif control:
                self._control(control)
            elif text:
                for char in text:
                    self._put(char)
            else:
                raise AssertionError(f"unexpected escape sequence {match[0]!r}")

    def _sequence(self, arguments: str, verb: str) -> None:
        count = int(arguments) if arguments.isdigit() else 1
        if verb == "A":
            self.row = max(0, self.row - count)
        elif verb == "B":
            self._down(count)
        elif verb == "C":
            self.column += count
        elif verb == "D":
            self.column = max(0, self.column - count)
        elif verb in "JK":
            assert arguments in ("", "0")
            del self.lines[self.row][self.column :]
            if verb == "J":
                del self.lines[self.row + 1 :]
        else:
            assert verb in "mhl", f"unexpected sequence {arguments}{verb}"

    def _control(self, control: str) -> None:
        if control == "\r":
            self.column = 0
        elif control == "\n":
            self._down(1)
        else:
            assert control == "\b", f"unexpected control character {control!r}"
            self.column = max(0, self.column - 1)

    def _down(self, count: int) -> None:
        self.row += count
        while len(self.lines) <= self.row:
            self.lines.append([])

    def _put(self, char: str) -> None:
        width = get_cwidth(char)
        if self.column + width > self.width:
            self.column = 0
            self._down(1)
        line = self.lines[self.row]
        line.extend(" " * (self.column + width - len(line)))
        line[self.column : self.column + width] = [char, *[""] * (width - 1)] if width else []
        self.column += width

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.lines).rstrip("\n")


class Program:
    """A program on a terminal of its own, until the block is left; it is killed then if it still runs."""

    def __init__(
        self, command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str], width: int = 100
    ) -> None:
        self.screen = Screen(width)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environ, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # The terminal becomes the program's own, so that Ctrl-C typed there is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def sees(self, pattern: str, seconds: float = 20) -> str:
        """The screen, once it shows the pattern."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.screen.text, re.MULTILINE):
            if not self._read(end):
                raise AssertionError(f"{pattern!r} is not on the screen:\n{self.screen.text}")
        return self.screen.text

    def rests(self, seconds: float = 0.5) -> None:
        """Return once nothing was written for so long: an answer that grows looks like one that is complete."""
        while self._read(time.monotonic() + seconds):
            pass

    def ends(self, seconds: float = 20) -> int:
        """The exit code, once all it wrote was read."""
        end = time.monotonic() + seconds
        while self._read(end):
            pass
        return self.process.wait(max(0.0, end - time.monotonic()))

    def _read(self, end: float) -> bool:
        readable, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
        if not readable:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the program has closed its end
            return False
        self.screen.receive(data)
        return bool(data)
