"""The README tells the truth: its commands are run, its files loaded, its links followed, its session recorded anew."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from bot import sentences
from bot.cli import main
from bot.commands import COMMANDS
from config import load
from tests.acceptance.test_cli import ANNA, run, started
from tests.fakes import discord_server, slack
from tests.fakes.record import README, ROOT, SAID, environ, record, shown
from tests.fakes.telegram_server import TOKEN, TelegramServer

TEXT = README.read_text(encoding="utf-8")
SECRETS = {"TELEGRAM_BOT_TOKEN": TOKEN, "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def _tables() -> Iterator[tuple[str, str, list[str]]]:
    """Each row of a table: the table's first heading, and the row's first cell with what it has in backticks."""
    heading = ""
    for line in TEXT.splitlines():
        if line.startswith("|---"):
            continue
        if not line.startswith("|"):
            heading = ""
            continue
        first = line.split("|")[1].strip()
        if heading:
            yield heading, first, re.findall(r"`([^`]+)`", first)
        heading = heading or first


def _column(heading: str) -> list[str]:
    return [name for table, _, names in _tables() if table == heading for name in names]


def _clone(folder: Path) -> Path:
    """The repository as somebody gets it who clones it now: what is committed, and what is about to be."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git repository")
    clone = folder / "boswell"
    subprocess.run([git, "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True, timeout=60)
    listed = [git, "-C", ROOT, "ls-files", "--modified", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True, timeout=60).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    return clone


def _prepared(clone: Path) -> dict[str, str]:
    """What makes `make` take the Python that runs the tests, where an installation would take minutes."""
    binaries = clone / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "boswell").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bot.cli "$@"\n')
    (binaries / "boswell").chmod(0o755)
    (clone / ".venv" / ".installed-run").touch()
    return {"PYTHONPATH": str(clone)}


def _make(clone: Path, target: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in environ().items() if name != "PYTHONPATH"}
    return subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=clone,
        env={**plain, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _talked(done: subprocess.CompletedProcess[str], clone: Path) -> None:
    """The demo model met Anna, forgot her, called the history tool, and said what the file says."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    before, found = done.stdout.split("Here is what I found:\n")
    assert "Nice to meet you, Anna." in before
    assert sentences.CLEARED in before
    (file,) = (clone / "data" / "memory").glob("console-*/*.md")
    today, _, later = file.read_text().partition("---\n")
    for line in filter(None, today.splitlines()):
        told = line.replace("**user:**", "**You:**").replace("**assistant:**", "**Me:**").removeprefix("## ")
        assert told in found
    assert "what did we talk about today?" in later


# The commands


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_run_in_a_clean_clone_remembers_anna_after_clear(tmp_path: Path) -> None:
    clone = _clone(tmp_path)
    _talked(_make(clone, "run", ANNA, **_prepared(clone)), clone)
    status = subprocess.run(
        ["git", "-C", clone, "status", "--porcelain", "data", ".venv"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert status.stdout == "", "what a run leaves is ignored by git"


@pytest.mark.skipif("CI" not in os.environ, reason="installs everything from scratch; set CI=true")
@pytest.mark.timeout(900)
def test_make_run_in_a_clean_clone_installs_itself(tmp_path: Path) -> None:
    clone = _clone(tmp_path)
    _talked(_make(clone, "run", ANNA), clone)
    assert _make(clone, "install").returncode == 0
    version = subprocess.run(
        [clone / ".venv/bin/boswell", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("boswell, version ")


def test_every_shell_command_is_one_that_exists(tmp_path: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    written = (
        "\n".join(_blocks("sh")).replace("\\\n", " ") + "\n" + "\n".join(re.findall(r"`([^`\n]+)`", TEXT))
    )
    made = set(re.findall(r"^\s*make (\w+)", written, re.MULTILINE))
    assert {"run", "test", "install", "bench", "soak"} <= made <= set(targets)
    given = set(re.findall(r"^(?:\.venv/bin/)?boswell (\w+)", written, re.MULTILINE))
    assert set(main.commands) >= given
    for line in re.findall(r"^(?:\.venv/bin/)?boswell (\w.*)", written, re.MULTILINE):
        name, *rest = line.replace("[", "").replace("]", "").split()
        command = main.commands[name]
        while rest and isinstance(command, click.Group) and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options


async def test_the_steps_to_slack_work_as_they_are_written(tmp_path: Path) -> None:
    (init,) = re.findall(r"`\.venv/bin/boswell (init [^`]*slack[^`]*)`", TEXT)
    (manifest,) = re.findall(r"`\.venv/bin/boswell (slack manifest)`", TEXT)
    async with slack.SlackServer() as server:
        assert run(tmp_path, *init.split()).returncode == 0
        path = tmp_path / "boswell.yaml"
        pasted = yaml.safe_load(run(tmp_path, *manifest.split()).stdout)
        assert pasted["settings"]["socket_mode_enabled"]
        server.first.scopes = set(pasted["oauth_config"]["scopes"]["bot"])
        missing = run(tmp_path, "check")
        assert missing.returncode == 2
        assert "SLACK_BOT_TOKEN" in missing.stderr
        assert "SLACK_APP_TOKEN" in missing.stderr
        # From here on with the local platform and no model, because nothing may be called that costs money.
        text = path.read_text().replace("  slack:\n", f"  slack:\n    base_url: {server.base_url}\n")
        path.write_text(re.sub(r"provider: openai\n(?:    .*\n)+", "provider: demo\n", text))
        variables = {"SLACK_BOT_TOKEN": slack.BOT_TOKEN, "SLACK_APP_TOKEN": slack.APP_TOKEN}
        live = await asyncio.to_thread(run, tmp_path, "check", "--live", **variables)
        assert live.returncode == 0, live.stdout + live.stderr
        text = path.read_text()
        for name, token in variables.items():
            text = text.replace(f"${{{name}}}", token)
        path.write_text(text)
        async with started(tmp_path, "run"):
            direct = server.first.direct(server.first.person("U77", "Anna"))
            server.say(direct.id, "U77", "hello")
            await server.wait_for(lambda _: bool(direct.texts()), 30)
            (code,) = re.findall(r"\b[2-9A-Z]{8}\b", direct.texts()[0])
            approved = await asyncio.to_thread(run, tmp_path, "pair", "approve", code)
            assert approved.stdout == "slack-T1-U77 is let in.\n"
            server.say(direct.id, "U77", "My name is Anna.")
            await server.wait_for(lambda _: any("Anna" in text for text in direct.texts()), 30)


async def test_the_steps_to_discord_work_as_they_are_written(tmp_path: Path) -> None:
    (init,) = re.findall(r"`\.venv/bin/boswell (init [^`]*discord[^`]*)`", TEXT)
    async with discord_server.DiscordServer() as discord:
        assert run(tmp_path, *init.split()).returncode == 0
        path = tmp_path / "boswell.yaml"
        missing = run(tmp_path, "check")
        assert missing.returncode == 2
        assert "DISCORD_BOT_TOKEN" in missing.stderr
        # From here on with the local platform and no model, because nothing may be called that costs money.
        text = path.read_text().replace("  discord:\n", f"  discord:\n    base_url: {discord.base_url}\n")
        path.write_text(re.sub(r"provider: openai\n(?:    .*\n)+", "provider: demo\n", text))
        token = {"DISCORD_BOT_TOKEN": discord_server.TOKEN}
        live = await asyncio.to_thread(run, tmp_path, "check", "--live", **token)
        assert live.returncode == 0, live.stdout + live.stderr
        (invite,) = re.findall(r"https://discord\.com/oauth2/authorize\?\S+", live.stdout)
        needed = int(re.findall(r"permissions=(\d+)", invite)[0])
        channel = discord.channel(discord.guild(permissions=needed))  # somebody has opened the link
        live = await asyncio.to_thread(run, tmp_path, "check", "--live", **token)
        assert "in one server" in live.stdout
        path.write_text(path.read_text().replace("${DISCORD_BOT_TOKEN}", discord_server.TOKEN))
        async with started(tmp_path, "run"):
            await discord.wait_for(lambda server: server.gateway.online(), 30)
            direct = discord.dm(1001, "Anna").id
            discord.say(direct, 1001, "hello")
            await discord.wait_for(lambda server: bool(server.texts(direct)), 30)
            (code,) = re.findall(r"\b[2-9A-Z]{8}\b", discord.texts(direct)[0])
            approved = await asyncio.to_thread(run, tmp_path, "pair", "approve", code)
            assert approved.stdout == "discord-1001 is let in.\n"
            discord.say(channel.id, 1001, f"{discord.mention} My name is Anna")
            await discord.wait_for(lambda server: "Nice to meet you, Anna." in server.texts(channel.id), 30)
            discord.slash(channel.id, 1001, "help")
            await discord.wait_for(lambda server: bool(server.private(1001)), 30)


async def test_the_steps_to_telegram_work_as_they_are_written(tmp_path: Path) -> None:
    (init,) = re.findall(r"`\.venv/bin/boswell (init [^`]*telegram[^`]*)`", TEXT)
    async with TelegramServer() as telegram:
        assert run(tmp_path, *init.split()).returncode == 0
        path = tmp_path / "boswell.yaml"
        missing = run(tmp_path, "check")
        assert missing.returncode == 2
        assert "TELEGRAM_BOT_TOKEN" in missing.stderr
        assert "OPENAI_API_KEY" in missing.stderr
        variables = {"TELEGRAM_BOT_TOKEN": TOKEN, "OPENAI_API_KEY": "k"}
        assert run(tmp_path, "check", **variables).returncode == 0
        # From here on with the local platform and no model, because nothing may be called that costs money.
        text = path.read_text().replace(
            "token: ${TELEGRAM_BOT_TOKEN}", f"token: {TOKEN}\n    base_url: {telegram.url}"
        )
        path.write_text(re.sub(r"provider: openai\n(?:    .*\n)+", "provider: demo\n", text))
        live = await asyncio.to_thread(run, tmp_path, "check", "--live")
        assert live.returncode == 0, live.stdout + live.stderr
        async with started(tmp_path, "run") as running:
            telegram.say(1001, 1001, "hello")
            await telegram.wait_for(lambda server: bool(server.chat(1001).texts), 30)
            (code,) = re.findall(r"\b[2-9A-Z]{8}\b", telegram.chat(1001).texts[0])
            listed = await asyncio.to_thread(run, tmp_path, "pair", "list")
            assert re.search(rf"{code} +telegram-1001 ", listed.stdout)
            approved = await asyncio.to_thread(run, tmp_path, "pair", "approve", code)
            assert approved.stdout == "telegram-1001 is let in.\n"
            await telegram.wait_for(lambda server: sentences.PAIRED in server.chat(1001).texts, 30)
            operators, count = re.subn(r"operators: \[\]", "operators: [telegram-1001]", path.read_text())
            assert count == 1
            path.write_text(operators)
            while sentences.NOBODY_WAITS not in (
                texts := telegram.chat(1001).texts
            ):  # once it noticed the file
                await asyncio.sleep(0.3)  # commands have a limit per minute
                telegram.say(1001, 1001, "/pair")
                await telegram.wait_for(
                    lambda server, seen=tuple(texts): server.chat(1001).texts != list(seen), 30
                )
            telegram.say(1001, 1001, "My name is Anna")
            await telegram.wait_for(lambda server: "Nice to meet you, Anna." in server.chat(1001).texts, 30)
            status = await running.status()
            assert status.returncode == 0, status.stdout
            assert "telegram: up" in status.stdout
        assert (await running.status()).returncode == 1
    assert "Nice to meet you, Anna." in run(tmp_path, "history", "telegram-1001").stdout


# The session


def _masked(session: str) -> str:
    return re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", re.sub(r" *\w+day \d{4}-\d\d-\d\d", "DAY", session))


def test_the_recorded_session_is_what_happens(tmp_path: Path) -> None:
    assert all(f"> {line}\n" in shown() for line in SAID)
    fresh = record([sys.executable, "-m", "bot.cli", "chat"], tmp_path)
    assert _masked(shown()) == _masked(fresh), "record it anew: python -m tests.fakes.record"


# What it names


def test_every_yaml_block_is_a_configuration(tmp_path: Path) -> None:
    assert _blocks("yaml")
    for block in _blocks("yaml"):
        (tmp_path / "boswell.yaml").write_text(block)
        load(tmp_path / "boswell.yaml", SECRETS)


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_the_tables_name_every_command_and_no_other() -> None:
    in_chat = {re.split(r"[ \[]", name)[0] for name in _column("command")}
    assert in_chat == {f"/{name}" for name in COMMANDS}
    assert {name.split()[1] for name in _column("command line")} == set(main.commands)


def test_the_map_names_folders_and_modules_that_exist() -> None:
    folders = _column("folder")
    assert {"bot/", "adapters/", "memory/", "config/", "tests/"} <= set(folders)
    for line in (line for line in TEXT.splitlines() if re.match(r"\| `\w+/` \|", line)):
        folder, contents = line.split("|")[1].strip(" `"), line.split("|")[2]
        assert (ROOT / folder).is_dir(), folder
        for name in re.findall(r"`(\w+)`", contents):
            assert any((ROOT / folder / f"{name}{end}").exists() for end in (".py", "/__init__.py")), name
        for name in re.findall(r"`(\w+/|[\w.]+\.yaml)`", contents):
            assert (ROOT / folder / name).exists(), name


def test_the_unit_for_systemd_starts_a_command_that_exists() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # its keys are case-sensitive
    unit.read(ROOT / "deploy" / "boswell.service")
    program, command, *options = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/bin/boswell")
    assert options[0] in main.commands[command].params[0].opts
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert "/etc/boswell/secrets.env" in unit["Service"]["EnvironmentFile"]
    assert "/etc/boswell/secrets.env" in TEXT
