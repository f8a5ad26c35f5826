"""The tools that ship, by the names that `agent.tools` in the configuration uses."""

from __future__ import annotations

from collections.abc import Mapping

from bot.tools.base import Tool, tool
from bot.tools.clock import clock
from bot.tools.history import history

ALL: Mapping[str, Tool] = {t.name: t for t in (tool(history), tool(clock))}
