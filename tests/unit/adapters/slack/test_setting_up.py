"""What an operator is told: the manifest to paste, and what is missing."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner
from pydantic import SecretStr

from adapters.base import NoState
from adapters.slack import Slack
from adapters.slack.manifest import SCOPES
from bot.cli import main
from tests.fakes import slack as fake
from tests.fakes.slack import published
from tests.unit.adapters.slack.slack_house import MENU, TIMING, settings

SOCKETS = 'adapters: {slack: {bot_token: "${A}", app_token: "${B}"}}'
HTTP = 'adapters: {slack: {bot_token: "${A}", signing_secret: "${B}"}}'
OAUTH = 'adapters: {slack: {client_id: "${A}", client_secret: "${B}", signing_secret: "${C}"}}'


def manifest(tmp_path, text: str, *options: str):  # type: ignore[no-untyped-def]  # a test's helper
    (tmp_path / "b.yaml").write_text(f"models: {{main: {{provider: demo}}}}\n{text}\n")
    return CliRunner().invoke(main, ["slack", "manifest", "--config", str(tmp_path / "b.yaml"), *options])


def test_the_manifest_for_socket_mode_needs_no_address_and_no_secret(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = yaml.safe_load(manifest(tmp_path, SOCKETS).output)
    assert made["settings"]["socket_mode_enabled"] is True
    assert "http" not in json.dumps(made)
    assert set(made["oauth_config"]["scopes"]["bot"]) == set(SCOPES) <= set(published.ALL_SCOPES)
    assert made["features"]["slash_commands"][0]["command"] == "/boswell"
    assert made["features"]["agent_view"]


def test_the_manifest_for_http_names_every_address(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert manifest(tmp_path, HTTP).exit_code == 2
    made = json.loads(manifest(tmp_path, OAUTH, "--url", "https://b.example/", "--json").output)
    address = "https://b.example/slack/events"
    assert made["settings"]["event_subscriptions"]["request_url"] == address
    assert made["settings"]["interactivity"]["request_url"] == address
    assert made["features"]["slash_commands"][0]["url"] == address
    assert made["oauth_config"]["redirect_urls"] == ["https://b.example/slack/oauth_redirect"]


def test_without_slack_in_the_configuration_there_is_none(tmp_path) -> None:  # type: ignore[no-untyped-def]
    without = manifest(tmp_path, "adapters: {console: {}}")
    assert without.exit_code == 2
    assert "`slack: {bot_token: ${SLACK_BOT_TOKEN}, app_token: ${SLACK_APP_TOKEN}}`" in without.output


def test_without_a_file_it_is_the_one_for_socket_mode(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    made = yaml.safe_load(CliRunner().invoke(main, ["slack", "manifest"]).output)
    assert made == yaml.safe_load(manifest(tmp_path, SOCKETS).output)


async def test_what_is_right_is_said() -> None:
    async with fake.SlackServer() as server:
        for oauth in (False, True):
            adapter = Slack(settings(server, oauth=oauth), MENU, NoState(), TIMING)
            findings = await adapter.check()
            assert all(finding.ok for finding in findings), findings
            assert len(findings) == 2
            await adapter.close()
        assert server.calls["chat.postMessage"] == 0


async def test_each_missing_scope_is_named() -> None:
    async with fake.SlackServer() as server:
        server.first.scopes -= {"im:history", "commands"}
        adapter = Slack(settings(server), MENU, NoState(), TIMING)
        missing = [finding.detail for finding in await adapter.check() if not finding.ok]
        assert len(missing) == 2
        assert any("im:history" in detail and "message.im" in detail for detail in missing)
        assert any("commands" in detail for detail in missing)


@pytest.mark.parametrize("wrong", ["bot_token", "app_token", "client_secret"])
async def test_a_wrong_credential_is_named(wrong: str) -> None:
    async with fake.SlackServer() as server:
        right = settings(server, oauth=wrong == "client_secret")
        adapter = Slack(right.model_copy(update={wrong: SecretStr("xoxb-wrong")}), MENU, NoState(), TIMING)
        [bad] = [finding for finding in await adapter.check() if not finding.ok]
        assert wrong in bad.detail
        assert "xoxb-wrong" not in bad.detail


async def test_where_slack_is_not_reached_nothing_is_said_of_the_tokens() -> None:
    async with fake.SlackServer() as server:
        right = settings(server)
    adapter = Slack(right, MENU, NoState(), TIMING)
    for finding in await adapter.check():
        assert "can not be reached" in finding.detail
        assert "token" not in finding.detail
    await adapter.close()
