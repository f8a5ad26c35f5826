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
from zoneinfo import available_timezones

from bot import past, phrases, sentences, when
from bot.context import SUMMARY_PROMPT
from bot.events import Event, ToolCall, ToolReturned, Usage, UserSaid
from bot.models.base import Finished, ModelEvent, ModelRequest, TextDelta
from bot.models.demo_words import listed, quoted, quoted_newest, why
from bot.vocabulary import NUMBER, number
from memory.transcripts import local_time

ABILITIES = (
    "I have no real understanding: I follow a few rules. Tell me your name, ask what we talked about today or yesterday, "
    "or say “search for” and what you look for; ask "
    "“what is my name?” or what time it is; say “remember that I like tea” and ask what I know about you; say “remind me in "
    "20 minutes to make tea” or “every day at 9 write 20 words”, and ask what your reminders are; say “count to 50”, "
    "“write 200 words” or “show me some Markdown”."
)
GREETING = f"Hello! I am the built-in demo model. {ABILITIES}"
MANUAL = "Say “hello” to see what I can do."
PUZZLED = f"I am the built-in demo model and did not understand that. {MANUAL}"
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
_MOST_UNDERSTOOD = 5000  # characters: more than any fact or reminder has, too few to keep the patterns busy
_ENDS = " \t\n\r.,!?"
_NAME = re.compile(
    r"(?i:\bmy name is|\bcall me|\bi(?:['’]m| am) called)\s+([^\W\d_][\w'’-]*(?:\s+[A-Z][\w'’-]*)*)"
)


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
    said = _SCHEDULED.sub("", turn.said.text[:_MOST_UNDERSTOOD])
    for text in dict.fromkeys((_POLITE.sub("", said), said)):
        for pattern, rule in _RULES:
            if found := pattern.search(text):
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
        zone = re.search(r"time zone is (\S+)\.\s", request.system)
        called = re.search(r"Your name is (.+)\. (?:You talk with|You are in) ", request.system)
        self.called = called[1] if called else ""
        self.today = local_time(datetime.now(UTC).timestamp(), zone[1] if zone else "UTC").date()

    def name(self) -> str:
        """The name that who asks has told in this conversation."""
        for event in reversed(self.before):
            if not isinstance(event, UserSaid) or event.speaker != self.said.speaker:
                continue
            if found := _NAME.search(event.text):
                return found[1]
        return ""

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
                return Answer(f"{otherwise}: {why(event.content)}" if event.failed else then(event.content))
        if tool not in self._tools:
            return Answer(f"I am only the demo model and have no {tool} tool here, so I can not tell.")
        return Answer(call=ToolCall(f"call_{uuid.uuid4().hex[:24]}", tool, json.dumps(arguments)))


def _summary(request: ModelRequest) -> str:
    words = "\n".join(e.text for e in request.events if isinstance(e, UserSaid))
    return f"Notes of the demo model, which keeps the beginnings of what was said:\n{words[:1200]}"


def _length(event: Event) -> int:
    match event:
        case ToolReturned():
            return len(event.content)
        case _:
            return len(event.text)


def _when(turn: _Turn, text: str) -> dict[str, str]:
    """The arguments that say when, for the tools that look back; none if the text does not say it."""
    days = past.mentioned(text, turn.today)
    if len(days) > 1:
        return {"start": days[0], "end": days[-1]}
    if days:
        return {"start": days[0]} if re.search(r"(?i)\bsince\b", text) else {"date": days[0]}
    if found := re.search(r"(?i)\b(week|month|year)s?\b", text):
        return _lately(turn, {"week": 7, "month": 31, "year": 365}[found[1].lower()])
    return {}


def _lately(turn: _Turn, days: int) -> dict[str, str]:
    return {"start": str(turn.today - timedelta(days)), "end": str(turn.today)}


def _recall(turn: _Turn, found: re.Match[str]) -> Answer:
    text = found.string
    otherwise = _lately(turn, 31) if "remember" in text.lower() else {"date": "today"}
    return turn.use("history", _when(turn, text) or otherwise, quoted_newest)


def _remember(turn: _Turn, found: re.Match[str]) -> Answer:
    fact, _, old = _what(found).partition(" instead of ")
    arguments = {"fact": fact, "quote": fact}
    if old:
        arguments["replaces"] = old
    return turn.use("remember", arguments, lambda told: f"I will remember it. {told}", "I could not do that")


def _forget(turn: _Turn, found: re.Match[str]) -> Answer:
    return turn.use("forget_fact", {"fact": _what(found)}, lambda told: told, "I could not do that")


