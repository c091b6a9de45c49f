"""Models of transformers and sentence-transformers in the worker, beside their libraries asked directly."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from gleitzeit import Chat, Host, Message, TextDelta
from gleitzeit.errors import InvalidRequestError, TooLongError, UnknownModelError, UnsupportedError
from gleitzeit.values import Classification, Completion, Embedding, Invoke, ThinkingDelta
from tests.realserver.huggingface import TEXTS, WANTED
from tests.realserver.talk import TOKENS, Weather

# One host for all: its worker takes a minute to import torch where the machine is busy.
pytestmark = [pytest.mark.realserver, pytest.mark.asyncio(loop_scope="module")]

LONG = 300  # seconds: a busy machine takes a minute to import torch


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder of the models made for these tests, and what their libraries answer."""
    folder = tmp_path_factory.mktemp("huggingface")
    command = [sys.executable, "-m", "tests.realserver.huggingface", folder]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(models, made, tmp_path_factory):
    config = {
        "plugin": "huggingface",
        "paths": {"tiny": str(models / "tiny")},
        "folders": [str(made[0])],
        "cache": str(tmp_path_factory.mktemp("cache")),
        "threads": 1,
    }
    async with Host({"providers": {"hf": config}}, plugins={"weather": Weather}, environ={}) as host:
        # What the first test would start, and leave to the others.
        await host.hooks.provide_models()
        await host.call(Invoke("load", args=("tiny",)).to("hf", timeout=LONG))
        yield host


def to(operation, model="tiny", **fields):
    return operation.to(f"hf/{model}", timeout=LONG, **fields)


def ask(prompt, **fields):
    return to(Chat(prompt, temperature=0.0, **fields))


@pytest.mark.feature("S002-10")
async def test_chats_streams_and_tools_of_a_model_that_knows_its_answers(host):
    reply = await host.call(ask("hi"))
    assert reply.text == "Hello there! Grüße 你好 😀."
    assert (reply.finish_reason, reply.usage.input, reply.usage.output) == ("stop", 18, TOKENS + 1)

    async with host.stream(ask("hi")) as stream:
        pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert "".join(pieces) == reply.text
    assert len(pieces) > 3
    assert stream.reply.usage == reply.usage

    assert (await host.call(ask([Message.system("be brief"), Message.user("hi")]))).text == "Hi."

    async with host.stream(ask("think")) as stream:
        thought = [event.text async for event in stream if isinstance(event, ThinkingDelta)]
    assert "".join(thought) == "let me see"
    assert (stream.reply.thinking, stream.reply.text) == ("let me see", "42")

    for streamed in (False, True):
        conversation = host.converse(ask("weather in Paris and Oslo"), tools=["get_weather"], defer=False)
        if streamed:
            async with conversation:
                async for _ in conversation:
                    pass
        ending = conversation.ending if streamed else await conversation
        assert ending.text == "Sun in Paris, snow in Oslo."
        assert ending.turns == 2
    assert "torch" not in sys.modules, "heavy imports are the worker's"


async def test_limits_stop_strings_seeds_and_completions(host):
    short = await host.call(ask("hi", max_tokens=3))
    assert (short.finish_reason, short.usage.output) == ("length", 3)
    stopped = await host.call(ask("hi", stop=["the"]))
    assert (stopped.text, stopped.finish_reason) == ("Hello ", "stop")

    def noise(seed):
        return to(Completion("hello", max_tokens=12, temperature=1.5, seed=seed))

    # Drawn at the same time: seeds are each job's own.
    drawn = await asyncio.gather(*(host.call(noise(seed)) for seed in (1, 2, 1, 2)))
    texts = [reply.text for reply in drawn]
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]
    likeliest = (await host.call(to(Completion("hello", max_tokens=12, temperature=0.0)))).text
    for top_p, own in ((1e-6, {}), (None, {"top_k": 1}), (None, {"min_p": 1.0})):
        narrow = Completion(
            "hello", max_tokens=12, temperature=1.5, top_p=top_p, options={"huggingface": own}
        )
        assert (await host.call(to(narrow))).text == likeliest

    on = {"huggingface": {"generation": {"min_new_tokens": 600}}}
    full = await host.call(to(Completion("hello", options=on), "large"))
    assert full.finish_reason == "context_exceeded"
    assert full.usage.input + full.usage.output == 512

    with pytest.raises(TooLongError, match="2048"):
        await host.call(to(Completion("hello there " * 2000)))
    options = {"huggingface": {"generation": {"no_such_setting": 1}}}
    with pytest.raises(InvalidRequestError, match="no_such_setting"):
        await host.call(ask("hi", options=options))
    assert (await host.call(ask("hi"))).text.startswith("Hello")


