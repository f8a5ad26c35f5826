"""Cutting a long Markdown reply into messages that a platform takes, each of which stands by itself.

Only what decides where a cut may fall is read: blank lines, fenced code and the indentation of list items, by
CommonMark's rules. All of it is linear in the text: a model may write 100,000 characters, or a line of them.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SMALLEST_LIMIT = 16


def utf16_length(text: str) -> int:
    """How many UTF-16 code units `text` has. A lone surrogate counts as one."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in `text`: white space, control and format characters alone."""
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)


def split(markdown: str, limit: int, length: Callable[[str], int] = len) -> list[str]:
    """The parts of `markdown`, each at most `limit` long by `length`. None is blank; a blank text has none.

    Cuts fall between paragraphs (or beside a fenced block), else lines, else sentences, else words, else
    characters. A fence that is open at a cut, or at the end of the text, is closed there and opened again
    with the same fence and info string; an info string that would fill half of a part stays in the first. A fence
    whose own lines would fill half of a part counts as plain text.

    Nothing is lost. `pieces` tells what each part shows of the text, in order and without overlap; what lies
    between two of them is white space, or a closing fence whose place the added one takes. Within a part only
    white space is taken off: the indentation of list items that began in an earlier part.

    `length` must be additive and count at least one for each character. ValueError if `limit` is below 16.
    """
    return [piece.render(markdown) for piece in pieces(markdown, limit, length)]


def split_around_code(markdown: str, limit: int, length: Callable[[str], int] = len) -> list[str]:
    """As `split`, but a closed block of code that is longer than `limit` is a part of its own, and whole.

    For platforms that show such a part as a file. Blocks inside a list are split as ever.
    """
    parts: list[str] = []
    at = 0
    for start, end in _Splitter(markdown, limit, length).closed_blocks():
        if length(markdown[start:end]) > limit:
            parts += [*split(markdown[at:start], limit, length), markdown[start:end]]
            at = end
    return [*parts, *split(markdown[at:], limit, length)]


@dataclass(frozen=True, slots=True)
class Piece:
    """One part: `head`, then `text[start:end]` less the indentation that `margins` names, then `tail`."""

    head: str
    start: int
    end: int
    tail: str
    margins: tuple[tuple[int, int], ...]
    """(position, columns): so many are taken off each line that begins there or later."""

    def render(self, text: str) -> str:
        stops = [at for at, _ in self.margins[1:]] + [self.end]
        body = "".join(
            _dedent(text, at, stop, columns) for (at, columns), stop in zip(self.margins, stops, strict=True)
        )
        return self.head + body + self.tail


def pieces(text: str, limit: int, length: Callable[[str], int]) -> Iterator[Piece]:
    """What `split` makes its parts from."""
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"a limit of {limit} is too small to split by: give at least {SMALLEST_LIMIT}")
    return _Splitter(text, limit, length).pieces()


@dataclass(frozen=True, slots=True)
class _Fence:
    start: int  # of the line that opens it
    body: int  # end of that line
    close: int  # start of the line that closes it; the end, if none does
    end: int
    closed: bool
    base: int  # columns by which the list item around it is indented
    mark: str  # its own indentation and the fence characters
    head: str  # what opens it again
    reserve: int  # length of the longest line that closes it, with its line break


_SPACE = re.compile(r"\s*")
_BLANK_LINES = re.compile(r"\n\s*\n")
_BLOCK = re.compile(r"^ {0,3}(?:(?:[-*+]|\d{1,9}[.)])[ \t]|`{3}|~{3})", re.MULTILINE)
_MARKER = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?=([ \t]+)\S)")
_OPENER = re.compile(r"( {0,3})(`{3,}|~{3,})([^\n]*)")
_IN_FENCE = re.compile(r"^([ \t]*)(?:(`{3,}|~{3,})[ \t\r]*$|(?=\S))", re.MULTILINE)
_CLOSER = re.compile(r"^( {0,3})(`{3,}|~{3,})[ \t\r]*$", re.MULTILINE)
_FENCE_LIKE = re.compile(r" {0,3}(?:`{3}|~{3})")
_SENTENCE = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s)|[。！？]++[」』”’）]*+")
_LOOK_BACK = 64  # characters; longer clusters and runs of fence characters are cut


