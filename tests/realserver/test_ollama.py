"""A real Ollama, where the variable REALSERVER_OLLAMA_URL names one on this machine; pip cannot install it.

REALSERVER_OLLAMA_MODEL is a small chat model that the server has or can pull.
"""

import os

import pytest

from gleitzeit import Chat, Host
from gleitzeit.errors import UnknownModelError
from gleitzeit.values import Invoke
from tests.realserver.talk import answer, ask

URL = os.environ.get("REALSERVER_OLLAMA_URL")
MODEL = os.environ.get("REALSERVER_OLLAMA_MODEL", "qwen3:0.6b")

pytestmark = [
    pytest.mark.realserver,
    pytest.mark.skipif(URL is None, reason="REALSERVER_OLLAMA_URL names no Ollama on this machine"),
]


@pytest.fixture
def arguments(local):
    return local(here={"plugin": "ollama", "base_url": URL, "pull": "always", "num_ctx": 2048})


async def test_an_absent_model_is_pulled_and_streamed_and_whole_answers_agree(arguments):
    request = ask("Say one word.", f"here/{MODEL}", seed=1, max_tokens=40, reasoning="off")
    async with Host(**arguments) as host:
        streamed, _ = await answer(host, request, stream=True)
        whole, _ = await answer(host, request, stream=False)
        await host.call(Invoke("unload", args=[MODEL]).to("here"))
    assert whole.text == streamed.text
    assert whole.usage.output


async def test_a_name_that_does_not_exist_is_an_unknown_model(arguments):
    async with Host(**arguments) as host:
        with pytest.raises(UnknownModelError):
            await host.call(Chat("x").to("here/no-such-model-of-anybody"))


async def test_models_are_listed_with_what_they_can(arguments):
    async with Host(**arguments) as host:
        (outcome,) = [one for one in await host.hooks.provide_models() if one.plugin == "here"]
        (row,) = [row for row in await host.health(deep=True) if row.name == "here"]
    assert all(model.operations for model in outcome.value)
    assert row.health.status == "ok"
