"""All that Boswell itself says to people: by key, in the person's language. The words are in `bot/languages/`.

None of them carries a provider's or a platform's text.
"""

from __future__ import annotations

import re
import string
import time
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from bot import errors

if TYPE_CHECKING:
    from bot.limits import Spent

log = structlog.get_logger(__name__)

_PREFIX = ContextVar("what stands before a command's name", default="/")
_COMMAND = re.compile(r"(?<![\w/])/(?=[a-z{])")

FOLDER = Path(__file__).parent / "languages"
DEFAULT = "en"

_FAILURES: list[tuple[type[BaseException], str]] = [
    (errors.ModelOverloaded, "overloaded"),
    (errors.ModelQuotaUsedUp, "quota_used_up"),
    (errors.ModelUnauthorized, "unauthorized"),
    (errors.ModelRefused, "declined"),
    (errors.ContextTooLong, "context_too_long"),
    (errors.ModelRejected, "rejected"),
    (errors.ModelError, "unavailable"),
    (errors.TurnTimedOut, "timed_out"),
    (BaseException, "broke"),
]


def say(key: str, language: str = "", /, **values: object) -> str:
    """The sentence of that key, filled in, in a language as the platforms tell it (BCP 47: de-AT, else de, else English)."""
    text = _template(key, language)
    prefix = _PREFIX.get()
    if prefix != "/":
        text = _COMMAND.sub(prefix, text)
    return text.format(**values) if values else text


def give_commands_as(prefix: str) -> None:
    """What stands before a command's name in all that is said from here on, in this task: "/", or "/boswell "."""
    _PREFIX.set(prefix)


def command(name: str) -> str:
    """A command as it is given where this is said."""
    return f"{_PREFIX.get()}{name}"


def __getattr__(name: str) -> str:
    """`sentences.STOPPED` is the English text of `stopped`, with its {placeholders}: for who compares."""
    key = name.lower()
    if not name.isupper() or key not in _catalogues()[DEFAULT]:
        raise AttributeError(name)
    return _catalogues()[DEFAULT][key]


def failure(exc: BaseException, reference: str, language: str = "", zone: str = "UTC") -> str:
    """One human sentence for what went wrong, with the reference that the operator finds in the log."""
    if isinstance(exc, errors.LimitReached):
        return limit_reached(exc, zone, language, reference)
    key = next(key for kind, key in _FAILURES if isinstance(exc, kind))
    return referring(say(key, language), reference, language)


def referring(sentence: str, reference: str, language: str = "") -> str:
    """The sentence with the reference that the operator finds in the log."""
    return f"{sentence} {say('reference', language, reference=reference)}"


def limit_reached(
    exc: errors.LimitReached, zone: str, language: str = "", reference: str = "", now: float | None = None
) -> str:
    """Which limit it is, and until when, by the clock where the person is."""
    key = f"limit_{exc.limit}"
    if key not in _catalogues()[DEFAULT]:
        key = "limit_other"
    sentence = say(key, language, until=_until(exc.until, zone, language, now))
    return referring(sentence, reference, language) if reference else sentence


def limit_warning(spent: Spent, zone: str, language: str = "", now: float | None = None) -> str:
    """How much of a limit is used, in whole percents, and until when it counts."""
    scope = spent.limit.partition("_")[0]
    key = f"warn_{scope}" if scope in ("chat", "total") else "warn_person"
    percent = int(100 * min(1.0, spent.used / spent.most)) if spent.most else 100
    return say(key, language, percent=percent, until=_until(spent.until, zone, language, now))


def limit_used(spent: Spent, zone: str, language: str = "", now: float | None = None) -> str:
    """How far a limit is used, in numbers."""
    key = f"used_{spent.limit}" if f"used_{spent.limit}" in _catalogues()[DEFAULT] else "used_other"
    used, most = (f"{n:,.4f}" if "usd" in spent.limit else f"{n:,.0f}" for n in (spent.used, spent.most))
    return say(key, language, used=used, most=most, until=_until(spent.until, zone, language, now))


def kind(exc: BaseException) -> str:
    """A short stable word for logs and records: the exception's class."""
    return type(exc).__name__


def _until(at: float, zone: str, language: str, now: float | None) -> str:
    """A time of day in the zone, never before `at`; with its date where it is more than a day away."""
    there = datetime.fromtimestamp(at, ZoneInfo(zone))
    if there.second or there.microsecond:
        there = there.replace(second=0, microsecond=0) + timedelta(minutes=1)
    far = at - (time.time() if now is None else now) > timedelta(days=1).total_seconds()
    clock = f"{there:%Y-%m-%d %H:%M}" if far else f"{there:%H:%M}"
    return say("until", language, time=clock, zone=zone)


# The files ----------------------------------------------------------------------------------------------------------


@cache
def _catalogues() -> Mapping[str, Mapping[str, str]]:
    """The sentences by language, in lower case. Read when the first one is said."""
    english = tomllib.loads((FOLDER / f"{DEFAULT}.toml").read_text(encoding="utf-8"))
    catalogues = {DEFAULT: english}
    for path in sorted(FOLDER.glob("*.toml")):
        if path.stem == DEFAULT:
            continue
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            log.error("language_unreadable", file=path.name, problem=str(exc))
            continue
        wrong = [key for key, text in found.items() if not fits(key, text, english)]
        if wrong:
            log.warning("language_passed_over", file=path.name, keys=wrong)
        catalogues[path.stem.lower()] = {k: v for k, v in found.items() if k not in wrong}
    return catalogues


def fits(key: str, text: object, english: Mapping[str, str]) -> bool:
    """Whether a translation can stand for the English sentence: it has the same {placeholders}."""
    return isinstance(text, str) and key in english and placeholders(text) == placeholders(english[key])


def placeholders(text: str) -> set[str] | None:
    """The names in braces; None if the braces are wrong."""
    try:
        parts = [
            (name, spec, way) for _, name, spec, way in string.Formatter().parse(text) if name is not None
        ]
    except ValueError:
        return None
    if any(spec or way or not name.isidentifier() for name, spec, way in parts):
        return None
    return {name for name, _, _ in parts}


@lru_cache(maxsize=4096)
def _template(key: str, language: str) -> str:
    catalogues = _catalogues()
    tag = language.lower().replace("_", "-")
    while tag:
        if key in (found := catalogues.get(tag, {})):
            return found[key]
        tag = tag.rpartition("-")[0]
    return catalogues[DEFAULT][key]
