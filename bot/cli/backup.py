"""`boswell backup` and `boswell restore`: all that lasts, in one file and back."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from bot.cli import main
from bot.cli.shared import check_folder, config_option, fail, load_config, printable


@main.command()
@config_option
@click.argument("target", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
def backup(path: Path | None, target: Path | None) -> None:
    """Write all that lasts into one file, also while Boswell runs.

    FILE is boswell-backup-DATE-TIME.zip if it is left out. A folder takes a file of that name.
    """
    from bot.app import paths
    from bot.metrics import version
    from memory import backup as backups

    config = load_config(path, secrets=False).config
    at = time.time()
    name = f"boswell-backup-{datetime.fromtimestamp(at, UTC):%Y%m%d-%H%M%S}.zip"
    target = Path(name) if target is None else target / name if target.is_dir() else target
    where = paths(config)
    if not where.database.exists():
        fail(f"there is no database at {str(where.database)!r} yet; `boswell run` makes it")
    exists = f"{str(target)!r} exists; give another name"
    if target.exists():
        fail(exists)
    check_folder(target)
    try:
        made, left = backups.make(target, where, version(), at)
    except FileExistsError:  # somebody was faster
        fail(exists)
    for each in left:
        click.echo(
            f"warning: {printable(str(each))!r} is not in it: it is no file, or no backup can have its name",
            err=True,
        )
    click.echo(f"Wrote {target}: the database, and the files of {_people(made.people)}.")


@main.command()
@config_option
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
def restore(path: Path | None, source: Path) -> None:
    """Put back what `boswell backup` wrote into FILE. Boswell must not run; what is there now is kept beside it."""
    from bot.app import paths
    from memory import backup as backups

    config = load_config(path, secrets=False).config
    restored, kept = backups.restore(source, paths(config), time.time())
    click.echo(
        f"Restored {source} of {printable(restored.made_at)}: the database, and the files of {_people(restored.people)}."
    )
    for folder in kept:
        click.echo(f"What was there before is in {folder}; remove it when you are sure.")
    click.echo("Who was forgotten since then is back: forget them again with `boswell forget`.")


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
