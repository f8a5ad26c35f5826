"""The log: where its lines go, and what must never stand in one."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bot.logs import configure, hide, secrets_of
from config import Config
from tests.fakes.record import environ

pytestmark = pytest.mark.leaks

TOKEN = "4242:AAtoken-of-nobody-0123456789abcdefghij"


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level


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


async def test_asyncios_word_of_a_lost_exception_does_not_tell_what_it_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail() -> None:
        _broken("her words")

    for level, shown in (("info", False), ("debug", True)):
        configure(level, "json")  # type: ignore[arg-type]
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task
        gc.collect()
        text = capsys.readouterr().err
        assert "Task exception was never retrieved" in text
        assert "ValueError" in text
        assert ("her words" in text) == shown


def test_an_exception_in_a_librarys_line_is_told_by_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    logging.getLogger("library").error("sending failed: %s, %r, %d", _failed("her words"), _failed("hers"), 3)
    assert json.loads(capsys.readouterr().err)["event"] == "sending failed: ValueError, 'ValueError', 3"


def test_secrets_of_a_new_configuration_are_kept_out_from_then_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json", ["first-secret"])
    log = structlog.get_logger("ours")
    log.info("first-secret second-secret")
    hide(["second-secret"])
    log.info("first-secret second-secret")
    before, after = (json.loads(line)["event"] for line in capsys.readouterr().err.splitlines())
    assert (before, after) == ("[secret] second-secret", "[secret] [secret]")


@pytest.mark.parametrize(
    "text",
    [
        "POST https://host/api/v10/webhooks/80351110224678912/{secret}?wait=true",
        "POST https://hooks.example.com/commands/{secret}",
        "via http://operator:{secret}@proxy:3128",
        "Authorization: Bot {secret}",
        "Authorization: Bearer {secret}",
        "xapp-1-A0B-{secret}",
        "xoxe.xoxp-1-{secret}",
        "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.{secret}",
    ],
)
def test_what_looks_like_a_secret_is_kept_out_though_nobody_configured_it(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    secret = "ZnCjm1XVW7vRze4b7Cq4se7kKWs0aBcD"
    configure("debug", "json")
    logging.getLogger("library").debug(text.format(secret=secret))
    assert secret not in capsys.readouterr().err


def test_a_secret_is_kept_out_as_a_url_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", ["s/e?c r&t", "back\\slash'"])
    structlog.get_logger("ours").info("GET /?key=s%2Fe%3Fc%20r%26t", of=repr({"key": "back\\slash'"}))
    text = capsys.readouterr().err
    assert "s%2Fe" not in text
    assert "slash" not in text


CRASHES = """
import asyncio, gc, sys, threading, warnings
from bot.logs import catch_crashes, configure
configure("{level}", "json", ["the-secret"])
catch_crashes()
def fail():
    raise ValueError("her words the-secret")
class Left:
    def __del__(self):
        fail()
thread = threading.Thread(target=fail)
thread.start(); thread.join()
Left(); gc.collect()
warnings.warn("her words the-secret", UserWarning)
import resource
assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
fail()
"""


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_crash_is_logged_and_tells_no_secret_and_no_words(tmp_path: Path, level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHES.format(level=level)],
        env={**environ(), "PYTHONWARNINGS": "always"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["uncaught_in_thread", "uncaught_in_cleanup", "python_warning", "uncaught"]
    assert "the-secret" not in done.stderr
    assert ("her words" in done.stderr) == (level == "debug")
