"""Search by meaning: a vector per unit, beside the words in the person's index, and exact comparison with that of a question.

What is made a vector of is a message and the end of the one before it: "yes, last June" means little alone. A vector goes when
its unit goes, or the message before it (triggers of the schema see to that), and all go when another model is configured.

Needs numpy (the extra `meaning`), and is imported only where an embedding model is configured. The functions work on a
person's open index, see `Index.use`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.sql import queries
from memory.units import transaction

CANDIDATES = 100  # that take part in the fusion with the words
_MOST_CHARS = 2000  # of a message: more than most models read
_BEFORE_CHARS = 300  # of the message before it
_NEXT = 0.3  # what a message gains by the likeness of the one after it
_BLOCK = 4096  # vectors compared at a time, so that a long life does not fill the memory
_SQL = queries("index.sql")

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a model makes of a question. `model` names it, and what else makes its vectors what they are."""

    model: str
    vector: Vector


def unit_vector(found: object) -> Vector | None:
    """What a model has sent as a vector, brought to length 1; None for what is none, or points nowhere."""
    try:
        vector = np.asarray(found, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if vector.ndim != 1 or not np.isfinite(vector).all():
        return None
    greatest = np.abs(vector).max(initial=0)
    if not greatest:
        return None
    vector = vector / greatest  # first, so that no square is too large or too small to be a number
    unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def behind(connection: sqlite3.Connection, beginning: str) -> bool:
    """Whether vectors are wanted, of a model whose name begins so: units have none, or those of another model."""
    model = _model(connection)
    if model is not None and not model.startswith(beginning):
        return True
    return bool(connection.execute(_SQL["vectors_wanted"], {"most": 1}).fetchall())


def wanted(connection: sqlite3.Connection, model: str, most: int) -> list[tuple[int, str]]:
    """Keys of units that have no vector of this model yet, and the text to make one of; the newest first.

    Where the vectors are another model's, they are let go.
    """
    if _model(connection) not in (None, model):
        with transaction(connection):
            connection.execute(_SQL["vectors_clear"])
            connection.execute(_SQL["vectors_model_clear"])
    rows = connection.execute(_SQL["vectors_wanted"], {"most": most}).fetchall()
    return [(key, _text(text, before)) for key, text, before in rows]


def _text(text: str, before: str | None) -> str:
    return f"{before[-_BEFORE_CHARS:]}\n{text[:_MOST_CHARS]}" if before else text[:_MOST_CHARS]


def store(connection: sqlite3.Connection, model: str, made: Iterable[tuple[int, str, Vector | None]]) -> None:
    """Keep vectors of what `wanted` has told; None for a text of which there can be none, which is not wanted again.

    Texts that are others meanwhile are passed over, and so is everything if another model's vectors have come.
    """
    with transaction(connection):
        if _model(connection) is None:
            connection.execute(_SQL["vectors_model_set"], {"model": model})
        if _model(connection) != model:
            return
        for key, text, vector in made:
            now = connection.execute(_SQL["vectors_text"], {"id": key}).fetchone()
            if now is not None and _text(*now) == text:
                packed = b"" if vector is None else _packed(vector)
                connection.execute(_SQL["vectors_set"], {"unit": key, "vector": packed})


def nearest(
    connection: sqlite3.Connection, meaning: Meaning, scope: Mapping[str, Any], most: int = CANDIDATES
) -> dict[int, float]:
    """Where the units stand (`at`) that are nearest to a meaning, of those in scope (see stems_find_among), and how near."""
    if _model(connection) != meaning.model:
        return {}
    rows = connection.execute(_SQL["vectors_among"], {**scope, "dimensions": meaning.vector.size})
    spots: list[int] = []
    found: list[Vector] = []
    while block := rows.fetchmany(_BLOCK):
        spots += [at for at, _ in block]
        found.append(_likeness(b"".join(packed for _, packed in block), meaning.vector))
    if not spots:
        return {}
    at, alike = np.array(spots), np.concatenate(found)
    order = np.argsort(at)
    at, alike = at[order], alike[order]
    follows = np.flatnonzero(np.diff(at) == 1)
    scores = alike.copy()
    # Against the mean: what has no next message neither gains nor loses.
    scores[follows] += _NEXT * (alike[follows + 1] - alike.mean())
    best = np.argsort(-scores, kind="stable")[:most]
    return {int(at[i]): float(scores[i]) for i in best}


def _model(connection: sqlite3.Connection) -> str | None:
    row = connection.execute(_SQL["vectors_model"]).fetchone()
    return None if row is None else str(row[0])


def _packed(vector: Vector) -> bytes:
    """A vector in a byte per dimension. Its length is lost, which means nothing, and next to nothing of its direction."""
    packed: NDArray[np.int8] = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
    return packed.tobytes()


def _likeness(packed: bytes, asked: Vector) -> Vector:
    """The cosines between each vector and the one that is asked for, which has length 1."""
    vectors = np.frombuffer(packed, np.int8).reshape(-1, asked.size).astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))  # linalg.norm takes many times as long
    cosines: Vector = (vectors @ asked / lengths).astype(np.float32)
    return cosines
