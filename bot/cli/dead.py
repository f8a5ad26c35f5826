"""`boswell dead`: what could not be read, answered or delivered, to be looked at, tried again or let go of."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bot.cli import main
from bot.cli.shared import WRONG, config_option, fail, load_config, printable, read, write

if TYPE_CHECKING:
    from config import Config
    from memory.database import Tx
    from memory.dead import Letter

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


@main.group()
def dead() -> None:
    """What could not be read, answered or delivered.

    \b
    u12  an update that could not be read
    t13  a message whose turn was given up; t13 is also the reference that the person was told
    r34  a part of a reply that could not be delivered

    All of it is kept for 30 days.
    """


def _ids(command: F) -> F:
    every = click.option("--all", "every", is_flag=True, help="All of them.")
    return click.argument("ids", nargs=-1, metavar="[ID]...")(every(command))


@dead.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(path: Path | None, as_json: bool) -> None:
    """List them, without anybody's words."""
    from memory import dead as letters

    found = read(_config(path), letters.letters)
    if as_json:
        rows = [
            {
                "id": letter.id,
                "kind": letter.kind,
                "platform": letter.platform,
                "chat": letter.chat,
                "user": letter.user,
                "at": letter.at,
                "attempts": letter.attempts,
                "problem": letter.problem,
                "retrying": letter.asked,
            }
            for letter in found
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("There are no dead letters.")
    now = time.time()
    for letter in found:
        click.echo(printable(_line(letter, now)))


@dead.command()
@config_option
@click.argument("id_", metavar="ID")
def show(path: Path | None, id_: str) -> None:
    """Print one, with its words or the platform's raw data."""
    [letter] = _chosen(_config(path), [id_], every=False)
    text = f"{_line(letter, time.time())}\n\n{letter.words}\n"
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo(printable(text), nl=False)
    else:
        # Exactly: of text, click would drop what looks like a colour
        click.echo(text.encode("utf-8", "replace"), nl=False)


@dead.command()
@config_option
@_ids
def retry(path: Path | None, ids: Sequence[str], every: bool) -> None:
    """Try them again, now or when Boswell starts."""
    from bot.app import locks_path
    from memory import dead as letters
    from memory import leases

    config = _config(path)
    chosen = _chosen(config, ids, every=every)

    def ask(tx: Tx) -> None:
        for letter in chosen:
            letters.ask(tx, letter.kind, letter.number)

    write(config, ask)
    for letter in chosen:
        runs = leases.held(locks_path(config), f"adapter-{letter.platform}")
        when = "is tried again now" if runs else f"is tried again when {letter.platform} is started"
        click.echo(f"{letter.id} {when}.")


@dead.command()
@config_option
@_ids
def drop(path: Path | None, ids: Sequence[str], every: bool) -> None:
    """Erase them. What a transcript has of them stays there."""
    from memory import dead as letters

    config = _config(path)
    chosen = _chosen(config, ids, every=every)

    def erase(tx: Tx) -> None:
        for letter in chosen:
            letters.drop(tx, letter.kind, letter.number)

    write(config, erase)
    with suppress(sqlite3.Error):  # another process is writing: its next checkpoint does it
        read(config, lambda tx: tx.one("wal_empty"))
    for letter in chosen:
        click.echo(f"{letter.id} is erased.")


def _config(path: Path | None) -> Config:
    return load_config(path, secrets=False).config


def _chosen(config: Config, ids: Sequence[str], *, every: bool) -> list[Letter]:
    """The letters that were named, each once; ends the program if one is missing."""
    from memory import dead as letters

    if every == bool(ids):
        raise click.UsageError("give the ids that `boswell dead list` shows, or --all")
    try:
        wanted = [letters.parse(id_) for id_ in dict.fromkeys(ids)]
    except ValueError as exc:
        fail(str(exc), WRONG)
    found = {(letter.kind, letter.number): letter for letter in read(config, letters.letters)}
    for id_, key in zip(dict.fromkeys(ids), wanted, strict=True):
        if key not in found:
            fail(f"there is no dead letter {id_!r}; `boswell dead list` lists them")
    return [found[key] for key in wanted] if ids else list(found.values())


def _line(letter: Letter, now: float) -> str:
    whose = " ".join(filter(None, (letter.chat or letter.platform, letter.user)))
    tries = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    retrying = ", to be tried again" if letter.asked else ""
    return f"{letter.id:6} {letter.kind:6} {whose}, {_age(now - letter.at)} old, {tries}{retrying}: {letter.problem}"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
