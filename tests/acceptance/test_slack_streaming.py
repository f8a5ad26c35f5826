"""A reply that Slack streams, through everything that can end or delay the stream: it is whole, and stands once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.slack import Slack
from bot.sentences import say
from bot.tools import ALL
from bot.tools.base import Tool, ToolContext, tool
from tests.fakes.model_server import Call, Reply, Request, Step
from tests.fakes.slack import Fault, bad_gateway, broken, dropped, lost_answer, refusal, too_many
from tests.fakes.slack_running import Running, running

ANNA, DM, ROOM = Running.ANNA, Running.DM, Running.ROOM
BEGUN, WHOLE = "It begins so", "It begins so, and so it ends."


class Answer:
    """A model that begins an answer, and goes on by as many pieces as gates are opened."""

    def __init__(self, *rest: str) -> None:
        self.gates = [asyncio.Event() for _ in rest]
        self._pieces = [piece for gate, text in zip(self.gates, rest, strict=True) for piece in (gate, text)]

    def __call__(self, request: Request) -> Step:
        return Reply((BEGUN, *self._pieces))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Appends as often as the model has something to say: the pace is not what is tested here."""
    limits = replace(Slack.limits, edit_interval=0.01, group_edit_interval=0.01)
    monkeypatch.setattr(Slack, "limits", limits)


async def begun(b: Running, text: str = "go") -> str:
    """Ask in the channel, and wait until the answer streams; the thread."""
    thread = b.ask(text, ROOM)
    await b.shows(ROOM, BEGUN, thread=thread)
    assert b.slack.channel(ROOM).ours()[0].state == "streaming"
    return thread


