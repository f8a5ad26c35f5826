"""Records the terminal session that the README shows: `python -m tests.fakes.record` writes it there anew."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.terminal import Program

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SAID = {  # what is typed, and what stands above the empty prompt when that is answered
    "My name is Anna.": r"Nice to meet you, Anna\.",
    "/clear": r"what we said stays in your history\.",
    "what did we talk about today?": r"Me: Nice to meet you, Anna\.",
}
_SESSION = re.compile(r"(?<=<!-- session -->\n).*?(?=<!-- /session -->)", re.DOTALL)


def environ() -> dict[str, str]:
    """The environment of somebody who has set nothing up."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def record(command: Sequence[str | Path], folder: Path) -> str:
    """What stands on the terminal after `make run`, which `command` is, and the session was typed."""
    with Program(command, folder, environ()) as program:
        program.sees(r"^>\Z")
        for line, answer in SAID.items():
            program.type(f"{line}\r")
            program.sees(rf"{answer}\n\n>\Z")
            program.rests()
        program.type("/exit\r")
        code = program.ends()
    assert code == 0, program.screen.text
    return f"$ make run\n{program.screen.text.strip()}\n"


def shown() -> str:
    """The session as the README has it."""
    found = _SESSION.search(README.read_text(encoding="utf-8"))
    return found[0].removeprefix("```console\n").removesuffix("```\n") if found else ""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = record([sys.executable, "-m", "bot.cli", "chat"], Path(folder))
    text = README.read_text(encoding="utf-8")
    README.write_text(_SESSION.sub(lambda _: f"```console\n{session}```\n", text), encoding="utf-8")


if __name__ == "__main__":
    main()
