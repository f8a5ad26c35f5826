"""Nobody's words reach somebody else: not in groups, not by a forged argument, not by a look-alike id, not after a restart."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.base import Chat, Person, clean, user_id
from bot.events import ToolCall, UserSaid
from bot.models.base import ModelRequest
from memory.transcripts import Transcripts, TurnRecord
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel

# Two people, in private and in one group ------------------------------------------------------------------------------

GROUP = Chat("memory", "-100", "group", "Book club")


def last_user(request: ModelRequest) -> str:
    return next(e.text for e in reversed(request.events) if isinstance(e, UserSaid))


def seen(request: ModelRequest) -> str:
    """All that a model got to see."""
    return json.dumps([request.system, *map(str, request.events)])


def looks_up(arguments: str) -> Any:
    """A model that calls the history tool for "spy" and repeats everything that it sees."""

    def script(request: ModelRequest) -> Any:
        if last_user(request) == "spy" and isinstance(request.events[-1], UserSaid):
            return [ToolCall("c", "history", arguments)]
        return seen(request)

    return script


FORGED = [
    {"user_id": "memory-2"},
    {"user": "memory-2", "date": "today"},
    {"user_id": "../memory-2"},
    {"chat": "memory:2:"},
    {"chat_id": "2"},
    {"context": {"user_id": "memory-2"}},
    {"variables": {"user_id": "memory-2"}},
    {"transcripts": "/"},
    {"date": "../memory-2/today"},
    {"date": "../../memory-2/2026-01-01"},
    {"start": "memory-2"},
    {"date": {"user_id": "memory-2"}},
    {"__class__": "memory-2", "self": "memory-2"},
]


@pytest.mark.parametrize("forged", FORGED, ids=map(json.dumps, FORGED))
@pytest.mark.parametrize("chat", [None, GROUP], ids=["private", "group"])
async def test_a_forged_argument_reaches_nobody_elses_words(
    tmp_path: Path, forged: dict[str, Any], chat: Chat | None
) -> None:
    model = ScriptedModel(looks_up(json.dumps(forged)))
    async with house(tmp_path, model, groups={"window": 0}) as h:
        await h.say("BLUE-ELEPHANT", user="2")
        await h.say("BLUE-ELEPHANT", user="2", chat=GROUP, addressed=True)
        await h.settled()
        asked = len(model.requests)
        await h.say("spy", user="1", chat=chat, addressed=True)
        await h.settled()
        assert len(model.requests) == asked + 2
        assert not any("BLUE-ELEPHANT" in seen(request) for request in model.requests[asked:])
        assert not any("BLUE-ELEPHANT" in text for text in h.texts("1"))
        assert not any("BLUE-ELEPHANT" in text for _, text in h.transcript("1"))


async def test_two_people_in_private_and_in_one_group_read_only_their_own(tmp_path: Path) -> None:
    model = ScriptedModel(looks_up("{}"))
    async with house(tmp_path, model, groups={"window": 0}) as h:
        for user in ("1", "2"):
            await h.say(f"PRIVATE-{user}", user=user)
            await h.say(f"PUBLIC-{user}", user=user, chat=GROUP, addressed=True)
        await h.settled()
        for user in ("1", "2"):
            await h.say("/clear", user=user)
            await h.say("/clear", user=user, chat=GROUP)
        await h.settled()
        for user, other in (("1", "2"), ("2", "1")):
            asked, shown = len(model.requests), len(h.texts("-100"))
            await h.say("spy", user=user)
            await h.say("/history", user=user)
            await h.settled()
            private = "".join(map(seen, model.requests[asked:])) + "".join(h.texts(user))
            assert f"PRIVATE-{user}" in private
            assert f"PUBLIC-{user}" in private
            assert not re.search(rf"(PRIVATE|PUBLIC)-{other}", private)
            asked = len(model.requests)
            await h.say("spy", user=user, chat=GROUP, addressed=True)
            await h.say("/history", user=user, chat=GROUP)
            await h.settled()
            public = "".join(map(seen, model.requests[asked:])) + "".join(h.texts("-100")[shown:])
            assert f"PUBLIC-{user}" in public
            assert "PRIVATE" not in public
            assert f"PUBLIC-{other}" not in public


# Look-alike ids ---------------------------------------------------------------------------------------------------------

Parts = tuple[str, str]
LOOK_ALIKES = [
    *(
        "a",
        "A",
        "\u0430",
        "\u0410",
        "a%41",
        "a%61",
        "%61",
        "aa",
        "aA",
        "a.",
        "a ",
        " a",
        "a\u200b",
        "\uff41",
        "\U0001d41a",
    ),
    *(
        "../x",
        "x",
        "..",
        ".",
        "/x",
        "x/",
        "x\\",
        "\\x",
        "..\\x",
        "x/../a",
        "//",
        "C:",
        "~",
        "-",
        "--",
        "a-b",
    ),
    *(
        "CON",
        "con",
        "nul",
        "NUL",
        "COM1",
        "aux.txt",
        "LPT\u00b9",
        "\0",
        "a\0",
        "\n",
        "\r\n",
        "a\nb",
        "*",
        "?",
        "|",
    ),
    *(
        "\u00e9",
        "e\u0301",
        "\u00c9",
        "\u0130",
        "i\u0307",
        "\u0131",
        "I",
        "\u017f",
        "s",
        "\u00df",
        "ss",
        "\u1e9e",
        "\ufb01",
        "fi",
    ),
    *(
        "\ud800",
        "\udc00",
        "\ufffd",
        "\u202ea",
        "\u212a",
        "k",
        "K",
        "memory-2",
        "console-a",
        "%",
        "%%",
        "%2e%2e",
    ),
]


def on_any_disk(name: str) -> str:
    """What a disk may make of a folder's name: case and Unicode forms do not count, dots and spaces at the end go."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).rstrip(". ")


