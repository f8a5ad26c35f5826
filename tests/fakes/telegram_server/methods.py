"""The Bot API's wire: its methods and their parameters, its limits, its refusals, and how requests come."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

MAX_CHARS = 4096
MAX_CAPTION = 1024
MAX_FILE = 50_000_000
MOST_NOTICE = 200  # characters of an answer to a pressed button


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


async def parameters(request: web.BaseRequest) -> dict[str, Any]:
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
