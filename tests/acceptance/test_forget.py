"""Somebody is forgotten: nothing of them is left in any file, whoever asked for it and wherever the process is killed.

The marker is planted by every way there is, and looked for in the raw bytes of every file.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat, ChatGone, Person, Received, Unavailable, Update
from bot import sentences
from bot.events import ToolCall, UserSaid
from bot.models.base import ModelRequest
from memory import erase, export, leases
from memory.index import Index
from memory.transcripts import Transcripts
from tests.fakes import discord_running, slack_running
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.model_server import Reply, Request, Step
from tests.fakes.running import Running, asked, running
from tests.fakes.scripted_model import ScriptedModel

MARKER = "Märkerwort"
BOBS = "bobsownword"
GROUP = Chat("memory", "-100", "group", "Book club")
OTHER_GROUP = Chat("memory", "-200", "group", "Choir")
HOME = Chat("memory", "1", "private", f"{MARKER} at home")
ANNA, BOB = Person("memory-1", f"{MARKER} Anna"), Person("memory-2", "Bob")


def traces(folder: Path, word: str = MARKER) -> dict[str, int]:
    """In which files a word stands, as it is, as JSON writes it, and as an index would keep it; and how often."""
    plain = word.lower().translate(str.maketrans("äöü", "aou"))
    forms = {word, json.dumps(word)[1:-1], json.dumps(json.dumps(word))[2:-2], plain, plain.capitalize()}
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            count = sum(data.count(form.encode()) for form in forms)
            if count:
                found[str(path.relative_to(folder))] = count
    return found


def rows(folder: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "boswell.db")) as database:
        return database.execute(query, values).fetchall()


def last_user(request: ModelRequest) -> str:
    return next(event.text for event in reversed(request.events) if isinstance(event, UserSaid))


def answers(request: ModelRequest) -> Any:
    """A model that repeats what it is told, and looks things up when asked to."""
    words = last_user(request)
    if "look up" in words and isinstance(request.events[-1], UserSaid):
        return [f"I look up {words}. ", ToolCall(f"call_{words}", "history", json.dumps({"date": words}))]
    if BOBS in words:
        return f"Bob said {BOBS}"
    return f"You said: {words}"


async def confirmed(h: House, user: str = "1", chat: Chat | None = HOME) -> None:
    """The person asks, and confirms with the word that they are given."""
    await h.say("/forget", user=user, chat=chat, **({"person": ANNA} if user == "1" else {}))
    await until(lambda: any("/forget " in text for text in h.texts(chat.id if chat else user)))
    code = code_in(h.texts(chat.id if chat else user))
    await h.say(f"/forget {code}", user=user, chat=chat, **({"person": ANNA} if user == "1" else {}))


def code_in(texts: list[str]) -> str:
    found = [match for text in texts for match in re.findall(r"/forget ([A-Z0-9]{4})\b", text)]
    return found[-1]


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - rows and files give no sign of their own
            await asyncio.sleep(0.01)


async def forgotten(h: House) -> None:
    """Return when it is done and Anna was told."""
    await until(lambda: sentences.FORGOTTEN in h.texts("1"))
    await h.settled()


async def forgotten_in_rows(h: House) -> None:
    """Return when it is done, said or not."""
    await until(lambda: rows(h.folder, "SELECT 1 FROM erasures WHERE done_at IS NOT NULL"))


async def plant(h: House, bobs_context: bool = True) -> None:
    """Anna leaves the marker in every place that keeps anything, and Bob his own word in most of them."""
    say = h.say
    for who, chat, word, user in ((ANNA, HOME, MARKER, "1"), (BOB, None, BOBS, "2")):
        await say(f"my word is {word}", user=user, chat=chat, person=who)
        await say(f"please look up {word}", user=user, chat=chat, person=who)
        await say(f"/facts add I like {word}", user=user, chat=chat, person=who)
        await say(f"/remind in 3 hours {word}", user=user, chat=chat, person=who)
        await say("/timezone Europe/Vienna", user=user, chat=chat, person=who)
        await h.settled()
        await say("/link", user=user, chat=chat, person=who)
        await say("/clear", user=user, chat=chat, person=who)
        await say(f"later I said {word}", user=user, chat=chat, person=who)
        await say(f"in the group {word}", user=user, chat=GROUP, addressed=True, person=who)
        await h.settled()
    await say(f"overheard: {MARKER}", user="1", chat=GROUP, person=ANNA)
    await say(f"and elsewhere: {MARKER}", user="1", chat=OTHER_GROUP, person=ANNA)
    if bobs_context:
        await say(f"what was that? {BOBS}", user="2", chat=GROUP, addressed=True, person=BOB)
        await say(f"and there? {BOBS}", user="2", chat=OTHER_GROUP, addressed=True, person=BOB)
    await h.settled()
    await asyncio.to_thread(plant_files, h.folder)


def plant_files(folder: Path) -> None:
    """What others put into folders, and what kills leave there."""
    root = folder / "memory"
    for user, word in (("memory-1", MARKER), ("memory-2", BOBS)):
        (root / user / "notes").mkdir()
        (root / user / "notes" / "by-hand.txt").write_text(word)
        (root / user / f".{date(2026, 1, 1)}.md.new").write_text(word)
        (root / user / "2020-02-02.md").write_text(f"## 10:00:00 UTC\n\n**user:** {word}\n\n")
        export.begin(folder, user, "all.zip").write_text(word)
        export.begin(folder, user, ".half.part").write_text(word)
    (folder / ".b.zip.db.part").write_text(MARKER)  # a backup into this folder that was killed
    (folder / ".b.zip.db.part-journal").write_text(MARKER)
    index = Index(folder / "index", Transcripts(root))
    for user, word in (("memory-1", MARKER), ("memory-2", BOBS)):
        assert index.search([user], word)
    index.close()


async def plant_trouble(h: House, adapter: MemoryAdapter) -> None:
    """Dead letters, of each kind."""
    raw = json.dumps({"message": {"from": {"id": 1}, "text": MARKER}}, ensure_ascii=False)
    await h.parts.engine.accept([Received("memory:test", "unreadable", None, raw=raw, problem="x")])
    adapter.trouble.append(("post", ChatGone("blocked")))
    await h.say(f"undeliverable {MARKER}", user="1", chat=HOME, person=ANNA)
    await h.settled()
    with closing(sqlite3.connect(h.folder / "boswell.db")) as database, database:  # a turn that was given up
        database.execute(
            "INSERT INTO inbox (source, key, platform, user_id, state, received_at, turn_id, body) "
            "SELECT 'memory:test', 'given up', 'memory', 'memory-1', 'quarantined', 1, 999999, ?",
            (json.dumps({"decision": "turn", "update": h.update(MARKER, person=ANNA).to_json()}),),
        )
        database.execute(
            "INSERT INTO pairing VALUES ('C', 'memory-1', ?, 'x', ?, 9e9)",
            (MARKER, json.dumps({"platform": "memory", "id": "1", "title": MARKER})),
        )
        database.execute(
            "INSERT INTO access VALUES ('memory-1', 'approved', ?, 'command line', 1, '')", (MARKER,)
        )
        database.execute(
            "INSERT INTO subscriptions VALUES ('news', 'memory-1', ?, '{}', 1)",
            (json.dumps({"name": MARKER}),),
        )


def bobs(folder: Path) -> dict[str, Any]:
    """All that is kept of Bob, as plain data; what his turns heard in a room left out."""
    with closing(sqlite3.connect(folder / "boswell.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found: dict[str, Any] = {
            table: sorted(
                str(row)
                for row in database.execute(f"SELECT * FROM {table}")
                if any("memory-2" in str(value) or BOBS in str(value) for value in row)
            )
            for table in tables
        }
        found["events"] = [
            (stream, seq, kind, {**json.loads(data), "context": ""})
            for stream, seq, kind, data in database.execute(
                "SELECT stream_id, seq, type, data FROM events WHERE turn_id IN "
                "(SELECT id FROM turns WHERE user_id = 'memory-2') ORDER BY 1, 2"
            )
        ]
    for place in ("memory/memory-2", "index", "exports"):
        for path in sorted((folder / place).rglob("*")):
            if path.is_file() and "memory-2" in str(path):
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@asynccontextmanager
async def told(folder: Path, adapter: MemoryAdapter | None = None, **sections: Any) -> AsyncIterator[House]:
    """A house in which people have talked."""
    limits = {"turns_per_minute": None}
    async with house(folder, ScriptedModel(answers), adapter=adapter, limits=limits, **sections) as h:
        yield h


@pytest.mark.parametrize("stream", ["person", "chat"])
async def test_no_byte_is_left_of_who_asks_to_be_forgotten_and_all_of_the_others(
    tmp_path: Path, stream: str
) -> None:
    adapter = MemoryAdapter()
    async with told(tmp_path, adapter, groups={"stream": stream}) as h:
        await plant(h)
        await plant_trouble(h, adapter)
        planted = traces(tmp_path)
        assert {"boswell.db", "memory/memory-1/facts.md", "index/memory-1.db"} <= planted.keys() | {
            "boswell.db"
        }
        before = bobs(tmp_path)
        await confirmed(h)
        await forgotten(h)
        assert traces(tmp_path) == {}
        assert not [path for path in tmp_path.rglob("*") if "memory-1" in path.name]
        assert h.texts("1")[-1] == sentences.FORGOTTEN
        assert bobs(tmp_path) == before
        # Whoever is forgotten may come back, and begins anew.
        await h.say("hello again", user="1", chat=HOME, person=ANNA)
        await h.say(f"what now? {BOBS}", user="2", chat=GROUP, addressed=True, person=BOB)
        await h.settled()
        assert h.transcript("1") == [("user", "hello again"), ("assistant", "You said: hello again")]
        assert traces(tmp_path, MARKER).keys() <= {"boswell.db", "boswell.db-wal"}  # her name, of today
    assert not rows(tmp_path, "SELECT 1 FROM events WHERE data LIKE ?", f"%my word is {MARKER}%")


async def test_what_runs_and_what_waits_is_stopped_and_dropped(tmp_path: Path) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    def slowly(request: ModelRequest) -> Any:
        if "slowly" in last_user(request):
            begun.set()
            return [f"It begins {MARKER} ", never]
        return answers(request)

    adapter = MemoryAdapter()
    async with house(
        tmp_path, ScriptedModel(slowly), adapter=adapter, limits={"turns_per_minute": None}
    ) as h:
        await h.say(f"slowly {MARKER}", user="1", chat=HOME, person=ANNA)
        await begun.wait()
        await h.say(f"this waits {MARKER}", user="1", chat=HOME, person=ANNA)
        await h.parts.engine.accept_later(h.update(f"later {MARKER}", chat=HOME, person=ANNA), 9e9)
        await h.say(f"slowly in the group {MARKER}", user="1", chat=GROUP, addressed=True, person=ANNA)
        await confirmed(h)
        await forgotten(h)
        assert traces(tmp_path) == {}
        assert h.texts("1")[-1] == sentences.FORGOTTEN
        assert not any("this waits" in text for text in h.texts("1"))
        assert any(text.endswith(sentences.STOPPED_MARK) for text in h.texts("1"))
        assert rows(tmp_path, "SELECT count(*) FROM inbox WHERE state IN ('waiting', 'running')") == [(0,)]
        await h.say("hello again", user="1", chat=HOME)
        await h.settled()
        assert h.transcript("1") == [("user", "hello again"), ("assistant", "You said: hello again")]


async def test_a_reply_that_could_not_be_delivered_yet_is_never_delivered(tmp_path: Path) -> None:
    adapter = MemoryAdapter()
    async with told(tmp_path, adapter) as h:
        code = await code_of(h)
        adapter.trouble += [("post", Unavailable("down"))] * 3
        await h.say(f"down {MARKER}", user="1", chat=HOME, person=ANNA)
        await until(
            lambda: rows(
                tmp_path, "SELECT 1 FROM outbox WHERE state = 'ready' AND text LIKE ?", f"%{MARKER}%"
            )
        )
        adapter.trouble += [("post", Unavailable("down"))] * 1000
        await h.say(f"/forget {code}", user="1", chat=HOME, person=ANNA)
        await forgotten_in_rows(h)
        assert traces(tmp_path) == {}
        adapter.trouble.clear()
        h.parts.delivery.mended("memory")
        await forgotten(h)
        assert not any(MARKER in text for text in h.texts("1"))
        assert h.texts("1")[-1] == sentences.FORGOTTEN
    assert traces(tmp_path) == {}


async def code_of(h: House, user: str = "1", chat: Chat | None = HOME) -> str:
    await h.say("/forget", user=user, chat=chat)
    await h.settled()
    return code_in(h.texts(chat.id if chat else user))


async def test_it_tells_what_goes_for_which_ids_and_what_it_does_not_reach(tmp_path: Path) -> None:
    async with told(tmp_path) as h:
        with closing(sqlite3.connect(tmp_path / "boswell.db")) as database, database:
            for user in ("memory-1", "slack-T1-U7"):
                database.execute("INSERT INTO links VALUES (?, 'p', 1)", (user,))
        code = await code_of(h)
        [text] = h.texts("1")
        for word in ("memory-1", "slack-T1-U7", "backups", "provider", "reminders", "10 minutes"):
            assert word in text
        [button] = h.adapter.buttons["1"]
        assert button.command == f"forget {code}"


async def test_linked_ids_go_together_those_of_platforms_that_nobody_runs_too(tmp_path: Path) -> None:
    folder = tmp_path / "memory" / "slack-T1-U7"
    async with told(tmp_path) as h:
        with closing(sqlite3.connect(tmp_path / "boswell.db")) as database, database:
            for user in ("memory-1", "slack-T1-U7"):
                database.execute("INSERT INTO links VALUES (?, 'p', 1)", (user,))
        folder.mkdir(parents=True)
        (folder / "2026-01-01.md").write_text(MARKER)
        await h.say(MARKER, user="1", chat=HOME)
        await h.settled()
        await confirmed(h)
        await forgotten(h)
        assert rows(tmp_path, "SELECT user_id FROM erasures WHERE done_at IS NOT NULL ORDER BY 1") == [
            ("memory-1",),
            ("slack-T1-U7",),
        ]
        assert traces(tmp_path) == {}
        assert rows(tmp_path, "SELECT count(*) FROM links") == [(0,)]
        assert h.texts("1").count(sentences.FORGOTTEN) == 1


# Nobody else ------------------------------------------------------------------------------------------------------------


async def test_a_word_is_good_for_nobody_else_and_not_in_company(tmp_path: Path) -> None:
    async with told(tmp_path) as h:
        await h.say(MARKER, user="1", chat=HOME)
        code = await code_of(h)
        await h.say(f"/forget {code}", user="2")
        await h.settled()
        assert h.texts("2") == [sentences.FORGET_WRONG]
        await h.say(f"/forget {code}", user="1", chat=GROUP, addressed=True)
        await h.say("/forget", user="1", chat=GROUP, addressed=True)
        await h.settled()
        assert h.texts("-100") == [sentences.PRIVATE_ONLY] * 2
        await h.say(f"/forget {code[::-1]}X", user="1", chat=HOME)
        await h.settled()
        assert h.texts("1")[-1] == sentences.FORGET_WRONG
        assert rows(tmp_path, "SELECT count(*) FROM erasures") == [(0,)]
        await h.say(f"/forget {code}", user="1", chat=HOME)
        await forgotten(h)
        await h.say(f"/forget {code}", user="1", chat=HOME)
        await h.settled()
        assert h.texts("1")[-1] == sentences.FORGET_WRONG
        assert h.texts("2") == [sentences.FORGET_WRONG]


async def test_a_word_is_good_for_ten_minutes(tmp_path: Path) -> None:
    at = 1_793_707_200.0

    def now() -> float:
        return at

    async with house(tmp_path, ScriptedModel(answers), now=now) as h:
        code = await code_of(h)
        at += erase.CODE_SECONDS
        await h.say(f"/forget {code}", user="1", chat=HOME)
        await h.settled()
        assert h.texts("1")[-1] == sentences.FORGET_WRONG


async def test_no_model_no_tool_and_no_reminder_can_have_somebody_forgotten(tmp_path: Path) -> None:
    """What they write is text, whatever it looks like; a command is what a platform says that a person gave."""
    code = ""

    def eager(request: ModelRequest) -> Any:
        if isinstance(request.events[-1], UserSaid):
            calls = [
                ToolCall(f"c{n}", name, json.dumps(arguments))
                for n, (name, arguments) in enumerate(
                    [
                        ("forget", {"code": code}),
                        ("forget_fact", {"id": code, "user_id": "memory-1"}),
                        ("history", {"date": f"/forget {code}"}),
                    ]
                )
            ]
            return [f"/forget {code}", *calls]
        return f"/forget {code}"

    async with house(tmp_path, ScriptedModel(eager), limits={"turns_per_minute": None}) as h:
        code = await code_of(h)
        await h.say("do it for me", user="1", chat=HOME)
        await h.say(f"I say that she shall: /forget {code}", user="2")
        await h.say(f"/forget {code} and more words", user="1", chat=HOME)
        await h.settled()
        assert rows(tmp_path, "SELECT count(*) FROM erasures") == [(0,)]
        assert h.transcript("1")


# While it is done -------------------------------------------------------------------------------------------------------


async def test_a_message_that_comes_meanwhile_waits_and_begins_anew(tmp_path: Path) -> None:
    holds, release = asyncio.Event(), asyncio.Event()

    class Stubborn(ScriptedModel):
        """Its first call heeds no cancellation until it is let go."""

        async def stream(self, request: ModelRequest) -> Any:
            if "stubborn" in last_user(request):
                holds.set()
                while not release.is_set():
                    try:
                        await release.wait()
                    except asyncio.CancelledError:
                        cancelled.set()
            async for event in super().stream(request):
                yield event

    cancelled = asyncio.Event()
    model = Stubborn(answers)
    async with house(tmp_path, model, limits={"turns_per_minute": None}) as h:
        await h.say(f"before {MARKER}", user="1", chat=HOME)
        await h.settled()
        code = await code_of(h)
        await h.say(f"stubborn {MARKER}", user="1", chat=HOME)
        await holds.wait()
        await h.say(f"/forget {code}", user="1", chat=HOME)
        await cancelled.wait()
        await h.say("the first new word", user="1", chat=HOME)
        await h.say("somebody else's", user="2")
        await until(lambda: "You said: somebody else's" in h.texts("2"))
        assert "You said: the first new word" not in h.texts("1")
        release.set()
        await forgotten_in_rows(h)
        await h.settled()
        assert traces(tmp_path) == {}
        assert h.transcript("1") in (
            [],
            [("user", "the first new word"), ("assistant", "You said: the first new word")],
        )
        assert not [r for r in model.requests[-2:] if "first new" in last_user(r) and MARKER in str(r.events)]


async def test_what_others_turns_have_in_memory_does_not_bring_it_back(tmp_path: Path) -> None:
    """Bob's turn runs on while Anna is forgotten: just then it sums up a conversation that she had a part in."""
    go_on = asyncio.Event()
    held: list[str] = []  # what is being summed up at that moment

    def script(request: ModelRequest) -> Any:
        if not request.system.startswith("You write notes"):
            return answers(request)
        told = str(request.events)
        if MARKER in told and not held:
            held.append(told)
            return [f"notes on {MARKER}", go_on]
        return f"notes on {MARKER}" if MARKER in told else "notes"

    async with house(
        tmp_path,
        ScriptedModel(script),
        agent={"context_tokens": 600},
        groups={"stream": "chat"},
        limits={"turns_per_minute": None},
    ) as h:
        code = await code_of(h)
        await h.say(f"to begin with: {MARKER}", user="1", chat=GROUP, addressed=True)
        await h.settled()
        for n in range(12):
            await h.say(f"{n} " + "and so on " * 40, user="2", chat=GROUP, addressed=True)
            idle = asyncio.create_task(h.parts.engine.idle())
            await until(lambda idle=idle: held or idle.done())
            idle.cancel()
            if held:
                break
        [(running_,)] = rows(tmp_path, "SELECT user_id FROM turns WHERE state = 'running'")
        assert running_ == "memory-2"
        await h.say(f"/forget {code}", user="1", chat=HOME)
        await forgotten_in_rows(h)
        go_on.set()
        await h.settled()
        await h.say("and now?", user="2", chat=GROUP, addressed=True)
        await h.settled()
        assert traces(tmp_path) == {}
        assert h.texts("-100")[-1] == "You said: and now?"
        assert h.texts("-100")[-2].startswith("You said: ")  # Bob's turn came to its end as any other


