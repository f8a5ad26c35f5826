"""A model that is a function of the request: what it returns is what it says. No network, no key, no patience."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from bot.errors import ModelError
from bot.events import ToolCall, Usage
from bot.models.base import Finished, ModelEvent, ModelRequest, TextDelta

Said = str | Sequence[Any]
"""A text (said word by word), or a list of texts, ToolCalls, events to wait for, errors to raise and a Finished."""


class ScriptedModel:
    """`answer` is called for each request and says what to say; `requests` keeps all of them."""

    def __init__(
        self,
        answer: Callable[[ModelRequest], Said | Awaitable[Said]],
        name: str = "main",
        label: str = "scripted",
    ) -> None:
        self.name = name
        self.label = label
        self.max_output_tokens: int | None = None
        self.requests: list[ModelRequest] = []
        self._answer = answer

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.requests.append(request)
        said = self._answer(request)
        if not isinstance(said, str | Sequence):
            said = await said
        pieces: Sequence[Any] = [said] if isinstance(said, str) else said
        calls: list[ToolCall] = []
        for piece in pieces:
            match piece:
                case ToolCall():
                    calls.append(piece)
                case asyncio.Event():
                    await piece.wait()
                case ModelError():
                    raise piece
                case Finished():
                    yield piece
                    return
                case str():
                    for word in re.findall(r"\s*\S+|\s+\Z", piece):
                        yield TextDelta(word)
        yield Finished("tools" if calls else "stop", Usage(10, 2, 5), tuple(calls))

    async def close(self) -> None:
        pass