def _what(found: re.Match[str]) -> str:
    """What they speak of: of the pattern's groups the one that has something."""
    return _bare(next(filter(None, found.groups()), ""))


def _bare(text: str) -> str:
    """Without the signs that end a sentence, and "please"."""
    text = text.strip().rstrip(_ENDS)
    return text[: -len("please")].rstrip(_ENDS) if text.lower().endswith((" please", ",please")) else text


def _forget_all(_: _Turn, __: re.Match[str]) -> Answer:
    return Answer(
        "That is for you alone to say, and not for a model: /forget erases everything that is kept of you."
    )


def _known(turn: _Turn, _: re.Match[str]) -> Answer:
    def answer(told: str) -> str:
        name = turn.name()
        known = f"You told me your name, {name}. " if name else ""
        facts = told.partition("\n\n")[2]
        if facts:
            return known + quoted(facts, "The rest is left out: /facts shows it.")
        where = " in this group" if "in this group" in told else ""
        return f"{known}You have not asked me to remember anything{where} yet."

    return turn.use("recall_facts", {}, answer)


def _known_of(turn: _Turn, found: re.Match[str]) -> Answer:
    def answer(told: str) -> str:
        head, _, facts = told.partition("\n\n")
        if not facts or "None of them" in head:
            return "You have not asked me to remember that. Say “search for” and a word to look through what we said."
        return quoted(facts, "The rest is left out: /facts shows it.")

    return turn.use("recall_facts", {"words": _what(found)}, answer)


def _remind(turn: _Turn, found: re.Match[str]) -> Answer:
    """What stands before and behind the words that ask for it; "at 7 remind me to get up" is one with the time first."""
    return _at_a_time(turn, " ".join(filter(None, found.groups())), work=False)


def _do_later(turn: _Turn, found: re.Match[str]) -> Answer:
    return _at_a_time(turn, found[1], work=True)


def _at_a_time(turn: _Turn, text: str, *, work: bool) -> Answer:
    now = datetime.now(UTC).replace(tzinfo=None)  # what it is where they are, the tool knows
    try:
        parts = phrases.split(_bare(text), now)
    except when.Impossible as exc:
        return Answer(sentences.say(exc.key, **exc.values))
    if parts is None or not parts[1]:
        return Answer("Tell me when, and what. Like this: remind me in 20 minutes to make tea.")
    phrase, task = parts
    arguments: dict[str, object] = {"text": task} | ({"work": True} if work else {})
    match _meaning(phrase, now):
        case when.After(seconds):
            arguments["in_minutes"] = seconds / 60
        case when.Interval() | when.Rule():
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
    return turn.use("list_reminders", {}, listed)


def _cancel(turn: _Turn, found: re.Match[str]) -> Answer:
    id_ = number(found[1].lower())
    return turn.use("cancel_reminder", {"id": id_}, lambda told: told, "I could not do that")


def _cancel_which(turn: _Turn, _: re.Match[str]) -> Answer:
    def ask(told: str) -> str:
        found = listed(told)
        return f"{found}\n\nWhich one? Say “cancel reminder” and its number." if "\n> " in found else found

    return turn.use("list_reminders", {}, ask)


def _search(turn: _Turn, found: re.Match[str]) -> Answer:
    asked = _what(found)
    words = _bare(_AROUND.sub(" ", past.without(asked)))
    if not words:
        return _recall(turn, found)
    when = _when(turn, asked)
    if date := when.pop("date", ""):
        when = {"start": date, "end": date}
    rest = "The rest is left out: /search with the same words shows it."
    return turn.use("search_history", {"words": words, **when}, lambda told: quoted(told, rest))


def _their_name(turn: _Turn, _: re.Match[str]) -> Answer:
    if name := turn.name():
        return Answer(f"Your name is {name}.")

    def look(transcripts: str) -> str:
        names = _NAME.findall(transcripts)
        return (
            f"Your name is {names[-1]}. I looked it up."
            if names
            else "You have not told me your name lately."
        )

    return turn.use("history", _lately(turn, 31), look)


def _clock(turn: _Turn, found: re.Match[str]) -> Answer:
    place = re.search(r"(?i)\bin ([a-z][\w/ +-]*?)(?:,? (?:right )?now| today)?$", _bare(found.string))
    arguments = {"timezone": _zone(place[1])} if place else {}
    return turn.use("clock", arguments, lambda told: f"The clock says: {told}")


