"""The configuration: its schema, the way it is loaded and checked, and the texts that help to write it."""

from typing import Any

from config.init import INIT_ADAPTERS, INIT_PROVIDERS, render_init
from config.load import DEFAULT_PATH, Loaded, load
from config.problems import ConfigError, Problem
from config.schema import (
    AccessConfig,
    AdaptersConfig,
    AgentConfig,
    Config,
    ConsoleConfig,
    GroupsConfig,
    LogConfig,
    MemoryConfig,
    ModelConfig,
    Price,
    ServerConfig,
    StreamsConfig,
    TelegramConfig,
)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the configuration, for editors."""
    from config.editor import json_schema as build  # slow to import, and rarely needed

    return build()


__all__ = [
    "DEFAULT_PATH",
    "INIT_ADAPTERS",
    "INIT_PROVIDERS",
    "AccessConfig",
    "AdaptersConfig",
    "AgentConfig",
    "Config",
    "ConfigError",
    "ConsoleConfig",
    "GroupsConfig",
    "Loaded",
    "LogConfig",
    "MemoryConfig",
    "ModelConfig",
    "Price",
    "Problem",
    "ServerConfig",
    "StreamsConfig",
    "TelegramConfig",
    "json_schema",
    "load",
    "render_init",
]
