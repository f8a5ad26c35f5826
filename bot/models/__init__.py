"""The providers behind one protocol, `bot.models.base.Model`. Only the one that is asked for is imported."""

from __future__ import annotations

from bot.models.base import Model
from config.schema import ModelConfig


def build(name: str, config: ModelConfig) -> Model:
    """The model that `models.<name>` describes. Connects to nothing and imports no SDK.

    Raises `ModelRejected` if it can never work: no model is named, or the provider's SDK is not installed.
    """
    match config.provider:
        case "openai" | "azure":
            from bot.models.openai import OpenAIModel

            return OpenAIModel(name, config)
        case "anthropic":
            from bot.models.anthropic import AnthropicModel

            return AnthropicModel(name, config)
        case "demo":
            from bot.models.demo import DemoModel

            return DemoModel(name)
