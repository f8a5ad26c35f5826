"""The command line as an operator types it: real processes in an empty directory, their words and their exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot import sentences
from config import load
from tests.fakes.model_server import Fail, ModelServer, Reply, Request, Step
from tests.fakes.record import ROOT, environ
from tests.fakes.telegram_server import TOKEN, TelegramServer
from tests.fakes.terminal import Program

BOSWELL = (sys.executable, "-m", "bot.cli")
ANNA = "My name is Anna.\n/clear\nwhat did we talk about today?\n"
WITHOUT = """
import sys
missing = {missing!r}

class Finder:
    def __init__(self, other):
        self.other = other
    def __getattr__(self, name):
        return getattr(self.other, name)
    def find_spec(self, name, *args):
        return None if name.partition(".")[0] in missing else self.other.find_spec(name, *args)

sys.meta_path[:] = map(Finder, sys.meta_path)
from bot.cli import main
main(prog_name="boswell")
"""


def run(
    folder: Path, *arguments: str, stdin: str = "", command: Sequence[str] = BOSWELL, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`boswell` to its end. Whatever happens, nobody is shown a traceback."""
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**environ(), **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def write(folder: Path, **sections: object) -> None:
    (folder / "boswell.yaml").write_text(json.dumps(sections))  # JSON is YAML