async def ends(b: Running, thread: str, text: str = WHOLE) -> Any:
    """The answer reads so, stands once, and streams no more."""
    await b.shows(ROOM, text, thread=thread)
    [message] = b.slack.channel(ROOM).ours()
    await b.slack.wait_for(lambda _: message.state != "streaming")
    await b.boswell.until(
        lambda: b.boswell.rows("SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)]
    )
    assert b.slack.texts(ROOM) == [text]
    return message


async def test_an_answer_grows_by_what_is_new_and_is_closed_with_its_key(tmp_path: Path) -> None:
    answer = Answer(", and so", " it ends.")
    async with running(tmp_path, answer) as b:
        thread = await begun(b)
        answer.gates[0].set()
        await b.shows(ROOM, f"{BEGUN}, and so", thread=thread)
        answer.gates[1].set()
        message = await ends(b, thread)
        assert message.state == "stopped"
        assert message.metadata["event_payload"]["key"]
        assert b.slack.calls["chat.update"] == 0
    assert b.boswell.said("slack-T1-U1001") == [("user", "go"), ("assistant", WHOLE)]


async def test_a_stream_that_slack_ends_during_a_long_tool_call_is_finished_by_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, done = asyncio.Event(), asyncio.Event()

    async def clock(context: ToolContext) -> str:
        """Takes its time."""
        started.set()
        await done.wait()
        return "noon"

    monkeypatch.setitem(cast(dict[str, tuple[Tool, ...]], ALL), "clock", (tool(clock),))

    def model(request: Request) -> Step:
        if request.body["messages"][-1]["role"] == "tool":
            return Reply(("It ends so.",))
        return Reply((BEGUN,), calls=(Call("clock", id="call_1"),))

    async with running(tmp_path, model) as b:
        thread = await begun(b)
        await started.wait()
        assert b.slack.expire_streams() == 1
        done.set()
        whole = f"{BEGUN}\n\nIt ends so."
        await ends(b, thread, whole)
    assert b.boswell.said("slack-T1-U1001") == [("user", "go"), ("assistant", whole)]


FAULTS: dict[str, Callable[[], Fault]] = {
    "a 429": lambda: too_many(1),
    "a lost answer": lost_answer,
    "a dropped connection": dropped,
    "a bad gateway": bad_gateway,
    "a fault inside Slack": broken,
    "an answer that is too long for a stream": lambda: refusal("msg_too_long"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_happens_to_an_append_the_final_text_is_whole_and_stands_once(
    tmp_path: Path, fault: str
) -> None:
    answer = Answer(", and so", " it ends.")
    async with running(tmp_path, answer) as b:
        thread = await begun(b)
        met = b.slack.fault("chat.appendStream", FAULTS[fault]())
        answer.gates[0].set()
        async with asyncio.timeout(10):
            await met.met.wait()
        answer.gates[1].set()
        await ends(b, thread)


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_happens_to_the_stop_the_final_text_is_whole_and_stands_once(
    tmp_path: Path, fault: str
) -> None:
    answer = Answer(", and so it ends.")
    async with running(tmp_path, answer) as b:
        thread = await begun(b)
        b.slack.fault("chat.stopStream", FAULTS[fault]())
        answer.gates[0].set()
        await ends(b, thread)


async def test_a_stream_that_ends_by_itself_between_two_pieces_is_finished_by_an_edit(tmp_path: Path) -> None:
    answer = Answer(", and so", " it ends.")
    async with running(tmp_path, answer) as b:
        thread = await begun(b)
        assert b.slack.expire_streams() == 1
        answer.gates[0].set()
        await b.shows(ROOM, f"{BEGUN}, and so", thread=thread)
        answer.gates[1].set()
        await ends(b, thread)


async def test_a_stream_that_has_ended_when_it_is_to_be_stopped_is_finished_by_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slack, "limits", replace(Slack.limits, group_edit_interval=60))
    answer = Answer(", and so it ends.")
    async with running(tmp_path, answer) as b:
        thread = await begun(b)
        assert b.slack.expire_streams() == 1
        answer.gates[0].set()
        await ends(b, thread)
        assert b.slack.calls["chat.appendStream"] == 0


@pytest.mark.parametrize("fault", ["a 429", "a lost answer", "a dropped connection", "a bad gateway"])
async def test_whatever_happens_to_the_start_the_answer_stands_once(tmp_path: Path, fault: str) -> None:
    answer = Answer(", and so it ends.")
    answer.gates[0].set()
    async with running(tmp_path, answer) as b:
        b.slack.fault("chat.startStream", FAULTS[fault]())
        thread = b.ask("go", ROOM)
        await ends(b, thread)


async def test_where_streaming_is_not_allowed_a_message_is_edited_instead(tmp_path: Path) -> None:
    answer = Answer(", and so it ends.")
    async with running(tmp_path, answer) as b:
        b.slack.fault("chat.startStream", refusal("channel_type_not_supported"))
        thread = b.ask("go", ROOM)
        await b.shows(ROOM, BEGUN, thread=thread)
        answer.gates[0].set()
        message = await ends(b, thread)
        assert (message.history[0], message.state) == (BEGUN, "posted")


async def test_what_a_stream_shows_can_ping_nobody_and_is_never_rewritten(tmp_path: Path) -> None:
    text = "a <!channel> & **bold** [docs](https://slack.example/a) &lt; \ud83d\ude00 <@U1001> `x<y` end"
    pieces = tuple(text[n : n + 3] for n in range(0, len(text), 3))
    async with running(tmp_path, lambda _: Reply(pieces, pause=0.02)) as b:
        thread = b.ask("go", ROOM)
        await b.slack.wait_for(
            lambda s: s.texts(ROOM, thread)[-1:] and s.texts(ROOM, thread)[-1].endswith("end")
        )
        await b.boswell.until(
            lambda: b.boswell.rows("SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)]
        )
        [message] = b.slack.channel(ROOM).ours()
        assert message.state == "stopped"
        assert message.pings == []
        assert len(message.history) > 3
        assert all(message.text.startswith(shown) for shown in message.history)
        assert b.slack.calls["chat.update"] == 0


async def test_an_answer_longer_than_a_message_streams_and_goes_on_in_the_next(tmp_path: Path) -> None:
    words = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(70))
    pieces = tuple(words[n : n + 2000] for n in range(0, len(words), 2000))
    async with running(tmp_path, lambda _: Reply(pieces, pause=0.01)) as b:
        thread = b.ask("go", ROOM)
        await b.slack.wait_for(lambda s: len(s.texts(ROOM, thread)) == 2)
        await b.boswell.until(
            lambda: b.boswell.rows("SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)]
        )
        assert " ".join(b.slack.texts(ROOM, thread)).split() == words.split()
        assert not [m for m in b.slack.channel(ROOM).ours() if m.state == "streaming"]


async def test_a_stopped_answer_is_closed_with_what_was_shown(tmp_path: Path) -> None:
    async with running(tmp_path, Answer(" never")) as b:
        thread = await begun(b)
        b.ask("/stop", ROOM, thread=thread)
        await b.slack.wait_for(lambda s: s.channel(ROOM).ours()[0].state != "streaming")
        shown = f"{BEGUN}\n\n{say('stopped_mark')}"
        await b.slack.wait_for(lambda s: s.texts(ROOM, thread)[:1] == [shown])


async def test_an_answer_that_is_deleted_while_it_streams_arrives_all_the_same(tmp_path: Path) -> None:
    answer = Answer(", and so it ends.")
    async with running(tmp_path, answer) as b:
        thread = await begun(b)
        b.slack.first.delete(ROOM, b.slack.channel(ROOM).ours()[0].ts)
        answer.gates[0].set()
        await ends(b, thread)
