"""A scripted Bot API server on a loopback port: strict about what it is asked, able to misbehave as the real one does.

In a test: `async with TelegramServer() as server`, speak as a person with `server.say`, read `server.chat(id).texts`, and
script faults with `server.fault("sendMessage", too_many(3))`. Leaving the block fails if anything unexpected was
asked or a scripted fault was never met. As a program (`python telegram_server.py [--port N] [--token T]`) it prints its
address as one JSON line and is driven over /_control/say, /_control/push, /_control/fault and /_control/state.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

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
MAX_CHARS = 4096
MAX_CAPTION = 1024
MAX_FILE = 50_000_000


@dataclass(frozen=True)
class Upload:
    """A file in a request."""

    name: str
    data: bytes = field(repr=False)


# Every method we know: its parameters, by the type that JSON gives them. A star marks those that must be there.
METHODS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "getMe": {},
    "getUpdates": {"offset": int, "limit": int, "timeout": int, "allowed_updates": list},
    "setWebhook": {"*url": str, "secret_token": str, "allowed_updates": list, "drop_pending_updates": bool},
    "getWebhookInfo": {},
    "deleteWebhook": {"drop_pending_updates": bool},
    "getMyCommands": {"scope": dict, "language_code": str},
    "setMyCommands": {"*commands": list, "scope": dict, "language_code": str},
    "sendMessage": {
        "*chat_id": int,
        "*text": str,
        "message_thread_id": int,
        "entities": list,
        "parse_mode": str,
        "link_preview_options": dict,
        "disable_notification": bool,
        "reply_parameters": dict,
        "reply_markup": dict,
    },
    "editMessageText": {
        "*chat_id": int,
        "*message_id": int,
        "*text": str,
        "entities": list,
        "parse_mode": str,
        "link_preview_options": dict,
        "reply_markup": dict,
    },
    "sendDocument": {
        "*chat_id": int,
        "*document": Upload,
        "message_thread_id": int,
        "caption": str,
        "caption_entities": list,
        "parse_mode": str,
        "disable_content_type_detection": bool,
        "disable_notification": bool,
        "reply_parameters": dict,
        "reply_markup": dict,
    },
    "editMessageMedia": {"*chat_id": int, "*message_id": int, "*media": dict, "reply_markup": dict},
    "sendChatAction": {"*chat_id": int, "*action": str, "message_thread_id": int},
    "answerCallbackQuery": {"*callback_query_id": str, "text": str, "show_alert": bool},
    "leaveChat": {"*chat_id": int},
}
MOST_NOTICE = 200  # characters of an answer to a pressed button
_STYLES = {"bold", "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote"}
_ENTITY_TYPES = _STYLES | {"code", "pre", "text_link", "text_mention"}


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


class BotApiError(Exception):
    """An answer with `ok: false`."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.answer: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
        if parameters:
            self.answer["parameters"] = parameters


@dataclass
class Fault:
    """One misbehaviour. `process`: the call takes effect first. `drop`: the socket is closed instead of an answer."""

    status: int = 0
    body: str = ""
    content_type: str = "application/json"
    process: bool = False
    drop: bool = False
    until: asyncio.Event | None = None  # wait for it first
    met: asyncio.Event = field(default_factory=asyncio.Event)


def refusal(code: int, description: str, **parameters: int) -> Fault:
    """Any error answer, with its `parameters`."""
    return Fault(code, json.dumps(BotApiError(code, description, **parameters).answer))


