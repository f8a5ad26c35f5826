"""Logging: one line an event, readable on a terminal and JSON elsewhere; no words of people at info level, no secrets ever."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import BaseModel, SecretStr

# What a token or key looks like, wherever it may have got into a library's message.
_SHAPES = r"\b\d{6,12}:[A-Za-z0-9_-]{30,}|\bsk-[A-Za-z0-9_-]{8,}|\bxox[a-z]-[A-Za-z0-9-]{8,}|\bBearer\s+[^\s\"'\\,;]+"
_SHORTEST_SECRET = 6  # characters; a shorter one is no secret, and would blank out half the log


def secrets_of(section: BaseModel) -> Iterator[str]:
    """Every secret that a configuration holds."""
    for _, value in section:
        for item in value.values() if isinstance(value, dict) else (value,):
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
        known = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        known |= {json.dumps(secret)[1:-1] for secret in known}
        exact = map(re.escape, sorted(known, key=len, reverse=True))
        self._secret = re.compile("|".join([*exact, _SHAPES]), re.IGNORECASE)

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            print(self._secret.sub("[secret]", line), file=sys.stderr, flush=True)  # noqa: T201 - this is the log

    msg = debug = info = warning = error = critical = exception = write  # structlog calls the level's name


class _Handler(logging.Handler):
    """What libraries log, through the same lines."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as exc:  # noqa: BLE001 - a library's mistake; logging's own way would print what it was about
            line = f"a line of {record.name!r} could not be formatted ({type(exc).__name__})"
        self._lines.write(line)


def _without_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception by its type and place alone: its message, and its chain's, may hold anybody's words."""
    info = event.pop("exc_info", None)
    exc = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exception()
    if info and exc is not None:
        frames = traceback.extract_tb(exc.__traceback__)
        place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        event["exception"] = f"{type(exc).__name__}{place}"
    return event


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
    handler = _Handler(lines)
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
