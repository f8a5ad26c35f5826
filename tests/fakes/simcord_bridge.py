"""Discord's wire before `simcord`, a third party's Discord: the adapter connects as ever, and simcord's rules decide.

simcord replaces discord.py's HTTP client inside the process; here its route table is served over real HTTP, and what it would
feed to discord.py's parsers goes out over the scripted gateway. Its own checks stay whole: a field or a route that it does
not know fails the test. It knows no nonces, and its bot's id is not its application's.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import discord
from aiohttp import web
from simcord import _dpy_internals as _checked  # noqa: F401 - importing it verifies that discord.py is one it knows
from simcord import interactions
from simcord._clock import Clock
from simcord.backend import Backend, serializers
from simcord.backend.errors import BackendError
from simcord.http import RouteNotImplemented, UnsupportedField, router
from simcord.http import routes as _routes  # noqa: F401 - importing registers them
from simcord.intents import censor_message, prune_guild_create, required_intent

from tests.fakes.discord_server.calls import body_of
from tests.fakes.discord_server.gateway import Gateway, Session
from tests.fakes.discord_server.server import API, TOKEN, Wire, answer
from tests.fakes.discord_server.state import ApiError, State


class _Today(Clock):
    """simcord's time stands still on the first of January; ours is the wall's."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class _File:
    """An upload, as simcord's routes read it."""

    filename: str
    fp: io.BytesIO
    description: str | None = None


class _Gateway(Gateway):
    """The scripted gateway with simcord's servers in it."""

    def __init__(self, backend: Backend, changed: Any) -> None:
        super().__init__(State(), TOKEN, changed)
        self.backend = backend
        backend.subscribers.append(self._feed)

    def _feed(self, event: str, payload: Mapping[str, Any]) -> None:
        for session in list(self.sessions.values()):
            self._tell(session, event, payload)

    def _tell(self, session: Session, event: str, payload: Mapping[str, Any]) -> None:
        intents = discord.Intents._from_value(session.intents)
        needed = required_intent(event, payload)
        if needed is not None and not getattr(intents, needed):
            return
        data = copy.deepcopy(dict(payload))
        if event.startswith("MESSAGE_") and not intents.message_content:
            censor_message(data, self.backend.bot_user.id, backend=self.backend)
        if event == "GUILD_CREATE":
            prune_guild_create(data, intents, self.backend.bot_user.id)
        session.dispatch(event, data)

    def _welcome(self, session: Session) -> None:
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": dict(serializers.user_payload(self.backend.bot_user)),
                "guilds": [{"id": str(guild), "unavailable": True} for guild in self.backend.guilds],
                "session_id": session.id,
                "resume_gateway_url": self.resume_url,
                "shard": [0, 1],
                "application": {"id": str(self.backend.application_id), "flags": 1 << 19},
            },
        )
        for guild in self.backend.guilds.values():
            self._tell(session, "GUILD_CREATE", serializers.guild_create_payload(self.backend, guild))


class SimcordBridge(Wire):
    """A Discord with Anna, one server and one channel in it. `complaints` is what simcord does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = backend = Backend(clock=_Today())
        self.gateway = _Gateway(backend, self._note)
        self.gateway.state.complaints = self.complaints
        self.anna = backend.make_user("anna", global_name="Anna").id
        self.guild = backend.create_guild("Book club").id
        backend.add_member(self.guild, self.anna)
        self.room = backend.create_channel(self.guild, "general").id
        self.dm = backend.get_dm_channel(self.anna).id

    # What people do and see

    def say(self, channel: int, text: str, *, reply_to: int = 0) -> int:
        """Anna writes. Returns the message's id."""
        reference = None
        if reply_to:
            given = {"channel_id": str(channel), "message_id": str(reply_to)}
            reference = self.backend.normalize_message_reference(channel, given)
        return self.backend.create_message(channel, self.anna, text, reference=reference).id

    def slash(self, channel: int, command: str, args: str = "") -> None:
        """Anna gives a slash command; `args` is its first option."""
        found = self.backend.commands.get(None, {}).get((command, 1))
        assert found is not None, f"there is no /{command}"
        options = found.get("options") or []
        given = [{"name": options[0]["name"], "type": options[0]["type"], "value": args}] if args else []
        self._interact(2, channel, {"id": found["id"], "name": command, "type": 1, "options": given})

    def press(self, channel: int, message_id: int, label: str) -> None:
        """Anna presses a button."""
        message = self.backend.get_message(channel, message_id)
        buttons = [item for row in message.components for item in row["components"]]
        custom_id = next(item["custom_id"] for item in buttons if item["label"] == label)
        more = {"message": dict(serializers.message_payload(self.backend, message))}
        record = self._interact(3, channel, {"custom_id": custom_id, "component_type": 2}, more)
        record.source_message_id = message_id

    def _interact(
        self, kind: int, channel: int, data: dict[str, Any], more: dict[str, Any] | None = None
    ) -> Any:
        guild = self.backend.channels[channel].guild_id
        record, payload = interactions.base_payload(
            self.backend, type=kind, channel_id=channel, guild_id=guild, user_id=self.anna, data=data
        )
        if guild is not None:
            payload["guild"] = {"id": str(guild), "locale": "en-US", "features": []}
        self.backend.emit("INTERACTION_CREATE", {**payload, **(more or {})})
        return record

    def texts(self, channel: int) -> list[str]:
        """What the bot's messages read that everybody sees."""
        return [m.content for m in self._ours(channel) if not m.is_ephemeral]

    def private(self, channel: int) -> list[str]:
        """What Anna alone sees there of the bot's answers, those that still think left out."""
        return [m.content for m in self._ours(channel) if m.is_ephemeral and m.content]

    def ids(self, channel: int) -> list[int]:
        return [message.id for message in self._ours(channel)]

    def labels(self, channel: int) -> list[str]:
        """Of the buttons under the bot's last message."""
        rows = [row for message in self._ours(channel)[-1:] for row in message.components]
        return [item["label"] for row in rows for item in row["components"]]

    def pinged(self, channel: int) -> bool:
        """Whether a message of the bot's there notified anybody."""
        return any(m.mention_everyone or m.ping_user_ids or m.ping_role_ids for m in self._ours(channel))

    def _ours(self, channel: int) -> list[Any]:
        bot = self.backend.bot_user.id
        return [m for m in self.backend.messages.get(channel, {}).values() if m.author_id == bot]

    # Serving

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.rstrip("/") == "/gateway":
            return await self.gateway.serve(request)
        path = request.path.removeprefix(API)
        start = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
        if path == "/gateway/bot":  # its clients never ask for it
            return answer(200, {"url": self.gateway_url, "shards": 1, "session_start_limit": start})
        if path == "/applications/@me":  # of the two addresses it serves the older one
            path = f"/oauth2{path}"
        try:
            body, files = await body_of(request)
            declared = {str(a["id"]): a for a in (body or {}).get("attachments", [])} if files else {}
            sent = [
                _File(name, io.BytesIO(data), declared.get(str(index), {}).get("description"))
                for index, (name, data) in enumerate(files)
            ]
            result = router.dispatch(
                self.backend, request.method, path, json=body, params=dict(request.query), files=sent
            )
        except (RouteNotImplemented, UnsupportedField) as unknown:
            self._complain(str(unknown))
            return answer(501, {"message": "not in simcord", "code": 0})
        except BackendError as refused:
            return answer(refused.status, refused.to_json())
        except ApiError as refused:
            return answer(refused.status, refused.body)
        return answer(204 if result is None else 200, result)
