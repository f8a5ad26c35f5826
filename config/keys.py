"""What the schema knows of a key: its type, its neighbours, and which key an unknown one was probably meant to be."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from config.problems import Key, nearest
from config.schema import Config


def type_of(key: Key) -> Any:
    """The type at a key of the whole configuration; None where the schema has nothing."""
    annotation: Any = Config
    for part in key:
        annotation = below(annotation, part)
    return annotation


def below(annotation: Any, part: str | int) -> Any:
    """The type of one key of a section, of a named entry or of an item; None where the schema has nothing."""
    if is_section(annotation):
        field = annotation.model_fields.get(part)
        return unwrapped(field.annotation) if field else None
    if get_origin(annotation) is dict and isinstance(part, str):
        return unwrapped(get_args(annotation)[1])
    if get_origin(annotation) is tuple and isinstance(part, int):
        return unwrapped(get_args(annotation)[0])
    return None


def unwrapped(annotation: Any) -> Any:
    """The type inside `Annotated[…]` and `… | None`."""
    while (origin := get_origin(annotation)) in (Annotated, Union, types.UnionType):
        inner = get_args(annotation)
        annotation = inner[0] if origin is Annotated else next(arg for arg in inner if arg is not type(None))
    return annotation


def null_is_a_value(section: Any, name: str) -> bool:
    """Whether a key's null says something else than leaving it out does: that there is no limit, where one is the default."""
    field = section.model_fields.get(name) if is_section(section) else None
    return field is not None and field.default is not None and type(None) in get_args(field.annotation)


def is_section(annotation: Any) -> bool:
    """Whether a type of the schema has keys of its own that are known beforehand."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def meant_by(key: Key) -> tuple[str | None, str]:
    """The key that an unknown one was probably meant to be, if one is near, and a hint for the operator."""
    wrong, here = str(key[-1]), list(type_of(key[:-1]).model_fields)
    if meant := nearest(wrong, here):
        return meant, f"did you mean '{meant}'?"
    if homes := [f"`{home}:`" for home, names in _sections(Config, "") if home and wrong in names]:
        return None, f"it belongs under {listed(homes)}"
    return None, f"the keys here are {listed(here, 'and')}"


def _sections(section: Any, home: str) -> Iterator[tuple[str, list[str]]]:
    """Every section of the schema with its keys; its name is as operators read it, `adapters.telegram`."""
    yield home, list(section.model_fields)
    for key in section.model_fields:
        inner, place = below(section, key), f"{home}.{key}".removeprefix(".")
        if get_origin(inner) is dict:
            inner, place = below(inner, ""), f"{place}.<name>"
        if is_section(inner):
            yield from _sections(inner, place)


def listed(options: list[str], word: str = "or") -> str:
    """`a, b or c`."""
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} {word} {options[-1]}"
