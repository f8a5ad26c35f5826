"""Who may talk: pairing, operators, groups, and that a stranger costs and leaves nothing."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Chat
from memory import people
from memory.database import Database, open_database
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

GROUP = Chat("memory", "-5", "group", "Book club")
PAIRING = {"policy": "pairing", "operators": ["memory-9"]}
CODE = re.compile(r"\b[2-9A-HJ-NP-Z]{8}\b")


def echo() -> ScriptedModel:
    return ScriptedModel(lambda request: [f"You said {request.events[-1].text}"])  # type: ignore[union-attr]


async def kept(database: Database, word: str) -> list[str]:
    """The tables that hold a word anywhere."""

    def read(tx: Any) -> list[str]:
        run = tx._connection.execute
        names = [r[0] for r in run("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [n for n in names if any(word in str(v) for row in run(f"SELECT * FROM {n}") for v in row)]

    return await database.read(read)


def code_in(text: str) -> str:
    found = CODE.search(text)
    assert found, text
    return found[0]


async def asked(model: ScriptedModel) -> None:
    """Return once the model works on something."""
    async with asyncio.timeout(10):
        while not model.requests:  # noqa: ASYNC110 - it gives no sign of its own
            await asyncio.sleep(0.01)


async def until(h: House, count: int, chat: str = "1") -> None:
    async with asyncio.timeout(10):
        while len(h.texts(chat)) < count:  # noqa: ASYNC110 - the watch looks at the database in its own time
            await asyncio.sleep(0.01)
    await h.settled()


async def test_a_stranger_gets_one_code_and_then_silence_and_no_word_is_kept(tmp_path: Path) -> None:
    model = echo()
    async with house(tmp_path, model, access=PAIRING) as h:
        for text in ("my xylophone", "hello?", "/history", "/clear", "/help"):
            await h.say(text)
        await h.settled()
        assert len(h.texts()) == 1
        code_in(h.texts()[0])
        assert not model.requests
        assert await kept(h.database, "xylophone") == []


async def test_an_operator_approves_in_a_chat_and_the_person_is_told_and_answered(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        await h.say("hello")
        await h.settled()
        code = code_in(h.texts()[0])
        await h.say("/pair", user="9")
        await h.settled()
        assert code in h.texts("9")[-1]
        assert "memory-1" in h.texts("9")[-1]
        await h.say(f"/pair approve {code.lower()}", user="9")
        await until(h, 2)
        assert "let in" in h.texts()[1]
        await h.say("hello")
        await h.settled()
        assert h.texts()[2] == "You said hello"


async def test_who_another_process_approves_is_answered_at_once_and_welcomed_once(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        await h.say("hello")
        await h.settled()
        code = code_in(h.texts()[0])
        async with open_database(tmp_path / "boswell.db") as other:
            found = await other.write(lambda tx: people.decide(tx, code, True, "command line", 1e10 - 1))
            assert found is None  # its hour is over by then
            at = (await other.read(lambda tx: people.pending(tx, 0)))[0].expires_at - 1
            assert await other.write(lambda tx: people.decide(tx, code, True, "command line", at))
        await h.say("hello again")
        await until(h, 3)
        assert sorted(h.texts()[1:])[1] == "You said hello again"
    async with house(tmp_path, echo(), adapter=h.adapter, access=PAIRING) as h:
        await h.say("still there?")
        await h.settled()
        assert h.texts()[3:] == ["You said still there?"]


@pytest.mark.parametrize("word", ["approve", "deny", "list", "revoke"])
async def test_only_operators_decide(tmp_path: Path, word: str) -> None:
    access = {**PAIRING, "allow": ["memory-2"]}
    async with house(tmp_path, echo(), access=access) as h:
        await h.say("hello")
        await h.settled()
        code = code_in(h.texts()[0])
        await h.say(f"/pair {word} {code}", user="2")
        await h.settled()
        assert h.texts("2") == ["That is for operators only."]
        assert [one.code for one in await h.database.read(lambda tx: people.pending(tx, 0))] == [code]


async def test_who_was_denied_hears_nothing_more_until_it_is_revoked(tmp_path: Path) -> None:
    clock = [1_800_000_000.0]
    async with house(tmp_path, echo(), access=PAIRING, now=lambda: clock[0]) as h:
        await h.say("hello")
        await h.settled()
        await h.say(f"/pair deny {code_in(h.texts()[0])}", user="9")
        await h.settled()
        clock[0] += 7200
        await h.say("please")
        await h.settled()
        assert len(h.texts()) == 1
        await h.say("/pair revoke memory-1", user="9")
        await h.settled()
        await h.say("please")
        await h.settled()
        assert len(h.texts()) == 2


async def test_a_revoked_person_is_a_stranger_again(tmp_path: Path) -> None:
    model = echo()
    async with house(tmp_path, model, access=PAIRING) as h:
        await h.say("hello")
        await h.settled()
        await h.say(f"/pair approve {code_in(h.texts()[0])}", user="9")
        await until(h, 2)
        await h.say("/pair revoke memory-1", user="9")
        async with asyncio.timeout(10):
            while "memory-1" in h.parts.turns.setup.gate.approved:  # noqa: ASYNC110 - the watch, as above
                await asyncio.sleep(0.01)
        await h.say("hello")
        await h.settled()
        assert not model.requests


async def test_at_most_three_codes_wait_in_a_group_and_the_rest_is_silence(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        for user in "12345":
            await h.say("hello", user=user, chat=GROUP, addressed=True)
            await h.settled()
        assert len(h.texts(GROUP.id)) == 3


async def test_a_code_is_over_after_an_hour(tmp_path: Path) -> None:
    clock = [1_800_000_000.0]
    async with house(tmp_path, echo(), access=PAIRING, now=lambda: clock[0]) as h:
        await h.say("hello")
        await h.settled()
        code = code_in(h.texts()[0])
        clock[0] += 3601
        await h.say(f"/pair approve {code}", user="9")
        await h.settled()
        assert "no such code" in h.texts("9")[0]
        await h.say("hello")
        await h.settled()
        assert code_in(h.texts()[1]) != code


async def test_it_leaves_a_group_that_is_not_on_the_list_and_hears_nothing_there(tmp_path: Path) -> None:
    model = echo()
    access = {"policy": "open", "groups": ["memory--5"]}
    async with house(tmp_path, model, access=access) as h:
        other = Chat("memory", "-6", "group", "Elsewhere")
        for _ in range(3):
            await h.say("hello", chat=other, addressed=True)
        await h.say("hello", chat=GROUP, addressed=True)
        await h.settled()
        assert h.adapter.left == ["-6"]
        assert h.texts("-6") == []
        assert h.texts("-5") == ["You said hello"]
        assert len(model.requests) == 1


async def test_a_group_on_the_list_lets_everybody_in_who_speaks_there_and_only_there(tmp_path: Path) -> None:
    access = {"policy": "closed", "allow": ["memory--5"]}
    async with house(tmp_path, echo(), access=access) as h:
        await h.say("hello", chat=GROUP, addressed=True)
        await h.say("hello")
        await h.settled()
        assert h.texts("-5") == ["You said hello"]
        assert "You said hello" not in h.texts()


async def test_a_button_of_a_stranger_does_nothing(tmp_path: Path) -> None:
    """A button is a command of whoever presses it; the turn that it names is another person's."""
    gate = asyncio.Event()
    model = ScriptedModel(lambda r: ["Once upon a time", gate, " it ended."])
    access = {"policy": "closed", "allow": ["memory-1", "memory-2"]}
    async with house(tmp_path, model, access=access) as h:
        await h.say("tell me", chat=GROUP, addressed=True)
        await asked(model)
        turn = (await h.database.read(lambda tx: tx.all("inbox_owed", platform="memory", after=0)))[0]["id"]
        for user in "23":
            await h.say(f"/stop {turn}", user=user, chat=GROUP, addressed=True, via=f"press-{user}")
        async with asyncio.timeout(10):
            while len(h.adapter.answers) < 2:  # noqa: ASYNC110 - two answers, in any order
                await asyncio.sleep(0.01)
        assert h.adapter.answers["press-2"] == "There is nothing to stop."
        gate.set()
        await h.settled()
        assert "Once upon a time it ended." in h.texts("-5")


