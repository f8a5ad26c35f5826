"""What was said, in dated Markdown that anyone can read: a folder per person, a file per day, a section per conversation.

    ## 14:03:22 UTC

    **user:** My name is Anna.

    **assistant:** Nice to meet you, Anna.

    ---

    ## 15:10:04 UTC · telegram group -100123 "Book club"

Everything that is written ends in a blank line, so that a turn is added by appending to the file. People may edit and delete
these files: reading takes whatever it finds, and writing loses nothing of it.

No line of a message looks like a line of the structure: such a line gets a backslash before its first sign, and reading takes
one away. That holds for every line break that `str.splitlines` knows, for leading white space, and for what other Markdown
parsers take for a heading or a rule.

Plain synchronous file work without a database; the caller runs it in a thread. At any time only one writer may be at work
on a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from memory import files

PRIVATE_THREAD = "private_thread"
MOST_BYTES = 32_000_000  # of a file that is read: nobody says so much in a day, and some ten times that is needed to read it
Role = Literal["user", "assistant"]
Message = tuple[Role, str]

_Still = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation was, if it was not private. The ids are the platform's own.

    `kind` is `group`, or `PRIVATE_THREAD` for a thread that is not for all who are in the group.
    """

    platform: str
    kind: str
    chat_id: str
    title: str = ""
    thread: str = ""

    @property
    def audience(self) -> tuple[str, str, str]:
        """The same for all places where the same people hear what is said: a group with its threads, or a private thread."""
        return self.platform, self.chat_id, self.thread if self.kind == PRIVATE_THREAD else ""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One complete turn: what was said to us, then what we answered.

    `at` is when the person wrote, in unix seconds. `timezone` is an IANA name; one that does not exist counts as UTC.
    `place` is None for a private chat.
    """

    user_id: str
    at: float
    timezone: str
    place: Place | None
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows before a write.

    `size` is the file's size in bytes after our last write (None: we never wrote it); `heading` that of this conversation's
    section in it (None: not begun) and `turns` the number of turns there; `taken` all headings that the database knows of
    this file.
    """

    size: int | None = None
    heading: str | None = None
    turns: int = 0
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Written:
    """What the database should know after a write: see `Known`."""

    path: Path
    heading: str
    size: int
    turns: int


@dataclass(frozen=True, slots=True)
class Section:
    """A conversation as its file has it.

    `heading` is the whole line without `## `, `time` its part before the place. `stray` is text from other hands that stands
    before the first message; before the first heading of a file it makes a section with an empty heading.
    """

    heading: str
    time: str
    place: Place | None
    messages: tuple[Message, ...]
    stray: str = ""


