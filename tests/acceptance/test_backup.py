"""Everything that lasts, into one file and back: whole, whoever is at work and whenever the process is killed."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from memory import backup, leases, swap
from memory.database import open_database
from memory.export import Paths
from memory.sql import migrations
from tests.fakes.full_disk import no_file_larger_than
from tests.fakes.house import house
from tests.fakes.model_server import Reply
from tests.fakes.running import asked, running
from tests.fakes.scripted_model import ScriptedModel


def echo() -> ScriptedModel:
    return ScriptedModel(lambda request: "Noted.")


def place(folder: Path) -> Paths:
    return Paths(folder / "boswell.db", folder / "memory")


async def lived(folder: Path, *texts: str) -> None:
    """Somebody talked to a Boswell with this data_dir."""
    async with house(folder, echo()) as h:
        for text in texts:
            await h.say(text)
            await h.settled()


def state(folder: Path, memory: Path | None = None) -> tuple[list[str], str]:
    """What the log of the database has somebody say, and all that stands in the files."""
    memory = memory or folder / "memory"
    with closing(sqlite3.connect(folder / "boswell.db")) as database:
        rows = database.execute(
            "SELECT data FROM events WHERE type = 'user' ORDER BY stream_id, seq"
        ).fetchall()
    files = [path.read_text("utf-8") for path in sorted(memory.rglob("*.md"))]
    return [json.loads(row[0])["text"] for row in rows], "".join(files)


def configured(folder: Path, **sections: Any) -> Path:
    path = folder / "boswell.yaml"
    values = {"adapters": {"console": {}}, "data_dir": str(folder / "data"), **sections}
    path.write_text(json.dumps(values))
    return path


def boswell(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--config", str(config)])


async def test_what_a_backup_holds_comes_back_and_the_old_state_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await lived(data, "first")
    (data / "memory/memory-1/facts.md").write_text("- likes fjords\n")
    config, file = configured(tmp_path), tmp_path / "kept.zip"
    result = boswell(config, "backup", str(file))
    assert (result.exit_code, result.output) == (
        0,
        f"Wrote {file}: the database, and the files of 1 person.\n",
    )
    assert file.stat().st_mode & 0o777 == 0o600
    before = state(data)
    await lived(data, "second")
    (data / "memory/memory-1/facts.md").unlink()
    (data / "index").mkdir()
    (data / "own.txt").write_text("somebody else's")
    later = state(data)
    result = boswell(config, "restore", str(file))
    assert result.exit_code == 0, result.output
    assert state(data) == before
    assert (data / "memory/memory-1/facts.md").read_text() == "- likes fjords\n"
    [kept] = tmp_path.glob("data.before-restore-*")
    assert str(kept) in result.output
    assert state(kept) == later
    assert sorted(path.name for path in data.iterdir()) == ["boswell.db", "locks", "memory", "own.txt"]
    assert (kept / "index").is_dir()
    assert all(
        stat.S_IMODE(p.stat().st_mode) & 0o077 == 0
        for p in [data / "boswell.db", *(data / "memory").rglob("*")]
    )
    async with house(data, echo()) as h:  # and life goes on
        await h.say("third")
        await h.settled()
        assert [text for role, text in h.transcript() if role == "user"] == ["first", "third"]


async def test_a_backup_goes_to_another_machine(tmp_path: Path) -> None:
    await lived(tmp_path / "data", "first")
    backup.make(tmp_path / "b.zip", place(tmp_path / "data"), "1", 0.0)
    other = tmp_path / "other"
    _, kept = backup.restore(tmp_path / "b.zip", place(other / "data"), 0.0)
    assert kept == []
    assert state(other / "data") == state(tmp_path / "data")
    assert [path.name for path in other.iterdir()] == ["data"]


async def test_a_memory_folder_that_is_elsewhere_comes_back_there(tmp_path: Path) -> None:
    data, memory = tmp_path / "data", tmp_path / "somewhere/notes"
    await lived(data, "first")
    memory.parent.mkdir()
    shutil.move(data / "memory", memory)
    (memory / "README").write_text("by hand, of nobody")
    config = configured(tmp_path, memory={"dir": str(memory)})
    assert boswell(config, "backup", str(tmp_path / "b.zip")).exit_code == 0
    before = state(data, memory)
    [file] = (memory / "memory-1").glob("*.md")
    file.write_text("changed")
    result = boswell(config, "restore", str(tmp_path / "b.zip"))
    assert result.exit_code == 0, result.output
    assert state(data, memory) == before
    assert (memory / "README").read_text() == "by hand, of nobody"
    [kept] = memory.parent.glob("notes.before-restore-*")
    assert (kept / "memory-1" / file.name).read_text() == "changed"
    assert result.output.count("What was there before") == 2


async def test_where_nothing_can_be_kept_beside_it_is_kept_inside(tmp_path: Path) -> None:
    """As where data_dir is a volume's mount: it can not be renamed, and beside it is another disk."""
    data, memory = tmp_path / "data", tmp_path / "notes"
    await lived(data, "first")
    shutil.move(data / "memory", memory)
    where = Paths(data / "boswell.db", memory)
    backup.make(tmp_path / "b.zip", where, "1", 0.0)
    before = state(data, memory / "memory-1")
    [file] = (memory / "memory-1").glob("*.md")
    file.write_text("changed")
    for folder in (data, memory):
        folder.with_name(f"{folder.name}.before-restore-19700101T000000Z").touch()
    _, kept = backup.restore(tmp_path / "b.zip", where, 0.0)
    assert kept == [data / ".before-restore-19700101T000000Z", memory / ".before-restore-19700101T000000Z"]
    assert state(data, memory / "memory-1") == before
    assert (kept[1] / "memory-1" / file.name).read_text() == "changed"
    backup.make(tmp_path / "again.zip", where, "1", 0.0)
    _, kept = backup.restore(tmp_path / "again.zip", where, 1.0)
    assert state(data, memory / "memory-1") == before


