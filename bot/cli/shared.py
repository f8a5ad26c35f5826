"""What the commands share: the option for the file, loading it, the database, and how a command fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from config import Config, Loaded
    from memory.database import Database, Tx

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

FAILED, WRONG = 1, 2  # exit codes: it failed; the arguments or the configuration are wrong


def silence_output() -> None:
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int = FAILED) -> NoReturn:
    click.echo(f"boswell: {message}", err=True)
    sys.exit(code)


def config_option(command: F) -> F:
    """`--config`, behind the command or before it: `bot.cli.main` keeps in `obj` what was given before."""
    return click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        callback=lambda ctx, _, value: value or ctx.obj,
        help="The configuration file (default: boswell.yaml).",
    )(command)


def program() -> str:
    """How this program is called: by its name alone only where a shell finds it by that."""
    called = Path(sys.argv[0])
    if called.name != "boswell":  # python -m bot.cli
        return "boswell"
    found = shutil.which(called.name)
    return called.name if found and called.exists() and called.samefile(found) else shlex.quote(sys.argv[0])


def check_folder(target: Path) -> None:
    """End the program if the folder that a file is to be written into is not there."""
    if not target.parent.is_dir():
        fail(f"there is no folder {str(target.parent)!r}; make it, or give another one")


def load_config(path: Path | None, *, secrets: bool = True) -> Loaded:
    from config import ConfigError, load

    try:
        return load(path, os.environ, secrets=secrets)
    except ConfigError as exc:
        click.echo(str(exc), err=True)
        sys.exit(WRONG)


def named(config: Config) -> list[str]:
    """The adapters that the configuration names; at least one."""
    adapters = config.adapters
    return [name for name in type(adapters).model_fields if getattr(adapters, name) is not None]


def with_database(config: Config, work: Callable[[Database], Awaitable[T]]) -> T:
    """What an async function of the open database returns; ends the program where there is none yet."""
    from bot.app import database_path
    from bot.logs import to_standard_error
    from memory.database import open_database

    to_standard_error()
    path = database_path(config)
    if not path.exists():
        fail(f"there is no database at {str(path)!r} yet; `boswell run` makes it")

    async def opened() -> T:
        async with open_database(path, migrate=False) as database:
            return await work(database)

    return asyncio.run(opened())


def read(config: Config, unit: Callable[[Tx], T]) -> T:
    """What a function of a transaction reads."""
    return with_database(config, lambda database: database.read(unit))


def write(config: Config, unit: Callable[[Tx], T]) -> T:
    """What a function of a transaction returns, once what it wrote is on disk."""
    return with_database(config, lambda database: database.write(unit))


def zone_of(config: Config, user: str) -> str:
    """A person's time zone; the configured one where they have set none, or no database tells."""
    from bot.app import database_path
    from memory import links
    from memory.database import MemoryFault

    zone = ""
    if database_path(config).exists():
        with contextlib.suppress(MemoryFault):
            zone = read(config, lambda tx: links.person(tx, user).timezone)
    return zone or config.memory.timezone


def printable(text: str) -> str:
    """The text without what would act on the operator's terminal; line ends and tabs stay."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
