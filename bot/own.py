"""What we enter into the inbox ourselves: it survives a crash and is worked on in order, like anything that a platform sent.

Such an update has a source that no platform's has, and its key is the same whenever the same thing is entered again: it is
done once. Nobody's pace counts for it, and it waits for no turn.
"""

from __future__ import annotations

from adapters.base import Chat, Person, Update

_SOURCE = "boswell"  # `<platform>:boswell`
PAIRED = "paired"  # the command that a person's welcome is
LINKED = "linked"  # they are one person with others (its arguments) from now on
PARTED = "parted"  # they are so no more
NOTICE = "notice"  # the command that says its arguments
REMIND = "remind"  # likewise, and it stands in the person's transcript


def update(
    key: str,
    chat: Chat,
    person: Person,
    *,
    command: str | None = None,
    args: str = "",
    text: str = "",
    at: float = 0.0,
) -> Update:
    """An update of our own: a command of ours, or a text for the agent to work on, which `args` name for people.

    `person` is who is spoken to.
    """
    return Update(
        source=source(chat.platform),
        key=key,
        chat=chat,
        person=person,
        text=text,
        at=at,
        command=command,
        args=args,
        addressed=True,
    )


def named(update: Update, sentence: str) -> str:
    """A sentence that says why something can not be done; of our own it tells what, for nobody is asking just then."""
    return f"{update.args}\n\n{sentence}" if is_own(update) and update.args else sentence


def pseudonym(platform: str, schedule: str) -> Person:
    """Who an operator's schedule to a group counts as. Where there are groups, no person's id has such letters in it."""
    return Person(f"{platform}-schedule-{schedule}", schedule)


def speaks_for_nobody(update: Update) -> bool:
    """Whether an operator's schedule to a group entered it: the operator's word lets it pass."""
    return (
        is_own(update)
        and update.chat.kind == "group"
        and update.person.id.startswith(f"{update.chat.platform}-schedule-")
    )


def is_own(update: Update) -> bool:
    """Whether we entered it ourselves."""
    return update.source == source(update.chat.platform)


def source(platform: str) -> str:
    """The source of what we enter for that platform."""
    return f"{platform}:{_SOURCE}"
