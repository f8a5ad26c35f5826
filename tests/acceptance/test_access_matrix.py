"""Every kind of event from everybody on every platform: who is let in gets what the kind gives, a stranger next to nothing.

Each cell of the matrix has a person, a private chat and a group of its own, and its event happens twice. A stranger gets at most
one reply in the hour, by whatever way they ask; no model hears of them, and of what they say, how they call themselves and
what their files are called nothing is kept, but the name in the pairing record.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from bot.sentences import say
from tests.fakes import matrix, matrix_discord, matrix_slack
from tests.fakes.matrix import Kept, World, name_of

CODE = re.compile(re.escape(say("pairing")).replace(r"\{code\}", "[2-9A-HJ-NP-Z]{8}"))


@dataclass(frozen=True)
class Kind:
    """A kind of event. `gives` is what whoever is let in gets for it (None: nothing), `alone` whether nobody else sees that.

    `asks`: it is meant for the bot, so that a stranger is refused.
    """

    name: str
    group: bool
    gives: Callable[[str], str] | None
    asks: bool = True
    alone: bool = False


def answer(word: str) -> str:
    return f"You said: {word}"


def no_zone(_: str) -> str:
    return say("timezone_unknown")


KINDS = (
    Kind("message", False, answer),
    Kind("plain", True, None, asks=False),
    Kind("mention", True, answer),
    Kind("reply", True, answer),
    Kind("edit", False, None, asks=False),
    Kind("group edit", True, None, asks=False),
    Kind("command", False, no_zone),
    Kind("group command", True, no_zone),
    Kind("slash", False, no_zone, alone=True),
    Kind("group slash", True, no_zone, alone=True),
    Kind("button", True, lambda _: say("nothing_to_stop"), alone=True),
    Kind("reaction", False, None, asks=False),
    Kind("file", False, lambda _: say("unsupported", content="a file")),
    Kind("added", True, None, asks=False),
    Kind("removed", True, None, asks=False),
)
TELLING = frozenset({"edit", "group edit", "reaction", "added", "removed"})  # for which no group is left

Standing = Literal["in", "refused", "code", "silent", "left"]


@dataclass(frozen=True)
class State:
    """Where somebody stands, in private and in the group; under which configuration; `decided` before Boswell started."""

    name: str
    configuration: str
    private: Standing
    group: Standing
    decided: str = ""
    allow: Literal["", "person", "prefix", "group"] = ""
    operator: bool = False


STATES = (
    State("open", "open", "in", "in"),
    State("closed, stranger", "closed", "refused", "refused"),
    State("closed, on the allow list", "closed", "in", "in", allow="person"),
    State("closed, allowed by a wildcard", "closed", "in", "in", allow="prefix"),
    State("closed, group on the allow list", "closed", "refused", "in", allow="group"),
    State("closed, operator", "closed", "in", "in", operator=True),
    State("pairing, stranger", "pairing", "code", "code"),
    State("pairing, code pending", "pairing", "silent", "silent", "pending"),
    State("pairing, approved", "pairing", "in", "in", "approved"),
    State("pairing, denied", "pairing", "silent", "silent", "denied"),
    State("pairing, revoked", "pairing", "code", "code", "revoked"),
    State("pairing, on the allow list", "pairing", "in", "in", allow="person"),
    State("pairing, operator", "pairing", "in", "in", operator=True),
    State("group not in access.groups", "groups", "in", "left"),
    State("group in access.groups", "groups", "in", "in", allow="group"),
    State("open, the platform closed", "closed here", "refused", "refused"),
    State("open, the platform closed, on its allow list", "closed here", "in", "in", allow="person"),
    State("closed, the platform open", "open here", "in", "in"),
    State("closed, the platform pairing", "pairing here", "code", "code"),
)
CONFIGURATIONS = tuple(dict.fromkeys(state.configuration for state in STATES))

Start = Callable[..., AbstractAsyncContextManager[World]]
PLATFORMS: Mapping[str, tuple[Start, type[World]]] = {
    "memory": (matrix.in_memory, matrix.InMemory),
    "telegram polling": (matrix.telegram_polling, matrix.Telegram),
    "telegram webhook": (matrix.telegram_webhook, matrix.TelegramByWebhook),
    "slack socket": (matrix_slack.slack_socket, matrix_slack.Slack),
    "slack http": (matrix_slack.slack_http, matrix_slack.Slack),
    "discord": (matrix_discord.discord, matrix_discord.Discord),
}


ONE_EACH = ("memory", "telegram polling", "slack socket", "discord")
STRANGER, FRIEND, WAITING, OPERATOR = 51_001, 52_002, 53_003, 54_004  # cells of the tests beside the matrix


@dataclass(frozen=True)
class Cell:
    number: int
    state: State
    kind: Kind

    @property
    def standing(self) -> Standing:
        return self.state.group if self.kind.group else self.state.private

    def word(self, time: int) -> str:
        """A word of this cell alone, of the first or the second time."""
        return f"zq{self.number}w{time}z"


def cells(configuration: str, world: type[World]) -> list[Cell]:
    return [
        Cell(10_000 + 100 * row + column, state, kind)
        for row, state in enumerate(STATES)
        for column, kind in enumerate(KINDS)
        if state.configuration == configuration and kind.name not in world.lacks
    ]


def access(configuration: str, chosen: list[Cell], world: type[World]) -> dict[str, Any]:
    """The section of the configuration."""
    names = {
        "person": [world.person(c.number) for c in chosen if c.state.allow == "person"],
        "prefix": sorted({world.person(c.number)[:-2] + "*" for c in chosen if c.state.allow == "prefix"}),
        "group": [world.group(c.number) for c in chosen if c.state.allow == "group"],
    }
    section: dict[str, Any] = {
        "operators": [world.person(c.number) for c in chosen if c.state.operator],
    }
    policy, _, here = configuration.partition(" ")
    if configuration == "groups":
        return {**section, "policy": "open", "groups": names["group"]}
    allow = [*names["person"], *names["prefix"], *names["group"]]
    if not here:
        return {**section, "policy": policy, "allow": allow}
    other = "open" if policy == "closed" else "closed"
    there = {"policy": policy, "allow": allow}
    return {**section, "policy": other, "platforms": {world.platform: there}}


def expected(cell: Cell, world: World) -> tuple[list[str | re.Pattern[str]], bool]:
    """What is said after both events, and whether it is for the person alone."""
    kind, gives = cell.kind, cell.kind.gives
    match cell.standing:
        case "in" if gives is not None:
            return [gives(cell.word(time)) for time in (1, 2)], kind.alone
        case "refused" if kind.asks:
            return [say("refused", user_id=world.person(cell.number))], kind.alone
        case "code" if kind.asks:
            return [CODE], kind.alone
    return [], kind.alone


def problems(cell: Cell, world: World, kept: Kept) -> Iterator[str]:
    """What is not as it must be, in words."""
    wanted, alone = expected(cell, world)
    told, shown = world.told(cell.number), world.shown(cell.number)
    said, other = (told, shown) if alone else (shown, told)
    fits = len(said) == len(wanted) and all(
        want.fullmatch(one) if isinstance(want, re.Pattern) else one == want
        for want, one in zip(wanted, said, strict=True)
    )
    if not fits:
        yield f"{'told alone' if alone else 'shown'}: {said}, not {wanted}"
    if other:
        yield f"{'shown' if alone else 'told alone'}: {other}, and it should be nothing"
    leaves = cell.standing == "left" and cell.kind.name not in TELLING
    if world.left(cell.number) != leaves:
        yield f"the group was left {world.left(cell.number)} times"
    if world.waiting(cell.number):
        yield "the person was left waiting for an answer"
    asked = sum(cell.word(time) in text for text in world.asked() for time in (1, 2))
    if cell.standing == "in":
        if cell.kind.gives is answer and not asked:
            yield "no model was asked"
        if cell.kind.gives is not answer and cell.kind.name != "plain" and asked:
            yield "a model was asked"
        return
    if asked:
        yield f"a model was told {asked} times"
    for time_ in (1, 2):
        if places := kept.where(cell.word(time_)):
            yield f"the word is kept: {places}"
        if cell.word(time_) in world.logged():
            yield "the word is logged"
    names = kept.where(name_of(cell.number))
    if CODE in wanted:  # the pairing record has it, in the database
        names = [place for place in names if place.startswith("table ") and place != "table pairing"]
    if names:
        yield f"the name is kept: {names}"
    if (world.data / "memory" / world.person(cell.number)).exists():
        yield "there is a folder of transcripts"


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_each_kind_of_event_has_its_outcome_for_everybody(
    tmp_path: Path, platform: str, configuration: str
) -> None:
    start, kind = PLATFORMS[platform]
    if kind is matrix.InMemory and configuration.endswith(" here"):
        pytest.skip("the configuration knows no such platform, so nothing can be different on it")
    chosen = cells(configuration, kind)
    decisions: dict[str, list[str]] = {}
    for cell in chosen:
        if cell.state.decided:
            decisions.setdefault(cell.state.decided, []).append(kind.person(cell.number))
    section = access(configuration, chosen, kind)
    async with start(tmp_path, decisions, time.time(), access=section) as world:
        for turn in (1, 2):
            for cell in chosen:
                await world.do(cell.kind.name, cell.number, cell.word(turn))
            await world.settle()
        kept = world.kept()
        found = [
            f"{platform}: {cell.state.name}: {cell.kind.name}: {problem}"
            for cell in chosen
            for problem in problems(cell, world, kept)
        ]
        calls = len(world.asked())
        assert not found, "\n" + "\n".join(found)
        paid = [c for c in chosen if c.standing == "in" and c.kind.gives is answer]
        assert calls == 2 * len(paid), "a model was asked for something that nobody said"


async def test_a_stranger_hears_more_after_an_hour_only(tmp_path: Path) -> None:
    chosen = [
        Cell(20_000 + 100 * row + column, state, kind)
        for row, state in enumerate(state for state in STATES if state.configuration == "pairing")
        for column, kind in enumerate(KINDS)
        if kind.asks and state.private in ("code", "silent")
    ]
    decisions: dict[str, list[str]] = {}
    for cell in chosen:
        decisions.setdefault(cell.state.decided, []).append(matrix.InMemory.person(cell.number))
    decisions.pop("", None)
    section = {"policy": "pairing"}
    async with matrix.in_memory(tmp_path, decisions, time.time(), access=section) as world:
        for hour in range(3):
            for turn in (1, 2):
                for cell in chosen:
                    await world.do(cell.kind.name, cell.number, cell.word(turn))
                await world.settle()
            for cell in chosen:
                said = [*world.shown(cell.number), *world.told(cell.number)]
                assert all(CODE.fullmatch(one) for one in said), said
                first = {"code": 1, "silent": 0}[cell.standing]
                denied = cell.state.decided == "denied"
                assert len(said) == (0 if denied else hour + first), f"{cell.state.name}: {cell.kind.name}"
            world.clock[0] += 3601
        assert world.asked() == []


@pytest.mark.parametrize("platform", ONE_EACH)
async def test_an_edit_replaces_a_message_that_waits_and_no_other(tmp_path: Path, platform: str) -> None:
    start, kind = PLATFORMS[platform]
    section = {"policy": "closed", "allow": [kind.person(FRIEND)]}
    async with start(tmp_path, {}, time.time(), access=section) as world:
        await world.do("message", FRIEND, "hold")
        await world.received()
        begun = world.said[FRIEND]
        await world.do("message", FRIEND, "zqfirst")
        await world.received()
        await world.rewrite(FRIEND, "zqsecond")
        await world.received()
        waiting, world.said[FRIEND] = world.said[FRIEND], begun
        await world.rewrite(FRIEND, "zqtoolate")
        await world.received()
        world.said[FRIEND] = waiting
        world.gate.set()
        await world.settle()
        assert world.shown(FRIEND) == ["held", "You said: zqsecond"]
        await world.rewrite(FRIEND, "zqthird")
        await world.settle()
        assert world.shown(FRIEND) == ["held", "You said: zqsecond"]
        assert len(world.asked()) == 2


# What is forged


def look_alikes(cell: int) -> list[str]:
    """User ids that are not the cell's person's, on any platform, but for a hair."""
    return [
        *(f"telegram-{number}" for number in (f"{cell}1", f"1{cell}", str(cell)[:-1], f"-{cell}")),
        *(f"slack-{number}" for number in (f"T1-U{cell}1", f"T1-U{str(cell)[:-1]}", f"T11-U{cell}")),
        *(f"slack-{number}" for number in (f"T2-U{cell}", f"T1-W{cell}", "T2-*", "T11-*")),
        *(f"discord-{number}" for number in (f"{cell}1", f"1{cell}", str(cell)[:-1], f"{cell}-*")),
    ]


@pytest.mark.parametrize("platform", ONE_EACH)
async def test_nobody_is_let_in_for_an_id_or_a_name_that_looks_like_anothers(
    tmp_path: Path, platform: str
) -> None:
    start, kind = PLATFORMS[platform]
    own = {kind.person(STRANGER), kind.group(STRANGER)}
    others = [f"{other}-{STRANGER}" for other in ("telegram", "discord")] + [f"slack-T1-U{STRANGER}"]
    listed = [one for one in [*look_alikes(STRANGER), *others] if one not in own]
    if platform == "memory":  # an id as the platform itself writes it, and of no other person
        listed += [f"memory-{STRANGER}1", f"memory-{str(STRANGER)[:-1]}", f"Memory-{STRANGER}"]
    operator = kind.person(OPERATOR)
    section = {
        "policy": "closed",
        "allow": listed,
        "operators": [operator, *(one for one in listed if "*" not in one)],
    }
    async with start(tmp_path, {}, time.time(), access=section) as world:
        for number, name in enumerate((operator, listed[0], "*", "", "Boswell")):
            for what in ("message", "mention", "command", "button"):
                cell = STRANGER if number == 0 else 55_000 + number
                world.names[cell] = name
                await world.do(what, cell, "zqword")
                await world.settle()
        await world.do("press", STRANGER, "pair list")
        await world.do("press", STRANGER, f"pair revoke {operator}")
        await world.settle()
        for cell in (STRANGER, *range(55_001, 55_005)):
            said = [*world.shown(cell), *world.told(cell)]
            assert said == [say("refused", user_id=kind.person(cell))]
        assert world.asked() == []
        assert world.kept().where("zqword") == []


FORGED = (
    "stop 999",
    "stop all",
    "stop 1 OR 1=1",
    "pair",
    "pair list",
    "pair approve {code}",
    "pair deny {code}",
    "pair revoke {friend}",
    "paired",
    "boswell",
    "zqgarbage",
    "\N{CAT}" * 16,
    "stop " + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 29,
    "/stop",
    "stop\n999",
    "' ; DROP TABLE inbox; --",
    "{}",
    "-1",
)


@pytest.mark.parametrize("platform", ONE_EACH)
async def test_forged_data_of_a_button_does_no_more_than_its_presser_may(
    tmp_path: Path, platform: str
) -> None:
    start, kind = PLATFORMS[platform]
    friends = range(
        FRIEND, FRIEND + len(FORGED)
    )  # one for each, or the platform's pace would hold the answers up
    friend = kind.person(FRIEND)
    decisions = {"approved": [kind.person(one) for one in friends], "pending": [kind.person(WAITING)]}
    section = {"policy": "pairing", "operators": [kind.person(OPERATOR)]}
    everything = """SELECT user_id, state, "by" FROM access ORDER BY user_id"""
    async with start(tmp_path, decisions, time.time(), access=section) as world:
        [(code,)] = world.rows("SELECT code FROM pairing")
        decided = world.rows(everything)
        forged = [data.replace("{code}", code).replace("{friend}", friend) for data in FORGED]
        for data in forged:
            await world.do("press", STRANGER, data)
            await world.settle()
        [own] = [one for one in world.told(STRANGER) if CODE.fullmatch(one)]
        assert world.told(STRANGER) == [own], "a stranger gets a code for the first, and silence for the rest"
        assert code not in own
        assert world.kept().where("zqgarbage") == []
        for one, data in zip(friends, forged, strict=True):
            await world.do("press", one, data)
        await world.settle()
        told = [text for one in friends for text in world.told(one)]
        assert say("nothing_to_stop") in told
        assert not any(code in text or kind.person(WAITING) in text for text in told)
        assert [world.shown(one) for one in (STRANGER, *friends)] == [[]] * (1 + len(forged))
        assert world.rows(everything) == decided
        assert (code,) in world.rows("SELECT code FROM pairing")
        assert world.asked() == []
        assert "'log_level': 'error'" not in world.logged()


async def test_somebody_of_another_workspace_with_the_same_user_id_is_somebody_else(tmp_path: Path) -> None:
    """In a channel that two organisations share, people of the other one speak as well."""
    section = {"policy": "closed", "allow": [f"slack-T1-U{FRIEND}", "slack-T1-*"]}
    async with matrix_slack.slack_socket(tmp_path, {}, time.time(), access=section) as world:
        for text in ("@boswell zqforeign", "@boswell /history"):
            world.server.say(f"C{FRIEND}", f"U{FRIEND}", text, user_team="T2", team="T2")
        world.server.say(f"D{FRIEND}", f"U{FRIEND}", "zqforeign", user_team="T2", team="T2")
        await world.settle()
        assert world.shown(FRIEND) == [say("refused", user_id=f"slack-T2-U{FRIEND}")]
        assert world.kept().where("zqforeign") == []
        assert world.asked() == []
        await world.do("message", FRIEND, "zqown")
        await world.settle()
        assert "You said: zqown" in world.shown(FRIEND)


async def test_whom_one_server_lets_in_is_a_stranger_in_another_one_and_in_private(tmp_path: Path) -> None:
    server = matrix_discord.SERVER + FRIEND
    section = {"policy": "closed", "allow": [f"discord-{server}-*"]}
    async with matrix_discord.discord(tmp_path, {}, time.time(), access=section) as world:
        for what in ("mention", "group slash"):
            await world.do(what, FRIEND, "zq52here1z")
        await world.settle()
        assert world.shown(FRIEND) == ["You said: zq52here1z"]
        assert world.told(FRIEND) == [say("timezone_unknown")]
        await world.do("mention", STRANGER, "zq52there1z")  # so that there is another server
        await world.settle()
        world.slash_in(STRANGER, FRIEND, "timezone", "zq52elsewhere1z")
        world.slash_in(STRANGER, FRIEND, "history", "")
        await world.settle()
        refused = say("refused", user_id=f"discord-{FRIEND}")
        assert world.told(FRIEND) == [say("timezone_unknown"), refused]
        assert not world.waiting(FRIEND)
        await world.do("message", FRIEND, "zq52elsewhere1z")
        await world.settle()
        assert world.shown(FRIEND) == ["You said: zq52here1z"], "silence for an hour, in private, too"
        assert world.kept().where("zq52elsewhere1z") == []
        assert len(world.asked()) == 1
