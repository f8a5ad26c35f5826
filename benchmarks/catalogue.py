"""The programs that are measured, and how each is started."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import ROOT, Failed, Program, Servers

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"

# Pacing by chat stays as it is for Telegram; only the limit over all chats is lifted, as for one's own Bot API server.
_CONFIG = """\
models:
  main: {{provider: openai, model: bench, api_key: bench, base_url: "{model}/v1"}}
adapters:
  telegram: {{token: "{token}", base_url: "{telegram}", messages_per_second: 10000}}
access: {{policy: open}}
limits: {{turns_per_minute: null}}
agent: {{prompt: You are a concise assistant.}}
streams: {{context_tokens: {context_tokens}}}
"""


def _handler(name: str, python: str = sys.executable) -> Callable[[Path, Servers, str], Sequence[str]]:
    return lambda *_: [python, str(PROGRAMS / f"{name}.py")]


def _boswell(
    command: Sequence[str], context_tokens: int = 100_000
) -> Callable[[Path, Servers, str], Sequence[str]]:
    def arguments(directory: Path, servers: Servers, token: str) -> Sequence[str]:
        path = directory / "boswell.yaml"
        path.write_text(
            _CONFIG.format(
                model=servers.model, telegram=servers.telegram, token=token, context_tokens=context_tokens
            ),
            encoding="utf-8",
        )
        return [sys.executable, *command, "run", "--config", str(path)]

    return arguments


BOSWELL = Program("boswell", "Boswell, everything durable", _boswell(["-m", "bot.cli"]))
BARE = Program("bare", "bare handler (aiogram, openai)", _handler("bare"))
LEAN = Program("lean", "lean floor (aiohttp, no SDK)", _handler("lean"))

# A thousand messages in one chat would take a thousand seconds at Telegram's pace of one a second, so here the pace by
# chat is lifted too. The context is small, so that the tenth turn reads as much of it as the thousandth.
LONG = Program(
    "boswell-long",
    "Boswell, one long conversation",
    _boswell([str(PROGRAMS / "unpaced.py")], context_tokens=1000),
)


def beside_boswell(name: str) -> Program:
    """A variant of it, from `programs`."""
    return Program(name, f"Boswell, {name}", _boswell([str(PROGRAMS / f"{name}.py")]))


def ag2() -> Program:
    """The ag2 handler, in an environment of its own that is made once. Raises `Failed` where it can not be installed."""
    pins = HERE / "requirements-ag2.txt"
    home = ROOT / "build" / f"ag2-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    python, stamp = home / "bin" / "python", home / "complete"
    if not stamp.exists():
        print("Installing ag2 into an environment of its own; this happens once.", flush=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(pins)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failed(
                    f"ag2 can not be installed, the others are measured without it: {done.stderr[-500:]}"
                )
        stamp.touch()
    return Program("ag2", "the same on ag2 (aiogram, ag2, openai)", _handler("on_ag2", str(python)))
