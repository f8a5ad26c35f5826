"""What tools return, as the demo model passes it on: quoted, and in words for people."""

from __future__ import annotations

import re

_LONGEST_QUOTATION = 3000  # characters
_QUOTED_BEFORE = re.compile(r"^(\*\*assistant:\*\* Here is what I found:\n\n)>.*(?:\n>.*)*", re.MULTILINE)

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
    (r"\w+ was not run: .*|The tool .*|There is no tool .*", "something went wrong."),
]


def why(problem: str) -> str:
    """Why a tool failed, said to a person and not to a model."""
    for pattern, plain in _FOR_PEOPLE:
        if found := re.fullmatch(pattern, problem, re.DOTALL):
            return found.expand(plain)
    return problem


def quoted(text: str) -> str:
    """A tool's result as a quotation, with the transcript's marks put in words; that there is nothing is said plainly."""
    if re.match(r"There is nothing|Nothing|They have no", text):
        return text.replace("They have", "You have", 1)
    # The tool's note to models, which are not meant to repeat it
    text = re.sub(r"\A[^#]*\n\n(?=#)", "", text.strip())
    text = _QUOTED_BEFORE.sub(lambda found: f"{found[1]}…", text)
    text = re.sub(r"^#+ (.+)$", r"*\1*", text, flags=re.MULTILINE)
    text = text.replace("**user:**", "**You:**").replace("**assistant:**", "**Me:**")
    if len(text) > _LONGEST_QUOTATION:
        text = text[:_LONGEST_QUOTATION] + " …"
    return "Here is what I found:\n\n" + "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def listed(reminders: str) -> str:
    """A list of reminders, each on a line of its own."""
    return quoted(re.sub(r"^(?=\d+: )", "- ", reminders, flags=re.MULTILINE))
