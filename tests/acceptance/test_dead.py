"""`boswell dead`, as an operator uses it beside a running Boswell and after it was upgraded."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.reading import Unreadable
from adapters.telegram import updates
from bot import agent, answering
from bot.cli import shared
from bot.dead import keeps
from bot.errors import BoswellError, ModelError
from tests.fakes.model_server import Fail
from tests.fakes.running import Running, echo, running
from tests.fakes.telegram_server import BotApiError

WORDS = "where does the otter sleep"


async def letters(b: Running) -> list[dict[str, Any]]:
    result = await b.boswell("dead", "list", "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.output)
    return found


async def waits(b: Running, count: int = 1) -> list[dict[str, Any]]:
    """Return once there are so many dead letters."""
    query = (
        "SELECT (SELECT count(*) FROM inbox WHERE state = 'quarantined')"
        " + (SELECT count(*) FROM outbox WHERE state = 'dead')"
    )
    await b.until(lambda: b.rows(query) == [(count,)])
    return await letters(b)


def message(number: int, text: str, person: int = 1) -> dict[str, Any]:
    who = {"id": person, "is_bot": False, "first_name": "Anna"}
    chat = {"id": person, "type": "private", "first_name": "Anna"}
    body = {"message_id": 900, "date": 1, "chat": chat, "from": who, "text": text}
    return {"update_id": number, "message": body}


def _once_unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """An older adapter, that can not read any message; what is returned upgrades it."""

    def fails(*_: Any, **__: Any) -> None:
        raise Unreadable("message.text")

    monkeypatch.setattr(updates, "_message", fails)
    return monkeypatch.undo


async def test_an_update_that_could_not_be_read_is_answered_after_the_upgrade_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, echo) as b:
        upgrade = _once_unreadable(monkeypatch)
        b.telegram.chat(1)
        b.telegram.push(message(5000, WORDS))
        [letter] = await waits(b)
        assert (letter["kind"], letter["platform"], letter["attempts"]) == ("update", "telegram", 1)
        assert letter["problem"] == "message.text"
        listed, shown = (
            await b.boswell("dead", "list"),
            await b.boswell("dead", "show", letter["id"]),
        )
        assert WORDS not in listed.output + json.dumps(letter)
        assert WORDS in shown.output

        said = await b.boswell("dead", "retry", letter["id"])
        assert said.output == f"{letter['id']} is tried again now.\n"
        await b.until(
            lambda: b.rows("SELECT retries, asked FROM inbox WHERE state = 'quarantined'") == [(1, 0)]
        )
        [letter] = await letters(b)
        assert (letter["attempts"], letter["retrying"]) == (2, False)
        assert not b.model.requests

        upgrade()
        await b.boswell("dead", "retry", "--all")
        await b.shows(1, f"You said: {WORDS}")
        assert await letters(b) == []
        assert b.rows("SELECT count(*) FROM inbox WHERE body IS NOT NULL") == [(0,)]
    assert [(role, text) for role, text in b.said("telegram-1")] == [
        ("user", WORDS),
        ("assistant", f"You said: {WORDS}"),
    ]


async def test_a_retry_that_nobody_runs_for_is_taken_up_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = _once_unreadable(monkeypatch)
    async with running(tmp_path, echo) as b:
        b.telegram.push(message(5000, WORDS))
        [letter] = await waits(b)
    said = await b.boswell("dead", "retry", letter["id"])
    assert said.output == f"{letter['id']} is tried again when telegram is started.\n"
    upgrade()
    async with running(tmp_path, echo) as b:
        await b.shows(1, f"You said: {WORDS}")
        assert await letters(b) == []


async def test_a_kill_between_the_new_row_and_the_letters_end_answers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter is still asked for, and what takes its place is in the inbox and answered: it comes to nothing more."""
    upgrade = _once_unreadable(monkeypatch)
    async with running(tmp_path, echo) as b:
        b.telegram.push(message(5000, WORDS))
        [letter] = await waits(b)
    upgrade()
    await b.boswell("dead", "retry", letter["id"])
    async with running(tmp_path, echo) as b:
        await b.shows(1, f"You said: {WORDS}")
        await b.until(lambda: not b.rows("SELECT 1 FROM inbox WHERE asked"))
    with closing(sqlite3.connect(tmp_path / "data" / "boswell.db")) as database:
        database.execute(
            "UPDATE inbox SET state = 'quarantined', asked = 1, body = ? WHERE id = ?",
            (json.dumps(message(5000, WORDS)), letter["id"][1:]),
        )
        database.commit()
    async with running(tmp_path, echo) as b:
        await b.until(lambda: not b.rows("SELECT 1 FROM inbox WHERE asked"))
        assert await letters(b) == []
    assert [role for role, _ in b.said("telegram-1")] == ["user", "assistant"]
    assert not b.model.requests


