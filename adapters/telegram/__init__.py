"""Boswell on Telegram: receiving by long polling or webhook, and the verbs of `adapters.base` over the Bot API.

`client` speaks HTTP, `updates` reads what came, `formatting` writes what goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiogram.methods import (
    AnswerCallbackQuery,
    DeleteWebhook,
    GetMe,
    GetMyCommands,
    GetWebhookInfo,
    LeaveChat,
    SetMyCommands,
    SetWebhook,
)
from aiogram.types import BotCommand

from adapters.base import (
    AdapterError,
    Button,
    Chat,
    ChatGone,
    Conflict,
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
    clean,
)
from adapters.telegram.client import BadRequest, Client
from adapters.telegram.formatting import MAX_CHARS, render, utf16_length
from adapters.telegram.updates import ALLOWED_UPDATES, Me, read_batch, row_id
from config.schema import TelegramConfig

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_MOST_FILE = 50_000_000  # bytes that a bot may send (Bot API, sendDocument)
_MOST_CAPTION = 1024  # UTF-16 units
_MOST_NOTICE = 200  # characters of an answer to a callback query (Bot API, answerCallbackQuery)
_PART = "file"  # of a request with a file
_NO_PREVIEW = {"is_disabled": True}
_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name, no secret
_NO_URL = "telegram.mode is webhook, so telegram.webhook_url must be set to the public https address"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. How long a poll may be held, any call may take, between looks at the webhook, and before trying again."""

    poll: int = 25
    call: float = 15
    verify: float = 30
    retry_first: float = 0.5
    retry_most: float = 30
    conflict: float = 15


def create(settings: TelegramConfig, menu: Menu, state: State) -> Telegram:  # noqa: ARG001 - Telegram keeps what we miss
    """The adapter for one bot. A token that can not be one is told by `run`."""
    return Telegram(settings, menu)


