"""The scripted Discord's REST API: every route that it knows, as strict as the real one and stricter about what it does not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

from tests.fakes.discord_server.calls import Call, route
from tests.fakes.discord_server.gateway import Gateway, application_flags
from tests.fakes.discord_server.state import (
    ATTACH,
    DM,
    EPHEMERAL,
    FORUM,
    LOADING,
    READ_HISTORY,
    SEND,
    SEND_IN_THREADS,
    THREADS,
    VIEW,
    ApiError,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Json,
    Message,
    State,
    invalid,
)

MAX_CHARS = 2000
TOKEN_LIVES, ACK_WITHIN = 15 * 60, 3.0  # seconds, of an interaction
HOUR = 3600.0


class Rest:
    """The API: one method per route."""

    def __init__(self, state: State, gateway: Gateway) -> None:
        self.state = state
        self.gateway = gateway
        self.syncs = 0  # how often the commands were overwritten
        self.when_registered: list[Callable[[], object]] = []  # what people do as soon as there are commands
        self.repeats = 0  # posts that a nonce kept from standing twice
        self.nonce_window = 300.0  # seconds; Discord says "the past few minutes"
        self.old_edits = 3  # edits of hour-old messages before 30046, per channel
        self._old_edits: defaultdict[int, int] = defaultdict(int)
        self._nonces: dict[str, tuple[float, Message]] = {}

    # Ourselves

    @route("GET", "/users/@me")
    def get_me(self, _: Call) -> Json:
        return {**self.state.bot.json(), "verified": True, "mfa_enabled": False, "flags": 0}

    @route("GET", "/oauth2/applications/@me")
    def get_oauth_application(self, _: Call) -> Json:
        return self._application()

    @route("GET", "/applications/@me")
    def get_application(self, _: Call) -> Json:
        return self._application()

    def _application(self) -> Json:
        return {
            "id": str(self.state.bot.id),
            "name": "Boswell",
            "description": "",
            "icon": None,
            "bot_public": True,
            "bot_require_code_grant": False,
            "owner": self.state.user(1, "Operator").json(),
            "team": None,
            "verify_key": "0" * 64,
            "flags": application_flags(self.state),
            "approximate_guild_count": len(self.state.guilds),
            "redirect_uris": [],
        }

    @route("GET", "/gateway")
    def get_gateway(self, _: Call) -> Json:
        return {"url": self.gateway.resume_url}

    @route("GET", "/gateway/bot")
    def get_gateway_bot(self, _: Call) -> Json:
        start = {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1}
        return {
            "url": self.gateway.resume_url,
            "shards": self.gateway.shards,
            "session_start_limit": start,
        }

    # Servers

    @route("GET", "/users/@me/guilds", "limit", "before", "after", "with_counts")
    def get_guilds(self, call: Call) -> list[Json]:
        after, limit = int(call.query.get("after", 0)), int(call.query.get("limit", 200))
        guilds = sorted((g for g in self.state.guilds.values() if g.id > after), key=lambda g: g.id)
        return [
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": False,
                "permissions": str(guild.permissions),
                "features": [],
            }
            for guild in guilds[:limit]
        ]

    @route("GET", "/guilds/#", "with_counts")
    def get_guild(self, call: Call) -> Json:
        guild = self._guild(call.ids[0])
        kept = ("id", "name", "owner_id", "roles", "features", "emojis", "stickers", "preferred_locale")
        return {name: value for name, value in guild.json(self.state.bot).items() if name in kept}

    @route("GET", "/guilds/#/channels")
    def get_guild_channels(self, call: Call) -> list[Json]:
        return [c.json() for c in self._guild(call.ids[0]).channels.values() if c.type not in THREADS]

    @route("GET", "/guilds/#/roles")
    def get_guild_roles(self, call: Call) -> list[Json]:
        return self._guild(call.ids[0]).roles()

    @route("GET", "/guilds/#/members/#")
    def get_member(self, call: Call) -> Json:
        self._guild(call.ids[0])
        user = self.state.users.get(call.ids[1])
        if user is None:
            raise ApiError(404, 10007, "Unknown Member")
        return {**user.member(), "user": user.json()}

    @route("GET", "/guilds/#/threads/active")
    def get_active_threads(self, call: Call) -> Json:
        threads = [
            c for c in self._guild(call.ids[0]).channels.values() if c.type in THREADS and not c.archived
        ]
        members = [thread.json()["member"] for thread in threads if thread.invited]
        return {"threads": [thread.json() for thread in threads], "members": members}

    @route("DELETE", "/users/@me/guilds/#")
    def leave_guild(self, call: Call) -> None:
        guild = self._guild(call.ids[0])
        del self.state.guilds[guild.id]
        for channel in guild.channels.values():
            channel.error = ApiError(403, 50001, "Missing Access")
        self.state.emit("GUILD_DELETE", {"id": str(guild.id)}, guild.id)

    def _guild(self, guild_id: int) -> Guild:
        guild = self.state.guilds.get(guild_id)
        if guild is None:
            raise ApiError(404, 10004, "Unknown Guild")
        return guild

    # Channels

    @route("GET", "/channels/#")
    def get_channel(self, call: Call) -> Json:
        return self._channel(call.ids[0]).json()

    @route("POST", "/channels/#/typing")
    def typing(self, call: Call) -> None:
        self._channel(call.ids[0], SEND).typing += 1

    @route("PUT", "/channels/#/thread-members/@me")
    def join_thread(self, call: Call) -> None:
        self._channel(call.ids[0]).invited = True

    @route("POST", "/users/@me/channels")
    def create_dm(self, call: Call) -> Json:
        person = self.state.users.get(int(call.body["recipient_id"]))
        if person is None or person.bot:
            raise ApiError(403, 50007, "Cannot send messages to this user")
        return self.dm(person.id).json()

    def dm(self, user_id: int, channel_id: int = 0) -> Channel:
        """The direct conversation with a person; there is one."""
        for channel in self.state.channels.values():
            if channel.recipient is not None and channel.recipient.id == user_id:
                return channel
        channel = Channel(channel_id or self.state.snowflake(), DM, recipient=self.state.user(user_id))
        self.state.channels[channel.id] = channel
        return channel

    def _channel(self, channel_id: int, *needed: int) -> Channel:
        channel = self.state.channels.get(channel_id)
        if channel is None:
            raise ApiError(404, 10003, "Unknown Channel")
        if channel.error is not None:
            raise channel.error
        if channel.guild is not None:
            may = channel.guild.permissions & ~channel.deny & ~(channel.parent.deny if channel.parent else 0)
            if not may & VIEW:
                raise ApiError(403, 50001, "Missing Access")
            for permission in needed:
                wanted = SEND_IN_THREADS if permission == SEND and channel.type in THREADS else permission
                if not may & wanted:
                    raise ApiError(403, 50013, "Missing Permissions")
        return channel

    # Messages

    @route("GET", "/channels/#/messages", "limit", "after", "before", "around")
    def history(self, call: Call) -> list[Json]:
        channel = self._channel(call.ids[0], READ_HISTORY)
        limit = int(call.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise invalid("limit", "NUMBER_TYPE_MAX", "int value should be less than or equal to 100.")
        found = [m for m in channel.messages.values() if not m.seen_by]
        if "after" in call.query:
            found = [m for m in found if m.id > int(call.query["after"])][:limit]
        elif "before" in call.query:
            found = [m for m in found if m.id < int(call.query["before"])][-limit:]
        else:
            found = found[-limit:]
        return [self.state.json(m, content=self.state.message_content) for m in reversed(found)]

    @route("GET", "/channels/#/messages/#")
    def get_message(self, call: Call) -> Json:
        message = self._message(self._channel(call.ids[0], READ_HISTORY), call.ids[1])
        return self.state.json(message, content=self.state.message_content)

    @route("POST", "/channels/#/messages")
    def create_message(self, call: Call) -> Json:
        channel = self._channel(call.ids[0], SEND)
        body = call.body
        nonce = str(body.get("nonce") or "")
        if nonce and body.get("enforce_nonce"):
            at, stands = self._nonces.get(nonce, (0.0, None))
            if stands is not None and self.state.now() - at < self.nonce_window:
                self.repeats += 1
                return self.state.json(stands)
        if channel.type == FORUM:
            raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
        if call.files:
            self._channel(channel.id, ATTACH)
        message = self._new(channel, body, call.files)
        message.nonce = nonce
        if (reference := body.get("message_reference")) is not None:
            self._refer(message, reference)
        self.state.note_pings(self.state.add(message), body.get("allowed_mentions"))
        if nonce:
            self._nonces[nonce] = self.state.now(), message
        self.gateway.emit_message("MESSAGE_CREATE", message)
        return self.state.json(message)

    def _refer(self, message: Message, reference: Json) -> None:
        channel = message.channel
        replied = int(reference["message_id"])
        if int(reference.get("channel_id", channel.id)) != channel.id:
            raise invalid("message_reference", "REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", "Another channel")
        try:
            self._channel(channel.id, READ_HISTORY)
        except ApiError:
            text = "Cannot reply without permission to read message history"
            raise ApiError(403, 160002, text) from None
        message.reply_to = channel.messages.get(replied)
        if message.reply_to is None and reference.get("fail_if_not_exists", True):
            raise invalid("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")

    @route("PATCH", "/channels/#/messages/#")
    def edit_message(self, call: Call) -> Json:
        channel = self._channel(call.ids[0])
        message = self._message(channel, call.ids[1])
        if message.author is not self.state.bot:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        if self.state.now() - message.at > HOUR:
            self._old_edits[channel.id] += 1
            if self._old_edits[channel.id] > self.old_edits:
                text = "Maximum number of edits to messages older than 1 hour reached. Try again later."
                raise ApiError(429, 30046, text, retry_after=0.01, **{"global": False})
        self._change(message, call)
        return self.state.json(message)

    def _message(self, channel: Channel, message_id: int) -> Message:
        message = channel.messages.get(message_id)
        if message is None or message.seen_by:
            raise ApiError(404, 10008, "Unknown Message")
        return message

    def _new(self, channel: Channel, body: Json, files: list[tuple[str, bytes]]) -> Message:
        message = Message(self.state.snowflake(), channel, self.state.bot, "", self.state.now())
        self._fill(message, body, files)
        return message

    def _change(self, message: Message, call: Call) -> None:
        before = message.content
        self._fill(message, call.body, call.files)
        message.flags &= ~LOADING
        message.edited = self.state.now()
        if message.content != before:
            message.history.append(message.content)
            self.state.note_pings(message, call.body.get("allowed_mentions"))
        if not message.seen_by:
            self.gateway.emit_message("MESSAGE_UPDATE", message)

    def _fill(self, message: Message, body: Json, files: list[tuple[str, bytes]]) -> None:
        """Give a message what the body says, or refuse all of it."""
        content = message.content if "content" not in body else _checked(body["content"] or "")
        components = message.components if "components" not in body else body["components"] or []
        attachments = message.attachments
        if "attachments" in body:
            kept = {str(a["id"]) for a in body["attachments"] or [] if "filename" not in a}
            attachments = [a for a in attachments if str(a.id) in kept]
        attachments = attachments + [Attachment(self.state.snowflake(), name, data) for name, data in files]
        if not content and not attachments and not body.get("embeds"):
            raise ApiError(400, 50006, "Cannot send an empty message")
        custom = [item.get("custom_id") for row in components for item in row.get("components", [])]
        if len(custom) != len(set(custom)):
            raise invalid(
                "components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
            )
        message.content, message.components, message.attachments = content, components, attachments

    # Commands and interactions

    @route("GET", "/applications/#/commands", "with_localizations")
    def get_commands(self, _: Call) -> list[Json]:
        return self.state.commands

    @route("PUT", "/applications/#/commands")
    def set_commands(self, call: Call) -> list[Json]:
        names = [command["name"] for command in call.body]
        if len(set(names)) != len(names):
            raise invalid(
                "name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique"
            )
        for command in call.body:
            if (
                not re.fullmatch(r"[-_'\w]{1,32}", command["name"])
                or command["name"] != command["name"].lower()
            ):
                raise invalid("name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
            if not 1 <= len(command.get("description", "")) <= 100:
                raise invalid("description", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
        old = {command["name"]: command["id"] for command in self.state.commands}
        app = str(self.state.bot.id)
        self.state.commands = [
            {
                "type": 1,
                "dm_permission": True,
                **command,
                "id": old.get(command["name"]) or str(self.state.snowflake()),
                "application_id": app,
                "version": str(self.state.snowflake()),
                "default_member_permissions": None,
            }
            for command in call.body
        ]
        self.syncs += 1
        asked, self.when_registered = self.when_registered, []
        for ask in asked:
            ask()
        return self.state.commands

    @route("POST", "/interactions/#/*/callback", "with_response")
    def callback(self, call: Call) -> Json | None:
        interaction = self.state.interactions.get(call.token)
        late = interaction is None or self.state.now() - interaction.at > ACK_WITHIN
        if interaction is None or late or interaction.id != call.ids[0]:
            raise ApiError(404, 10062, "Unknown interaction")
        if interaction.state != "new":
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        kind, data = call.body["type"], call.body.get("data") or {}
        message = None
        if kind == 4:
            message = self._answer(interaction, data, call.files)
            interaction.state = "answered"
        elif kind == 5:
            message = self._answer(interaction, {**data, "content": "…"}, [])
            message.content, message.history = "", []
            message.flags |= LOADING
            interaction.state = "thinking"
        elif kind == 6 and interaction.message is not None:
            interaction.state = "quiet"
        elif kind == 7 and interaction.message is not None:
            message = interaction.message
            self._change(message, call._replace(body=data))
            interaction.state = "answered"
        else:
            raise invalid("type", "INTERACTION_INVALID_TYPE", "not for this interaction")
        if call.query.get("with_response") not in ("1", "true", "True"):
            return None
        told: Json = {"id": str(interaction.id), "type": 3 if interaction.message else 2}
        resource: Json = {"type": kind}
        if message is not None:
            told |= {
                "response_message_id": str(message.id),
                "response_message_loading": message.thinking,
                "response_message_ephemeral": bool(message.seen_by),
            }
            resource["message"] = self.state.json(message)
        return {"interaction": told, "resource": resource}

    @route("POST", "/webhooks/#/*", "wait", "with_components", "thread_id")
    def followup(self, call: Call) -> Json:
        interaction = self._interaction(call.token)
        if interaction.state == "thinking":  # the first follow-up takes the place of "thinking…"
            return self._edited(interaction, interaction.messages[0], call)
        return self.state.json(self._answer(interaction, call.body, call.files))

    @route("GET", "/webhooks/#/*/messages/@original")
    def get_original(self, call: Call) -> Json:
        return self.state.json(self._original(self._interaction(call.token)))

    @route("PATCH", "/webhooks/#/*/messages/@original", "with_components", "thread_id")
    def edit_original(self, call: Call) -> Json:
        interaction = self._interaction(call.token)
        return self._edited(interaction, self._original(interaction), call)

    @route("PATCH", "/webhooks/#/*/messages/#", "with_components", "thread_id")
    def edit_followup(self, call: Call) -> Json:
        interaction = self._interaction(call.token)
        found = next((m for m in interaction.messages if m.id == call.ids[1]), None)
        if found is None:
            raise ApiError(404, 10008, "Unknown Message")
        return self._edited(interaction, found, call)

    @route("DELETE", "/webhooks/#/*/messages/@original")
    def delete_original(self, call: Call) -> None:
        interaction = self._interaction(call.token)
        message = self._original(interaction)
        interaction.messages.remove(message)
        interaction.state = "answered"
        message.channel.messages.pop(message.id, None)

    def _edited(self, interaction: Interaction, message: Message, call: Call) -> Json:
        self._change(message, call)
        if interaction.state == "thinking" and message is interaction.messages[0]:
            interaction.state = "answered"
        return self.state.json(message)

    def _interaction(self, token: str) -> Interaction:
        interaction = self.state.interactions.get(token)
        if interaction is None or self.state.now() - interaction.at > TOKEN_LIVES:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if interaction.state == "new":
            raise ApiError(404, 10015, "Unknown Webhook")
        return interaction

    @staticmethod
    def _original(interaction: Interaction) -> Message:
        if interaction.message is not None and not interaction.messages:
            return interaction.message
        if not interaction.messages:
            raise ApiError(404, 10008, "Unknown Message")
        return interaction.messages[0]

    def _answer(self, interaction: Interaction, body: Json, files: list[tuple[str, bytes]]) -> Message:
        message = self._new(interaction.channel, body, files)
        message.flags = body.get("flags") or 0
        message.kind = 20
        message.seen_by = interaction.user.id if message.flags & EPHEMERAL else 0
        interaction.messages.append(message)
        self.state.note_pings(self.state.add(message), body.get("allowed_mentions"))
        if not message.seen_by:
            self.gateway.emit_message("MESSAGE_CREATE", message)
        return message


def _checked(content: str) -> str:
    """The text as Discord shows it, or its refusal."""
    try:
        content.encode()
    except UnicodeEncodeError:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
    if len(content) > MAX_CHARS:
        raise invalid("content", "BASE_TYPE_MAX_LENGTH", "Must be 2000 or fewer in length.")
    return content.strip()