def find_zone(name: str) -> ZoneInfo | None:
    """The IANA zone of that name, or None."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a folder
        return None


def local_time(at: float, timezone: str) -> datetime:
    """Unix seconds as the wall clock there; in UTC where there is no such zone."""
    zone: tzinfo = find_zone(timezone) or UTC
    return datetime.fromtimestamp(at, zone)


# The forms of a line that has a meaning in the file, or would have one to some parser.
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_SPACES = rf"[^\S{_BREAKS}]*+"
_END = rf"(?=[{_BREAKS}]|\Z)"
_STRUCTURE = "|".join(
    (
        r"##|#(?=\s|\Z)",  # headings
        rf"---|(?:-+|=+){_SPACES}{_END}",  # the separator; lines that make a heading of the line before
        rf"([*_-])(?:{_SPACES}\3){{2,}}{_SPACES}{_END}",  # rules of every kind
        r"\*\*(?:user|assistant):\*\*",
    )
)
_TO_ESCAPE = re.compile(rf"([{_BREAKS}]{_SPACES})(\\*+)(?={_STRUCTURE})", re.IGNORECASE)
_ESCAPED = re.compile(rf"([{_BREAKS}]{_SPACES})\\(\\*+)(?={_STRUCTURE})", re.IGNORECASE)


def escape(text: str) -> str:
    """The text as it stands behind a `**role:** `: no line of it looks like structure. `unescape` gives it back."""
    return _TO_ESCAPE.sub(r"\1\\\2", text)


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPED.sub(r"\1\2", text)


def render(messages: Iterable[Message]) -> str:
    """The messages in the form of the file."""
    return "".join(f"**{role}:** {escape(text)}\n\n" for role, text in messages)


# Signs in a title that could end the line, the quotes or the part of the heading, or turn the reading direction.
_UNSAFE_IN_TITLE = re.compile("[\x7f-\x9f\u00b7\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HEADING_PLACE = re.compile(r'(?P<time>.*?) · (\w+) (\w+) (\S+)(?: ("(?:[^"\\]|\\.)*"))?(?: topic (\S+))?')


def place_suffix(place: Place) -> str:
    """The place as it stands behind the time in a heading, ` · telegram group -100123 "Book club"`; always one line."""
    parts = [place.platform, place.kind, _quote(place.chat_id)]
    if place.title:
        title = json.dumps(place.title, ensure_ascii=False)
        parts.append(_UNSAFE_IN_TITLE.sub(lambda match: f"\\u{ord(match[0]):04x}", title))
    if place.thread:
        parts.append(f"topic {_quote(place.thread)}")
    return " · " + " ".join(parts)


def _quote(native_id: str) -> str:
    return quote(native_id, safe="-_.:@", errors="surrogatepass")


def _unquote(text: str) -> str:
    return unquote(text, errors="surrogatepass") if "%" in text else text


def read_heading(heading: str) -> tuple[str, Place | None]:
    """Its time and place. A heading from another hand has no place: then it counts as private."""
    match = _HEADING_PLACE.fullmatch(heading)
    if match is None:
        return heading, None
    time, platform, kind, chat_id, title, thread = match.groups(default="")
    try:
        return time, Place(platform, kind, _unquote(chat_id), json.loads(title or '""'), _unquote(thread))
    except ValueError:
        return heading, None


def _headings(record: TurnRecord) -> Iterator[str]:
    """Headings for a section that begins with this turn, best first: its second, those after it, those before it, of its day."""
    suffix = place_suffix(record.place) if record.place else ""
    day = local_time(record.at, record.timezone).date()
    for at, step in ((record.at, 1), (record.at - 1, -1)):
        while (local := local_time(at, record.timezone)).date() == day:
            yield f"{local:%H:%M:%S} {local:%Z}{suffix}"
            at += step


# Some editors put a byte order mark at the start of the file. Anywhere else it is a part of what somebody said.
_HEADING_LINE = re.compile(rb"(?:\A\xef\xbb\xbf|^)(?:---[ \t]*\r?\n[ \t\r\n]*)?## (.*)$", re.MULTILINE)
_MESSAGE_START = re.compile(rb"^\*\*(user|assistant):\*\* ?", re.MULTILINE | re.IGNORECASE)
SUMMARY = (
    "> **Summary, written by the model:**"  # above a section's turns; what belongs to it is quoted likewise
)
_OLD_SUMMARY = re.compile(rb"^> \*\*Summary, written by the model:\*\*.*\n(?:>.*\n)*\n?", re.MULTILINE)
_LINE_ENDS = re.compile(r"(?:\r?\n){1,2}\Z")


@dataclass(frozen=True, slots=True)
class _Span:
    """A section by its place in the file's bytes: it reaches from `start`, its text from `body`, to `end`."""

    heading: str
    start: int
    body: int
    end: int


def _spans(data: bytes) -> list[_Span]:
    found = list(_HEADING_LINE.finditer(data))
    ends = [match.start() for match in found[1:]] + [len(data)]
    spans = [
        _Span(_decode(match[1]).strip(), match.start(), min(match.end() + 1, len(data)), end)
        for match, end in zip(found, ends, strict=False)
    ]
    first = found[0].start() if found else len(data)
    return [_Span("", 0, 0, first), *spans] if data[:first].strip() else spans


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _without_ends(text: str) -> str:
    """Take away the blank line that ends every message; an editor may have taken a part of it before."""
    return text[:-2] if text.endswith("\n\n") else _LINE_ENDS.sub("", text)


