"""Answers to slash commands and buttons, which their asker alone sees.

Discord wants to hear of an interaction within three seconds, and takes the answer for fifteen minutes by a token. First we say
that we think; the first message of the answer takes that notice's place, and further ones follow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.base import AdapterError, ChatGone, Menu, MessageGone, Refused, State, Unavailable
from adapters.discord.client import AnswerGone

_log = logging.getLogger(__name__)

_LIVES = 14.5 * 60  # seconds; Discord says 15 minutes
_THINKING = 5  # callback type: a message will follow
_EPHEMERAL, _LOADING = 1 << 6, 1 << 7  # message flags: seen by one person; not filled yet
_MOST_DESCRIPTION = 100

Api = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Via:
    """How an interaction is answered, as it is kept with its update."""

    application: str
    token: str
    at: float
    user: str

    @staticmethod
    def parse(text: str) -> Via | None:
        match = re.fullmatch(r"(\d+):(.+):(\d+):(\d+)", text)
        return Via(match[1], match[2], float(match[3]), match[4]) if match else None

    @property
    def closed(self) -> bool:
        return time.time() - self.at > _LIVES


@dataclass(slots=True)
class _Open:
    """An interaction of this process. `acknowledged`: did Discord take our notice; `first`: the key that took its place."""

    acknowledged: asyncio.Future[bool]
    at: float = field(default_factory=time.monotonic)
    first: str | None = None


class Answers:
    """All interactions that may still be answered."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._open: dict[str, _Open] = {}

    def expect(self, token: str) -> None:
        """From now on an answer waits until `acknowledge` is done."""
        now = time.monotonic()
        self._open = {one: state for one, state in self._open.items() if now - state.at < _LIVES}
        self._open[token] = _Open(asyncio.get_running_loop().create_future())

    def forget(self, token: str) -> None:
        """It is not ours to answer."""
        state = self._open.pop(token, None)
        if state is not None and not state.acknowledged.done():
            state.acknowledged.set_result(False)

    async def acknowledge(self, interaction: str, token: str) -> None:
        """Tell Discord that an answer will come, for the asker alone. Where that fails, the answer goes another way."""
        body = {"type": _THINKING, "data": {"flags": _EPHEMERAL}}
        path = "/interactions/{interaction_id}/{webhook_token}/callback"
        taken = False
        try:
            await self._api("POST", path, body, interaction_id=interaction, webhook_token=token)
            taken = True
        except AdapterError as exc:
            _log.warning("an interaction could not be acknowledged: %s", exc)
            taken = isinstance(exc, Unavailable) and exc.ambiguous  # posting will tell
        finally:
            state = self._open.get(token)
            if state is not None and not state.acknowledged.done():
                state.acknowledged.set_result(taken)

    async def post(
        self, via: Via, body: Mapping[str, Any], files: Sequence[tuple[str, bytes]], key: str
    ) -> str:
        """Send one message of the answer; its id. Raises `AnswerGone` where that way is closed."""
        if via.closed:
            raise AnswerGone("the interaction is older than Discord lets it be answered")
        state = self._open.get(via.token)
        if state is not None and not await asyncio.shield(state.acknowledged):
            raise AnswerGone("Discord did not take the notice that an answer comes")
        first = state.first if state is not None else await self._first(via, body, key)
        if first in (None, key):
            if state is not None:
                state.first = key
            answer = await self._call(via, "PATCH", "/messages/@original", body, files)
        else:
            answer = await self._call(
                via, "POST", "", {**body, "flags": body.get("flags", 0) | _EPHEMERAL}, files
            )
        if not isinstance(answer, dict) or "id" not in answer:
            raise Unavailable("Discord's answer to an interaction's message is no message", ambiguous=True)
        return str(answer["id"])

    async def dismiss(self, via: Via) -> None:
        """Take the notice away; no answer comes."""
        state = self._open.get(via.token)
        if via.closed or (state is not None and not await asyncio.shield(state.acknowledged)):
            return
        with contextlib.suppress(MessageGone, ChatGone, Refused):
            await self._call(via, "DELETE", "/messages/@original", None, ())

    async def edit(
        self, via: Via, message_id: str, body: Mapping[str, Any], files: Sequence[tuple[str, bytes]]
    ) -> None:
        """Change a message of the answer. Raises `AnswerGone` where that can be done no more."""
        if via.closed:
            raise AnswerGone("the interaction is older than Discord lets its answer be changed")
        await self._call(via, "PATCH", "/messages/{message_id}", body, files, message_id=message_id)

    async def _first(self, via: Via, body: Mapping[str, Any], key: str) -> str | None:
        """Which message took the notice's place, as far as Discord tells; an earlier process did it, if anybody."""
        original = await self._call(via, "GET", "/messages/@original", None, ())
        flags = original.get("flags") if isinstance(original, dict) else None
        if isinstance(flags, int) and flags & _LOADING:
            return None
        return (
            key
            if isinstance(original, dict) and original.get("content") == body.get("content")
            else "another"
        )

    async def _call(
        self, via: Via, method: str, path: str, body: Any, files: Sequence[tuple[str, bytes]], **ids: str
    ) -> Any:
        path = "/webhooks/{webhook_id}/{webhook_token}" + path
        if method == "PATCH":
            body = {name: value for name, value in body.items() if name != "flags"}
        return await self._api(
            method, path, body, files=files, webhook_id=via.application, webhook_token=via.token, **ids
        )


def described(menu: Menu) -> list[dict[str, Any]]:
    """The slash commands as Discord registers them, in servers and direct messages. Each may be given more words."""
    more = {"type": 3, "name": "args", "description": "more words, where it takes any", "required": False}
    return [
        {
            "type": 1,
            "name": name,
            "description": _cut(text) or name,
            "integration_types": [0],  # installed in servers
            "contexts": [0, 1],  # servers, and direct messages with the bot
            "options": [more],
        }
        for name, text in menu.commands.items()
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_DESCRIPTION else text[: _MOST_DESCRIPTION - 1] + "…"


async def register(api: Api, state: State, application: str, menu: Menu) -> None:
    """Register the commands where they are not yet so. Talking works without them, so a failure is only logged."""
    commands = described(menu)
    wanted = hashlib.sha256(json.dumps([application, commands], sort_keys=True).encode()).hexdigest()
    try:
        if (await state.get("commands")).get("commands") == wanted:
            return
        await api("PUT", "/applications/{application_id}/commands", commands, application_id=application)
        await state.set({"commands": wanted})
    except AdapterError as exc:
        _log.warning("the commands could not be registered with Discord: %s", exc)
