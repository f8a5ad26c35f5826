"""What people and channels are called. Events carry ids alone, so it is asked for, once each, and never waited for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from adapters.base import AdapterError, Person, RateLimited, Update, clean
from adapters.slack.client import Answer, Client
from adapters.slack.installations import Workspace
from adapters.slack.updates import native_user, split_chat

_MOST = 20_000  # names that are kept
_KEEP = 86_400.0  # seconds until a name is asked for again
_AFTER_FAILURE = 600.0


class People:
    """Fills in names. Without the scopes that it needs (users:read, channels:read, …) they stay empty."""

    def __init__(self, client: Client, *, patience: float) -> None:
        """`patience`: seconds that an update may be held up. Slack wants an answer within three."""
        self._client = client
        self._patience = patience
        self._known: dict[str, tuple[float, tuple[str, str]]] = {}
        self._asking: dict[str, asyncio.Task[tuple[str, str]]] = {}
        self._silent_until = 0.0

    async def named(self, update: Update, workspace: Workspace) -> Update:
        """The update with the names of its person and its channel, as far as they can be had in time."""
        until = time.monotonic() + self._patience
        person, chat = update.person, update.chat
        user, channel = native_user(person), split_chat(chat)[1]
        name, language = await self._ask(
            f"{workspace.key}{person.id}", lambda: self._user(workspace, user), until
        )
        update = replace(
            update, person=Person(person.id, clean(name or person.name), clean(language or person.language))
        )
        if chat.kind == "group" and not chat.title:
            title, _ = await self._ask(
                f"{workspace.key}{chat.id}", lambda: self._channel(workspace, channel), until
            )
            update = replace(update, chat=replace(chat, title=clean(title)))
        return update

    async def _ask(
        self, key: str, ask: Callable[[], Awaitable[tuple[str, str]]], until: float
    ) -> tuple[str, str]:
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        if time.monotonic() < self._silent_until:
            return known[1] if known else ("", "")
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._asked(key, ask))
        done, _ = await asyncio.wait([task], timeout=max(0.0, until - time.monotonic()))
        return task.result() if done else ("", "")

    async def _asked(self, key: str, ask: Callable[[], Awaitable[tuple[str, str]]]) -> tuple[str, str]:
        keep, found = _KEEP, ("", "")
        try:
            found = await ask()
        except RateLimited as exc:
            self._silent_until = time.monotonic() + exc.retry_after
            keep = 0.0
        except AdapterError:
            keep = _AFTER_FAILURE
        finally:
            self._asking.pop(key, None)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (time.monotonic() + keep, found)
        return found

    async def _user(self, workspace: Workspace, user: str) -> tuple[str, str]:
        answer = await self._client("users_info", workspace.token, user=user, include_locale=True)
        person = _object(answer, "user")
        profile = _object(person, "profile")
        names = (
            profile.get("display_name"),
            profile.get("real_name"),
            person.get("real_name"),
            person.get("name"),
        )
        return next((str(name) for name in names if name), ""), str(person.get("locale") or "")

    async def _channel(self, workspace: Workspace, channel: str) -> tuple[str, str]:
        answer = await self._client("conversations_info", workspace.token, channel=channel)
        return str(_object(answer, "channel").get("name") or ""), ""

    async def close(self) -> None:
        """End what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _object(answer: Answer | dict[str, object], name: str) -> dict[str, object]:
    value = answer.get(name)
    return value if isinstance(value, dict) else {}
