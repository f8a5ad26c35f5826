"""What the assistant may cost: a ledger of days, where every model call is booked before it is made.

A call is reserved at an upper estimate and settled at what it really used, each inside a transaction of the caller's; so neither
turns side by side (in several processes, too) nor a kill can spend beyond a limit. What is cut off stays counted at its
estimate. Nothing here sums over the calls: each of the three scopes (a person, a chat, everybody) has one row a day.

A person who is linked on several platforms has a row for each user id; what is looked at is their sum, what is written the row
of the id that asks. So linking hides nothing that was spent, and parting gives nobody anew what they had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from bot.errors import LimitReached
from bot.events import AssistantSaid, Summarised, ToolCall, ToolReturned, Usage, UserSaid
from bot.models.base import ModelRequest
from bot.models.history import arguments, user_text
from config.schema import LimitsConfig, Price
from memory import links
from memory.database import Tx
from memory.transcripts import find_zone, local_time

WARN_AT = 0.8  # of a limit
LEAST_OUTPUT = 500  # tokens: a shorter answer is no use
MINUTE = 60.0
KEEP_DAYS = 40

NANO = 1_000_000_000  # sums of floats would drift away from the calls that they stand for
MOST_USD = 1_000_000.0  # of one call
_ZONES_APART = timedelta(days=2)  # no two places of the earth have dates that are further apart

_Scope = Literal["person", "chat", "total"]
_OF_DAYS: tuple[tuple[str, _Scope, str], ...] = (
    ("turns_per_day", "person", "turns"),
    ("tokens_per_day", "person", "tokens"),
    ("usd_per_day", "person", "nano"),
    ("chat_tokens_per_day", "chat", "tokens"),
    ("chat_usd_per_day", "chat", "nano"),
    ("total_tokens_per_day", "total", "tokens"),
    ("total_usd_per_day", "total", "nano"),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """How far a limit is used: `limit` is its key under `limits:`, `until` the end of the day in unix seconds."""

    limit: str
    used: float
    most: float
    until: float


@dataclass(slots=True)
class _Day:
    """A row of `spend`, as it is to be: `id` is 0 until it is there, `moved` if it has another name or zone there.

    `others` are the rows of the days that run for the person's other user ids: they count here, and are not written.
    """

    scope: str
    day: str
    zone: str
    id: int = 0
    moved: bool = False
    turns: int = 0
    tokens: int = 0
    nano: int = 0
    held_tokens: int = 0
    held_nano: int = 0
    warned: str = ""
    others: Sequence[_Day] = ()

    @property
    def until(self) -> float:
        """When nothing of what counts here counts any more."""
        ends = [_end(self.day, self.zone)]
        for other in self.others:  # see `_elsewhere`
            ends += [_end(other.day, other.zone), _end(other.day, self.zone)]
        return max(ends)

    def exact(self, column: str, *, held: bool) -> int:
        """What was spent in all; with `held` that of calls which are not settled, too."""
        columns = (column, f"held_{column}") if held and column != "turns" else (column,)
        return sum(getattr(day, name) for day in (self, *self.others) for name in columns)


class Limits:
    """The limits of one configuration; what was spent is in the database alone. `timezone` is that of chats and of all."""

    def __init__(self, config: LimitsConfig, prices: Mapping[str, Price], timezone: str) -> None:
        self._config = config
        self._prices = prices
        self._timezone = timezone
        self._of_person = any(
            getattr(config, key) is not None for key, scope, _ in _OF_DAYS if scope == "person"
        )

    def admit(
        self,
        tx: Tx,
        person: str,
        zone: str,
        at: float,
        *,
        said_at: float | None = None,
        command: bool = False,
        paced: bool = True,
    ) -> LimitReached | None:
        """Count a turn or a command that is about to begin; a limit in return means that it must not, and is not counted.

        Call it once for each: a turn that is taken up again was counted. What is over the day's limit counts for the minute
        all the same, so that answers to it come no faster than turns do. The minute is that of `said_at`: what was said over
        hours in which we were away, and comes all at once, is no flood. Without `paced` no minute counts.
        """
        most = self._config.turns_per_minute
        if paced and most is not None:
            said = at if said_at is None else said_at
            own, *others = (tx.all("pace_window", user_id=id_, at=said) for id_ in links.people(tx, person))
            window = [*own, *(row for rows in others for row in rows)]
            count = sum(row["count"] for row in window)
            if count >= most:
                if not tx.run("pace_told", user_id=person, at=said).rowcount:  # all of it was said elsewhere
                    tx.run("pace_told_first", user_id=person, at=said)
                return LimitReached(
                    "turns_per_minute",
                    _leaves(window, count - most + 1) + MINUTE,
                    count,
                    most,
                    again=any(row["told"] for row in own),
                )
            tx.run("pace_drop", user_id=person, at=said)
            tx.run("pace_add", user_id=person, at=said)
        if command:
            return None
        day = self._day_of(tx, person, zone, at)
        most, turns = self._config.turns_per_day, day.exact("turns", held=False)
        if most is not None and turns >= most:
            return LimitReached("turns_per_day", day.until, turns, most)
        tx.run("spend_turn", id=_opened(tx, day))
        return None

    def reserve(
        self,
        tx: Tx,
        turn_id: int,
        person: str,
        chat_key: str,
        zone: str,
        model: str,
        input_bound: int,
        output_bound: int,
        at: float,
    ) -> int:
        """Book a call of `model` (its name in the configuration) at what it may use at most, before it is made.

        Returns the reservation, to be settled or released; left alone, it stays counted. Raises `LimitReached` if it does not
        fit into every limit, and has then written nothing: of several, it is the one that lasts longest.
        """
        tokens = input_bound + output_bound
        nano = _nano(_most(self._prices.get(model) or Price(), input_bound, output_bound))
        days = self._days(tx, person, chat_key, zone, at)
        reached = [
            LimitReached(spent.limit, spent.until, spent.used, spent.most)
            for spent, column, exact in self._levels(days, held=True)
            if column != "turns"
            and exact + (nano if column == "nano" else tokens) > _exact(column, spent.most)
        ]
        if reached:
            raise max(reached, key=lambda one: one.until)
        ids = {scope: _opened(tx, day) for scope, day in days.items()}
        tx.run("spend_hold", tokens=tokens, nano=nano, **ids)
        row = tx.one(
            "usage_reserve",
            at=at,
            turn_id=turn_id,
            user_id=person,
            chat_key=chat_key,
            model=model,
            input=input_bound,
            output=output_bound,
            usd=nano / NANO,
            **ids,
        )
        return int(row["id"])

    def grant(
        self,
        tx: Tx,
        person: str,
        chat_key: str,
        zone: str,
        model: str,
        input_bound: int,
        most: int,
        at: float,
    ) -> int:
        """How many tokens a call may write, of `most`: at most a quarter of what is left, so that the next ones get some.

        Never less than `LEAST_OUTPUT`: whether that fits, `reserve` tells.
        """
        price = self._prices.get(model) or Price()
        days = self._days(tx, person, chat_key, zone, at)
        for spent, column, exact in self._levels(days, held=True):
            left = _exact(column, spent.most) - exact
            if column == "tokens":
                most = min(most, int(left - input_bound) // 4)
            elif column == "nano" and price.output:
                left -= _nano(_most(price, input_bound, 0))
                most = min(most, int(left / NANO / price.output * 1_000_000) // 4)
        return max(LEAST_OUTPUT, most)

    def settle(self, tx: Tx, reservation: int, usage: Usage) -> list[Spent]:
        """Put what a call really used in the place of its estimate, on the day that it was reserved on.

        Returns the limits that are used to 80 % or more now, each once a day. Once settled (or released), it does nothing.
        """
        call = tx.one("usage_reserved", id=reservation)
        if call is None:
            return []
        nano = _nano(cost(self._prices.get(call["model"]) or Price(), usage))
        tx.run(
            "usage_settle",
            id=reservation,
            input=usage.input,
            cached=usage.cached,
            output=usage.output,
            usd=nano / NANO,
        )
        days = self._unhold(tx, call, usage.input + usage.output, nano)
        if self._of_person and "person" in days:
            day = days["person"]
            day.others = _elsewhere(tx, call["user_id"], day.zone, call["at"])
        return self._warn(tx, days)

    def release(self, tx: Tx, reservation: int) -> None:
        """Undo the reservation of a call that has not reached its provider. Does nothing if there is none."""
        call = tx.one("usage_reserved", id=reservation)
        if call is not None:
            tx.run("usage_release", id=reservation)
            self._unhold(tx, call, 0, 0)

    def spent(self, tx: Tx, person: str, chat_key: str, zone: str, at: float) -> list[Spent]:
        """How far each limit is used that is set: of the person, the chat and all, calls that are not settled included."""
        days = self._days(tx, person, chat_key, zone, at)
        return [spent for spent, _, _ in self._levels(days, held=True)]

    # Inside ---------------------------------------------------------------------------------------------------------

    def _days(self, tx: Tx, person: str, chat_key: str, zone: str, at: float) -> dict[_Scope, _Day]:
        # A thread is a chat of its own, but not a budget of its own: anybody can open another one.
        place = chat_key.rpartition(":")[0]
        return {
            "person": self._day_of(tx, person, zone, at),
            "chat": _running(tx, f"chat:{place}", self._timezone, at),
            "total": _running(tx, "all", self._timezone, at),
        }

    def _day_of(self, tx: Tx, person: str, zone: str, at: float) -> _Day:
        day = _running(tx, f"person:{person}", zone, at)
        if self._of_person:
            day.others = _elsewhere(tx, person, zone, at)
        return day

    def _levels(self, days: Mapping[_Scope, _Day], *, held: bool) -> list[tuple[Spent, str, int]]:
        """Each limit that is set, with the column it is about and that column's exact value."""
        levels = []
        for key, scope, column in _OF_DAYS:
            most: float | None = getattr(self._config, key)
            day = days.get(scope)
            if most is None or day is None:
                continue
            exact = day.exact(column, held=held)
            used = exact / NANO if column == "nano" else exact
            levels.append((Spent(key, used, most, day.until), column, exact))
        return levels

    def _unhold(self, tx: Tx, call: Any, tokens: int, nano: int) -> dict[_Scope, _Day]:
        ids: dict[_Scope, int] = {
            "person": call["person_spend"],
            "chat": call["chat_spend"],
            "total": call["total_spend"],
        }
        held = {"held_tokens": call["tokens"], "held_nano": _nano(call["usd"])}
        rows = {row["id"]: row for row in tx.all("spend_settle", tokens=tokens, nano=nano, **held, **ids)}
        return {scope: _from(rows[id_]) for scope, id_ in ids.items() if id_ in rows}

    def _warn(self, tx: Tx, days: Mapping[_Scope, _Day]) -> list[Spent]:
        due = []
        scopes = {key: scope for key, scope, _ in _OF_DAYS}
        for spent, _, _ in self._levels(days, held=False):
            day = days[scopes[spent.limit]]
            told = any(spent.limit in one.warned.split() for one in (day, *day.others))
            if spent.used >= WARN_AT * spent.most and not told:
                day.warned = f"{day.warned} {spent.limit}".strip()
                tx.run("spend_warned", id=day.id, warned=day.warned)
                due.append(spent)
        return due


