"""A person takes along all that is kept of them: nothing is missing, nothing of anybody else is in it, and it is sent once."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat, ChatGone, MessageGone, RateLimited, Refused, Unavailable
from bot import events, sentences
from bot.exports import Exports
from memory import export, links
from memory.database import snapshot
from memory.export import Paths
from tests.fakes.discord_running import running as on_discord
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.model_server import Reply
from tests.fakes.running import asked, running
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.slack_running import running as on_slack

ROOM = Chat("memory", "-100", "group", "Book club")
READY = sentences.say("export_ready")
GONE = sentences.say("file_gone")
TOO_LARGE = sentences.say("file_unsendable")


def echo() -> ScriptedModel:
    return ScriptedModel(lambda request: "Noted.")


def opened(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    return archive


def sent(h: House) -> list[zipfile.ZipFile]:
    return [opened(data) for _, data in h.adapter.files.values()]


def everything(archive: zipfile.ZipFile) -> str:
    return "\n".join(name + "\n" + archive.read(name).decode() for name in archive.namelist())


def waiting(folder: Path) -> list[str]:
    return (
        sorted(path.name for path in (folder / "exports").glob("*")) if (folder / "exports").is_dir() else []
    )


async def test_an_export_holds_all_that_is_kept_of_a_person(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("I live in Oslo.")
        await h.settled()
        await h.say("/clear")
        await h.say("Do you remember?")
        await h.settled()
        await h.say("/timezone Europe/Oslo")
        await h.say("Nice group", chat=ROOM, addressed=True)
        await h.settled()
        (tmp_path / "memory/memory-1/notes.txt").write_text("by hand")
        (tmp_path / "memory/memory-1/facts.md").write_text("- likes fjords\n")
        await h.say("/export")
        await h.settled()
        assert h.texts()[-1] == READY
        [archive] = sent(h)
        [name] = [name for name, _ in h.adapter.files.values()]
        assert name.startswith("memory-1.")
        names = archive.namelist()
        for wanted in (
            "README.txt",
            "profile.json",
            "usage.json",
            "room.json",
            "memory/facts.md",
            "memory/notes.txt",
        ):
            assert f"memory-1/{wanted}" in names or wanted in names, wanted
        days = {n for n in names if n.startswith("memory-1/memory/20")}
        assert {
            f"memory-1/memory/{path.name}": path.read_bytes()
            for path in (tmp_path / "memory/memory-1").glob("20*")
        } == {day: archive.read(day) for day in days}
        streams = [json.loads(archive.read(n)) for n in names if "/streams/" in n]
        said = [[e["text"] for e in stream["events"]] for stream in streams]
        assert said == [
            ["I live in Oslo.", "Noted."],
            ["Do you remember?", "Noted."],
            ["Nice group", "Noted."],
        ]
        assert [stream["ended_by"] for stream in streams] == ["clear", "", ""]
        assert [len({e["turn"] for e in stream["events"]}) for stream in streams] == [1, 1, 1]
        profile = json.loads(archive.read("memory-1/profile.json"))
        assert profile["timezone"] == "Europe/Oslo"
        assert profile["private_chat"]["id"] == "1"
        usage = json.loads(archive.read("memory-1/usage.json"))
        assert [call["input"] for call in usage] == [10, 10, 10]
        assert "attachments" in archive.read("README.txt").decode()
        assert waiting(tmp_path) == []


@pytest.mark.parametrize("shared", [False, True])
async def test_nothing_of_anybody_else_is_in_an_export(tmp_path: Path, shared: bool) -> None:
    groups = {"respond": "always", "stream": "chat" if shared else "person"}
    async with house(tmp_path, echo(), groups=groups) as h:
        for user, word in (("1", "mine"), ("2", "MARKERBOB"), ("3", "MARKERCY")):
            await h.say(f"{word} in private", user)
            await h.say(f"{word} in the room", user, ROOM, addressed=True)
            await h.settled()
            await h.say("/remind tomorrow at 9 " + word, user)
        await h.say("mine again", "1", ROOM, addressed=True)  # with what the others said as its context
        await h.settled()
        with snapshot(tmp_path / "boswell.db") as tx:
            contexts = [
                row["data"] for row in tx._connection.execute("SELECT data FROM events WHERE type = 'user'")
            ]
        assert shared or any("MARKERBOB" in each and "mine again" in each for each in contexts)
        await h.say("/export", "1")
        await h.settled()
        [archive] = sent(h)
        text = everything(archive)
        assert "MARKER" not in text
        assert "memory-2" not in text
        assert text.count("mine in private") >= 2
        assert "mine again" in text


async def test_a_model_s_own_words_about_others_are_no_export_of_theirs(tmp_path: Path) -> None:
    """A summary of a room is made of everybody's words, and what a provider wants back may be, too."""
    async with house(tmp_path, echo(), groups={"respond": "always"}) as h:
        await h.say("mine in the room", "1", ROOM, addressed=True)
        await h.settled()

        def summed_up(tx: Any) -> None:
            row = tx.one("export_streams", user_id="memory-1")
            tx.run(
                "event_add",
                stream_id=row["id"],
                seq=8,
                turn_id=1,
                type="summary",
                data='{"text": "MARKERBOB", "upto": 2}',
                at=1.0,
            )
            opaque = json.dumps({"text": "ok", "calls": [], "opaque": {"thinking": "MARKERBOB"}})
            tx.run("event_add", stream_id=row["id"], seq=9, turn_id=1, type="assistant", data=opaque, at=1.0)

        await h.database.write(summed_up)
        await h.say("/export", "1")
        await h.settled()
        [archive] = sent(h)
        assert "MARKER" not in everything(archive)


