"""A changed configuration file, or SIGHUP: the new one is checked and applied whole, or the last good one stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from bot.errors import BoswellError
from bot.logs import hide, secrets_of
from config import Config, ConfigError, load

log = structlog.get_logger(__name__)

INTERVAL = 1.0  # seconds between two looks at the file
FIXED = ("adapters", "server", "data_dir", "log")  # sections that a running process can not change


class NeedsRestart(BoswellError):
    """The new file changes what only a restart can change. The message names the keys."""


def check_fixed(old: Config, new: Config) -> None:
    """Raise `NeedsRestart` if the change is not one for a running process."""
    changed = [name for name in FIXED if getattr(old, name) != getattr(new, name)]
    if old.memory_path != new.memory_path:
        changed.append("memory.dir")
    if changed:
        raise NeedsRestart(f"a change of {' and '.join(changed)} takes a restart")


class Reloader:
    """Watches one file, and looks at once when `asked` is set (SIGHUP), whether or not the file looks changed.

    `apply` takes the old and the new configuration at once, or raises and changes nothing.
    """

    def __init__(
        self, path: Path, asked: asyncio.Event, config: Config, apply: Callable[[Config, Config], None]
    ) -> None:
        self._path = path
        self._config = config
        self._apply = apply
        self._asked = asked
        self._seen: tuple[object, ...] = ()  # nothing yet: it may have changed since it was read at the start
        self._rejected = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._asked.wait()
            except TimeoutError:
                asked = False
            else:
                asked = True
                self._asked.clear()
            seen = await asyncio.to_thread(self._look, self._config)
            if asked or seen != self._seen:
                # From before it is read: what is written meanwhile is seen at the next look
                self._seen = seen
                await self.reload(asked=asked)

    async def reload(self, *, asked: bool = False) -> bool:
        """Load and apply; whether it was. A file that is rejected is told once, until it changes or somebody asks."""
        try:
            loaded = await asyncio.to_thread(load, self._path, os.environ)
            new = loaded.config
            hide(secrets_of(new))
            check_fixed(self._config, new)
            if new != self._config:
                self._apply(self._config, new)
        except ConfigError as exc:
            self._reject(str(exc), asked)
            return False
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with the new one, the old one goes on
            self._reject(str(exc) if isinstance(exc, BoswellError) else type(exc).__name__, asked)
            return False
        self._rejected = ""
        if new != self._config or asked:
            log.info("reloaded", file=str(self._path), changed=_changed(self._config, new))
        if new.agent.prompt_file != self._config.agent.prompt_file:
            self._seen = ()  # the new prompt_file may have changed since it was read
        self._config = new
        return True

    def _reject(self, problem: str, asked: bool) -> None:
        if problem != self._rejected or asked:
            log.error("reload_rejected", problems=problem.splitlines(), note="the last good one stays")
        self._rejected = problem

    def _look(self, config: Config) -> tuple[object, ...]:
        """What changes when a file does."""
        prompt = config.agent.prompt_file
        return tuple(_stamp(file) for file in (self._path, *([Path(prompt)] if prompt else ())))


def _stamp(file: Path) -> object:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _changed(old: Config, new: Config) -> list[str]:
    return [name for name in type(new).model_fields if getattr(old, name) != getattr(new, name)]
