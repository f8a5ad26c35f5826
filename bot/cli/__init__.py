"""The `boswell` command. Nothing heavy is imported before the command is known, so that --help and --version answer at once."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import json
import os
import re
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from bot.cli.shared import (
    FAILED,
    WRONG,
    config_option,
    fail,
    load_config,
    named,
    printable,
    program,
    silence_output,
    with_database,
    zone_of,
)

if TYPE_CHECKING:
    from config import Loaded

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class _Program(click.Group):
    """The command line, which ends in a sentence and an exit code whatever happens: nobody is shown a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # what a terminal's encoding lacks
        try:
            return super().main(*args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - the program's edge
            _end(exc)


def _end(exc: BaseException) -> NoReturn:
    """Say what happened, of several things the first, and exit."""
    from adapters import NotInstalled
    from adapters.base import AdapterError
    from bot.errors import BoswellError, ModelRejected
    from memory.database import MemoryFault
    from memory.leases import LeaseTaken

    try:
        sys.stdout.flush()
    except (AttributeError, OSError):  # it would fail once more when the interpreter ends, with a traceback
        silence_output()
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    match exc:
        case NotInstalled() | ModelRejected():
            fail(str(exc), WRONG)
        case AdapterError() | BoswellError() | MemoryFault() | LeaseTaken():
            fail(str(exc))
        case OSError():
            what = exc.strerror or str(exc)
            if exc.filename is not None and exc.errno in (errno.ENOSPC, errno.EDQUOT):
                what += "; make room there"
            fail(what if exc.filename is None else f"{exc.filename!r}: {what}")
        case sqlite3.Error():
            fail(f"the database: {exc}; check the free space and the disk under data_dir")
        case _:  # the message of any other may hold somebody's words
            frames = traceback.extract_tb(exc.__traceback__)
            place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            fail(f"internal error ({type(exc).__name__}{place}); `log: {{level: debug}}` logs all of it")


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"boswell, version {version('boswell')}")
    except PackageNotFoundError:
        click.echo("boswell, not installed: run from its sources")
    ctx.exit()


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@config_option
@click.pass_context
def main(ctx: click.Context, path: Path | None) -> None:
    """One assistant in every chat, that remembers."""
    ctx.obj = path


@main.command()
@config_option
def run(path: Path | None) -> None:
    """Start every adapter that the configuration names."""
    loaded = load_config(path)
    _run(loaded, named(loaded.config))


@main.command()
@config_option
@click.option("--user", help="Whose conversation it is (default: your account's name).")
def chat(path: Path | None, user: str | None) -> None:
    """Talk in this terminal: the console adapter alone."""
    from dataclasses import replace

    from config import ConsoleConfig

    loaded = load_config(path)
    adapters = loaded.config.adapters
    console = adapters.console or ConsoleConfig()
    if user is not None:
        console = ConsoleConfig(user=user)
    config = loaded.config.model_copy(update={"adapters": adapters.model_copy(update={"console": console})})
    _run(replace(loaded, config=config), ["console"], http=False)


def _run(loaded: Loaded, names: list[str], *, http: bool = True) -> None:
    _load_structlog()
    from bot.logs import catch_crashes, configure, secrets_of

    config = loaded.config
    level = config.log.level
    if names == ["console"] and level == "info" and sys.stderr is not None and sys.stderr.isatty():
        level = "warning"  # the terminal belongs to the conversation
    configure(level, config.log.format, secrets_of(config))
    catch_crashes()
    if http and loaded.path is not None:
        # Until it can be heeded; whatever it is for is found then, too
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)  # whatever a library writes is for this account alone, too
    gc.disable()  # imports make many objects and no garbage; the app turns it on again when all is built
    from bot.app import run as run_app

    try:
        asyncio.run(run_app(config, names, loaded.note, loaded.path if http else None, http=http))
    except Exception as exc:
        import structlog

        structlog.get_logger(__name__).debug("ended_by", exc_info=exc)
        raise


