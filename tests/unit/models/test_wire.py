"""Server-sent events and error objects, without a network."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from bot.models.wire import Events, failed, kind, retry_after

STREAM = (
    b": a comment\n\n"
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b'data:{"n": 1}\r\n\r\n'
    b'id: 7\nretry: 3\ndata: {"n":\ndata: "\xe2\x9c\x93"}\n\n'
    b'event: error\ndata: {"message": "oops"}\n\n'
    b"data: [DONE]\n\n"
    b'data: {"n": "never"}\n\n'
)
CHUNKS = [{"type": "ping"}, {"n": 1}, {"n": "✓"}, {"error": {"message": "oops"}}]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_wherever_the_network_cuts_them(cuts: list[int]) -> None:
    events = Events()
    edges = [0, *sorted(cuts), len(STREAM)]
    got: list[dict[str, Any]] = []
    for start, end in pairwise(edges):
        if not events.done:
            got += events.feed(STREAM[start:end])
    assert got == CHUNKS
    assert events.done


def test_the_events_before_a_broken_one_are_given_first() -> None:
    events = Events().feed(b'data: {"n": 1}\n\ndata: {"n\n\n')
    assert next(events) == {"n": 1}
    with pytest.raises(ValueError, match="Unterminated"):
        next(events)


@pytest.mark.parametrize("data", [b"7", b"null", b'"x"', b"\xff", b"{"])
def test_data_that_is_no_object_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(Events().feed(b"data: " + data + b"\n\n"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_spellings(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@settings(deadline=None)
@given(
    st.none() | st.integers(400, 599),
    st.dictionaries(
        st.sampled_from(["type", "code", "message", "param"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3),
    ),
)
def test_any_error_object_becomes_one_of_ours(status: int | None, error: dict[str, Any]) -> None:
    assert isinstance(failed("main", "gpt", status, json.loads(json.dumps(error))), ModelError)


def test_an_error_tells_identifiers_and_no_sentences() -> None:
    error = failed(
        "main", "gpt", 404, {"code": "model_not_found", "type": "bad words here", "message": "secret"}
    )
    assert type(error) is ModelRejected
    assert "'gpt', HTTP 404, model_not_found" in str(error)
    assert "secret" not in str(error)
    assert "bad words" not in str(error)


def test_a_status_decides_where_no_code_does() -> None:
    assert kind(529, {}) is ModelOverloaded
    assert kind(500, {"message": "context length of the moon"}) is ModelUnavailable
    assert kind(None, {}) is ModelUnavailable
