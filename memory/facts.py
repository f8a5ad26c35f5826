"""What a person asked to be remembered: `facts.md` in their folder, a list that anyone can read and edit.

    # Facts

    - My sister is called Ida. (2026-07-14)
    - I drink tea now. (2026-07-20 · telegram group -100123 "Book club")
      - ~~I like coffee.~~ (2026-05-02, until 2026-07-20 · telegram group -100123 "Book club")

An item is a fact, with the date when it was said and, if that was not in private, the place as the transcripts' headings have
it. Struck out it is a former one, which holds no more; what took its place stands above it. A line that was typed in is a
fact as well, with a date or without; indented lines below it belong to it. Whatever else a file holds is no fact, and stays
as it is.

What is written is one line, whatever the fact says: line breaks, and all that could be taken for the date, the place or the
stroke, are written with a backslash, and reading takes it away again.

Plain synchronous file work without a database; the caller runs it in a thread. Threads and processes may write at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date  # noqa: N812 - `date` is a fact's own
from pathlib import Path

from memory import files
from memory.transcripts import Place, place_suffix, read_heading

FILE = "facts.md"
MOST = 500  # facts of one person, former ones included
MOST_BYTES = 2_000_000  # of a file; so many facts would not come to that, and somebody has mistaken it for something else
_MOST_BEHIND = 4000  # characters of what stands behind a fact: a place has a title, and no book
_MOST_CACHED = 4096  # people
_MOST_TRIES = 100  # of a write, where somebody saves the file each time in between
_UNSETTLED = 100_000_000  # nanoseconds in which a file may change again and not look changed

_HEADER = "# Facts\n\nWhat you asked me to remember. You may edit this list: a line that begins with a dash is a fact.\n\n"


class FactsFull(Exception):
    """There is no room for another fact."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact as its file has it.

    `id` is short, for people and models; it follows from the text, the date and the place, and so names the same fact whatever
    is written around it. `date` is the day it was said, in the person's zone, None for one that was typed in without. `place` is
    None for what was said in private or typed in. A former one is not `valid`; `until` is the day it was replaced, if known.
    """

    id: str
    text: str
    date: Date | None
    place: Place | None
    until: Date | None
    valid: bool
    raw: str

    @property
    def said(self) -> tuple[str, Date | None, Place | None]:
        """What makes it this fact: what was said, when and where."""
        return self.text, self.date, self.place


def newest_first(files_of: Mapping[str, Sequence[Fact]]) -> list[tuple[str, Fact]]:
    """The facts of some user ids' files by their dates; one without a date is as old as the one above it."""
    dated: list[tuple[Date, int, str, Fact]] = []
    for user_id, facts in files_of.items():
        date = Date.min
        for number, fact in enumerate(facts):
            if fact.valid:
                date = fact.date or date
            dated.append((fact.date or date, number, user_id, fact))
    return [one[2:] for one in sorted(dated, key=lambda one: one[:3], reverse=True)]


# The form of a line ------------------------------------------------------------------------------------------------

_UNSAFE = re.compile(
    r"[\\~]|\((?=\d{4}-)"  # a backslash of theirs; what strikes out; what begins a date
    "|[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"  # what breaks or turns the line
    r"|\A\s|\s\Z"
)
_NAMED = {"\n": "n", "\r": "r", "\t": "t"}
_ESCAPED = re.compile(r"\\(?:([nrt])|u([0-9a-f]{4})|([^\w\s]))", re.ASCII)

_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+(?P<text>\S.*)", re.DOTALL)
_RULE = re.compile(r"[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*")
_OTHER = re.compile(r"[ \t]*(?:#|>|<|\||```|~~~)")  # what belongs to no item above it
_STRUCK = re.compile(r"~~(?P<text>.+?)~~\s+\((?P<behind>.*)\)", re.DOTALL)
_OPENING = re.compile(r"\s\((?=\d{4}-)")
_BEHIND = re.compile(r"(?P<date>[\d-]{10})?(?:(?:, )?until (?P<until>[\d-]{10}))?(?P<place> · .*)?")