async def test_leaving_a_stream_and_cancelling_a_call_stop_the_generation(host):
    options = {"huggingface": {"generation": {"min_new_tokens": 1900}}}
    endless = Completion("hello", max_tokens=1900, temperature=1.0, options=options)

    async def users():
        models = (await host.call(Invoke("loaded").to("hf"))).data["models"]
        return sum(row["users"] for row in models if row["model"] == "tiny")

    async with asyncio.timeout(LONG):
        async with host.stream(to(endless)) as stream:
            await anext(event async for event in stream if isinstance(event, TextDelta))
            assert await users() == 1
        while await users():  # one that went on would wait for its reader for ever
            await asyncio.sleep(0.01)
        assert stream.reply.finish_reason is None
        task = asyncio.create_task(host.call(to(endless)))
        while not await users():
            await asyncio.sleep(0.001)
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})
        while await users():
            await asyncio.sleep(0.01)


@pytest.mark.feature("S002-10")
async def test_vectors_are_those_of_sentence_transformers(host, made):
    reply = await host.call(to(Embedding(TEXTS), "vectors"))
    for ours, theirs in zip(reply.vectors, made[1]["vectors"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert reply.usage.input > len(TEXTS)
    cut = await host.call(to(Embedding(TEXTS, dimensions=8), "vectors"))
    assert [row[:8] for row in reply.vectors] == [pytest.approx(row, abs=1e-6) for row in cut.vectors]
    unit = await host.call(to(Embedding("a", options={"huggingface": {"normalize": True}}), "vectors"))
    assert sum(number**2 for number in unit.vectors[0]) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(InvalidRequestError, match="32 dimensions"):
        await host.call(to(Embedding("a", dimensions=64), "vectors"))
    with pytest.raises(TooLongError, match="text 2"):
        await host.call(to(Embedding(["a", "a " * 200]), "vectors"))


@pytest.mark.feature("S002-10")
async def test_labels_are_those_of_the_librarys_pipelines(host, made):
    def compared(reply, theirs):
        for ours, row in zip(reply.labels, theirs, strict=True):
            assert [label.name for label in ours] == [name for name, _ in row]
            assert [label.score for label in ours] == pytest.approx([score for _, score in row], abs=1e-5)

    compared(await host.call(to(Classification(TEXTS), "labels")), made[1]["labels"])
    compared(await host.call(to(Classification(TEXTS, labels=WANTED), "labels")), made[1]["zero"])
    several = Classification(TEXTS, labels=WANTED, options={"huggingface": {"multi_label": True}})
    compared(await host.call(to(several, "labels")), made[1]["several"])


@pytest.mark.feature("S002-11")
async def test_loading_and_unloading_gives_the_memory_back(host):

    async def resident():
        return (await host.call(Invoke("loaded").to("hf"))).data["resident"]

    size = (await host.call(Invoke("load", args=("large",)).to("hf", timeout=LONG))).data["bytes"]
    assert size > 35e6
    await host.call(Invoke("unload", args=("large",)).to("hf"))
    base = await resident()  # with the libraries, which stay
    for _ in range(3):
        await host.call(to(Completion("hello", max_tokens=2), "large"))
        full = await resident()
        await host.call(Invoke("unload", args=("large",)).to("hf"))
        empty = await resident()
        assert full - empty > size / 2
    assert empty - base < size / 2


@pytest.mark.feature("S002-04")
async def test_what_a_model_is_for_is_listed_and_nothing_else_is_sent(host):
    (offer,) = [offer for offer in await host.hooks.provide_models() if offer.plugin == "hf"]
    listed = {model.name: set(model.operations) for model in offer.value}
    assert listed == {
        "tiny": {"chat", "completion"},
        "vectors": {"embedding"},
        "labels": {"classification"},
        "large": {"completion"},
        "bert": {"embedding"},
    }
    with pytest.raises(UnknownModelError):
        await host.call(Chat("hi").to("hf/nobody/nothing"))
    with pytest.raises(UnsupportedError, match="does not serve chat"):
        await host.call(to(Chat("hi"), "large"))
    assert (await host.call(to(Embedding("hello"), "bert"))).vectors is not None
