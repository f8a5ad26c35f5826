"""Reminders, the people's side: what may be set, how it is told, and who may see and cancel which. For the tools and `/remind`.

Whose they are and where they go follows from the ask alone, and never from an argument. In private a person sees all of their
reminders; in a group those that were set for that group.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from datetime import time as Time  # noqa: N812 - `time` is what is asked for

from adapters.base import Chat, Update, clean
from bot import times, triggers, when
from bot.events import Variables
from bot.scope import may_be_told, place_of
from bot.sentences import say
from bot.text import is_blank
from bot.triggers import DAY, Cron, Every, Once, Trigger
from bot.when import Impossible
from config.cron import CronProblem, parse
from memory import schedules
from memory.database import Tx
from memory.schedules import Schedule
from memory.transcripts import Place

MOST_CHARS = 4000  # of what a reminder says
MOST_SECONDS = 100 * 366 * DAY  # from one time to the next, so that calendars do not come to their end
NEXT = 3  # of something that repeats so many times are told when it is set
SHOWN_CHARS = 200  # of that, in a list


@dataclass(frozen=True, slots=True)
class Bounds:
    """What people may set: so many each, repeating no sooner than so many seconds, at most so many days ahead. None: any."""

    count: int | None = None
    repeat: float | None = None
    days: int | None = None


UNBOUNDED = Bounds()


@dataclass(frozen=True, slots=True)
class Plan:
    """When a reminder is due, checked against the clock and the bounds. `note` is the key of a sentence about it, or ""."""

    trigger: Trigger
    zone: str
    first: float
    until: float | None = None
    note: str = ""
    asked: str = ""  # the time of day that the note is about


def plan(phrase: when.Phrase, zone: str, now: float, bounds: Bounds, start: float | None = None) -> Plan:
    """When it is due, by the clock of the zone. What repeats begins no earlier than `start`. Raises `Impossible`."""
    until, note, asked = None, "", ""
    if phrase.until is not None:
        until, _ = instant(phrase.until, zone)
    begin = now if start is None else max(now, start - 1)
    trigger: Trigger
    match phrase.when:
        case when.After(seconds):
            trigger = Once(now + seconds)
        case when.Moment(at):
            due_at, note = instant(at, zone)
            trigger, asked = Once(due_at), f"{at:%H:%M}"
        case when.Interval(seconds, None):
            trigger = Every(seconds, now + seconds if start is None else start)
        case when.Interval(seconds, first) if first is not None:
            anchor, note = instant(first, zone)
            trigger, asked = Every(seconds, anchor), f"{first:%H:%M}"
        case when.Rule(cron):
            trigger = Cron(cron)
    if isinstance(trigger, Every) and trigger.seconds > MOST_SECONDS:
        raise Impossible("when_too_far_to_reckon")
    due = triggers.next_after(trigger, zone, begin)
    if due is None and isinstance(trigger, Once):
        raise Impossible("when_past", time=f"{times.clock(trigger.at, zone):%Y-%m-%d %H:%M}")
    if due is None or (until is not None and until < due):
        raise Impossible("when_never")
    if bounds.days is not None and due > now + bounds.days * DAY:
        raise Impossible("reminder_too_far", days=bounds.days)
    if bounds.repeat is not None and (gap := times.shortest_gap(trigger, zone, due)) < bounds.repeat:
        least = _minutes(bounds.repeat)
        if gap == 60:
            raise Impossible("reminder_too_often_minute", least=least)
        raise Impossible("reminder_too_often", minutes=_minutes(gap), least=least)
    return Plan(trigger, zone, due, until, note, asked)


def instant(shown: datetime, zone: str) -> tuple[float, str]:
    """As `times.instant`, for the years in which all clocks can be reckoned with."""
    if shown.year < _FIRST_YEAR:
        raise Impossible("when_past", time=f"{shown:%Y-%m-%d %H:%M}")
    if shown.year > _LAST_YEAR:
        raise Impossible("when_too_far_to_reckon")
    return times.instant(shown, zone)


_FIRST_YEAR, _LAST_YEAR = 1971, 9000


def _minutes(seconds: float) -> str:
    return f"{math.ceil(seconds / 6) / 10:g}"


def read(text: str, zone: str, now: datetime, otherwise: Time = when.MORNING) -> when.Phrase:
    """A time as a person or a model writes it: plain English, ISO, or a cron expression. Raises `Impossible`."""
    text = text.strip()
    exact = _expression(text) or _iso(text, zone)
    phrase = when.Phrase(exact) if exact else when.parse(text, now, otherwise)
    if phrase is None:
        raise Impossible("when_unclear", phrase=text[:60])
    return phrase


def read_end(text: str, zone: str, now: datetime) -> datetime:
    """Until when something is to repeat, as a model writes it. Raises `Impossible`."""
    exact = _iso(text, zone)
    found = exact.at if exact else when.parse_end(text, now)
    if found is None:
        raise Impossible("when_unclear", phrase=text[:60])
    return found


def _iso(text: str, zone: str) -> when.Moment | None:
    """A date and a time. An offset has to be that of the zone: a model that says another one has reckoned for another clock."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if ":" not in text:
        return None  # a date alone is for the words
    shown = found.replace(tzinfo=None)
    if found.tzinfo is None:
        return when.Moment(shown)
    for fold in (0, 1):
        here = shown.replace(tzinfo=times.there(zone), fold=fold)
        if here.utcoffset() == found.utcoffset():
            return when.Moment(shown.replace(fold=fold))
    raise Impossible("when_offset", time=f"{shown:%Y-%m-%dT%H:%M}", zone=zone)