@pytest.mark.parametrize("link", ["data", "memory"])
async def test_a_folder_that_is_a_link_stays_one(tmp_path: Path, link: str) -> None:
    data = tmp_path / "data"
    await lived(data, "first")
    real = tmp_path / "elsewhere"
    leading = data if link == "data" else data / "memory"
    shutil.move(leading, real)
    leading.symlink_to(real)
    backup.make(tmp_path / "b.zip", place(data), "1", 0.0)
    before = state(data)
    await lived(data, "second")
    backup.restore(tmp_path / "b.zip", place(data), 0.0)
    assert state(data) == before
    assert leading.is_symlink()


async def test_a_backup_is_made_while_boswell_runs_and_restored_only_when_it_does_not(tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    async with running(tmp_path, lambda request: Reply(f"You said {asked(request)}.")) as b:
        b.telegram.say(1001, 1001, "one")
        await b.answered(1001, "You said one.")
        result = await b.boswell("backup", str(file))
        assert result.exit_code == 0, result.output
        b.telegram.say(1001, 1001, "two")
        await b.answered(1001, "You said two.")
        result = await b.boswell("restore", str(file))
        assert result.exit_code == 1
        assert "runs the adapter telegram on this data_dir; stop it first" in result.output
    assert state(tmp_path / "data")[0] == ["one", "two"]
    async with open_database(tmp_path / "data/boswell.db"):
        result = await asyncio.to_thread(boswell, tmp_path / "boswell.yaml", "restore", str(file))
        assert (result.exit_code, "stop it first" in result.output) == (1, True)
    result = await asyncio.to_thread(boswell, tmp_path / "boswell.yaml", "restore", str(file))
    assert result.exit_code == 0, result.output
    assert state(tmp_path / "data")[0] == ["one"]


async def test_nothing_is_lost_or_doubled_that_was_on_its_way_when_the_backup_was_made(
    tmp_path: Path,
) -> None:
    """Turns that were complete and not in their file, in the very instant: the copy owes them, and the file may have them."""
    data = tmp_path / "data"
    async with house(data, echo()) as h:
        talking = asyncio.create_task(_talk(h, 60))
        for number in range(6):
            await asyncio.to_thread(backup.make, tmp_path / f"{number}.zip", place(data), "1", 0.0)
        await talking
        await h.settled()
    for number in range(6):
        other = tmp_path / f"other{number}"
        backup.restore(tmp_path / f"{number}.zip", place(other), 0.0)
        async with house(other, echo()) as h:
            await h.settled()
            said = [text for role, text in h.transcript() if role == "user"]
            log, _ = state(other)
            assert (
                sorted(said, key=int)[: len(log)] == log
            )  # the files may have what was said after the instant
            assert len(said) == len(set(said)), "a turn stands twice"
            assert set(said) >= set(log)


async def _talk(h: Any, count: int) -> None:
    for number in range(count):
        await h.say(str(number))
        await h.parts.engine.idle()


async def test_backups_write_over_nothing_and_name_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = configured(tmp_path)
    result = boswell(config, "backup")
    assert (result.exit_code, "there is no database" in result.output) == (1, True)
    await lived(tmp_path / "data", "first")
    assert boswell(config, "backup").exit_code == 0
    [file] = tmp_path.glob("boswell-backup-*.zip")
    (tmp_path / "there").mkdir()
    assert boswell(config, "backup", "there").exit_code == 0
    assert len(list((tmp_path / "there").iterdir())) == 1
    content = file.read_bytes()
    result = boswell(config, "backup", str(file))
    assert (result.exit_code, "exists" in result.output, file.read_bytes()) == (1, True, content)
    result = boswell(config, "restore", "nothing.zip")
    assert (result.exit_code, result.output) == (1, "boswell: 'nothing.zip': No such file or directory\n")


async def test_links_and_names_that_are_no_text_are_left_and_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await lived(data, "first")
    (tmp_path / "secret.md").write_text("SECRET")
    (data / "memory/memory-1/link.md").symlink_to(tmp_path / "secret.md")
    for name in (b"\xff.md", b"a\\..\\b.md"):
        os.close(os.open(os.fsencode(data / "memory/memory-1") + b"/" + name, os.O_CREAT, 0o600))
    result = boswell(configured(tmp_path), "backup", str(tmp_path / "b.zip"))
    assert (result.exit_code, result.output.count("is not in it")) == (0, 3), result.output
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert not any(b"SECRET" in archive.read(name) for name in archive.namelist())


async def test_a_person_s_folder_that_is_a_link_is_backed_up_and_comes_back_as_a_folder(
    tmp_path: Path,
) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    await lived(data, "first")
    folder = data / "memory/memory-1"
    folder.rename(other)
    folder.symlink_to(other)
    [day] = [path.name for path in other.glob("*.md")]
    said = (other / day).read_text()
    assert boswell(configured(tmp_path), "backup", str(tmp_path / "b.zip")).exit_code == 0
    assert boswell(configured(tmp_path), "restore", str(tmp_path / "b.zip")).exit_code == 0
    assert (folder.is_symlink(), (folder / day).read_text(), (other / day).read_text()) == (False, said, said)


@pytest.mark.parametrize("year", [1960, 2200])
async def test_a_file_of_a_year_that_no_zip_file_knows_is_taken_all_the_same(
    tmp_path: Path, year: int
) -> None:
    data = tmp_path / "data"
    await lived(data, "first")
    at = datetime(year, 1, 1, tzinfo=UTC).timestamp()
    (data / "memory/memory-1/odd.md").write_text("odd")
    os.utime(data / "memory/memory-1/odd.md", (at, at))
    for command in (
        ["backup", str(tmp_path / "b.zip")],
        ["export", "memory-1", "--output", str(tmp_path / "e.zip")],
    ):
        result = await asyncio.to_thread(boswell, configured(tmp_path), *command)
        assert result.exit_code == 0, result.output
    assert boswell(configured(tmp_path), "restore", str(tmp_path / "b.zip")).exit_code == 0


# What is no backup


def rewritten(
    file: Path,
    *,
    add: Mapping[str, bytes] = {},
    told: Mapping[str, Any] = {},
    truly: bool = True,
    attributes: Mapping[str, int] = {},
) -> Path:
    """The backup with more members, and another manifest; where `truly` their sums are right."""
    target = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        manifest = json.loads(old.read("manifest.json"))
        contents = {name: old.read(name) for name in manifest["members"]} | dict(add)
        for name, data in contents.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes.get(name, 0o600 << 16)
            new.writestr(info, data, zipfile.ZIP_DEFLATED)
            if truly:
                manifest["members"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        new.writestr("manifest.json", json.dumps({**manifest, **told}))
    return target


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    await lived(tmp_path / "data", "first")
    backup.make(tmp_path / "b.zip", place(tmp_path / "data"), "1", 0.0)
    return tmp_path / "b.zip"


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


PATHS = (
    "../evil.md",
    "/etc/evil.md",
    "memory/../../evil.md",
    "memory/memory-1/../../../evil.md",
    "memory/memory-1//evil.md",
    "memory/memory-1/.",
    "memory\\..\\evil.md",
    "memory/memory-1/a\\..\\evil.md",
    "memory/nobody/evil.md",
    "memory/memory-1",
    "memory/memory-1/folder/",
    "locks/adapter-x.lock",
    "boswell.db-wal",
    "C:/evil.md",
    "memory/memory-1/" + "x" * 300,
)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_touched(made: Path, name: str) -> None:
    changed = rewritten(made, add={name: b"evil"})
    before = listing(made.parent)
    with pytest.raises(backup.BadBackup):
        backup.restore(changed, place(made.parent / "data"), 0.0)
    assert listing(made.parent) == before


def test_links_devices_and_encrypted_members_are_refused(made: Path) -> None:
    before = listing(made.parent / "data")
    for kind in (stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFIFO):
        name = "memory/memory-1/evil.md"
        changed = rewritten(made, add={name: b"/etc/passwd"}, attributes={name: (kind | 0o777) << 16})
        with pytest.raises(backup.BadBackup, match="link"):
            backup.restore(changed, place(made.parent / "data"), 0.0)
    data = bytearray(made.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag of encryption in the first central header
    changed.write_bytes(bytes(data))
    with pytest.raises(backup.BadBackup):
        backup.restore(changed, place(made.parent / "data"), 0.0)
    assert listing(made.parent / "data") == before


def test_a_bomb_does_not_go_off(made: Path) -> None:
    bomb = "memory/memory-1/bomb.md"
    changed = rewritten(made, add={bomb: b"\0" * (64 << 20)})
    assert changed.stat().st_size < 1 << 20
    data = bytearray(changed.read_bytes())
    # It says that it is small, in both headers: what is more is not even read.
    size = (64 << 20).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    changed.write_bytes(bytes(data))
    with pytest.raises(backup.BadBackup):
        backup.restore(changed, place(made.parent / "data"), 0.0)
    members = {bomb: {"size": 1 << 60, "sha256": "0" * 64}}
    with pytest.raises(backup.BadBackup):
        backup.restore(rewritten(made, told={"members": members}), place(made.parent / "data"), 0.0)


def test_what_was_changed_is_refused(made: Path) -> None:
    before = listing(made.parent / "data")
    target = place(made.parent / "data")
    whole = made.read_bytes()
    broken = made.with_name("broken.zip")
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:size])
        with pytest.raises(backup.BadBackup, match="damaged"):
            backup.restore(broken, target, 0.0)
    for at in range(0, len(whole), len(whole) // 400):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            backup.restore(broken, place(made.parent / "other"), 0.0)
        except backup.BadBackup:
            continue
        assert state(made.parent / "other") == state(
            made.parent / "data"
        )  # a byte that means nothing, such as a time
        shutil.rmtree(made.parent / "other")
    for changed in (
        rewritten(made, add={"boswell.db": b"another"}, truly=False),
        rewritten(made, add={"memory/memory-1/more.md": b"not told of"}, truly=False),
        rewritten(made, add={"boswell.db": b"no database at all, but with the right sum"}),
        rewritten(made, told={"schema": 1}),
        rewritten(made, told={"members": {}}),
        rewritten(made, told={"boswell_backup": "x"}),
    ):
        with pytest.raises(backup.BadBackup):
            backup.restore(changed, target, 0.0)
    assert listing(made.parent / "data") == before
    assert not (made.parent / "data" / swap.PLAN).exists()


def test_a_backup_of_a_later_version_is_refused_with_what_to_do(made: Path) -> None:
    for told in ({"schema": len(migrations()) + 1}, {"boswell_backup": 2}):
        changed = rewritten(made, told={**told, "version": "9.0"})
        with pytest.raises(backup.BadBackup, match="later Boswell .*9.0.*upgrade Boswell"):
            backup.restore(changed, place(made.parent / "data"), 0.0)


def test_without_room_nothing_begins(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(made.parent)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(backup.BadBackup, match="make room first"):
        backup.restore(made, place(made.parent / "data"), 0.0)


def manifested(manifest: str) -> bytes:
    """A zip file with that manifest and a database of no bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("boswell.db", b"")
    return file.getvalue()


def packed_otherwise(method: int) -> bytes:
    """A zip file whose manifest is said to be packed by that method, and is not."""
    data = bytearray(manifested("{}" * 50))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(signature) + offset
        data[at : at + 2] = method.to_bytes(2, "little")
    return bytes(data)


HOSTILE = (
    *(packed_otherwise(method) for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 99)),
    *(
        manifested(f'{{"boswell_backup": {number}, "schema": 1, "members": {{}}}}')
        for number in ("1e999", "NaN")
    ),
    manifested(
        '{"boswell_backup": 1, "schema": 1, "members": {"boswell.db": {"size": Infinity, "sha256": ""}}}'
    ),
)


def test_hostile_zip_files_end_in_a_sentence(tmp_path: Path) -> None:
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w"):
        pass
    deep = io.BytesIO()
    with zipfile.ZipFile(deep, "w") as archive:
        archive.writestr("manifest.json", "[" * 100_000)
    for content in (b"", b"PK", b"\0" * 100, empty.getvalue(), deep.getvalue(), *HOSTILE):
        (tmp_path / "x.zip").write_bytes(content)
        result = boswell(configured(tmp_path), "restore", str(tmp_path / "x.zip"))
        assert (result.exit_code, "is no backup of Boswell's, or is damaged" in result.output) == (1, True)
        assert not (tmp_path / "data").exists()


# Kills

RESTORE = """
import json, os, signal, sys
from pathlib import Path
from memory import backup
from memory.export import Paths

left = 0

def counted(real):
    def call(*arguments, **more):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    return call

for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "open", "utime"):
    setattr(os, name, counted(getattr(os, name)))

for line in sys.stdin:
    file, database, memory, left = json.loads(line)
    child = os.fork()  # a process of its own for each, without the time that importing takes
    if not child:
        backup.restore(Path(file), Paths(Path(database), Path(memory)), 1.0)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Restorer:
    """Restores in processes that are killed before a step."""

    def __enter__(self) -> Restorer:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RESTORE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path.cwd(),
        )
        return self

    def restore(self, file: Path, database: Path, memory: Path, steps: int) -> int:
        """The exit code: minus nine, unless it came to its end within so many steps."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(file), str(database), str(memory), steps]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_killed_before_any_step_of_a_restore_one_state_or_the_other_is_there_whole(
    tmp_path: Path, elsewhere: bool
) -> None:
    await lived(tmp_path / "source", "new")
    file = tmp_path / "b.zip"
    backup.make(file, place(tmp_path / "source"), "1", 0.0)
    await lived(tmp_path / "old", "old one", "old two")
    new, old = state(tmp_path / "source"), state(tmp_path / "old")
    seen, code, number = set(), -signal.SIGKILL, 0
    with Restorer() as restorer:
        while code:
            folder = tmp_path / str(number) / "data"
            memory = folder.parent / "notes" if elsewhere else folder / "memory"
            shutil.copytree(tmp_path / "old", folder)
            if elsewhere:
                shutil.move(folder / "memory", memory)
            code = restorer.restore(file, folder / "boswell.db", memory, number)
            assert code in (0, -signal.SIGKILL)
            if number % 3 == 2:  # it is restored again, by hand
                backup.restore(file, Paths(folder / "boswell.db", memory), 2.0)
                assert state(folder, memory) == new
            async with open_database(folder / "boswell.db"):  # as the next start does
                pass
            found = state(folder, memory)
            assert found in (old, new), number
            seen.add(found == new)
            if found == new:
                kept = [p.read_text() for p in folder.parent.glob("*.before-restore-*/**/*.md")]
                assert "old two" in "".join(kept)
            left = {p.name for p in (*folder.iterdir(), *memory.iterdir()) if p.name.startswith(".restor")}
            assert left <= (set() if found == new else {".restoring-probe", ".restore.json.new"}), number
            if left:  # of one that had not begun yet; the next one takes it away
                backup.restore(file, Paths(folder / "boswell.db", memory), 3.0)
                assert not list(folder.parent.rglob(".restor*"))
            shutil.rmtree(folder.parent)
            number += 1
    assert seen == {True, False}
    assert number > 50


async def test_killed_in_the_middle_a_backup_leaves_no_half_of_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await lived(data, "first")
    for number in range(30):
        (data / f"memory/memory-1/note{number}.md").write_bytes(os.urandom(100_000))
    out = tmp_path / "out"
    out.mkdir()
    script = (
        "import sys; from pathlib import Path; from memory import backup; from memory.export import Paths;"
        "print('begun', flush=True);"
        "backup.make(Path(sys.argv[2]), Paths(Path(sys.argv[1]) / 'boswell.db', Path(sys.argv[1]) / 'memory'), '1', 0.0)"
    )
    for number in range(8):
        target = out / f"boswell-backup-{number}.zip"
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(data), str(target)], stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        await asyncio.sleep(number * 0.05)  # so that the kills come at different instants
        process.kill()
        process.wait()
        process.stdout.close()
        if target.exists():
            backup.restore(target, place(tmp_path / f"other{number}"), 0.0)
    (out / ".boswell-backup-x.zip.db.part").touch()
    (out / ".boswell-backup-x.zip.db.part-journal").touch()
    backup.make(out / "boswell-backup-last.zip", place(data), "1", 0.0)
    assert all(path.suffix == ".zip" for path in out.iterdir())


def test_what_can_not_be_written_is_told_with_its_place(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "boswell.db") as database:
        database.execute("CREATE TABLE t (x)")
        database.execute(f"PRAGMA user_version = {len(migrations())}")
    (tmp_path / "memory/memory-1").mkdir(parents=True)
    (tmp_path / "memory/memory-1/large.bin").write_bytes(os.urandom(4 << 20))
    (tmp_path / "data").symlink_to(tmp_path)
    with no_file_larger_than(1 << 20):
        result = boswell(configured(tmp_path), "backup", str(tmp_path / "b.zip"))
    assert (result.exit_code, result.output) == (1, f"boswell: '{tmp_path / 'b.zip'}': File too large\n")
    assert not [*tmp_path.glob("*b.zip*")]
    made = tmp_path / "made.zip"
    assert boswell(configured(tmp_path), "backup", str(made)).exit_code == 0
    other = configured(tmp_path, data_dir=str(tmp_path / "other"))
    with no_file_larger_than(1 << 20):
        result = boswell(other, "restore", str(made))
    staged = tmp_path / "other/memory/.restoring-memory/memory-1/large.bin"
    assert (result.exit_code, result.output) == (1, f"boswell: {str(staged)!r}: File too large\n")
    with sqlite3.connect(tmp_path / "boswell.db") as database:
        database.execute("INSERT INTO t VALUES (zeroblob(2000000))")
    out = tmp_path / "out"
    out.mkdir()
    with no_file_larger_than(1 << 20):
        result = boswell(configured(tmp_path), "backup", str(out / "b.zip"))
    assert f"can not be written to {str(out)!r}" in result.output
    assert "check the free space there" in result.output
    assert [*out.iterdir()] == []
    nowhere = str(tmp_path / "nowhere/b.zip")
    result = boswell(configured(tmp_path), "backup", nowhere)
    folder = str(tmp_path / "nowhere")
    assert (result.exit_code, result.output) == (
        1,
        f"boswell: there is no folder {folder!r}; make it, or give another one\n",
    )


async def test_while_a_restore_is_at_work_nobody_opens_the_database(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await lived(data, "first")
    with swap.alone(data):
        result = await asyncio.to_thread(boswell, configured(tmp_path), "status")
        assert (result.exit_code, f"(pid {os.getpid()}) runs the restore" in result.output) == (1, True)
        with pytest.raises(leases.LeaseTaken):
            async with open_database(data / "boswell.db"):
                pass
    async with open_database(data / "boswell.db"):
        pass
