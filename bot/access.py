"""Who may talk: one gate that every kind of update passes, on the platforms' own ids and never on names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from adapters.base import Chat, Person, Update
from config.schema import AccessConfig, PlatformAccess

Policy = Literal["pairing", "open", "closed"]


class _Ids:
    """A list of the configuration: ids, and beginnings of ids."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._exact = frozenset(entry for entry in entries if not entry.endswith("*"))
        self._prefixes = tuple(entry[:-1] for entry in entries if entry.endswith("*"))

    def __contains__(self, id_: str) -> bool:
        return id_ in self._exact or id_.startswith(self._prefixes)

    def names_server(self, chat: Chat) -> bool:
        """Whether an entry is in the same server (or workspace) as a chat, or may be."""
        server = f"{chat.platform}-{chat.id.partition('-')[0]}-"
        return any(entry.startswith(server) for entry in (*self._exact, *self._prefixes))

    def has_place(self, place: str, person: str) -> bool:
        """Whether everybody in a group is meant.

        A `*` in place of all ids of a workspace stands for its people, and not for others' people who are guests in its channels.
        """
        parts = person.count("-")
        return place in self._exact or any(
            place.startswith(prefix)
            for prefix in self._prefixes
            if not (prefix.endswith("-") and prefix.count("-") == parts)
        )


class Gate:
    """Everybody is a stranger but those in `allow` (or speaking in a group that is), operators, and those who were approved.

    Whoever sits at the console is let in always, as an operator: they hold the files anyway. `approved` is shared: it grows and
    shrinks as operators decide.
    """

    def __init__(self, config: AccessConfig, approved: set[str]) -> None:
        self._config = config
        self.approved = approved
        self._operators = frozenset(config.operators)
        self._allow = _Ids(config.allow)
        self._allow_there: dict[str, _Ids] = {}
        self._groups: dict[str, _Ids | None] = {}

    def policy(self, platform: str) -> Policy:
        """What happens to strangers there."""
        return self._there(platform).policy or self._config.policy

    def allows(self, person: Person, chat: Chat) -> bool:
        """Whether what this person says in this chat is for us to read."""
        return self.lets_in(person, chat, approved=person.id in self.approved)

    def lets_in(self, person: Person, chat: Chat, *, approved: bool) -> bool:
        """As `allows`, where it is known better than by the set of all whether they were approved."""
        if not person.id:
            return False
        platform = chat.platform
        if self.policy(platform) == "open" or self.commands(person) or approved:
            return True
        there = self._allow_there.get(platform)
        if there is None:
            there = self._allow_there[platform] = _Ids(self._there(platform).allow)
        if person.id in self._allow or person.id in there:
            return True
        return chat.kind == "group" and any(
            ids.has_place(chat.place, person.id) for ids in (self._allow, there)
        )

    def anybody(self) -> bool:
        """Whether an operator has let anybody in."""
        return bool(self.approved)

    def approve(self, user_ids: Iterable[str]) -> None:
        """They are let in from now on."""
        self.approved.update(user_ids)

    def commands(self, person: Person) -> bool:
        """Whether the person is an operator: may approve, see the status, stop others' turns."""
        return self.at_home(person) or person.id in self._operators

    @property
    def operators(self) -> frozenset[str]:
        """The user ids that the configuration names."""
        return self._operators

    def at_home(self, person: Person) -> bool:
        """Whether the person sits at the console, and can hold nobody up but themselves."""
        return person.id.startswith("console-")

    def stays(self, chat: Chat) -> bool:
        """Whether it may be in this chat at all."""
        if chat.kind == "private":
            return True
        groups = self._only_groups(chat)
        return groups is None or chat.place in groups

    def knows_server(self, chat: Chat) -> bool:
        """Whether it may be somewhere in the server (or workspace) that the chat is in."""
        groups = self._only_groups(chat)
        return groups is None or groups.names_server(chat)

    def _only_groups(self, chat: Chat) -> _Ids | None:
        if chat.platform not in self._groups:
            groups = self._there(chat.platform).groups
            groups = self._config.groups if groups is None else groups
            self._groups[chat.platform] = None if groups is None else _Ids(groups)
        return self._groups[chat.platform]

    def _there(self, platform: str) -> PlatformAccess:
        return getattr(self._config.platforms, platform, None) or PlatformAccess()


Decision = Literal["turn", "command", "refuse", "leave", "overhear", "ignore"]


def decide(
    update: Update, gate: Gate, respond: Literal["mention", "always", "never"], commands: Sequence[str]
) -> Decision:
    """What to do with a person's message.

    In a group only what is addressed to the assistant is for it, and a stranger's other words are neither answered nor kept.
    """
    if not gate.stays(update.chat):
        return "leave"
    command = update.command is not None and (update.alone or update.addressed or update.command in commands)
    if update.alone:
        wanted = True
    elif respond == "never":
        wanted = command = False
    else:
        wanted = update.addressed or command or respond == "always"
    if not gate.allows(update.person, update.chat):
        return (
            "refuse" if update.alone or (respond != "never" and (update.addressed or command)) else "ignore"
        )
    if command:
        return "command"
    if wanted:
        return "turn"
    return "overhear" if update.text else "ignore"
