"""Pydantic's objections in an operator's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from config.document import BROKEN, Document, Value
from config.keys import is_section, listed, type_of, unwrapped
from config.problems import Key, nearest, printable
from config.schema import ModelConfig

_BOUNDS = {  # how pydantic calls the bound, and what a number beyond it is told
    "greater_than": ("gt", "too small", "above"),
    "greater_than_equal": ("ge", "too small", "of at least"),
    "less_than": ("lt", "too large", "below"),
    "less_than_equal": ("le", "too large", "of at most"),
}


def explain(error: ValidationError, document: Document) -> None:
    """Report all that pydantic objects to, but for what is BROKEN and so reported already."""
    for item in error.errors(include_url=False, include_input=False):
        key: Key = item["loc"]
        value = _at(document.values, key)
        if value is BROKEN:
            continue
        quoted = document.quoted(key, None if type_of(key) is SecretStr else value)
        document.report(key, *_sentence(item["type"], item.get("ctx", {}), key, value, quoted))


def _sentence(kind: str, ctx: Mapping[str, Any], key: Key, value: Value, quoted: str) -> tuple[str, str]:
    """What is wrong and what to write instead."""
    match kind:
        case "missing":
            return _missing(key)
        case "model_type" | "dict_type":
            return _no_section(key)
        case "tuple_type":
            return "a list is needed here", "write [one, another], or a line `- one` for each"
        case "literal_error":
            return _no_choice(key, value, quoted)
        case "string_pattern_mismatch":  # only times of day have one
            return f"{quoted} is no time of day", "write hours and minutes, such as 04:00"
        case "string_too_short":
            return "it is empty", "write a value, or remove the line to get the default"
    if value is None:
        return "the item is empty", "remove it"
    if not isinstance(value, str):
        return "a single value is needed here, not a list or keys", "write it on the key's own line"
    if kind in _BOUNDS:
        bound, what, than = _BOUNDS[kind]
        return f"{quoted} is {what}", f"write a number {than} {ctx[bound]:g}"
    if kind.startswith("int_"):
        return f"{quoted} is not a whole number", "write digits alone, without a unit"
    if kind.startswith(("float_", "finite_number")):
        return f"{quoted} is not a number", "write digits alone, without a unit"
    return f"{quoted} can not be used here", "write plain text"  # lone surrogates


def _missing(key: Key) -> tuple[str, str]:
    name = str(key[-1])
    field = type_of(key[:-1]).model_fields[name]
    if field.examples:
        return "it is missing", f"write `{name}: {field.examples[0]}`, or remove `{printable(str(key[-2]))}:`"
    return "it is missing", f"write `{name}:` with {listed(_choices(field.annotation))}"


def _no_choice(key: Key, value: Value, quoted: str) -> tuple[str, str]:
    choices = _choices(type_of(key))
    meant = nearest(value, choices) if isinstance(value, str) else None
    if meant:
        return f"{quoted} is none of {listed(choices)}", f"did you mean '{meant}'?"
    return f"{quoted} is not possible here", f"write {listed(choices)}"


def _choices(annotation: Any) -> list[str]:
    return [str(choice) for choice in get_args(unwrapped(annotation))]


def _no_section(key: Key) -> tuple[str, str]:
    if key[0] == "models" and len(key) == 2 and key[1] in ModelConfig.model_fields:
        return (
            "a model's own name must stand here",
            f"write `main:` under `models:`, and `{key[-1]}:` under that",
        )
    section = type_of(key)
    example = next(iter(section.model_fields)) if is_section(section) else "main"
    return (
        "keys are needed under this one, not a value",
        f"write them below it, indented, such as `{example}:`",
    )


def _at(value: Value, key: Key) -> Value:
    for part in key:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return None
    return value