async def test_a_reply_that_could_not_be_delivered_is_delivered_once_on_retry(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.telegram.chat(1).error = BotApiError(403, "Forbidden: bot was blocked by the user")
        b.telegram.say(1, 1, WORDS)
        [letter] = await waits(b)
        assert (letter["kind"], letter["chat"], letter["user"]) == ("reply", "telegram:1:", "telegram-1")
        assert WORDS not in (await b.boswell("dead", "list")).output
        assert f"You said: {WORDS}" in (await b.boswell("dead", "show", letter["id"])).output
        b.telegram.chat(1).error = None
        await b.boswell("dead", "retry", letter["id"])
        await b.shows(1, f"You said: {WORDS}")
        assert await letters(b) == []
        b.telegram.say(1, 1, "and now?")
        await b.shows(1, f"You said: {WORDS}", "You said: and now?")
    assert len(b.model.requests) == 2


async def test_a_turn_that_broke_by_our_own_fault_is_kept_and_answered_on_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, echo) as b:
        with monkeypatch.context() as patch:
            patch.setattr(agent, "system_prompt", None)
            b.telegram.say(1, 1, WORDS)
            [letter] = await waits(b)
        assert letter["kind"] == "turn"
        assert letter["problem"].startswith("failed:")
        await b.telegram.wait_for(lambda server: "(ref " in server.chat(1).texts[-1], 10)
        [apology] = b.telegram.chat(1).texts
        assert f"(ref {letter['id']})" in apology
        shown = await b.boswell("dead", "show", letter["id"])
        assert WORDS in shown.output
        await b.boswell("dead", "retry", letter["id"])
        await b.shows(1, apology, f"You said: {WORDS}")
        assert await letters(b) == []


async def test_a_turn_that_was_given_up_after_many_attempts_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MOST_ATTEMPTS", 0)
    async with running(tmp_path, echo) as b:
        b.telegram.say(1, 1, WORDS)
        [letter] = await waits(b)
        assert (letter["kind"], letter["problem"]) == ("turn", "failed:attempts")
        assert not b.model.requests
        monkeypatch.setattr(answering, "MOST_ATTEMPTS", 12)
        await b.boswell("dead", "retry", "--all")
        await b.answered(1, f"You said: {WORDS}")


async def test_a_model_that_failed_leaves_no_dead_letter(tmp_path: Path) -> None:
    async with running(tmp_path, lambda _: Fail(401)) as b:
        b.telegram.say(1, 1, WORDS)
        await b.telegram.wait_for(lambda s: any("(ref " in text for text in s.chat(1).texts))
        assert await letters(b) == []
        assert b.rows("SELECT count(*) FROM inbox WHERE body IS NOT NULL") == [(0,)]


def test_only_what_nobody_foresaw_and_what_was_given_up_is_kept() -> None:
    def tree(kind: type[BoswellError]) -> list[type[BoswellError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in tree(child))]

    assert ModelError in tree(BoswellError)
    assert not any(keeps(f"failed:{kind.__name__}") for kind in tree(BoswellError))
    assert not any(map(keeps, ("answered", "stopped", "unreadable", "refused", "command:help", "")))
    assert all(map(keeps, ("failed:attempts", "failed:TypeError", "failed:AttributeError")))


async def test_what_is_dropped_is_erased_and_never_answered(tmp_path: Path) -> None:
    async with running(tmp_path, echo) as b:
        b.telegram.push({"update_id": 5000, "message": {"text": WORDS}})
        [letter] = await waits(b)
        said = await b.boswell("dead", "drop", "--all")
        assert said.output == f"{letter['id']} is erased.\n"
        assert (await b.boswell("dead", "list")).output == "There are no dead letters.\n"
        files = [file for file in (tmp_path / "data").iterdir() if file.is_file()]
        assert [file.name for file in files if WORDS.encode() in file.read_bytes()] == []
        gone = await b.boswell("dead", "show", letter["id"])
        assert (gone.exit_code, "there is no dead letter" in gone.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["retry"], 2),
        (["retry", "u1", "--all"], 2),
        (["drop"], 2),
        (["show", "seven"], 2),
        (["show", "u99"], 1),
        (["retry", "r99"], 1),
        (["drop", "t99"], 1),
        (["drop", "--all"], 0),
        (["list"], 0),
    ],
)
async def test_what_is_asked_wrongly_ends_in_a_sentence_and_a_code(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    async with running(tmp_path, echo) as b:
        await b.until(lambda: b.state()[0])
        result = await b.boswell("dead", *arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output


def test_what_a_person_wrote_does_not_act_on_the_operators_terminal() -> None:
    assert shared.printable("\x1b]0;owned\x07 \x9b2J\r\nline") == "�]0;owned� �2J�\nline"
