"""A time and what is to be said then, in one text: "in 20 minutes to make tea", "call mum on friday evening".

A part of the time that was not understood must not end up in what is to be said: the reminder would come on a wrong day, and
nobody would notice. So where one touches the other, what is left may not read like a time.
"""

from __future__ import annotations

import re
from datetime import datetime
from difflib import get_close_matches

from bot import vocabulary
from bot.when import MOST_WORDS, Impossible, parse


def split(text: str, now: datetime) -> tuple[str, str] | None:
    """The phrase that a text begins with (or else ends with), and the rest of it; None if there is none.

    "in 20 minutes to make tea" and "make tea in 20 minutes" are both ("in 20 minutes", "make tea"). Raises `Impossible` where
    the rest reads on like a date or a time, in front or behind: that would be a part of the phrase that was not understood.
    """
    text = _bare(text)
    words = [*re.finditer(r"\S+", text)]
    for end in reversed([word.end() for word in words][:MOST_WORDS]):
        if _understood(text[:end], now):
            return _in_front(text[:end], text[end:], now)
    for start in [word.start() for word in words][1:][-MOST_WORDS:]:
        if _understood(text[start:], now):
            return _behind(text[:start].rstrip(" ,:–-"), text[start:])
    if found := _LENGTH.match(text):
        return f"in {found[1].strip()}", _bare(text[found.end() :])
    found = (
        _LIKE_A_TIME.match(text) or _FRONT.search(f"\n{text}") or _MEANT.search(text) or _misspelled(words)
    )
    if found:
        raise _unclear(found)
    return None


def _in_front(phrase: str, rest: str, now: datetime) -> tuple[str, str]:
    if not (phrase.endswith(":") or _JOINED.match(rest)):
        following = rest.lstrip(" ,")
        if found := _GOES_ON.search(f"{phrase}\n{rest.lstrip()}") or _FRONT.search(f"\n{following}"):
            raise _unclear(found)
        if found := _misspelled([*re.finditer(r"\S+", following)][:1]):
            raise _unclear(found)
    phrase, text = _with_end(phrase.strip(" ,:"), _bare(rest), now)
    if found := _LIKE_A_TIME.match(text):
        raise _unclear(found)
    return phrase, text


def _behind(text: str, phrase: str) -> tuple[str, str]:
    if found := _LIKE_A_TIME.match(text):
        raise _unclear(found)
    if found := _BEGINS.search(text) or _misspelled([*re.finditer(r"\S+", text)][-1:]):
        raise _unclear(found, phrase)
    if found := _OPEN.search(f"{text}\n{phrase}"):
        raise _unclear(found)
    return phrase, text


def _unclear(found: re.Match[str], following: str = "") -> Impossible:
    """What was found, to the ends of its words, is told to the person."""
    head, tail = found.string[: found.start()], found.string[found.end() :]
    words = f"{_SPACE.split(head)[-1]}{found[0]}{_SPACE.split(tail)[0]} {following}".split()
    return Impossible("when_left", phrase=" ".join(words).strip(" ,:")[:60])


def _misspelled(words: list[re.Match[str]]) -> re.Match[str] | None:
    """A word that is nearly the name of a day."""
    for word in words[:MOST_WORDS]:
        plain = word[0].casefold().strip(" ,.:;!?")
        if (
            len(plain) > 3
            and plain.removesuffix("s").rstrip("'’") not in _NAMES
            and get_close_matches(plain, _NAMES, 1, 0.85)
        ):
            return word
    return None


_NAMES = (
    "tomorrow",
    "today",
    "tonight",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)


def _with_end(phrase: str, text: str, now: datetime) -> tuple[str, str]:
    """An end may stand behind what is to be said: "every day at 9 to stretch until Friday"."""
    for found in [*re.finditer(r"[\s,]+(?=until\s)", text, re.IGNORECASE)][-MOST_WORDS:]:
        if _understood(whole := f"{phrase} {text[found.end() :]}", now):
            return whole, text[: found.start()]
    return phrase, text


def _understood(phrase: str, now: datetime) -> bool:
    try:
        return parse(phrase, now) is not None
    except Impossible:
        return True


