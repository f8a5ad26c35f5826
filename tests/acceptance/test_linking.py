"""One person on several platforms: whom a code links, who gets to see what, and what no attack achieves."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import Chat, Person
from bot import sentences
from bot.events import ToolCall, ToolReturned, UserSaid
from bot.linking import Linking
from bot.models.base import ModelRequest
from memory import links, people
from memory.database import Tx
from memory.links import CODE_SECONDS, MOST_TRIES
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.model_server import Reply
from tests.fakes.record import environ
from tests.fakes.running import running
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.terminal import Program

CODE = re.compile(r"\b[2-9A-HJ-NP-Z]{8}\b")
Who = tuple[str, str]  # platform and the platform's id
ANNA: Who = ("memory", "1")
ANNA_THERE: Who = ("tavern", "9")
EVE: Who = ("tavern", "66")
UNKNOWN = sentences.say("link_unknown")


def echo(request: ModelRequest) -> Any:
    """Says "heard"; asked to look, it tells all that the history tool gives it."""
    last = request.events[-1]
    if isinstance(last, ToolReturned):
        return last.content
    if isinstance(last, UserSaid) and last.text.startswith("look"):
        return [ToolCall("c", "history", last.text.removeprefix("look") or "{}")]
    return "heard"


@dataclass
class Inn:
    """A house on two platforms."""

    h: House
    tavern: MemoryAdapter

    def sees(self, who: Who) -> list[str]:
        """What somebody sees in private."""
        return (self.h.adapter if who[0] == "memory" else self.tavern).texts(who[1])

    async def say(self, who: Who, text: str, **more: Any) -> str:
        """The answer to what somebody says in private."""
        await self.h.say(text, who[1], on=who[0], **more)
        await self.h.settled()
        answer = self.sees(who)[-1]
        if "link" in text:  # or it would come in the middle of what the test does next
            await Linking(self.h.database, self.h.parts.engine, frozenset({"memory", "tavern"})).refresh()
            await self.h.settled()
        return answer

    async def told(self, who: Who, text: str) -> None:
        """Return once somebody was told so of our own accord."""
        adapter = self.h.adapter if who[0] == "memory" else self.tavern
        async with asyncio.timeout(10):
            await adapter.wait_for(lambda: text in self.sees(who))

    async def code(self, who: Who) -> str:
        [code] = CODE.findall(await self.say(who, "/link"))
        return str(code)

    async def link(self, who: Who, other: Who) -> None:
        """One gets the code, the other types it, looks and goes on."""
        code = await self.code(who)
        shown = await self.say(other, f"/link {code}")
        assert f"{who[0]}-{who[1]}" in shown
        assert f"/link {code} yes" in shown
        done = await self.say(other, f"/link {code} yes")
        assert f"`{who[0]}-{who[1]}`" in done
        assert done.startswith("Done")

    async def people(self, who: Who) -> set[str]:
        ids = await self.h.database.read(lambda tx: links.people(tx, f"{who[0]}-{who[1]}"))
        assert ids[0] == f"{who[0]}-{who[1]}"
        return set(ids)


@asynccontextmanager
async def open_inn(folder: Path, **more: Any) -> AsyncIterator[Inn]:
    tavern = MemoryAdapter("tavern")
    async with house(folder, ScriptedModel(echo), also=[tavern], **more) as h:
        yield Inn(h, tavern)


# Linking ----------------------------------------------------------------------------------------------------------------


async def test_a_code_from_one_platform_links_the_other_and_both_are_told(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        shown = await inn.say(ANNA_THERE, f"/link {code.lower()}")
        assert "memory-1 (“Person 1”)" in shown
        assert "Memory" in shown
        assert "facts" in shown
        assert await inn.people(ANNA) == {"memory-1"}  # nothing has happened yet
        assert "`memory-1`" in await inn.say(ANNA_THERE, f"/link {code} yes")
        await inn.told(ANNA, sentences.say("linked_elsewhere", others="`tavern-9`"))
        assert await inn.people(ANNA) == {"memory-1", "tavern-9"} == await inn.people(ANNA_THERE)
        assert "`tavern-9`" in await inn.say(ANNA, "/link")  # it tells with whom, beside a new code


async def test_whose_code_it_is_is_told_before_anything_happens_even_to_who_says_yes_at_once(
    tmp_path: Path,
) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        assert "memory-1" in await inn.say(ANNA_THERE, f"/link {code} yes")
        assert await inn.people(ANNA_THERE) == {"tavern-9"}
        assert "memory-1" in await inn.say(EVE, f"/link {code} yes")
        assert await inn.people(EVE) == {"tavern-66"}
        assert "Done" in await inn.say(ANNA_THERE, f"/link {code} yes")


async def test_the_button_below_goes_on_where_there_are_buttons(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        await inn.say(ANNA_THERE, f"/link {code}")
        [button] = inn.tavern.buttons[max(inn.tavern.messages["9"], key=int)]
        assert button.command == f"link {code} yes"
        await inn.say(ANNA_THERE, f"/{button.command}", message_id="", via="pressed")
        assert len(await inn.people(ANNA_THERE)) == 2
        await inn.say(ANNA_THERE, "/link NOCODEAT")
        assert inn.tavern.buttons[max(inn.tavern.messages["9"], key=int)] == ()


async def test_what_somebody_calls_themselves_cannot_pass_for_our_words(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        name = "x`)\n\n**All is well, it is [you](https://evil.example)**"
        code = CODE.findall(await inn.say(ANNA, "/link", person=Person("memory-1", name)))[0]
        shown = await inn.say(ANNA_THERE, f"/link {code}")
        assert "\n" not in shown
        assert not re.search(r"\*\*|\]\(|//", shown)


async def test_who_is_told_in_their_language_is_who_asked_for_the_code(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = CODE.findall(await inn.say(ANNA, "/link", person=Person("memory-1", "A", "de-AT")))[0]
        await inn.say(ANNA_THERE, f"/link {code}")
        await inn.say(ANNA_THERE, f"/link {code} yes")
        await inn.told(ANNA, sentences.say("linked_elsewhere", others="`tavern-9`"))
        [(body,)] = inn.h.rows(
            "SELECT count(*) FROM turns WHERE outcome = 'own:linked' AND user_id = 'memory-1'"
        )
        assert body == 1


async def test_a_command_that_only_its_asker_sees_will_do_in_a_group_and_the_notice_goes_home(
    tmp_path: Path,
) -> None:
    room = Chat("memory", "-100", "group")
    async with open_inn(tmp_path) as inn:
        await inn.say(ANNA, "hello")  # from here on there is a home
        await inn.h.say("/link", "1", room, message_id="", via="slash-1")
        await inn.h.settled()
        [code] = CODE.findall(inn.h.adapter.answers["slash-1"])
        await inn.say(ANNA_THERE, f"/link {code}")
        await inn.say(ANNA_THERE, f"/link {code} yes")
        await inn.told(ANNA, sentences.say("linked_elsewhere", others="`tavern-9`"))
        assert len(inn.h.texts("-100")) == 1


async def test_three_accounts_are_one_person_and_parting_one_leaves_the_others_together(
    tmp_path: Path,
) -> None:
    third: Who = ("tavern", "10")
    async with open_inn(tmp_path) as inn:
        await inn.link(ANNA, ANNA_THERE)
        await inn.say(third, "hello")
        await inn.link(ANNA_THERE, third)
        await inn.told(ANNA, sentences.say("linked_elsewhere", others="`tavern-10`"))
        assert await inn.people(third) == {"memory-1", "tavern-9", "tavern-10"}
        assert await inn.say(third, "/unlink memory-1") == sentences.UNLINK_USAGE
        assert await inn.say(ANNA_THERE, "/unlink") == sentences.say(
            "unlinked", others="`memory-1`, `tavern-10`"
        )
        for one in (ANNA, third):
            await inn.told(one, sentences.say("parted_elsewhere", others="`tavern-9`"))
        assert await inn.people(ANNA) == {"memory-1", "tavern-10"}
        assert await inn.say(ANNA_THERE, "/unlink") == sentences.NOT_LINKED


# Attacks ----------------------------------------------------------------------------------------------------------------


async def test_a_wrong_code_a_used_an_old_a_revoked_one_and_a_forged_id_are_answered_alike(
    tmp_path: Path,
) -> None:
    now = [1_793_707_200.0]
    access = {"policy": "pairing", "allow": ["memory-*", "tavern-9", "tavern-5*"]}
    async with open_inn(tmp_path, now=lambda: now[0], access=access) as inn:
        stranger = "tavern-77"

        def unit(tx: Tx) -> str:
            return links.ask(tx, stranger, "S", "", {"platform": "tavern", "id": "77"}, now[0])

        revoked = await inn.h.database.write(unit)
        used = await inn.code(("memory", "2"))
        await inn.say(("tavern", "52"), f"/link {used}")
        await inn.say(("tavern", "52"), f"/link {used} yes")
        old = await inn.code(("memory", "3"))
        now[0] += CODE_SECONDS
        answers = {}
        for n, code in enumerate(["WR0NGC0D", "memory-1", used, old, revoked, "'OR(1=1)--"]):
            answers[code] = await inn.say(("tavern", f"50{n}"), f"/link {code}")
        assert set(answers.values()) == {UNKNOWN}
        [(tries,)] = inn.h.rows("SELECT count(*) FROM link_tries")
        assert tries == len(answers)


async def test_guessing_is_over_after_some_tries_even_for_the_right_code(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        assert {await inn.say(EVE, f"/link AAAAAAA{n + 2} yes") for n in range(MOST_TRIES)} == {UNKNOWN}
        assert await inn.say(EVE, f"/link {code}") == sentences.LINK_TOO_OFTEN
        assert await inn.say(EVE, f"/link {code} yes") == sentences.LINK_TOO_OFTEN
        assert await inn.people(ANNA) == {"memory-1"}
        assert "memory-1" in await inn.say(ANNA_THERE, f"/link {code}")


async def test_a_code_that_was_used_links_nobody_else(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        await inn.say(ANNA_THERE, f"/link {code}")
        await inn.say(ANNA_THERE, f"/link {code} yes")
        for who in (EVE, ANNA_THERE):
            assert await inn.say(who, f"/link {code}") == UNKNOWN
            assert await inn.say(who, f"/link {code} yes") == UNKNOWN
        assert await inn.people(EVE) == {"tavern-66"}


async def test_of_all_who_go_on_at_once_exactly_one_is_linked_once(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        await inn.say(EVE, f"/link {code}")
        await inn.say(ANNA_THERE, f"/link {code}")
        again = [inn.h.update(f"/link {code} yes", "9", on="tavern") for _ in range(4)]
        others = [inn.h.update(f"/link {code} yes", "66", on="tavern") for _ in range(4)]
        await inn.h.hand_in(*(update for pair in zip(others, again, strict=True) for update in pair))
        await inn.h.settled()
        assert len(await inn.people(ANNA)) == 2
        done = [text for who in (EVE, ANNA_THERE) for text in inn.sees(who) if text.startswith("Done")]
        assert len(done) == 1
        assert inn.h.rows("SELECT count(*) FROM links") == [(2,)]


async def test_nobody_is_linked_with_themselves_or_twice(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        code = await inn.code(ANNA)
        for word in ("", " yes"):
            assert await inn.say(ANNA, f"/link {code}{word}") == sentences.LINK_OWN
        assert inn.h.rows("SELECT * FROM links") == []
        await inn.link(ANNA, ANNA_THERE)
        code = await inn.code(ANNA)
        for word in ("", " yes"):
            assert await inn.say(ANNA_THERE, f"/link {code}{word}") == sentences.LINK_AGAIN


async def test_no_code_is_given_in_a_group_and_one_that_is_typed_there_is_void(tmp_path: Path) -> None:
    room = Chat("tavern", "-100", "group")
    async with open_inn(tmp_path) as inn:
        for text in ("/link", "/unlink"):
            await inn.h.say(text, "9", room)
            await inn.h.settled()
            assert inn.tavern.texts("-100")[-1] == sentences.PRIVATE_ONLY
        code = await inn.code(ANNA)
        for text in (f"/link {code.lower()} yes", "/link AAAAAAAA"):
            await inn.h.say(text, "9", room)
            await inn.h.settled()
            assert inn.tavern.texts("-100")[-1] == sentences.LINK_IN_PUBLIC  # whether or not it was one
        assert await inn.people(ANNA_THERE) == {"tavern-9"}
        assert await inn.say(EVE, f"/link {code}") == UNKNOWN


@pytest.mark.parametrize("decision", ["revoked", "denied"])
@pytest.mark.parametrize("late", [False, True], ids=["before it is looked at", "before it is confirmed"])
async def test_the_code_of_somebody_who_is_kept_out_meanwhile_is_none(
    tmp_path: Path, decision: str, late: bool
) -> None:
    """By another process: this one need not have heard of it."""
    access = {"policy": "pairing", "allow": ["tavern-9"]}
    async with open_inn(tmp_path, access=access) as inn:
        refused = await inn.say(ANNA, "hello")

        def let_in(tx: Tx) -> None:
            people.decide(tx, CODE.findall(refused)[0], True, "command line", 0.0)

        def keep_out(tx: Tx) -> None:
            if decision == "revoked":
                people.revoke(tx, "memory-1")
            else:
                tx.run("access_set", user_id="memory-1", state="denied", name="", by="x", at=0.0, welcome="")

        await inn.h.database.write(let_in)
        code = await inn.code(ANNA)
        if late:
            assert "memory-1" in await inn.say(ANNA_THERE, f"/link {code}")
        await inn.h.database.write(keep_out)
        assert inn.h.parts.turns.setup.gate.approved == {"memory-1"}
        assert await inn.say(ANNA_THERE, f"/link {code} yes") == UNKNOWN
        assert await inn.people(ANNA_THERE) == {"tavern-9"}


async def test_being_linked_lets_nobody_in(tmp_path: Path) -> None:
    access = {"policy": "closed", "allow": ["memory-1"]}

    def link(tx: Tx) -> None:
        found = links.find(tx, links.ask(tx, "memory-1", "", "", None, 1e9), "tavern-9", 1e9)
        assert isinstance(found, links.Code)
        links.link(tx, found, "tavern-9", 1e9)

    async with open_inn(tmp_path, access=access) as inn:
        await inn.h.database.write(link)
        assert await inn.say(ANNA, "hello") == "heard"
        assert await inn.say(ANNA_THERE, "hello") == sentences.say("refused", user_id="tavern-9")


async def test_an_operators_other_accounts_are_no_operators(tmp_path: Path) -> None:
    async with open_inn(tmp_path, access={"policy": "open", "operators": ["memory-1"]}) as inn:
        await inn.link(ANNA, ANNA_THERE)
        assert await inn.say(ANNA_THERE, "/status") == sentences.OPERATORS_ONLY


# Telling the other side -------------------------------------------------------------------------------------------------


async def test_the_other_side_is_told_by_who_runs_its_platform_and_once(tmp_path: Path) -> None:
    tavern = MemoryAdapter("tavern")
    async with house(tmp_path, ScriptedModel(echo), also=[tavern]) as h:
        inn = Inn(h, tavern)
        code = await inn.code(ANNA)
        await inn.say(ANNA_THERE, f"/link {code}")
    text = sentences.say("linked_elsewhere", others="`tavern-9`")
    memory = MemoryAdapter()
    async with house(tmp_path, ScriptedModel(echo), adapter=tavern) as h:  # only the tavern runs
        await h.say(f"/link {code} yes", "9", on="tavern")
        await h.settled()
        await Linking(h.database, h.parts.engine, frozenset({"tavern"})).refresh()
        owed = await h.database.read(lambda tx: tx.all("link_notices"))
        assert [row["user_id"] for row in owed] == ["memory-1"]
    async with house(tmp_path, ScriptedModel(echo), adapter=memory) as h:
        async with asyncio.timeout(10):
            await memory.wait_for(lambda: text in memory.texts("1"))
        linking = Linking(h.database, h.parts.engine, frozenset({"memory"}))
        await linking.refresh()  # what was entered is not owed any more
        assert h.rows("SELECT user_id FROM link_notices") == []

        def again(tx: Tx) -> None:
            [notice] = owed
            tx.run("link_notice_add", **{name: value for name, value in dict(notice).items() if name != "id"})
            tx._connection.execute("UPDATE link_notices SET id = ?", (notice["id"],))

        await h.database.write(again)  # as after a kill before it was marked
        await linking.refresh()
        await h.settled()
        assert linking.linked.keys() == {"memory-1", "tavern-9"}
        assert h.rows("SELECT user_id FROM link_notices") == []
    assert memory.texts("1").count(text) == 1


# Who sees what ----------------------------------------------------------------------------------------------------------


async def test_what_was_said_on_one_platform_is_found_on_the_other_until_they_part(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        await inn.say(ANNA, "BLUE-ELEPHANT")
        await inn.say(ANNA_THERE, "RED-HERRING")
        assert "BLUE-ELEPHANT" not in await inn.say(ANNA_THERE, "look")
        await inn.link(ANNA, ANNA_THERE)
        for who in (ANNA, ANNA_THERE):
            for asked in ("look", "/history"):
                found = await inn.say(who, asked)
                assert "BLUE-ELEPHANT" in found
                assert "RED-HERRING" in found
        assert "· memory" in await inn.say(ANNA_THERE, "/history")  # where it was said
        for folder, own, other in (("memory-1", "BLUE", "RED"), ("tavern-9", "RED", "BLUE")):
            files = "".join(path.read_text() for path in (tmp_path / "memory" / folder).glob("*.md"))
            said = re.findall(r"^\*\*user:\*\* (.*)$", files, re.MULTILINE)
            assert any(own in text for text in said)
            assert not any(other in text for text in said)
        await inn.say(ANNA, "/unlink")
        await inn.say(ANNA_THERE, "/clear")
        await inn.say(ANNA, "/clear")
        assert await inn.people(ANNA_THERE) == {"tavern-9"}


async def test_who_parts_while_a_turn_runs_is_read_by_it_no_more(tmp_path: Path) -> None:
    tavern = MemoryAdapter("tavern")
    go, asked = asyncio.Event(), asyncio.Event()

    async def slow(request: ModelRequest) -> Any:
        if not isinstance(request.events[-1], ToolReturned) and "look" in str(request.events[-1]):
            asked.set()
            await go.wait()
        return echo(request)

    async with house(tmp_path, ScriptedModel(slow), also=[tavern]) as h:
        inn = Inn(h, tavern)
        await inn.say(ANNA, "BLUE-ELEPHANT")
        await inn.link(ANNA, ANNA_THERE)
        await h.say("look", "9", on="tavern")
        await asyncio.wait_for(asked.wait(), 10)
        await h.say("/unlink", "1")
        async with asyncio.timeout(10):
            await h.adapter.wait_for(lambda: any("Parted" in text for text in inn.sees(ANNA)))
        go.set()
        await h.settled()
        assert "BLUE-ELEPHANT" not in inn.sees(ANNA_THERE)[-1]


async def test_in_a_group_the_other_accounts_private_words_are_not_told(tmp_path: Path) -> None:
    room, other_room = Chat("tavern", "-100", "group"), Chat("memory", "-100", "group")
    async with open_inn(tmp_path, groups={"window": 0}) as inn:
        second: Who = ("tavern", "10")
        await inn.link(ANNA, ANNA_THERE)
        await inn.link(ANNA, second)
        await inn.say(ANNA, "PRIVATE-1")
        await inn.say(ANNA_THERE, "PRIVATE-9")
        await inn.h.say("PUBLIC-1", "1", other_room, addressed=True)  # a group of the same id, elsewhere
        await inn.h.say("PUBLIC-10", "10", room, on="tavern", addressed=True)
        await inn.h.settled()
        for asked in ("look", "/history"):
            await inn.h.say(asked, "9", room, on="tavern", addressed=True)
            await inn.h.settled()
            found = inn.tavern.texts("-100")[-1]
            assert "PUBLIC-10" in found
            assert "PRIVATE" not in found
            assert "PUBLIC-1\n" not in found


async def test_the_time_zone_is_set_for_all_accounts_and_is_ones_own_first(tmp_path: Path) -> None:
    async with open_inn(tmp_path) as inn:
        await inn.say(ANNA, "/timezone Europe/Vienna")
        await inn.link(ANNA, ANNA_THERE)
        assert "Europe/Vienna" in await inn.say(ANNA_THERE, "/timezone")
        await inn.say(ANNA_THERE, "/timezone Asia/Tokyo")
        assert "Asia/Tokyo" in await inn.say(ANNA, "/timezone")
        await inn.say(ANNA, "/unlink")
        assert "Asia/Tokyo" in await inn.say(ANNA, "/timezone")
        await inn.say(ANNA, "/timezone UTC")
        assert "Asia/Tokyo" in await inn.say(ANNA_THERE, "/timezone")


# Anything goes ----------------------------------------------------------------------------------------------------------

EVERYBODY: Sequence[Who] = [(platform, user) for platform in ("memory", "tavern") for user in ("1", "2", "3")]


@dataclass(frozen=True)
class Step:
    verb: str
    who: Who
    other: Who


@dataclass
class Expected:
    """Who is one person with whom, and who has said what."""

    sets: dict[Who, frozenset[Who]] = field(default_factory=lambda: {w: frozenset({w}) for w in EVERYBODY})
    said: dict[Who, set[str]] = field(default_factory=lambda: {w: set() for w in EVERYBODY})


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["say", "say", "link", "unlink", "look"]),
        st.sampled_from(EVERYBODY),
        st.sampled_from(EVERYBODY),
    ),
    min_size=4,
    max_size=14,
)


@given(STEPS)
@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_whoever_links_and_parts_sees_what_is_of_their_person_and_of_nobody_else(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), steps))


async def _live(folder: Path, steps: list[Step]) -> None:
    tavern, expected = MemoryAdapter("tavern"), Expected()
    found: list[str] = []

    def discreet(request: ModelRequest) -> Any:
        """What it says of what it finds would stand in the transcripts, too."""
        last = request.events[-1]
        if isinstance(last, ToolReturned):
            found.append(last.content)
            return "heard"
        return echo(request)

    model, limits = ScriptedModel(discreet), {"turns_per_minute": None}
    async with house(folder, model, also=[tavern], limits=limits) as h:
        inn = Inn(h, tavern)
        looks = [Step("look", who, who) for who in EVERYBODY]
        for n, step in enumerate([*steps, *looks]):
            sets = expected.sets
            match step.verb:
                case "say":
                    await inn.say(step.who, f"SECRET-{n}-")
                    expected.said[step.who].add(f"SECRET-{n}-")
                case "link" if step.other in sets[step.who]:
                    pass
                case "link":
                    await inn.link(step.who, step.other)
                    both = sets[step.who] | sets[step.other]
                    sets.update(dict.fromkeys(both, both))
                case "unlink":
                    rest = sets[step.who] - {step.who}
                    await inn.say(step.who, "/unlink")
                    sets.update(dict.fromkeys(rest, rest) | {step.who: frozenset({step.who})})
                case "look":
                    await inn.say(step.who, "/clear")
                    theirs = {word for who in sets[step.who] for word in expected.said[who]}
                    found.append(await inn.say(step.who, "/history"))
                    await inn.say(step.who, "look" + json.dumps({"start": "2026-01-01"}))
                    assert [set(re.findall(r"SECRET-\d+-", text)) for text in found] == [theirs, theirs]
                    found.clear()


# On real platforms, in two processes --------------------------------------------------------------------------------------


async def test_telegram_and_a_terminal_of_another_process_become_one_person_and_part(tmp_path: Path) -> None:
    async with running(tmp_path, lambda request: Reply(text=("Noted.",))) as b:

        async def shown(pattern: str) -> str:
            """The bot's last message in Telegram, once it looks so."""
            await b.telegram.wait_for(
                lambda server: re.search(pattern, "".join(server.chat(11).texts[-1:])), 10
            )
            return str(b.telegram.chat(11).texts[-1])

        b.telegram.say(11, 1001, "my cat is called Tiger")
        await shown("Noted")
        b.telegram.say(11, 1001, "/link", name="Ada")
        [code] = CODE.findall(await shown("Your code"))
        command = [sys.executable, "-m", "bot.cli", "chat", "--user", "ada", "--config", str(b.path)]

        def at_the_terminal() -> str:
            with Program(command, tmp_path, environ()) as program:
                program.sees(r"^> ?\Z")
                program.type(f"/link {code}\r")
                program.sees(r"made on Telegram by telegram-1001 \(“Ada”\)")
                program.rests()
                program.type(f"/link {code} yes\r")
                program.sees("Done: this account and telegram-1001")
                program.rests()
                program.type("/history\r")
                found = program.sees("Tiger")
                program.rests()
                program.type("/unlink\r")
                program.sees("Parted")
                program.rests()
                program.type("/exit\r")
                assert program.ends() == 0
            return found

        found = await asyncio.to_thread(at_the_terminal)
        assert "· telegram" in found
        await shown("You and console-ada are not one person")
        texts = b.telegram.chat(11).texts
        assert sum("You are linked with console-ada now" in text for text in texts) == 1
        assert len(texts) == 4
        assert (tmp_path / "data" / "memory" / "telegram-1001").is_dir()
        assert not (tmp_path / "data" / "memory" / "console-ada").exists()
