"""`boswell search`: a person's transcripts and facts by their words, for who runs the program."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bot.cli import main
from bot.cli.shared import WRONG, config_option, fail, load_config, printable, zone_of


@main.command()
@config_option
@click.option("--from", "start", metavar="DATE", help="Only from that day on (2026-01-31, today, yesterday).")
@click.option("--to", "end", metavar="DATE", help="Only until that day.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many passages."
)
@click.argument("user")
@click.argument("words", nargs=-1, required=True)
def search(
    path: Path | None, start: str | None, end: str | None, limit: int, user: str, words: tuple[str, ...]
) -> None:
    """Print what USER said and was told that has WORDS, what fits best first.

    A "phrase in quotes" must be there word for word; a beginning* counts.
    """
    import time

    from bot.app import index_path
    from bot.events import Variables
    from bot.excerpts import excerpts
    from bot.tools.base import ToolProblem
    from bot.tools.history import render_section
    from bot.tools.search import AROUND_CHARS, MESSAGE_CHARS, days
    from memory.index import Index
    from memory.transcripts import Transcripts

    config = load_config(path, secrets=False).config
    transcripts = Transcripts(config.memory_path)
    query = " ".join(words)
    try:
        first, last = days(Variables(user, timezone=zone_of(config, user)), time.time(), start, end)
        if not transcripts.folder(user).is_dir():
            fail(f"there are no transcripts of {user!r}; `boswell history {user}` says of whom there are")
        index = Index(index_path(config), transcripts)
        found = index.search([user], query, first=first, last=last, limit=limit)
    except (ToolProblem, ValueError) as exc:
        fail(str(exc), WRONG)
    if not found:
        click.echo("Nothing was found.", err=True)
    parts = excerpts(found, query, chars=MESSAGE_CHARS, around=AROUND_CHARS)
    whole = "".join(f"{render_section(one.date, one.section)}\n\n" for one in parts)
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo(printable(whole), nl=False)
    else:
        click.echo(whole.encode(), nl=False)  # exactly: of text, click would drop what looks like a colour