def _zone(place: str) -> str:
    """The zone of that name, or with a city of that name; the place itself if there is none."""
    zones, wanted = sorted(available_timezones()), place.strip().replace(" ", "_").lower()
    return next((zone for zone in zones if wanted in (zone.lower(), zone.lower().rpartition("/")[2])), place)


def _count(_: _Turn, found: re.Match[str]) -> Answer:
    most = min(int(found[1]), _MOST_NUMBERS)
    return Answer(" ".join(str(number) for number in range(1, most + 1)) or "Done.", slow=True)


def _write(_: _Turn, found: re.Match[str]) -> Answer:
    wanted = max(1, min(int(found[1]), _MOST_WORDS))
    words = list(islice(cycle(_SENTENCE.split()), wanted))
    paragraphs = (" ".join(words[i : i + 60]).capitalize() + "." for i in range(0, wanted, 60))
    return Answer("\n\n".join(paragraphs))


def _own_name(turn: _Turn, _: re.Match[str]) -> Answer:
    if turn.called:
        return Answer(f"I am {turn.called} here, and what speaks is the built-in demo model. {MANUAL}")
    return Answer(f"I am the built-in demo model. {MANUAL}")


def _meet(_: _Turn, found: re.Match[str]) -> Answer:
    return Answer(f"Nice to meet you, {found[1]}.")


def _greet(_: _Turn, __: re.Match[str]) -> Answer:
    return Answer(GREETING)


def _welcome(_: _Turn, __: re.Match[str]) -> Answer:
    return Answer("You are welcome.")


def _show_markdown(_: _Turn, __: re.Match[str]) -> Answer:
    return Answer(MARKDOWN)


_SCHEDULED = re.compile(r"\A\[Scheduled [^\]]*\]\s*")  # above what they asked for earlier
# What people put before what they ask for
_POLITE = re.compile(
    r"(?i)^\W*(?:(?:hello|hi|hey|okay|ok|so|and|now|please|boswell|(?:can|could|would|will) you|i (?:want|need) you to"
    r"|i(?: would|['’]d) like you to)\b\W*)+(?=\w)"
)
_AROUND = re.compile(  # a word to look for
    r"(?i)\b(?:in|through|from) (?:my|our|the) (?:history|transcripts?|conversations?|chats?|messages)\b"
    r"|^(?:what|when|where) (?:i|we|you) (?:have )?(?:said|talked|spoke|told you|mentioned)(?: (?:about|of)\b)?"
)
_ASKS = r"(?:what|when|where|who|which|how|why)\b"
_SAYING = r"(?:talk|chat|sp[eo]ak|spoke|sa(?:y|id)\b|discuss|tell|told|mention|conversation)"
_THAT = r"(?:\s+(?:this|the fact|about|down))*(?:\s+that\b)?\s*[:,]?\s+"

