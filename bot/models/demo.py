"""The demo model: no key, no network, a few rules. It says what it is, and it drives the real loop of streaming and tools.

It is what a newcomer meets first and what the acceptance tests run on, so everything it claims to know comes from the
conversation or from a tool.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import ClassVar

from bot import when
from bot.context import SUMMARY_PROMPT
from bot.events import Event, ToolCall, ToolReturned, Usage, UserSaid
from bot.models.base import Finished, ModelEvent, ModelRequest, TextDelta

ABILITIES = (
    "I have no real understanding: I follow a few rules. Tell me your name, ask what we talked about today or yesterday, "
    "or say “search for” and what you look for; ask "
    "what your name is or what time it is; say “remember that I like tea” and ask what I know about you; say “remind me in "
    "20 minutes to make tea” or “every day at 9 write 20 words”, and ask what your reminders are; say “count to 50”, "
    "“write 200 words” or “show me some Markdown”."
)
GREETING = f"Hello! I am the built-in demo model. {ABILITIES}"
PUZZLED = f"I am the built-in demo model, and I did not understand that. {ABILITIES}"
MARKDOWN = """\
# A heading

Some **bold**, some *italic*, some ~~struck~~ and some `code`, with [a link](https://example.org).

- first
- second
  - nested

1. one
2. two

> A quotation.

```python
def greet(name: str) -> str:
    return f"Hello, {name}!"
```

| month | days |
|---|---|
| May | 31 |
| June | 30 |
"""
_SENTENCE = "the quick brown fox jumps over the lazy dog while a patient clerk writes down every word of it"
_MOST_NUMBERS = 10_000
_MOST_WORDS = 50_000
_LONGEST_QUOTATION = 3000  # characters
_DATE = r"\d{4}-\d\d-\d\d"
_NAME = re.compile(r"(?i:\bmy name is|\bcall me)\s+([^\W\d_][\w'’-]*(?:\s+[A-Z][\w'’-]*)*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say, or which tool to call first."""

    text: str = ""
    call: ToolCall | None = None
    slow: bool = False


class DemoModel:
    """See `bot.models.base.Model`."""

    pause: ClassVar[float] = 0.005
    """Seconds between words, so that the streaming is seen."""
    slow_pause: ClassVar[float] = 0.05
    """Seconds between the numbers of a count, so that there is time for /stop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = "demo"
        self.max_output_tokens: int | None = None

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """See `bot.models.base.Model.stream`."""
        answer = respond(request)
        for word in re.findall(r"\s*\S+\s*", answer.text):
            yield TextDelta(word)
            await asyncio.sleep(self.slow_pause if answer.slow else self.pause)
        calls = (answer.call,) if answer.call else ()
        read = len(request.system) + sum(_length(event) for event in request.events)
        written = len(answer.text) + sum(len(call.arguments) for call in calls)
        yield Finished("tools" if calls else "stop", Usage(input=read // 4, output=written // 4), calls)

    async def close(self) -> None:
        """Nothing is open."""


def respond(request: ModelRequest) -> Answer:
    """What the rules say to the last message, given what its tools have returned so far."""
    if request.system == SUMMARY_PROMPT:
        return Answer(_summary(request))
    last = max((i for i, e in enumerate(request.events) if isinstance(e, UserSaid)), default=None)
    if last is None:
        return Answer(GREETING)
    turn = _Turn(request, last)
    for pattern, rule in _RULES:
        if found := pattern.search(turn.said.text):
            return rule(turn, found)
    return Answer(PUZZLED)


class _Turn:
    """The last message, what came before it, and what its tools returned."""

    def __init__(self, request: ModelRequest, last: int) -> None:
        said = request.events[last]
        assert isinstance(said, UserSaid)  # noqa: S101 - the caller has looked for one
        self.said = said
        self.before = request.events[:last]
        self._returned = [e for e in request.events[last:] if isinstance(e, ToolReturned)]
        self._tools = {tool.name for tool in request.tools}

    def use(
        self,
        tool: str,
        arguments: Mapping[str, object],
        then: Callable[[str], str],
        otherwise: str = "I could not find out",
    ) -> Answer:
        """Call a tool, and in the next round say what `then` makes of its result."""
        for event in self._returned:
            if event.name == tool:
                return Answer(f"{otherwise}: {_why(event.content)}" if event.failed else then(event.content))
        if tool not in self._tools:
            return Answer(f"I am only the demo model and have no {tool} tool here, so I can not tell.")
        return Answer(call=ToolCall(f"call_{uuid.uuid4().hex[:24]}", tool, json.dumps(arguments)))


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


def _why(problem: str) -> str:
    """Why a tool failed, said to a person and not to a model."""
    for pattern, plain in _FOR_PEOPLE:
        if found := re.fullmatch(pattern, problem, re.DOTALL):
            return found.expand(plain)
    return problem


def _summary(request: ModelRequest) -> str:
    words = "\n".join(e.text for e in request.events if isinstance(e, UserSaid))
    return f"Notes of the demo model, which keeps the beginnings of what was said:\n{words[:1200]}"


def _length(event: Event) -> int:
    match event:
        case ToolReturned():
            return len(event.content)
        case _:
            return len(event.text)


def _quoted(text: str) -> str:
    """A tool's result as a quotation, with the transcript's marks put in words."""
    # The tool's note to models, which are not meant to repeat it
    text = re.sub(r"\A[^#]*\n\n(?=#)", "", text.strip())
    text = re.sub(r"^#+ (.+)$", r"*\1*", text, flags=re.MULTILINE)
    text = text.replace("**user:**", "**You:**").replace("**assistant:**", "**Me:**")
    if len(text) > _LONGEST_QUOTATION:
        text = text[:_LONGEST_QUOTATION] + " …"
    return "Here is what I found:\n\n" + "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _days(back: int, ahead: int = 0) -> dict[str, str]:
    today = datetime.now(UTC).date()
    return {"start": str(today - timedelta(days=back)), "end": str(today + timedelta(days=ahead))}


def _recall(turn: _Turn, found: re.Match[str]) -> Answer:
    text = found.string.lower()
    dates = re.findall(_DATE, text)
    if len(dates) > 1:
        when = {"start": min(dates), "end": max(dates)}
    elif dates:
        when = {"date": dates[0]}
    elif "yesterday" in text:
        when = {"date": "yesterday"}
    elif "week" in text:
        when = _days(7)
    elif "month" in text or "remember" in text:
        when = _days(31)
    else:
        when = {"date": "today"}
    return turn.use("history", when, _quoted)


def _remember(turn: _Turn, found: re.Match[str]) -> Answer:
    fact, _, old = found[1].strip().partition(" instead of ")
    arguments = {"fact": fact.rstrip(".!"), "quote": fact}
    if old:
        arguments["replaces"] = old.rstrip(".!")
    return turn.use("remember", arguments, lambda told: f"I will remember it. {told}", "I could not do that")


def _forget(turn: _Turn, found: re.Match[str]) -> Answer:
    return turn.use(
        "forget_fact", {"fact": found[1].strip().rstrip(".!")}, lambda told: told, "I could not do that"
    )


def _known(turn: _Turn, _: re.Match[str]) -> Answer:
    return turn.use("recall_facts", {}, lambda told: _quoted(told.partition("\n\n")[2] or told))


def _remind(turn: _Turn, found: re.Match[str]) -> Answer:
    return _at_a_time(turn, found[1], work=False)


def _do_later(turn: _Turn, found: re.Match[str]) -> Answer:
    return _at_a_time(turn, found[1], work=True)


def _at_a_time(turn: _Turn, text: str, *, work: bool) -> Answer:
    now = datetime.now(UTC).replace(tzinfo=None)  # what it is where they are, the tool knows
    parts = when.split(text, now)
    if parts is None or not parts[1]:
        return Answer("Tell me when, and what. Like this: remind me in 20 minutes to make tea.")
    phrase, task = parts
    arguments: dict[str, object] = {"text": task.rstrip(".!")} | ({"work": True} if work else {})
    match _meaning(phrase, now):
        case when.After(seconds):
            arguments["in_minutes"] = seconds / 60
        case when.Every() | when.Rule():
            arguments["repeat"] = phrase
        case _:
            arguments["at"] = phrase
    return turn.use("set_reminder", arguments, lambda told: told, "I could not do that")


def _meaning(phrase: str, now: datetime) -> when.When | None:
    try:
        found = when.parse(phrase, now)
    except when.Impossible:
        return None
    return found.when if found else None


def _reminders(turn: _Turn, _: re.Match[str]) -> Answer:
    return turn.use("list_reminders", {}, _quoted)


def _cancel(turn: _Turn, found: re.Match[str]) -> Answer:
    return turn.use("cancel_reminder", {"id": int(found[1])}, lambda told: told, "I could not do that")


_WHEN = re.compile(
    rf"(?i)\b(?:(?:on|from|since|until|to|between|and)\s+)?(?:{_DATE}|today|yesterday)\b"
    r"|\b(?:(?:in|over|during) the |this |last )(?:last |past )?(?:day|week|month)s?\b"
)


def _search(turn: _Turn, found: re.Match[str]) -> Answer:
    asked = next(filter(None, found.groups()))
    words = _WHEN.sub(" ", asked).strip(" ?.!,")
    if not words:
        return _recall(turn, found)
    dates = sorted(
        re.findall(rf"{_DATE}|\byesterday\b|\btoday\b", asked.lower()), key=lambda day: (day[0] == "t", day)
    )
    when = {"start": dates[0], "end": dates[-1]} if dates else {}
    return turn.use(
        "search_history",
        {"words": words, **when},
        lambda told: told if told.startswith("Nothing") else _quoted(told),
    )


def _their_name(turn: _Turn, _: re.Match[str]) -> Answer:
    for event in reversed(turn.before):
        if not isinstance(event, UserSaid) or event.speaker != turn.said.speaker:
            continue
        if found := _NAME.search(event.text):
            return Answer(f"Your name is {found[1]}.")

    def look(transcripts: str) -> str:
        names = _NAME.findall(transcripts)
        return (
            f"Your name is {names[-1]}. I looked it up."
            if names
            else "You have not told me your name lately."
        )

    return turn.use("history", _days(31, 1), look)  # a day ahead: theirs may be a zone where it is tomorrow


def _clock(turn: _Turn, found: re.Match[str]) -> Answer:
    zone = re.search(r"\b[A-Z]\w+/[A-Z]\w+\b", found.string)
    return turn.use("clock", {"timezone": zone[0]} if zone else {}, lambda told: f"The clock says: {told}")


def _count(_: _Turn, found: re.Match[str]) -> Answer:
    most = min(int(found[1]), _MOST_NUMBERS)
    return Answer(" ".join(str(number) for number in range(1, most + 1)) or "Done.", slow=True)


def _write(_: _Turn, found: re.Match[str]) -> Answer:
    wanted = max(1, min(int(found[1]), _MOST_WORDS))
    words = list(islice(cycle(_SENTENCE.split()), wanted))
    paragraphs = (" ".join(words[i : i + 60]).capitalize() + "." for i in range(0, wanted, 60))
    return Answer("\n\n".join(paragraphs))


def _meet(_: _Turn, found: re.Match[str]) -> Answer:
    return Answer(f"Nice to meet you, {found[1]}.")


def _greet(_: _Turn, __: re.Match[str]) -> Answer:
    return Answer(GREETING)


def _show_markdown(_: _Turn, __: re.Match[str]) -> Answer:
    return Answer(MARKDOWN)


_RULES: Sequence[tuple[re.Pattern[str], Callable[[_Turn, re.Match[str]], Answer]]] = [
    (re.compile(r"(?is)^\W*(?:please\W+)?remind me\b(.*)"), _remind),
    (
        re.compile(
            r"(?is)^\W*((?:in|at|on|tomorrow|tonight|every|daily)\b.+\b(?:(?:send|show|write) (?:me|\d+)|count to)\b.*)"
        ),
        _do_later,
    ),
    (re.compile(r"(?i)\bcancel (?:my )?reminder (?:number )?(\d{1,9})\b"), _cancel),
    (re.compile(r"(?i)\bmy reminders\b|\breminders do i have\b"), _reminders),
    (re.compile(r"(?is)^\W*(?:please\W+)?remember(?: that|:) (.+)"), _remember),
    (re.compile(r"(?is)^\W*(?:please\W+)?forget(?: that|:) (.+)"), _forget),
    (re.compile(r"(?i)\bwhat (do )?you know (about|of) me\b"), _known),
    (re.compile(r"(?i)\b(what('?s| is) my name|who am i)\b"), _their_name),
    (
        re.compile(
            r"(?is)^\W*(?:please\W+)?(?:search|look) (?:(?:my|our|the) \w+ )?for (.+)"
            r"|\bwhen did (?:we|i) (?:first |last )?(?:mention|say|tell you about|talk about|speak of) (.+)"
            r"|\bwhat did (?:we|i) (?:say|tell you|talk) about (.+)"
        ),
        _search,
    ),
    (
        re.compile(
            r"(?i)\bwhat (did|have|had) (we|i)\b.*\b(talk|sa(y|id)|discuss|tell|told)|\byou remember\b"
        ),
        _recall,
    ),
    (re.compile(r"(?i)\bwhat('?s| is)? (the )?(time|date|day)\b"), _clock),
    (re.compile(r"(?i)\bcount to (\d{1,9})\b"), _count),
    (re.compile(r"(?i)\bwrite (?:me )?(\d{1,9}) words\b"), _write),
    (re.compile(r"(?i)\bmarkdown\b"), _show_markdown),
    (_NAME, _meet),
    (
        re.compile(r"(?i)^\W*(hello|hi|hey|good (morning|day|evening)|help|what can you do|who are you)\b"),
        _greet,
    ),
]
