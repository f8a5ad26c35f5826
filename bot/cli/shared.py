"""What the commands share: the option for the file, loading it, the database, and how a command fails."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from config import Config, Loaded
    from memory.database import Database

F = TypeVar("F", bound=Callable[..., Any])

FAILED, WRONG = 1, 2  # exit codes: it failed; the arguments or the configuration are wrong


def silence_output() -> None:
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int = FAILED) -> NoReturn:
    click.echo(f"boswell: {message}", err=True)
    sys.exit(code)


def config_option(command: F) -> F:
    return click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The configuration file (default: boswell.yaml).",
    )(command)


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


def with_database(path: Path, read: Callable[[Database], Any]) -> Any:
    """What an async function of the open database returns."""
    from memory.database import open_database

    async def work() -> Any:
        async with open_database(path, migrate=False) as database:
            return await read(database)

    return asyncio.run(work())


def printable(text: str) -> str:
    """The text without what would act on the operator's terminal; line ends and tabs stay."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
