"""One ranking out of several, whatever their scores are made of: reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

# Between 3 and 20 it makes no difference to what is recalled (benchmarks/recall.py); at the usual 60, what is first in one
# ranking loses to what is mediocre in both.
_DAMPING = 10


def fused(rankings: Iterable[Mapping[T, float]]) -> dict[T, float]:
    """New scores of all that is in any of the rankings, by its places there."""
    scores: dict[T, float] = {}
    for ranking in rankings:
        for place, one in enumerate(sorted(ranking, key=ranking.__getitem__, reverse=True), 1):
            scores[one] = scores.get(one, 0.0) + 1 / (_DAMPING + place)
    return scores