def folder_of(memory: Path, user: str) -> Path:
    transcripts = Transcripts(memory)
    return transcripts.path(user, transcripts.date_of(TurnRecord(user, 0.0, "UTC", None, ()))).parent


def check_apart(one: str, other: str) -> None:
    memory = Path("/somewhere/memory")
    for upper in (False, True):
        ids = [user_id("console", native, upper=upper) for native in (one, other)]
        folders = [folder_of(memory, id_) for id_ in ids]
        assert all(folder.parent == memory and ".." not in folder.parts for folder in folders)
        assert all(re.fullmatch(r"console-[A-Za-z0-9_%-]*", id_) for id_ in ids)
        if one != other:
            assert on_any_disk(folders[0].name) != on_any_disk(folders[1].name)


def test_look_alike_ids_have_folders_apart_and_inside_the_memory() -> None:
    for one, other in itertools.combinations(LOOK_ALIKES, 2):
        check_apart(one, other)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
@example("a", "a%41")
def test_any_two_ids_have_folders_apart_and_inside_the_memory(one: str, other: str) -> None:
    check_apart(one, other)
    check_apart(one, one.swapcase())


_PARTS = st.tuples(st.text("aA-%.1", max_size=4), st.text("aA-%.1", max_size=4))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(_PARTS, _PARTS)
@example(("a", "b-c"), ("a-b", "c"))
def test_ids_of_two_parts_are_told_apart_wherever_the_parts_divide(one: Parts, other: Parts) -> None:
    assert (user_id("slack", *one, upper=True) == user_id("slack", *other, upper=True)) == (one == other)


@pytest.mark.parametrize(
    "forged", ["", ".", "..", "../x", "/etc", "a/b", "console-../x", "console-a/../b", "a\0"]
)
def test_what_is_no_user_id_has_no_folder(forged: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="user id"):
        folder_of(tmp_path, forged)


