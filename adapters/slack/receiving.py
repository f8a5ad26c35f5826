"""From what Slack sends, through Bolt, to the sink: durable before it is confirmed, whichever way it came."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse

from adapters.base import AdapterError, Menu, Received, Unauthorized, Unavailable, Update
from adapters.slack.client import QUIET, Client, LostAccess
from adapters.slack.installations import Installations, OneWorkspace, Workspace
from adapters.slack.intake import Intake
from adapters.slack.manifest import PROMPTS
from adapters.slack.people import People
from adapters.slack.rooms import Room, Rooms, missed
from adapters.slack.updates import Origin, event_of, message, origin, read, split_chat

_log = logging.getLogger(__name__)

_MOST_TITLE = 60  # characters


class Receiver:
    """Works on what comes while `tasks` is set."""

    def __init__(
        self,
        client: Client,
        workspaces: OneWorkspace | Installations,
        rooms: Rooms,
        people: People,
        menu: Menu,
    ) -> None:
        self._client = client
        self._workspaces = workspaces
        self._rooms = rooms
        self._people = people
        self._menu = menu
        self._app: AsyncApp | None = None
        self._lanes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._missed: dict[Room, str] = {}  # since when each is to be looked at
        self._catching = False
        self.intake = Intake()
        self.tasks: asyncio.TaskGroup | None = None

    @property
    def app(self) -> AsyncApp:
        """Bolt. All that it would take from the environment is given to it, or not used."""
        if self._app is None:
            self._app = AsyncApp(
                name="boswell",
                logger=QUIET,
                client=self._client.web,
                signing_secret="",
                authorize=_authorize,
                request_verification_enabled=False,  # done before Bolt, which logs the body of what it refuses
                ignoring_self_events_enabled=False,  # done by `updates`, which knows us without a call
                attaching_function_token_enabled=False,
            )
            self._app.use(self._keep)
        return self._app

    async def _keep(
        self,
        body: dict[str, Any],
        next: Callable[[], Awaitable[BoltResponse]],  # noqa: A002 - Bolt gives arguments by their names
    ) -> BoltResponse:
        """Bolt's global middleware: what came is durable before Bolt confirms it. Raises if it could not be made so."""
        if body.get("type") == "url_verification":
            return await next()
        try:
            await self._received(body)
        except AdapterError as exc:
            _log.info("what came was not taken, and is not confirmed: %s", exc)
            raise
        except Exception as exc:
            _log.error("what came could not be worked on (%s); it is not confirmed", type(exc).__name__)
            raise
        return BoltResponse(status=200)

    async def _received(self, body: Mapping[str, Any]) -> None:
        where = origin(body)
        workspace = await self._workspaces.of(where.team, where.enterprise)
        if workspace is None:
            _log.info("what came from %s is ignored: the app is not installed there", where.team or "nowhere")
            return
        event = event_of(body)
        if event.get("type") in ("app_uninstalled", "tokens_revoked"):
            await self._revoked(body, event, where, workspace)
            return
        await self._workspaces.belongs(where)
        row = self._read(body, where, workspace)
        if row is not None:
            await self._store(row, workspace)
        elif event.get("type") in ("app_home_opened", "assistant_thread_started"):
            self._aside(self._prompt(event, workspace))

    def _read(self, body: Mapping[str, Any], where: Origin, workspace: Workspace) -> Received | None:
        def takes_part(channel: str, thread: str) -> bool:
            return self._rooms.takes_part(where.team, channel, thread)

        return read(body, where, workspace.me(where.team), takes_part, self._menu.commands)

    async def _store(self, row: Received, workspace: Workspace) -> None:
        if row.update is None:
            await self.intake.put([row])
            return
        chat = row.update.chat
        known = self._rooms.takes_part(*split_chat(chat), chat.thread)
        # Whoever waits for a name does not lose the place in its chat's line
        async with self._lanes.setdefault(chat.id, asyncio.Lock()):
            update = await self._people.named(row.update, workspace)
            stored = self.intake.put([replace(row, update=update, marks=self._rooms.marks(update))])
        await stored
        fresh = chat.kind == "private" and bool(chat.thread) and not known
        if fresh and update.kind == "message" and update.command is None:
            self._aside(self._entitle(update, workspace))

    async def reread(self, raw: str) -> Sequence[Received]:
        """What a row that could not be read says now."""
        body = json.loads(raw)
        where = origin(body)
        workspace = await self._workspaces.of(where.team, where.enterprise)
        if workspace is None:
            raise Unavailable("not connected to that Slack workspace")
        row = self._read(body, where, workspace)
        return [] if row is None else [row]

    async def _revoked(
        self, body: Mapping[str, Any], event: Mapping[str, Any], where: Origin, workspace: Workspace
    ) -> None:
        if event.get("type") == "tokens_revoked" and not (event.get("tokens") or {}).get("bot"):
            return  # those of single people, of which we have none
        at = body.get("event_time")
        if isinstance(at, int) and at < int(workspace.installed_at) and await self._works(workspace):
            _log.info("that the app was removed from %s comes late: it was installed again", where.team)
            return
        await self._workspaces.drop(where)
        _log.warning("the app was removed from %s; its token is forgotten", where.team or where.enterprise)
        if not self._workspaces.several:
            self._aside(_end("the app was removed from its Slack workspace; install it again"))

    async def _works(self, workspace: Workspace) -> bool:
        try:
            await self._client("auth_test", workspace.token)
        except LostAccess:
            return False
        return True

    async def catch_up(self) -> None:
        """Hand in what was said while nobody listened, where we take part, the oldest first.

        Called again meanwhile, it adds to what is being looked at: a bad line must not make for ever more calls.
        """
        for room, since in self._rooms.lag():
            self._missed.setdefault(room, since)
        if self._catching:
            return
        self._catching = True
        try:
            while self._missed:
                room = next(iter(self._missed))
                await self._catch_up(room, self._missed.pop(room))
        finally:
            self._catching = False

    async def _catch_up(self, room: Room, since: str) -> None:
        try:
            workspace = await self._workspaces.of(room.team)
            if workspace is not None:
                await self._fetch(room, since, workspace)
        except AdapterError as exc:
            _log.warning("what was missed in %s could not be handed in: %s", room.name, exc)
        else:
            if room not in self._missed:
                self._rooms.caught_up(room)

    async def _fetch(self, room: Room, since: str, workspace: Workspace) -> None:
        me, where = workspace.me(room.team), Origin(workspace.enterprise, room.team, workspace.org_wide)
        async for event in missed(self._client, workspace, room, since):
            try:
                update = message(event, where, me, lambda *_: True, self._menu.commands)
            except Exception as exc:  # noqa: BLE001 - the edge of one message: the others must get through
                _log.warning("a missed message could not be read (%s)", type(exc).__name__)
                continue
            if update is not None:
                update = await self._people.named(update, workspace)
                marks = self._rooms.fetched(room, update)
                await self.intake.put([Received(update.source, update.key, update, marks=marks)])

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for, as long as we run."""
        if self.tasks is None:
            work.close()
        else:
            self.tasks.create_task(work)

    async def _prompt(self, event: Mapping[str, Any], workspace: Workspace) -> None:
        """Offer something to ask, where somebody opens a conversation."""
        thread = event.get("assistant_thread")
        thread = thread if isinstance(thread, dict) else {}
        channel, ts = event.get("channel") or thread.get("channel_id"), thread.get("thread_ts")
        if not isinstance(channel, str) or event.get("tab", "messages") != "messages":
            return
        arguments = {"thread_ts": ts} if isinstance(ts, str) else {}
        prompts = [{"title": title, "message": text} for title, text in PROMPTS]
        with suppress(AdapterError):
            await self._client(
                "assistant_threads_setSuggestedPrompts",
                workspace.token,
                channel_id=channel,
                prompts=prompts,
                **arguments,
            )

    async def _entitle(self, update: Update, workspace: Workspace) -> None:
        """Name a new thread of a direct conversation after its first words."""
        words = " ".join(update.text.split())
        title = (
            words
            if len(words) <= _MOST_TITLE
            else f"{words[:_MOST_TITLE].rpartition(' ')[0] or words[:_MOST_TITLE]}…"
        )
        if not title:
            return
        with suppress(AdapterError):
            await self._client(
                "assistant_threads_setTitle",
                workspace.token,
                channel_id=split_chat(update.chat)[1],
                thread_ts=update.chat.thread,
                title=title,
            )


async def _authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
    """What Bolt wants to know before its middleware is asked; whether there is an installation, we look up ourselves."""
    return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id)


async def _end(problem: str) -> None:
    raise Unauthorized(problem)
