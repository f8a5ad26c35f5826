"""A reply while it is written: typing, then a placeholder, then the text as it grows, at the pace that the platform allows.

It is worth a try and no more: whatever goes wrong here, the final text goes its own way, with its own patience.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from adapters.base import Adapter, AdapterError, Button, Chat, RateLimited, Refused
from bot import sentences
from bot.events import Delta
from bot.pace import Pace
from bot.stream import Stream, Subscription
from bot.text import split
from memory.outbox import Part

if TYPE_CHECKING:
    from bot.delivery import Delivery

log = structlog.get_logger(__name__)

FIRST_TYPING = 0.25  # seconds: an answer that is there sooner needs no typing notice
FIRST_EDIT = 0.25  # seconds from the placeholder to the first text in its place
STOP_BUTTON = 4.0  # seconds of a reply that is being written, after which it can be stopped by a button
LEAST_EDIT = 0.005  # seconds between two looks at a reply that grows, however fast a platform is: without it the loop would spin


class Preview:
    """One reply while it is written: typing, then a placeholder, then edits. It owns the part until `finish` returns."""

    def __init__(
        self, delivery: Delivery, adapter: Adapter, part: Part, stream: Stream, said: str, language: str
    ) -> None:
        self.part = part
        self._language = language
        self._delivery = delivery
        self._adapter = adapter
        self._chat = Chat(**part.chat)
        self._text = said
        self._ended = asyncio.Event()
        # Nothing may be dropped: what was shown of a reply that is stopped is what the transcript says of it.
        self._subscription: Subscription = stream.subscribe(size=None)
        self._task = delivery.tasks.create_task(_safely(self._run()), name=f"preview of turn {part.turn_id}")

    @property
    def text(self) -> str:
        """What has been written so far."""
        new = [event.text for event in self._subscription.take() if isinstance(event, Delta)]
        if new:
            self._text += "".join(new)
        return self._text

    async def _run(self) -> None:
        pace = self._delivery.pace(self._adapter)
        try:
            await self._type_until_text(pace)
            await self._delivery.all_said(self._chat, self._ended)
            if not self._ended.is_set():
                await self._show(pace)
        except RateLimited as exc:
            pace.pause(self._chat, exc.retry_after)
        except AdapterError as exc:
            # The final text goes its own way, with its own patience; a preview is worth no second try.
            log.debug("preview_given_up", turn=self.part.turn_id, problem=str(exc))

    async def _type_until_text(self, pace: Pace) -> None:
        """Show typing until there is something to see, or the turn is over."""
        wait = FIRST_TYPING
        while not self.text.strip() and not self._ended.is_set():
            try:
                async with asyncio.timeout(wait):
                    while not self.text.strip() and not self._ended.is_set():
                        await self._subscription.stirred()
            except TimeoutError:
                if pace.preview_allowed(self._chat):
                    with suppress(AdapterError):
                        await self._adapter.typing(self._chat)
                wait = self._adapter.limits.typing_interval

    async def _show(self, pace: Pace) -> None:
        shown, below = "", tuple[Button, ...]()
        if not self.part.message_id:
            shown = self._adapter.limits.stub if self.part.stub else self._head()
            await self._delivery.post(self._adapter, self.part, shown)
            if not self.part.stub:
                self._delivery.metrics.text_shown(self.part.turn_id)
            if self.part.stub:  # a quick answer is complete by then, and needs one edit instead of two
                await within(self._ended, min(FIRST_EDIT, pace.edit_interval(self._chat)))
        began = time.monotonic()
        while not self._ended.is_set():
            text = self._head()
            long = self._adapter.limits.buttons and time.monotonic() - began > STOP_BUTTON
            buttons = (
                (Button(sentences.say("stop_button", self._language), f"stop {self.part.turn_id}"),)
                if long
                else ()
            )
            if (text != shown or buttons != below) and pace.preview_allowed(self._chat):
                try:
                    await self._adapter.edit(
                        self._chat, self.part.message_id, text, final=False, buttons=buttons
                    )
                    shown, below = text, buttons
                    self._delivery.metrics.text_shown(self.part.turn_id)
                except RateLimited as exc:
                    pace.pause(self._chat, exc.retry_after)
                except Refused:
                    shown = text  # half a construct, perhaps; the next piece may pass
            await within(self._ended, max(LEAST_EDIT, pace.edit_interval(self._chat)))

    def _head(self) -> str:
        limits, text = self._adapter.limits, self.text
        if limits.length(text) <= limits.max_chars:
            return text
        return split(text, limits.max_chars, limits.length)[0]

    async def finish(self) -> Part:
        """End the preview; the part, with its message's id if it has one. No call of it is on its way any more.

        A call in flight is awaited, not cancelled: a placeholder must not lose its id, and an edit that is carried out late would
        overwrite the final text.
        """
        self._ended.set()
        self._subscription.close()
        await asyncio.wait([self._task])
        return self.part


async def _safely(preview: Coroutine[None, None, None]) -> None:
    """A preview may fail in any way without touching the turn or the final text."""
    try:
        await preview
    except Exception as exc:
        log.error("preview_failed", error=type(exc).__name__)
        log.debug("preview_failed_in_full", exc_info=exc)


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within so many seconds."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
