"""What a request may use at most: nothing that is sent is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events import AssistantSaid, Event, Summarised, ToolCall, ToolReturned, UserSaid
from bot.limits import bound, request_bound
from bot.models import anthropic, openai
from bot.models.base import ModelRequest, ToolSpec
from bot.models.history import well_formed
from bot.tools import ALL, named

TEXTS = st.text(max_size=80) | st.sampled_from(
    ["漢字" * 20, "\ud800 alone", "\N{FAMILY}" * 9, '"' * 50, "\n" * 50]
)
CALLS = st.builds(
    ToolCall,
    TEXTS,
    st.sampled_from(["history", "clock", "made up!"]),
    st.dictionaries(st.text(max_size=9), TEXTS, max_size=3).map(json.dumps) | TEXTS,
)
EVENTS = st.lists(
    st.builds(UserSaid, TEXTS, TEXTS, TEXTS)
    | st.builds(Summarised, TEXTS, st.integers(0, 9))
    | st.builds(ToolReturned, TEXTS, st.just("history"), TEXTS, st.booleans())
    | st.builds(AssistantSaid, TEXTS, st.lists(CALLS, max_size=3).map(tuple)),
    max_size=8,
)


def strings(value: Any) -> Iterator[str]:
    """Every text of a request's body, but those that only mark its parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "input":  # a tool call's arguments
                yield json.dumps(one)
            elif key not in ("role", "type"):
                yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


@given(TEXTS)
def test_a_text_has_at_most_as_many_tokens_as_bytes(text: str) -> None:
    assert bound(text) >= len(text.encode("utf-8", "replace"))
    assert bound(text) <= 4 * len(text)


@settings(deadline=None)
@given(EVENTS, TEXTS, st.booleans())
def test_nothing_that_is_sent_is_left_out_of_a_requests_bound(
    events: list[Event], system: str, with_tools: bool
) -> None:
    specs: list[ToolSpec] = [tool.spec for tool in named(ALL).values()] if with_tools else []
    request = ModelRequest(system, events, specs)
    tools = [text for spec in specs for text in (spec.name, spec.description, json.dumps(spec.parameters))]
    for sent in (
        openai._messages(request, "label"),  # the system prompt is one of them
        [well_formed(system), anthropic._messages(request, "label")],
    ):
        assert request_bound(request) >= sum(len(text.encode()) for text in [*tools, *strings(sent)])


@pytest.mark.parametrize(
    "event",
    [
        AssistantSaid("", (ToolCall("1", "history", json.dumps({"words": "漢字" * 500})),)),
        AssistantSaid("漢字" * 500),
        AssistantSaid("", opaque={"provider": "anthropic", "model": "x", "content": ["漢字" * 500]}),
        ToolReturned("1", "history", "漢字" * 500),
        ToolReturned("1", "history", '"\n' * 1500),
        UserSaid("", "Anna", "漢字" * 500),
        Summarised("漢字" * 500, 1),
    ],
)
def test_every_kind_of_event_counts_with_all_its_bytes(event: Event) -> None:
    assert request_bound(ModelRequest("", [event])) >= 3000
