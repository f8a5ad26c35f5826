"""Secrets and people's words stay where they belong: files for one account, errors without values, a log that is searched."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bot.exposed import exposed
from config import ConfigError, load
from memory.sql import migrations
from tests.fakes.record import environ

ROOT = Path(__file__).parents[2]
SECRET = "hush-hush-0123456789"
TOKEN = f"4242:AA{SECRET}abcdefghijklmnop"


def boswell(
    folder: Path, *arguments: str, umask: int = 0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot.cli", *arguments],
        cwd=folder,
        env={**environ(), "TELEGRAM_BOT_TOKEN": TOKEN},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        umask=umask,
        check=False,
    )


def modes(folder: Path) -> dict[str, str]:
    """What others may do with each file and folder, where that is anything."""
    found = [folder, *folder.rglob("*")]
    return {str(path): oct(mode) for path in found if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077}


def test_whatever_the_umask_all_that_lasts_is_for_our_account_alone(tmp_path: Path) -> None:
    done = boswell(tmp_path, "chat", stdin="My name is Anna.\n/clear\nwhat did we talk about today?\n")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "data").rglob("*")}
    assert {"boswell.db", "locks", "memory"} < names
    assert any(name.endswith(".md") for name in names)
    assert modes(tmp_path / "data") == {}


def test_while_it_runs_the_write_ahead_log_is_for_our_account_alone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bot.cli", "chat"],
        cwd=tmp_path,
        env=environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        umask=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("My name is Anna.\n")
        process.stdin.flush()
        while "Nice to meet you" not in process.stdout.readline():
            assert process.poll() is None
        assert (tmp_path / "data" / "boswell.db-wal").exists()
        assert modes(tmp_path / "data") == {}
        process.send_signal(signal.SIGTERM)


def test_a_backup_before_a_migration_is_for_our_account_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with closing(sqlite3.connect(data / "boswell.db")) as old:
        old.executescript(migrations()[0][1])
        old.execute("PRAGMA user_version = 1")
    (data / "boswell.db").chmod(0o644)
    done = boswell(tmp_path, "chat", stdin="hello\n")
    assert done.returncode == 0, done.stderr
    assert list(data.glob("boswell.db.v1.*.bak"))
    assert modes(data) == {}


def test_check_tells_what_others_can_read(tmp_path: Path) -> None:
    written, data = tmp_path / "boswell.yaml", tmp_path / "data"
    sections = {"adapters": {"telegram": {"token": TOKEN}}, "models": {"main": {"provider": "demo"}}}
    written.write_text(json.dumps(sections))
    written.chmod(0o644)
    data.mkdir()
    data.chmod(0o755)
    done = boswell(tmp_path, "check")
    assert done.returncode == 0, done.stderr
    [file, folder] = done.stderr.splitlines()
    assert file.startswith("warning: 'boswell.yaml' holds a secret")
    assert folder.startswith("warning: 'data' holds what people said")
    assert SECRET not in done.stdout + done.stderr
    sections["adapters"]["telegram"]["token"] = "${TELEGRAM_BOT_TOKEN}"
    written.write_text(json.dumps(sections))
    data.chmod(0o700)
    assert boswell(tmp_path, "check").stderr == ""


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_for_our_account_alone_may_hold_secrets(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(
        json.dumps({"adapters": {"telegram": {"token": TOKEN}}, "data_dir": str(tmp_path / "data")})
    )
    path.chmod(mode)
    assert len(list(exposed(load(path, {}).config, path))) == (mode != 0o600)


def test_neither_a_configuration_nor_what_is_wrong_with_one_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(json.dumps({"adapters": {"telegram": {"token": TOKEN}}}))
    loaded = load(path, {})
    for shown in (
        repr(loaded),
        str(loaded.config),
        loaded.config.model_dump_json(),
        repr(vars(loaded.config)),
    ):
        assert SECRET not in shown
    for wrong in (
        {"token": [TOKEN]},
        {"tokn": TOKEN},
        {"token": TOKEN, "base_url": 7},
        {"token": f"{TOKEN}\0"},
    ):
        path.write_text(json.dumps({"adapters": {"telegram": wrong}}))
        with pytest.raises(ConfigError) as told:
            load(path, {})
        assert SECRET not in str(told.value) + repr(told.value)


# The search of all logs (tests/plugins/leaks.py) is itself to be trusted


HEAD = """
import logging, subprocess, sys
import pytest, structlog
import bot.delivery
from pydantic import SecretStr
from structlog.testing import capture_logs
from tests.fakes.model_server import Reply

log = structlog.get_logger("ours")
PRINTS = (sys.executable, "-c", "import sys; print(sys.argv, file=sys.stderr)", "boswell")
"""
LEAKY = """
def test_at_once():
    log.info("e", key=SecretStr("secret-at-once").get_secret_value())

def test_later():
    SecretStr("secret-later")
    log.error("at secret-later")

def test_captured():
    SecretStr("secret-captured")
    with capture_logs():
        log.bind(a=["secret-captured"]).info("e")

def test_of_a_library():
    SecretStr("secret-library")
    logging.getLogger("library").error("at %s", "secret-library")

@pytest.fixture
def left():
    yield
    log.info("secret-teardown")

def test_at_its_end(left):
    SecretStr("secret-teardown")

def test_of_a_process():
    subprocess.run([*PRINTS, SecretStr("secret-process").get_secret_value()], capture_output=True)

def test_into_a_file(tmp_path):
    with (tmp_path / "errors").open("wb") as errors:
        subprocess.run([*PRINTS, SecretStr("secret-file").get_secret_value()], stderr=errors)

def test_of_words():
    Reply(("where the ", "otter sleeps"))
    log.warning("said", what="it is where the otter sleeps, they say")
"""
CLEAN = """
def test_debug():
    SecretStr("secret-debug")
    log.debug("at secret-debug")

def test_masked():
    SecretStr("secret-masked")
    log.info("at [secret]")

@pytest.mark.leaks
def test_on_purpose():
    SecretStr("secret-purpose")
    logging.error("at secret-purpose")

def test_an_exception():
    log.error("e", exc_info=ValueError(SecretStr("secret-exception").get_secret_value()))

def test_words_of_everybody():
    Reply(("yes",))
    log.info("yes")
"""


def test_each_line_that_leaks_is_named_and_fails_the_run(pytester: pytest.Pytester) -> None:
    done = _run(pytester, LEAKY)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["*leaks in the log*", "*8 passed*"])
    told = "\n".join(done.outlines)
    names = re.findall(r"def (test_\w+)", LEAKY)
    assert [name for name in names if not re.search(rf"::{name} logged (a secret|words): ", told)] == []


def test_lines_that_do_not_leak_pass(pytester: pytest.Pytester) -> None:
    done = _run(pytester, CLEAN)
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["log: none of * secrets and * messages in *", "*5 passed*"])


def _run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + tests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest_subprocess("-p", "tests.plugins.leaks", "-p", "no:cacheprovider")
