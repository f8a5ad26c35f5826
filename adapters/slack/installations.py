"""Whose workspaces we serve, and with which token: one from the configuration, or all that installed the app by OAuth.

Installations are kept in the adapter's `State`, encrypted: what the database's file gives away are the ids of workspaces alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models import Installation
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from adapters.base import AdapterError, Refused, State
from adapters.slack.client import Client, LostAccess
from adapters.slack.updates import Me, Origin

_log = logging.getLogger(__name__)

STATE_LIFETIME = 600.0  # seconds in which an installation that was begun must be finished
_MOST_STATES = 1_000  # anybody may begin one
_ROTATE_BEFORE = (
    7_200.0  # seconds before a token expires (they live for 12 hours) from which on it is exchanged
)
DEAD = frozenset({"token_revoked", "account_inactive", "invalid_auth", "token_expired"})
"""Codes after which a workspace's token never works again."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """One installation. `org_wide`: for a whole Enterprise Grid organisation, `team` is then empty."""

    enterprise: str
    team: str
    name: str
    token: str
    bot_user: str
    bot_id: str = ""
    org_wide: bool = False
    refresh_token: str = ""
    expires_at: float = 0.0
    installed_at: float = 0.0

    def me(self, team: str) -> Me:
        return Me(team, self.bot_user, self.bot_id)

    @property
    def key(self) -> tuple[str, str]:
        return self.enterprise, "" if self.org_wide else self.team


class OneWorkspace:
    """The workspace of the configured token."""

    several = False

    def __init__(self, client: Client, token: str) -> None:
        self._client = client
        self._token = token
        self._workspace: Workspace | None = None

    async def start(self) -> str:
        """Ask who we are; the name to show. Raises what the call raises."""
        answer = await self._client("auth_test", self._token)
        self._workspace = Workspace(
            str(answer.get("enterprise_id") or ""),
            str(answer.get("team_id") or ""),
            str(answer.get("team") or ""),
            self._token,
            str(answer.get("user_id") or ""),
            str(answer.get("bot_id") or ""),
            bool(answer.get("is_enterprise_install")),
        )
        return f"@{answer.get('user')} in {answer.get('team')}"

    async def alive(self) -> None:
        """Raise what is wrong with the token, or with the way to Slack."""
        await self._client("auth_test", self._token)

    async def of(self, team: str, enterprise: str = "") -> Workspace | None:  # noqa: ARG002 - there is but one
        return self._workspace

    def known(self) -> list[Workspace]:
        return [self._workspace] if self._workspace else []

    async def drop(self, where: Origin) -> None:  # noqa: ARG002 - there is but one
        self._workspace = None

    async def belongs(self, where: Origin) -> None:
        """Nothing to keep: every team here is the one token's."""


