"""The texts that help to write a configuration: the example, what `boswell init` writes, the JSON Schema."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import pytest
import yaml

import config as package
from config import INIT_ADAPTERS, INIT_PROVIDERS, AccessConfig, Config, json_schema, load, render_init
from config.document import parse
from config.keys import below, is_section

EXAMPLE = Path(package.__file__).with_name("example.yaml")
ENVIRON = {
    "OPENAI_API_KEY": "sk-test",
    "ANTHROPIC_API_KEY": "sk-test",
    "AZURE_OPENAI_API_KEY": "sk-test",
    "AZURE_OPENAI_DEPLOYMENT": "prod",
    "AZURE_OPENAI_ENDPOINT": "https://boswell.openai.azure.com",
    "DISCORD_BOT_TOKEN": "test-0123456789-0123456789.0123456.test_0123456789-0123456789_0123",
    "SLACK_BOT_TOKEN": "xoxb-test",
    "SLACK_APP_TOKEN": "xapp-test",
    "TELEGRAM_BOT_TOKEN": "123456:AAtest-0123456789_0123456789_0123456789",
}


def keys(section: Any, home: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the schema, that of the model `main` for the models."""
    for name in section.model_fields:
        inner, key = below(section, name), (*home, name)
        yield key
        if get_origin(inner) is dict:
            entry = {"models": "main", "chats": "telegram--100123", "schedules": "news"}[name]
            inner, key = below(inner, entry), (*key, entry)
        if is_section(inner):
            yield from keys(inner, key)


# The example


def test_the_example_loads() -> None:
    loaded = load(EXAMPLE, ENVIRON)
    assert loaded.note == ""
    assert loaded.config.models["main"].fallback == "spare"


def test_the_example_shows_every_key_in_the_order_of_the_schema() -> None:
    shown = [
        key for key in parse(EXAMPLE.read_text(encoding="utf-8"), "").lines if key[:2] != ("models", "spare")
    ]
    wanted = list(keys(Config))
    assert [key for key in shown if key in wanted] == wanted


def test_the_example_shows_the_defaults() -> None:
    loaded = load(EXAMPLE, ENVIRON).config
    # They hold what has no default.
    unlike: Any = dict.fromkeys(("models", "adapters", "access", "chats", "schedules"), True)
    unlike["memory"] = {"embeddings"}
    assert loaded.model_dump(exclude=unlike) == Config().model_dump(exclude=unlike)
    assert loaded.access.policy == AccessConfig().policy
    assert loaded.adapters.telegram is not None
    left_out = {
        name for name, field in type(loaded.adapters.telegram).model_fields.items() if not field.is_required()
    }
    for name in left_out:
        assert (
            getattr(loaded.adapters.telegram, name)
            == type(loaded.adapters.telegram).model_fields[name].default
        )


# boswell init

CHOICES = [
    (adapters, provider)
    for count in (1, 2, len(INIT_ADAPTERS))
    for adapters in itertools.combinations(INIT_ADAPTERS, count)
    for provider in INIT_PROVIDERS
]


@pytest.mark.parametrize(("adapters", "provider"), CHOICES)
def test_what_init_writes_loads_once_its_variables_are_set(
    adapters: tuple[str, ...], provider: str, tmp_path: Path
) -> None:
    path = tmp_path / "boswell.yaml"
    path.write_text(render_init(adapters, provider), encoding="utf-8")
    loaded = load(path, ENVIRON)
    assert loaded.config.models["main"].provider == provider
    assert {name for name, section in loaded.config.adapters if section} == set(adapters)
    assert loaded.note == ""


def test_init_offers_every_adapter_and_provider() -> None:
    assert set(INIT_ADAPTERS) == set(package.AdaptersConfig.model_fields)
    provider = json_schema()["$defs"]["ModelConfig"]["properties"]["provider"]
    assert set(INIT_PROVIDERS) == set(provider["anyOf"][0]["enum"])


def test_init_refuses_names_it_does_not_know() -> None:
    with pytest.raises(KeyError):
        render_init(["irc"], "demo")


# The JSON Schema


def accepts(schema: Any, value: Any, root: Any) -> bool:
    """As much of JSON Schema as ours uses: types, enum, bounds, anyOf, $ref, properties."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        return any(accepts(option, value, root) for option in schema["anyOf"])
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    if schema["type"] == "null":
        return value is None
    if not isinstance(value, kinds[schema["type"]]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if "pattern" in schema and "${" not in value:
        return False
    if schema["type"] == "array":
        return all(accepts(schema["items"], item, root) for item in value)
    if schema["type"] == "object":
        named = defaultdict(lambda: schema["additionalProperties"], schema.get("properties", {}))
        return set(schema.get("required", [])) <= value.keys() and all(
            named[name] and accepts(named[name], item, root) for name, item in value.items()
        )
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def test_the_json_schema_accepts_the_example() -> None:
    schema = json_schema()
    assert accepts(schema, yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize(("adapters", "provider"), CHOICES)
def test_the_json_schema_accepts_what_init_writes(adapters: tuple[str, ...], provider: str) -> None:
    schema = json_schema()
    text = render_init(adapters, provider)
    assert accepts(schema, yaml.load(text, Loader=yaml.BaseLoader), schema)  # noqa: S506 - BaseLoader makes only text


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({"server": {"port": 80}}, True),
        ({"server": {"port": "${PORT:-80}"}}, True),
        ({"log": {"level": "${LEVEL}"}}, True),
        ({"server": {"port": "eighty"}}, False),
        ({"server": {"port": 70000}}, False),
        ({"server": {"prot": 80}}, False),
        ({"log": {"level": "loud"}}, False),
        ({"adapters": {"telegram": {}}}, False),
    ],
)
def test_the_json_schema_knows_right_from_wrong_and_lets_references_stand(value: Any, right: bool) -> None:
    schema = json_schema()
    assert accepts(schema, value, schema) == right


def test_every_key_of_the_json_schema_is_described() -> None:
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, field in section["properties"].items():
            assert field.get("description"), key
