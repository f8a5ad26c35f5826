"""What can be pressed: a long history goes on by a button, which works after a restart too."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from adapters.base import Button, parse_command
from tests.fakes.house import House, house
from tests.fakes.memory_adapter import MemoryAdapter
from tests.fakes.scripted_model import ScriptedModel


def below(h: House) -> tuple[Button, ...]:
    """The buttons of the last message of chat 1."""
    return h.adapter.buttons[list(h.adapter.messages["1"])[-1]]


async def press(h: House, button: Button, number: int) -> None:
    command, args = parse_command(f"/{button.command}")
    await h.say(f"/{button.command}", command=command, args=args, via=f"press-{number}", message_id="")
    await h.settled()


async def test_a_long_history_is_read_to_its_end_by_its_button_over_a_restart(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: "word " * 300)
    async with house(tmp_path, model, limits={"turns_per_minute": None}) as h:
        for number in range(8):
            await h.say(f"question {number}")
        await h.settled()
        await h.say("/history")
        await h.settled()
        pages = [h.texts()[-1]]
        [button] = below(h)
        assert button.label == "Show more"
    async with house(tmp_path, model, adapter=h.adapter) as h:
        for number in range(20):
            await press(h, button, number)
            pages.append(h.texts()[-1])
            if not below(h):
                break
            [button] = below(h)
    whole = "\n".join(pages)
    assert len(pages) >= 3
    for number in range(8):
        assert whole.count(f"question {number}\n") == 1
    assert whole.count("word") == 2400


async def test_where_there_are_no_buttons_a_history_comes_whole(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: "word " * 300)
    async with house(tmp_path, model, adapter=MemoryAdapter(buttons=False)) as h:
        for number in range(8):
            await h.say(f"question {number}")
        await h.settled()
        before = len(h.texts())
        await h.say("/history")
        await h.settled()
        assert "".join(h.texts()[before:]).count("word") == 2400


async def test_a_history_that_is_too_long_for_one_answer_says_at_its_end_how_to_find_the_rest(
    tmp_path: Path,
) -> None:
    model = ScriptedModel(lambda request: "word " * 1100)
    async with house(tmp_path, model, adapter=MemoryAdapter(buttons=False)) as h:
        for number in range(8):
            await h.ask(f"question {number}")
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        told = await h.ask("/history")
        assert "question 7" in told
        assert "question 0" not in told
        assert re.match(rf"Of {day}, \d+ earlier messages are left out here\.", told)
        assert told.endswith(
            f"The day's earlier messages are left out above. /search finds them by a word of theirs: /search WORD {day}..{day}"
        )


async def test_a_page_that_is_not_there_is_the_last_one(tmp_path: Path) -> None:
    async with house(tmp_path, ScriptedModel(lambda request: "Fine.")) as h:
        await h.say("hello")
        await h.settled()
        for page in ("#99", "#0", "#x", "#²"):
            await h.say(f"/history {page}")
        await h.settled()
        assert all("hello" in text for text in h.texts()[1:])
