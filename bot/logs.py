"""Logging: one line an event, readable on a terminal and JSON elsewhere; no words of people at info level, no secrets ever."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

# What a token or key looks like, wherever it may have got into a library's message.
_SECRETS = re.compile(
    r"\b\d{6,12}:[A-Za-z0-9_-]{30,}\b|\bsk-[A-Za-z0-9_-]{8,}|\bxox[a-z]-[A-Za-z0-9-]{8,}|\bBearer\s+\S+",
    re.IGNORECASE,
)


def scrub(text: str) -> str:
    """The text without anything that looks like a token or a key."""
    return _SECRETS.sub("[secret]", text)


def _scrub_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = scrub(value)
    return event


def configure(
    level: Literal["debug", "info", "warning", "error"], format_: Literal["auto", "text", "json"]
) -> None:
    """Send every log line, those of libraries too, to standard error. Call once, at start."""
    number = getattr(logging, level.upper())
    text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrub_event,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
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