def too_many(retry_after: int) -> Fault:
    """429."""
    return refusal(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


def bad_gateway() -> Fault:
    """What nginx says for a Bot API that is down."""
    return Fault(502, "<html><head><title>502 Bad Gateway</title></head></html>", "text/html")


def garbage() -> Fault:
    """A 200 that is no JSON."""
    return Fault(200, "\x00 not { json")


def conflict() -> Fault:
    """Another program polls."""
    return refusal(
        409,
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    )


def unauthorized() -> Fault:
    """The token was revoked."""
    return refusal(401, "Unauthorized")


def forbidden() -> Fault:
    """A person has blocked the bot."""
    return refusal(403, "Forbidden: bot was blocked by the user")


def migrated(new_id: int) -> Fault:
    """The group is a supergroup now."""
    return refusal(
        400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new_id
    )


def dropped() -> Fault:
    """The socket closes before anything is done."""
    return Fault(drop=True)


def lost_answer() -> Fault:
    """It is done, but nobody hears of it."""
    return Fault(drop=True, process=True)


def held(until: asyncio.Event) -> Fault:
    """An answer that comes, rightly, when `until` is set."""
    return Fault(until=until, process=True)


@dataclass
class Message:
    """A message that the bot sent. `history` is every text it ever showed, the newest last."""

    id: int
    text: str
    entities: list[dict[str, Any]]
    thread: int | None
    reply_to: int | None
    history: list[str]
    file: Upload | None = None  # the text is then its caption

    def marked(self, kind: str) -> list[str]:
        """The pieces of the text under entities of this type."""
        data = self.text.encode("utf-16-le")
        return [
            data[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le")
            for e in self.entities
            if e["type"] == kind
        ]


@dataclass
class Conversation:
    """A chat, as the people in it see it."""

    id: int
    messages: dict[int, Message] = field(default_factory=dict)
    last_id: int = 0
    error: BotApiError | None = None  # what every call for this chat answers from now on
    threads_gone: set[int] = field(default_factory=set)
    typing: int = 0

    @property
    def texts(self) -> list[str]:
        """What the bot's messages read now, in order."""
        return [message.text for message in self.messages.values()]

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id


class TelegramServer:
    """The server. All its state is public and may be read or set by a test."""

    def __init__(self, token: str = TOKEN, *, port: int = 0) -> None:
        self.token = token
        self.bot = {**BOT, "id": int(token.split(":")[0])}
        self.chats: dict[int, Conversation] = {}
        self.pending: deque[dict[str, Any]] = deque()
        self.commands: list[dict[str, str]] = []
        self.webhook: dict[str, Any] = {}
        self.pressed: dict[str, int] = {}  # pressed buttons that were not answered yet: query id → who
        self.notices: list[tuple[int, str]] = []  # what a presser alone was shown
        self.left: list[int] = []  # groups that the bot left
        self.calls: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.version = 0
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._port = port
        self._next_update = 1000
        self._poll: asyncio.Future[bool] | None = (
            None  # the waiting getUpdates: True wakes it, False ends it with 409
        )
        self._changed = asyncio.Event()
        self._dead = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._control: dict[str, Callable[[web.BaseRequest], Awaitable[Any]]] = {
            "say": self._control_say,
            "push": self._control_push,
            "fault": self._control_fault,
            "state": self._control_state,
        }

    # Life

    async def start(self) -> TelegramServer:
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        self._dead.set()
        if self._poll is not None:
            _resolve(self._poll)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> TelegramServer:
        return await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Fail if anything unexpected was asked, or a scripted fault was never met."""
        assert not self.complaints, self.complaints
        left = {method: len(faults) for method, faults in self._faults.items() if faults}
        assert not left, f"scripted faults never met: {left}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # What tests do and read

    def chat(self, chat_id: int) -> Conversation:
        return self.chats.setdefault(chat_id, Conversation(chat_id))

    def fault(self, method: str, *faults: Fault) -> Fault:
        """The next calls of `method` go wrong, one per fault, in order. Returns the last, whose `met` can be awaited."""
        self._faults[method].extend(faults)
        return faults[-1]

    def push(self, update: dict[str, Any]) -> int:
        """Queue a raw update; it gets an update_id if it has none."""
        if "update_id" not in update:
            update = {"update_id": self._next_update, **update}
        if isinstance(update["update_id"], int):
            self._next_update = update["update_id"] + 1
        self.pending.append(update)
        if self._poll is not None:
            _resolve(self._poll)
        return int(update["update_id"])

    def message(
        self,
        chat_id: int,
        user_id: int,
        text: str | None,
        *,
        name: str = "",
        language: str = "en",
        thread: int | None = None,
        reply_to: dict[str, Any] | None = None,
        title: str = "Book club",
        **extra: Any,
    ) -> dict[str, Any]:
        """A message in the Bot API's form, with the entities that Telegram itself would find in `text`."""
        chat = (
            {"id": chat_id, "type": "private", "first_name": name or f"Person {user_id}"}
            if chat_id > 0
            else {"id": chat_id, "type": "supergroup", "title": title}
        )
        message: dict[str, Any] = {
            "message_id": self.chat(chat_id).next_id(),
            "date": int(time.time()),
            "chat": chat,
            "from": {
                "id": user_id,
                "is_bot": False,
                "first_name": name or f"Person {user_id}",
                "language_code": language,
            },
        }
        if text is not None:
            message["text"] = text
            if entities := _found_entities(text):
                message["entities"] = entities
        if thread is not None:
            message |= {"message_thread_id": thread, "is_topic_message": True}
        if reply_to is not None:
            message["reply_to_message"] = reply_to
        return {**message, **extra}

    def say(self, chat_id: int, user_id: int, text: str | None, **options: Any) -> int:
        """Somebody writes; see `message`. Returns the message's id."""
        message = self.message(chat_id, user_id, text, **options)
        self.push({"message": message})
        return int(message["message_id"])

    def edit(self, chat_id: int, user_id: int, message_id: int, text: str, **options: Any) -> None:
        """Somebody edits what they wrote."""
        message = self.message(chat_id, user_id, text, **options)
        self.push({"edited_message": {**message, "message_id": message_id, "edit_date": message["date"] + 1}})

    def ours(self, chat_id: int, message_id: int) -> dict[str, Any]:
        """A message of the bot's, as `reply_to`."""
        text = self.chat(chat_id).messages[message_id].text
        return {
            "message_id": message_id,
            "date": 1,
            "chat": {"id": chat_id, "type": "private"},
            "from": self.bot,
            "text": text,
        }

    def block(self, chat_id: int, user_id: int, **options: Any) -> None:
        """A person blocks the bot, or it is removed from a group."""
        self.chat(chat_id).error = BotApiError(403, "Forbidden: bot was blocked by the user")
        self._standing(chat_id, user_id, "member", "kicked", **options)

    def invite(self, chat_id: int, user_id: int, **options: Any) -> None:
        """The bot is added to a group."""
        self._standing(chat_id, user_id, "left", "member", **options)

    def _standing(self, chat_id: int, user_id: int, old: str, new: str, **options: Any) -> None:
        source = self.message(chat_id, user_id, None, **options)
        member = {"user": self.bot, "status": new, **({"until_date": 0} if new == "kicked" else {})}
        self.push(
            {
                "my_chat_member": {
                    "chat": source["chat"],
                    "from": source["from"],
                    "date": source["date"],
                    "old_chat_member": {"user": self.bot, "status": old},
                    "new_chat_member": member,
                }
            }
        )

    def press(self, chat_id: int, user_id: int, data: str, **options: Any) -> int:
        """Somebody presses a button under a message of the bot's. The data is what their client sends, whatever was there."""
        source = self.message(chat_id, user_id, None, **options)
        query = str(4242_000_000 + len(self.pressed) + len(self.notices) + self._next_update)
        self.pressed[query] = user_id
        message = {**source, "from": self.bot, "text": "Pressed"}
        given = {"id": query, "from": source["from"], "message": message, "chat_instance": "1", "data": data}
        return self.push({"callback_query": given})

    def react(self, chat_id: int, user_id: int, emoji: str, *, name: str = "") -> int:
        """Somebody reacts to a message."""
        source = self.message(chat_id, user_id, None, name=name)
        reaction = {
            "chat": source["chat"],
            "message_id": source["message_id"],
            "user": source["from"],
            "date": source["date"],
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": emoji}],
        }
        return self.push({"message_reaction": reaction})

    def migrate(self, chat_id: int, new_id: int, user_id: int) -> None:
        """A group becomes a supergroup."""
        self.chat(chat_id).error = BotApiError(
            400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new_id
        )
        self.say(chat_id, user_id, None, migrate_to_chat_id=new_id)
        self.say(new_id, user_id, None, migrate_from_chat_id=chat_id)

    async def wait_for(self, predicate: Callable[[TelegramServer], Any], seconds: float = 10) -> None:
        """Return as soon as `predicate(server)` holds; it is asked again whenever something happens."""
        async with asyncio.timeout(seconds):
            while not predicate(self):
                self._changed.clear()
                await self._changed.wait()

    # Serving

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/_control/"):
            action = self._control.get(path.removeprefix("/_control/"))
            return web.json_response(await action(request)) if action else web.Response(status=404)
        token, _, method = path.removeprefix("/bot").partition("/")
        if token != self.token:
            return _error(
                BotApiError(401 if ":" in token else 404, "Unauthorized" if ":" in token else "Not Found")
            )
        self.calls[method] += 1
        self._note()
        fault = self._faults[method].popleft() if self._faults.get(method) else None
        try:
            if fault is not None:
                fault.met.set()
                if fault.until is not None:
                    await self._hold(fault.until)
                if not fault.process:
                    return self._misbehave(request, fault)
            result = await self._serve(method, await _parameters(request))
            if fault is not None and (fault.status or fault.drop):
                return self._misbehave(request, fault)
        except BotApiError as error:
            return _error(error)
        finally:
            self._note()
        # ASCII JSON escapes lone surrogates, as the real server's JSON does.
        return web.Response(text=json.dumps({"ok": True, "result": result}), content_type="application/json")

    def _note(self) -> None:
        self.version += 1
        self._changed.set()

    async def _hold(self, until: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (until, self._dead)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    @staticmethod
    def _misbehave(request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        if fault.drop:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.Response(status=fault.status, text=fault.body, content_type=fault.content_type)

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

    def _complain(self, what: str) -> None:
        self.complaints.append(what)

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

    # Control from another process

    async def _control_say(self, request: web.BaseRequest) -> Any:
        return {"message_id": self.say(**json.loads(await request.read()))}

    async def _control_push(self, request: web.BaseRequest) -> Any:
        return {"update_id": self.push(json.loads(await request.read()))}

    async def _control_fault(self, request: web.BaseRequest) -> Any:
        """`{"method": "sendMessage", "fault": {"status": 502, …}, "times": 3}`, with the fields of `Fault`."""
        order = json.loads(await request.read())
        self.fault(order["method"], *(Fault(**order["fault"]) for _ in range(order.get("times", 1))))
        return {}

    async def _control_state(self, request: web.BaseRequest) -> Any:
        """Everything. With `?after=VERSION` it waits (up to 25 s) until there is something newer than that."""
        after = int(request.query.get("after", "-1"))
        with contextlib.suppress(TimeoutError):
            await self.wait_for(lambda _: self.version > after, 25)
        return {
            "version": self.version,
            "pending": len(self.pending),
            "calls": dict(self.calls),
            "complaints": self.complaints,
            "chats": {
                str(chat.id): [
                    {
                        "id": m.id,
                        "text": m.text,
                        "edits": len(m.history) - 1,
                        "file": m.file and [m.file.name, base64.b64encode(m.file.data).decode()],
                    }
                    for m in chat.messages.values()
                ]
                for chat in self.chats.values()
            },
        }


def _resolve(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(True)


def _error(error: BotApiError) -> web.Response:
    return web.Response(status=error.code, text=json.dumps(error.answer), content_type="application/json")


async def _parameters(request: web.BaseRequest) -> dict[str, Any]:
    """What was given, be it as JSON, form or multipart; in the latter two everything but text is JSON in a string."""
    if request.content_type == "application/json":
        body = await request.read()
        return dict(json.loads(body)) if body else {}
    if request.content_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return {}
    method = request.path.rpartition("/")[2]
    types = {name.lstrip("*"): type_ for name, type_ in METHODS.get(method, {}).items()}
    given = await _multipart(request) if "multipart" in request.content_type else dict(await request.post())
    return {
        name: value
        if types.get(name, str) is str or isinstance(value, Upload)
        else json.loads(str(value).replace("True", "true").replace("False", "false"))
        for name, value in given.items()
    }


async def _multipart(request: web.BaseRequest) -> dict[str, Any]:
    given: dict[str, Any] = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = b""
        while piece := await part.read_chunk():  # `read` takes no more than a megabyte
            data += piece
        given[part.name or ""] = data.decode() if part.filename is None else Upload(part.filename, data)
    return given


_FOUND = re.compile(
    r"(?<!\w)(?:(?P<bot_command>/[A-Za-z0-9_]{1,32}(?:@\w{3,32})?)|(?P<mention>@\w{3,32}))(?!\w)"
)


def _found_entities(text: str) -> list[dict[str, Any]]:
    if "/" not in text and "@" not in text:
        return []
    return [
        {"type": match.lastgroup, "offset": units(text[: match.start()]), "length": units(match[0])}
        for match in _FOUND.finditer(text)
    ]


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    arguments = parser.parse_args()
    server = await TelegramServer(arguments.token, port=arguments.port).start()
    print(json.dumps({"url": server.url, "token": server.token}), flush=True)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await server.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
