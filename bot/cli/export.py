"""`boswell export`: all that is kept of a person, for an operator to hand over. Works while Boswell runs."""

from __future__ import annotations

import time
from pathlib import Path

import click

from bot.cli import main
from bot.cli.shared import WRONG, check_folder, config_option, fail, load_config, read


@main.command()
@config_option
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path),
    help="The file to write (default: boswell-export-USER.zip).",
)
@click.argument("user")
def export(path: Path | None, target: Path | None, user: str) -> None:
    """Write all that is kept of a person into a zip file.

    USER is a user id, such as telegram-1001.
    """
    from bot.app import paths
    from memory import export as exports
    from memory.files import folder_of
    from memory.whole import sweep

    config = load_config(path, secrets=False).config
    try:
        folder = folder_of(config.memory_path, user)
    except ValueError as exc:
        fail(str(exc), WRONG)
    people = read(config, lambda tx: exports.people(tx, user))
    if not people and not folder.is_dir():
        fail(f"nothing is kept of {user!r}; `boswell history` names the people of whom there are transcripts")
    target = target or Path(f"boswell-export-{user}.zip")
    exists = f"{str(target)!r} exists; give another name with --output"
    if target.exists():
        fail(exists)
    check_folder(target)
    sweep(target.parent, "boswell-export-")
    try:
        exports.write(target, paths(config), people or (user,), time.time())
    except FileExistsError:  # somebody was faster
        fail(exists)
    click.echo(f"Wrote {target}, all that is kept of {', '.join(people or (user,))}.")
