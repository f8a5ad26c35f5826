"""What search has found, put together for reading: passages that stand next to each other are one excerpt.

Used by the tool, the command and the command line alike, so that all show the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date as Date  # noqa: N812 - `date` is the name of a field

from memory import words
from memory.index import Passage
from memory.transcripts import Message, Section, place_suffix, read_heading

LINE = 50  # characters that a short line counts as
FACTS = ("fact", "former fact")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a conversation, or a fact, of one user id. In `section`, `time` says of a fact that it is one."""

    user_id: str
    date: Date | None
    section: Section


@dataclass(slots=True)
class _Group:
    """Passages with what stands around them, by where it stands."""

    first: Passage
    lines: dict[int, Message] = field(default_factory=dict)
    found: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def near(self, passage: Passage) -> bool:
        if self.first.role in FACTS or passage.role in FACTS or self.first.user_id != passage.user_id:
            return False
        spots = _spots(passage)
        return bool({*range(spots.start - 1, spots.stop + 1)} & {*self.lines, *self.found})

    def add(self, passage: Passage) -> None:
        self.found.add(passage.at)
        self.lines |= dict(zip(_spots(passage), passage.before, strict=False))
        self.lines |= dict(zip(range(passage.at + 1, _spots(passage).stop), passage.after, strict=True))
        if passage.role == "user":
            self.lines[passage.at] = ("user", passage.text)
        elif passage.role == "assistant":
            self.lines[passage.at] = ("assistant", passage.text)
        else:
            self.notes.append(passage.text)

    def take(self, other: _Group) -> None:
        self.lines |= other.lines
        self.found |= other.found
        self.notes += other.notes


def _spots(passage: Passage) -> range:
    return range(passage.at - len(passage.before), passage.at + len(passage.after) + 1)


def excerpts(passages: Iterable[Passage], query: str, *, chars: int, around: int) -> list[Excerpt]:
    """Put passages together, in the order of the best of each; of a message at most `chars`, of one beside it `around`.

    What is cut is cut around the words of the query.
    """
    groups: list[_Group] = []
    for passage in passages:
        near = [group for group in groups if group.near(passage)]
        if near:
            home = near[0]
            for other in near[1:]:
                home.take(other)
                groups.remove(other)
        else:
            home = _Group(passage)
            groups.append(home)
        home.add(passage)
    return [_excerpt(group, query, chars, around) for group in groups]


def _excerpt(group: _Group, query: str, chars: int, around: int) -> Excerpt:
    one = group.first
    notes = "\n\n".join(shortened(note, query, chars) for note in group.notes)
    if one.role in FACTS:
        where = place_suffix(one.place) if one.place else ""
        return Excerpt(one.user_id, one.date, Section(f"{one.role}{where}", one.role, one.place, (), notes))
    messages: list[Message] = []
    for at in sorted(group.lines):
        role, text = group.lines[at]
        messages.append((role, shortened(text, query, chars if at in group.found else around)))
    time, _ = read_heading(one.heading)
    return Excerpt(one.user_id, one.date, Section(one.heading, time, one.place, tuple(messages), notes))


def shortened(text: str, query: str, most: int) -> str:
    """The text, or so many characters of it around the words that were looked for, and of short lines not more than fit there."""
    lines = most // LINE
    if len(text) <= most and text.count("\n") < lines:
        return text
    found = words.first_of(query, text)
    begin = max(0, min(found - most // 3, len(text) - most))
    end = min(len(text), begin + most)
    above = [at for at in range(begin, found) if text[at] == "\n"]
    if len(above) > lines // 3:
        begin = above[-lines // 3] + 1
    ends = [at for at in range(begin, end) if text[at] == "\n"]
    if len(ends) >= lines:
        end = ends[lines - 1]
    return f"{'… ' if begin else ''}{text[begin:end].strip()}{' …' if end < len(text) else ''}"