_LIKE_A_TIME = re.compile(
    r"(?:on |the )*(?:\d{4}-\d|\d{1,2}[./]\d{1,2}[./]\d"
    rf"|{vocabulary.NTH}(?: of)? {vocabulary.MONTH}\b|{vocabulary.MONTH} (?:the )?{vocabulary.NTH}\b)"
    r"|(?:at |@ ?)?(?:\d{1,2}[:.]\d\d(?!\d|%)|\d{1,2} ?[ap]\.?m\b)|(?:at |@ ?)(?:\d|noon\b|mid(?:day|night)\b)",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s")
_DAY = rf"(?:today|tonight|tomorrow|{vocabulary.WEEKDAY}s?)"
_UNIT = r"(?:minute|hour|day|weekday|week|weekend|month|year|morning|afternoon|evening|night)s?"
_LONG = r"(?:day|week|month|quarter|year|weekday|weekend|working day|workday|business day|holiday)s?"
_NTH = r"(?:first|second|third|fourth|fifth|last|next|other|\d{1,2}(?:st|nd|rd|th))"
_ZONE = r"(?:utc|gmt|bst|cest|cet|eest|eet|[ecmp][sd]t)"
_CLOCK = r"(?:\d{1,2}(?:[:.]\d\d)?(?: ?[ap]\.?m)?|noon|midday|midnight)"
_GOES_ON = re.compile(  # a phrase, and a text behind it that begins with more of the phrase
    r"(?:(?<![:.]\d)\dh?|\b(?:h|hours?|hrs?|o'?clock|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)),?"
    r"\n(?:[0-5]\d\b(?![.:%])|(?:fifteen|twenty|thirty|forty|fifty)\b)"
    rf"|(?:{_DAY}|\d-\d\d),?\n\d{{1,2}}\b(?![.:%])"
    rf"|{_DAY},?\n(?:{_DAY}|week)\b"
    rf"|\n(?:and|or|but|except|&) (?:(?:on|at|in) )?(?:\d|noon\b|midnight\b|{_DAY}\b)"
    rf"|^in .*\n(?:and |& )?{vocabulary.NUMBER} {_UNIT}\b"
    r"|\n(?:until|till|til|through|starting|beginning|between)\b"
    rf"|\nfrom (?:the |next )?(?:\d|{_DAY}\b|{vocabulary.MONTH}\b)"
    rf"|\n(?:{_ZONE}|[ap]\.?m)\b",
    re.IGNORECASE,
)
_FRONT = re.compile(  # what is part of a phrase wherever it stands, in front of all else
    rf"\n(?:(?:on|in|of|during|within) )+(?:the )?(?:(?:this|next|each|every|{_NTH}) )*"
    rf"(?:{_DAY}|{vocabulary.MONTH}|{_LONG}|spring|summer|autumn|winter)\b(?!')"
    rf"|\non the (?:half )?hour\b|\n(?:the )?{_NTH} {_DAY}\b(?!')|\n(?:the )?{_NTH} {_LONG} (?:of|in) "
    rf"|\n(?:every|each) (?:{_NTH} |{vocabulary.NUMBER} )?(?:{_DAY}|{_UNIT}|{_LONG}|{vocabulary.MONTH})\b(?!')"
    r"|\n(?:except|excluding|but not|(?:not|only) (?:on|in|at)) (?:(?:for|on|in|at|the) )*\S+"
    rf"|\nfor (?:the next )?{vocabulary.NUMBER} {_LONG}\b"
    rf"|\n(?:once|twice|{vocabulary.NUMBER} times) (?:a|per|every|each) {_UNIT}\b"
    rf"|\n(?:before|after|by|around|since) (?:{_CLOCK}|{_DAY})(?![\w%])",
    re.IGNORECASE,
)
_BEGINS = re.compile(  # a text that ends with the beginning of the phrase behind it
    r"(?:^|\b)(?:every|next|last|until|till|til|from|after|before|between|starting|beginning|but|except|and|or|not)$|&$"
    rf"|\bevery (?:other|first|second|third|fourth|last|single|{_UNIT}|{_DAY})$"
    rf"|\b(?:once|twice|times) (?:a|per|every) \w+$|\b(?:next|last|this|tomorrow) {_UNIT}$"
    rf"|\b(?:starting|beginning|from|until|till|til) (?:on )?{_DAY}$|\bin {vocabulary.NUMBER} {_UNIT}$"
    rf"|(?:\bat|@) ?\d{{1,2}}(?:[:.]\d\d)?(?: ?[ap]\.?m\.?)?$|\b\d{{1,2}}\.\d{{1,2}}\.$|\b(?:{_ZONE}|tonight|tomorrow)$"
    rf"|\b\d{{1,2}}/\d{{1,2}}(?:/\d+)?$|\b(?:in|of) {vocabulary.MONTH}$|\b{_NTH} (?:{_DAY}|{_LONG})$"
    r"|\b(?:except|excluding|but not)(?: \w+){1,4}$",
    re.IGNORECASE,
)
_MEANT = re.compile(  # where nothing is understood: what may have been meant for a time
    rf"^(?:every|each|in {vocabulary.NUMBER}) \S+|(?<!\S)\d{{1,2}}/\d{{1,2}}(?!\S)", re.IGNORECASE
)
_OPEN = re.compile(  # what stands in front of a day of which something is told: tickets for 8 May
    r"\b(?:for|of|by|to|since|within|during|around)\n(?!(?:at|in|on|every|each)\b|@).+", re.IGNORECASE
)
_JOINED = re.compile(r"\s*(?:[:;–—]|(?:to|that|about)\b)", re.IGNORECASE)  # what can be no part of a phrase
_LEADING = re.compile(r"(?:[\s,:;–—-]+|(?:me|to|that|about|of)\b(?=\s))+", re.IGNORECASE)
_LENGTH = re.compile(
    r"((?:\d{1,6} ?(?:h|m|hours?|hrs?|minutes?|mins?)\b ?)+|\d{1,3}h\d{1,2}m?\b)", re.IGNORECASE
)


def _bare(text: str) -> str:
    """Without what joins a time to what is to be said: "to", "that", a colon."""
    found = _LEADING.match(text)
    return (text[found.end() :] if found else text).strip()