class _Splitter:
    """One text on its way into pieces."""

    def __init__(self, text: str, limit: int, length: Callable[[str], int]) -> None:
        self._text = text
        self._limit = limit
        self._length = length
        self._end = len(text.rstrip())
        self._levels = [
            (0, 0)
        ]  # (position, columns): how far the list item is indented that goes on from there
        self._fences: list[_Fence] = []
        self._shapes: dict[tuple[int, str, str], tuple[str, int] | None] = {}
        self._scan()
        self._starts = [fence.start for fence in self._fences]
        blocks = self._blocks()
        self._block_ends = [end for end, _ in blocks]
        self._block_starts = [start for _, start in blocks]

    def pieces(self) -> Iterator[Piece]:
        at = self._after_space(0)
        while at < self._end:
            outer = self._inside(at)
            head = outer.head if outer else ""
            far = self._reach(at, self._limit - self._length(head))
            near = self._reach(at, self._limit - self._length(head) - self._reserve(at, far))
            end, following = self._cut(at, far, near)
            inner = self._inside(end)
            if inner is None:
                end = at + len(self._text[at:end].rstrip())
            elif inner.closed and self._match_space(following) >= inner.close:
                following = self._after_space(inner.end)
            if self._match_space(at) < end:
                margins = tuple(self._margins(at, end))
                tail = "" if inner is None else "\n" + " " * max(0, inner.base - margins[-1][1]) + inner.mark
                yield Piece(head, at, end, tail, margins)
            at = following

    # Reading the text

    def _scan(self) -> None:
        """Find the fences and the list items' columns. Outside of both it runs at the speed of `re`."""
        text, items, at = self._text, list[int](), 0
        while at < self._end:
            if not items:
                block = _BLOCK.search(text, at)
                if block is None:
                    return
                at = block.start()
            stop = self._line_end(at)
            lead = self._match_space(at)
            if lead >= stop:  # a blank line says nothing about lists
                at = self._after_space(at)
                continue
            columns = _columns(text[at:lead])
            if items and columns < items[-1]:
                while items and columns < items[-1]:
                    items.pop()
                self._levels.append((at, items[-1] if items else 0))
            position = self._read_markers(at, lead, columns, items)
            base = items[-1] if items else 0
            indent = columns - base if position == lead else 0
            opener = _OPENER.match(text, position)
            if opener is None or indent > 3 or (opener[2][0] == "`" and "`" in opener[3]):
                at = stop + 1
            else:
                at = self._read_fence(at, stop, base, " " * indent + opener[2], opener[3].strip())

    def _read_markers(self, at: int, lead: int, columns: int, items: list[int]) -> int:
        """Enter the list items that begin in this line, and return where their content does."""
        position = lead
        while columns - (items[-1] if items else 0) <= 3 and (marker := _MARKER.match(self._text, position)):
            gap = _columns(marker[1])
            width = len(marker[0]) + (gap if gap <= 4 else 1)
            items.append(columns + width)
            columns += width
            position = marker.end() + (len(marker[1]) if gap <= 4 else 1)
        if position > lead:
            self._levels.append((at + 1, items[-1]))
        return position

    def _read_fence(self, start: int, body: int, base: int, mark: str, info: str) -> int:
        """Keep the fence that opens in this line, and return the start of the first line after it."""
        text, run = self._text, mark.lstrip()
        close = end = self._end
        closed = False
        following = len(text)
        # Within a list item every line counts: one indented less ends the item and its fence.
        for line in (_IN_FENCE if base else _CLOSER).finditer(text, body):
            columns = _columns(line[1])
            if base and columns < base:
                close = end = self._trim(body, line.start())
                following = line.start()
                break
            if line[2] and line[2].startswith(run) and columns <= base + 3:
                close, end, closed = line.start(), line.end(2), True
                following = self._line_end(end) + 1
                break
        if (shape := self._shape(base, mark, info)) is not None:
            self._fences.append(_Fence(start, body, close, end, closed, base, mark, *shape))
        return following

    def closed_blocks(self) -> list[tuple[int, int]]:
        """Where the fenced blocks begin and end that are closed and in no list item, in order."""
        return [(fence.start, fence.end) for fence in self._fences if fence.closed and not fence.base]

    def _shape(self, base: int, mark: str, info: str) -> tuple[str, int] | None:
        """A fence's `head` and `reserve`; None if they take too much of a part."""
        if (base, mark, info) not in self._shapes:
            reserve = self._length("\n" + " " * base + mark)
            fitting = (
                (head, reserve)
                for head in (f"{mark}{info}\n", f"{mark}\n")
                if self._length(head) + reserve <= self._limit // 2
            )
            self._shapes[base, mark, info] = next(fitting, None)
        return self._shapes[base, mark, info]

    def _blocks(self) -> list[tuple[int, int]]:
        """Where one block ends and where the next begins, in order."""
        found = [
            (blank.start(), self._after_space(blank.start()))
            for blank in _BLANK_LINES.finditer(self._text)
            if self._inside(blank.start()) is None
        ]
        for fence in self._fences:
            if fence.start:
                found.append((fence.start - 1, fence.start))
            found.append((fence.end, self._after_space(fence.end)))
        return sorted(found)

    # Choosing a cut

    def _cut(self, at: int, far: int, near: int) -> tuple[int, int]:
        """Where the piece that begins `at` ends, and the next begins. `near` bounds cuts inside fences."""
        text = self._text

        def fits(end: int) -> bool:
            return end <= (far if self._inside(end) is None else near)

        if fits(self._end):
            return self._end, self._end
        for i in range(bisect_right(self._block_ends, far) - 1, -1, -1):
            if self._block_ends[i] <= at:
                break
            if fits(self._block_ends[i]):
                return self._block_ends[i], self._block_starts[i]
        fence = self._inside(at + 1)
        # A cut right after the opener shows no code
        first = fence.body + 1 if fence and fence.start == at else at
        line = text.rfind("\n", first, far + 1)
        if not fits(line):
            line = text.rfind("\n", first, near + 1)
        if line > at:
            return line, (line + 1 if self._inside(line) else self._after_space(line))
        if fence is None:
            end = self._cut_line(at, far)
            return end, self._after_space(end)
        end = text.rfind(" ", first, near) + 1
        if end <= first or _FENCE_LIKE.match(text, end):
            end = _between_clusters(text, max(near, at + 1), first if first < near else at)
        return end, end

    def _cut_line(self, at: int, far: int) -> int:
        text = self._text
        sentence = at
        for match in _SENTENCE.finditer(text, at, far + 1):
            if match.end() <= far:
                sentence = match.end()
        word = at + len(text[at : far + 1].rsplit(maxsplit=1)[0]) if not text[far].isspace() else far
        for end in (sentence, word):
            if at < end <= far and not _FENCE_LIKE.match(text, end):
                return end
        return _between_clusters(text, max(far, at + 1), at)

    def _reach(self, at: int, room: int) -> int:
        """The furthest end of a text from `at` that is at most `room` long."""
        low, high = at, min(self._end, at + room)
        if self._length(self._text[at:high]) <= room:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if self._length(self._text[at:middle]) <= room:
                low = middle
            else:
                high = middle
        return low

    def _reserve(self, at: int, far: int) -> int:
        """The length to keep free for closing whichever fence the cut may fall into."""
        last = bisect_left(self._starts, far)
        first = max(0, bisect_right(self._starts, at) - 1)
        return max((f.reserve for f in self._fences[first:last] if f.end > at), default=0)

    # Looking up

    def _inside(self, at: int) -> _Fence | None:
        """The fence that a cut at this position would leave open."""
        i = bisect_left(self._starts, at) - 1
        if i < 0:
            return None
        fence = self._fences[i]
        return fence if at < fence.end or (at == fence.end and not fence.closed) else None

    def _margins(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        i = bisect_right(self._levels, (start, len(self._text))) - 1
        columns = self._levels[i][1]
        yield start, columns
        while columns and (i := i + 1) < len(self._levels) and self._levels[i][0] < end:
            if self._levels[i][1] < columns:
                columns = self._levels[i][1]
                yield self._levels[i]

    def _match_space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _after_space(self, at: int) -> int:
        """The first line after `at` that is not blank, or what stands after the spaces in this line."""
        end = self._match_space(at)
        line = self._text.rfind("\n", at, end)
        return end if line < 0 and at else max(line + 1, 0)

    def _line_end(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end

    def _trim(self, start: int, end: int) -> int:
        return start + len(self._text[start:end].rstrip())


def _columns(indent: str) -> int:
    return len(indent.expandtabs(4))


def _dedent(text: str, start: int, end: int, columns: int) -> str:
    body = text[start:end]
    if not columns:
        return body
    if start and text[start - 1] != "\n":  # the rest of a line: its white space is no indentation
        line, newline, body = body.partition("\n")
        return line + newline + re.sub(rf"^(?: {{1,{columns}}}|\t)", "", body, flags=re.MULTILINE)
    return re.sub(rf"^(?: {{1,{columns}}}|\t)", "", body, flags=re.MULTILINE)


def _between_clusters(text: str, end: int, floor: int) -> int:
    """The last place up to `end` that tears no grapheme and seems to begin no fence; at least `floor` + 1."""
    for cut in range(end, max(floor, end - _LOOK_BACK), -1):
        if not _joined(text, cut) and not _FENCE_LIKE.match(text, cut):
            return cut
    return end - 1 if _is_pair(text, end) and end - 1 > floor else end


def _is_pair(text: str, at: int) -> bool:
    return "\ud800" <= text[at - 1] <= "\udbff" and "\udc00" <= text[at : at + 1] <= "\udfff"


def _joined(text: str, at: int) -> bool:
    """Whether both sides are shown as one: marks, emoji sequences, flags, jamo, surrogate pairs."""
    if at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if before.isascii() and after.isascii():
        return before == "\r" and after == "\n"
    if _is_flag(before) and _is_flag(after):
        count = 1
        while count < _LOOK_BACK and at - 1 - count >= 0 and _is_flag(text[at - 1 - count]):
            count += 1
        return count % 2 == 1
    return (
        before == "\N{ZERO WIDTH JOINER}"
        or after == "\N{ZERO WIDTH JOINER}"
        or "\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}" <= after <= "\N{EMOJI MODIFIER FITZPATRICK TYPE-6}"
        or "\N{TAG SPACE}" <= after <= "\N{CANCEL TAG}"
        or "\u1160" <= after <= "\u11ff"  # vowels and finals of a Hangul syllable
        or unicodedata.category(after).startswith("M")
        or _is_pair(text, at)
    )


def _is_flag(char: str) -> bool:
    return "\N{REGIONAL INDICATOR SYMBOL LETTER A}" <= char <= "\N{REGIONAL INDICATOR SYMBOL LETTER Z}"