async def test_an_operator_stops_another_persons_turn(tmp_path: Path) -> None:
    gate = asyncio.Event()
    model = ScriptedModel(lambda r: ["Once upon a time", gate, " it ended."])
    async with house(tmp_path, model, access={"policy": "open", "operators": ["memory-9"]}) as h:
        await h.say("tell me", chat=GROUP, addressed=True)
        await asked(model)
        await h.say("/stop all", user="9", chat=GROUP, addressed=True)
        await h.settled()
        assert any("(stopped)" in text for text in h.texts("-5"))


async def test_a_strangers_slash_commands_are_answered_once_an_hour_and_none_is_left_waiting(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        for number in range(3):
            await h.say("/help", chat=GROUP, via=f"slash-{number}", message_id="")
            await h.settled()
        assert list(h.adapter.answers) == ["slash-0"]
        assert h.adapter.dismissed == ["slash-1", "slash-2"]


async def test_only_operators_see_the_status_and_only_in_private(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access={"policy": "open", "operators": ["memory-9"]}) as h:
        await h.say("/status")
        await h.say("/status", user="9", chat=GROUP)
        await h.say("/status", user="9")
        await h.say("/help")
        await h.settled()
        assert h.texts()[0] == "That is for operators only."
        assert "/pair" not in h.texts()[1]
        assert h.texts("-5") == ["I tell that only in private. Write to me there."]
        assert "memory: not running" in h.texts("9")[0]


async def test_a_server_is_not_left_where_another_channel_of_it_is_on_the_list(tmp_path: Path) -> None:
    access = {"policy": "open", "groups": ["memory-700-500"]}
    adapter = MemoryAdapter(leaves_server=True)
    async with house(tmp_path, echo(), adapter=adapter, access=access) as h:
        await h.say("hello", chat=Chat("memory", "700-501", "group"), addressed=True)
        await h.say("hello", chat=Chat("memory", "701-500", "group"), addressed=True)
        await h.say("hello", chat=Chat("memory", "700-500", "group"), addressed=True)
        await h.settled()
        assert adapter.left == ["701-500"]
        assert (h.texts("700-501"), h.texts("700-500")) == ([], ["You said hello"])


async def test_who_was_revoked_gets_a_new_code_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        await h.say("hello")
        await h.settled()
        await h.say(f"/pair deny {code_in(h.texts()[0])}", user="9")
        await h.settled()
        await h.say("/pair revoke memory-1", user="9")
        await h.settled()
        await h.say("please")
        await h.settled()
        assert code_in(h.texts()[1])


async def test_who_waits_is_listed_in_private_only(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        await h.say("/pair", user="9", chat=GROUP)
        await h.settled()
        assert h.texts("-5") == ["I tell that only in private. Write to me there."]


@pytest.mark.parametrize(
    ("said", "meant"),
    [("hlep", "help"), ("reminder", "reminders"), ("histroy", "history"), ("serch", "search")],
)
async def test_for_a_command_that_is_written_wrong_the_one_that_was_meant_is_named(
    tmp_path: Path, said: str, meant: str
) -> None:
    async with house(tmp_path, echo()) as h:
        assert (
            await h.ask(f"/{said}")
            == f"I do not know /{said}. Did you mean /{meant}? /help lists what I know."
        )


async def test_a_command_for_operators_is_not_named_to_others_and_stands_last_for_them(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, echo(), access={"operators": ["memory-1"], "policy": "open"}) as h:
        assert "/status?" not in await h.ask("/statuss", user="2")
        assert "Did you mean /status?" in await h.ask("/statuss")
        names = re.findall(r"^/(\w+) –", await h.ask("/help"), re.MULTILINE)
        assert names[-3:] == ["forget", "pair", "status"]


async def test_help_names_what_the_platform_itself_takes_to_leave(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), adapter=MemoryAdapter(leaves_by=("exit", "quit"))) as h:
        assert (await h.ask("/help")).endswith("\n/exit, /quit – leave")
    async with house(tmp_path / "other", echo()) as h:
        assert "exit" not in await h.ask("/help")


async def test_commands_are_named_as_people_give_them_on_the_platform(tmp_path: Path) -> None:
    adapter = MemoryAdapter(command_prefix="/boswell ")
    async with house(tmp_path, echo(), adapter=adapter) as h:
        await h.say("/start")
        await h.say("/help")
        await h.say("/nonsense")
        await h.say("see /help and http://x/help")
        await h.settled()
        start, help_, unknown = (text for text in h.texts() if not text.startswith("You said"))
        assert "/boswell help lists" in start
        assert help_.startswith("/boswell start – ")
        assert "/timezone" not in help_
        assert unknown == "I do not know /boswell nonsense. /boswell help lists what I know."
        assert "You said see /help and http://x/help" in h.texts()


async def test_a_crowd_of_strangers_gets_three_refusals_in_a_group_and_no_more(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access={"policy": "closed"}) as h:
        for user in range(10):
            await h.say("hello", user=str(user), chat=GROUP, addressed=True)
        await h.settled()
        assert len(h.texts("-5")) == 3


async def test_who_got_no_code_because_too_many_wait_gets_one_as_soon_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MOST_IN_ALL", 1)
    async with house(tmp_path, echo(), access=PAIRING) as h:
        await h.say("hello", user="2")
        await h.settled()
        await h.say("hello")
        await h.settled()
        assert h.texts() == []
        await h.say(f"/pair deny {code_in(h.texts('2')[0])}", user="9")
        await h.settled()
        await h.say("hello?")
        await h.settled()
        assert code_in(h.texts()[0])


async def test_two_looks_at_one_decision_welcome_once(tmp_path: Path) -> None:
    async with house(tmp_path, echo(), access=PAIRING) as h:
        await h.say("hello")
        await h.settled()
        code = code_in(h.texts()[0])
        at = (await h.database.read(lambda tx: people.pending(tx, 0)))[0].expires_at - 1
        await h.database.write(lambda tx: people.decide(tx, code, True, "command line", at))
        refresh = h.parts.approvals.refresh
        await asyncio.gather(refresh(), refresh(), refresh())
        await h.settled()
        assert len(h.texts()) == 2
