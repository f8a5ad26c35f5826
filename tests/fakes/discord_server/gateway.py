"""The scripted Discord's gateway: WebSocket sessions that identify, resume, and are broken in every way that Discord's are."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tests.fakes.discord_server.state import MESSAGE_CONTENT, Json, Message, State

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME, RECONNECT, INVALID, HELLO, ACK = 0, 1, 2, 3, 6, 7, 9, 10, 11
GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 0, 1 << 9, 1 << 12
PRIVILEGED = (1 << 1) | (1 << 8) | MESSAGE_CONTENT  # members, presences, message content
MOST_BYTES = 4096  # of what a client may send at once


class Connection:
    """One WebSocket. A `deaf` one is a zombie: open, but nothing goes either way any more."""

    def __init__(self, socket: web.WebSocketResponse, *, compress: bool) -> None:
        self.socket = socket
        self.session: Session | None = None
        self.deaf = False
        self._zlib = zlib.compressobj() if compress else None
        self._queue: asyncio.Queue[Json | int] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())

    def send(self, payload: Json) -> None:
        self._queue.put_nowait(payload)

    def close(self, code: int) -> None:
        """Close in order, after what was sent."""
        self._queue.put_nowait(code)

    def abort(self) -> None:
        """Cut the line."""
        self._writer.cancel()
        request = self.socket._req
        if request is not None and request.transport is not None:
            request.transport.abort()

    def end(self) -> None:
        self._writer.cancel()

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while True:
                item = await self._queue.get()
                if isinstance(item, int):
                    await self.socket.close(code=item, message=b"as scripted")
                    return
                if self.deaf:
                    continue
                text = json.dumps(item)
                if self._zlib is None:
                    await self.socket.send_str(text)
                else:
                    data = self._zlib.compress(text.encode()) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
                    await self.socket.send_bytes(data)


class Session:
    """What IDENTIFY began. While nobody is connected to it, its events are kept for a resume."""

    def __init__(self, session_id: str, shard: int, shards: int, intents: int) -> None:
        self.id = session_id
        self.shard = shard
        self.shards = shards
        self.intents = intents
        self.seq = 0
        self.log: list[Json] = []
        self.connection: Connection | None = None

    def dispatch(self, event: str, data: Json) -> None:
        self.seq += 1
        payload = {"op": DISPATCH, "t": event, "s": self.seq, "d": data}
        self.log.append(payload)
        if self.connection is not None:
            self.connection.send(payload)


class Gateway:
    """All sessions. `shards` is how many /gateway/bot recommends; `heartbeat` in milliseconds, for HELLO."""

    def __init__(self, state: State, token: str, changed: Callable[[], None]) -> None:
        self.state = state
        self.token = token
        self.shards = 1
        self.heartbeat = 41_250
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.identifies: list[tuple[float, int]] = []  # when, which shard
        self.resumes = 0
        self.greetings: list[Callable[[], object]] = []  # what people do once it is online
        self.resume_url = ""
        self._changed = changed
        self._serial = 0
        state.emit = self.emit

    def online(self, shard: int = 0) -> Session | None:
        """The session that has a live connection on this shard."""
        live = (s for s in self.sessions.values() if s.connection is not None and not s.connection.deaf)
        return next((s for s in live if s.shard == shard), None)

    # What goes out

    def emit(self, event: str, data: Json, guild: int) -> None:
        """An event, to every session whose shard and intents it is for. `guild` 0: a direct message."""
        for session in list(self.sessions.values()):
            if (guild >> 22) % session.shards == session.shard and self._wants(session, event, guild):
                session.dispatch(event, data)

    def emit_message(self, event: str, message: Message) -> None:
        guild = message.channel.guild.id if message.channel.guild is not None else 0
        for session in list(self.sessions.values()):
            if (guild >> 22) % session.shards == session.shard and self._wants(session, event, guild):
                content = bool(session.intents & MESSAGE_CONTENT)
                session.dispatch(event, self.state.event(message, content=content))

    @staticmethod
    def _wants(session: Session, event: str, guild: int) -> bool:
        if event.startswith("MESSAGE_"):
            return bool(session.intents & (GUILD_MESSAGES if guild else DIRECT_MESSAGES))
        if event.startswith(("GUILD_", "CHANNEL_", "THREAD_")):
            return bool(session.intents & GUILDS)
        return True

    # Scripted trouble, by shard

    def _connected(self, shard: int) -> Connection:
        session = self.online(shard)
        assert session is not None, f"nobody is connected to shard {shard}"
        assert session.connection is not None
        return session.connection

    def reconnect(self, shard: int = 0) -> None:
        """Op 7: come again and resume."""
        self._connected(shard).send({"op": RECONNECT, "d": None})

    def invalidate(self, shard: int = 0, *, resumable: bool = False) -> None:
        """Op 9. Not resumable, the session is over, and what happens until the next one is told to nobody."""
        connection = self._connected(shard)
        connection.send({"op": INVALID, "d": resumable})
        if not resumable:
            self._forget(connection)

    def close(self, code: int, shard: int = 0) -> None:
        """Close with a code of Discord's. 4007 and 4009 end the session as well."""
        connection = self._connected(shard)
        connection.close(code)
        if code in (4007, 4009):
            self._forget(connection)
        else:
            self._leave(connection)

    def drop(self, shard: int = 0) -> None:
        """Cut the line; the session lives on."""
        connection = self._connected(shard)
        connection.abort()
        self._leave(connection)

    def silence(self, shard: int = 0) -> None:
        """Make the connection a zombie: no event, no answer to a heartbeat, and it stays open."""
        self._connected(shard).deaf = True
        self._changed()

    # Serving

    async def serve(self, request: web.BaseRequest) -> web.WebSocketResponse:
        compress = request.query.get("compress", "")
        if request.query.get("v") != "10" or request.query.get("encoding") != "json":
            self.state.complaints.append(f"gateway asked for with {dict(request.query)}")
        if compress not in ("", "zlib-stream"):
            self.state.complaints.append(f"compression {compress!r} is not served here")
        socket = web.WebSocketResponse(max_msg_size=2 * MOST_BYTES)
        await socket.prepare(request)
        connection = Connection(socket, compress=bool(compress))
        self.connections.add(connection)
        self._changed()
        connection.send({"op": HELLO, "d": {"heartbeat_interval": self.heartbeat, "_trace": []}, "s": None})
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(connection, message.data)
                else:
                    self.state.complaints.append(f"a gateway frame of type {message.type!r}")
        except ConnectionError:
            pass
        finally:
            if socket.close_code in (1000, 1001):
                self._forget(connection)  # who closes so does not mean to come again
            self._leave(connection)
            self.connections.discard(connection)
            connection.end()
            self._changed()
        return socket

    def _receive(self, connection: Connection, text: str) -> None:
        if connection.deaf:
            return
        if len(text) > MOST_BYTES:
            connection.close(4002)
            return
        payload = json.loads(text)
        data = payload.get("d")
        match payload.get("op"):
            case 1:
                connection.send({"op": ACK})
            case 2 if connection.session is not None:
                connection.close(4005)
            case 2:
                self._identify(connection, data)
            case 3:
                pass
            case 6:
                self._resume(connection, data)
            case unknown:
                self.state.complaints.append(f"gateway op {unknown}")
                connection.close(4001)
        self._changed()

    def _identify(self, connection: Connection, data: Json) -> None:
        for name in ("token", "properties", "intents"):
            if name not in data:
                self.state.complaints.append(f"identify without {name}")
                connection.close(4002)
                return
        intents = data["intents"]
        shard, shards = data.get("shard", [0, 1])
        self.identifies.append((time.monotonic(), shard))
        if data["token"] != self.token:
            connection.close(4004)
        elif not 0 <= shard < shards:
            connection.close(4010)
        elif not 0 <= intents < 1 << 27:
            connection.close(4013)
        elif intents & PRIVILEGED & ~(MESSAGE_CONTENT if self.state.message_content else 0):
            connection.close(4014)
        else:
            self._serial += 1
            session = Session(f"session-{self._serial}", shard, shards, intents)
            self.sessions[session.id] = session
            self._join(connection, session)
            self._welcome(session)

    def _welcome(self, session: Session) -> None:
        state = self.state
        mine = [g for g in state.guilds.values() if (g.id >> 22) % session.shards == session.shard]
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": {
                    **state.bot.json(),
                    "verified": True,
                    "email": None,
                    "flags": 0,
                    "mfa_enabled": False,
                },
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in mine],
                "private_channels": [],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self.resume_url,
                "shard": [session.shard, session.shards],
                "application": {"id": str(state.bot.id), "flags": application_flags(state)},
                "_trace": [],
            },
        )
        if session.intents & GUILDS:
            for guild in mine:
                if not guild.unavailable:
                    session.dispatch("GUILD_CREATE", guild.json(state.bot))
        if session.shard == 0:
            greetings, self.greetings = self.greetings, []
            for greet in greetings:
                greet()

    def _resume(self, connection: Connection, data: Json) -> None:
        session = self.sessions.get(data.get("session_id", ""))
        if data.get("token") != self.token:
            connection.close(4004)
        elif session is None:
            connection.send({"op": INVALID, "d": False})
        elif not isinstance(data.get("seq"), int) or data["seq"] > session.seq:
            connection.close(4007)
            del self.sessions[session.id]
        else:
            self.resumes += 1
            if session.connection is not None:  # a zombie, or the other has not noticed
                session.connection.session = None
            self._join(connection, session)
            for payload in [p for p in session.log if p["s"] > data["seq"]]:
                connection.send(payload)
            session.dispatch("RESUMED", {"_trace": []})

    @staticmethod
    def _join(connection: Connection, session: Session) -> None:
        connection.session, session.connection = session, connection

    @staticmethod
    def _leave(connection: Connection) -> None:
        if connection.session is not None and connection.session.connection is connection:
            connection.session.connection = None

    def _forget(self, connection: Connection) -> None:
        if connection.session is not None and connection.session.connection is connection:
            self.sessions.pop(connection.session.id, None)
        self._leave(connection)

    async def stop(self) -> None:
        for connection in list(self.connections):
            connection.end()
            with suppress(ConnectionError, RuntimeError):
                await connection.socket.close(code=WSCloseCode.GOING_AWAY)


def application_flags(state: State) -> int:
    """GATEWAY_MESSAGE_CONTENT_LIMITED, where the portal's switch is on."""
    return 1 << 19 if state.message_content else 0


def described(session: Session) -> dict[str, Any]:
    return {"shard": session.shard, "intents": session.intents, "seq": session.seq}
