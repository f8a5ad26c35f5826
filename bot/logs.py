"""Logging: one line an event, readable on a terminal and JSON elsewhere; no words of people at info level, no secrets ever."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import re
import resource
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import structlog
from pydantic import BaseModel, SecretStr

# What a token or key looks like, wherever it may have got into a library's message.
_SHAPES = "|".join(
    (
        r"\b\d{6,12}:[A-Za-z0-9_-]{30,}",
        r"\bsk-[A-Za-z0-9_-]{8,}",
        r"\b(?:xox[a-z]|xapp)[-.][A-Za-z0-9.-]{8,}",
        r"\b[A-Za-z0-9_-]{24,28}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
        r"(?<=/webhooks/)\d+/[A-Za-z0-9_-]{20,}",  # whoever has the address may write there
        r"(?<=//hooks\.)[^\s\"'\\,;]+",
        r"(?<=://)[^\s/:@\"']+:[^\s/@\"']+(?=@)",  # a proxy's name and password
        r"\b(?:Bearer|Bot)\s+[A-Za-z0-9_.=~+/-]{16,}",
        r"\bBearer\s+[^\s\"'\\,;]+",
    )
)
_SHORTEST_SECRET = 6  # characters; a shorter one is no secret, and would blank out half the log


def secrets_of(section: BaseModel) -> Iterator[str]:
    """Every secret that a configuration holds."""
    for _, value in section:
        values = (
            value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        )
        for item in values:
            if isinstance(item, SecretStr):
                yield item.get_secret_value()
            elif isinstance(item, BaseModel):
                yield from secrets_of(item)


class _Lines:
    """Writes whole lines to standard error, without what is or looks like a secret.

    Standard error is looked up for each line, because a prompt puts something in its place that writes above it. That it can not
    be written to (the terminal was closed) must not hurt the turn that logs: then the line is lost.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known: set[str] = set()
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                # As it is, as Python writes it, as it stands in a URL; and as JSON writes any of these
                written = {secret, repr(secret)[1:-1], quote(secret, safe="")}
                self._known |= written | {json.dumps(text)[1:-1] for text in written}
        exact = map(re.escape, sorted(self._known, key=len, reverse=True))
        self._secret = re.compile("|".join([*exact, _SHAPES]), re.IGNORECASE)

    def without_secrets(self, line: str) -> str:
        return self._secret.sub("[secret]", line)

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            print(self.without_secrets(line), file=sys.stderr, flush=True)  # noqa: T201 - this is the log

    msg = debug = info = warning = error = critical = exception = write  # structlog calls the level's name


class _Handler(logging.Handler):
    """What libraries log, through the same lines."""

    def __init__(self, lines: _Lines, *, words: bool) -> None:
        super().__init__()
        self._lines = lines
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not self._words:
                record = _without_words_of_exceptions(record)
            line = self.format(record)
        except Exception as exc:  # noqa: BLE001 - a library's mistake; logging's own way would print what it was about
            line = f"a line of {record.name!r} could not be formatted ({type(exc).__name__})"
        self._lines.write(line)


_lines: _Lines | None = None


def hide(secrets: Iterable[str]) -> None:
    """Keep these out of every line too, from now on: a new configuration has new ones."""
    if _lines is not None:
        _lines.hide(secrets)


def catch_crashes() -> None:
    """Log by type and place what Python would print in full, exception messages and all, and leave no core dump.

    For a process that is Boswell's alone. What is printed on a fatal signal (faulthandler) has no values in it, and stays.
    """
    log = structlog.get_logger(__name__)

    def uncaught(_: type[BaseException], exc: BaseException, __: object) -> None:
        if isinstance(exc, Exception):
            log.critical("uncaught", exc_info=exc)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        log.error("uncaught_in_thread", exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        log.error("uncaught_in_cleanup", of=type(args.object).__name__, exc_info=args.exc_value)

    def warned(
        message: Warning | str,  # noqa: ARG001 - it may quote a value
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,  # noqa: ARG001 - it is always the log
        line: object = None,  # noqa: ARG001 - a line of source
    ) -> None:
        log.warning("python_warning", category=category.__name__, place=f"{Path(filename).name}:{lineno}")

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
    warnings.showwarning = warned
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _without_words_of_exceptions(record: logging.LogRecord) -> logging.LogRecord:
    """Where a library puts an exception into its line, its type alone.

    asyncio writes what its line is about below it, the repr of a task and so of its exception among it.
    """
    record = copy.copy(record)
    if isinstance(record.args, tuple):
        record.args = tuple(type(a).__name__ if isinstance(a, BaseException) else a for a in record.args)
    if record.name == "asyncio":
        record.msg, record.args = record.getMessage().partition("\n")[0], None
    return record


def _without_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception by its type and place alone: its message, and its chain's, may hold anybody's words."""
    info = event.pop("exc_info", None)
    exc = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exception()
    if info and exc is not None:
        frames = traceback.extract_tb(exc.__traceback__)
        place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        event["exception"] = f"{type(exc).__name__}{place}"
    return event


def to_standard_error() -> None:
    """Send our own log lines there, for a command whose standard output is what it was asked for."""
    lines = _lines or _Lines(())
    structlog.configure(logger_factory=lambda *_: lines)


def configure(
    level: Literal["debug", "info", "warning", "error"],
    format_: Literal["auto", "text", "json"],
    secrets: Iterable[str] = (),
) -> None:
    """Send every log line, those of libraries too, to standard error. Call once, at start.

    `secrets` are kept out of every line, whatever they look like.
    """
    number = getattr(logging, level.upper())
    at_terminal = sys.stderr is not None and sys.stderr.isatty()
    lines = _Lines(secrets)
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if level == "debug" else _without_words,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=at_terminal, pad_event_to=0)
        if format_ == "text" or (format_ == "auto" and at_terminal)
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    global _lines
    _lines = lines
    handler = _Handler(lines, words=level == "debug")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    # Libraries log requests with URLs and bodies below warning; that is for debugging only.
    logging.basicConfig(
        handlers=[handler], level=number if level == "debug" else max(number, logging.WARNING), force=True
    )
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # it logs every hop between threads
