"""The log: where its lines go, and what must never stand in one."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from bot.logs import configure, secrets_of
from config import Config

TOKEN = "4242:AAtoken-of-nobody-0123456789abcdefghij"


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


def _broken(words: str) -> None:
    raise ValueError(words)


def _failed(words: str) -> Exception:
    try:
        _broken(words)
    except ValueError as exc:
        return exc
    raise AssertionError


def test_lines_go_to_what_standard_error_is_when_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    configure("info", "json")
    log = structlog.get_logger("early")
    log.info("before")
    prompt = io.StringIO()
    monkeypatch.setattr(sys, "stderr", prompt)  # as prompt_toolkit does
    log.info("ours", turn=7)
    logging.getLogger("library").warning("theirs %s", 8)
    ours, theirs = map(json.loads, prompt.getvalue().splitlines())
    assert (ours["event"], ours["turn"], ours["level"]) == ("ours", 7, "info")
    assert (theirs["event"], theirs["logger"]) == ("theirs 8", "library")


@pytest.mark.parametrize("format_", ["json", "text"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_secret_is_written_whatever_it_looks_like(
    capsys: pytest.CaptureFixture[str], level: str, format_: str
) -> None:
    config = Config.model_validate(
        {
            "models": {"main": {"provider": "openai", "api_key": "plain-words"}},
            "adapters": {"telegram": {"token": TOKEN, "webhook_secret": 'quo"ted'}},
        }
    )
    secrets = set(secrets_of(config))
    assert secrets == {"plain-words", TOKEN, 'quo"ted'}
    configure(level, format_, secrets)  # type: ignore[arg-type]
    log = structlog.get_logger("ours")
    log.error(f"at {TOKEN}", url=f"https://host/bot{TOKEN}/getMe", nested={"key": ["plain-words", 'quo"ted']})
    log.error("other keys", a="sk-proj-abcdefgh12345", b="Authorization: Bearer abc.def", c="xoxb-12345678-x")
    log.error("failed", exc_info=_failed(f"no plain-words for {TOKEN}"))
    logging.getLogger("library").error("%s", {"api_key": "plain-words"}, exc_info=_failed(TOKEN))
    text = capsys.readouterr().err
    for secret in (*secrets, 'quo\\"ted', "abcdefgh12345", "abc.def", "xoxb-1"):
        assert secret not in text
    assert text.count("[secret]") >= 7
    if format_ == "json":
        assert [json.loads(line)["level"] for line in text.splitlines()] == ["error"] * 4


def test_an_exceptions_message_is_written_at_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    for level, shown in (("info", False), ("debug", True)):
        configure(level, "json")  # type: ignore[arg-type]
        structlog.get_logger(level).error("broke", exc_info=_failed("what Anna said"))
        logging.getLogger("asyncio").error(
            "Task exception was never retrieved", exc_info=_failed("her words")
        )
        try:
            _broken("and again")
        except ValueError:
            logging.getLogger("library").exception("oh")
        text = capsys.readouterr().err
        assert [words in text for words in ("what Anna said", "her words", "and again")] == [shown] * 3
        assert "ValueError" in text
        assert "test_logs.py" in text


def test_libraries_are_heard_from_warning_on_and_at_debug_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    logging.getLogger("library").info("a request")
    assert capsys.readouterr().err == ""
    configure("debug", "json")
    logging.getLogger("library").debug("a request")
    assert "a request" in capsys.readouterr().err


def test_a_line_that_a_library_got_wrong_is_told_without_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json")
    logging.getLogger("library").error("one %s, two %s", "her words")
    assert capsys.readouterr().err == "a line of 'library' could not be formatted (TypeError)\n"


@pytest.mark.parametrize("stream", [None, "closed", "broken"])
def test_a_standard_error_that_is_gone_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, stream: str | None
) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    gone = Broken() if stream == "broken" else io.StringIO()
    monkeypatch.setattr(sys, "stderr", gone if stream else None)
    configure("info", "auto")
    if stream == "closed":
        gone.close()
    structlog.get_logger("ours").error("a line")
    logging.getLogger("library").error("a line")
