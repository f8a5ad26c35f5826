"""The providers behind two protocols, `bot.models.base.Model` and `bot.models.embedding.Embedder`.

Only the one that is asked for is imported.
"""

from __future__ import annotations

import importlib.util

from bot.errors import ModelRejected
from bot.models.base import Model
from bot.models.embedding import EMBEDDINGS, Embedder
from config.schema import EmbeddingsConfig, ModelConfig


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


def build_embedder(config: EmbeddingsConfig) -> Embedder:
    """The embedder that `memory.embeddings` describes. Connects to nothing and loads nothing.

    Raises `ModelRejected` if it can never work: a package that it needs is not installed.
    """
    if importlib.util.find_spec("numpy") is None:
        raise ModelRejected(
            EMBEDDINGS, "package 'numpy' is not installed; pip install 'boswell[meaning]', or remove the key"
        )
    match config.provider:
        case "openai":
            from bot.models.openai import OpenAIEmbedder

            return OpenAIEmbedder(config)
        case "local":
            from bot.models.local import LocalEmbedder

            return LocalEmbedder()