async def test_what_others_heard_in_a_group_that_has_another_id_now_goes_too(tmp_path: Path) -> None:
    async with told(tmp_path) as h:
        await h.say(f"overheard: {MARKER}", user="1", chat=GROUP)
        await h.say("and now?", user="2", chat=GROUP, addressed=True)
        await h.settled()
        await h.say("-100777", "2", GROUP, kind="migrated")
        await h.say("and there?", user="2", chat=replace(GROUP, id="-100777"), addressed=True)
        await h.settled()
        assert traces(tmp_path)
        await confirmed(h)
        await forgotten(h)
        assert traces(tmp_path) == {}


async def test_limits_of_today_still_count_for_who_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(answers), limits={"turns_per_day": 2}) as h:
        for n in range(2):
            await h.say(f"{MARKER} {n}", user="1", chat=HOME)
        await h.settled()
        await confirmed(h)
        await forgotten(h)
        await h.say("one more?", user="1", chat=HOME)
        await h.settled()
        assert "You have had all the answers" in h.texts("1")[-1]
        usage = rows(tmp_path, "SELECT user_id, chat_key, sum(usd), count(*) FROM usage GROUP BY 1, 2")
        assert [(user, chat, count) for user, chat, _, count in usage] == [("", "", 2)]


async def test_what_could_not_be_removed_is_tried_again_and_the_person_is_answered_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot import forgetting

    monkeypatch.setattr(forgetting, "RETRY", 0.05)

    def busy(path: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))

    async with told(tmp_path) as h:
        await h.say(MARKER, user="1", chat=HOME)
        await h.settled()
        with monkeypatch.context() as disk:
            disk.setattr(shutil, "rmtree", busy)
            await confirmed(h)
            await until(lambda: rows(tmp_path, "SELECT 1 FROM erasures WHERE upto IS NULL"))
            assert rows(tmp_path, "SELECT erased_at FROM erasures") == [(None,)]
        await forgotten(h)
        assert traces(tmp_path) == {}