class Telegram:
    """One bot. See `adapters.base.Adapter` for what its verbs promise.

    A post has no key that Telegram knows, and there is no history to look through: after a lost answer nobody can tell
    whether it stands, hence `resend="stub"`.
    """

    name = "telegram"

    def __init__(self, settings: TelegramConfig, menu: Menu, timing: Timing = Timing()) -> None:
        self.limits = Limits(
            max_chars=MAX_CHARS,
            length=utf16_length,
            total_per_second=settings.messages_per_second,
            resend="stub",
            buttons=True,
            private_by_id=True,
            max_file_bytes=_MOST_FILE,
        )
        self._settings = settings
        self._menu = menu
        self._timing = timing
        self._client: Client | None = None
        self._me: Me | None = None
        self._sink: Sink | None = None  # set while webhook deliveries may come
        self._closed = False
        self.routes: Sequence[Route] = (
            (Route("POST", "/telegram", self._delivered),) if settings.mode == "webhook" else ()
        )

    # Receiving

    async def run(self, sink: Sink, health: Health) -> None:
        """See `Adapter.run`. Raises `Unauthorized` for a wrong token and `Refused` for a webhook address that can not be."""
        client = self._client = self._client or self._connect()
        me = self._me = await self._insist(lambda: _whoami(client), health)
        detail = _described(me)
        if self._settings.mode == "webhook":
            await self._await_deliveries(client, sink, health, detail)
        else:
            await self._poll(client, me, sink, health, detail)

    def _connect(self) -> Client:
        token = self._settings.token.get_secret_value()
        return Client(token, self._settings.base_url, seconds=self._timing.call)

    async def _poll(self, client: Client, me: Me, sink: Sink, health: Health, detail: str) -> None:
        await self._drop_webhook(client)
        rows = await self._next(client, None, 0, health, detail)
        async with _alongside(self._show_menu(client)):
            while True:
                await sink(read_batch(rows, me))
                # Only now: asking for what comes after them is what tells Telegram to forget these. Once it has, no offset
                # is given at all, because after a quiet week the numbers may go on from anywhere, lower ones included.
                numbers = [number for row in rows if (number := row_id(row)) is not None]
                offset = max(numbers) + 1 if numbers else None
                rows = await self._next(client, offset, self._timing.poll, health, detail)

    async def _drop_webhook(self, client: Client) -> None:
        """A webhook left from another life keeps getUpdates from working. What waits at Telegram is kept.

        If it can not be removed now, getUpdates tells whether there is one at all, and it is tried again.
        """
        try:
            await client.once(DeleteWebhook(drop_pending_updates=False))
        except AdapterError as exc:
            _log.warning("a webhook, if there is one, could not be removed: %s", exc)

    async def _next(
        self, client: Client, offset: int | None, hold: int, health: Health, detail: str
    ) -> list[object]:
        """The next rows, which may be none; returns only when Telegram has answered."""
        wait = self._timing.retry_first
        while True:
            answered = client.answered
            question: dict[str, Any] = {"timeout": hold, "allowed_updates": ALLOWED_UPDATES}
            if offset is not None:
                question["offset"] = offset
            try:
                rows = await client("getUpdates", question, waits=hold)
                if not isinstance(rows, list) or (rows and all(row_id(row) is None for row in rows)):
                    raise Unavailable("Telegram's answer to getUpdates is no list of updates")  # noqa: TRY301
            except Conflict as exc:
                if "webhook" in str(exc):
                    health.down("a webhook was set for this bot while it polls; it is removed again")
                    await self._drop_webhook(client)
                else:
                    health.down(
                        "another program receives this bot's updates with the same token: stop it, or give it another bot"
                    )
                await asyncio.sleep(self._timing.conflict)
            except RateLimited as exc:
                health.down(str(exc))
                await asyncio.sleep(exc.retry_after)
            except Unavailable as exc:
                health.down(str(exc))
                if client.answered == answered:
                    # Silence on every connection since this poll began: they may all be dead without knowing it.
                    await client.close()
                await asyncio.sleep(wait)
                wait = min(wait * 2, self._timing.retry_most)
            else:
                health.up(detail)
                return rows
            hold = 0  # the next answer then tells at once that it works again

    async def _await_deliveries(self, client: Client, sink: Sink, health: Health, detail: str) -> None:
        if not self._settings.webhook_url:
            raise Refused(
                "telegram.mode is webhook, so telegram.webhook_url must be set to the public https address"
            )
        url = self._settings.webhook_url.rstrip("/") + "/telegram"
        call = SetWebhook(
            url=url,
            secret_token=self._secret(),
            allowed_updates=list(ALLOWED_UPDATES),
            drop_pending_updates=False,
        )
        self._sink = sink  # before the call: what waits at Telegram comes right after it
        try:
            await self._insist(lambda: client.once(call), health)
            async with _alongside(self._show_menu(client)):
                while True:  # until cancelled; deliveries come by the route
                    health.up(f"{detail}, at {url}")
                    await asyncio.sleep(self._timing.verify)
                    # Nobody may be writing: whether deliveries would come, only Telegram knows.
                    info = await self._insist(lambda: client.once(GetWebhookInfo()), health)
                    if info.url != url:
                        _log.warning("the webhook leads elsewhere; it is set again")
                        await self._insist(lambda: client.once(call), health)
        finally:
            self._sink = None

    async def _delivered(self, request: HttpRequest) -> HttpResponse:
        """One update by webhook: durable before the 200. Whatever is not a 200, Telegram brings again."""
        given = request.headers.get(_SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._secret().encode()):
            return HttpResponse(401, "the secret is wrong")
        try:
            row = json.loads(request.body.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return HttpResponse(400, "the body is not JSON")
        if row_id(row) is None:
            return HttpResponse(400, "the body is no update")
        sink, me = self._sink, self._me
        if sink is None or me is None:
            return HttpResponse(503, "not receiving yet")
        await sink(read_batch([row], me))
        return HttpResponse(200)

    async def reread(self, raw: str) -> Sequence[Received]:
        """See `Rereads.reread`. Whom a message mentions can be told once Telegram has said who we are."""
        if self._me is None:
            raise Unavailable("not connected to Telegram yet")
        return read_batch([json.loads(raw)], self._me)

    def _address(self) -> str:
        return (self._settings.webhook_url or "").rstrip("/") + "/telegram"

    def _secret(self) -> str:
        """What Telegram must repeat: the operator's choice, or else derived from the token, which nobody else knows."""
        if self._settings.webhook_secret is not None:
            return self._settings.webhook_secret.get_secret_value()
        token = self._settings.token.get_secret_value()
        return hmac.new(token.encode(), b"webhook", hashlib.sha256).hexdigest()

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

    async def _show_menu(self, client: Client) -> None:
        """Register the commands where they are not yet so. Talking works without them, so a failure is only logged."""
        wanted = list(self._menu.commands.items())
        try:
            present = await client.once(GetMyCommands())
            if [(command.command, command.description) for command in present] != wanted:
                commands = [BotCommand(command=name, description=text) for name, text in wanted]
                await client.once(SetMyCommands(commands=commands))
        except AdapterError as exc:
            _log.warning("the commands could not be registered with Telegram: %s", exc)

    # Writing

    async def post(
        self,
        chat: Chat,
        text: str,
        *,
        key: str,  # noqa: ARG002 - no keys here
        reply_to: str = "",
        via: str = "",
        buttons: Sequence[Button] = (),
    ) -> str:
        """See `Adapter.post`. A reply quotes its message in groups only; a topic that is gone is left out.

        The answer to a button is a notice that its presser alone sees, where it is short enough for one.
        """
        if via and await self._notify(via, text):
            return via
        message = {"chat_id": _number(chat.id), **_content(text), "link_preview_options": _NO_PREVIEW}
        if buttons:
            message["reply_markup"] = _keyboard(buttons)
        if chat.thread:
            message["message_thread_id"] = _number(chat.thread)
        if reply_to and chat.kind == "group":
            message["reply_parameters"] = {
                "message_id": _number(reply_to),
                "allow_sending_without_reply": True,
            }
        answer = await self._write("sendMessage", message, text)
        if not isinstance(answer, dict) or "message_id" not in answer:
            raise Unavailable("Telegram's answer to sendMessage is no message", ambiguous=True)
        return str(answer["message_id"])

    async def edit(
        self,
        chat: Chat,
        message_id: str,
        text: str,
        *,
        final: bool,  # noqa: ARG002 - one rendering
        buttons: Sequence[Button] = (),
    ) -> None:
        """See `Adapter.edit`. Previews are formatted like the final text: rendering costs far less than the call."""
        message = {
            "chat_id": _number(chat.id),
            "message_id": _number(message_id),
            **_content(text),
            "link_preview_options": _NO_PREVIEW,
        }
        if buttons:  # an edit without a keyboard takes the one that was there away
            message["reply_markup"] = _keyboard(buttons)
        await self._write("editMessageText", message, text)

    async def send_file(
        self,
        chat: Chat,
        path: Path,
        text: str,
        *,
        key: str,  # noqa: ARG002 - no keys here
        via: str = "",  # noqa: ARG002 - a notice has no files
        instead: str = "",
    ) -> str:
        """See `Adapter.send_file`. In a group Telegram has no way to show something to one person alone."""
        if chat.kind == "group":
            raise ChatGone("a file is for one person, and in a Telegram group all would see it")
        rendered = render(clean(text))
        if utf16_length(rendered["text"]) > _MOST_CAPTION:
            raise Refused(f"Telegram takes {_MOST_CAPTION} UTF-16 units of text beside a file")
        caption = {"caption": rendered["text"], "caption_entities": rendered.get("entities", [])}
        message: dict[str, Any] = {"chat_id": _number(chat.id)}
        if instead:
            media = {"type": "document", "media": f"attach://{_PART}", **caption}
            method, part = "editMessageMedia", _PART
            message |= {"message_id": _number(instead), "media": media}
        else:
            method, part = "sendDocument", "document"
            message |= caption
            if chat.thread:
                message["message_thread_id"] = _number(chat.thread)
        answer = await self._upload(method, message, part, path)
        if not isinstance(answer, dict) or "message_id" not in answer:
            raise Unavailable(f"Telegram's answer to {method} is no message", ambiguous=True)
        return str(answer["message_id"])

    async def _upload(self, method: str, message: dict[str, Any], part: str, path: Path) -> Any:
        client = self._client
        if client is None or self._me is None or self._closed:
            raise Unavailable("Telegram is not connected")
        try:
            return await client.upload(method, message, part, path, _MOST_FILE)
        except BadRequest as refusal:
            if "thread not found" not in refusal.description or not message.pop("message_thread_id", None):
                raise
            return await client.upload(method, message, part, path, _MOST_FILE)

    async def find(self, chat: Chat, key: str) -> str | None:  # noqa: ARG002 - Telegram has no history to look through
        """See `Adapter.find`: always None."""
        return None

    async def typing(self, chat: Chat) -> None:
        """See `Adapter.typing`. Telegram shows it for five seconds, or until we post."""
        message: dict[str, Any] = {"chat_id": _number(chat.id), "action": "typing"}
        if chat.thread:
            message["message_thread_id"] = _number(chat.thread)
        await self._write("sendChatAction", message, "")

    async def _notify(self, query: str, text: str) -> bool:
        """Show who pressed a button a short text; False if it is too long, or the button was pressed too long ago."""
        if self._client is None or self._me is None or self._closed or len(text) > _MOST_NOTICE:
            return False
        try:
            await self._client.once(AnswerCallbackQuery(callback_query_id=query, text=text))
        except Refused:
            return False
        return True

    async def dismiss(self, chat: Chat, via: str) -> None:  # noqa: ARG002 - the query knows its chat
        """See `Adapter.dismiss`. Without it the button looks busy for a while."""
        if self._client is not None and self._me is not None and not self._closed:
            with contextlib.suppress(Refused):
                await self._client.once(AnswerCallbackQuery(callback_query_id=via))

    async def leave(self, chat: Chat) -> None:
        """See `Adapter.leave`."""
        if chat.kind == "group" and self._client is not None:
            await self._client.once(LeaveChat(chat_id=_number(chat.id)))

    async def check(self) -> Sequence[Finding]:
        """See `Adapter.check`. Does not poll: that would take a running Boswell's updates away."""
        client: Client | None = None
        try:
            client = self._connect()
            me = await _whoami(client)
            webhook = await client.once(GetWebhookInfo())
        except AdapterError as exc:
            return [Finding(False, self.name, str(exc))]
        finally:
            if client is not None:
                await client.close()
        findings = [Finding(True, self.name, _described(me))]
        if self._settings.mode == "webhook":
            if not self._settings.webhook_url:
                findings.append(Finding(False, self.name, _NO_URL))
            elif webhook.last_error_message and webhook.url == self._address():
                detail = (
                    f"Telegram's last try to deliver to {webhook.url} failed: {webhook.last_error_message}"
                )
                findings.append(Finding(False, self.name, detail))
        elif webhook.url:
            findings.append(
                Finding(True, self.name, f"its webhook at {webhook.url} will be removed by polling")
            )
        return findings

    async def close(self) -> None:
        """See `Adapter.close`."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    async def _write(self, method: str, message: dict[str, Any], source: str) -> Any:
        """Make a call; what Telegram refuses is sent again without its topic, then plain as `source`. None: nothing to do."""
        client = self._client
        if client is None or self._me is None or self._closed:
            raise Unavailable("Telegram is not connected")
        while True:  # each way out of a refusal is taken once
            try:
                return await client(method, message)
            except BadRequest as refusal:
                if "message is not modified" in refusal.description:
                    return None
                if "thread not found" in refusal.description and message.pop("message_thread_id", None):
                    continue
                plain = _sendable(source) if "entities" in message else None
                if plain is None:
                    raise
                message["text"] = plain
                del message["entities"]


async def _whoami(client: Client) -> Me:
    user = await client.once(GetMe())
    return Me(user.id, user.username or "", bool(user.can_read_all_group_messages))


def _described(me: Me) -> str:
    if me.hears_all:
        return f"@{me.username}"
    return (
        f"@{me.username}; privacy mode is on: in groups only commands, mentions and replies reach it "
        "(groups.respond: always needs it off, with /setprivacy at @BotFather)"
    )


def _content(markdown: str) -> dict[str, Any]:
    content = render(clean(markdown))
    if _sendable(content["text"]) is None:
        length = utf16_length(content["text"])
        raise Refused(
            f"Telegram takes texts of 1 to {MAX_CHARS} UTF-16 units, this one has {length}, blanks included"
        )
    return content


def _sendable(text: str) -> str | None:
    text = clean(text)
    return text if text.strip() and utf16_length(text) <= MAX_CHARS else None


def _number(native: str) -> int | str:
    """Telegram's ids are numbers; what is none it refuses itself, in its own words."""
    try:
        return int(native)
    except ValueError:
        return native


def _keyboard(buttons: Sequence[Button]) -> dict[str, Any]:
    """One row. Telegram takes 64 bytes of data with a button."""
    row = [{"text": button.label, "callback_data": button.command} for button in buttons]
    return {"inline_keyboard": [row]}


@contextlib.asynccontextmanager
async def _alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the block, and not past its end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
