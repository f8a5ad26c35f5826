"""`boswell forget`: a person is erased, by the process that runs their platform or, where none does, by this one."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli import main
from bot.cli.shared import WRONG, config_option, fail, load_config, read, with_database

if TYPE_CHECKING:
    from config import Config
    from memory.database import Database, Tx
    from memory.erase import Erasure

PATIENCE = 120.0  # seconds for a process that runs
READERS = 30.0  # seconds for whoever reads the database
LOOK = 0.2
NOBODY = "nobody is there to confirm it; --yes erases without asking"


@main.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("user")
def forget(path: Path | None, yes: bool, user: str) -> None:
    """Erase everything that is kept of a person, everywhere.

    USER is a user id, such as telegram-1001.
    """
    from bot.app import database_path
    from memory import erase, links
    from memory.transcripts import Transcripts

    config = load_config(path, secrets=False).config
    transcripts = Transcripts(config.memory_path)
    try:
        transcripts.folder(user)
    except ValueError as exc:
        fail(str(exc), WRONG)

    def look(tx: Tx) -> tuple[tuple[str, ...], bool, Erasure | None]:
        people = links.people(tx, user)
        return people, any(erase.known(tx, one) for one in people), erase.get(tx, user)

    people, known, before = read(config, look)
    owed = before is not None and before.done_at is None
    if not (known or owed or any(transcripts.folder(one).exists() for one in people)):
        if before is None or before.done_at is None:
            fail(f"nothing is kept of {user!r}; `boswell usage --by person` lists who has talked")
        day = datetime.fromtimestamp(before.done_at, UTC).date()
        click.echo(f"{user} was erased on {day}, and nothing is kept of them since.")
        return
    if not yes:
        _confirm(people)
    with_database(config, lambda database: _forget(config, database, people))
    click.echo(f"Nothing is kept of {', '.join(people)} any more.")
    click.echo(
        "Not reached: what stands in the chats themselves, what the model's provider keeps, logs (they have ids and no words), "
        "exports, and backups."
    )
    for backup in erase.backups(database_path(config), config.memory_path):
        click.echo(f"  {backup} is from before an upgrade or a restore: remove it once you do not need it.")


def _confirm(people: Sequence[str]) -> None:
    click.echo(f"This erases everything that is kept of {', '.join(people)}, for good:")
    click.echo(
        "transcripts, facts, conversations, the index, reminders, what waits, settings, the name beside what was used."
    )
    if sys.stdin is None:
        fail(NOBODY, WRONG)
    try:
        sure = click.confirm("Erase it?")
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo()
        fail(NOBODY, WRONG)
    if not sure:
        fail("nothing was erased")


async def _forget(config: Config, database: Database, people: Sequence[str]) -> None:
    """Return when all of it is done; end the program where that takes too long."""
    from bot.app import index_path, locks_path
    from bot.forgetting import Eraser
    from memory import erase, leases
    from memory import people as people_
    from memory.index import Index
    from memory.transcripts import Transcripts

    transcripts = Transcripts(config.memory_path)
    eraser = Eraser(database, transcripts, Index(index_path(config), transcripts), config.data_path)
    began = time.monotonic()

    def ask(tx: Tx) -> None:
        home = people_.home(tx, people[0])
        chat = home and {**home, "title": ""}
        tell = chat and {"chat": chat, "via": "", "language": ""}
        erase.ask(tx, people, time.time(), tell)

    def left(tx: Tx) -> list[Erasure]:
        return [one for one in erase.owed(tx) if one.user_id in people and one.done_at is None]

    await database.write(ask)
    while owed := await database.read(left):
        for one in owed:
            with ExitStack() as stack:
                try:
                    stack.enter_context(leases.lease(locks_path(config), f"adapter-{one.platform}"))
                except leases.LeaseTaken:
                    continue  # that process does it, as soon as it sees the row
                if one.erased_at is None:
                    await eraser.erase(one)
                    await eraser.erased(one)
                await eraser.wipe(READERS)
        if time.monotonic() - began > PATIENCE:
            names = ", ".join(sorted({one.platform for one in owed}))
            fail(
                f"it is asked for, and the process that runs {names} has not done it within {PATIENCE:.0f} seconds; "
                "see its log. It goes on trying, and running this again waits for it"
            )
        await asyncio.sleep(LOOK)
