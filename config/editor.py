"""The configuration's JSON Schema, with which an editor completes and checks `boswell.yaml` as it is typed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from config import schema
from config.schema import Config

_REFERENCE: JsonSchemaValue = {"type": "string", "pattern": r"\$\{.+\}"}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a configuration file. `${…}` may stand for every number, choice and secret."""
    generated = Config.model_json_schema(schema_generator=_Generator)
    descriptions = _descriptions()
    for name, section in [("Config", generated), *generated["$defs"].items()]:
        for key, field in section["properties"].items():
            field.pop("title", None)  # it only repeats the key
            field["description"] = descriptions[name, key]
    return {"$schema": GenerateJsonSchema.schema_dialect, **generated, "title": "Boswell's configuration"}


class _Generator(GenerateJsonSchema):
    """Lets a reference to the environment stand where the type wants something else than text."""

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return {"anyOf": [super().int_schema(schema), _REFERENCE]}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), _REFERENCE]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return {"anyOf": [super().bool_schema(schema), _REFERENCE]}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"anyOf": [super().literal_schema(schema), _REFERENCE]}


def _descriptions() -> dict[tuple[str, str], str]:
    """The string below each field of each section, by class and field."""
    module = ast.parse(Path(schema.__file__).read_text(encoding="utf-8"))
    found: dict[tuple[str, str], str] = {}
    for section in (node for node in module.body if isinstance(node, ast.ClassDef)):
        for field, below in zip(section.body, section.body[1:], strict=False):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=key)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[section.name, key] = " ".join(text.split())
    return found