def test_of_every_part_of_an_event_it_is_settled_whether_it_is_given() -> None:
    """A part that is new may hold others' words: whoever adds one says here, or in `export.GIVEN`, whose it is."""
    kept = {"user": {"context"}, "assistant": {"opaque"}}
    for kind, event in events._TYPES.items():
        assert {field.name for field in fields(event)} == export.GIVEN[kind] | kept.get(kind, set())


async def test_a_linked_person_gets_a_folder_for_each_of_their_ids(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("as one", "1")
        await h.say("as two", "2")
        await h.say("MARKER of three", "3")
        await h.settled()

        def link(tx: Any) -> None:
            for user in ("memory-1", "memory-2"):
                tx._connection.execute("INSERT INTO links VALUES (?, 'p', 1)", (user,))

        await h.database.write(link)
        assert await h.database.read(lambda tx: links.people(tx, "memory-2")) == ("memory-2", "memory-1")
        await h.say("/export", "2")
        await h.settled()
        [archive] = sent(h)
        text = everything(archive)
        assert "as one" in archive.read("memory-1/streams/1.json").decode()
        assert "as two" in archive.read("memory-2/streams/2.json").decode()
        assert "MARKER" not in text


async def test_in_a_group_there_is_no_export_unless_the_answer_is_private(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hello", "1", ROOM, addressed=True)
        await h.say("/export", "1", ROOM, addressed=True)
        await h.settled()
        assert h.texts(ROOM.id)[-1] == sentences.say("private_only")
        assert h.adapter.files == {}
        await h.say("/export", "1", ROOM, via="token", message_id="")
        await h.settled()
        assert h.adapter.answers["token"] == READY
        assert len(h.adapter.files) == 1


async def test_who_finds_the_file_where_it_is_hears_how_long_it_stays(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), adapter=MemoryAdapter(files_stay=True)) as h:
        await h.say("/export")
        await h.settled()
        assert h.texts()[-1] == f"{READY} {sentences.say('export_stays')}"


async def test_one_export_in_ten_minutes(tmp_path: Path) -> None:
    clock = [1_790_000_000.0]
    async with house(tmp_path, echo(), now=lambda: clock[0]) as h:
        await h.say("hi")
        for _ in range(2):
            await h.say("/export")
            await h.settled()
        await h.say("/export", "2")
        await h.settled()
        assert h.texts("1")[-2:] == [READY, sentences.say("export_too_soon")]
        assert h.texts("2") == [READY]
        clock[0] += 601
        await h.say("/export")
        await h.settled()
        assert h.texts("1")[-1] == READY


@pytest.mark.parametrize(
    "trouble",
    [
        [("send_file", RateLimited("slow down", 0.01))],
        [("send_file", Unavailable("502")), ("send_file", Unavailable("502"))],
        [("send_file", Unavailable("lost", ambiguous=True))],
        [("send_file", MessageGone("the placeholder was deleted"))],
        [("post", Unavailable("502"))],
    ],
)
async def test_the_file_arrives_once_in_spite_of(tmp_path: Path, trouble: list[tuple[str, Any]]) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hi")
        await h.settled()
        h.adapter.trouble += trouble
        await h.say("/export")
        await h.settled()
        assert len(h.adapter.files) == 1
        assert h.texts().count(READY) == 1
        assert not h.adapter.trouble
        assert waiting(tmp_path) == []


@pytest.mark.parametrize("refused", [True, False])
async def test_a_file_that_is_too_large_is_the_operators_to_hand_over(tmp_path: Path, refused: bool) -> None:
    adapter = MemoryAdapter(max_file_bytes=10_000_000 if refused else 10)
    if refused:
        adapter.trouble.append(("send_file", Refused("the platform finds it too large")))
    async with house(tmp_path, echo(), adapter=adapter) as h:
        if refused:
            adapter.trouble.insert(0, ("post", Unavailable("away")))
        await h.say("/export")
        await h.settled()
        assert h.adapter.files == {}
        assert [text for text in h.texts() if text.startswith(TOO_LARGE)]
        assert "boswell export" in h.texts()[-1]
        assert waiting(tmp_path) == []


async def test_the_file_of_who_has_blocked_us_does_not_stay(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hi")
        await h.settled()
        h.adapter.trouble.append(("send_file", ChatGone("blocked")))
        await h.say("/export")
        await h.settled()
        assert h.adapter.files == {}
        assert waiting(tmp_path) == []


async def test_who_asked_by_a_slash_command_and_can_get_no_file_is_told_so(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        h.adapter.trouble.append(("send_file", ChatGone("their direct messages are closed")))
        await h.say("/export", "1", ROOM, via="token", message_id="")
        await h.settled()
        assert h.adapter.answers["token"].startswith(TOO_LARGE)
        assert h.adapter.files == {}
        assert waiting(tmp_path) == []


async def test_a_file_that_waited_for_too_long_is_asked_for_again(tmp_path: Path) -> None:
    adapter = MemoryAdapter(resend="key")
    adapter.trouble.append(("send_file", Unavailable("down for long")))
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.say("/export")
        async with asyncio.timeout(10):
            await adapter.wait_for(lambda: not adapter.trouble)
        [name] = waiting(tmp_path)
        at = (tmp_path / "exports" / name).stat().st_mtime
        assert (tmp_path / "exports" / name).stat().st_mode & 0o777 == 0o600
        export.prune(tmp_path, "memory", at + 3000)
        assert waiting(tmp_path) == [name]
        export.prune(tmp_path, "other", at + 3600)
        assert waiting(tmp_path) == [name]
        export.prune(tmp_path, "memory", at + 3600)
        assert waiting(tmp_path) == []
        h.parts.delivery.mended("memory")
        await h.settled()
        assert h.texts() == [GONE]


async def test_a_crash_between_the_answer_and_its_delivery_loses_nothing(tmp_path: Path) -> None:
    adapter = MemoryAdapter()
    adapter.trouble += [("send_file", Unavailable("away"))] * 3
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.say("precious")
        await h.settled()
        await h.say("/export")
        async with asyncio.timeout(10):
            await adapter.wait_for(lambda: len(adapter.trouble) < 3)
    adapter.trouble.clear()
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.settled()
        [archive] = sent(h)
        assert "precious" in everything(archive)
        assert h.texts().count(READY) == 1
        assert waiting(tmp_path) == []


class Looking(MemoryAdapter):
    """A platform that can be asked whether a message stands."""

    async def find(self, chat: Chat, key: str) -> str | None:
        return next((str(n) for n, (_, k, _) in enumerate(self.posts, 1) if k == key), None)


class Keyed(MemoryAdapter):
    """A platform that drops a second file with the same key."""

    async def send_file(self, chat: Chat, path: Path, text: str, *, key: str, **more: Any) -> str:
        known = next((str(n) for n, (_, k, _) in enumerate(self.posts, 1) if k == key), None)
        return known or await super().send_file(chat, path, text, key=key, **more)


@pytest.mark.parametrize(
    "adapter", [MemoryAdapter(), Looking(resend="lookup"), Keyed(resend="key")], ids=["stub", "lookup", "key"]
)
@pytest.mark.parametrize("gone", [False, True])
async def test_a_crash_between_the_sending_and_its_mark_sends_no_second_file(
    tmp_path: Path, adapter: MemoryAdapter, gone: bool
) -> None:
    resend = adapter.limits.resend
    adapter = type(adapter)(resend=resend)
    adapter.trouble.append(("send_file", Unavailable("lost", ambiguous=True)))
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.say("/export")
        async with asyncio.timeout(10):
            await adapter.wait_for(lambda: bool(adapter.files))
    if gone:
        export.forget(tmp_path, "memory-1")
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.settled()
        assert len(adapter.files) == 1
        if not gone or resend == "lookup":
            assert h.texts() == [READY]
        else:  # nobody can tell any more that it was sent
            assert GONE in h.texts()
    assert waiting(tmp_path) == []


async def test_an_export_that_is_cut_off_by_the_end_leaves_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hello")
        await h.settled()
        for number in range(30):
            (tmp_path / f"memory/memory-1/note{number}.md").write_bytes(base64.b64encode(os.urandom(150_000)))
        place = Paths(tmp_path / "boswell.db", tmp_path / "memory")
        exports = Exports(h.database, place, ["memory"])
        making = asyncio.create_task(exports.make(("memory-1",), 7))
        async with asyncio.timeout(10):
            while not waiting(tmp_path):  # noqa: ASYNC110 - a thread's file
                await asyncio.sleep(0)
        making.cancel()
        await asyncio.wait([making])
        assert making.cancelled()
        assert waiting(tmp_path) == []
        assert await exports.make(("memory-1",), 8)  # and it does not count


async def test_what_waits_on_the_disk_stays_where_the_person_reads_it_there(tmp_path: Path) -> None:
    adapter = MemoryAdapter(files_stay=True)
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.say("/export")
        await h.settled()
        [name] = waiting(tmp_path)
        at = (tmp_path / "exports" / name).stat().st_mtime
        (tmp_path / "exports/.memory-1.half.zip.part").touch()
        for stay, later, left in ((True, 60, [name]), (True, 3600, []), (False, 60, [])):
            (tmp_path / "exports" / name).touch()
            export.clear(tmp_path, "memory", lambda _: False, at + later, stay=stay)
            assert waiting(tmp_path) == left


async def test_a_turn_that_is_not_in_its_file_yet_is_in_the_export(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hello")
        await h.settled()
        record = json.dumps(
            {
                "user_id": "memory-1",
                "at": 1.0,
                "timezone": "UTC",
                "place": None,
                "messages": [["user", "late"]],
            }
        )
        await h.database.write(
            lambda tx: tx.run("pending_add", turn_id=99, user_id="memory-1", stream_id=1, record=record)
        )
        target = tmp_path / "out.zip"
        place = Paths(tmp_path / "boswell.db", tmp_path / "memory")
        await asyncio.to_thread(export.write, target, place, ("memory-1",), 1.0)
        [turn] = json.loads(opened(target.read_bytes()).read("memory-1/not-yet-in-a-file.json"))
        assert turn["messages"] == [{"role": "user", "text": "late"}]


async def test_messages_that_wait_are_in_the_export_without_what_would_let_others_answer_them(
    tmp_path: Path,
) -> None:
    never = asyncio.Event()
    async with house(tmp_path, ScriptedModel(lambda request: ["Well", never])) as h, asyncio.timeout(10):
        await h.say("first", via="interaction-token")
        await h.say("second")
        await h.adapter.wait_for(lambda: h.texts() != [])
        target = tmp_path / "out.zip"
        place = Paths(tmp_path / "boswell.db", tmp_path / "memory")
        await asyncio.to_thread(export.write, target, place, ("memory-1",), 1.0)
    archive = opened(target.read_bytes())
    found = json.loads(archive.read("memory-1/waiting.json"))
    assert [(one["state"], one["text"]) for one in found] == [("running", "first"), ("waiting", "second")]
    assert found[0]["chat"]["id"] == "1"
    assert "interaction-token" not in everything(archive)


async def test_links_in_a_folder_lead_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hello")
        await h.say("MARKER", "2")
        await h.settled()
        folder = tmp_path / "memory/memory-1"
        (folder / "other.md").symlink_to(next((tmp_path / "memory/memory-2").iterdir()))
        (folder / "others").symlink_to(tmp_path / "memory/memory-2")
        await h.say("/export")
        await h.settled()
        [archive] = sent(h)
        assert "MARKER" not in everything(archive)


# As a program


async def test_telegram_sends_the_file_and_an_earlier_process_leaves_none(tmp_path: Path) -> None:
    exports = tmp_path / "data/exports"
    exports.mkdir(parents=True)
    for name in ("telegram-7.old.zip", ".telegram-7.half.zip.part", "slack-T1-U1.theirs.zip"):
        (exports / name).write_bytes(b"left")
    async with running(tmp_path, lambda request: Reply(f"You said {asked(request)}.")) as b:
        b.telegram.say(1001, 1001, "precious")
        await b.answered(1001, "You said precious.")
        b.telegram.say(1001, 1001, "/export")
        await b.answered(1001, READY)
        [message] = [m for m in b.telegram.chat(1001).messages.values() if m.file is not None]
        assert message.file is not None
        assert "You said precious." in everything(opened(message.file.data))
        await b.until(lambda: [path.name for path in exports.iterdir()] == ["slack-T1-U1.theirs.zip"])


async def test_slack_sends_the_file_into_the_direct_messages_wherever_it_was_asked_for(
    tmp_path: Path,
) -> None:
    async with on_slack(tmp_path, lambda request: Reply(f"You said {asked(request)}.")) as s:
        s.ask("precious")
        await s.shows(s.DM, "You said precious.")
        s.slack.first.command(s.ROOM, s.ANNA, "export")
        await s.shows(s.DM, "You said precious.", READY)
        [file] = [file for message in s.slack.channel(s.DM).ours() for file in message.files]
        assert "You said precious." in everything(opened(file.data or b""))
        assert s.slack.texts(s.ROOM) == []
        await s.boswell.until(lambda: waiting(tmp_path / "data") == [])


async def test_discord_shows_the_file_to_its_asker_alone(tmp_path: Path) -> None:
    async with on_discord(tmp_path, lambda request: Reply(f"You said {asked(request)}.")) as d:
        d.ask("precious")
        await d.shows(d.DM, "You said precious.")
        d.discord.slash(d.ROOM, d.ANNA, "export")
        await d.told(d.ANNA, READY)
        [data] = [a.data for m in d.room.messages.values() if m.seen_by == d.ANNA for a in m.attachments]
        assert "You said precious." in everything(opened(data))
        assert d.discord.texts(d.ROOM) == []
        await d.boswell.until(lambda: waiting(tmp_path / "data") == [])


async def test_a_command_in_a_channel_of_who_can_not_be_written_to_is_answered_there_in_private(
    tmp_path: Path,
) -> None:
    async with on_slack(tmp_path, lambda request: Reply("Noted.")) as s:
        s.slack.first.scopes.discard("im:write")
        s.slack.first.command(s.ROOM, s.ANNA, "export")
        async with asyncio.timeout(10):
            await s.slack.wait_for(lambda server: server.first.whispers(s.ROOM, s.ANNA))
        [text] = s.slack.first.whispers(s.ROOM, s.ANNA)
        assert text.startswith(TOO_LARGE)
        assert s.slack.texts(s.ROOM) == []


async def test_without_the_scope_slack_s_people_are_told_whom_to_ask(tmp_path: Path) -> None:
    async with on_slack(tmp_path, lambda request: Reply("Noted.")) as s:
        s.slack.first.scopes.discard("files:write")
        s.ask("/export")
        async with asyncio.timeout(10):
            await s.slack.wait_for(lambda server: server.texts(s.DM))
        [text] = s.slack.texts(s.DM)
        assert text.startswith(TOO_LARGE)
        await s.boswell.until(lambda: waiting(tmp_path / "data") == [])


async def test_the_command_line_exports_while_boswell_runs_and_writes_over_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, lambda request: Reply(f"You said {asked(request)}.")) as b:
        b.telegram.say(1001, 1001, "precious")
        await b.answered(1001, "You said precious.")
        b.telegram.say(1002, 1002, "MARKER")
        await b.answered(1002, "You said MARKER.")
        target = tmp_path / "out.zip"
        result = await b.boswell("export", "telegram-1001", "--output", str(target))
        assert (result.exit_code, result.output) == (
            0,
            f"Wrote {target}, all that is kept of telegram-1001.\n",
        )
        text = everything(opened(target.read_bytes()))
        assert "precious" in text
        assert "MARKER" not in text
        assert target.stat().st_mode & 0o777 == 0o600
        before = target.read_bytes()
        result = await b.boswell("export", "telegram-1001", "--output", str(target))
        assert (result.exit_code, target.read_bytes()) == (1, before)
        assert "exists" in result.output
        nowhere = tmp_path / "nowhere"
        result = await b.boswell("export", "telegram-1001", "--output", str(nowhere / "x.zip"))
        told = f"boswell: there is no folder {str(nowhere)!r}; make it, or give another one\n"
        assert (result.exit_code, result.output) == (1, told)
        for user, code in (("telegram-9", 1), ("../telegram-1001", 2), ("telegram", 2)):
            result = await b.boswell("export", user, "--output", str(tmp_path / "none.zip"))
            assert result.exit_code == code
            assert user in result.output
        assert not (tmp_path / "none.zip").exists()


WRITE = """
import sys, time
from pathlib import Path
from memory import export
from memory.export import Paths
folder, target = Path(sys.argv[1]), Path(sys.argv[2])
print("begun", flush=True)
export.write(target, Paths(folder / "boswell.db", folder / "memory"), ("memory-1",), time.time())
print("done", flush=True)
"""


async def test_killed_at_any_instant_there_is_a_whole_file_or_none(tmp_path: Path) -> None:
    async with house(tmp_path, echo()) as h:
        await h.say("hello")
        await h.settled()
    folder = tmp_path / "memory/memory-1"
    for number in range(40):
        (folder / f"note{number}.md").write_bytes(base64.b64encode(os.urandom(150_000)))
    out = tmp_path / "out"
    out.mkdir()
    outcomes = set()
    for number in range(12):
        target = out / f"boswell-export-{number}.zip"
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(tmp_path), str(target)], stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        if number == 11:
            process.stdout.readline()
        else:
            await asyncio.sleep(number * 0.06)  # so that the kills come at different instants
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if target.exists():
            assert len(opened(target.read_bytes()).namelist()) > 40
        outcomes.add(target.exists())
    assert outcomes == {True, False}
    from memory.whole import sweep

    sweep(out, "boswell-export-")
    assert all(path.suffix == ".zip" for path in out.iterdir())