def _messages(body: bytes) -> tuple[str, list[Message]]:
    """What stands before the first message, and the messages."""
    found = list(_MESSAGE_START.finditer(body))
    ends = [match.start() for match in found[1:]] + [len(body)]
    messages: list[Message] = [
        (
            "user" if match[1].lower() == b"user" else "assistant",
            unescape(_without_ends(_decode(body[match.end() : end]))),
        )
        for match, end in zip(found, ends, strict=False)
    ]
    return _decode(body[: found[0].start() if found else len(body)]).strip(), messages


def _turn_starts(data: bytes, span: _Span) -> list[int]:
    """Where the turns of a section begin: with what the person said after an answer."""
    found = [
        (match.start(), match[1].lower()) for match in _MESSAGE_START.finditer(data[span.body : span.end])
    ]
    before = [b"", *(role for _, role in found)]
    return [
        span.body + at
        for (at, role), previous in zip(found, before, strict=False)
        if not previous or (role == b"user" != previous)
    ]


def parse(data: bytes) -> list[Section]:
    """The sections of a file, whatever it holds: what can not be understood stays a part of what surrounds it."""
    sections = []
    for span in _spans(data):
        time, place = read_heading(span.heading)
        stray, messages = _messages(data[span.body : span.end])
        sections.append(Section(span.heading, time, place, tuple(messages), stray))
    return sections