# The command line -------------------------------------------------------------------------------------------------------


def echo(request: Request) -> Step:
    content = next(m["content"] for m in reversed(request.body["messages"]) if m["role"] == "user")
    return Reply(f"You said: {content[:60]}")


async def talked(b: Running) -> None:
    for person, word in ((1, MARKER), (2, BOBS)):
        b.telegram.say(person, person, word)
        await b.shows(person, f"You said: {word}")


@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
async def test_at_the_command_line_beside_a_process_and_without_one(tmp_path: Path, runs: bool) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "boswell.db.v1.20260101000000.bak").write_text("an old one")
    async with running(tmp_path, echo) as b:
        await talked(b)
        if runs:
            result = await b.boswell("forget", "telegram-1", "--yes")
            assert result.exit_code == 0, result.output
            assert traces(tmp_path / "data") == {}
            await b.answered(1, sentences.FORGOTTEN)
            assert traces(tmp_path / "data") == {}
    if not runs:
        assert traces(tmp_path / "data")
        result = await b.boswell("forget", "telegram-1", "--yes")
        assert result.exit_code == 0, result.output
        assert traces(tmp_path / "data") == {}
    assert "Nothing is kept of telegram-1 any more." in result.output
    assert "boswell.db.v1.20260101000000.bak" in result.output
    assert b.said("telegram-2") == [("user", BOBS), ("assistant", f"You said: {BOBS}")]
    again = await b.boswell("forget", "telegram-1", "--yes")
    assert (again.exit_code, "was erased on" in again.output) == (0, True)
    async with running(tmp_path, echo) as b:
        b.telegram._next_update = 5000  # it is another server, and they must not look as if they came before
        await b.until(lambda: sentences.FORGOTTEN in b.telegram.chat(1).texts if not runs else True)
        b.telegram.say(1, 1, "hello again")
        await b.answered(1, "You said: hello again")
        b.telegram.say(2, 2, "and me?")
        await b.answered(2, "You said: and me?")
        assert BOBS in str(b.model.requests[-1].body)
    assert b.said("telegram-1") == [("user", "hello again"), ("assistant", "You said: hello again")]