async def test_people_with_look_alike_ids_read_only_their_own(tmp_path: Path) -> None:
    """As the console names its people, over the whole way."""
    adapter = MemoryAdapter()
    model = ScriptedModel(lambda request: f"You said: {last_user(request)}")
    people = {
        native: (Person(user_id("memory", native), clean(native)), Chat("memory", f"{clean(native)}{number}"))
        for number, native in enumerate(LOOK_ALIKES)
    }
    async with house(tmp_path, model, adapter=adapter) as h:
        for number, (person, chat) in enumerate(people.values()):
            await h.say(f"MARK{number}.", chat=chat, person=person)
        await h.settled()
        for person, chat in people.values():
            await h.say("/history", chat=chat, person=person)
        await h.settled()
        for number, (_, chat) in enumerate(people.values()):
            marks = set(re.findall(r"MARK\d+", "".join(h.texts(chat.id))))
            assert marks == {f"MARK{number}"}
    folders = list((tmp_path / "memory").iterdir())
    assert len(folders) == len(people)
    assert len({on_any_disk(folder.name) for folder in folders}) == len(people)
    assert all(len(list(folder.iterdir())) == 1 for folder in folders)
    outside = [path for path in tmp_path.rglob("*.md") if path.parent.parent != tmp_path / "memory"]
    assert not outside


# Any interleaving -------------------------------------------------------------------------------------------------------

PEOPLE = ("1", "2", "3")
Place = Literal["private", "g", "h", "g topic"]
PLACES: tuple[Place, ...] = ("private", "g", "h", "g topic")
_MARK = re.compile(r"MARK\d+x")


@dataclass(frozen=True)
class Step:
    """What happens next. `verb`: a message to the model, a command, or what befalls the house."""

    verb: str
    person: str = "1"
    place: Place = "private"
    addressed: bool = True


_MESSAGES = ("chat", "chat", "recall", "recall all", "forge", "slow")
_COMMANDS = ("/clear", "/stop", "/history", "/history yesterday")
_EVENTS = ("settle", "settle", "restart", "migrate")
_STEPS = st.lists(
    st.one_of(
        st.builds(
            Step,
            st.sampled_from([*_MESSAGES, *_MESSAGES, *_COMMANDS]),
            st.sampled_from(PEOPLE),
            st.sampled_from(PLACES),
            st.booleans() | st.just(True),
        ),
        st.builds(Step, st.sampled_from(_EVENTS)),
    ),
    min_size=8,
    max_size=30,
)
_GROUPS = st.fixed_dictionaries(
    {
        "stream": st.sampled_from(["person", "chat"]),
        "respond": st.sampled_from(["mention", "always"]),
        "window": st.sampled_from([0, 5]),
    }
)


@dataclass
class World:
    """Who said which marker where, over all restarts, and what came of it."""

    groups: dict[str, Any]
    on_busy: str
    adapter: MemoryAdapter = field(default_factory=MemoryAdapter)
    owners: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # marker → "private 1", or the group it was said in
    requests: list[ModelRequest] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    ids: dict[str, str] = field(default_factory=lambda: {"g": "-100", "h": "-200"})
    never: asyncio.Event = field(default_factory=asyncio.Event)

    def chat(self, step: Step) -> Chat:
        if step.place == "private":
            return Chat("memory", step.person)
        group, _, topic = step.place.partition(" ")
        return Chat("memory", self.ids[group], "group", "Club", "7" if topic else "")

    def model(self, request: ModelRequest) -> Any:
        """Looks up what it is asked to, then says every marker that it may: in private all that it sees."""
        words = last_user(request)
        marker = cast("re.Match[str]", _MARK.search(words))[0]
        if isinstance(request.events[-1], UserSaid):
            others = [f"memory-{person}" for person in PEOPLE if person != self.owners[marker]]
            match words.split()[1:]:
                case ["recall"]:
                    return [ToolCall(f"c{marker}", "history", "{}")]
                case ["recall", "all"]:
                    return [ToolCall(f"c{marker}", "history", '{"start": "2000-01-01"}')]
                case ["forge"]:
                    return [
                        ToolCall(f"c{marker}{n}", "history", json.dumps({key: value}))
                        for n, (key, value) in enumerate(
                            itertools.product(("user_id", "user", "chat"), [*others, "../" + others[0]])
                        )
                    ]
                case ["slow"]:
                    return [f"Well {marker}", self.never]
        visible = _MARK.findall(seen(request))
        if self.places[marker].startswith("private"):
            return " ".join(["I see", *visible])
        return " ".join(["I see", *(m for m in visible if self.owners[m] == self.owners[marker])])

    def key(self) -> dict[str, str]:
        number = next(self.numbers)
        return {"key": str(number), "message_id": f"m{number}"}


