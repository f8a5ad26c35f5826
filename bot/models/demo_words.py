"""What tools return, as the demo model passes it on: quoted, and in words for people."""

from __future__ import annotations

import re
from itertools import chain

_LONGEST_QUOTATION = 3000  # characters
_FOUND = "Here is what I found:"
_NEWEST = (
    "Here is the newest part of what I found; the earlier part is left out. "
    "/history with a date shows that day at length:"
)
_LEFT_OUT = re.compile(r"\n\n\[[^\n]*\bleft out\b[^\n]*\]\Z")  # the history tool's note to models
_QUOTED_BEFORE = re.compile(
    r"^(\*\*assistant:\*\* [^\n]*Here is [^\n]*\bI found\b[^\n]*:\n\n)>.*(?:\n>.*)*", re.MULTILINE
)

_FOR_PEOPLE = [  # what tools say to models when they fail, and what that is to a person; of the first that fits
    (r"There is no reminder (\d+) .*", r"you have no reminder \1 here. Ask what your reminders are."),
    (r".* itself scheduled.*", "a reminder can not set another one."),
    (r".* the quote is not .*", "I keep only what you wrote here yourself."),
    (r".* the person did not say .*", "I keep a fact only in your own words."),
    (
        r".* no room for more facts.*",
        "there is no room for more facts. Let me forget some first.",
    ),
    (r".* has not asked for it .*", "I forget only what you ask me to forget."),
    (r"There is no such fact .*", "I know of no such fact. Ask what I know about you."),
    (r".*: several facts fit\..*?\n(.*)", r"several facts fit. Say all the words of one of them:\n\n\1"),
    (r".* there is no fact (.*?) here that .*", r"I know of no fact \1. Ask what I know about you."),
    (r".* changed by somebody else .*", "your list of facts was changed in that moment. Say it again."),
    (r"Search does not work .*", "search does not work just now. Ask what we talked about on a date."),
    (r"Nothing was set\. (?:Give|Tell|With|until) .*", "say when in other words, such as tomorrow at 9."),
    (r"Nothing was set\. (.*)", r"\1"),
    (r"\w+ was not run: .*|The tool .*|There is no tool .*", "something went wrong."),
]


def why(problem: str) -> str:
    """Why a tool failed, said to a person and not to a model."""
    for pattern, plain in _FOR_PEOPLE:
        if found := re.fullmatch(pattern, problem, re.DOTALL):
            return found.expand(plain)
    return problem


def quoted(text: str, rest: str = "") -> str:
    """A tool's result as a quotation; that there is nothing is said plainly.

    Of what is long the beginning is there, and `rest` says how to see the rest.
    """
    if nothing := _nothing(text):
        return nothing
    text = _for_people(_unnoted(text))
    if len(text) <= _LONGEST_QUOTATION:
        return _quotation(_FOUND, text)
    told = _quotation(_FOUND, f"{text[:_LONGEST_QUOTATION]} …")
    return f"{told}\n\n{rest}" if rest else told


def quoted_newest(text: str) -> str:
    """What the history tool returned as a quotation. Of what is long the end is there, below its day and conversation."""
    if nothing := _nothing(text):
        return nothing
    record = _QUOTED_BEFORE.sub(lambda found: f"{found[1]}…", _unnoted(text))
    if len(record) <= _LONGEST_QUOTATION:
        return _quotation(_FOUND, _for_people(record))
    record = _LEFT_OUT.sub("", record)
    begin = len(record) - _LONGEST_QUOTATION
    for turn in ("\n\n**user:**", "\n\n**assistant:**"):
        if turn in record[begin:]:
            begin = record.index(turn, begin) + 2
            break
    headings = (re.findall(rf"^{level} .+$", record[:begin], re.MULTILINE)[-1:] for level in ("#", "##"))
    shown = "\n\n".join([*chain.from_iterable(headings), "…", record[begin:]])
    return _quotation(_NEWEST, _for_people(shown))


def _nothing(text: str) -> str:
    """What is said where a tool found nothing; empty where it found something."""
    if re.match(r"There is nothing|Nothing|They have no", text):
        return text.replace("They have", "You have", 1)
    return ""


def _unnoted(text: str) -> str:
    """Without the tool's note to models above, which they are not meant to repeat."""
    return re.sub(r"\A[^#]*\n\n(?=#)", "", text.strip())


def _for_people(text: str) -> str:
    """With the transcript's marks put in words."""
    text = re.sub(r"^## (\d\d:)", r"## Conversation begun \1", text, flags=re.MULTILINE)
    text = re.sub(r"^(## [\d-]{10}) (\d\d:)", r"\1, conversation begun \2", text, flags=re.MULTILINE)
    text = re.sub(r"^#+ (.+)$", r"*\1*", text, flags=re.MULTILINE)
    return text.replace("**user:**", "**You:**").replace("**assistant:**", "**Me:**")


def _quotation(head: str, text: str) -> str:
    return f"{head}\n\n" + "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def listed(reminders: str) -> str:
    """A list of reminders, each on a line of its own."""
    reminders = re.sub(r"^(?=\d+: )", "- ", reminders, flags=re.MULTILINE)
    return quoted(reminders, "The rest is left out: /reminders shows it.")