def _load_structlog() -> None:
    """Import structlog without rich, which it takes, where it is installed, for tracebacks of a kind that we do not print.

    That is 6 MB, and an eighth of the way to the prompt; the console imports rich when there is something to format.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = cast(ModuleType, None)  # Python's own sign of what can not be imported
    try:
        import structlog  # noqa: F401 - for whoever imports it from here on
    finally:
        del sys.modules["rich"]


@main.command()
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    help="console, telegram, slack or discord; may be given several times.",
)
@click.option("--provider", help="openai, azure, anthropic or demo.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@config_option
@click.argument("target", metavar="[PATH]", type=click.Path(path_type=Path), required=False)
def init(
    path: Path | None, target: Path | None, adapters: tuple[str, ...], provider: str | None, force: bool
) -> None:
    """Write a commented boswell.yaml, asking only what it must."""
    from config import DEFAULT_PATH, INIT_ADAPTERS, INIT_PROVIDERS, render_init

    if path is not None and target is not None:
        raise click.UsageError("give PATH or --config, not both")
    path = target or path or DEFAULT_PATH
    exists = f"{str(path)!r} exists; give another name, or --force to write over it"
    if path.exists() and not force:
        fail(exists)
    places = _chosen(INIT_ADAPTERS, ",".join(adapters)) if adapters else ()
    models = _chosen(INIT_PROVIDERS, provider) if provider is not None else ()
    places = places or _ask("Where to talk (several with commas)", INIT_ADAPTERS, "console")
    models = models or _ask("Which model", INIT_PROVIDERS, "demo")
    if len(models) > 1:
        raise click.UsageError("one provider is written; add more under `models:` by hand")
    text = render_init(places, models[0])
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:  # a link to nowhere, or somebody was faster
        fail(exists)
    except OSError as exc:
        fail(f"{str(path)!r} can not be written: {exc.strerror}")
    option = "" if path == DEFAULT_PATH else f" --config {path}"
    boswell = program()
    click.echo(f"Wrote {path}. Next: `{boswell} check{option}`, then `{boswell} run{option}`.")
    if secrets := re.findall(r"^ *\w+: \$\{(\w+)\}", text, re.MULTILINE):
        click.echo(f"It takes these from the environment: {', '.join(secrets)}.")


def _chosen(options: Sequence[str], text: str) -> tuple[str, ...]:
    words = tuple(text.replace(",", " ").split())
    for word in words or ("",):
        if word not in options:
            raise click.UsageError(f"{word!r} is not known; there are: {', '.join(options)}.")
    return words


def _ask(question: str, options: Sequence[str], default: str) -> tuple[str, ...]:
    """The answer of whoever sits at the terminal; the default where nobody does."""
    if sys.stdin is None or not sys.stdin.isatty():
        return (default,)
    asked = f"{question}: {', '.join(options)}"
    answer: tuple[str, ...] = click.prompt(asked, default, value_proc=partial(_chosen, options))
    return answer


@main.command()
@config_option
@click.option("--live", is_flag=True, help="Also call each platform and model.")
def check(path: Path | None, live: bool) -> None:
    """Say what is wrong with the configuration, all at once."""
    from bot.exposed import exposed
    from bot.tight import tight

    loaded = load_config(path)
    click.echo(" ".join(filter(None, (f"{loaded.path} is correct." if loaded.path else "", loaded.note))))
    for warning in (*exposed(loaded.config, loaded.path), *tight(loaded.config)):
        click.echo(f"warning: {warning}", err=True)
    if live:
        from bot.live import check as check_live
        from bot.logs import to_standard_error

        to_standard_error()
        findings = asyncio.run(check_live(loaded.config, named(loaded.config)))
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
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing; the exit code says it: 0 healthy, 1 not.")
def status(path: Path | None, as_json: bool, quiet: bool) -> None:
    """How the adapters are, what is owed, and what was used."""
    from bot import status as reports
    from bot.app import database_path, locks_path

    config = load_config(path, secrets=False).config
    if quiet and not database_path(config).exists():
        sys.exit(FAILED)
    names, now = named(config), time.time()
    locks, zone = locks_path(config), config.memory.timezone
    report = with_database(config, lambda opened: reports.collect(opened, locks, names, now, zone))
    if as_json and not quiet:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        color = sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
        click.echo(reports.as_text(report, now, color=color))
    if not report["healthy"]:
        sys.exit(FAILED)


@main.command()
@config_option
@click.argument("user", required=False)
@click.argument("date", required=False)
def history(path: Path | None, user: str | None, date: str | None) -> None:
    """Print a person's transcript, or whose there are.

    USER is a user id, such as telegram-1001; without one, all of whom there are transcripts are listed. DATE is 2026-01-31, or
    today or yesterday where that person is; without one, all days are printed.
    """
    from datetime import date as date_
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from memory.transcripts import Transcripts

    config = load_config(path, secrets=False).config
    transcripts = Transcripts(config.memory_path)
    if user is None:
        click.echo("\n".join(sorted(transcripts.people())) or "There are no transcripts yet.")
        return
    today = datetime.now(ZoneInfo(zone_of(config, user) if date else "UTC")).date()
    words = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        days = [words.get(date) or date_.fromisoformat(date)] if date else []
    except ValueError:
        fail(f"{date!r} is no date; write it like 2026-01-31, or today, or yesterday", WRONG)
    try:
        days = days or transcripts.dates(user)
        texts = {day: text for day in days if (text := transcripts.raw(user, day))}
    except ValueError as exc:
        fail(str(exc), WRONG)
    if not texts and date and (others := transcripts.dates(user)):
        fail(
            f"there is no transcript of {user!r} on {date}; there are of: {', '.join(map(str, others[-7:]))}"
        )
    if not texts:
        known = ", ".join(sorted(transcripts.people()))
        where = f" on {date}" if date else ""
        fail(f"there is no transcript of {user!r}{where}; there are transcripts of: {known or 'nobody yet'}")
    whole = "\n".join(text if date else f"# {day.isoformat()}\n\n{text}" for day, text in texts.items())
    if sys.stdout is not None and sys.stdout.isatty():
        # What a person wrote must not act on the operator's terminal.
        click.echo(printable(whole), nl=False)
    else:
        click.echo(whole.encode(), nl=False)  # exactly: of text, click would drop what looks like a colour


# Here and not above: each adds its commands to `main`.
from bot.cli import backup, dead, export, forget, pair, schedules, search, slack, usage  # noqa: E402, F401
