"""`boswell check --live`: asks each platform and each model whether it would work, and says what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, cast

import adapters as platforms
from adapters.base import AdapterError, Finding, Menu, NoState
from bot import models
from bot.errors import ModelError
from bot.events import UserSaid
from bot.models.base import ModelRequest
from bot.models.embedding import EMBEDDINGS
from config import Config
from config.schema import EmbeddingsConfig, ModelConfig


async def check(config: Config, names: Sequence[str]) -> list[Finding]:
    """A finding or more for each named platform and each model. A model is asked for one word, which costs next to nothing."""
    findings: list[Finding] = []
    for name in names:
        findings += await _platform(name, getattr(config.adapters, name))
    for name, settings in config.models.items():
        findings.append(await _model(name, settings))
    if config.memory.embeddings is not None:
        findings.append(await _embedder(config.memory.embeddings))
    return findings


async def _platform(name: str, settings: Any) -> Sequence[Finding]:
    try:
        adapter = platforms.create(cast("platforms.Name", name), settings, Menu(), NoState())
        try:
            return await adapter.check()
        finally:
            await adapter.close()
    except AdapterError as exc:
        return [Finding(False, name, str(exc))]


async def _model(name: str, settings: ModelConfig) -> Finding:
    request = ModelRequest("Answer with one word.", [UserSaid("Say: ready")], max_output_tokens=64)
    try:
        model = models.build(name, settings)
        try:
            async with aclosing(cast("Any", model.stream(request))) as events:
                async for _ in events:
                    pass
        finally:
            await model.close()
    except ModelError as exc:
        return Finding(False, f"model {name}", exc.problem)
    return Finding(True, f"model {name}", f"{model.label} answers")


async def _embedder(settings: EmbeddingsConfig) -> Finding:
    try:
        embedder = models.build_embedder(settings)
        try:
            await embedder.embed(["ready"])
        finally:
            await embedder.close()
    except ModelError as exc:
        return Finding(False, EMBEDDINGS, exc.problem)
    return Finding(True, EMBEDDINGS, f"{settings.model or settings.provider} answers")