async def play(world: World, folder: Path, steps: Sequence[Step]) -> None:
    """Do the steps; a restart leaves the house as abruptly as a kill and opens it again."""
    lives: list[list[Step]] = [[]]
    for step in steps:
        if step.verb == "restart":
            lives.append([])
        else:
            lives[-1].append(step)
    for life in lives:
        async with open_house(world, folder) as h:
            for step in life:
                await do(world, h, step)
            await asyncio.sleep(0)
    async with open_house(world, folder) as h:
        await quiet(h, world)
        for person, place in itertools.product(PEOPLE, PLACES):
            await do(world, h, Step("/history", person, place))
        await quiet(h, world)
        check(world, h)


def open_house(world: World, folder: Path) -> Any:
    model = ScriptedModel(world.model)
    model.requests = world.requests
    streams = {"on_busy": world.on_busy}
    return house(folder, model, adapter=world.adapter, groups=world.groups, streams=streams)


async def do(world: World, h: House, step: Step) -> None:
    if step.verb == "settle":
        await quiet(h, world)
        return
    if step.verb == "migrate":
        new = f"{world.ids['g']}0"
        chat = world.chat(Step("", "1", "g"))
        await h.hand_in(replace(h.update(new, "g", chat, **world.key()), kind="migrated"))
        world.ids["g"] = new
        return
    text = step.verb
    if not text.startswith("/"):
        marker = f"MARK{next(world.numbers)}x"
        world.owners[marker] = step.person
        world.places[marker] = f"private {step.person}" if step.place == "private" else step.place[0]
        text = f"{marker} {step.verb}"
    await h.say(text, step.person, world.chat(step), addressed=step.addressed, **world.key())


async def quiet(h: House, world: World) -> None:
    """Everything is answered; what would take for ever is stopped by those who asked for it."""
    for person, place in itertools.product(PEOPLE, PLACES):
        await h.say("/stop", person, world.chat(Step("", person, place)), **world.key())
    await h.settled()


def check(world: World, h: House) -> None:
    group_of = {"-100": "g", "-200": "h"}

    def place(chat_id: str) -> str:
        return f"private {chat_id}" if chat_id in PEOPLE else group_of[chat_id[:4]]

    for chat_id, messages in world.adapter.messages.items():
        shown = set(_MARK.findall(json.dumps(list(messages.values()))))
        if chat_id in PEOPLE:
            assert all(world.owners[m] == chat_id for m in shown), f"{chat_id} was shown another's words"
        else:
            assert all(world.places[m] == place(chat_id) for m in shown), (
                "a group was shown what was not said in it"
            )
    for person in PEOPLE:
        files = " ".join(path.read_text() for path in h.folder.glob(f"memory/memory-{person}/*.md"))
        assert all(world.owners[m] == person for m in _MARK.findall(files)), (
            f"{person}'s files have another's words"
        )
    alone = world.groups["stream"] == "person" and not world.groups["window"]
    for request in world.requests:
        asked = cast("re.Match[str]", _MARK.search(last_user(request)))[0]
        where, who = world.places[asked], world.owners[asked]
        for marker in _MARK.findall(seen(request)):
            if alone or where.startswith("private"):
                assert world.owners[marker] == who, "a person's own stream saw another's words"
            else:
                assert world.places[marker] == where, "a group's stream saw what was not said in it"


@pytest.mark.timeout(600)  # a failure takes its time to be made small
@settings(
    derandomize=True,
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(_STEPS, _GROUPS, st.sampled_from(["queue", "queue", "collect", "interrupt"]))
def test_no_interleaving_of_people_chats_and_restarts_mixes_anybody_up(
    steps: list[Step], groups: dict[str, Any], on_busy: str
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await play(World(groups, on_busy), Path(folder), steps)

    asyncio.run(run())
