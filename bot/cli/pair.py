"""`boswell pair`: who may talk, decided at the command line. A running Boswell acts on it within a second or two."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli import main
from bot.cli.shared import config_option, fail, load_config, printable, read, write

if TYPE_CHECKING:
    from config import Config

OPERATOR = "command line"


@main.group()
def pair() -> None:
    """Who may talk: let in, or keep out, who asks."""


def _config(path: Path | None) -> Config:
    return load_config(path, secrets=False).config


@pair.command("list")
@config_option
def list_(path: Path | None) -> None:
    """Who waits with a code, and what was decided about others."""
    from memory import people

    now = time.time()
    waiting, decided = read(_config(path), lambda tx: (people.pending(tx, now), people.decided(tx)))
    for one in waiting:
        minutes = max(1, round((one.expires_at - now) / 60))
        click.echo(f"{one.code}  {one.user_id}  {printable(one.name)!r}  waits, {minutes} min left")
    for row in decided:
        day = datetime.fromtimestamp(row["at"], UTC).date()
        click.echo(f"{row['state']:8}  {row['user_id']}  {printable(row['name'])!r}  on {day} by {row['by']}")
    if not waiting and not decided:
        click.echo("Nobody waits to be let in, and nothing was decided yet.")


@pair.command()
@config_option
@click.argument("code")
def approve(path: Path | None, code: str) -> None:
    """Let in who was given CODE; they are told."""
    click.echo(f"{_decide(path, code, approved=True)} is let in.")


@pair.command()
@config_option
@click.argument("code")
def deny(path: Path | None, code: str) -> None:
    """Keep out who was given CODE; they are not answered any more."""
    click.echo(f"{_decide(path, code, approved=False)} is kept out.")


def _decide(path: Path | None, code: str, *, approved: bool) -> str:
    from memory import people

    found = write(_config(path), lambda tx: people.decide(tx, code, approved, OPERATOR, time.time()))
    if found is None:
        fail(f"there is no code {code!r}, or its hour is over; `boswell pair list` shows those that wait")
    return found.user_id


@pair.command()
@config_option
@click.argument("user")
def revoke(path: Path | None, user: str) -> None:
    """Take back what was decided about USER (a user id, such as telegram-1001): they are a stranger again."""
    from memory import people

    if not write(_config(path), lambda tx: people.revoke(tx, user)):
        fail(f"nothing was decided about {user!r}; who is in `access: allow:` is taken out there")
    click.echo(f"{user} is a stranger again.")