_FILE_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.md", re.ASCII)
_MOST_TRIES = 10  # of a write, where somebody saves the file each time in between; then it is owed
_MOST_REMEMBERED = 4096  # files whose end is kept in mind; for any other the next write reads the file


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a write comes to: `payload` takes the place of the bytes from `at` to `until`.

    An empty payload: the turn stands there already. Afterwards the conversation has `turns` turns under `heading`.
    """

    heading: str
    turns: int
    at: int
    until: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class _End:
    """A file as we left it: its last heading, and the number of turns under that."""

    size: int
    mtime_ns: int
    heading: str
    turns: int


class Transcripts:
    """The transcripts under one folder. Methods raise ValueError for what is no user id, and OSError as the disk does."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._ends: dict[Path, _End] = {}

    def date_of(self, record: TurnRecord) -> date:
        """The date of the file that a turn belongs to."""
        return local_time(record.at, record.timezone).date()

    def path(self, user_id: str, day: date) -> Path:
        """Where a person's file of that day is, or would be."""
        return files.folder_of(self._root, user_id) / f"{day.isoformat()}.md"

    def folder(self, user_id: str) -> Path:
        """Where a person's files are, or would be."""
        return files.folder_of(self._root, user_id)

    def people(self) -> Iterator[str]:
        """The user ids of all who have a folder, in no order."""
        try:
            with os.scandir(self._root) as entries:
                yield from (
                    entry.name for entry in entries if files.is_user_id(entry.name) and _is_folder(entry)
                )
        except (FileNotFoundError, NotADirectoryError):
            return

    def dates(self, user_id: str) -> list[date]:
        """The days for which there is a file, oldest first."""
        found = []
        try:
            with os.scandir(files.folder_of(self._root, user_id)) as entries:
                for entry in entries:
                    match = _FILE_NAME.fullmatch(entry.name)
                    # 2026-02-31.md is not one of ours; nor is a link that leads to itself.
                    with contextlib.suppress(ValueError, OSError):
                        if match and entry.is_file():
                            found.append(date.fromisoformat(match[1]))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def raw(self, user_id: str, day: date) -> str:
        """The file as it is; empty if there is none. What is no UTF-8 becomes the replacement character."""
        return _decode(files.read(self.path(user_id, day)))

    def day(self, user_id: str, day: date) -> list[Section]:
        """The conversations of a day, in the order of the file. Whatever it holds, it only must not be too large."""
        return parse(files.read(self.path(user_id, day), MOST_BYTES))

    def write(self, record: TurnRecord, known: Known) -> Written:
        """Bring a turn into its file, durably and once: if it stands there already, nothing is written.

        `known` is what the database knew before the turn. Repeating a call with the same `known` after a kill at any
        instant is harmless, and so is repeating several calls whose marks were lost together, in the same order. What
        others changed in the file meanwhile stays. The turn goes to the end of its conversation's section; if that is
        gone, or there is none yet, it begins one.
        """
        path = self.path(record.user_id, self.date_of(record))
        turn = _encode(render(record.messages))
        with self._lock:
            end = self._ends.get(path)
        if end and (end.size, end.heading, end.turns) == (known.size, known.heading, known.turns):
            with contextlib.suppress(FileNotFoundError):
                if _append(path, turn, only_to=end):
                    size, turns = end.size + len(turn), end.turns + 1
                    self._remember(path, size, end.heading, turns)
                    return Written(path, end.heading, size, turns)
        return files.unless_saved(
            path, lambda still: self._write_after_reading(path, turn, record, known, still), _MOST_TRIES
        )

    def summarise(self, user_id: str, day: date, heading: str, text: str) -> int:
        """Put a summary above the turns of a section, marked as the model's, in place of an older one.

        By how many bytes the file has grown; where the section is gone nothing happens.
        """
        path = self.path(user_id, day)
        return files.unless_saved(
            path, lambda still: self._summarise(path, heading, text, still), _MOST_TRIES
        )

    def _summarise(self, path: Path, heading: str, text: str, still: _Still) -> int | None:
        data = files.read(path)
        span = next((span for span in _spans(data) if span.heading == heading and heading), None)
        if span is None:
            return 0
        body = data[span.body : span.end]
        first = _MESSAGE_START.search(body)
        end = first.start() if first else len(body)
        lines = "\n> ".join(text.strip().splitlines())
        summary = _encode(f"{SUMMARY} {lines}\n\n")
        above = _OLD_SUMMARY.sub(b"", body[:end], count=1).lstrip(b"\r\n")
        new = data[: span.body] + b"\n" + summary + above + body[end:] + data[span.end :]
        return len(new) - len(data) if files.replace(path, new, still=still) else None

    def _write_after_reading(
        self, path: Path, turn: bytes, record: TurnRecord, known: Known, still: _Still
    ) -> Written | None:
        data = files.read(path)
        marked = min(known.size or 0, len(data))

        # What follows the last mark is mostly this very turn, whole or torn, from a process that was killed.
        plan, tail = _plan(data[:marked], turn, record, known), data[marked:]
        if tail and plan.payload and plan.at == marked:
            if tail.startswith(plan.payload):
                return self._written(path, plan, data, marked + len(plan.payload))
            # Some file systems fill up with NULs at a power cut.
            if plan.payload.startswith(tail.rstrip(b"\0")):
                if not still():
                    return None
                os.truncate(path, marked)
                data = data[:marked]

        plan = _plan(data, turn, record, known)
        if not plan.payload:
            inserted = plan.until - plan.at if plan.at < marked else 0
            return self._written(path, plan, data, min(max(plan.until, marked + inserted), len(data)))
        files.make_folder(path.parent)
        new = data[: plan.at] + plan.payload + data[plan.until :]
        # An append may be torn by a kill. Only where the mark is right can that be told from an edit for sure.
        if plan.at == len(data) == (known.size or 0):
            if not _append(path, plan.payload):
                return None
            if not data:
                files.sync_folder(path.parent)
        elif not files.replace(path, new, still=still):
            return None
        return self._written(path, plan, new, len(new))

    def _written(self, path: Path, plan: _Plan, data: bytes, size: int) -> Written:
        """Answer that the file, which holds `data`, is accounted for up to `size`. Beyond may be more whose marks were lost."""
        if size == len(data) and data.endswith(b"\n\n"):
            last = _spans(data)[-1]
            self._remember(path, size, last.heading, len(_turn_starts(data, last)))
        return Written(path, plan.heading, size, plan.turns)

    def remove(self, user_id: str, day: date) -> None:
        """Remove the file of a day, durably; the folder as well where nothing else is in it. Harmless to repeat."""
        path = self.path(user_id, day)
        with self._lock:
            self._ends.pop(path, None)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            files.sync_folder(path.parent)
            with contextlib.suppress(OSError):  # something is in it
                path.parent.rmdir()

    def forget(self, user_id: str) -> None:
        """Remove a person's folder with all that is in it, durably. Harmless to repeat."""
        folder = self.folder(user_id)
        with self._lock:
            for path in [path for path in self._ends if path.parent == folder]:
                del self._ends[path]
        files.remove_folder(folder)

    def _remember(self, path: Path, size: int, heading: str, turns: int) -> None:
        end = _End(size, path.stat().st_mtime_ns, heading, turns)
        with self._lock:
            self._ends.pop(path, None)
            self._ends[path] = end
            if len(self._ends) > _MOST_REMEMBERED:
                del self._ends[next(iter(self._ends))]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _plan(data: bytes, turn: bytes, record: TurnRecord, known: Known) -> _Plan:
    """How the turn comes into a file that holds `data`."""
    spans = _spans(data)
    by_heading = {span.heading: span for span in reversed(spans)}
    if known.heading is not None and known.heading in by_heading:
        return _plan_in_section(data, by_heading[known.heading], known.turns, turn)
    headings = (heading for heading in _headings(record) if heading not in known.taken)
    while True:
        heading = next(headings)
        begun = _encode(f"## {heading}\n\n") + turn
        span = by_heading.get(heading)
        if span is None:
            section = b"---\n\n" + begun if data.strip() else begun
            whole = _whole(data, section)
            return _Plan(heading, 1, whole, len(data), _gap(data[:whole]) + section)
        # A section that the database does not know: ours if it holds this turn, or the beginning of it.
        start = data.index(b"##", span.start)
        torn = data[start:]
        if begun.startswith(torn) and begun != torn:
            return _Plan(heading, 1, start, len(data), begun)
        plan = _plan_in_section(data, span, 0, turn)
        if not plan.payload:
            return plan


