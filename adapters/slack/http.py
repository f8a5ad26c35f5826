"""HTTP mode: Slack's signed requests, and the pages by which a workspace installs the app."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlencode, urljoin

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.oauth.installation_store.models import Installation
from slack_sdk.signature import SignatureVerifier

from adapters.base import AdapterError, HttpRequest, HttpResponse
from adapters.slack.client import QUIET, Client, Rejected
from adapters.slack.installations import Installations, OAuthStates

_log = logging.getLogger(__name__)

EVENTS, INSTALL, REDIRECT = "/slack/events", "/slack/install", "/slack/oauth_redirect"
_FRESH = 300  # seconds that a signature is good for (docs: verifying requests from Slack)
_MOST_SEEN = 100_000


class Verifier:
    """Tells what is wrong with a request's signature. One that was answered is not taken a second time."""

    def __init__(self, secret: str, now: Callable[[], float] = time.time) -> None:
        self._verifier = SignatureVerifier(secret)
        self._now = now
        self._seen: dict[str, float] = {}  # signature to the time at which it is stale; the oldest first

    def problem(self, request: HttpRequest) -> str:
        """In words; empty if the request is Slack's. Compares in constant time."""
        stamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        if not stamp or not signature:
            return "it is not signed"
        if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 12 and signature.isascii()):
            return "its signature is malformed"
        if abs(self._now() - int(stamp)) > _FRESH:
            return "its signature is stale"
        try:
            good = self._verifier.is_valid(request.body, stamp, signature)
        except UnicodeDecodeError:
            good = False
        if not good:
            return "its signature is wrong"
        return "it was answered before" if signature in self._seen else ""

    def answered(self, request: HttpRequest) -> None:
        """The request was taken: its signature is spent."""
        now = self._now()
        while self._seen and (len(self._seen) >= _MOST_SEEN or next(iter(self._seen.values())) < now):
            del self._seen[next(iter(self._seen))]
        self._seen[request.headers.get("X-Slack-Signature", "")] = now + 2 * _FRESH


class Requests:
    """Answers `EVENTS`: whatever Slack sends, once its signature is proven."""

    def __init__(self, app: AsyncApp, secret: str) -> None:
        self._app = app
        self._verifier = Verifier(secret)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if problem := self._verifier.problem(request):
            _log.warning("a request to %s was refused: %s", EVENTS, problem)
            return HttpResponse(401, problem)
        try:
            asked = AsyncBoltRequest(body=request.body.decode(), headers=dict(request.headers), mode="http")
        except (ValueError, TypeError, AttributeError, RecursionError):
            return HttpResponse(400, "the body can not be read")
        response = await self._app.async_dispatch(asked)
        if response.status == 200:
            self._verifier.answered(request)
        return _answer(response)


class Installing:
    """Answers `INSTALL` and `REDIRECT`: the OAuth flow of slack_bolt, on our own stores."""

    def __init__(
        self,
        client: Client,
        base_url: str,
        client_id: str,
        client_secret: str,
        scopes: Sequence[str],
        installations: Installations,
        states: OAuthStates,
    ) -> None:
        self._client = client
        self._settings = AsyncOAuthSettings(
            client_id=client_id,
            client_secret=client_secret,
            scopes=scopes,
            user_scopes=[],
            authorization_url=urljoin(base_url.rstrip("/") + "/", "../oauth/v2/authorize"),
            install_page_rendering_enabled=False,
            installation_store=installations,
            state_store=states,
            logger=QUIET,
        )
        self._settings.redirect_uri = None  # the one of the manifest; not what the environment says

    def _flow(self) -> AsyncOAuthFlow:
        return _Flow(self._client, self._settings)

    async def install(self, request: HttpRequest) -> HttpResponse:
        return _answer(await self._flow().handle_installation(_page(request)))

    async def redirect(self, request: HttpRequest) -> HttpResponse:
        try:
            response = await self._flow().handle_callback(_page(request))
        except AdapterError as exc:
            _log.warning("an installation could not be finished: %s", exc)
            return HttpResponse(502, "Slack could not be asked; please begin again")
        if response.status >= 400:
            _log.warning("an installation was refused (HTTP %s)", response.status)
        return _answer(response)


class _Flow(AsyncOAuthFlow):
    """The exchange of the code for a token by our own client: slack_bolt's logs the code, and raises whatever it meets."""

    def __init__(self, client: Client, settings: AsyncOAuthSettings) -> None:
        super().__init__(client=client.web, logger=QUIET, settings=settings)
        self._ours = client

    async def run_installation(self, code: str) -> Installation | None:
        try:
            answer = await self._ours.exchange(
                self.settings.client_id, self.settings.client_secret, code=code
            )
        except Rejected as exc:
            _log.warning("an installation was refused: %s", exc)
            return None
        team, enterprise = answer.get("team") or {}, answer.get("enterprise") or {}
        token = str(answer.get("access_token") or "")
        me = await self._ours("auth_test", token)
        return Installation(
            app_id=answer.get("app_id"),
            enterprise_id=enterprise.get("id"),
            enterprise_name=enterprise.get("name"),
            team_id=team.get("id"),
            team_name=team.get("name"),
            bot_token=token,
            bot_id=me.get("bot_id"),
            bot_user_id=answer.get("bot_user_id"),
            bot_refresh_token=answer.get("refresh_token"),
            bot_token_expires_in=answer.get("expires_in"),
            user_id=str((answer.get("authed_user") or {}).get("id") or ""),
            is_enterprise_install=answer.get("is_enterprise_install"),
        )


def _page(request: HttpRequest) -> AsyncBoltRequest:
    return AsyncBoltRequest(
        body="", query=urlencode(list(request.query.items())), headers=dict(request.headers)
    )


def _answer(response: BoltResponse) -> HttpResponse:
    headers = {
        name: values[0]
        for name, values in response.headers.items()
        if name in ("location", "set-cookie") and values
    }
    return HttpResponse(
        response.status, response.body or "", response.headers["content-type"][0].partition(";")[0], headers
    )
