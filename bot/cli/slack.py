"""`boswell slack`: what Slack must be told of the app."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bot.cli import main
from bot.cli.shared import WRONG, config_option, fail, load_config


@main.group()
def slack() -> None:
    """Slack: what the platform must know of the app."""


@slack.command()
@config_option
@click.option("--url", default="", help="The public https address of the server, for HTTP mode and OAuth.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def manifest(path: Path | None, url: str, as_json: bool) -> None:
    """Print the app manifest to paste at https://api.slack.com/apps. Needs no secrets."""
    from pydantic import SecretStr

    from config.schema import SlackConfig

    loaded = load_config(path, secrets=False)
    config, settings = loaded.config, loaded.config.adapters.slack
    if settings is None and loaded.path is None:  # nothing is decided yet: what needs no public address
        settings = SlackConfig(app_token=SecretStr(""))
    if settings is None:
        slack = "slack: {bot_token: ${SLACK_BOT_TOKEN}, app_token: ${SLACK_APP_TOKEN}}"
        fail(f"{str(loaded.path)!r} names no slack; write `{slack}` under `adapters:`", WRONG)
    public = settings.app_token is None or settings.client_id is not None
    if public and not url.startswith("https://"):
        fail("the server's public address stands in this manifest; give it with --url https://…", WRONG)
    if url and not public:
        fail(
            "with app_token (Socket Mode) and no client_id no public address is needed; leave --url out",
            WRONG,
        )
    from adapters import NotInstalled
    from bot.commands import menu

    try:
        from adapters.slack.manifest import manifest as build
    except ModuleNotFoundError as exc:
        raise NotInstalled(
            f"{exc.name!r} is not installed; install it with: pip install 'boswell[slack]'"
        ) from exc
    made = build(settings, menu(), url, config.agent.name)
    if as_json:
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=100), nl=False)
