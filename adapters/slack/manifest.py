"""The app manifest: what Slack must know of us before it lets us in. Pure data, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.base import Menu
from adapters.slack.updates import COMMAND
from config.schema import SlackConfig

SCOPES: Mapping[str, str] = {
    "app_mentions:read": "mentions in channels (event app_mention)",
    "assistant:write": "suggested prompts and titles in the agent's own view",
    "channels:history": "messages in public channels that it is in (event message.channels)",
    "channels:manage": "going out of a public channel where it should not be",
    "channels:read": "the names of public channels, and being removed from one (event channel_left)",
    "chat:write": "answering",
    "commands": f"/{COMMAND}",
    "files:write": "sending a person the file of their /export",
    "groups:history": "messages in private channels that it is in (event message.groups)",
    "groups:read": "the names of private channels, and being removed from one (event group_left)",
    "groups:write": "going out of a private channel where it should not be",
    "im:history": "direct messages (event message.im)",
    "im:write": "beginning a direct message with somebody whose question can be answered nowhere else",
    "mpim:history": "messages in group conversations (event message.mpim)",
    "mpim:read": "the names of group conversations",
    "users:read": "people's names",
}
"""Every scope of the bot's token, and what works by it."""

EVENTS = (
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "channel_left",
    "group_left",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
)
PROMPTS = (
    ("What can you do?", "What can you do for me?"),
    ("What did we talk about?", "What did we talk about yesterday?"),
)


def manifest(settings: SlackConfig, menu: Menu, url: str, name: str = "Boswell") -> dict[str, Any]:
    """The manifest of this app. `url` is our server's public https address; Socket Mode without OAuth needs none."""
    url = url.rstrip("/")
    sockets = settings.app_token is not None
    several = settings.client_id is not None and settings.client_secret is not None
    address = {} if sockets else {"request_url": f"{url}/slack/events"}
    words = " | ".join(menu.commands)
    app: dict[str, Any] = {
        "display_information": {
            "name": name[:35],
            "description": "One assistant in every chat, that remembers.",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": name[:80], "always_online": True},
            "agent_view": {
                "agent_description": f"{name} answers, and remembers what was said."[:300],
                "suggested_prompts": [{"title": title, "message": message} for title, message in PROMPTS],
            },
            "slash_commands": [
                {
                    "command": f"/{COMMAND}",
                    **({} if sockets else {"url": f"{url}/slack/events"}),
                    "description": "Commands to the assistant, or a question for you alone",
                    "usage_hint": f"[{words}]"[:1000],
                    "should_escape": True,
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**address, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **address},
            "org_deploy_enabled": several,
            "socket_mode_enabled": sockets,
            "token_rotation_enabled": several,
        },
    }
    if several:
        app["oauth_config"]["redirect_urls"] = [f"{url}/slack/oauth_redirect"]
    return app
