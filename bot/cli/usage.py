"""`boswell usage`: what the models have used, for the operator and for spreadsheets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bot.cli import main
from bot.cli.shared import WRONG, config_option, fail, load_config, with_database

if TYPE_CHECKING:
    from bot.usage import By


@main.command()
@config_option
@click.option(
    "--by",
    type=click.Choice(("person", "model", "day", "chat")),
    default="model",
    show_default=True,
    help="What the rows are.",
)
@click.option("--since", metavar="DATE", help="Calls from that day on (2026-01-31, today or yesterday).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def usage(path: Path | None, by: str, since: str | None, as_json: bool, as_csv: bool) -> None:
    """What the models have used, by person, model, day or chat."""
    from datetime import date, datetime, timedelta
    from zoneinfo import ZoneInfo

    from bot import usage as reports

    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    config = load_config(path, secrets=False).config
    zone = config.memory.timezone
    today = datetime.fromtimestamp(time.time(), ZoneInfo(zone)).date()
    words = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        begin = (words.get(since) or date.fromisoformat(since)) if since else None
    except ValueError:
        fail(f"{since!r} is no date; write it like 2026-01-31, or today, or yesterday", WRONG)
    report = with_database(config, lambda opened: reports.collect(opened, cast("By", by), begin, zone))
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        click.echo(reports.as_csv(report) if as_csv else reports.as_text(report), nl=not as_csv)
