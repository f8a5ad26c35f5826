"""`boswell search`: a person's transcripts and facts by their words, for who runs the program."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli import main
from bot.cli.shared import WRONG, config_option, fail, load_config, printable, with_database, zone_of

if TYPE_CHECKING:
    from config import Config
    from memory.database import Database
    from memory.vectors import Meaning

PATIENCE = 15.0  # seconds for the embedding model: nobody waits for a turn here


@main.command()
@config_option
@click.option("--from", "start", metavar="DATE", help="Only from that day on (2026-01-31, today, yesterday).")
@click.option("--to", "end", metavar="DATE", help="Only until that day.")
@click.option(
    "--chat", default="", help="Only what was said in that group (its title or id), or only private."
)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many passages."
)
@click.argument("user")
@click.argument("words", nargs=-1, required=True)
def search(
    path: Path | None,
    start: str | None,
    end: str | None,
    chat: str,
    limit: int,
    user: str,
    words: tuple[str, ...],
) -> None:
    """Print what a person said and was told that has WORDS.

    What fits best comes first. A "phrase in quotes" must be there word for word; a beginning* counts. With memory.embeddings
    what means alike is found, too.
    """
    from bot.app import index_path
    from bot.events import Variables
    from bot.excerpts import excerpts
    from bot.logs import to_standard_error
    from bot.scope import within
    from bot.tools.base import ToolProblem
    from bot.tools.history import render_section
    from bot.tools.search import AROUND_CHARS, MESSAGE_CHARS, days
    from memory.index import Index, everywhere
    from memory.transcripts import Transcripts

    to_standard_error()
    config = load_config(path, secrets=False).config
    transcripts = Transcripts(config.memory_path)
    query = " ".join(words)
    try:
        first, last = days(Variables(user, timezone=zone_of(config, user)), time.time(), start, end)
        if not transcripts.folder(user).is_dir():
            fail(
                f"there are no transcripts of {user!r}; `boswell history` names the people of whom there are"
            )
        index = Index(index_path(config), transcripts)
        meaning = _meaning(config, path, user, query)
        allowed = within(everywhere, chat)
        found = index.search(
            [user], query, first=first, last=last, allowed=allowed, limit=limit, meaning=meaning
        )
    except (ToolProblem, ValueError) as exc:
        fail(str(exc), WRONG)
    if not found:
        click.echo("Nothing was found.", err=True)
    parts = excerpts(found, query, chars=MESSAGE_CHARS, around=AROUND_CHARS)
    whole = "".join(f"{render_section(one.date, one.section, config.agent.name)}\n\n" for one in parts)
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo(printable(whole), nl=False)
    else:
        click.echo(whole.encode(), nl=False)  # exactly: of text, click would drop what looks like a colour


def _meaning(config: Config, path: Path | None, user: str, query: str) -> Meaning | None:
    """What the query means, if a model is configured and tells. It counts for USER, as if they had asked."""
    from bot.app import database_path
    from bot.errors import BoswellError
    from config import ConfigError, load
    from memory.database import MemoryFault
    from memory.words import parse

    asked = parse(query)
    if config.memory.embeddings is None or not asked or asked.exact:
        return None
    try:
        if config.memory.embeddings.api_key is not None:
            config = load(path, os.environ).config
        if not database_path(config).exists():
            return None  # where nothing can be booked nothing is spent
        zone = zone_of(config, user)
        return with_database(config, lambda database: _ask(config, database, user, zone, query))
    except (BoswellError, MemoryFault, ConfigError) as exc:
        problem = "a secret of the configuration is missing" if isinstance(exc, ConfigError) else exc
        click.echo(f"boswell: searched by words alone: {problem}", err=True)
        return None


async def _ask(config: Config, database: Database, user: str, zone: str, query: str) -> Meaning | None:
    from bot import models
    from bot.breaker import Breakers
    from bot.limits import Limits
    from bot.metrics import Metrics
    from bot.models.embedding import EMBEDDINGS
    from config.schema import Price

    if config.memory.embeddings is None:
        return None
    embedder = models.build_embedder(config.memory.embeddings)
    from bot.meaning import Meanings, Payer  # it needs numpy, which is looked for above

    price = Price(input=config.memory.embeddings.price)
    limits = Limits(config.limits, {EMBEDDINGS: price}, config.memory.timezone)
    try:
        meanings = Meanings(embedder, price, limits, Breakers(), database, time.time, Metrics(), PATIENCE)
        return await meanings.ask(query, Payer.of(user, zone))
    finally:
        await embedder.close()
