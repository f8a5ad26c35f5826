"""Who may talk: one gate that every kind of update passes, on the platforms' own ids and never on names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from adapters.base import Person, Update


class Gate:
    """`open` lets everyone in; `closed` those whose user id is in `allow`, where an entry may end in `*`.

    Whoever sits at the console is let in always: they hold the files anyway.
    """

    def __init__(
        self, policy: Literal["open", "closed"], allow: Sequence[str], operators: Sequence[str] = ()
    ) -> None:
        self._operators = frozenset(operators)
        self._open = policy == "open"
        self._exact = frozenset(entry for entry in allow if not entry.endswith("*"))
        self._prefixes = tuple(entry[:-1] for entry in allow if entry.endswith("*"))

    def allows(self, person: Person) -> bool:
        if not person.id:
            return False
        return (
            self._open
            or person.id.startswith("console-")
            or person.id in self._operators
            or person.id in self._exact
            or person.id.startswith(self._prefixes)
        )


    def commands(self, person: Person) -> bool:
        """Whether the person is an operator: may approve, see the status, stop others' turns."""
        return person.id in self._operators


Decision = Literal["turn", "command", "refuse", "overhear", "ignore"]


def decide(
    update: Update, gate: Gate, respond: Literal["mention", "always", "never"], commands: Sequence[str]
) -> Decision:
    """What to do with a person's message.

    In a group only what is addressed to the assistant is for it, and a stranger's other words are neither answered nor kept.
    """
    private = update.chat.kind == "private"
    command = update.command is not None and (private or update.addressed or update.command in commands)
    if private:
        wanted = True
    elif respond == "never":
        wanted = command = False
    else:
        wanted = update.addressed or command or respond == "always"
    if not gate.allows(update.person):
        return "refuse" if private or (respond != "never" and (update.addressed or command)) else "ignore"
    if command:
        return "command"
    if wanted:
        return "turn"
    return "overhear" if update.text else "ignore"
