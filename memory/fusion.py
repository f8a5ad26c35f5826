"""One ranking out of two, whatever their scores are made of: reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

# At the usual 60, what is first in one ranking loses to what is mediocre in both. Between 3 and 20 it hardly matters.
_DAMPING = 5
# A good model is worth as much as the words; a poor one must not drown them.
_MEANING = 0.85


def fused(by_words: Mapping[T, float], by_meaning: Mapping[T, float]) -> dict[T, float]:
    """New scores of all that is in either ranking, by its places there. `benchmarks.recall` measures it."""
    scores: dict[T, float] = {}
    for ranking, weight in ((by_words, 1.0), (by_meaning, _MEANING)):
        for place, one in enumerate(sorted(ranking, key=ranking.__getitem__, reverse=True), 1):
            scores[one] = scores.get(one, 0.0) + weight / (_DAMPING + place)
    return scores
