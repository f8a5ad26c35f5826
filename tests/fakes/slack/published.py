"""What Slack publishes of its Web API, as far as a bot like ours needs it: arguments, scopes and limits.

Read from the method reference (docs.slack.dev, August 2026): an argument that does not stand there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.messages.chunk import Chunk
from slack_sdk.models.metadata import Metadata

MARKDOWN = 12_000  # characters of markdown_text, and of all markdown blocks of a message together
TEXT = 40_000  # characters of `text` in a new message; Slack cuts off what is more
EDITED_TEXT = 4_000  # characters of `text` in chat.update
BLOCKS = 50
TABLE_ROWS, TABLE_COLUMNS = 100, 20

_CONTENT = {"text": str, "markdown_text": str, "blocks": list, "attachments": list, "metadata": dict}
_FACE = {"icon_emoji": str, "icon_url": str, "username": str}
_PAGE = {"cursor": str, "limit": int}
_SPAN = {**_PAGE, "oldest": str, "latest": str, "inclusive": bool, "include_all_metadata": bool}

# A star marks what must be there.
METHODS: dict[str, dict[str, type]] = {
    "api.test": {"error": str},
    "auth.test": {},
    "auth.revoke": {"test": bool},
    "apps.connections.open": {},
    "chat.postMessage": {
        "*channel": str,
        "thread_ts": str,
        "reply_broadcast": bool,
        "unfurl_links": bool,
        "unfurl_media": bool,
        "mrkdwn": bool,
        "link_names": bool,
        "parse": str,
        **_CONTENT,
        **_FACE,
    },
    "chat.postEphemeral": {
        "*channel": str,
        "*user": str,
        "thread_ts": str,
        "link_names": bool,
        "parse": str,
        **_CONTENT,
        **_FACE,
    },
    "chat.update": {
        "*channel": str,
        "*ts": str,
        "link_names": bool,
        "parse": str,
        "reply_broadcast": bool,
        **_CONTENT,
    },
    "chat.delete": {"*channel": str, "*ts": str},
    "chat.startStream": {
        "*channel": str,
        "thread_ts": str,
        "markdown_text": str,
        "chunks": list,
        "recipient_team_id": str,
        "recipient_user_id": str,
        "task_display_mode": str,
        **_FACE,
    },
    "chat.appendStream": {"*channel": str, "*ts": str, "markdown_text": str, "chunks": list},
    "chat.stopStream": {
        "*channel": str,
        "*ts": str,
        "markdown_text": str,
        "chunks": list,
        "blocks": list,
        "metadata": dict,
    },
    "assistant.threads.setStatus": {
        "*channel_id": str,
        "*thread_ts": str,
        "*status": str,
        "loading_messages": list,
        **_FACE,
    },
    "assistant.threads.setTitle": {"*channel_id": str, "*thread_ts": str, "*title": str},
    "assistant.threads.setSuggestedPrompts": {
        "*channel_id": str,
        "*prompts": list,
        "thread_ts": str,
        "title": str,
    },
    "conversations.history": {"*channel": str, **_SPAN},
    "conversations.replies": {"*channel": str, "*ts": str, **_SPAN},
    "conversations.list": {"exclude_archived": bool, "team_id": str, "types": str, **_PAGE},
    "users.conversations": {"exclude_archived": bool, "team_id": str, "types": str, "user": str, **_PAGE},
    "conversations.info": {"*channel": str, "include_locale": bool, "include_num_members": bool},
    "conversations.members": {"*channel": str, **_PAGE},
    "conversations.open": {"channel": str, "users": str, "return_im": bool, "prevent_creation": bool},
    "conversations.leave": {"*channel": str},
    "files.getUploadURLExternal": {
        "*filename": str,
        "*length": int,
        "alt_txt": str,
        "snippet_type": str,
    },
    "files.completeUploadExternal": {
        "*files": list,
        "channel_id": str,
        "channels": str,
        "initial_comment": str,
        "thread_ts": str,
    },
    "users.info": {"*user": str, "include_locale": bool},
    "bots.info": {"bot": str, "team_id": str},
    "team.info": {"team": str, "domain": str},
    "oauth.v2.access": {"code": str, "redirect_uri": str, "grant_type": str, "refresh_token": str},
}

# A scope that is needed whatever the channel; those of conversations go by its kind, see `scope_of`.
SCOPES = {
    "assistant.threads.setStatus": "chat:write",
    "assistant.threads.setTitle": "assistant:write",
    "assistant.threads.setSuggestedPrompts": "assistant:write",
    "users.info": "users:read",
    "bots.info": "users:read",
    "team.info": "team:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    **{method: "chat:write" for method in METHODS if method.startswith("chat.")},
}
_FAMILY = {"im": "im", "mpim": "mpim", "private": "groups", "channel": "channels"}
ALL_SCOPES = tuple(
    sorted(
        {
            "app_mentions:read",
            "assistant:write",
            "chat:write",
            "commands",
            "files:read",
            "files:write",
            "im:write",
            "mpim:write",
            "groups:write",
            "channels:manage",
            "team:read",
            "users:read",
            *(f"{family}:{what}" for family in _FAMILY.values() for what in ("history", "read")),
        }
    )
)


def scope_of(method: str, kind: str) -> str:
    """The scope that `method` needs in a conversation of this kind; "" for none."""
    if method in ("conversations.history", "conversations.replies"):
        return f"{_FAMILY[kind]}:history"
    if method in ("conversations.info", "conversations.members"):
        return f"{_FAMILY[kind]}:read"
    if method == "conversations.leave":
        return "channels:manage" if kind == "channel" else f"{_FAMILY[kind]}:write"
    return SCOPES.get(method, "")


class Misuse(Exception):
    """A request that no client should make; it fails the test. `error` is what Slack answers it with."""

    def __init__(self, message: str, error: str = "invalid_arguments") -> None:
        super().__init__(message)
        self.error = error


def arguments(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in their types. Raises `Misuse` for an unknown one, a wrong type, or a missing one."""
    known = METHODS[method]
    types = {name.lstrip("*"): type_ for name, type_ in known.items()}
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name not in types:
            raise Misuse(f"{method} has no argument {name}")
        read[name] = _typed(method, name, value, types[name])
    for name in known:
        if name.startswith("*") and name[1:] not in read:
            raise Misuse(f"{method} without {name[1:]}")
    return read