class Installations(AsyncInstallationStore):
    """All workspaces that installed the app. `start` reads them; then answers come from memory, and changes go to disk first."""

    several = True

    def __init__(
        self,
        client: Client,
        state: State,
        client_id: str,
        client_secret: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._state = state
        self._id, self._secret = client_id, client_secret
        self._box = Fernet(_derived(client_secret))
        self._now = now
        self._workspaces: dict[tuple[str, str], Workspace] = {}
        self._organisations: dict[str, str] = {}  # team to the organisation whose installation serves it
        self._rotating = asyncio.Lock()

    async def start(self) -> str:
        """Read what is installed; the words to show."""
        for name, text in (await self._state.get("installation:")).items():
            try:
                workspace = Workspace(**json.loads(self._box.decrypt(text)))
            except (InvalidToken, ValueError, TypeError):
                _log.warning(
                    "the installation %s can not be decrypted (was slack.client_secret changed?); install it there again",
                    name.removeprefix("installation:"),
                )
            else:
                self._workspaces[workspace.key] = workspace
        prefix = "team:"
        self._organisations = {
            name.removeprefix(prefix): text for name, text in (await self._state.get(prefix)).items()
        }
        count = len(self._workspaces)
        return f"installed in {count} workspace{'' if count == 1 else 's'}"

    async def alive(self) -> None:
        """Raise what is wrong with the way to Slack, as far as a workspace's token tells."""
        for workspace in list(self._workspaces.values())[:1]:
            with suppress(LostAccess):  # of that workspace alone
                await self._client("auth_test", workspace.token)

    async def of(self, team: str, enterprise: str = "") -> Workspace | None:
        """The installation that serves `team`, with a token that is good; None if there is none."""
        found = self._find(team, enterprise)
        if found is None or not found.refresh_token or found.expires_at - self._now() > _ROTATE_BEFORE:
            return found
        async with self._rotating:
            found = self._find(team, enterprise)
            if found is None or found.expires_at - self._now() > _ROTATE_BEFORE:
                return found
            return await self._rotated(found)

    def _find(self, team: str, enterprise: str) -> Workspace | None:
        for workspace in self._workspaces.values():
            if team and workspace.team == team and not workspace.org_wide:
                return workspace
        return self._workspaces.get((enterprise or self._organisations.get(team, ""), ""))

    async def _rotated(self, old: Workspace) -> Workspace | None:
        try:
            answer = await self._client.exchange(
                self._id, self._secret, grant_type="refresh_token", refresh_token=old.refresh_token
            )
            new = replace(
                old,
                token=str(answer["access_token"]),
                refresh_token=str(answer["refresh_token"]),
                expires_at=self._now() + float(answer["expires_in"]),
            )
        except Refused as exc:
            _log.warning("the token of %s could not be renewed: %s", old.team or old.enterprise, exc)
            return old
        except (AdapterError, KeyError, ValueError, TypeError):
            if old.expires_at > self._now():
                return old  # it works for some time yet
            raise
        await self.keep(new)
        return new

    def known(self) -> list[Workspace]:
        return list(self._workspaces.values())

    async def keep(self, workspace: Workspace) -> None:
        """Keep an installation, in place of an older one. On disk when this returns."""
        text = self._box.encrypt(json.dumps(asdict(workspace)).encode()).decode()
        await self._state.set({_name(workspace.key): text})
        self._workspaces[workspace.key] = workspace

    async def drop(self, where: Origin) -> None:
        """Forget an installation, and its token. On disk when this returns."""
        workspace = self._find(where.team, where.enterprise)
        if workspace is not None:
            del self._workspaces[workspace.key]
            await self._state.set({_name(workspace.key): None})

    async def belongs(self, where: Origin) -> None:
        """Keep which organisation's installation serves a team: what we write there later names the team alone."""
        if where.org_wide and where.team and self._organisations.get(where.team) != where.enterprise:
            await self._state.set({f"team:{where.team}": where.enterprise})
            self._organisations[where.team] = where.enterprise

    async def async_save(self, installation: Installation) -> None:
        """Keep what the OAuth flow brought."""
        await self.keep(
            Workspace(
                installation.enterprise_id or "",
                installation.team_id or "",
                installation.team_name or installation.enterprise_name or "",
                installation.bot_token or "",
                installation.bot_user_id or "",
                installation.bot_id or "",
                bool(installation.is_enterprise_install),
                installation.bot_refresh_token or "",
                float(installation.bot_token_expires_at or 0),
                self._now(),
            )
        )

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """Forget an installation; of a single user there is nothing to forget."""
        if user_id is None:
            await self.drop(Origin(enterprise_id or "", team_id or ""))


class OAuthStates(AsyncOAuthStateStore):
    """The `state` of each installation that was begun: good once, for ten minutes."""

    def __init__(self, state: State, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now
        self._consuming = asyncio.Lock()

    async def async_issue(self, *_: Any, **__: Any) -> str:
        waiting = sorted((float(text), name) for name, text in (await self._state.get("oauth:")).items())
        late = [name for until, name in waiting if until < self._now()]
        many = [name for _, name in waiting[: max(0, len(waiting) - _MOST_STATES)]]
        issued = secrets.token_urlsafe(32)
        old: dict[str, str | None] = dict.fromkeys([*late, *many])
        await self._state.set({**old, f"oauth:{issued}": str(self._now() + STATE_LIFETIME)})
        return issued

    async def async_consume(self, state: str) -> bool:
        async with self._consuming:  # two requests with the same state: the second finds it gone
            name = f"oauth:{state}"
            until = (await self._state.get(name)).get(name)
            if until is None:
                return False
            await self._state.set({name: None})
            return float(until) >= self._now()


def _name(key: tuple[str, str]) -> str:
    enterprise, team = key
    return f"installation:{enterprise}:{team}"


def _derived(secret: str) -> bytes:
    key = HKDF(SHA256(), length=32, salt=None, info=b"boswell slack installations").derive(secret.encode())
    return base64.urlsafe_b64encode(key)
