"""`boswell check --live` for Slack: do the tokens work, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.base import AdapterError, Finding, Unavailable
from adapters.slack.client import Client, Rejected
from adapters.slack.manifest import SCOPES
from config.schema import SlackConfig

_NAME = "slack"
_REINSTALL = "add it to the app (`boswell slack manifest` prints all that is needed) and install it again"


async def findings(settings: SlackConfig, client: Client) -> Sequence[Finding]:
    """A finding for each credential, and one for each scope that is missing. Changes nothing."""
    found: list[Finding] = []
    if settings.client_id is not None and settings.client_secret is not None:
        found.append(
            await _oauth(
                client, settings.client_id.get_secret_value(), settings.client_secret.get_secret_value()
            )
        )
    else:
        found += await _bot(client, settings.bot_token.get_secret_value() if settings.bot_token else "")
    if settings.app_token is not None:
        found.append(await _sockets(client, settings.app_token.get_secret_value()))
    elif settings.signing_secret is None:
        found.append(
            Finding(False, _NAME, "neither app_token nor signing_secret is set: nothing can be received")
        )
    return found


async def _bot(client: Client, token: str) -> list[Finding]:
    try:
        answer = await client("auth_test", token)
    except AdapterError as exc:
        return [_refused(exc, "bot_token is the Bot User OAuth Token (xoxb-…) of OAuth & Permissions")]
    found = [Finding(True, _NAME, f"@{answer.get('user')} in {answer.get('team')}")]
    if "x-oauth-scopes" in answer.headers:
        granted = {scope.strip() for scope in answer.headers["x-oauth-scopes"].split(",")}
        found += [
            Finding(False, _NAME, f"the scope {scope} is missing: {what} will not work; {_REINSTALL}")
            for scope, what in SCOPES.items()
            if scope not in granted
        ]
    return found


async def _sockets(client: Client, token: str) -> Finding:
    try:
        await client("apps_connections_open", "", app_token=token)
    except AdapterError as exc:
        hint = "app_token is an app-level token (xapp-…) with the scope connections:write, and Socket Mode is switched on"
        return _refused(exc, hint)
    return Finding(True, _NAME, "Socket Mode can be opened")


def _refused(exc: AdapterError, hint: str) -> Finding:
    """Slack's refusal, with what may be wrong with the token; of one that it has not seen nothing can be said."""
    return Finding(False, _NAME, str(exc) if isinstance(exc, Unavailable) else f"{exc}; {hint}")


async def _oauth(client: Client, ident: str, secret: str) -> Finding:
    """An exchange that can not succeed tells whether it is the code alone that is wrong."""
    try:
        await client.exchange(ident, secret, code="boswell-check")
    except Rejected as exc:
        if exc.code in ("invalid_code", "code_already_used", "code_expired"):
            return Finding(
                True, _NAME, "client_id and client_secret are right; workspaces install it at /slack/install"
            )
        return Finding(False, _NAME, f"{exc}; copy client_id and client_secret from Basic Information")
    except AdapterError as exc:
        return Finding(False, _NAME, str(exc))
    return Finding(True, _NAME, "client_id and client_secret are right")
