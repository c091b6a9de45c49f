"""A real server, where the variable GLEITZEIT_OLLAMA_URL names one on this machine.

GLEITZEIT_OLLAMA_MODEL is a small chat model that the server has or can pull.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit.errors import UnknownModelError
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Finished, Invoke, Reply, Stream

URL = os.environ.get("GLEITZEIT_OLLAMA_URL")
MODEL = os.environ.get("GLEITZEIT_OLLAMA_MODEL", "qwen3:0.6b")

pytestmark = [
    pytest.mark.realserver,
    pytest.mark.skipif(URL is None, reason="GLEITZEIT_OLLAMA_URL names no server"),
]


@pytest.fixture
async def real() -> AsyncIterator[Ollama]:
    async with FakeContext("real") as context:
        provider = Ollama(Ollama.Config(base_url=URL, pull="always", num_ctx=2048), context)
        async with provider.lifespan():
            yield provider


async def test_an_absent_model_is_pulled_and_streamed_and_whole_answers_agree(real: Ollama) -> None:
    chat = Chat("Say one word.", temperature=0.0, seed=1, max_tokens=40, reasoning="off")
    stream = await real.call(chat.to(MODEL, stream=True))
    assert isinstance(stream, Stream)
    assert isinstance([event async for event in stream][-1], Finished)
    whole = await real.call(chat.to(MODEL))
    assert isinstance(whole, Reply)
    assert whole.text == stream.reply.text
    assert whole.usage is not None
    assert whole.usage.output
    await real.call(Invoke("unload", args=[MODEL]).to("real"))


async def test_a_name_that_does_not_exist_is_an_unknown_model(real: Ollama) -> None:
    with pytest.raises(UnknownModelError):
        await real.call(Chat("x").to("no-such-model-of-anybody"))


async def test_models_are_listed_with_what_they_can(real: Ollama) -> None:
    assert all(model.operations for model in await real.provide_models())
    assert (await real.health(deep=True)).status == "ok"
