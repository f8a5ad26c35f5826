"""`boswell check --live`: asks each platform and each model whether it would work, and says what is missing."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, cast

import adapters as platforms
from adapters.base import AdapterError, Finding, Menu
from bot import models
from bot.errors import ModelError
from bot.events import UserSaid
from bot.models.base import ModelRequest
from config import Config


async def check(config: Config) -> list[Finding]:
    """A finding or more for each configured platform and model. Each model is asked for one word, which costs next to nothing."""
    findings: list[Finding] = []
    for name in type(config.adapters).model_fields:
        settings = getattr(config.adapters, name)
        if settings is None:
            continue
        adapter = platforms.create(cast("platforms.Name", name), settings, Menu())
        try:
            findings += await adapter.check()
        except AdapterError as exc:
            findings.append(Finding(False, name, str(exc)))
        finally:
            await adapter.close()
    for name, entry in config.models.items():
        model = models.build(name, entry)
        request = ModelRequest("Answer with one word.", [UserSaid("Say: ready")], max_output_tokens=64)
        try:
            async with aclosing(cast("Any", model.stream(request))) as events:
                async for _ in events:
                    pass
            findings.append(Finding(True, f"model {name}", f"{model.label} answers"))
        except ModelError as exc:
            findings.append(Finding(False, f"model {name}", exc.problem))
        finally:
            await model.close()
    return findings
