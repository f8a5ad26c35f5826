"""The `boswell` command. Nothing heavy is imported before the command is known, so that --help and --version answer at once."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from config import Loaded
    from memory.database import Database

F = TypeVar("F", bound=Callable[..., Any])

FAILED, WRONG = 1, 2  # exit codes: it failed; the arguments or the configuration are wrong


def _config_option(command: F) -> F:
    return click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The configuration file (default: boswell.yaml).",
    )(command)


def _load(path: Path | None) -> Loaded:
    from config import ConfigError, load

    try:
        return load(path, os.environ)
    except ConfigError as exc:
        click.echo(str(exc), err=True)
        sys.exit(WRONG)


def _fail(message: str, code: int = FAILED) -> None:
    click.echo(f"boswell: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="boswell", prog_name="boswell")
def main() -> None:
    """One assistant in every chat, that remembers."""


@main.command()
@_config_option
def run(path: Path | None) -> None:
    """Start every adapter that the configuration names."""
    loaded = _load(path)
    names = [
        name for name in type(loaded.config.adapters).model_fields if getattr(loaded.config.adapters, name)
    ]
    if not names:
        _fail("the configuration names no adapter; add for example `adapters: {console: {}}`", WRONG)
    _run(loaded, names)


@main.command()
@_config_option
@click.option("--user", help="Whose conversation it is (default: your account's name).")
def chat(path: Path | None, user: str | None) -> None:
    """Talk in this terminal: the console adapter alone."""
    from dataclasses import replace

    from config import ConsoleConfig

    loaded = _load(path)
    adapters = loaded.config.adapters
    console = adapters.console or ConsoleConfig()
    if user is not None:
        console = ConsoleConfig(user=user)
    config = loaded.config.model_copy(update={"adapters": adapters.model_copy(update={"console": console})})
    _run(replace(loaded, config=config), ["console"])


def _run(loaded: Loaded, names: list[str]) -> None:
    from bot.logs import configure

    config = loaded.config
    level = config.log.level
    if names == ["console"] and sys.stdin.isatty() and level == "info":
        level = "warning"  # the terminal belongs to the conversation
    configure(level, config.log.format)
    gc.disable()  # imports make many objects and no garbage; the app turns it on again when all is built
    from adapters.base import AdapterError
    from bot.app import run as run_app
    from bot.errors import BoswellError
    from memory.database import MemoryFault
    from memory.leases import LeaseTaken

    try:
        asyncio.run(run_app(config, names, loaded.note))
    except KeyboardInterrupt:
        sys.exit(130)
    except (MemoryFault, LeaseTaken, AdapterError, BoswellError, OSError) as exc:
        _fail(str(exc))


@main.command()
@click.option("--adapter", "adapters", multiple=True, help="console or telegram; may be given several times.")
@click.option("--provider", help="openai, azure, anthropic or demo.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@click.argument("path", type=click.Path(path_type=Path), default=Path("boswell.yaml"))
def init(path: Path, adapters: tuple[str, ...], provider: str | None, force: bool) -> None:
    """Write a commented boswell.yaml, asking only what it must."""
    from config import INIT_ADAPTERS, INIT_PROVIDERS, render_init

    if path.exists() and not force:
        _fail(f"{str(path)!r} exists; give another name, or --force to write over it")
    ask = sys.stdin.isatty()
    if not adapters:
        adapters = (
            tuple(
                click.prompt(
                    "Where to talk", "console", type=click.Choice(INIT_ADAPTERS), show_choices=True
                ).split(",")
            )
            if ask
            else ("console",)
        )
    if provider is None:
        provider = click.prompt("Which model", "demo", type=click.Choice(INIT_PROVIDERS)) if ask else "demo"
    wrong = [a for a in adapters if a not in INIT_ADAPTERS] + (
        [provider] if provider not in INIT_PROVIDERS else []
    )
    if wrong:
        _fail(
            f"{wrong[0]!r} is not known; adapters: {', '.join(INIT_ADAPTERS)}; providers: {', '.join(INIT_PROVIDERS)}",
            WRONG,
        )
    try:
        path.write_text(render_init(adapters, provider), encoding="utf-8")
    except OSError as exc:
        _fail(f"{str(path)!r} can not be written: {exc.strerror}")
    click.echo(f"Wrote {path}. Next: `boswell check`, then `boswell run`.")


@main.command()
@_config_option
@click.option("--live", is_flag=True, help="Also call each platform and model.")
def check(path: Path | None, live: bool) -> None:
    """Say what is wrong with the configuration, all at once."""
    loaded = _load(path)
    click.echo(f"{loaded.path or 'no file'}: correct. {loaded.note}".strip())
    if live:
        from bot.live import check as check_live

        findings = asyncio.run(check_live(loaded.config))
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject}: {finding.detail}")
        if not all(finding.ok for finding in findings):
            sys.exit(FAILED)


@main.command()
def schema() -> None:
    """Print a JSON Schema of the configuration, for editors."""
    from config import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing; the exit code says it: 0 healthy, 1 not.")
def status(path: Path | None, as_json: bool, quiet: bool) -> None:
    """How the adapters are, what is owed, and what was used."""
    from bot import status as reports
    from bot.app import database_path, locks_path

    loaded = _load(path)
    config = loaded.config
    names = [name for name in type(config.adapters).model_fields if getattr(config.adapters, name)]
    report = _with_database(
        database_path(config),
        lambda database: reports.collect(database, locks_path(config), names, time.time()),
    )
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        click.echo(
            reports.as_text(report, time.time(), color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        )
    if not report["healthy"]:
        sys.exit(FAILED)


@main.command()
@_config_option
@click.argument("user")
@click.argument("date", required=False)
def history(path: Path | None, user: str, date: str | None) -> None:
    """Print a person's transcript: of DATE (2026-01-31), or all days."""
    from datetime import date as date_

    from memory.transcripts import Transcripts

    transcripts = Transcripts(Path(_load(path).config.memory.dir))
    try:
        days = [date_.fromisoformat(date)] if date else transcripts.dates(user)
    except ValueError as exc:
        message = f"{date!r} is no date; write it like 2026-01-31" if date else str(exc)
        _fail(message, WRONG)
    texts = []
    for day in days:
        text = transcripts.raw(user, day)
        if text:
            texts.append(text if date else f"# {day.isoformat()}\n\n{text}")
    if not texts:
        root = Path(_load(path).config.memory.dir)
        known = ", ".join(sorted(p.name for p in root.iterdir())) if root.is_dir() else "nobody yet"
        where = f" on {date}" if date else ""
        _fail(f"there is no transcript of {user!r}{where}; there are transcripts of: {known}")
    click.echo("\n".join(texts), nl=False)


def _with_database(path: Path, read: Callable[[Database], Any]) -> Any:
    """Run an async function of the open database; a problem with it ends the program with a message."""
    from memory.database import MemoryFault, open_database

    async def work() -> Any:
        async with open_database(path) as database:
            return await read(database)

    if not path.exists():
        _fail(f"there is no database at {str(path)!r} yet; `boswell run` makes it")
    try:
        return asyncio.run(work())
    except MemoryFault as exc:
        return _fail(str(exc))


if __name__ == "__main__":
    main()
