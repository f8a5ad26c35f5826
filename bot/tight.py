"""Limits that are too small for one plain answer: with them, everybody's first message of a day is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bot import limits, models
from bot.errors import ModelRejected
from bot.events import UserSaid, Variables
from bot.models.base import ModelRequest
from bot.prompt import system_prompt
from bot.tools import named
from config import Config


def tight(config: Config) -> Iterator[str]:
    """A sentence for each such limit, with about how much a call takes. A limit of 0 is meant so."""
    agent, name = config.agent, config.agent.model
    try:
        model = models.build(name, config.models[name])
    except ModelRejected:  # it can not be started, and then tells why
        return
    tools = [tool.spec for tool in named(agent.tools).values()]
    system = system_prompt(
        agent.name, agent.prompt, time.time(), Variables("", timezone=config.memory.timezone)
    )
    most_read = limits.request_bound(ModelRequest(system, [UserSaid("Hello")], tools))
    most_written = model.max_output_tokens or limits.LEAST_OUTPUT
    for key, most, needed in limits.too_small(
        config.limits, config.models[name].price, most_read, most_written
    ):
        about = float(f"{needed:.2g}")
        much = f"{about:g} USD" if "usd" in key else f"{about:,.0f} tokens"
        yield (
            f"limits.{key}: {most} lets nobody have an answer: before each call of models.{name} about {much} must be left, "
            "for the prompt, the tools and what it may write; write several times that, or take some of agent.tools away"
        )
