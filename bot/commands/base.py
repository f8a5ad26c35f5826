"""What a command is: who gave it, where, what it may use, and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.base import Button
from bot import sentences
from memory.database import Tx

if TYPE_CHECKING:
    from bot.engine import Job
    from bot.turns import Turns


@dataclass(frozen=True)
class CommandContext:
    """Who gave the command, where, and what it may use."""

    turns: Turns
    job: Job

    @property
    def user_id(self) -> str:
        return self.job.update.person.id

    @property
    def args(self) -> str:
        return self.job.update.args

    def say(self, key: str, /, **values: object) -> str:
        """A sentence in the person's language."""
        return sentences.say(key, self.job.update.person.language, **values)


def described(user_id: str, name: str) -> str:
    """Who it is, by their id; what they call themselves is only what they say, and can not act as Markdown."""
    return f"{user_id} (“{name.translate(_MARKS)}”)" if name else user_id


_MARKS = {
    ord(char): " " for char in "*_`[]()<>#|~\\@:/\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
}


@dataclass(frozen=True)
class Answer:
    """What is said back, what is written in the same transaction, and what can be pressed below it.

    A `text` that depends on what is written is made in that transaction.
    """

    text: str | Callable[[Tx], str]
    also: Callable[[Tx], object] | None = None
    buttons: tuple[Button, ...] = ()
    file: str = ""  # path below data_dir of one that goes with it, to this person alone
    stirs: bool = False  # what it writes is to be acted upon at once, as if another process had written it


@dataclass(frozen=True)
class Command:
    """A command: the key of its line of help, and what it does. It may run twice (after a crash) and must not mind."""

    help: str
    handler: Callable[[CommandContext], Awaitable[Answer]]
    operators: bool = False  # nobody else is told of it