def _typed(method: str, name: str, value: Any, type_: type) -> Any:
    """A value of a JSON body, or its text in a form or an address."""
    if isinstance(value, str) and type_ is not str:
        try:
            value = (
                {"true": True, "false": False}[value]
                if type_ is bool and value[:1] in "tf"
                else json.loads(value)
            )
        except (ValueError, KeyError):
            raise Misuse(f"{method}.{name} is no {type_.__name__}") from None
        if type_ is bool and value in (0, 1):
            value = bool(value)
    if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
        raise Misuse(f"{method}.{name} is {type(value).__name__}, not {type_.__name__}")
    return value


def blocks(given: Sequence[Mapping[str, Any]]) -> str:
    """What people read in these blocks. Raises `Misuse` for what Slack, or its own SDK's models, would not take."""
    if not given or len(given) > BLOCKS:
        raise Misuse(f"{len(given)} blocks", "invalid_blocks")
    shown = []
    for block in given:
        parsed = Block.parse(dict(block))
        if parsed is None:
            raise Misuse(f"an unknown block {block.get('type')}", "invalid_blocks")
        if unknown := set(block) - set(parsed.attributes) - {"type", "block_id"}:
            raise Misuse(f"a {block['type']} block has no {unknown}", "invalid_blocks")
        try:
            parsed.to_dict()
        except SlackObjectFormationError as exc:
            raise Misuse(f"a {block['type']} block: {exc}", "invalid_blocks") from exc
        shown.append(_shown(block))
    tables = [block for block in given if block["type"] == "table"]
    if len(tables) > 1 or any(
        len(t["rows"]) > TABLE_ROWS or any(len(row) > TABLE_COLUMNS for row in t["rows"]) for t in tables
    ):
        raise Misuse("more tables, rows or columns than a message can have", "invalid_blocks")
    if sum(len(block["text"]) for block in given if block["type"] == "markdown") > MARKDOWN:
        raise Misuse("markdown blocks of more than 12,000 characters", "msg_blocks_too_long")
    return "\n\n".join(text for text in shown if text)


def buttons(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The buttons in these blocks."""
    return [
        dict(element)
        for block in given
        if block["type"] == "actions"
        for element in block["elements"]
        if element["type"] == "button"
    ]


def _shown(block: Mapping[str, Any]) -> str:
    match block["type"]:
        case "markdown":
            return str(block["text"])
        case "section" | "header":
            fields = [field["text"] for field in block.get("fields") or []]
            return "\n".join(([block["text"]["text"]] if block.get("text") else []) + fields)
        case "table":
            return "\n".join(" | ".join(_flat(cell) for cell in row) for row in block["rows"])
        case "divider":
            return "---"
        case "actions":
            return ""
        case _:
            return _flat(block)


def _flat(thing: Any) -> str:
    """The words somewhere inside a rich text or a context."""
    if isinstance(thing, Mapping):
        if isinstance(thing.get("text"), str):
            return str(thing["text"])
        return "".join(_flat(thing[key]) for key in ("text", "elements", "url") if key in thing)
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return "".join(_flat(part) for part in thing)
    return ""


def chunks(given: Sequence[Mapping[str, Any]]) -> str:
    """The text that streamed chunks add; tasks and plans add none."""
    text = ""
    for chunk in given:
        parsed = Chunk.parse(dict(chunk))
        if parsed is None or set(chunk) - set(parsed.attributes) - {"type"}:
            raise Misuse(f"an unknown chunk {chunk.get('type')}", "invalid_chunks")
        parsed.to_dict()
        text += chunk["text"] if chunk["type"] == "markdown_text" else ""
    return text


def metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as it is kept. Raises `Misuse` for what has not the form of the SDK's model."""
    if given and set(given) != {"event_type", "event_payload"}:
        raise Misuse(f"metadata of {sorted(given)}", "invalid_metadata_format")
    if given:
        Metadata(**given).to_dict()
        if not isinstance(given["event_type"], str) or not isinstance(given["event_payload"], dict):
            raise Misuse("metadata of wrong types", "invalid_metadata_schema")
    return dict(given)