def _expression(text: str) -> when.Rule | None:
    """A cron expression; None if it is none. Weekdays go by name: programs do not agree on their numbers."""
    fields = text.split()
    if len(fields) != 5 or not (_FIELD.fullmatch(fields[0]) and _FIELD.fullmatch(fields[1])):
        return None
    try:
        parse(text)
    except CronProblem as exc:
        raise Impossible("when_no_rule", what=exc.what, instead=exc.instead) from exc
    if any(char.isdigit() for char in fields[4].partition("/")[0]):
        raise Impossible("when_weekday_numbers")
    return when.Rule(text.lower())


_FIELD = re.compile(r"[\d*,/-]+", re.ASCII)  # of minutes or hours


# Whose they are -----------------------------------------------------------------------------------------------------


def add(
    tx: Tx,
    variables: Variables,
    update: Update,
    text: str,
    planned: Plan,
    bounds: Bounds,
    at: float,
    *,
    work: bool,
) -> Schedule:
    """Set a reminder for who asks, to be delivered where they ask. Raises `Impossible` if they have too many."""
    have = schedules.count(tx, variables.people)
    if bounds.count is not None and have >= bounds.count:
        raise Impossible("reminder_too_many", count=have, most=bounds.count)
    schedule = Schedule(
        kind="reminder",
        platform=update.chat.platform,
        user_id=variables.user_id,
        person=asdict(update.person),
        chat=asdict(update.chat),
        chat_key=update.chat.key,
        text=text,
        work=work,
        trigger=triggers.dump(planned.trigger),
        zone=planned.zone,
        next_at=planned.first,
        until=planned.until,
        created_at=at,
    )
    return schedules.add(tx, schedule, variables.people)


def wording(text: str) -> str:
    """What a reminder is to say, fit to be kept. Raises `Impossible` for nothing, and for too much."""
    text = clean(text).strip()
    if is_blank(text):
        raise Impossible("reminder_empty")
    if len(text) > MOST_CHARS:
        raise Impossible("reminder_too_long", most=MOST_CHARS)
    return text


def visible(tx: Tx, variables: Variables) -> list[Schedule]:
    """The reminders of who asks that may be told where they ask, the next first."""
    found = schedules.of_people(tx, variables.people)
    return [one for one in found if may_be_told(variables, _place(one))]