_RULES: Sequence[tuple[re.Pattern[str], Callable[[_Turn, re.Match[str]], Answer]]] = [
    (
        re.compile(
            rf"(?is)^(?:(?:(?:do not|don['’]t|never) forget|remember) to )?remind me\b(?! (?:of )?{_ASKS})(.*)"
            r"|^(?:new )?reminder(?:\s*:| to\b| for\b)(.*)"
        ),
        _remind,
    ),
    (
        re.compile(
            r"(?is)^(?:(?:set|make|create|add|give|schedule|i need|i want|i(?: would|['’]d) like)(?: me| up)* (?:a |an |one )?"
            r"(?:\w+ )?reminder|i(?: want| need| would like|['’]d like) to be reminded)\b(?: for\b)?(.*)"
        ),
        _remind,
    ),
    (
        re.compile(
            r"(?is)^((?:in|at|on|today|tonight|tomorrow|every|each|daily|weekly|monthly|next|this|noon|\d).*?)\b"
            r"(?:please\W+)?remind me\b(.*)"
        ),
        _remind,
    ),
    (
        re.compile(
            r"(?is)^((?:in|at|on|tomorrow|tonight|every|daily)\b.+\b(?:(?:send|show|write) (?:me|\d+)|count to)\b.*)"
        ),
        _do_later,
    ),
    (
        re.compile(
            r"(?i)\b(?:cancel|delete|remove|stop|drop|forget)\b.*\breminder\b(?:\W+(?:with|the|number|no|nr|id)\b)*\W*"
            rf"(?!an?\b)({NUMBER})\b"
        ),
        _cancel,
    ),
    (re.compile(r"(?i)\b(?:cancel|delete|remove|stop|drop|forget|clear)\b.*\breminders?\b"), _cancel_which),
    (re.compile(r"(?i)^(?:cancel|delete|remove) (?:number |#)?(\d{1,9})\W*$"), _cancel),
    (re.compile(r"(?i)\breminders\b|\bmy schedule\b|\byou(?: going to)? remind me\b"), _reminders),
    (
        re.compile(
            rf"(?is)^(?:remember|(?:do not|don['’]t|never) forget|(?:keep|bear) in mind|(?:(?:make|take) a )?note){_THAT}"
            rf"(?!{_ASKS}|me\b|us\b)(.+)"
        ),
        _remember,
    ),
    (
        re.compile(
            r"(?i)^forget (?:everything|all|me)(?: (?:that )?(?:you know|i (?:said|told you)))?(?: (?:about|of) me)?\W*$"
        ),
        _forget_all,
    ),
    (
        re.compile(
            rf"(?is)^(?:forget|(?:do not|don['’]t) remember|stop remembering|(?:delete|remove|erase)(?= the fact)){_THAT}"
            r"(?:what i (?:said|told you) about )?(.+)"
        ),
        _forget,
    ),
    (
        re.compile(
            r"(?i)\byou (?:know|remember|have|remembered)(?: \w+)? (?:about|of|on) me\b"
            r"|\b(?:my|any|what|which|the|list|show) facts\b"
            r"|\bwhat\b.*\byou to remember\b|\bwhat have you remembered\b"
        ),
        _known,
    ),
    (
        re.compile(
            r"(?i)\b(what('?s|['’]s| is) my name|(?:know|remember|told you|tell you) (?:what )?my name|who am i)\b"
        ),
        _their_name,
    ),
    (
        re.compile(
            r"(?is)^(?:search|look|find)(?: (?:my|our|the) \w+)?(?: for| up)?:? (.+)"
            r"|\bwhen did (?:we|i) (?:first |last )?(?:mention|say|tell you about|talk about|speak (?:of|about)) (.+)"
            r"|(?<!what )\b(?:did|have) (?:we|i) (?:ever |already )?(?:mention|say|sai?d|discuss|t[eo]ll?d? you about"
            r"|talk(?:ed)? about|sp[eo]ake?n? (?:of|about))(?:ed)? (.+)"
            r"|\bwhat did (?:we|i|you) (?:say|tell (?:you|me)|talk|speak|chat) about (.+)"
        ),
        _search,
    ),
    (
        re.compile(
            rf"(?is)^do you (?:know|remember) (?!.*\b{_SAYING})(?:about )?({_ASKS}.*\b(?:i|my|mine)\b.*|my\b.*)"
        ),
        _known_of,
    ),
    (
        re.compile(
            rf"(?i)\bwhat (?:did|have|had|has|was|were)\b.*\b{_SAYING}|\bwhat (?:we|i|you)(?: have| had| were)? {_SAYING}"
            r"|\byou remember\b|\b(?:in|show|read|give|see|list)\b.*\b(?:history|conversations?|transcripts?)\b"
            r"|^(?:(?:my|our|the) )?(?:history|conversation|transcript)\b|\bsummar(?:y|i[sz]e)\b"
        ),
        _recall,
    ),
    (
        re.compile(
            r"(?i)\b(?:what|which)(?:['’]?s| is)? (?:the |today['’]s )?(?:current )?(?:time|date|day|weekday|year|month)\b"
            r"|\b(?:what|which|my) time ?zone\b|\b(?:tell me|have) the (?:time|date)\b|^(?:the )?(?:current )?(?:time|date)\W*$"
        ),
        _clock,
    ),
    (re.compile(r"(?i)\bcount to (\d{1,9})\b"), _count),
    (re.compile(r"(?i)\bwrite (?:me )?(\d{1,9}) words\b"), _write),
    (re.compile(r"(?i)\bmarkdown\b"), _show_markdown),
    (re.compile(r"(?i)\bwhat(?:['’]?s| is) your name\b|\bwh(?:at|o) are you(?: called)?\W*$"), _own_name),
    (_NAME, _meet),
    (re.compile(r"(?i)^\W*(?:thanks|thank you)\b"), _welcome),
    (
        re.compile(r"(?i)^\W*(hello|hi|hey|good (morning|day|evening)|help|what can you do)\b"),
        _greet,
    ),
    (
        re.compile(rf"(?is)^(?=.*\?\s*\Z)((?:{_ASKS}|do|did|does|is|are|am)\b.*?\b(?:i|my|mine)\b.*)"),
        _known_of,
    ),
]
