"""What the bot asks of Telegram, and what comes of it: every method, as strict as the real one."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fakes.scripted_server import ScriptedServer
from tests.fakes.telegram_server.chats import Conversation, Message
from tests.fakes.telegram_server.faults import conflict
from tests.fakes.telegram_server.methods import (
    MAX_CAPTION,
    MAX_CHARS,
    MAX_FILE,
    METHODS,
    MOST_NOTICE,
    BotApiError,
    Upload,
    parameters,
    units,
)

TOKEN = "4242:AAtest-token-of-nobody-0123456789abcdef"
BOT = {
    "id": 4242,
    "is_bot": True,
    "first_name": "Boswell",
    "username": "boswell_bot",
    "can_join_groups": True,
    "can_read_all_group_messages": False,
    "supports_inline_queries": False,
}
_STYLES = {"bold", "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote"}
_ENTITY_TYPES = _STYLES | {"code", "pre", "text_link", "text_mention"}


class BotApi(ScriptedServer):
    """The half of the server that a bot talks to. All its state is public and may be read or set by a test."""

    def __init__(self, token: str = TOKEN, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.token = token
        self.bot = {**BOT, "id": int(token.split(":")[0])}
        self.chats: dict[int, Conversation] = {}
        self.pending: deque[dict[str, Any]] = deque()
        self.commands: list[dict[str, str]] = []
        self.webhook: dict[str, Any] = {}
        self.pressed: dict[str, int] = {}  # pressed buttons that were not answered yet: query id → who
        self.notices: list[tuple[int, str]] = []  # what a presser alone was shown
        self.left: list[int] = []  # groups that the bot left
        # The waiting getUpdates: True wakes it, False ends it with 409
        self._poll: asyncio.Future[bool] | None = None

    async def stop(self) -> None:
        self._wake()
        await super().stop()

    def _wake(self) -> None:
        """Have the waiting getUpdates answered."""
        if self._poll is not None:
            _resolve(self._poll)

    # Serving

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_control/"):
            return await self._controlled(request)
        token, _, method = request.path.removeprefix("/bot").partition("/")
        if token != self.token:
            return _error(
                BotApiError(401 if ":" in token else 404, "Unauthorized" if ":" in token else "Not Found")
            )

        async def answer() -> web.Response:
            result = await self._serve(method, await parameters(request))
            # ASCII JSON escapes lone surrogates, as the real server's JSON does.
            return web.json_response({"ok": True, "result": result})

        try:
            return await self._met(method, request, answer)
        except BotApiError as error:
            return _error(error)

    async def _serve(self, method: str, given: dict[str, Any]) -> Any:
        known = METHODS.get(method)
        if known is None:
            self._complain(f"unknown method {method}")
            raise BotApiError(404, "Not Found")
        types = {name.lstrip("*"): type_ for name, type_ in known.items()}
        before = len(self.complaints)
        if method == "editMessageMedia":
            given = self._attached(given)
        for name, value in given.items():
            if name not in types:
                self._complain(f"{method} has no parameter {name}")
            elif not isinstance(value, types[name]) or (types[name] is int and isinstance(value, bool)):
                self._complain(f"{method}.{name} is {type(value).__name__}")
        for name in known:
            if name.startswith("*") and name[1:] not in given:
                self._complain(f"{method} without {name[1:]}")
                raise BotApiError(400, f"Bad Request: parameter {name[1:]!r} is required")
        if len(self.complaints) > before:
            raise BotApiError(400, f"Bad Request: {self.complaints[-1]}")
        if method == "getUpdates":
            return await self._get_updates(**given)
        chat = self._chat_of(given) if "chat_id" in given else None
        handlers: dict[str, Callable[..., Any]] = {
            "getMe": lambda **_: self.bot,
            "setWebhook": self._set_webhook,
            "getWebhookInfo": lambda **_: self._webhook_info(),
            "deleteWebhook": self._delete_webhook,
            "getMyCommands": lambda **_: self.commands,
            "setMyCommands": self._set_commands,
            "sendMessage": self._send,
            "editMessageText": self._edit,
            "sendDocument": self._send_document,
            "editMessageMedia": self._edit_media,
            "sendChatAction": self._action,
            "answerCallbackQuery": self._notice,
            "leaveChat": self._leave,
        }
        handler = handlers[method]
        return (
            handler(**given)
            if chat is None
            else handler(chat, **{k: v for k, v in given.items() if k != "chat_id"})
        )

    def _chat_of(self, given: dict[str, Any]) -> Conversation:
        chat = self.chats.get(given["chat_id"])
        if chat is None:
            raise BotApiError(400, "Bad Request: chat not found")
        if chat.error is not None:
            raise chat.error
        if given.get("message_thread_id") in chat.threads_gone:
            raise BotApiError(400, "Bad Request: message thread not found")
        return chat

    async def _get_updates(
        self, offset: int = 0, limit: int = 100, timeout: int = 0, allowed_updates: list[str] | None = None
    ) -> list[dict[str, Any]]:
        if self.webhook:
            raise BotApiError(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            )
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(False)
        wanted = allowed_updates or []
        kept = [
            u
            for u in self.pending
            if u["update_id"] >= offset and (not wanted or any(k in u for k in wanted))
        ]
        if len(kept) < len(self.pending):
            self.pending = deque(kept)
            self._note()
        if not self.pending and timeout:
            self._poll = waiting = asyncio.get_running_loop().create_future()
            alarm = asyncio.get_running_loop().call_later(timeout, _resolve, waiting)
            try:
                if not await waiting:
                    raise BotApiError(409, json.loads(conflict().body)["description"])
            finally:
                alarm.cancel()
            kept = [u for u in self.pending if not wanted or any(k in u for k in wanted)]
            self.pending = deque(kept)
        return kept[:limit]

    def _set_webhook(self, url: str, **options: Any) -> bool:
        if not url.startswith("https://"):
            raise BotApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        self.webhook = {"url": url, **options}
        return True

    def _webhook_info(self) -> dict[str, Any]:
        info = {"url": "", "has_custom_certificate": False, "pending_update_count": len(self.pending)}
        shown = ("url", "allowed_updates", "last_error_date", "last_error_message")
        return info | {name: self.webhook[name] for name in shown if name in self.webhook}

    def _delete_webhook(self, *, drop_pending_updates: bool = False) -> bool:
        self.webhook = {}
        if drop_pending_updates:
            self.pending.clear()
        return True

    def _set_commands(self, commands: list[dict[str, str]], **_: Any) -> bool:
        for command in commands:
            if (
                not re.fullmatch(r"[a-z0-9_]{1,32}", command["command"])
                or not 1 <= len(command["description"]) <= 256
            ):
                raise BotApiError(400, "Bad Request: BOT_COMMAND_INVALID")
        self.commands = commands
        return True

    def _send(
        self,
        chat: Conversation,
        text: str,
        message_thread_id: int | None = None,
        entities: list[dict[str, Any]] | None = None,
        reply_parameters: dict[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        text = self._checked(text, entities)
        reply_to = (reply_parameters or {}).get("message_id")
        if reply_to is not None and reply_to > chat.last_id:
            if not (reply_parameters or {}).get("allow_sending_without_reply"):
                raise BotApiError(400, "Bad Request: message to be replied not found")
            reply_to = None
        message = Message(chat.next_id(), text, entities or [], message_thread_id, reply_to, [text])
        chat.messages[message.id] = message
        return self._shown(chat, message)

    def _edit(
        self,
        chat: Conversation,
        message_id: int,
        text: str,
        entities: list[dict[str, Any]] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        message = chat.messages.get(message_id)
        if message is None:
            raise BotApiError(400, "Bad Request: message to edit not found")
        if message.file is not None:
            raise BotApiError(400, "Bad Request: there is no text in the message to edit")
        text = self._checked(text, entities)
        if (text, entities or []) == (message.text, message.entities):
            raise BotApiError(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
                "as a current content and reply markup of the message",
            )
        message.text, message.entities = text, entities or []
        message.history.append(text)
        return self._shown(chat, message)

    def _attached(self, given: dict[str, Any]) -> dict[str, Any]:
        """The request with the file that `media` refers to in its place."""
        media = given.get("media")
        name = str(media.get("media", "")) if isinstance(media, dict) else ""
        if not name.startswith("attach://"):
            self._complain(f"editMessageMedia with {name!r}, which our adapter has no use for")
            return given
        part = name.removeprefix("attach://")
        rest = {name: value for name, value in given.items() if name != part}
        return {**rest, "media": {**given["media"], "media": given.get(part)}}

    def _send_document(
        self,
        chat: Conversation,
        document: Upload,
        message_thread_id: int | None = None,
        caption: str = "",
        caption_entities: list[dict[str, Any]] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        caption = self._captioned(document, caption, caption_entities)
        message = Message(
            chat.next_id(), caption, caption_entities or [], message_thread_id, None, [caption], document
        )
        chat.messages[message.id] = message
        return self._shown(chat, message)

    def _edit_media(
        self, chat: Conversation, message_id: int, media: dict[str, Any], **_: Any
    ) -> dict[str, Any]:
        message = chat.messages.get(message_id)
        if message is None:
            raise BotApiError(400, "Bad Request: message to edit not found")
        if unknown := set(media) - {"type", "media", "caption", "caption_entities", "parse_mode"}:
            self._complain(f"editMessageMedia.media has no {unknown}")
        file = media.get("media")
        if media.get("type") != "document" or not isinstance(file, Upload):
            raise BotApiError(400, "Bad Request: wrong HTTP URL specified")
        message.text = self._captioned(file, media.get("caption", ""), media.get("caption_entities"))
        message.entities, message.file = media.get("caption_entities") or [], file
        message.history.append(message.text)
        return self._shown(chat, message)

    def _captioned(self, file: Upload, caption: str, entities: list[dict[str, Any]] | None) -> str:
        if not file.data:
            raise BotApiError(400, "Bad Request: file must be non-empty")
        if len(file.data) > MAX_FILE:
            raise BotApiError(413, "Request Entity Too Large")
        if units(caption) > MAX_CAPTION:
            raise BotApiError(400, "Bad Request: message caption is too long")
        return self._checked(caption, entities) if caption else ""

    def _action(self, chat: Conversation, action: str, **_: Any) -> bool:
        if action != "typing":
            raise BotApiError(400, "Bad Request: wrong parameter action in request")
        chat.typing += 1
        return True

    def _notice(self, callback_query_id: str, text: str = "", **_: Any) -> bool:
        if callback_query_id not in self.pressed:
            raise BotApiError(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        if len(text) > MOST_NOTICE:
            raise BotApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        user = self.pressed.pop(callback_query_id)
        if text:
            self.notices.append((user, text))
        return True

    def _leave(self, chat: Conversation) -> bool:
        if chat.id > 0:
            raise BotApiError(400, "Bad Request: chat member status can't be changed in private chats")
        self.left.append(chat.id)
        chat.error = BotApiError(403, "Forbidden: bot is not a member of the supergroup chat")
        return True

    def _checked(self, text: str, entities: list[dict[str, Any]] | None) -> str:
        """The text as Telegram shows it, or the error that it answers."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BotApiError(400, "Bad Request: strings must be encoded in UTF-8") from None
        if not text.strip(" \n\t\u200b\u200c\u200d\ufeff\u2060"):
            raise BotApiError(400, "Bad Request: message text is empty")
        length = units(text)
        if length > MAX_CHARS:
            raise BotApiError(400, "Bad Request: message is too long")
        for entity in entities or []:
            if (
                entity.get("type") not in _ENTITY_TYPES
                or not 0 <= entity["offset"] < entity["offset"] + entity["length"] <= length
            ):
                self._complain(f"entity out of place in a text of {length}: {entity}")
            if entity["type"] == "text_link" and not re.match(r"https?://[^\s/]+\.", entity["url"]):
                self._complain(f"a link that Telegram drops: {entity}")
        return text

    def _shown(self, chat: Conversation, message: Message) -> dict[str, Any]:
        kind = "private" if chat.id > 0 else "supergroup"
        return {
            "message_id": message.id,
            "from": self.bot,
            "chat": {"id": chat.id, "type": kind},
            "date": int(time.time()),
            **(
                {"text": message.text}
                if message.file is None
                else {
                    "caption": message.text,
                    "document": {
                        "file_id": f"F{message.id}",
                        "file_unique_id": f"U{message.id}",
                        "file_name": message.file.name,
                        "file_size": len(message.file.data),
                    },
                }
            ),
        }


def _resolve(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(True)


def _error(error: BotApiError) -> web.Response:
    return web.json_response(error.answer, status=error.code)
