"""The configuration: its schema, the way it is loaded and checked, and the texts that help to write it."""

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

__all__ = [
    "DEFAULT_PATH",
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
    "load",
]