async def test_somebody_of_whom_there_is_only_what_could_not_be_read_is_erased(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        await talked(b)
        sender = {"id": 77, "is_bot": False, "first_name": "Cy"}
        b.telegram.push({"message": {"message_id": "?", "from": sender, "text": "unreadable words"}})
        await b.until(lambda: b.rows("SELECT 1 FROM inbox WHERE state = 'quarantined'"))
        result = await b.boswell("forget", "telegram-77", "--yes")
        assert result.exit_code == 0, result.output
        assert b.rows("SELECT 1 FROM inbox WHERE body LIKE '%unreadable words%'") == []


async def test_the_command_line_asks_and_knows_what_it_is_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        await talked(b)
        nobody = await b.boswell("forget", "telegram-1")
        assert nobody.exit_code == 2
        assert "--yes" in nobody.output
        unknown = await b.boswell("forget", "telegram-99", "--yes")
        assert unknown.exit_code == 1
        assert "nothing is kept of 'telegram-99'" in unknown.output
        for wrong in ("../telegram-1", "telegram-1/../telegram-2", "Anna", ""):
            result = await b.boswell("forget", wrong, "--yes")
            assert result.exit_code == 2, wrong
            assert "is no user id" in result.output
    assert b.said("telegram-1")


async def test_an_erasure_that_was_asked_for_while_nothing_ran_is_done_before_anything_else_at_the_start(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, echo) as b:
        await talked(b)
    with closing(sqlite3.connect(tmp_path / "data" / "boswell.db")) as database, database:
        database.execute(
            "INSERT INTO erasures (user_id, person, asked_at) VALUES ('telegram-1', 'telegram-1', 1)"
        )
        update = Update("telegram:x", "1", Chat("telegram", "1"), Person("telegram-1"), text=MARKER)
        database.execute(
            "INSERT INTO inbox (source, key, platform, lane, user_id, state, received_at, body) "
            "VALUES ('telegram:x', '1', 'telegram', 'telegram:1::telegram-1', 'telegram-1', 'waiting', 1, ?)",
            (json.dumps({"decision": "turn", "update": update.to_json()}),),
        )
    async with running(tmp_path, echo) as b:
        await b.until(lambda: b.rows("SELECT 1 FROM erasures WHERE done_at IS NOT NULL"))
        assert traces(tmp_path / "data") == {}
        b.telegram._next_update = 5000
        b.telegram.say(2, 2, "still here?")
        await b.answered(2, "You said: still here?")
        assert not any(MARKER in str(request.body) for request in b.model.requests)


# On the platforms -------------------------------------------------------------------------------------------------------


def repeats(request: Request) -> Step:
    return Reply(f"You said: {asked(request)}")


async def test_on_discord_it_is_asked_and_told_where_nobody_else_sees_it(tmp_path: Path) -> None:
    async with discord_running.running(tmp_path, repeats) as b:
        anna, room, direct = b.ANNA, b.ROOM, b.DM
        await b.discord.wait_for(lambda s: s.state.commands)
        b.ask(MARKER)
        await b.answered(direct, f"You said: {MARKER}")
        b.ask(f"in the room {MARKER}", room)
        await b.answered(room, f"You said: in the room {MARKER}")
        await b.boswell.until(
            lambda: b.boswell.rows(f"SELECT 1 FROM adapter_state WHERE name = 'seen:{direct}'")
        )
        in_room, in_direct = b.discord.texts(room), b.discord.texts(direct)
        b.discord.slash(room, anna, "forget")
        await b.discord.wait_for(lambda s: s.private(anna))
        question = next(m for m in b.discord.state.channels[room].messages.values() if m.seen_by == anna)
        b.discord.press(question, sentences.FORGET_BUTTON, anna)
        await b.discord.wait_for(lambda s: s.private(anna)[-1] == sentences.FORGOTTEN)
        assert traces(tmp_path / "data") == {}
        assert (b.discord.texts(room), b.discord.texts(direct)) == (in_room, in_direct)
        assert not b.boswell.rows(f"SELECT 1 FROM adapter_state WHERE name = 'seen:{direct}'")
        b.ask("hello again")
        await b.answered(direct, "You said: hello again")
        assert MARKER not in str(b.boswell.model.requests[-1].body)


async def test_in_slack_it_is_asked_for_as_commands_are_there(tmp_path: Path) -> None:
    async with slack_running.running(tmp_path, repeats) as b:
        b.ask(MARKER)
        await b.shows(b.DM, f"You said: {MARKER}")
        b.ask("boswell forget")
        await b.slack.wait_for(lambda s: len(s.texts(b.DM)) == 2)
        (code,) = re.findall(r"/boswell forget ([A-Z0-9]{4})\b", b.slack.texts(b.DM)[-1])
        b.slack.first.command(b.DM, b.ANNA, f"forget {code}")
        await b.whispers(b.DM, sentences.FORGET_BEGUN, sentences.FORGOTTEN)
        assert traces(tmp_path / "data") == {}
        assert not b.boswell.rows("SELECT 1 FROM adapter_state WHERE name LIKE 'seen:%'")
        b.ask("hello again")
        await b.slack.wait_for(lambda s: s.texts(b.DM)[-1] == "You said: hello again")
        assert MARKER not in str(b.boswell.model.requests[-1].body)


async def test_what_another_process_runs_is_left_to_it_and_it_is_said_when_both_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot import forgetting

    monkeypatch.setattr(forgetting, "RETRY", 0.05)
    folder = tmp_path / "memory" / "slack-T1-U7"
    query = "SELECT user_id FROM erasures WHERE done_at IS NOT NULL"
    async with told(tmp_path) as h:
        with closing(sqlite3.connect(tmp_path / "boswell.db")) as database, database:
            for user in ("memory-1", "slack-T1-U7"):
                database.execute("INSERT INTO links VALUES (?, 'p', 1)", (user,))
        folder.mkdir(parents=True)
        (folder / "2026-01-01.md").write_text(MARKER)
        with leases.lease(tmp_path / "locks", "adapter-slack"):
            await confirmed(h)
            await until(lambda: rows(tmp_path, query) == [("memory-1",)])
            await h.settled()
            assert folder.exists()
            assert sentences.FORGOTTEN not in h.texts("1")
        await forgotten(h)  # that process has gone
        assert len(rows(tmp_path, query)) == 2
        assert traces(tmp_path) == {}
