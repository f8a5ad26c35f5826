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
from tests.fakes.matrix import World, name_of

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


def problems(cell: Cell, world: World) -> Iterator[str]:
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
        yield "the group was left" if not leaves else "the group was not left"
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
        if kept := world.kept(cell.word(time_)):
            yield f"the word is kept: {kept}"
        if cell.word(time_) in world.logged():
            yield "the word is logged"
    names = world.kept(name_of(cell.number))
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
        found = [
            f"{platform}: {cell.state.name}: {cell.kind.name}: {problem}"
            for cell in chosen
            for problem in problems(cell, world)
        ]
        calls = len(world.asked())
        assert not found, "\n" + "\n".join(found)
        paid = [c for c in chosen if c.standing == "in" and c.kind.gives is answer]
        assert calls == 2 * len(paid), "a model was asked for something that nobody said"
