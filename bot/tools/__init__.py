"""The tools that ship, by the names that `agent.tools` in the configuration uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bot.tools.base import Tool, tool
from bot.tools.clock import clock
from bot.tools.facts import forget_fact, recall_facts, remember
from bot.tools.history import history
from bot.tools.reminders import cancel_reminder, list_reminders, set_reminder
from bot.tools.search import search_history

ALL: Mapping[str, tuple[Tool, ...]] = {
    "history": (tool(history), tool(search_history)),
    "facts": (tool(remember), tool(recall_facts), tool(forget_fact)),
    "reminders": (tool(set_reminder), tool(list_reminders), tool(cancel_reminder)),
    "clock": (tool(clock),),
}


def named(names: Iterable[str]) -> dict[str, Tool]:
    """The tools that these names of the configuration stand for, by the names that a model calls them."""
    return {each.name: each for name in names for each in ALL[name]}
