"""Boswell on Slack: Socket Mode or HTTP, one workspace or many, and the verbs of `adapters.base` over the Web API.

`sockets` and `http` are the ways in, `receiving` what happens there, `updates` reads it, `intake` hands it in; `rooms` knows
where we take part, `people` what they are called, `installations` whose tokens we hold. `writing` is the way out, with
`formatting`, `streams` and `uploads`; `client` calls the Web API. `manifest` says what Slack must be told of us, `checking`
what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from adapters.base import (
    Button,
    Chat,
    Finding,
    Health,
    HttpRequest,
    HttpResponse,
    Limits,
    Menu,
    RateLimited,
    Received,
    Refused,
    Route,
    Sink,
    State,
    Unavailable,
)
from adapters.slack import checking
from adapters.slack.client import Client
from adapters.slack.formatting import MAX_CHARS, length
from adapters.slack.http import EVENTS, INSTALL, REDIRECT, Installing, Requests
from adapters.slack.installations import Installations, OAuthStates, OneWorkspace
from adapters.slack.manifest import SCOPES
from adapters.slack.people import People
from adapters.slack.receiving import Receiver
from adapters.slack.rooms import Rooms
from adapters.slack.sockets import Sockets
from adapters.slack.uploads import MOST
from adapters.slack.writing import Writer
from config.schema import SlackConfig

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. How long a call may take, and a name keep an update waiting; between two proofs of life; before trying again."""

    call: float = 15
    names: float = 0.7
    ping: float = 20
    retry_first: float = 0.5
    retry_most: float = 30


def create(settings: SlackConfig, menu: Menu, state: State) -> Slack:
    """The adapter for one app. A token that is wrong is told by `run`."""
    return Slack(settings, menu, state)


