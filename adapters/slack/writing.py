"""The verbs that write: messages and their edits, streams, private answers, and looking whether a message stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from adapters.base import Button, Chat, ChatGone, MessageGone, Refused, State, Unavailable
from adapters.slack.client import Answer, Client, LostAccess, Rejected
from adapters.slack.formatting import MAX_CHARS, content, length, plain_content, settled
from adapters.slack.installations import DEAD, Installations, OneWorkspace, Workspace
from adapters.slack.rooms import Rooms
from adapters.slack.streams import EVENT, Streams
from adapters.slack.updates import Origin, parse_recipient, parse_via, split_chat
from adapters.slack.uploads import Uploads

_UNFURL = {"unfurl_links": False, "unfurl_media": False}
_LITERAL = {"parse": "none", "link_names": False}
_STATUS = "is thinking…"  # Slack puts our name before it
_PAGES = 5  # of 200 messages, looked through for one of ours
_LOOK_BACK = 3 * 86_400.0  # seconds
_PRIVATE = (
    "private:"  # begins the id of a private answer; behind it how to give it, where that is still to be done
)
_MOST_TOLD = 1_000


class Writer:
    """Writes with the token of the chat's workspace. Raises `Unavailable` until `workspaces` has started."""

    def __init__(
        self, client: Client, workspaces: OneWorkspace | Installations, rooms: Rooms, state: State
    ) -> None:
        self._client = client
        self._workspaces = workspaces
        self._rooms = rooms
        self._told: dict[str, None] = {}  # ids of private answers that were given
        self.streams = Streams(state)
        self.uploads = Uploads(client, state)
        self.ready = False

    async def post(
        self,
        chat: Chat,
        text: str,
        *,
        key: str,
        via: str,
        buttons: Sequence[Button],
        more: bool,
    ) -> str:
        _check(text)
        call, _ = await self._caller(chat)
        if via.startswith("reply:"):
            if not more:
                await self._answer(call, chat, text, via, buttons)
            return f"{_PRIVATE}{via if more else ''}"
        recipient = parse_recipient(via)
        if more and chat.thread and all(recipient) and settled(text).strip():
            # Streaming may be barred there, or for this person (of another organisation); an ordinary message is not
            with suppress(Refused, ChatGone, MessageGone):
                ts = await self.streams.begin(call, chat, text, key=key, recipient=recipient)
                await self._rooms.joined(chat, ts)
                return ts
        metadata = {"event_type": EVENT, "event_payload": {"key": key}}
        ts = await self._said(
            partial(call, "chat_postMessage", **_UNFURL, metadata=metadata), chat, text, buttons
        )
        await self._rooms.joined(chat, ts)
        return ts

    async def _said(self, call: Callable[..., Any], chat: Chat, text: str, buttons: Sequence[Button]) -> str:
        arguments: dict[str, Any] = {"channel": split_chat(chat)[1], **_LITERAL}
        if chat.thread:
            arguments["thread_ts"] = chat.thread
        answer = await _either(partial(call, **arguments), text, buttons)
        ts = answer.get("ts") or answer.get("message_ts")
        if not isinstance(ts, str):
            raise Unavailable("Slack's answer to chat.postMessage is no message", ambiguous=True)
        return ts

    async def edit(
        self, chat: Chat, message_id: str, text: str, *, final: bool, buttons: Sequence[Button]
    ) -> None:
        _check(text)
        call, _ = await self._caller(chat)
        if message_id.startswith(_PRIVATE):
            via = message_id.removeprefix(_PRIVATE)
            if final and via and message_id not in self._told:
                await self._answer(call, chat, text, via, buttons)
                self._told[message_id] = None
                if len(self._told) > _MOST_TOLD:
                    del self._told[next(iter(self._told))]
            return
        if final:
            if await self.streams.finish(call, chat, message_id, text, buttons):
                return
        elif await self.streams.grow(call, chat, message_id, text):
            return
        channel = split_chat(chat)[1]
        await _either(partial(call, "chat_update", channel=channel, ts=message_id, **_LITERAL), text, buttons)

    async def send_file(self, chat: Chat, path: Path, text: str, *, key: str, via: str) -> str:
        call, _ = await self._caller(chat)
        channel, thread = split_chat(chat)[1], chat.thread
        if via.startswith("reply:"):  # what one person alone sees can hold no file
            channel, thread = await self._direct(call, parse_via(via)[0]), ""
        elif chat.kind == "group":
            raise ChatGone("a file is for one person, and in a Slack channel all would see it")
        return await self.uploads.send(call, channel, thread, path, text, key)

    async def find(self, chat: Chat, key: str) -> str | None:
        ts, since = await self.streams.find(key)
        if ts:
            return ts
        call, workspace = await self._caller(chat)
        if await self.uploads.begun(key):
            return await self.uploads.find(call, key)
        channel = split_chat(chat)[1]
        arguments: dict[str, Any] = {
            "channel": channel,
            "limit": 200,
            "oldest": f"{time.time() - _LOOK_BACK:.6f}",
            "include_all_metadata": True,
        }
        method = "conversations_history"
        if chat.thread:
            method, arguments["ts"] = "conversations_replies", chat.thread
        for _ in range(_PAGES):
            try:
                answer = await call(method, **arguments)
            except (LostAccess, Refused):
                return None  # we may not look; that it stands twice is the lesser evil
            for each in answer.get("messages") or ():
                if each.get("user") != workspace.bot_user and each.get("bot_id") != workspace.bot_id:
                    continue
                metadata = each.get("metadata") or {}
                if (metadata.get("event_payload") or {}).get("key") == key:
                    return str(each["ts"])
                if (
                    since
                    and not metadata
                    and float(each["ts"]) > since - 60
                    and not self.streams.knows(chat, each["ts"])
                ):
                    # Killed after the stream was begun and before its ts was kept: this can only be that stream
                    await self.streams.adopt(chat, str(each["ts"]), key)
                    return str(each["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            arguments["cursor"] = cursor
        return None

    async def typing(self, chat: Chat) -> None:
        """The status line of a thread. Slack shows it for two minutes, or until we post; elsewhere there is none."""
        if not chat.thread:
            return
        call, _ = await self._caller(chat)
        channel = split_chat(chat)[1]
        with suppress(Refused):
            await call(
                "assistant_threads_setStatus", channel_id=channel, thread_ts=chat.thread, status=_STATUS
            )

    async def leave(self, chat: Chat) -> None:
        if chat.kind == "group":
            call, _ = await self._caller(chat)
            with suppress(Refused):  # it can not be left: the general channel, a group conversation
                await call("conversations_leave", channel=split_chat(chat)[1])

    # Private answers. They can not be changed (in place of a button's message, all would see it), so they are sent once whole.

    async def _answer(
        self, call: Callable[..., Any], chat: Chat, text: str, via: str, buttons: Sequence[Button]
    ) -> None:
        """To the asker alone: by the interaction's address, else as an ephemeral message, else directly."""
        user, until, url = parse_via(via)
        if url and time.time() < until:
            with suppress(Refused):
                await self._respond(url, text, buttons)
                return
        with suppress(Refused, ChatGone):
            await self._said(partial(call, "chat_postEphemeral", user=user), chat, text, buttons)
            return
        direct = await self._direct(call, user)
        await _either(partial(call, "chat_postMessage", channel=direct, **_UNFURL, **_LITERAL), text, buttons)

    async def _direct(self, call: Callable[..., Any], user: str) -> str:
        """The direct messages with a person."""
        try:
            opened = await call("conversations_open", users=user)
        except LostAccess as exc:
            if exc.code != "missing_scope":
                raise
            # It would wait for a scope that may never come, and hold up all that is said there
            raise ChatGone(f"there is no way left to answer one person alone: {exc}") from exc
        channel = (opened.get("channel") or {}).get("id")
        if not isinstance(channel, str):
            raise Unavailable("Slack's answer to conversations.open is no conversation")
        return channel

    async def _respond(self, url: str, text: str, buttons: Sequence[Button]) -> None:
        how = {"response_type": "ephemeral", "replace_original": False}
        try:
            await self._client.respond(url, {**how, **content(text, buttons)})
        except Rejected as exc:
            if exc.code in ("expired_url", "used_url"):
                raise
            await self._client.respond(url, {**how, **plain_content(text, buttons)})

    # Tokens

    async def _caller(self, chat: Chat) -> tuple[Callable[..., Any], Workspace]:
        if not self.ready:
            raise Unavailable("Slack is not connected")
        team = split_chat(chat)[0]
        workspace = await self._workspaces.of(team)
        if workspace is None:
            if not self._workspaces.several:
                raise Unavailable("Slack is not connected")
            raise ChatGone(f"the app is not installed in the Slack workspace {team} (any more)")
        return partial(self._call, workspace, team), workspace

    async def _call(self, workspace: Workspace, team: str, method: str, **arguments: Any) -> Answer:
        try:
            return await self._client(method, workspace.token, **arguments)
        except LostAccess as exc:
            if exc.code not in DEAD or not self._workspaces.several:
                raise
            await self._workspaces.drop(Origin(workspace.enterprise, team, workspace.org_wide))
            raise ChatGone(f"the app was removed from the Slack workspace {team}") from exc


async def _either(call: Callable[..., Any], text: str, buttons: Sequence[Button]) -> Answer:
    """Make the call with formatted content; what Slack will not take so goes out plain."""
    answer: Answer
    try:
        answer = await call(**content(text, buttons))
    except Rejected:
        answer = await call(**plain_content(text, buttons))
    return answer


def _check(text: str) -> None:
    if not text.strip() or not plain_content(text)["blocks"]:
        raise Refused("Slack takes no message without words")
    if length(text) > MAX_CHARS:
        raise Refused(f"Slack takes texts of up to {MAX_CHARS} characters, this one may need {length(text)}")
