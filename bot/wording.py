"""Whether somebody said something, and what texts have to do with each other: by their words, in any language."""

from __future__ import annotations

import re
from collections.abc import Iterable

from memory import words

_WORD = re.compile(r"\w+")
_SAME = str.maketrans(
    {**dict.fromkeys("‘’‚‛′`´", "'"), **dict.fromkeys("“”„‟″«»", '"'), **dict.fromkeys("‐‑‒–—−", "-")}
)
_AROUND = " \t.,;:!?…'\"()[]*_"  # what may stand around the words of a quotation
_ISO_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_NUMBER = re.compile(r"\d+")
_BEGINNING = 4  # letters

# Words that say nothing of what a fact is about; and what a model calls the one whose fact it is.
_WORDS = (
    "a am an and are as at be been but by called did do does for from had has have he her him his i in is it its me my named "
    "no not of on or our she that the their them they this to us user users person persons was we were what who will with you "
    "your s m re ve ll d t don"
)
_EMPTY_WORDS = frozenset(_WORDS.split())


def plain(text: str) -> str:
    """The text without what makes no difference: case, accents, kinds of space, quotation marks and dashes, a full stop."""
    return " ".join(words.fold(text.translate(_SAME)).split()).rstrip(".! ")


def was_said(quote: str, said: str) -> bool:
    """Whether the quotation is in what was said, word for word and in whole words."""
    quoted, spoken = plain(quote).strip(_AROUND), plain(said)
    at = spoken.find(quoted) if quoted else -1
    while at >= 0:
        if not _joined(spoken, at) and not _joined(spoken, at + len(quoted)):
            return True
        at = spoken.find(quoted, at + 1)
    return False


def _joined(text: str, at: int) -> bool:
    """Whether the signs before and behind this point are of one word."""
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def unsaid(fact: str, said: str) -> list[str]:
    """The words and numbers of a fact that are not in what was said; other forms of a word are, and words that say nothing.

    A date written as 2026-07-14 may be one that the person did not say by its numbers (tomorrow).
    """
    dateless, spoken = _ISO_DATE.sub("", words.fold(fact)), words.fold(said)
    numbers = {number.lstrip("0") for number in _NUMBER.findall(spoken)} | {""}
    beginnings = {_beginning(word) for word in _WORD.findall(spoken)}
    missing = [
        word for word in _WORD.findall(dateless) if not _NUMBER.search(word) and word not in _EMPTY_WORDS
    ]
    return [
        *(word for word in missing if _beginning(word) not in beginnings),
        *(number for number in _NUMBER.findall(dateless) if number.lstrip("0") not in numbers),
    ]


def in_common(texts: Iterable[str], about: str) -> list[int]:
    """How many words each of the texts has of those in `about`, but for words that are everywhere."""
    wanted = _beginnings(about)
    return [len(_beginnings(text) & wanted) if wanted else 0 for text in texts]


def _beginnings(text: str) -> set[str]:
    found = _WORD.findall(words.fold(text))
    return {_beginning(word) for word in found if word not in _EMPTY_WORDS}


def _beginning(word: str) -> str:
    """What the forms of a word have in common, for most words of many languages: like, likes, liked; fly, flies."""
    if _NUMBER.search(word):
        return word
    singular = f"{word[:-3]}y" if word.endswith("ies") else word.rstrip("s") or word
    return singular[:_BEGINNING]
