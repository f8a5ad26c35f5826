"""Commands of root's on a `data_dir` that is somebody else's: nothing there becomes root's, or Boswell could not use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.record import environ

OWNER, GROUP = 12345, 12346  # of the service's account; there need be none
USER = "console-anna"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for others")


def boswell(folder: Path, *arguments: str, stdin: str = "") -> None:
    command = [sys.executable, "-m", "bot.cli", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def give(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, GROUP)


def not_theirs(*folders: Path) -> list[str]:
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return [str(path) for path in found if (path.stat().st_uid, path.stat().st_gid) != (OWNER, GROUP)]


@pytest.fixture
def lived(tmp_path: Path) -> Path:
    """Where the service has been talked to by its own account, with people's folders on their own."""
    sections = {"adapters": {"console": {"user": "anna"}}, "memory": {"dir": "people"}}
    (tmp_path / "boswell.yaml").write_text(json.dumps(sections))  # JSON is YAML
    boswell(tmp_path, "chat", stdin="My bicycle is blue.\n/facts add I like tea\n")
    for name in ("index", "locks"):  # which come back when they are needed
        shutil.rmtree(tmp_path / "data" / name, ignore_errors=True)
    give(tmp_path / "data")
    give(tmp_path / "people")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("search", USER, "bicycle"),
        ("history", USER, "today"),
        ("export", USER),
        ("backup", "all.zip"),
        ("forget", USER, "--yes"),
        ("pair", "list"),
        ("dead", "list"),
        ("schedules",),
        ("usage",),
        ("chat", "--user", "bert"),
    ],
    ids=lambda command: command[0],
)
def test_what_root_makes_is_owned_as_its_folder_is(lived: Path, command: tuple[str, ...]) -> None:
    boswell(lived, *command, stdin="I have a parrot.\n" if command[0] == "chat" else "")
    assert not_theirs(lived / "data", lived / "people") == []


def test_what_root_restores_is_owned_as_its_folder_is(lived: Path) -> None:
    boswell(lived, "backup", "all.zip")
    assert (lived / "all.zip").stat().st_uid == 0  # outside of data_dir
    boswell(lived, "restore", "all.zip")
    assert not_theirs(lived / "data", lived / "people") == []