class Slack:
    """One app. See `adapters.base.Adapter` for what its verbs promise.

    A post carries its key as metadata, so that `find` can tell whether it stands.
    """

    name = "slack"
    limits = Limits(
        max_chars=MAX_CHARS,
        length=length,
        edit_interval=1.2,
        group_edit_interval=1.2,
        posts_per_second=1.0,
        posts_burst=5,
        group_posts_per_minute=60.0,
        typing_interval=90.0,
        resend="lookup",
        buttons=True,
        command_prefix="/boswell ",
        streams=True,
        max_file_bytes=MOST,
    )

    def __init__(self, settings: SlackConfig, menu: Menu, state: State, timing: Timing = Timing()) -> None:
        self._settings = settings
        self._timing = timing
        self._client = Client(settings.base_url, seconds=timing.call)
        self._rooms = Rooms(state)
        self._people = People(self._client, patience=timing.names)
        self._requests: Requests | None = None  # set while requests may come
        self._workspaces: OneWorkspace | Installations
        routes = [Route("POST", EVENTS, self._requested)] if settings.app_token is None else []
        if settings.client_id is not None and settings.client_secret is not None:
            ident, secret = settings.client_id.get_secret_value(), settings.client_secret.get_secret_value()
            self._workspaces = Installations(self._client, state, ident, secret)
            pages = Installing(
                self._client,
                settings.base_url,
                ident,
                secret,
                list(SCOPES),
                self._workspaces,
                OAuthStates(state),
            )
            routes += [Route("GET", INSTALL, pages.install), Route("GET", REDIRECT, pages.redirect)]
        else:
            token = settings.bot_token.get_secret_value() if settings.bot_token else ""
            self._workspaces = OneWorkspace(self._client, token)
        self.routes: Sequence[Route] = tuple(routes)
        self._receiver = Receiver(self._client, self._workspaces, self._rooms, self._people, menu)
        self._writer = Writer(self._client, self._workspaces, self._rooms, state)

    async def run(self, sink: Sink, health: Health) -> None:
        """See `Adapter.run`. Raises `Unauthorized` for a token that Slack does not take."""
        detail = await self._insist(self._workspaces.start, health)
        await self._rooms.start()
        await self._writer.streams.start()
        await self._writer.uploads.start()
        self._writer.ready = True
        try:
            async with asyncio.TaskGroup() as tasks:
                self._receiver.tasks = tasks
                tasks.create_task(self._receiver.intake.run(sink))
                await asyncio.sleep(0)  # from here on it takes
                if self._settings.app_token is not None:
                    await self._sockets(self._settings.app_token.get_secret_value()).run(health, detail)
                else:
                    await self._await_requests(tasks, health, detail)
        except BaseExceptionGroup as group:
            _raise_first(group)
        finally:
            self._receiver.tasks = self._requests = None

    def _sockets(self, token: str) -> Sockets:
        timing = self._timing
        return Sockets(
            self._client,
            token,
            self._receiver.app,
            ping=timing.ping,
            retry_first=timing.retry_first,
            retry_most=timing.retry_most,
            seconds=timing.call,
            behind=self._receiver.catch_up,
        )

    async def _await_requests(self, tasks: asyncio.TaskGroup, health: Health, detail: str) -> NoReturn:
        secret = self._settings.signing_secret
        if secret is None or not secret.get_secret_value().strip():
            raise Refused("without slack.app_token there must be slack.signing_secret; set one of them")
        self._requests = Requests(self._receiver.app, secret.get_secret_value())
        tasks.create_task(self._receiver.catch_up())
        while True:
            health.up(f"{detail}, at {EVENTS}")
            await asyncio.sleep(self._timing.ping)
            # Nobody may be writing: that Slack can be reached is all that can be known
            await self._insist(self._workspaces.alive, health)

    async def _requested(self, request: HttpRequest) -> HttpResponse:
        requests = self._requests
        return HttpResponse(503, "not receiving yet") if requests is None else await requests(request)

    async def reread(self, raw: str) -> Sequence[Received]:
        """See `Rereads.reread`."""
        return await self._receiver.reread(raw)

    async def _insist(self, call: Callable[[], Awaitable[_T]], health: Health) -> _T:
        """Make `call` until it works; what may pass is told to `health` and tried again."""
        wait = self._timing.retry_first
        while True:
            try:
                return await call()
            except (RateLimited, Unavailable) as exc:
                health.down(str(exc))
                await asyncio.sleep(exc.retry_after if isinstance(exc, RateLimited) else wait)
                wait = min(wait * 2, self._timing.retry_most)

    async def post(
        self,
        chat: Chat,
        text: str,
        *,
        key: str,
        reply_to: str = "",  # noqa: ARG002 - a thread is reply enough
        via: str = "",
        buttons: Sequence[Button] = (),
        more: bool = False,
    ) -> str:
        """See `Adapter.post`. With `more`, in a thread, Slack's own streaming is used where the recipient is known."""
        return await self._writer.post(chat, text, key=key, via=via, buttons=buttons, more=more)

    async def edit(
        self, chat: Chat, message_id: str, text: str, *, final: bool, buttons: Sequence[Button] = ()
    ) -> None:
        """See `Adapter.edit`. A preview of a stream shows no buttons, and ends where a later word could change its form."""
        await self._writer.edit(chat, message_id, text, final=final, buttons=buttons)

    async def send_file(
        self,
        chat: Chat,
        path: Path,
        text: str,
        *,
        key: str,
        via: str = "",
        instead: str = "",  # noqa: ARG002 - no placeholders here
    ) -> str:
        """See `Adapter.send_file`. Of an interaction it goes into the direct messages with who began it."""
        return await self._writer.send_file(chat, path, text, key=key, via=via)

    async def find(self, chat: Chat, key: str) -> str | None:
        """See `Adapter.find`. None as well where we may not read the history."""
        return await self._writer.find(chat, key)

    async def typing(self, chat: Chat) -> None:
        """See `Adapter.typing`."""
        await self._writer.typing(chat)

    async def dismiss(self, chat: Chat, via: str) -> None:
        """See `Adapter.dismiss`. Slack shows nothing of the kind."""

    async def leave(self, chat: Chat) -> None:
        """See `Adapter.leave`."""
        await self._writer.leave(chat)

    async def check(self) -> Sequence[Finding]:
        """See `Adapter.check`. The address for a socket that it asks for is never opened."""
        client = Client(self._settings.base_url, seconds=self._timing.call)
        try:
            return await checking.findings(self._settings, client)
        finally:
            await client.close()

    async def close(self) -> None:
        """See `Adapter.close`."""
        self._writer.ready = False
        await self._people.close()
        await self._client.close()


def _raise_first(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """What ended a task group, itself."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    raise first from None