def escape(text: str) -> str:
    """The text as it stands in a line of the file. `unescape` gives it back, but for lone surrogates, which no file takes."""
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    sign = match[0]
    if "\ud800" <= sign <= "\udfff":
        return "\N{REPLACEMENT CHARACTER}"
    if sign in "\\~(":
        return "\\" + sign
    return "\\" + _NAMED.get(sign, f"u{ord(sign):04x}")


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPED.sub(_unescaped, text)


def _unescaped(match: re.Match[str]) -> str:
    named, code, sign = match.groups()
    if code:
        return match[0] if code[0] == "d" and code[1] in "89abcdef" else chr(int(code, 16))
    return {"n": "\n", "r": "\r", "t": "\t"}[named] if named else str(sign)


def _line(text: str, date: Date, place: Place | None) -> str:
    return f"- {escape(text)} ({date}{_where(place)})"


def _struck(fact: Fact, until: Date) -> str:
    date = f"{fact.date}, " if fact.date else ""
    return f"- ~~{escape(fact.text)}~~ ({date}until {until}{_where(fact.place)})"


def _where(place: Place | None) -> str:
    return place_suffix(place) if place else ""


@dataclass(frozen=True, slots=True)
class _Behind:
    """What stands in parentheses behind a fact."""

    date: Date | None
    until: Date | None
    place: Place | None


def _read_behind(text: str) -> _Behind | None:
    match = _BEHIND.fullmatch(text)
    if match is None:
        return None
    place = read_heading(f"x{match['place']}")[1] if match["place"] else None
    if match["place"] and place is None:
        return None
    try:
        date, until = (Date.fromisoformat(day) if day else None for day in (match["date"], match["until"]))
    except ValueError:
        return None
    return _Behind(date, until, place)


def _read_item(text: str) -> tuple[str, _Behind, bool] | None:
    """An item's text, what stands behind it, and whether it holds; None if it has none of our marks."""
    nothing = _Behind(None, None, None)
    if text.endswith(")"):  # nothing else is tried: the time it takes grows with the text, and no faster
        if struck := _STRUCK.fullmatch(text):
            return unescape(struck["text"]), _read_behind(struck["behind"]) or nothing, False
        for opening in _OPENING.finditer(text, max(0, len(text) - _MOST_BEHIND)):
            found = _read_behind(text[opening.end() : -1])
            if found and found.date and not found.until:
                return unescape(text[: opening.start()]), found, True
    elif text.startswith("~~") and text.endswith("~~") and len(text) > len("~~~~"):
        return unescape(text[2:-2]), nothing, False
    return None


def _fact(lines: Sequence[str], raw: str) -> Fact:
    """The fact of an item whose text is on these lines: wrapped by an editor, or with more below it."""
    whole = _read_item(" ".join(lines))
    text, behind, valid = whole or _read_item(lines[0]) or (lines[0], _Behind(None, None, None), True)
    if whole is None:
        text = "\n".join([text, *lines[1:]])
    return Fact(_id(text, behind), text, behind.date, behind.place, behind.until, valid, raw)


_LETTERS, _DIGITS = "abcdefghjkmnpqrstuvwxyz", "23456789"  # none that look alike, and never a word