def prune(tx: Tx, at: float) -> None:
    """Let go of days and minutes that are over for long, and of those that a wrong clock has left in the future."""
    today = datetime.fromtimestamp(at, UTC).date()
    tx.run("spend_prune", before=str(today - timedelta(days=KEEP_DAYS)), after=str(today + 2 * _ZONES_APART))
    tx.run("pace_prune", before=at - MINUTE, after=at + MINUTE)


def too_small(
    config: LimitsConfig, price: Price, input_bound: int, output_bound: int
) -> list[tuple[str, float, float]]:
    """The limits, but those of 0, that a call does not fit into on a day without any: key, limit, what is booked for the call."""
    needed = {
        "tokens": input_bound + output_bound,
        "nano": _nano(_most(price, input_bound, output_bound)),
        "turns": 0,
    }
    return [
        (key, most, needed[column] / NANO if column == "nano" else needed[column])
        for key, _, column in _OF_DAYS
        if (most := getattr(config, key)) and needed[column] > _exact(column, most)
    ]


# Days ---------------------------------------------------------------------------------------------------------------


def _running(tx: Tx, scope: str, zone: str, at: float) -> _Day:
    """The day that runs for a scope; nothing is written.

    A scope's days have the dates of its zone, and none of them comes twice or goes back. When the zone changes, the day that
    runs goes on under the date of the new zone, with all that was spent on it: who moves around the world does not begin anew
    with each zone, and over N days nobody has more than N + 2 budgets.
    """
    today = str(_date(zone, at))
    day = _last(tx, scope, zone, at)
    if day is None:
        return _Day(scope, today, zone)
    if day.zone != zone:
        day.day, day.zone, day.moved = max(day.day, today), zone, True
    return day


