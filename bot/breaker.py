"""A circuit breaker per model: a provider that is dead is not asked by every turn.

Closed, it lets every call through. After `FAILURES` in a row it opens: for a while no call is made, and what would have been one
fails at once as the last one did. Then it is half open: one call is let through, and its outcome closes or opens it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog

from bot.errors import ModelError, ModelOverloaded, ModelQuotaUsedUp, ModelUnauthorized, ModelUnavailable
from bot.events import Usage

log = structlog.get_logger(__name__)

FAILURES = 3  # in a row
FIRST_REST, MOST_REST = 30.0, 300.0  # seconds without a call; twice as long each time the probe fails
MOST_TOLD = (
    3600.0  # seconds that a provider may ask for; a server's mistake must not silence a model for days
)

# These speak for the provider's state. All others are about one request, and come from a provider that is alive.
_DEAD = (ModelUnavailable, ModelOverloaded, ModelUnauthorized, ModelQuotaUsedUp)


class Breaker:
    """The state of one model, shared by all turns. `now` gives seconds that never go back."""

    def __init__(self, model: str, now: Callable[[], float]) -> None:
        self._model = model
        self._now = now
        self._failures = 0
        self._rest = 0.0
        self._until = 0.0
        self._probing = False
        # What it failed of last, while it is not closed. Not the error itself: its frames hold a conversation.
        self._last: tuple[type[ModelError], str] | None = None

    @property
    def closed(self) -> bool:
        """Whether calls go through as if nothing was."""
        return self._last is None

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call. Raises the last failure's kind instead of letting it begin while the breaker is open."""
        probe = self._last is not None
        if self._last is not None:
            if self._probing or self._now() < self._until:
                raise self._again(*self._last)
            self._probing = True
        try:
            yield
        except ModelError as exc:
            if isinstance(exc, _DEAD):
                self._failed(exc, probe)
            else:
                self._succeeded(probe)
            raise
        else:
            self._succeeded(probe)
        finally:
            if probe:  # if it was cut off, nothing is known and the next call is the probe
                self._probing = False

    def _failed(self, exc: ModelError, probe: bool) -> None:
        self._failures += 1
        if probe if self._last is not None else self._failures >= FAILURES:
            if self._last is None:
                log.error("model_down", model=self._model, error=type(exc).__name__, problem=exc.problem)
            self._rest = min(MOST_REST, self._rest * 2 or FIRST_REST)
            told = min(MOST_TOLD, getattr(exc, "retry_after", None) or 0.0)
            self._until = self._now() + max(self._rest, told)
            self._last = type(exc), exc.problem

    def _succeeded(self, probe: bool) -> None:
        if self._last is not None:
            if not probe:  # it began before the failures: it tells nothing of the time after them
                return
            log.info("model_back", model=self._model)
        self._failures, self._rest, self._last = 0, 0.0, None

    def _again(self, kind: type[ModelError], problem: str) -> ModelError:
        """The same failure for a call that is not made."""
        error = kind(self._model, f"not asked, for it failed before: {problem}")
        error.asked, error.usage = False, Usage()
        return error


class Named(Protocol):
    """A model of either kind."""

    name: str


class Breakers:
    """A breaker for each model, for as long as the model is there: one with another configuration begins anew."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._breakers: WeakKeyDictionary[Named, Breaker] = WeakKeyDictionary()

    def of(self, model: Named) -> Breaker:
        breaker = self._breakers.get(model)
        if breaker is None:
            breaker = self._breakers[model] = Breaker(model.name, self._now)
        return breaker
