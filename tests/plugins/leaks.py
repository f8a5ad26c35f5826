"""Fails the run if any test made Boswell log a secret or somebody's words, whatever the test itself was about.

What is planted is collected as it comes by: every `SecretStr`, every constant of the fakes named TOKEN, KEY or SECRET and what
they mint; every message that the engine accepts or a model is sent, and every reply. Lines are taken at info and above, where
they are logged and before any processor, so that `capture_logs` hides none, and from the standard error of Boswell's processes.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import pytest
import structlog

from bot.logs import _without_words_of_exceptions

SHORTEST_SECRET = 8  # characters; shorter ones of tests ("x") are no secrets
SHORTEST_WORDS = 12
OURS = ("bot.cli", "boswell", "tests.fakes.soaked")  # in the command of a process that is Boswell


class Leaks:
    """What is planted, what was logged and by which test, and what of the one stands in the other."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.words: set[str] = set()
        self.lines: dict[str, str] = {}  # line → the first test that logged it
        self.test: str | None = "collection"  # None: it logs such things on purpose
        self.files: list[tuple[Path, str]] = []
        self._undo: list[Callable[[], None]] = []

    def secret(self, text: object) -> None:
        if (
            self.test is not None
            and isinstance(text, str)
            and len(text) >= SHORTEST_SECRET
            and not text.isalpha()
        ):
            self.secrets.add(text)

    def said(self, text: object) -> None:
        """Plant somebody's words, line by line: a log may have a part of them. One word alone may be anybody's."""
        if self.test is not None and isinstance(text, str):
            for line in text.splitlines():
                words = line.strip()[:60].strip()
                if len(words) >= SHORTEST_WORDS and " " in words:
                    self.words.add(words)

    def log(self, line: str) -> None:
        if self.test is not None:
            self.lines.setdefault(line, self.test)

    def found(self) -> Iterator[str]:
        """A description of each line that has something planted, which it does not repeat."""
        starts = {words[:SHORTEST_WORDS] for words in self.words}
        for line, test in self.lines.items():
            secret = any(secret in line for secret in self.secrets)
            words = any(
                line[at : at + SHORTEST_WORDS] in starts and any(line.startswith(w, at) for w in self.words)
                for at in range(len(line) - SHORTEST_WORDS + 1)
            )
            if secret or words:
                what = " and ".join(["a secret"] * secret + ["words"] * words)
                yield f"{test} logged {what}: {line[:400]}"

    # Listening --------------------------------------------------------------------------------------------------

    def before(self, owner: Any, name: str, listen: Callable[..., None]) -> None:
        """Call `listen` with the arguments of every call of a function, before it."""
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            listen(*args, **kwargs)
            return original(*args, **kwargs)

        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, original))

    def after(self, owner: Any, name: str, listen: Callable[..., None]) -> None:
        """Call `listen` with the result and the arguments of every call of a function, after it."""
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            listen(result, *args, **kwargs)
            return result

        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, original))

    def listen(self) -> None:
        """To every logger, every secret and every process, from now on."""
        self.before(structlog._base.BoundLoggerBase, "_proxy_to_logger", self._structured)
        self.before(logging.Logger, "handle", self._standard)
        self.before(pydantic.SecretStr, "__init__", lambda _, value: self.secret(value))
        for name in ("token_hex", "token_urlsafe"):
            self.after(secrets, name, self._minted)
        self.before(subprocess.Popen, "__init__", self._started)
        self.after(subprocess.Popen, "communicate", self._ended)

    def listen_to_people(self) -> None:
        """What is imported by now: nothing is imported for this."""
        engine, delivery = sys.modules.get("bot.engine"), sys.modules.get("bot.delivery")
        if engine is not None:
            self.before(engine.SqliteEngine, "accept", self._accepted)
        if delivery is not None:
            self.before(delivery.Delivery, "complete", self._replied)
        server = sys.modules.get("tests.fakes.model_server")
        if server is not None:
            self.after(server.Request, "__init__", lambda _, request, *__, **___: self._asked(request.body))
            self.after(server.Reply, "__init__", lambda _, reply, *__, **___: self._scripted(reply))
        for name, module in list(sys.modules.items()):
            if name.startswith("tests.fakes."):
                for constant in vars(module):
                    if constant.endswith(("TOKEN", "KEY", "SECRET")):
                        self.secret(getattr(module, constant))

    def stop(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def read_files(self) -> None:
        """What the processes of the test that ends have written into files."""
        for path, before in self.files:
            if path.exists():
                self._written(path.read_text(errors="replace").removeprefix(before))
        self.files.clear()

    def _structured(
        self, logger: Any, method: str, event: object = None, *_: object, **values: object
    ) -> None:
        if method != "debug":
            self.log(_flat({**logger._context, **values, "event": event}))

    def _standard(self, _: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO:
            try:
                self.log(f"{record.name}: {_without_words_of_exceptions(record).getMessage()}")
            except (TypeError, ValueError):  # its arguments do not fit: its handler says so, without them
                return

    def _minted(self, token: str, *_: object) -> None:
        if sys._getframe(2).f_globals.get("__name__", "").startswith("tests.fakes"):
            self.secret(token)

    def _started(self, _: object, args: Any, *__: object, stderr: Any = None, **___: object) -> None:
        number = stderr if isinstance(stderr, int) else getattr(stderr, "fileno", lambda: -1)()
        if number < 0 or not _is_boswell(args):
            return
        path = Path(f"/proc/self/fd/{number}").readlink()
        if path.is_file():
            self.files.append((path, path.read_text(errors="replace")))

    def _ended(self, result: tuple[Any, Any], process: Any, *_: object, **__: object) -> None:
        errors = result[1]
        if errors and _is_boswell(process.args):
            self._written(errors if isinstance(errors, str) else errors.decode(errors="replace"))

    def _written(self, text: str) -> None:
        for line in text.splitlines():
            try:
                values = json.loads(line)
            except ValueError:
                self.log(line)
                continue
            if not isinstance(values, dict):
                self.log(line)
            elif values.get("level") != "debug":
                self.log(_flat({k: v for k, v in values.items() if k != "timestamp"}))

    def _accepted(self, _: object, received: Iterable[Any]) -> None:
        for item in received:
            if item.update is not None:
                self.said(item.update.text)

    def _replied(self, *args: Any, **kwargs: Any) -> None:
        self.said(kwargs["text"] if "text" in kwargs else args[5])

    def _scripted(self, reply: Any) -> None:
        self.said("".join(piece for piece in reply.text if isinstance(piece, str)))

    def _asked(self, value: Any) -> None:
        """What stands in a request of a model, but for what we tell it ourselves."""
        if isinstance(value, dict):
            if value.get("role") not in ("system", "developer"):
                for key, inner in value.items():
                    if key not in ("system", "instructions", "tools"):
                        self._asked(inner)
        elif isinstance(value, list):
            for inner in value:
                self._asked(inner)
        else:
            self.said(value)


def _flat(values: Mapping[str, object]) -> str:
    """One line's values, as they would be written. Of an exception in full nothing but its type is, at info."""
    return " ".join(
        f"{key}={value}" for key, value in values.items() if key not in ("exc_info", "stack_info")
    )


def _is_boswell(args: Any) -> bool:
    parts = [args] if isinstance(args, str | bytes | os.PathLike) else args
    command = " ".join(os.fsdecode(part) for part in parts)
    return any(name in command for name in OURS)


class Plugin:
    """Of several processes that share the tests each listens to its own; the one that started them tells of all."""

    def __init__(self) -> None:
        self.leaks = Leaks()
        self.leaks.listen()
        self._heard: Counter[str] = Counter()
        self._found: list[str] = []

    def pytest_collection_finish(self) -> None:
        self.leaks.listen_to_people()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        purpose = item.get_closest_marker("leaks") is not None
        self.leaks.test = None if purpose else item.nodeid
        try:
            return (yield)
        finally:
            self.leaks.read_files()
            self.leaks.test = "teardown"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.leaks.stop()
        self._found += self.leaks.found()
        self._heard.update(
            secrets=len(self.leaks.secrets), messages=len(self.leaks.words), lines=len(self.leaks.lines)
        )
        if (worker := getattr(session.config, "workeroutput", None)) is not None:
            worker["leaks"] = (dict(self._heard), self._found)
        elif self._found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        heard, found = getattr(node, "workeroutput", {}).get("leaks", ({}, []))
        self._heard.update(heard)
        self._found += found

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        planted = f"{self._heard['secrets']} secrets and {self._heard['messages']} messages"
        lines = f"{self._heard['lines']} different lines"
        if not self._found:
            terminalreporter.line(f"log: none of {planted} in {lines}")
            return
        terminalreporter.section("leaks in the log", red=True)
        for line in self._found:
            terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaks: logs secrets or words on purpose; its lines are not looked at")
    config.pluginmanager.register(Plugin(), "boswell-leaks")