def _last(tx: Tx, scope: str, zone: str, at: float) -> _Day | None:
    """The last day of a scope, as it was written, if it is not over both where it was written and in `zone`."""
    today = _date(zone, at)
    row = tx.one("spend_last", scope=scope, most=str(today + _ZONES_APART))
    if row is None or (str(today) > row["day"] and str(_date(row["zone"], at)) > row["day"]):
        return None
    return _from(row)


def _elsewhere(tx: Tx, person: str, zone: str, at: float) -> list[_Day]:
    """The days that run for the other user ids of a person whose zone is `zone`.

    Theirs may have other zones, and then end at other times: they count until they are over in both. Else who has an id in each
    of some zones would spend a whole day's money in each of them just before it ends, and would have it back at once.
    """
    days = (_last(tx, f"person:{id_}", zone, at) for id_ in links.people(tx, person)[1:])
    return [day for day in days if day is not None]


def _opened(tx: Tx, day: _Day) -> int:
    """The id of the day's row, which is written if need be."""
    if not day.id:
        day.id = int(tx.one("spend_open", scope=day.scope, day=day.day, zone=day.zone)["id"])
    elif day.moved:
        tx.run("spend_move", id=day.id, day=day.day, zone=day.zone)
    return day.id


def _from(row: Any) -> _Day:
    return _Day(
        row["scope"],
        row["day"],
        row["zone"],
        row["id"],
        False,
        row["turns"],
        row["tokens"],
        row["nano"],
        row["held_tokens"],
        row["held_nano"],
        row["warned"],
    )


