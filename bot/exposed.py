"""What other accounts of the machine can read of ours, though it holds secrets or people's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bot.logs import secrets_of
from config import Config

_OTHERS = 0o077


def exposed(config: Config, path: Path | None) -> Iterator[str]:
    """A sentence for each, with what to do. What we make ourselves is for our account alone, whatever the umask.

    Folders that were there before are left as they are: somebody may mean them to be read.
    """
    if path is not None and _readable(path) and _holds_secret(config, path):
        yield f"{str(path)!r} holds a secret and can be read by others: `chmod 600 {path}`, or write ${{NAME}} instead"
    for folder in dict.fromkeys((Path(config.data_dir), config.memory_path)):
        if _readable(folder):
            yield f"{str(folder)!r} holds what people said and can be looked into by others: `chmod 700 {folder}`"


def _readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _holds_secret(config: Config, path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(secret in text for secret in secrets_of(config) if secret)
