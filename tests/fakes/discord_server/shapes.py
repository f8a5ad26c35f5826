"""Checks request bodies against Discord's published description of its HTTP API, and refuses fields that it does not name.

`openapi.json` holds the schemas of the operations below, as published by Discord in its repository discord-api-spec
(MIT License, Copyright 2023 Discord; the licence's text is in the file). It is made anew from a complete description with
`python -m tests.fakes.discord_server.shapes PATH/TO/openapi.json`.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("openapi.json")

# Our name of an operation with a body: where the description has it.
OPERATIONS = {
    "create_message": ("post", "/channels/{channel_id}/messages"),
    "edit_message": ("patch", "/channels/{channel_id}/messages/{message_id}"),
    "create_dm": ("post", "/users/@me/channels"),
    "set_commands": ("put", "/applications/{application_id}/commands"),
    "callback": ("post", "/interactions/{interaction_id}/{interaction_token}/callback"),
    "followup": ("post", "/webhooks/{webhook_id}/{webhook_token}"),
    "edit_original": ("patch", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"),
    "edit_followup": ("patch", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"),
}
# What discord.py sends everywhere although the description names it in some places only; Discord passes over it.
TOLERATED = {"tts", "nsfw"}

Schema = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@functools.cache
def _description() -> Schema:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def faults(operation: str, body: Any) -> list[str]:
    """What is wrong with a body, by path; nothing where it is as Discord describes it."""
    return list(_faults(_description()["operations"][operation], body, "body"))


def _faults(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if schema.get("$ref") == "SnowflakeType" and isinstance(value, int):
        return  # Discord takes ids as numbers as well
    if "$ref" in schema:
        yield from _faults(_description()["schemas"][schema["$ref"]], value, path)
        return
    if branches := schema.get("oneOf") or schema.get("anyOf"):
        found = [list(_faults(branch, value, path)) for branch in branches]
        if all(found):  # none fits: tell the nearest, which is at least of the same kind
            yield from min(found, key=lambda told: (told[0].startswith(f"{path} is "), len(told)))
        return
    for part in schema.get("allOf", ()):
        yield from _faults(part, value, path)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{path} is {type(value).__name__}, not {' or '.join(kinds)}"
        return
    if "enum" in schema and value is not None and value not in schema["enum"]:
        yield f"{path} is {value!r}, not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{path} is {value!r}, not {schema['const']!r}"
    if isinstance(value, str):
        yield from _text(schema, value, path)
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{path} has {len(value)} items"
        for index, item in enumerate(value):
            yield from _faults(schema.get("items", {}), item, f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from _object(schema, value, path)
    elif isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get(
        "maximum", value
    ):
        yield f"{path} is {value}, out of range"


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind != "boolean")


def _text(schema: Schema, value: str, path: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path} has {len(value)} characters"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path} does not match {schema['pattern']}"


def _object(schema: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path} lacks {name}"
    for name, item in value.items():
        if name in known:
            yield from _faults(known[name], item, f"{path}.{name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from _faults(schema["additionalProperties"], item, f"{path}.{name}")
        elif known and name not in TOLERATED:
            yield f"{path} has no {name}"


def trim(complete: Schema, licence: str) -> Schema:
    """The schemas of OPERATIONS and all that these refer to, without their prose."""
    schemas: dict[str, Schema] = {}

    def take(part: Any) -> Any:
        if isinstance(part, list):
            return [take(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            if name not in schemas:
                schemas[name] = {}
                schemas[name] = take(complete["components"]["schemas"][name])
            return {"$ref": name}
        prose = {name for name in ("description", "title") if isinstance(part.get(name), str)}
        return {name: take(item) for name, item in part.items() if name not in prose}

    operations = {
        name: take(complete["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"])
        for name, (method, path) in OPERATIONS.items()
    }
    return {"licence": licence, "operations": operations, "schemas": dict(sorted(schemas.items()))}


def main() -> None:
    source = Path(sys.argv[1])
    licence = json.loads(FILE.read_text(encoding="utf-8"))["licence"]
    made = trim(json.loads(source.read_text(encoding="utf-8")), licence)
    FILE.write_text(dump(made), encoding="utf-8")


def dump(made: Schema) -> str:
    """One schema a line, so that a change can be read."""
    parts = [
        f'"licence": {json.dumps(made["licence"])}',
        *(
            f'"{part}": {{\n' + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in made[part].items()) + "\n}"
            for part in ("operations", "schemas")
        ),
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