def _date(zone: str, at: float) -> date:
    return local_time(at, zone).date()


def _end(day: str, zone: str) -> float:
    there = find_zone(zone) or UTC
    return datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), there).timestamp()


def _leaves(window: Sequence[Any], count: int) -> float:
    """When the last of the first `count` was counted."""
    for row in sorted(window, key=lambda row: float(row["at"])):
        count -= row["count"]
        if count <= 0:
            break
    return float(row["at"])


# Money and tokens ---------------------------------------------------------------------------------------------------


def cost(price: Price, usage: Usage) -> float:
    """USD of a call."""
    cached = min(usage.cached, usage.input)  # a server may say anything
    again = price.input if price.cached_input is None else price.cached_input
    usd = (usage.input - cached) * price.input + cached * again + usage.output * price.output
    return usd / 1_000_000


def _most(price: Price, input_: int, output: int) -> float:
    return (input_ * max(price.input, price.cached_input or 0) + output * price.output) / 1_000_000


def _nano(usd: float) -> int:
    """What a call costs. A price or a server may say anything: sums of it must fit the database."""
    return round(min(usd, MOST_USD) * NANO)


def _exact(column: str, most: float) -> float:
    if column != "nano":
        return most
    return _nano(most) if most <= MOST_USD else int(most) * NANO


def bound(text: str) -> int:
    """At most so many tokens: its bytes in UTF-8.

    Tokenizers of today's models work on bytes, or fall back to them for what they have no word for; a token then stands for
    one byte at the least. Plain English has about four bytes to a token, so this is far above what is usual: it is a promise
    and no guess.
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


MESSAGE_BOUND = 16  # tokens that mark a message in a model's own format
CALL_BOUND = 128  # and a tool call or its result, with its id of up to 40 characters
TOOLS_BOUND = 1000  # tokens of the instructions that a provider adds where there are tools


def request_bound(request: ModelRequest) -> int:
    """At most so many tokens will be read for a request, whichever provider it goes to."""
    total = bound(request.system) + MESSAGE_BOUND
    calls: list[ToolCall] = []
    for event in request.events:
        total += MESSAGE_BOUND
        match event:
            case UserSaid() | Summarised():
                total += bound(user_text(event))
            case AssistantSaid():
                total += bound(event.text)
                calls += event.calls
                if event.opaque is not None:  # a provider's own words about its thinking, sent back to it
                    total += len(json.dumps(event.opaque, default=str))
            case ToolReturned():
                # As JSON: some put it so before the model.
                total += bound(json.dumps(event.content, ensure_ascii=False)) + CALL_BOUND
    for call in calls:
        # Where a request offers no tools, those of its history may have to be declared all the same.
        total += 3 * bound(call.name) + len(json.dumps(arguments(call))) + 2 * CALL_BOUND
    for tool in request.tools:
        # Our own plain English: at least two letters to a token. Providers write the schema anew, some of them indented,
        # and then it is up to twice as long.
        total += tool.size + CALL_BOUND
    return total + (TOOLS_BOUND if calls or request.tools else 0)
