"""The seam to whoever makes vectors of texts, for search by meaning: one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.events import Usage

EMBEDDINGS = "memory.embeddings"  # its name in errors, usage and limits: where it stands in the configuration


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vectors` has one for each text, in order and unchecked. `usage` is None where nothing was counted."""

    vectors: Sequence[object]
    usage: Usage | None


class Embedder(Protocol):
    """What `memory.embeddings` describes.

    `name` is `EMBEDDINGS`; `model` says all that makes its vectors what they are: those of another can not be compared. At most
    `batch` texts go into one call. `paid` tells whether calls count: those of a model in this process cost nothing. `size` is
    the length of its vectors, None until the first has come; whoever calls keeps it.
    """

    name: str
    model: str
    batch: int
    paid: bool
    size: int | None

    async def embed(self, texts: Sequence[str], *, asked: bool = False) -> Embedded:
        """Vectors of texts, none of them blank; `asked` says that they are questions. Raises `ModelError`s only.

        Cancelling the task ends the call, or leaves it to end by itself.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