def cancel(tx: Tx, variables: Variables, number: int, created: int | None = None) -> Schedule | None:
    """Take back one of those, if it is the one of that second where a number may be an old one's; None if it is none of them."""
    for one in visible(tx, variables):
        if one.number == number and created in (None, int(one.created_at)):
            return schedules.cancel(tx, one.id, variables.people)
    return None


def rezone(tx: Tx, people: Sequence[str], zone: str, at: float) -> None:
    """A person is in another zone now: what repeats goes by the clock there, its end too, and what is due once keeps its instant.

    What is due already, and about to be said, is left alone.
    """
    for one in schedules.of_people(tx, people):
        with suppress(*triggers.UNREADABLE):  # it rests, and says so
            _rezone(tx, one, zone, at)


def _rezone(tx: Tx, one: Schedule, zone: str, at: float) -> None:
    trigger, due, until = triggers.load(one.trigger), one.next_at, one.until
    by_days = isinstance(trigger, Cron) or (isinstance(trigger, Every) and trigger.seconds % DAY == 0)
    if until is not None and (by_days or times.clock(until, one.zone).time() == when.DAY_END):
        until, _ = times.instant(times.clock(until, one.zone), zone)
    if by_days and isinstance(trigger, Every):
        anchor, _ = times.instant(times.clock(trigger.anchor, one.zone), zone)
        trigger = Every(trigger.seconds, anchor)
    if not isinstance(trigger, Once) and due > at:
        following = triggers.next_after(trigger, zone, at)
        if following is None or (until is not None and following > until):
            schedules.cancel(tx, one.id, [one.user_id])
            return
        due = following
    schedules.change(tx, replace(one, trigger=triggers.dump(trigger), zone=zone, next_at=due, until=until))


def _place(schedule: Schedule) -> Place | None:
    return place_of(Chat(**schedule.chat)) if schedule.chat else None


# In words -----------------------------------------------------------------------------------------------------------


def confirmed(schedule: Schedule, planned: Plan, language: str = "") -> str:
    """That it is set, and for when: to be said back, so that a time that was meant in another way is noticed."""
    zone, until = planned.zone, planned.until
    if isinstance(planned.trigger, Once):
        told = say(
            "reminder_set", language, id=schedule.number, moment=times.moment(planned.first, zone, language)
        )
    else:
        following = times.moments(planned.trigger, zone, planned.first, until, NEXT)
        told = say(
            "reminder_set_repeating",
            language,
            id=schedule.number,
            rule=times.rule(planned.trigger, zone, language),
            moments="; ".join(times.moment(each, zone, language) for each in following),
        )
    parts = [told]
    if until is not None:
        parts.append(say("reminder_until", language, moment=times.moment(until, zone, language)))
    if schedule.work:
        parts.append(say("reminder_will_work", language))
    if planned.note:
        parts.append(say(planned.note, language, time=planned.asked))
    return " ".join(parts)


def line(schedule: Schedule, language: str = "", *, here: str = "") -> str:
    """One line of a list; of a reminder for another chat than `here` it tells for which."""
    zone = schedule.zone
    told = times.moment(schedule.next_at, zone, language)
    with suppress(*triggers.UNREADABLE):  # it rests, and says so
        trigger = triggers.load(schedule.trigger)
        if not isinstance(trigger, Once):
            told = say("reminder_repeats", language, rule=times.rule(trigger, zone, language), moment=told)
    if schedule.until is not None:
        told = f"{told}, {say('until_moment', language, moment=times.moment(schedule.until, zone, language))}"
    marks = []
    if schedule.work:
        marks.append(say("reminder_is_work", language))
    if schedule.chat and schedule.chat_key != here and schedule.chat["kind"] != "private":
        marks.append(say("reminder_elsewhere", language, chat=schedule.chat["title"] or schedule.chat_key))
    if schedule.state == "paused":
        marks.append(say("reminder_paused", language))
    text = " ".join(schedule.text.split())
    text = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} …"
    return f"{schedule.number}: {told}{''.join(f' ({mark})' for mark in marks)}: {text}"


def impossible(exc: Impossible, language: str = "") -> str:
    """The sentence that says why a time can not be."""
    return say(exc.key, language, **exc.values)