def _plan_in_section(data: bytes, span: _Span, before: int, turn: bytes) -> _Plan:
    """How the turn comes into a section where `before` turns are known to stand."""
    starts = _turn_starts(data, span)
    if before < len(starts):  # the mark of this turn was lost, or somebody wrote into the section
        at, end = [*starts, span.end][before : before + 2]
        standing = data[at:end]
        if standing.startswith(turn):  # behind it may be the beginning of another one, torn
            return _Plan(span.heading, before + 1, at, at + len(turn), b"")
        if _messages(standing) == _messages(turn):  # with its blank lines changed by an editor
            return _Plan(span.heading, before + 1, at, end, b"")
        if end == len(data) and turn.startswith(standing):
            return _Plan(span.heading, before + 1, at, end, turn)
    whole = _whole(data, turn) if span.end == len(data) else span.end
    return _Plan(span.heading, len(starts) + 1, whole, span.end, _gap(data[:whole]) + turn)


def _whole(data: bytes, addition: bytes) -> int:
    """Where the data ends, but for the first bytes of `addition` if a torn write left them there."""
    for boundary in (b"\n\n---\n\n", b"\n\n"):
        at = data.rfind(boundary)
        torn = data[at + 2 :]
        if at >= 0 and addition.startswith(torn) and not _MESSAGE_START.match(torn):
            return at + 2
    return len(data)


def _gap(data: bytes) -> bytes:
    """What is missing from a blank line at the end."""
    if not data or data.endswith((b"\n\n", b"\n\r\n")):
        return b""
    return b"\n" if data.endswith(b"\n") else b"\n\n"


def _append(path: Path, payload: bytes, *, only_to: _End | None = None) -> bool:
    """Add to the end of a file, durably. False if somebody has put another one in its place.

    With `only_to`, only if nobody has touched the file since; else False as well.
    """
    # A pipe in the file's place would keep us waiting for a reader.
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
    fd = files.open_or_make(path, flags) if only_to is None else os.open(path, flags | os.O_CLOEXEC)
    try:
        if only_to is not None:
            now = os.fstat(fd)
            if (now.st_size, now.st_mtime_ns) != (only_to.size, only_to.mtime_ns):
                return False
        files.write_all(fd, payload)
        there = files.stamp(path)
        return there is not None and there[2] == os.fstat(fd).st_ino
    finally:
        os.close(fd)
