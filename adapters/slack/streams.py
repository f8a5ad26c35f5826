"""Slack's own streaming of text: a message that grows by what is appended, until it is stopped.

A stream takes no key when it begins, so the key is kept here, before and after. Whatever goes wrong with one, the message is
an ordinary one once it is stopped, and can be made to read right by an edit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.base import AdapterError, Button, Chat, MessageGone, RateLimited, State, Unavailable
from adapters.slack.client import Answer, Rejected
from adapters.slack.formatting import markdown, settled
from adapters.slack.updates import split_chat

_log = logging.getLogger(__name__)

Call = Callable[..., Awaitable[Answer]]
_ENDED = "message_not_in_streaming_state"
_FORGET = 3 * 86_400.0  # seconds
EVENT = "boswell_reply"  # the type of our messages' metadata


@dataclass
class _Stream:
    key: str
    sent: str | None  # what Slack has of it; None if that is not known


class Streams:
    """The streams that are open. Kept in `State` as `streaming:<key>` until they are stopped.

    The value is `<team>:<channel>:<ts>`, or `?<time>` while it is being begun.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: dict[tuple[str, str, str], _Stream] = {}

    async def start(self) -> None:
        """Read which streams an earlier process left open; forget those of which nothing came in days."""
        for name, value in (await self._state.get("streaming:")).items():
            if value.startswith("?"):
                if float(value[1:]) < time.time() - _FORGET:
                    await self._state.set({name: None})
            else:
                team, channel, ts = value.split(":")
                self._open[team, channel, ts] = _Stream(name.removeprefix("streaming:"), None)

    async def begin(self, call: Call, chat: Chat, text: str, *, key: str, recipient: tuple[str, str]) -> str:
        """A new message that will grow; its ts."""
        team, channel = split_chat(chat)
        shown = markdown(settled(text))
        await self._state.set({f"streaming:{key}": f"?{time.time():.6f}"})
        try:
            answer = await call(
                "chat_startStream",
                channel=channel,
                thread_ts=chat.thread,
                markdown_text=shown,
                recipient_team_id=recipient[0],
                recipient_user_id=recipient[1],
            )
        except AdapterError as exc:
            if not (isinstance(exc, Unavailable) and exc.ambiguous):
                await self._state.set({f"streaming:{key}": None})
            raise
        ts = str(answer["ts"])
        self._open[team, channel, ts] = _Stream(key, shown)
        await self._state.set({f"streaming:{key}": f"{team}:{channel}:{ts}"})
        return ts

    async def find(self, key: str) -> tuple[str, float]:
        """The ts of a stream with this key; if it is not known whether it began, the time at which it may have."""
        name = f"streaming:{key}"
        value = (await self._state.get(name)).get(name, "")
        if value.startswith("?"):
            return "", float(value[1:])
        return value.rpartition(":")[2], 0.0

    def knows(self, chat: Chat, ts: str) -> bool:
        """Whether the message is a stream whose key is known."""
        return (*split_chat(chat), ts) in self._open

    async def adopt(self, chat: Chat, ts: str, key: str) -> None:
        """A stream of which we did not know whether it began was found."""
        team, channel = split_chat(chat)
        self._open[team, channel, ts] = _Stream(key, None)
        await self._state.set({f"streaming:{key}": f"{team}:{channel}:{ts}"})

    async def grow(self, call: Call, chat: Chat, ts: str, text: str) -> bool:
        """Make an open stream read `text`, as far as it is settled. False: it is none (any more), and must be edited."""
        place = (*split_chat(chat), ts)
        stream = self._open.get(place)
        if stream is None:
            return False
        shown = markdown(settled(text))
        if stream.sent is None or not shown.startswith(stream.sent):
            await self._stop(call, place, stream)
            return False
        added = shown[len(stream.sent) :]
        if not added.strip():
            return True
        try:
            await call("chat_appendStream", channel=place[1], ts=ts, markdown_text=added)
        except (Rejected, MessageGone):
            await self._stop(call, place, stream)  # it ended by itself: after a long pause it does
            return False
        except Unavailable:
            stream.sent = None  # it may stand there, or not
            raise
        stream.sent = shown
        return True

    async def finish(self, call: Call, chat: Chat, ts: str, text: str, buttons: Sequence[Button]) -> bool:
        """Stop a stream with `text`. True if it stands there for certain; else it must be edited."""
        place = (*split_chat(chat), ts)
        stream = self._open.get(place)
        if stream is None:
            return False
        shown = markdown(text)
        if stream.sent is None or not shown.startswith(stream.sent) or buttons:
            await self._stop(call, place, stream)
            return False
        added = shown[len(stream.sent) :]
        stream.sent = None
        return await self._stop(call, place, stream, {"markdown_text": added} if added else {})

    async def _stop(
        self, call: Call, place: tuple[str, str, str], stream: _Stream, more: Mapping[str, Any] = {}
    ) -> bool:
        """End it. False if it had ended before. Raises only what is worth another try."""
        metadata = {"event_type": EVENT, "event_payload": {"key": stream.key}}
        stopped = True
        try:
            await call("chat_stopStream", channel=place[1], ts=place[2], metadata=metadata, **more)
        except (RateLimited, Unavailable):
            stream.sent = None
            raise
        except AdapterError as exc:
            if more and not (isinstance(exc, Rejected) and exc.code == _ENDED):
                await self._stop(call, place, stream)  # it is what was to be added that Slack will not take
                return False
            _log.debug("a stream had ended: %s", exc)
            stopped = False
        self._open.pop(place, None)
        await self._state.set({f"streaming:{stream.key}": None})
        return stopped