def _id(text: str, behind: _Behind) -> str:
    told = f"{behind.date or ''}{_where(behind.place)}\n{text}"
    number = int.from_bytes(hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    signs = []
    for alphabet in (_LETTERS, _DIGITS, _LETTERS, _DIGITS, _LETTERS):
        number, index = divmod(number, len(alphabet))
        signs.append(alphabet[index])
    return "".join(signs)


# A file ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Entry:
    """A fact by its lines in the file. `above` is the fact that it is a former one of."""

    lines: list[int]
    texts: list[str]
    above: _Entry | None = None
    fact: Fact = field(init=False)


def _decode(data: bytes) -> str:
    """As text that `_encode` gives back, whatever it was."""
    return data.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _entries(lines: Sequence[str]) -> list[_Entry]:
    """The facts among the lines of a file. Raises nothing on account of what the file holds."""
    entries: list[_Entry] = []
    current: _Entry | None = None  # the fact that indented lines belong to
    clean = [_legible(line) for line in lines]
    for number, line in enumerate(clean):
        if not line.strip():
            continue
        item = None if _RULE.fullmatch(line) else _ITEM.fullmatch(line)
        indented = line[0] in " \t"
        if item and (current is None or not indented or item["text"].startswith("~~")):
            entry = _Entry([number], [item["text"]], current if indented else None)
            entries.append(entry)
            current = entry.above or entry
        elif current is not None and indented and not _OTHER.match(line):
            entries[-1].lines.append(number)
            entries[-1].texts.append(line.strip())
        else:
            current = None
    for entry in entries:
        entry.fact = _fact(entry.texts, "\n".join(clean[number] for number in entry.lines))
    return entries


def _legible(line: str) -> str:
    """A line without what an editor may have put around it, and without what is no text."""
    line = line.removeprefix("\ufeff").rstrip(" \t\r")
    return line if line.isascii() else _encode(line).decode("utf-8", "replace")


def parse(data: bytes) -> list[Fact]:
    """The facts of a file, in its order, whatever else it holds."""
    return [entry.fact for entry in _entries(_decode(data).split("\n"))]


def _of_same_place(one: Place | None, other: Place | None) -> bool:
    """Whether the same people hear it: its title may have changed."""
    if one is None or other is None:
        return one is other
    return one.audience == other.audience


def _with_fact(data: bytes, text: str, date: Date, place: Place | None, replaced: Collection[Fact]) -> bytes:
    """The file with the fact in it, once, and those of `replaced` that hold struck out below it."""
    text = unescape(escape(text))  # as it will be read
    lines = _decode(data or _encode(_HEADER)).split("\n")
    entries = _entries(lines)
    holding = [entry for entry in entries if entry.fact.valid]
    same = next((e for e in holding if e.fact.text == text and _of_same_place(e.fact.place, place)), None)
    gone = {fact.said for fact in replaced}
    old = [entry for entry in holding if entry.fact.said in gone and entry is not same]
    below = []
    for entry in old:
        below.append(f"  {_struck(entry.fact, date)}")
        below += [lines[number] for former in _below(entries, entry) for number in former.lines]
    if same is not None:
        return _edited(lines, same.lines[-1] + 1, below, _lines_of(entries, old))
    if len(entries) >= MOST:
        raise FactsFull
    at = old[0].lines[0] if old else len(lines) - (lines[-1] == "")
    return _edited(lines, at, [_line(text, date, place), *below], _lines_of(entries, old))


def _struck_out(data: bytes, facts: Collection[Fact], until: Date) -> bytes:
    """The file with these facts as former ones, where they stand."""
    lines = _decode(data).split("\n")
    said = {fact.said for fact in facts}
    for entry in reversed(_entries(lines)):
        if entry.fact.valid and entry.fact.said in said:
            first, *more = entry.lines
            lines[first] = _struck(entry.fact, until) + _return(lines)
            for number in reversed(more):
                del lines[number]
    return _encode("\n".join(lines))


def _without(data: bytes, facts: Collection[Fact]) -> bytes:
    """The file without these facts and what they had replaced."""
    lines = _decode(data).split("\n")
    entries = _entries(lines)
    said = {fact.said for fact in facts}
    return _edited(lines, 0, [], _lines_of(entries, [e for e in entries if e.fact.said in said]))


def _below(entries: Iterable[_Entry], entry: _Entry) -> list[_Entry]:
    return [former for former in entries if former.above is entry]


def _lines_of(entries: Sequence[_Entry], some: Iterable[_Entry]) -> set[int]:
    """The lines of some of the entries, and of the former facts below them."""
    return {number for one in some for each in (one, *_below(entries, one)) for number in each.lines}


def _edited(lines: Sequence[str], at: int, new: Sequence[str], dropped: Collection[int]) -> bytes:
    """The file with `new` lines before line `at`, and without those that are dropped."""
    end = _return(lines)
    before = [line for number, line in enumerate(lines[:at]) if number not in dropped]
    behind = [line for number, line in enumerate(lines[at:], at) if number not in dropped]
    if new and not behind:
        behind = [""]  # the last line of a file ends, too
    return _encode("\n".join([*before, *(line.removesuffix("\r") + end for line in new), *behind]))


def _return(lines: Sequence[str]) -> str:
    """What this file has before each line feed."""
    return "\r" if lines[0].endswith("\r") else ""


# All files ---------------------------------------------------------------------------------------------------------

_Stamp = tuple[int, int, int]


class Facts:
    """The facts under one folder. Methods raise ValueError for what is no user id, and OSError as the disk does."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[_Stamp, list[Fact]]] = OrderedDict()

    def path(self, user_id: str) -> Path:
        """Where a person's file is, or would be."""
        return files.folder_of(self._root, user_id) / FILE

    def read(self, user_id: str) -> list[Fact]:
        """A person's facts in the order of the file, former ones included. Whatever it holds, it only must not be too large."""
        path = self.path(user_id)
        stamp = files.stamp(path)
        facts = parse(files.read(path, MOST_BYTES))
        # A file that changes twice within one tick of its clock looks the same after the second time.
        if stamp and abs(time.time_ns() - stamp[0]) > _UNSETTLED and stamp == files.stamp(path):
            with self._lock:
                self._cache[user_id] = stamp, facts
                self._cache.move_to_end(user_id)
                if len(self._cache) > _MOST_CACHED:
                    self._cache.popitem(last=False)
        return list(facts)

    def known(self, user_id: str) -> list[Fact] | None:
        """What `read` would answer, if one look at the file's date tells; None if the file has to be read for it."""
        stamp = files.stamp(self.path(user_id))
        if stamp is None:
            return []
        with self._lock:
            cached = self._cache.get(user_id)
            return list(cached[1]) if cached and cached[0] == stamp else None

    def add(
        self, user_id: str, text: str, date: Date, place: Place | None, replaced: Collection[Fact] = ()
    ) -> None:
        """Write a fact, with the day it was said in the person's zone, and strike out those of `replaced` that stand here.

        It is on disk when this returns. A fact that holds already, of the same place, is not written again: repeating a call is
        harmless. Raises `FactsFull`.
        """
        if not text.strip():
            raise ValueError("a fact says something")
        files.make_folder(self.path(user_id).parent)
        self._edit(user_id, lambda data: _with_fact(data, text, date, place, replaced))

    def retire(self, user_id: str, facts: Collection[Fact], until: Date) -> None:
        """Strike out those of the facts that stand in this person's file and hold; something took their place elsewhere."""
        self._edit(user_id, lambda data: _struck_out(data, facts, until))

    def forget(self, user_id: str, facts: Collection[Fact]) -> None:
        """Take these facts, and what they had replaced, out of this person's file, durably and without a trace."""
        self._edit(user_id, lambda data: _without(data, facts))

    def _edit(self, user_id: str, change: Callable[[bytes], bytes]) -> None:
        """Replace the file with what `change` makes of it. What others write meanwhile is read again, and not lost."""
        path = self.path(user_id)
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # nothing is kept of this person
            return
        try:
            # Against other threads and processes. It is the kernel's: a killed holder holds nothing.
            fcntl.flock(folder, fcntl.LOCK_EX)
            files.unless_saved(path, lambda still: _changed(path, change, still), _MOST_TRIES)
        finally:
            os.close(folder)


def _changed(path: Path, change: Callable[[bytes], bytes], still: Callable[[], bool]) -> bool | None:
    """True once the file holds what `change` makes of it; None if somebody saved it in between."""
    data = files.read(path, MOST_BYTES)
    new = change(data)
    return new == data or files.replace(path, new, still=still) or None
