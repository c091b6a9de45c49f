"""Models that are not there are downloaded, once, with progress; whoever leaves does no harm to others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit.errors import (
    MalformedAnswerError,
    ResetError,
    ServerFaultError,
    TruncatedStreamError,
    UnknownModelError,
)
from gleitzeit.testing import FakeContext
from gleitzeit.testing.ollama_server import Answer, OllamaServer
from gleitzeit.values import Chat, Embedding, Finished, Invoke, Progress, Reply, Stream

LAYER = {"status": "pulling abc", "digest": "sha256:abc", "total": 100}
SUCCESS = {"status": "success"}


def paths(server: OllamaServer) -> list[str]:
    return [call.path for call in server.requests]


async def opened(provider: Ollama, model: str = "tiny", **fields: Any) -> Stream:
    answer = await provider.call(Chat("hi").to(model, stream=True, **fields))
    assert isinstance(answer, Stream)
    return answer


@pytest.mark.feature("S002-07")
async def test_an_absent_model_is_pulled_and_then_answers(
    make: Callable[..., Ollama], server: OllamaServer, context: FakeContext
) -> None:
    server.library["tiny:latest"] = 4000
    stream = await opened(make(pull="always"))
    events = [event async for event in stream]
    progress = [event for event in events if isinstance(event, Progress)]
    assert (progress[-1].progress, progress[-1].total) == (4000, 4000)
    assert isinstance(events[-1], Finished)
    assert stream.reply.text.endswith("You said: hi")
    assert paths(server) == ["/api/chat", "/api/pull", "/api/chat"]
    assert server.requests[1].json == {"model": "tiny", "stream": True}
    assert context.changes == 1


@pytest.mark.parametrize("pull", ["never", "ask"])
async def test_nothing_is_pulled_unless_somebody_said_so(
    make: Callable[..., Ollama], server: OllamaServer, pull: str
) -> None:
    server.library["tiny:latest"] = 10
    for stream in (False, True):
        with pytest.raises(UnknownModelError) as caught:
            await make(pull=pull).call(Chat("hi").to("tiny", stream=stream))
        assert "pull" in str(caught.value.hint)
    assert paths(server) == ["/api/chat"] * 2


async def test_a_request_can_agree_to_a_download(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    server.library["tiny:latest"] = 10
    reply = await ask("hi", "tiny", by=make(pull="ask"), metadata={"pull": True})
    assert reply.text.endswith("You said: hi")


async def test_whole_answers_and_embeddings_wait_for_the_download(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    server.library["tiny:latest"] = 10
    assert (await ask("hi", "tiny", by=make(pull="always"))).text
    server.pulls.append(Answer(frames=[SUCCESS]))
    server.answers.extend([Answer.error(404, "model 'e' not found"), Answer()])
    reply = await ask(Embedding("x"), "e", by=make(pull="always"))
    assert reply.vectors is not None
    assert paths(server) == ["/api/chat", "/api/pull", "/api/chat", "/api/embed", "/api/pull", "/api/embed"]


@pytest.mark.feature("S002-07")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_name_that_does_not_exist_is_an_unknown_model_before_any_progress(
    make: Callable[..., Ollama], ask: Callable[..., Awaitable[Reply]], stream: bool
) -> None:
    with pytest.raises(UnknownModelError) as caught:
        await ask("hi", "no-such", by=make(pull="always"), stream=stream)
    assert "library" in str(caught.value.hint)
    assert caught.value.fallback
    partial = caught.value.partial
    assert partial is None or partial.parts == ()


async def test_a_name_that_the_server_refuses_is_not_pulled(
    make: Callable[..., Ollama], server: OllamaServer
) -> None:
    server.answers.append(Answer.error(400, "invalid model name"))
    with pytest.raises(UnknownModelError):
        await make(pull="always").call(Chat("hi").to("a b"))
    assert paths(server) == ["/api/chat"]


@pytest.mark.parametrize(
    "answer, error",
    [
        (Answer(frames=[LAYER, {"error": "max retries exceeded: EOF"}]), ServerFaultError),
        (Answer(frames=[LAYER]), TruncatedStreamError),
        (Answer(frames=[LAYER, b"not json\n"]), MalformedAnswerError),
        (Answer(frames=[LAYER, SUCCESS], fault="reset", after=1), ResetError),
        (Answer(status=500, body={"error": "disk full"}), ServerFaultError),
        (Answer(status=404, body={"error": "model 'tiny' not found"}), UnknownModelError),
        (Answer(status=500, body={"error": "pull model manifest: file does not exist"}), UnknownModelError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_download_that_fails_is_a_typed_error(
    make: Callable[..., Ollama],
    server: OllamaServer,
    ask: Any,
    answer: Answer,
    error: type[Exception],
    stream: bool,
) -> None:
    server.pulls.append(answer)
    provider = make(pull="always")

    with pytest.raises(error):
        await ask("hi", "tiny", by=provider, stream=stream)
    assert paths(server) == ["/api/chat", "/api/pull"]


async def test_a_name_and_its_latest_tag_are_one_download(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    server.pulls.append(Answer(frames=[LAYER, SUCCESS], delay=0.01))
    provider = make(pull="always")
    replies = await asyncio.gather(
        ask("a", "tiny", by=provider),
        ask("b", "tiny:latest", by=provider, stream=True),
        ask("c", "tiny", by=provider, stream=True),
    )
    assert [reply.text[-1] for reply in replies] == ["a", "b", "c"]
    assert paths(server).count("/api/pull") == 1


async def test_the_last_one_to_leave_ends_the_download(
    make: Callable[..., Ollama], server: OllamaServer
) -> None:
    server.pulls.append(Answer(frames=[LAYER, SUCCESS], fault="stall", after=1))
    provider = make(pull="always")
    first, second = await opened(provider), await opened(provider)
    assert isinstance(await anext(first.__aiter__()), Progress)
    assert isinstance(await anext(second.__aiter__()), Progress)
    pull = next(call for call in server.requests if call.path == "/api/pull")
    await first.aclose()
    assert not pull.closed.is_set()
    await second.aclose()
    async with asyncio.timeout(30):
        await pull.closed.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_the_caller_ends_the_download(
    make: Callable[..., Ollama], server: OllamaServer, stream: bool
) -> None:
    server.pulls.append(Answer(frames=[LAYER, SUCCESS], fault="stall", after=1))
    provider = make(pull="always")

    async def one() -> Any:
        found = await provider.call(Chat("hi").to("tiny", stream=stream))
        return await found.collect() if isinstance(found, Stream) else found

    task = asyncio.create_task(one())
    pull = await server.request(1)
    assert pull.path == "/api/pull"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        await pull.closed.wait()


async def test_after_a_download_that_was_left_a_new_one_begins(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    server.pulls.append(Answer(frames=[LAYER], fault="stall", after=1))
    server.library["tiny:latest"] = 10
    provider = make(pull="always")
    stream = await opened(provider)
    await anext(stream.__aiter__())
    await stream.aclose()
    assert (await ask("hi", "tiny", by=provider)).text


async def test_stopping_the_instance_ends_downloads(
    make: Callable[..., Ollama], server: OllamaServer
) -> None:
    server.pulls.append(Answer(frames=[LAYER], fault="stall", after=1))
    provider = make(pull="always")
    async with provider.lifespan():
        stream = await opened(provider)
        await anext(stream.__aiter__())
    with pytest.raises(TruncatedStreamError):
        await stream.collect()


async def test_an_answer_after_a_download_fails_as_any_other(
    make: Callable[..., Ollama], server: OllamaServer
) -> None:
    server.pulls.append(Answer(frames=[LAYER, SUCCESS]))
    server.answers.extend(
        [Answer.error(404, "model 'tiny' not found"), Answer("one two", fault="cut", after=1)]
    )
    with pytest.raises(TruncatedStreamError) as caught:
        await (await opened(make(pull="always"))).collect()
    assert caught.value.partial.text == "one"


async def test_a_method_pulls_and_tells(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    server.library["tiny:latest"] = 4000
    provider = make()
    stream = await provider.call(Invoke("pull", arguments={"model": "tiny"}).to("local", stream=True))
    assert isinstance(stream, Stream)
    events = [event async for event in stream]
    assert isinstance(events[0], Progress)
    assert stream.reply.data == {"model": "tiny", "status": "success"}
    assert (await ask(Invoke("pull", args=["tiny"]), "local")).data["status"] == "success"
    with pytest.raises(UnknownModelError):
        await ask(Invoke("pull", args=["nothing"]), "local")