@asynccontextmanager
async def started(folder: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> AsyncIterator[Running]:
    """`boswell` while it runs; SIGTERM ends it."""
    with (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *BOSWELL, *arguments, cwd=folder, env=environ(), stdin=stdin, stderr=stderr
        )
        running = Running(folder, process)
        try:
            yield running
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(15):
                assert await process.wait() == 0, running.log
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


class Running:
    """A process of ours, and the log it writes."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._folder = folder

    @property
    def log(self) -> str:
        return (self._folder / "stderr").read_text()

    async def logs(self, pattern: str) -> None:
        """Return once the log has the pattern."""
        async with asyncio.timeout(30):
            while not re.search(pattern, self.log):
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.02)

    async def status(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(run, self._folder, "status", *arguments)


# Help and version


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["run", "--help"], ["init", "-h"]])
def test_help_and_version_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys, bot.cli\n"
        "try: bot.cli.main(sys.argv[1:], prog_name='boswell')\n"
        "except SystemExit as exc: assert exc.code == 0\n"
        "print({name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = run(tmp_path, *arguments, command=(sys.executable, "-c", code))
    heavy = {
        "pydantic",
        "yaml",
        "structlog",
        "rich",
        "prompt_toolkit",
        "aiogram",
        "aiohttp",
        "openai",
        "anthropic",
    }
    loaded = set(re.findall(r"\w+", done.stderr.splitlines()[-1]))
    assert "click" in loaded
    assert loaded & heavy == set()
    assert "boswell" in done.stdout


def test_without_a_command_the_help_is_shown_as_an_error(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_the_list_of_commands_cuts_none_of_their_sentences_off(tmp_path: Path) -> None:
    commands = run(tmp_path, "--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line for line in commands if line.endswith("...")] == []
    assert all(len(line) < 80 for line in commands)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command"),
        (["chat", "--wrong"], "No such option"),
        (["export"], "Missing argument"),
        (["check", "--config", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["run", "--config", "."], "this is a directory"),
        (["status", "--config", "nowhere.yaml"], "no such file"),
        (["init", "--adapter", "pigeon"], "'pigeon' is not known; there are: console, telegram"),
        (
            ["init", "--provider", "oracle"],
            "'oracle' is not known; there are: openai, azure, anthropic, demo",
        ),
        (["init", "--provider", "openai,demo"], "one provider"),
        (["history", "../../etc"], "'../../etc' is no user id"),
        (["history", "telegram-1", "someday"], "'someday' is no date; write it like 2026-01-31"),
    ],
)
def test_wrong_arguments_end_with_2_and_say_what_is_wrong(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


# init


def test_init_writes_a_file_that_loads_and_never_writes_over_one(tmp_path: Path) -> None:
    first = run(tmp_path, "init", "--adapter", "telegram", "--adapter", "console", "--provider", "openai")
    assert first.returncode == 0
    assert "TELEGRAM_BOT_TOKEN" in first.stdout
    assert "OPENAI_API_KEY" in first.stdout
    config = load(tmp_path / "boswell.yaml", {"TELEGRAM_BOT_TOKEN": TOKEN, "OPENAI_API_KEY": "k"}).config
    assert config.adapters.telegram
    assert config.adapters.console
    written = (tmp_path / "boswell.yaml").read_text()
    again = run(tmp_path, "init", "--provider", "demo")
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert (tmp_path / "boswell.yaml").read_text() == written
    assert run(tmp_path, "init", "--provider", "demo", "--force").returncode == 0
    assert "demo" in (tmp_path / "boswell.yaml").read_text()


def test_init_names_the_program_as_it_can_be_called(tmp_path: Path) -> None:
    installed = tmp_path / "bin" / "boswell"
    installed.parent.mkdir()
    script = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom bot.cli import main\nmain()\n"
    installed.write_text(script)
    installed.chmod(0o755)
    first = run(tmp_path, "init", "one.yaml", command=("bin/boswell",))
    assert "`bin/boswell check --config one.yaml`, then `bin/boswell run --config one.yaml`" in first.stdout
    path = f"{installed.parent}{os.pathsep}{environ()['PATH']}"
    found = run(tmp_path, "init", command=(str(installed),), PATH=path)
    assert "`boswell check`, then `boswell run`" in found.stdout
    assert "`boswell check`" in run(tmp_path, "init", "--force").stdout


def test_init_does_not_write_through_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "boswell.yaml").symlink_to("elsewhere")
    assert run(tmp_path, "init").returncode == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("path", ["missing/boswell.yaml", "."])
def test_init_says_where_it_can_not_write(tmp_path: Path, path: str) -> None:
    done = run(tmp_path, "init", path, "--force")
    assert done.returncode == 1
    assert f"{path!r} can not be written: " in done.stderr


def test_init_asks_at_a_terminal_until_it_understands(tmp_path: Path) -> None:
    with Program([*BOSWELL, "init"], tmp_path, environ()) as program:
        program.sees(r"Where to talk .*console, telegram.*\[console\]:")
        program.type("pigeon\r")
        program.sees(r"'pigeon' is not known.*\n.*\[console\]:")
        program.type("console, telegram\r")
        program.sees(r"Which model: openai, azure, anthropic, demo \[demo\]:")
        program.type("\r")
        assert program.ends() == 0
    config = load(tmp_path / "boswell.yaml", {"TELEGRAM_BOT_TOKEN": TOKEN}).config
    assert config.adapters.telegram
    assert config.adapters.console
    assert config.models["main"].provider == "demo"


def test_ctrl_c_at_a_question_leaves_without_a_file(tmp_path: Path) -> None:
    with Program([*BOSWELL, "init"], tmp_path, environ()) as program:
        program.sees(r"\[console\]:")
        program.rests()  # readline takes no notice of a signal from the moment before it waits
        program.type("\x03")
        assert program.ends() == 1
        assert "Traceback" not in program.screen.text
    assert list(tmp_path.iterdir()) == []


def test_the_file_may_be_named_before_the_command_and_behind_it(tmp_path: Path) -> None:
    assert run(tmp_path, "--config", "own.yaml", "init", "--provider", "demo").returncode == 0
    assert run(tmp_path, "init", "--config", "other.yaml", "--provider", "demo").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"own.yaml", "other.yaml"}
    for arguments in (
        ["--config", "own.yaml", "check"],
        ["--config", "x.yaml", "check", "--config", "own.yaml"],
    ):
        done = run(tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("own.yaml is correct.")
    assert "x.yaml: there is no such file" in run(tmp_path, "--config", "x.yaml", "pair", "list").stderr
    assert run(tmp_path, "init", "a.yaml", "--config", "b.yaml").returncode == 2


# check, schema


def test_check_says_what_is_taken_where_there_is_no_file(tmp_path: Path) -> None:
    done = run(tmp_path, "check")
    assert done.returncode == 0
    assert "There is no boswell.yaml here." in done.stdout
    assert "demo" in done.stdout


def test_check_names_all_mistakes_at_once(tmp_path: Path) -> None:
    write(tmp_path, agnet={}, access={"policy": "ajar"}, adapters={"telegram": {"token": "${NOT_SET}"}})
    done = run(tmp_path, "check")
    assert done.returncode == 2
    assert [word in done.stderr for word in ("agnet", "ajar", "NOT_SET")] == [True] * 3


async def test_check_live_asks_each_platform_and_model(tmp_path: Path) -> None:
    def respond(_: Request) -> Step:
        return Reply(("ready",))

    async with TelegramServer() as telegram, ModelServer(respond=respond) as model:
        main = {
            "provider": "openai",
            "model": "test",
            "api_key": "sk-test-key",
            "base_url": f"{model.url}/v1",
        }
        adapters = {"telegram": {"token": TOKEN, "base_url": telegram.url}, "console": {}}
        write(tmp_path, models={"main": main, "spare": {"provider": "demo"}}, adapters=adapters)
        done = await asyncio.to_thread(run, tmp_path, "check", "--live")
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "boswell.yaml is correct."
        assert all(line.startswith("ok ") for line in lines[1:])
        assert {"model main: test answers", "model spare: demo answers"} < {line[5:] for line in lines}
        write(
            tmp_path,
            models={"main": {**main, "api_key": "sk-wrong"}},
            adapters={"telegram": {"token": "4242:AAwrong", "base_url": telegram.url}},
        )
        done = await asyncio.to_thread(run, tmp_path, "check", "--live")
        model.problems.clear()
    assert done.returncode == 1
    assert len(re.findall(r"^FAIL (?:telegram|model main)", done.stdout, re.MULTILINE)) == 2
    assert "sk-wrong" not in done.stdout + done.stderr
    assert "AAwrong" not in done.stdout + done.stderr


def test_schema_is_json(tmp_path: Path) -> None:
    for encoding in ("utf-8", "ascii"):
        done = run(tmp_path, "schema", PYTHONIOENCODING=encoding)
        assert json.loads(done.stdout)["title"] == "Boswell's configuration"


# What is not there, or not as it should be


@pytest.mark.parametrize(
    ("missing", "sections", "told"),
    [
        ("aiogram", {"adapters": {"telegram": {"token": TOKEN}}}, "pip install 'boswell[telegram]'"),
        (
            "openai",
            {"models": {"main": {"provider": "openai", "model": "m", "api_key": "k"}}},
            "boswell[openai]",
        ),
        (
            "anthropic",
            {"models": {"main": {"provider": "anthropic", "model": "m", "api_key": "k"}}},
            "boswell[anthropic]",
        ),
    ],
)
def test_a_missing_extra_is_named_with_how_to_install_it(
    tmp_path: Path, missing: str, sections: dict[str, object], told: str
) -> None:
    write(tmp_path, **sections)
    command = (sys.executable, "-c", WITHOUT.format(missing=[missing]))
    for arguments, code in ((["run"], 2), (["check", "--live"], 1)):
        done = run(tmp_path, *arguments, command=command)
        assert done.returncode == code, done.stderr
        assert told in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["chat", "status"])
@pytest.mark.parametrize("kind", ["file", "folder", "garbage"])
def test_a_data_folder_that_can_not_be_used_is_told_in_words(tmp_path: Path, command: str, kind: str) -> None:
    data = tmp_path / "data"
    if kind == "file":
        data.touch()
    elif kind == "folder":
        (data / "boswell.db").mkdir(parents=True)
    else:
        data.mkdir()
        (data / "boswell.db").write_bytes(b"this is no database " * 100)
    done = run(tmp_path, command)
    assert done.returncode == 1
    assert re.search(r"boswell: .*'data/boswell.db'", done.stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_may_not_be_written_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    done = run(tmp_path, "chat")
    assert done.returncode == 1
    assert "check the folder's permissions" in done.stderr


def test_a_port_that_is_taken_is_told_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        webhook = {
            "mode": "webhook",
            "webhook_url": "https://bot.example",
            "webhook_secret": "s3cret-of-the-hook",
            "token": TOKEN,
            "base_url": "http://127.0.0.1:9",
        }
        write(tmp_path, adapters={"telegram": webhook}, server={"port": port})
        done = run(tmp_path, "run")
    assert done.returncode == 1
    assert f"127.0.0.1:{port} can not be listened on" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["chat", "run", "check", "init", "status"])
def test_closed_standard_streams_harm_no_command(tmp_path: Path, command: str) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = run(
            tmp_path,
            command=("sh", "-c", f'exec "$0" -m bot.cli {command} {closed}', sys.executable),
            stdin="hi\n",
        )
        assert done.returncode in (0, 1)
        assert "internal error" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["--help", "schema", "check"])
def test_an_output_that_can_not_be_written_is_told_in_words(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command=("sh", "-c", f'exec "$0" -m bot.cli {command} >/dev/full', sys.executable))
    assert done.returncode == 1
    assert done.stderr == "boswell: No space left on device\n"


def test_a_reader_that_leaves_is_no_error_to_speak_of(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "memory" / "console-ada"
    folder.mkdir(parents=True)
    (folder / "2026-01-30.md").write_text(f"**user:** {'a' * 1_000_000}")  # more than a pipe holds
    script = '"$0" -m bot.cli history console-ada | head -c 1; "$0" -m bot.cli schema | head -c 1'
    done = run(tmp_path, command=("sh", "-c", script, sys.executable))
    assert (done.stdout, done.stderr) == ("#{", "")


# chat, history, status


def test_chat_between_pipes_answers_each_line_in_its_turn(tmp_path: Path) -> None:
    done = run(tmp_path, "chat", "--user", "ada", stdin=ANNA)
    assert done.returncode == 0
    said = re.findall(r"Nice to meet you, Anna\.|^Cleared\.|Here is what I found:", done.stdout, re.MULTILINE)
    assert said == ["Nice to meet you, Anna.", "Cleared.", "Here is what I found:", "Nice to meet you, Anna."]
    assert (tmp_path / "data" / "memory" / "console-ada").is_dir()


def test_lines_pasted_at_a_terminal_are_answered_in_their_order(tmp_path: Path) -> None:
    with Program([*BOSWELL, "chat"], tmp_path, environ()) as program:
        program.sees(r"^>\Z")
        program.type(ANNA.replace("\n", "\r"))
        text = program.sees(r"Here is what I found:[^>]*\n\n>\Z")
        program.rests()
        program.type("/exit\r")
        assert program.ends() == 0
    assert text.index("Cleared.") < text.index("Here is what")


def test_history_prints_a_day_or_all_days_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "memory" / "console-ada"
    folder.mkdir(parents=True)
    first, second = "## 10:00:00 UTC\n\n**user:** \x1b[2J Grüße\n\n", "## 11:00:00 UTC\n\n**user:** two\n\n"
    (folder / "2026-01-30.md").write_text(first)
    (folder / "2026-01-31.md").write_text(second)
    assert run(tmp_path, "history", "console-ada", "2026-01-31").stdout == second
    everything = run(tmp_path, "history", "console-ada").stdout
    assert everything == f"# 2026-01-30\n\n{first}\n# 2026-01-31\n\n{second}"
    for arguments, hint in (
        (["console-bob"], "there are transcripts of: console-ada"),
        (["console-ada", "2026-02-01"], "there are of: 2026-01-30, 2026-01-31"),
        (["console-ada", "yesterday"], "there are of: 2026-01-30, 2026-01-31"),
    ):
        nothing = run(tmp_path, "history", *arguments)
        assert nothing.returncode == 1
        assert hint in nothing.stderr


def test_history_alone_lists_the_people_of_whom_there_are_transcripts(tmp_path: Path) -> None:
    nobody = run(tmp_path, "history")
    assert (nobody.returncode, nobody.stdout) == (0, "There are no transcripts yet.\n")
    for name in ("telegram-1001", "console-ada", "no person"):
        (tmp_path / "data" / "memory" / name).mkdir(parents=True)
    listed = run(tmp_path, "history")
    assert (listed.returncode, listed.stdout) == (0, "console-ada\ntelegram-1001\n")


def test_who_only_looks_needs_no_secret(tmp_path: Path) -> None:
    (tmp_path / "boswell.yaml").write_text(
        "models: {main: {provider: openai, model: m, api_key: '${UNSET_KEY}'}}\n"
        "adapters:\n  console: {}\n  telegram: {token: '${UNSET_TOKEN}', mode: webhook, "
        "webhook_url: 'https://bot.example', webhook_secret: 'file:/nowhere'}\n"
    )
    assert "UNSET_TOKEN" in run(tmp_path, "check").stderr
    assert "there is no database" in run(tmp_path, "status").stderr
    assert "there is no transcript" in run(tmp_path, "history", "telegram-1").stderr


def test_what_a_stranger_wrote_does_not_act_on_the_operators_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "memory" / "telegram-666"
    folder.mkdir(parents=True)
    (folder / "2026-01-30.md").write_text("## 10:00:00 UTC\n\n**user:** \x1b]0;owned\x07\x9b2J end\n\n")
    with Program([*BOSWELL, "history", "telegram-666"], tmp_path, environ()) as program:
        assert program.ends() == 0
        assert "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}" in program.screen.text


def test_status_before_the_first_start_is_not_healthy(tmp_path: Path) -> None:
    done = run(tmp_path, "status")
    assert done.returncode == 1
    assert "no database" in done.stderr
    quiet = run(tmp_path, "status", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (1, "", "")


async def test_status_of_a_console_is_that_of_whoever_chats(tmp_path: Path) -> None:
    async with started(tmp_path, "chat", stdin=subprocess.PIPE) as running:
        await running.logs("adapter_up")
        healthy = await running.status("--json")
        assert healthy.returncode == 0, healthy.stdout
        report = json.loads(healthy.stdout)
        assert report["healthy"]
        assert report["adapters"]["console"]["state"] == "up"
        quiet = await running.status("--quiet")
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
        second = await asyncio.to_thread(run, tmp_path, "chat")
        assert second.returncode == 1
        assert f"another Boswell process (pid {running.process.pid})" in second.stderr
    after = run(tmp_path, "status")
    assert after.returncode == 1
    assert "console: not running" in after.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    async with started(tmp_path, "chat", stdin=subprocess.PIPE) as running:
        await running.logs("adapter_up")
        running.process.send_signal(number)
        async with asyncio.timeout(10):
            assert await running.process.wait() == 0
        assert json.loads(running.log.splitlines()[-1])["event"] == "stopped"


# run


async def test_a_console_without_a_terminal_ends_and_the_others_go_on(tmp_path: Path) -> None:
    async with TelegramServer() as telegram:
        adapters = {"console": {}, "telegram": {"token": TOKEN, "base_url": telegram.url}}
        write(tmp_path, adapters=adapters, access={"policy": "open"}, models={"main": {"provider": "demo"}})
        async with started(tmp_path, "run") as running:
            await running.logs('"console".*"adapter_stopped"')
            telegram.say(1, 1, "My name is Ada")
            await telegram.wait_for(lambda server: "Nice to meet you, Ada." in server.chat(1).texts)
            status = await running.status()
            assert status.returncode == 0, status.stdout
            assert re.search(r"^console: stopped", status.stdout, re.MULTILINE)
            assert re.search(r"^telegram: up", status.stdout, re.MULTILINE)


async def test_a_platform_that_does_not_answer_is_not_healthy(tmp_path: Path) -> None:
    async with TelegramServer("4242:AAanother-token-0123456789abcdefghijkl") as telegram:
        write(tmp_path, adapters={"telegram": {"token": TOKEN, "base_url": telegram.url}})
        async with started(tmp_path, "run") as running:
            await running.logs("adapter_down")
            status = await running.status()
    assert status.returncode == 1
    assert re.search(r"^telegram: down \(.*token", status.stdout, re.MULTILINE)


async def test_the_log_of_a_conversation_has_no_words_and_no_secrets(tmp_path: Path) -> None:
    key, marks = "key-that-looks-like-nothing", ("zebra", "walrus", "ocelot", "gibbon")

    def respond(request: Request) -> Step:
        said = str(request.body["messages"][-1]["content"])
        if "ocelot" in said:
            return Fail(500, {"message": f"gibbon {key}"})
        return Reply(("a walrus ", f"answers {said}"))

    async with TelegramServer() as telegram, ModelServer(respond=respond, strict=False) as model:
        main = {"provider": "openai", "model": "test", "api_key": key, "base_url": f"{model.url}/v1"}
        write(
            tmp_path,
            models={"main": main},
            adapters={"telegram": {"token": TOKEN, "base_url": telegram.url}},
            access={"policy": "closed", "allow": ["telegram-1"]},
            log={"level": "info"},
        )
        async with started(tmp_path, "run") as running:
            telegram.say(1, 1, "a zebra", name="Zebra")
            await telegram.wait_for(lambda server: "walrus answers" in "".join(server.chat(1).texts))
            telegram.say(1, 1, "an ocelot")
            await running.logs('"turn_failed"')
            telegram.say(2, 2, "a zebra at the gate")
            refused = sentences.REFUSED.format(user_id="telegram-2")
            await telegram.wait_for(lambda server: refused in server.chat(2).texts)
            telegram.push({"message": {"message_id": "a zebra that can not be read"}})
            telegram.say(1, 1, "/history zebra")
            await running.logs('"command:history"')
    log = running.log.lower()
    assert [mark for mark in marks if mark in log] == []
    assert TOKEN.lower() not in log
    assert TOKEN.partition(":")[2].lower() not in log
    assert key not in log
    assert '"outcome": "answered"' in log


@pytest.mark.parametrize("leave", ["\x04", "/exit\r"])
def test_leaving_in_mid_answer_stops_it_at_once_and_says_so(tmp_path: Path, leave: str) -> None:
    with Program([*BOSWELL, "chat"], tmp_path, environ()) as program:
        program.sees("^>")
        program.type("count to 400\r")
        program.sees("12 13 14")
        program.type(leave)
        assert program.ends(4) == 0
        assert "(stopped)" in program.screen.text
    (transcript,) = (tmp_path / "data" / "memory").rglob("*.md")
    assert transcript.read_text().rstrip().endswith("(stopped)")


def test_who_pipes_an_answer_is_asked_as_well(tmp_path: Path) -> None:
    run(tmp_path, "chat", "--user", "ada", stdin="My name is Anna.\n")
    nobody = run(tmp_path, "forget", "console-ada")
    assert (nobody.returncode, "--yes erases without asking" in nobody.stderr) == (2, True)
    no = run(tmp_path, "forget", "console-ada", stdin="n\n")
    assert (no.returncode, "nothing was erased" in no.stderr) == (1, True)
    assert run(tmp_path, "history", "console-ada").returncode == 0
    assert run(tmp_path, "forget", "console-ada", stdin="y\n").returncode == 0
    assert run(tmp_path, "history", "console-ada").returncode == 1


def test_what_is_logged_does_not_come_among_what_was_asked_for(tmp_path: Path) -> None:
    run(tmp_path, "chat", "--user", "ada", stdin="My name is Anna.\n/search Anna\n")
    (tmp_path / "data/index/console-ada.db").write_bytes(b"this is no index")
    found = run(tmp_path, "search", "console-ada", "Anna")
    assert "index_rebuilt" in found.stderr
    assert "_" not in found.stdout
    forgotten = run(tmp_path, "forget", "console-ada", "--yes")
    assert forgotten.stdout.startswith("Nothing is kept of console-ada any more.\n")
