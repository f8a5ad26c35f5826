"""The scripted Slack: its addresses, its tokens, the authorisation page, and what a test says and reads."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import socket
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Self
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.scripted_server import ScriptedServer
from tests.fakes.slack import published
from tests.fakes.slack.deliveries import Deliveries, Delivery, Mode
from tests.fakes.slack.published import Misuse
from tests.fakes.slack.webapi import Refusal, WebApi
from tests.fakes.slack.workspace import Channel, Message, Whisper, Workspace

BOT_TOKEN = "xoxb-0000-1111-testtokenofnobody"
APP_TOKEN = "xapp-1-A1-2222-testtokenofnobody"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CLIENT_ID, CLIENT_SECRET = "1111.2222", "0123456789abcdef0123456789abcdef"
APP_METHODS = frozenset({"apps.connections.open", "auth.test"})


class SlackServer(ScriptedServer):
    """Slack on a loopback port, with one workspace whose token is `BOT_TOKEN`; `workspace(team)` has others.

    What the app is told goes over its sockets, or with `deliveries.mode = "http"` to `deliveries.url`. Its calls are named
    after the methods of the Web API, or `response_url`, `upload` and `socket`.
    """

    def __init__(self, *, port: int = 0, team: str = "T1") -> None:
        super().__init__(port=port)
        self.api = WebApi()
        self.deliveries = Deliveries(self._complain, self._note, SIGNING_SECRET)
        self.workspaces: dict[str, Workspace] = {}
        self.app_tokens = {APP_TOKEN: ""}  # token → "" or the error that it answers
        self.app = "A1"
        self.redirect_url = ""  # where installations come back to, unless they ask for another
        self.expires_in = 0  # seconds a token is good for; 0: tokens do not rotate
        self.first = self.workspace(team, token=BOT_TOKEN)
        self._tickets: set[str] = set()
        self._codes: dict[str, tuple[Workspace, dict[str, str]]] = {}
        self._answers: dict[str, dict[str, Any]] = {}  # addresses of answers to commands and buttons
        self._serial = itertools.count(1)

    async def start(self) -> Self:
        await super().start()
        self.api.url = self.url
        return self

    async def stop(self) -> None:
        await self.deliveries.stop()
        await super().stop()

    @property
    def base_url(self) -> str:
        """What stands in the configuration for https://slack.com/api/."""
        return f"{self.url}/api/"

    def settings(self, mode: Mode, port: int = 0) -> dict[str, str]:
        """adapters.slack for an app that is told of things in this mode, as it is from now on.

        `port` is where it listens in HTTP mode, if that is known by now.
        """
        self.deliveries.mode = mode
        if port:
            self.deliveries.url = f"http://127.0.0.1:{port}/slack/events"
        way = {"app_token": APP_TOKEN} if mode == "socket" else {"signing_secret": SIGNING_SECRET}
        return {"bot_token": BOT_TOKEN, **way, "base_url": self.base_url}

    # What tests do and read

    def workspace(self, team: str, **options: Any) -> Workspace:
        """A workspace, made at the first mention of it; without a token the app is not installed there."""
        if team not in self.workspaces:
            self.workspaces[team] = Workspace(self._send, team, app=self.app, **options)
        return self.workspaces[team]

    def channel(self, channel: str, *members: str) -> Channel:
        """A conversation of the first workspace."""
        return self.first.channel(channel, None, *members)

    def say(self, channel: str, user: str, text: str, thread: str = "", **event: Any) -> str:
        """Somebody writes in the first workspace."""
        return self.first.say(channel, user, text, thread, **event)

    def texts(self, channel: str, thread: str | None = None) -> list[str]:
        """What the bot's messages there read now."""
        return self.first.texts(channel, thread)

    def expire_streams(self) -> int:
        """Every running stream ends, as they do when nothing comes for long; how many."""
        running = [m for m in self._messages() if m.state == "streaming"]
        for message in running:
            message.state = "expired"
        return len(running)

    def expire_answers(self) -> None:
        """Every address for answers is past its thirty minutes."""
        for answer in self._answers.values():
            answer["uses"] = 0

    def expire_tokens(self, team: Workspace) -> None:
        """The workspace's tokens are past their hours: new ones come for the refresh token alone."""
        team.tokens = dict.fromkeys(team.tokens, "token_expired")

    def _messages(self) -> Iterable[Message]:
        for team in self.workspaces.values():
            for place in team.channels.values():
                yield from place.messages.values()

    def _send(self, team: Workspace, kind: str, payload: dict[str, Any], lane: str) -> Any:
        if kind == "response_url":
            number = f"{team.id}/{next(self._serial)}/{secrets.token_hex(8)}"
            self._answers[number] = {**payload, "team": team, "uses": 5}
            return f"{self.url}/commands/{number}"
        return self.deliveries.send(kind, payload, f"{team.id} {lane}" if lane else "")  # type: ignore[arg-type]

    # Serving

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/socket/"):
            return await self._socket(request)
        if path == "/oauth/v2/authorize" and request.method == "GET":
            return self._authorize(request)
        if path.startswith("/_control/"):
            return await self._controlled(request)
        if path.startswith("/api/"):
            method = path.removeprefix("/api/")
        elif path.startswith("/commands/"):
            method = "response_url"
        elif path.startswith("/upload/v1/"):
            method = "upload"
        else:
            self._complain(f"{request.method} {path}")
            return web.Response(status=404)
        try:
            return await self._met(method, request, lambda: self._answer(method, request))
        except Misuse as misuse:
            self._complain(str(misuse))
            return web.json_response({"ok": False, "error": misuse.error})
        except Refusal as refusal:
            return web.json_response(refusal.answer)

    async def _answer(self, method: str, request: web.BaseRequest) -> web.Response:
        match method:
            case "response_url":
                return await self._answered(request)
            case "upload":
                return await self._uploaded(request)
            case _:
                return await self._call(method, request)

    async def _uploaded(self, request: web.BaseRequest) -> web.Response:
        """A file's bytes, at the address that was given for them; no token goes there."""
        team, _, ident = request.path.removeprefix("/upload/v1/").partition("/")
        file = self.workspaces[team].files[ident]
        if "Authorization" in request.headers:
            raise Misuse("a token at an upload's address")
        data = await request.content.read()
        if len(data) != file.length:
            return web.Response(status=400, text="Bad Request")
        file.data = data
        return web.Response(text=f"OK - {len(data)}")

    async def _call(self, method: str, request: web.BaseRequest) -> web.Response:
        if method not in published.METHODS:
            raise Misuse(f"unknown method {method}", "unknown_method")
        given, token = await _parameters(request)
        if method == "oauth.v2.access":
            return web.json_response(
                {"ok": True, **self._access(request, published.arguments(method, given))}
            )
        if method == "api.test":
            return web.json_response({"ok": True, "args": given})
        if token.startswith("xapp-") and method in APP_METHODS:
            return self._app_call(method, token)
        team = next((team for team in self.workspaces.values() if token in team.tokens), None)
        if method == "apps.connections.open":
            raise Refusal("not_allowed_token_type" if team else "invalid_auth")
        if team is None:
            raise Refusal("invalid_auth" if token else "not_authed")
        if error := team.tokens[token]:
            raise Refusal(error)
        if not token.startswith("xox"):
            raise Misuse(f"a token that is none: {token[:4]}")
        answer = {"ok": True, **self.api.serve(method, team, published.arguments(method, given))}
        return web.json_response(answer, headers={"X-OAuth-Scopes": ",".join(sorted(team.scopes))})

    def _app_call(self, method: str, token: str) -> web.Response:
        if error := self.app_tokens.get(token, "invalid_auth"):
            raise Refusal(error)
        if method == "auth.test":
            answer = {"ok": True, "app_name": "Boswell", "app_id": self.app}
            return web.json_response(answer, headers={"X-OAuth-Scopes": "connections:write"})
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        url = f"ws://127.0.0.1:{self._port}/socket/?ticket={ticket}&app_id={self.app}"
        return web.json_response({"ok": True, "url": url})

    async def _socket(self, request: web.BaseRequest) -> web.StreamResponse:
        """A ticket is good for one connection."""
        ticket = request.query.get("ticket", "")
        if (fault := self._called("socket")) is not None:
            return self._misbehave(request, fault)
        if ticket not in self._tickets:
            return web.Response(status=401)
        self._tickets.discard(ticket)
        return await self.deliveries.serve_socket(request, self.app)

    async def _answered(self, request: web.BaseRequest) -> web.Response:
        """An answer to a command or a button: five times within half an hour."""
        place = self._answers.get(request.path.removeprefix("/commands/"))
        if place is None:
            raise Misuse("an address for answers that was never given")
        if place["uses"] <= 0:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        given = json.loads(await request.text())
        known = {"text", "blocks", "response_type", "replace_original", "delete_original", "thread_ts"}
        if unknown := set(given) - known - {"unfurl_links", "unfurl_media", "markdown_text", "metadata"}:
            raise Misuse(f"an answer with {unknown}")
        place["uses"] -= 1
        team: Workspace = place["team"]
        channel = team.channels[place["channel"]]
        if given.get("delete_original"):
            return web.Response(text="ok")
        text, _ = self.api._content(given, published.TEXT)
        if given.get("response_type", "ephemeral") == "ephemeral":
            # What a command's address brought can not be replaced (bolt-python issue 1268); of a button's, all would see it.
            if given.get("replace_original") and place["ts"]:
                raise Misuse("an answer to one person in place of what all see")
            channel.whispers.append(Whisper(place["user"], text, given.get("thread_ts", "")))
        else:
            self.api._chat_postMessage(team, channel, text=text)
        return web.Response(text="ok")

    # OAuth

    def _authorize(self, request: web.BaseRequest) -> web.Response:
        """The page on which a person allows the app in; `allow=T2` in the address is the button, with `user` who presses it."""
        asked = dict(request.query)
        if asked.get("client_id") != CLIENT_ID:
            return web.Response(status=400, text="invalid_client_id")
        unknown = set(asked) - {
            "client_id",
            "scope",
            "user_scope",
            "state",
            "redirect_uri",
            "team",
            "allow",
            "user",
            "deny",
        }
        scopes = set(filter(None, asked.get("scope", "").split(",")))
        if unknown or not scopes or scopes - set(published.ALL_SCOPES):
            self._complain(
                f"an authorisation for {sorted(scopes - set(published.ALL_SCOPES))} with {sorted(unknown)}"
            )
        back = asked.get("redirect_uri") or self.redirect_url
        if asked.get("deny"):
            return _sent_on(back, {"error": "access_denied", "state": asked.get("state", "")})
        if "allow" not in asked:
            address = "/oauth/v2/authorize?" + urlencode({**asked, "allow": asked.get("team", "T1")})
            return web.Response(text=f'<a href="{address}">Allow</a>', content_type="text/html")
        team = self.workspace(asked["allow"])
        team.person(asked.get("user", "U1"))
        code = secrets.token_hex(8)
        self._codes[code] = (team, asked)
        return _sent_on(back, {"code": code, "state": asked.get("state", "")})

    def _access(self, request: web.BaseRequest, given: dict[str, Any]) -> dict[str, Any]:
        """oauth.v2.access: a code, or a refresh token, for a token. Each is good once."""
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("Authorization") != basic:
            raise Refusal("bad_client_secret")
        if given.get("grant_type") == "refresh_token":
            teams = [t for t in self.workspaces.values() if given.get("refresh_token") in t.refresh_tokens]
            if not teams:
                raise Refusal("invalid_refresh_token")
            team, asked = teams[0], {"user": "U1", "scope": ""}
            team.refresh_tokens.discard(given["refresh_token"])
        else:
            if given.get("code") not in self._codes:
                raise Refusal("invalid_code")
            team, asked = self._codes.pop(given["code"])
            if asked.get("redirect_uri", "") != given.get("redirect_uri", ""):
                raise Refusal("bad_redirect_uri")
            team.scopes = set(asked["scope"].split(","))
        team.installed = True
        token = f"{'xoxe.' if self.expires_in else ''}xoxb-{team.id}-{secrets.token_hex(6)}"
        team.tokens[token] = ""
        answer: dict[str, Any] = {
            "app_id": self.app,
            "authed_user": {"id": asked.get("user", "U1")},
            "scope": ",".join(sorted(team.scopes)),
            "token_type": "bot",
            "access_token": token,
            "bot_user_id": team.bot,
            "team": {"id": team.id, "name": team.name},
            "enterprise": {"id": team.enterprise, "name": "Grid"} if team.enterprise else None,
            "is_enterprise_install": False,
        }
        if self.expires_in:
            refresh = f"xoxe-1-{secrets.token_hex(8)}"
            team.refresh_tokens.add(refresh)
            answer |= {"refresh_token": refresh, "expires_in": self.expires_in}
        return answer

    # Control from another process

    def _control_say(self, team: str = "", **said: Any) -> dict[str, Any]:
        return {"result": self.workspace(team or self.first.id).say(**said)}

    def _control_command(self, team: str = "", **given: Any) -> dict[str, Any]:
        return {"result": self.workspace(team or self.first.id).command(**given)}

    def _state(self) -> dict[str, Any]:
        return {
            "sockets": len(self.deliveries.sockets),
            "channels": {
                f"{team.id}-{place.id}": {
                    "texts": place.texts(),
                    "files": [
                        [f.name, base64.b64encode(f.data or b"").decode()]
                        for m in place.ours()
                        for f in m.files
                    ],
                    "whispers": [[w.user, w.text] for w in place.whispers],
                }
                for team in self.workspaces.values()
                for place in team.channels.values()
            },
        }


def free_port() -> int:
    """A port that nobody listens on, for an app in HTTP mode."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _sent_on(address: str, query: dict[str, str]) -> web.Response:
    return web.Response(status=302, headers={"Location": f"{address}?{urlencode(query)}"})


async def _parameters(request: web.BaseRequest) -> tuple[dict[str, Any], str]:
    """What was given, be it as JSON, in a form or in the address; and the token."""
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body = await request.text()
        given |= json.loads(body) if body else {}
    elif request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        given |= dict(await request.post())
    token = str(given.pop("token", ""))
    header = request.headers.get("Authorization", "")
    return given, header.removeprefix("Bearer ") if header.startswith("Bearer ") else token


__all__ = [
    "APP_TOKEN",
    "BOT_TOKEN",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SIGNING_SECRET",
    "Delivery",
    "SlackServer",
]
