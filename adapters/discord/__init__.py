"""Boswell on Discord: receiving from the gateway, and the verbs of `adapters.base` over the REST API.

`client` connects, `updates` reads what came, `receiving` hands it on and reads back what was missed, `answers` are those to
slash commands and buttons, `formatting` writes what goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.base import (
    AdapterError,
    Button,
    Chat,
    ChatGone,
    Finding,
    Health,
    Limits,
    Menu,
    MessageGone,
    RateLimited,
    Refused,
    Route,
    Sink,
    State,
    Unavailable,
    clean,
    opened,
)
from adapters.discord import checking
from adapters.discord.answers import Answers, Via
from adapters.discord.client import AnswerGone, Gateway, Http, NoHistory, call
from adapters.discord.formatting import MAX_CHARS, attachment, bare, render
from adapters.discord.session import Session, Timing
from adapters.discord.updates import BUTTON_PREFIX, channel_of
from config.schema import DiscordConfig

__all__ = ["Discord", "Timing", "create"]

_log = logging.getLogger(__name__)

_NOBODY = {"parse": [], "replied_user": False}  # allowed_mentions: whatever the text names, nobody is pinged
_NO_PREVIEW = 1 << 2  # message flag: links are not looked at, so that no link can carry anything out unseen
_MOST_CUSTOM_ID = 100  # characters
_MOST_GONE = 10_000
_MOST_FILE = 10 << 20  # bytes of a request's files (Discord's reference, uploading files)
_USUAL = Timing()


def create(settings: DiscordConfig, menu: Menu, state: State) -> Discord:
    """The adapter for one bot. A token that can not be one is told by `run`."""
    return Discord(settings, menu, state)


class Discord:
    """One bot. See `adapters.base.Adapter` for what its verbs promise.

    A post carries a nonce made of its key. For some minutes Discord answers a second post with it by the message that stands.
    """

    name = "discord"
    routes: Sequence[Route] = ()

    def __init__(self, settings: DiscordConfig, menu: Menu, state: State, timing: Timing = _USUAL) -> None:
        self.limits = Limits(
            max_chars=MAX_CHARS,
            length=len,
            edit_interval=1.2,
            group_edit_interval=1.2,
            posts_per_second=1,  # Discord's allowance is five in five seconds for a channel
            posts_burst=5,
            group_posts_per_minute=60,
            total_per_second=45,  # 50 calls of any kind
            typing_interval=8,
            resend="key",
            buttons=True,
            files=True,
            max_file_bytes=_MOST_FILE,
            leaves_server=True,
        )
        self._settings = settings
        self._menu = menu
        self._state = state
        self._timing = timing
        self._http: Http | None = None
        self._client: Gateway | None = None
        self._answers = Answers(self._call)
        self._salt = ""
        self._closed = False
        self._unstored: dict[str, int] = {}
        self._gone: set[str] = set()  # messages of ours that can be changed no more

    # Receiving

    async def run(self, sink: Sink, health: Health) -> None:
        """See `Adapter.run`. Raises `Unauthorized` for a wrong token, and for an intent that the portal does not allow."""
        wait = self._timing.retry_first
        while True:
            self._salt = self._salt or await self._keep_salt()
            self._http = self._http or self._connection()
            session = Session(
                self._settings,
                self._menu,
                self._state,
                self._timing,
                self._http,
                self._answers,
                self._call,
                self._unstored,
                sink,
                health,
            )
            self._client = session.client  # calls go on by it when the session is over
            try:
                await session.run(self._start)
            except (RateLimited, Unavailable) as exc:
                health.down(str(exc))
                if session.was_up:
                    wait = self._timing.retry_first
                await asyncio.sleep(exc.retry_after if isinstance(exc, RateLimited) else wait)
                wait = min(wait * 2, self._timing.retry_most)

    async def _keep_salt(self) -> str:
        """What keeps the nonces of two installations with one bot apart."""
        salt = (await self._state.get("salt")).get("salt")
        if salt is None:
            salt = secrets.token_hex(8)
            await self._state.set({"salt": salt})
        return salt

    async def _start(self, client: Gateway) -> None:
        """Log in and serve until the session ends for good."""
        await client.start(self._settings.token.get_secret_value())

    def _connection(self) -> Http:
        settings = self._settings
        return Http(
            settings.token.get_secret_value(),
            settings.base_url,
            settings.gateway_url,
            seconds=self._timing.call,
        )

    # Writing

    async def post(
        self,
        chat: Chat,
        text: str,
        *,
        key: str,
        reply_to: str = "",
        via: str = "",
        buttons: Sequence[Button] = (),
    ) -> str:
        """See `Adapter.post`. A reply refers to its message in servers only. A text that is one long block of code is a file.

        The id of an answer to an interaction carries the interaction's token: it is only good for minutes.
        """
        body, files = _content(text, buttons, edit=False)
        way = Via.parse(via)
        if way is None:
            return await self._post(channel_of(chat), chat, body, files, key, reply_to)
        if (number := await self._answered(way, via, body, files, key)) is not None:
            return number
        if chat.kind == "group":
            with contextlib.suppress(ChatGone, Refused):
                return await self._directly(way, chat, body, files, key)
        return await self._post(channel_of(chat), chat, body, files, key, "")

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
        """See `Adapter.send_file`."""
        way = Via.parse(via)
        if way is None and chat.kind == "group":
            raise ChatGone("a file is for one person, and in a Discord channel all would see it")
        async with opened(path, _MOST_FILE) as (file, _):
            files = [(path.name, await asyncio.to_thread(file.read))]
        body, _ = _content(text, (), edit=False)
        body["attachments"] = [{"id": 0, "filename": path.name}]
        if way is None:
            return await self._post(channel_of(chat), chat, body, files, key, "")
        if (number := await self._answered(way, via, body, files, key)) is not None:
            return number
        if chat.kind == "group":
            return await self._directly(way, chat, body, files, key)
        return await self._post(channel_of(chat), chat, body, files, key, "")

    async def _answered(
        self, way: Via, via: str, body: dict[str, Any], files: Sequence[tuple[str, bytes]], key: str
    ) -> str | None:
        """Answer an interaction by its own way; None where that is closed."""
        try:
            return f"{via}/{await self._answers.post(way, body, files, key)}"
        except (AnswerGone, MessageGone) as exc:
            _log.info("the answer to an interaction goes another way: %s", exc)
            return None

    async def _directly(
        self, way: Via, chat: Chat, body: dict[str, Any], files: Sequence[tuple[str, bytes]], key: str
    ) -> str:
        """Write to who began an interaction, in private."""
        direct = await self._call("POST", "/users/@me/channels", {"recipient_id": way.user})
        channel = str(direct["id"])
        return f"{channel}/{await self._post(channel, chat, body, files, key, '')}"

    async def _post(
        self,
        channel: str,
        chat: Chat,
        body: dict[str, Any],
        files: Sequence[tuple[str, bytes]],
        key: str,
        reply_to: str,
    ) -> str:
        message = {**body, "enforce_nonce": True}
        if reply_to and chat.kind == "group":
            message["message_reference"] = {"message_id": reply_to, "fail_if_not_exists": False}
        # Where what stands with the first nonce is gone for us (deleted since), the second makes a new message.
        for attempt in (key, f"{key} again"):
            message["nonce"] = hashlib.sha256(f"{self._salt} {channel} {attempt}".encode()).hexdigest()[:24]
            number, same = await self._create(channel, message, files)
            if number in self._gone:
                continue
            if not same and not files:
                # It stood already, as an earlier try had it: less of the text, or other buttons.
                try:
                    await self._change(
                        channel, number, {**body, "components": body.get("components", [])}, files
                    )
                except MessageGone:
                    continue
            return number
        raise MessageGone("the message was deleted each time as soon as it was posted")

    async def _create(
        self, channel: str, message: dict[str, Any], files: Sequence[tuple[str, bytes]]
    ) -> tuple[str, bool]:
        """Post a message, or find the one with its nonce: the id, and whether it shows what we gave."""
        path = "/channels/{channel_id}/messages"
        try:
            answer = await self._call("POST", path, message, files=files, channel_id=channel)
        except NoHistory:
            message.pop("message_reference", None)
            answer = await self._call("POST", path, message, files=files, channel_id=channel)
        if not isinstance(answer, dict) or "id" not in answer:
            raise Unavailable("Discord's answer to a post is no message", ambiguous=True)
        return str(answer["id"]), _reads(answer, message)

    async def edit(
        self,
        chat: Chat,
        message_id: str,
        text: str,
        *,
        final: bool,  # noqa: ARG002 - one rendering, and neither waits for its turn: a limit is told at once
        buttons: Sequence[Button] = (),
    ) -> None:
        """See `Adapter.edit`."""
        body, files = _content(text, buttons, edit=True)
        place, slash, number = message_id.rpartition("/")
        way = Via.parse(place)
        if way is None:
            await self._change(place if slash else channel_of(chat), number, body, files)
            return
        try:
            await self._answers.edit(way, number, body, files)
        except AnswerGone as exc:
            raise MessageGone(str(exc)) from exc

    async def _change(
        self, channel: str, number: str, body: dict[str, Any], files: Sequence[tuple[str, bytes]]
    ) -> None:
        body = {name: value for name, value in body.items() if name != "flags"}
        path = "/channels/{channel_id}/messages/{message_id}"
        try:
            await self._call("PATCH", path, body, files=files, channel_id=channel, message_id=number)
        except MessageGone:
            if len(self._gone) >= _MOST_GONE:
                self._gone.clear()
            self._gone.add(number)
            raise

    async def find(self, chat: Chat, key: str) -> str | None:  # noqa: ARG002 - the nonce does it
        """See `Adapter.find`: always None."""
        return None

    async def typing(self, chat: Chat) -> None:
        """See `Adapter.typing`. Discord shows it for ten seconds, or until we post."""
        await self._call("POST", "/channels/{channel_id}/typing", channel_id=channel_of(chat))

    async def dismiss(self, chat: Chat, via: str) -> None:  # noqa: ARG002 - the interaction knows its chat
        """See `Adapter.dismiss`."""
        way = Via.parse(via)
        if way is not None:
            await self._answers.dismiss(way)

    async def leave(self, chat: Chat) -> None:
        """See `Adapter.leave`: the whole server."""
        server = chat.id.partition("-")[0]
        if chat.kind == "group":
            with contextlib.suppress(ChatGone):
                await self._call("DELETE", "/users/@me/guilds/{guild_id}", guild_id=server)

    async def check(self) -> Sequence[Finding]:
        """See `Adapter.check`. Does not connect to the gateway."""
        http = self._connection()
        try:
            return await checking.look(http, message_content=self._settings.message_content)
        except AdapterError as exc:
            return [Finding(False, self.name, str(exc))]
        except (AttributeError, LookupError, TypeError, ValueError):
            problem = "what answers is not Discord's API; correct discord.base_url, or leave it out"
            return [Finding(False, self.name, problem)]
        finally:
            await http.end()

    async def close(self) -> None:
        """See `Adapter.close`."""
        self._closed = True
        if self._http is not None:
            await self._http.end()

    async def _call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        client = self._client
        if client is None or self._closed:
            raise Unavailable("Discord is not connected")
        return await call(client.http, method, path, body, **more)


def _content(
    markdown: str, buttons: Sequence[Button], *, edit: bool
) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """A message's body and files. An edit takes away what the message had before."""
    body: dict[str, Any] = {"allowed_mentions": _NOBODY, "flags": _NO_PREVIEW}
    if buttons or edit:
        body["components"] = _row(buttons)
    markdown = clean(markdown)
    if (file := attachment(markdown)) is not None:
        return {**body, "content": "", "attachments": [{"id": 0, "filename": file[0]}]}, [file]
    if not markdown.strip() or len(markdown) > MAX_CHARS:
        raise Refused(f"Discord takes texts of 1 to {MAX_CHARS} characters, this one has {len(markdown)}")
    content = render(markdown)
    if not content.strip() or len(content) > MAX_CHARS:
        content = bare(markdown)
    return {**body, "content": content}, []


def _row(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    """One row of grey buttons. What a button does stands in its id, so that it works after any restart."""
    row = [
        {
            "type": 2,
            "style": 2,
            "label": button.label[:80],
            "custom_id": (BUTTON_PREFIX + button.command)[:_MOST_CUSTOM_ID],
        }
        for button in buttons
    ]
    return [{"type": 1, "components": row}] if row else []


def _reads(message: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a message shows what `body` says."""
    return str(message.get("content")).strip() == body["content"].strip() and _pressable(
        message
    ) == _pressable(body)


def _pressable(message: dict[str, Any]) -> list[str]:
    rows = message.get("components") or []
    return [str(item.get("custom_id")) for row in rows for item in row.get("components") or []]
