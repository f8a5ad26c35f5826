"""Words as they are looked for: what is the same word to a reader, in any script, and the little query language of people.

A full-text index (SQLite FTS5) has every text twice: among `stems`, where an English word is found by its other forms, and
among `forms`, for "phrases" and beginnings*. What goes into the index and what is asked of it pass through `fold` alike;
nothing that a person writes reaches FTS5 as its syntax.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

# Of what `fold` makes of a text: with another one every index is made anew.
VERSION = f"1 {unicodedata.unidata_version}"
MOST_CHARS = 4000  # of a query; what is longer was pasted, and is looked for by its beginning
MOST_TERMS = 64

# Letters of scripts that put no space between words, and of Korean, which hangs particles on its words. The marks behind a
# letter (vowels, tones) belong to it.
_LETTER = re.compile(
    "["
    "\u0e00-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e80-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"  # Thai, Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3"  # Burmese, Khmer
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    "][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u3099\u309a]*"
)
# Accents, and the vowel points of Hebrew and Arabic, which few people type
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670]+"
)

# Letters that Unicode takes for no accented ones, and who has another keyboard does
_PLAIN = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}
)

# Words that are in every question, and tell nothing of what is looked for.
_FUNCTION_WORDS = (
    "a about after all also am an and any are as at be been before but by can could did do does doing down for from had has "
    "have having he her here hers him his how i if in into is it its just let me mention mentioned my no nor not of on or our "
    "out over said say she should so some tell than that the their them then there these they this those to told up us was we "
    "were what when where which who whom whose why will with would you your"
)
_TELLS_NOTHING = frozenset(_FUNCTION_WORDS.split())

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_ITEM = re.compile(r'"([^"]*)"?|([^\s"]+)')


def fold(text: str) -> str:
    """The text without what makes no difference to a reader: case, accents, width.

    Letters of scripts without spaces stand alone.
    """
    if text.isascii():
        return text.lower()
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN)))
    return _LETTER.sub(r" \g<0> ", unicodedata.normalize("NFC", text).lower())


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, as FTS5 expressions; an empty one has nothing.

    Of `words` (among the stems) and `beginnings` (among the forms) any may be there, `phrases` (among the forms) must all be.
    """

    phrases: str
    words: str
    beginnings: str

    def __bool__(self) -> bool:
        return bool(self.phrases or self.words or self.beginnings)

    @property
    def exact(self) -> bool:
        """Whether more is asked for than words: who asks so wants to see that and nothing else."""
        return bool(self.phrases or self.beginnings)


def parse(query: str) -> Query:
    """The query of a person: words, "quoted phrases" and beginnings*. There is nothing that it must not hold."""
    phrases: list[str] = []
    plain: list[str] = []
    beginnings: list[str] = []
    for quoted, bare in _ITEM.findall(query[:MOST_CHARS].translate(_QUOTES)):
        if quoted:
            phrases.append(" ".join(_tokens(fold(quoted))))
            continue
        pieces = fold(bare).split()
        letters = [piece for piece in pieces if _LETTER.fullmatch(piece)]
        plain += _pairs(letters, " ")
        for piece in pieces:
            if piece in letters:
                continue
            found = _words(piece)
            if found and piece.endswith("*"):
                beginnings.append(found.pop())
            plain += found
    telling = [word for word in plain if word not in _TELLS_NOTHING]
    return Query(
        _expression(phrases, " AND "),
        _expression(telling if telling or phrases or beginnings else plain, " OR "),
        _expression(beginnings, " OR ", "*"),
    )


def _expression(parts: Iterable[str], between: str, ending: str = "") -> str:
    """Parts hold letters, numbers, marks and spaces only: nothing in them ends the string."""
    strings = dict.fromkeys(f'"{part}"{ending}' for part in parts if part)
    return between.join(list(strings)[:MOST_TERMS])


def first_of(query: str, text: str) -> int:
    """Where in a text the words of a query begin to stand, about; 0 where they do not. A phrase counts more than its words."""
    asked, flat = _flat(query[:MOST_CHARS]).translate(_QUOTES), _flat(text)
    phrases = (re.findall(r"[^\W_]+", quoted) for quoted, _ in _ITEM.findall(asked))
    together = [r"\b" + r"[\W_]+".join(map(re.escape, phrase)) + r"\b" for phrase in phrases if phrase]
    letters: list[str] = []
    words: list[str] = []
    for word in re.findall(r"[^\W_]+", asked):
        if _LETTER.match(word):
            letters += [re.escape(pair) for pair in _pairs(list(word))]
        elif word not in _TELLS_NOTHING:
            words.append(word)
    whole = [rf"\b{re.escape(word)}\b" for word in words]
    # It may stand there in another form: first what is most alike
    forms = ([r"\b" + re.escape(word[: max(least, len(word) - 3)]) for word in words] for least in (4, 3))
    for parts in (together, letters + whole, *forms):
        if parts and (found := re.search("|".join(parts[:MOST_TERMS]), flat)):
            return found.start()
    return 0


def _flat(text: str) -> str:
    """As `fold`, but character by character: what is found stands in the text at the same place."""
    if text.isascii():
        return text.lower()
    return "".join(unicodedata.normalize("NFKD", char.lower().translate(_PLAIN))[0] for char in text)


def _pairs(letters: list[str], between: str = "") -> list[str]:
    """Overlapping pairs of letters: where no spaces tell the words, most words are two letters or more."""
    if len(letters) == 1:
        return letters
    return [f"{one}{between}{next_}" for one, next_ in pairwise(letters)]


def _words(piece: str) -> list[str]:
    """The words between spaces; one with an apostrophe is one word, in two tokens."""
    parts = "".join(ch if _is_token(ch) or ch in "'’" else " " for ch in piece).split()
    return [" ".join(tokens) for part in parts if (tokens := _tokens(part))]


def _tokens(folded: str) -> list[str]:
    """What FTS5 would make of a text."""
    return "".join(ch if _is_token(ch) else " " for ch in folded).split()


def _is_token(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc", "Co")
