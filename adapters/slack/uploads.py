"""Files on their way to Slack: an address for the bytes, the bytes, and then the message that shows them, in three calls.

The message takes no key, so the file's id is kept under ours before the last call: the history tells whether it stands.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from adapters.base import AdapterError, Refused, State, Unavailable, opened
from adapters.slack.client import Answer, Client, LostAccess
from adapters.slack.formatting import plain

Call = Callable[..., Awaitable[Answer]]
MOST = 1_000_000_000  # bytes of a file
_MOST_COMMENT = 3_000  # characters
_FORGET = 3 * 86_400.0  # seconds
_PAGES = 5  # of 200 messages, looked through for a file of ours


class Uploads:
    """Kept in `State` as `file:<key>`, while the message may or may not stand: `<channel>:<thread>:<file>:<time>`."""

    def __init__(self, client: Client, state: State) -> None:
        self._client = client
        self._state = state

    async def start(self) -> None:
        """Forget what nobody asks for any more."""
        kept = await self._state.get("file:")
        before = time.time() - _FORGET
        await self._state.set(
            {name: None for name, value in kept.items() if float(value.rpartition(":")[2]) < before}
        )

    async def send(self, call: Call, channel: str, thread: str, path: Path, text: str, key: str) -> str:
        """Send a file; an id of its message. Raises `Refused` where the app lacks the scope: it may never get it."""
        name = f"file:{key}"
        try:
            async with opened(path, MOST) as (file, size):
                place = await call("files_getUploadURLExternal", filename=path.name, length=size)
                ident, url = place.get("file_id"), place.get("upload_url")
                if not isinstance(ident, str) or not isinstance(url, str):
                    raise Unavailable("Slack's answer to files.getUploadURLExternal is no address")
                await self._client.upload(url, file, size)
            await self._state.set({name: f"{channel}:{thread}:{ident}:{time.time():.0f}"})
            await call(
                "files_completeUploadExternal",
                files=[{"id": ident, "title": path.name}],
                channel_id=channel,
                thread_ts=thread or None,
                initial_comment=plain(text, _MOST_COMMENT),
            )
        except LostAccess as exc:
            if exc.code != "missing_scope":
                raise
            raise Refused(f"a file can not be sent: {exc}") from exc
        except AdapterError as exc:
            if not (isinstance(exc, Unavailable) and exc.ambiguous):
                await self._state.set({name: None})
            raise
        await self._state.set({name: None})
        return f"file:{ident}"

    async def begun(self, key: str) -> bool:
        """Whether a message with a file may stand, and nobody knows."""
        return bool(await self._state.get(f"file:{key}"))

    async def find(self, call: Call, key: str) -> str | None:
        """The id of the message with the file of this key, if it stands. None as well where we may not look."""
        name = f"file:{key}"
        channel, thread, ident, since = (await self._state.get(name))[name].split(":")
        method = "conversations_replies" if thread else "conversations_history"
        span: dict[str, Any] = {"channel": channel, "limit": 200, "oldest": str(float(since) - 60)}
        if thread:
            span["ts"] = thread
        for _ in range(_PAGES):
            try:
                answer = await call(method, **span)
            except (LostAccess, Refused):
                return None
            for message in answer.get("messages") or ():
                if any(file.get("id") == ident for file in message.get("files") or ()):
                    return f"file:{ident}"
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            span["cursor"] = cursor
        return None
