"""What `boswell check --live` tells of a Discord bot: who it is, and which intent or permission is missing where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import discord
from discord.http import HTTPClient

from adapters.base import Finding, Unavailable
from adapters.discord.client import call

_MESSAGE_CONTENT = (1 << 18) | (
    1 << 19
)  # application flags; the second while the bot is in fewer than 100 servers
_PAGE = 200

NEEDED = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    read_message_history=True,
    attach_files=True,
    embed_links=True,
)


async def look(http: HTTPClient, *, message_content: bool) -> Sequence[Finding]:
    """Ask Discord. A refusal of all is an `AdapterError`."""
    me = _object(await call(http, "GET", "/users/@me"))
    application = _object(await call(http, "GET", "/applications/@me"))
    findings = [Finding(True, "discord", f"{me.get('username')}, application {application.get('id')}")]
    allowed = bool(int(application.get("flags") or 0) & _MESSAGE_CONTENT)
    if message_content and not allowed:
        detail = (
            "discord.message_content is true, but the Message Content Intent is off: switch it on in the Developer Portal, "
            "page Bot"
        )
        findings.append(Finding(False, "discord", detail))
    if address := application.get("interactions_endpoint_url"):
        detail = (
            f"slash commands and buttons go to {address} and not to Boswell: clear the Interactions Endpoint URL in the "
            "Developer Portal, page General Information"
        )
        findings.append(Finding(False, "discord", detail))
    servers = await _servers(http)
    findings += [finding for server in servers if (finding := _missing(server)) is not None]
    invite = discord.utils.oauth_url(
        int(str(application["id"])), permissions=NEEDED, scopes=("bot", "applications.commands")
    )
    where = {0: "in no server yet", 1: "in one server"}.get(len(servers), f"in {len(servers)} servers")
    findings.append(Finding(True, "discord", f"{where}; to invite it: {invite}"))
    return findings


async def _servers(http: HTTPClient) -> list[dict[str, Any]]:
    servers: list[dict[str, Any]] = []
    after = "0"
    while True:
        page = await call(http, "GET", "/users/@me/guilds", params={"limit": _PAGE, "after": after})
        servers += page
        if len(page) < _PAGE:
            return servers
        after = str(page[-1]["id"])


def _missing(server: dict[str, Any]) -> Finding | None:
    """What the bot's roles do not allow in a server. Channels may allow less; that can not be seen in one call."""
    has = discord.Permissions(int(server.get("permissions") or 0))
    if has.administrator:
        return None
    lacking = [name.replace("_", " ") for name, wanted in NEEDED if wanted and not getattr(has, name)]
    if not lacking:
        return None
    detail = (
        f"in the server {server.get('name')!r} ({server.get('id')}) it lacks: {', '.join(lacking)}; give its role these "
        "permissions, or invite it anew by the link below"
    )
    return Finding(False, "discord", detail)


def _object(answer: object) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise Unavailable("Discord's answer is none of its API's")
    return answer
