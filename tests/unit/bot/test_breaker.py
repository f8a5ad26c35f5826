"""The circuit breaker alone, on a clock of its own, and in the agent's loop of fallbacks."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.breaker import FAILURES, FIRST_REST, MOST_REST, MOST_TOLD, Breaker, Breakers
from bot.errors import (
    ContextTooLong,
    LimitReached,
    ModelError,
    ModelOverloaded,
    ModelQuotaUsedUp,
    ModelRefused,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from bot.events import Usage
from tests.fakes.scripted_model import ScriptedModel


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("main", clock)


def ask(breaker: Breaker, problem: BaseException | None = None) -> bool:
    """One call that ends so. Whether it was made."""
    made = False
    try:
        with breaker.call():
            made = True
            if problem is not None:
                raise problem
    except (ModelError, LimitReached, asyncio.CancelledError):
        pass
    return made


def down(**more: Any) -> ModelUnavailable:
    return ModelUnavailable("main", "no connection", **more)


def broken(breaker: Breaker, error: Callable[[], ModelError] = down) -> None:
    for _ in range(FAILURES):
        assert ask(breaker, error())


@pytest.mark.parametrize(
    "error",
    [
        ModelUnavailable("main", "p"),
        ModelOverloaded("main", "p"),
        ModelUnauthorized("main", "p"),
        ModelQuotaUsedUp("main", "p"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_three_failures_of_the_provider_in_a_row_open_it(breaker: Breaker, error: ModelError) -> None:
    for _ in range(FAILURES):
        assert breaker.closed
        assert ask(breaker, error)
    assert not breaker.closed
    assert not ask(breaker)


@pytest.mark.parametrize("kind", [ModelRefused, ContextTooLong, ModelRejected])
def test_what_is_wrong_with_one_request_speaks_for_a_provider_that_is_alive(
    breaker: Breaker, kind: type[ModelError]
) -> None:
    for _ in range(2 * FAILURES):
        ask(breaker, kind("main", "p"))
    assert breaker.closed
    for _ in range(3):
        ask(breaker, down())
        ask(breaker, down())
        ask(breaker, kind("main", "p"))
    assert breaker.closed


def test_an_answer_in_between_ends_the_row(breaker: Breaker) -> None:
    for _ in range(5):
        ask(breaker, down())
        ask(breaker, down())
        ask(breaker)
    assert breaker.closed


@pytest.mark.parametrize("problem", [LimitReached("usd_per_day", 0), asyncio.CancelledError()])
def test_a_call_that_was_not_made_or_was_stopped_tells_nothing(
    breaker: Breaker, problem: BaseException
) -> None:
    ask(breaker, down())
    ask(breaker, down())
    ask(breaker, problem)
    assert breaker.closed
    ask(breaker, down())
    assert not breaker.closed


def test_while_it_is_open_calls_fail_as_the_last_one_did_and_use_nothing(breaker: Breaker) -> None:
    ask(breaker, down())
    ask(breaker, down())
    ask(breaker, ModelQuotaUsedUp("main", "no money"))
    with pytest.raises(ModelQuotaUsedUp, match="not asked.*no money") as caught, breaker.call():
        raise AssertionError
    assert caught.value.usage == Usage()
    assert not caught.value.asked


def test_after_the_rest_one_call_is_let_through_and_an_answer_closes_it(
    breaker: Breaker, clock: Clock
) -> None:
    broken(breaker)
    clock.at += FIRST_REST - 0.1
    assert not ask(breaker)
    clock.at += 0.1
    with breaker.call():
        assert not ask(breaker)  # somebody else, while the probe is under way
    assert breaker.closed
    assert ask(breaker)


def test_each_probe_that_fails_doubles_the_rest_up_to_its_most_and_an_answer_resets_it(
    breaker: Breaker, clock: Clock
) -> None:
    broken(breaker)
    rest = FIRST_REST
    for expected in (60.0, 120.0, 240.0, MOST_REST, MOST_REST):
        clock.at += rest - 0.1
        assert not ask(breaker)
        clock.at += 0.1
        assert ask(breaker, down())
        rest = expected
    clock.at += rest
    assert ask(breaker)
    broken(breaker)
    clock.at += FIRST_REST
    assert ask(breaker)


def test_a_probe_that_is_stopped_leaves_the_next_call_to_be_the_probe(breaker: Breaker, clock: Clock) -> None:
    broken(breaker)
    clock.at += FIRST_REST
    assert ask(breaker, asyncio.CancelledError())
    assert not breaker.closed
    assert ask(breaker)
    assert breaker.closed


def test_a_probe_that_the_model_refuses_shows_that_it_is_back(breaker: Breaker, clock: Clock) -> None:
    broken(breaker)
    clock.at += FIRST_REST
    ask(breaker, ModelRefused("main", "p"))
    assert breaker.closed


@pytest.mark.parametrize(
    ("told", "rest"), [(5.0, FIRST_REST), (None, FIRST_REST), (90.0, 90.0), (1e9, MOST_TOLD)]
)
def test_it_rests_as_long_as_the_provider_asks_for_within_reason(
    breaker: Breaker, clock: Clock, told: float | None, rest: float
) -> None:
    broken(breaker, lambda: ModelOverloaded("main", "busy", told))
    clock.at += rest - 0.1
    assert not ask(breaker)
    clock.at += 0.1
    assert ask(breaker)


def test_calls_that_began_before_it_opened_change_nothing(breaker: Breaker, clock: Clock) -> None:
    with breaker.call():
        broken(breaker)
    assert not breaker.closed  # its answer began before
    with pytest.raises(ModelUnavailable), breaker.call():
        raise AssertionError
    clock.at += FIRST_REST
    assert ask(breaker)


def test_each_change_is_told_to_the_operator_once(breaker: Breaker, clock: Clock) -> None:
    with capture_logs() as logs:
        broken(breaker)
        ask(breaker)
        clock.at += FIRST_REST
        ask(breaker, down())
        clock.at += 2 * FIRST_REST
        ask(breaker)
        ask(breaker)
    assert logs == [
        {
            "event": "model_down",
            "log_level": "error",
            "model": "main",
            "error": "ModelUnavailable",
            "problem": "no connection",
        },
        {"event": "model_back", "log_level": "info", "model": "main"},
    ]


def test_every_model_has_its_own_for_as_long_as_it_lives(clock: Clock) -> None:
    breakers = Breakers(clock)
    main, spare = ScriptedModel(lambda r: ""), ScriptedModel(lambda r: "", name="spare")
    broken(breakers.of(main))
    assert breakers.of(main) is breakers.of(main)
    assert not breakers.of(main).closed
    assert breakers.of(spare).closed
    gone = weakref.ref(breakers.of(main))
    del main
    gc.collect()
    assert gone() is None


def test_it_keeps_no_error_and_so_no_conversation_in_memory(breaker: Breaker) -> None:
    errors = [down()]
    kept = weakref.ref(errors[0])
    broken(breaker, lambda: errors[0])
    errors.clear()
    gc.collect()
    assert kept() is None
