"""Slack's Web API as our adapter uses it: each method checks what it is given and does in a `Workspace` what Slack would."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.slack import published
from tests.fakes.slack.published import Misuse
from tests.fakes.slack.workspace import Channel, File, Message, Whisper, Workspace, new_ts


class Refusal(Exception):
    """An answer with `ok: false`."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.answer = {"ok": False, "error": error, **more}


class WebApi:
    """The methods that work on one workspace. `serve` is called with arguments that are checked already."""

    def __init__(self) -> None:
        self.url = ""  # the server's own
        self.page = 100  # messages or conversations of one answer, at most
        self._cursors: dict[str, Sequence[Any]] = {}
        self._serial = itertools.count(1)

    def serve(self, method: str, team: Workspace, given: dict[str, Any]) -> dict[str, Any]:
        """The answer without its `ok`. Raises `Refusal` for what Slack refuses, `Misuse` for what nobody should ask."""
        place = self._place(team, given.get("channel") or given.get("channel_id") or "", method)
        scope = published.scope_of(method, place.kind if place else "channel")
        if scope and scope not in team.scopes:
            raise Refusal("missing_scope", needed=scope, provided=",".join(sorted(team.scopes)))
        handler = getattr(self, "_" + method.replace(".", "_"))
        for name in ("channel", "channel_id"):
            given.pop(name, None)
        answer: dict[str, Any] = handler(team, place, **given) if place else handler(team, **given)
        return answer

    @staticmethod
    def _place(team: Workspace, channel: str, method: str) -> Channel | None:
        if not channel:
            return None
        if channel.startswith("U") and method == "chat.postMessage" and channel in team.people:
            return team.direct(channel)
        place = team.channels.get(channel)
        if place is None:
            raise Refusal("channel_not_found")
        if place.error:
            raise Refusal(place.error)
        if not place.joined and not method.startswith("conversations.info"):
            raise Refusal("not_in_channel" if place.kind == "channel" else "channel_not_found")
        return place

    # Who we are

    def _auth_test(self, team: Workspace) -> dict[str, Any]:
        return {
            "url": f"https://{team.id.lower()}.slack.example/",
            "team": team.name,
            "user": "boswell",
            "team_id": team.id,
            "user_id": team.bot,
            "bot_id": team.bot_id,
            "is_enterprise_install": False,
            **({"enterprise_id": team.enterprise} if team.enterprise else {}),
        }

    def _auth_revoke(self, team: Workspace, test: bool = False) -> dict[str, Any]:
        if not test:
            team.tokens = dict.fromkeys(team.tokens, "token_revoked")
        return {"revoked": not test}

    def _team_info(self, team: Workspace, **_: str) -> dict[str, Any]:
        return {"team": {"id": team.id, "name": team.name, "domain": team.id.lower()}}

    def _bots_info(self, team: Workspace, bot: str = "", **_: str) -> dict[str, Any]:
        if bot != team.bot_id:
            raise Refusal("bot_not_found")
        return {
            "bot": {"id": bot, "app_id": team.app, "user_id": team.bot, "name": "boswell", "deleted": False}
        }

    def _users_info(self, team: Workspace, user: str, include_locale: bool = False) -> dict[str, Any]:
        if user not in team.people:
            raise Refusal("user_not_found")
        person = dict(team.people[user])
        if not include_locale:
            person.pop("locale", None)
        return {"user": person}

    # Messages

    def _chat_postMessage(  # noqa: N802 - Slack's name
        self, team: Workspace, place: Channel, *, thread_ts: str = "", **content: Any
    ) -> dict[str, Any]:
        if thread_ts and thread_ts not in place.messages:
            raise Refusal("thread_not_found")
        text, given = self._content(content, published.TEXT)
        message = Message(
            new_ts(),
            team.bot,
            text,
            self._root(place, thread_ts),
            history=[text],
            ours=True,
            notification=content.get("text", ""),
            blocks=given,
            metadata=published.metadata(content.get("metadata") or {}),
        )
        place.messages[message.ts] = message
        if thread_ts:
            place.statuses.append((message.thread_ts, ""))  # a reply ends the status
        team.echo(place, message)
        return {
            "channel": place.id,
            "ts": message.ts,
            "message": {"type": "message", **team.dump(message, place)},
        }

    def _chat_update(self, team: Workspace, place: Channel, *, ts: str, **content: Any) -> dict[str, Any]:
        message = self._ours(place, ts, "cant_update_message")
        if message.state == "streaming":
            raise Refusal("streaming_state_conflict")
        before = team.dump(message, place)
        message.text, message.blocks = self._content(content, published.EDITED_TEXT)
        message.history.append(message.text)
        message.notification = content.get("text", "")
        if "metadata" in content:
            message.metadata = published.metadata(content["metadata"])
        if not team.quiet:
            team.changed(place, message, before)
        return {"channel": place.id, "ts": ts, "text": message.text, "message": team.dump(message, place)}

    def _chat_delete(self, team: Workspace, place: Channel, *, ts: str) -> dict[str, Any]:
        self._ours(place, ts, "cant_delete_message")
        del place.messages[ts]
        return {"channel": place.id, "ts": ts}

    def _chat_postEphemeral(  # noqa: N802 - Slack's name
        self, team: Workspace, place: Channel, *, user: str, thread_ts: str = "", **content: Any
    ) -> dict[str, Any]:
        if user not in place.members:
            raise Refusal("user_not_in_channel")
        text, _ = self._content(content, published.TEXT)
        place.whispers.append(Whisper(user, text, thread_ts))
        return {"message_ts": new_ts()}

    def _content(self, given: Mapping[str, Any], most: int) -> tuple[str, list[dict[str, Any]]]:
        """What people will read, and the blocks."""
        text, markdown, parts = (
            given.get("text", ""),
            given.get("markdown_text", ""),
            given.get("blocks") or [],
        )
        if markdown and (text or parts):
            raise Misuse("markdown_text beside text or blocks", "markdown_text_conflict")
        if given.get("attachments"):
            raise Misuse("attachments, which our adapter has no use for")
        shown = published.blocks(parts) if parts else markdown or text
        if not shown.strip():
            raise Refusal("no_text")
        if len(markdown) > published.MARKDOWN or len(text) > most:
            raise Refusal("msg_too_long")
        _well_formed(shown)
        return shown, [dict(block) for block in parts]

    @staticmethod
    def _root(place: Channel, thread_ts: str) -> str:
        """The thread's first message: a reply to a reply is a reply to that."""
        return (place.messages[thread_ts].thread_ts or thread_ts) if thread_ts else ""

    @staticmethod
    def _ours(place: Channel, ts: str, foreign: str) -> Message:
        message = place.messages.get(ts)
        if message is None:
            raise Refusal("message_not_found")
        if not message.ours:
            raise Refusal(foreign)
        return message

    # Files

    def _files_getUploadURLExternal(  # noqa: N802 - Slack's name
        self, team: Workspace, *, filename: str, length: int, **_: str
    ) -> dict[str, Any]:
        if length <= 0:
            raise Misuse("a file of no length")
        file = File(f"F{next(self._serial):08d}", filename, length)
        team.files[file.id] = file
        return {"upload_url": f"{self.url}/upload/v1/{team.id}/{file.id}", "file_id": file.id}

    def _files_completeUploadExternal(  # noqa: N802 - Slack's name
        self,
        team: Workspace,
        place: Channel,
        *,
        files: list[Any],
        initial_comment: str = "",
        thread_ts: str = "",
    ) -> dict[str, Any]:
        if thread_ts and thread_ts not in place.messages:
            raise Refusal("thread_not_found")
        if any(set(each) - {"id", "title", "highlight_type"} for each in files):
            raise Misuse("files with more than Slack knows")
        uploaded = [team.files.get(each["id"]) for each in files]
        found = [file for file in uploaded if file is not None and file.data is not None]
        if not found or len(found) < len(uploaded):
            raise Refusal("file_not_found")
        if any(file.shown for file in found):
            raise Misuse("a file that was completed before")
        _well_formed(initial_comment)
        root = self._root(place, thread_ts)
        message = Message(
            new_ts(), team.bot, initial_comment, root, history=[initial_comment], ours=True, files=found
        )
        for file in found:
            file.shown = True
        place.messages[message.ts] = message
        team.echo(place, message)
        return {"files": [{"id": file.id, "title": file.name} for file in found]}

    # Streams

    def _chat_startStream(  # noqa: N802 - Slack's name
        self,
        team: Workspace,
        place: Channel,
        *,
        thread_ts: str = "",
        recipient_team_id: str = "",
        recipient_user_id: str = "",
        task_display_mode: str = "timeline",
        **content: Any,
    ) -> dict[str, Any]:
        if place.kind != "im":
            if not recipient_team_id:
                raise Misuse(
                    "a stream to a channel without its recipient's team", "missing_recipient_team_id"
                )
            if not recipient_user_id:
                raise Misuse("a stream to a channel without its recipient", "missing_recipient_user_id")
            if recipient_user_id not in place.members:
                raise Refusal("user_not_found")
            if recipient_team_id != team.id:
                raise Refusal("team_not_found")
        if not thread_ts:
            raise Misuse("a stream that is no reply", "invalid_arguments")
        if thread_ts not in place.messages:
            raise Refusal("thread_not_found")
        text = self._streamed(content)
        root = self._root(place, thread_ts)
        message = Message(
            new_ts(), team.bot, text, root, history=[text], ours=True, state="streaming", notification=text
        )
        place.messages[message.ts] = message
        place.statuses.append((root, ""))
        return {"channel": place.id, "ts": message.ts}

    def _chat_appendStream(  # noqa: N802 - Slack's name
        self, team: Workspace, place: Channel, *, ts: str, **content: Any
    ) -> dict[str, Any]:
        message = self._streaming(place, ts)
        if not content.get("markdown_text") and not content.get("chunks"):
            raise Misuse("nothing to append", "no_text")
        self._append(message, self._streamed(content))
        return {"channel": place.id, "ts": ts}

    def _chat_stopStream(  # noqa: N802 - Slack's name
        self,
        team: Workspace,
        place: Channel,
        *,
        ts: str,
        metadata: Any = None,
        blocks: Any = None,
        **content: Any,
    ) -> dict[str, Any]:
        message = self._streaming(place, ts)
        below = published.blocks(blocks) if blocks else ""
        self._append(message, self._streamed(content))
        if not (message.text + below).strip():
            raise Refusal("no_text")
        if below:
            message.text = f"{message.text}\n\n{below}"
        message.blocks = [dict(block) for block in blocks or []]
        message.metadata = published.metadata(metadata or {})
        message.state = "stopped"
        team.echo(place, message)
        return {"channel": place.id, "ts": ts, "message": {"type": "message", **team.dump(message, place)}}

    def _streaming(self, place: Channel, ts: str) -> Message:
        message = self._ours(place, ts, "message_not_owned_by_app")
        if message.state != "streaming":
            raise Refusal("message_not_in_streaming_state")
        return message

    @staticmethod
    def _streamed(content: Mapping[str, Any]) -> str:
        markdown, parts = content.get("markdown_text", ""), content.get("chunks") or []
        if markdown and parts:
            raise Misuse("markdown_text beside chunks", "invalid_arguments")
        if len(markdown) > published.MARKDOWN:
            raise Refusal("msg_too_long")
        text = markdown or published.chunks(parts)
        _well_formed(text)
        return str(text)

    @staticmethod
    def _append(message: Message, text: str) -> None:
        if len(message.text) + len(text) > published.MARKDOWN:
            raise Refusal("msg_too_long")
        if text:
            message.text += text
            message.history.append(message.text)

    # Assistant threads

    def _assistant_threads_setStatus(  # noqa: N802 - Slack's name
        self,
        team: Workspace,
        place: Channel,
        *,
        thread_ts: str,
        status: str,
        loading_messages: Any = (),
        **_: str,
    ) -> dict[str, Any]:
        self._thread(place, thread_ts)
        place.statuses.append((thread_ts, status))
        return {}

    def _assistant_threads_setTitle(  # noqa: N802 - Slack's name
        self, team: Workspace, place: Channel, *, thread_ts: str, title: str
    ) -> dict[str, Any]:
        self._thread(place, thread_ts)
        place.titles[thread_ts] = title
        return {}

    def _assistant_threads_setSuggestedPrompts(  # noqa: N802 - Slack's name
        self, team: Workspace, place: Channel, *, prompts: list[Any], thread_ts: str = "", title: str = ""
    ) -> dict[str, Any]:
        if thread_ts:
            self._thread(place, thread_ts)
        if not 1 <= len(prompts) <= 4 or any(set(prompt) != {"title", "message"} for prompt in prompts):
            raise Misuse("prompts that are none, too many, or not of a title and a message")
        place.prompts = prompts
        return {}

    @staticmethod
    def _thread(place: Channel, thread_ts: str) -> None:
        if thread_ts not in place.messages:
            raise Refusal("invalid_thread_ts")

    # Conversations

    def _conversations_history(
        self, team: Workspace, place: Channel, *, include_all_metadata: bool = False, **span: Any
    ) -> dict[str, Any]:
        found = [m for m in place.messages.values() if m.thread_ts in ("", m.ts)]
        return self._messages(team, place, found[::-1], include_all_metadata, span)

    def _conversations_replies(
        self, team: Workspace, place: Channel, *, ts: str, include_all_metadata: bool = False, **span: Any
    ) -> dict[str, Any]:
        if ts not in place.messages:
            raise Refusal("thread_not_found")
        return self._messages(team, place, place.thread(self._root(place, ts)), include_all_metadata, span)

    def _messages(
        self, team: Workspace, place: Channel, found: list[Message], metadata: bool, span: Mapping[str, Any]
    ) -> dict[str, Any]:
        oldest, latest = span.get("oldest") or "0", span.get("latest") or "9" * 20
        inclusive = span.get("inclusive", False)

        def within(message: Message) -> bool:
            at = float(message.ts)
            inside = float(oldest) < at < float(latest)
            return inside or (inclusive and message.ts in (oldest, latest))

        wanted = [{"type": "message", **team.dump(m, place, metadata=metadata)} for m in found if within(m)]
        items, cursor = self._page(wanted, span.get("cursor", ""), span.get("limit"))
        return {
            "messages": items,
            "has_more": bool(cursor),
            "pin_count": 0,
            "response_metadata": {"next_cursor": cursor},
        }

    def _conversations_list(
        self, team: Workspace, *, types: str = "public_channel", **given: Any
    ) -> dict[str, Any]:
        names = {"channel": "public_channel", "private": "private_channel", "im": "im", "mpim": "mpim"}
        self._readable(team, types)
        found = [
            self._info(team, place)
            for place in team.channels.values()
            if names[place.kind] in types.split(",") and (place.joined or place.kind == "channel")
        ]
        items, cursor = self._page(found, given.get("cursor", ""), given.get("limit"))
        return {"channels": items, "response_metadata": {"next_cursor": cursor}}

    def _users_conversations(self, team: Workspace, *, user: str = "", **given: Any) -> dict[str, Any]:
        if user not in ("", team.bot):
            raise Misuse("another's conversations")
        answer = self._conversations_list(team, **given)
        answer["channels"] = [item for item in answer["channels"] if team.channels[item["id"]].joined]
        return answer

    @staticmethod
    def _readable(team: Workspace, types: str) -> None:
        family = {"public_channel": "channels", "private_channel": "groups", "im": "im", "mpim": "mpim"}
        for kind in types.split(","):
            if f"{family[kind]}:read" not in team.scopes:
                provided = ",".join(sorted(team.scopes))
                raise Refusal("missing_scope", needed=f"{family[kind]}:read", provided=provided)

    def _conversations_info(self, team: Workspace, place: Channel, **_: Any) -> dict[str, Any]:
        return {"channel": self._info(team, place)}

    def _conversations_members(self, team: Workspace, place: Channel, **given: Any) -> dict[str, Any]:
        items, cursor = self._page(sorted(place.members), given.get("cursor", ""), given.get("limit"))
        return {"members": items, "response_metadata": {"next_cursor": cursor}}

    def _conversations_open(
        self, team: Workspace, place: Channel | None = None, *, users: str = "", **_: Any
    ) -> dict[str, Any]:
        if place is None:
            if "im:write" not in team.scopes:
                raise Refusal("missing_scope", needed="im:write", provided=",".join(sorted(team.scopes)))
            if users not in team.people:
                raise Refusal("user_not_found")
            place = team.direct(users)
        return {"channel": {"id": place.id}}

    def _conversations_leave(self, team: Workspace, place: Channel) -> dict[str, Any]:
        if place.kind == "im":
            raise Refusal("method_not_supported_for_channel_type")
        place.joined = False
        return {}

    @staticmethod
    def _info(team: Workspace, place: Channel) -> dict[str, Any]:
        common = {"id": place.id, "created": 1, "is_archived": False, "context_team_id": team.id}
        if place.kind == "im":
            return {**common, "is_im": True, "user": next(iter(place.members), "USLACKBOT")}
        return {
            **common,
            "name": place.name,
            "is_channel": place.kind == "channel",
            "is_group": place.kind == "private",
            "is_mpim": place.kind == "mpim",
            "is_private": place.kind != "channel",
            "is_im": False,
            "is_member": place.joined,
        }

    def _page(self, items: Sequence[Any], cursor: str, limit: int | None) -> tuple[list[Any], str]:
        """One page, and the cursor of the next."""
        if cursor:
            if cursor not in self._cursors:
                raise Refusal("invalid_cursor")
            items = self._cursors[cursor]
        if limit is not None and not 1 <= limit <= 1000:
            raise Misuse(f"a limit of {limit}", "invalid_limit")
        most = min(limit or self.page, self.page)
        if len(items) <= most:
            return list(items), ""
        following = f"cursor{next(self._serial)}="
        self._cursors[following] = items[most:]
        return list(items[:most]), following


def _well_formed(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Misuse("a lone surrogate", "invalid_arguments") from None
